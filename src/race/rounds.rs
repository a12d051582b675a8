//! The rounds of a race: every cell once in each, in a shuffled order, until the intervals are narrow or the time is over.
//! Must not know how a cell is measured.

use super::{Ended, Lane, Missed, Outcome, Sample, Track};
use crate::laws::mean_ratio;
use crate::report::race::Entrant;
use crate::sys::clock;
use crate::units::Span;
use std::collections::BTreeMap;
use std::io;

/// Fewer rounds than this give no interval that means anything.
const LEAST_ROUNDS: usize = 3;
/// An interval is narrow where neither end is further from the point than this share of it.
const NARROW: f64 = 0.05;
/// The budget should hold so many rounds …
const WANTED_ROUNDS: f64 = 6.0;
/// … of which so much is measuring; the rest is starting workers and waiting for the last tasks.
const MEASURING: f64 = 0.5;
/// A measurement is no shorter and no longer than this where tasks are short, seconds.
const SHORTEST: f64 = 0.1;
const LONGEST: f64 = 1.0;
/// The first look at the baseline, seconds: how long is a task, and nothing is cold afterwards.
const TRIAL: f64 = 0.05;

/// How long to race.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time for all of it.
    pub budget: Span,
    /// Most rounds.
    pub most_rounds: Option<u32>,
    /// For the shuffle.
    pub seed: u64,
}

/// How far a race is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The round that is under way, from 1.
    pub round: u32,
    /// What is measured next.
    pub cell: Entrant,
    /// Seconds so far.
    pub seconds: f64,
    /// The fastest so far, with its speed-up.
    pub leader: Option<(Entrant, f64)>,
}

/// Races the cells; the first is the baseline.
///
/// # Errors
/// Where the baseline cannot be measured there is no race.
pub fn race(
    track: &mut dyn Track,
    cells: &[Entrant],
    pace: &Pace,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Outcome, Missed> {
    let began = clock::monotonic();
    let so_far = || clock::monotonic().since(began).secs_f64();
    let budget = pace.budget.secs_f64();
    let mut lanes: Vec<Lane> = cells.iter().map(|&cell| Lane { cell, samples: Vec::new(), failure: None }).collect();
    let Some(&baseline) = cells.first() else {
        return Err(Missed::System(io::Error::from(io::ErrorKind::InvalidInput)));
    };
    watch(&Progress { round: 0, cell: baseline, seconds: 0.0, leader: None });
    let trial = track.measure(baseline, TRIAL, 0.0)?;
    let mut task_seconds = trial.seconds / trial.work.max(1.0);
    let seconds = (budget * MEASURING / WANTED_ROUNDS / cells.len() as f64).clamp(SHORTEST, LONGEST);
    let mut shuffle = fastrand::Rng::with_seed(pace.seed);
    // What a cell took, so that none is begun that cannot be ended in time.
    let mut costs: Vec<f64> = vec![0.0; lanes.len()];
    let mut round = 0;
    let ended = 'rounds: loop {
        round += 1;
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        shuffle.shuffle(&mut order);
        if round == 1 {
            // There is nothing to compare with before the baseline.
            order.retain(|&index| index != 0);
            order.insert(0, 0);
        }
        for index in order {
            let cell = lanes[index].cell;
            // What is known well enough leaves its time to the others.
            if lanes[index].failure.is_some() || index > 0 && is_narrow(&lanes[index], &lanes[0]) {
                continue;
            }
            if round > 1 || index > 0 {
                let least = lanes[index].samples.is_empty() && so_far() < budget;
                if !least && so_far() + costs[index] > budget {
                    continue;
                }
            }
            watch(&Progress { round, cell, seconds: so_far(), leader: leader(&lanes) });
            let before = so_far();
            match track.measure(cell, seconds, task_seconds) {
                Ok(sample) => {
                    if index == 0 {
                        task_seconds = sample.seconds / sample.work.max(1.0);
                    }
                    lanes[index].samples.push((round, sample));
                }
                Err(Missed::Cell(why)) if index == 0 && lanes[0].samples.is_empty() => return Err(Missed::Cell(why)),
                Err(Missed::Cell(why)) => lanes[index].failure = Some(why),
                Err(Missed::Interrupted(signal)) => break 'rounds Ended::Interrupted(signal),
                Err(Missed::System(error)) => return Err(Missed::System(error)),
            }
            costs[index] = so_far() - before;
        }
        let goes_on = |index: usize| index == 0 || !is_narrow(&lanes[index], &lanes[0]);
        let rest: f64 = costs.iter().enumerate().filter(|(index, _)| goes_on(*index)).map(|(_, cost)| cost).sum();
        if lanes.iter().skip(1).all(|lane| is_narrow(lane, &lanes[0])) && lanes[0].samples.len() >= LEAST_ROUNDS {
            break Ended::Narrow;
        }
        let failed = lanes[0].failure.is_some();
        if failed || so_far() + rest > budget || pace.most_rounds.is_some_and(|most| round >= most) {
            break Ended::Budget;
        }
    };
    let missed = match ended {
        Ended::Interrupted(_) => "the race was interrupted before it was measured",
        Ended::Narrow | Ended::Budget => "the time was over before it was measured",
    };
    for lane in lanes.iter_mut().filter(|lane| lane.samples.is_empty() && lane.failure.is_none()) {
        lane.failure = Some(missed.to_owned());
    }
    Ok(Outcome { lanes, rounds: round, seconds: so_far(), ended })
}

/// Throughput over the baseline's of the same round; rounds in which either is missing are left out.
pub(super) fn ratios(lane: &Lane, baseline: &Lane) -> Vec<f64> {
    let base: BTreeMap<u32, f64> = baseline.samples.iter().map(|(round, sample)| (*round, sample.rate())).collect();
    let paired = |(round, sample): &(u32, Sample)| Some(sample.rate() / base.get(round)?);
    lane.samples.iter().filter_map(paired).collect()
}

fn is_narrow(lane: &Lane, baseline: &Lane) -> bool {
    if lane.failure.is_some() {
        return true;
    }
    let ratios = ratios(lane, baseline);
    ratios.len() >= LEAST_ROUNDS
        && mean_ratio(&ratios).is_some_and(|(point, interval)| {
            interval.is_some_and(|interval| (interval.high - point).max(point - interval.low) <= NARROW * point)
        })
}

fn leader(lanes: &[Lane]) -> Option<(Entrant, f64)> {
    let baseline = lanes.first()?;
    let speedups = lanes.iter().filter_map(|lane| Some((lane.cell, mean_ratio(&ratios(lane, baseline))?.0)));
    speedups.max_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::race::Contender;

    /// Gives what it is told, and remembers what it was asked.
    struct Drawn {
        rates: fn(Entrant, usize) -> Result<f64, Missed>,
        asked: Vec<Entrant>,
    }

    impl Track for Drawn {
        fn measure(&mut self, cell: Entrant, _: f64, _: f64) -> Result<Sample, Missed> {
            self.asked.push(cell);
            let rate = (self.rates)(cell, self.asked.len())?;
            Ok(Sample {
                work: rate,
                tasks: 1,
                errors: 0,
                first_error: None,
                seconds: 1.0,
                p95_seconds: None,
                start_seconds: None,
                run_queue_share: None,
            })
        }
    }

    const CELLS: [Entrant; 3] = [
        Entrant { executor: Contender::Serial, workers: 1 },
        Entrant { executor: Contender::Thread, workers: 2 },
        Entrant { executor: Contender::Process, workers: 2 },
    ];

    fn raced(
        rates: fn(Entrant, usize) -> Result<f64, Missed>,
        budget: u64,
        most_rounds: Option<u32>,
    ) -> (Result<Outcome, Missed>, Vec<Entrant>) {
        let mut track = Drawn { rates, asked: Vec::new() };
        let pace = Pace { budget: Span::from_millis(budget), most_rounds, seed: 7 };
        let outcome = race(&mut track, &CELLS, &pace, &mut |_| {});
        (outcome, track.asked)
    }

    #[test]
    fn steady_rates_end_it_after_the_least_rounds() {
        let (outcome, asked) = raced(|cell, _| Ok(f64::from(cell.workers)), 60_000, None);
        let outcome = outcome.expect("a race");
        assert_eq!((outcome.ended, outcome.rounds as usize), (Ended::Narrow, LEAST_ROUNDS));
        // The trial, then every cell once a round, the baseline first in the first.
        assert_eq!(asked.len(), 1 + LEAST_ROUNDS * CELLS.len());
        assert_eq!(asked[..2], [CELLS[0], CELLS[0]]);
        assert!(outcome.lanes.iter().all(|lane| lane.samples.len() == LEAST_ROUNDS));
        assert_eq!(ratios(&outcome.lanes[1], &outcome.lanes[0]), [2.0; LEAST_ROUNDS]);
    }

    #[test]
    fn rates_that_jump_go_on_until_the_end() {
        let (outcome, _) = raced(|_, turn| Ok(if turn % 2 == 0 { 1.0 } else { 3.0 }), 60_000, Some(9));
        assert_eq!(outcome.map(|outcome| (outcome.ended, outcome.rounds)).expect("a race"), (Ended::Budget, 9));
    }

    #[test]
    fn a_cell_that_fails_is_left_out_and_the_others_go_on() {
        let rates = |cell: Entrant, _| match cell.executor {
            Contender::Process => Err(Missed::Cell("broken".to_owned())),
            _ => Ok(1.0),
        };
        let (outcome, asked) = raced(rates, 60_000, None);
        let outcome = outcome.expect("a race");
        assert_eq!(outcome.lanes[2].failure.as_deref(), Some("broken"));
        assert_eq!(asked.iter().filter(|cell| cell.executor == Contender::Process).count(), 1);
        assert_eq!((outcome.ended, outcome.lanes[1].samples.len()), (Ended::Narrow, LEAST_ROUNDS));
    }

    #[test]
    fn without_a_baseline_there_is_no_race() {
        let (outcome, _) = raced(|_, _| Err(Missed::Cell("every task failed".to_owned())), 60_000, None);
        assert!(matches!(outcome, Err(Missed::Cell(why)) if why == "every task failed"));
    }

    #[test]
    fn a_signal_keeps_what_was_measured() {
        let rates = |_, turn| if turn < 7 { Ok(1.0) } else { Err(Missed::Interrupted(2)) };
        let (outcome, _) = raced(rates, 60_000, None);
        let outcome = outcome.expect("a race");
        assert_eq!(outcome.ended, Ended::Interrupted(2));
        assert_eq!(outcome.lanes.iter().map(|lane| lane.samples.len()).sum::<usize>(), 5);
    }

    #[test]
    fn no_time_at_all_measures_the_baseline_and_says_so_of_the_others() {
        let (outcome, _) = raced(|_, _| Ok(1.0), 0, None);
        let outcome = outcome.expect("a race");
        assert_eq!((outcome.ended, outcome.lanes[0].samples.len()), (Ended::Budget, 1));
        assert!(outcome.lanes[1].failure.as_deref().is_some_and(|why| why.contains("time")));
    }
}
