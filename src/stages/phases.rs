//! Phases: stretches of a stage's life with different scores, by change-point detection on a coarse series.
//! A rhythm faster than a coarse bin is not a phase but an interleaving.

use crate::laws::change_points;
use crate::units::{Span, Timestamp, ratio};

/// The series is joined into at most this many points: nothing shorter than a few of them is a phase.
const POINTS: usize = 64;
/// Fewest points of a phase.
const SHORTEST: usize = 4;
/// A change must explain at least as much squared error as a step of 0.2 over a quarter of the run does.
const PENALTY: f64 = 0.01 * POINTS as f64;
/// Runs shorter than this have no phases worth cutting.
const SHORTEST_RUN: Span = Span::from_millis(400);

/// Phases that come to a score further from the whole's than this are of a part of its demand alone.
const DISAGREES: f64 = 0.1;

/// A stretch that holds one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// From the start of the run, seconds.
    pub start: f64,
    /// From the start of the run, seconds.
    pub end: f64,
    /// Its score.
    pub score: f64,
    /// On-CPU and own wait in it, seconds.
    pub demand: f64,
}

/// Phases of a series of `(on-CPU, on-CPU + own wait)` bins of `width` that begins at `origin`, within `first..last`.
pub fn phases_of(
    pairs: &[(f64, f64)],
    width: Span,
    origin: Timestamp,
    first: Timestamp,
    last: Timestamp,
) -> Vec<Phase> {
    if width == Span::ZERO || last.since(first) < SHORTEST_RUN {
        return Vec::new();
    }
    let from = ((first.since(origin).0 / width.0) as usize).min(pairs.len());
    let to = (last.since(origin).0.div_ceil(width.0) as usize).clamp(from, pairs.len());
    let joined = (to - from).div_ceil(POINTS).max(1);
    let coarse: Vec<(f64, f64)> = pairs[from..to]
        .chunks(joined)
        .map(|bins| bins.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1)))
        .collect();
    let total: f64 = coarse.iter().map(|point| point.1).sum();
    if total <= 0.0 {
        return Vec::new();
    }
    // Weighted by demand, in units of the mean point: where nothing was demanded nothing is to be learnt.
    let points: Vec<(f64, f64)> = coarse
        .iter()
        .map(|&(on_cpu, demand)| {
            (ratio(on_cpu, demand).unwrap_or(0.0), (demand * coarse.len() as f64 / total).min(4.0))
        })
        .collect();
    let penalty = PENALTY.max(2.0 * noise(&points) * (points.len() as f64).ln());
    let at = |index: usize| {
        let nanos = ((from + index * joined).min(to) as u64).saturating_mul(width.0);
        (origin + Span(nanos)).since(origin).secs_f64()
    };
    change_points(&points, SHORTEST, penalty)
        .into_iter()
        .map(|segment| {
            let sum =
                coarse[segment.start..segment.end].iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
            Phase {
                start: at(segment.start).max(first.since(origin).secs_f64()),
                end: at(segment.end).min(last.since(origin).secs_f64()),
                score: ratio(sum.0, sum.1).unwrap_or(0.0),
                demand: sum.1,
            }
        })
        .collect()
}

/// The phases, where together they say what the whole's score does; else none.
pub fn agreeing(phases: Vec<Phase>, score: Option<f64>) -> Vec<Phase> {
    let demand: f64 = phases.iter().map(|phase| phase.demand).sum();
    let on_cpu: f64 = phases.iter().map(|phase| phase.score * phase.demand).sum();
    match ratio(on_cpu, demand).zip(score) {
        Some((together, whole)) if (together - whole).abs() > DISAGREES => Vec::new(),
        _ => phases,
    }
}

/// Variance of a point around its level, from differences of neighbours: a step between two levels hardly shows in their
/// median (Rice's estimator made robust, σ ≈ 1.048 · median |xᵢ₊₁ − xᵢ|).
fn noise(points: &[(f64, f64)]) -> f64 {
    let mut differences: Vec<f64> = points.windows(2).map(|pair| (pair[1].0 - pair[0].0).abs()).collect();
    if differences.is_empty() {
        return 0.0;
    }
    differences.sort_by(f64::total_cmp);
    (1.048 * differences[differences.len() / 2]).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(score: impl Fn(usize) -> f64) -> Vec<Phase> {
        let width = Span::from_millis(20);
        let pairs: Vec<(f64, f64)> = (0..450).map(|bin| (0.02 * score(bin), 0.02)).collect();
        phases_of(&pairs, width, Timestamp(0), Timestamp(0), Timestamp(9_000_000_000))
    }

    #[test]
    fn fetch_then_compute_is_cut_where_it_turns() {
        let phases = found(|bin| if bin < 200 { 0.05 } else { 1.0 });
        assert_eq!(phases.len(), 2);
        assert!((phases[0].end - 4.0).abs() < 0.2, "{phases:?}");
        assert!(phases[0].score < 0.15 && phases[1].score > 0.9);
    }

    #[test]
    fn phases_that_say_another_score_than_the_whole_are_none() {
        let phases = found(|bin| if bin < 200 { 0.05 } else { 1.0 });
        let whole = (200.0 * 0.05 + 250.0) / 450.0;
        assert_eq!(agreeing(phases.clone(), Some(whole)).len(), 2);
        assert_eq!(agreeing(phases.clone(), Some(whole + 0.05)).len(), 2);
        assert!(agreeing(phases.clone(), Some(0.1)).is_empty());
        assert_eq!(agreeing(phases, None).len(), 2);
    }

    #[test]
    fn an_interleaving_has_no_phases() {
        let mut random = fastrand::Rng::with_seed(3);
        assert_eq!(found(|bin| if bin % 4 < 2 { 0.0 } else { 1.0 }).len(), 1);
        let noisy: Vec<f64> = (0..450).map(|_| random.f64()).collect();
        assert_eq!(found(|bin| noisy[bin]).len(), 1);
    }
}
