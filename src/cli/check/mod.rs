//! `poolpick check`: what is to be checked, run and judged one after the other, then findings against the baseline, the
//! manifest mended if asked, the result written, and its exit status. Holds no rule: those are the gate's.

mod args;
mod kept;
mod known;
mod mend;
mod plan;
mod subject;
mod when;

pub use args::CheckArgs;

use super::capture::Capture;
use super::exit::{Failure, MISROUTED, NO_VERDICT, NOTHING_SELECTED};
use super::output::{Outputs, Stream, folder_of};
use super::saved::Saved;
use super::say;
use super::session::Run;
use super::summary;
use crate::gate::{self, Baseline, Ruled, Rules};
use crate::observe::{DISABLE, Disabled, Options, PythonMode};
use crate::report::check::{Check, Finding, Outcome};
use crate::report::{Asked, Format, Host, Kind, SCHEMA_VERSION, Stage, Thresholds, Tool, jsonl};
use crate::sys::{clock, signals, tty};
use crate::units::{Span, Timestamp};
use anyhow::Result;
use args::CheckArgs as Arguments;
use plan::{Plan, Task, Work};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Without `runs`, a command is run at the most so often.
const MOST_RUNS: u32 = 5;
/// Nor is it run again if that would take its runs beyond this, seconds.
const PATIENCE_SECONDS: f64 = 60.0;

/// Checks what was asked for.
///
/// # Errors
/// A `Failure`; a stage that fails is none.
pub fn run(arguments: &Arguments, cpu_before: Span) -> Result<ExitCode> {
    let disabled = Disabled::parse(&std::env::var(DISABLE).unwrap_or_default()).map_err(Failure::from)?;
    let plan = plan::plan(arguments)?;
    let baseline = known::read(arguments)?;
    let manifests = plan.manifest.iter().flat_map(|manifest| &manifest.files);
    let inputs = manifests.chain(&arguments.from).chain(&arguments.baseline).map(PathBuf::as_path);
    let inputs: Vec<&Path> = inputs.collect();
    let mut outputs = Outputs::open(&arguments.output, arguments.quiet, Stream::Stdout, &inputs)?;
    if let Some(path) = arguments.baseline.as_ref().filter(|_| arguments.update_baseline) {
        outputs.refuse(path)?;
    }
    let named = || folder_of(&plan.manifest.as_ref()?.file);
    // Before anything runs: a stage may take the manifest away.
    let pipeline = arguments.output.pipeline.clone().or_else(named).or_else(|| saved_pipeline(&plan.work));
    let mut checking = Checking {
        arguments,
        pipeline,
        rules: plan.rules,
        disabled,
        cpu_before,
        began: clock::monotonic(),
        stalled: Span::default(),
        ruled: Vec::new(),
        stages: Vec::new(),
        host: None,
        asked: arguments.machine.asked(),
        started_at: None,
        saved_seconds: None,
        files: Vec::new(),
    };
    let count = plan.work.len();
    // What was saved is there at once, and a baseline that is written anew knows every finding only at the end.
    let streams = arguments.from.is_empty() && !arguments.update_baseline;
    if streams {
        checking.started_at = Some(now());
        outputs.stream(&lines(|out| jsonl::begin(&checking.check(&plan, &[]), out)));
    }
    for (index, work) in plan.work.iter().enumerate() {
        let (ended, measured) = (checking.ruled.len(), checking.stages.len());
        match work {
            Work::Run(task) => {
                if let Some(signal) = checking.task(task, index + 1, count)? {
                    say("interrupted: there is no result");
                    drop(outputs);
                    signals::die_by(signal);
                }
            }
            Work::Saved(path, saved) => checking.saved(path, saved),
        }
        if streams {
            let lines = checking.ended(ended, measured, baseline.as_ref());
            let before = clock::monotonic();
            outputs.stream(&lines);
            checking.stalled += clock::monotonic().since(before);
        }
    }
    let mut ruled = std::mem::take(&mut checking.ruled);
    kept::tell_apart(&mut ruled, &checking.files);
    known::apply(arguments, baseline, &mut ruled)?;
    let check = checking.check(&plan, &ruled);
    summary::append(&check);
    let annotates = !arguments.quiet && !outputs.has(Format::Github);
    // The result first: a manifest that cannot be mended takes nothing from it.
    let written = outputs.write(&check);
    if annotates {
        summary::annotate(&check);
    }
    let mended = if arguments.fix { mend::mend(&plan, &ruled) } else { Ok(()) };
    let status = match check.outcome {
        Outcome::Pass => 0,
        Outcome::Misrouted => MISROUTED,
        Outcome::NoVerdict => NO_VERDICT,
        Outcome::NothingSelected => {
            say(&plan.nothing);
            NOTHING_SELECTED
        }
    };
    match written {
        // Whether a dashboard heard of it changes nothing of a verdict.
        Err(unsent @ Failure::Sent(_)) if status != 0 => say(&format!("error: {unsent}")),
        Err(failure) => {
            if let Err(unmended) = mended {
                say(&format!("error: {unmended}"));
            }
            return Err(failure.into());
        }
        Ok(()) => {}
    }
    mended?;
    Ok(ExitCode::from(status))
}

/// The saved gate that all results are of.
fn saved_gate(work: &[Work]) -> Option<&Check> {
    match work {
        [Work::Saved(_, Saved::Check(check))] => Some(check),
        _ => None,
    }
}

/// The pipeline that saved results are of, where they are of one.
fn saved_pipeline(work: &[Work]) -> Option<String> {
    let mut pipelines = work.iter().map(|work| match work {
        Work::Saved(_, Saved::Check(check)) => check.pipeline.as_ref(),
        Work::Saved(..) | Work::Run(_) => None,
    });
    let first = pipelines.next()??;
    pipelines.all(|other| other == Some(first)).then(|| first.clone())
}

/// A check that goes on.
struct Checking<'a> {
    arguments: &'a Arguments,
    pipeline: Option<String>,
    rules: Rules,
    disabled: Disabled,
    cpu_before: Span,
    began: Timestamp,
    /// Time in which nothing ran, since somebody did not read what was streamed to them.
    stalled: Span,
    ruled: Vec<Ruled>,
    stages: Vec<Stage>,
    host: Option<Host>,
    asked: Option<Asked>,
    started_at: Option<String>,
    /// Of saved reports: the time that their runs took.
    saved_seconds: Option<f64>,
    /// Files of saved reports, each with where its results begin.
    files: Vec<(usize, String)>,
}

impl Checking<'_> {
    /// What is left of the budget, if there is one.
    fn left(&self) -> Option<Span> {
        let budget = self.arguments.budget?;
        Some(Span::from_secs_f64(budget.as_secs_f64()) + self.stalled - clock::monotonic().since(self.began))
    }

    /// Runs a task as often as its verdict needs; returns the signal that ended poolpick's work, if one did.
    fn task(&mut self, task: &Task, number: usize, count: usize) -> Result<Option<i32>, Failure> {
        let asked = self.arguments.runs.or(task.command.runs);
        let most = asked.unwrap_or(MOST_RUNS);
        let limit =
            self.arguments.timeout.or(task.command.timeout).map(|limit| Span::from_secs_f64(limit.as_secs_f64()));
        let mut runs: Vec<Run> = Vec::new();
        let mut longest = Span::default();
        loop {
            let left = self.left();
            let spent = left.is_some_and(|left| left == Span::default());
            if spent && runs.is_empty() {
                self.ruled.extend(task.subject.failed(&ran(&runs), &gate::Failure::NoBudget, None));
                return Ok(None);
            }
            let progress = Progress::show(self.arguments.quiet, &task.name, number, count, runs.len() + 1);
            let capture = Capture::new()?;
            let timeout = [limit, left].into_iter().flatten().min();
            let began = clock::monotonic();
            let run = task.run(self.options(timeout), self.cpu_before, self.rules.thresholds, &capture);
            longest = longest.max(clock::monotonic().since(began));
            drop(progress);
            let run = match run {
                Ok(run) => run,
                Err(Failure::Start(error)) => {
                    let failure = gate::Failure::NotStarted(error.to_string());
                    self.ruled.extend(task.subject.failed(&ran(&runs), &failure, None));
                    return Ok(None);
                }
                Err(failure) => return Err(failure),
            };
            if let Some(signal) = run.interrupted {
                return Ok(Some(signal));
            }
            self.started_at.get_or_insert_with(|| run.header.started_at.clone());
            let failure = if run.footer.timed_out {
                Some(match limit.filter(|limit| timeout == Some(*limit)) {
                    Some(limit) => gate::Failure::TimedOut(limit.secs_f64()),
                    None => gate::Failure::NoBudget,
                })
            } else {
                match (run.footer.exit_code, run.footer.signal) {
                    (Some(0), _) => None,
                    (Some(status), _) => Some(gate::Failure::Exited(status)),
                    (None, signal) => Some(gate::Failure::Killed(signal.unwrap_or(0))),
                }
            };
            runs.push(run);
            if let Some(failure) = failure {
                self.ruled.extend(task.subject.failed(&ran(&runs), &failure, capture.end()));
                return Ok(None);
            }
            let Some(report) = task.report(&runs, self.rules.thresholds, &self.arguments.machine) else {
                return Ok(None);
            };
            let ran = ran(&runs);
            let ruled = task.subject.ruled(&report, &ran, &self.rules);
            let enough = !ruled.iter().any(|one| one.wants_more) || runs.len() as u32 >= most;
            let patient = asked.is_some() || ran.wall_seconds.unwrap_or(0.0) + longest.secs_f64() <= PATIENCE_SECONDS;
            // One that would not end in time decides nothing.
            if enough || !patient || self.left().is_some_and(|left| left < longest) {
                self.host = Some(report.host.clone());
                let ruled = kept::with_costs(ruled, report.costs);
                self.keep(ruled, &report.stages, Some(&task.name));
                return Ok(None);
            }
        }
    }

    fn options(&self, timeout: Option<Span>) -> Options {
        let python = PythonMode::from(self.arguments.python);
        Options { disabled: self.disabled, interval: None, timeout, python, ends_tree: true }
    }

    /// Marks what is known of what came in since there were so many results and stages, and puts it in lines of JSON.
    fn ended(&mut self, results: usize, stages: usize, baseline: Option<&Baseline>) -> Vec<u8> {
        let ended = self.ruled.get_mut(results..).unwrap_or_default();
        if let Some(baseline) = baseline {
            baseline.mark(ended);
        }
        let stages = self.stages.get(stages..).unwrap_or_default();
        let findings = ended.iter().flat_map(|one| &one.findings);
        lines(|out| jsonl::pieces(stages, ended.iter().map(|one| &one.result), findings, out))
    }

    /// Judges what was saved.
    fn saved(&mut self, path: &Path, saved: &Saved) {
        let wall = saved.wall_seconds();
        self.saved_seconds = Some(self.saved_seconds.unwrap_or(0.0) + wall);
        self.started_at.get_or_insert_with(|| saved.started_at().to_owned());
        // Of several machines none is told.
        let is_first = self.files.is_empty();
        let (host, asked) = (saved.host().cloned(), saved.asked().cloned());
        if is_first {
            (self.host, self.asked) = (host, asked);
        } else {
            self.host = self.host.take().filter(|own| host.as_ref() == Some(own));
            self.asked = self.asked.take().filter(|own| asked.as_ref() == Some(own));
        }
        self.files.push((self.ruled.len(), path.display().to_string()));
        let ruled = match saved {
            Saved::Profile(report) => kept::of_report(report, &self.rules),
            Saved::Check(check) => kept::of_check(check, &self.rules),
        };
        self.keep(ruled, saved.stages(), None);
    }

    /// Keeps results, and the stages that they are of under ids that are theirs alone.
    fn keep(&mut self, mut ruled: Vec<Ruled>, stages: &[Stage], entry: Option<&str>) {
        for one in &mut ruled {
            let Some(id) = one.result.stage_id.take() else { continue };
            let Some(stage) = stages.iter().find(|stage| stage.id == id) else { continue };
            let base = entry.map_or_else(|| id.clone(), |entry| format!("{entry}/{id}"));
            let taken = |id: &str| self.stages.iter().any(|stage| stage.id == id);
            let numbered = (2..).map(|number| format!("{base}#{number}"));
            let own = std::iter::once(base.clone()).chain(numbered).find(|id| !taken(id));
            one.result.stage_id.clone_from(&own);
            self.stages.push(Stage { id: own.unwrap_or(base), ..stage.clone() });
        }
        self.ruled.extend(ruled);
    }

    /// The result so far.
    fn check(&self, plan: &Plan, ruled: &[Ruled]) -> Check {
        let results: Vec<_> = ruled.iter().map(|one| one.result.clone()).collect();
        let mut findings: Vec<Finding> = ruled.iter().flat_map(|one| one.findings.iter().cloned()).collect();
        gate::sort(&mut findings);
        let thresholds = self.rules.thresholds;
        let saved = saved_gate(&plan.work);
        let manifest = plan.manifest.as_ref().map(|manifest| plan::shown(&manifest.file));
        Check {
            schema_version: SCHEMA_VERSION.to_owned(),
            kind: Kind::Check,
            poolpick: Tool { version: env!("CARGO_PKG_VERSION").to_owned() },
            host: self.host.clone(),
            asked: self.asked.clone(),
            manifest: manifest.or_else(|| saved?.manifest.clone()),
            // Files of findings are named from where the gate ran.
            directory: saved.map_or_else(plan::directory, |saved| saved.directory.clone()),
            pipeline: self.pipeline.clone(),
            policy: self.rules.policy,
            thresholds: Thresholds { io: thresholds.io, cpu: thresholds.cpu, ipc: thresholds.ipc },
            started_at: self.started_at.clone().unwrap_or_else(now),
            wall_seconds: self.saved_seconds.unwrap_or_else(|| clock::monotonic().since(self.began).secs_f64()),
            outcome: gate::outcome(&results, &self.rules),
            findings,
            results,
            stages: self.stages.clone(),
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// What is written to memory, where nothing can go wrong.
fn lines(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = write(&mut bytes);
    debug_assert!(written.is_ok(), "{written:?}");
    bytes
}

/// How often a command ran, how long, and when.
fn ran(runs: &[Run]) -> gate::Ran {
    let wall = runs.iter().map(|run| run.timeline.wall().secs_f64()).sum();
    gate::Ran { runs: runs.len() as u32, wall_seconds: (!runs.is_empty()).then_some(wall), when: when::of_runs(runs) }
}

/// A line on the terminal while a stage runs.
struct Progress(bool);

impl Progress {
    fn show(quiet: bool, name: &str, number: usize, count: usize, run: usize) -> Progress {
        let wanted = !quiet && std::env::var_os("CI").is_none() && tty::stderr_is_foreground_terminal();
        if wanted {
            let name = crate::report::escape::terminal(name);
            // Nobody may be there to see it.
            let _ = write!(std::io::stderr(), "\r\x1b[2Kpoolpick: {name} ({number} of {count}), run {run}");
        }
        Progress(wanted)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.0 {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
