//! A median with its spread. Must not know what was measured.

use serde::{Deserialize, Serialize};

/// Above this share of the median, its spread says that the machine was not quiet.
const NOISY: f64 = 0.25;

/// The median of repeated measurements, with their median absolute deviation: a few disturbed ones move neither.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Median {
    /// The median.
    pub value: f64,
    /// The median of the distances from it.
    pub deviation: f64,
}

impl Median {
    /// Of these samples; `None` without any.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Median> {
        let samples: Vec<f64> = samples.into_iter().collect();
        let value = middle(samples.clone())?;
        let deviation = middle(samples.into_iter().map(|sample| (sample - value).abs()).collect())?;
        Some(Median { value, deviation })
    }

    /// Whether the spread is above 25 % of the median.
    pub fn noisy(self) -> bool {
        self.deviation > NOISY * self.value
    }

    /// Whether it can be a cost in seconds at all: what comes from a file or another program may be anything.
    pub(super) fn plausible(self) -> bool {
        (0.0..1.0).contains(&self.value) && (0.0..1.0).contains(&self.deviation)
    }
}

/// The middle sample, the upper of two.
fn middle(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_moves_neither_the_median_nor_its_spread() {
        assert_eq!(Median::of([]), None);
        assert_eq!(Median::of([1.0, 1.25, 9000.0, 0.75, 1.0]), Some(Median { value: 1.0, deviation: 0.25 }));
        assert!(!Median { value: 1.0, deviation: 0.25 }.noisy());
        assert!(Median { value: 1.0, deviation: 0.26 }.noisy());
        assert!(!Median { value: f64::NAN, deviation: 0.0 }.plausible());
        assert!(!Median { value: -1.0, deviation: 0.0 }.plausible());
    }
}
