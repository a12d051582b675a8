//! Exit statuses and failures: a closed list; each has a message, a way out and a status.

use crate::report::CannotRescore;
use crate::target::StartError;
use crate::trace::TraceError;
use crate::verdict::BadThreshold;
use std::io;
use std::path::PathBuf;

/// The time limit ended the target.
pub const TIMED_OUT: u8 = 124;
/// poolpick failed or was misused, or could not write the report of a target that succeeded.
pub const FAILED: u8 = 125;
/// The target was found but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The target was not found.
pub const NOT_FOUND: u8 = 127;
/// Misuse of a command that wraps no target, or input that cannot be read.
pub const USAGE: u8 = 2;

/// `check`: a stage is misrouted, and every stage has a verdict. `compare`: a change that is asked about was found.
pub const MISROUTED: u8 = 1;
/// `check`: some stage has no verdict.
pub const NO_VERDICT: u8 = 3;
/// `check`: there was nothing to check.
pub const NOTHING_SELECTED: u8 = 4;

/// Every way in which poolpick itself fails.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A value of an option that clap cannot judge.
    #[error("{0}")]
    Threshold(#[from] BadThreshold),
    /// A word of `POOLPICK_DISABLE`.
    #[error(transparent)]
    Disable(#[from] crate::observe::UnknownSource),
    /// A manifest that cannot be used.
    #[error(transparent)]
    Manifest(#[from] crate::manifest::ManifestError),
    /// Two outputs that exclude each other.
    #[error("{0}")]
    Misuse(String),
    /// An output that cannot be written, found before the target ran.
    #[error(
        "cannot write `{path}`: {source}; hint: nothing was run; choose a file that is writable, in a directory that exists and is writable"
    )]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An output that could not be written after the target ran.
    #[error("the report could not be written to `{path}`: {source}")]
    Written {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest that `--fix` could not mend when its stages had run.
    #[error(
        "the manifest `{path}` could not be mended: {reason}; hint: what was found stands all the same; once the manifest \
         can be read and written, run `poolpick check --fix` again"
    )]
    Unmended {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Metrics or spans that did not arrive: which, where, and why not.
    #[error("{0}; hint: `--export otlp=FILE` keeps them in a file")]
    Sent(String),
    /// The target could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file to read.
    #[error(
        "cannot read `{path}`: {source}; hint: give it a report (`--export json=FILE`) or a trace (`--record FILE`)"
    )]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A trace that cannot be used.
    #[error("`{path}`: {source}")]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TraceError,
    },
    /// A trace that was cut off.
    #[error("`{path}`: {}; hint: `poolpick report --partial {path}` judges what is there", first_line(source))]
    Cut {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TraceError,
    },
    /// A report that cannot be used.
    #[error(
        "`{path}` is no report of poolpick: {reason}; hint: `poolpick profile --export json=FILE -- CMD` writes one"
    )]
    NoReport {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A report that cannot be judged again.
    #[error("`{path}` cannot be judged again: {source}")]
    Rescore {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CannotRescore,
    },
    /// The system refused something that is always there.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl Failure {
    /// The exit status of `profile`, which wraps a target: its own statuses are above those of most programs.
    pub fn status_as_wrapper(&self) -> u8 {
        match self {
            Failure::Start(StartError::NotFound { .. }) => NOT_FOUND,
            Failure::Start(StartError::NotExecutable { .. }) => NOT_EXECUTABLE,
            _ => FAILED,
        }
    }

    /// The exit status of commands that wrap nothing.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Written { .. }
            | Failure::Unmended { .. }
            | Failure::Sent(_)
            | Failure::System { .. }
            | Failure::Start(_) => FAILED,
            Failure::Threshold(_)
            | Failure::Disable(_)
            | Failure::Misuse(_)
            | Failure::Manifest(_)
            | Failure::Output { .. }
            | Failure::Input { .. }
            | Failure::Trace { .. }
            | Failure::Cut { .. }
            | Failure::NoReport { .. }
            | Failure::Rescore { .. } => USAGE,
        }
    }
}

/// The statement of an error without its own way out.
pub fn first_line(error: &TraceError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
