//! What is wrong with a stage whatever its executor: warnings with stable codes and the numbers or words behind them.
//! Must not change a verdict.

use super::backlog::growing;
use super::crowd::crowd;
use super::evidence::is_unfinished;
use crate::stages::{Kind, MOST_ZOMBIES, SeenTasks, Stage};
use crate::trace::{RunsUnder, StackCall};
use crate::units::ratio;

/// More failures than this share of the tasks are worth a warning.
const ERROR_RATE: f64 = 0.05;
/// Of at least so many tasks.
const FEWEST_TASKS: u64 = 20;
/// Memory that grew by this share of what it was is worth a warning,
const GROWTH_SHARE: f64 = 0.25;
/// if it grew by at least so many bytes
const GROWTH_BYTES: f64 = (32u64 << 20) as f64;
/// over at least so many seconds.
const GROWTH_SECONDS: f64 = 10.0;
/// So many times the workers of a pool, and at least so many more, are those of several pools.
const ABOVE_WORKERS: f64 = 1.5;
/// At least so many more.
const FEWEST_ABOVE: u64 = 2;
/// What the agent notes of things that cannot be moved to a process.
const MOVED: [&str; 2] = ["not-picklable", "payload-unknown"];
/// A lock that a function names: nothing wrong by itself.
pub const TAKES_LOCK: &str = "lock-unseen";

/// A warning.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// Many tasks fail.
    ErrorRate {
        /// Tasks that failed.
        failed: u64,
        /// All of them.
        count: u64,
    },
    /// Exceptions that nobody retrieved.
    Unretrieved {
        /// How many.
        count: u64,
    },
    /// An event loop ran one callback for long.
    LoopStalled {
        /// How often.
        count: u64,
        /// The longest, seconds.
        longest: f64,
    },
    /// Resident memory grows.
    MemoryGrowing {
        /// Bytes a second.
        per_second: f64,
        /// Where.
        holder: Holder,
    },
    /// Tasks compute with threads of their own, more of them together than there are cores.
    NestedThreads {
        /// Tasks at once.
        tasks: u64,
        /// Threads that one keeps busy.
        each: f64,
        /// Cores.
        cores: f64,
    },
    /// Many more threads want a CPU than there are.
    TooManyThreads {
        /// How many, on average.
        runnable: f64,
        /// Cores.
        cores: f64,
        /// Involuntary context switches a second.
        per_second: f64,
    },
    /// Tasks are handed in faster than they are done.
    QueueGrowing {
        /// Tasks in the queue when it was longest.
        depth: f64,
        /// Workers.
        workers: u32,
        /// For how long it grew, seconds.
        seconds: f64,
        /// Time in the queue in the first and the last quarter of that, seconds.
        delays: (f64, f64),
    },
    /// Much of its time went to tasks that had not ended when the run did.
    Unfinished {
        /// How many.
        count: u64,
    },
    /// The threads of its tasks wait for locks that none of them can let go of.
    Deadlock {
        /// How many.
        threads: u64,
        /// For how long the first of them waited, seconds.
        seconds: f64,
        /// Where they wait, each place once, the innermost call first; how many threads there.
        places: Vec<(u64, Vec<StackCall>)>,
    },
    /// A process opens descriptors and does not close them.
    DescriptorsGrowing {
        /// How many were open at first.
        before: u32,
        /// And in the end.
        after: u32,
        /// Over how many seconds.
        seconds: f64,
        /// Tasks that it ran meanwhile, where they are counted in one process.
        tasks: Option<u64>,
    },
    /// Processes that it started have ended, and it never waited for them.
    Zombies {
        /// How many.
        count: u64,
        /// For how long the first of them was a zombie beside its living parent, seconds.
        seconds: f64,
        /// Whether no more of them are ever kept track of.
        is_least: bool,
    },
    /// More of its tasks ran at once than its pool has workers.
    AboveMaxWorkers {
        /// At once, at the most.
        at_once: u64,
        /// Workers of one pool.
        workers: u32,
    },
    /// The kernel killed processes for want of memory, a worker among them.
    OutOfMemory {
        /// How many.
        kills: u64,
    },
    /// More tasks arrive than any number of workers gets through.
    RateUnreachable {
        /// Tasks that arrive in a second.
        rate: f64,
        /// Tasks a second, at the most.
        most: f64,
    },
    /// What the agent found.
    Noted {
        /// Its code.
        code: String,
        /// Its words.
        detail: String,
    },
}

/// Whose memory grows: what bounds it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Workers of a `ProcessPoolExecutor`, or whether by fork, from which it cannot renew them.
    ExecutorWorkers {
        /// Whether they are forked.
        forked: bool,
    },
    /// Workers of a `multiprocessing.Pool`.
    PoolWorkers,
    /// Workers of a pool of another or of no known kind.
    OtherWorkers,
    /// A Python process that runs the tasks itself: in threads, on an event loop, or one by one.
    Python,
    /// Any other program.
    Program,
}

impl Warning {
    /// Whether a warning of this code is of what was asked, and not of the stage.
    pub fn of_request(code: &str) -> bool {
        code == "rate-unreachable"
    }

    /// Its stable code.
    pub fn code(&self) -> &str {
        match self {
            Warning::ErrorRate { .. } => "error-rate",
            Warning::Unretrieved { .. } => "unretrieved-exceptions",
            Warning::LoopStalled { .. } => "loop-stalled",
            Warning::MemoryGrowing { .. } => "memory-growing",
            Warning::NestedThreads { .. } => "nested-threads",
            Warning::TooManyThreads { .. } => "too-many-threads",
            Warning::QueueGrowing { .. } => "queue-growing",
            Warning::Unfinished { .. } => "unfinished-tasks",
            Warning::Deadlock { .. } => "deadlock-suspect",
            Warning::DescriptorsGrowing { .. } => "descriptors-growing",
            Warning::Zombies { .. } => "zombies",
            Warning::AboveMaxWorkers { .. } => "above-max-workers",
            Warning::OutOfMemory { .. } => "out-of-memory",
            Warning::RateUnreachable { .. } => "rate-unreachable",
            Warning::Noted { code, .. } => code,
        }
    }
}

/// Whose memory a stage's is.
fn holder(stage: &Stage) -> Holder {
    match &stage.tasks {
        Some(tasks) if tasks.executor == RunsUnder::Process => {
            let class = tasks.pool.rsplit('.').next().unwrap_or_default();
            match class {
                "ProcessPoolExecutor" => {
                    Holder::ExecutorWorkers { forked: tasks.start_method.as_deref() == Some("fork") }
                }
                "Pool" => Holder::PoolWorkers,
                _ => Holder::OtherWorkers,
            }
        }
        None if stage.is_python && stage.is_pool => Holder::OtherWorkers,
        _ if stage.is_python => Holder::Python,
        _ => Holder::Program,
    }
}

/// Whether several pools ran a stage at once: more tasks than one has workers. A few may be ends that were lost.
fn above_workers(stage: &Stage, tasks: &SeenTasks) -> Option<Warning> {
    let workers = tasks.workers.filter(|_| matches!(tasks.executor, RunsUnder::Thread | RunsUnder::Process))?;
    let (at_once, active) = (stage.threads, stage.active.unwrap_or(0.0));
    let above = at_once as f64 >= ABOVE_WORKERS * f64::from(workers) && at_once >= u64::from(workers) + FEWEST_ABOVE;
    (above && active > f64::from(workers)).then_some(Warning::AboveMaxWorkers { at_once, workers })
}

/// Whether all threads of a stage that were in a task at their end hung.
fn deadlock(tasks: &SeenTasks) -> Option<Warning> {
    let hangs = &tasks.hangs;
    if hangs.count == 0 || hangs.others > 0 || tasks.unfinished().0 == 0 {
        return None;
    }
    let mut places: Vec<(u64, Vec<StackCall>)> = Vec::new();
    for hung in &hangs.hung {
        match places.iter_mut().find(|place| place.1 == hung.calls) {
            Some(place) => place.0 += 1,
            None => places.push((1, hung.calls.clone())),
        }
    }
    let seconds = hangs.hung.iter().map(|hung| hung.length.secs_f64()).fold(0.0, f64::max);
    Some(Warning::Deadlock { threads: hangs.count, seconds, places })
}

/// The warnings of a stage, measured where `cores` could be used.
pub fn diagnose(stage: &Stage, cores: Option<f64>) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(tasks) = &stage.tasks {
        let totals = &tasks.totals;
        let rate = ratio(totals.failed as f64, totals.count as f64).unwrap_or(0.0);
        if rate > ERROR_RATE && totals.count >= FEWEST_TASKS {
            found.push(Warning::ErrorRate { failed: totals.failed, count: totals.count });
        }
        if totals.unretrieved > 0 {
            found.push(Warning::Unretrieved { count: totals.unretrieved });
        }
        if tasks.stalls.0 > 0 {
            found.push(Warning::LoopStalled { count: tasks.stalls.0, longest: tasks.stalls.1.secs_f64() });
        }
        found.extend(growing(tasks));
        let hangs = deadlock(tasks);
        if hangs.is_none() && is_unfinished(stage) {
            found.push(Warning::Unfinished { count: tasks.unfinished().0 });
        }
        found.extend(hangs);
        found.extend(above_workers(stage, tasks));
        // That a coroutine's arguments stay in its process is as it should be.
        let is_usual = |code: &str| code == TAKES_LOCK || stage.kind == Kind::Coroutine && MOVED.contains(&code);
        found.extend(
            tasks
                .notes
                .iter()
                .filter(|note| !is_usual(&note.code))
                .map(|note| Warning::Noted { code: note.code.clone(), detail: note.detail.clone() }),
        );
    }
    found
        .extend(stage.notes.iter().map(|note| Warning::Noted { code: note.code.clone(), detail: note.detail.clone() }));
    if stage.memory_kills > 0 {
        found.push(Warning::OutOfMemory { kills: stage.memory_kills });
    }
    // What a program did outside of its stages it did in the same process.
    if let Some(grown) = stage.descriptors.filter(|_| !stage.outside_stages) {
        let tasks = stage.tasks.as_ref().filter(|tasks| tasks.executor != RunsUnder::Process);
        let tasks = tasks.map(|tasks| tasks.totals.count).filter(|&count| count > 0);
        let (before, after) = (grown.before, grown.after);
        found.push(Warning::DescriptorsGrowing { before, after, seconds: grown.seconds, tasks });
    }
    if stage.unreaped.count > 0 && !stage.outside_stages {
        let count = stage.unreaped.count;
        let (seconds, is_least) = (stage.unreaped.longest.secs_f64(), count >= MOST_ZOMBIES as u64);
        found.push(Warning::Zombies { count, seconds, is_least });
    }
    let seconds = stage.wall.secs_f64();
    if let (Some(per_second), Some(start)) = (stage.growth, stage.memory.start_bytes)
        && seconds >= GROWTH_SECONDS
        && per_second * seconds > GROWTH_BYTES.max(GROWTH_SHARE * start as f64)
    {
        found.push(Warning::MemoryGrowing { per_second, holder: holder(stage) });
    }
    found.extend(cores.and_then(|cores| crowd(stage, cores)));
    found
}
