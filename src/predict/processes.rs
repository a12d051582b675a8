//! Processes: each has a lock of its own, and every task's payload is pickled, moved and unpickled both ways by a parent
//! that shares the cores with its workers.
//!
//! X(N) ≤ min( N/(D+Z+ipc), C/(D+ipc_cpu), 1/D_parent, 1/D_pipe )

use super::{Bottleneck, Bound, Costs, Executor, PROCESS_ERROR, Prediction, Room, TaskDemand, interval};
use crate::laws::uneven_throughput;

/// Share of the memory that a pool may fill.
const MEMORY_SHARE: f64 = 0.8;

/// Throughput with `workers` processes; `None` where these cannot be: not picklable, not enough memory, payload unknown.
pub fn predict(task: &TaskDemand, costs: &Costs, room: &Room, workers: u32) -> Option<Prediction> {
    if task.picklable == Some(false) {
        return None;
    }
    let payload = task.payload?;
    if let (Some(bytes), Some(memory)) = (task.worker_bytes, room.memory_bytes)
        && f64::from(workers) * bytes as f64 > MEMORY_SHARE * memory as f64
        && workers > 1
    {
        return None;
    }
    let serial = task.serial_seconds(room);
    let at = |factor: f64| {
        let parent = costs.process_parent + payload.parent * factor;
        let worker = costs.process_worker + payload.worker * factor;
        modelled(task, room, f64::from(workers), (parent, worker), (costs.process_idle, payload.transfer * factor))
    };
    let (point, mut cause) = at(1.0);
    if matches!(cause, Bottleneck::Parent) && payload.parent > costs.process_parent {
        cause = Bottleneck::Ipc;
    }
    let (low, high) = (at(1.0 + payload.error).0 * serial, at((1.0 - payload.error).max(0.0)).0 * serial);
    Some(Prediction {
        executor: Executor::Process,
        workers,
        speedup: interval((low, point * serial, high), PROCESS_ERROR, task, workers),
        limited_by: cause,
        most_of_best: None,
    })
}

fn modelled(
    task: &TaskDemand,
    room: &Room,
    count: f64,
    (parent, worker): (f64, f64),
    (idle, transfer): (f64, f64),
) -> (f64, Bottleneck) {
    let bounds = [
        Bound::new(count, task.seconds() + worker, Bottleneck::Workers),
        Bound::new(room.cores, task.cpu + worker + parent, Bottleneck::Cores),
        Bound::new(1.0, parent, Bottleneck::Parent),
        // One thread writes all arguments into one pipe, which holds little: it goes on as fast as they are read.
        Bound::new(1.0, transfer, Bottleneck::Ipc),
    ];
    let tightest = Bound::tightest(&bounds);
    let bound = if task.lock_spans_processes { tightest.locked(task) } else { tightest };
    if task.alone.is_some() {
        return (bound.per_second, bound.cause);
    }
    // The parent works on the same cores. Between two tasks of a worker lie the hand-overs from its parent's threads to it
    // and back; with more workers than cores others compute meanwhile.
    let queued = uneven_throughput(count, &[(task.cpu + worker + parent, room.cores)], task.wait + idle);
    (bound.per_second.min(queued), bound.cause)
}
