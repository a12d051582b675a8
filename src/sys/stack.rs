//! A stack that is large enough, whatever limit the shell has set. Must not change that limit: it is the target's.

use super::{checked, signals};

/// What poolpick needs at the most, with room to spare.
const ENOUGH_BYTES: u64 = 2 << 20;

/// Does `work` on the stack of this thread, or, where the limit on stacks (`ulimit -s`) leaves little, on one of its own:
/// the kernel ends a process that grows beyond that limit. Signals go to whoever does the work. Whatever it panics with
/// is passed on.
pub fn with_enough<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if limit().is_none_or(|bytes| bytes >= ENOUGH_BYTES) {
        return work();
    }
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(ENOUGH_BYTES as usize).spawn_scoped(scope, work);
        let worker = worker.expect("a process may have a second thread");
        let _none_here = signals::Blocked::all();
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The soft limit on the stack of the first thread (`RLIMIT_STACK`), bytes; `None` where it cannot be read.
fn limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) }).ok()?;
    Some(limit.rlim_cur)
}
