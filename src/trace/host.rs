//! The machine that a trace was taken on.

use serde::{Deserialize, Serialize};

/// The machine, as far as it bears on a verdict.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Kernel release.
    pub kernel: String,
    /// Online logical CPUs.
    pub logical_cores: Option<u32>,
    /// Physical cores; siblings of one core count once.
    pub physical_cores: Option<u32>,
    /// CPUs that the target may use at once: affinity and cgroup quota, whichever is less.
    pub usable_cores: Option<f64>,
    /// The CPU quota in cores, where a cgroup sets one.
    pub quota_cores: Option<f64>,
    /// Memory that the target may use: the cgroup's limit or the machine's.
    pub memory_limit_bytes: Option<u64>,
    /// Share of CPU time that the hypervisor took during the run.
    pub steal_ratio: Option<f64>,
}
