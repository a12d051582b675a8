//! How many tasks stood in a stage's queue over its life, in at most 64 equal pieces: when the life outgrows them,
//! neighbours merge and pieces double. Must not judge.
//!
//! By Little's law the mean length of a queue over a piece is the time that tasks spent in it then, over its width; so
//! where each task entered and left tells it, however many there were.

use crate::units::{Span, Timestamp};

/// Most pieces that are kept.
const PIECES: usize = 64;
/// Width of the first pieces: 2^24 ns, about 17 ms.
const FIRST_SHIFT: u32 = 24;

/// One piece.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Piece {
    /// Time that tasks were in the queue, nanoseconds.
    waited: f64,
    /// Tasks that left the queue.
    left: u64,
    /// How long these had been in it, nanoseconds.
    delay: f64,
}

/// The queue of a stage over its life.
#[derive(Debug, Clone, PartialEq)]
pub struct Backlog {
    origin: Option<Timestamp>,
    shift: u32,
    pieces: Vec<Piece>,
}

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog { origin: None, shift: FIRST_SHIFT, pieces: Vec::new() }
    }
}

impl Backlog {
    /// Notes a task that left the queue at `at` and had been in it for `queued`.
    pub(super) fn note(&mut self, at: Timestamp, queued: Span) {
        let entered = Timestamp(at.0.saturating_sub(queued.0));
        // The first to leave entered first, as far as matters.
        let origin = *self.origin.get_or_insert(entered);
        let end = at.since(origin).0;
        while end >> self.shift >= PIECES as u64 {
            self.double();
        }
        let last = (end >> self.shift) as usize;
        if self.pieces.len() <= last {
            self.pieces.resize(last + 1, Piece::default());
        }
        let start = entered.since(origin).0;
        for index in (start >> self.shift) as usize..=last {
            let (from, to) = ((index as u64) << self.shift, (index as u64 + 1) << self.shift);
            self.pieces[index].waited += end.min(to).saturating_sub(start.max(from)) as f64;
        }
        self.pieces[last].left += 1;
        self.pieces[last].delay += queued.0 as f64;
    }

    fn double(&mut self) {
        let join = |pair: &[Piece]| {
            pair.iter().fold(Piece::default(), |sum, one| Piece {
                waited: sum.waited + one.waited,
                left: sum.left + one.left,
                delay: sum.delay + one.delay,
            })
        };
        self.pieces = self.pieces.chunks(2).map(join).collect();
        self.shift += 1;
    }

    /// Width of a piece.
    pub fn width(&self) -> Span {
        Span(1 << self.shift)
    }

    /// Mean number of tasks in the queue in each piece, first to last; of the tasks that were recorded.
    pub fn depths(&self) -> Vec<f64> {
        let width = self.width().0 as f64;
        self.pieces.iter().map(|piece| piece.waited / width).collect()
    }

    /// Mean time in the queue of the tasks that left it in these pieces, seconds; `None` if none did.
    pub fn delay(&self, pieces: std::ops::Range<usize>) -> Option<f64> {
        let pieces = self.pieces.get(pieces)?;
        let left: u64 = pieces.iter().map(|piece| piece.left).sum();
        let delay: f64 = pieces.iter().map(|piece| piece.delay).sum();
        (left > 0).then(|| delay / left as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_mean_length_is_that_of_what_stood_in_it() {
        let mut backlog = Backlog::default();
        // Ten tasks enter at 1 s; each half second one leaves.
        for task in 1..=10u64 {
            backlog.note(Timestamp(SECOND + task * SECOND / 2), Span(task * SECOND / 2));
        }
        let depths = backlog.depths();
        assert!(depths.len() <= PIECES && depths.len() > PIECES / 4, "{}", depths.len());
        assert!((depths[0] - 10.0).abs() < 0.1, "{depths:?}");
        assert!(depths.windows(2).all(|two| two[1] <= two[0] + 1e-9), "it only falls: {depths:?}");
        let waited: f64 = depths.iter().sum::<f64>() * backlog.width().secs_f64();
        assert!((waited - 27.5).abs() < 1e-6, "{waited}");
        assert!((backlog.delay(0..depths.len()).unwrap() - 2.75).abs() < 1e-9);
    }

    #[test]
    fn a_long_life_takes_no_more_memory() {
        let mut backlog = Backlog::default();
        for task in 1..=100_000u64 {
            backlog.note(Timestamp(task * SECOND), Span(SECOND));
        }
        assert!(backlog.pieces.len() <= PIECES && backlog.pieces.capacity() <= 2 * PIECES);
        assert!(backlog.depths()[1..40].iter().all(|depth| (depth - 1.0).abs() < 1e-6), "{:?}", backlog.depths());
    }
}
