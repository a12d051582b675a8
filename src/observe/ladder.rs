//! The ladder of scheduler sources: what a refusal means, and what this machine, user and container would give.

use super::host;
use crate::sys::identity;
use crate::trace::WhyNot;
use std::io;

/// The environment variable that switches sources off, comma-separated.
pub const DISABLE: &str = "POOLPICK_DISABLE";

/// Sources that may be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disabled {
    /// Switch records.
    pub perf: bool,
    /// `/proc` sampling of threads.
    pub schedstat: bool,
    /// What blocked threads wait for.
    pub waits: bool,
    /// perf counters.
    pub counters: bool,
    /// The agent inside Python processes.
    pub agent: bool,
    /// Interpreter locks.
    pub gil: bool,
}

/// A source that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a source that `POOLPICK_DISABLE` can switch off; hint: it takes perf, schedstat, waits, counters, gil, agent"
)]
pub struct UnknownSource(String);

impl Disabled {
    /// From the text of the variable.
    ///
    /// # Errors
    /// A word that names no source.
    pub fn parse(text: &str) -> Result<Disabled, UnknownSource> {
        let mut disabled = Disabled::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "perf" => disabled.perf = true,
                "schedstat" => disabled.schedstat = true,
                "waits" => disabled.waits = true,
                "counters" => disabled.counters = true,
                "agent" => disabled.agent = true,
                "gil" => disabled.gil = true,
                other => return Err(UnknownSource(other.to_owned())),
            }
        }
        Ok(disabled)
    }
}

/// What a failure of `perf_event_open` means here.
pub fn explain_perf(error: &io::Error) -> WhyNot {
    let errno = error.raw_os_error().unwrap_or(0);
    match errno {
        libc::EACCES | libc::EPERM => match host::perf_event_paranoid() {
            // Debian's and Ubuntu's kernels know 3 and 4: nothing at all for ordinary users.
            Some(paranoid) if paranoid > 2 && identity::effective_uid() != 0 => WhyNot::Paranoid(paranoid),
            _ => WhyNot::Filtered(errno),
        },
        libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT | libc::ENODEV => WhyNot::Unsupported(errno),
        libc::EMFILE | libc::ENFILE => WhyNot::OpenFiles,
        other => WhyNot::Errno(other),
    }
}

/// The locked-memory limits that refused a ring.
pub fn locked_memory() -> WhyNot {
    WhyNot::LockedMemory {
        mlock_kib: host::perf_event_mlock_kib().unwrap_or(0),
        limit_kib: identity::rlimit_memlock_kib().unwrap_or(0),
    }
}
