//! The machine and the container: cores, quota, memory, and the kernel's settings that decide what may be seen.

use crate::sys::identity;
use crate::trace::Host;
use crate::units::{Span, ratio};
use procfs::process::MountInfos;
use procfs::{FromRead, ProcessCGroups};
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// A CPU quota of a cgroup: `runtime` of every `period`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// In cores.
    pub cores: f64,
}

/// Which hierarchy limits this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// The unified hierarchy.
    V2,
    /// One hierarchy a controller.
    V1,
}

/// Most bytes that are read of a small file.
const SMALL: usize = 4096;

/// Surveys the machine.
pub fn survey() -> Host {
    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let limits = system.as_ref().ok().and_then(System::cgroup_limits);
    let total = system.as_ref().ok().map(System::total_memory).filter(|&bytes| bytes > 0);
    let limit = limits.map(|limits| limits.total_memory).filter(|&bytes| bytes > 0);
    let logical = online_cpus().map(|cpus| cpus.len() as u32);
    let affinity = identity::affinity_count().ok();
    let quota = cpu_quota().map(|quota| quota.cores);
    let usable = affinity.map(|cpus| quota.map_or(cpus as f64, |quota| quota.min(cpus as f64)));
    Host {
        kernel: System::kernel_version().unwrap_or_default(),
        logical_cores: logical,
        physical_cores: System::physical_core_count().ok().map(|cores| cores as u32),
        usable_cores: usable,
        quota_cores: quota,
        memory_limit_bytes: match (total, limit) {
            (Some(total), Some(limit)) => Some(total.min(limit)),
            (total, limit) => total.or(limit),
        },
        steal_ratio: None,
    }
}

/// CPUs that a process of this cpuset may ever run on; switch records are wanted of these.
pub fn cpuset() -> Vec<usize> {
    let effective = cgroup_files("cpuset")
        .into_iter()
        .flat_map(|directory| [directory.join("cpuset.cpus.effective"), directory.join("cpuset.effective_cpus")])
        .find_map(|file| read_list(&file));
    effective.or_else(online_cpus).filter(|cpus| !cpus.is_empty()).unwrap_or_else(|| vec![0])
}

/// The beginning of a small file of the kernel's, which gives it in one piece.
fn read_small(file: &Path) -> Option<String> {
    let mut text = [0; SMALL];
    let count = File::open(file).ok()?.read_at(&mut text, 0).ok()?;
    Some(String::from_utf8_lossy(&text[..count]).into_owned())
}

fn online_cpus() -> Option<Vec<usize>> {
    read_list(Path::new("/sys/devices/system/cpu/online"))
}

fn read_list(file: &Path) -> Option<Vec<usize>> {
    parse_cpu_list(read_small(file)?.trim())
}

/// The kernel's list format, `0-3,8`; `None` where it is empty or malformed.
fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last >= 1 << 16 {
            return None;
        }
        cpus.extend(first..=last);
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// This process's cgroups and the mounts, read once: they are asked for several times a run.
fn cgroups() -> Option<&'static (ProcessCGroups, MountInfos)> {
    static READ: OnceLock<Option<(ProcessCGroups, MountInfos)>> = OnceLock::new();
    READ.get_or_init(|| {
        Some((
            ProcessCGroups::from_file("/proc/self/cgroup").ok()?,
            MountInfos::from_file("/proc/self/mountinfo").ok()?,
        ))
    })
    .as_ref()
}

/// Directories of a controller's cgroup, innermost first: a limit of any of them holds.
fn cgroup_files(controller: &str) -> Vec<PathBuf> {
    let Some((groups, mounts)) = cgroups() else { return Vec::new() };
    let mut directories = Vec::new();
    for mount in mounts.0.iter() {
        let unified = mount.fs_type == "cgroup2";
        let wanted = unified || (mount.fs_type == "cgroup" && mount.super_options.contains_key(controller));
        if !wanted {
            continue;
        }
        let group = groups.0.iter().find(|group| {
            if unified { group.hierarchy == 0 } else { group.controllers.iter().any(|name| name == controller) }
        });
        let Some(group) = group else { continue };
        // Inside a container the mount shows only the part below its root.
        let inner = group.pathname.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(&group.pathname);
        let mut directory = mount.mount_point.join(inner.trim_start_matches('/'));
        while directory.starts_with(&mount.mount_point) {
            directories.push(directory.clone());
            if !directory.pop() {
                break;
            }
        }
    }
    directories
}

/// The tightest CPU quota that holds for this process, if any.
pub fn cpu_quota() -> Option<Quota> {
    let mut tightest: Option<f64> = None;
    for directory in cgroup_files("cpu") {
        let v2 = read_small(&directory.join("cpu.max")).and_then(|text| parse_cpu_max(&text));
        let v1 = || {
            let read = |name: &str| read_small(&directory.join(name))?.trim().parse::<f64>().ok();
            ratio(read("cpu.cfs_quota_us").filter(|&quota| quota > 0.0)?, read("cpu.cfs_period_us")?)
        };
        if let Some(cores) = v2.or_else(v1) {
            tightest = Some(tightest.map_or(cores, |before| before.min(cores)));
        }
    }
    tightest.map(|cores| Quota { cores })
}

fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    ratio(words.next()?.parse().ok()?, words.next()?.parse().ok()?)
}

/// How long tasks of our cgroups were throttled so far.
pub fn throttled() -> Option<Span> {
    let mut found = None;
    for directory in cgroup_files("cpu") {
        let Some(text) = read_small(&directory.join("cpu.stat")) else { continue };
        for line in text.lines() {
            let nanos = match line.split_once(' ') {
                Some(("throttled_time", value)) => value.trim().parse::<u64>().ok(),
                Some(("throttled_usec", value)) => value.trim().parse::<u64>().ok().map(|usec| usec * 1000),
                _ => None,
            };
            found = found.max(nanos);
        }
    }
    found.map(Span)
}

/// How many processes of our cgroup the kernel has killed for want of memory so far: the innermost that tells, for those
/// around it hold others' processes too.
pub fn memory_kills() -> Option<u64> {
    cgroup_files("memory").iter().find_map(|directory| kills_of(directory))
}

/// The kills that a cgroup's directory tells of: version 2, then version 1.
fn kills_of(directory: &Path) -> Option<u64> {
    let names = ["memory.events", "memory.oom_control"];
    names.iter().filter_map(|name| read_small(&directory.join(name))).find_map(|text| kills_in(&text))
}

/// The kills in `memory.events` or `memory.oom_control`.
fn kills_in(text: &str) -> Option<u64> {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(count)
}

/// Which hierarchies this process is under.
pub fn cgroup_version() -> Option<CgroupVersion> {
    let groups = procfs::process::Process::myself().ok()?.cgroups().ok()?;
    let v1 = groups.0.iter().any(|group| group.controllers.iter().any(|name| name == "cpu"));
    Some(if v1 { CgroupVersion::V1 } else { CgroupVersion::V2 })
}

/// Jiffies of the whole machine: (idle, stolen, all).
pub fn cpu_jiffies() -> Option<(u64, u64, u64)> {
    // Its first line is all of them; what comes behind may be long.
    let text = read_small(Path::new("/proc/stat"))?;
    let fields: Vec<u64> =
        text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let idle = fields.get(3)? + fields.get(4)?;
    // guest and guest_nice (8, 9) are in user and nice already.
    Some((idle, *fields.get(7).unwrap_or(&0), fields.iter().take(8).sum()))
}

fn sysctl(path: &str) -> Option<i64> {
    fs::read_to_string(Path::new("/proc/sys/kernel").join(path)).ok()?.trim().parse().ok()
}

/// `kernel.perf_event_paranoid`.
pub fn perf_event_paranoid() -> Option<i32> {
    sysctl("perf_event_paranoid").and_then(|value| i32::try_from(value).ok())
}

/// `kernel.perf_event_mlock_kb`.
pub fn perf_event_mlock_kib() -> Option<u64> {
    sysctl("perf_event_mlock_kb").and_then(|value| u64::try_from(value).ok())
}

/// `kernel.yama.ptrace_scope`; `None` where the kernel has no Yama.
pub fn ptrace_scope() -> Option<i64> {
    sysctl("yama/ptrace_scope")
}

/// The `hidepid` option of /proc, where it is not 0.
pub fn hidepid() -> Option<String> {
    let mounts = procfs::process::Process::myself().ok()?.mountinfo().ok()?;
    let proc =
        mounts.0.iter().rev().find(|mount| mount.fs_type == "proc" && mount.mount_point == Path::new("/proc"))?;
    let value = proc.super_options.get("hidepid").or_else(|| proc.mount_options.get("hidepid"))?.clone()?;
    (value != "0" && value != "off").then_some(value)
}

/// Seccomp mode of this process: 0 none, 1 strict, 2 filter.
pub fn seccomp_mode() -> Option<u32> {
    procfs::process::Process::myself().ok()?.status().ok()?.seccomp
}

/// Whether this is gVisor, whose scheduler counters read 0.
pub fn is_gvisor() -> bool {
    fs::read_to_string("/proc/version").is_ok_and(|text| text.contains("gVisor"))
        || fs::read_to_string("/proc/sys/kernel/dmesg_restrict").is_err()
            && fs::metadata("/proc/sentry-meminfo").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_and_quotas_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_cpu_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list(""), None);
        assert_eq!(parse_cpu_list("0-99999999999"), None);
        assert_eq!(parse_cpu_max("50000 100000\n"), Some(0.5));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
    }

    #[test]
    fn kills_for_want_of_memory_are_read_of_both_versions() {
        let events = "low 0\nhigh 3\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n";
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n";
        for (name, text, kills) in [("memory.events", events, Some(2)), ("memory.oom_control", control, Some(5))] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            assert_eq!(kills_of(folder.path()), None, "nothing tells");
            fs::write(folder.path().join(name), text).expect("it can be written");
            assert_eq!(kills_of(folder.path()), kills, "{name}");
        }
        assert_eq!(kills_in("oom_kill_disable 1\nunder_oom 0\n"), None, "before Linux 4.13");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let host = survey();
        assert!(host.usable_cores.is_none_or(|cores| cores > 0.0));
        assert!(host.memory_limit_bytes.is_none_or(|bytes| bytes > 1 << 20));
        assert!(!cpuset().is_empty());
    }
}
