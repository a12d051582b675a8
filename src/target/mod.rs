//! Runs the wrapped command so that neither it nor the caller can tell that poolpick is there.
//!
//! ```text
//! TargetSpec ──suspend──► SuspendedTarget ──resume──► RunningTarget ──reap──► TargetExit ──pass_on──► same status
//! what to run             forked, waits for the       runs; news()            how it ended,
//!                         instruments to attach       relays and follows      what it used
//! ```
//!
//! Same process group, session, terminal, descriptors, signal mask and dispositions, and environment but for changes
//! that the specification names. Must not measure (`observe` does), and must not decide poolpick's own exit codes (`cli`
//! does). While a target runs, poolpick may have no other children: it reaps all of them.

mod environment;
mod error;
mod exit;
mod lineage;
mod running;
mod stops;
mod suspended;

pub use crate::sys::process::{ExitKind, ResourceUse};
pub use environment::EnvironmentChange;
pub use error::StartError;
pub use exit::TargetExit;
pub use lineage::descends_from;
pub use running::{News, RunningTarget};
pub use suspended::SuspendedTarget;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Streams of a target whose output is kept.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Its stdin.
    pub input: Arc<OwnedFd>,
    /// Its stdout and stderr.
    pub output: Arc<OwnedFd>,
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct TargetSpec {
    /// The program, searched in `PATH` as `execvp` does, and its arguments.
    pub argv: Vec<OsString>,
    /// Whether its stdout goes to its stderr, because poolpick's report has stdout for itself.
    pub stdout_to_stderr: bool,
    /// What its environment has that the caller's has not.
    pub environment: Vec<EnvironmentChange>,
    /// The directory that it starts in, where it is not the caller's.
    pub directory: Option<PathBuf>,
    /// What it gets for its streams, where they are not the caller's.
    pub streams: Option<Streams>,
}
