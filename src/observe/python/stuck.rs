//! Which processes have a task that seems stuck: its thread waits for a lock and has not run for seconds. Their stacks are
//! read then, ever more rarely while nothing changes. Must not decide whether they are stuck for good.

use crate::trace::{Blocking, Event, Ids};
use crate::units::{Span, Timestamp};
use rustc_hash::FxHashMap;

/// A task whose thread waits for a lock for this long seems stuck.
const SEEMS_STUCK: Span = Span::from_millis(1_500);
/// The rest between two looks at a process; it doubles.
const FIRST_REST: Span = Span::from_millis(1_000);
/// Up to this.
const LONGEST_REST: Span = Span::from_millis(60_000);
/// Most processes that are looked at together: a first look is dear.
const AT_ONCE: usize = 4;
/// Most threads that are kept track of.
const MOST_THREADS: usize = 8192;

/// A thread in a task.
#[derive(Debug, Clone, Copy)]
struct InTask {
    pid: u32,
    /// Tasks, one in another.
    depth: u32,
    /// Since when it was seen to wait for a lock, and for nothing else.
    locked: Option<Timestamp>,
    /// Its CPU time by the last reading.
    on_cpu: Option<Span>,
}

/// When a process's stacks are read next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    next: Timestamp,
    rest: Span,
}

/// Threads in tasks, and processes that were looked at.
#[derive(Debug, Default)]
pub struct Stuck {
    threads: FxHashMap<u32, InTask>,
    turns: FxHashMap<u32, Turn>,
}

impl Stuck {
    /// Takes part in what is told of threads.
    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::TaskBegin { ids, slice: false, .. } if self.threads.len() < MOST_THREADS => {
                let new = InTask { pid: ids.pid, depth: 0, locked: None, on_cpu: None };
                let thread = self.threads.entry(ids.tid).or_insert(new);
                thread.depth = thread.depth.saturating_add(1);
                thread.locked = None;
            }
            Event::TaskEnd { ids, end, .. } if !end.slice && !end.unbegun => {
                if let Some(thread) = self.threads.get_mut(&ids.tid) {
                    thread.depth -= 1;
                    thread.locked = None;
                    if thread.depth == 0 {
                        self.threads.remove(&ids.tid);
                    }
                }
            }
            Event::SwitchIn { ids, .. } => {
                if let Some(thread) = self.threads.get_mut(&ids.tid) {
                    thread.locked = None;
                }
            }
            Event::Thread { ids, reading, .. } => {
                if let Some(thread) = self.threads.get_mut(&ids.tid) {
                    let ran =
                        reading.on_cpu.is_some() && thread.on_cpu.is_some_and(|before| reading.on_cpu > Some(before));
                    thread.on_cpu = reading.on_cpu.or(thread.on_cpu);
                    if ran || reading.active == Some(true) {
                        thread.locked = None;
                    }
                }
            }
            Event::Waiting { at, ids, on } => self.waits(*ids, *on, *at),
            Event::Exit { ids, .. } | Event::Gone { ids, .. } => {
                self.threads.remove(&ids.tid);
                if ids.pid == ids.tid {
                    self.turns.remove(&ids.pid);
                }
            }
            _ => {}
        }
    }

    fn waits(&mut self, ids: Ids, on: Blocking, at: Timestamp) {
        let Some(thread) = self.threads.get_mut(&ids.tid) else { return };
        if !matches!(on, Blocking::Lock | Blocking::SharedLock) {
            thread.locked = None;
            return;
        }
        thread.locked.get_or_insert(at);
        // Looked at once in a while; while its thread runs now and then, that is put off each time.
        self.turns.entry(ids.pid).or_insert(Turn { next: at + SEEMS_STUCK, rest: FIRST_REST });
    }

    /// When a process has its turn next.
    pub fn due(&self) -> Option<Timestamp> {
        self.turns.values().map(|turn| turn.next).min()
    }

    /// The processes whose turn it is and that have a thread which seems stuck; of many the first few, the others later.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<u32> {
        let mut found = Vec::new();
        let threads = &self.threads;
        self.turns.retain(|&pid, turn| {
            if turn.next > now {
                return true;
            }
            let waits = || threads.values().filter(|thread| thread.pid == pid).filter_map(|thread| thread.locked);
            if waits().any(|since| now.since(since) >= SEEMS_STUCK) {
                if found.len() >= AT_ONCE {
                    turn.next = now + FIRST_REST;
                    return true;
                }
                found.push(pid);
                turn.next = now + turn.rest;
                turn.rest = Span(turn.rest.0 * 2).min(LONGEST_REST);
                return true;
            }
            turn.next = now + SEEMS_STUCK;
            turn.rest = FIRST_REST;
            waits().next().is_some()
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Ids = Ids { pid: 7, tid: 8 };

    fn at(millis: u64) -> Timestamp {
        Timestamp(millis * 1_000_000)
    }

    fn begin(millis: u64) -> Event {
        Event::TaskBegin { at: at(millis), ids: IDS, stage: 0, queued: None, slice: false }
    }

    fn wait(millis: u64, on: Blocking) -> Event {
        Event::Waiting { at: at(millis), ids: IDS, on }
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_and_does_not_run_is_looked_at_ever_more_rarely() {
        let mut stuck = Stuck::default();
        [begin(0), wait(10, Blocking::Lock)].iter().for_each(|event| stuck.follow(event));
        assert_eq!(stuck.take_due(at(500)), Vec::<u32>::new());
        let mut looks = Vec::new();
        for millis in (0..30_000).step_by(100) {
            if stuck.due().is_some_and(|due| due <= at(millis)) && stuck.take_due(at(millis)) == [7] {
                looks.push(millis);
            }
        }
        assert_eq!(looks, [1600, 2600, 4600, 8600, 16_600]);
        stuck.follow(&Event::Exit { at: at(30_000), ids: Ids { pid: 7, tid: 7 } });
        assert_eq!(stuck.due(), None);
    }

    #[test]
    fn who_runs_or_waits_for_something_else_or_is_in_no_task_is_not() {
        for (begins, event) in [
            (true, Event::SwitchIn { at: at(1000), ids: IDS }),
            (true, wait(1000, Blocking::Network)),
            (true, wait(1000, Blocking::Gil)),
            (false, wait(1000, Blocking::Lock)),
        ] {
            let mut stuck = Stuck::default();
            if begins {
                stuck.follow(&begin(0));
            }
            stuck.follow(&wait(10, Blocking::Lock));
            stuck.follow(&event);
            assert!((0..100).all(|second| stuck.take_due(at(second * 100)).is_empty()), "{event:?}");
        }
    }
}
