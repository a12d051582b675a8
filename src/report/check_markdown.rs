//! A gate's result in GitHub-flavoured Markdown, for a job summary. Everything that others wrote is escaped or fenced.
//! Must not judge.

use super::check::Check;
use super::check_words;
use super::text::{Voice, voice};
use std::fmt::Write as _;
use std::io::{self, Write};

/// A summary has a size limit.
const ROWS: usize = 200;

/// Writes the result as Markdown.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::markdown();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "## poolpick check\n\n{}\n", check_words::sentence(check, &voice));
    for finding in check.findings.iter().take(ROWS) {
        let _ = writeln!(text, "- {}  ", check_words::title(finding, &voice));
        let _ = writeln!(text, "  {}", with_code(&finding.message, &voice));
        if let Some(fix) = finding.fix.as_ref().filter(|_| !finding.known) {
            let _ = writeln!(text, "  - fix: {}", with_code(fix, &voice));
        }
    }
    if !check.findings.is_empty() {
        text.push('\n');
    }
    if !check.results.is_empty() {
        let columns = check_words::columns(check, &voice);
        let mut row = |cells: Vec<&str>| {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        row(columns.iter().map(|column| column.title).collect());
        row(columns.iter().map(|column| if column.numbers { "---:" } else { "---" }).collect());
        for index in 0..check.results.len().min(ROWS) {
            row(columns.iter().map(|column| column.cells.get(index).map_or("", String::as_str)).collect());
        }
        let _ = writeln!(text, "\n{}", check_words::footer(check, &voice));
    }
    for result in &check.results {
        let Some(output) = &result.output else { continue };
        let longest = output.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let written: Vec<_> = output.lines().map(super::escape::terminal).collect();
        let name = voice.name(&result.name);
        let _ = writeln!(
            text,
            "\n<details><summary>What the command of {name} wrote last</summary>\n\n{fence}text\n{}\n{fence}\n\n</details>",
            written.join("\n")
        );
    }
    out.write_all(voice::paint(&text, false).as_bytes())
}

/// The text, with what stands between backticks as code where it is harmless there; the rest is escaped.
fn with_code(text: &str, voice: &Voice) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || " _=.,:\"'()[]-/".contains(letter))
    };
    let code = |(index, _): &(usize, &&str)| index % 2 == 1;
    if parts.len().is_multiple_of(2) || !parts.iter().enumerate().filter(code).all(|(_, part)| plain(part)) {
        return voice.text(text);
    }
    // Blanks beside code are no markup, but at the ends of a text they are escaped.
    let text = |part: &str| {
        let (start, end) = (part.len() - part.trim_start_matches(' ').len(), part.trim_end_matches(' ').len());
        match part.get(start..end) {
            Some(inner) => format!("{}{}{}", &part[..start], voice.text(inner), &part[end..]),
            None => part.to_owned(),
        }
    };
    let said = |(index, part): (usize, &str)| if index % 2 == 1 { format!("`{part}`") } else { text(part) };
    parts.into_iter().enumerate().map(said).collect()
}
