//! What poolpick was started with, read before Rust's runtime changes it.
//!
//! The runtime sets SIGPIPE to ignored and opens `/dev/null` on those of the descriptors 0, 1 and 2 that are closed.
//! The target must get them as the caller left them. Must only read: nothing is changed here.

use std::sync::atomic::{AtomicU8, Ordering};

/// Bits 0, 1, 2: that descriptor was closed.
const CLOSED: [u8; 3] = [1, 2, 4];
/// SIGPIPE was ignored.
const PIPE_IGNORED: u8 = 8;
/// SIGXFSZ was ignored.
const FILE_SIZE_IGNORED: u8 = 16;
/// The constructor has run.
const CAPTURED: u8 = 128;

static STATE: AtomicU8 = AtomicU8::new(0);

/// The loader runs this before `main`, and so before Rust's runtime.
#[used]
// SAFETY: `.init_array` holds pointers to functions of the C calling convention, and `capture` is one. It neither
// allocates nor uses anything of Rust's runtime, which is not initialized yet.
#[unsafe(link_section = ".init_array")]
static CAPTURE: extern "C" fn() = capture;

extern "C" fn capture() {
    let mut state = CAPTURED;
    for (descriptor, bit) in CLOSED.iter().enumerate() {
        // SAFETY: F_GETFD takes no pointer; on a closed descriptor it fails with EBADF.
        if unsafe { libc::fcntl(descriptor as libc::c_int, libc::F_GETFD) } < 0 {
            state |= bit;
        }
    }
    for (signal, bit) in [(libc::SIGPIPE, PIPE_IGNORED), (libc::SIGXFSZ, FILE_SIZE_IGNORED)] {
        // SAFETY: a zeroed sigaction is a valid value to be overwritten.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: with no new action the call only writes the current one to `action`.
        let read = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
        if read == 0 && action.sa_sigaction == libc::SIG_IGN {
            state |= bit;
        }
    }
    STATE.store(state, Ordering::Relaxed);
}

/// What the caller of poolpick had set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// SIGPIPE was ignored.
    pub sigpipe_ignored: bool,
    /// SIGXFSZ was ignored.
    pub sigxfsz_ignored: bool,
    /// Which of stdin, stdout and stderr were closed.
    pub closed: [bool; 3],
}

/// What the caller of poolpick had set. Where the loader ran no constructors, the ordinary case is assumed: SIGPIPE at
/// its default and all three descriptors open.
pub fn inherited() -> Inherited {
    let state = STATE.load(Ordering::Relaxed);
    Inherited {
        sigpipe_ignored: state & PIPE_IGNORED != 0,
        sigxfsz_ignored: state & FILE_SIZE_IGNORED != 0,
        closed: CLOSED.map(|bit| state & bit != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_runs_the_constructor() {
        assert_ne!(STATE.load(Ordering::Relaxed) & CAPTURED, 0);
    }
}
