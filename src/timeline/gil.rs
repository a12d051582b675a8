//! The interpreter lock in the fold: readings counted against what the thread did at that instant. A thread's share is
//! P(held | it had a CPU); who holds the lock while blocked demands it all the same. Must not know offsets.

use super::Records;
use super::fold::TimelineBuilder;
use super::process::{Process, TaskPart, Thread};
use super::thread::ThreadState;
use crate::trace::{GilAccess, GilHolder, GilRun, GilSample};
use crate::units::{Span, Timestamp, ratio};

/// A burst stands for the time since the one before, but for no more than this.
const LONGEST_GAP: Span = Span::from_millis(100);

/// A thread that lost its CPU so short a time before a reading lost it to the reader.
const JUST_NOW: Span = Span(300_000);

/// Readings of the lock, from one thread's point of view. Sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GilCounts {
    /// Readings while it had a CPU, or had just lost it to the reader.
    pub active: u64,
    /// Of those, readings that showed it as the holder.
    pub held: u64,
    /// Readings that showed it as the holder while it was blocked.
    pub held_blocked: u64,
    /// Time that it held the lock while it was blocked, each burst standing for the time since the one before.
    pub held_blocked_time: Span,
    /// Readings while it had a CPU: on a full machine our own look takes one away, and the lock stands still meanwhile.
    pub running: u64,
    /// Of those, readings that showed it as the holder and were followed by another. Without records, of all readings.
    pub running_held: u64,
    /// Of the latter, those that the next reading did not show as the holder any more.
    pub releases: u64,
    /// Bursts while it had a CPU, or had just lost it to the reader.
    pub bursts: u64,
    /// Bursts in which it was seen as the holder at least once.
    pub held_bursts: u64,
    /// Time that it held the lock, each burst standing for the time since the one before.
    pub held_time: Span,
}

impl GilCounts {
    /// A part of it.
    pub fn scaled(&self, factor: f64) -> GilCounts {
        let part = |count: u64| (count as f64 * factor).round() as u64;
        GilCounts {
            active: part(self.active),
            held: part(self.held),
            held_blocked: part(self.held_blocked),
            held_blocked_time: self.held_blocked_time.scaled(factor),
            running: part(self.running),
            running_held: part(self.running_held),
            releases: part(self.releases),
            bursts: part(self.bursts),
            held_bursts: part(self.held_bursts),
            held_time: self.held_time.scaled(factor),
        }
    }

    /// Takes away what was added by mistake.
    pub fn take_back(&mut self, other: &GilCounts) {
        self.active -= other.active.min(self.active);
        self.held -= other.held.min(self.held);
        self.held_blocked -= other.held_blocked.min(self.held_blocked);
        self.held_blocked_time = self.held_blocked_time - other.held_blocked_time;
        self.running -= other.running.min(self.running);
        self.running_held -= other.running_held.min(self.running_held);
        self.releases -= other.releases.min(self.releases);
        self.bursts -= other.bursts.min(self.bursts);
        self.held_bursts -= other.held_bursts.min(self.held_bursts);
        self.held_time = self.held_time - other.held_time;
    }

    /// Adds another.
    pub fn fold(&mut self, other: &GilCounts) {
        self.active += other.active;
        self.held += other.held;
        self.held_blocked += other.held_blocked;
        self.held_blocked_time += other.held_blocked_time;
        self.running += other.running;
        self.running_held += other.running_held;
        self.releases += other.releases;
        self.bursts += other.bursts;
        self.held_bursts += other.held_bursts;
        self.held_time += other.held_time;
    }
}

/// What is known of the interpreter in a process, and how its lock was read so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Interpreter {
    /// Its version.
    pub version: Option<(u8, u8, u8)>,
    /// Whether its lock can be read.
    pub access: Option<GilAccess>,
    /// Readings whose holder is known.
    pub reads: u64,
    /// Bursts.
    pub bursts: u64,
    /// From the first reading to the last of each burst, added up.
    pub length: Span,
    /// Gaps between readings in it.
    pub gaps: u64,
    last: Option<Burst>,
}

/// The last burst of readings: it takes a while, and what a thread does may change meanwhile.
#[derive(Debug, Clone, PartialEq)]
struct Burst {
    start: Timestamp,
    end: Timestamp,
    runs: Vec<GilRun>,
    /// Readings in it whose holder is known.
    known: u64,
    /// The time that it stands for.
    stands_for: Span,
}

/// What a burst added to a thread's ledger, and what the thread did then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Booked {
    /// Its number.
    burst: u64,
    state: ThreadState,
    ousted: bool,
    counts: GilCounts,
}

impl Interpreter {
    /// How many readings of the last burst were made before `at`, if it was still going on then.
    fn made_before(&self, at: Timestamp) -> Option<(&Burst, u64)> {
        let burst = self.last.as_ref().filter(|burst| at < burst.end)?;
        let part = ratio(at.since(burst.start).secs_f64(), burst.end.since(burst.start).secs_f64())?;
        Some((burst, (part * burst.known as f64) as u64))
    }
}

impl Burst {
    /// What its first `first` known readings tell of a thread that did this meanwhile; `None`: no records tell what.
    fn of(&self, tid: u32, state: Option<ThreadState>, ousted: bool, first: u64) -> GilCounts {
        let mut counts = GilCounts::default();
        let mut left = first;
        let mut runs = self.runs.iter().filter(|run| run.holder != GilHolder::Unknown).peekable();
        while let Some(run) = runs.next() {
            let reads = u64::from(run.reads).min(left);
            left -= reads;
            if run.holder != GilHolder::Thread(tid) || reads == 0 {
                continue;
            }
            let time = self.stands_for.scaled(reads as f64 / self.known as f64);
            match state {
                None => {}
                Some(ThreadState::Running) => counts.held += reads,
                Some(ThreadState::Preempted) if ousted => counts.held += reads,
                // Waiting for a CPU with the lock in hand tells nothing of its own time.
                Some(ThreadState::Preempted) => {}
                Some(_) => {
                    counts.held_blocked += reads;
                    counts.held_blocked_time += time;
                }
            }
            counts.held_time += time;
            if state.is_none_or(|state| state == ThreadState::Running) {
                let last = left == 0 || runs.peek().is_none();
                counts.running_held += reads - u64::from(last);
                counts.releases += u64::from(!last);
            }
            counts.held_bursts = 1;
        }
        if state == Some(ThreadState::Preempted) && ousted && first > 0 {
            counts.active = first;
            counts.bursts = 1;
        }
        counts
    }
}

impl Thread {
    /// Books what its process's lock was read while it had a CPU, until now. Of a burst that is still going on only the
    /// readings that were made by now are of what it did until now.
    pub fn count_gil(&mut self, process: &Process, at: Timestamp) {
        let interpreter = &process.interpreter;
        let (mut reads, mut bursts) = (interpreter.reads, interpreter.bursts);
        let partly = interpreter.made_before(at).filter(|_| self.gil_base.1 < bursts);
        if let Some((burst, made)) = partly {
            reads -= burst.known - made;
            bursts -= u64::from(made == 0);
            if let Some(booked) = self.gil_last.filter(|booked| booked.burst == interpreter.bursts) {
                self.ledger.gil.take_back(&booked.counts);
                self.ledger.gil.fold(&burst.of(self.ids.tid, Some(booked.state), booked.ousted, made));
            }
        }
        if self.clock.state() == ThreadState::Running {
            let reads = reads.saturating_sub(self.gil_base.0);
            self.ledger.gil.active += reads;
            self.ledger.gil.running += reads;
            self.ledger.gil.bursts += bursts.saturating_sub(self.gil_base.1);
        }
        self.gil_base = (interpreter.reads, interpreter.bursts);
        self.gil_last = None;
    }
}

impl TimelineBuilder {
    pub(super) fn read_gil(&mut self, pid: u32, sample: &GilSample, at: Timestamp) {
        let Some(&slot) = self.by_pid.get(&pid) else { return };
        let process = &mut self.processes[slot];
        let interpreter = &mut process.interpreter;
        let reads = |known: bool| -> u64 {
            let wanted = sample.runs.iter().filter(|run| (run.holder != GilHolder::Unknown) == known);
            wanted.map(|run| u64::from(run.reads)).sum()
        };
        let known = reads(true);
        if known == 0 {
            return;
        }
        interpreter.reads += known;
        interpreter.bursts += 1;
        interpreter.length += sample.length;
        interpreter.gaps += (known + reads(false)).saturating_sub(1);
        let before = interpreter.last.as_ref().map(|last| last.start);
        let burst = Burst {
            start: at,
            end: Timestamp(at.0.saturating_add(sample.length.0)),
            runs: sample.runs.clone(),
            known,
            stands_for: before.map_or(Span::ZERO, |last| at.since(last).min(LONGEST_GAP)),
        };
        let number = interpreter.bursts;
        let process = &self.processes[slot];
        let sampled = self.records != Records::Whole;
        if sampled && !process.stages.is_empty() {
            // Without records nobody knows who had a CPU; how often a stage was looked at is known.
            let inside: Vec<TaskPart> = self
                .by_tid
                .values()
                .map(|&other| &self.threads[other as usize])
                .filter(|thread| thread.process == slot)
                .filter_map(Thread::task_part)
                .collect();
            for part in inside {
                self.processes[slot].task_ledger(part).gil.bursts += 1;
            }
        }
        let ousted = &self.processes[slot].ousted;
        // Who lost its CPU just now lost it to our look: it counts as having one.
        let just_now =
            |slot: u32| ousted.iter().any(|&(other, since)| other == slot && since <= at && at.since(since) < JUST_NOW);
        let holders = sample.runs.iter().filter_map(|run| match run.holder {
            GilHolder::Thread(tid) => self.by_tid.get(&tid).copied(),
            _ => None,
        });
        let mut told: Vec<(u32, bool)> =
            holders.chain(ousted.iter().map(|&(other, _)| other)).map(|other| (other, just_now(other))).collect();
        told.sort_unstable();
        told.dedup();
        for (other, just_now) in told {
            let Some(thread) = self.threads.get_mut(other as usize).filter(|thread| thread.process == slot) else {
                continue;
            };
            let state = thread.clock.state();
            let ousted = just_now && state == ThreadState::Preempted;
            let counts = burst.of(thread.ids.tid, Some(state).filter(|_| !sampled), ousted, known);
            match thread.task_part().filter(|_| sampled) {
                Some(part) => self.processes[slot].task_ledger(part).gil.fold(&counts),
                None => {
                    thread.ledger.gil.fold(&counts);
                    thread.gil_last = (!sampled).then_some(Booked { burst: number, state, ousted, counts });
                }
            }
        }
        self.processes[slot].interpreter.last = Some(burst);
    }
}
