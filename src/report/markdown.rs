//! GitHub-flavoured Markdown for a CI summary: the verdict as a heading, a table, the evidence folded away, the totals.
//! Everything that the target could have written is escaped. Must not use HTML beyond `<details>`.

use super::text::why;
use super::text::{Voice, columns, headline, notices, voice};
use super::{Report, Stage};
use std::fmt::Write as _;
use std::io::{self, Write};

/// So many stages are shown: a summary has a size limit.
const ROWS: usize = 100;

/// Writes `report` as Markdown.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::markdown();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "## poolpick: {}\n", headline::title(report, &voice));
    list(&mut text, headline::headlines(report, &voice));

    let shown = report.stages.get(..ROWS).unwrap_or(&report.stages);
    if !shown.is_empty() {
        table(&mut text, shown, &voice);
        details(&mut text, report, shown, &voice);
    }
    if shown.len() < report.stages.len() {
        let _ = writeln!(text, "{} less busy stages are not shown.\n", report.stages.len() - shown.len());
    }
    let notices = notices::notices(report, &voice);
    if !notices.is_empty() {
        list(&mut text, notices);
    }
    let _ = writeln!(text, "{}", headline::totals(report, &voice).join("<br>\n"));
    out.write_all(voice::paint(&text, false).as_bytes())
}

/// One row a stage, every column that says something.
fn table(text: &mut String, stages: &[Stage], voice: &Voice) {
    let columns = columns::columns(stages, voice);
    let mut row = |cells: Vec<&str>| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    row(columns.iter().map(|column| column.title).collect());
    row(columns.iter().map(|column| if column.numbers { "---:" } else { "---" }).collect());
    for index in 0..stages.len() {
        row(columns.iter().map(|column| column.cells.get(index).map_or("", String::as_str)).collect());
    }
    text.push('\n');
}

/// The evidence, folded.
fn details(text: &mut String, report: &Report, stages: &[Stage], voice: &Voice) {
    let explained = stages.iter().filter_map(|stage| {
        let mut points = why::reasons(stage, voice);
        points.extend(why::predictions(stage, voice));
        points.extend(why::warnings(stage, voice));
        points.extend(why::facts(stage, voice));
        (!points.is_empty()).then_some((stage, points))
    });
    let mut body = String::new();
    for (stage, points) in explained {
        let _ = writeln!(body, "**{}**\n", voice.name(&stage.name));
        list(&mut body, points.into_iter().map(|point| format!("{}: {}", point.label, point.text)).collect());
    }
    let unjudged = headline::unjudged(report, voice);
    if !unjudged.is_empty() {
        list(&mut body, unjudged.into_iter().map(|point| format!("{}: {}", point.label, point.text)).collect());
    }
    if !body.is_empty() {
        let _ = writeln!(text, "<details><summary>Why</summary>\n\n{body}</details>\n");
    }
}

fn list(text: &mut String, lines: Vec<String>) {
    for line in lines {
        let _ = writeln!(text, "- {line}");
    }
    text.push('\n');
}
