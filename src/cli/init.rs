//! `poolpick init`: a manifest to begin with, commented, or filled from a saved report. Never overwrites by itself.

use super::exit::Failure;
use super::output::replace;
use super::print;
use super::same_file::refuse_inputs;
use super::saved::{self, Saved};
use super::say;
use crate::gate::is_found;
use crate::report::check::{Check, StageResult};
use crate::report::{Executor, Report};
use anyhow::Result;
use clap::Args;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

// `poolpick init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Fill it from what `profile` or `check` wrote with `--export json=FILE`
    #[arg(long, value_name = "REPORT")]
    pub from: Option<PathBuf>,
    /// Where to write it; `-` is stdout
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
# What every stage and program takes that does not say otherwise: cwd, env, runs, timeout.
#
# [defaults]
# timeout = \"10m\"

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
            refuse_inputs(path, [from.as_path()])?;
            match saved::read(from)? {
                Saved::Profile(report) => format!("{HEAD}{}", filled(&report)),
                Saved::Check(check) => format!("{HEAD}{}", declared(&check)),
            }
        }
    };
    if path == Path::new("-") {
        return print(|out| out.write_all(text.as_bytes()));
    }
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
    let expected = found.into_iter().map(|stage| {
        let runs = stage.declared_executor.or(stage.runs_as.map(|runs| runs.executor));
        (stage.name.as_str(), runs, stage.recommendation.as_ref().map(|advice| advice.executor))
    });
    expect(&mut text, name, expected);
    text
}

/// The table of the executors of a program's stages: name, the one that is found, the one that is recommended.
fn expect<'a>(
    text: &mut String,
    program: &str,
    stages: impl IntoIterator<Item = (&'a str, Option<Executor>, Option<Executor>)>,
) {
    let _ = writeln!(text, "\n[programs.{}.expect]", key(program));
    let mut names: Vec<String> = Vec::new();
    for (name, runs, advised) in stages {
        let Some(runs) = runs.and_then(word) else { continue };
        // `a:b` and `a.b` are one.
        if names.contains(&name.replace(':', ".")) {
            continue;
        }
        names.push(name.replace(':', "."));
        let _ = writeln!(text, "{} = \"{runs}\"{}", key(name), advice(runs, advised));
    }
}

/// Where poolpick would use another one.
fn advice(runs: &str, advised: Option<Executor>) -> String {
    let advised = advised.and_then(word).filter(|advised| *advised != runs);
    advised.map_or_else(String::new, |advised| format!("   # poolpick would use {advised}"))
}

/// The stages and programs of a gate's result, which tells their executors and not their commands.
fn declared(check: &Check) -> String {
    const COMMAND: &str =
        "command = [\"python3\", \"stage.py\"]   # put what is run here: the result of a gate does not tell";
    let is_stage = |result: &&StageResult| {
        let stage = check.stages.iter().find(|stage| Some(&stage.id) == result.stage_id.as_ref());
        result.program.is_none() && (check.manifest.is_some() || !stage.is_some_and(is_found))
    };
    let mut text = String::new();
    for result in check.results.iter().filter(is_stage) {
        let _ = writeln!(text, "\n[stages.{}]\n{COMMAND}", key(&result.name));
        if let Some(executor) = result.executor.and_then(word) {
            let _ = writeln!(text, "executor = \"{executor}\"{}", advice(executor, result.recommended));
        }
    }
    let mut programs: Vec<&str> = Vec::new();
    for result in check.results.iter().filter(|result| !is_stage(result)) {
        let program = result.program.as_deref().unwrap_or("command");
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    for program in programs {
        let _ = writeln!(text, "\n[programs.{}]\n{COMMAND}", key(program));
        let of = |result: &&StageResult| !is_stage(result) && result.program.as_deref().unwrap_or("command") == program;
        let expected = check.results.iter().filter(of);
        expect(&mut text, program, expected.map(|result| (result.name.as_str(), result.executor, result.recommended)));
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
