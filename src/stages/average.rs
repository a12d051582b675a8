//! Several runs of one command: stages of the same id joined, the score's interval from the spread between runs.

use super::gil::{GilShare, Releases};
use super::{FirstCalls, GilEvidence, SeenTasks, Stage, Stages};
use crate::laws::spread_of_runs;
use crate::timeline::Demand;
use crate::units::{Estimate, Span, ratio};

/// Joins runs. Demands, wall times and the numbers of tasks become means, how long tasks took and what was read of the
/// lock are joined, and everything else is the last run's. `None` for no run.
pub fn average(mut runs: Vec<Stages>) -> Option<Stages> {
    let mut last = runs.pop()?;
    if runs.is_empty() {
        return Some(last);
    }
    for stage in &mut last.stages {
        let mut same: Vec<Stage> =
            runs.iter().filter_map(|run| run.stages.iter().find(|other| other.id == stage.id)).cloned().collect();
        same.push(stage.clone());
        stage.demand = mean(&same);
        stage.first_calls = mean_firsts(&same);
        stage.joins_open = same.iter().any(|stage| stage.joins_open);
        stage.gil = joined_gil(&same);
        stage.score = joined_score(&same);
        for other in &same[..same.len() - 1] {
            if let (Some(tasks), Some(more)) = (&mut stage.tasks, &other.tasks) {
                tasks.merge(more);
            }
        }
        if let Some(tasks) = &mut stage.tasks {
            share_tasks(tasks, same.len() as u64);
        }
        let walls: f64 = same.iter().map(|stage| stage.wall.secs_f64()).sum();
        stage.wall = Span::from_secs_f64(walls / same.len() as f64);
    }
    Some(last)
}

/// What is divided by the number of tasks is a mean of the runs, so that number must be, too. No failure is rounded away.
fn share_tasks(tasks: &mut SeenTasks, runs: u64) {
    let totals = &mut tasks.totals;
    totals.count = totals.count.div_ceil(runs);
    tasks.recorded = tasks.recorded.div_ceil(runs);
    tasks.handed = tasks.handed.div_ceil(runs);
    tasks.first = (tasks.first.0.div_ceil(runs), tasks.first.1.scaled(1.0 / runs as f64));
    totals.failed = totals.failed.div_ceil(runs);
    totals.unretrieved = totals.unretrieved.div_ceil(runs);
    totals.begun = totals.begun.div_ceil(runs);
    tasks.open = (tasks.open.0.div_ceil(runs), tasks.open.1.scaled(1.0 / runs as f64));
}

/// The readings of all runs, each run by how many there are; where only some were read, those.
fn joined_gil(stages: &[Stage]) -> GilEvidence {
    let told = || {
        stages.iter().filter_map(|stage| match &stage.gil {
            GilEvidence::Measured(one) | GilEvidence::Thin(one) => Some(one),
            GilEvidence::NotPython | GilEvidence::Unknown(_) | GilEvidence::Absent => None,
        })
    };
    let Some(last) = stages.last() else { return GilEvidence::Unknown(None) };
    let samples: u64 = told().map(|one| one.samples).sum();
    if samples == 0 || matches!(last.gil, GilEvidence::NotPython | GilEvidence::Absent) {
        return last.gil.clone();
    }
    let weight = |one: &GilShare| one.samples as f64 / samples as f64;
    let point: f64 = told().map(|one| one.share.point * weight(one)).sum();
    let low = told().map(|one| ((one.share.point - one.share.low) * weight(one)).powi(2)).sum::<f64>().sqrt();
    let high = told().map(|one| ((one.share.high - one.share.point) * weight(one)).powi(2)).sum::<f64>().sqrt();
    let share = Estimate::new(point - low, point, point + high).clamped(0.0, 1.0);
    let runs = told().filter_map(|one| one.released_run.map(|run| (run * one.samples as f64, one.samples as f64)));
    let (sum, weight) = runs.fold((0.0, 0.0), |(sum, weight), (run, samples)| (sum + run, weight + samples));
    let mut releases = Releases::default();
    told().for_each(|one| releases.add(&one.releases));
    GilShare {
        share,
        released_run: ratio(sum, weight),
        shortest_run: releases.shortest_run(share),
        samples,
        bursts: told().map(|one| one.bursts).sum(),
        releases,
    }
    .judged()
}

fn mean(stages: &[Stage]) -> Demand {
    let mut sum = Demand::default();
    for stage in stages {
        sum.add(&stage.demand);
    }
    sum.scaled(1.0 / stages.len().max(1) as f64)
}

/// What first calls took in each run, on average; a run where they were not dear left none out.
fn mean_firsts(stages: &[Stage]) -> Option<FirstCalls> {
    let found = || stages.iter().filter_map(|stage| stage.first_calls);
    let tasks: u64 = found().map(|first| first.tasks).sum();
    let seconds = ratio(found().map(|first| first.seconds * first.tasks as f64).sum(), tasks as f64)?;
    let mut demand = Demand::default();
    found().for_each(|first| demand.add(&first.demand));
    let runs = stages.len() as u64;
    Some(FirstCalls { tasks: tasks.div_ceil(runs), seconds, demand: demand.scaled(1.0 / runs as f64) })
}

/// The mean of the runs' scores. Its interval is the narrower of two honest ones: the spread between the runs, and the
/// runs' own intervals joined as independent.
fn joined_score(stages: &[Stage]) -> Option<Estimate> {
    let scores: Vec<Estimate> = stages.iter().filter_map(|stage| stage.score).collect();
    let spread = spread_of_runs(&scores.iter().map(|score| score.point).collect::<Vec<_>>())?;
    let count = scores.len() as f64;
    let within =
        |side: fn(&Estimate) -> f64| scores.iter().map(|score| side(score).powi(2)).sum::<f64>().sqrt() / count;
    let low = spread.half_width.min(within(|score| score.point - score.low));
    let high = spread.half_width.min(within(|score| score.high - score.point));
    // With few runs the spread itself is badly known; never claim more than half of what one run would.
    let floor = within(|score| score.high - score.low) / 4.0;
    Some(Estimate::new(spread.ratio - low.max(floor), spread.ratio, spread.ratio + high.max(floor)).clamped(0.0, 1.0))
}
