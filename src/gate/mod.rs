//! The gate: which verdicts pass. Judges stages of the machine form, so that a live run and a saved report go through the
//! same rules. Pure; every number that decides is a rule's (`rule`), every sentence is in `wording`.
//!
//! | a stage | outcome | finding |
//! | --- | --- | --- |
//! | its command failed, was ended, or did not show it | failed: no verdict | error |
//! | it is declared, and too little of it was seen | failed: no verdict | error |
//! | neither declared nor found under an executor | not judged | warning |
//! | its executor reaches `1 - margin` of the best, or is the best | fits | none |
//! | it does not, and the intervals are apart, and the evidence is whole | misrouted | error |
//! | it does not, and the rest is open | undecided | warning; error under `undecided = "fail"` |

mod baseline;
mod compare;
mod rule;
mod stage;
mod wording;

pub use crate::report::Code;
pub use baseline::{Baseline, Known, VERSION as BASELINE_VERSION};
pub use compare::{RUNS_DIFFER, compare};
pub use rule::{Open, Remedy, Ruling, rule};
pub use stage::{Declared, Failure, Mend, MendKey, MendValue, Place, Ran, Ruled, When, failed, missing, rule_on};

use crate::report::check::{Finding, Level, Outcome, Policy, StageOutcome, StageResult};
use crate::report::{Executor, Stage, StageKind};
use crate::verdict::{FITTING_SHARE, Thresholds};

/// What the gate goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// What decides.
    pub policy: Policy,
    /// How far below the best executor's throughput the current one's may be, 0 to below 1.
    pub margin: f64,
    /// Whether a stage that is undecided has no verdict; otherwise it passes with a warning.
    pub undecided_fails: bool,
    /// Thresholds of the plain rule.
    pub thresholds: Thresholds,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            policy: Policy::Evidence,
            margin: 1.0 - FITTING_SHARE,
            undecided_fails: false,
            thresholds: Thresholds::default(),
        }
    }
}

/// The gate's result over all stages. No verdict outranks misrouted: that is said only of a whole result.
pub fn outcome(results: &[StageResult], rules: &Rules) -> Outcome {
    let any = |wanted: StageOutcome| results.iter().any(|result| result.outcome == wanted);
    if results.is_empty() {
        Outcome::NothingSelected
    } else if any(StageOutcome::Failed)
        || rules.undecided_fails && any(StageOutcome::Undecided)
        // A gate that judged nothing must not look as if all were well.
        || results.iter().all(|result| result.outcome == StageOutcome::NotJudged)
    {
        Outcome::NoVerdict
    } else if any(StageOutcome::Misrouted) {
        Outcome::Misrouted
    } else {
        Outcome::Pass
    }
}

/// Findings worst first; within a level in the order of the stages.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| (finding.known, std::cmp::Reverse(finding.level)));
}

/// Whether it is a stage that an executor runs, so that a program is judged by it.
pub fn is_found(stage: &Stage) -> bool {
    let inside = matches!(stage.kind, StageKind::Function | StageKind::Coroutine | StageKind::Mark);
    inside || stage.runs_as.is_some() || stage.declared_executor.is_some()
}

/// The stage that stands for a command as a whole: the busiest one inside it, or else its busiest program.
pub fn main_stage(stages: &[Stage]) -> Option<&Stage> {
    let inside = |stage: &&Stage| matches!(stage.kind, StageKind::Function | StageKind::Coroutine | StageKind::Mark);
    stages.iter().find(inside).or_else(|| stages.first())
}

/// The stage of this name: as it was named, or as `a:b` for `a.b`.
pub fn named<'a>(stages: &'a [Stage], name: &str) -> Option<&'a Stage> {
    let dotted = |name: &str| name.replace(':', ".");
    let own = |stage: &Stage| stage.name.split(" (").next().unwrap_or_default().to_owned();
    let is = |stage: &&Stage| stage.name == name || dotted(&own(stage)) == dotted(name);
    // A name that is the end of a longer one is taken where only one is.
    let ends = |stage: &&Stage| dotted(&own(stage)).ends_with(&format!(".{}", dotted(name)));
    stages.iter().find(is).or_else(|| {
        let mut longer = stages.iter().filter(ends);
        longer.next().filter(|_| longer.next().is_none())
    })
}

/// The executor that it runs under, as far as is known: declared, or else found.
pub fn current(stage: &Stage, declared: Option<Executor>) -> Option<Executor> {
    declared.or(stage.declared_executor).or(stage.runs_as.map(|runs| runs.executor))
}

/// Warnings of a stage whatever its executor, as findings.
pub fn warnings(stage: &Stage, name: &str, place: Option<&Place>) -> Vec<Finding> {
    let finding = |warning: &crate::report::Reason| Finding {
        code: warning.code.clone(),
        level: Level::Warning,
        stage: Some(name.to_owned()),
        message: warning.text.clone(),
        measured: None,
        limit: None,
        file: place.map(|place| place.file.clone()),
        line: place.map(|place| place.line),
        fix: None,
        known: false,
    };
    stage.warnings.iter().map(finding).collect()
}
