//! The interpreter lock in the fold: readings counted against what the thread did at that instant. A thread's share is
//! P(held | it had a CPU); who holds the lock while blocked demands it all the same. Must not know offsets.

use super::Records;
use super::fold::TimelineBuilder;
use super::process::Thread;
use super::program::ProgramId;
use super::thread::ThreadState;
use crate::trace::{GilAccess, GilHolder, GilSample};
use crate::units::{Span, Timestamp};

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
    /// Of those, readings that showed it as the holder and were followed by another.
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
    last: Option<Timestamp>,
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
        let stands_for = interpreter.last.replace(at).map_or(Span::ZERO, |last| at.since(last).min(LONGEST_GAP));
        // Who lost its CPU just now lost it to our look: it counts as having one.
        let ousted = |ousted: &[(u32, Timestamp)], slot: u32| {
            ousted.iter().any(|&(other, since)| other == slot && at.since(since) < JUST_NOW && since <= at)
        };
        let process = &self.processes[slot];
        for &(other, since) in &process.ousted {
            let Some(thread) = self.threads.get_mut(other as usize) else { continue };
            let is_ours = thread.process == slot && thread.clock.state() == ThreadState::Preempted;
            if is_ours && since <= at && at.since(since) < JUST_NOW {
                thread.ledger.gil.active += known;
                thread.ledger.gil.bursts += 1;
            }
        }
        let sampled = self.records != Records::Whole;
        if sampled && !process.stages.is_empty() {
            // Without records nobody knows who had a CPU; how often a stage was looked at is known.
            let inside: Vec<ProgramId> = self
                .by_tid
                .values()
                .map(|&other| &self.threads[other as usize])
                .filter(|thread| thread.process == slot)
                .filter_map(Thread::stage)
                .collect();
            for stage in inside {
                self.processes[slot].task_ledger(stage).gil.bursts += 1;
            }
        }
        let mut holders: Vec<u32> = Vec::new();
        for (index, run) in sample.runs.iter().enumerate() {
            let GilHolder::Thread(tid) = run.holder else { continue };
            let Some(&slot) = self.by_tid.get(&tid) else { continue };
            let thread = &mut self.threads[slot as usize];
            let in_stage = thread.stage().filter(|_| sampled);
            let state = thread.clock.state();
            let process = &mut self.processes[thread.process];
            let just_ousted = ousted(&process.ousted, slot);
            let counts = match in_stage {
                Some(stage) => &mut process.task_ledger(stage).gil,
                None => &mut thread.ledger.gil,
            };
            let reads = u64::from(run.reads);
            match state {
                ThreadState::Running => counts.held += reads,
                ThreadState::Preempted if just_ousted => counts.held += reads,
                // Waiting for a CPU with the lock in hand tells nothing of its own time.
                ThreadState::Preempted => {}
                _ => {
                    counts.held_blocked += reads;
                    counts.held_blocked_time += stands_for.scaled(reads as f64 / known as f64);
                }
            }
            counts.held_time += stands_for.scaled(reads as f64 / known as f64);
            if state == ThreadState::Running {
                let last = index + 1 == sample.runs.len();
                counts.running_held += reads - u64::from(last);
                counts.releases += u64::from(!last);
            }
            if !holders.contains(&tid) {
                holders.push(tid);
                counts.held_bursts += 1;
            }
        }
    }
}
