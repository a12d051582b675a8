//! One stage through the gate: what is declared of it, what was measured, and what follows: a result, findings, and the
//! edits that would mend them. Must not run or read anything.

use super::rule::{Remedy, Ruling, rule};
use super::{Code, Rules, current, warnings, wording};
use crate::report::check::{Finding, Level, StageOutcome, StageResult};
use crate::report::{Confidence, Executor, Stage};
use crate::verdict::too_few_workers;

/// A stage is misrouted on the word of so many runs, where they can be had.
const CONFIRMED: u32 = 2;

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it is shown.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

/// What is declared of a stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Declared {
    /// What the result calls it.
    pub name: String,
    /// The program of the manifest that it was found in.
    pub program: Option<String>,
    /// The table of the manifest that declares it, as `stages.parse`.
    pub table: Option<String>,
    /// The executor that production runs it under.
    pub executor: Option<Executor>,
    /// How many workers production gives it.
    pub workers: Option<u32>,
    /// Where it is declared.
    pub place: Option<Place>,
    /// Where its executor is.
    pub executor_place: Option<Place>,
    /// Where its workers are.
    pub workers_place: Option<Place>,
    /// Whether there must be a verdict on it: it is declared by itself, and was not merely found.
    pub required: bool,
}

/// How its command ran.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ran {
    /// How often.
    pub runs: u32,
    /// All runs together.
    pub wall_seconds: Option<f64>,
    /// When; `None` where it was not run, or a saved result does not tell.
    pub when: Option<When>,
}

/// When a command ran, as RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// The start of the first run.
    pub started_at: String,
    /// That of the last one, from which the instants of its tasks count.
    pub last_run_at: String,
    /// The end of the last one.
    pub ended_at: String,
}

/// Why there is no measurement to judge.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
    /// It did not end within so many seconds.
    TimedOut(f64),
    /// It could not be started, for this reason.
    NotStarted(String),
    /// The budget was used up before its verdict.
    NoBudget,
    /// It ran, and no stage of this name was in it.
    NotSeen,
}

/// What the gate makes of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruled {
    /// The result.
    pub result: StageResult,
    /// What is wrong or worth knowing.
    pub findings: Vec<Finding>,
    /// Edits that would mend it.
    pub mends: Vec<Mend>,
    /// Whether further runs could decide what is open.
    pub wants_more: bool,
}

/// An edit of what is declared of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// The stage, as named in the results.
    pub stage: String,
    /// The program whose expectation it is.
    pub program: Option<String>,
    /// What is set.
    pub key: MendKey,
    /// To what.
    pub value: MendValue,
}

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MendKey {
    /// The executor.
    Executor,
    /// The number of workers.
    Workers,
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MendValue {
    /// An executor.
    Executor(Executor),
    /// A number.
    Number(u32),
}

/// Judges a stage that was measured.
pub fn rule_on(stage: &Stage, declared: &Declared, ran: &Ran, rules: &Rules) -> Ruled {
    let now = current(stage, declared.executor);
    let ruling = rule(stage, now, rules);
    let wants_more = declared.required && matches!(&ruling, Ruling::TooLittle)
        || matches!(&ruling, Ruling::Undecided(open) if matches!(open.remedy, Remedy::MoreRuns(_) | Remedy::MoreReadings));
    // One run on a busy machine can mislead: nobody is accused on the word of one.
    let wants_more = wants_more || ran.runs < CONFIRMED && matches!(&ruling, Ruling::Misrouted { .. });
    let mut found = Found { declared, findings: Vec::new() };
    let mut mends = Vec::new();
    let outcome = match &ruling {
        Ruling::Fits => StageOutcome::Fits,
        Ruling::Misrouted { wanted, measured, limit, .. } => {
            let (place, workers) = (declared.executor_place.as_ref(), workers_for(stage, *wanted));
            let message = wording::misrouted(stage, declared, now, &ruling);
            let fix = wording::reroute(declared, *wanted, workers);
            found.add(Code::Misrouted, Level::Error, message, Some((*measured, *limit)), place, fix);
            mends.extend(reroute(declared, *wanted, workers));
            StageOutcome::Misrouted
        }
        Ruling::Undecided(open) => {
            let level = if rules.undecided_fails { Level::Error } else { Level::Warning };
            let place = declared.executor_place.as_ref();
            found.add(Code::Undecided, level, open.why.clone(), None, place, wording::remedy(open.remedy));
            StageOutcome::Undecided
        }
        Ruling::TooLittle if declared.required => {
            let (message, fix) = wording::too_little(stage);
            found.add(Code::InsufficientData, Level::Error, message, None, None, Some(fix));
            StageOutcome::Failed
        }
        Ruling::TooLittle | Ruling::NotJudged(_) => StageOutcome::NotJudged,
        Ruling::NoExecutor => {
            let message = "no executor is declared for it, and none was found".to_owned();
            found.add(Code::NotJudged, Level::Warning, message, None, None, Some(wording::declare(declared)));
            StageOutcome::NotJudged
        }
    };
    if outcome == StageOutcome::Fits {
        mends.extend(found.too_few_workers(stage, now));
    }
    found.differs(stage);
    let mut findings = found.findings;
    findings.extend(warnings(stage, &declared.name, declared.place.as_ref()));
    let result = StageResult {
        name: declared.name.clone(),
        stage_id: Some(stage.id.clone()),
        program: declared.program.clone(),
        outcome,
        message: wording::outcome(&ruling, now, stage) + &wording::measured_as(declared, stage),
        executor: now,
        declared_workers: declared.workers,
        recommended: match ruling {
            Ruling::Misrouted { wanted, .. } => Some(wanted),
            _ => stage.recommendation.as_ref().map(|advice| advice.executor),
        },
        misrouting_cost: match ruling {
            Ruling::Misrouted { cost, .. } => cost,
            _ => None,
        },
        runs: ran.runs,
        wall_seconds: ran.wall_seconds,
        started_at: ran.when.as_ref().map(|when| when.started_at.clone()),
        last_run_at: ran.when.as_ref().map(|when| when.last_run_at.clone()),
        ended_at: ran.when.as_ref().map(|when| when.ended_at.clone()),
        costs: None,
        output: None,
    };
    Ruled { result, findings, mends, wants_more }
}

/// A stage that cannot be judged; `output` is the end of what its command wrote.
pub fn failed(declared: &Declared, ran: &Ran, failure: &Failure, output: Option<String>) -> Ruled {
    let code = match failure {
        Failure::TimedOut(_) | Failure::NoBudget => Code::TimedOut,
        Failure::NotSeen => Code::NotSeen,
        _ => Code::StageFailed,
    };
    let message = wording::failure(failure);
    let mut found = Found { declared, findings: Vec::new() };
    found.add(code, Level::Error, message.clone(), None, None, wording::after(failure));
    let result = StageResult {
        name: declared.name.clone(),
        stage_id: None,
        program: declared.program.clone(),
        outcome: StageOutcome::Failed,
        message,
        executor: declared.executor,
        declared_workers: declared.workers,
        recommended: None,
        misrouting_cost: None,
        runs: ran.runs,
        wall_seconds: ran.wall_seconds,
        started_at: ran.when.as_ref().map(|when| when.started_at.clone()),
        last_run_at: ran.when.as_ref().map(|when| when.last_run_at.clone()),
        ended_at: ran.when.as_ref().map(|when| when.ended_at.clone()),
        costs: None,
        output,
    };
    Ruled { result, findings: found.findings, mends: Vec::new(), wants_more: false }
}

/// A stage that was expected, and was not in what ran.
pub fn missing(declared: &Declared, ran: &Ran) -> Ruled {
    failed(declared, ran, &Failure::NotSeen, None)
}

/// The workers that are recommended under this executor.
fn workers_for(stage: &Stage, executor: Executor) -> Option<u32> {
    let advised = stage.recommendation.as_ref().filter(|advice| advice.executor == executor);
    let predicted = stage.predictions.iter().find(|one| one.executor == executor).map(|one| one.workers);
    advised.and_then(|advice| advice.workers).or(predicted).filter(|_| executor != Executor::Serial)
}

fn reroute(declared: &Declared, wanted: Executor, workers: Option<u32>) -> Vec<Mend> {
    let mend = |key, value| Mend { stage: declared.name.clone(), program: declared.program.clone(), key, value };
    let mut mends = Vec::new();
    if wanted == Executor::Split || declared.executor_place.is_none() {
        return mends;
    }
    mends.push(mend(MendKey::Executor, MendValue::Executor(wanted)));
    if declared.workers.is_some() {
        // What runs serially has one worker.
        mends.push(mend(MendKey::Workers, MendValue::Number(workers.unwrap_or(1))));
    }
    mends
}

/// Findings of one stage.
struct Found<'a> {
    declared: &'a Declared,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(
        &mut self,
        code: Code,
        level: Level,
        message: String,
        values: Option<(f64, f64)>,
        place: Option<&Place>,
        fix: Option<String>,
    ) {
        let place = place.or(self.declared.place.as_ref());
        self.findings.push(Finding {
            code: code.word().to_owned(),
            level,
            stage: Some(self.declared.name.clone()),
            message,
            measured: values.map(|(measured, _)| measured),
            limit: values.map(|(_, limit)| limit),
            file: place.map(|place| place.file.clone()),
            line: place.map(|place| place.line),
            fix,
            known: false,
        });
    }

    /// Fewer than half of the workers that are recommended, where there is a pool.
    fn too_few_workers(&mut self, stage: &Stage, now: Option<Executor>) -> Option<Mend> {
        let advice = stage.recommendation.as_ref().filter(|advice| advice.confidence >= Confidence::Medium)?;
        let wanted = advice.workers.filter(|_| now == Some(advice.executor))?;
        let found = stage.runs_as.filter(|runs| Some(runs.executor) == now && runs.workers > 1);
        let has = self.declared.workers.or(found.map(|runs| runs.workers))?;
        if !too_few_workers(has, wanted, advice.speedup) || now == Some(Executor::Serial) {
            return None;
        }
        let message = wording::too_few_workers(stage, self.declared, has, wanted);
        let place = self.declared.workers_place.clone();
        let fix = Some(wording::more_workers(self.declared, now, wanted));
        let values = Some((f64::from(has), f64::from(wanted)));
        self.add(Code::WorkersTooFew, Level::Warning, message, values, place.as_ref(), fix);
        place.map(|_| Mend {
            stage: self.declared.name.clone(),
            program: None,
            key: MendKey::Workers,
            value: MendValue::Number(wanted),
        })
    }

    /// The manifest says one executor, the run shows another pool.
    fn differs(&mut self, stage: &Stage) {
        let (Some(said), Some(runs)) = (self.declared.executor, stage.runs_as) else { return };
        // Run alone, a stage runs serially, whatever production does.
        if said == runs.executor || runs.executor == Executor::Serial {
            return;
        }
        let (message, fix) = wording::differs(said, runs.executor);
        let place = self.declared.executor_place.clone();
        self.add(Code::ExecutorDiffers, Level::Warning, message, None, place.as_ref(), Some(fix));
    }
}
