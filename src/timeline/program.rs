//! All processes of one program under one parent: a stage in the making. Sums of closed processes, and who is alive.

use super::descriptors::DescriptorGrowth;
use super::gil::{GilCounts, Interpreter};
use super::image::Image;
use super::kinds::KindsByShape;
use super::ledger::{KINDS, Ledger, UNATTRIBUTED};
use super::process::TaskLedgers;
use super::reconcile::{Demand, ENOUGH_SWITCHES, Neighbours, ProcessSums, reconcile, reconcile_tasks};
use super::series::Series;
use super::tasks::{TaskNote, Tasks};
use super::zombies::Unreaped;
use crate::trace::GilAccess;
use crate::units::{Span, Timestamp};

/// Most different accesses to the lock that are told apart.
const MOST_ACCESSES: usize = 8;
/// Most notes that are kept of a program.
const MOST_NOTES: usize = 32;

/// Index of a program in its timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(pub usize);

/// What threads used besides those that run tasks. Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Helpers {
    /// On a CPU, seconds.
    pub on_cpu: f64,
    /// Runnable without one, seconds.
    pub run_queue: f64,
    /// Readings of the interpreter lock.
    pub gil: GilCounts,
}

/// All processes of one program under one parent.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it runs.
    pub image: Image,
    /// Path of its executable, where it was told.
    pub exe: Option<String>,
    /// The program of its parents.
    pub parent: Option<ProgramId>,
    /// Demand of all its processes.
    pub demand: Demand,
    /// Processes that ran it.
    pub processes: u64,
    /// Of those, how many left by replacing it with another program.
    pub replaced: u64,
    /// Most of them at once.
    pub peak_processes: u32,
    /// Threads of all of them.
    pub threads: u64,
    /// Most threads that wanted a CPU at once in one process.
    pub peak_active_threads: u32,
    /// When the first began.
    pub first: Timestamp,
    /// When the last ended.
    pub last: Timestamp,
    /// Lives of its processes, added up.
    pub process_life: Span,
    /// Time in which at least one lived.
    pub present: Span,
    /// Time in which at least one thread of a process had or wanted a CPU, added up over processes.
    pub busy_wall: Span,
    /// Voluntary context switches, where they were seen.
    pub voluntary: Option<u64>,
    /// Involuntary context switches, where they were seen.
    pub involuntary: Option<u64>,
    /// User and system time by the last readings.
    pub cpu_split: Option<(Span, Span)>,
    /// Without records: CPU time that its processes' counters tell of and no reading of a thread does, because threads ended
    /// before one; seconds. It is in the demand, whose waits know nothing of those threads.
    pub unread_cpu: f64,
    /// Memory.
    pub memory: ProgramMemory,
    /// Bytes in and out.
    pub bytes: ProgramBytes,
    /// Of its processes' descriptors, the most that were opened and never closed.
    pub descriptors: Option<DescriptorGrowth>,
    /// Children of its processes that ended and were never reaped.
    pub unreaped: Unreaped,
    /// Demand over time.
    pub series: Series,
    /// Readings of its threads' counters.
    pub readings: u64,
    /// The stage inside a program that this is, if it is one.
    pub tasks: Option<Box<Tasks>>,
    /// Readings of the interpreter lock.
    pub gil: GilCounts,
    /// Whether the lock could be read, by processes.
    pub gil_access: Vec<(GilAccess, u64)>,
    /// Version of the interpreter.
    pub python: Option<(u8, u8, u8)>,
    /// Bursts' lengths, and the gaps between their readings.
    pub gil_bursts: (Span, u64),
    /// What threads used that are neither a process's first nor ever ran a task: those that a library computes with.
    pub helpers: Helpers,
    /// What its event loops waited for: network, sleep, disk, other; nanoseconds.
    pub loop_waits: [u64; 4],
    /// Processes that an agent told of.
    pub agents: u64,
    /// What the agents cost.
    pub agent_cost: Span,
    /// What they dropped.
    pub agent_dropped: u64,
    /// What agents found worth saying of the program as a whole.
    pub notes: Vec<TaskNote>,

    pub(super) kinds: KindsByShape,
    pub(super) live: u32,
    pub(super) present_since: Timestamp,
    pub(super) rss_now: u64,
    unresolved: ProcessSums,
    told: [f64; KINDS],
    delay_read: (f64, u64),
    switches_read: (f64, u64),
}

/// Memory of a program's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProgramMemory {
    /// First reading of the first process.
    pub start_bytes: Option<u64>,
    /// Most that its processes had together at one reading.
    pub peak_sum_bytes: Option<u64>,
    /// Most that one process had.
    pub peak_one_bytes: Option<u64>,
}

/// Bytes in and out of a program's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProgramBytes {
    /// Passed to read-like system calls.
    pub read_chars: Option<u64>,
    /// Passed to write-like system calls.
    pub written_chars: Option<u64>,
    /// Read from storage.
    pub disk_read: Option<u64>,
    /// Written to storage.
    pub disk_written: Option<u64>,
    /// Consumed of a regular file on descriptor 0.
    pub stdin_file: Option<u64>,
    /// Written to a regular file on descriptor 1.
    pub stdout_file: Option<u64>,
    /// Processes whose bytes were not read when they had ended: what they moved last is not in the sums.
    pub unread_ends: u64,
}

impl Program {
    /// A program that nobody runs yet.
    pub(super) fn new(image: Image, parent: Option<ProgramId>, origin: Timestamp) -> Program {
        Program {
            image,
            exe: None,
            parent,
            demand: Demand::default(),
            processes: 0,
            replaced: 0,
            peak_processes: 0,
            threads: 0,
            peak_active_threads: 0,
            first: Timestamp(u64::MAX),
            last: Timestamp(0),
            process_life: Span::ZERO,
            present: Span::ZERO,
            busy_wall: Span::ZERO,
            voluntary: None,
            involuntary: None,
            cpu_split: None,
            unread_cpu: 0.0,
            memory: ProgramMemory::default(),
            bytes: ProgramBytes::default(),
            descriptors: None,
            unreaped: Unreaped::default(),
            series: Series::new(origin),
            readings: 0,
            tasks: None,
            gil: GilCounts::default(),
            gil_access: Vec::new(),
            python: None,
            gil_bursts: (Span::ZERO, 0),
            helpers: Helpers::default(),
            loop_waits: [0; 4],
            agents: 0,
            agent_cost: Span::ZERO,
            agent_dropped: 0,
            notes: Vec::new(),
            kinds: KindsByShape::default(),
            live: 0,
            present_since: origin,
            rss_now: 0,
            unresolved: ProcessSums::default(),
            told: [0.0; KINDS],
            delay_read: (0.0, 0),
            switches_read: (0.0, 0),
        }
    }

    /// A process begins to run it.
    pub(super) fn enter(&mut self, at: Timestamp) {
        if self.live == 0 {
            self.present_since = at;
        }
        self.live += 1;
        self.peak_processes = self.peak_processes.max(self.live);
        self.first = self.first.min(at);
    }

    /// A process stops running it, by its end or by another program.
    pub(super) fn leave(&mut self, at: Timestamp) {
        self.live = self.live.saturating_sub(1);
        self.last = self.last.max(at);
        if self.live == 0 {
            self.present += at.since(self.present_since);
        }
    }

    /// Books a process that stopped running it.
    pub(super) fn book(&mut self, sums: &ProcessSums) {
        for ledger in sums.ledgers() {
            self.note_evidence(ledger);
            self.threads += ledger.threads;
        }
        if sums.tells_kinds() && sums.tells_delay() && sums.tells_cost() {
            self.demand.add(&reconcile(sums, &Neighbours::default()));
        } else {
            self.unresolved.fold(sums);
        }
    }

    fn note_evidence(&mut self, ledger: &Ledger) {
        for kind in 0..UNATTRIBUTED {
            self.told[kind] += ledger.blocked.total(kind) as f64 / 1e9;
        }
        self.delay_read.0 += ledger.wakeup_delay.secs_f64();
        self.delay_read.1 += ledger.wakeups_read;
        self.switches_read.0 += ledger.switch_cost.secs_f64();
        self.switches_read.1 += ledger.switches_read;
        self.gil.fold(&ledger.gil);
    }

    /// Books what a process's tasks did; `locks_told`: the interpreter lock was told from other locks.
    pub(super) fn book_tasks(&mut self, ledgers: &TaskLedgers, locks_told: bool) {
        let mut ledger = ledgers.warm;
        ledger.fold(&ledgers.cold);
        self.note_evidence(&ledger);
        self.voluntary = Some(self.voluntary.unwrap_or(0) + ledger.voluntary);
        self.involuntary = Some(self.involuntary.unwrap_or(0) + ledger.involuntary);
        if let Some(tasks) = &mut self.tasks {
            tasks.unresolved.fold(&ledger);
            tasks.cold.unresolved.fold(&ledgers.cold);
            tasks.cold.others_gil.fold(&ledgers.warm.gil);
            tasks.locks_told &= locks_told;
        }
    }

    /// Adds what is known of a process's interpreter.
    pub(super) fn add_interpreter(&mut self, interpreter: &Interpreter) {
        self.python = interpreter.version.or(self.python);
        self.gil_bursts.0 += interpreter.length;
        self.gil_bursts.1 += interpreter.gaps;
        if let Some(access) = &interpreter.access {
            match self.gil_access.iter_mut().find(|known| known.0 == *access) {
                Some(known) => known.1 += 1,
                None => {
                    self.gil_access.push((access.clone(), 1));
                    self.gil_access.truncate(MOST_ACCESSES);
                }
            }
        }
    }

    /// Notes something worth saying of the program as a whole, once.
    pub(super) fn note(&mut self, code: &str, detail: &str) {
        let known = self.notes.iter().any(|note| note.code == code && note.detail == detail);
        if !known && self.notes.len() < MOST_NOTES {
            self.notes.push(TaskNote { code: code.to_owned(), detail: detail.to_owned() });
        }
    }

    /// What this program's processes can tell about others that say nothing of themselves.
    pub(super) fn evidence(&self) -> Neighbours {
        let mean = |(seconds, count): (f64, u64)| (count > 0).then(|| seconds / count as f64);
        let switch_cost = mean(self.switches_read).filter(|_| self.switches_read.1 >= ENOUGH_SWITCHES);
        Neighbours { wakeup_delay: mean(self.delay_read), switch_cost, kinds: self.told }
    }

    /// Settles the processes that had no evidence of their own, by their neighbours of the same program, else of the tree.
    pub(super) fn settle(&mut self, tree: &Neighbours) {
        let own = self.evidence();
        let neighbours = Neighbours {
            wakeup_delay: own.wakeup_delay.or(tree.wakeup_delay),
            switch_cost: own.switch_cost.or(tree.switch_cost),
            kinds: own.kinds,
        };
        if let Some(tasks) = &mut self.tasks {
            let mut ledger = std::mem::take(&mut tasks.unresolved);
            self.kinds.resolve(&mut ledger.blocked);
            ledger.blocked.fit(&ledger.looks);
            self.demand = reconcile_tasks(&ledger, &neighbours, tasks.locks_told);
            let mut cold = std::mem::take(&mut tasks.cold.unresolved);
            self.kinds.resolve(&mut cold.blocked);
            cold.blocked.fit(&cold.looks);
            tasks.cold.demand = reconcile_tasks(&cold, &neighbours, tasks.locks_told);
            return;
        }
        let sums = std::mem::take(&mut self.unresolved);
        self.demand.add(&reconcile(&sums, &neighbours));
    }
}
