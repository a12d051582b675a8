//! What this machine, user and container would give: the same questions that a run asks, asked without one.

use super::agent;
use super::host;
use super::ladder;
use super::switches::SwitchRecords;
use crate::sys::memory;
use crate::trace::WhyNot;
use perf_event::Builder;
use perf_event::events::Hardware;
use std::path::Path;

/// Descriptors that a run holds beside its events, the lock on its private directory among them.
const RUN_FILES: usize = 6;

/// One thing that was probed.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What.
    pub source: &'static str,
    /// What it gives.
    pub gives: &'static str,
    /// That it is there (with a detail), or why not.
    pub result: Result<String, WhyNot>,
}

/// Everything that was probed.
#[derive(Debug, Clone)]
pub struct Findings {
    /// The ladder, best rung first, then details.
    pub findings: Vec<Finding>,
    /// Facts of the machine and container that bear on them: name and value.
    pub facts: Vec<(&'static str, String)>,
}

/// Probes everything.
pub fn probe(disabled: ladder::Disabled) -> Findings {
    let off = |is_off: bool, result: Result<String, WhyNot>| if is_off { Err(WhyNot::Disabled) } else { result };
    let own = std::process::id();
    let root = Path::new("/proc");
    let findings = vec![
        Finding {
            source: "perf",
            gives: "every context switch of every thread, exact",
            result: off(disabled.perf, perf()),
        },
        Finding {
            source: "schedstat",
            gives: "CPU time and run-queue delay of every thread that is seen, sampled",
            result: off(disabled.schedstat, schedstat_of(root, own).map(|()| "readable".to_owned())),
        },
        Finding {
            source: "rusage",
            gives: "totals of the target and of the children that it waited for",
            result: Ok("always there".to_owned()),
        },
        Finding {
            source: "waits",
            gives: "what blocked threads wait for: network, disk, pipe, lock, sleep, child",
            result: off(disabled.waits, waits_of(root, own)),
        },
        Finding {
            source: "counters",
            gives: "instructions and cycles",
            result: off(disabled.counters, instructions()),
        },
        Finding {
            source: "gil",
            gives: "who holds the interpreter lock of Python processes",
            result: off(disabled.gil, lock_of()),
        },
        Finding {
            source: "agent",
            gives: "stages and tasks inside Python programs",
            result: if disabled.agent { Err(WhyNot::Disabled) } else { agent::try_out() },
        },
    ];
    Findings { findings, facts: facts() }
}

/// Events and rings on ourselves, as a run opens them on its target.
fn perf() -> Result<String, WhyNot> {
    // A run holds these besides: signals, two pipes to the target, an output.
    let spare: std::io::Result<Vec<std::fs::File>> = (0..RUN_FILES).map(|_| std::fs::File::open("/dev/null")).collect();
    let _held = spare.map_err(|_| WhyNot::OpenFiles)?;
    let records = SwitchRecords::attach(std::process::id(), &host::cpuset())?;
    let (rings, bytes) = records.rings();
    Ok(format!("{rings} rings of {} KiB, one a CPU", bytes >> 10))
}

/// Whether /proc shows the processes of our own pid namespace: elsewhere the same numbers are strangers.
pub fn proc_is_ours(root: &Path) -> bool {
    std::fs::read_link(root.join("self")).is_ok_and(|link| link == Path::new(&std::process::id().to_string()))
}

/// Whether `/proc/PID/task/PID/schedstat` of a process can be read, and whether this kernel fills it: our own tells, since
/// whoever asks has had a time slice.
pub fn schedstat_of(root: &Path, pid: u32) -> Result<(), WhyNot> {
    if !proc_is_ours(root) {
        return Err(WhyNot::ProcHidden);
    }
    let file = |pid: u32| root.join(format!("{pid}/task/{pid}/schedstat"));
    if let Err(error) = std::fs::read_to_string(file(pid)) {
        return Err(match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => WhyNot::OpenFiles,
            _ if root.join(pid.to_string()).exists() => WhyNot::NoSchedstat,
            _ => WhyNot::ProcHidden,
        });
    }
    let own = std::fs::read_to_string(file(std::process::id())).unwrap_or_default();
    let slices = own.split_whitespace().nth(2).and_then(|word| word.parse::<u64>().ok());
    if slices.is_some_and(|slices| slices > 0) { Ok(()) } else { Err(WhyNot::NoSchedstat) }
}

/// Our own system call can always be read; a child's only where the ptrace scope lets a parent attach.
fn waits_of(root: &Path, pid: u32) -> Result<String, WhyNot> {
    if !proc_is_ours(root) {
        return Err(WhyNot::ProcHidden);
    }
    let ptrace_scope = host::ptrace_scope();
    let refused = WhyNot::SyscallHidden { ptrace_scope };
    match std::fs::read_to_string(root.join(format!("{pid}/syscall"))) {
        Ok(_) if ptrace_scope.is_some_and(|scope| scope > 1) && crate::sys::identity::effective_uid() != 0 => {
            Err(refused)
        }
        Ok(_) => Ok("readable".to_owned()),
        Err(error) => Err(match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => refused,
            Some(libc::EMFILE | libc::ENFILE) => WhyNot::OpenFiles,
            errno => WhyNot::Unsupported(errno.unwrap_or(0)),
        }),
    }
}

/// Our own memory can be read unless a filter forbids the call; a child's only where the ptrace scope lets a parent attach.
fn lock_of() -> Result<String, WhyNot> {
    let known = [7u8; 8];
    let mut read = [0u8; 8];
    let scope = host::ptrace_scope();
    match memory::read(std::process::id(), known.as_ptr().addr() as u64, &mut read) {
        Ok(()) if scope.is_some_and(|scope| scope > 1) && crate::sys::identity::effective_uid() != 0 => {
            Err(WhyNot::MemoryHidden { ptrace_scope: scope })
        }
        Ok(()) => Ok("memory of own children can be read".to_owned()),
        Err(error) => Err(WhyNot::MemoryFiltered(error.raw_os_error().unwrap_or(libc::EPERM))),
    }
}

fn instructions() -> Result<String, WhyNot> {
    let mut builder = Builder::new().kind(Hardware::INSTRUCTIONS).observe_self();
    builder.exclude_kernel(true).exclude_hv(true);
    match builder.build() {
        Ok(_) => Ok("the CPU's counters can be read".to_owned()),
        Err(error) => Err(ladder::explain_perf(&error)),
    }
}

fn facts() -> Vec<(&'static str, String)> {
    let machine = host::survey();
    let unknown = || "unknown".to_owned();
    let mut facts = vec![
        ("kernel", machine.kernel.clone()),
        ("user", if crate::sys::identity::effective_uid() == 0 { "root".to_owned() } else { "ordinary".to_owned() }),
        ("logical cores", machine.logical_cores.map_or_else(unknown, |cores| cores.to_string())),
        ("physical cores", machine.physical_cores.map_or_else(unknown, |cores| cores.to_string())),
        ("usable cores", machine.usable_cores.map_or_else(unknown, |cores| format!("{cores:.2}"))),
        ("CPU quota", machine.quota_cores.map_or("none".to_owned(), |cores| format!("{cores:.2} cores"))),
        (
            "memory limit",
            machine
                .memory_limit_bytes
                .map_or_else(unknown, |bytes| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)),
        ),
        ("cgroup", host::cgroup_version().map_or_else(unknown, |version| format!("{version:?}").to_lowercase())),
        ("perf_event_paranoid", host::perf_event_paranoid().map_or_else(unknown, |value| value.to_string())),
        ("perf_event_mlock_kb", host::perf_event_mlock_kib().map_or_else(unknown, |value| value.to_string())),
        (
            "ulimit -l",
            crate::sys::identity::rlimit_memlock_kib().map_or("unlimited".to_owned(), |value| format!("{value} KiB")),
        ),
        ("ptrace_scope", host::ptrace_scope().map_or("no Yama".to_owned(), |value| value.to_string())),
        ("hidepid", host::hidepid().unwrap_or_else(|| "off".to_owned())),
        (
            "seccomp",
            match host::seccomp_mode() {
                Some(0) => "off".to_owned(),
                Some(2) => "filter".to_owned(),
                Some(mode) => format!("mode {mode}"),
                None => unknown(),
            },
        ),
    ];
    if host::is_gvisor() {
        facts.push(("sandbox", "gVisor: scheduler counters read 0 there and are not believed".to_owned()));
    }
    facts
}
