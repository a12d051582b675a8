//! The living: threads and processes with what they have used so far. Forgotten when they end, so that memory stays
//! bounded by how many live at once.

use super::attribution::Tasked;
use super::bytes::Bytes;
use super::descriptors::Descriptors;
use super::gil::{Booked, Interpreter};
use super::ledger::Ledger;
use super::program::ProgramId;
use super::reconcile::{ProcessSums, QUIET_SHARE_OF_LIFE};
use super::stuck::Locked;
use super::thread::ThreadClock;
use crate::trace::{Blocking, Ids, ProcessReading, TaskTotals, TimeOut};
use crate::units::{Span, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// Index of a living process in its slab.
pub type ProcessSlot = usize;

/// A counter is read a moment before or after the clock.
const LATE: Span = Span::from_millis(20);
/// The last readings of so many threads are kept when they are gone.
const GONE_KEPT: usize = 8;

/// A living thread.
#[derive(Debug, Clone)]
pub struct Thread {
    /// Process and thread id.
    pub ids: Ids,
    /// Its process.
    pub process: ProcessSlot,
    /// What it does now, by switch records.
    pub clock: ThreadClock,
    /// When it began (or began to run this program).
    pub began: Timestamp,
    /// What it used since.
    pub ledger: Ledger,
    /// The process's stillness when this thread blocked.
    pub still_at_block: Span,
    /// Whether its process had living children when this thread blocked.
    pub children_at_block: bool,
    /// Stopped time of the run when this thread blocked.
    pub stopped_at_block: Span,
    /// What samples saw it wait for since it blocked (or since its last reading).
    pub sampled: [u32; Blocking::ALL.len()],
    /// When the wait that it is in ends of itself, where that was seen.
    pub ends: Option<TimeOut>,
    /// By switch records: its waits with a time-out that were followed by work, and lasted until the time-out or did not.
    pub timed: (u32, u32),
    /// Without records: the wait with a time-out that it was last seen in.
    pub doubt: Option<Doubt>,
    /// Without records: what it was seen blocked on since its last reading.
    pub noticed: Option<Blocking>,
    /// By switch records: on a CPU since it was last blocked.
    pub ran: Span,
    /// What the last burst of readings of its process's lock added to the ledger.
    pub gil_last: Option<Booked>,
    /// Its last wait, until it is known what the thread did afterwards.
    pub wait: Option<Wait>,
    /// The last reading of its counters.
    pub last: Option<Reading>,
    /// Switches to add to what its counters say: voluntary, involuntary.
    pub switches_beside: (i64, i64),
    /// Without records: wall less CPU and run queue since it was last seen blocked. While a thread has or wants a CPU its
    /// counters lag, so this is blocked time only when it is seen blocked.
    pub unsettled: i64,
    /// Whether it had or wanted a CPU at its last reading.
    pub lags: bool,
    /// CPU time that is not yet laid into the series.
    pub unlaid: Span,
    /// Since when.
    pub unlaid_since: Timestamp,
    /// Settled blocked time that waits for its process's round to close.
    pub pending_blocked: Span,
    /// Since when.
    pub pending_since: Timestamp,
    /// Run-queue delay that it had before it was watched.
    pub delay_base: Span,
    /// On-CPU time that it had used before it was watched.
    pub on_cpu_base: Span,
    /// On-CPU time that the last reading showed beyond the records.
    pub missing_on_cpu: Span,
    /// Records told what it did until they ended, and its counters have not been read since.
    pub told_by_records: bool,
    /// Its tasks, once it has had one.
    pub tasked: Option<Box<Tasked>>,
    /// Readings and bursts of its process's lock that were counted, or passed by, so far.
    pub gil_base: (u64, u64),
    /// Without records: when its counters had last caught up.
    pub settled_at: Timestamp,
    /// Whether it waits for a lock, and where.
    pub locked: Locked,
}

/// A reading of a thread's counters.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// When.
    pub at: Timestamp,
    /// Stopped time of the run then.
    pub stopped: Span,
    /// On-CPU since its beginning.
    pub on_cpu: Span,
    /// Run-queue delay since its beginning.
    pub run_delay: Span,
    /// Times that it got a CPU.
    pub slices: Option<u64>,
    /// Voluntary switches.
    pub voluntary: Option<u64>,
    /// Involuntary switches.
    pub involuntary: Option<u64>,
}

impl Reading {
    /// Whether a thread can have come from here to a later reading: counters do not go back, and no thread has a CPU for
    /// longer than there was time.
    pub fn leads_to(&self, later: &Reading) -> bool {
        let window = later.at.since(self.at) + LATE;
        self.on_cpu <= later.on_cpu && self.run_delay <= later.run_delay && later.on_cpu - self.on_cpu <= window
    }
}

/// A wait that is over.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// From when.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// How much of it passed beside threads of its process that were not blocked.
    pub beside: Span,
    /// And how much while all of them were.
    pub alone: Span,
    /// What samples saw it wait for.
    pub kinds: [u32; Blocking::ALL.len()],
    /// Where it counts.
    pub lanes: Lanes,
    /// Whether its thread launched programs and is in no task.
    pub launcher: bool,
    /// How long its thread had a CPU before.
    pub ran_before: Span,
    /// Of a wait that was seen to have a time-out: whether it lasted until that.
    pub ran_out: Option<bool>,
}

/// Without records: a wait with a time-out, of which only the next look tells whether it may have lasted until that.
#[derive(Debug, Clone, Copy)]
pub struct Doubt {
    /// When it ends of itself, at the earliest.
    pub earliest: Timestamp,
    /// The time that its looks stand for.
    pub window: Span,
    /// What its thread had run when it was first seen in it.
    pub on_cpu: Span,
}

/// Which waits of a thread are its stage's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// Of a task: all but those for the interpreter lock and for children.
    Task,
    /// The same without records: laid where it was looked at.
    Looked,
    /// Of the only thread of its process: locks too.
    Only,
    /// Of a thread that hardly ever runs.
    Quiet,
    /// Of any other.
    Beside,
}

impl Thread {
    /// A thread that nothing was seen of.
    pub fn new(ids: Ids, process: ProcessSlot, clock: ThreadClock, began: Timestamp) -> Thread {
        Thread {
            ids,
            process,
            clock,
            began,
            ledger: Ledger::default(),
            still_at_block: Span::ZERO,
            children_at_block: false,
            stopped_at_block: Span::ZERO,
            sampled: [0; Blocking::ALL.len()],
            ends: None,
            timed: (0, 0),
            doubt: None,
            noticed: None,
            ran: Span::ZERO,
            wait: None,
            last: None,
            switches_beside: (0, 0),
            unsettled: 0,
            lags: false,
            unlaid: Span::ZERO,
            unlaid_since: began,
            pending_blocked: Span::ZERO,
            pending_since: began,
            delay_base: Span::ZERO,
            on_cpu_base: Span::ZERO,
            missing_on_cpu: Span::ZERO,
            told_by_records: false,
            tasked: None,
            gil_base: (0, 0),
            gil_last: None,
            settled_at: began,
            locked: Locked::default(),
        }
    }

    /// Its counters have caught up: what it neither ran nor queued it was blocked.
    pub fn settle(&mut self) {
        self.pending_blocked += Span(std::mem::take(&mut self.unsettled).max(0) as u64);
    }

    /// Whether it has hardly been on a CPU so far.
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        let life = now.since(self.began).0 as f64;
        (self.ledger.on_cpu.0 as f64) < QUIET_SHARE_OF_LIFE * life
    }
}

/// A living process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its parent's process id, where it is known.
    pub parent_pid: Option<u32>,
    /// Living children that it forked.
    pub children: u32,
    /// Of those, how many do nothing but let time pass for it.
    pub dozing: u32,
    /// Whether it is one of those itself: `sleep`, or a shell that waits for one.
    pub dozes: bool,
    /// Its parent's program.
    pub parent: Option<ProgramId>,
    /// What it runs.
    pub program: ProgramId,
    /// Whether it has replaced its program since its fork.
    pub execed: bool,
    /// The kernel's name for the program that it began last, and when, until more of it is told.
    pub comm: Option<(String, Timestamp)>,
    /// When the name of its program was last read.
    pub named_at: Timestamp,
    /// When it began to run this program.
    pub began: Timestamp,
    /// Stopped time of the run before that.
    pub stopped_base: Span,
    /// Living threads.
    pub threads: u32,
    /// How often its first thread was left alone, or was joined by a second one.
    pub stretches: u8,
    /// Of those, how many have or want a CPU.
    pub active: u32,
    /// Most of them at once.
    pub peak_active: u32,
    /// Time in which no thread had or wanted a CPU, closed spans.
    still: Span,
    still_since: Option<Timestamp>,
    /// Threads that have ended.
    pub sums: ProcessSums,
    /// The last reading.
    pub reading: ProcessReading,
    /// Whose the bytes are that it tells.
    pub bytes: Bytes,
    /// Positions of its stdin and stdout files when first read: what others did with them before is not its own.
    pub file_base: (Option<u64>, Option<u64>),
    /// CPU by readings before it ran this program.
    pub split_base: (Span, Span),
    /// Without records: on-CPU time that its threads' own readings told of.
    pub read_cpu: Span,
    /// Readings of threads since the last round closed: slots in the timeline.
    pub round: Vec<u32>,
    /// When the last round closed.
    pub round_at: Timestamp,
    /// Stopped time of the run then.
    pub round_stopped: Span,
    /// Wall less the threads' CPU and run queue since all of them were last seen blocked.
    pub unsettled: i64,
    /// Whether one of them was seen to have or want a CPU in this round.
    pub round_running: bool,
    /// Lives of threads that were known and never read, where there are no records.
    pub unread: Span,
    /// The last readings of threads that are gone, where there are no records.
    pub gone: VecDeque<Reading>,
    /// Threads that lost their CPU lately, and when: our own look at the lock may have taken it.
    pub ousted: [(u32, Timestamp); 4],
    /// How many descriptors it has open.
    pub descriptors: Descriptors,
    /// Its Python interpreter.
    pub interpreter: Interpreter,
    /// Whether an agent tells of it.
    pub has_agent: bool,
    /// What its agent cost, and what it dropped.
    pub agent_cost: (Span, u64),
    /// What its event loops waited for: network, sleep, disk, other; nanoseconds.
    pub loop_waits: [u64; 4],
    /// Its stages, by its agent's numbers.
    pub stages: FxHashMap<u16, ProgramId>,
    /// Stages whose first task here was recorded.
    pub warm: FxHashSet<u16>,
    /// Its agent's sums.
    pub task_totals: FxHashMap<u16, TaskTotals>,
    /// Where the time of its tasks went.
    pub task_ledgers: FxHashMap<ProgramId, TaskLedgers>,
}

/// The tasks of a stage that a stretch of a thread belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPart {
    /// The stage.
    pub stage: ProgramId,
    /// Whether they are those that began before any task of it had ended in their process.
    pub cold: bool,
}

/// Where the time of a stage's tasks in one process went.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskLedgers {
    /// Of those that began when another had ended.
    pub warm: Ledger,
    /// Of those before.
    pub cold: Ledger,
}

impl Process {
    /// Notes the last reading of a thread that is gone.
    pub fn keep_last(&mut self, last: Option<Reading>) {
        if self.gone.len() == GONE_KEPT {
            self.gone.pop_front();
        }
        self.gone.extend(last);
    }

    /// Notes that a thread lost its CPU.
    pub fn oust(&mut self, slot: u32, at: Timestamp) {
        // Each stands in it once: what is read is counted for it once.
        let place = self.ousted.iter().position(|&(other, _)| other == slot).unwrap_or(self.ousted.len() - 1);
        self.ousted[..=place].rotate_right(1);
        self.ousted[0] = (slot, at);
    }

    /// A process that begins at `at`.
    pub fn new(pid: u32, parent: Option<ProgramId>, program: ProgramId, at: Timestamp) -> Process {
        Process {
            pid,
            parent_pid: None,
            children: 0,
            stretches: 0,
            dozing: 0,
            dozes: false,
            parent,
            program,
            execed: false,
            comm: None,
            named_at: Timestamp(0),
            began: at,
            stopped_base: Span::ZERO,
            threads: 0,
            active: 0,
            peak_active: 0,
            still: Span::ZERO,
            still_since: None,
            sums: ProcessSums::default(),
            reading: ProcessReading::default(),
            bytes: Bytes::default(),
            file_base: (None, None),
            split_base: (Span::ZERO, Span::ZERO),
            read_cpu: Span::ZERO,
            round: Vec::new(),
            round_at: at,
            round_stopped: Span::ZERO,
            unsettled: 0,
            round_running: false,
            unread: Span::ZERO,
            gone: VecDeque::new(),
            ousted: [(u32::MAX, Timestamp(0)); 4],
            descriptors: Descriptors::default(),
            interpreter: Interpreter::default(),
            has_agent: false,
            agent_cost: (Span::ZERO, 0),
            loop_waits: [0; 4],
            stages: FxHashMap::default(),
            warm: FxHashSet::default(),
            task_totals: FxHashMap::default(),
            task_ledgers: FxHashMap::default(),
        }
    }

    /// Where the time of a stage's tasks in this process goes.
    pub fn task_ledger(&mut self, part: TaskPart) -> &mut Ledger {
        let ledgers = self.task_ledgers.entry(part.stage).or_default();
        if part.cold { &mut ledgers.cold } else { &mut ledgers.warm }
    }

    /// A thread came to have or want a CPU.
    pub fn wake(&mut self, at: Timestamp) {
        self.active += 1;
        self.peak_active = self.peak_active.max(self.active);
        if let Some(since) = self.still_since.take() {
            self.still += at.since(since);
        }
    }

    /// A thread no longer has or wants a CPU.
    pub fn rest(&mut self, at: Timestamp) {
        self.active = self.active.saturating_sub(1);
        if self.active == 0 {
            self.still_since.get_or_insert(at);
        }
    }

    /// Time until `at` in which no thread had or wanted a CPU.
    pub fn stillness(&self, at: Timestamp) -> Span {
        self.still + self.still_since.map_or(Span::ZERO, |since| at.since(since))
    }

    /// For how long no thread has had or wanted a CPU, up to `now`.
    pub fn still_for(&self, now: Timestamp) -> Span {
        self.still_since.map_or(Span::ZERO, |since| now.since(since))
    }

    /// Adds stillness that readings, not records, tell of.
    pub fn add_stillness(&mut self, span: Span) {
        self.still += span;
    }

    /// Records end: from here on only readings tell of stillness.
    pub fn freeze_stillness(&mut self, at: Timestamp) {
        self.still = self.stillness(at);
        self.still_since = None;
        self.round_at = at;
    }

    /// Begins to count anew: another program from here on.
    pub fn restart(&mut self, at: Timestamp, stopped: Span) {
        self.began = at;
        self.stopped_base = stopped;
        self.still = Span::ZERO;
        self.still_since = self.still_since.map(|_| at);
        self.sums = ProcessSums::default();
        self.peak_active = self.active;
        self.stretches = 0;
        self.read_cpu = Span::ZERO;
        self.split_base = (self.reading.cpu_user.unwrap_or(Span::ZERO), self.reading.cpu_system.unwrap_or(Span::ZERO));
        self.file_base =
            (self.reading.stdin_bytes.or(self.file_base.0), self.reading.stdout_bytes.or(self.file_base.1));
        self.bytes.restart(&self.reading);
        self.reading = ProcessReading::default();
        self.descriptors = Descriptors::default();
        // The readings go on counting: threads hold what they stood at.
        self.interpreter.version = None;
        self.interpreter.access = None;
    }
}
