//! From the measurements of a race to what is said of them: speed-ups, curves, the winner, and how a prediction did. Pure:
//! must touch nothing that the measurements do not say.

use super::rounds::ratios;
use super::{Lane, Outcome};
use crate::laws::{fit_scalability, mean_ratio, quantile};
use crate::report::race::{Cell, Contender, Curve, Entrant, PredictedBy, PredictionError, Winner};
use crate::units::ratio;

/// `knee_workers` is the least number of workers that reaches this share of the peak.
const KNEE: f64 = 0.97;
/// A cell whose share of failed tasks is this much above the baseline's does something else than the baseline.
const MORE_ERRORS: f64 = 0.01;

/// So many kinds of errors are told.
const MOST_ERRORS: usize = 5;
/// A serial run that waits for a CPU for this share of its time is not alone on the machine.
const BUSY: f64 = 0.1;

/// What was expected of a race.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Who expected it.
    pub by: PredictedBy,
    /// What was recommended.
    pub recommended: Option<Entrant>,
    /// Speed-ups over serial.
    pub speedups: Vec<(Entrant, f64)>,
}

/// What is said of a race.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Every cell.
    pub race: Vec<Cell>,
    /// A curve an executor.
    pub curves: Vec<Curve>,
    /// The fastest.
    pub winner: Option<Winner>,
    /// How far predictions were off.
    pub prediction_error: Option<PredictionError>,
    /// Measured throughput of what was recommended over the winner's.
    pub regret: Option<f64>,
    /// What to beware of.
    pub notes: Vec<String>,
}

/// Sums up.
pub fn summarize(outcome: &Outcome, expected: Option<&Expectation>) -> Summary {
    let cells: Vec<Cell> = outcome.lanes.iter().map(|lane| cell(lane, outcome, expected)).collect();
    let mut notes = Vec::new();
    notes.extend(first_errors(outcome));
    let winner = winner(&cells, &mut notes);
    let regret = winner.as_ref().zip(expected.and_then(|expected| expected.recommended)).and_then(|(best, pick)| {
        let picked = cells.iter().find(|cell| cell.entrant() == pick)?;
        ratio(picked.speedup?, best.speedup)
    });
    notes.extend(crowded(outcome));
    if outcome.rounds < 2 && winner.is_some() {
        notes.push("one round gives no interval: a longer `--budget` tells more".to_owned());
    }
    Summary { curves: curves(&cells), winner, prediction_error: prediction_error(&cells), regret, race: cells, notes }
}

/// What tasks failed of, each kind once, with the first cell that saw it.
fn first_errors(outcome: &Outcome) -> Vec<String> {
    let mut said: Vec<&String> = Vec::new();
    let mut notes = Vec::new();
    for lane in &outcome.lanes {
        let Some(error) = lane.samples.iter().find_map(|(_, sample)| sample.first_error.as_ref()) else { continue };
        // Items come in any order, so that each cell may meet another error of a kind first.
        let kind = |error: &String| error.split(':').next().map(str::to_owned);
        if said.len() < MOST_ERRORS && !said.iter().any(|one| kind(one) == kind(error)) {
            said.push(error);
            let Entrant { executor, workers } = lane.cell;
            notes.push(format!("a task failed under {} with {workers}: {error}", executor.name()));
        }
    }
    notes
}

/// Whether others had the CPUs. Who runs several at once then gets a larger share of them, and seems faster than it is.
fn crowded(outcome: &Outcome) -> Option<String> {
    let samples = outcome.lanes.first()?.samples.iter();
    let shares: Vec<f64> = samples.filter_map(|(_, sample)| sample.run_queue_share).collect();
    let share = quantile(&shares, 0.5).filter(|&share| share > BUSY)?;
    let percent = 100.0 * share;
    Some(format!(
        "the machine was busy: the serial run waited {percent:.0} % of its time for a CPU, which flatters whatever runs \
         several tasks at once; race again when it is quiet"
    ))
}

fn cell(lane: &Lane, outcome: &Outcome, expected: Option<&Expectation>) -> Cell {
    let samples = || lane.samples.iter().map(|(_, sample)| sample);
    let sum = |of: fn(&super::Sample) -> f64| samples().map(of).sum::<f64>();
    let median = |values: Vec<f64>| quantile(&values, 0.5);
    let paired = outcome.lanes.first().map(|baseline| ratios(lane, baseline)).unwrap_or_default();
    let mean = mean_ratio(&paired);
    let predicted = expected.and_then(|expected| expected.speedups.iter().find(|(cell, _)| *cell == lane.cell));
    Cell {
        executor: lane.cell.executor,
        workers: lane.cell.workers,
        tasks_per_second: ratio(sum(|sample| sample.work), sum(|sample| sample.seconds)),
        speedup: mean.map(|(point, _)| point),
        interval: mean.and_then(|(_, interval)| interval).map(|interval| [interval.low, interval.high]),
        predicted_speedup: predicted.map(|(_, speedup)| *speedup),
        p95_seconds: median(samples().filter_map(|sample| sample.p95_seconds).collect()),
        start_seconds: median(samples().filter_map(|sample| sample.start_seconds).collect()),
        tasks: samples().map(|sample| sample.tasks).sum(),
        errors: samples().map(|sample| sample.errors).sum(),
        rounds: lane.samples.len() as u32,
        failure: lane.failure.clone(),
    }
}

fn error_share(cell: &Cell) -> f64 {
    ratio(cell.errors as f64, cell.tasks as f64).unwrap_or(0.0)
}

fn winner(cells: &[Cell], notes: &mut Vec<String>) -> Option<Winner> {
    let baseline = cells.first()?;
    let usual = error_share(baseline);
    if baseline.errors > 0 {
        notes.push(format!("{:.1} % of the tasks failed in the baseline, and are counted as done", 100.0 * usual));
    }
    let mut fit: Vec<&Cell> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.speedup.is_some()) {
        if cell.failure.is_some() {
            // It broke on the way: what it did until then is shown, and is no reason to choose it.
        } else if error_share(cell) > usual + MORE_ERRORS {
            notes.push(format!(
                "{} with {} workers cannot win: {:.1} % of its tasks failed, {:.1} % did in the baseline",
                cell.executor.name(),
                cell.workers,
                100.0 * error_share(cell),
                100.0 * usual
            ));
        } else {
            fit.push(cell);
        }
    }
    let best = *fit.iter().max_by(|one, other| one.speedup.unwrap_or(0.0).total_cmp(&other.speedup.unwrap_or(0.0)))?;
    // Where the best is known from one round, nothing can be told from it, and nothing is said.
    let meets = |cell: &&&Cell| match (cell.interval, best.interval) {
        (Some([_, high]), Some([low, _])) => high >= low && cell.entrant() != best.entrant(),
        _ => false,
    };
    Some(Winner {
        executor: best.executor,
        workers: best.workers,
        tasks_per_second: best.tasks_per_second?,
        speedup: best.speedup?,
        ties: fit.iter().filter(meets).map(|cell| cell.entrant()).collect(),
    })
}

/// Of every executor that has several numbers of workers.
fn curves(cells: &[Cell]) -> Vec<Curve> {
    let several = Contender::ALL.iter().map(|(executor, _)| *executor).filter(|&one| one != Contender::Serial);
    several.filter_map(|executor| curve(executor, cells)).collect()
}

fn curve(executor: Contender, cells: &[Cell]) -> Option<Curve> {
    let points: Vec<(f64, f64)> = cells
        .iter()
        .filter(|cell| cell.executor == executor)
        .filter_map(|cell| Some((f64::from(cell.workers), cell.speedup?)))
        .collect();
    if points.is_empty() {
        return None;
    }
    let peak = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let knee = points.iter().filter(|point| point.1 >= KNEE * peak).map(|point| point.0).fold(f64::INFINITY, f64::min);
    let fitted = fit_scalability(&points);
    let known = fitted.as_ref().ok();
    Some(Curve {
        executor,
        knee_workers: knee.is_finite().then_some(knee as u32),
        sigma: known.map(|fit| fit.sigma),
        kappa: known.map(|fit| fit.kappa),
        peak_workers: known.and_then(|fit| fit.peak_workers()),
        r_squared: known.map(|fit| fit.r_squared),
        refused: fitted.err().map(|why| why.to_string()),
    })
}

fn prediction_error(cells: &[Cell]) -> Option<PredictionError> {
    let off = |cell: &Cell| Some((ratio(cell.predicted_speedup?, cell.speedup?)? - 1.0).abs());
    let errors: Vec<f64> = cells.iter().skip(1).filter_map(off).collect();
    Some(PredictionError { median: quantile(&errors, 0.5)?, p90: quantile(&errors, 0.9)?, cells: errors.len() as u32 })
}

#[cfg(test)]
mod tests {
    use super::super::{Ended, Sample};
    use super::*;

    fn lane(executor: Contender, workers: u32, rates: &[f64], errors: u64) -> Lane {
        let sample = |rate: f64| Sample {
            work: rate,
            tasks: 100,
            errors,
            first_error: None,
            seconds: 1.0,
            p95_seconds: Some(1.0 / rate),
            start_seconds: None,
            run_queue_share: None,
        };
        let samples = rates.iter().enumerate().map(|(round, &rate)| (round as u32 + 1, sample(rate))).collect();
        Lane { cell: Entrant { executor, workers }, samples, failure: None }
    }

    fn outcome(lanes: Vec<Lane>) -> Outcome {
        Outcome { lanes, rounds: 3, seconds: 1.0, ended: Ended::Narrow }
    }

    fn serial() -> Lane {
        lane(Contender::Serial, 1, &[10.0, 20.0, 30.0], 0)
    }

    #[test]
    fn speedups_are_of_the_same_round() {
        let raced = outcome(vec![serial(), lane(Contender::Thread, 2, &[20.0, 40.0, 60.0], 0)]);
        let summary = summarize(&raced, None);
        let cell = &summary.race[1];
        assert!((cell.speedup.expect("known") - 2.0).abs() < 1e-12);
        let [low, high] = cell.interval.expect("three rounds");
        assert!((high - low) < 1e-9, "{low} {high}");
        assert_eq!(summary.winner.map(|winner| (winner.executor, winner.workers)), Some((Contender::Thread, 2)));
    }

    #[test]
    fn who_fails_more_often_does_not_win() {
        let raced = outcome(vec![
            serial(),
            lane(Contender::Thread, 2, &[90.0, 90.0, 90.0], 5),
            lane(Contender::Process, 2, &[15.0, 30.0, 45.0], 0),
        ]);
        let summary = summarize(&raced, None);
        assert_eq!(summary.winner.map(|winner| winner.executor), Some(Contender::Process));
        assert!(
            summary.notes.iter().any(|note| note.contains("thread with 2 workers cannot win")),
            "{:?}",
            summary.notes
        );
    }

    #[test]
    fn a_prediction_is_graded() {
        let raced = outcome(vec![
            serial(),
            lane(Contender::Thread, 2, &[10.0, 20.0, 30.0], 0),
            lane(Contender::Process, 2, &[20.0, 40.0, 60.0], 0),
        ]);
        let of = |executor| Entrant { executor, workers: 2 };
        let expected = Expectation {
            by: PredictedBy::Profile,
            recommended: Some(of(Contender::Thread)),
            speedups: vec![(of(Contender::Thread), 1.1), (of(Contender::Process), 1.6)],
        };
        let summary = summarize(&raced, Some(&expected));
        assert!((summary.regret.expect("both were raced") - 0.5).abs() < 1e-12);
        let error = summary.prediction_error.expect("two can be compared");
        assert!((error.median - 0.1).abs() < 1e-9 && (error.p90 - 0.2).abs() < 1e-9 && error.cells == 2, "{error:?}");
        let unraced = Expectation { recommended: Some(of(Contender::Loky)), speedups: Vec::new(), ..expected };
        let summary = summarize(&raced, Some(&unraced));
        assert_eq!((summary.regret, summary.prediction_error), (None, None));
    }

    #[test]
    fn a_curve_has_its_knee_and_its_fit_or_why_not() {
        let many = |workers, rate: f64| lane(Contender::Thread, workers, &[rate, 2.0 * rate, 3.0 * rate], 0);
        let raced = outcome(vec![
            serial(),
            many(1, 10.0),
            many(2, 18.0),
            many(4, 30.0),
            many(8, 30.5),
            lane(Contender::Process, 2, &[15.0, 30.0, 45.0], 0),
        ]);
        let curves = summarize(&raced, None).curves;
        assert_eq!(
            curves.iter().map(|curve| curve.executor).collect::<Vec<_>>(),
            [Contender::Thread, Contender::Process]
        );
        assert_eq!(curves[0].knee_workers, Some(4));
        assert!(curves[0].sigma.is_some() && curves[0].refused.is_none(), "{:?}", curves[0]);
        assert!(curves[1].sigma.is_none() && curves[1].refused.is_some(), "{:?}", curves[1]);
    }

    #[test]
    fn a_busy_machine_is_told() {
        let told = |share: f64| {
            let mut serial = serial();
            serial.samples.iter_mut().for_each(|(_, sample)| sample.run_queue_share = Some(share));
            summarize(&outcome(vec![serial]), None).notes.iter().any(|note| note.contains("the machine was busy"))
        };
        assert!(told(0.4) && !told(0.02));
    }

    #[test]
    fn what_was_not_measured_is_not_known() {
        let mut broken = lane(Contender::Process, 2, &[], 0);
        broken.failure = Some("a worker died".to_owned());
        let summary = summarize(&outcome(vec![serial(), broken]), None);
        let cell = &summary.race[1];
        assert_eq!((cell.tasks_per_second, cell.speedup, cell.p95_seconds), (None, None, None));
        assert_eq!(summary.winner.map(|winner| winner.executor), Some(Contender::Serial));
    }
}
