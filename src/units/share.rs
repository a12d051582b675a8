//! Shares and ratios that are never NaN: an undefined quotient is `None`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of a whole, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Share(f64);

impl Share {
    /// `part` of `whole`, clamped to 0..=1; `None` where the whole is not positive or either is not finite.
    pub fn of(part: f64, whole: f64) -> Option<Share> {
        ratio(part, whole).map(|value| Share(value.clamp(0.0, 1.0)))
    }

    /// The value, 0..=1.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// `part / whole`, or `None` where the whole is not positive or the result is not finite.
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0 && part.is_finite()).then(|| part / whole).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undefined_quotient_is_none() {
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 1.0), None);
        assert_eq!(Share::of(3.0, 2.0).map(Share::value), Some(1.0));
    }
}
