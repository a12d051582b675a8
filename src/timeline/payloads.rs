//! Payloads that the agent pickled, one direction of one stage: how many, how large, and the readings themselves, as many
//! as bounded memory allows, by classes of size. What one costs is made of them further on.

use super::sample::keep_spread;
use crate::trace::PayloadReading;
use std::collections::BTreeMap;

/// Most readings of a class of sizes that are kept.
const MOST_KEPT: usize = 64;

/// Payloads of about the same size: within a factor of two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SizeClass {
    /// How many were measured.
    pub count: u64,
    /// Their sizes, added up.
    pub bytes: u64,
    /// The readings, or every so many of them in the order that they came in.
    pub kept: Vec<PayloadReading>,
    /// One of so many is kept; 0 for all.
    thinned: u32,
}

impl SizeClass {
    fn note(&mut self, reading: &PayloadReading) {
        if self.count.is_multiple_of(1 << self.thinned) {
            self.keep(*reading);
        }
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(reading.bytes);
    }

    /// When there are too many, every second one goes.
    fn keep(&mut self, reading: PayloadReading) {
        keep_spread(&mut self.kept, &mut self.thinned, MOST_KEPT, reading);
    }

    fn fold(&mut self, other: &SizeClass) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
        // A reading of the one that was thinned out more stands for more; sizes are alike, so that tells little.
        other.kept.iter().for_each(|reading| self.keep(*reading));
    }
}

/// Payloads of one direction, added up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PayloadSums {
    /// How many were measured.
    pub count: u64,
    /// Their sizes, added up.
    pub bytes: u64,
    /// Of these, how many were extrapolated from a part.
    pub extrapolated: u64,
    /// The same by the power of two that their size reaches.
    pub classes: BTreeMap<u32, SizeClass>,
}

impl PayloadSums {
    pub(super) fn note(&mut self, reading: &PayloadReading) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(reading.bytes);
        self.extrapolated = self.extrapolated.saturating_add(u64::from(reading.extrapolated));
        self.classes.entry(reading.bytes.checked_ilog2().unwrap_or(0)).or_default().note(reading);
    }

    pub(super) fn fold(&mut self, other: &PayloadSums) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.extrapolated = self.extrapolated.saturating_add(other.extrapolated);
        for (class, theirs) in &other.classes {
            self.classes.entry(*class).or_default().fold(theirs);
        }
    }

    /// Mean size.
    pub fn mean_bytes(&self) -> Option<f64> {
        crate::units::ratio(self.bytes as f64, self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Direction;
    use crate::units::Span;

    fn reading(bytes: u64) -> PayloadReading {
        PayloadReading { direction: Direction::Argument, bytes, pickle: Span(1), unpickle: None, extrapolated: false }
    }

    #[test]
    fn memory_is_bounded_and_what_is_kept_is_spread_over_the_run() {
        let mut sums = PayloadSums::default();
        for number in 0..10_000u64 {
            sums.note(&reading(1024 + number % 1024));
        }
        assert_eq!((sums.count, sums.classes.len()), (10_000, 1));
        let class = &sums.classes[&10];
        assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&class.kept.len()), "{}", class.kept.len());
        sums.note(&reading(0));
        sums.note(&reading(u64::MAX));
        assert_eq!(sums.classes.keys().copied().collect::<Vec<_>>(), [0, 10, 63]);
        let whole = sums.clone();
        sums.fold(&whole);
        assert_eq!((sums.count, sums.bytes), (20_004, u64::MAX));
        assert!(sums.classes.values().all(|class| class.kept.len() <= MOST_KEPT));
    }
}
