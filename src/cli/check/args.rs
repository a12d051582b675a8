//! `poolpick check` as it was typed. Parsing never acts.

use crate::cli::args::{JudgeArgs, MachineArgs, OutputArgs, PythonArg, parse_stage};
use crate::observe::NamedStage;
use crate::report::check;
use crate::units::{parse_duration, parse_share};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// Predicted throughput from measured evidence
    Evidence,
    /// The plain thresholds on the score alone
    Ratio,
}

impl From<PolicyArg> for check::Policy {
    fn from(policy: PolicyArg) -> check::Policy {
        match policy {
            PolicyArg::Evidence => check::Policy::Evidence,
            PolicyArg::Ratio => check::Policy::Ratio,
        }
    }
}

/// What an undecided stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UndecidedArg {
    /// It passes, with a warning
    Pass,
    /// There is no verdict
    Fail,
}

// `poolpick check`.
#[derive(Debug, Clone, Args)]
#[command(
    override_usage = "poolpick check [OPTIONS] [STAGE]...\n       poolpick check [OPTIONS] -- <CMD>...\n       \
                      poolpick check [OPTIONS] --from <REPORT>...",
    after_help = "Exit status: 0 every stage passes, 1 a stage is misrouted, 2 misuse or a wrong manifest,\n\
                  3 some stage has no verdict (it failed, was too short, or is undecided where that fails),\n\
                  4 nothing to check, 125 poolpick failed. 3 outranks 1."
)]
pub struct CheckArgs {
    /// Stages and programs of the manifest to check [default: all]
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// The manifest [default: poolpick.toml, .poolpick.toml or pyproject.toml, from here up to the repository's root]
    #[arg(long, visible_alias = "config", value_name = "FILE", conflicts_with_all = ["from", "command"])]
    pub manifest: Option<PathBuf>,
    /// Judge what `profile` or `check` wrote as JSON instead of running anything (several, or given several times)
    #[arg(long, value_name = "REPORT", num_args = 1.., conflicts_with_all = ["stages", "command"])]
    pub from: Vec<PathBuf>,
    /// Judging, for a command.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// The machine, for those who check on another one than production's.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// A Python function of the command that is a stage, as in `profile` (may be given several times)
    #[arg(long, value_name = "NAME=MODULE:FUNCTION", value_parser = parse_stage)]
    pub stage: Vec<NamedStage>,
    /// Run each at the most so often; less often where the verdict is clear before [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: Option<u32>,
    /// End a run after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Take no longer than this for all stages together
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub budget: Option<Duration>,
    /// How to look into Python programs
    #[arg(long, value_name = "HOW", default_value = "agent")]
    pub python: PythonArg,
    /// What decides [default: evidence]
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<PolicyArg>,
    /// What an undecided stage does [default: pass]
    #[arg(long, value_name = "WHAT")]
    pub undecided: Option<UndecidedArg>,
    /// How far below the best executor's throughput the current one's may be [default: 0.15]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub margin: Option<f64>,
    /// Below this score a stage is I/O-bound [default: 0.4]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub io_threshold: Option<f64>,
    /// Above this score a stage is CPU-bound [default: 0.7]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub cpu_threshold: Option<f64>,
    /// Above this share of its latency a payload is too dear for processes [default: 0.15]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub ipc_threshold: Option<f64>,
    /// Findings in this file are known, and do not fail
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write what is found to the baseline
    #[arg(long, requires = "baseline")]
    pub update_baseline: bool,
    /// Write the recommended executors and workers of misrouted stages to the manifest
    #[arg(long, conflicts_with_all = ["from", "command"])]
    pub fix: bool,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Write nothing to stdout; the exit status tells
    #[arg(long, short)]
    pub quiet: bool,
    /// A command instead of the manifest, after `--`
    #[arg(last = true, value_name = "CMD", conflicts_with = "stages")]
    pub command: Vec<OsString>,
}
