//! A stage's demand over the run in a bounded number of bins: when the run outgrows them, neighbours merge and bins
//! double. Feeds phases and intervals; totals live in the ledger. Must not decide anything.

use crate::units::{Span, Timestamp};

/// Most bins a series has.
const BINS: usize = 512;
/// Width of the first bins: 2^20 ns, about a millisecond.
const FIRST_SHIFT: u32 = 20;

/// What is laid into a bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Time on a CPU.
    OnCpu,
    /// Wait on the outside world of threads that matter.
    OwnWait,
    /// Wait on the outside world of threads that have hardly run so far.
    QuietWait,
    /// Blocked, kind not known.
    Unattributed,
}

/// One bin.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Nanoseconds by lane.
    lanes: [f32; 4],
    /// Resident memory at its end, 0 where none was read.
    rss_bytes: u64,
}

impl Bin {
    /// Seconds of a lane.
    pub fn seconds(&self, lane: Lane) -> f64 {
        f64::from(self.lanes[lane as usize]) / 1e9
    }

    /// Resident memory last read in it.
    pub fn rss_bytes(&self) -> Option<u64> {
        (self.rss_bytes > 0).then_some(self.rss_bytes)
    }
}

/// Demand over time.
#[derive(Debug, Clone)]
pub struct Series {
    origin: Timestamp,
    shift: u32,
    bins: Vec<Bin>,
}

impl Series {
    /// An empty series that begins at `origin`.
    pub fn new(origin: Timestamp) -> Series {
        Series { origin, shift: FIRST_SHIFT, bins: Vec::new() }
    }

    /// Where the first bin begins.
    pub fn origin(&self) -> Timestamp {
        self.origin
    }

    /// Width of a bin.
    pub fn width(&self) -> Span {
        Span(1 << self.shift)
    }

    /// The bins so far.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// Lays `amount` of time evenly over `start..end`.
    pub fn add(&mut self, lane: Lane, start: Timestamp, end: Timestamp, amount: Span) {
        if amount == Span::ZERO || end < start {
            return;
        }
        let first = self.index(start);
        let last = self.index(end);
        // Growing may have merged bins, so the first index is taken again.
        let first = first.min(self.index(start)).min(last);
        if first == last {
            self.bins[last].lanes[lane as usize] += amount.0 as f32;
            return;
        }
        let whole = end.since(start).0 as f64;
        let mut from = start;
        for bin in first..=last {
            let offset = ((bin as u128 + 1) << self.shift).min(u128::from(u64::MAX)) as u64;
            let bin_end = Timestamp(self.origin.0.saturating_add(offset)).min(end);
            let share = bin_end.since(from).0 as f64 / whole;
            self.bins[bin].lanes[lane as usize] += (amount.0 as f64 * share) as f32;
            from = bin_end;
        }
    }

    /// Lays another series of the same origin over this one.
    pub fn add_all(&mut self, other: &Series) {
        let lanes = [Lane::OnCpu, Lane::OwnWait, Lane::QuietWait, Lane::Unattributed];
        for (index, bin) in other.bins.iter().enumerate() {
            let start = Timestamp(other.origin.0.saturating_add((index as u64) << other.shift));
            let end = start + Span(other.width().0 - 1);
            for lane in lanes {
                self.add(lane, start, end, Span(f64::from(bin.lanes[lane as usize]) as u64));
            }
        }
    }

    /// Notes resident memory at a point in time.
    pub fn note_rss(&mut self, at: Timestamp, bytes: u64) {
        let bin = self.index(at);
        self.bins[bin].rss_bytes = bytes;
    }

    /// The bin that `at` falls in, made if need be; merges neighbours until it is within bounds.
    fn index(&mut self, at: Timestamp) -> usize {
        let since = at.since(self.origin).0;
        while (since >> self.shift) as usize >= BINS {
            self.halve();
        }
        let index = (since >> self.shift) as usize;
        if index >= self.bins.len() {
            self.bins.resize(index + 1, Bin::default());
        }
        index
    }

    fn halve(&mut self) {
        let merged = self.bins.len().div_ceil(2);
        for bin in 0..merged {
            let mut sum = self.bins[2 * bin];
            if let Some(next) = self.bins.get(2 * bin + 1) {
                for (lane, more) in sum.lanes.iter_mut().zip(next.lanes) {
                    *lane += more;
                }
                if next.rss_bytes > 0 {
                    sum.rss_bytes = next.rss_bytes;
                }
            }
            self.bins[bin] = sum;
        }
        self.bins.truncate(merged);
        self.shift += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_bins_merge() {
        let mut series = Series::new(Timestamp(0));
        for second in 0..3600u64 {
            let start = Timestamp(second * 1_000_000_000);
            series.add(Lane::OnCpu, start, start + Span::from_millis(250), Span::from_millis(250));
        }
        let total: f64 = series.bins().iter().map(|bin| bin.seconds(Lane::OnCpu)).sum();
        assert!((total - 900.0).abs() < 0.1, "{total}");
        assert!(series.bins().len() <= BINS);
    }

    #[test]
    fn a_long_interval_is_spread_evenly() {
        let mut series = Series::new(Timestamp(0));
        series.add(Lane::OwnWait, Timestamp(0), Timestamp(10 << 20), Span(5 << 20));
        for bin in &series.bins()[..10] {
            assert!((bin.seconds(Lane::OwnWait) * 1e9 - f64::from(1u32 << 19)).abs() < 64.0);
        }
    }
}
