//! The score with its interval: the run's own variation, widened by all that was not seen.

use crate::laws::{ratio_of_batches, wilson};
use crate::timeline::{Bin, Demand, Lane, Program};
use crate::units::{Estimate, ratio};

/// No score is known better than this.
const FINEST: f64 = 0.002;
/// Without records a thread's beginning and end are known to half a clock tick and half a round, seconds.
const BOUNDARY_SECONDS: f64 = 0.005;

/// With records, so many looks tell the kinds of waits of each shape.
const MANY_LOOKS: f64 = 20.0;

/// on-CPU / (on-CPU + own wait). `strata`: its demand over time, cut where the level changes. `sampled`: boundaries of threads come from readings, not from records.
pub fn score_of(demand: &Demand, strata: &[Vec<(f64, f64)>], threads: u64, sampled: bool) -> Option<Estimate> {
    let own = demand.own.sum();
    let point = ratio(demand.on_cpu, demand.on_cpu + own)?;
    let mut estimate = match half_width(strata) {
        Some(half_width) => Estimate::new(point - half_width, point, point + half_width),
        // Too short to vary: the score of this run is known, that of the next one is not.
        None => Estimate::new(0.0, point, 1.0),
    };
    let with = |on_cpu: f64, own: f64| ratio(on_cpu.max(0.0), on_cpu.max(0.0) + own.max(0.0)).unwrap_or(point);
    // Lost records: all of it could be wait, or all of it CPU.
    let (low, high) = (with(demand.on_cpu, own + demand.unknown), with(demand.on_cpu + demand.unknown, own));
    estimate = widen(estimate, point, low, high);
    // Waits of no known kind may be starvation.
    estimate = widen(estimate, point, point, with(demand.on_cpu, own - demand.assumed_own));
    // Waits for others that lasted until their time-outs may have been waits for those.
    estimate = widen(estimate, point, with(demand.on_cpu, own + demand.doubtful), point);
    // Wake-up delays that are extrapolated may be half or half as much again.
    let blocked = own + demand.starved + demand.child;
    let doubt = 0.5 * demand.extrapolated_delay * ratio(own, blocked).unwrap_or(0.0);
    estimate = widen(estimate, point, with(demand.on_cpu, own + doubt), with(demand.on_cpu, own - doubt));
    // By records waits are told apart by their shapes already, which many looks know better than their share of all waits.
    if demand.looked_at > 0.0 && (sampled || demand.looks < MANY_LOOKS) {
        // How much of the blocked time is own was seen in so many looks, and in no others.
        let share = ratio(own, demand.told_apart).map_or(0.0, |share| share.min(1.0));
        let (least, most) = wilson(share, demand.looks);
        let (less, more) = (demand.looked_at * (share - least), demand.looked_at * (most - share));
        estimate = widen(estimate, point, with(demand.on_cpu, own + more), with(demand.on_cpu, own - less));
    }
    if sampled {
        let edge = BOUNDARY_SECONDS * (threads as f64).sqrt();
        estimate = widen(estimate, point, with(demand.on_cpu, own + edge), with(demand.on_cpu, own - edge));
    }
    Some(widen(estimate, point, point - FINEST, point + FINEST).clamped(0.0, 1.0))
}

/// Half-width of the whole's ratio: those of the strata, weighted by their share of the demand, add in squares (Cochran,
/// *Sampling Techniques*, §6.10, the separate ratio estimator).
fn half_width(strata: &[Vec<(f64, f64)>]) -> Option<f64> {
    let demand = |pairs: &[(f64, f64)]| pairs.iter().map(|pair| pair.1).sum::<f64>();
    let total: f64 = strata.iter().map(|pairs| demand(pairs)).sum();
    let mut squares = 0.0;
    for pairs in strata {
        let share = ratio(demand(pairs), total)?;
        if share > 0.0 {
            squares += (share * ratio_of_batches(pairs)?.half_width).powi(2);
        }
    }
    Some(squares.sqrt()).filter(|half_width| half_width.is_finite())
}

/// Adds an independent cause of error: half-widths add in squares.
fn widen(estimate: Estimate, point: f64, low: f64, high: f64) -> Estimate {
    let combine = |one: f64, other: f64| (one * one + other * other).sqrt();
    Estimate::new(
        point - combine(point - estimate.low, (point - low).max(0.0)),
        point,
        point + combine(estimate.high - point, (high - point).max(0.0)),
    )
}

/// The program's demand over time as `(on-CPU, on-CPU + own wait)` a bin.
pub fn pairs_of(program: &Program) -> Vec<(f64, f64)> {
    let demand = &program.demand;
    // What was not told apart when it happened is split as the whole was.
    let blocked = demand.own.sum() + demand.starved + demand.child;
    let own_share = ratio(demand.own.sum(), blocked).unwrap_or(1.0);
    let active = |bin: &Bin| bin.seconds(Lane::OwnWait) + own_share * bin.seconds(Lane::Unattributed);
    // Quiet threads' waits are own as far as those of the others do not come to what the whole has: none of an idle
    // thread's, all of one's that does its part.
    let bins = program.series.bins();
    let quiet: f64 = bins.iter().map(|bin| bin.seconds(Lane::QuietWait)).sum();
    let wanted = demand.own.sum() - bins.iter().map(active).sum::<f64>();
    let quiet_share = ratio(wanted, quiet).unwrap_or(0.0).clamp(0.0, 1.0);
    let own_of = |bin: &Bin| active(bin) + quiet_share * bin.seconds(Lane::QuietWait);
    // Whether a wait is a stage's own is settled only at its end; where less of it is, all bins hold less.
    let laid: f64 = bins.iter().map(own_of).sum();
    let kept = ratio(demand.own.sum(), laid).unwrap_or(1.0).min(1.0);
    let pair = |bin: &Bin| (bin.seconds(Lane::OnCpu), bin.seconds(Lane::OnCpu) + kept * own_of(bin));
    bins.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::OwnWait;
    use proptest::prelude::*;

    fn demand(on_cpu: f64, sleep: f64) -> Demand {
        Demand { on_cpu, own: OwnWait { sleep, ..OwnWait::default() }, ..Demand::default() }
    }

    #[test]
    fn a_plain_burn_is_known_exactly() {
        let pairs = vec![(0.01, 0.01); 100];
        let score = score_of(&demand(1.0, 0.0), &[pairs], 1, false).expect("there is demand");
        assert_eq!((score.point, score.high), (1.0, 1.0));
        assert!(score.low > 0.99);
    }

    #[test]
    fn no_demand_has_no_score() {
        assert_eq!(score_of(&demand(0.0, 0.0), &[], 1, false), None);
    }

    #[test]
    fn few_looks_leave_open_what_the_waits_between_them_were() {
        let pairs = vec![(0.01, 0.01); 60];
        let low = |own: f64, looks: f64, sampled: bool| {
            let waits = Demand { starved: 6.0 - own, told_apart: 6.0, looked_at: 6.0, looks, ..demand(0.6, own) };
            let score = score_of(&waits, std::slice::from_ref(&pairs), 4, sampled).expect("there is demand");
            score.low / score.point
        };
        assert!(low(0.0, 10.0, false) < 0.5, "ten waits in one thousand");
        assert!(low(0.0, 60.0, false) > 0.95, "sixty");
        assert!(low(0.0, 60.0, true) < 0.8, "without records they are not told apart by their shapes");
    }

    proptest! {
        #[test]
        fn more_loss_only_widens(on_cpu in 0.01f64..10.0, sleep in 0.0f64..10.0, lost in 0.0f64..5.0, more in 0.0f64..5.0) {
            let pairs = vec![(on_cpu / 50.0, (on_cpu + sleep) / 50.0); 50];
            let width = |unknown: f64| {
                let score = score_of(&Demand { unknown, ..demand(on_cpu, sleep) }, std::slice::from_ref(&pairs), 1, false).expect("demand");
                (score.low, score.high)
            };
            let (before, after) = (width(lost), width(lost + more));
            prop_assert!(after.0 <= before.0 + 1e-12 && after.1 >= before.1 - 1e-12);
        }
    }
}
