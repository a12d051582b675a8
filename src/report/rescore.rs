//! A finished report, judged again: by other thresholds, for another machine, executor, payload or rate of arrivals. By
//! the evidence that the report carries and the same rules as a run; what it does not carry is told, never guessed.

use super::check::Check;
use super::engine::{Engine, in_words_of};
use super::kept::{Asked, PayloadPrice};
use super::types::{Report, Stage};
use super::{judged, saved, wording};
use crate::verdict::{self, Capacity, Payload, PayloadSource, Terms, judge};

/// What is to be different; what is `None` stays as the report has it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Again {
    /// The executor in production, of all stages.
    pub executor: Option<verdict::Executor>,
    /// Below it a stage is I/O-bound.
    pub io: Option<f64>,
    /// Above it a stage is CPU-bound.
    pub cpu: Option<f64>,
    /// Above it a payload is too dear.
    pub ipc: Option<f64>,
    /// Bytes that one task is given.
    pub payload_in: Option<u64>,
    /// Bytes that one task returns.
    pub payload_out: Option<u64>,
    /// CPUs of the machine that the answer is for.
    pub cores: Option<f64>,
    /// Its memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Tasks that arrive in a second.
    pub arrival_rate: Option<f64>,
}

/// Why a report cannot be judged again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CannotRescore {
    /// It lacks what a verdict rests on.
    #[error(
        "its stage `{stage}` carries no `{missing}` (schema version `{version}`); \
         hint: profile once more with this version, or judge a trace (`--record`)"
    )]
    Missing {
        /// The stage.
        stage: String,
        /// The key that is not there.
        missing: &'static str,
        /// The version that the report says it has.
        version: String,
    },
    /// Nothing tells what moving a payload costs.
    #[error(
        "it carries no `payload_price`, and the payload of its stage `{stage}` was not measured, so other sizes have no \
         price; hint: give `--payload-in` and `--payload-out` to `poolpick profile`"
    )]
    NoPrice {
        /// The stage.
        stage: String,
    },
    /// The thresholds make no sense together.
    #[error(transparent)]
    Threshold(#[from] verdict::BadThreshold),
}

/// Judges all stages of a report again. With nothing different, nothing changes.
///
/// # Errors
/// Names what the report does not carry.
pub fn rescore(report: &Report, again: &Again) -> Result<Report, CannotRescore> {
    let mut report = report.clone();
    let host = &report.host;
    let measured = Capacity::of(host.usable_cores, host.logical_cores, host.physical_cores, host.memory_limit_bytes);
    let before = report.asked.clone().unwrap_or_default();
    let asked = Asked {
        cores: again.cores.or(before.cores),
        memory_bytes: again.memory_bytes.or(before.memory_bytes),
        arrival_rate_per_second: again.arrival_rate.or(before.arrival_rate_per_second),
        engine: before.engine.clone(),
    };
    let thresholds = verdict::Thresholds {
        io: again.io.unwrap_or(report.thresholds.io),
        cpu: again.cpu.unwrap_or(report.thresholds.cpu),
        ipc: again.ipc.unwrap_or(report.thresholds.ipc),
    }
    .checked()?;
    let terms = Terms {
        declared: again.executor,
        capacity: measured.asked(asked.cores, asked.memory_bytes),
        costs: report.costs.as_ref().map(saved::costs_of),
        thresholds,
        arrival_rate: asked.arrival_rate_per_second,
    };
    let (version, price) = (report.schema_version.clone(), report.payload_price);
    for stage in &mut report.stages {
        judge_again(stage, again, &terms, price.as_ref(), &version)?;
    }
    report.thresholds = judged::thresholds(&terms);
    let note = |asked: &Asked| wording::asked(asked, measured.cores);
    if let Some(old) = note(&before) {
        report.sources.notes.retain(|kept| *kept != old);
    }
    if let Some(new) = note(&asked) {
        report.sources.notes.insert(0, new);
    }
    let spoken = asked.engine.as_deref().and_then(Engine::named);
    report.asked = Some(asked);
    in_words_of(&mut report, spoken);
    Ok(report)
}

/// Judges the stages of a gate's result again for another machine. What the gate makes of them is not in it: the gate's rules
/// say that.
///
/// # Errors
/// Names what the result does not carry.
pub fn rescore_gate(check: &Check, again: &Again) -> Result<Check, CannotRescore> {
    let mut check = check.clone();
    let version = check.schema_version.clone();
    let missing =
        |stage: &str, missing| CannotRescore::Missing { stage: stage.to_owned(), missing, version: version.clone() };
    let first = check.results.first().map_or("", |result| result.name.as_str());
    let host = check.host.as_ref().ok_or_else(|| missing(first, "host"))?;
    let measured = Capacity::of(host.usable_cores, host.logical_cores, host.physical_cores, host.memory_limit_bytes);
    let before = check.asked.take().unwrap_or_default();
    let asked = Asked {
        cores: again.cores.or(before.cores),
        memory_bytes: again.memory_bytes.or(before.memory_bytes),
        ..before
    };
    let (io, cpu, ipc) = (check.thresholds.io, check.thresholds.cpu, check.thresholds.ipc);
    let terms = Terms {
        declared: None,
        capacity: measured.asked(asked.cores, asked.memory_bytes),
        costs: None,
        thresholds: verdict::Thresholds { io, cpu, ipc }.checked()?,
        arrival_rate: None,
    };
    for stage in &mut check.stages {
        let result = check.results.iter().find(|result| result.stage_id.as_ref() == Some(&stage.id));
        let costs = result.and_then(|result| result.costs.as_ref());
        // Without them nothing is predicted, and what was predicted would be lost.
        if costs.is_none() && !stage.predictions.is_empty() {
            return Err(missing(&stage.name, "costs"));
        }
        judge_again(stage, again, &Terms { costs: costs.map(saved::costs_of), ..terms }, None, &version)?;
    }
    check.asked = Some(asked);
    Ok(check)
}

fn judge_again(
    stage: &mut Stage,
    again: &Again,
    terms: &Terms,
    price: Option<&PayloadPrice>,
    version: &str,
) -> Result<(), CannotRescore> {
    let evidence = saved::evidence_of(stage).ok_or_else(|| CannotRescore::Missing {
        stage: stage.name.clone(),
        missing: "evidence",
        version: version.to_owned(),
    })?;
    let payload = payload(stage, again, price)?;
    let declared = again.executor.or(stage.declared_executor.map(Into::into));
    let terms = Terms { declared, ..*terms };
    let judgement = judge(&evidence, payload.as_ref(), &terms);
    stage.warnings.retain(|warning| !verdict::Warning::of_request(&warning.code));
    judged::apply(&judgement, payload.as_ref(), &evidence, &terms, stage);
    stage.demand = evidence.task_with(payload.as_ref()).as_ref().map(saved::demand);
    Ok(())
}

/// The payload of a stage: its own, or of the sizes that are to be.
fn payload(stage: &Stage, again: &Again, price: Option<&PayloadPrice>) -> Result<Option<Payload>, CannotRescore> {
    let kept = saved::payload_of(stage);
    let outside = stage.evidence.as_ref().is_some_and(|evidence| evidence.outside_stages);
    if outside || again.payload_in.is_none() && again.payload_out.is_none() {
        return Ok(kept);
    }
    let none = || CannotRescore::NoPrice { stage: stage.name.clone() };
    let (fixed, per_byte) = match (price, &kept) {
        // Its own objects were pickled: they tell more than `bytes` objects do.
        (
            _,
            Some(Payload {
                source: PayloadSource::Measured, seconds: Some(seconds), argument_bytes, result_bytes, ..
            }),
        ) if argument_bytes.unwrap_or(0).saturating_add(result_bytes.unwrap_or(0)) > 0 => {
            let bytes = argument_bytes.unwrap_or(0).saturating_add(result_bytes.unwrap_or(0));
            (0.0, seconds / bytes as f64)
        }
        (Some(price), _) => (price.fixed_seconds, price.seconds_per_byte),
        (None, _) => return Err(none()),
    };
    let seconds = |bytes: Option<u64>| bytes.map_or(0.0, |bytes| fixed + bytes as f64 * per_byte);
    let (argument_bytes, result_bytes) = (again.payload_in, again.payload_out);
    Ok(Some(Payload::declared(argument_bytes, result_bytes, Some(seconds(argument_bytes) + seconds(result_bytes)))))
}
