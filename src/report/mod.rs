//! The report: one value, many renderers. `types` is the machine form, a promise with a version; a renderer computes
//! nothing and writes to any `Write`. Must not measure, judge, or know a terminal.

mod assemble;
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

/// Renders `report` as `format`.
///
/// # Errors
/// Only those of `out`.
pub fn render(report: &Report, format: Format, look: Look, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => table::render(report, look, out),
        Format::Json => json::render(report, out),
        Format::Markdown => markdown::render(report, out),
    }
}
