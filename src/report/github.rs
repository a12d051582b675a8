//! Workflow commands of GitHub Actions: a finding becomes an annotation. Must not let a line of its own begin in text
//! that the target wrote, or that would be a command too.

use super::check::{Finding, Level};
use super::findings::{findings, place, with_stage};
use super::{Document, escape};
use std::io::{self, Write};

/// GitHub shows so many annotations of one level of one step, and drops the rest.
const SHOWN: usize = 10;

/// Writes one command a finding, errors first.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    let findings = findings(document);
    for level in [Level::Error, Level::Warning, Level::Note] {
        let of_level: Vec<&Finding> = findings.iter().filter(|finding| finding.level == level).collect();
        let shown = if of_level.len() > SHOWN { SHOWN - 1 } else { of_level.len() };
        for finding in of_level.iter().take(shown) {
            annotation(document, finding, out)?;
        }
        if shown < of_level.len() {
            let word = command(level);
            writeln!(out, "::{word} title=poolpick::and {} more, in the report", of_level.len() - shown)?;
        }
    }
    Ok(())
}

fn annotation(document: Document<'_>, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "::{} title={}", command(finding.level), property(&format!("poolpick: {}", finding.code)))?;
    // Of a profile no source is known: without a file the annotation is shown with the job.
    if let Some(place) = place(document, finding).filter(|_| finding.file.is_some()) {
        write!(out, ",file={}", property(&place.file))?;
        if let Some(line) = place.line {
            write!(out, ",line={line}")?;
        }
    }
    writeln!(out, "::{}", data(&with_stage(finding)))
}

fn command(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    }
}

/// Text behind the command. Control characters are shown rather than sent: a log is read on terminals too.
fn data(text: &str) -> String {
    escape::terminal(text).replace('%', "%25")
}

/// Text of a property, which a colon or comma would end.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
