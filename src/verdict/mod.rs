//! The verdict: what the thresholds say, what the evidence says, and whether the executor in use fits. Pure; every rule
//! is in a table with its reason (`recommend`, `judge`), every number that decided is in the evidence.

mod arrival;
mod backlog;
mod classify;
mod crowd;
mod decide;
mod diagnose;
mod evidence;
mod judge;
mod payload;
mod reason;
mod recommend;
mod thresholds;

pub use classify::{Class, class_of, classify, phases_by_class};
pub use decide::{Decision, decide};
pub use diagnose::{Holder, Warning, diagnose};
pub use evidence::{Evidence, Gil};
pub use judge::{
    FITTING_SHARE, Judgement, Outcome, Terms, Weighed, Why, judge, may_be_beaten, may_be_held, most_of,
    too_few_workers, weigh_throughput,
};
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

/// More cores than this have no machine.
const MOST_CORES: f64 = 65_536.0;

/// What a machine offers to a pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// CPUs that may be used at once.
    pub cores: f64,
    /// Those of the machine that the evidence is from.
    pub measured_on: f64,
    /// Memory that may be used.
    pub memory_bytes: Option<u64>,
}

impl Capacity {
    /// Of the machine that was measured: CPUs by affinity and quota, and of SMT siblings only one each.
    pub fn of(usable: Option<f64>, logical: Option<u32>, physical: Option<u32>, memory_bytes: Option<u64>) -> Capacity {
        let usable = usable.or(logical.map(f64::from)).unwrap_or(1.0).clamp(0.0, MOST_CORES);
        let cores = match (physical, logical) {
            // Affinity may hold any of the siblings; at most all physical cores are there.
            (Some(physical), Some(logical)) if physical > 0 && physical < logical => usable.min(f64::from(physical)),
            _ => usable,
        };
        Capacity { cores, measured_on: cores, memory_bytes }
    }

    /// Of another machine, as far as the user says how it differs.
    pub fn asked(self, cores: Option<f64>, memory_bytes: Option<u64>) -> Capacity {
        Capacity {
            cores: cores.map_or(self.cores, |cores| cores.clamp(0.0, MOST_CORES)),
            memory_bytes: memory_bytes.or(self.memory_bytes),
            ..self
        }
    }
}
