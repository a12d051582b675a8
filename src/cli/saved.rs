//! What `profile` and `check` wrote as JSON, read again, of every version that this poolpick understands. Must not judge.

use super::args::MachineArgs;
use super::exit::Failure;
use super::say;
use crate::report::check::Check;
use crate::report::race::{RACE_SCHEMA_VERSION, Race, RaceKind};
use crate::report::version::{is_later, is_readable};
use crate::report::{Again, Asked, Host, Kind, Report, SCHEMA_VERSION, Stage, rescore, rescore_gate};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A saved report of either kind.
#[derive(Debug)]
pub enum Saved {
    /// Of `poolpick profile`.
    Profile(Box<Report>),
    /// Of `poolpick check`: the same stages, and what the gate made of them.
    Check(Box<Check>),
}

impl Saved {
    /// The stages.
    pub fn stages(&self) -> &[Stage] {
        match self {
            Saved::Profile(report) => &report.stages,
            Saved::Check(check) => &check.stages,
        }
    }

    /// RFC 3339.
    pub fn started_at(&self) -> &str {
        match self {
            Saved::Profile(report) => &report.target.started_at,
            Saved::Check(check) => &check.started_at,
        }
    }

    /// The machine, where it tells one.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Saved::Profile(report) => Some(&report.host),
            Saved::Check(check) => check.host.as_ref(),
        }
    }

    /// What was asked beyond its run.
    pub fn asked(&self) -> Option<&Asked> {
        match self {
            Saved::Profile(report) => report.asked.as_ref(),
            Saved::Check(check) => check.asked.as_ref(),
        }
    }

    /// The same for another machine, where one is named.
    ///
    /// # Errors
    /// A `Failure` that names the file, where it does not carry what that takes.
    pub fn on(self, path: &Path, machine: &MachineArgs) -> Result<Saved, Failure> {
        if *machine == MachineArgs::default() {
            return Ok(self);
        }
        let again = Again { cores: machine.cores, memory_bytes: machine.memory, ..Again::default() };
        let judged = match &self {
            Saved::Profile(report) => rescore(report, &again).map(|report| Saved::Profile(Box::new(report))),
            Saved::Check(check) => rescore_gate(check, &again).map(|check| Saved::Check(Box::new(check))),
        };
        judged.map_err(|source| Failure::Rescore { path: path.to_owned(), source })
    }

    /// Time that it took, seconds.
    pub fn wall_seconds(&self) -> f64 {
        match self {
            Saved::Profile(report) => report.target.wall_seconds,
            Saved::Check(check) => check.wall_seconds,
        }
    }

    /// The stage of this name: its own, or the one that the manifest of a gate has for it.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let same = |other: &str| other.replace(':', ".") == name.replace(':', ".");
        let declared = || match self {
            Saved::Profile(_) => None,
            Saved::Check(check) => {
                let id = check.results.iter().find(|result| same(&result.name))?.stage_id.as_ref()?;
                check.stages.iter().find(|stage| stage.id == *id)
            }
        };
        self.stages().iter().find(|stage| same(&stage.name)).or_else(declared)
    }
}

/// The most bytes of a file that is read as a whole.
const MOST_BYTES: u64 = 256 << 20;

/// The text of what is left of a file, unless that is too much for a file of poolpick's: `/dev/zero` has no end.
///
/// # Errors
/// Those of reading; says the bound.
pub fn text_of(file: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let message = format!("it holds more than the {} MiB that are read", MOST_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// What is said of a file that a later poolpick wrote.
pub fn told_later(path: &Path, version: &str, own: &str) -> String {
    format!(
        "warning: `{}` was written by a later poolpick (schema version `{version}`, this one reads `{own}`): what is not known here is left out",
        path.display()
    )
}

/// Reads a file.
///
/// # Errors
/// A `Failure` that names it.
pub fn read(path: &Path) -> Result<Saved, Failure> {
    let text = File::open(path).and_then(text_of).map_err(|source| Failure::Input { path: path.to_owned(), source })?;
    saved(path, &text)
}

/// What the text of a file holds.
///
/// # Errors
/// A `Failure` that names the file, and the command that wrote it where that is another one.
pub fn saved(path: &Path, text: &str) -> Result<Saved, Failure> {
    match whole(path, text)? {
        Whole::Report(saved) => Ok(saved),
        Whole::Race(_) => {
            let reason = "it is what `poolpick race` wrote, and a report of `profile` or `check` is needed".to_owned();
            Err(Failure::NoReport { path: path.to_owned(), reason })
        }
    }
}

/// Whatever was saved.
#[derive(Debug)]
pub enum Whole {
    /// Of `poolpick profile` or `check`.
    Report(Saved),
    /// Of `poolpick race`.
    Race(Box<Race>),
}

/// What the text of a file holds, a race too.
///
/// # Errors
/// A `Failure` that names the file.
pub fn whole(path: &Path, text: &str) -> Result<Whole, Failure> {
    let unusable = |reason: String| Failure::NoReport { path: path.to_owned(), reason };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| unusable(error.to_string()))?;
    let version = value.get("schema_version").and_then(|version| version.as_str()).unwrap_or("").to_owned();
    let word = value.get("kind").cloned().unwrap_or_default();
    let is_race = serde_json::from_value::<RaceKind>(word.clone()).is_ok();
    let kind = match (serde_json::from_value::<Kind>(word.clone()), word) {
        (Ok(kind), _) => Some(kind),
        (Err(_), serde_json::Value::String(other)) if !is_race => {
            let reason = format!("it is what `poolpick {other}` wrote, and a report of `profile` or `check` is needed");
            return Err(unusable(reason));
        }
        _ => None,
    };
    let own = if is_race { RACE_SCHEMA_VERSION } else { SCHEMA_VERSION };
    if version.is_empty() {
        return Err(unusable("it has no `schema_version`".to_owned()));
    }
    if !is_readable(&version, own) {
        return Err(unusable(format!("its schema version is `{version}`, this poolpick reads `{own}`")));
    }
    let later = is_later(&version, own);
    fn typed<T: DeserializeOwned>(value: serde_json::Value) -> Result<Box<T>, String> {
        serde_json::from_value(value).map(Box::new).map_err(|error| error.to_string())
    }
    let read = match kind {
        _ if is_race => typed(value).map(Whole::Race),
        Some(Kind::Check) => typed(value).map(|check| Whole::Report(Saved::Check(check))),
        // Without a kind, what is missing is told.
        Some(Kind::Profile) | None => typed(value).map(|report| Whole::Report(Saved::Profile(report))),
    };
    match read {
        Err(reason) if later => Err(unusable(format!(
            "{reason}, and its schema version `{version}` is later than `{own}`, which this poolpick reads"
        ))),
        Err(reason) => Err(unusable(reason)),
        Ok(read) => {
            if later {
                say(&told_later(path, &version, own));
            }
            Ok(read)
        }
    }
}
