//! The report: one value, many renderers. `types` is the machine form, a promise with a version; a renderer computes
//! nothing and writes to any `Write`. Must not measure, judge, or know a terminal.

mod assemble;
pub mod check;
mod check_text;
pub mod engine;
pub mod escape;
mod json;
mod judged;
mod kept;
mod markdown;
mod number;
mod python;
pub mod race;
mod race_text;
mod rescore;
mod saved;
pub mod schema;
mod table;
mod text;
mod types;
pub mod wording;

pub use assemble::{Assembly, Judged, assemble};
pub use kept::*;
pub use rescore::{Again, CannotRescore, rescore};
pub use types::*;

use std::io::{self, Write};

/// The formats that a report can be rendered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, on a terminal.
    Table,
    /// One JSON object, indented.
    Json,
    /// GitHub-flavoured Markdown.
    Markdown,
    /// Python code to paste.
    Python,
}

impl Format {
    /// Every format with its name on the command line.
    pub const ALL: [(Format, &'static str); 4] =
        [(Format::Table, "table"), (Format::Json, "json"), (Format::Markdown, "markdown"), (Format::Python, "python")];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Format::ALL.iter().find(|(format, _)| *format == self).map_or("table", |(_, name)| name)
    }

    /// Whether a program reads it.
    pub fn is_machine(self) -> bool {
        self == Format::Json
    }
}

/// How a person will look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns to fit in; `None` does not wrap.
    pub width: Option<u16>,
    /// Whether ANSI colours may be used.
    pub colour: bool,
    /// Whether only ASCII may be used for lines.
    pub ascii: bool,
}

impl Look {
    /// For a file or a pipe.
    pub const PLAIN: Look = Look { width: None, colour: false, ascii: false };
}

/// What can be rendered.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// Of `poolpick profile`.
    Profile(&'a Report),
    /// Of `poolpick check`.
    Check(&'a check::Check),
    /// Of `poolpick race`.
    Race(&'a race::Race),
}

impl<'a> From<&'a Report> for Document<'a> {
    fn from(report: &'a Report) -> Document<'a> {
        Document::Profile(report)
    }
}

impl<'a> From<&'a check::Check> for Document<'a> {
    fn from(check: &'a check::Check) -> Document<'a> {
        Document::Check(check)
    }
}

impl<'a> From<&'a race::Race> for Document<'a> {
    fn from(race: &'a race::Race) -> Document<'a> {
        Document::Race(race)
    }
}

/// Renders a document as `format`.
///
/// # Errors
/// Only those of `out`.
pub fn render<'a>(
    document: impl Into<Document<'a>>,
    format: Format,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    match (document.into(), format) {
        (Document::Profile(report), Format::Table) => table::render(report, look, out),
        (Document::Profile(report), Format::Json) => json::render(report, out),
        (Document::Profile(report), Format::Markdown) => markdown::render(report, out),
        (Document::Profile(report), Format::Python) => python::render(report, out),
        (Document::Check(check), Format::Json) => json::render(check, out),
        (Document::Check(check), Format::Table) => check_text::render(check, look, out),
        (Document::Check(check), Format::Markdown) => check_text::render(check, look, out),
        (Document::Check(check), Format::Python) => python::render_check(check, out),
        (Document::Race(race), Format::Table) => race_text::table(race, look, out),
        (Document::Race(race), Format::Markdown) => race_text::markdown(race, out),
        // Asked for anything else, the command line refuses before anything is raced.
        (Document::Race(race), _) => json::render(race, out),
    }
}
