//! `poolpick profile`: open the outputs, run the command, judge it, write the report, end as the command did.

use super::analyse::{Questions, Recorded, analyse_by};
use super::args::{ProfileArgs, PythonArg};
use super::exit::{Failure, TIMED_OUT};
use super::output::{Outputs, Stream};
use super::prices::PriceBook;
use super::same_file::refuse_inputs;
use super::say;
use super::session::{self, Plan, Run};
use super::summary;
use crate::observe::{DISABLE, Disabled, NamedStage, Options, PythonMode};
use crate::report::Format;
use crate::units::Span;
use crate::verdict::Thresholds;
use anyhow::Result;
use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// More named functions than this leave the agent no room for stages that it finds.
const MOST_STAGES: usize = 100;

/// Runs the command and reports on it.
///
/// # Errors
/// A `Failure`; the target's own failure is not one.
pub fn run(arguments: &ProfileArgs, cpu_before: Span) -> Result<ExitCode> {
    let thresholds = thresholds(arguments)?;
    let disabled = Disabled::parse(&std::env::var(DISABLE).unwrap_or_default()).map_err(Failure::from)?;
    let stages = named_functions(&arguments.stage, arguments.python)?;
    let outputs = Outputs::open(&arguments.output, arguments.quiet, Stream::Stderr, &run_by(arguments))?;
    if let Some(path) = &arguments.record {
        refuse_inputs(path, run_by(arguments))?;
        outputs.refuse(path)?;
    }
    let record = arguments
        .record
        .as_ref()
        .map(|path| File::create(path).map_err(|source| Failure::Output { path: path.clone(), source }));
    let mut record = record.transpose()?;
    let span = |duration: Duration| Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    let options = Options {
        disabled,
        interval: arguments.interval.map(span),
        timeout: arguments.timeout.map(span),
        python: PythonMode::from(arguments.python),
        ends_tree: false,
    };
    let mut runs: Vec<Run> = Vec::new();
    for number in 0..arguments.warmup + arguments.runs {
        let warmup = number < arguments.warmup;
        let last = number + 1 == arguments.warmup + arguments.runs;
        let plan = Plan {
            command: &arguments.command,
            stdout_to_stderr: outputs.takes_stdout(),
            variables: &[],
            directory: None,
            capture: None,
            options,
            stages: &stages,
            live: !arguments.quiet && std::io::stderr().is_terminal(),
            thresholds,
            record: if last { record.take() } else { None },
            cpu_before,
        };
        let run = session::run(plan)?;
        // A command that fails is not run again: the status of the first failure is the one to pass on.
        let stop = run.footer.exit_code != Some(0);
        if !warmup || stop {
            runs.push(run);
        }
        if stop {
            break;
        }
    }
    let mut failure = None;
    let recorded: Vec<Recorded<'_>> =
        runs.iter().map(|run| Recorded { header: &run.header, timeline: &run.timeline, footer: &run.footer }).collect();
    let mut questions = Questions::new(thresholds, &arguments.judge, arguments.show_args).asking(&arguments.what_if);
    questions.named = arguments.stage.iter().map(|stage| stage.name.clone()).collect();
    let mut book = PriceBook::of_this_host();
    let report = analyse_by(&mut book, &recorded, &questions, Vec::new(), &mut |_, _| {});
    drop(recorded);
    if let Some(path) = &arguments.record
        && let Some(error) = runs.last_mut().and_then(|run| run.priced(book.known()).err())
    {
        failure = Some(Failure::Written { path: path.clone(), source: error });
    }
    if let Some(report) = report {
        summary::append(&report);
        let annotates = !arguments.quiet && !outputs.has(Format::Github);
        if let Err(unwritten) = outputs.write(&report) {
            failure.get_or_insert(unwritten);
        }
        if annotates {
            summary::annotate(&report);
        }
    }
    let Some(last) = runs.last() else { return Ok(ExitCode::SUCCESS) };
    let failed = last.footer.timed_out || last.footer.exit_code != Some(0);
    match failure {
        // The command's own failure tells more than a report that could not be written.
        Some(failure) if failed => say(&format!("error: {failure}")),
        Some(failure) => return Err(failure.into()),
        None => {}
    }
    if last.footer.timed_out {
        return Ok(ExitCode::from(TIMED_OUT));
    }
    Ok(last.exit.pass_on())
}

/// The program and, of an interpreter, its script: files that a run needs as they are.
fn run_by(arguments: &ProfileArgs) -> Vec<&Path> {
    arguments.command.iter().take(2).map(Path::new).collect()
}

/// The named functions as the agent reads them.
///
/// # Errors
/// Names that exclude each other, or too many of them.
pub(super) fn named_functions(named: &[NamedStage], python: PythonArg) -> Result<Vec<String>, Failure> {
    if !named.is_empty() && python != PythonArg::Agent {
        let message =
            "`--stage` needs `--python agent`: only the agent sees calls of a function; hint: leave out `--python`";
        return Err(Failure::Misuse(message.to_owned()));
    }
    if named.len() > MOST_STAGES {
        let message = format!("`--stage` is given `{}` times; hint: it can be given {MOST_STAGES} times", named.len());
        return Err(Failure::Misuse(message));
    }
    for (index, stage) in named.iter().enumerate() {
        if named[..index].iter().any(|before| before.name == stage.name) {
            let message = format!("`--stage` has two functions called `{}`; hint: give each its own name", stage.name);
            return Err(Failure::Misuse(message));
        }
    }
    Ok(named.iter().map(ToString::to_string).collect())
}

fn thresholds(arguments: &ProfileArgs) -> Result<Thresholds, Failure> {
    let given = arguments.thresholds;
    let thresholds = Thresholds { io: given.io_threshold, cpu: given.cpu_threshold, ipc: given.ipc_threshold };
    Ok(thresholds.checked()?)
}
