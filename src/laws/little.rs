//! Little's law.

/// How many are in a system on average, where `rate` of them arrive a second and each stays for `residence` seconds:
/// N = λ · R.
///
/// Source: J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9(3), 1961. Holds for any
/// system in balance, whatever the distributions.
pub fn present(rate: f64, residence: f64) -> f64 {
    rate * residence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_times_stay() {
        assert_eq!(present(20.0, 0.25), 5.0);
        assert_eq!(present(0.0, 3.0), 0.0);
    }
}
