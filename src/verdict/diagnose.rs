//! What is wrong with a stage whatever its executor: warnings with stable codes and the numbers or words behind them.
//! Must not change a verdict.

use super::backlog::growing;
use super::crowd::crowd;
use crate::stages::{Kind, Stage};
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
            Warning::RateUnreachable { .. } => "rate-unreachable",
            Warning::Noted { code, .. } => code,
        }
    }
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
    let seconds = stage.wall.secs_f64();
    if let (Some(per_second), Some(start)) = (stage.growth, stage.memory.start_bytes)
        && seconds >= GROWTH_SECONDS
        && per_second * seconds > GROWTH_BYTES.max(GROWTH_SHARE * start as f64)
    {
        found.push(Warning::MemoryGrowing { per_second });
    }
    found.extend(cores.and_then(|cores| crowd(stage, cores)));
    found
}
