//! How often locks are read: as often as their cost allows, never in rhythm.

use crate::units::{Span, Timestamp};

/// Share of one core that reading may cost.
const BUDGET: f64 = 0.004_5;
/// Share of one core that looking for interpreters may cost besides, after `HEAD_START`.
const LOOKING: f64 = 0.000_5;
/// What looking may cost before it is counted: a pool of workers may come up at once.
const HEAD_START: Span = Span::from_millis(20);
/// No two rounds are nearer on average.
const SHORTEST: Span = Span(2_500_000);
/// The same while all processes are idle.
const IDLE: Span = Span::from_millis(20);
/// No two rounds are further apart on average: else short processes are missed altogether.
const LONGEST: Span = Span::from_millis(50);
/// What a round is taken to cost before one was measured.
const FIRST_GUESS: f64 = 30e-6;
/// Weight of a new measurement.
const WEIGHT: f64 = 0.05;

/// When locks are read.
#[derive(Debug)]
pub struct Pace {
    cost: f64,
    next: Timestamp,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { cost: FIRST_GUESS, next: Timestamp(0) }
    }
}

impl Pace {
    /// When the next round is due.
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// A round ended and cost this much CPU time: sets the next one. `idle`: whether no process runs.
    pub fn spent(&mut self, cost: Span, idle: bool, now: Timestamp, random: &mut fastrand::Rng) {
        self.cost += WEIGHT * (cost.secs_f64() - self.cost);
        let rest = Span::from_secs_f64(self.cost / BUDGET).max(if idle { IDLE } else { SHORTEST }).min(LONGEST);
        // Counted from when this round was due: one that came late should not make all later ones rarer.
        let from = Timestamp(self.next.0.max(now.0.saturating_sub(rest.0)));
        // Evenly between a fifth and nine fifths.
        let jittered = Span((rest.0 as f64 * (0.2 + 1.6 * random.f64())) as u64);
        self.next = (from + jittered).max(now + Span(rest.0 / 10));
    }
}

/// What looking for interpreters may still cost.
#[derive(Debug, Default)]
pub struct Allowance {
    since: Option<Timestamp>,
    spent: Span,
}

impl Allowance {
    /// Whether there is any left.
    pub fn is_left(&mut self, now: Timestamp) -> bool {
        let since = *self.since.get_or_insert(now);
        self.spent < HEAD_START + Span::from_secs_f64(now.since(since).secs_f64() * LOOKING)
    }

    /// Takes a cost from it.
    pub fn spend(&mut self, cost: Span) {
        self.spent += cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds in a simulated second of rounds that cost `cost`.
    fn rounds(cost: Span) -> u32 {
        let mut random = fastrand::Rng::with_seed(7);
        let mut pace = Pace::default();
        let (mut now, mut count) = (Timestamp(1), 0);
        while now < Timestamp(10_000_000_000) {
            pace.spent(cost, false, now, &mut random);
            now = pace.next();
            count += 1;
        }
        count / 10
    }

    #[test]
    fn dear_rounds_are_rare_and_cheap_ones_not_too_frequent() {
        assert!((380..420).contains(&rounds(Span(5_000))), "{}", rounds(Span(5_000)));
        let (count, affordable) = (f64::from(rounds(Span(60_000))), BUDGET / 60e-6);
        assert!((count - affordable).abs() < 0.1 * affordable, "{count}");
        assert!((18..22).contains(&rounds(Span::from_millis(5))));
    }

    #[test]
    fn looking_is_free_at_first_and_scarce_then() {
        let mut allowance = Allowance::default();
        assert!(allowance.is_left(Timestamp(0)));
        allowance.spend(Span::from_millis(21));
        assert!(!allowance.is_left(Timestamp(0)) && !allowance.is_left(Timestamp(500_000_000)));
        assert!(allowance.is_left(Timestamp(4_000_000_000)));
    }
}
