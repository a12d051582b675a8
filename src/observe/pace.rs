//! When to sample: as often as was asked for, as long as poolpick's own CPU time stays within its budget, and more rarely
//! while nothing happens. Must not read anything but clocks.

use crate::sys::clock;
use crate::units::{Span, Timestamp, ratio};

/// Share of one core that sampling may cost.
const BUDGET: f64 = 0.006;
/// Share of one core that sampling may cost together with all else that poolpick does meanwhile.
const BUDGET_OF_ALL: f64 = 0.009;
/// Share that is left to sampling, however much the rest costs: a run is not to go unseen because its switches are many.
/// Without records nothing else tells what threads do, and the whole budget is left to it.
const LEAST: f64 = 0.002;
/// Once the beginning is over, own CPU time is read in every so many rounds: that is a system call.
const MEASURED: u32 = 8;
/// Time between rounds where nothing else is asked for.
const INTERVAL: Span = Span::from_millis(10);
/// Rounds at the beginning come twice as fast, so that a short run is seen too.
const EAGER_ROUNDS: u32 = 20;
/// While no thread of the target goes on or off a CPU, rounds come up to 2 to this power times more rarely.
const CALMEST: u32 = 2;

/// The pace of rounds.
#[derive(Debug)]
pub struct Pace {
    interval: Span,
    /// Share that is left to sampling at the least.
    least: f64,
    /// The user asked for that interval.
    fixed: bool,
    next: Timestamp,
    rounds: u32,
    /// Rounds in a row before which nothing had happened.
    calm: u32,
    random: fastrand::Rng,
    /// Own CPU time when this round began, if it is measured.
    began: Option<Span>,
    measured: Option<Measured>,
    /// What a round cost when last measured.
    cost: Span,
    /// Share of one core that all but the rounds took lately.
    rest: f64,
}

/// When own CPU time was last read.
#[derive(Debug)]
struct Measured {
    at: Timestamp,
    cpu: Span,
    round: u32,
}

impl Pace {
    /// Rounds every `interval`, if that was set; the first is due at once.
    pub fn new(interval: Option<Span>) -> Pace {
        Pace {
            interval: interval.unwrap_or(INTERVAL),
            least: LEAST,
            fixed: interval.is_some(),
            next: Timestamp(0),
            rounds: 0,
            calm: 0,
            random: fastrand::Rng::new(),
            began: None,
            measured: None,
            cost: Span::ZERO,
            rest: 0.0,
        }
    }

    /// There are no records: rounds tell everything.
    pub fn stand_alone(&mut self) {
        self.least = BUDGET;
    }

    /// When the next round is due.
    pub fn due(&self) -> Timestamp {
        self.next
    }

    /// A round begins.
    pub fn begin(&mut self) {
        let measure = self.rounds < EAGER_ROUNDS || self.rounds.is_multiple_of(MEASURED);
        self.began = measure.then(clock::process_cpu);
    }

    /// A round is over: the next one comes so late that its cost stays within the budget. `stirred`: something happened
    /// since the last one.
    pub fn end(&mut self, stirred: bool) {
        let now = clock::monotonic();
        self.rounds = self.rounds.saturating_add(1);
        self.calm = if stirred { 0 } else { self.calm.saturating_add(1) };
        if let Some(began) = self.began.take() {
            let cpu = clock::process_cpu();
            self.cost = cpu - began;
            if let Some(last) = &self.measured {
                let rounds = u64::from(self.rounds.saturating_sub(last.round));
                let others = (cpu - last.cpu) - Span(self.cost.0.saturating_mul(rounds));
                self.rest = ratio(others.secs_f64(), now.since(last.at).secs_f64()).unwrap_or(self.rest);
            }
            self.measured = Some(Measured { at: now, cpu, round: self.rounds });
        }
        // Jittered by half either way, so that no rhythm of the target is met always at the same beat.
        let jitter = 0.5 + self.random.f64();
        self.next = now + Span((self.pause().0 as f64 * jitter) as u64);
    }

    fn pause(&self) -> Span {
        let wanted = match self.rounds {
            _ if self.fixed => self.interval,
            rounds if rounds < EAGER_ROUNDS => Span(self.interval.0 / 2),
            _ => Span(self.interval.0 << self.calm.min(CALMEST)),
        };
        let budget = (BUDGET_OF_ALL - self.rest).clamp(self.least, BUDGET);
        wanted.max(Span::from_secs_f64(self.cost.secs_f64() / budget))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(rest: f64, micros: u64, calm: u32) -> f64 {
        let pace = Pace { rest, calm, cost: Span(micros * 1000), rounds: EAGER_ROUNDS, ..Pace::new(None) };
        (pace.pause().secs_f64() * 1e3).round()
    }

    #[test]
    fn dear_rounds_come_rarely_and_the_rest_counts_too() {
        assert_eq!(pause(0.0, 6, 0), 10.0);
        assert_eq!(pause(0.0, 600, 0), 100.0);
        assert_eq!(pause(0.003, 600, 0), 100.0);
        assert_eq!(pause(0.005, 600, 0), 150.0);
        assert_eq!(pause(0.5, 600, 0), 300.0, "never less than the least");
        let mut alone = Pace { rest: 0.5, cost: Span(600_000), rounds: EAGER_ROUNDS, ..Pace::new(None) };
        alone.stand_alone();
        assert_eq!(alone.pause(), Span::from_millis(100), "all of it where nothing else tells");
    }

    #[test]
    fn a_calm_target_is_sampled_rarely_unless_the_user_says_how_often() {
        assert_eq!([1, 2, 9].map(|calm| pause(0.0, 6, calm)), [20.0, 40.0, 40.0]);
        let asked = Pace { calm: 9, rounds: EAGER_ROUNDS, ..Pace::new(Some(Span::from_millis(3))) };
        assert_eq!(asked.pause(), Span::from_millis(3));
        assert_eq!(Pace::new(None).pause(), Span::from_millis(5), "eager at the beginning");
    }
}
