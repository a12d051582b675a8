//! The trace: what was seen, and nothing that follows from it. A value and a file.
//! Everything to its right can be run, tested and argued about without privilege, kernel or Python.

mod coverage;
mod event;
mod file;
mod host;
mod prices;
mod python;

pub use coverage::{Coverage, Refusal, Rung, WhyNot};
pub use event::{Blocking, Event, Ids, ProcessReading, Rusage, SwitchOut, ThreadReading, TimeOut};
pub use file::{Flaw, Reader, TraceError, Writer, append_prices};
pub use host::Host;
pub use prices::{BytePrice, PayloadPrices, PicklePrices, Prices, TaskPrices};
pub use python::{
    AgentFact, Direction, GilAccess, GilHolder, GilRun, GilSample, PayloadReading, RunsUnder, StackCall,
    StageDefinition, TaskEnd, TaskKind, TaskTotals, ThreadStack,
};

use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// What is known before the first event: where and what was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of poolpick that wrote it.
    pub version: String,
    /// Program and arguments, as given.
    pub argv: Vec<String>,
    /// Wall-clock time at the start, RFC 3339 in UTC.
    pub started_at: String,
    /// The monotonic clock at the start.
    pub origin: Timestamp,
    /// Process id of the target.
    pub target: u32,
    /// Whether the target's interpreters were given an agent.
    pub agent: bool,
}

/// What is known after the last event: how the run ended and how it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footer {
    /// The monotonic clock at the end of the target.
    pub end: Timestamp,
    /// Exit status of the target, if it exited.
    pub exit_code: Option<i32>,
    /// Signal that killed the target, if one did.
    pub signal: Option<i32>,
    /// Whether poolpick ended it because of `--timeout`.
    pub timed_out: bool,
    /// Descendants that were still alive when the target had ended.
    pub left_behind: u32,
    /// CPU seconds of poolpick itself.
    pub overhead_cpu_seconds: f64,
    /// The kernel's totals for the target and the descendants that it waited for.
    pub rusage: Option<Rusage>,
    /// The kernel's totals for orphans that poolpick reaped as sub-reaper.
    pub orphans: Option<Rusage>,
    /// poolpick's own resident memory when it forked: below it, `peak_rss` of rusage tells nothing.
    pub fork_rss_bytes: u64,
    /// Hardware and software counters of the whole tree, where they can be had.
    pub counters: Counters,
    /// The machine.
    pub host: Host,
    /// Which sources were had, and why others were not.
    pub coverage: Coverage,
}

/// Counters of the whole tree; `None` where the machine or its permissions give none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Instructions retired in user space.
    pub instructions: Option<u64>,
    /// CPU cycles in user space.
    pub cycles: Option<u64>,
}

/// A whole run, in memory: small traces and tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// What was known before.
    pub header: Header,
    /// What was seen, in order of time.
    pub events: Vec<Event>,
    /// What was known after.
    pub footer: Footer,
}
