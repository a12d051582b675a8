//! What was measured before: saved reports, and results of a gate, judged again by the rules of this check. Must not run
//! anything.

use super::subject::Subject;
use super::when;
use crate::gate::{self, Declared, Place, Ran, Ruled, Rules};
use crate::report::check::{Check, Level, StageOutcome, StageResult};
use crate::report::{Costs, Report, Stage};
use std::collections::BTreeMap;

/// What the gate makes of a saved report.
pub fn of_report(report: &Report, rules: &Rules) -> Vec<Ruled> {
    let target = &report.target;
    let (name, when) = (target.argv.join(" "), when::of_report(report));
    let ran = Ran { runs: target.runs, wall_seconds: Some(target.wall_seconds), when };
    let failure = match (target.timed_out, target.exit_code, target.signal) {
        (true, ..) => Some(gate::Failure::TimedOut(target.wall_seconds)),
        (_, Some(0), _) => None,
        (_, Some(status), _) => Some(gate::Failure::Exited(status)),
        (_, None, signal) => signal.map(gate::Failure::Killed),
    };
    if let Some(failure) = failure {
        let declared = Declared { name, ..Declared::default() };
        return vec![gate::failed(&declared, &ran, &failure, None)];
    }
    let subject = Subject::Found { name, program: None, place: None, expect: Vec::new() };
    with_costs(subject.ruled(report, &ran, rules), report.costs)
}

/// The same with what dispatch cost in its run: without it nobody can judge it again for another machine.
pub fn with_costs(mut ruled: Vec<Ruled>, costs: Option<Costs>) -> Vec<Ruled> {
    ruled.iter_mut().filter(|one| one.result.stage_id.is_some()).for_each(|one| one.result.costs = costs);
    ruled
}

/// What it makes of a result of its own: each stage again, and what had no measurement as it was.
pub fn of_check(check: &Check, rules: &Rules) -> Vec<Ruled> {
    let measured = |result: &StageResult| {
        let id = result.stage_id.as_ref()?;
        check.stages.iter().find(|stage| stage.id == *id)
    };
    check
        .results
        .iter()
        .map(|result| match measured(result) {
            Some(stage) => {
                let when = when::of_result(result);
                let ran = Ran { runs: result.runs, wall_seconds: result.wall_seconds, when };
                let mut ruled = gate::rule_on(stage, &declared(check, result, stage), &ran, rules);
                ruled.result.costs = result.costs;
                ruled
            }
            None => unmeasured(check, result),
        })
        .collect()
}

/// What was declared of it, as far as the result tells.
fn declared(check: &Check, result: &StageResult, stage: &Stage) -> Declared {
    let found = stage.runs_as.map(|runs| runs.executor);
    let place = findings(check, result).find_map(|finding| Some((finding.file.clone()?, finding.line?)));
    Declared {
        name: result.name.clone(),
        program: result.program.clone(),
        executor: stage.declared_executor.or(result.executor.filter(|executor| found != Some(*executor))),
        workers: result.declared_workers,
        place: place.map(|(file, line)| Place { file, line }),
        required: result.outcome == StageOutcome::Failed || check.manifest.is_some() && result.program.is_none(),
        ..Declared::default()
    }
}

fn findings<'a>(check: &'a Check, result: &'a StageResult) -> impl Iterator<Item = &'a crate::report::check::Finding> {
    check.findings.iter().filter(|finding| finding.stage.as_ref() == Some(&result.name))
}

/// A stage whose command failed, or that was not seen: no rule changes that.
fn unmeasured(check: &Check, result: &StageResult) -> Ruled {
    let mut findings: Vec<_> =
        findings(check, result).filter(|finding| finding.level == Level::Error).cloned().collect();
    findings.iter_mut().for_each(|finding| finding.known = false);
    let result = StageResult { stage_id: None, ..result.clone() };
    Ruled { result, findings, mends: Vec::new(), wants_more: false }
}

/// Adds its file to the name of each stage whose name is in several files. `files`: each with where its results begin.
pub fn tell_apart(ruled: &mut [Ruled], files: &[(usize, String)]) {
    let file_of = |index: usize| files.iter().rev().find(|(begin, _)| *begin <= index).map(|(_, file)| file.clone());
    let mut holders: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (index, one) in ruled.iter().enumerate() {
        let of_name = holders.entry(one.result.name.clone()).or_default();
        let file = file_of(index);
        if !of_name.contains(&file) {
            of_name.push(file);
        }
    }
    for (index, one) in ruled.iter_mut().enumerate() {
        let Some(file) = file_of(index) else { continue };
        if holders.get(&one.result.name).is_some_and(|files| files.len() > 1) {
            let name = format!("{} ({file})", one.result.name);
            for finding in &mut one.findings {
                finding.stage = Some(name.clone());
            }
            one.result.name = name;
        }
    }
}
