//! Which sources were had and which were refused, with the reason: one enum, one Display, used by doctor and report.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The rungs of the ladder, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rung {
    /// Context-switch records of `perf_event_open`: exact.
    Perf,
    /// Sampled `/proc/PID/task/TID/schedstat`: exact sums, sampled boundaries.
    Schedstat,
    /// `wait4` totals alone.
    Rusage,
}

impl Rung {
    /// The word used in reports and in `POOLPICK_DISABLE`.
    pub fn word(self) -> &'static str {
        match self {
            Rung::Perf => "perf",
            Rung::Schedstat => "schedstat",
            Rung::Rusage => "rusage",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// Why a source is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyNot {
    /// Switched off with `POOLPICK_DISABLE`.
    Disabled,
    /// `kernel.perf_event_paranoid` refuses; the value.
    Paranoid(i32),
    /// A seccomp filter or a security module answers with this errno.
    Filtered(i32),
    /// The kernel lacks it; the errno.
    Unsupported(i32),
    /// The locked-memory limit refuses even the smallest ring.
    LockedMemory {
        /// `kernel.perf_event_mlock_kb`.
        mlock_kib: u64,
        /// `RLIMIT_MEMLOCK` in KiB.
        limit_kib: u64,
    },
    /// Too many open files for one event a CPU.
    OpenFiles,
    /// `/proc` is not mounted or shows no processes (hidepid, another pid namespace).
    ProcHidden,
    /// `/proc/PID/schedstat` reads nothing (a kernel without scheduler information, gVisor).
    NoSchedstat,
    /// `/proc/PID/task/TID/syscall` is refused (ptrace scope, a set-uid target, a missing capability).
    SyscallHidden {
        /// `kernel.yama.ptrace_scope`, where the kernel has it.
        ptrace_scope: Option<i64>,
    },
    /// The target forked so fast that one event a CPU would have cost too much.
    ForksTooFast {
        /// Forks a second when it was given up.
        per_second: u64,
    },
    /// A CPU switched so fast that two records a switch would have cost the target too much.
    SwitchesTooFast {
        /// Switches a second on that CPU when it was given up.
        per_second: u64,
    },
    /// The kernel ended the records of a process that runs on: it took on privileges.
    Privileges {
        /// Its process id.
        pid: u32,
    },
    /// An errno that none of the above explains.
    Errno(i32),
    /// No private directory can be made for the agent; the errno.
    NoPrivateFolder(i32),
    /// The `python3` on `PATH` runs and does not load the agent.
    AgentSilent,
    /// The target's memory may not be read (ptrace scope, a set-uid target, a missing capability).
    MemoryHidden {
        /// `kernel.yama.ptrace_scope`, where the kernel has it.
        ptrace_scope: Option<i64>,
    },
    /// A seccomp filter or a security module refuses to read any process's memory; the errno.
    MemoryFiltered(i32),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNot::Disabled => write!(out, "switched off by `POOLPICK_DISABLE`"),
            WhyNot::Paranoid(value) => {
                write!(out, "`kernel.perf_event_paranoid` is {value}: ordinary users may not use perf")
            }
            WhyNot::Filtered(errno) => write!(
                out,
                "`perf_event_open` is refused ({}) by a seccomp filter, as in Docker's default profile, or a security module",
                errno_name(*errno)
            ),
            WhyNot::Unsupported(errno) => {
                write!(out, "this kernel has no usable `perf_event_open` ({})", errno_name(*errno))
            }
            WhyNot::LockedMemory { mlock_kib, limit_kib } => write!(
                out,
                "no locked memory is left for a ring (`kernel.perf_event_mlock_kb` {mlock_kib} KiB a CPU, `ulimit -l` {limit_kib} KiB)"
            ),
            WhyNot::OpenFiles => write!(out, "the limit of open files (`ulimit -n`) is too low for one event a CPU"),
            WhyNot::ProcHidden => write!(
                out,
                "/proc does not show the target's processes (hidepid, another pid namespace, or not mounted)"
            ),
            WhyNot::NoSchedstat => write!(out, "/proc/PID/schedstat gives nothing (kernel without it, or gVisor)"),
            WhyNot::SyscallHidden { ptrace_scope: Some(scope) } if *scope > 1 => {
                write!(out, "/proc/PID/syscall is refused: `kernel.yama.ptrace_scope` is {scope}")
            }
            WhyNot::SyscallHidden { .. } => {
                write!(out, "/proc/PID/syscall is refused: the target has privileges that poolpick does not")
            }
            WhyNot::ForksTooFast { per_second } => {
                write!(out, "the target forks {per_second} times a second: switch records would have cost it too much")
            }
            WhyNot::SwitchesTooFast { per_second } => write!(
                out,
                "the target switches {per_second} times a second on one CPU: switch records would have slowed it down"
            ),
            WhyNot::Privileges { pid } => write!(
                out,
                "the kernel ended the switch records of process {pid}, which runs on with privileges (set-uid, sudo)"
            ),
            WhyNot::MemoryHidden { ptrace_scope: Some(scope) } if *scope > 1 => {
                write!(out, "the target's memory may not be read: `kernel.yama.ptrace_scope` is {scope}")
            }
            WhyNot::MemoryHidden { .. } => {
                write!(
                    out,
                    "the target's memory may not be read: it forbids that, or has privileges that poolpick does not"
                )
            }
            WhyNot::MemoryFiltered(errno) => write!(
                out,
                "`process_vm_readv` is refused ({}) by a seccomp filter, as in a container without `SYS_PTRACE`, or a security module",
                errno_name(*errno)
            ),
            WhyNot::Errno(errno) => write!(out, "refused with {}", errno_name(*errno)),
            WhyNot::NoPrivateFolder(errno) => {
                write!(out, "no private directory for it can be made where temporary files go ({})", errno_name(*errno))
            }
            WhyNot::AgentSilent => write!(out, "the `python3` on PATH does not load it"),
        }
    }
}

impl WhyNot {
    /// The command that would change it, if there is one. It never runs the target as root.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            WhyNot::Disabled => Some("unset POOLPICK_DISABLE"),
            WhyNot::Paranoid(_) => Some("sudo sysctl kernel.perf_event_paranoid=2"),
            WhyNot::Filtered(_) => Some("docker run --security-opt seccomp=unconfined …"),
            WhyNot::LockedMemory { .. } => Some("sudo sysctl kernel.perf_event_mlock_kb=516"),
            WhyNot::OpenFiles => Some("ulimit -n 4096"),
            WhyNot::ProcHidden => Some("sudo mount -o remount,hidepid=0 /proc"),
            WhyNot::SyscallHidden { ptrace_scope: Some(scope) }
            | WhyNot::MemoryHidden { ptrace_scope: Some(scope) }
                if *scope > 1 =>
            {
                Some("sudo sysctl kernel.yama.ptrace_scope=1")
            }
            WhyNot::NoPrivateFolder(_) => Some("export TMPDIR=/var/tmp"),
            WhyNot::SyscallHidden { .. } | WhyNot::MemoryHidden { .. } => None,
            WhyNot::MemoryFiltered(_) => Some("docker run --cap-add SYS_PTRACE …"),
            WhyNot::Unsupported(_)
            | WhyNot::NoSchedstat
            | WhyNot::ForksTooFast { .. }
            | WhyNot::SwitchesTooFast { .. }
            | WhyNot::Privileges { .. }
            | WhyNot::AgentSilent
            | WhyNot::Errno(_) => None,
        }
    }
}

/// The name of the errno values that these refusals come with.
fn errno_name(errno: i32) -> String {
    let name = match errno {
        1 => "EPERM",
        2 => "ENOENT",
        12 => "ENOMEM",
        13 => "EACCES",
        19 => "ENODEV",
        22 => "EINVAL",
        20 => "ENOTDIR",
        24 => "EMFILE",
        28 => "ENOSPC",
        30 => "EROFS",
        122 => "EDQUOT",
        38 => "ENOSYS",
        95 => "EOPNOTSUPP",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

/// A rung or a detail that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was wanted: a rung's word, or a detail such as `waits`.
    pub source: String,
    /// Why it was not had.
    pub why: WhyNot,
}

/// How the run was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The rung that told who ran when.
    pub scheduler: Rung,
    /// What was wanted and refused.
    pub refusals: Vec<Refusal>,
    /// Kernel records lost.
    pub lost_records: u64,
}
