//! What blocked intervals that no sample fell in waited for: the same as those of the same shape that a sample did fall
//! in. A sample is likelier to fall in a long interval than in a short one, whatever either waits for; among intervals
//! of one length it picks without regard to what they wait for, so that shares within a shape are unbiased. Must not
//! book.

use super::ledger::BlockedTime;
use crate::trace::Blocking;
use crate::units::Span;
use rustc_hash::FxHashMap;

/// Kinds that a sample can tell.
const TOLD: usize = Blocking::ALL.len();
/// Shapes of fewer sampled intervals are looked at together with those of neighbouring lengths.
const ENOUGH: u32 = 8;
/// With fewer than this among all that are alike but for their length, those that are less alike are looked at too.
const FEW: u32 = 3;
/// The shortest length told apart is 2 to this power, nanoseconds: one microsecond.
const SHORTEST: u32 = 10;
/// Classes an octave, 2 to this power: clocks and services answer after nearly the same time, again and again.
const FINENESS: u32 = 3;
/// Up to 17 seconds.
const LENGTHS: usize = 24 << FINENESS;
/// A run before or after it that is shorter than this is short. What wakes up and finds a lock taken blocks again at
/// once; what computes and then waits does not, and what gets the lock that it waited for goes on.
const SHORT_RUN: Span = Span(60_000);
/// An interval of which at least this share passed while every thread of the process was blocked waits for no thread
/// of it.
const ALONE: f64 = 0.1;

/// Combinations of short and long runs around it.
const RUNS: usize = 4;
/// A guess is made anew once this many times more was seen.
const STALE: f64 = 1.05;

/// What is known of a blocked interval without a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    length: usize,
    alone: usize,
    /// Whether the runs before and after it were short, as one of four.
    runs: usize,
}

impl Shape {
    /// Of an interval `beside` others of its process that were not blocked and `alone`, between two runs.
    pub fn of(beside: Span, alone: Span, ran_before: Span, ran_after: Span) -> Shape {
        let blocked = beside + alone;
        let bits = blocked.0.max(1 << SHORTEST);
        let octave = bits.ilog2();
        let within = (bits >> (octave - FINENESS)) & ((1 << FINENESS) - 1);
        let length = ((octave - SHORTEST) << FINENESS) as usize + within as usize;
        Shape {
            length: length.min(LENGTHS - 1),
            alone: usize::from(alone.0 as f64 > ALONE * blocked.0 as f64),
            runs: 2 * usize::from(ran_before >= SHORT_RUN) + usize::from(ran_after >= SHORT_RUN),
        }
    }

    fn cell(self) -> usize {
        (self.length * 2 + self.alone) * RUNS + self.runs
    }
}

/// A guess, and how much had been seen when it was made.
#[derive(Debug, Clone, Copy)]
struct Guess {
    kinds: [u32; TOLD],
    notes: u64,
}

/// Intervals of one shape whose kinds are not told yet.
#[derive(Debug, Clone, Copy, Default)]
struct Deferred {
    beside: Span,
    alone: Span,
    count: u64,
}

/// What sampled intervals of each shape waited for.
#[derive(Debug, Clone, Default)]
pub struct KindsByShape {
    seen: FxHashMap<usize, [u32; TOLD]>,
    guesses: FxHashMap<usize, Guess>,
    deferred: FxHashMap<Shape, Deferred>,
    notes: u64,
}

impl KindsByShape {
    /// Notes that an interval of this shape waited for these kinds.
    pub fn note(&mut self, shape: Shape, kinds: &[u32; TOLD]) {
        self.notes += 1;
        let cell = self.seen.entry(shape.cell()).or_default();
        for (seen, &kind) in cell.iter_mut().zip(kinds) {
            *seen = seen.saturating_add(u32::from(kind > 0));
        }
    }

    /// What intervals of this shape wait for, by weight; shapes that were hardly seen are taken together with those
    /// most like them. All zero where nothing was sampled.
    pub fn guess(&mut self, shape: Shape) -> [u32; TOLD] {
        if self.notes == 0 {
            return [0; TOLD];
        }
        let known = self.guesses.get(&shape.cell()).filter(|guess| self.notes as f64 <= guess.notes as f64 * STALE);
        if let Some(guess) = known {
            return guess.kinds;
        }
        let kinds = self.like(shape);
        self.guesses.insert(shape.cell(), Guess { kinds, notes: self.notes });
        kinds
    }

    /// The narrowest neighbourhood of the shape that was seen often enough, else the narrowest that was seen at all.
    fn like(&self, shape: Shape) -> [u32; TOLD] {
        let octave = 1 << FINENESS;
        let near = [0, 1, 2, octave / 2, octave].map(|reach| (reach, true, true, ENOUGH));
        let alike = [2 * octave, 4 * octave].map(|reach| (reach, true, true, FEW));
        let far = [octave / 2, 2 * octave].map(|reach| (reach, true, false, ENOUGH));
        let rest = [octave / 2, octave, 3 * octave, 6 * octave, LENGTHS].map(|reach| (reach, false, false, ENOUGH));
        let mut first = None;
        for (reach, alone, runs, enough) in near.into_iter().chain(alike).chain(far).chain(rest) {
            let sum = self.within(shape, reach, alone, runs);
            let seen: u32 = sum.iter().fold(0, |all, &count| all.saturating_add(count));
            if seen >= enough {
                return sum;
            }
            if seen > 0 {
                first.get_or_insert(sum);
            }
        }
        first.unwrap_or_default()
    }

    /// Keeps an interval of a task until all samples are known: a guess at the beginning of a run rests on few.
    pub fn defer(&mut self, shape: Shape, beside: Span, alone: Span) {
        let deferred = self.deferred.entry(shape).or_default();
        deferred.beside += beside;
        deferred.alone += alone;
        deferred.count += 1;
    }

    /// Adds what was deferred to `blocked`.
    pub fn resolve(&mut self, blocked: &mut BlockedTime) {
        let mut deferred: Vec<(Shape, Deferred)> = std::mem::take(&mut self.deferred).into_iter().collect();
        deferred.sort_by_key(|(shape, _)| *shape);
        for (shape, of) in deferred {
            blocked.add_many(of.beside, of.alone, of.count, &self.like(shape));
        }
    }

    /// Sum over the shapes whose length is at most `reach` classes off, and which are the same in what is asked for.
    fn within(&self, shape: Shape, reach: usize, same_alone: bool, same_runs: bool) -> [u32; TOLD] {
        let mut sum = [0u32; TOLD];
        for length in shape.length.saturating_sub(reach)..=(shape.length + reach).min(LENGTHS - 1) {
            for alone in (0..2).filter(|&alone| !same_alone || alone == shape.alone) {
                for runs in (0..RUNS).filter(|&runs| !same_runs || runs == shape.runs) {
                    if let Some(seen) = self.seen.get(&Shape { length, alone, runs }.cell()) {
                        sum.iter_mut().zip(seen).for_each(|(sum, seen)| *sum = sum.saturating_add(*seen));
                    }
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(kind: Blocking) -> [u32; TOLD] {
        let mut kinds = [0; TOLD];
        kinds[kind as usize] = 1;
        kinds
    }

    fn beside(span: Span, ran: Span) -> Shape {
        Shape::of(span, Span::ZERO, ran, Span::ZERO)
    }

    #[test]
    fn short_waits_are_told_from_long_ones() {
        let mut kinds = KindsByShape::default();
        assert_eq!(kinds.guess(beside(Span(10), Span(0))), [0; TOLD], "nothing is known yet");
        for _ in 0..ENOUGH {
            kinds.note(beside(Span::from_millis(5), Span(0)), &only(Blocking::Network));
            kinds.note(beside(Span::from_millis(900), Span(0)), &only(Blocking::Lock));
        }
        let guess = kinds.guess(beside(Span::from_millis(4), Span(0)));
        assert_eq!((guess[Blocking::Network as usize], guess[Blocking::Lock as usize]), (ENOUGH, 0));
        assert_eq!(kinds.guess(beside(Span::from_millis(800), Span(0)))[Blocking::Lock as usize], ENOUGH);
        assert!(
            kinds.guess(beside(Span(10), Span(0)))[Blocking::Network as usize] > 0,
            "the nearest length that is known"
        );
    }

    #[test]
    fn equally_long_waits_are_told_by_the_run_before_and_by_who_else_ran() {
        let mut kinds = KindsByShape::default();
        let five = Span::from_millis(5);
        for _ in 0..ENOUGH {
            kinds.note(beside(five, Span(20_000)), &only(Blocking::Gil));
            kinds.note(beside(five, Span::from_millis(5)), &only(Blocking::Sleep));
            kinds.note(Shape::of(Span::ZERO, five, Span(20_000), Span::ZERO), &only(Blocking::Network));
        }
        assert_eq!(kinds.guess(beside(five, Span(30_000))), only(Blocking::Gil).map(|one| one * ENOUGH));
        assert_eq!(kinds.guess(beside(five, Span::from_millis(9))), only(Blocking::Sleep).map(|one| one * ENOUGH));
        assert_eq!(
            kinds.guess(Shape::of(Span::ZERO, five, Span(0), Span::ZERO)),
            only(Blocking::Network).map(|one| one * ENOUGH)
        );
    }

    #[test]
    fn a_single_sample_does_not_speak_for_its_shape() {
        let mut kinds = KindsByShape::default();
        kinds.note(beside(Span::from_millis(5), Span(0)), &only(Blocking::Lock));
        for _ in 0..ENOUGH {
            kinds.note(beside(Span::from_millis(7), Span(0)), &only(Blocking::Sleep));
        }
        let guess = kinds.guess(beside(Span::from_millis(5), Span(0)));
        assert_eq!((guess[Blocking::Lock as usize], guess[Blocking::Sleep as usize]), (1, ENOUGH));
    }

    #[test]
    fn lengths_are_told_apart_by_eighths_of_octaves() {
        let length = |nanoseconds: u64| Shape::of(Span(nanoseconds), Span::ZERO, Span::ZERO, Span::ZERO).length;
        assert_eq!((length(0), length(1024), length(1151), length(1152), length(2048)), (0, 0, 0, 1, 8));
        assert_eq!(length(u64::MAX), LENGTHS - 1);
    }

    #[test]
    fn what_is_deferred_is_told_by_what_is_seen_later() {
        let mut kinds = KindsByShape::default();
        let five = Span::from_millis(5);
        let (waits, queues) = (beside(five, five), beside(five, Span(3_000)));
        for _ in 0..100 {
            kinds.defer(waits, five, Span::ZERO);
            kinds.defer(queues, five, Span::ZERO);
        }
        // Many more samples of the one than of the other: each shape has its own.
        (0..20).for_each(|_| kinds.note(queues, &only(Blocking::Gil)));
        (0..FEW).for_each(|_| kinds.note(waits, &only(Blocking::Sleep)));
        let mut blocked = BlockedTime::default();
        kinds.resolve(&mut blocked);
        assert_eq!(blocked.total(Blocking::Sleep as usize), 100 * five.0);
        assert_eq!(blocked.total(Blocking::Gil as usize), 100 * five.0);
        assert_eq!((blocked.sum(), blocked.count.iter().sum::<u64>()), (200 * five.0, 200));
        kinds.resolve(&mut blocked);
        assert_eq!(blocked.sum(), 200 * five.0, "nothing is added twice");
    }
}
