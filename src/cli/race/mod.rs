//! `poolpick race`: predict, measure the executors side by side, and grade the prediction.

pub mod args;
mod predicted;
mod sweep;

use super::exit::Failure;
use super::output::{Outputs, Stream};
use super::say;
use crate::calibrate::no_python;
use crate::observe::survey;
use crate::race::{
    About, Commands, Driver, Ended, Loading, Measure, Missed, NoDriver, Outcome, Pace, Progress, Signals, race,
    summarize,
};
use crate::report::race::{Contender, EndedBy, Entrant, RACE_SCHEMA_VERSION, Race, RaceKind, Subject};
use crate::report::{Host, RACE_FORMATS, Tool};
use crate::sys::{signals, tty};
use crate::trace;
use crate::units::Span;
use anyhow::Result;
use args::{Items, RaceArgs};
use predicted::Predicted;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// The interpreter that nobody named.
const PYTHON: &str = "python3";

/// A race that is over, or the signal that ended it before anything was known.
enum Raced {
    Race(Box<Race>, Option<i32>),
    Interrupted(i32),
}

/// Races and reports.
///
/// # Errors
/// A `Failure`.
pub fn run(arguments: &RaceArgs, cpu_before: Span) -> Result<ExitCode> {
    let items = arguments.items.as_ref().and_then(|items| match items {
        Items::File(path) => Some(path.as_path()),
        Items::Named(_) => None,
    });
    let inputs: Vec<&Path> = arguments.from.as_deref().into_iter().chain(items).collect();
    let outputs = Outputs::open(&arguments.output, false, Stream::Stdout, &inputs)?;
    outputs.only(&RACE_FORMATS)?;
    let raced = match (&arguments.command, &arguments.function) {
        (Some(command), _) => race_command(arguments, command)?,
        (None, Some(_)) => race_function(arguments, cpu_before)?,
        (None, None) => return Err(Failure::Misuse("nothing to race; hint: poolpick race --help".to_owned()).into()),
    };
    match raced {
        Raced::Interrupted(signal) => signals::die_by(signal),
        Raced::Race(race, signal) => {
            let written = outputs.write_race(race.as_ref());
            if let Some(signal) = signal {
                if let Err(failure) = written {
                    say(&format!("error: {failure}"));
                }
                signals::die_by(signal);
            }
            written?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn race_function(arguments: &RaceArgs, cpu_before: Span) -> Result<Raced, Failure> {
    let Some(function) = &arguments.function else {
        return Err(Failure::Misuse("there is no function to race; hint: poolpick race --help".to_owned()));
    };
    let loading = loading(arguments)?;
    let python = arguments.python.clone().unwrap_or_else(|| PathBuf::from(PYTHON));
    if let Some(said) = arguments.python.as_deref().and_then(no_python) {
        return Err(Failure::Misuse(format!(
            "`{}` is no Python interpreter: asked for its version, it said `{}`; hint: `--python` takes the path of a \
             Python 3.8 or later",
            python.display(),
            said.escape_debug()
        )));
    }
    let mut progress = Line::new(!arguments.quiet);
    let predicted = match &arguments.from {
        Some(path) => Some(predicted::from_report(path, arguments.stage.as_deref(), function)?),
        None if arguments.no_profile => None,
        None => {
            progress.show("profiling a serial run");
            match predicted::by_profile(&python, &loading, function, span(arguments.budget), cpu_before)? {
                Ok(predicted) => Some(predicted),
                Err(signal) => {
                    progress.clear();
                    return Ok(Raced::Interrupted(signal));
                }
            }
        }
    };
    let signals = watch()?;
    let timeout = arguments.timeout.map(span);
    let driver = Driver::new(&python, loading.clone(), arguments.show_output, timeout, &signals);
    let mut driver = driver.map_err(|source| Failure::System { doing: "writing the driver", source })?;
    progress.show("loading the function");
    let about = match driver.load() {
        Ok(about) => about,
        Err(NoDriver::Interrupted(signal)) => return Ok(Raced::Interrupted(signal)),
        Err(error) => return Err(unloaded(error)),
    };
    let host = survey();
    let cells = sweep::cells(arguments, &about, predicted.as_ref(), host.usable_cores.unwrap_or(1.0))?;
    let started_at = now();
    let outcome = race(&mut driver, &cells, &pace(arguments), &mut |state| progress.state(state, arguments.budget));
    drop(driver);
    progress.clear();
    let name = format!("{}:{}", function.module, function.function);
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(missed) => return missed_baseline(missed, &name),
    };
    let mut notes = notes(&about, &loading);
    notes.extend(predicted.iter().flat_map(|predicted| predicted.notes.iter().cloned()));
    let subject = Subject {
        function: Some(name),
        items: Some(loading.items),
        item_count: Some(about.items),
        python: Some(about.python),
        start_method: Some(about.start_method),
        command: None,
        command_redacted: false,
    };
    Ok(reported(subject, &outcome, predicted, &host, started_at, notes))
}

fn race_command(arguments: &RaceArgs, template: &str) -> Result<Raced, Failure> {
    let signals = watch()?;
    let measure = if arguments.printed { Measure::Printed } else { Measure::Work(arguments.work) };
    let timeout = arguments.timeout.map(span);
    let track = Commands::new(template, measure, arguments.show_output, timeout, &signals);
    let mut track = track.ok_or_else(|| {
        Failure::Misuse(format!("`{template}` has no `{{n}}`; hint: write `{{n}}` where the number of workers goes"))
    })?;
    let host = survey();
    let workers = sweep::workers(&arguments.workers, host.usable_cores.unwrap_or(1.0));
    let cells: Vec<Entrant> =
        workers.into_iter().map(|workers| Entrant { executor: Contender::Command, workers }).collect();
    let mut progress = Line::new(!arguments.quiet);
    let started_at = now();
    let outcome = race(&mut track, &cells, &pace(arguments), &mut |state| progress.state(state, arguments.budget));
    progress.clear();
    let program = template.split_whitespace().next().unwrap_or("").to_owned();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(missed) => return missed_baseline(missed, &program),
    };
    let redacted = !arguments.show_args && program != template;
    let subject = Subject {
        function: None,
        items: None,
        item_count: None,
        python: None,
        start_method: None,
        command: Some(if redacted { program } else { template.to_owned() }),
        command_redacted: redacted,
    };
    Ok(reported(subject, &outcome, None, &host, started_at, Vec::new()))
}

fn loading(arguments: &RaceArgs) -> Result<Loading, Failure> {
    let (Some(function), Some(items)) = (&arguments.function, &arguments.items) else {
        return Err(Failure::Misuse("there are no items; hint: give them with `--items`".to_owned()));
    };
    let (items, jsonl) = match items {
        Items::Named(name) => (name.clone(), false),
        Items::File(path) => match path.to_str().map(str::to_owned) {
            Some(path) => (path, true),
            None => return Err(Failure::Misuse(format!("`{}` is not UTF-8; hint: rename it", path.display()))),
        },
    };
    let function = format!("{}:{}", function.module, function.function);
    if arguments.scheduler.is_some() && !arguments.executors.contains(&Contender::Dask) {
        return Err(Failure::Misuse(
            "`--scheduler` names a cluster that is not raced; hint: add `dask` to `--executors`".to_owned(),
        ));
    }
    let mut loading = Loading::new(function, items, jsonl, arguments.star, arguments.start_method.clone());
    loading.scheduler.clone_from(&arguments.scheduler);
    Ok(loading)
}

fn watch() -> Result<Signals, Failure> {
    Signals::watch().map_err(|source| Failure::System { doing: "watching signals", source })
}

fn pace(arguments: &RaceArgs) -> Pace {
    Pace { budget: span(arguments.budget), most_rounds: None, seed: u64::from(std::process::id()) }
}

/// Why there is nothing to race.
fn unloaded(error: NoDriver) -> Failure {
    match error {
        NoDriver::Load(why) => {
            Failure::Misuse(format!("{why}; hint: modules and files are looked for in the working directory"))
        }
        NoDriver::System(source) => Failure::System { doing: "racing", source },
        other => Failure::Misuse(format!("{other}; hint: `--python` takes the path of a Python 3.8 or later")),
    }
}

/// Why the baseline gave no numbers.
fn missed_baseline(missed: Missed, name: &str) -> Result<Raced, Failure> {
    match missed {
        Missed::Interrupted(signal) => Ok(Raced::Interrupted(signal)),
        Missed::System(source) => Err(Failure::System { doing: "racing", source }),
        Missed::Cell(why) => Err(Failure::Misuse(format!(
            "`{name}` cannot be raced: {why}; hint: see that it runs by itself; `--show-output` shows what it prints"
        ))),
    }
}

fn notes(about: &About, loading: &Loading) -> Vec<String> {
    let mut notes = Vec::new();
    if about.more_items {
        notes.push(format!("of `{}` the first {} items were taken", loading.items, about.items));
    }
    if about.coroutine {
        notes.push("threads and processes run each coroutine in a loop of its own (`asyncio.run`)".to_owned());
    }
    notes
}

fn reported(
    subject: Subject,
    outcome: &Outcome,
    predicted: Option<Predicted>,
    host: &trace::Host,
    started_at: String,
    notes: Vec<String>,
) -> Raced {
    let cells: Vec<Entrant> = outcome.lanes.iter().map(|lane| lane.cell).collect();
    let expected = predicted.map(|predicted| predicted.expect(&cells));
    let summary = summarize(outcome, expected.as_ref());
    let baseline = cells.first().copied().unwrap_or(Entrant { executor: Contender::Serial, workers: 1 });
    let (ended_by, signal) = match outcome.ended {
        Ended::Narrow => (EndedBy::Narrow, None),
        Ended::Budget => (EndedBy::Budget, None),
        Ended::Interrupted(signal) => (EndedBy::Interrupt, Some(signal)),
    };
    let race = Race {
        schema_version: RACE_SCHEMA_VERSION.to_owned(),
        kind: RaceKind::Race,
        poolpick: Tool { version: env!("CARGO_PKG_VERSION").to_owned() },
        host: Host {
            kernel: Some(host.kernel.clone()).filter(|kernel| !kernel.is_empty()),
            logical_cores: host.logical_cores,
            physical_cores: host.physical_cores,
            usable_cores: host.usable_cores,
            memory_limit_bytes: host.memory_limit_bytes,
            steal_ratio: host.steal_ratio,
        },
        subject,
        started_at,
        wall_seconds: outcome.seconds,
        rounds: outcome.rounds,
        ended_by,
        baseline,
        race: summary.race,
        curves: summary.curves,
        winner: summary.winner,
        recommended: expected.as_ref().and_then(|expected| expected.recommended),
        predicted_by: expected.as_ref().map(|expected| expected.by),
        prediction_error: summary.prediction_error,
        regret: summary.regret,
        notes: notes.into_iter().chain(summary.notes).collect(),
    };
    Raced::Race(Box::new(race), signal)
}

/// A line on the terminal, drawn over itself.
struct Line {
    wanted: bool,
    shown: bool,
}

impl Line {
    fn new(wanted: bool) -> Line {
        Line { wanted, shown: false }
    }

    fn state(&mut self, progress: &Progress, budget: Duration) {
        let Progress { round, cell, seconds, leader } = progress;
        if *round == 0 {
            return self.show("a first look at the baseline");
        }
        let leader = leader.map_or(String::new(), |(cell, speedup)| {
            format!(", {} with {} leads with {speedup:.2}x", cell.executor.name(), cell.workers)
        });
        let cell = format!("{} with {}", cell.executor.name(), cell.workers);
        self.show(&format!("round {round}, {seconds:.0} of {:.0} s, {cell}{leader}", budget.as_secs_f64()));
    }

    fn show(&mut self, text: &str) {
        if self.wanted && tty::stderr_is_foreground_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[2Kpoolpick: {text}");
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// A failure to start the interpreter, as misuse.
fn not_started(python: &Path, why: &str) -> Failure {
    Failure::Misuse(format!(
        "cannot run `{}`: {why}; hint: `--python` takes the path of a Python 3.8 or later",
        python.display()
    ))
}
