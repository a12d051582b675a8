//! Tasks of a stage one by one, as many as bounded memory allows, spread over the run: what a display of single tasks shows.
//! Must not be used for sums.

use crate::trace::Ids;
use crate::units::Span;

/// Most tasks of a stage that are kept.
const MOST_KEPT: usize = 64;

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampledTask {
    /// When it began to run, since the run began.
    pub began: Span,
    /// How long it had been in the queue then, where that was measured.
    pub queued: Option<Span>,
    /// From its beginning to its end.
    pub wall: Span,
    /// Whether an exception left it.
    pub failed: bool,
    /// Its process, and the thread that ran it; 0 where several may have.
    pub ids: Ids,
}

/// Every so many of a stage's tasks, in the order in which they ended.
#[derive(Debug, Clone, Default)]
pub struct TaskSample {
    kept: Vec<SampledTask>,
    seen: u64,
    /// One of two to this power is kept.
    thinned: u32,
}

impl TaskSample {
    /// Notes a task that has ended.
    pub fn note(&mut self, task: SampledTask) {
        if self.seen.is_multiple_of(1 << self.thinned) {
            keep_spread(&mut self.kept, &mut self.thinned, MOST_KEPT, task);
        }
        self.seen = self.seen.saturating_add(1);
    }

    /// The tasks.
    pub fn tasks(&self) -> &[SampledTask] {
        &self.kept
    }
}

/// Keeps one more; when there are more than `most`, every second one goes, and from then on one of twice as many is wanted.
pub(super) fn keep_spread<T>(kept: &mut Vec<T>, thinned: &mut u32, most: usize, one: T) {
    kept.push(one);
    if kept.len() > most {
        let mut odd = false;
        kept.retain(|_| {
            odd = !odd;
            odd
        });
        *thinned = (*thinned + 1).min(u64::BITS - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_spread_over_the_run() {
        let mut sample = TaskSample::default();
        for number in 0..10_000u64 {
            let ids = Ids { pid: 1, tid: 1 };
            sample.note(SampledTask { began: Span(number), queued: None, wall: Span(1), failed: false, ids });
        }
        let starts: Vec<u64> = sample.tasks().iter().map(|task| task.began.0).collect();
        assert!((32..=64).contains(&starts.len()), "{}", starts.len());
        assert!(starts[0] == 0 && starts.windows(2).all(|pair| pair[1] - pair[0] == starts[1]), "{starts:?}");
        assert!(*starts.last().expect("some") > 9_000, "{starts:?}");
    }
}
