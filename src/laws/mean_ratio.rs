//! The mean of ratios that were measured in pairs, and a quantile of a few numbers.

use super::two_sided_95;
use crate::units::Estimate;

/// The geometric mean of `ratios` with its 95 % interval, `None` for the interval of fewer than two; nothing where there is
/// no ratio, or one that is not positive.
///
/// Source: Fleming & Wallace, *How not to lie with statistics: the correct way to summarize benchmark results* (CACM 29:3,
/// 1986): ratios are averaged geometrically. The interval is Student's for the mean of their logarithms, whose variance is
/// that of the pairs: what befell both sides of a pair is not in it (Jain, *The Art of Computer Systems Performance
/// Analysis*, 1991, ch. 13.4, paired observations).
pub fn mean_ratio(ratios: &[f64]) -> Option<(f64, Option<Estimate>)> {
    if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite() || *ratio <= 0.0) {
        return None;
    }
    let count = ratios.len() as f64;
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / count;
    let point = mean.exp();
    let interval = (ratios.len() > 1).then(|| {
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let half = two_sided_95(ratios.len() - 1) * (variance / count).sqrt();
        Estimate::new((mean - half).exp(), point, (mean + half).exp())
    });
    Some((point, interval))
}

/// The `share` quantile of `values`, the least of them that has at least that share at or below it (nearest rank); `None`
/// of nothing, or where one is not a number.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut ranked = values.to_vec();
    if ranked.iter().any(|value| value.is_nan()) {
        return None;
    }
    ranked.sort_by(f64::total_cmp);
    let rank = (share.clamp(0.0, 1.0) * ranked.len() as f64).ceil() as usize;
    ranked.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ratio_and_its_inverse_cancel_out() {
        let (point, interval) = mean_ratio(&[2.0, 0.5]).expect("they are positive");
        assert!((point - 1.0).abs() < 1e-12);
        assert!(interval.is_some_and(|interval| interval.low < 0.01 && interval.high > 100.0));
        assert_eq!(mean_ratio(&[1.5]).map(|(point, interval)| (point, interval.is_none())), Some((1.5, true)));
    }

    #[test]
    fn nothing_follows_from_nothing() {
        assert_eq!(mean_ratio(&[]), None);
        assert_eq!(mean_ratio(&[1.0, 0.0]), None);
        assert_eq!(mean_ratio(&[1.0, f64::NAN]), None);
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[f64::NAN], 0.5), None);
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.25, 0.5, 0.9, 1.0].map(|share| quantile(&values, share)), {
            [Some(1.0), Some(1.0), Some(2.0), Some(4.0), Some(4.0)]
        });
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_mean_and_scales_with_the_ratios(ratios in proptest::collection::vec(0.01f64..100.0, 2..12), factor in 0.1f64..10.0) {
            let (point, interval) = mean_ratio(&ratios).expect("they are positive");
            let interval = interval.expect("there are two");
            prop_assert!(interval.low <= point && point <= interval.high);
            let scaled: Vec<f64> = ratios.iter().map(|ratio| ratio * factor).collect();
            let (larger, _) = mean_ratio(&scaled).expect("they are positive");
            prop_assert!((larger / point / factor - 1.0).abs() < 1e-9);
        }
    }
}
