//! Child processes that already run: signals to them, their changes of state, what they used.
//! The target is started by `launch`; here only helpers are. Must not decide whom to wait for.

use super::checked;
use super::inherited::inherited;
use super::signals::SavedSignals;
use crate::units::Span;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a process and the descendants that it waited for have used, as the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceUse {
    /// User CPU time.
    pub cpu_user: Span,
    /// System CPU time.
    pub cpu_system: Span,
    /// Voluntary context switches.
    pub voluntary: u64,
    /// Involuntary context switches.
    pub involuntary: u64,
    /// Peak resident memory of the largest process. It starts at the size of the process that forked it: poolpick's.
    pub peak_rss_bytes: u64,
}

impl ResourceUse {
    /// User and system time together.
    pub fn cpu(self) -> Span {
        self.cpu_user + self.cpu_system
    }

    /// Both together; the peak is the larger one.
    pub fn plus(self, other: ResourceUse) -> ResourceUse {
        ResourceUse {
            cpu_user: self.cpu_user + other.cpu_user,
            cpu_system: self.cpu_system + other.cpu_system,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
            peak_rss_bytes: self.peak_rss_bytes.max(other.peak_rss_bytes),
        }
    }

    /// What was used since `earlier`. The kernel counts the sum of user and system time but estimates how it divides,
    /// so that either may even shrink: what one cannot give is taken from the other.
    pub fn since(self, earlier: ResourceUse) -> ResourceUse {
        let left = self.cpu() - earlier.cpu();
        let cpu_user = (self.cpu_user - earlier.cpu_user).min(left);
        ResourceUse {
            cpu_user,
            cpu_system: left - cpu_user,
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }

    /// From the kernel's structure.
    fn from_kernel(usage: &libc::rusage) -> ResourceUse {
        ResourceUse {
            cpu_user: span(usage.ru_utime),
            cpu_system: span(usage.ru_stime),
            voluntary: usage.ru_nvcsw as u64,
            involuntary: usage.ru_nivcsw as u64,
            peak_rss_bytes: (usage.ru_maxrss as u64).saturating_mul(1024),
        }
    }
}

fn span(time: libc::timeval) -> Span {
    Span((time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add((time.tv_usec as u64).saturating_mul(1000)))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

/// A change of state of a child, as `waitid` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended and is a zombie.
    Ended,
    /// This signal stopped it.
    Stopped(i32),
    /// SIGCONT continued it.
    Continued,
}

/// Which changes to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Whether it ended; the child stays a zombie that can be asked again.
    Ended,
    /// Whether it stopped or continued; each change is told once.
    StoppedOrContinued,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// The child with this process id.
    Pid(u32),
    /// Any child, adopted orphans included.
    Any,
}

/// Asks, without waiting, for a change of state. `None`: nothing happened, or there is no such child.
pub fn change(child: Child, ask: Ask) -> io::Result<Option<(u32, Change)>> {
    let (kind, id) = match child {
        Child::Pid(pid) => (libc::P_PID, pid),
        Child::Any => (libc::P_ALL, 0),
    };
    let options = libc::WNOHANG
        | match ask {
            Ask::Ended => libc::WEXITED | libc::WNOWAIT,
            Ask::StoppedOrContinued => libc::WSTOPPED | libc::WCONTINUED,
        };
    // SAFETY: a zeroed siginfo_t is valid, and its zero pid is what tells that nothing happened.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid siginfo_t to write to.
    match retried(|| unsafe { libc::waitid(kind, id, &mut info, options) }) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
        other => other?,
    };
    // SAFETY: waitid filled the fields of a SIGCHLD, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match info.si_code {
        _ if pid == 0 => None,
        libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED => Some((pid as u32, Change::Ended)),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => Some((pid as u32, Change::Stopped(status))),
        libc::CLD_CONTINUED => Some((pid as u32, Change::Continued)),
        _ => None,
    })
}

/// Whether this process has children left, living or not yet reaped, adopted ones included.
pub fn has_children() -> bool {
    // SAFETY: a zeroed siginfo_t is a valid value to be overwritten.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid siginfo_t to write to. Without children the call fails with ECHILD.
    retried(|| unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) }).is_ok()
}

/// Waits until the child `pid` has ended, reaps it, and tells how it ended and what it used.
pub fn reap(pid: u32) -> io::Result<(ExitKind, ResourceUse)> {
    let mut status = 0;
    // SAFETY: a zeroed rusage is a valid value to be overwritten.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to valid values to write to.
    retried(|| unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage) })?;
    let kind = if libc::WIFSIGNALED(status) {
        ExitKind::Killed(libc::WTERMSIG(status))
    } else {
        ExitKind::Exited(libc::WEXITSTATUS(status))
    };
    Ok((kind, ResourceUse::from_kernel(&usage)))
}

/// Sends `signal` to the process `pid`.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0);
    // Zero and negative ids mean process groups and everybody: never from here.
    let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: kill takes no pointer.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Sends `signal` to the process group that `leader` leads; only for a child that was made a leader and is not reaped yet.
pub fn kill_group(leader: u32, signal: i32) -> io::Result<()> {
    let leader = libc::pid_t::try_from(leader).ok().filter(|pid| *pid > 1);
    // One's own group and everybody have other numbers.
    let leader = leader.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: kill takes no pointer.
    checked(unsafe { libc::kill(-leader, signal) }).map(drop)
}

/// Starts a command as the leader of a process group of its own, so that the terminal's signals do not reach it, with the
/// signals as they were before they were watched.
pub fn spawn_apart(command: &mut Command, signals: &SavedSignals) -> io::Result<std::process::Child> {
    let signals = signals.clone();
    let inherited = inherited();
    command.process_group(0);
    // SAFETY: between fork and exec it only makes the async-signal-safe calls of `restore_in_child`; what it reads was
    // made before the fork.
    unsafe {
        command.pre_exec(move || {
            signals.restore_in_child(inherited);
            Ok(())
        })
    };
    command.spawn()
}

/// Makes this process the one that adopts and reaps descendants whose parent ended.
pub fn become_subreaper() -> io::Result<()> {
    let on: libc::c_ulong = 1;
    // SAFETY: PR_SET_CHILD_SUBREAPER takes a number.
    checked(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, on) }).map(drop)
}

/// What this process itself has used. Async-signal-safe: it is called between fork and exec.
pub(super) fn own_use() -> ResourceUse {
    // SAFETY: a zeroed rusage is a valid value to be overwritten.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid to write to; the call cannot fail with a known `who`, and zeros would stay.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    ResourceUse::from_kernel(&usage)
}

/// Makes the call again as long as a signal interrupts it.
pub(super) fn retried(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match checked(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(user: u64, system: u64) -> ResourceUse {
        ResourceUse { cpu_user: Span(user), cpu_system: Span(system), ..ResourceUse::default() }
    }

    #[test]
    fn the_difference_keeps_the_sum() {
        assert_eq!(used(10, 10).since(used(3, 4)), used(7, 6));
        // The kernel first called all of it user time, and later system time.
        assert_eq!(used(0, 10).since(used(4, 0)), used(0, 6));
        assert_eq!(used(10, 0).since(used(0, 4)), used(6, 0));
        assert_eq!(used(1, 1).since(used(4, 4)), used(0, 0));
    }

    #[test]
    fn groups_and_everybody_are_never_signalled() {
        assert_eq!(kill(0, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(kill_group(0, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(kill_group(1, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(kill(u32::MAX, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert!(kill(std::process::id(), 0).is_ok());
    }
}
