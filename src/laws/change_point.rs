//! Where a series changes its level: optimal partitioning with a penalty for every change.

/// A stretch of a series that holds one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// First index.
    pub start: usize,
    /// One past the last index.
    pub end: usize,
    /// Weighted mean of its values.
    pub level: f64,
}

/// Cuts `points` of `(value, weight)` into segments of constant level, each at least `shortest` points long.
///
/// Minimises Σ weighted squared error + `penalty` a segment by dynamic programming over all partitions (Jackson et al.,
/// *An algorithm for optimal partitioning of data on an interval*, IEEE Signal Processing Letters 12, 2005). Exact;
/// O(n²) in the number of points. Weights are relative: only their proportions matter with the penalty's scale.
pub fn change_points(points: &[(f64, f64)], shortest: usize, penalty: f64) -> Vec<Segment> {
    let count = points.len();
    let shortest = shortest.max(1);
    if count == 0 {
        return Vec::new();
    }
    // Prefix sums of w, w·x and w·x², so that any stretch's cost takes constant time.
    let mut sums = vec![(0.0, 0.0, 0.0); count + 1];
    for (index, &(value, weight)) in points.iter().enumerate() {
        let before: (f64, f64, f64) = sums[index];
        sums[index + 1] = (before.0 + weight, before.1 + weight * value, before.2 + weight * value * value);
    }
    let cost = |from: usize, to: usize| {
        let weight = sums[to].0 - sums[from].0;
        let first = sums[to].1 - sums[from].1;
        if weight > 0.0 { (sums[to].2 - sums[from].2 - first * first / weight).max(0.0) } else { 0.0 }
    };
    let mut best = vec![f64::INFINITY; count + 1];
    let mut last = vec![0usize; count + 1];
    best[0] = -penalty;
    for to in shortest.min(count)..=count {
        for from in 0..=to.saturating_sub(shortest.min(count)) {
            let total = best[from] + cost(from, to) + penalty;
            if total < best[to] {
                best[to] = total;
                last[to] = from;
            }
        }
    }
    let mut segments = Vec::new();
    let mut end = count;
    while end > 0 {
        let start = last[end];
        let weight = sums[end].0 - sums[start].0;
        let level = if weight > 0.0 { (sums[end].1 - sums[start].1) / weight } else { 0.0 };
        segments.push(Segment { start, end, level });
        end = start;
    }
    segments.reverse();
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_one_change() {
        let points: Vec<(f64, f64)> = (0..64).map(|index| (if index < 28 { 0.05 } else { 0.98 }, 1.0)).collect();
        let found = change_points(&points, 4, 0.5);
        assert_eq!(found.iter().map(|segment| (segment.start, segment.end)).collect::<Vec<_>>(), [(0, 28), (28, 64)]);
    }

    #[test]
    fn a_rhythm_is_not_a_phase() {
        let points: Vec<(f64, f64)> = (0..64).map(|index| (f64::from(index % 2), 1.0)).collect();
        assert_eq!(change_points(&points, 4, 1.0).len(), 1);
        assert!(change_points(&[], 4, 1.0).is_empty());
    }
}
