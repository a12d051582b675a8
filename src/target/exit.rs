//! How a target ended, and how poolpick ends the same way. Must not report.

use crate::sys::process::{ExitKind, ResourceUse};
use crate::sys::signals;
use crate::units::{Span, Timestamp};
use std::io::Write;
use std::process::ExitCode;

/// How a target ended and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetExit {
    /// How it ended.
    pub status: ExitKind,
    /// What it and the descendants that it waited for used since its exec.
    pub usage: ResourceUse,
    /// What the descendants used that lost their parent and that poolpick reaped; `None` if there were none.
    pub orphans: Option<ResourceUse>,
    /// When it was about to exec.
    pub started: Timestamp,
    /// When poolpick noticed that it had ended.
    pub ended: Timestamp,
    /// How long it was stopped between the two.
    pub stopped: Span,
    /// Whether descendants still live; poolpick neither waits for them nor ends them.
    pub left_behind: bool,
}

impl TargetExit {
    /// Ends as the target did: the same exit code to return from `main`, or at once by the same signal.
    pub fn pass_on(&self) -> ExitCode {
        match self.status {
            // The kernel keeps eight bits of a status.
            ExitKind::Exited(code) => ExitCode::from(code as u8),
            ExitKind::Killed(signal) => {
                // Death by signal flushes nothing; whoever reads stdout may be gone, which changes nothing here.
                let _ = std::io::stdout().flush();
                signals::die_by(signal)
            }
        }
    }
}
