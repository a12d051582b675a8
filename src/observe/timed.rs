//! System calls that stop waiting of themselves, and when. A timed wait that nobody else can end is a sleep: the time-out is
//! what it waits for. Must not tell what others can be waited for.

use super::waits::{read_memory, watched};
use crate::sys::clock;
use crate::trace::{Blocking, TimeOut};
use crate::units::{Span, Timestamp};
use procfs::process::{MMapPath, Process, Syscall};
use std::path::Path;

/// Most descriptors of a process among which the other end of its pipe is looked for.
const MOST_ENDS: usize = 256;
/// What a descriptor of an `eventfd` leads to.
const EVENTFD: &str = "anon_inode:[eventfd]";
/// `O_WRONLY` and `O_RDWR` of the flags of an open file.
const WRITABLE: u32 = (libc::O_WRONLY | libc::O_RDWR) as u32;

/// What the only thread of the only process waits for in `call`, which was taken for a wait `on` its neighbours.
pub fn told_from(process: &Process, call: Syscall, on: Blocking) -> Blocking {
    let Syscall::Blocked { syscall_number, argument_registers, .. } = call else { return on };
    if !is_timed(syscall_number, &argument_registers) {
        return on;
    }
    let first = argument_registers[0];
    let ours = match on {
        Blocking::SharedLock if is_queue(syscall_number) => is_unlinked(process, first),
        Blocking::SharedLock => is_futex(syscall_number) && is_inherited_only(process, first),
        Blocking::Pipe | Blocking::Idle => {
            let watched = watched(process, syscall_number, &argument_registers).unwrap_or_default();
            !watched.is_empty() && watched.iter().all(|&fd| writes_to_itself(process, fd))
        }
        _ => false,
    };
    if ours { Blocking::Sleep } else { on }
}

/// When `call` stops waiting of itself; `None` where it does not, or where that cannot be read.
pub fn time_out(process: &Process, call: Syscall) -> Option<TimeOut> {
    let Syscall::Blocked { syscall_number, argument_registers: arguments, .. } = call else { return None };
    let (sleeps, milliseconds) = (
        |address| duration(process, address, 1),
        |count: u64| u64::try_from(count as u32 as i32).ok().filter(|&count| count > 0).map(Span::from_millis),
    );
    let after = match syscall_number {
        libc::SYS_futex => return futex_time_out(process, &arguments),
        libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => return by_realtime(sleeps(arguments[4])?),
        libc::SYS_ppoll => sleeps(arguments[2]),
        libc::SYS_pselect6 => sleeps(arguments[4]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => milliseconds(arguments[2]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => duration(process, arguments[4], 1_000),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => milliseconds(arguments[3]),
        libc::SYS_epoll_pwait => milliseconds(arguments[3]),
        _ => None,
    };
    after.map(TimeOut::After)
}

/// A plain wait counts from its beginning, one with a bit set by a clock.
fn futex_time_out(process: &Process, arguments: &[u64; 6]) -> Option<TimeOut> {
    let operation = arguments[1] as i32;
    let span = duration(process, arguments[3], 1)?;
    match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
        libc::FUTEX_WAIT => Some(TimeOut::After(span)),
        libc::FUTEX_WAIT_BITSET if operation & libc::FUTEX_CLOCK_REALTIME != 0 => by_realtime(span),
        libc::FUTEX_WAIT_BITSET => Some(TimeOut::At(Timestamp(span.0))),
        _ => None,
    }
}

/// A moment on the realtime clock, `since` its beginning.
fn by_realtime(since: Span) -> Option<TimeOut> {
    let now = clock::monotonic();
    // Its thread may have been woken by it since, and not have run yet.
    now.0.checked_add(since.0)?.checked_sub(clock::realtime(now).0).map(|at| TimeOut::At(Timestamp(at)))
}

/// A `timespec`, or a `timeval` whose parts of a second are so many nanoseconds, in the target's memory.
fn duration(process: &Process, address: u64, part: u64) -> Option<Span> {
    let mut bytes = [0u8; 16];
    if address == 0 || !read_memory(process, address, &mut bytes) {
        return None;
    }
    let number = |from: usize| Some(i64::from_ne_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
    let (seconds, parts) = (u64::try_from(number(0)?).ok()?, u64::try_from(number(8)?).ok()?);
    Some(Span(seconds.checked_mul(1_000_000_000)?.checked_add(parts.checked_mul(part)?)?))
}

/// Whether the call ends at a time-out.
fn is_timed(number: i64, arguments: &[u64; 6]) -> bool {
    match number {
        libc::SYS_futex => arguments[3] != 0,
        libc::SYS_futex_waitv => arguments[3] != 0,
        libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => arguments[4] != 0,
        libc::SYS_ppoll => arguments[2] != 0,
        libc::SYS_pselect6 => arguments[4] != 0,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => arguments[2] as u32 as i32 > 0,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => arguments[4] != 0,
        _ => false,
    }
}

fn is_futex(number: i64) -> bool {
    number == libc::SYS_futex
}

fn is_queue(number: i64) -> bool {
    matches!(number, libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend)
}

/// What a descriptor of the process leads to.
fn link(process: &Process, fd: impl std::fmt::Display) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", process.pid)).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Whether the file at `fd` has no name any more: only who has it open already can reach it.
fn is_unlinked(process: &Process, fd: u64) -> bool {
    link(process, fd).is_some_and(|link| link.ends_with("(deleted)"))
}

/// Whether the address lies in memory that has no name any more, or never had one: only who descends from the process, or
/// it from, can share that.
fn is_inherited_only(process: &Process, address: u64) -> bool {
    let Ok(maps) = process.maps() else { return false };
    let area = maps.into_iter().find(|area| (area.address.0..area.address.1).contains(&address));
    area.is_some_and(|area| match area.pathname {
        MMapPath::Path(path) => path.to_string_lossy().ends_with("(deleted)"),
        MMapPath::Anonymous => true,
        _ => false,
    })
}

/// Whether what is waited for at `fd` can come from the process alone: it holds the other end of the pipe or of the pair of
/// sockets itself, or is the only one that counts an `eventfd` up.
fn writes_to_itself(process: &Process, fd: u64) -> bool {
    let Some(target) = link(process, fd) else { return false };
    if target.starts_with("pipe:") {
        return open(process)
            .iter()
            .any(|name| link(process, name).as_ref() == Some(&target) && is_writable(process, name));
    }
    if let Some(inode) = socket(&target) {
        let ours: Vec<u64> = open(process).iter().filter_map(|name| socket(&link(process, name)?)).collect();
        let peers = peers(process, inode);
        return !peers.is_empty() && peers.iter().all(|peer| ours.contains(peer));
    }
    // What it was given at its start we have at the same number.
    target == EVENTFD
        && std::fs::read_link(format!("/proc/self/fd/{fd}")).map_or(true, |ours| ours != Path::new(EVENTFD))
}

/// The names of the process's descriptors, up to a number.
fn open(process: &Process) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.pid));
    let names = open.into_iter().flatten().flatten().take(MOST_ENDS);
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The inode number of a socket.
fn socket(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Sockets that may be the other one of a pair: both are numbered in a row, and neither has a name.
fn peers(process: &Process, inode: u64) -> Vec<u64> {
    let unnamed = process.unix().unwrap_or_default().into_iter().filter(|entry| entry.path.is_none());
    unnamed.map(|entry| entry.inode).filter(|other| other.abs_diff(inode) == 1).collect()
}

fn is_writable(process: &Process, fd: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", process.pid)).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & WRITABLE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_read_from_the_arguments() {
        assert!(is_timed(libc::SYS_futex, &[1, 0, 0, 0x7ffc_0000, 0, 0]));
        assert!(!is_timed(libc::SYS_futex, &[1, 0, 0, 0, 0, 0]), "a wait without one");
        assert!(is_timed(libc::SYS_ppoll, &[1, 1, 0x7ffc_0000, 0, 0, 0]));
        assert!(!is_timed(libc::SYS_ppoll, &[1, 1, 0, 0, 0, 0]));
        assert!(is_timed(libc::SYS_pselect6, &[1, 1, 0, 0, 0x7ffc_0000, 0]));
        assert!(!is_timed(libc::SYS_read, &[1, 1, 1, 1, 1, 1]), "a read has none");
    }

    #[test]
    fn the_other_end_of_a_pipe_is_found_among_our_own() {
        use std::os::fd::AsRawFd;
        let ourselves = Process::myself().expect("we are there");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let fd = reader.as_raw_fd() as u64;
        assert!(writes_to_itself(&ourselves, fd));
        drop(writer);
        assert!(!writes_to_itself(&ourselves, fd), "whoever wrote to it is another");
    }

    #[test]
    fn the_other_one_of_a_pair_of_sockets_is_found_among_our_own() {
        use std::os::fd::AsRawFd;
        let ourselves = Process::myself().expect("we are there");
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let fd = one.as_raw_fd() as u64;
        assert!(writes_to_itself(&ourselves, fd));
        drop(other);
        assert!(!writes_to_itself(&ourselves, fd), "nobody is at the other end");
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        assert!(!writes_to_itself(&ourselves, server.as_raw_fd() as u64), "anybody may connect");
    }

    #[test]
    fn a_file_without_a_name_is_told() {
        use std::os::fd::AsRawFd;
        let ourselves = Process::myself().expect("we are there");
        let named = tempfile::NamedTempFile::new().expect("a file");
        assert!(!is_unlinked(&ourselves, named.as_raw_fd() as u64));
        let file = named.into_file();
        assert!(is_unlinked(&ourselves, file.as_raw_fd() as u64));
    }
}
