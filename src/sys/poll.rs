//! Waiting for descriptors with a time-out in nanoseconds.

use crate::units::Span;
use std::io;
use std::os::fd::RawFd;

/// A descriptor to wait for, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// The descriptor; a negative one is skipped.
    pub fd: RawFd,
    /// Whether it can be read.
    pub readable: bool,
    /// Whether its other end is gone: it will never be readable again.
    pub hung_up: bool,
}

impl Watched {
    /// To wait until `fd` can be read.
    pub fn new(fd: RawFd) -> Watched {
        Watched { fd, readable: false, hung_up: false }
    }
}

/// Waits until one of them is ready, at most `timeout`. A signal ends the wait early, without an error.
///
/// # Errors
/// Those of `ppoll` but `EINTR`.
pub fn wait(watched: &mut [Watched], timeout: Span) -> io::Result<()> {
    let mut fds: Vec<libc::pollfd> =
        watched.iter().map(|watched| libc::pollfd { fd: watched.fd, events: libc::POLLIN, revents: 0 }).collect();
    let limit = libc::timespec {
        tv_sec: (timeout.0 / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout.0 % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `fds` is a live array of the given length, `limit` outlives the call, and no signal mask is passed.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &limit, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    for (watched, fd) in watched.iter_mut().zip(&fds) {
        watched.readable = fd.revents & libc::POLLIN != 0;
        watched.hung_up = fd.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
    }
    Ok(())
}
