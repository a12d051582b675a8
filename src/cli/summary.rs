//! The job summary of GitHub Actions: the Markdown report, added to the file that the runner names. A convenience of the
//! surroundings: must not fail a run, and must not write anywhere but there.

use super::say;
use crate::report::{Document, Format, Look, render};
use std::fs::OpenOptions;
use std::io::{self, Write};

/// GitHub refuses a whole summary that is larger.
const LARGEST: u64 = 1 << 20;

/// Adds the report to the job summary where there is one.
pub fn append<'a>(document: impl Into<Document<'a>>) {
    let set = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty());
    if set("GITHUB_ACTIONS").is_none_or(|text| text != "true") {
        return;
    }
    let Some(path) = set("GITHUB_STEP_SUMMARY") else { return };
    let written = || -> io::Result<bool> {
        let mut text = Vec::new();
        render(document, Format::Markdown, Look::PLAIN, &mut text)?;
        text.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        if length > 0 {
            // Whatever is there may end within a line.
            text.insert(0, b'\n');
        }
        let fits = length + text.len() as u64 <= LARGEST;
        if fits {
            file.write_all(&text)?;
        }
        Ok(fits)
    };
    match written() {
        Ok(true) => {}
        Ok(false) => say("warning: the job summary would be larger than GitHub takes, so the report is not in it"),
        Err(error) => say(&format!("warning: the report could not be added to the job summary: {error}")),
    }
}
