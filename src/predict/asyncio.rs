//! An event loop: one thread that runs whatever is ready; only what can be awaited overlaps.
//!
//! X(N) ≤ min( N/(D+Z+δ), 1/(D+δ) )

use super::{Bottleneck, Bound, Costs, Executor, MODEL_ERROR, Prediction, Room, TaskDemand, interval};
use crate::laws::closed_throughput;

/// Throughput with `workers` coroutines at once.
pub fn predict(task: &TaskDemand, costs: &Costs, room: &Room, workers: u32) -> Prediction {
    let serial = task.serial_seconds(room);
    // A loop goes on with nothing while C code waits with the lock in hand, or a coroutine waits without awaiting.
    let blocking = task.held_waiting.max(task.loop_waiting).min(task.wait);
    let cpu = task.cpu + blocking + costs.asyncio_dispatch;
    let wait = task.wait - blocking;
    let count = f64::from(workers);
    let cores = room.cores.min(1.0);
    let bound =
        Bound::tightest(&[Bound::new(count, cpu + wait, Bottleneck::Workers), Bound::new(cores, cpu, Bottleneck::Gil)])
            .locked(task);
    let point = bound.per_second.min(closed_throughput(count, &[(cpu, 1.0)], wait)) * serial;
    Prediction {
        executor: Executor::Asyncio,
        workers,
        speedup: interval((point, point, point), MODEL_ERROR, task, workers),
        limited_by: bound.cause,
        most_of_best: None,
    }
}
