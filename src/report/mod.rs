//! The report: one value, many renderers. `types` is the machine form, a promise with a version; a renderer computes
//! nothing and writes to any `Write`. Must not measure, judge, or know a terminal.

mod assemble;
pub mod check;
mod check_markdown;
mod check_text;
mod check_words;
pub mod compare;
pub mod escape;
mod json;
mod markdown;
mod number;
pub mod schema;
mod table;
mod text;
mod types;
pub mod wording;

pub use assemble::{Assembly, Judged, assemble};
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
}

impl Format {
    /// Every format with its name on the command line.
    pub const ALL: [(Format, &'static str); 3] =
        [(Format::Table, "table"), (Format::Json, "json"), (Format::Markdown, "markdown")];

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
        (Document::Check(check), Format::Json) => json::render(check, out),
        (Document::Check(check), Format::Table) => check_text::render(check, look, out),
        (Document::Check(check), Format::Markdown) => check_markdown::render(check, out),
    }
}
