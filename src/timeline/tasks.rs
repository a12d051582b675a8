//! The tasks of a stage inside a program: what the agent told of them, added up over processes. Sums and quantiles;
//! where their time went stands in the ledgers. Must not judge.

use super::backlog::Backlog;
use super::gil::GilCounts;
use super::ledger::Ledger;
use super::payloads::PayloadSums;
use super::program::ProgramId;
use super::reconcile::Demand;
use super::sample::TaskSample;
use super::stuck::Hangs;
use crate::trace::{Direction, PayloadReading, RunsUnder, StageDefinition, TaskEnd, TaskKind, TaskTotals};
use crate::units::{Span, Timestamp, ratio};
use hdrhistogram::Histogram;

/// Fewer recorded tasks than this besides the first ones tell nothing apart.
const FEWEST_WARM: u64 = 4;

/// Cold tasks that take so many times what nearly all others take at the most load or warm what those find.
const DEAR: f64 = 4.0;
/// Nearly all of them.
const USUAL: f64 = 0.95;
/// Of the time of all tasks, what the cold ones take must be this share to be worth a word.
const DEAR_SHARE: f64 = 0.01;
/// Most stretches of cold tasks that are kept.
const MOST_COLD: usize = 64;

/// Most notes that are kept of a stage.
const MOST_NOTES: usize = 32;

/// Durations are told apart up to an hour, nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// A distribution of durations, to within a hundredth.
#[derive(Debug, Clone, Default)]
pub struct Durations(Option<Histogram<u32>>);

impl Durations {
    fn histogram(&mut self) -> Option<&mut Histogram<u32>> {
        if self.0.is_none() {
            self.0 = Histogram::new_with_bounds(1, LONGEST, 2).ok();
        }
        self.0.as_mut()
    }

    /// Notes a duration, `times` times.
    pub fn note(&mut self, span: Span, times: u32) {
        if let Some(histogram) = self.histogram() {
            histogram.saturating_record_n(span.0, times.max(1));
        }
    }

    /// Adds another.
    pub fn fold(&mut self, other: &Durations) {
        if let Some(theirs) = &other.0
            && let Some(ours) = self.histogram()
        {
            let _ = ours.add(theirs);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The mean, seconds.
    pub fn mean(&self) -> Option<f64> {
        self.0.as_ref().filter(|histogram| !histogram.is_empty()).map(|histogram| histogram.mean() / 1e9)
    }

    /// A quantile, seconds.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(histogram.value_at_quantile(quantile) as f64 / 1e9)
    }

    /// Standard deviation over mean.
    pub fn dispersion(&self) -> Option<f64> {
        let histogram = self.0.as_ref().filter(|histogram| histogram.len() > 1 && histogram.mean() > 0.0)?;
        Some(histogram.stdev() / histogram.mean())
    }
}

/// Something that the agent found worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskNote {
    /// A stable word.
    pub code: String,
    /// What was found.
    pub detail: String,
}

/// Coroutines that are done, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoroutineSums {
    /// How many.
    pub count: u64,
    /// From creation to the end.
    pub wall: Span,
    /// In slices of their own.
    pub own: Span,
    /// Ready, while others ran.
    pub ready: Span,
    /// Slices.
    pub slices: u64,
    /// Wall time of the slices that were recorded one by one: of these the CPU time is known.
    pub recorded_slices: Span,
}

impl CoroutineSums {
    /// Time that they awaited the outside world.
    pub fn awaited(&self) -> Span {
        self.wall - self.own - self.ready
    }
}

/// The tasks that began before any of their stage had ended in their process: they may load and warm what later ones find.
#[derive(Debug, Clone, Default)]
pub struct Cold {
    /// How many.
    pub count: u64,
    /// Their wall times, added up.
    pub wall: Span,
    /// When the first of them were under way.
    pub stretches: Vec<(Timestamp, Timestamp)>,
    /// What they demanded.
    pub demand: Demand,
    /// Readings of the interpreter lock in all other tasks.
    pub others_gil: GilCounts,
    /// Where their time went, until it is reconciled.
    pub(super) unresolved: Ledger,
}

impl Cold {
    /// Notes one that ended.
    pub(super) fn note(&mut self, end: &TaskEnd, at: Timestamp) {
        self.count += u64::from(end.tasks);
        self.wall += end.wall;
        if self.stretches.len() < MOST_COLD {
            self.stretches.push((Timestamp(at.0.saturating_sub(end.wall.0)), at));
        }
    }
}

/// A stage inside a program, as its processes' agents tell of it.
#[derive(Debug, Clone)]
pub struct Tasks {
    /// What it is.
    pub kind: TaskKind,
    /// What it runs under.
    pub executor: RunsUnder,
    /// Workers at the most.
    pub workers: Option<u32>,
    /// `module.qualname`.
    pub name: String,
    /// Source file and line.
    pub place: Option<(String, u32)>,
    /// The pool's class.
    pub pool: String,
    /// Start method of a process pool.
    pub start_method: Option<String>,
    /// Sums of processes that have ended.
    pub totals: TaskTotals,
    /// Tasks whose beginning and end were recorded.
    pub recorded: u64,
    /// Wall time of the recorded tasks.
    pub wall: Durations,
    /// Of the recorded ones, the first of each process, which load and warm what later ones find: how many, and their wall
    /// time.
    pub first: (u64, Span),
    /// Those that met their process cold.
    pub cold: Cold,
    /// Stages whose tasks started the processes that these ran in, with the CPU time of these there.
    pub within: Vec<(ProgramId, Span)>,
    /// Times that tasks were handed over: several at once, where they are in chunks.
    pub handed: u64,
    /// Time in the queue.
    pub queued: Durations,
    /// The queue over its life.
    pub backlog: Backlog,
    /// Some of them one by one; of the last run, where there are several.
    pub sample: TaskSample,
    /// Lengths of the queue, sampled: how often each power of two was seen.
    pub queue_depths: Vec<u64>,
    /// Payloads to the worker.
    pub arguments: PayloadSums,
    /// Payloads back.
    pub results: PayloadSums,
    /// Coroutines that are done.
    pub coroutines: CoroutineSums,
    /// Event loop stalls: how many, and the longest.
    pub stalls: (u64, Span),
    /// Tasks that their threads were in when these ended: how many, and the time since their beginning.
    pub open: (u64, Span),
    /// Of these, the threads that hung.
    pub hangs: Hangs,
    /// What the agent found worth saying.
    pub notes: Vec<TaskNote>,
    /// Where their time went, until it is reconciled.
    pub(super) unresolved: Ledger,
    /// Whether every process's lock was told from other locks.
    pub(super) locks_told: bool,
}

impl Tasks {
    /// A stage that nothing but its definition is known of.
    pub fn new(definition: &StageDefinition) -> Tasks {
        Tasks {
            kind: definition.kind,
            executor: definition.executor,
            workers: None,
            name: definition.name.clone(),
            place: None,
            pool: String::new(),
            start_method: None,
            totals: TaskTotals::default(),
            recorded: 0,
            wall: Durations::default(),
            first: (0, Span::ZERO),
            cold: Cold::default(),
            within: Vec::new(),
            handed: 0,
            queued: Durations::default(),
            backlog: Backlog::default(),
            sample: TaskSample::default(),
            queue_depths: Vec::new(),
            arguments: PayloadSums::default(),
            results: PayloadSums::default(),
            coroutines: CoroutineSums::default(),
            stalls: (0, Span::ZERO),
            open: (0, Span::ZERO),
            hangs: Hangs::default(),
            notes: Vec::new(),
            unresolved: Ledger::default(),
            locks_told: true,
        }
    }

    /// Takes what a process's agent says of it; the latest word counts, and of workers the most.
    pub fn define(&mut self, definition: &StageDefinition) {
        self.workers = self.workers.max(definition.workers);
        if let Some(line) = definition.line.filter(|_| !definition.file.is_empty()) {
            self.place = Some((definition.file.clone(), line));
        }
        if !definition.pool.is_empty() {
            self.pool.clone_from(&definition.pool);
        }
        if definition.start_method.is_some() {
            self.start_method.clone_from(&definition.start_method);
        }
    }

    /// Notes the length of a queue.
    pub fn note_queue(&mut self, depth: u64) {
        let class = (u64::BITS - depth.leading_zeros()) as usize;
        if self.queue_depths.len() <= class {
            self.queue_depths.resize(class + 1, 0);
        }
        self.queue_depths[class] += 1;
        self.totals.queue_most = self.totals.queue_most.max(depth);
    }

    /// Notes CPU time in a process that a task of `outer` started.
    pub(super) fn note_within(&mut self, outer: ProgramId, on_cpu: Span) {
        match self.within.iter_mut().find(|known| known.0 == outer) {
            Some(known) => known.1 += on_cpu,
            None => self.within.push((outer, on_cpu)),
        }
    }

    /// Notes a payload.
    pub fn note_payload(&mut self, reading: &PayloadReading) {
        match reading.direction {
            Direction::Argument => self.arguments.note(reading),
            Direction::Result => self.results.note(reading),
        }
    }

    /// Notes something worth saying, once.
    pub fn note(&mut self, code: &str, detail: &str) {
        let known = self.notes.iter().any(|note| note.code == code && note.detail == detail);
        if !known && self.notes.len() < MOST_NOTES {
            self.notes.push(TaskNote { code: code.to_owned(), detail: detail.to_owned() });
        }
    }

    /// Adds the sums of a process that has ended.
    pub fn add_totals(&mut self, other: &TaskTotals) {
        let sums = &mut self.totals;
        sums.count = sums.count.saturating_add(other.count);
        sums.failed = sums.failed.saturating_add(other.failed);
        sums.timed = sums.timed.saturating_add(other.timed);
        sums.wall += other.wall;
        sums.cpu_timed = sums.cpu_timed.saturating_add(other.cpu_timed);
        sums.cpu += other.cpu;
        sums.queue_timed = sums.queue_timed.saturating_add(other.queue_timed);
        sums.queue += other.queue;
        sums.queue_most = sums.queue_most.max(other.queue_most);
        sums.unretrieved = sums.unretrieved.saturating_add(other.unretrieved);
        sums.begun = sums.begun.saturating_add(other.begun);
        sums.estimated |= other.estimated;
        sums.cancelled = sums.cancelled.saturating_add(other.cancelled);
    }

    /// By what factor the time of the recorded tasks is short of that of all. The first task of a process stands for itself
    /// alone; the others stand for those that were counted and not recorded.
    pub fn beyond_recorded(&self) -> f64 {
        let beyond = ratio(self.totals.count as f64, self.recorded as f64).unwrap_or(1.0);
        let (firsts, first) = (self.first.0, self.first.1.secs_f64());
        let warm = self.recorded.saturating_sub(firsts);
        let Some(all) = self.wall.mean().map(|mean| mean * self.recorded as f64) else { return beyond };
        if warm < FEWEST_WARM || self.totals.count <= self.recorded || first >= all {
            return beyond;
        }
        let each = ratio((self.totals.count - firsts) as f64, warm as f64).unwrap_or(1.0);
        ratio(first + (all - first) * each, all).unwrap_or(beyond)
    }

    /// The tasks that met their process cold, where they took many times what others take.
    pub fn dear_firsts(&self) -> Option<&Cold> {
        let cold = Some(&self.cold).filter(|cold| cold.count > 0 && self.kind != TaskKind::Coroutine)?;
        let others = self.recorded.checked_sub(cold.count).filter(|&others| others >= FEWEST_WARM)?;
        // They are the longest of all: what is below them are the others.
        let usual = self.wall.quantile(USUAL * others as f64 / self.recorded as f64)?;
        let all = self.wall.mean()? * self.recorded as f64 * self.beyond_recorded();
        let each = ratio(cold.wall.secs_f64(), cold.count as f64)?;
        (each > DEAR * usual && cold.wall.secs_f64() > DEAR_SHARE * all).then_some(cold)
    }

    /// How many tasks were handed over at once, on average.
    pub fn chunk(&self) -> f64 {
        ratio(self.recorded as f64, self.handed as f64).unwrap_or(1.0).max(1.0)
    }

    /// How long one task takes, seconds.
    pub fn mean_seconds(&self) -> Option<f64> {
        let counted = ratio(self.totals.count as f64, self.recorded as f64).filter(|&counted| counted > 1.0);
        let warm = counted.and_then(|counted| ratio(self.beyond_recorded(), counted)).unwrap_or(1.0);
        let recorded = self.wall.mean().map(|mean| mean * warm);
        recorded.or_else(|| ratio(self.totals.wall.secs_f64(), self.totals.timed as f64))
    }

    /// Tasks that began and never ended: how many, and the time of those whose beginning was recorded. The end of a task may
    /// be lost among many records, so what counts begins and ends without them has the say, where there is one.
    pub fn unfinished(&self) -> (u64, Span) {
        let (open, since) = self.open;
        let ended = self.totals.count.max(self.recorded);
        let uncounted = self.totals.begun == 0 && ended == 0;
        let count = if uncounted { open } else { self.totals.begun.saturating_sub(ended) };
        (count, since.scaled(ratio(count as f64, open as f64).unwrap_or(0.0).min(1.0)))
    }

    /// Adds the same stage of another run.
    pub fn merge(&mut self, other: &Tasks) {
        self.add_totals(&other.totals);
        self.workers = self.workers.max(other.workers);
        self.recorded = self.recorded.saturating_add(other.recorded);
        self.wall.fold(&other.wall);
        self.first = (self.first.0 + other.first.0, self.first.1 + other.first.1);
        self.handed = self.handed.saturating_add(other.handed);
        self.queued.fold(&other.queued);
        if self.queue_depths.len() < other.queue_depths.len() {
            self.queue_depths.resize(other.queue_depths.len(), 0);
        }
        for (sum, more) in self.queue_depths.iter_mut().zip(&other.queue_depths) {
            *sum += more;
        }
        self.arguments.fold(&other.arguments);
        self.results.fold(&other.results);
        let (ours, theirs) = (&mut self.coroutines, &other.coroutines);
        ours.count += theirs.count;
        ours.wall += theirs.wall;
        ours.own += theirs.own;
        ours.ready += theirs.ready;
        ours.slices += theirs.slices;
        ours.recorded_slices += theirs.recorded_slices;
        self.stalls = (self.stalls.0 + other.stalls.0, self.stalls.1.max(other.stalls.1));
        self.open = (self.open.0 + other.open.0, self.open.1 + other.open.1);
        self.hangs.fold(&other.hangs);
        for note in &other.notes {
            self.note(&note.code, &note.detail);
        }
    }

    /// A quantile of the queue's length: the lower end of its power of two.
    pub fn queue_depth(&self, quantile: f64) -> Option<u64> {
        let all: u64 = self.queue_depths.iter().sum();
        let mut below = 0;
        for (class, count) in self.queue_depths.iter().enumerate().filter(|_| all > 0) {
            below += count;
            if below as f64 >= quantile * all as f64 {
                return Some(if class == 0 { 0 } else { 1 << (class - 1) });
            }
        }
        None
    }
}
