//! The rules: one on predicted throughput, one on the plain thresholds. Each says yes, no, or what is open and what would
//! close it. Must not know manifests or names.

use super::Rules;
use crate::report::check::Policy;
use crate::report::wording::why as in_words;
use crate::report::{Class, Confidence, Executor, Language, Prediction, Stage, StageKind, Verdict};
use crate::units::Estimate;
use crate::verdict::{self, Thresholds, Weighed, Why, class_of, may_be_beaten, may_be_held, most_of, weigh_throughput};

/// What a rule says.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// The executor fits.
    Fits,
    /// It does not.
    Misrouted {
        /// Best throughput over the current one; `None` where the rule does not know it.
        cost: Option<f64>,
        /// The executor that would fit.
        wanted: Executor,
        /// What was measured: the share of the best throughput, or the score, or the payload's share of latency.
        measured: f64,
        /// What it was measured against.
        limit: f64,
    },
    /// The evidence does not decide it.
    Undecided(Open),
    /// Too little was seen of it.
    TooLittle,
    /// Neither declared nor found under an executor.
    NoExecutor,
    /// It is judged elsewhere or not at all, for this reason.
    NotJudged(String),
}

/// What is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Why there is no yes or no.
    pub why: String,
    /// What would decide it.
    pub remedy: Remedy,
}

/// What would decide it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Remedy {
    /// About so many times as much run; `None` where that is not known.
    MoreRuns(Option<f64>),
    /// That the interpreter lock can be read.
    GilReading,
    /// That it is read more often, which more run does.
    MoreReadings,
    /// What a task moves.
    Payload,
    /// Cutting it into its phases.
    Cut,
    /// Naming the function that is the stage.
    Function,
    /// Nothing of the kind: another executor would be no faster.
    Nothing,
}

/// More than so many times the run is no advice.
const MOST_RUN: f64 = 100.0;

/// Judges the executor `current` for the stage.
pub fn rule(stage: &Stage, current: Option<Executor>, rules: &Rules) -> Ruling {
    if stage.class == Class::Unknown && stage.recommendation.is_none() {
        return Ruling::TooLittle;
    }
    let Some(current) = current else { return Ruling::NoExecutor };
    match rules.policy {
        Policy::Evidence => by_evidence(stage, current, rules.margin),
        Policy::Ratio => by_ratio(stage, current, &rules.thresholds),
    }
}

fn by_evidence(stage: &Stage, current: Executor, margin: f64) -> Ruling {
    let Some(advice) = &stage.recommendation else {
        let why = stage.verdict_reason.clone().unwrap_or_else(|| "nothing is recommended for it".to_owned());
        return Ruling::NotJudged(why);
    };
    let has = |code: &str| advice.reasons.iter().any(|reason| reason.code == code);
    let missing = if has("gil-thin") {
        Remedy::MoreReadings
    } else if has("gil-unknown") {
        Remedy::GilReading
    } else if has("payload-unknown") || has("ipc-unsure") {
        Remedy::Payload
    } else if advice.executor == Executor::Split {
        Remedy::Cut
    } else {
        Remedy::MoreRuns(None)
    };
    if stage.predictions.is_empty() {
        return by_verdict(stage, current, margin, missing);
    }
    let of = |executor: Executor| stage.predictions.iter().find(|one| one.executor == executor).map(estimate);
    if has("joins-open") {
        let why = in_words(Why::JoinsOpen).to_owned();
        return Ruling::Undecided(Open { why, remedy: Remedy::Function });
    }
    let loops = of(Executor::Asyncio).filter(|_| has("coroutine-open") && current == Executor::Asyncio);
    if let Some((now, processes)) = loops.zip(of(Executor::Process))
        && weigh_throughput(now, processes, most_of(now, processes), 1.0 - margin) != Weighed::Fits
    {
        let why = in_words(Why::CoroutineOpen).to_owned();
        return Ruling::Undecided(Open { why, remedy: Remedy::MoreRuns(None) });
    }
    let all = stage.predictions.iter().map(|one| (one.executor, estimate(one)));
    // What is not known of the lock may be in favour of another one.
    let open = matches!(missing, Remedy::MoreReadings | Remedy::GilReading);
    let open = why_missing(missing).filter(|_| open && may_be_beaten(current, all.clone(), 1.0 - margin));
    let fits = || match open {
        Some(why) => Ruling::Undecided(Open { why: why.to_owned(), remedy: missing }),
        None => Ruling::Fits,
    };
    if current == advice.executor {
        if has("lock-unseen") && may_be_held(current, all.clone(), 1.0 - margin) {
            let why = in_words(Why::LockUnseen).to_owned();
            return Ruling::Undecided(Open { why, remedy: Remedy::Nothing });
        }
        return fits();
    }
    let (Some(now), Some(best)) = (of(current), of(advice.executor)) else {
        let why = "what its executor would do with it is not predicted".to_owned();
        return Ruling::Undecided(Open { why, remedy: missing });
    };
    let doubted = advice.confidence == Confidence::Low && advice.executor != Executor::Serial;
    let told = stage.predictions.iter().find(|one| one.executor == current).and_then(|one| one.most_of_recommended);
    let most = told.unwrap_or_else(|| most_of(now, best));
    match weigh_throughput(now, best, most, 1.0 - margin).doubted(doubted, most) {
        Weighed::Fits => fits(),
        // What a lock would do elsewhere is in no interval.
        _ if has("lock-not-shared") || has("lock-unseen") => {
            let why = if has("lock-unseen") { Why::LockUnseen } else { Why::LockNotShared };
            Ruling::Undecided(Open { why: in_words(why).to_owned(), remedy: Remedy::Nothing })
        }
        // What is missing is in the intervals: where they are apart all the same, it is not needed.
        Weighed::TooClose if advice.confidence == Confidence::Low => {
            let why = why_missing(missing).unwrap_or("evidence for a part of the recommendation is missing");
            Ruling::Undecided(Open { why: why.to_owned(), remedy: missing })
        }
        Weighed::Misrouted { cost } => {
            let measured = now.point / best.point;
            Ruling::Misrouted { cost: Some(cost), wanted: advice.executor, measured, limit: 1.0 - margin }
        }
        Weighed::TooClose => {
            let why = "the difference is within what the runs leave open".to_owned();
            Ruling::Undecided(Open { why, remedy: Remedy::MoreRuns(more_runs(now, best)) })
        }
    }
}

/// What is missing, in words.
fn why_missing(missing: Remedy) -> Option<&'static str> {
    match missing {
        Remedy::MoreReadings => Some("the interpreter lock (GIL) was read too few times while it ran"),
        Remedy::GilReading => Some("how much of its CPU time holds the interpreter lock (GIL) was not measured"),
        Remedy::Payload => Some("what a process pool would have to move for it was not measured"),
        Remedy::Cut => Some("its phases want different executors"),
        _ => None,
    }
}

fn estimate(prediction: &Prediction) -> Estimate {
    let [low, high] = prediction.interval;
    Estimate::new(low, prediction.speedup, high)
}

/// How much more run would part the intervals: their width goes with the root of its length.
fn more_runs(now: Estimate, best: Estimate) -> Option<f64> {
    let gap = best.point - now.point;
    let width = (now.high - now.point) + (best.point - best.low);
    let times = (width / gap).powi(2);
    (gap > 0.0 && times.is_finite() && times < MOST_RUN).then(|| times.max(1.0).ceil())
}

/// A program as a whole is not predicted: its verdict stands, if it is of this executor.
fn by_verdict(stage: &Stage, current: Executor, margin: f64, missing: Remedy) -> Ruling {
    let Some(advice) = &stage.recommendation else { return Ruling::TooLittle };
    let judged = stage.declared_executor.or(stage.runs_as.map(|runs| runs.executor));
    let parallel = advice.reasons.first().is_some_and(|reason| reason.code == "already-parallel");
    let own_words = why_missing(missing).filter(|_| !parallel).map(str::to_owned);
    let why = || {
        let told = own_words.or(stage.verdict_reason.clone().filter(|_| judged == Some(current)));
        told.unwrap_or_else(|| "a program as a whole is not predicted".to_owned())
    };
    let whole = matches!(stage.kind, StageKind::Process | StageKind::Command);
    let is_whole_python = whole && stage.language == Language::Python;
    let remedy = match missing {
        _ if parallel => Remedy::Nothing,
        // Its tasks tell what it would have to move, and share the lock.
        Remedy::GilReading | Remedy::MoreReadings | Remedy::Payload | Remedy::MoreRuns(_) if is_whole_python => {
            Remedy::Function
        }
        other => other,
    };
    match stage.verdict {
        Verdict::Fits if judged == Some(current) => Ruling::Fits,
        Verdict::Misrouted if judged == Some(current) => match stage.misrouting_cost {
            Some(cost) if cost * (1.0 - margin) > 1.0 => Ruling::Misrouted {
                cost: Some(cost),
                wanted: advice.executor,
                measured: 1.0 / cost,
                limit: 1.0 - margin,
            },
            _ => Ruling::Fits,
        },
        Verdict::Undecided if judged == Some(current) => Ruling::Undecided(Open { why: why(), remedy }),
        _ if current == advice.executor && advice.confidence >= Confidence::Medium => Ruling::Fits,
        _ => Ruling::Undecided(Open { why: why(), remedy }),
    }
}

/// The plain rule: waiting goes to threads, computing to processes unless the payload is too dear.
fn by_ratio(stage: &Stage, current: Executor, thresholds: &Thresholds) -> Ruling {
    let Some(score) = stage.score else { return Ruling::TooLittle };
    let [low, high] = stage.score_interval.unwrap_or([score, score]);
    let class = class_of(score, thresholds);
    if class_of(low, thresholds) != class || class_of(high, thresholds) != class {
        let why = "the interval of its score holds a threshold".to_owned();
        return Ruling::Undecided(Open { why, remedy: Remedy::MoreRuns(None) });
    }
    let dear = stage.ipc.as_ref().and_then(|ipc| ipc.share_of_latency).filter(|share| *share > thresholds.ipc);
    let (wanted, measured, limit) = match (class, dear) {
        (verdict::Class::IoBound, _) => (Executor::Thread, score, thresholds.io),
        (verdict::Class::CpuBound, Some(share)) => (Executor::Thread, share, thresholds.ipc),
        (verdict::Class::CpuBound, None) => (Executor::Process, score, thresholds.cpu),
        (verdict::Class::Hybrid | verdict::Class::Unknown, _) => {
            let why = "its score is between the thresholds, where the plain rule names no executor".to_owned();
            return Ruling::Undecided(Open { why, remedy: Remedy::Cut });
        }
    };
    let fits = match wanted {
        Executor::Thread => matches!(current, Executor::Thread | Executor::Asyncio),
        _ => matches!(current, Executor::Process | Executor::Interpreter),
    };
    if fits { Ruling::Fits } else { Ruling::Misrouted { cost: None, wanted, measured, limit } }
}
