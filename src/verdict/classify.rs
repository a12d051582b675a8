//! The class of a stage: its score against the thresholds, or unknown where the evidence is too thin.

use super::{Evidence, Thresholds};
use crate::stages::Phase;
use crate::units::Estimate;

/// On-CPU and own wait together below which there is nothing to judge, seconds.
const THIN_SECONDS: f64 = 0.010;
/// Of calls that are counted in windows, so many tell the class.
const ENOUGH_CALLS: u64 = 200;
/// An interval wider than this that reaches into another class decides none.
const WIDE: f64 = 0.3;
/// A stage with tasks that never ended is taken to hang from this share of lock waits on.
const LOCKED: f64 = 0.5;
/// A phase with less demand than this share of the stage's is not told: an interpreter's start is none.
const SMALL_PHASE: f64 = 0.10;

/// What a score says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Below the I/O threshold.
    IoBound,
    /// Between the two, both included.
    Hybrid,
    /// Above the CPU threshold.
    CpuBound,
    /// The evidence is too thin.
    Unknown,
}

/// The class of a score.
pub fn class_of(score: f64, thresholds: &Thresholds) -> Class {
    if score < thresholds.io {
        Class::IoBound
    } else if score > thresholds.cpu {
        Class::CpuBound
    } else {
        Class::Hybrid
    }
}

/// The class of a stage.
pub fn classify(evidence: &Evidence, thresholds: &Thresholds) -> Class {
    let Some(score) = evidence.score else { return Class::Unknown };
    // Who waits for a lock until the run is cut short may wait for good: that is no share of anything.
    let hangs = evidence.is_unfinished() && evidence.lock_wait > LOCKED * evidence.wait.max(evidence.cpu);
    if hangs || is_thin(evidence) || is_open(score, thresholds) {
        return Class::Unknown;
    }
    class_of(score.point, thresholds)
}

/// Whether there is too little of it to say anything at all.
pub fn is_thin(evidence: &Evidence) -> bool {
    // Calls that are too short to be recorded one by one leave little behind, but a window of them tells enough.
    let sampled = evidence.sampled_calls.is_some_and(|calls| calls >= ENOUGH_CALLS);
    evidence.score.is_none() || evidence.cpu + evidence.wait < THIN_SECONDS && !sampled
}

/// Whether the interval leaves the class open: all three are in it, or two and it is wide.
fn is_open(score: Estimate, thresholds: &Thresholds) -> bool {
    let (low, high) = (class_of(score.low, thresholds), class_of(score.high, thresholds));
    (low == Class::IoBound && high == Class::CpuBound) || (low != high && score.high - score.low > WIDE)
}

/// A stage's phases with neighbours of one class joined; empty unless at least two classes remain.
pub fn phases_by_class(evidence: &Evidence, thresholds: &Thresholds) -> Vec<(Phase, Class)> {
    let total: f64 = evidence.phases.iter().map(|phase| phase.demand).sum();
    let mut joined: Vec<(Phase, Class)> = Vec::new();
    for phase in evidence.phases.iter().filter(|phase| phase.demand > SMALL_PHASE * total) {
        let class = class_of(phase.score, thresholds);
        match joined.last_mut() {
            Some((last, last_class)) if *last_class == class => {
                let demand = last.demand + phase.demand;
                last.score = (last.score * last.demand + phase.score * phase.demand) / demand;
                last.demand = demand;
                last.end = phase.end;
            }
            _ => joined.push((*phase, class)),
        }
    }
    if let (Some(first), Some((phase, _))) = (evidence.phases.first(), joined.first_mut()) {
        phase.start = first.start;
    }
    if joined.len() < 2 { Vec::new() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_thresholds_belong_to_hybrid() {
        let thresholds = Thresholds::default();
        for (score, class) in [
            (0.0, Class::IoBound),
            (0.399, Class::IoBound),
            (0.4, Class::Hybrid),
            (0.55, Class::Hybrid),
            (0.7, Class::Hybrid),
            (0.701, Class::CpuBound),
            (1.0, Class::CpuBound),
        ] {
            assert_eq!(class_of(score, &thresholds), class, "{score}");
        }
    }
}
