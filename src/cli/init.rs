//! `poolpick init`: a manifest to begin with, commented, or filled from a saved report. Never overwrites by itself.

use super::exit::Failure;
use super::output::replace;
use super::report::saved;
use super::say;
use crate::gate::is_found;
use crate::report::{Executor, Report};
use anyhow::Result;
use clap::Args;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// `poolpick init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Fill it from a saved report (`profile --export json=FILE`)
    #[arg(long, value_name = "REPORT")]
    pub from: Option<PathBuf>,
    /// Where to write it
    #[arg(long, short, value_name = "FILE", default_value = "poolpick.toml")]
    pub output: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

/// What every manifest begins with.
const HEAD: &str = "\
# What `poolpick check` checks. Editors complete it with the JSON Schema that
# `poolpick schema manifest` prints. Values that are commented out are the defaults.

[thresholds]
# io = 0.4     # below this score a stage is I/O-bound
# cpu = 0.7    # above this score it is CPU-bound
# ipc = 0.15   # above this share of its latency a payload is too dear for processes

[gate]
# margin = 0.15           # so far below the best executor's throughput the current one may be
# undecided = \"pass\"      # or \"fail\": what the evidence does not decide has no verdict
# policy = \"evidence\"     # or \"ratio\": the thresholds on the score alone
";

/// Where nothing is known.
const EXAMPLES: &str = "
# A stage is a command, or a function that a command calls, with the executor that production runs it under.
#
# [stages.parse]
# command = [\"python3\", \"stages/parse.py\"]
# executor = \"process\"            # thread, process, interpreter, asyncio or serial
# workers = 4
# function = \"stages.parse:parse\" # the stage is this function of the command
# cwd = \".\"                       # relative to this file
# env = { PYTHONHASHSEED = \"0\" }
# runs = 5                        # at the most
# timeout = \"2m\"
# payload-in = \"64KiB\"            # what a task is given, where it is not measured
# payload-out = \"4KiB\"

# In a program, stages are found: whatever it hands to an executor.
#
# [programs.nightly]
# command = [\"python3\", \"pipeline.py\"]
# expect = { \"pipeline.parse\" = \"process\" }  # without it, the executor that is found is judged
";

/// Writes the manifest.
///
/// # Errors
/// A `Failure`: a file that is there, or a report that cannot be used.
pub fn run(arguments: &InitArgs) -> Result<ExitCode> {
    let path = &arguments.output;
    let text = match &arguments.from {
        None => format!("{HEAD}{EXAMPLES}"),
        Some(from) => {
            let text = fs::read_to_string(from).map_err(|source| Failure::Input { path: from.clone(), source })?;
            format!("{HEAD}{}", filled(&saved(from, &text)?))
        }
    };
    if fs::symlink_metadata(path).is_ok() && !arguments.force {
        let message = format!("`{}` is there already; hint: `--force` overwrites it", path.display());
        return Err(Failure::Misuse(message).into());
    }
    replace(path, text.as_bytes())?;
    say(&format!("wrote `{}`; `poolpick check` checks it", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The entries that a report speaks of.
fn filled(report: &Report) -> String {
    let argv = &report.target.argv;
    // The script tells more than its interpreter.
    let naming = argv.get(1).or(argv.first()).map_or("command", |word| word.rsplit('/').next().unwrap_or(word));
    let stem = naming.split('.').next().unwrap_or_default();
    let plain = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    let name = if stem.starts_with(char::is_alphanumeric) && stem.chars().all(plain) { stem } else { "command" };
    let command: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    let mut text = String::from("\n");
    // Writing to a string cannot fail.
    if report.target.argv_redacted {
        let _ = writeln!(text, "# Its further arguments are not in the report: add them.");
    }
    let found: Vec<_> = report.stages.iter().filter(|stage| is_found(stage)).collect();
    let kind = if found.is_empty() { "stages" } else { "programs" };
    let _ = writeln!(text, "[{kind}.{}]\ncommand = [{}]", key(name), command.join(", "));
    if found.is_empty() {
        let advice = report.stages.first().and_then(|stage| stage.recommendation.as_ref());
        let advised = advice.and_then(|advice| word(advice.executor)).unwrap_or("thread");
        let _ = writeln!(
            text,
            "# executor = \"{advised}\"   # what production runs it under; this is what poolpick would use"
        );
        return text;
    }
    let _ = writeln!(text, "\n[programs.{}.expect]", key(name));
    let mut names: Vec<&str> = Vec::new();
    for stage in found {
        let runs = stage.declared_executor.or(stage.runs_as.map(|runs| runs.executor));
        let Some(runs) = runs.and_then(word) else { continue };
        if names.contains(&stage.name.as_str()) {
            continue;
        }
        names.push(&stage.name);
        let advised = stage.recommendation.as_ref().and_then(|advice| word(advice.executor));
        let advised = advised.filter(|advised| *advised != runs);
        let comment = advised.map_or_else(String::new, |advised| format!("   # poolpick would use {advised}"));
        let _ = writeln!(text, "{} = \"{runs}\"{comment}", key(&stage.name));
    }
    text
}

/// As manifests name it; a split is no executor of one stage.
fn word(executor: Executor) -> Option<&'static str> {
    (executor != Executor::Split).then(|| executor.word())
}

fn key(text: &str) -> String {
    toml_edit::Key::new(text).to_string()
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
