//! What a blocked thread waits for: from the system call that it is in and the descriptor that it names.

use crate::trace::Blocking;
use procfs::net::UnixState;
use procfs::process::{FDTarget, MMPermissions, Process, Syscall};
use rustc_hash::FxHashMap;
use std::os::unix::fs::{FileExt, FileTypeExt};

/// Set where the lock belongs to one process.
const FUTEX_PRIVATE: u64 = 128;
/// Most descriptors of a set that are looked at.
const MOST_DESCRIPTORS: usize = 16;

/// What a process's sockets are, kept between samples: /proc/net/unix is dear to read.
#[derive(Debug, Default)]
pub struct Sockets {
    local: FxHashMap<u64, Blocking>,
}

/// Whether what the thread waits for may change while it waits: another can add to an event loop's descriptors.
pub fn may_change(syscall: Syscall) -> bool {
    let Syscall::Blocked { syscall_number, .. } = syscall else { return true };
    match syscall_number {
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => true,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => true,
        _ => false,
    }
}

/// What a thread in `syscall` waits for; `None` if it is not blocked. `is_gil`: whether a futex at an address is part
/// of the interpreter lock.
pub fn classify(
    process: &Process,
    syscall: Syscall,
    sockets: &mut Sockets,
    is_gil: impl Fn(u64) -> bool,
) -> Option<Blocking> {
    let Syscall::Blocked { syscall_number, argument_registers: arguments, .. } = syscall else { return None };
    let first = arguments[0];
    Some(match syscall_number {
        // Blocked outside a system call: stopped by a signal, or in a page fault that waits for storage.
        -1 if is_stopped(process) => Blocking::Stopped,
        -1 => Blocking::Disk,
        libc::SYS_futex if is_gil(first) => Blocking::Gil,
        libc::SYS_futex | libc::SYS_futex_waitv => futex(process, syscall_number, &arguments),
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Blocking::Sleep,
        libc::SYS_wait4 | libc::SYS_waitid => Blocking::Child,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pause => signal(process),
        libc::SYS_rt_sigsuspend | libc::SYS_rt_sigtimedwait => signal(process),
        libc::SYS_accept | libc::SYS_accept4 => Blocking::Idle,
        libc::SYS_connect
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_pread64
        | libc::SYS_preadv
        | libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwrite64
        | libc::SYS_pwritev
        | libc::SYS_ioctl
        | libc::SYS_splice
        | libc::SYS_sendfile
        | libc::SYS_copy_file_range => descriptor(process, first, sockets),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => epoll(process, first, arguments[3], sockets),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => epoll(process, first, arguments[3], sockets),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork | libc::SYS_clone | libc::SYS_clone3 => Blocking::Child,
        #[cfg(not(target_arch = "x86_64"))]
        libc::SYS_clone | libc::SYS_clone3 => Blocking::Child,
        libc::SYS_ppoll => poll(process, first, arguments[1], sockets),
        libc::SYS_pselect6 => select(process, &arguments, sockets),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => poll(process, first, arguments[1], sockets),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => select(process, &arguments, sockets),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open
        | libc::SYS_stat
        | libc::SYS_lstat
        | libc::SYS_rename
        | libc::SYS_unlink
        | libc::SYS_mkdir
        | libc::SYS_getdents => Blocking::Disk,
        libc::SYS_fsync
        | libc::SYS_fdatasync
        | libc::SYS_sync
        | libc::SYS_syncfs
        | libc::SYS_sync_file_range
        | libc::SYS_msync
        | libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_renameat2
        | libc::SYS_unlinkat
        | libc::SYS_mkdirat
        | libc::SYS_getdents64
        | libc::SYS_ftruncate
        | libc::SYS_fallocate
        | libc::SYS_readahead
        | libc::SYS_io_getevents
        | libc::SYS_execve => Blocking::Disk,
        libc::SYS_semop
        | libc::SYS_semtimedop
        | libc::SYS_mq_timedreceive
        | libc::SYS_mq_timedsend
        | libc::SYS_msgrcv
        | libc::SYS_msgsnd
        | libc::SYS_flock => Blocking::SharedLock,
        // Of its commands these alone wait: for a lock of a file that another process has.
        libc::SYS_fcntl if matches!(arguments[1] as i32, libc::F_SETLKW | libc::F_OFD_SETLKW) => Blocking::SharedLock,
        // Calls that never wait are where a signal stops who computes.
        _ if is_stopped(process) => Blocking::Stopped,
        _ => Blocking::Other,
    })
}

/// Whether a signal or a debugger has stopped the process: it then wants nothing, and waits for nothing of its own.
fn is_stopped(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| matches!(stat.state, 'T' | 't'))
}

/// A futex without the private flag lies in memory that may be shared: `multiprocessing`'s locks and queues. Who waits there
/// waits for another's work. The join of a thread has none either, because it is the kernel that ends it, but there the
/// value that the word is waited to change from is the number of a thread of the same process, and it is a lock of its own.
fn futex(process: &Process, number: i64, arguments: &[u64; 6]) -> Blocking {
    let private = number != libc::SYS_futex || arguments[1] & FUTEX_PRIVATE != 0;
    if private || is_join(process, arguments[0], arguments[2] as u32) { Blocking::Lock } else { Blocking::SharedLock }
}

/// Whether who waits for the word at an address to change from `value` joins a thread of its process.
fn is_join(process: &Process, address: u64, value: u32) -> bool {
    let is_thread = value > 0 && std::fs::exists(format!("/proc/{}/task/{value}", process.pid)).unwrap_or(false);
    // Counters in memory that is shared may stand at such a number too.
    is_thread
        && process.maps().is_ok_and(|maps| {
            let area = maps.into_iter().find(|area| (area.address.0..area.address.1).contains(&address));
            area.is_some_and(|area| area.perms.contains(MMPermissions::PRIVATE))
        })
}

fn descriptor(process: &Process, fd: u64, sockets: &mut Sockets) -> Blocking {
    let Ok(fd) = i32::try_from(fd) else { return Blocking::Other };
    let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", process.pid));
    match link.ok().and_then(|link| link.to_string_lossy().parse().ok()) {
        Some(FDTarget::Path(_)) => by_path(process, fd),
        Some(target) => by_target(process, &target, sockets),
        None => Blocking::Other,
    }
}

fn by_target(process: &Process, target: &FDTarget, sockets: &mut Sockets) -> Blocking {
    match target {
        FDTarget::Pipe(_) => Blocking::Pipe,
        FDTarget::Socket(inode) => socket(process, *inode, sockets),
        FDTarget::Net(_) => Blocking::Network,
        FDTarget::Path(_) => Blocking::Disk,
        FDTarget::MemFD(_) => Blocking::Disk,
        FDTarget::AnonInode(name) if name.contains("timerfd") => Blocking::Sleep,
        FDTarget::AnonInode(name) if name.contains("pidfd") => Blocking::Child,
        FDTarget::AnonInode(name) if name.contains("signalfd") => signal(process),
        // Another thread writes to it.
        FDTarget::AnonInode(name) if name.contains("eventfd") => Blocking::Idle,
        _ => Blocking::Other,
    }
}

/// A named file: storage, unless it is a FIFO, a terminal or another device.
fn by_path(process: &Process, fd: i32) -> Blocking {
    let Ok(metadata) = std::fs::metadata(format!("/proc/{}/fd/{fd}", process.pid)) else { return Blocking::Disk };
    let kind = metadata.file_type();
    if kind.is_fifo() {
        Blocking::Pipe
    } else if kind.is_char_device() {
        Blocking::Other
    } else {
        Blocking::Disk
    }
}

/// Who waits for a signal waits for its children where it has some, and else for a clock.
fn signal(process: &Process) -> Blocking {
    let children = process.task_main_thread().and_then(|task| task.children());
    if children.is_ok_and(|children| !children.is_empty()) { Blocking::Child } else { Blocking::Sleep }
}

/// A socket of a network family is the outside world. A local socket is a neighbour where it is one of a pair
/// (`socketpair` numbers both in a row), and the outside world where it leads to a named server.
fn socket(process: &Process, inode: u64, sockets: &mut Sockets) -> Blocking {
    if let Some(&known) = sockets.local.get(&inode) {
        return known;
    }
    if sockets.local.len() > 4096 {
        sockets.local.clear();
    }
    if let Ok(entries) = process.unix() {
        let unnamed: Vec<u64> = entries.iter().filter(|entry| entry.path.is_none()).map(|entry| entry.inode).collect();
        let is_unnamed = |inode: u64| unnamed.contains(&inode);
        for entry in &entries {
            let paired =
                entry.path.is_none() && (is_unnamed(entry.inode + 1) || is_unnamed(entry.inode.wrapping_sub(1)));
            let listening = entry.state == UnixState::UNCONNECTED && entry.path.is_some();
            let kind = match (paired, listening) {
                (true, _) => Blocking::Pipe,
                (_, true) => Blocking::Idle,
                _ => Blocking::Network,
            };
            sockets.local.insert(entry.inode, kind);
        }
    }
    *sockets.local.entry(inode).or_insert(Blocking::Network)
}

/// An event loop waits for the most outward of its descriptors; with none but its own wake-up, for its timer.
fn epoll(process: &Process, fd: u64, timeout: u64, sockets: &mut Sockets) -> Blocking {
    let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", process.pid)).unwrap_or_default();
    let targets = text
        .lines()
        .filter_map(|line| line.strip_prefix("tfd:"))
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .take(MOST_DESCRIPTORS);
    let kinds: Vec<Blocking> = targets.map(|target| descriptor(process, target, sockets)).collect();
    let timed = (timeout as u32 as i32) > 0;
    for kind in [Blocking::Network, Blocking::Child, Blocking::Sleep] {
        if kinds.contains(&kind) {
            return kind;
        }
    }
    if timed {
        return Blocking::Sleep;
    }
    kinds.into_iter().max_by_key(|kind| *kind == Blocking::Pipe).unwrap_or(Blocking::Idle)
}

/// `poll` and `ppoll`.
fn poll(process: &Process, array: u64, count: u64, sockets: &mut Sockets) -> Blocking {
    if count == 0 {
        return Blocking::Sleep;
    }
    let Some(descriptors) = polled(process, array, count) else { return Blocking::Other };
    most_outward(process, descriptors, sockets)
}

/// The descriptors of a `poll`: the array is read from the target's memory.
fn polled(process: &Process, array: u64, count: u64) -> Option<Vec<u64>> {
    // struct pollfd: a descriptor of four bytes and two masks of two.
    let mut bytes = [0u8; 8 * MOST_DESCRIPTORS];
    let wanted = (count as usize).min(MOST_DESCRIPTORS) * 8;
    if !read_memory(process, array, &mut bytes[..wanted]) {
        return None;
    }
    let descriptors = bytes[..wanted]
        .chunks_exact(8)
        .filter_map(|entry| Some(i32::from_ne_bytes(entry.get(..4)?.try_into().ok()?)))
        .filter(|&fd| fd >= 0)
        .map(|fd| fd as u64);
    Some(descriptors.collect())
}

/// `select` and `pselect`.
fn select(process: &Process, arguments: &[u64; 6], sockets: &mut Sockets) -> Blocking {
    let wanted = selected(process, arguments);
    if wanted.is_empty() {
        return Blocking::Sleep;
    }
    most_outward(process, wanted, sockets)
}

/// The descriptors of a `select`: bit sets of those to read from and write to.
fn selected(process: &Process, arguments: &[u64; 6]) -> Vec<u64> {
    let count = (arguments[0] as usize).min(1024);
    let mut wanted = Vec::new();
    for set in [arguments[1], arguments[2]] {
        let mut bytes = [0u8; 128];
        let length = count.div_ceil(64) * 8;
        if count > 0 && set != 0 && read_memory(process, set, &mut bytes[..length]) {
            wanted.extend((0..count).filter(|fd| bytes[fd / 8] & (1 << (fd % 8)) != 0).map(|fd| fd as u64));
        }
    }
    wanted.truncate(MOST_DESCRIPTORS);
    wanted
}

/// The descriptors that a `poll` or `select` waits for, up to a number; `None` for other calls.
pub fn watched(process: &Process, number: i64, arguments: &[u64; 6]) -> Option<Vec<u64>> {
    match number {
        libc::SYS_ppoll => polled(process, arguments[0], arguments[1]),
        libc::SYS_pselect6 => Some(selected(process, arguments)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => polled(process, arguments[0], arguments[1]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => Some(selected(process, arguments)),
        _ => None,
    }
}

fn most_outward(process: &Process, descriptors: Vec<u64>, sockets: &mut Sockets) -> Blocking {
    let kinds: Vec<Blocking> = descriptors.into_iter().map(|fd| descriptor(process, fd, sockets)).collect();
    [Blocking::Network, Blocking::Child, Blocking::Pipe, Blocking::Sleep, Blocking::Idle]
        .into_iter()
        .find(|kind| kinds.contains(kind))
        .unwrap_or(Blocking::Other)
}

/// Reads the target's memory; whether all of it could be read.
pub fn read_memory(process: &Process, address: u64, into: &mut [u8]) -> bool {
    process.mem().is_ok_and(|memory| memory.read_exact_at(into, address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_one_process_are_told_from_shared_ones() {
        let ourselves = Process::myself().expect("we are there");
        let operation = |operation| futex(&ourselves, libc::SYS_futex, &[0, operation, 0, 0, 0, 0]);
        assert_eq!(operation(FUTEX_PRIVATE | 9), Blocking::Lock);
        assert_eq!(operation(9 | 256), Blocking::SharedLock, "sem_wait on shared memory");
        assert_eq!(operation(0), Blocking::SharedLock, "a process-shared condition");
    }

    #[test]
    fn a_join_is_no_neighbour_s_lock() {
        let ourselves = Process::myself().expect("we are there");
        let link = std::fs::read_link("/proc/thread-self").expect("a thread");
        let tid: u64 = link.file_name().and_then(|tid| tid.to_str()?.parse().ok()).expect("its number");
        let word = Box::new(tid);
        let address = std::ptr::from_ref(word.as_ref()) as u64;
        let waits = |address, value| futex(&ourselves, libc::SYS_futex, &[address, 9 | 256, value, 0, 0, 0]);
        assert_eq!(waits(address, tid), Blocking::Lock);
        assert_eq!(waits(address, u64::from(u32::MAX)), Blocking::SharedLock, "no thread has this number");
        assert_eq!(waits(0, tid), Blocking::SharedLock, "nothing is known of the memory");
    }

    #[test]
    fn a_lock_of_a_file_is_shared() {
        let ourselves = Process::myself().expect("we are there");
        let call = |syscall_number: i64, command: i32| {
            let argument_registers = [3, command as u64, 0, 0, 0, 0];
            let blocked = Syscall::Blocked { syscall_number, argument_registers, stack_pointer: 0, program_counter: 0 };
            classify(&ourselves, blocked, &mut Sockets::default(), |_| false)
        };
        assert_eq!(call(libc::SYS_flock, libc::LOCK_EX), Some(Blocking::SharedLock));
        assert_eq!(call(libc::SYS_fcntl, libc::F_SETLKW), Some(Blocking::SharedLock));
        assert_eq!(call(libc::SYS_fcntl, libc::F_OFD_SETLKW), Some(Blocking::SharedLock));
        assert_ne!(call(libc::SYS_fcntl, libc::F_SETLK), Some(Blocking::SharedLock), "it never waits");
    }
}
