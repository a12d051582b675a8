//! The interval of a ratio of sums from the run's own variation: batch means.

use super::student::two_sided_95;

/// A ratio of sums with the half-width of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchRatio {
    /// Σ part ÷ Σ whole.
    pub ratio: f64,
    /// Half-width of the 95 % interval; infinite with fewer than two batches.
    pub half_width: f64,
}

/// Fewest and most batches that a run is cut into.
const BATCHES: [usize; 2] = [8, 24];

/// Σ part ÷ Σ whole of consecutive `(part, whole)` pairs, with its interval.
///
/// The pairs are joined into batches long enough that neighbouring batches hardly depend on each other; the variance of
/// the ratio is that of the linearised residuals `part − ratio·whole` of the batches (delta method; Law, *Simulation
/// Modeling and Analysis*, §9.5.3, batch means; Cochran, *Sampling Techniques*, §6.3, the ratio estimator). Several batch
/// sizes are tried and the widest interval is taken: a rhythm that one size averages out shows in another.
/// `None` where the whole is not positive.
pub fn ratio_of_batches(pairs: &[(f64, f64)]) -> Option<BatchRatio> {
    let (part, whole) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    if whole <= 0.0 || !part.is_finite() || !whole.is_finite() {
        return None;
    }
    let ratio = part / whole;
    let mut half_width: f64 = 0.0;
    let mut tried = false;
    for batches in [BATCHES[0], 12, 16, BATCHES[1]] {
        if pairs.len() >= batches {
            half_width = half_width.max(half_width_of(pairs, batches, ratio));
            tried = true;
        }
    }
    if !tried {
        half_width = half_width_of(pairs, pairs.len(), ratio);
    }
    Some(BatchRatio { ratio, half_width })
}

fn half_width_of(pairs: &[(f64, f64)], batches: usize, ratio: f64) -> f64 {
    // Batches of equal demand, not of equal time: where a stage was idle nothing is to be learnt.
    let whole: f64 = pairs.iter().map(|pair| pair.1).sum();
    let mut sums: Vec<(f64, f64)> = Vec::with_capacity(batches);
    let mut current = (0.0, 0.0);
    let mut reached = 0.0;
    for pair in pairs {
        current.0 += pair.0;
        current.1 += pair.1;
        reached += pair.1;
        if reached >= whole * (sums.len() + 1) as f64 / batches as f64 * (1.0 - 1e-9) {
            sums.push(std::mem::take(&mut current));
        }
    }
    if current.1 > 0.0 {
        sums.push(current);
    }
    let count = sums.len();
    if count < 2 {
        return f64::INFINITY;
    }
    let mean_whole = whole / count as f64;
    let residuals = sums.iter().map(|(part, whole)| (part - ratio * whole).powi(2)).sum::<f64>();
    let variance = residuals / (count as f64 - 1.0) / count as f64 / mean_whole.powi(2);
    two_sided_95(count - 1) * variance.sqrt()
}

/// Mean of several runs' values with the half-width of its 95 % interval (Student's t); `None` for no run at all.
pub fn spread_of_runs(values: &[f64]) -> Option<BatchRatio> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let ratio = values.iter().sum::<f64>() / count;
    if values.len() == 1 {
        return Some(BatchRatio { ratio, half_width: f64::INFINITY });
    }
    let variance = values.iter().map(|value| (value - ratio).powi(2)).sum::<f64>() / (count - 1.0) / count;
    Some(BatchRatio { ratio, half_width: two_sided_95(values.len() - 1) * variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(random: &mut fastrand::Rng, mean: f64) -> f64 {
        -mean * (1.0 - random.f64()).ln()
    }

    /// A stage of random CPU and wait pieces, cut into `bins` as a run of `length` seconds would be.
    fn run(random: &mut fastrand::Rng, length: f64, bins: usize) -> Vec<(f64, f64)> {
        let width = length / bins as f64;
        let mut pairs = vec![(0.0, width); bins];
        let mut at = 0.0;
        while at < length {
            let (busy, wait) = (exponential(random, 0.006), exponential(random, 0.006));
            let mut from = at;
            while from < (at + busy).min(length) {
                let bin = ((from / width) as usize).min(bins - 1);
                let to = ((bin + 1) as f64 * width).min(at + busy).min(length);
                pairs[bin].0 += (to - from).max(1e-12);
                from = to.max(from + 1e-9);
            }
            at += busy + wait;
        }
        pairs
    }

    #[test]
    fn the_interval_covers_the_long_run_value_and_shrinks_with_length() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut widths = Vec::new();
        for length in [0.5, 2.0, 8.0] {
            let (mut covered, mut width) = (0, 0.0);
            for _ in 0..400 {
                let found = ratio_of_batches(&run(&mut random, length, 400)).expect("there is demand");
                covered += i32::from((found.ratio - 0.5).abs() <= found.half_width);
                width += found.half_width;
            }
            assert!(covered >= 370, "{length} s: {covered} of 400");
            widths.push(width / 400.0);
        }
        assert!(widths[0] > 1.6 * widths[1] && widths[1] > 1.6 * widths[2], "{widths:?}");
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(ratio_of_batches(&[]), None);
        assert_eq!(ratio_of_batches(&[(0.0, 0.0)]), None);
        assert!(ratio_of_batches(&[(1.0, 1.0)]).is_some_and(|found| found.half_width.is_infinite()));
    }
}
