//! Asymptotic bounds of operational analysis for a closed system of N workers.

/// The number of workers at which `cores` are saturated: N* = C · (D + Z) / D.
///
/// Source: Lazowska et al., *Quantitative System Performance*, ch. 5 (asymptotic bounds; N* = (D + Z) / Dmax), with the
/// bottleneck's demand D spread over C cores. `None` where there is no demand.
pub fn saturation_point(cores: f64, demand: f64, wait: f64) -> Option<f64> {
    crate::units::ratio(cores * (demand + wait), demand)
}

/// Bound on the speed-up of running a program's copies from `workers` threads that each wait for a child of their own:
/// min(N, C · (D + Z) / D), with D the CPU time and Z the wait of one copy.
///
/// Source: as above; the parent's own demand per copy is left out, so this is an upper bound.
pub fn thread_of_children_bound(workers: f64, cores: f64, demand: f64, wait: f64) -> Option<f64> {
    saturation_point(cores, demand, wait).map(|limit| workers.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_where_the_cores_are_full() {
        assert_eq!(saturation_point(2.0, 1.0, 0.0), Some(2.0));
        assert_eq!(saturation_point(2.0, 1.0, 9.0), Some(20.0));
        assert_eq!(saturation_point(2.0, 0.0, 9.0), None);
        assert_eq!(thread_of_children_bound(4.0, 2.0, 1.0, 9.0), Some(4.0));
    }
}
