//! The fold of switch records: intervals of threads into ledgers and series. Exact; must not read counters.

use super::Records;
use super::fold::TimelineBuilder;
use super::kinds::Shape;
use super::process::{Lanes, Process, Thread, Wait};
use super::program::Program;
use super::reconcile::STARVING;
use super::series::Lane;
use super::thread::{Activity, Interval, Step, ThreadClock, ThreadState};
use crate::trace::{Blocking, Ids, SwitchOut};
use crate::units::{Span, Timestamp};

/// Who has waited in vain until a time-out and then runs for so long has work of its own. Who only looks again whether there
/// is some needs less.
pub(super) const OWN_PACE: Span = Span::from_millis(1);
/// A thread that is woken before its time-outs more often than once in so many waits is late now and then: that a wait lasted
/// until its time-out does not tell then that nobody ended it before.
const SELDOM_WOKEN: u32 = 5;

impl TimelineBuilder {
    pub(super) fn step(&mut self, ids: Ids, step: Step, at: Timestamp) {
        let slot = self.thread(ids, at);
        let trusted_from = self.trusted_from;
        let stopped = self.stopped_until(at);
        let thread = &mut self.threads[slot as usize];
        let process = &mut self.processes[thread.process];
        let was_active = thread.clock.is_active();
        thread.count_gil(process, at);
        let still = process.stillness(at);
        let interval = thread.clock.step(step, at, trusted_from);
        let is_active = thread.clock.is_active();
        match (was_active, is_active) {
            (false, true) => process.wake(at),
            (true, false) => process.rest(at),
            _ => {}
        }
        if let Some(interval) = interval {
            Self::book(thread, process, &mut self.programs, interval, still, stopped);
        }
        if !matches!(step, Step::In | Step::Out(SwitchOut::Preempted)) {
            Self::settle_last_wait(thread, process, &mut self.programs);
        }
        match step {
            Step::Out(why) => {
                match why {
                    SwitchOut::Preempted => {
                        thread.ledger.involuntary += 1;
                        process.oust(slot, at);
                    }
                    SwitchOut::Blocked => thread.ledger.voluntary += 1,
                }
                thread.still_at_block = process.stillness(at);
                thread.stopped_at_block = stopped;
                thread.children_at_block = process.children > 0;
            }
            Step::In | Step::End => {}
        }
    }

    /// Books an interval into its thread and its program's series.
    pub(super) fn book(
        thread: &mut Thread,
        process: &mut Process,
        programs: &mut [Program],
        interval: Interval,
        still: Span,
        stopped: Span,
    ) {
        let stage = thread.stage();
        let program = &mut programs[stage.unwrap_or(process.program).0];
        let stopped_within = stopped - thread.stopped_at_block;
        match interval.activity {
            Activity::OnCpu => {
                thread.ledger.on_cpu += interval.span();
                thread.ran += interval.span();
                program.series.add(Lane::OnCpu, interval.start, interval.end, interval.span());
            }
            Activity::RunQueue => thread.ledger.run_queue += interval.span() - stopped_within,
            Activity::Unknown => thread.ledger.unknown += interval.span() - stopped_within,
            Activity::Blocked => {
                let blocked = interval.span() - stopped_within;
                let alone = (still - thread.still_at_block - stopped_within).min(blocked);
                thread.ledger.wakeups += 1;
                let span = (interval.start, interval.end);
                Self::book_wait(thread, process, program, stage.is_some(), span, (blocked - alone, alone));
            }
        }
    }

    /// Books time that a thread was blocked, `beside` others of its process that were not and `alone`, once it is known
    /// what it did afterwards.
    pub(super) fn book_wait(
        thread: &mut Thread,
        process: &Process,
        program: &mut Program,
        in_task: bool,
        (start, end): (Timestamp, Timestamp),
        (beside, alone): (Span, Span),
    ) {
        let mut kinds = std::mem::take(&mut thread.sampled);
        let has_children = thread.children_at_block || process.children > 0;
        if in_task && has_children && kinds[Blocking::Pipe as usize] > 0 {
            // A task that reads what its child writes waits for the child.
            kinds[Blocking::Child as usize] += std::mem::take(&mut kinds[Blocking::Pipe as usize]);
        }
        let lanes = if in_task {
            Lanes::Task
        } else if process.threads == 1 {
            Lanes::Only
        } else if thread.is_quiet(end) {
            Lanes::Quiet
        } else {
            Lanes::Beside
        };
        let launcher = has_children && !in_task;
        let ran_before = std::mem::take(&mut thread.ran);
        Self::settle_wait(thread, program);
        let ran_out = thread.ends.take().map(|ends| ends.is_reached(start, end));
        thread.wait = Some(Wait { start, end, beside, alone, kinds, lanes, launcher, ran_before, ran_out });
    }

    /// The thread's last wait is followed by no more than what it ran since: by what samples saw it wait for, else by what
    /// waits of that shape turned out to be, it goes to its kinds.
    pub(super) fn settle_wait(thread: &mut Thread, program: &mut Program) {
        let Some(wait) = thread.wait.take() else { return };
        let (beside, alone, mut kinds) = (wait.beside, wait.alone, wait.kinds);
        let blocked = beside + alone;
        if let Some(ran_out) = wait.ran_out.filter(|_| thread.ran >= OWN_PACE) {
            let (reached, woken) = thread.timed;
            thread.timed = (reached.saturating_add(ran_out.into()), woken.saturating_add((!ran_out).into()));
            let alone_ends_it = woken.saturating_mul(SELDOM_WOKEN) <= reached.saturating_add(woken);
            if ran_out && alone_ends_it {
                // Nobody woke it, and it had something to do all the same: it waited for the clock.
                for on in STARVING {
                    kinds[Blocking::Sleep as usize] += std::mem::take(&mut kinds[on as usize]);
                }
            } else if ran_out {
                thread.ledger.doubtful += blocked;
            }
        }
        let shape = Shape::of(beside, alone, wait.ran_before, thread.ran);
        let sampled = kinds.iter().any(|&count| count > 0);
        if sampled {
            thread.ledger.told += 1;
            program.kinds.note(shape, &kinds);
        } else {
            thread.ledger.guessed += blocked;
            kinds = program.kinds.guess(shape);
            // Never sampled at all, but it has living children: a launcher waits for those.
            if wait.launcher && kinds.iter().all(|&count| count == 0) {
                kinds[Blocking::Child as usize] = 1;
            }
        }
        let in_task = matches!(wait.lanes, Lanes::Task | Lanes::Looked);
        if in_task && !sampled {
            program.kinds.defer(shape, beside, alone);
        } else {
            thread.ledger.blocked.add(beside, alone, &kinds);
        }
        let total: u64 = kinds.iter().map(|&count| u64::from(count)).sum();
        if total == 0 {
            program.series.add(Lane::Unattributed, wait.start, wait.end, blocked);
            return;
        }
        if wait.lanes == Lanes::Looked {
            return;
        }
        let part = |span: Span, kind: Blocking| span.0 * u64::from(kinds[kind as usize]) / total;
        let all = |kinds: &[Blocking]| kinds.iter().map(|&kind| part(blocked, kind)).sum::<u64>();
        let mut own = all(&[Blocking::Network, Blocking::Disk, Blocking::Sleep, Blocking::Other]);
        match wait.lanes {
            Lanes::Task => own += all(&[Blocking::Lock, Blocking::SharedLock, Blocking::Pipe, Blocking::Idle]),
            Lanes::Only => own += part(alone, Blocking::Lock),
            Lanes::Quiet | Lanes::Beside | Lanes::Looked => {}
        }
        let lane = if wait.lanes == Lanes::Quiet { Lane::QuietWait } else { Lane::OwnWait };
        program.series.add(lane, wait.start, wait.end, Span(own));
    }

    fn settle_last_wait(thread: &mut Thread, process: &Process, programs: &mut [Program]) {
        let stage = thread.stage();
        Self::settle_wait(thread, &mut programs[stage.unwrap_or(process.program).0]);
    }

    /// Closes a thread's current interval at `at` without changing what it does.
    pub(super) fn cut(&mut self, slot: u32, at: Timestamp) {
        let stopped = self.stopped_until(at);
        let thread = &mut self.threads[slot as usize];
        let process = &mut self.processes[thread.process];
        let state = thread.clock.state();
        let still = process.stillness(at);
        if let Some(interval) = thread.clock.step(Step::End, at, self.trusted_from) {
            Self::book(thread, process, &mut self.programs, interval, still, stopped);
        }
        Self::settle_last_wait(thread, process, &mut self.programs);
        thread.clock = ThreadClock::new(state, at);
        thread.still_at_block = still;
        thread.stopped_at_block = stopped;
    }

    pub(super) fn end_records(&mut self, at: Timestamp) {
        self.records = if at <= self.start { Records::None } else { Records::Until(at) };
        let living: Vec<u32> = self.by_tid.values().copied().collect();
        for slot in living {
            self.cut(slot, at);
            let thread = &mut self.threads[slot as usize];
            let process = &mut self.processes[thread.process];
            // Its ledger is of what lies outside of tasks from now on.
            thread.close_stretch(process, at);
            if thread.clock.is_active() {
                process.rest(at);
            }
            thread.settled_at = at;
            thread.told_by_records = thread.clock.state() != ThreadState::Unseen;
            thread.clock = ThreadClock::new(ThreadState::Unseen, at);
            thread.last = None;
        }
        for &process in self.by_pid.values() {
            self.processes[process].freeze_stillness(at);
        }
    }
}
