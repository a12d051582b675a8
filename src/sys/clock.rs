//! Reads clocks. Must not sleep, and must not measure by the realtime clock: it jumps.

use crate::units::{Span, Timestamp};

/// Now, on the kernel's monotonic clock; it does not advance while the machine is suspended.
pub fn monotonic() -> Timestamp {
    Timestamp(nanoseconds(libc::CLOCK_MONOTONIC))
}

/// How far the clock that goes on while the machine is suspended is ahead of [`monotonic`].
pub fn boot_offset() -> Span {
    let monotonic = monotonic();
    Timestamp(nanoseconds(libc::CLOCK_BOOTTIME)).since(monotonic)
}

/// What the realtime clock shows when [`monotonic`] shows `at`: for time-outs that the target counts by it.
pub fn realtime(at: Timestamp) -> Timestamp {
    let monotonic = monotonic();
    let ahead = Timestamp(nanoseconds(libc::CLOCK_REALTIME)).since(monotonic);
    at + ahead
}

/// CPU time that this process has used so far, all threads together.
pub fn process_cpu() -> Span {
    Span(nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID))
}

/// One reading of `clock`. Async-signal-safe: it is called between fork and exec.
fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to. These clocks exist on every Linux, so the call cannot fail; if it
    // did, the zero that `time` holds would stay.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_do_not_run_backwards() {
        let (wall, cpu) = (monotonic(), process_cpu());
        assert!(wall > Timestamp(0));
        assert!(monotonic() >= wall);
        assert!(process_cpu() >= cpu);
    }
}
