//! A timed wait that nobody else can end is a sleep: the time-out is what it waits for. Must not be asked where the target
//! has another thread or process.

use super::waits::watched;
use crate::trace::Blocking;
use procfs::process::{MMapPath, Process, Syscall};

/// Most descriptors of a process among which the other end of its pipe is looked for.
const MOST_ENDS: usize = 256;
/// `O_WRONLY` and `O_RDWR` of the flags of an open file.
const WRITABLE: u32 = (libc::O_WRONLY | libc::O_RDWR) as u32;

/// What the only thread of the only process waits for in `call`, which was taken for a wait `on` its neighbours.
pub fn told_from(process: &Process, call: Syscall, on: Blocking) -> Blocking {
    let Syscall::Blocked { syscall_number, argument_registers, .. } = call else { return on };
    if !is_timed(syscall_number, &argument_registers) {
        return on;
    }
    let ours = match on {
        Blocking::SharedLock => is_futex(syscall_number) && is_inherited_only(process, argument_registers[0]),
        Blocking::Pipe => {
            let watched = watched(process, syscall_number, &argument_registers).unwrap_or_default();
            !watched.is_empty() && watched.iter().all(|&fd| writes_to_itself(process, fd))
        }
        _ => false,
    };
    if ours { Blocking::Sleep } else { on }
}

/// Whether the call ends at a time-out.
fn is_timed(number: i64, arguments: &[u64; 6]) -> bool {
    match number {
        libc::SYS_futex => arguments[3] != 0,
        libc::SYS_futex_waitv => arguments[3] != 0,
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

/// Whether the process holds the other end of the pipe at `fd` itself.
fn writes_to_itself(process: &Process, fd: u64) -> bool {
    let directory = format!("/proc/{}", process.pid);
    let link = |fd: &str| std::fs::read_link(format!("{directory}/fd/{fd}")).ok();
    let Some(pipe) = link(&fd.to_string()).filter(|pipe| pipe.to_string_lossy().starts_with("pipe:")) else {
        return false;
    };
    let Ok(open) = std::fs::read_dir(format!("{directory}/fd")) else { return false };
    let mut names = open.flatten().take(MOST_ENDS).filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| link(&name).as_ref() == Some(&pipe) && is_writable(&directory, &name))
}

fn is_writable(directory: &str, fd: &str) -> bool {
    let text = std::fs::read_to_string(format!("{directory}/fdinfo/{fd}")).unwrap_or_default();
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
}
