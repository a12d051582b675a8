//! Threads that hang: blocked on a lock from some moment on until they end, their stacks unchanged, while every other Python
//! thread of the process is blocked on a lock as well, so that none of them can let go. Must not judge.
//!
//! ```text
//! worker 1  ──run──┤ lock a ├──run──┤ lock b …………………… stack ………… stack ……… end
//! worker 2  ──run──┤ lock b ├──run──┤ lock a …………………… stack ………… stack ……… end
//! main      ──run─────────────────────┤ lock (join) …… stack ………… stack ……… end
//! ```
//!
//! Threads that wait for the interpreter lock run in turns, and are none of these.

use super::Records;
use super::fold::TimelineBuilder;
use super::process::Thread;
use super::thread::ThreadState;
use crate::trace::{Blocking, Ids, StackCall, ThreadStack};
use crate::units::{Span, Timestamp};

/// Shorter waits for a lock are no hang.
const SHORTEST: Span = Span::from_millis(2_000);
/// Who is killed may run once more, for so long before its end.
const DYING: Span = Span::from_millis(500);
/// Most stacks that are kept of a stage.
const MOST_STACKS: usize = 16;

/// A thread that hung.
#[derive(Debug, Clone, PartialEq)]
pub struct Hung {
    /// For how long.
    pub length: Span,
    /// Where, the innermost call first.
    pub calls: Vec<StackCall>,
}

/// Threads of a stage that were in a task when they ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hangs {
    /// Those that hung: the first few of them.
    pub hung: Vec<Hung>,
    /// How many hung.
    pub count: u64,
    /// How many did not.
    pub others: u64,
}

impl Hangs {
    /// Adds those of another run.
    pub fn fold(&mut self, other: &Hangs) {
        let room = MOST_STACKS.saturating_sub(self.hung.len());
        self.hung.extend(other.hung.iter().take(room).cloned());
        self.count = self.count.saturating_add(other.count);
        self.others = self.others.saturating_add(other.others);
    }

    pub(super) fn note(&mut self, hung: Option<Hung>) {
        let Some(hung) = hung else {
            self.others = self.others.saturating_add(1);
            return;
        };
        self.count = self.count.saturating_add(1);
        if self.hung.len() < MOST_STACKS {
            self.hung.push(hung);
        }
    }
}

/// What is known of a thread's waiting for a lock.
#[derive(Debug, Clone, Default)]
pub struct Locked {
    /// When it was first and last seen to wait for a lock since it ran or was seen to wait for something else.
    seen: Option<(Timestamp, Timestamp)>,
    /// Its stack, read while it waited.
    stack: Option<Box<Held>>,
}

#[derive(Debug, Clone)]
struct Held {
    /// Since when it has been where it is.
    since: Timestamp,
    /// Whether that is sure: by records, or because a second look found the same.
    sure: bool,
    calls: Vec<StackCall>,
    /// When it ran next.
    ran: Option<Timestamp>,
    /// Whether all Python threads of its process waited for locks at the last look.
    all: bool,
}

impl Locked {
    /// The thread was seen to wait.
    pub fn waits(&mut self, on: Blocking, at: Timestamp) {
        let first = self.seen.map_or(at, |seen| seen.0);
        self.seen = matches!(on, Blocking::Lock | Blocking::SharedLock).then_some((first, at));
    }

    /// The thread ran.
    pub fn runs(&mut self, at: Timestamp) {
        self.seen = None;
        if let Some(held) = &mut self.stack {
            held.ran.get_or_insert(at);
        }
    }

    /// Where it hung and for how long, if it did so until it ended.
    pub fn hung_until(&mut self, end: Timestamp) -> Option<Hung> {
        let held = self.stack.take()?;
        let until = held.ran.unwrap_or(end);
        let length = until.since(held.since);
        (held.sure && held.all && end.since(until) <= DYING && length >= SHORTEST)
            .then_some(Hung { length, calls: held.calls })
    }
}

impl Thread {
    /// Since when it waits for a lock and has not run, as far as is known: by records since it blocked.
    fn locked_since(&self, records: Records) -> Option<Timestamp> {
        let (first, last) = self.locked.seen?;
        if records != Records::Whole {
            return Some(first);
        }
        let since = self.clock.since();
        (self.clock.state() == ThreadState::Blocked && last >= since).then_some(since)
    }
}

impl TimelineBuilder {
    /// The stacks of a process's Python threads were read.
    pub(super) fn read_stacks(&mut self, pid: u32, stacks: &[ThreadStack]) {
        let slot_of = |tid: u32| {
            let &slot = self.by_tid.get(&tid)?;
            (self.threads[slot as usize].ids == Ids { pid, tid }).then_some(slot)
        };
        let slots: Vec<Option<u32>> = stacks.iter().map(|stack| stack.tid.and_then(slot_of)).collect();
        let records = self.records;
        let since = |slot: u32| self.threads[slot as usize].locked_since(records);
        let waits: Vec<Option<Timestamp>> = slots.iter().map(|slot| slot.and_then(since)).collect();
        let all = waits.iter().all(Option::is_some);
        for ((stack, slot), since) in stacks.iter().zip(slots).zip(waits) {
            let Some(slot) = slot else { continue };
            let locked = &mut self.threads[slot as usize].locked;
            let Some(since) = since else {
                locked.stack = None;
                continue;
            };
            let same = locked.stack.take().filter(|held| held.ran.is_none() && held.calls == stack.calls);
            // By records it is known that the thread did not run in between.
            let sure = records == Records::Whole || same.is_some();
            locked.stack = Some(Box::new(Held { since, sure, calls: stack.calls.clone(), ran: None, all }));
        }
    }
}
