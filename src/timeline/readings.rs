//! The fold of readings: what counters say beside switch records, and instead of them. Must not take part in births.

use super::Records;
use super::fold::TimelineBuilder;
use super::process::{Doubt, Process, ProcessSlot, Reading, Thread};
use super::program::Program;
use super::records::OWN_PACE;
use super::series::Lane;
use super::thread::ThreadState;
use crate::trace::{Blocking, Ids, ProcessReading, ThreadReading};
use crate::units::{Span, Timestamp};

/// CPU of a thread that is never seen blocked is laid into the series at least so often.
const LAID_AT_LEAST: Span = Span::from_millis(100);

impl TimelineBuilder {
    pub(super) fn read_thread(&mut self, ids: Ids, reading: &ThreadReading, at: Timestamp) {
        if !self.by_pid.contains_key(&ids.pid) {
            return;
        }
        let known = self.by_tid.contains_key(&ids.tid);
        if !known && self.records == Records::Whole {
            // It ended between the reading and the fold, or its fork is still to come: records will tell.
            return;
        }
        let slot = self.thread(ids, at);
        let stopped = self.stopped_until(at);
        let start = self.start;
        let records = self.records == Records::Whole;
        let early = self.early_look.take().filter(|(looked_at, _)| *looked_at == ids).map(|(_, on)| on);
        let thread = &mut self.threads[slot as usize];
        if let Some(on) = early.filter(|_| !records) {
            thread.noticed = Some(on);
            thread.sampled[on as usize] += 1;
        }
        // Its birth may be told before its counters are read, and then with less precision.
        let born = !known || (self.records == Records::None && thread.last.is_none() && reading.started.is_some());
        if born {
            thread.began = reading.started.unwrap_or(at).max(start).min(at);
            thread.unlaid_since = thread.began;
            thread.pending_since = thread.began;
            thread.stopped_at_block = Span::ZERO;
            thread.settled_at = thread.began;
        }
        let (Some(on_cpu), Some(run_delay)) = (reading.on_cpu, reading.run_delay) else {
            return;
        };
        let read = Reading {
            at,
            stopped,
            on_cpu,
            run_delay,
            slices: reading.slices.or(thread.last.and_then(|last| last.slices)),
            voluntary: reading.voluntary.or(thread.last.and_then(|last| last.voluntary)),
            involuntary: reading.involuntary.or(thread.last.and_then(|last| last.involuntary)),
        };
        let succeeded = thread.last.filter(|last| !records && ids.pid == ids.tid && !last.leads_to(&read));
        if let Some(own) = succeeded
            && let Some(other) = self.executed(slot, &read)
        {
            let thread = &mut self.threads[slot as usize];
            let beyond = |own: Option<u64>, other: Option<u64>| own.unwrap_or(0) as i64 - other.unwrap_or(0) as i64;
            thread.switches_beside.0 += beyond(own.voluntary, other.voluntary);
            thread.switches_beside.1 += beyond(own.involuntary, other.involuntary);
            thread.last = Some(other);
        }
        let thread = &mut self.threads[slot as usize];
        let before = thread.last.replace(read);
        if records {
            Self::reconcile_thread(thread, &mut self.processes, on_cpu, run_delay);
            return;
        }
        let (from, on_cpu_before, delay_before, stopped_before) = match before {
            Some(before) => (before.at, before.on_cpu, before.run_delay, before.stopped),
            // A reading from before the start only sets the base.
            None if at <= start => return,
            None if matches!(self.records, Records::Until(_)) && known => {
                Self::join_records(thread, on_cpu, at);
                return;
            }
            None => (thread.began, Span::ZERO, Span::ZERO, Span::ZERO),
        };
        let ran = on_cpu - on_cpu_before;
        self.processes[thread.process].read_cpu += ran;
        if ran > Span::ZERO {
            thread.locked.runs(at);
        }
        let queued = run_delay - delay_before;
        let window = at.since(from) - (stopped - stopped_before);
        let tasked = thread.tasked.is_some();
        let same_slice = read.slices.is_some() && before.and_then(|before| before.slices) == read.slices;
        Self::note_time_out(thread, same_slice, on_cpu, (from, at, window));
        if let Some(on) = thread.noticed.take() {
            Self::note_look(thread, &mut self.processes, &mut self.programs, on, (from, at, window));
        }
        let thread = &mut self.threads[slot as usize];
        if !tasked {
            thread.ledger.on_cpu += ran;
            thread.ledger.run_queue += queued;
        }
        let active = (ran + queued).0 as i64;
        thread.unsettled = thread.unsettled.saturating_add(window.0 as i64).saturating_sub(active);
        let process = &mut self.processes[thread.process];
        thread.lags = reading.active == Some(true);
        if thread.lags {
            process.round_running = true;
        } else if !tasked {
            thread.settle();
        }
        process.unsettled = process.unsettled.saturating_sub(active);
        process.round.push(slot);
        if tasked {
            let settled = !thread.lags;
            let blocked = Span(if settled { std::mem::take(&mut thread.unsettled).max(0) as u64 } else { 0 });
            self.hold_for_pieces(slot, ran, queued);
            if settled {
                self.split_pieces(slot, blocked, at);
            }
            self.count_switches(slot);
            return;
        }
        thread.settled_at = at;
        let program = &mut self.programs[process.program.0];
        program.readings += 1;
        // Laid over the same stretch as the wait beside it, which is known only when the thread is seen blocked.
        thread.unlaid += ran;
        if !thread.lags || at.since(thread.unlaid_since) > LAID_AT_LEAST {
            program.series.add(Lane::OnCpu, thread.unlaid_since, at, std::mem::take(&mut thread.unlaid));
            thread.unlaid_since = at;
        }
        self.count_switches(slot);
    }

    /// The first reading after records ended holds all that the thread ever ran. What records do not tell of is what it ran
    /// since they ended, and the cost of its switches; the readings to come begin where this one and the records left off.
    fn join_records(thread: &mut Thread, on_cpu: Span, at: Timestamp) {
        if !std::mem::take(&mut thread.told_by_records) || thread.tasked.is_some() {
            return;
        }
        let ledger = &mut thread.ledger;
        let told = thread.on_cpu_base + ledger.on_cpu + thread.missing_on_cpu + ledger.switch_cost;
        let beyond = on_cpu - told;
        let lost = beyond.min(ledger.unknown - thread.missing_on_cpu);
        let since = (beyond - lost).min(at.since(thread.settled_at));
        thread.missing_on_cpu += lost;
        ledger.on_cpu += since;
        ledger.switch_cost += beyond - lost - since;
        ledger.switches_read = ledger.voluntary + ledger.involuntary;
        if let Some(last) = &mut thread.last {
            // The counters of a running thread lag behind the records.
            last.on_cpu = last.on_cpu.max(told);
        }
    }

    /// Without records: the thread was seen blocked. That stands for the `window` since it was read before.
    fn note_look(
        thread: &mut Thread,
        processes: &mut [Process],
        programs: &mut [Program],
        on: Blocking,
        (from, at, window): (Timestamp, Timestamp, Span),
    ) {
        let process = &mut processes[thread.process];
        let Some(part) = thread.task_part() else {
            thread.ledger.looks.note(on, window);
            return;
        };
        // A task that reads what its child writes waits for the child.
        let on = if on == Blocking::Pipe && process.children > 0 { Blocking::Child } else { on };
        process.task_ledger(part).looks.note(on, window);
        if !matches!(on, Blocking::Gil | Blocking::Child | Blocking::Stopped) {
            programs[part.stage.0].series.add(Lane::OwnWait, from, at, window);
        }
    }

    /// Without records: a wait that had a time-out, and has ended since it was looked at, may have lasted until that; what is
    /// over before has been ended by another. Who waits anew without having done anything only looks again whether it can go on.
    fn note_time_out(
        thread: &mut Thread,
        same_slice: bool,
        on_cpu: Span,
        (from, at, window): (Timestamp, Timestamp, Span),
    ) {
        if !same_slice && let Some(doubt) = thread.doubt.take() {
            let retries = thread.noticed.is_some() && on_cpu - doubt.on_cpu < OWN_PACE;
            if retries {
                thread.ledger.retried += doubt.window;
            } else if doubt.earliest <= at {
                thread.ledger.doubtful += doubt.window;
            }
        }
        // Of a task every wait for others is its own already.
        let seen = thread.noticed.is_some() && thread.stage().is_none();
        match (&mut thread.doubt, thread.ends.take().filter(|_| seen)) {
            (_, Some(ends)) => thread.doubt = Some(Doubt { earliest: ends.earliest(from), window, on_cpu }),
            (Some(doubt), None) if seen => doubt.window += window,
            _ => {}
        }
    }

    /// A thread that replaces its program takes the place of the process's first one, with the counters that it has: the last
    /// reading of the thread, gone or about to be found so, whose counters lead to these.
    fn executed(&self, slot: u32, read: &Reading) -> Option<Reading> {
        let process = self.threads[slot as usize].process;
        let living = self.by_tid.values().filter(|&&other| other != slot).map(|&other| &self.threads[other as usize]);
        let living = living.filter(|thread| thread.process == process).filter_map(|thread| thread.last);
        let gone = self.processes[process].gone.iter().copied();
        living.chain(gone).filter(|last| last.leads_to(read)).max_by_key(|last| last.on_cpu)
    }

    /// Without records the counters alone tell how often a thread left its CPU.
    fn count_switches(&mut self, slot: u32) {
        let thread = &mut self.threads[slot as usize];
        if let Some(last) = thread.last {
            let own = |count: Option<u64>, beside: i64| count.unwrap_or(0).saturating_add_signed(beside);
            let ledger = &mut thread.ledger;
            // Where records ended, theirs are all that is known until the counts are read.
            if last.voluntary.is_some() || ledger.switches_read == 0 {
                ledger.voluntary = own(last.voluntary, thread.switches_beside.0);
                ledger.involuntary = own(last.involuntary, thread.switches_beside.1);
            }
            ledger.costed = (ledger.voluntary + ledger.involuntary).saturating_sub(ledger.switches_read);
        }
    }

    /// Compares a thread's counters with what records say: the wake-up delay, and on-CPU time that lost records hid.
    pub(super) fn reconcile_thread(thread: &mut Thread, processes: &mut [Process], on_cpu: Span, run_delay: Span) {
        if thread.clock.state() == ThreadState::Unseen {
            thread.delay_base = run_delay;
            thread.on_cpu_base = on_cpu;
            return;
        }
        if thread.tasked.is_some() {
            let off = (thread.clock.state() != ThreadState::Running).then_some(on_cpu);
            thread.reconcile_stretches(&mut processes[thread.process], run_delay, off);
            return;
        }
        thread.ledger.wakeups_read = thread.ledger.wakeups;
        thread.ledger.wakeup_delay = run_delay - thread.delay_base - thread.ledger.run_queue;
        if thread.clock.state() == ThreadState::Running {
            // The kernel adds up a running thread's time at ticks: only a thread off its CPU shows all of it.
            return;
        }
        let beyond = on_cpu - thread.on_cpu_base - thread.ledger.on_cpu;
        thread.missing_on_cpu = beyond.min(thread.ledger.unknown);
        thread.ledger.switches_read = thread.ledger.voluntary + thread.ledger.involuntary;
        thread.ledger.switch_cost = beyond - thread.missing_on_cpu;
    }

    pub(super) fn read_process(&mut self, pid: u32, parent: Option<u32>, reading: &ProcessReading, at: Timestamp) {
        if !self.by_pid.contains_key(&pid) {
            if self.records == Records::Whole {
                self.read_ended(pid, reading);
                return;
            }
            let parent = parent.and_then(|parent| self.by_pid.get(&parent).copied());
            self.process(pid, parent, None, at);
        }
        let slot = self.by_pid[&pid];
        self.close_round(slot, at, false);
        let process = &mut self.processes[slot];
        let program = &mut self.programs[process.program.0];
        let rss_bytes = reading.rss_bytes.filter(|&bytes| bytes > 0);
        if let Some(rss) = rss_bytes {
            let before = process.reading.rss_bytes.unwrap_or(0);
            program.rss_now = program.rss_now.saturating_sub(before).saturating_add(rss);
            self.tree_rss = self.tree_rss.saturating_sub(before).saturating_add(rss);
            self.peak_tree_rss = Some(self.peak_tree_rss.unwrap_or(0).max(self.tree_rss));
            let memory = &mut program.memory;
            memory.start_bytes.get_or_insert(rss);
            memory.peak_sum_bytes = Some(memory.peak_sum_bytes.unwrap_or(0).max(program.rss_now));
            let most = reading.rss_peak_bytes.unwrap_or(0).max(rss);
            memory.peak_one_bytes = Some(memory.peak_one_bytes.unwrap_or(0).max(most));
            program.series.note_rss(at, program.rss_now);
        }
        let base = &mut process.file_base;
        base.0 = base.0.or(reading.stdin_bytes);
        base.1 = base.1.or(reading.stdout_bytes);
        process.bytes.read(reading);
        let last = &mut process.reading;
        *last = ProcessReading {
            cpu_user: reading.cpu_user.or(last.cpu_user),
            cpu_system: reading.cpu_system.or(last.cpu_system),
            rss_bytes: rss_bytes.or(last.rss_bytes),
            rss_peak_bytes: reading.rss_peak_bytes.or(last.rss_peak_bytes),
            threads: reading.threads.or(last.threads),
            read_chars: reading.read_chars.or(last.read_chars),
            written_chars: reading.written_chars.or(last.written_chars),
            disk_read_bytes: reading.disk_read_bytes.or(last.disk_read_bytes),
            disk_written_bytes: reading.disk_written_bytes.or(last.disk_written_bytes),
            stdin_bytes: reading.stdin_bytes.or(last.stdin_bytes),
            stdout_bytes: reading.stdout_bytes.or(last.stdout_bytes),
        };
    }

    /// Without records: how long the whole process stood still since its threads were last all seen blocked is the wall
    /// time less what they ran and queued (at most none of it); the blocked time of each is split by that.
    pub(super) fn close_round(&mut self, slot: ProcessSlot, at: Timestamp, last: bool) {
        let stopped = self.stopped_until(at);
        let process = &mut self.processes[slot];
        if process.round.is_empty() && !last {
            return;
        }
        let window = at.since(process.round_at) - (stopped - process.round_stopped);
        process.unsettled = process.unsettled.saturating_add(window.0 as i64);
        process.round_at = at;
        process.round_stopped = stopped;
        let running = std::mem::take(&mut process.round_running);
        let still =
            if running && !last { Span::ZERO } else { Span(std::mem::take(&mut process.unsettled).max(0) as u64) };
        process.add_stillness(still);
        for thread in std::mem::take(&mut self.processes[slot].round) {
            self.book_pending(thread, still, at);
        }
    }

    /// Books a thread's settled blocked time, of which at most `still` was while its whole process stood still.
    pub(super) fn book_pending(&mut self, slot: u32, still: Span, at: Timestamp) {
        let thread = &mut self.threads[slot as usize];
        let blocked = std::mem::take(&mut thread.pending_blocked);
        if blocked == Span::ZERO {
            return;
        }
        let start = std::mem::replace(&mut thread.pending_since, at);
        let process = &self.processes[thread.process];
        let program = &mut self.programs[process.program.0];
        let start = start.max(Timestamp(at.0.saturating_sub(at.since(start).0.max(blocked.0))));
        let alone = still.min(blocked);
        Self::book_wait(thread, process, program, false, (start, at), (blocked - alone, alone));
        Self::settle_wait(thread, program);
    }
}
