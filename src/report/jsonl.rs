//! One JSON object a line, each with its tag `event` first: the run, its stages, a gate's results, the findings, the
//! summary. For tools that read line by line; a whole object is `json`. Must not say anything that JSON does not.

use super::check::{Check, Finding, Outcome, Policy, StageResult};
use super::findings::findings;
use super::metrics::subject::Subject;
use super::{Document, Host, Kind, Report, Sources, Stage, Target, Thresholds, Tool, Totals};
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
}

/// What a gate's report holds besides its stages, results and findings.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Gate<'a> {
    schema_version: &'a str,
    kind: Kind,
    poolpick: &'a Tool,
    host: Option<&'a Host>,
    manifest: Option<&'a str>,
    directory: Option<&'a str>,
    policy: Policy,
    thresholds: &'a Thresholds,
    started_at: &'a str,
    wall_seconds: f64,
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
}

/// Writes the lines.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    let findings = findings(document);
    let (kind, outcome) = match document {
        Document::Profile(report) => (report.kind, None),
        Document::Check(check) => (check.kind, Some(check.outcome)),
    };
    line(&first(document), out)?;
    let (stages, results) = match document {
        Document::Profile(report) => (&report.stages, &[][..]),
        Document::Check(check) => (&check.stages, check.results.as_slice()),
    };
    stages.iter().try_for_each(|stage| line(&Event::Stage(stage), out))?;
    results.iter().try_for_each(|result| line(&Event::Result(result), out))?;
    findings.iter().try_for_each(|finding| line(&Event::Finding(finding), out))?;
    let stages = Subject::new(document, None).run.stages_by_outcome.into_iter().collect();
    line(&Event::Summary(Summary { kind, outcome, stages, findings: findings.len() }), out)
}

fn first(document: Document<'_>) -> Event<'_> {
    match document {
        Document::Profile(Report {
            schema_version, kind, poolpick, host, target, sources, totals, thresholds, ..
        }) => {
            Event::Profile(Profile { schema_version, kind: *kind, poolpick, host, target, sources, totals, thresholds })
        }
        Document::Check(Check {
            schema_version,
            kind,
            poolpick,
            host,
            manifest,
            directory,
            policy,
            thresholds,
            started_at,
            wall_seconds,
            ..
        }) => Event::Check(Gate {
            schema_version,
            kind: *kind,
            poolpick,
            host: host.as_ref(),
            manifest: manifest.as_deref(),
            directory: directory.as_deref(),
            policy: *policy,
            thresholds,
            started_at,
            wall_seconds: *wall_seconds,
        }),
    }
}

fn line(event: &Event<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, event).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
