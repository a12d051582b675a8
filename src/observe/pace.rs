//! When to sample: as often as was asked for, as long as poolpick's own CPU time stays within its budget. Must not read
//! anything but clocks.

use crate::sys::clock;
use crate::units::{Span, Timestamp, ratio};

/// Share of one core that sampling may cost.
const BUDGET: f64 = 0.006;
/// Share of one core that sampling may cost together with all else that poolpick does meanwhile.
const BUDGET_OF_ALL: f64 = 0.009;
/// Share that is left to sampling, however much the rest costs: a run is not to go unseen because its switches are many.
const LEAST: f64 = 0.002;
/// Weight of the latest gap between rounds in what the rest costs.
const NEWEST: f64 = 0.2;
/// Time between rounds where nothing else is asked for.
const INTERVAL: Span = Span::from_millis(10);
/// Rounds at the beginning come twice as fast, so that a short run is seen too.
const EAGER_ROUNDS: u32 = 20;

/// The pace of rounds.
#[derive(Debug)]
pub struct Pace {
    interval: Span,
    next: Timestamp,
    rounds: u32,
    random: fastrand::Rng,
    /// Own CPU time when the round began.
    began: Span,
    /// When the last round ended, and own CPU time then.
    ended: Option<(Timestamp, Span)>,
    /// Share of one core that all but the rounds took lately.
    rest: f64,
}

impl Pace {
    /// Rounds every `interval`, if that was set; the first is due at once.
    pub fn new(interval: Option<Span>) -> Pace {
        Pace {
            interval: interval.unwrap_or(INTERVAL),
            next: Timestamp(0),
            rounds: 0,
            random: fastrand::Rng::new(),
            began: Span::ZERO,
            ended: None,
            rest: 0.0,
        }
    }

    /// When the next round is due.
    pub fn due(&self) -> Timestamp {
        self.next
    }

    /// A round begins.
    pub fn begin(&mut self, now: Timestamp) {
        self.began = clock::process_cpu();
        if let Some((ended, cpu)) = self.ended
            && let Some(share) = ratio((self.began - cpu).secs_f64(), now.since(ended).secs_f64())
        {
            self.rest += NEWEST * (share.min(1.0) - self.rest);
        }
    }

    /// A round is over: the next one comes so late that its cost stays within the budget.
    pub fn end(&mut self) {
        let cpu = clock::process_cpu();
        let now = clock::monotonic();
        self.rounds = self.rounds.saturating_add(1);
        self.ended = Some((now, cpu));
        // Jittered by half either way, so that no rhythm of the target is met always at the same beat.
        let jitter = 0.5 + self.random.f64();
        self.next = now + Span((self.pause(cpu - self.began).0 as f64 * jitter) as u64);
    }

    fn pause(&self, cost: Span) -> Span {
        let wanted = if self.rounds < EAGER_ROUNDS { Span(self.interval.0 / 2) } else { self.interval };
        let budget = (BUDGET_OF_ALL - self.rest).clamp(LEAST, BUDGET);
        wanted.max(Span::from_secs_f64(cost.secs_f64() / budget))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rest: f64) -> Pace {
        Pace { rest, rounds: EAGER_ROUNDS, ..Pace::new(None) }
    }

    #[test]
    fn dear_rounds_come_rarely_and_the_rest_counts_too() {
        let millis = |pace: &Pace, micros: u64| pace.pause(Span(micros * 1000)).secs_f64() * 1e3;
        assert_eq!(millis(&pace(0.0), 6), 10.0);
        assert!((millis(&pace(0.0), 600) - 100.0).abs() < 0.01);
        assert!((millis(&pace(0.003), 600) - 100.0).abs() < 0.01);
        assert!((millis(&pace(0.005), 600) - 150.0).abs() < 0.01);
        assert!((millis(&pace(0.5), 600) - 300.0).abs() < 0.01, "never less than the least");
        assert_eq!(millis(&Pace::new(None), 6), 5.0);
    }
}
