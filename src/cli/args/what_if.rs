//! Arguments that ask beyond the run: another machine, a rate of arrivals, other thresholds for a saved report.
//! Parsing never acts.

use super::{parse_share, parse_size};
use crate::report::Asked;
use crate::report::engine::Engine;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// No machine has more.
const MOST_CORES: f64 = 65_536.0;

/// No executor gets through more tasks in a second.
const MOST_RATE: f64 = 1e9;

// The machine that the answer is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Args)]
pub struct MachineArgs {
    /// Answer for a machine with so many usable cores, as 16 or 2.5 [default: the one measured]
    #[arg(long, value_name = "N", value_parser = parse_cores)]
    pub cores: Option<f64>,
    /// Answer for a machine with so much memory, as 64GiB [default: the one measured]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<u64>,
}

impl MachineArgs {
    /// The same as a result keeps it.
    pub fn asked(&self) -> Option<Asked> {
        let asked = Asked { cores: self.cores, memory_bytes: self.memory, ..Asked::default() };
        (asked != Asked::default()).then_some(asked)
    }
}

// What the answer is for.
#[derive(Debug, Clone, Default, Args)]
pub struct WhatIfArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Say how many workers keep up with so many tasks a second
    #[arg(long, value_name = "TASKS_PER_SECOND", value_parser = parse_rate)]
    pub arrival_rate: Option<f64>,
    /// Say the recommendation in the settings of this engine too
    #[arg(long, value_name = "NAME", value_parser = engine_parser())]
    pub engine: Option<Engine>,
}

// Thresholds, where they are not the report's own.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct GivenThresholds {
    /// Below this score a stage is I/O-bound [default: the report's own; 0.4 for a trace]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub io_threshold: Option<f64>,
    /// Above this score a stage is CPU-bound [default: the report's own; 0.7 for a trace]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub cpu_threshold: Option<f64>,
    /// Above this share of its latency a payload is too dear for processes [default: the report's own; 0.15 for a trace]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub ipc_threshold: Option<f64>,
}

fn engine_parser() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::ALL.map(|(_, name)| name))
        .map(|name| Engine::named(&name).unwrap_or(Engine::ConcurrentFutures))
}

fn parse_cores(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cores) if cores > 0.0 && cores <= MOST_CORES => Ok(cores),
        _ => Err(format!("it is a number above 0, such as 16 or 2.5, and at most {MOST_CORES}")),
    }
}

fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("it is more than nothing, such as 64GiB".to_owned()),
        bytes => Ok(bytes),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= MOST_RATE => Ok(rate),
        _ => Err(format!("it is a number of tasks above 0, such as 250 or 0.5, and at most {MOST_RATE}")),
    }
}
