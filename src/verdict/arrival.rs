//! A rate of arrivals against the recommended executor: how many workers keep up, or that none do.

use super::diagnose::Warning;
use super::recommend::Recommendation;
use super::{Evidence, Executor, Payload, Reason, Terms};
use crate::laws::thread_of_children_bound;
use crate::predict::{self, MOST_WORKERS, Room, curve, staffing, worker_counts};
use crate::units::ratio;

/// Adds what `rate` tasks a second ask for; the warning where no number of workers keeps up. Nothing where the throughput
/// of the recommended executor is not known.
pub fn answer(
    rate: f64,
    evidence: &Evidence,
    payload: Option<&Payload>,
    terms: &Terms,
    recommendation: &mut Recommendation,
) -> Option<Warning> {
    let throughput = throughput(evidence, payload, terms, recommendation.executor);
    let seconds = ratio(evidence.cpu + evidence.wait, evidence.tasks as f64)?;
    let arrival = staffing(rate, seconds, &throughput)?;
    recommendation.arrival = Some(arrival);
    let Some(workers) = arrival.workers else {
        return Some(Warning::RateUnreachable { rate, most: arrival.per_second });
    };
    recommendation.reasons.push(Reason::ArrivalRate {
        rate,
        busy: arrival.busy,
        workers,
        per_second: arrival.per_second,
    });
    None
}

/// Tasks a second that each number of workers gets through.
fn throughput(evidence: &Evidence, payload: Option<&Payload>, terms: &Terms, executor: Executor) -> Vec<(u32, f64)> {
    let Some(one) = ratio(1.0, (evidence.cpu + evidence.wait) / evidence.tasks.max(1) as f64) else {
        return Vec::new();
    };
    let room = Room { cores: terms.capacity.cores, memory_bytes: terms.capacity.memory_bytes };
    if let (true, Some(costs)) = (evidence.is_inside, &terms.costs) {
        let (Some(task), Some(executor)) = (evidence.task_with(payload), predicted(executor)) else {
            return Vec::new();
        };
        let alone = 1.0 / (task.cpu + task.wait);
        let curve = curve(executor, &task, &evidence.dispatched(costs), &room, MOST_WORKERS);
        return curve.iter().map(|prediction| (prediction.workers, prediction.speedup.point * alone)).collect();
    }
    match executor {
        Executor::Serial => vec![(1, one)],
        Executor::Thread | Executor::Process if !evidence.is_python || evidence.wait > evidence.cpu => {
            let room = evidence.room(room.cores);
            let bound = |count| thread_of_children_bound(f64::from(count), room, evidence.cpu, evidence.wait);
            worker_counts().map_while(|count| Some((count, bound(count)? * one))).collect()
        }
        _ => Vec::new(),
    }
}

/// The executor as predictions know it.
fn predicted(executor: Executor) -> Option<predict::Executor> {
    match executor {
        Executor::Serial => Some(predict::Executor::Serial),
        Executor::Thread => Some(predict::Executor::Thread),
        Executor::Asyncio => Some(predict::Executor::Asyncio),
        Executor::Process => Some(predict::Executor::Process),
        Executor::Interpreter | Executor::Split => None,
    }
}
