//! A number with its width: low, point, high.

use serde::{Deserialize, Serialize};

/// A point estimate with its 95 % interval; `low <= point <= high` always holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// The point estimate.
    pub point: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

impl Estimate {
    /// Builds an estimate; the interval is stretched to hold the point.
    pub fn new(low: f64, point: f64, high: f64) -> Estimate {
        Estimate { low: low.min(point), point, high: high.max(point) }
    }

    /// Clamps all three values to `low..=high`.
    pub fn clamped(self, low: f64, high: f64) -> Estimate {
        Estimate {
            low: self.low.clamp(low, high),
            point: self.point.clamp(low, high),
            high: self.high.clamp(low, high),
        }
    }

    /// The smallest interval that holds both, keeping this point.
    pub fn widened(self, low: f64, high: f64) -> Estimate {
        Estimate { low: self.low.min(low), point: self.point, high: self.high.max(high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_always_holds_the_point() {
        let estimate = Estimate::new(0.6, 0.5, 0.55);
        assert_eq!((estimate.low, estimate.point, estimate.high), (0.5, 0.5, 0.55));
        assert_eq!(Estimate::new(-1.0, 0.5, 2.0).clamped(0.0, 1.0).low, 0.0);
    }
}
