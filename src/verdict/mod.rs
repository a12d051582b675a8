//! The verdict: what the thresholds say, what the evidence says, and whether the executor in use fits. Pure; every rule
//! is in a table with its reason (`recommend`, `judge`), every number that decided is in the evidence.

mod classify;
mod decide;
mod diagnose;
mod judge;
mod payload;
mod reason;
mod recommend;
mod thresholds;

pub use classify::{Class, class_of, classify, phases_by_class};
pub use decide::{Decision, decide, demand_of};
pub use diagnose::{Warning, diagnose};
pub use judge::{FITTING_SHARE, Judgement, Outcome, Weighed, Why, judge, weigh_throughput};
pub use payload::{Payload, PayloadSource};
pub use reason::Reason;
pub use recommend::{Confidence, Recommendation, recommend};
pub use thresholds::{BadThreshold, Thresholds};

/// An executor that a stage can be handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executor {
    /// A pool of threads.
    Thread,
    /// A pool of processes.
    Process,
    /// A pool of sub-interpreters.
    Interpreter,
    /// An event loop.
    Asyncio,
    /// No pool.
    Serial,
    /// Different executors for its phases.
    Split,
}

/// What a machine offers to a pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// CPUs that may be used at once.
    pub cores: f64,
    /// Memory that may be used.
    pub memory_bytes: Option<u64>,
}
