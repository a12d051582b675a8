//! One JSON object a line, each with its tag `event` first: the run, its stages, a gate's results, the findings, the
//! summary. For tools that read line by line; a whole object is `json`. A gate's lines can be had as its stages end, piece
//! by piece: [`begin`], [`pieces`], [`end`]. Must not say anything that JSON does not.

use super::check::{Check, Finding, Outcome, Policy, StageResult};
use super::findings::findings;
use super::metrics::subject::Subject;
use super::{Asked, Document, Host, Kind, Report, Sources, Stage, Target, Thresholds, Tool, Totals};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// A line.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    /// First: of a profile.
    #[serde(rename = "run")]
    Profile(Profile<'a>),
    /// First: of a gate.
    #[serde(rename = "run")]
    Check(Gate<'a>),
    /// A stage, as in the report.
    Stage(&'a Stage),
    /// What a gate made of a stage, as in its report.
    Result(&'a StageResult),
    /// A finding, as in a gate's report.
    Finding(&'a Finding),
    /// Last.
    Summary(Summary<'a>),
}

/// What a profile's report holds besides its stages.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Profile<'a> {
    schema_version: &'a str,
    kind: Kind,
    poolpick: &'a Tool,
    host: &'a Host,
    target: &'a Target,
    sources: &'a Sources,
    totals: &'a Totals,
    thresholds: &'a Thresholds,
    asked: Option<&'a Asked>,
}

/// What a gate's report holds besides its stages, results and findings.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Gate<'a> {
    schema_version: &'a str,
    kind: Kind,
    poolpick: &'a Tool,
    /// `null` where no stage was run, and in lines that were written as stages ended: there the summary tells it.
    host: Option<&'a Host>,
    asked: Option<&'a Asked>,
    manifest: Option<&'a str>,
    directory: Option<&'a str>,
    pipeline: Option<&'a str>,
    policy: Policy,
    thresholds: &'a Thresholds,
    started_at: &'a str,
    /// `null` in lines that were written as stages ended: there the summary tells it.
    wall_seconds: Option<f64>,
}

/// What to look at first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Summary<'a> {
    kind: Kind,
    /// The gate's result; `null` for a profile.
    outcome: Option<Outcome>,
    /// How many stages had each outcome.
    stages: BTreeMap<&'a str, u64>,
    /// How many findings there are.
    findings: usize,
    /// The machine a gate ran on, `null` where it ran nothing; of a profile `null`: its first line tells.
    host: Option<&'a Host>,
    /// Time from a gate's first start to its last end, in seconds; of a profile `null`: its totals tell.
    wall_seconds: Option<f64>,
}

/// Writes the lines of a whole document.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    match document {
        Document::Profile(report) => {
            let findings = findings(document);
            line(&Event::Profile(of_profile(report)), out)?;
            pieces(&report.stages, [], findings.iter(), out)?;
            line(
                &Event::Summary(Summary {
                    kind: report.kind,
                    outcome: None,
                    stages: by_outcome(document),
                    findings: findings.len(),
                    host: None,
                    wall_seconds: None,
                }),
                out,
            )
        }
        Document::Check(check) => {
            let whole = Gate { host: check.host.as_ref(), wall_seconds: Some(check.wall_seconds), ..of_check(check) };
            line(&Event::Check(whole), out)?;
            pieces(&check.stages, &check.results, &check.findings, out)?;
            end(check, out)
        }
    }
}

/// Writes the first line of a gate that has run nothing yet: whatever only its end can tell is `null`.
///
/// # Errors
/// Only those of `out`.
pub fn begin(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    line(&Event::Check(of_check(check)), out)
}

/// Writes the lines of what has ended: stages, what the gate made of them, and what it found in them.
///
/// # Errors
/// Only those of `out`.
pub fn pieces<'a>(
    stages: &'a [Stage],
    results: impl IntoIterator<Item = &'a StageResult>,
    findings: impl IntoIterator<Item = &'a Finding>,
    out: &mut dyn Write,
) -> io::Result<()> {
    stages.iter().try_for_each(|stage| line(&Event::Stage(stage), out))?;
    results.into_iter().try_for_each(|result| line(&Event::Result(result), out))?;
    findings.into_iter().try_for_each(|finding| line(&Event::Finding(finding), out))
}

/// Writes the last line of a gate: without it, the lines are not whole.
///
/// # Errors
/// Only those of `out`.
pub fn end(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    let Check { kind, outcome, findings, host, wall_seconds, .. } = check;
    let last = Summary {
        kind: *kind,
        outcome: Some(*outcome),
        stages: by_outcome(Document::Check(check)),
        findings: findings.len(),
        host: host.as_ref(),
        wall_seconds: Some(*wall_seconds),
    };
    line(&Event::Summary(last), out)
}

/// How many stages had each outcome.
fn by_outcome(document: Document<'_>) -> BTreeMap<&str, u64> {
    Subject::new(document, None).run.stages_by_outcome.into_iter().collect()
}

fn of_profile(report: &Report) -> Profile<'_> {
    let Report { schema_version, kind, poolpick, host, target, sources, totals, thresholds, asked, .. } = report;
    let asked = asked.as_ref();
    Profile { schema_version, kind: *kind, poolpick, host, target, sources, totals, thresholds, asked }
}

/// What a gate knows before it has run anything.
fn of_check(check: &Check) -> Gate<'_> {
    let Check {
        schema_version,
        kind,
        poolpick,
        manifest,
        directory,
        pipeline,
        policy,
        thresholds,
        started_at,
        asked,
        ..
    } = check;
    Gate {
        schema_version,
        kind: *kind,
        poolpick,
        host: None,
        asked: asked.as_ref(),
        manifest: manifest.as_deref(),
        directory: directory.as_deref(),
        pipeline: pipeline.as_deref(),
        policy: *policy,
        thresholds,
        started_at,
        wall_seconds: None,
    }
}

fn line(event: &Event<'_>, out: &mut dyn Write) -> io::Result<()> {
    super::json::line(event, out)
}
