//! Threads of one process: they share the interpreter lock and the cores.
//!
//! X(N) ≤ min( N/(D+Z+δ), 1/D_gil, C/D ); each release costs a hand-over as soon as another thread wants the lock.

use super::{Bottleneck, Bound, Costs, Executor, MODEL_ERROR, Prediction, Room, TaskDemand, interval};
use crate::laws::closed_throughput;
use crate::units::ratio;

/// Throughput with `workers` threads.
pub fn predict(task: &TaskDemand, costs: &Costs, room: &Room, workers: u32) -> Prediction {
    let serial = task.serial_seconds(room);
    let modelled = |gil: f64, run: Option<f64>| modelled(task, costs, room, workers, Lock { gil, run });
    let shortest = task.shortest_run.or(task.released_run);
    let (point, cause) = modelled(task.gil.point, task.released_run.or(task.shortest_run));
    let low = modelled(task.gil.high, shortest).0.min(modelled(task.gil.point, shortest).0) * serial;
    let high = modelled(task.gil.low, task.released_run).0 * serial;
    Prediction {
        executor: Executor::Thread,
        workers,
        speedup: interval((low, point * serial, high), MODEL_ERROR, task, workers),
        limited_by: cause,
        most_of_best: None,
    }
}

/// How a task uses the interpreter lock, seconds.
#[derive(Clone, Copy)]
struct Lock {
    /// That it holds it.
    gil: f64,
    /// Mean length of a run without it; `None`: it never lets go in a way that could cost a hand-over.
    run: Option<f64>,
}

/// Tasks a second, and what holds it.
fn modelled(task: &TaskDemand, costs: &Costs, room: &Room, workers: u32, lock: Lock) -> (f64, Bottleneck) {
    let Lock { gil, run } = lock;
    let count = f64::from(workers);
    // A held lock is CPU but for what is held while waiting.
    let waiting = task.held_waiting.min(gil);
    let released = (task.own_cpu - (gil - waiting)).max(0.0);
    let releases = run.and_then(|run| ratio(released, run)).unwrap_or(0.0);
    // Who waits for the lock sleeps and must be woken: a tenure then costs the hand-over besides. Others wait if they come
    // back for it, after a released run, sooner than the tenures of the others are over.
    let tenure = ratio(gil, releases).unwrap_or(0.0) + costs.gil_handover;
    let wanted = ratio(tenure * (count - 1.0), run.unwrap_or(f64::INFINITY)).unwrap_or(0.0).min(1.0);
    let handed = releases * costs.gil_handover * wanted;
    let lock = gil + costs.thread_dispatch + handed;
    let cpu = task.cpu.max(gil - waiting) + costs.thread_dispatch + handed;
    let bounds = [
        Bound::new(count, task.seconds() + (cpu - task.cpu), Bottleneck::Workers),
        Bound::new(1.0, lock, Bottleneck::Gil),
        Bound::new(room.cores, cpu, Bottleneck::Cores),
    ];
    let bound = Bound::tightest(&bounds).locked(task);
    let outside = (cpu - (lock - waiting)).max(0.0);
    // What computes on several CPUs at once does not visit them one after another.
    if task.alone.is_some() {
        return (bound.per_second, bound.cause);
    }
    let queued = closed_throughput(count, &[(lock, 1.0), (outside, room.cores)], (task.wait - waiting).max(0.0));
    (bound.per_second.min(queued), bound.cause)
}
