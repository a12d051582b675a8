//! Interval of a share from a number of independent looks.

/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.959_964;

/// 95 % interval of a share `point` seen in `looks` independent looks: Wilson's score interval, which stays within 0..=1
/// and does not collapse at its ends (E. B. Wilson, *Probable inference, the law of succession, and statistical
/// inference*, JASA 22, 1927). (0, 1) for no look.
pub fn wilson(point: f64, looks: f64) -> (f64, f64) {
    if looks <= 0.0 || !point.is_finite() {
        return (0.0, 1.0);
    }
    let squared = Z * Z / looks;
    let centre = (point + squared / 2.0) / (1.0 + squared);
    let half = Z / (1.0 + squared) * (point * (1.0 - point) / looks + squared / (4.0 * looks)).max(0.0).sqrt();
    ((centre - half).max(0.0).min(point), (centre + half).min(1.0).max(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_wilson_s() {
        // 5 of 10: (0.2366, 0.7634), Newcombe 1998, table I, method 3.
        let (low, high) = wilson(0.5, 10.0);
        assert!((low - 0.2366).abs() < 1e-3 && (high - 0.7634).abs() < 1e-3, "{low} {high}");
        let (low, high) = wilson(1.0, 300.0);
        assert!(low > 0.98 && high == 1.0);
        assert_eq!(wilson(0.3, 0.0), (0.0, 1.0));
    }
}
