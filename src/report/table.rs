//! For people, readable in ten seconds: the verdict in a sentence, the table, why, what to beware of, the totals.
//! Lays out and nothing else: the words come from `text`. Must not look at the terminal: [`Look`] says all.

mod breakdown;
pub(super) mod grid;
pub(super) mod wrap;

pub(super) use grid::plain;

use super::text::why::{self, Point};
use super::text::{Tone, Voice, headline, notices, voice};
use super::{Look, Report, Stage, Verdict};
use std::io::{self, Write};

/// So many stages are shown; the others are counted. Stages come with the most demand first.
const ROWS: usize = 25;

/// So many stages are explained.
const EXPLAINED: usize = 8;

/// Writes `report` for a person.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(report: &Report, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::terminal(look);
    let mut page = Page { width: look.width.map(usize::from), text: String::new() };

    for line in headline::headlines(report, &voice) {
        page.prose("", "  ", &line);
    }
    match report.stages.as_slice() {
        [] => {}
        [stage] => {
            page.block(&breakdown::time(stage, look, &voice));
            page.block(&breakdown::facts(stage, look, &voice));
            page.block(&breakdown::predictions(stage, look, &voice));
            page.gap();
            for point in why::reasons(stage, &voice).into_iter().chain(why::warnings(stage, &voice)) {
                page.point("", &point, &voice);
            }
            for point in headline::unjudged(report, &voice) {
                page.point("", &point, &voice);
            }
        }
        stages => {
            page.block(&grid::stages(stages.get(..ROWS).unwrap_or(stages), look, &voice));
            if stages.len() > ROWS {
                page.prose("  ", "  ", &format!("and {} less busy stages", stages.len() - ROWS));
            }
            explain(stages, &voice, &mut page);
            page.gap();
            for point in headline::unjudged(report, &voice) {
                page.point("", &point, &voice);
            }
        }
    }
    page.gap();
    for line in notices::notices(report, &voice) {
        page.prose("", "  ", &line);
    }
    page.gap();
    for line in headline::totals(report, &voice) {
        page.prose("", "  ", &voice.tone(Tone::Faint, &line));
    }
    out.write_all(voice::paint(&page.text, look.colour).as_bytes())
}

/// Why, stage by stage; what should change comes first.
fn explain(stages: &[Stage], voice: &Voice, page: &mut Page) {
    let urgent = |stage: &&Stage| match stage.verdict {
        Verdict::Misrouted => 0,
        Verdict::Undecided => 1,
        Verdict::Fits | Verdict::NotJudged => 2,
    };
    let mut stages: Vec<&Stage> = stages.iter().collect();
    stages.sort_by_key(urgent);
    let explained = stages.into_iter().filter_map(|stage| {
        let mut points = why::reasons(stage, voice);
        points.extend(why::predictions(stage, voice));
        points.extend(why::warnings(stage, voice));
        (!points.is_empty()).then_some((stage, points))
    });
    for (stage, points) in explained.take(EXPLAINED) {
        page.gap();
        page.prose("", "  ", &format!("why {}:", voice.tone(Tone::Strong, &voice.name(&stage.name))));
        for point in points {
            page.point("  ", &point, voice);
        }
    }
}

/// A line of prose, wrapped.
pub(super) fn prose(width: Option<u16>, line: &str, hanging: &str, out: &mut String) {
    wrap::wrap(line, width.map(usize::from), "", hanging, out);
}

/// The text so far.
struct Page {
    width: Option<usize>,
    text: String,
}

impl Page {
    /// An empty line, unless there is one or nothing yet.
    fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A sentence, wrapped; lines after the first are indented by `hanging`.
    fn prose(&mut self, first: &str, hanging: &str, sentence: &str) {
        wrap::wrap(sentence, self.width, first, hanging, &mut self.text);
    }

    /// A labelled sentence.
    fn point(&mut self, indent: &str, point: &Point, voice: &Voice) {
        let label = voice.tone(Tone::Strong, &point.label);
        self.prose(indent, &format!("{indent}  "), &format!("{label}: {}", point.text));
    }

    /// Lines that are laid out already, after an empty one.
    fn block(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            self.gap();
        }
        for line in lines {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}
