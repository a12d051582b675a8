//! JUnit XML: a stage is a test case. Misrouted is a failure, a command that failed is an error, what could not be judged
//! is skipped. Every message stands in the text of its element too, since some readers show only that. Must not write a
//! case twice under one name, or readers drop one.

use super::Code;
use super::check::{Check, Finding, Level, StageOutcome};
use super::findings::{findings, place, with_fix};
use super::metrics::outcome_of;
use super::metrics::subject::UNNAMED;
use super::names::Names;
use super::{Document, Origin, Report, escape};
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};
use std::io::{self, Write};
use std::time::Duration;

/// The case of a profiled command as a whole, and of a gate's findings that are about no stage.
const WHOLE: &str = "(command)";

/// Writes the report.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let pipeline = escape::terminal(origin.pipeline.as_deref().unwrap_or(UNNAMED)).into_owned();
    let (version, wall, started_at) = match document {
        Document::Profile(report) => {
            (&report.poolpick.version, report.target.wall_seconds, report.target.started_at.as_str())
        }
        Document::Check(check) => (&check.poolpick.version, check.wall_seconds, check.started_at.as_str()),
    };
    let mut suite = TestSuite::new(pipeline.as_str());
    suite.add_property(Property::new("poolpick.version", escape::terminal(version).as_ref()));
    suite.time = duration(Some(wall));
    let findings = findings(document);
    let cases = match document {
        Document::Profile(report) => of_profile(report, &findings),
        Document::Check(check) => of_check(check, document, &findings),
    };
    for mut case in cases {
        case.set_classname(format!("poolpick.{pipeline}"));
        suite.add_test_case(case);
    }
    let mut report = quick_junit::Report::new("poolpick");
    report.timestamp = started_at.parse().ok();
    report.time = duration(Some(wall));
    report.add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}

fn of_profile(report: &Report, findings: &[Finding]) -> Vec<TestCase> {
    let mut names = Names::new(report.stages.iter().map(|stage| stage.name.as_str()).chain([WHOLE]));
    let about_all: Vec<&Finding> = findings.iter().filter(|finding| finding.stage.is_none()).collect();
    let ending = match about_all.first() {
        Some(finding) => not_good(NonSuccessKind::Error, &finding.code, &finding.message),
        None => TestCaseStatus::success(),
    };
    let whole = case(names.take(WHOLE, None), ending, Some(report.target.wall_seconds), &[]);
    let stages = report.stages.iter().map(|stage| {
        let own: Vec<&Finding> = findings.iter().filter(|f| f.stage.as_deref() == Some(stage.name.as_str())).collect();
        let reason = stage.verdict_reason.as_deref().unwrap_or("there was nothing to compare with");
        let status = status(outcome_of(stage.verdict), reason, &own);
        case(names.take(&stage.name, Some(&stage.id)), status, stage.time.wall_seconds, &own)
    });
    std::iter::once(whole).chain(stages.collect::<Vec<_>>()).collect()
}

fn of_check(check: &Check, document: Document<'_>, findings: &[Finding]) -> Vec<TestCase> {
    let mut names = Names::new(check.results.iter().map(|result| result.name.as_str()).chain([WHOLE]));
    let mut cases = Vec::new();
    for result in &check.results {
        let own: Vec<&Finding> = findings.iter().filter(|f| f.stage.as_deref() == Some(result.name.as_str())).collect();
        let status = status(result.outcome, &result.message, &own);
        let apart = result.program.as_deref().or(result.stage_id.as_deref());
        let mut case = case(names.take(&result.name, apart), status, result.wall_seconds, &own);
        let place = own.iter().find(|finding| finding.file.is_some()).and_then(|finding| place(document, finding));
        if let Some(place) = place {
            case.extra.insert("file".into(), escape::terminal(&place.file).into_owned().into());
            case.extra.extend(place.line.map(|line| ("line".into(), line.to_string().into())));
        }
        if let Some(output) = &result.output {
            case.set_system_err(lines(output));
        }
        cases.push(case);
    }
    let known = |finding: &&Finding| {
        finding.stage.as_ref().is_some_and(|stage| check.results.iter().any(|result| result.name == *stage))
    };
    let elsewhere: Vec<&Finding> = findings.iter().filter(|finding| !known(finding)).collect();
    if let Some(worst) = elsewhere.iter().find(|finding| finding.level == Level::Error) {
        let status = not_good(NonSuccessKind::Error, &worst.code, &with_fix(worst));
        cases.push(case(names.take(WHOLE, None), status, None, &elsewhere));
    }
    cases
}

fn case(name: String, status: TestCaseStatus, seconds: Option<f64>, findings: &[&Finding]) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.time = duration(seconds);
    let told: Vec<String> = findings
        .iter()
        .map(|finding| escape::terminal(&format!("{}: {}", finding.code, with_fix(finding))).into_owned())
        .collect();
    if !told.is_empty() {
        case.set_system_out(told.join("\n"));
    }
    case
}

/// The status of a stage, by its outcome and by whether its findings let it pass.
fn status(outcome: StageOutcome, message: &str, findings: &[&Finding]) -> TestCaseStatus {
    let error = findings.iter().find(|finding| finding.level == Level::Error);
    let told = error.map_or_else(|| message.to_owned(), |finding| with_fix(finding));
    let code = error.map(|finding| finding.code.as_str());
    match outcome {
        StageOutcome::Failed => not_good(NonSuccessKind::Error, code.unwrap_or(Code::StageFailed.word()), &told),
        StageOutcome::Misrouted => not_good(NonSuccessKind::Failure, code.unwrap_or(Code::Misrouted.word()), &told),
        _ if error.is_some() => not_good(NonSuccessKind::Failure, code.unwrap_or(Code::Undecided.word()), &told),
        StageOutcome::Fits => TestCaseStatus::success(),
        StageOutcome::KnownMisrouted | StageOutcome::Undecided | StageOutcome::NotJudged => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(escape::terminal(&told).as_ref());
            status
        }
    }
}

fn not_good(kind: NonSuccessKind, code: &str, message: &str) -> TestCaseStatus {
    let (code, message) = (escape::terminal(code), escape::terminal(message));
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(code.as_ref()).set_message(message.as_ref()).set_description(format!("{code}: {message}"));
    status
}

/// Output of a command, line for line, each made visible.
fn lines(output: &str) -> String {
    output.lines().map(|line| escape::terminal(line).into_owned()).collect::<Vec<_>>().join("\n")
}

fn duration(seconds: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds?).ok()
}
