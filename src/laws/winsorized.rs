//! A mean that a few wild values cannot turn.

/// The mean after the greatest `share` of the values, and at least one of three or more, were put down to the greatest one
/// below them; `None` without values. Sorts them. Winsorizing on one side: what disturbs a timing only lengthens it (W. J. Dixon,
/// "Simplified estimation from censored normal samples", Ann. Math. Statist. 31, 1960).
pub fn winsorized_mean(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let least = usize::from(count > 2);
    let wild = ((count as f64 * share.clamp(0.0, 0.5)) as usize).max(least);
    let most = *values.get(count.checked_sub(wild + 1)?)?;
    Some(values.iter().map(|value| value.min(most)).sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wild_value_is_put_down_to_its_neighbour() {
        assert_eq!(winsorized_mean(&mut [], 0.1), None);
        assert_eq!(winsorized_mean(&mut [4.0], 0.1), Some(4.0));
        assert_eq!(winsorized_mean(&mut [4.0, 2.0], 0.1), Some(3.0), "of two nobody knows which is wild");
        assert_eq!(winsorized_mean(&mut [1.0, 1000.0, 2.0], 0.1), Some(5.0 / 3.0));
        let mut many: Vec<f64> = (0..16).map(|value| if value < 2 { 1e6 } else { 1.0 }).collect();
        assert_eq!(winsorized_mean(&mut many, 0.125), Some(1.0));
        let mut half: Vec<f64> = (0..16).map(|value| if value < 8 { 9.0 } else { 1.0 }).collect();
        assert_eq!(winsorized_mean(&mut half, 0.125), Some(5.0), "half of them are not wild");
    }
}
