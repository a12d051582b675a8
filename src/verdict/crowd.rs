//! Whether more threads want a CPU than there are CPUs, and because of whom: the tasks' own number, or the threads that a
//! library starts in each. Must not change a verdict.

use super::diagnose::Warning;
use crate::stages::{Kind, Stage};
use crate::units::ratio;

/// A task that keeps so many threads busy computes with threads of its own,
pub(super) const NESTED: f64 = 1.5;
/// if at least so many of them run at once.
const FEWEST_AT_ONCE: u64 = 2;
/// More runnable threads than so many times the cores take turns, for nothing: a core and its sibling may share one
/// core's worth, so up to twice as many can be meant.
const CROWDED: f64 = 2.0;
/// The stage itself must hold at least this share of the cores: else others do, and its threads queue for them.
const OWN_SHARE: f64 = 0.8;
/// Over at least so many seconds.
const SECONDS: f64 = 0.5;

/// The warning of a stage whose threads crowd so many cores.
pub(super) fn crowd(stage: &Stage, cores: f64) -> Option<Warning> {
    let wall = stage.wall.secs_f64();
    let wanted = ratio(stage.demand.on_cpu + stage.demand.run_queue, wall).filter(|_| wall >= SECONDS)?;
    if stage.kind == Kind::Coroutine || stage.outside_stages {
        return None;
    }
    nested(stage, wanted, cores).or_else(|| outnumbered(stage, wanted, cores))
}

/// Threads that the tasks' libraries started multiply the pool.
fn nested(stage: &Stage, wanted: f64, cores: f64) -> Option<Warning> {
    let tasks = stage.threads.min(u64::from(stage.workers));
    let each = stage.threads_a_task.filter(|&each| each >= NESTED && tasks >= FEWEST_AT_ONCE)?;
    (each * tasks as f64 > cores && wanted > cores).then_some(Warning::NestedThreads { tasks, each, cores })
}

/// The pool, or the program, has more threads that want a CPU than there are.
fn outnumbered(stage: &Stage, wanted: f64, cores: f64) -> Option<Warning> {
    let wall = stage.wall.secs_f64();
    let held = ratio(stage.demand.on_cpu, wall)?;
    let per_second = ratio(stage.involuntary? as f64, wall)?;
    (wanted > CROWDED * cores && held > OWN_SHARE * cores).then_some(Warning::TooManyThreads {
        runnable: wanted,
        cores,
        per_second,
    })
}
