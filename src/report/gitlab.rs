//! GitLab's code quality report: an array of findings, empty where there are none. GitLab shows each beside a line of a
//! file, so each has one. Must not let a fingerprint change with a line or a number, or every run mends and breaks it.

use super::check::Level;
use super::findings::{Place, findings, fingerprint, place, which, with_stage};
use super::{Document, Origin, escape};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Where a finding is put that is about no file: GitLab drops one without.
const NOWHERE: &str = "poolpick.toml";

/// Writes the array.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let findings = findings(document);
    let issues: Vec<Value> = findings
        .iter()
        .enumerate()
        .map(|(at, finding)| {
            let place = place(document, finding).unwrap_or(Place { file: NOWHERE.to_owned(), line: None });
            json!({
                "description": escape::terminal(&format!("{}: {}", finding.code, with_stage(finding))),
                "check_name": escape::terminal(&finding.code),
                "fingerprint": fingerprint(finding, origin.pipeline.as_deref(), which(&findings, at)),
                "severity": severity(finding.level),
                "location": {"path": escape::terminal(&place.file), "lines": {"begin": place.line.unwrap_or(1)}},
            })
        })
        .collect();
    super::json::render(&issues, out)
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Error => "major",
        Level::Warning => "minor",
        Level::Note => "info",
    }
}
