//! `poolpick compare`: two saved reports of the same pipeline, and what changed between them. Must not judge: the gate
//! does.

use super::args::Colour;
use super::exit::{Failure, MISROUTED};
use super::output::{look_of_stdout, replace};
use super::print;
use super::same_file::refuse_inputs;
use super::saved::{self, Saved};
use crate::gate::{RUNS_DIFFER, compare};
use crate::report::Look;
use crate::report::compare::{ChangeKind, Comparison, ComparisonFormat, Side, render};
use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// GitHub-flavoured Markdown
    Markdown,
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share.is_finite() && share >= 0.0 => Ok(share),
        _ => Err("it is no share of at least 0, as 0.25 is".to_owned()),
    }
}

fn kind_parser() -> impl TypedValueParser<Value = ChangeKind> {
    PossibleValuesParser::new(ChangeKind::ALL.map(|(_, word)| word)).try_map(|word| {
        ChangeKind::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind).ok_or("it is no kind of change")
    })
}

// `poolpick compare`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit status: 0 no change that fails, 1 a change that fails, 2 misuse or an unusable report.")]
pub struct CompareArgs {
    /// The report before: what `profile` or `check` wrote with `--export json=FILE`
    pub base: PathBuf,
    /// The report now
    pub head: PathBuf,
    /// Kinds of change that fail, with commas between
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_parser())]
    pub fail_on: Vec<ChangeKind>,
    /// By what share the times of unchanged code may differ from run to run: a smaller change does not count. Lower it where
    /// nothing else uses the machine
    #[arg(long, value_name = "SHARE", default_value_t = RUNS_DIFFER, value_parser = parse_tolerance)]
    pub tolerance: f64,
    /// How to render it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: FormatArg,
    /// Where to write it [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
}

fn side(path: &Path, saved: &Saved) -> Side {
    Side {
        file: path.display().to_string(),
        started_at: saved.started_at().to_owned(),
        wall_seconds: saved.wall_seconds(),
    }
}

/// Compares two reports.
///
/// # Errors
/// A `Failure` that names the file.
pub fn run(arguments: &CompareArgs) -> Result<ExitCode> {
    if let Some(path) = &arguments.output {
        refuse_inputs(path, [arguments.base.as_path(), arguments.head.as_path()])?;
    }
    let (base, head) = (saved::read(&arguments.base)?, saved::read(&arguments.head)?);
    let (before, now) = (side(&arguments.base, &base), side(&arguments.head, &head));
    let mut comparison = Comparison::new(env!("CARGO_PKG_VERSION"), before, now, arguments.tolerance);
    compare(base.stages(), head.stages(), &arguments.fail_on, &mut comparison);
    let format = match arguments.format {
        FormatArg::Table => ComparisonFormat::Text,
        FormatArg::Json => ComparisonFormat::Json,
        FormatArg::Markdown => ComparisonFormat::Markdown,
    };
    match &arguments.output {
        Some(path) => {
            let mut bytes = Vec::new();
            render(&comparison, format, Look::PLAIN, &mut bytes)
                .map_err(|source| Failure::Written { path: path.clone(), source })?;
            replace(path, &bytes)?;
        }
        None => {
            print(|out| render(&comparison, format, look_of_stdout(arguments.color), out))?;
        }
    }
    Ok(ExitCode::from(if comparison.failed { MISROUTED } else { 0 }))
}
