//! The command line as it was typed. Parsing never acts.

mod what_if;

pub use what_if::{GivenThresholds, MachineArgs, WhatIfArgs};

use super::check::CheckArgs;
use super::compare::CompareArgs;
use super::init::InitArgs;
use super::race::args::RaceArgs;
use crate::observe::{NamedStage, PythonMode};
use crate::report::Format;
use crate::units::{parse_duration, parse_share, parse_size};
use crate::verdict::Executor;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// Tells which executor a pipeline stage should run under: threads, processes, asyncio, or no pool.
#[derive(Debug, Parser)]
#[command(name = "poolpick", version, max_term_width = 100)]
#[command(after_help = "Start with: poolpick profile -- ./stage\nWhat this machine lets poolpick see: poolpick doctor")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do. Options of a command that is not asked for are not made: that takes a fifth of a millisecond. Structs of
/// options have plain comments: with documentation of their own they would describe the command, instead of this.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Run a command, measure it, and judge it
    Profile(Box<ProfileArgs>),
    /// Check every stage of the manifest: is it run under the right executor?
    Check(Box<CheckArgs>),
    /// Write a manifest to begin with, or one from a saved report
    Init(InitArgs),
    /// Compare two saved reports: what changed beyond what the measurements leave open
    Compare(CompareArgs),
    /// Render a saved report or a recorded trace, or judge it again by other terms
    Report(ReportArgs),
    /// Show what this machine, user and container let poolpick see, and how to see more
    Doctor(DoctorArgs),
    /// Measure what dispatch and payloads cost on this machine and interpreter
    Calibrate(CalibrateArgs),
    /// Measure the executors side by side on a function of yours, and grade the prediction
    Race(Box<RaceArgs>),
    /// Print the JSON Schema of what poolpick writes, or of its manifest
    Schema {
        /// Of what
        #[arg(default_value = "report")]
        of: SchemaOf,
    },
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Say what a reason in a report means
    Explain {
        /// Its code; without one, all codes are listed
        code: Option<String>,
    },
    /// Print the manual page, of poolpick or of one command
    Man {
        /// Which command
        command: Option<String>,
    },
}

/// What a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// What `profile` writes
    Report,
    /// What `check` writes
    Check,
    /// What `compare` writes
    Compare,
    /// What `race` writes
    Race,
    /// A line of `--format jsonl`
    Events,
    /// `poolpick.toml`
    Manifest,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// An executor, as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeclaredExecutor {
    /// A pool of threads
    Thread,
    /// A pool of processes
    Process,
    /// A pool of sub-interpreters
    Interpreter,
    /// An event loop
    Asyncio,
    /// No pool: one after another
    Serial,
}

impl From<DeclaredExecutor> for Executor {
    fn from(declared: DeclaredExecutor) -> Executor {
        match declared {
            DeclaredExecutor::Thread => Executor::Thread,
            DeclaredExecutor::Process => Executor::Process,
            DeclaredExecutor::Interpreter => Executor::Interpreter,
            DeclaredExecutor::Asyncio => Executor::Asyncio,
            DeclaredExecutor::Serial => Executor::Serial,
        }
    }
}

fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(|(_, name)| name))
        .map(|name| format_named(&name).unwrap_or(Format::Table))
}

fn format_named(name: &str) -> Option<Format> {
    Format::ALL.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
}

/// A format and the file to write it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The format.
    pub format: Format,
    /// The file; `-` is stdout.
    pub path: PathBuf,
}

/// A path is any bytes but NUL, so what follows the first `=` need not be text.
fn export_parser() -> impl TypedValueParser<Value = Export> {
    OsStringValueParser::new().try_map(|argument| parse_export(&argument))
}

fn parse_export(argument: &OsStr) -> Result<Export, String> {
    let names = || Format::ALL.map(|(_, name)| name).join(", ");
    let mut parts = argument.as_bytes().splitn(2, |&byte| byte == b'=');
    let format = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let path = parts.next().ok_or_else(|| format!("it is FORMAT=PATH, with FORMAT one of {}", names()))?;
    let format = format_named(&format).ok_or_else(|| format!("`{format}` is no format; it is one of {}", names()))?;
    if path.is_empty() {
        return Err("the path is missing".to_owned());
    }
    Ok(Export { format, path: PathBuf::from(OsStr::from_bytes(path)) })
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < Duration::from_millis(1) || interval > Duration::from_secs(60) {
        return Err("it is between 1ms and 60s".to_owned());
    }
    Ok(interval)
}

/// `NAME=MODULE:FUNCTION`.
pub fn parse_stage(text: &str) -> Result<NamedStage, String> {
    text.parse()
}

// Thresholds of the plain rule.
#[derive(Debug, Clone, Copy, Args)]
pub struct ThresholdArgs {
    /// Below this score a stage is I/O-bound
    #[arg(long, value_name = "SHARE", default_value = "0.4", value_parser = parse_share)]
    pub io_threshold: f64,
    /// Above this score a stage is CPU-bound
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = parse_share)]
    pub cpu_threshold: f64,
    /// Above this share of its latency a payload is too dear for processes
    #[arg(long, value_name = "SHARE", default_value = "0.15", value_parser = parse_share)]
    pub ipc_threshold: f64,
}

/// How Python programs are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PythonArg {
    /// By a small agent that the interpreter loads, and from outside
    Agent,
    /// From outside alone: nothing is added to the environment
    Sample,
    /// Not at all: a Python program is like any other
    Off,
}

impl From<PythonArg> for PythonMode {
    fn from(how: PythonArg) -> PythonMode {
        match how {
            PythonArg::Agent => PythonMode::Agent,
            PythonArg::Sample => PythonMode::Sample,
            PythonArg::Off => PythonMode::Off,
        }
    }
}

// Where the report goes and how it looks.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// How to render the report
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub format: Option<Format>,
    /// Where to write it; `-` is stdout [default: stderr for a table, stdout for other formats]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also write it as FORMAT to PATH (may be given several times); otlp=env sends it
    #[arg(long, value_name = "FORMAT=PATH", value_parser = export_parser())]
    pub export: Vec<Export>,
    /// What metrics and test reports call this pipeline [default: the script or program; of a gate, its manifest's folder]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub pipeline: Option<String>,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
}

// Payload sizes and the executor in production.
#[derive(Debug, Clone, Args)]
pub struct JudgeArgs {
    /// The executor that production runs the command under
    #[arg(long, value_name = "EXECUTOR")]
    pub executor: Option<DeclaredExecutor>,
    /// Bytes that one task is given
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub payload_in: Option<u64>,
    /// Bytes that one task returns
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub payload_out: Option<u64>,
}

// `poolpick profile`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "The exit status is the command's own; killed by a signal, poolpick ends by the same one.\n\
                  124 time limit, 125 poolpick failed or was misused, 126 cannot execute, 127 not found.")]
pub struct ProfileArgs {
    /// Judging.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// What if.
    #[command(flatten)]
    pub what_if: WhatIfArgs,
    /// Run it so often; the interval of the score then comes from all runs
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Run it so often before, without measuring
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub warmup: u32,
    /// End it after this time: TERM, and KILL five seconds later
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Time between two rounds of sampling [default: 10ms, and longer where that would cost over 0.6 % of a core]
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    pub interval: Option<Duration>,
    /// How to look into Python programs
    #[arg(long, value_name = "HOW", default_value = "agent")]
    pub python: PythonArg,
    /// A Python function whose direct calls are a stage of this name; what `python3 FILE` or `python3 -m MODULE` runs is
    /// `__main__`, or has its own name (may be given several times)
    #[arg(long, value_name = "NAME=MODULE:FUNCTION", value_parser = parse_stage)]
    pub stage: Vec<NamedStage>,
    /// Thresholds.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Keep everything that was seen in this file; `poolpick report FILE` judges it again
    #[arg(long, value_name = "TRACE")]
    pub record: Option<PathBuf>,
    /// Show the command's arguments in the report: they may hold secrets
    #[arg(long)]
    pub show_args: bool,
    /// Write no report to stderr
    #[arg(long, short)]
    pub quiet: bool,
    /// The command, after `--`
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

// `poolpick report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// What `profile` or `check` wrote as JSON (`--export json=FILE`), or a trace (`--record FILE`)
    pub file: PathBuf,
    /// Judging.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// What if.
    #[command(flatten)]
    pub what_if: WhatIfArgs,
    /// Thresholds.
    #[command(flatten)]
    pub thresholds: GivenThresholds,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Judge what is there of a trace that was cut off
    #[arg(long)]
    pub partial: bool,
    /// Show the command's arguments
    #[arg(long)]
    pub show_args: bool,
}

// `poolpick doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

// `poolpick calibrate`.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    /// The interpreter to measure with [default: the python3 on PATH]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Measure anew, whatever is cached
    #[arg(long)]
    pub refresh: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_do_not_change_what_a_command_is_described_by() {
        let described = |command: &clap::Command| -> Vec<String> {
            let about =
                |sub: &clap::Command| format!("{}: {:?}", sub.get_name(), sub.get_about().map(ToString::to_string));
            command.get_subcommands().map(about).filter(|text| !text.starts_with("help:")).collect()
        };
        let mut command = Cli::command();
        let before = described(&command);
        command.build();
        assert_eq!(described(&command), before);
        assert!(before.len() > 10 && before.iter().all(|text| text.contains("Some")), "{before:?}");
        command.debug_assert();
    }
}
