//! Where time went, added up: one ledger a thread, folded into its process and then its program.
//! Sums only; what counts as what is decided in `reconcile`.

use super::gil::GilCounts;
use crate::trace::Blocking;
use crate::units::Span;

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

    fn fold(&mut self, other: &BlockedTime) {
        for kind in 0..KINDS {
            self.beside[kind] = self.beside[kind].saturating_add(other.beside[kind]);
            self.alone[kind] = self.alone[kind].saturating_add(other.alone[kind]);
            self.count[kind] += other.count[kind];
        }
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
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.wakeups_read += other.wakeups_read;
        self.wakeup_delay += other.wakeup_delay;
        self.wakeups += other.wakeups;
        self.switches_read += other.switches_read;
        self.switch_cost += other.switch_cost;
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
