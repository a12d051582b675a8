//! Asks about the terminal. Must not change it.

/// Whether stderr is a terminal and this process is in its foreground process group: only then may progress be drawn.
pub fn stderr_is_foreground_terminal() -> bool {
    // SAFETY: isatty takes no pointer and fails on anything that is no terminal.
    if unsafe { libc::isatty(libc::STDERR_FILENO) } != 1 {
        return false;
    }
    // SAFETY: neither call takes a pointer; tcgetpgrp fails with -1, which is no process group.
    unsafe { libc::tcgetpgrp(libc::STDERR_FILENO) == libc::getpgrp() }
}

/// Whether this process leads its session: when the terminal goes away, the kernel tells the leader alone.
pub fn is_session_leader() -> bool {
    // SAFETY: neither call takes a pointer or can fail for the calling process.
    unsafe { libc::getsid(0) == libc::getpid() }
}
