//! System calls behind safe, typed functions: the only folder that holds `unsafe`.
//! Must know nothing of poolpick but `units`, and decide nothing: what to do with a signal or a status is `target`'s.

pub mod clock;
pub mod environment;
pub mod identity;
pub mod inherited;
pub mod launch;
pub mod memory;
pub mod memory_disk;
pub mod poll;
pub mod process;
pub mod ring;
pub mod signals;
pub mod stack;
pub mod tty;

use std::io;

/// Turns the `-1` of a system call into the error that `errno` holds.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
