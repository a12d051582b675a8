//! What pickling one payload of a stage takes, from readings of a few: a mean over all sizes, for what is moved is the sum,
//! in which one bad timing counts for little. Must not price the way from process to process.

use crate::laws::winsorized_mean;
use crate::timeline::PayloadSums;
use crate::trace::PayloadReading;
use crate::units::ratio;

/// Of the readings of one size, the dearest are put down to the next dearest.
const WILD_SHARE: f64 = 0.125;
/// Payloads below this take no longer, and no less, than the calibration of this host allows.
const SMALL_BYTES: f64 = 4096.0;
/// By how much: objects may be dearer than the small dicts that were calibrated, or cheaper than one `bytes`.
const ALLOWANCE: f64 = 10.0;
/// How much the price of a payload may be off, either way, however often it was measured.
const BASE_ERROR: f64 = 0.25;
/// The same where one or two were measured.
const FEW_ERROR: [f64; 2] = [1.0, 0.5];
/// How much the price of a payload may be off that is moved as a part of a larger one.
const PART_ERROR: f64 = 0.5;
/// Nobody is surer than that a price lies between nothing and twice the mean.
const MOST_ERROR: f64 = 1.0;
/// 95 % of a normal distribution.
const Z: f64 = 1.96;

/// What the calibration allows a small payload to take, seconds and seconds a byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PickleBounds {
    /// Pickling next to nothing, or unpickling it.
    pub fixed: f64,
    /// Pickling a byte of the cheapest and of a dear object.
    pub pickle: (f64, f64),
    /// The same of unpickling.
    pub unpickle: (f64, f64),
}

/// One payload of a direction, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PickledPayload {
    /// How many were measured.
    pub readings: u64,
    /// Its size.
    pub bytes: f64,
    /// Seconds to pickle it.
    pub pickle: f64,
    /// Seconds to unpickle it; as long as the pickling where that was not tried.
    pub unpickle: f64,
    /// How much these may be off, either way, as a share of them: 0..=1.
    pub error: f64,
}

impl PickledPayload {
    /// The mean of what was measured; `None` where nothing was.
    pub fn of(sums: &PayloadSums, bounds: Option<&PickleBounds>) -> Option<PickledPayload> {
        let bytes = sums.mean_bytes()?;
        let mut sizes: Vec<(f64, f64, f64)> = Vec::new();
        for class in sums.classes.values() {
            let size = ratio(class.bytes as f64, class.count as f64)?;
            let rates = |seconds: fn(&PayloadReading) -> Option<f64>| {
                let of_byte = |one: &PayloadReading| Some(seconds(one)? / one.bytes.max(1) as f64);
                let mut found: Vec<f64> = class.kept.iter().filter_map(of_byte).collect();
                winsorized_mean(&mut found, WILD_SHARE).map(|rate| rate * size.max(1.0))
            };
            let pickle = rates(|one| Some(one.pickle.secs_f64()))?;
            let unpickle = rates(|one| one.unpickle.map(|span| span.secs_f64()));
            let within = |seconds: f64, rates: fn(&PickleBounds) -> (f64, f64)| match bounds {
                Some(bounds) if size < SMALL_BYTES => {
                    let (least, dear) = rates(bounds);
                    let low = (bounds.fixed + least * size) / ALLOWANCE;
                    seconds.clamp(low, low.max((bounds.fixed + dear * size) * ALLOWANCE))
                }
                _ => seconds,
            };
            let pickle = within(pickle, |bounds| bounds.pickle);
            let unpickle = unpickle.map_or(pickle, |seconds| within(seconds, |bounds| bounds.unpickle));
            sizes.push((class.count as f64, pickle, unpickle));
        }
        let count: f64 = sizes.iter().map(|size| size.0).sum();
        let mean = |of: fn(&(f64, f64, f64)) -> f64| ratio(sizes.iter().map(|size| size.0 * of(size)).sum(), count);
        let (pickle, unpickle) = (mean(|size| size.1)?, mean(|size| size.2)?);
        // Sizes differ: the few that were measured need not be the stage's mix.
        let apart = |size: &(f64, f64, f64)| size.0 * (size.1 + size.2 - pickle - unpickle).powi(2);
        let variance = ratio(sizes.iter().map(apart).sum(), count - 1.0).unwrap_or(0.0);
        let mixed = ratio(Z * (variance / count).sqrt(), pickle + unpickle).unwrap_or(0.0);
        let few = usize::try_from(sums.count).ok().and_then(|count| FEW_ERROR.get(count.checked_sub(1)?));
        let error = few.copied().unwrap_or(BASE_ERROR).hypot(mixed).min(MOST_ERROR);
        Some(PickledPayload { readings: sums.count, bytes, pickle, unpickle, error })
    }

    /// The same where so many are pickled as one: what a pickle costs whatever is in it is then shared. What a small one costs
    /// as a part of another was not measured; that is its bytes, as far as the calibration allows.
    pub fn in_chunks(self, chunk: f64, bounds: Option<&PickleBounds>) -> PickledPayload {
        let Some(bounds) = bounds.filter(|_| chunk > 1.0 && self.bytes < SMALL_BYTES) else { return self };
        let part = |seconds: f64, (least, dear): (f64, f64)| {
            let own = (seconds - bounds.fixed).clamp(least * self.bytes, (dear * self.bytes).max(least * self.bytes));
            let own = own.min(seconds);
            own + (seconds - own) / chunk
        };
        PickledPayload {
            pickle: part(self.pickle, bounds.pickle),
            unpickle: part(self.unpickle, bounds.unpickle),
            error: self.error.max(PART_ERROR),
            ..self
        }
    }

    /// Seconds to pickle and to unpickle one.
    pub fn seconds(&self) -> f64 {
        self.pickle + self.unpickle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Tasks;
    use crate::trace::{Direction, RunsUnder, StageDefinition, TaskKind};
    use crate::units::Span;

    /// About what CPython 3.11 takes: a microsecond for nothing, 0.1 ns a byte of `bytes`, 15 ns of small dicts.
    const BOUNDS: PickleBounds = PickleBounds { fixed: 5e-7, pickle: (1e-10, 15e-9), unpickle: (1e-10, 20e-9) };

    /// What was measured of these bytes and nanoseconds.
    fn measured(readings: &[(u64, u64)]) -> PickledPayload {
        let definition = StageDefinition {
            stage: 0,
            kind: TaskKind::Function,
            executor: RunsUnder::Thread,
            workers: None,
            name: "pipeline.parse".into(),
            module: "pipeline".into(),
            file: String::new(),
            line: None,
            pool: String::new(),
            start_method: None,
        };
        let mut tasks = Tasks::new(&definition);
        for &(bytes, nanoseconds) in readings {
            let span = Span(nanoseconds);
            let direction = Direction::Argument;
            tasks.note_payload(&PayloadReading {
                direction,
                bytes,
                pickle: span,
                unpickle: Some(span),
                extrapolated: false,
            });
        }
        PickledPayload::of(&tasks.arguments, Some(&BOUNDS)).expect("something was measured")
    }

    #[test]
    fn one_bad_timing_of_a_small_payload_turns_nothing() {
        // The thread lost its core for a millisecond while it pickled five bytes.
        for readings in [&[(5, 1_000_000)][..], &[(5, 900), (5, 1_000_000)], &[(5, 900), (5, 1_000_000), (5, 1_100)]] {
            let found = measured(readings);
            assert!(found.seconds() < 30e-6, "{found:?}");
            assert!(found.seconds() > 1e-7, "{found:?}");
        }
        // Nor is one believed that took no time at all.
        assert!(measured(&[(2000, 0)]).seconds() > 1e-7);
    }

    #[test]
    fn a_bad_timing_of_a_large_payload_counts_for_little_among_others() {
        let fair = [(100_000, 1_000_000); 9];
        let mut one_bad = fair;
        one_bad[4].1 = 80_000_000;
        let (fair, bad) = (measured(&fair), measured(&one_bad));
        assert!((bad.pickle / fair.pickle - 1.0).abs() < 0.01, "{bad:?} {fair:?}");
    }

    #[test]
    fn a_heavy_tail_of_large_payloads_is_all_counted() {
        // Nine in ten are small, and what is moved is the tenth.
        let mut mixed = vec![(1_000, 15_000); 36];
        mixed.extend([(1_000_000, 15_000_000); 4]);
        let found = measured(&mixed);
        let sum: u64 = mixed.iter().map(|one| one.1).sum();
        let mean = sum as f64 / 40.0 / 1e9;
        assert!((found.pickle / mean - 1.0).abs() < 0.01, "{found:?} {mean}");
        assert!(found.error > 2.0 * BASE_ERROR, "four readings carry nearly all of it: {found:?}");
    }

    #[test]
    fn in_a_chunk_small_payloads_cost_their_bytes() {
        let alone = measured(&[(16, 1_500); 12]);
        let chunked = alone.in_chunks(5000.0, Some(&BOUNDS));
        assert!(chunked.seconds() < alone.seconds() / 3.0 && chunked.seconds() > 0.0, "{chunked:?} {alone:?}");
        assert!(chunked.error > alone.error);
        assert_eq!(alone.in_chunks(1.0, Some(&BOUNDS)), alone);
        let large = measured(&[(100_000, 1_000_000); 12]);
        assert_eq!(large.in_chunks(50.0, Some(&BOUNDS)), large);
    }

    #[test]
    fn few_readings_are_believed_less() {
        let error = |count: usize| measured(&vec![(50_000, 500_000); count]).error;
        assert_eq!((error(1), error(2), error(3), error(40)), (1.0, 0.5, BASE_ERROR, BASE_ERROR));
    }
}
