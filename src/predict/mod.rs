//! Predictions: the throughput of a stage's tasks under each executor, from what one task demands and what this host's
//! dispatch costs. Bounds from `laws`; every prediction has an interval and the bottleneck that holds it. Pure.

mod arrival;
mod asyncio;
mod processes;
mod threads;

pub use arrival::{Arrival, BUSY, staffing};

use crate::units::{Estimate, ratio};

/// An executor whose throughput can be predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Executor {
    /// No pool.
    Serial,
    /// A pool of threads.
    Thread,
    /// An event loop.
    Asyncio,
    /// A pool of processes.
    Process,
}

/// What keeps a prediction from more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bottleneck {
    /// Cores.
    Cores,
    /// The interpreter lock.
    Gil,
    /// The number of workers.
    Workers,
    /// Moving payloads.
    Ipc,
    /// The parent's serial work.
    Parent,
    /// Memory.
    Memory,
    /// A lock of the program that tasks wait for in turns.
    Lock,
}

/// What one task demands, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskDemand {
    /// CPU time.
    pub cpu: f64,
    /// Of that, what its own threads used: the rest is its children's.
    pub own_cpu: f64,
    /// Of its own, time that the interpreter lock is held; with what is held while blocked.
    pub gil: Estimate,
    /// How long one takes by itself, where it computes on several CPUs at once: less than `cpu` and `wait` together.
    pub alone: Option<f64>,
    /// Of `gil`, what is held while waiting.
    pub held_waiting: f64,
    /// Of a coroutine's wait, what keeps its loop waiting.
    pub loop_waiting: f64,
    /// Own wait.
    pub wait: f64,
    /// Mean length of a run with the lock released.
    pub released_run: Option<f64>,
    /// The shortest that it may be by what was seen; without a mean, threads are predicted with it, and never are more optimistic.
    pub shortest_run: Option<f64>,
    /// Moving its payload, where that is known.
    pub payload: Option<PayloadDemand>,
    /// Whether a payload can be pickled at all, where that was tried.
    pub picklable: Option<bool>,
    /// Whether what it waits for can be awaited: sockets and clocks.
    pub awaitable: bool,
    /// Resident memory of one worker process.
    pub worker_bytes: Option<u64>,
    /// Tasks a second that a lock of the program let through, where most of the wait was for it.
    pub lock_limit: Option<f64>,
    /// Whether processes would wait for that lock as well: they were seen to. A lock of threads each process has to itself.
    pub lock_spans_processes: bool,
    /// How many ran at once when it was measured.
    pub seen_at_once: f64,
}

impl TaskDemand {
    /// How long one takes by itself, seconds.
    pub fn seconds(&self) -> f64 {
        self.alone.unwrap_or(self.cpu + self.wait)
    }

    /// The same where there is less than a core: its CPU time then takes longer.
    fn serial_seconds(&self, room: &Room) -> f64 {
        self.seconds() + self.cpu * (1.0 / room.cores.min(1.0) - 1.0)
    }
}

/// What moving one task's payload demands, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PayloadDemand {
    /// CPU in the parent: pickling arguments, unpickling results, writing and reading the pipes.
    pub parent: f64,
    /// CPU in the worker: the counterpart.
    pub worker: f64,
    /// Wall time that it keeps a pipe of the pool busy, which all workers share.
    pub transfer: f64,
    /// How much these may be off, either way, as a share of them.
    pub error: f64,
}

/// How much the price of a payload may be off where nothing more is known.
pub const PAYLOAD_ERROR: f64 = 0.25;

/// What dispatch costs on this host and interpreter, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// Handing one task to a thread and taking its result: all of it with the lock held.
    pub thread_dispatch: f64,
    /// Handing one task to a process, in the parent.
    pub process_parent: f64,
    /// And in the worker.
    pub process_worker: f64,
    /// A worker process between two tasks, though others wait.
    pub process_idle: f64,
    /// One step of an event loop.
    pub asyncio_dispatch: f64,
    /// Handing the lock from one thread to another that wants it.
    pub gil_handover: f64,
}

/// What the host offers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// Usable cores.
    pub cores: f64,
    /// Memory that workers may fill.
    pub memory_bytes: Option<u64>,
}

/// Throughput of an executor at a number of workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Which.
    pub executor: Executor,
    /// With how many workers.
    pub workers: u32,
    /// Throughput over serial.
    pub speedup: Estimate,
    /// What keeps it from more.
    pub limited_by: Bottleneck,
    /// The most that its throughput may be over that of the executor that is recommended, whatever is open of both; `None`
    /// until one is.
    pub most_of_best: Option<f64>,
}

/// More workers than this are never looked at.
pub const MOST_WORKERS: u32 = 512;

/// Numbers of workers that are looked at: every one up to 16, then in steps of a quarter.
pub fn worker_counts() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1u32), |&count| Some(if count < 16 { count + 1 } else { count + count / 4 }))
        .take_while(|&count| count <= MOST_WORKERS)
}

/// The throughput of one executor with so many workers; `None` where it cannot be used.
pub fn at(executor: Executor, task: &TaskDemand, costs: &Costs, room: &Room, workers: u32) -> Option<Prediction> {
    if task.cpu + task.wait <= 0.0 || room.cores <= 0.0 {
        return None;
    }
    match executor {
        Executor::Serial => Some(Prediction {
            executor,
            workers: 1,
            speedup: Estimate::new(1.0, 1.0, 1.0),
            limited_by: Bottleneck::Workers,
            most_of_best: None,
        }),
        Executor::Thread => Some(threads::predict(task, costs, room, workers)),
        Executor::Asyncio => task.awaitable.then(|| asyncio::predict(task, costs, room, workers)),
        Executor::Process => processes::predict(task, costs, room, workers),
    }
}

/// The curve of one executor over up to `most` workers; empty where it cannot be used.
pub fn curve(executor: Executor, task: &TaskDemand, costs: &Costs, room: &Room, most: u32) -> Vec<Prediction> {
    let most = if executor == Executor::Serial { 1 } else { most.min(MOST_WORKERS) };
    // The last step ends at the most itself: what only waits wants all that it may have.
    worker_counts()
        .take_while(|&count| count < most)
        .chain((most > 0).then_some(most))
        .map_while(|workers| at(executor, task, costs, room, workers))
        .collect()
}

/// The least number of workers that reaches `share` of a curve's peak.
pub fn knee(curve: &[Prediction], share: f64) -> Option<Prediction> {
    let peak = curve.iter().map(|one| one.speedup.point).fold(0.0, f64::max);
    curve.iter().find(|one| one.speedup.point >= share * peak).copied()
}

/// A bound on throughput and its cause.
#[derive(Debug, Clone, Copy)]
struct Bound {
    per_second: f64,
    cause: Bottleneck,
}

impl Bound {
    fn new(workers: f64, seconds: f64, cause: Bottleneck) -> Bound {
        Bound { per_second: ratio(workers, seconds).unwrap_or(f64::INFINITY), cause }
    }

    /// Where tasks were seen to queue for a lock, no executor that shares it lets more of them through.
    fn locked(self, task: &TaskDemand) -> Bound {
        match task.lock_limit {
            Some(limit) if limit < self.per_second => Bound { per_second: limit, cause: Bottleneck::Lock },
            _ => self,
        }
    }

    fn tightest(bounds: &[Bound]) -> Bound {
        let none = Bound { per_second: f64::INFINITY, cause: Bottleneck::Workers };
        bounds
            .iter()
            .copied()
            .fold(none, |least, bound| if bound.per_second < least.per_second { bound } else { least })
    }
}

/// Beyond the concurrency that was seen, that the wait stays the same is an assumption: the interval opens downwards by
/// this much for each doubling.
const UNSEEN_DOUBLING: f64 = 0.05;
/// How far the model of threads and loops may be off.
const MODEL_ERROR: f64 = 0.08;
/// And that of processes, where parent and workers compete for cores and caches.
const PROCESS_ERROR: f64 = 0.15;

/// An interval around a modelled speed-up: that of its inputs, the model's own error, and what was not seen.
fn interval((low, point, high): (f64, f64, f64), error: f64, task: &TaskDemand, workers: u32) -> Estimate {
    let doublings = (f64::from(workers) / task.seen_at_once.max(1.0)).log2().max(0.0);
    let waits = ratio(task.wait, task.wait + task.cpu).unwrap_or(0.0);
    let unseen = (UNSEEN_DOUBLING * doublings * waits).min(0.5);
    Estimate::new(low * (1.0 - error - unseen).max(0.0), point, high * (1.0 + error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COSTS: Costs = Costs {
        thread_dispatch: 20e-6,
        process_parent: 100e-6,
        process_worker: 60e-6,
        process_idle: 200e-6,
        asyncio_dispatch: 10e-6,
        gil_handover: 5e-6,
    };

    fn task(cpu: f64, share: f64, wait: f64, payload: f64) -> TaskDemand {
        TaskDemand {
            cpu,
            own_cpu: cpu,
            gil: Estimate::new(cpu * share, cpu * share, cpu * share),
            alone: None,
            held_waiting: 0.0,
            loop_waiting: 0.0,
            wait,
            released_run: None,
            shortest_run: None,
            payload: Some(PayloadDemand { parent: payload, worker: payload, transfer: payload, error: PAYLOAD_ERROR }),
            picklable: Some(true),
            awaitable: true,
            worker_bytes: None,
            lock_limit: None,
            lock_spans_processes: false,
            seen_at_once: 1.0,
        }
    }

    fn best(executor: Executor, task: &TaskDemand, cores: f64) -> f64 {
        let room = Room { cores, memory_bytes: None };
        curve(executor, task, &COSTS, &room, 512).iter().map(|one| one.speedup.point).fold(0.0, f64::max)
    }

    #[test]
    fn a_held_lock_wants_processes_and_a_released_one_threads() {
        let held = task(1e-2, 1.0, 0.0, 1e-5);
        assert!(best(Executor::Process, &held, 2.0) > 1.7 && best(Executor::Thread, &held, 2.0) < 1.05);
        let released = task(1e-2, 0.0, 0.0, 1e-2);
        assert!(best(Executor::Thread, &released, 2.0) > 1.8 && best(Executor::Process, &released, 2.0) < 1.1);
        let tiny = task(1e-7, 1.0, 0.0, 0.0);
        assert!(best(Executor::Thread, &tiny, 2.0) < 0.1 && best(Executor::Process, &tiny, 2.0) < 0.1);
        // What its children compute releases nothing: they have no lock.
        let parent = TaskDemand {
            own_cpu: 1e-4,
            gil: Estimate::new(3e-5, 3e-5, 3e-5),
            released_run: Some(6e-6),
            shortest_run: None,
            ..task(1e-2, 0.0, 0.0, 0.0)
        };
        assert!(best(Executor::Thread, &parent, 2.0) > 1.8, "{}", best(Executor::Thread, &parent, 2.0));
        let waits_with_it =
            TaskDemand { gil: Estimate::new(3e-3, 3e-3, 3e-3), held_waiting: 3e-3, ..task(1e-5, 0.0, 3e-3, 0.0) };
        assert!(
            best(Executor::Thread, &waits_with_it, 2.0) < 1.05 && best(Executor::Asyncio, &waits_with_it, 2.0) < 1.05
        );
        assert!(best(Executor::Process, &waits_with_it, 2.0) > 10.0);
        // Two threads of its own fill both cores already.
        let parallel = TaskDemand { alone: Some(5.5e-3), ..task(1e-2, 0.0, 0.0, 1e-5) };
        assert!(best(Executor::Thread, &parallel, 2.0) < 1.15 && best(Executor::Process, &parallel, 2.0) < 1.15);
        assert!(best(Executor::Thread, &parallel, 8.0) > 3.0);
        let churn = TaskDemand { released_run: Some(3e-6), ..task(1e-3, 0.23, 0.0, 0.0) };
        assert!(best(Executor::Thread, &churn, 2.0) < 1.05, "{}", best(Executor::Thread, &churn, 2.0));
    }

    proptest! {
        #[test]
        fn laws_hold(cpu in 1e-5f64..1.0, share in 0.0f64..1.0, wait in 0.0f64..1.0, payload in 0.0f64..0.1, cores in 1.0f64..64.0, more in 0.0f64..1.0) {
            let one = task(cpu, share, wait, payload);
            let dearer = TaskDemand { payload: Some(PayloadDemand { parent: payload + more, worker: payload + more, transfer: payload + more, error: PAYLOAD_ERROR }), ..one };
            prop_assert!(best(Executor::Process, &dearer, cores) <= best(Executor::Process, &one, cores) + 1e-9);
            let held = task(cpu, share + (1.0 - share) * more, wait, payload);
            prop_assert!(best(Executor::Thread, &held, cores) <= best(Executor::Thread, &one, cores) + 1e-9);
            prop_assert!(best(Executor::Thread, &one, cores + more) >= best(Executor::Thread, &one, cores) - 1e-9);
            prop_assert!(best(Executor::Process, &one, cores + more) >= best(Executor::Process, &one, cores) - 1e-9);
            for executor in [Executor::Thread, Executor::Process, Executor::Asyncio] {
                for prediction in curve(executor, &one, &COSTS, &Room { cores, memory_bytes: None }, 512) {
                    let bound = f64::from(prediction.workers).min(cores * (cpu + wait) / cpu);
                    let bound = if executor == Executor::Asyncio { (cpu + wait) / cpu } else { bound };
                    prop_assert!(prediction.speedup.point <= bound * (1.0 + 1e-9), "{prediction:?} {bound}");
                    prop_assert!(prediction.speedup.low <= prediction.speedup.point && prediction.speedup.point <= prediction.speedup.high);
                }
            }
        }
    }
}
