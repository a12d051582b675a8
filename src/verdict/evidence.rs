//! What a verdict rests on, as plain values: a stage that was just measured gives it, and so does a saved report, which
//! carries the same numbers. Everything that judges takes this and nothing else of a stage. Must not judge.

use super::crowd::NESTED;
use super::diagnose::TAKES_LOCK;
use super::{Executor, Payload};
use crate::laws::demand_of_queue;
use crate::predict::{Costs, PAYLOAD_ERROR, PayloadDemand, TaskDemand};
use crate::stages::{GilEvidence, Kind, Phase, Stage};
use crate::trace::RunsUnder;
use crate::units::{Estimate, ratio};

/// Waits for a lock of the program above this share of all waits: tasks queue for it.
const LOCK_QUEUES: f64 = 0.3;
/// Where waits for a lock that the function names are a larger share of a task's time than this, it is a server that was seen.
const LOCK_MET: f64 = 0.005;
/// A program that wants a CPU for less of its life than this is not parallel, however its threads meet.
const SUBSTANTIAL: f64 = 0.5;
/// A coroutine that waits for less than this share of its CPU time runs on a loop as well as anywhere in one thread.
const NOTHING_TO_AWAIT: f64 = 0.05;
/// Tasks that never ended and took this share of the stage's time leave open what one takes.
const UNFINISHED_SHARE: f64 = 0.1;
/// More at once than this is nothing that a run of ours showed.
const MOST_SEEN: u32 = 100_000;
/// Children's CPU below this share of a stage's is none that matters.
const OF_CHILDREN: f64 = 0.05;

/// What is known of a stage's interpreter lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gil {
    /// No Python.
    NotPython,
    /// It could not be read, or was not looked for.
    Unknown,
    /// It can be read, and was not often enough.
    Thin,
    /// The interpreter runs without one.
    Absent,
    /// It was read.
    Held {
        /// Share of CPU time that it was held, 0..=1.
        share: Estimate,
        /// Mean length of a released run, seconds.
        released_run: Option<f64>,
    },
}

impl Gil {
    /// Whether there is one, of which nothing is known.
    pub fn is_unread(&self) -> bool {
        matches!(self, Gil::Unknown | Gil::Thin)
    }

    /// The share of CPU time that it is held, where that is known.
    pub fn share(&self) -> Option<Estimate> {
        match self {
            Gil::Held { share, .. } => Some(*share),
            Gil::Absent => Some(Estimate::new(0.0, 0.0, 0.0)),
            Gil::NotPython | Gil::Unknown | Gil::Thin => None,
        }
    }
}

/// What a verdict on one stage rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Whether it is a stage inside a program, whose tasks were told of.
    pub is_inside: bool,
    /// Whether it is a coroutine.
    pub is_coroutine: bool,
    /// Whether a Python interpreter runs it.
    pub is_python: bool,
    /// Whether it is the workers of a pool.
    pub is_pool: bool,
    /// Whether it feeds a pool of its own workers.
    pub feeds_pool: bool,
    /// Whether it is what a program did outside of its stages.
    pub is_outside: bool,
    /// Whether its tasks were seen to write module state.
    pub shared_state: bool,
    /// A lock of the program that its function names.
    pub takes_lock: Option<String>,
    /// The executor that it was found to run under.
    pub found: Option<Executor>,
    /// Most workers at once.
    pub workers: u32,
    /// The score with its interval.
    pub score: Option<Estimate>,
    /// CPU time of all tasks, seconds.
    pub cpu: f64,
    /// Own wait of all tasks, seconds.
    pub wait: f64,
    /// Of that, for locks.
    pub lock_wait: f64,
    /// Tasks that these times are of.
    pub tasks: u64,
    /// How long one task takes, seconds.
    pub task_seconds: Option<f64>,
    /// First tasks of its processes that took many times what others take, and are left out of these times: how many, and how
    /// long one took, seconds.
    pub first_calls: Option<(u64, f64)>,
    /// Whether much of what its tasks waited for is what others did for them, of which not enough is known.
    pub joins_open: bool,
    /// How many tasks were handed over at once, on average; at least 1.
    pub chunk: f64,
    /// Of the stage's time, the share that tasks took which began and never ended.
    pub unfinished_share: f64,
    /// Calls that were counted, where the number of all is not known.
    pub sampled_calls: Option<u64>,
    /// CPUs that it uses at once by itself.
    pub cores_used: f64,
    /// CPUs that it had, on average over its life, wanted ones left out; `None` where that is not known.
    pub cores_held: Option<f64>,
    /// CPUs that the threads of its one process had at once, on average over its life, each with one task; `None` where it did
    /// not run in threads, or in several processes, or where tasks compute with threads of their own.
    pub cores_overlapped: Option<f64>,
    /// CPUs that it had or wanted, on average over its life; `None` where a report does not tell.
    pub cores_wanted: Option<f64>,
    /// Threads of one of its processes that compute or wait on the outside world at once, on average; at least 1.
    pub at_once: f64,
    /// The most memory that one of its processes had, bytes.
    pub worker_bytes: Option<u64>,
    /// The interpreter lock.
    pub gil: Gil,
    /// Stretches of different scores.
    pub phases: Vec<Phase>,
    /// What one task demands but for its payload; `None` where nothing was counted.
    pub task: Option<TaskDemand>,
}

impl Evidence {
    /// Of a stage that was measured.
    pub fn of(stage: &Stage) -> Evidence {
        let tasks = stage.tasks.as_deref();
        Evidence {
            is_inside: tasks.is_some(),
            is_coroutine: stage.kind == Kind::Coroutine,
            is_python: stage.is_python,
            is_pool: stage.is_pool,
            feeds_pool: stage.feeds_pool,
            is_outside: stage.outside_stages,
            shared_state: tasks.is_some_and(|tasks| tasks.notes.iter().any(|note| note.code == "shared-state")),
            takes_lock: named_lock(stage),
            found: found_executor(stage),
            workers: stage.workers,
            score: stage.score,
            cpu: stage.demand.on_cpu,
            wait: stage.demand.own.sum(),
            lock_wait: stage.demand.own.lock,
            tasks: stage.task_count(),
            task_seconds: stage.task_seconds(),
            first_calls: stage.first_calls.map(|first| (first.tasks, first.seconds)),
            joins_open: stage.joins_open,
            chunk: tasks.map_or(1.0, |tasks| tasks.chunk()),
            unfinished_share: unfinished_share(stage),
            sampled_calls: tasks.filter(|tasks| tasks.totals.estimated).map(|tasks| tasks.totals.count),
            cores_used: cores_used(stage),
            cores_held: ratio(stage.demand.on_cpu, stage.wall.secs_f64()),
            cores_overlapped: overlapped(stage),
            cores_wanted: ratio(stage.demand.on_cpu + stage.demand.run_queue, stage.wall.secs_f64()),
            at_once: at_once(stage),
            worker_bytes: stage.memory.peak_one_bytes,
            gil: match &stage.gil {
                GilEvidence::NotPython => Gil::NotPython,
                GilEvidence::Unknown(_) => Gil::Unknown,
                GilEvidence::Thin(_) => Gil::Thin,
                GilEvidence::Absent => Gil::Absent,
                GilEvidence::Measured(measured) => {
                    Gil::Held { share: measured.share, released_run: measured.released_run }
                }
            },
            phases: stage.phases.clone(),
            task: demand_of(stage),
        }
    }

    /// How many copies of it the cores hold that compute all the time; copies that wait leave room for more.
    pub fn room(&self, cores: f64) -> f64 {
        if self.is_pool { cores } else { cores / self.cores_used.max(self.at_once).max(1.0) }
    }

    /// What dispatch costs a task in the pool that it was found in, which hands over as many at once as it was seen to.
    pub fn dispatched(&self, costs: &Costs) -> Costs {
        let each = 1.0 / self.chunk.max(1.0);
        match self.found {
            Some(Executor::Process) => Costs {
                process_parent: costs.process_parent * each,
                process_worker: costs.process_worker * each,
                process_idle: costs.process_idle * each,
                ..*costs
            },
            Some(Executor::Thread) => Costs { thread_dispatch: costs.thread_dispatch * each, ..*costs },
            _ => *costs,
        }
    }

    /// Whether tasks that never ended took so much of its time that it is not known what one takes.
    pub fn is_unfinished(&self) -> bool {
        self.is_inside && self.unfinished_share > UNFINISHED_SHARE
    }

    /// What one task demands with this payload.
    pub fn task_with(&self, payload: Option<&Payload>) -> Option<TaskDemand> {
        Some(TaskDemand {
            payload: payload.and_then(|payload| {
                Some(PayloadDemand {
                    parent: payload.parent_seconds?,
                    transfer: payload.transfer_seconds.unwrap_or(0.0),
                    worker: payload.worker_seconds?,
                    error: payload.error.unwrap_or(PAYLOAD_ERROR),
                })
            }),
            picklable: payload.and_then(|payload| payload.picklable),
            ..self.task?
        })
    }
}

/// Of its time, the share of tasks that began and never ended; of coroutines, which share a thread, by how many they are.
fn unfinished_share(stage: &Stage) -> f64 {
    let Some(tasks) = stage.tasks.as_deref() else { return 0.0 };
    let (count, since) = tasks.unfinished();
    let ended = stage.task_count();
    if ended == 0 || stage.kind == Kind::Coroutine {
        return ratio(count as f64, (count + ended) as f64).unwrap_or(0.0);
    }
    ratio(since.secs_f64(), stage.demand.thread_seconds()).unwrap_or(0.0).min(1.0)
}

/// Whether tasks that never ended took so much of a stage's time that it is not known what one takes.
pub(super) fn is_unfinished(stage: &Stage) -> bool {
    unfinished_share(stage) > UNFINISHED_SHARE
}

/// A lock of the program that its function names.
fn named_lock(stage: &Stage) -> Option<String> {
    let notes = &stage.tasks.as_ref()?.notes;
    notes.iter().find(|note| note.code == TAKES_LOCK).map(|note| note.detail.clone())
}

/// The executor that it was found to run under.
fn found_executor(stage: &Stage) -> Option<Executor> {
    match stage.tasks.as_ref().map(|tasks| tasks.executor) {
        Some(RunsUnder::Serial) => Some(Executor::Serial),
        Some(RunsUnder::Thread) => Some(Executor::Thread),
        Some(RunsUnder::Process) => Some(Executor::Process),
        Some(RunsUnder::Interpreter) => Some(Executor::Interpreter),
        Some(RunsUnder::Asyncio) => Some(Executor::Asyncio),
        Some(RunsUnder::Unknown) => None,
        None => stage.is_pool.then_some(Executor::Process),
    }
}

/// What one task demands but for its payload; `None` where nothing was counted.
fn demand_of(stage: &Stage) -> Option<TaskDemand> {
    let tasks = stage.task_count() as f64;
    let cpu = ratio(stage.demand.on_cpu, tasks)?;
    // Alone, a task waits for nobody's lock; beside others it waits for them, and that is no wait that could overlap.
    let (all_own, locked) = (stage.demand.own.sum(), stage.demand.own.lock);
    let queues = stage.workers > 1 && locked > LOCK_QUEUES * all_own;
    let at_once = stage.workers_active().unwrap_or(1.0).min(f64::from(MOST_SEEN));
    // Where they wait for it now and then, it is not yet busy: how long each keeps it follows from how long they wait.
    let met = !queues
        && found_executor(stage) == Some(Executor::Thread)
        && named_lock(stage).is_some()
        && locked > LOCK_MET * (stage.demand.on_cpu + all_own);
    let wait = ratio(if queues || met { all_own - locked } else { all_own }, tasks)?;
    // One at a time gets through at least as fast as one after another.
    let alone = ratio(1.0, cpu + wait)?;
    let seen = ratio(tasks, stage.wall.secs_f64());
    let lock_limit = if met {
        let kept = ratio(locked, tasks).and_then(|waited| demand_of_queue(at_once, cpu + wait, waited));
        kept.and_then(|kept| ratio(1.0, kept)).map(|limit| limit.max(seen.unwrap_or(0.0)))
    } else {
        seen.filter(|_| queues)
    };
    let lock_limit = lock_limit.map(|limit| limit.max(alone));
    let own_cpu = ratio(stage.demand.on_cpu - stage.children_cpu, tasks)?.max(0.0);
    let share = stage.gil.share().unwrap_or(Estimate::new(0.0, 1.0, 1.0));
    // One lock: it cannot have been held for longer than all of them took.
    let shares_a_lock = found_executor(stage).is_some_and(|found| found != Executor::Process);
    let each = ratio(stage.wall.secs_f64(), tasks).filter(|_| shares_a_lock).unwrap_or(f64::INFINITY);
    let held_waiting = (stage.held_waiting * wait).min(each);
    let held = |share: f64| (share * own_cpu + held_waiting).min(each.max(held_waiting));
    let gil = Estimate::new(held(share.low), held(share.point), held(share.high));
    let own = &stage.demand.own;
    Some(TaskDemand {
        cpu,
        own_cpu,
        gil,
        alone: stage.alone.and_then(|alone| ratio(alone, tasks)),
        held_waiting,
        loop_waiting: ratio(stage.loop_waiting, tasks).unwrap_or(0.0).min(wait),
        wait,
        released_run: match &stage.gil {
            GilEvidence::Measured(measured) => measured.released_run,
            _ => None,
        },
        shortest_run: match &stage.gil {
            GilEvidence::Measured(measured) => measured.shortest_run,
            _ => None,
        },
        payload: None,
        picklable: None,
        awaitable: own.network + own.sleep + own.other > 0.5 * own.sum()
            || stage.kind == Kind::Coroutine && own.sum() < NOTHING_TO_AWAIT * stage.demand.on_cpu,
        worker_bytes: stage.memory.peak_one_bytes,
        lock_limit,
        lock_spans_processes: found_executor(stage) == Some(Executor::Process),
        seen_at_once: at_once,
    })
}

/// Threads of one of its processes that do something or wait for it at once. Those that want a CPU are left out: on a busy
/// machine threads that take turns want one together.
fn at_once(stage: &Stage) -> f64 {
    let busy = stage.demand.on_cpu + stage.demand.own.sum();
    ratio(busy, stage.lives.secs_f64()).filter(|_| stage.tasks.is_none()).unwrap_or(1.0).max(1.0)
}

/// CPUs that the threads of its one process had at once, each with one task.
fn overlapped(stage: &Stage) -> Option<f64> {
    let is_one = found_executor(stage) == Some(Executor::Thread) && stage.processes == 1 && stage.workers > 1;
    let is_plain = stage.alone.is_none()
        && stage.threads_a_task.is_none_or(|each| each < NESTED)
        && stage.children_cpu <= OF_CHILDREN * stage.demand.on_cpu;
    ratio(stage.demand.on_cpu, stage.wall.secs_f64()).filter(|_| is_one && is_plain)
}

/// CPUs that the stage uses at once by itself, all its processes together.
fn cores_used(stage: &Stage) -> f64 {
    let wall = stage.wall.secs_f64();
    let wanted = ratio(stage.demand.on_cpu + stage.demand.run_queue, wall).unwrap_or(0.0);
    let had = ratio(stage.demand.on_cpu, wall).unwrap_or(0.0);
    // Who holds the interpreter lock for a part of its CPU time has company for the rest alone.
    let most = match &stage.gil {
        GilEvidence::Measured(measured) => 1.0 / measured.share.low.clamp(f64::MIN_POSITIVE, 1.0),
        GilEvidence::NotPython | GilEvidence::Unknown(_) | GilEvidence::Thin(_) | GilEvidence::Absent => f64::INFINITY,
    };
    if stage.is_pool {
        wanted.max(1.0)
    } else if stage.active_threads > 1 && wanted > SUBSTANTIAL {
        stage.parallelism.unwrap_or(1.0).min(most).max(had)
    } else {
        had.max(1.0)
    }
}
