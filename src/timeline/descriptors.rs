//! Whether a process opens descriptors that it never closes: their number over its life, in bounded memory. Must not judge.

use crate::units::Timestamp;

/// Readings that are kept; from there on every second one is dropped, and half as many come in.
const KEPT: usize = 64;
/// Fewer tell nothing.
const FEWEST: usize = 8;
/// Growth below this is a cache or a pool of connections that fills.
const LEAST: u32 = 20;

/// Descriptors of one process that grew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DescriptorGrowth {
    /// How many were open in the first quarter of the readings, at the least.
    pub before: u32,
    /// How many in the last quarter, at the most.
    pub after: u32,
    /// From the first reading to the last, seconds.
    pub seconds: f64,
}

/// Readings of how many descriptors a process has open.
#[derive(Debug, Clone, Default)]
pub struct Descriptors {
    readings: Vec<(Timestamp, u32)>,
    /// Of how many readings one is kept, as a power of two.
    thinned: u32,
    seen: u64,
}

impl Descriptors {
    /// Notes a reading.
    pub fn note(&mut self, at: Timestamp, open: u32) {
        self.seen += 1;
        if !self.seen.is_multiple_of(1 << self.thinned) {
            return;
        }
        self.readings.push((at, open));
        if self.readings.len() >= KEPT {
            let mut index = 0;
            self.readings.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.thinned += 1;
        }
    }

    /// Whether they grew all the time: from quarter to quarter the least is more than the most of the one before.
    pub fn growth(&self) -> Option<DescriptorGrowth> {
        if self.readings.len() < FEWEST {
            return None;
        }
        let length = self.readings.len();
        let quarter = |number: usize| &self.readings[number * length / 4..(number + 1) * length / 4];
        let most = |number| quarter(number).iter().map(|reading| reading.1).max().unwrap_or(0);
        let least = |number| quarter(number).iter().map(|reading| reading.1).min().unwrap_or(0);
        let grows = (0..3).all(|number| least(number + 1) > most(number));
        let grown = least(3).saturating_sub(most(0));
        let seconds = self.readings[length - 1].0.since(self.readings[0].0).secs_f64();
        (grows && grown >= LEAST).then_some(DescriptorGrowth { before: least(0), after: most(3), seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(open: impl Fn(u64) -> u32, readings: u64) -> Option<DescriptorGrowth> {
        let mut descriptors = Descriptors::default();
        (0..readings).for_each(|second| descriptors.note(Timestamp(second * 1_000_000_000), open(second)));
        assert!(descriptors.readings.len() < KEPT);
        descriptors.growth()
    }

    #[test]
    fn a_leak_is_told_from_a_pool_that_fills_and_from_files_that_come_and_go() {
        let leak = of(|second| 10 + second as u32, 3600).expect("it grows");
        assert!(leak.before < 200 && leak.after > 3400 && leak.seconds > 3000.0, "{leak:?}");
        assert!(of(|second| 10 + 2 * second as u32, 40).is_some());
        assert_eq!(of(|second| 10 + (second as u32).min(50), 3600), None, "a pool that fills");
        assert_eq!(of(|second| 10 + 40 * (second % 2) as u32, 3600), None, "files that come and go");
        assert_eq!(of(|second| 10 + second as u32 / 4, 60), None, "a dozen");
        assert_eq!(of(|second| 10 + 100 * second as u32, 5), None, "five readings");
    }
}
