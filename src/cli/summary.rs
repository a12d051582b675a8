//! What GitHub Actions gets without being asked for: the Markdown report in the job summary, the file that the runner names,
//! and annotations on stderr, which the runner reads as it reads stdout. A convenience of the surroundings: must not fail a
//! run, and must not write anywhere but there.

use super::say;
use crate::report::{Document, Format, Look, render};
use std::fs::OpenOptions;
use std::io::{self, Write};

/// GitHub refuses a whole summary that is larger.
const LARGEST: u64 = 1 << 20;

/// Whether this is a job of GitHub Actions.
fn is_actions() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|text| text == "true")
}

/// Tells findings as annotations.
pub fn annotate<'a>(document: impl Into<Document<'a>>) {
    if is_actions() {
        let mut text = Vec::new();
        // Nobody may be there to read it.
        let _ = render(document, Format::Github, Look::PLAIN, &mut text).and_then(|()| io::stderr().write_all(&text));
    }
}

/// Adds the report to the job summary where there is one.
pub fn append<'a>(document: impl Into<Document<'a>>) {
    let path = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|text| !text.is_empty());
    let Some(path) = path.filter(|_| is_actions()) else { return };
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
