//! Deaths in the fold: threads into their process, processes into their program. Must not judge.

use super::Records;
use super::bytes;
use super::descriptors::DescriptorGrowth;
use super::fold::TimelineBuilder;
use super::ledger::Ledger;
use super::process::ProcessSlot;
use super::reconcile::{IDLE_WAKEUPS, QUIET_SHARE_OF_LIFE};
use super::series::Lane;
use crate::units::{Span, Timestamp, ratio};

/// How far the counters of a thread that has or wants a CPU lag behind at the most: a clock tick and a turn in the queue.
const LAG: Span = Span::from_millis(30);

/// For so many times the life of the threads that were read, those that were not are taken to be like them.
const MOST_UNREAD: f64 = 10.0;

/// What a process's counters may be ahead of those of its threads without a thread gone unread: two clock ticks, as they
/// count in these.
const UNREAD_AT_LEAST: Span = Span::from_millis(20);

impl TimelineBuilder {
    pub(super) fn end_thread(&mut self, slot: u32, at: Timestamp) {
        self.cut(slot, at);
        let stopped = self.stopped_until(at);
        let ids = self.threads[slot as usize].ids;
        let process = self.threads[slot as usize].process;
        if self.records != Records::Whole {
            let last = self.processes[process].threads <= 1;
            let thread = &mut self.threads[slot as usize];
            if thread.lags {
                // It was last seen with or for a CPU: what its counters had not caught up with is a tick and a turn in
                // the queue; the rest it was blocked.
                let lag = thread.unsettled.clamp(0, LAG.0 as i64);
                thread.unsettled -= lag;
                thread.ledger.run_queue += Span(lag as u64);
            }
            if let Some(last) = thread.last.filter(|_| !thread.lags && thread.tasked.is_none() && thread.is_quiet(at)) {
                // Who hardly ever runs was blocked since it was last read too. When it ended since the round before is not
                // known: halfway.
                let round = self.processes[process].round_at.max(last.at);
                let until = if at > round { Timestamp(round.0 + at.since(round).0 / 2) } else { at };
                let stopped_since = stopped - last.stopped;
                thread.unsettled = thread.unsettled.saturating_add((until.since(last.at) - stopped_since).0 as i64);
            }
            if thread.last.is_none() && self.records == Records::None {
                self.processes[process].unread += at.since(thread.began) - (stopped - thread.stopped_at_block);
            }
            if thread.tasked.is_some() {
                let blocked = Span(std::mem::take(&mut thread.unsettled).max(0) as u64);
                self.split_pieces(slot, blocked, at);
            }
            let thread = &mut self.threads[slot as usize];
            if let Some(tasked) = &mut thread.tasked {
                // It may end within a task, and what it holds itself is of no task.
                tasked.outside.fold(&std::mem::take(&mut thread.ledger));
            }
            thread.settle();
            let reading = thread.last;
            self.processes[process].keep_last(reading);
            self.processes[process].round.push(slot);
            self.close_round(process, at.max(self.processes[process].round_at), last);
        }
        if self.threads[slot as usize].clock.is_active() {
            self.processes[process].rest(at);
        }
        self.fold_thread(slot, at);
        self.by_tid.remove(&ids.tid);
        self.free_threads.push(slot);
        self.processes[process].threads = self.processes[process].threads.saturating_sub(1);
        match self.processes[process].threads {
            0 => self.end_process(process, at),
            1 => self.close_stretch(process, at),
            _ => {}
        }
    }

    /// Adds a thread's ledger to its process and empties it.
    pub(super) fn fold_thread(&mut self, slot: u32, at: Timestamp) {
        let stopped = self.stopped_until(at);
        let thread = &mut self.threads[slot as usize];
        let process = &mut self.processes[thread.process];
        thread.count_gil(process, at);
        let helps = self.records == Records::Whole && thread.ids.tid != thread.ids.pid && thread.tasked.is_none();
        let hung = thread.locked.hung_until(at);
        for left in thread.leave_tasks(process, at) {
            let program = &mut self.programs[left.stage.0];
            program.leave(at);
            if let Some(tasks) = &mut program.tasks {
                tasks.open = (tasks.open.0 + 1, tasks.open.1 + at.since(left.since));
                tasks.hangs.note(hung.clone());
            }
        }
        let mut ledger = std::mem::take(&mut thread.ledger);
        ledger.on_cpu += thread.missing_on_cpu;
        ledger.unknown = ledger.unknown - thread.missing_on_cpu;
        thread.missing_on_cpu = Span::ZERO;
        ledger.threads = 1;
        ledger.life = at.since(thread.began);
        let quiet = (ledger.on_cpu.0 as f64) < QUIET_SHARE_OF_LIFE * ledger.life.0 as f64;
        let unlaid = std::mem::take(&mut thread.unlaid);
        let program = self.processes[thread.process].program;
        if helps {
            let helpers = &mut self.programs[program.0].helpers;
            helpers.on_cpu += ledger.on_cpu.secs_f64() + ledger.switch_cost.secs_f64();
            helpers.run_queue += ledger.run_queue.secs_f64();
            helpers.gil.fold(&ledger.gil);
        }
        self.programs[program.0].series.add(Lane::OnCpu, thread.unlaid_since, at, unlaid);
        thread.unlaid_since = at;
        // What the kernel's counters stand at by now: later readings are compared with what comes after.
        thread.on_cpu_base += ledger.on_cpu + ledger.switch_cost;
        thread.delay_base += ledger.run_queue + ledger.wakeup_delay;
        thread.began = at;
        thread.stopped_at_block = stopped;
        let wakeups = ledger.voluntary.max(thread.last.and_then(|last| last.slices).unwrap_or(0)) as f64;
        let idle = wakeups < IDLE_WAKEUPS * ledger.life.secs_f64().max(1.0);
        let sums = &mut self.processes[thread.process].sums;
        match (quiet, idle) {
            (false, _) => sums.busy.fold(&ledger),
            (true, false) => sums.quiet.fold(&ledger),
            (true, true) => sums.idle.fold(&ledger),
        }
    }

    /// Books what a process did into its program; it goes on with another one, or ends.
    pub(super) fn close_program(&mut self, slot: ProcessSlot, leader: u32, at: Timestamp, replaced: bool) {
        if replaced {
            self.fold_thread(leader, at);
        }
        let stopped = self.stopped_until(at);
        let process = &mut self.processes[slot];
        let mut sums = std::mem::take(&mut process.sums);
        let still = process.stillness(at);
        // Without records stopped time was never taken for a standstill.
        let within = if self.records == Records::Whole { stopped - process.stopped_base } else { Span::ZERO };
        sums.alone = (still - within).0;
        let unread = std::mem::take(&mut process.unread);
        let read =
            sums.ledgers().into_iter().map(|ledger| ledger.life).fold(Span::ZERO, |sum, life| sum + life) - unread;
        // Of so many threads that not all are read, each is hardly ever on a CPU: the others waited as these did.
        let beyond = ratio(unread.secs_f64(), read.secs_f64()).unwrap_or(0.0).min(MOST_UNREAD);
        for ledger in [&mut sums.busy, &mut sums.quiet, &mut sums.idle] {
            ledger.blocked.fit(&ledger.looks);
            if beyond > 0.0 {
                ledger.blocked.stretch(1.0 + beyond);
            }
        }
        let life = at.since(process.began);
        let program = &mut self.programs[process.program.0];
        program.processes += 1;
        program.replaced += u64::from(replaced);
        program.peak_active_threads = program.peak_active_threads.max(process.peak_active);
        program.process_life += life;
        program.busy_wall += life - still.min(life);
        let count = |of: fn(&Ledger) -> u64| sums.ledgers().into_iter().map(of).sum::<u64>();
        let (voluntary, involuntary) = (count(|ledger| ledger.voluntary), count(|ledger| ledger.involuntary));
        if self.records == Records::Whole || voluntary > 0 {
            program.voluntary = Some(program.voluntary.unwrap_or(0) + voluntary);
            program.involuntary = Some(program.involuntary.unwrap_or(0) + involuntary);
        }
        let reading = process.reading;
        if let (Some(user), Some(system)) = (reading.cpu_user, reading.cpu_system) {
            let (base_user, base_system) = process.split_base;
            let (users, systems) = program.cpu_split.unwrap_or_default();
            let (user, system) = (user - base_user, system - base_system);
            program.cpu_split = Some((users + user, systems + system));
            let unread = (user + system - process.read_cpu).secs_f64();
            // What ran in stages is told by their tasks.
            let is_told = !process.stages.is_empty();
            if self.records == Records::None && !is_told && unread > UNREAD_AT_LEAST.secs_f64() {
                program.demand.on_cpu += unread;
                program.unread_cpu += unread;
            }
        }
        let most = |growth: &DescriptorGrowth| growth.after.saturating_sub(growth.before);
        program.descriptors = process.descriptors.growth().into_iter().chain(program.descriptors).max_by_key(most);
        bytes::book(process, program, replaced);
        let bytes = &mut program.bytes;
        for (sum, one) in [
            (&mut bytes.stdin_file, since_base(reading.stdin_bytes, process.file_base.0)),
            (&mut bytes.stdout_file, since_base(reading.stdout_bytes, process.file_base.1)),
        ] {
            if let Some(one) = one {
                *sum = Some(sum.unwrap_or(0).saturating_add(one));
            }
        }
        program.book(&sums);
        self.close_stages(slot);
        self.processes[slot].restart(at, stopped);
    }

    pub(super) fn end_process(&mut self, slot: ProcessSlot, at: Timestamp) {
        let pid = self.processes[slot].pid;
        let rss = self.processes[slot].reading.rss_bytes.unwrap_or(0);
        let program = self.processes[slot].program;
        self.programs[program.0].rss_now = self.programs[program.0].rss_now.saturating_sub(rss);
        self.tree_rss = self.tree_rss.saturating_sub(rss);
        self.doze(slot, false);
        if let Some(&parent) = self.processes[slot].parent_pid.as_ref().and_then(|parent| self.by_pid.get(parent)) {
            // A shell that waited for it goes on.
            let itself = self.programs[self.processes[parent].program.0].image.is_sleep();
            self.doze(parent, itself);
            self.processes[parent].children = self.processes[parent].children.saturating_sub(1);
        }
        self.end_zombies_of(pid, at);
        self.bytes_end(slot);
        self.close_program(slot, 0, at, false);
        self.programs[program.0].leave(at);
        self.by_pid.remove(&pid);
        self.free_processes.push(slot);
    }
}

/// How far a file's position moved since it was first read.
fn since_base(position: Option<u64>, base: Option<u64>) -> Option<u64> {
    Some(position?.saturating_sub(base?))
}
