//! What files of /proc say of a thread, a process, a program: bytes in, readings out. Must not decide whom to read.

use super::census::PF_EXITING;
use super::files::{Files, LARGEST, Which, number};
use crate::trace::{Event, Ids, ProcessReading, ThreadReading, WhyNot};
use crate::units::{Span, Timestamp};
use procfs::FromRead;
use procfs::process::{Process, Schedstat, Stat, Syscall};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Longest argument vector that is kept of a program.
const MOST_ARGUMENTS: usize = 64;
/// Longest argument that is kept.
const LONGEST_ARGUMENT: usize = 4096;
/// More than /proc/PID/fdinfo has before the lines of special files.
const FDINFO: usize = 256;

/// Descriptors that are counted one by one.
const MOST_DESCRIPTORS: usize = 16_384;

/// What a thread is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Called {
    /// A system call, or none: it runs, or it is blocked outside of one.
    In(Syscall),
    /// Nothing any more: it has ended and nobody has waited for it.
    Zombie,
    /// It is not there.
    Gone,
}

impl Called {
    /// The system call.
    pub fn syscall(self) -> Option<Syscall> {
        match self {
            Called::In(syscall) => Some(syscall),
            Called::Zombie | Called::Gone => None,
        }
    }
}

/// The system call that a thread is in.
pub fn syscall(files: &mut Files, ids: Ids) -> Result<Called, WhyNot> {
    match files.read(ids, Which::Syscall) {
        Ok(text) => Ok(called(text)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(WhyNot::SyscallHidden { ptrace_scope: super::host::ptrace_scope() })
        }
        Err(_) => Ok(Called::Gone),
    }
}

/// Outside of a system call the kernel gives the stack pointer and the program counter alone (`-1 0x7f… 0x7f…`), both 0
/// where the thread has no stack any more.
fn called(text: &[u8]) -> Called {
    match text.strip_prefix(b"-1 ") {
        Some(rest) if rest.trim_ascii() == b"0x0 0x0" => Called::Zombie,
        Some(_) => {
            let (argument_registers, stack_pointer, program_counter) = ([0; 6], 0, 0);
            Called::In(Syscall::Blocked { syscall_number: -1, argument_registers, stack_pointer, program_counter })
        }
        None => Syscall::from_read(text).map_or(Called::Gone, Called::In),
    }
}

/// Counters of a thread; its switch counts only if asked for, since they are dearer.
pub fn thread(files: &mut Files, ids: Ids, with_switches: bool) -> Option<ThreadReading> {
    let schedstat = files.read(ids, Which::Schedstat).ok().and_then(|text| Schedstat::from_read(text).ok());
    let (voluntary, involuntary) = if with_switches { switches(files, ids) } else { (None, None) };
    (schedstat.is_some() || voluntary.is_some()).then(|| ThreadReading {
        on_cpu: schedstat.as_ref().map(|stat| Span(stat.sum_exec_runtime)),
        run_delay: schedstat.as_ref().map(|stat| Span(stat.run_delay)),
        slices: schedstat.as_ref().map(|stat| stat.pcount),
        voluntary,
        involuntary,
        started: None,
        active: None,
    })
}

fn switches(files: &mut Files, ids: Ids) -> (Option<u64>, Option<u64>) {
    let read = |text: &[u8]| (number(text, "voluntary_ctxt_switches:"), number(text, "nonvoluntary_ctxt_switches:"));
    status(files, ids, Which::TaskStatus, read).unwrap_or_default()
}

/// What `parse` finds in a status file, all of it: the list of groups in its middle may be long.
fn status<T>(files: &mut Files, ids: Ids, which: Which, parse: impl Fn(&[u8]) -> T) -> Option<T> {
    let text = files.read(ids, which).ok()?;
    if text.len() < LARGEST { Some(parse(text)) } else { files.read_whole(ids, which).ok().map(|text| parse(&text)) }
}

/// When a thread was born, on the boot-based clock, and whether it runs or is ready to.
pub fn birth_and_state(files: &mut Files, ids: Ids, ticks: u64) -> Option<(Timestamp, bool)> {
    let stat = Stat::from_read(files.read(ids, Which::TaskStat).ok()?).ok()?;
    // The middle of its clock tick.
    let nanos = (stat.starttime as f64 + 0.5) / ticks as f64 * 1e9;
    Some((Timestamp(nanos as u64), stat.state == 'R'))
}

/// Whether a signal or a debugger has stopped a process, told by its first thread.
pub fn is_stopped(files: &mut Files, pid: u32) -> bool {
    files.read(Ids { pid, tid: pid }, Which::TaskStat).is_ok_and(|text| matches!(state(text), Some(b'T' | b't')))
}

/// The letter behind the name in parentheses, which may hold parentheses itself.
fn state(stat: &[u8]) -> Option<u8> {
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_ends + 2).copied()
}

/// Times, memory and bytes of a process; without its memory and descriptors where it has ended.
pub fn process(files: &mut Files, root: &Path, pid: u32, ticks: u64, alive: bool) -> Option<ProcessReading> {
    let ids = Ids { pid, tid: pid };
    let stat = Stat::from_read(files.read(ids, Which::Stat).ok()?).ok()?;
    let in_ticks = |count: u64| Some(Span::from_secs_f64(count as f64 / ticks as f64));
    let mut reading = ProcessReading {
        cpu_user: in_ticks(stat.utime),
        cpu_system: in_ticks(stat.stime),
        threads: u32::try_from(stat.num_threads).ok(),
        ..ProcessReading::default()
    };
    // A first thread that has ended stands for the process only where no other one is left.
    let ended = stat.num_threads <= 1 && (matches!(stat.state, 'Z' | 'X') || stat.flags & PF_EXITING != 0);
    if alive && !ended {
        reading.rss_bytes = Some(stat.rss.saturating_mul(procfs::page_size()));
        let peak_kib = status(files, ids, Which::Status, |text| number(text, "VmHWM:")).flatten();
        reading.rss_peak_bytes = peak_kib.map(|kib| kib.saturating_mul(1024));
        reading.stdin_bytes = position(root, pid, 0);
        reading.stdout_bytes = position(root, pid, 1);
    }
    if let Ok(io) = files.read(ids, Which::Io) {
        reading.read_chars = number(io, "rchar:");
        reading.written_chars = number(io, "wchar:");
        reading.disk_read_bytes = number(io, "read_bytes:");
        reading.disk_written_bytes = number(io, "write_bytes:");
    }
    Some(reading)
}

/// How many descriptors a process has open. Since Linux 6.2 the directory's size tells; before, they are counted if `dear` allows
/// it.
pub fn descriptors(root: &Path, pid: u32, dear: bool) -> Option<u32> {
    let directory = root.join(pid.to_string()).join("fd");
    let open = match std::fs::metadata(&directory).ok()?.len() {
        0 if dear => std::fs::read_dir(&directory).ok()?.take(MOST_DESCRIPTORS).count() as u64,
        0 => return None,
        told => told,
    };
    // Who has ended has none, and is none that closed all of them.
    u32::try_from(open).ok().filter(|&open| open > 0)
}

/// How far a regular file on this descriptor has been read or written.
pub fn position(root: &Path, pid: u32, fd: i32) -> Option<u64> {
    let directory = root.join(pid.to_string());
    let target = std::fs::read_link(directory.join(format!("fd/{fd}"))).ok()?;
    if !target.is_absolute() || target.starts_with("/dev") || target.starts_with("/proc") {
        return None;
    }
    let mut text = [0; FDINFO];
    let count = File::open(directory.join(format!("fdinfo/{fd}"))).ok()?.read_at(&mut text, 0).ok()?;
    number(&text[..count], "pos:")
}

/// The program of a process and its arguments.
pub fn program(process: &Process, pid: u32, parent: u32, at: Timestamp) -> Option<Event> {
    let argv = process.cmdline().ok()?;
    let exe = process.exe().ok().map(|path| path.to_string_lossy().into_owned());
    if argv.is_empty() && exe.is_none() {
        return None;
    }
    let argv = argv.into_iter().take(MOST_ARGUMENTS).map(|argument| shorten(argument, LONGEST_ARGUMENT)).collect();
    Some(Event::Program { at, pid, parent, exe, argv })
}

fn shorten(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_stands_behind_the_name() {
        assert_eq!(state(b"7 (a) T (x) S 1 7 7 0 -1\n"), Some(b'S'));
        assert_eq!(state(b"7 (sleep) T 1 7 7 0 -1\n"), Some(b'T'));
        assert_eq!(state(b""), None);
    }

    #[test]
    fn what_has_ended_is_told_from_what_waits_for_a_page() {
        assert_eq!(called(b"-1 0x0 0x0\n"), Called::Zombie);
        let page = called(b"-1 0x7ffd5a0e5b60 0x7f0a1c2d3e4f\n");
        assert!(matches!(page, Called::In(Syscall::Blocked { syscall_number: -1, .. })), "{page:?}");
        assert_eq!(called(b"running\n"), Called::In(Syscall::Running));
        let sleep = called(b"230 0x1 0x0 0x7ffc 0x0 0x0 0x0 0x7ffd5a0e5b60 0x7f0a1c2d3e4f\n");
        assert!(matches!(sleep, Called::In(Syscall::Blocked { syscall_number: 230, .. })), "{sleep:?}");
        assert_eq!(called(b"nonsense"), Called::Gone);
        assert_eq!(called(b""), Called::Gone);
    }
}
