//! Signals of poolpick itself: watched through a descriptor instead of handlers, and put back afterwards.
//! Must not decide what a signal means, and must not relay: `target` does.

use super::checked;
use super::inherited::Inherited;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: i32,
    /// Why it was sent (`si_code`).
    pub code: i32,
    /// Who sent it; 0 for the kernel and for senders outside of this pid namespace.
    pub sender: u32,
}

impl Received {
    /// Whether a process sent it, and not the kernel for a terminal or a timer.
    pub fn by_process(&self) -> bool {
        matches!(self.code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL)
    }
}

/// The signal mask and the ignored signals as they were: what a child must get back before it runs its program.
#[derive(Clone)]
pub struct SavedSignals {
    mask: libc::sigset_t,
    /// Per watched signal: whether it was ignored.
    dispositions: Vec<(i32, bool)>,
    child_action: libc::sigaction,
}

impl SavedSignals {
    /// Puts mask and dispositions back, SIGPIPE and SIGXFSZ as the caller of poolpick had them. Signals that are pending act at
    /// once. Async-signal-safe: it is called between fork and exec.
    pub(super) fn restore_in_child(&self, inherited: Inherited) {
        for &(signal, ignored) in &self.dispositions {
            set_disposition(signal, ignored);
        }
        set_disposition(libc::SIGPIPE, inherited.sigpipe_ignored);
        set_disposition(libc::SIGXFSZ, inherited.sigxfsz_ignored);
        set_mask(libc::SIG_SETMASK, &self.mask);
    }
}

/// A limit on the size of files is the target's: from now on this process is told of it by an error, and keeps its report.
/// Children get the disposition that it was started with.
pub fn take_file_size_limit_as_error() {
    set_disposition(libc::SIGXFSZ, true);
}

/// While it lives, no signal that another thread can take is delivered to this one.
pub(super) struct Blocked(libc::sigset_t);

impl Blocked {
    /// Blocks all.
    pub(super) fn all() -> Blocked {
        Blocked(set_mask(libc::SIG_SETMASK, &set_of(1..=libc::SIGRTMAX())))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        set_mask(libc::SIG_SETMASK, &self.0);
    }
}

/// Watches a set of signals: they are blocked, and a descriptor tells of them. Dropping it puts everything back;
/// signals that were not read until then are lost, so that they do not kill poolpick before its report.
pub struct SignalWatch {
    descriptor: OwnedFd,
    saved: SavedSignals,
}

impl SignalWatch {
    /// Starts to watch those of `signals` that are not ignored, and SIGCHLD and SIGCONT always. SIGCHLD gets its
    /// default disposition, without which children reap themselves. The mask is that of the calling thread: there
    /// should be no other yet.
    pub fn start(signals: &[i32]) -> io::Result<SignalWatch> {
        let child_action = action(libc::SIGCHLD)?;
        let dispositions: Vec<(i32, bool)> = signals
            .iter()
            .chain(&[libc::SIGCHLD, libc::SIGCONT])
            .map(|&signal| Ok((signal, action(signal)?.sa_sigaction == libc::SIG_IGN)))
            .collect::<io::Result<_>>()?;
        let always = [libc::SIGCHLD, libc::SIGCONT];
        let watched = set_of(
            dispositions
                .iter()
                .filter(|(signal, ignored)| !ignored || always.contains(signal))
                .map(|(signal, _)| *signal),
        );
        // SAFETY: `watched` is an initialized signal set and the flags are known ones.
        let raw = checked(unsafe { libc::signalfd(-1, &watched, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just opened and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let mask = set_mask(libc::SIG_BLOCK, &watched);
        set_disposition(libc::SIGCHLD, false);
        Ok(SignalWatch { descriptor, saved: SavedSignals { mask, dispositions, child_action } })
    }

    /// What was set before.
    pub fn saved(&self) -> &SavedSignals {
        &self.saved
    }

    /// All signals that have arrived; does not wait. Equal ones that arrived together may come as one.
    pub fn read(&self) -> io::Result<Vec<Received>> {
        let mut received = Vec::new();
        loop {
            // SAFETY: a zeroed signalfd_siginfo is a valid value to be overwritten.
            let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = std::mem::size_of_val(&info);
            // SAFETY: `info` is `size` bytes of writable memory.
            let count = unsafe { libc::read(self.descriptor.as_raw_fd(), (&raw mut info).cast(), size) };
            if count == size as isize {
                received.push(Received { signal: info.ssi_signo as i32, code: info.ssi_code, sender: info.ssi_pid });
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(received),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        }
    }
}

impl AsFd for SignalWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        // A failed read leaves signals pending: they then act, which is their right.
        let _ = self.read();
        // SAFETY: `child_action` is what the kernel told; nothing is written.
        unsafe { libc::sigaction(libc::SIGCHLD, &self.saved.child_action, std::ptr::null_mut()) };
        set_mask(libc::SIG_SETMASK, &self.saved.mask);
    }
}

/// Stops this process by `signal` (SIGTSTP, SIGTTIN, SIGTTOU) as if nobody had caught it, and returns when it
/// continues. Returns whether it really stopped: in an orphaned process group, which nobody could continue, the kernel
/// does not stop it. SIGCONT must be blocked, as a [`SignalWatch`] has it: the pending SIGCONT is the evidence.
pub fn stop_self(signal: i32) -> io::Result<bool> {
    let previous = action(signal)?;
    set_disposition(signal, false);
    let set = set_of([signal]);
    let mask = set_mask(libc::SIG_UNBLOCK, &set);
    // The signal is sent to the process and not by `raise`: an unblocked signal to oneself is delivered before return.
    // SAFETY: neither call takes a pointer.
    let sent = checked(unsafe { libc::kill(libc::getpid(), signal) });
    set_mask(libc::SIG_SETMASK, &mask);
    // SAFETY: `previous` is what the kernel told; nothing is written.
    unsafe { libc::sigaction(signal, &previous, std::ptr::null_mut()) };
    sent?;
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let cont = set_of([libc::SIGCONT]);
    // SAFETY: the set and the time are valid, and a null siginfo means that it is not wanted.
    Ok(unsafe { libc::sigtimedwait(&cont, std::ptr::null_mut(), &at_once) } == libc::SIGCONT)
}

/// Ends this process by `signal`, without a core file, so that its parent sees the same death as the target's. Where
/// the signal does not kill (process 1 of a container) it exits with 128 + `signal`, as a shell would.
pub fn die_by(signal: i32) -> ! {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let off: libc::c_ulong = 0;
    // SAFETY: `none` is a valid limit, and PR_SET_DUMPABLE takes a number: it also keeps a core handler from being fed.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::prctl(libc::PR_SET_DUMPABLE, off);
    }
    set_disposition(signal, false);
    set_mask(libc::SIG_UNBLOCK, &set_of([signal]));
    // SAFETY: raise takes no pointer and delivers to this thread before it returns; _exit does not return.
    unsafe {
        libc::raise(signal);
        libc::_exit(128 + signal)
    }
}

/// The current action of `signal`.
fn action(signal: i32) -> io::Result<libc::sigaction> {
    // SAFETY: a zeroed sigaction is a valid value to be overwritten.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with no new action the call only writes the current one.
    checked(unsafe { libc::sigaction(signal, std::ptr::null(), &mut current) })?;
    Ok(current)
}

/// Sets `signal` to ignored or to its default, without flags. Async-signal-safe. SIGKILL and SIGSTOP refuse, rightly.
fn set_disposition(signal: i32, ignored: bool) {
    // SAFETY: a zeroed sigaction is the default action without flags and with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: `action` is valid; nothing is written.
    unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
}

/// Changes this thread's mask and returns the one before. Async-signal-safe; a valid set and way cannot fail.
fn set_mask(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = set_of([]);
    // SAFETY: both sets are initialized.
    unsafe { libc::pthread_sigmask(how, set, &mut before) };
    before
}

/// A set of these signals.
fn set_of(signals: impl IntoIterator<Item = i32>) -> libc::sigset_t {
    // SAFETY: a signal set is plain bits, and sigemptyset initializes it in any case.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid to write to.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in signals {
        // SAFETY: `set` is initialized; an unknown signal is refused.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_are_processes() {
        let by = |code| Received { signal: libc::SIGINT, code, sender: 0 }.by_process();
        assert!(by(libc::SI_USER) && by(libc::SI_QUEUE) && by(libc::SI_TKILL));
        assert!(!by(libc::SI_KERNEL) && !by(libc::SI_TIMER));
    }
}
