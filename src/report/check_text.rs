//! A gate's result for people: the outcome in a sentence, then what is wrong and its edit, each stage in a line of a
//! table, and what failed commands wrote last. Must not judge.

use super::check::Check;
use super::table::{grid, wrap};
use super::text::{Tone, Voice, voice};
use super::{Look, check_words, escape};
use std::io::{self, Write};

/// Findings beyond so many are counted.
const FINDINGS: usize = 40;
/// Of what a command wrote, so many lines are shown.
const LINES: usize = 30;

/// Writes the result as text.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(check: &Check, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::terminal(look);
    let width = look.width.map(usize::from);
    let mut text = String::new();
    let line = |indent: &str, hanging: &str, words: &str, text: &mut String| {
        wrap::wrap(words, width, indent, hanging, text);
    };
    line("", "  ", &check_words::sentence(check, &voice), &mut text);
    for finding in check.findings.iter().take(FINDINGS) {
        text.push('\n');
        line("", "  ", &check_words::title(finding, &voice), &mut text);
        line("  ", "  ", &voice.text(&finding.message), &mut text);
        if let Some(fix) = finding.fix.as_ref().filter(|_| !finding.known) {
            line("  ", "    ", &format!("{}: {}", voice.tone(Tone::Strong, "fix"), voice.text(fix)), &mut text);
        }
    }
    if check.findings.len() > FINDINGS {
        line("\n", "  ", &format!("and {} further findings", check.findings.len() - FINDINGS), &mut text);
    }
    for result in &check.results {
        let Some(output) = &result.output else { continue };
        text.push('\n');
        let title = format!("the command of {} wrote last:", voice.tone(Tone::Strong, &voice.name(&result.name)));
        line("", "  ", &title, &mut text);
        let lines: Vec<&str> = output.lines().collect();
        for written in lines.iter().skip(lines.len().saturating_sub(LINES)) {
            text.push_str("  | ");
            text.push_str(&escape::terminal(written));
            text.push('\n');
        }
    }
    if !check.results.is_empty() {
        text.push('\n');
        for row in grid::fitted(|voice| check_words::columns(check, voice), look, &voice) {
            text.push_str(&row);
            text.push('\n');
        }
        text.push('\n');
        let footer = check_words::footer(check, &voice);
        line("", "  ", &voice.tone(Tone::Faint, &footer), &mut text);
    }
    out.write_all(voice::paint(&text, look.colour).as_bytes())
}
