//! Does the executor that a stage runs under fit? Misrouted is said only where the evidence carries it.
//!
//! | program | runs under | evidence | verdict |
//! | --- | --- | --- | --- |
//! | any | not known | | not judged |
//! | any | any | class unknown | not judged |
//! | any | any | it feeds a pool of its own workers | not judged: they are |
//! | any | the recommended one | high or medium confidence | fits |
//! | other | thread, process, asyncio | a program is in its own process already | fits: all drive it as well |
//! | other | serial | threads' bound over serial, both ends of the score, above 1/0.85 | misrouted |
//! | other | pool | already parallel | undecided: no faster, perhaps slower |
//! | Python program | any | another executor than recommended | undecided: lock or payload not known |
//! | stage in Python | any | predicted under 85 % of the recommended one, intervals apart | misrouted |

use super::classify::{classify, phases_by_class};
use super::decide::decide;
use super::diagnose::{Warning, diagnose};
use super::recommend::{Confidence, Recommendation, recommend};
use super::{Capacity, Class, Executor, Payload, Reason, Thresholds};
use crate::laws::thread_of_children_bound;
use crate::predict::{Costs, Prediction};
use crate::stages::{Phase, Stage};
use crate::trace::RunsUnder;
use crate::units::Estimate;

/// A current executor below this share of the recommended one's throughput is misrouted.
pub const FITTING_SHARE: f64 = 0.85;

/// Why there is no yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// One run of a command does not show what production runs it under.
    NoExecutor,
    /// The evidence is too thin for a class.
    ThinEvidence,
    /// It hands work to a pool of its own workers, which are judged instead.
    FeedsPool,
    /// It is what a program did outside of its stages.
    OutsideStages,
    /// What a process pool would have to move was not measured.
    PayloadUnknown,
    /// Nothing predicts the executor that it runs under.
    NoPrediction,
    /// Whether threads would contend for the interpreter lock was not measured.
    GilUnknown,
    /// The difference is within what the evidence leaves open.
    TooClose,
    /// It uses the cores itself; a pool makes it no faster.
    AlreadyParallel,
}

/// Whether the executor fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It does.
    Fits,
    /// It does not: the recommended one has `cost` times its throughput.
    Misrouted {
        /// Recommended throughput over the current one.
        cost: f64,
    },
    /// The evidence does not decide it.
    Undecided(Why),
    /// There is nothing to compare, or no evidence.
    NotJudged(Why),
}

/// All that is said of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Its class.
    pub class: Class,
    /// Its phases, where it has several classes.
    pub phases: Vec<(Phase, Class)>,
    /// What the thresholds alone say.
    pub rule: Option<Executor>,
    /// What the evidence says.
    pub recommendation: Option<Recommendation>,
    /// What each executor would do.
    pub predictions: Vec<Prediction>,
    /// The executor that it was found to run under.
    pub found: Option<Executor>,
    /// What is wrong with it whatever its executor.
    pub warnings: Vec<Warning>,
    /// Whether the executor fits.
    pub outcome: Outcome,
}

/// Judges a stage. `declared`: the executor that the user says production runs it under; it outranks the one found.
pub fn judge(
    stage: &Stage,
    declared: Option<Executor>,
    payload: Option<&Payload>,
    capacity: &Capacity,
    costs: Option<&Costs>,
    thresholds: &Thresholds,
) -> Judgement {
    let class = classify(stage, thresholds);
    let phases = phases_by_class(stage, thresholds);
    let dear = payload.is_some_and(|payload| payload.exceeds(stage.task_seconds(), thresholds.ipc));
    let rule = rule_of(class, dear);
    let decision = costs
        .filter(|_| stage.tasks.is_some())
        .and_then(|costs| decide(stage, class, &phases, payload, capacity, costs, thresholds));
    let mut predictions = Vec::new();
    let mut recommendation = if let Some(decision) = decision {
        predictions = decision.predictions;
        Some(decision.recommendation)
    } else if stage.feeds_pool || stage.outside_stages || stage.tasks.is_some() {
        None
    } else {
        recommend(stage, class, &phases, payload, capacity, thresholds)
    };
    let found = found_executor(stage);
    let current = declared.or(found);
    let outcome = match (&recommendation, current) {
        (None, _) if stage.feeds_pool => Outcome::NotJudged(Why::FeedsPool),
        (None, _) if stage.outside_stages => Outcome::NotJudged(Why::OutsideStages),
        (None, _) => Outcome::NotJudged(Why::ThinEvidence),
        (Some(_), None) => Outcome::NotJudged(Why::NoExecutor),
        (Some(recommendation), Some(current)) if !predictions.is_empty() => {
            weigh(&predictions, recommendation, current)
        }
        (Some(recommendation), Some(current)) => compare(stage, recommendation, current, capacity),
    };
    if let (Some(recommendation), Some(_)) = (&mut recommendation, found)
        && let Some(wanted) = recommendation.workers
        && stage.workers > 1
        && stage.workers.saturating_mul(2) <= wanted
        && recommendation.confidence >= Confidence::Medium
    {
        recommendation.reasons.push(Reason::WorkersTooFew { seen: stage.workers, wanted });
    }
    Judgement { class, phases, rule, recommendation, predictions, found, warnings: diagnose(stage), outcome }
}

/// The executor that it was found to run under.
fn found_executor(stage: &Stage) -> Option<Executor> {
    match stage.tasks.as_ref().map(|tasks| tasks.executor) {
        Some(RunsUnder::Serial) => Some(Executor::Serial),
        Some(RunsUnder::Thread) => Some(Executor::Thread),
        Some(RunsUnder::Process) => Some(Executor::Process),
        Some(RunsUnder::Interpreter) => Some(Executor::Interpreter),
        Some(RunsUnder::Asyncio) => Some(Executor::Asyncio),
        Some(RunsUnder::Unknown) => None,
        None => stage.is_pool.then_some(Executor::Process),
    }
}

/// What 0.4 and 0.7 on the score and the payload limit say alone.
fn rule_of(class: Class, payload_is_dear: bool) -> Option<Executor> {
    match class {
        Class::Unknown => None,
        Class::IoBound => Some(Executor::Thread),
        Class::Hybrid => Some(Executor::Split),
        Class::CpuBound if payload_is_dear => Some(Executor::Thread),
        Class::CpuBound => Some(Executor::Process),
    }
}

/// Compares the predicted throughput of the executor in use, at its own best number of workers, with the recommended one.
fn weigh(predictions: &[Prediction], recommendation: &Recommendation, current: Executor) -> Outcome {
    if current == recommendation.executor {
        return Outcome::Fits;
    }
    let of = |executor: Executor| predictions.iter().find(|one| Executor::from(one.executor) == executor);
    let (Some(now), Some(best)) = (of(current), of(recommendation.executor)) else {
        return Outcome::Undecided(Why::NoPrediction);
    };
    match weigh_throughput(now.speedup, best.speedup, FITTING_SHARE) {
        Weighed::Fits => Outcome::Fits,
        _ if recommendation.confidence == Confidence::Low => {
            let gil = recommendation.reasons.contains(&Reason::GilUnknown);
            Outcome::Undecided(if gil { Why::GilUnknown } else { Why::TooClose })
        }
        Weighed::Misrouted { cost } => Outcome::Misrouted { cost },
        Weighed::TooClose => Outcome::Undecided(Why::TooClose),
    }
}

/// How two predicted throughputs compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighed {
    /// The current one reaches enough of the best.
    Fits,
    /// It does not, and the intervals are apart: the best has `cost` times its throughput.
    Misrouted {
        /// Best over current.
        cost: f64,
    },
    /// It does not, but the intervals touch.
    TooClose,
}

/// Compares the throughput of the current executor with the best one's; at least `fitting_share` of it is good enough.
pub fn weigh_throughput(now: Estimate, best: Estimate, fitting_share: f64) -> Weighed {
    let share = now.point / best.point.max(f64::MIN_POSITIVE);
    if share >= fitting_share {
        Weighed::Fits
    } else if now.high < best.low {
        Weighed::Misrouted { cost: 1.0 / share.max(f64::MIN_POSITIVE) }
    } else {
        Weighed::TooClose
    }
}

fn compare(stage: &Stage, recommendation: &Recommendation, current: Executor, capacity: &Capacity) -> Outcome {
    let parallel = matches!(recommendation.reasons.first(), Some(Reason::AlreadyParallel { .. }));
    if current == recommendation.executor && recommendation.confidence >= Confidence::Medium {
        return Outcome::Fits;
    }
    if parallel {
        return Outcome::Undecided(Why::AlreadyParallel);
    }
    if stage.is_python {
        let unknown = stage.gil.share().is_none();
        return Outcome::Undecided(if unknown { Why::GilUnknown } else { Why::PayloadUnknown });
    }
    match (current, recommendation.executor) {
        // A program is in a process of its own already: what waits for it matters little.
        (Executor::Thread | Executor::Process | Executor::Asyncio | Executor::Interpreter, Executor::Thread) => {
            Outcome::Fits
        }
        (Executor::Serial, Executor::Thread) => serial_cost(stage, recommendation, capacity),
        _ => Outcome::Undecided(Why::TooClose),
    }
}

/// What running one after another costs, at the pessimistic end of the score.
fn serial_cost(stage: &Stage, recommendation: &Recommendation, capacity: &Capacity) -> Outcome {
    let (Some(score), Some(workers)) = (stage.score, recommendation.workers) else {
        return Outcome::Undecided(Why::TooClose);
    };
    let used = super::recommend::cores_used(stage).max(1.0);
    let bound =
        |score: f64| thread_of_children_bound(f64::from(workers), capacity.cores / used, score.max(1e-6), 1.0 - score);
    match (bound(score.point), bound(score.high)) {
        (Some(point), Some(low)) if low * FITTING_SHARE > 1.0 => Outcome::Misrouted { cost: point.max(1.0) },
        (Some(point), _) if point * FITTING_SHARE <= 1.0 => Outcome::Fits,
        _ => Outcome::Undecided(Why::TooClose),
    }
}
