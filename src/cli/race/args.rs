//! The arguments of `poolpick race` as they were typed. Parsing never acts.

use crate::cli::args::{OutputArgs, parse_stage};
use crate::observe::NamedStage;
use crate::report::race::Contender;
use crate::units::parse_duration;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use std::time::Duration;

/// More workers than this are not raced.
const MOST_WORKERS: i64 = 1024;

/// Contenders that can be asked for.
fn contender_parser() -> impl TypedValueParser<Value = Contender> {
    let names = Contender::ALL.iter().filter(|(one, _)| *one != Contender::Command).map(|(_, name)| *name);
    PossibleValuesParser::new(names.collect::<Vec<_>>())
        .map(|name| Contender::ALL.iter().find(|(_, known)| *known == name).map_or(Contender::Serial, |(one, _)| *one))
}

/// A function: `MODULE:FUNCTION`; in a report its name is `MODULE.FUNCTION`.
fn parse_function(text: &str) -> Result<NamedStage, String> {
    let parsed = parse_stage(&format!("function={text}"))?;
    Ok(NamedStage { name: format!("{}.{}", parsed.module, parsed.function), ..parsed })
}

/// Where items come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Items {
    /// `MODULE:NAME`.
    Named(String),
    /// A file of JSON lines.
    File(PathBuf),
}

fn parse_items(text: &str) -> Result<Items, String> {
    if text.is_empty() {
        return Err("it is MODULE:NAME, or a file with one JSON value a line".to_owned());
    }
    let named = text.contains(':') && !text.contains('/');
    match parse_stage(&format!("items={text}")) {
        Ok(parsed) if named => Ok(Items::Named(format!("{}:{}", parsed.module, parsed.function))),
        _ => Ok(Items::File(PathBuf::from(text))),
    }
}

fn parse_amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount > 0.0 => Ok(amount),
        _ => Err("it is a positive number".to_owned()),
    }
}

// `poolpick race`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The function is called as FUNCTION(ITEM), again and again, under every executor: it should bear that.\n\
                  Exit status: 0 raced; 2 wrong options, or a function, items or command that cannot be raced;\n\
                  125 poolpick failed."
)]
pub struct RaceArgs {
    /// The function to race, imported with the working directory on the module path
    #[arg(value_name = "MODULE:FUNCTION", value_parser = parse_function, required_unless_present = "command", requires = "items")]
    pub function: Option<NamedStage>,
    /// Its items: a sequence, an iterable, or a function that gives one; or a file with one JSON value a line
    #[arg(long, value_name = "MODULE:NAME|FILE", value_parser = parse_items, requires = "function")]
    pub items: Option<Items>,
    /// Each item is a list of arguments: FUNCTION(*ITEM)
    #[arg(long, requires = "function")]
    pub star: bool,
    /// Race a command for the shell instead, with an `n` in braces where the number of workers goes
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["function", "items", "star", "executors", "scheduler", "python", "start_method", "from", "no_profile"])]
    pub command: Option<String>,
    /// The work that every run of the command does, in whatever unit
    #[arg(long, value_name = "AMOUNT", default_value = "1", value_parser = parse_amount, conflicts_with_all = ["function", "printed"])]
    pub work: f64,
    /// The throughput of a run of the command is the last number that it prints on stdout
    #[arg(long, requires = "command", conflicts_with = "function")]
    pub printed: bool,
    /// Executors to race [default: all that there are but Dask; serial is always raced]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = contender_parser())]
    pub executors: Vec<Contender>,
    /// The Dask cluster that `--executors dask` races [default: one of its own on this machine]
    #[arg(long, value_name = "ADDRESS", requires = "executors")]
    pub scheduler: Option<String>,
    /// Numbers of workers to race [default: 1, 2, 4 … twice the cores, at least 8, and what was predicted to be best]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=MOST_WORKERS))]
    pub workers: Vec<u32>,
    /// Time to race; it ends sooner once all intervals are narrow
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub budget: Duration,
    /// Give up a measurement that takes longer [default: a minute more than its tasks can take; none for a command]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// The interpreter [default: the python3 on PATH]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// How processes are started [default: as the interpreter does]
    #[arg(long, value_name = "METHOD", value_parser = ["fork", "spawn", "forkserver"])]
    pub start_method: Option<String>,
    /// Grade the prediction of this report (`poolpick profile --export json=FILE`) instead of profiling a serial run first
    #[arg(long, value_name = "REPORT")]
    pub from: Option<PathBuf>,
    /// The stage of that report [default: the one with the function's name, or the only one]
    #[arg(long, value_name = "NAME", requires = "from")]
    pub stage: Option<String>,
    /// Measure alone: no profile, no prediction to grade
    #[arg(long, conflicts_with = "from")]
    pub no_profile: bool,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Let what the function prints be seen, on stderr; of a command, its stderr
    #[arg(long)]
    pub show_output: bool,
    /// Show the whole command in the report: it may hold secrets
    #[arg(long, requires = "command", conflicts_with = "function")]
    pub show_args: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_a_name_or_a_file() {
        assert_eq!(parse_items("etl:ROWS"), Ok(Items::Named("etl:ROWS".to_owned())));
        assert_eq!(parse_items("rows.jsonl"), Ok(Items::File("rows.jsonl".into())));
        assert_eq!(parse_items("./a:b"), Ok(Items::File("./a:b".into())));
        assert_eq!(parse_items("data/rows.jsonl"), Ok(Items::File("data/rows.jsonl".into())));
        assert!(parse_items("").is_err());
    }

    #[test]
    fn a_function_is_named_as_reports_name_it() {
        let parsed = parse_function("etl.steps:Parser.parse").expect("it is one");
        assert_eq!((parsed.name.as_str(), parsed.function.as_str()), ("etl.steps.Parser.parse", "Parser.parse"));
        assert!(parse_function("etl").is_err());
    }
}
