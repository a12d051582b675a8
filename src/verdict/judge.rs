//! Does the executor that a stage runs under fit? Misrouted is said only where the evidence carries it.
//!
//! | program | runs under | evidence | verdict |
//! | --- | --- | --- | --- |
//! | any | not known | | not judged |
//! | any | any | much of its time went to tasks that never ended | not judged |
//! | any | any | class unknown; inside Python only where too little was seen | not judged |
//! | stage in Python | any | its tasks wait for others' work, of which not enough is known | undecided |
//! | coroutine | asyncio | it may compute for most of its time or not, and processes would be clearly faster | undecided |
//! | any | any | it feeds a pool of its own workers | not judged: they are |
//! | any | the recommended one | high or medium confidence | fits |
//! | other | thread, process, asyncio | a program is in its own process already | fits: all drive it as well |
//! | other | serial | threads' bound over serial, both ends of the score, above 1/0.85 | misrouted |
//! | other | pool | already parallel | undecided: no faster, perhaps slower |
//! | Python program | any | another executor than recommended | undecided: lock or payload not known |
//! | stage in Python | any | predicted under 85 % of the recommended one, intervals apart | misrouted |

use super::arrival::answer;
use super::classify::{classify, is_thin, phases_by_class};
use super::decide::decide;
use super::diagnose::Warning;
use super::recommend::{Confidence, Recommendation, recommend};
use super::{Capacity, Class, Evidence, Executor, Payload, Reason, Thresholds};
use crate::laws::thread_of_children_bound;
use crate::predict::{self, Costs, Prediction};
use crate::stages::Phase;
use crate::units::Estimate;

/// A current executor below this share of the recommended one's throughput is misrouted.
pub const FITTING_SHARE: f64 = 0.85;

/// A pool that is recommended with low confidence accuses another executor only if it is ahead by this much, interval against
/// interval. No pool at all promises nothing that a run of it did not show.
const CLEARLY_AHEAD: f64 = 1.25;

/// Why there is no yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// One run of a command does not show what production runs it under.
    NoExecutor,
    /// The evidence is too thin for a class.
    ThinEvidence,
    /// There is enough of it, but its score may fall on either side of a threshold.
    ClassOpen,
    /// Processes are clearly faster than its event loop if the coroutine computes for most of its time, which is open.
    CoroutineOpen,
    /// Its tasks wait for what others do for them, of which not enough is known.
    JoinsOpen,
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
    /// Processes would be faster if each may have a lock of its own, which only who wrote it knows.
    LockNotShared,
    /// Threads would be faster unless they queue for a lock that its function names.
    LockUnseen,
    /// The interpreter lock was read too few times.
    GilThin,
    /// Tasks that never ended took much of its time: what one of them takes is not known.
    Unfinished,
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
    /// What is wrong with what the user asked for. What is wrong with the stage itself, `diagnose` tells.
    pub warnings: Vec<Warning>,
    /// The executor that it was found to run under.
    pub found: Option<Executor>,
    /// Whether the executor fits.
    pub outcome: Outcome,
}

/// What stages are judged by, besides their evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The executor that the user says production runs them under; it outranks the one found.
    pub declared: Option<Executor>,
    /// The machine that the answer is for.
    pub capacity: Capacity,
    /// What dispatch costs, where that is known.
    pub costs: Option<Costs>,
    /// The thresholds of the plain rule.
    pub thresholds: Thresholds,
    /// Tasks a second that arrive, where the user says so.
    pub arrival_rate: Option<f64>,
}

/// Judges a stage by its evidence.
pub fn judge(evidence: &Evidence, payload: Option<&Payload>, terms: &Terms) -> Judgement {
    let thresholds = &terms.thresholds;
    let class = classify(evidence, thresholds);
    let phases = phases_by_class(evidence, thresholds);
    let dear = payload.is_some_and(|payload| payload.exceeds(evidence.task_seconds, thresholds.ipc));
    let rule = rule_of(class, dear);
    let decision = terms
        .costs
        .as_ref()
        .filter(|_| evidence.is_inside && !evidence.is_unfinished())
        .and_then(|costs| decide(evidence, class, &phases, payload, costs, terms));
    let mut predictions = Vec::new();
    let mut recommendation = if let Some(decision) = decision {
        predictions = decision.predictions;
        Some(decision.recommendation)
    } else if evidence.feeds_pool || evidence.is_outside || evidence.is_inside {
        None
    } else {
        recommend(evidence, class, &phases, payload, terms)
    };
    let found = evidence.found;
    let current = terms.declared.or(found);
    let outcome = match (&recommendation, current) {
        (None, _) if evidence.feeds_pool => Outcome::NotJudged(Why::FeedsPool),
        (None, _) if evidence.is_outside => Outcome::NotJudged(Why::OutsideStages),
        (None, _) if evidence.is_unfinished() => Outcome::NotJudged(Why::Unfinished),
        (None, _) if !is_thin(evidence) => Outcome::NotJudged(Why::ClassOpen),
        (None, _) => Outcome::NotJudged(Why::ThinEvidence),
        (Some(_), None) => Outcome::NotJudged(Why::NoExecutor),
        (Some(recommendation), Some(current)) if !predictions.is_empty() => {
            weigh(&predictions, recommendation, current)
        }
        (Some(recommendation), Some(current)) => compare(evidence, recommendation, current, &terms.capacity),
    };
    if let (Some(recommendation), Some(_)) = (&mut recommendation, found)
        && let Some(wanted) = recommendation.workers
        && evidence.workers > 1
        && too_few_workers(evidence.workers, wanted, recommendation.speedup)
        && recommendation.confidence >= Confidence::Medium
    {
        recommendation.reasons.push(Reason::WorkersTooFew { seen: evidence.workers, wanted });
    }
    let mut warnings = Vec::new();
    if let (Some(rate), Some(recommendation)) = (terms.arrival_rate, &mut recommendation) {
        warnings.extend(answer(rate, evidence, payload, terms, recommendation));
    }
    Judgement { class, phases, rule, recommendation, predictions, found, outcome, warnings }
}

/// Whether a pool has far too few workers: at most half of those that are recommended, and so few that even at their best,
/// each doing what a serial run does, they stay clearly below the `speedup` that is to be had.
pub fn too_few_workers(has: u32, wanted: u32, speedup: Option<f64>) -> bool {
    has.saturating_mul(2) <= wanted && speedup.is_none_or(|speedup| f64::from(has) < FITTING_SHARE * speedup)
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
    let has = |code: Reason| recommendation.reasons.contains(&code);
    if has(Reason::JoinsOpen) {
        return Outcome::Undecided(Why::JoinsOpen);
    }
    let is_open = recommendation.reasons.iter().any(|reason| matches!(reason, Reason::CoroutineOpen { .. }));
    if is_open && current == Executor::Asyncio && is_behind_processes(predictions, FITTING_SHARE) {
        return Outcome::Undecided(Why::CoroutineOpen);
    }
    let open = match (has(Reason::GilThin), has(Reason::GilUnknown)) {
        (true, _) => Some(Why::GilThin),
        (_, true) => Some(Why::GilUnknown),
        _ => None,
    };
    let all = predictions.iter().map(|one| (Executor::from(one.executor), one.speedup));
    // What is not known of the lock may be in favour of another one.
    let fits = |open: Option<Why>| match open {
        Some(why) if may_be_beaten(current, all.clone(), FITTING_SHARE) => Outcome::Undecided(why),
        _ => Outcome::Fits,
    };
    if current == recommendation.executor {
        let is_unseen = recommendation.reasons.iter().any(|reason| matches!(reason, Reason::LockUnseen { .. }));
        if is_unseen && may_be_held(current, all.clone(), FITTING_SHARE) {
            return Outcome::Undecided(Why::LockUnseen);
        }
        return fits(open);
    }
    let of = |executor: Executor| predictions.iter().find(|one| Executor::from(one.executor) == executor);
    let (Some(now), Some(best)) = (of(current), of(recommendation.executor)) else {
        return Outcome::Undecided(Why::NoPrediction);
    };
    // What is not known of the lock is in the intervals: where they are apart, the current one loses whatever the lock does.
    // What is recommended then is better, if perhaps not the best.
    let doubted = recommendation.confidence == Confidence::Low && recommendation.executor != Executor::Serial;
    let most = now.most_of_best.unwrap_or_else(|| most_of(now.speedup, best.speedup));
    match weigh_throughput(now.speedup, best.speedup, most, FITTING_SHARE).doubted(doubted, most) {
        Weighed::Fits => fits(open),
        _ if recommendation.reasons.contains(&Reason::LockNotShared) => Outcome::Undecided(Why::LockNotShared),
        _ if recommendation.reasons.iter().any(|reason| matches!(reason, Reason::LockUnseen { .. })) => {
            Outcome::Undecided(Why::LockUnseen)
        }
        Weighed::Misrouted { cost } => Outcome::Misrouted { cost },
        Weighed::TooClose => Outcome::Undecided(open.unwrap_or(Why::TooClose)),
    }
}

/// Whether an event loop is predicted at less than the fitting share of processes.
fn is_behind_processes(predictions: &[Prediction], fitting_share: f64) -> bool {
    let of = |executor| predictions.iter().find(|one| one.executor == executor).map(|one| one.speedup);
    let (now, processes) = (of(predict::Executor::Asyncio), of(predict::Executor::Process));
    now.zip(processes)
        .is_some_and(|(now, best)| weigh_throughput(now, best, most_of(now, best), fitting_share) != Weighed::Fits)
}

/// Whether, what is not known of the lock being in the intervals, another executor may have clearly more throughput than all
/// that the current one may have.
pub fn may_be_beaten<E: PartialEq>(
    current: E,
    predictions: impl Iterator<Item = (E, Estimate)> + Clone,
    fitting_share: f64,
) -> bool {
    let most = predictions.clone().find(|(executor, _)| *executor == current).map(|(_, speedup)| speedup.high);
    let other = predictions.filter(|(executor, _)| *executor != current).map(|(_, speedup)| speedup.high);
    most.is_some_and(|most| other.fold(0.0, f64::max) * fitting_share > most)
}

/// Whether, at the least that the current executor may have, another one has clearly more: what a lock that was never met would
/// do to it.
pub fn may_be_held<E: PartialEq>(
    current: E,
    predictions: impl Iterator<Item = (E, Estimate)> + Clone,
    fitting_share: f64,
) -> bool {
    let least = predictions.clone().find(|(executor, _)| *executor == current).map(|(_, speedup)| speedup.low);
    let other = predictions.filter(|(executor, _)| *executor != current).map(|(_, speedup)| speedup.point);
    least.is_some_and(|least| other.fold(0.0, f64::max) * fitting_share > least)
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

impl Weighed {
    /// The same where the pool that is `best` is recommended with little confidence: it then has to be ahead by more.
    /// `most`: the most that the current one's throughput may be over its.
    pub fn doubted(self, doubted: bool, most: f64) -> Weighed {
        match self {
            Weighed::Misrouted { .. } if doubted && most * CLEARLY_AHEAD > 1.0 => Weighed::TooClose,
            weighed => weighed,
        }
    }
}

/// The most that one throughput may be over another, if nothing is open of both alike.
pub fn most_of(one: Estimate, other: Estimate) -> f64 {
    one.high / other.low.max(f64::MIN_POSITIVE)
}

/// Compares the throughput of the current executor with the best one's; at least `fitting_share` of it is good enough. `most`:
/// the most that it may be over the best one's.
pub fn weigh_throughput(now: Estimate, best: Estimate, most: f64, fitting_share: f64) -> Weighed {
    let share = now.point / best.point.max(f64::MIN_POSITIVE);
    if share >= fitting_share {
        Weighed::Fits
    } else if most < 1.0 {
        Weighed::Misrouted { cost: 1.0 / share.max(f64::MIN_POSITIVE) }
    } else {
        Weighed::TooClose
    }
}

fn compare(evidence: &Evidence, recommendation: &Recommendation, current: Executor, capacity: &Capacity) -> Outcome {
    let parallel = matches!(recommendation.reasons.first(), Some(Reason::AlreadyParallel { .. }));
    if current == recommendation.executor && recommendation.confidence >= Confidence::Medium {
        return Outcome::Fits;
    }
    if parallel {
        return Outcome::Undecided(Why::AlreadyParallel);
    }
    if evidence.is_python {
        let unknown = evidence.gil.share().is_none();
        return Outcome::Undecided(if unknown { Why::GilUnknown } else { Why::PayloadUnknown });
    }
    match (current, recommendation.executor) {
        // A program is in a process of its own already: what waits for it matters little.
        (Executor::Thread | Executor::Process | Executor::Asyncio | Executor::Interpreter, Executor::Thread) => {
            Outcome::Fits
        }
        (Executor::Serial, Executor::Thread) => serial_cost(evidence, recommendation, capacity),
        // Nor where there is one core for it.
        _ if recommendation.reasons.iter().any(|reason| matches!(reason, Reason::SingleCore { .. })) => Outcome::Fits,
        _ => Outcome::Undecided(Why::TooClose),
    }
}

/// What running one after another costs, at the pessimistic end of the score.
fn serial_cost(evidence: &Evidence, recommendation: &Recommendation, capacity: &Capacity) -> Outcome {
    let (Some(score), Some(workers)) = (evidence.score, recommendation.workers) else {
        return Outcome::Undecided(Why::TooClose);
    };
    let room = evidence.room(capacity.cores);
    let bound = |score: f64| thread_of_children_bound(f64::from(workers), room, score.max(1e-6), 1.0 - score);
    match (bound(score.point), bound(score.high)) {
        (Some(point), Some(low)) if low * FITTING_SHARE > 1.0 => Outcome::Misrouted { cost: point.max(1.0) },
        (Some(point), _) if point * FITTING_SHARE <= 1.0 => Outcome::Fits,
        _ => Outcome::Undecided(Why::TooClose),
    }
}
