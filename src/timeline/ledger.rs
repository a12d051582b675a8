//! Where time went, added up: one ledger a thread, folded into its process and then its program.
//! Sums only; what counts as what is decided in `reconcile`.

use super::gil::GilCounts;
use crate::trace::Blocking;
use crate::units::{Span, ratio};

/// Number of kinds of blocking, plus one for what was not told apart.
pub const KINDS: usize = Blocking::ALL.len() + 1;
/// Index of what was not told apart.
pub const UNATTRIBUTED: usize = Blocking::ALL.len();

/// Blocked time by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BlockedTime {
    /// While another thread of the process had or wanted a CPU, nanoseconds.
    pub beside: [u64; KINDS],
    /// While every thread of the process was blocked, nanoseconds.
    pub alone: [u64; KINDS],
    /// How many times.
    pub count: [u64; KINDS],
}

impl BlockedTime {
    /// Adds one blocked interval, split over `kinds` by weight; no weight at all is unattributed.
    pub fn add(&mut self, beside: Span, alone: Span, kinds: &[u32; Blocking::ALL.len()]) {
        self.add_many(beside, alone, 1, kinds);
    }

    /// Adds `count` blocked intervals that are alike.
    pub fn add_many(&mut self, beside: Span, alone: Span, count: u64, kinds: &[u32; Blocking::ALL.len()]) {
        let total: u64 = kinds.iter().map(|&weight| u64::from(weight)).sum();
        if total == 0 {
            self.beside[UNATTRIBUTED] = self.beside[UNATTRIBUTED].saturating_add(beside.0);
            self.alone[UNATTRIBUTED] = self.alone[UNATTRIBUTED].saturating_add(alone.0);
            self.count[UNATTRIBUTED] += count;
            return;
        }
        for (kind, &weight) in kinds.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let share = |amount: u64| (u128::from(amount) * u128::from(weight) / u128::from(total)) as u64;
            self.beside[kind] = self.beside[kind].saturating_add(share(beside.0));
            self.alone[kind] = self.alone[kind].saturating_add(share(alone.0));
            self.count[kind] += share(count);
        }
        // What rounding left over.
        let heaviest = (0..kinds.len()).max_by_key(|&kind| kinds[kind]).unwrap_or(0);
        let counted: u64 =
            kinds.iter().map(|&weight| (u128::from(count) * u128::from(weight) / u128::from(total)) as u64).sum();
        self.count[heaviest] += count - counted;
    }

    /// Beside and alone together, nanoseconds.
    pub fn total(&self, kind: usize) -> u64 {
        self.beside[kind] + self.alone[kind]
    }

    /// Over all kinds, nanoseconds.
    pub fn sum(&self) -> u64 {
        (0..KINDS).map(|kind| self.total(kind)).sum()
    }

    /// An event loop's thread: what it waits for is what its coroutines wait for, and is counted there.
    /// Gives back what was given away: nanoseconds of network, sleep, disk and other.
    pub fn give_away(&mut self) -> [u64; 4] {
        let given =
            [Blocking::Network, Blocking::Sleep, Blocking::Disk, Blocking::Other].map(|kind| self.total(kind as usize));
        for kind in [Blocking::Network, Blocking::Sleep, Blocking::Disk, Blocking::Other] {
            let (kind, idle) = (kind as usize, Blocking::Idle as usize);
            self.beside[idle] += std::mem::take(&mut self.beside[kind]);
            self.alone[idle] += std::mem::take(&mut self.alone[kind]);
            self.count[idle] += std::mem::take(&mut self.count[kind]);
        }
        given
    }

    /// The same waits, `factor` times as long.
    pub fn stretch(&mut self, factor: f64) {
        self.beside.iter_mut().chain(&mut self.alone).for_each(|time| *time = (*time as f64 * factor) as u64);
    }

    /// Splits what it holds anew, so that the kinds are to each other as looks found them, and what passed beside others
    /// and alone keeps its sum. Where nobody looked it stays as it is.
    ///
    /// Whole stretches between two looks were given to what the later look found. That is more than one kind's due where it
    /// follows long stretches of blocked time, and less where it follows a run; looks alone are no more likely in the one
    /// than in the other. Iterative proportional fitting (Deming and Stephan 1940) keeps what the stretches tell of who was
    /// alone.
    pub fn fit(&mut self, looks: &Looks) {
        let all = self.sum() as f64;
        let looked: f64 = looks.time.iter().map(|&time| time as f64).sum();
        if all <= 0.0 || looked <= 0.0 {
            return;
        }
        let column = |of: &[u64; KINDS]| of.iter().map(|&time| time as f64).sum::<f64>();
        let columns = [column(&self.beside), column(&self.alone)];
        let rows: [f64; UNATTRIBUTED] = std::array::from_fn(|kind| all * looks.time[kind] as f64 / looked);
        let mut cells: [[f64; 2]; UNATTRIBUTED] = std::array::from_fn(|kind| {
            if rows[kind] <= 0.0 {
                return [0.0; 2];
            }
            let held = [self.beside[kind] as f64, self.alone[kind] as f64];
            // No cell is empty for certain: what was never told may have been any of the kinds.
            std::array::from_fn(|side| held[side] + FAINT * rows[kind] * columns[side] / all)
        });
        for _ in 0..FITS {
            for (cells, &row) in cells.iter_mut().zip(&rows) {
                let factor = ratio(row, cells.iter().sum()).unwrap_or(0.0);
                cells.iter_mut().for_each(|cell| *cell *= factor);
            }
            for side in 0..2 {
                let sum: f64 = cells.iter().map(|cells| cells[side]).sum();
                let factor = ratio(columns[side], sum).unwrap_or(0.0);
                cells.iter_mut().for_each(|cells| cells[side] *= factor);
            }
        }
        let rounded = |side: usize| -> [u64; KINDS] {
            std::array::from_fn(|kind| cells.get(kind).map_or(0, |cells| cells[side].round() as u64))
        };
        (self.beside, self.alone) = (rounded(0), rounded(1));
    }

    fn fold(&mut self, other: &BlockedTime) {
        for kind in 0..KINDS {
            self.beside[kind] = self.beside[kind].saturating_add(other.beside[kind]);
            self.alone[kind] = self.alone[kind].saturating_add(other.alone[kind]);
            self.count[kind] += other.count[kind];
        }
    }
}

/// Part of a row that each cell of it holds at least before it is fitted.
const FAINT: f64 = 1e-3;
/// Rounds of fitting: two columns settle in a few.
const FITS: usize = 32;

/// What looks at blocked threads found, where there are no records. Each stands for the time since its thread was looked
/// at before, whatever the thread did meanwhile: so much of its life is of that kind, on average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Looks {
    /// The time that they stand for, by kind, nanoseconds.
    pub time: [u64; Blocking::ALL.len()],
    /// The squares of it, added up, seconds squared.
    pub squares: f64,
}

impl Looks {
    /// Notes a look that stands for `span`.
    pub fn note(&mut self, on: Blocking, span: Span) {
        let time = &mut self.time[on as usize];
        *time = time.saturating_add(span.0);
        self.squares += span.secs_f64().powi(2);
    }

    /// To how many looks of equal weight they come (Kish, *Survey Sampling*, §11.7).
    pub fn effective(&self) -> f64 {
        let time: f64 = self.time.iter().map(|&time| time as f64 / 1e9).sum();
        ratio(time * time, self.squares).unwrap_or(0.0)
    }

    /// As `BlockedTime::give_away`.
    pub fn give_away(&mut self) {
        for kind in [Blocking::Network, Blocking::Sleep, Blocking::Disk, Blocking::Other] {
            self.time[Blocking::Idle as usize] += std::mem::take(&mut self.time[kind as usize]);
        }
    }

    fn fold(&mut self, other: &Looks) {
        for (time, more) in self.time.iter_mut().zip(other.time) {
            *time = time.saturating_add(more);
        }
        self.squares += other.squares;
    }
}

/// Where time went.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ledger {
    /// On a CPU.
    pub on_cpu: Span,
    /// Runnable without a CPU, as far as records or readings tell.
    pub run_queue: Span,
    /// Not known: records were lost.
    pub unknown: Span,
    /// Blocked, by kind.
    pub blocked: BlockedTime,
    /// Without records: what it was seen blocked on.
    pub looks: Looks,
    /// By records: waits that a look fell into.
    pub told: u64,
    /// By records: the time of waits that none fell into, whose kinds are guessed from those.
    pub guessed: Span,
    /// The part of waits for others that may have been waits for their time-outs: their time by records, else that for which
    /// the looks at them stand.
    pub doubtful: Span,
    /// Without records: the part that waited anew without having done anything in between, as those do who wait for others.
    pub retried: Span,
    /// Times that it left the CPU of its own will.
    pub voluntary: u64,
    /// Times that it was preempted.
    pub involuntary: u64,
    /// Wake-ups whose delay is known.
    pub wakeups_read: u64,
    /// The delay of those: runnable after a wait, in the blocked time until it is reconciled.
    pub wakeup_delay: Span,
    /// Wake-ups whose delay would have to be known: those of switch records.
    pub wakeups: u64,
    /// Switches whose cost is known.
    pub switches_read: u64,
    /// The cost of those: CPU that the kernel charges to a thread between being picked and its switch-in record.
    pub switch_cost: Span,
    /// Switches whose cost is in `on_cpu`: those that readings of the counters hold.
    pub costed: u64,
    /// Lives of its threads, stopped time left out.
    pub life: Span,
    /// Threads in it.
    pub threads: u64,
    /// Readings of the interpreter lock.
    pub gil: GilCounts,
}

impl Ledger {
    /// Adds another.
    pub fn fold(&mut self, other: &Ledger) {
        self.on_cpu += other.on_cpu;
        self.run_queue += other.run_queue;
        self.unknown += other.unknown;
        self.blocked.fold(&other.blocked);
        self.looks.fold(&other.looks);
        self.told += other.told;
        self.guessed += other.guessed;
        self.doubtful += other.doubtful;
        self.retried += other.retried;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.wakeups_read += other.wakeups_read;
        self.wakeup_delay += other.wakeup_delay;
        self.wakeups += other.wakeups;
        self.switches_read += other.switches_read;
        self.switch_cost += other.switch_cost;
        self.costed += other.costed;
        self.life += other.life;
        self.threads += other.threads;
        self.gil.fold(&other.gil);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_interval_keeps_its_sum() {
        let mut blocked = BlockedTime::default();
        let mut kinds = [0; Blocking::ALL.len()];
        kinds[0] = 1;
        kinds[5] = 3;
        blocked.add(Span(100), Span(300), &kinds);
        assert_eq!(blocked.sum(), 400);
        assert_eq!((blocked.total(0), blocked.total(5)), (100, 300));
    }
}
