//! How many workers a rate of arrivals needs: from how many tasks a second each number of workers gets through.

use crate::laws::present;

/// A pool that is busier than this share of what it can do lets its queue grow long: with random arrivals the wait goes as
/// 1/(1 − ρ) (Kleinrock, *Queueing Systems* I, ch. 3).
pub const BUSY: f64 = 0.8;

/// This share of the highest throughput is near enough.
const PEAK: f64 = 0.97;

/// What a rate of arrivals asks of an executor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Tasks that arrive in a second.
    pub rate: f64,
    /// Workers that are busy with them on average, by Little's law.
    pub busy: f64,
    /// The least number of workers that keeps up; `None` where no number does.
    pub workers: Option<u32>,
    /// What those workers, or at the most any number of them, get through in a second.
    pub per_second: f64,
}

/// The workers for `rate` tasks a second of `task_seconds` each. `throughput`: numbers of workers, growing, with the tasks
/// a second that they get through. The least number that stays below [`BUSY`], or comes near the peak where that is not possible;
/// `None` where nothing is known of the throughput.
pub fn staffing(rate: f64, task_seconds: f64, throughput: &[(u32, f64)]) -> Option<Arrival> {
    let most = throughput.iter().map(|one| one.1).fold(f64::NEG_INFINITY, f64::max);
    if !(most.is_finite() && most > 0.0) {
        return None;
    }
    // With room to spare as far as the peak allows; the last few per cent of it are dear.
    let wanted = (rate / BUSY).min(PEAK * most).max(rate);
    let found = throughput.iter().find(|one| one.1 >= wanted);
    Some(Arrival {
        rate,
        busy: present(rate, task_seconds),
        workers: found.map(|one| one.0),
        per_second: found.map_or(most, |one| one.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_keeps_up_with_some_room_or_just_so_or_not_at_all() {
        let pool = [(1, 10.0), (2, 20.0), (3, 25.0)];
        let workers = |rate| staffing(rate, 0.1, &pool).and_then(|found| found.workers);
        assert_eq!((workers(8.0), workers(8.1), workers(19.0)), (Some(1), Some(2), Some(3)));
        assert_eq!(workers(24.0), Some(3), "busier than it should be, but it keeps up");
        let late = staffing(26.0, 0.1, &pool).expect("known");
        assert_eq!((late.workers, late.per_second), (None, 25.0));
        assert_eq!(staffing(1.0, 0.1, &[]), None);
        // Near the peak a higher rate does not need fewer than one that still leaves room.
        let steep: Vec<(u32, f64)> = (1..=64).map(|count: u32| (count, f64::from(count.min(23)) / 0.69)).collect();
        let steeply = |rate| staffing(rate, 0.69, &steep).and_then(|found| found.workers);
        assert!(steeply(26.3) <= steeply(31.6), "{:?} {:?}", steeply(26.3), steeply(31.6));
    }

    proptest! {
        #[test]
        fn a_higher_rate_never_needs_fewer(low in 0.01f64..50.0, more in 0.0f64..50.0, each in 1e-3f64..1.0, cores in 1u32..64) {
            let pool: Vec<(u32, f64)> = (1..=128).map(|count: u32| (count, f64::from(count.min(cores)) / each)).collect();
            let workers = |rate| staffing(rate, each, &pool).and_then(|found| found.workers).unwrap_or(u32::MAX);
            prop_assert!(workers(low) <= workers(low + more));
            let found = staffing(low, each, &pool).expect("known");
            if let Some(count) = found.workers {
                prop_assert!(f64::from(count) + 1e-6 >= found.busy, "{found:?}");
            }
        }
    }
}
