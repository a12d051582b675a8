//! What metrics are told of: a run and its stages, of a profile or of a gate alike, each stage under a name of its own.
//! Must not derive a value that the document does not hold.

use super::{outcome, outcome_of};
use crate::report::check::{Check, Outcome, StageOutcome, StageResult};
use crate::report::names::Names;
use crate::report::{Document, Executor, Report, Stage, Verdict, escape, instant};

/// Name of a pipeline that nobody named.
pub const UNNAMED: &str = "adhoc";

/// A run with its stages.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run.
    pub run: Run<'a>,
    /// Its stages; no two have the same name.
    pub stages: Vec<StageSubject<'a>>,
}

/// What is known once a run.
#[derive(Debug)]
pub struct Run<'a> {
    pub(super) version: &'a str,
    /// Seconds since 1970.
    pub end_unix_seconds: Option<f64>,
    pub(super) wall_seconds: f64,
    pub(super) stopped_seconds: Option<f64>,
    pub(super) success: Option<bool>,
    pub(super) exit_code: Option<u64>,
    /// Every outcome with how many stages had it.
    pub stages_by_outcome: Vec<(&'static str, u64)>,
    pub(super) peak_rss_bytes: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) lost_records: Option<u64>,
    pub(super) overhead_cpu_seconds: Option<f64>,
}

/// What is known once a stage.
#[derive(Debug)]
pub struct StageSubject<'a> {
    pub(super) name: String,
    pub(super) measured: Option<&'a Stage>,
    pub(super) routed: Option<bool>,
    pub(super) success: Option<bool>,
    pub(super) misrouting_cost: Option<f64>,
    pub(super) recommended: Option<Executor>,
    pub(super) declared: Option<Executor>,
    pub(super) found: Option<Executor>,
}

impl StageSubject<'_> {
    /// Its name, which no other stage has.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<'a> StageSubject<'a> {
    /// As it was measured, if it was.
    pub fn measured(&self) -> Option<&'a Stage> {
        self.measured
    }
}

impl<'a> Subject<'a> {
    /// Of a document, under the pipeline's name.
    pub fn new(document: Document<'a>, pipeline: Option<&str>) -> Subject<'a> {
        let pipeline = escape::terminal(pipeline.unwrap_or(UNNAMED)).into_owned();
        let (run, stages) = match document {
            Document::Profile(report) => (of_report(report), stages_of_report(report)),
            Document::Check(check) => (of_check(check), stages_of_check(check)),
        };
        Subject { pipeline, run, stages }
    }
}

fn of_report(report: &Report) -> Run<'_> {
    let target = &report.target;
    let exit = target.exit_code.and_then(|code| u64::try_from(code).ok());
    let killed = target.signal.and_then(|signal| u64::try_from(signal).ok()).map(|signal| signal + 128);
    Run {
        version: &report.poolpick.version,
        end_unix_seconds: end(&target.started_at, target.wall_seconds + target.stopped_seconds),
        wall_seconds: target.wall_seconds,
        stopped_seconds: Some(target.stopped_seconds),
        success: exit.or(killed).map(|status| status == 0 && !target.timed_out),
        exit_code: exit.or(killed),
        stages_by_outcome: by_outcome(report.stages.iter().map(|stage| outcome_of(stage.verdict))),
        peak_rss_bytes: report.totals.peak_rss_bytes,
        processes: report.totals.processes,
        threads: report.totals.threads,
        lost_records: Some(report.sources.lost_records),
        overhead_cpu_seconds: Some(report.sources.overhead_cpu_seconds),
    }
}

fn of_check(check: &Check) -> Run<'_> {
    Run {
        version: &check.poolpick.version,
        end_unix_seconds: end(&check.started_at, check.wall_seconds),
        wall_seconds: check.wall_seconds,
        stopped_seconds: None,
        success: Some(check.outcome == Outcome::Pass),
        exit_code: None,
        stages_by_outcome: by_outcome(check.results.iter().map(|result| result.outcome)),
        peak_rss_bytes: None,
        processes: None,
        threads: None,
        lost_records: None,
        overhead_cpu_seconds: None,
    }
}

fn end(started_at: &str, seconds: f64) -> Option<f64> {
    instant::unix_seconds(started_at).map(|start| start + seconds)
}

/// Every outcome with how many stages had it, those of nought too: a series that comes and goes cannot be watched.
fn by_outcome(outcomes: impl Iterator<Item = StageOutcome>) -> Vec<(&'static str, u64)> {
    let mut counts = [
        StageOutcome::Fits,
        StageOutcome::Misrouted,
        StageOutcome::KnownMisrouted,
        StageOutcome::Undecided,
        StageOutcome::NotJudged,
        StageOutcome::Failed,
    ]
    .map(|known| (known, 0));
    for found in outcomes {
        counts.iter_mut().filter(|(known, _)| *known == found).for_each(|(_, count)| *count += 1);
    }
    counts.iter().map(|&(known, count)| (outcome(known), count)).collect()
}

fn stages_of_report(report: &Report) -> Vec<StageSubject<'_>> {
    let mut names = Names::new(report.stages.iter().map(|stage| stage.name.as_str()));
    let stages = report.stages.iter().map(|stage| StageSubject {
        name: names.take(&stage.name, Some(&stage.id)),
        measured: Some(stage),
        routed: match stage.verdict {
            Verdict::Fits => Some(true),
            Verdict::Misrouted => Some(false),
            Verdict::Undecided | Verdict::NotJudged => None,
        },
        success: None,
        misrouting_cost: stage.misrouting_cost,
        recommended: stage.recommendation.as_ref().map(|advice| advice.executor),
        declared: stage.declared_executor,
        found: stage.runs_as.map(|runs| runs.executor),
    });
    stages.collect()
}

fn stages_of_check(check: &Check) -> Vec<StageSubject<'_>> {
    let mut names = Names::new(check.results.iter().map(|result| result.name.as_str()));
    let mut free: Vec<&Stage> = check.stages.iter().collect();
    let results = check.results.iter().map(|result| {
        let at = free.iter().position(|stage| Some(&stage.id) == result.stage_id.as_ref());
        of_result(result, at.map(|at| free.remove(at)), &mut names)
    });
    results.collect()
}

fn of_result<'a>(result: &'a StageResult, measured: Option<&'a Stage>, names: &mut Names) -> StageSubject<'a> {
    StageSubject {
        name: names.take(&result.name, result.program.as_deref().or(result.stage_id.as_deref())),
        measured,
        routed: match result.outcome {
            StageOutcome::Fits => Some(true),
            StageOutcome::Misrouted | StageOutcome::KnownMisrouted => Some(false),
            StageOutcome::Undecided | StageOutcome::NotJudged | StageOutcome::Failed => None,
        },
        success: Some(result.outcome != StageOutcome::Failed),
        misrouting_cost: result.misrouting_cost,
        recommended: result.recommended,
        declared: measured.and_then(|stage| stage.declared_executor),
        found: measured.and_then(|stage| stage.runs_as).map(|runs| runs.executor),
    }
}
