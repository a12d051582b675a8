//! The demand on a single server from how long its customers were seen to wait for it.

/// More customers than this are not followed one by one.
const MOST: u32 = 512;
/// Halvings of the interval that the demand lies in: far finer than any measurement.
const HALVINGS: u32 = 40;

/// Seconds that each of `customers` keeps a server that they share, where one cycle of theirs takes `cycle` seconds with
/// nobody else there, that service included, and they were seen to wait `waited` seconds for it in each. `None` where nobody
/// waited or there is nobody to wait for.
///
/// Mean value analysis (Reiser & Lavenberg 1980; see [`super::closed_throughput`]) the other way round: the wait grows with
/// the demand, so the one that gives this wait is found by halving. Customers that come at random queue most; those that
/// come in turns queue less at the same demand, so what is found is the least that it can be.
pub fn demand_of_queue(customers: f64, cycle: f64, waited: f64) -> Option<f64> {
    let count = customers.round().clamp(0.0, f64::from(MOST)) as u32;
    if count < 2 || !(cycle > 0.0 && waited > 0.0) {
        return None;
    }
    let (mut low, mut high) = (0.0, cycle);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if wait_for(count, middle, cycle - middle) < waited { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high))
}

/// How long one of so many waits for a server of this demand before it is served, with a delay outside of it.
fn wait_for(customers: u32, demand: f64, delay: f64) -> f64 {
    let mut queue = 0.0;
    let mut waits = 0.0;
    for present in 1..=customers {
        waits = demand * queue;
        queue = f64::from(present) * (demand + waits) / (delay + demand + waits);
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_mean_value_analysis_the_other_way_round() {
        // Two customers, demand 1, delay 1: the second finds the first there half of the time.
        assert!((wait_for(2, 1.0, 1.0) - 0.5).abs() < 1e-12);
        let found = demand_of_queue(2.0, 2.0, 0.5).expect("they waited");
        assert!((found - 1.0).abs() < 1e-6, "{found}");
        assert_eq!(demand_of_queue(1.0, 2.0, 0.5), None, "nobody to wait for");
        assert_eq!(demand_of_queue(8.0, 2.0, 0.0), None, "nobody waited");
        // They cannot keep it for longer than their whole cycle.
        let most = demand_of_queue(4.0, 1e-2, 1.0).expect("they waited");
        assert!(most <= 1e-2 && most > 0.99e-2, "{most}");
    }

    proptest! {
        #[test]
        fn a_longer_wait_is_a_larger_demand(customers in 2u32..64, cycle in 1e-4f64..1.0, share in 0.001f64..1.0, more in 1.0f64..4.0) {
            let demand = |waited| demand_of_queue(f64::from(customers), cycle, waited).expect("they waited");
            let waited = wait_for(customers, cycle * share, cycle * (1.0 - share));
            prop_assert!((demand(waited) / (cycle * share) - 1.0).abs() < 1e-3, "{} {}", demand(waited), cycle * share);
            prop_assert!(demand(waited * more) >= demand(waited) - 1e-12);
        }
    }
}
