//! What `profile` and `check` wrote as JSON, read again, of every version that this poolpick understands. Must not judge.

use super::exit::Failure;
use crate::report::check::Check;
use crate::report::{Kind, Report, SCHEMA_VERSION, Stage};
use serde::de::DeserializeOwned;
use std::fs;
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

/// Reads a file.
///
/// # Errors
/// A `Failure` that names it.
pub fn read(path: &Path) -> Result<Saved, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::Input { path: path.to_owned(), source })?;
    saved(path, &text)
}

/// What the text of a file holds.
///
/// # Errors
/// A `Failure` that names the file.
pub fn saved(path: &Path, text: &str) -> Result<Saved, Failure> {
    let unusable = |reason: String| Failure::NoReport { path: path.to_owned(), reason };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| unusable(error.to_string()))?;
    let version = value.get("schema_version").and_then(|version| version.as_str()).unwrap_or("");
    let major = |version: &str| version.split('.').next().unwrap_or("").to_owned();
    let word = value.get("kind").cloned().unwrap_or_default();
    let kind = match (serde_json::from_value::<Kind>(word.clone()), word) {
        (Ok(kind), _) => Some(kind),
        (Err(_), serde_json::Value::String(other)) => {
            let reason = format!("it is what `poolpick {other}` wrote, and a report of `profile` or `check` is needed");
            return Err(unusable(reason));
        }
        _ => None,
    };
    if version.is_empty() {
        return Err(unusable("it has no `schema_version`".to_owned()));
    }
    if major(version) != major(SCHEMA_VERSION) {
        return Err(unusable(format!("its schema version is `{version}`, this poolpick reads `{SCHEMA_VERSION}`")));
    }
    fn typed<T: DeserializeOwned>(value: serde_json::Value) -> Result<Box<T>, String> {
        serde_json::from_value(value).map(Box::new).map_err(|error| error.to_string())
    }
    match kind {
        Some(Kind::Check) => typed(value).map(Saved::Check),
        // Without a kind, what is missing is told.
        Some(Kind::Profile) | None => typed(value).map(Saved::Profile),
    }
    .map_err(unusable)
}
