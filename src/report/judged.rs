//! What was said of a stage, in the machine form: the same for a stage that was just measured and for one of a saved
//! report that is judged again. Copies and converts; must not judge.

use super::kept::*;
use super::types::*;
use super::wording;
use crate::predict;
use crate::verdict::{self, Evidence as Judgeable, Judgement, Outcome, Payload, PayloadSource, Terms};

/// Writes a judgement into its stage: everything that depends on thresholds, machine, payload and executor declared.
/// Warnings of the stage itself stay.
pub(super) fn apply(
    judgement: &Judgement,
    payload: Option<&Payload>,
    evidence: &Judgeable,
    terms: &Terms,
    stage: &mut Stage,
) {
    let (verdict, reason, cost) = match judgement.outcome {
        Outcome::Fits => (Verdict::Fits, None, None),
        Outcome::Misrouted { cost } => (Verdict::Misrouted, None, Some(cost)),
        Outcome::Undecided(why) => (Verdict::Undecided, Some(wording::why(why).to_owned()), None),
        Outcome::NotJudged(why) => (Verdict::NotJudged, Some(wording::why(why).to_owned()), None),
    };
    stage.declared_executor = terms.declared.map(executor);
    stage.class = class(judgement.class);
    stage.ipc = payload.map(|payload| Ipc {
        argument_bytes: payload.argument_bytes,
        result_bytes: payload.result_bytes,
        seconds_per_task: payload.seconds,
        share_of_latency: payload.share_of_latency(evidence.task_seconds),
        limit: terms.thresholds.ipc,
        source: match payload.source {
            PayloadSource::Declared => IpcSource::Declared,
            PayloadSource::Files => IpcSource::Estimated,
            PayloadSource::UpperBound => IpcSource::UpperBound,
            PayloadSource::Partial => IpcSource::Partial,
            PayloadSource::Measured => IpcSource::Measured,
            PayloadSource::Unknown => IpcSource::Unknown,
        },
        picklable: payload.picklable,
        readings: payload.readings,
        error_ratio: payload.error,
    });
    stage.phases = judgement
        .phases
        .iter()
        .map(|(phase, of)| Phase {
            start_seconds: phase.start,
            end_seconds: phase.end,
            score: phase.score,
            class: class(*of),
        })
        .collect();
    stage.predictions = judgement.predictions.iter().map(prediction).collect();
    stage.rule = judgement.rule.map(|rule| Rule { executor: executor(rule) });
    stage.recommendation = judgement.recommendation.as_ref().map(recommendation);
    stage.warnings.extend(judgement.warnings.iter().map(warning));
    stage.verdict = verdict;
    stage.verdict_reason = reason;
    stage.misrouting_cost = cost;
}

/// The thresholds of the report.
pub(super) fn thresholds(terms: &Terms) -> Thresholds {
    Thresholds { io: terms.thresholds.io, cpu: terms.thresholds.cpu, ipc: terms.thresholds.ipc }
}

/// A warning with its words.
pub(super) fn warning(warning: &verdict::Warning) -> Reason {
    Reason { code: warning.code().to_owned(), text: wording::warning(warning) }
}

fn prediction(one: &predict::Prediction) -> Prediction {
    Prediction {
        executor: executor(one.executor.into()),
        workers: one.workers,
        speedup: one.speedup.point,
        interval: [one.speedup.low, one.speedup.high],
        most_of_recommended: one.most_of_best,
        limited_by: match one.limited_by {
            predict::Bottleneck::Cores => Bottleneck::Cores,
            predict::Bottleneck::Gil => Bottleneck::Gil,
            predict::Bottleneck::Workers => Bottleneck::Workers,
            predict::Bottleneck::Ipc => Bottleneck::Ipc,
            predict::Bottleneck::Parent => Bottleneck::Parent,
            predict::Bottleneck::Memory => Bottleneck::Memory,
            predict::Bottleneck::Lock => Bottleneck::Lock,
        },
    }
}

fn recommendation(found: &verdict::Recommendation) -> Recommendation {
    Recommendation {
        executor: executor(found.executor),
        parts: found
            .parts
            .iter()
            .map(|(phase, of)| Part { start_seconds: phase.start, end_seconds: phase.end, executor: executor(*of) })
            .collect(),
        workers: found.workers,
        chunksize: found.chunksize,
        speedup: found.speedup,
        confidence: match found.confidence {
            verdict::Confidence::Low => Confidence::Low,
            verdict::Confidence::Medium => Confidence::Medium,
            verdict::Confidence::High => Confidence::High,
        },
        reasons: found
            .reasons
            .iter()
            .map(|reason| Reason { code: reason.code().to_owned(), text: wording::reason(reason) })
            .collect(),
        arrival: found.arrival.map(|arrival| Arrival {
            busy_workers: arrival.busy,
            workers: arrival.workers,
            tasks_per_second: arrival.per_second,
        }),
        engine: None,
    }
}

/// An executor as the contract names it.
pub(super) fn executor(executor: verdict::Executor) -> Executor {
    executor.into()
}

fn class(class: verdict::Class) -> Class {
    match class {
        verdict::Class::IoBound => Class::IoBound,
        verdict::Class::Hybrid => Class::Hybrid,
        verdict::Class::CpuBound => Class::CpuBound,
        verdict::Class::Unknown => Class::Unknown,
    }
}
