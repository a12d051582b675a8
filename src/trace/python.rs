//! What instruments tell of Python interpreters: who holds the lock, and what the agent says of stages and tasks.
//! Facts only: shares, means and names of stages across processes are made further on.

use crate::units::Span;
use serde::{Deserialize, Serialize};

/// Who held the interpreter lock at a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GilHolder {
    /// Nobody.
    Nobody,
    /// This thread (its native id).
    Thread(u32),
    /// A thread whose native id could not be told.
    Unknown,
}

/// Readings in a row with the same holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GilRun {
    /// Who held it.
    pub holder: GilHolder,
    /// How many readings.
    pub reads: u16,
}

/// A burst of readings of one interpreter's lock, back to back.
///
/// ```text
/// reads    H H H H . . H H      H held, . nobody
/// runs     (T,4)  (–,2)(T,2)    two transitions; length = time from the first read to the last
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GilSample {
    /// In order of time; never empty.
    pub runs: Vec<GilRun>,
    /// From the first reading to the last.
    pub length: Span,
}

/// Whether an interpreter's lock can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GilAccess {
    /// It is read from outside.
    Read,
    /// There is none: a free-threaded build that runs without it.
    Absent,
    /// Several interpreters in this process have locks of their own: which one counts is not known.
    Several,
    /// It cannot be read, and why.
    Refused(String),
}

/// A call on a Python stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackCall {
    /// The function's name.
    pub function: String,
    /// Its source file.
    pub file: String,
    /// The line that it is at.
    pub line: Option<u32>,
}

/// The Python stack of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStack {
    /// Its native id, where that could be told.
    pub tid: Option<u32>,
    /// Calls, the innermost first.
    pub calls: Vec<StackCall>,
}

/// What a stage is, as the agent calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskKind {
    /// A function handed to an executor.
    Function,
    /// A coroutine run as tasks.
    Coroutine,
    /// A marked region.
    Mark,
    /// A function named by `--stage`.
    Named,
}

/// The executor that the agent saw a stage run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RunsUnder {
    /// Not known.
    Unknown,
    /// No pool.
    Serial,
    /// Threads.
    Thread,
    /// Processes.
    Process,
    /// Sub-interpreters.
    Interpreter,
    /// An event loop.
    Asyncio,
}

impl RunsUnder {
    /// Its word in ids and names; empty where it is not known.
    pub fn word(self) -> &'static str {
        match self {
            RunsUnder::Unknown => "",
            RunsUnder::Serial => "serial",
            RunsUnder::Thread => "thread",
            RunsUnder::Process => "process",
            RunsUnder::Interpreter => "interpreter",
            RunsUnder::Asyncio => "asyncio",
        }
    }
}

/// A stage as one process's agent defines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageDefinition {
    /// Its number in this process.
    pub stage: u16,
    /// What it is.
    pub kind: TaskKind,
    /// What it runs under.
    pub executor: RunsUnder,
    /// Workers at the most.
    pub workers: Option<u32>,
    /// `module.qualname`.
    pub name: String,
    /// Its module.
    pub module: String,
    /// Its source file, empty where there is none.
    pub file: String,
    /// Where in it.
    pub line: Option<u32>,
    /// The pool's class.
    pub pool: String,
    /// `fork`, `spawn` or `forkserver` of a process pool.
    pub start_method: Option<String>,
}

/// Sums that a process's agent keeps of a stage, cumulative over the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskTotals {
    /// Tasks that ended.
    pub count: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Of those, timed.
    pub timed: u64,
    /// Wall time of the timed ones.
    pub wall: Span,
    /// Tasks whose CPU time was measured.
    pub cpu_timed: u64,
    /// Thread CPU time of these.
    pub cpu: Span,
    /// Tasks whose time in the queue was measured.
    pub queue_timed: u64,
    /// Time in the queue of these.
    pub queue: Span,
    /// Most tasks submitted and not begun at once.
    pub queue_most: u64,
    /// Exceptions that nobody retrieved.
    pub unretrieved: u64,
    /// Tasks that began, those that ended included; 0 where that is not counted.
    pub begun: u64,
    /// Whether the count is an estimate.
    pub estimated: bool,
    /// Tasks cancelled before they began.
    pub cancelled: u64,
}

impl TaskTotals {
    /// What came since an earlier reading of the same sums.
    pub fn since(&self, before: &TaskTotals) -> TaskTotals {
        TaskTotals {
            count: self.count.saturating_sub(before.count),
            failed: self.failed.saturating_sub(before.failed),
            timed: self.timed.saturating_sub(before.timed),
            wall: self.wall - before.wall,
            cpu_timed: self.cpu_timed.saturating_sub(before.cpu_timed),
            cpu: self.cpu - before.cpu,
            queue_timed: self.queue_timed.saturating_sub(before.queue_timed),
            queue: self.queue - before.queue,
            queue_most: self.queue_most,
            unretrieved: self.unretrieved.saturating_sub(before.unretrieved),
            begun: self.begun.saturating_sub(before.begun),
            estimated: self.estimated,
            cancelled: self.cancelled.saturating_sub(before.cancelled),
        }
    }
}

/// Which way a payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// To the worker.
    Argument,
    /// Back.
    Result,
}

/// A payload that was pickled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadReading {
    /// Which way it goes.
    pub direction: Direction,
    /// Its size.
    pub bytes: u64,
    /// Time to pickle it.
    pub pickle: Span,
    /// Time to unpickle it, where that was tried.
    pub unpickle: Option<Span>,
    /// Whether it is extrapolated from a part.
    pub extrapolated: bool,
}

/// The end of a task, a chunk of tasks, or a slice of a coroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// From its beginning.
    pub wall: Span,
    /// CPU time of its thread, where it was measured.
    pub cpu: Option<Span>,
    /// Tasks in it.
    pub tasks: u32,
    /// Whether an exception left it.
    pub failed: bool,
    /// Whether it is a slice of a coroutine.
    pub slice: bool,
    /// Whether there was no record of its beginning.
    pub unbegun: bool,
}

/// What one process's agent tells besides the tasks of its threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentFact {
    /// The agent began in a process.
    Began {
        /// `sys.hexversion`.
        hexversion: u32,
        /// Whether the interpreter has no lock.
        free_threaded: bool,
        /// Whether the process was forked without exec.
        forked: bool,
    },
    /// A stage, new or with new properties.
    Stage(Box<StageDefinition>),
    /// A stage's sums.
    Totals {
        /// Its number.
        stage: u16,
        /// The sums.
        totals: Box<TaskTotals>,
    },
    /// A coroutine's task is done.
    Coroutine {
        /// Its stage.
        stage: u16,
        /// From its creation.
        wall: Span,
        /// Its own slices, added up.
        own: Span,
        /// Ready to run while others did, added up.
        ready: Span,
        /// How many slices.
        slices: u32,
        /// Whether an exception left it.
        failed: bool,
    },
    /// A pool's queue was looked at.
    Queue {
        /// A stage of the pool.
        stage: u16,
        /// Tasks in it.
        depth: u64,
        /// Workers that live.
        workers: u64,
    },
    /// A payload was measured.
    Payload {
        /// Its stage.
        stage: u16,
        /// What was measured.
        reading: PayloadReading,
    },
    /// An event loop ran one callback for long.
    Stall {
        /// The callback's stage.
        stage: u16,
        /// How long.
        length: Span,
    },
    /// Something worth a reason or a warning.
    Note {
        /// The stage that it is about.
        stage: Option<u16>,
        /// A stable word.
        code: String,
        /// What was found.
        detail: String,
    },
    /// What the agent cost, and what it or the reader had to drop; cumulative.
    Cost {
        /// Its own cost as it measures it.
        spent: Span,
        /// Records dropped or overtaken.
        dropped: u64,
    },
}
