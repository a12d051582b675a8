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
