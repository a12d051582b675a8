//! The report: one value, many renderers. `types` is the machine form, a promise with a version; a renderer computes
//! nothing and writes to any `Write`. Must not measure, judge, or know a terminal.

mod assemble;
pub mod check;
mod check_markdown;
mod check_text;
mod check_words;
mod code;
pub mod compare;
pub mod engine;
pub mod escape;
mod exposition;
pub mod findings;
mod github;
mod gitlab;
mod html;
mod instant;
mod json;
pub mod jsonl;
mod judged;
mod junit;
mod kept;
mod markdown;
pub mod metrics;
mod named;
mod names;
mod number;
mod otlp;
mod python;
pub mod race;
mod race_text;
mod rescore;
mod sarif;
mod saved;
pub mod schema;
mod spans;
mod table;
mod text;
mod types;
pub mod version;
pub mod wording;

pub use assemble::{Assembly, Judged, assemble};
pub use code::Code;
pub use kept::*;
pub use rescore::{Again, CannotRescore, rescore, rescore_gate};
pub use types::*;

use std::io::{self, Write};

/// The formats that a report can be rendered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, on a terminal.
    Table,
    /// One JSON object, indented.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// GitHub-flavoured Markdown.
    Markdown,
    /// Python code to paste.
    Python,
    /// One page for a browser.
    Html,
    /// Prometheus text 0.0.4, for node_exporter's textfile collector.
    Prometheus,
    /// OpenMetrics 1.0.
    Openmetrics,
    /// OpenTelemetry's metrics in JSON.
    Otlp,
    /// JUnit XML.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
    /// GitLab's code quality report.
    Gitlab,
    /// SARIF 2.1.0.
    Sarif,
}

impl Format {
    /// Every format with its name on the command line.
    pub const ALL: [(Format, &'static str); 13] = [
        (Format::Table, "table"),
        (Format::Json, "json"),
        (Format::Jsonl, "jsonl"),
        (Format::Markdown, "markdown"),
        (Format::Html, "html"),
        (Format::Prometheus, "prometheus"),
        (Format::Openmetrics, "openmetrics"),
        (Format::Otlp, "otlp"),
        (Format::Junit, "junit"),
        (Format::Github, "github"),
        (Format::Gitlab, "gitlab"),
        (Format::Sarif, "sarif"),
        (Format::Python, "python"),
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Format::ALL.iter().find(|(format, _)| *format == self).map_or("table", |(_, name)| name)
    }

    /// Whether a program reads it.
    pub fn is_machine(self) -> bool {
        !matches!(self, Format::Table | Format::Markdown | Format::Html)
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

/// Where a document comes from, as far as the document does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The pipeline that it is of: tells its metrics and test suites from those of others.
    pub pipeline: Option<String>,
    /// OpenTelemetry's name of the service.
    pub service: Option<String>,
    /// Further attributes of OpenTelemetry's resource.
    pub attributes: Vec<(String, String)>,
}

/// Renders a document of nowhere in particular as `format`.
///
/// # Errors
/// Only those of `out`.
pub fn render<'a>(
    document: impl Into<Document<'a>>,
    format: Format,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    render_of(document, &Origin::default(), format, look, out)
}

/// The formats of a race, which judges nothing.
pub const RACE_FORMATS: [Format; 3] = [Format::Table, Format::Json, Format::Markdown];

/// Renders a race as one of [`RACE_FORMATS`]; whoever asks for another gets JSON.
///
/// # Errors
/// Only those of `out`.
pub fn render_race(race: &race::Race, format: Format, look: Look, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => race_text::table(race, look, out),
        Format::Markdown => race_text::markdown(race, out),
        _ => json::render(race, out),
    }
}

/// Renders a document as `format`.
///
/// # Errors
/// Only those of `out`.
pub fn render_of<'a>(
    document: impl Into<Document<'a>>,
    origin: &Origin,
    format: Format,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let document = document.into();
    match (document, format) {
        (Document::Profile(report), Format::Table) => table::render(report, look, out),
        (Document::Profile(report), Format::Json) => json::render(report, out),
        (Document::Profile(report), Format::Markdown) => markdown::render(report, out),
        (Document::Profile(report), Format::Python) => python::render(report, out),
        (Document::Check(check), Format::Json) => json::render(check, out),
        (Document::Check(check), Format::Table) => check_text::render(check, look, out),
        (Document::Check(check), Format::Python) => python::render_check(check, out),
        (Document::Check(check), Format::Markdown) => check_markdown::render(check, out),
        (_, Format::Html) => html::render(document, out),
        (_, Format::Jsonl) => jsonl::render(document, out),
        (_, Format::Prometheus) => exposition::prometheus(document, origin, out),
        (_, Format::Openmetrics) => exposition::openmetrics(document, origin, out),
        (_, Format::Otlp) => otlp::render(document, origin, out),
        (_, Format::Junit) => junit::render(document, origin, out),
        (_, Format::Github) => github::render(document, out),
        (_, Format::Gitlab) => gitlab::render(document, origin, out),
        (_, Format::Sarif) => sarif::render(document, origin, out),
    }
}
