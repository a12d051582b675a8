//! The Universal Scalability Law: throughput over the number of workers, with contention and coherency.

use thiserror::Error;

/// Fewer points than this fit three parameters too well to mean anything.
const LEAST_POINTS: usize = 4;
/// The fit must explain this share of the variance of the throughputs and miss none of them by more than so much of it …
const LEAST_R_SQUARED: f64 = 0.8;
const MOST_MISSED: f64 = 0.3;
/// … or come as close as this to all: of a flat curve there is no variance to explain.
const CLOSE: f64 = 0.05;

/// A fitted curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalability {
    /// λ: throughput of one worker, in the unit of the points.
    pub lambda: f64,
    /// σ ≥ 0: contention, the share of the work that is done by one at a time.
    pub sigma: f64,
    /// κ ≥ 0: coherency, the cost of every pair of workers.
    pub kappa: f64,
    /// Share of the variance of the throughputs that it explains; at most 1.
    pub r_squared: f64,
}

/// Why no curve is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum NoFit {
    /// Too few numbers of workers.
    #[error("it takes {LEAST_POINTS} numbers of workers, and {0} gave a throughput")]
    TooFew(usize),
    /// A throughput that is not positive.
    #[error("a throughput is not positive")]
    NotPositive,
    /// The law does not describe the points.
    #[error("the throughputs do not follow the law (R² {r_squared:.2}, one is missed by {:.0} %)", worst * 100.0)]
    Poor {
        /// R² of the best fit.
        r_squared: f64,
        /// The largest error of it, relative to the throughput.
        worst: f64,
    },
}

impl Scalability {
    /// X(N) = λN / (1 + σ(N−1) + κN(N−1)).
    ///
    /// Source: N. J. Gunther, *Guerrilla Capacity Planning* (2007), ch. 4 (there α and β).
    pub fn throughput(&self, workers: f64) -> f64 {
        let denominator = 1.0 + self.sigma * (workers - 1.0) + self.kappa * workers * (workers - 1.0);
        self.lambda * workers / denominator
    }

    /// N* = √((1−σ)/κ), at least 1: from there on more workers do less. `None` without coherency: then there is no such
    /// number, and throughput nears λ/σ.
    ///
    /// Source: as above: where dX/dN = 0.
    pub fn peak_workers(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma) / self.kappa).max(0.0).sqrt().max(1.0)).filter(|n| n.is_finite())
    }
}

/// Fits the law to points of (workers, throughput).
///
/// N/X is linear in the unknowns: N/X = a + b(N−1) + cN(N−1), with λ = 1/a, σ = b/a, κ = c/a (Gunther, as above, ch. 5).
/// Solved by least squares for a, b, c ≥ 0, each point weighed by (X/N)², so that errors relative to the throughput count
/// alike. With two bounded unknowns the best of the four sets of unknowns that are free is the solution.
///
/// # Errors
/// Why the points give no curve.
pub fn fit_scalability(points: &[(f64, f64)]) -> Result<Scalability, NoFit> {
    let mut counts: Vec<f64> = points.iter().map(|point| point.0).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    if counts.len() < LEAST_POINTS {
        return Err(NoFit::TooFew(counts.len()));
    }
    if points.iter().any(|&(workers, throughput)| !(workers >= 1.0 && throughput > 0.0 && throughput.is_finite())) {
        return Err(NoFit::NotPositive);
    }
    // Divided by its weight, each row's right side is 1.
    let rows: Vec<[f64; 3]> = points
        .iter()
        .map(|&(workers, throughput)| {
            let weight = throughput / workers;
            [weight, weight * (workers - 1.0), weight * workers * (workers - 1.0)]
        })
        .collect();
    let free: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[0]];
    let missed = |found: &[f64; 3]| {
        rows.iter().map(|row| (1.0 - row.iter().zip(found).map(|(one, other)| one * other).sum::<f64>()).powi(2)).sum()
    };
    let best = free
        .iter()
        .filter_map(|unknowns| least_squares(&rows, unknowns))
        .filter(|found| found[0] > 0.0 && found[1] >= 0.0 && found[2] >= 0.0)
        .map(|found| (missed(&found), found))
        .min_by(|one: &(f64, [f64; 3]), other| one.0.total_cmp(&other.0));
    let Some((_, [a, b, c])) = best else { return Err(NoFit::NotPositive) };
    let mut fitted = Scalability { lambda: 1.0 / a, sigma: b / a, kappa: c / a, r_squared: 0.0 };
    let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64;
    let residual = |&(workers, throughput): &(f64, f64)| throughput - fitted.throughput(workers);
    let unexplained: f64 = points.iter().map(|point| residual(point).powi(2)).sum();
    let variance: f64 = points.iter().map(|point| (point.1 - mean).powi(2)).sum();
    let worst = points.iter().map(|point| (residual(point) / point.1).abs()).fold(0.0, f64::max);
    let r_squared = if variance > 0.0 { 1.0 - unexplained / variance } else { 1.0 };
    fitted.r_squared = r_squared;
    let describes = worst <= CLOSE || r_squared >= LEAST_R_SQUARED && worst <= MOST_MISSED;
    if describes { Ok(fitted) } else { Err(NoFit::Poor { r_squared, worst }) }
}

/// The unknowns that make Σ (1 − row·x)² least, all others 0: normal equations, solved by elimination with pivots. `None`
/// where they are not independent.
fn least_squares(rows: &[[f64; 3]], unknowns: &[usize]) -> Option<[f64; 3]> {
    let size = unknowns.len();
    let mut matrix = [[0.0; 4]; 3];
    for (line, &one) in unknowns.iter().enumerate() {
        for (column, &other) in unknowns.iter().enumerate() {
            matrix[line][column] = rows.iter().map(|row| row[one] * row[other]).sum();
        }
        matrix[line][size] = rows.iter().map(|row| row[one]).sum();
    }
    for column in 0..size {
        let pivot = (column..size).max_by(|&one, &other| {
            let size_of = |line: usize| matrix[line][column].abs();
            size_of(one).total_cmp(&size_of(other))
        })?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < f64::EPSILON * matrix[column][size].abs().max(f64::MIN_POSITIVE) {
            return None;
        }
        for line in 0..size {
            if line != column {
                let factor = matrix[line][column] / matrix[column][column];
                let pivot = matrix[column];
                for (value, above) in matrix[line].iter_mut().zip(pivot) {
                    *value -= factor * above;
                }
            }
        }
    }
    let mut found = [0.0; 3];
    for (line, &unknown) in unknowns.iter().enumerate() {
        found[unknown] = matrix[line][size] / matrix[line][line];
    }
    found.iter().all(|value| value.is_finite()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn curve(lambda: f64, sigma: f64, kappa: f64, counts: &[f64]) -> Vec<(f64, f64)> {
        let law = Scalability { lambda, sigma, kappa, r_squared: 1.0 };
        counts.iter().map(|&count| (count, law.throughput(count))).collect()
    }

    #[test]
    fn it_finds_what_the_points_were_made_of() {
        let fitted =
            fit_scalability(&curve(995.0, 0.02671, 0.000769, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0])).expect("a law");
        assert!((fitted.lambda - 995.0).abs() < 1e-3, "{fitted:?}");
        assert!((fitted.sigma - 0.02671).abs() < 1e-6 && (fitted.kappa - 0.000769).abs() < 1e-6, "{fitted:?}");
        assert!((fitted.peak_workers().expect("it has one") - 35.576).abs() < 1e-2, "{fitted:?}");
        assert!(fitted.r_squared > 0.999_999);
    }

    #[test]
    fn without_coherency_there_is_no_peak() {
        let linear = fit_scalability(&curve(10.0, 0.0, 0.0, &[1.0, 2.0, 4.0, 8.0])).expect("a law");
        assert!(linear.sigma.abs() < 1e-9 && linear.kappa.abs() < 1e-9, "{linear:?}");
        let flat = Scalability { lambda: 1.0, sigma: 0.5, kappa: 0.0, r_squared: 1.0 };
        assert_eq!(flat.peak_workers(), None);
        let falling = Scalability { lambda: 1.0, sigma: 1.5, kappa: 0.1, r_squared: 1.0 };
        assert_eq!(falling.peak_workers(), Some(1.0));
    }

    #[test]
    fn a_flat_curve_is_full_contention() {
        let flat = [(1.0, 1.0), (2.0, 1.02), (4.0, 0.99), (8.0, 1.01)];
        let fitted = fit_scalability(&flat).expect("it is missed by little");
        assert!((fitted.sigma - 1.0).abs() < 0.1, "{fitted:?}");
    }

    #[test]
    fn what_does_not_follow_the_law_is_refused() {
        assert_eq!(fit_scalability(&curve(1.0, 0.1, 0.0, &[1.0, 2.0, 4.0])), Err(NoFit::TooFew(3)));
        let twice = [(1.0, 1.0), (1.0, 1.1), (2.0, 1.5), (4.0, 2.0)];
        assert_eq!(fit_scalability(&twice), Err(NoFit::TooFew(3)));
        let wild = [(1.0, 1.0), (2.0, 0.2), (4.0, 3.0), (8.0, 0.3)];
        assert!(matches!(fit_scalability(&wild), Err(NoFit::Poor { .. })), "{:?}", fit_scalability(&wild));
        // More than linear: no contention explains that.
        let steep = [(1.0, 1.0), (2.0, 4.0), (4.0, 16.0), (8.0, 64.0)];
        assert!(matches!(fit_scalability(&steep), Err(NoFit::Poor { .. })), "{:?}", fit_scalability(&steep));
        assert_eq!(fit_scalability(&[(1.0, 1.0), (2.0, 0.0), (3.0, 1.0), (4.0, 1.0)]), Err(NoFit::NotPositive));
    }

    proptest! {
        #[test]
        fn any_law_is_found_again(lambda in 1e-3f64..1e6, sigma in 0.0f64..0.9, kappa in 0.0f64..0.05) {
            let points = curve(lambda, sigma, kappa, &[1.0, 2.0, 3.0, 4.0, 8.0, 16.0]);
            let fitted = fit_scalability(&points).expect("they follow it");
            prop_assert!((fitted.lambda / lambda - 1.0).abs() < 1e-6, "{fitted:?}");
            prop_assert!((fitted.sigma - sigma).abs() < 1e-5 && (fitted.kappa - kappa).abs() < 1e-6, "{fitted:?}");
        }

        #[test]
        fn parameters_are_never_negative(noise in proptest::collection::vec(0.5f64..2.0, 6)) {
            let points: Vec<(f64, f64)> = noise.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]).map(|(&noise, count)| (count, noise * count)).collect();
            if let Ok(fitted) = fit_scalability(&points) {
                prop_assert!(fitted.sigma >= 0.0 && fitted.kappa >= 0.0 && fitted.lambda > 0.0 && fitted.r_squared <= 1.0 + 1e-9);
            }
        }
    }
}
