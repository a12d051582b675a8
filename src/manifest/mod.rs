//! `poolpick.toml`: where it is looked for, what it may say, and what it means. A manifest holds commands, so it is not
//! looked for above the repository, and not trusted where others may write it. Fills the options of the layers; must not
//! run anything, and must not judge.

mod discover;
mod entry;
mod file;
mod fix;
mod problem;
mod read;
mod schema;
mod toml_words;
mod value;
mod version;

pub use discover::{Found, NAMES, Refused, find, repository};
pub use entry::{Command, Entry, Expectation, Program, Stage, Surroundings};
pub use fix::{Edit, NewValue, Unfixed, apply, unchanged};
pub use problem::{Problem, Problems, nearest};
pub use schema::manifest_schema;

use crate::verdict::Executor;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The table of `pyproject.toml` that is a manifest.
pub const TOOL_TABLE: [&str; 2] = ["tool", "poolpick"];
/// A manifest larger than this is none.
const LARGEST: u64 = 4 << 20;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line, counted from 1.
    pub line: u32,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// What a manifest says, with the files that it extends; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The file that was named or found.
    pub file: PathBuf,
    /// That one and all that it extends.
    pub files: Vec<PathBuf>,
    /// What stood in each.
    pub texts: Vec<String>,
    /// Below it a stage is I/O-bound.
    pub io: Option<f64>,
    /// Above it a stage is CPU-bound.
    pub cpu: Option<f64>,
    /// Above it a payload is too dear for processes.
    pub ipc: Option<f64>,
    /// How much worse than the best an executor may be.
    pub margin: Option<f64>,
    /// Whether a stage that is undecided fails the gate.
    pub undecided: Option<Undecided>,
    /// What decides.
    pub policy: Option<Policy>,
    /// What entries take that do not say otherwise; they have it already.
    pub defaults: Surroundings,
    /// Stages and programs, in the order of the file.
    pub entries: Vec<Entry>,
}

/// What an undecided stage does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Undecided {
    /// It passes, with a warning.
    Pass,
    /// There is no verdict.
    Fail,
}

/// What decides whether a stage is misrouted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Predicted throughput from measured evidence.
    Evidence,
    /// The plain thresholds on the score alone.
    Ratio,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("cannot read the manifest `{}`: {source}{}", path.display(), hint_for(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says what it may not.
    #[error("{0}")]
    Wrong(Problems),
    /// It may not be trusted.
    #[error(transparent)]
    Refused(#[from] Refused),
}

fn hint_for(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::NotFound { "; hint: `poolpick init` writes one" } else { "" }
}

/// Reads a manifest and those that it extends. `named`: the user named it, so that it is trusted wherever it lies.
///
/// # Errors
/// Tells every place where it is wrong.
pub fn load(path: &Path, named: bool) -> Result<Manifest, ManifestError> {
    if !named {
        discover::trusted(path, discover::Reached::Found)?;
    }
    let mut manifest = read::whole(path, &mut Vec::new())?;
    // When all is known: what a file extends takes its defaults, too.
    for entry in &mut manifest.entries {
        entry.command_mut().settle(&manifest.defaults);
    }
    Ok(manifest)
}

/// The text of a manifest.
fn text_of(path: &Path) -> Result<String, ManifestError> {
    let unreadable = |source| ManifestError::Unreadable { path: path.to_owned(), source };
    let mut text = Vec::new();
    // Also where it is a pipe or a device without an end.
    fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text)).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(unreadable(io::Error::other("it is larger than 4 MiB")));
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        unreadable(io::Error::other(format!(
            "it is not UTF-8: byte {at}, counted from 0, begins no character; hint: save it as UTF-8"
        )))
    })
}

/// Whether the file holds the manifest in a table of its own.
pub fn is_pyproject(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "pyproject.toml")
}

/// The word for an executor in a manifest.
pub fn executor_word(executor: Executor) -> Option<&'static str> {
    file::ExecutorWord::of(executor).map(file::ExecutorWord::word)
}
