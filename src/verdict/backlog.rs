//! Whether a stage's queue grows without bound: tasks are handed in faster than its workers get through them, for most of
//! its life. Must not take a queue that is filled once and then worked off for one that grows.
//!
//! ```text
//! length   grows: ..::||      filled once: |||::..      in batches: |:. |:. |:.
//! ```

use super::diagnose::Warning;
use crate::stages::SeenTasks;

/// Fewer pieces tell no trend.
const FEWEST_PIECES: usize = 16;
/// The queue must be longest no earlier than in this share of its life: what is handed in at once is worked off from
/// its start.
const LATE: f64 = 0.6;
/// In each quarter until then its least length must rise: batches that are worked off in between do not.
const QUARTERS: usize = 4;
/// Its least length in the last quarter, in workers.
const DEEP: f64 = 2.0;
/// The delay in the last quarter over that in the first.
const SLOWER: f64 = 2.0;
/// Over at least so many seconds.
const SECONDS: f64 = 1.0;

/// The warning of a queue that grows.
pub(super) fn growing(tasks: &SeenTasks) -> Option<Warning> {
    let workers = tasks.workers?;
    let beyond = tasks.beyond_recorded().max(1.0);
    let depths: Vec<f64> = tasks.backlog.depths().iter().map(|depth| depth * beyond).collect();
    let longest = (0..depths.len()).max_by(|&one, &other| depths[one].total_cmp(&depths[other]))?;
    let seconds = (longest + 1) as f64 * tasks.backlog.width().secs_f64();
    if longest + 1 < FEWEST_PIECES || (longest as f64) < LATE * depths.len() as f64 || seconds < SECONDS {
        return None;
    }
    let least = least_by_quarter(&depths[..=longest]);
    let quarter = (longest + 1) / QUARTERS;
    let before = tasks.backlog.delay(0..quarter)?;
    let after = tasks.backlog.delay(longest + 1 - quarter..longest + 1)?;
    let rises = least.windows(2).all(|two| two[1] > two[0]);
    let last = *least.last()?;
    (rises && last > DEEP * f64::from(workers) && after > SLOWER * before).then_some(Warning::QueueGrowing {
        depth: depths[longest],
        workers,
        seconds,
        delays: (before, after),
    })
}

fn least_by_quarter(depths: &[f64]) -> Vec<f64> {
    let part = |quarter: usize| &depths[quarter * depths.len() / QUARTERS..(quarter + 1) * depths.len() / QUARTERS];
    (0..QUARTERS).map(|quarter| part(quarter).iter().copied().fold(f64::INFINITY, f64::min)).collect()
}
