//! The fold: one event at a time into the living, and the living into programs when they end.

use super::image::Image;
use super::ledger::Ledger;
use super::process::{Process, ProcessSlot, Reading, Thread};
use super::program::{Program, ProgramId};
use super::reconcile::{IDLE_WAKEUPS, Neighbours, QUIET_SHARE_OF_LIFE};
use super::series::Lane;
use super::thread::{Activity, Interval, Step, ThreadClock, ThreadState};
use super::{Records, Timeline};
use crate::trace::{Blocking, Event, Ids, ProcessReading, SwitchOut, ThreadReading};
use crate::units::{Span, Timestamp};
use rustc_hash::FxHashMap;

/// CPU of a thread that is never seen blocked is laid into the series at least so often.
const LAID_AT_LEAST: Span = Span::from_millis(100);
/// How far the counters of a thread that has or wants a CPU lag behind at the most: a clock tick and a turn in the queue.
const LAG: Span = Span::from_millis(30);
/// Most programs that are told apart; later ones share the last.
const MAX_PROGRAMS: usize = 400;

/// Folds events into a timeline.
#[derive(Debug, Clone)]
pub struct TimelineBuilder {
    start: Timestamp,
    target: u32,
    now: Timestamp,
    records: Records,
    /// Intervals that began before it may hide lost records.
    trusted_from: Timestamp,
    stopped: Span,
    stopped_since: Option<Timestamp>,
    threads: Vec<Thread>,
    free_threads: Vec<u32>,
    by_tid: FxHashMap<u32, u32>,
    processes: Vec<Process>,
    free_processes: Vec<ProcessSlot>,
    by_pid: FxHashMap<u32, ProcessSlot>,
    programs: Vec<Program>,
    by_image: FxHashMap<(Option<ProgramId>, Image), ProgramId>,
    lost_records: u64,
    processes_seen: u64,
    threads_seen: u64,
    tree_rss: u64,
    peak_tree_rss: Option<u64>,
    host_idle: Option<(f64, Option<Span>)>,
}

impl TimelineBuilder {
    /// A run whose target is process `target`, begun at `start`.
    pub fn new(start: Timestamp, target: u32) -> TimelineBuilder {
        let mut builder = TimelineBuilder {
            start,
            target,
            now: start,
            records: Records::Whole,
            trusted_from: Timestamp(0),
            stopped: Span::ZERO,
            stopped_since: None,
            threads: Vec::new(),
            free_threads: Vec::new(),
            by_tid: FxHashMap::default(),
            processes: Vec::new(),
            free_processes: Vec::new(),
            by_pid: FxHashMap::default(),
            programs: Vec::new(),
            by_image: FxHashMap::default(),
            lost_records: 0,
            processes_seen: 0,
            threads_seen: 0,
            tree_rss: 0,
            peak_tree_rss: None,
            host_idle: None,
        };
        builder.thread(Ids { pid: target, tid: target }, start);
        builder
    }

    /// How far the fold has come.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How many processes and threads live: what the builder's memory grows with.
    pub fn living(&self) -> (usize, usize) {
        (self.by_pid.len(), self.by_tid.len())
    }

    /// Demand of everything so far, for a live display: on-CPU seconds, and the own wait of closed intervals.
    pub fn so_far(&self) -> (f64, f64) {
        let (mut on_cpu, mut own) = (0.0, 0.0);
        for program in &self.programs {
            for bin in program.series.bins() {
                on_cpu += bin.seconds(Lane::OnCpu);
                own += bin.seconds(Lane::OwnWait) + bin.seconds(Lane::Unattributed);
            }
        }
        (on_cpu, own)
    }

    /// Takes one event. Events come in order of time, but for a little disorder between CPUs.
    pub fn push(&mut self, event: &Event) {
        let at = event.at();
        self.now = self.now.max(at);
        match event {
            Event::SwitchIn { ids, .. } => self.step(*ids, Step::In, at),
            Event::SwitchOut { ids, why, .. } => self.step(*ids, Step::Out(*why), at),
            Event::Fork { ids, parent, .. } => self.fork(*ids, *parent, at),
            Event::Exit { ids, .. } | Event::Gone { ids, .. } => {
                if let Some(&slot) = self.by_tid.get(&ids.tid) {
                    self.end_thread(slot, at);
                }
            }
            Event::Exec { ids, name, .. } => self.exec(*ids, Image::from_comm(name), at),
            Event::Program { pid, parent, exe, argv, .. } => self.name_program(*pid, *parent, exe.as_deref(), argv, at),
            Event::Lost { records, .. } => {
                self.lost_records = self.lost_records.saturating_add(*records);
                self.trusted_from = at;
            }
            Event::SwitchesEnd { .. } => self.end_records(at),
            Event::Thread { ids, reading, .. } => self.read_thread(*ids, reading, at),
            Event::Process { pid, parent, reading, .. } => self.read_process(*pid, *parent, reading, at),
            Event::Waiting { ids, on, .. } => {
                if let Some(&slot) = self.by_tid.get(&ids.tid) {
                    let thread = &mut self.threads[slot as usize];
                    if self.records != Records::Whole || thread.clock.state() == ThreadState::Blocked {
                        thread.sampled[*on as usize] = thread.sampled[*on as usize].saturating_add(1);
                    }
                }
            }
            Event::Stopped { .. } => {
                self.stopped_since.get_or_insert(at);
            }
            Event::Continued { .. } => {
                if let Some(since) = self.stopped_since.take() {
                    self.stopped += at.since(since);
                }
            }
            Event::HostIdle { share, throttled, .. } => self.host_idle = Some((*share, *throttled)),
            Event::Interpreter { .. }
            | Event::Gil { .. }
            | Event::TaskBegin { .. }
            | Event::TaskEnd { .. }
            | Event::Agent { .. } => {}
        }
    }

    /// Ends every life at `end` and settles the sums.
    pub fn finish(mut self, end: Timestamp) -> Timeline {
        let end = end.max(self.start);
        if let Some(since) = self.stopped_since.take() {
            self.stopped += end.since(since);
        }
        let living: Vec<u32> = self.by_tid.values().copied().collect();
        for slot in living {
            self.end_thread(slot, end);
        }
        let mean = |values: Vec<f64>| {
            let count = values.len() as f64;
            (count > 0.0).then(|| values.iter().sum::<f64>() / count)
        };
        let evidence: Vec<Neighbours> = self.programs.iter().map(Program::evidence).collect();
        let tree = Neighbours {
            wakeup_delay: mean(evidence.iter().filter_map(|program| program.wakeup_delay).collect()),
            switch_cost: mean(evidence.iter().filter_map(|program| program.switch_cost).collect()),
            ..Neighbours::default()
        };
        for program in &mut self.programs {
            program.settle(&tree);
        }
        Timeline {
            start: self.start,
            end,
            stopped: self.stopped,
            programs: self.programs,
            records: self.records,
            lost_records: self.lost_records,
            processes: self.processes_seen,
            threads: self.threads_seen,
            peak_tree_rss_bytes: self.peak_tree_rss,
            host_idle: self.host_idle,
        }
    }

    fn stopped_until(&self, at: Timestamp) -> Span {
        self.stopped + self.stopped_since.map_or(Span::ZERO, |since| at.since(since))
    }

    // ---- births ----------------------------------------------------------------------------------------------------

    fn program(&mut self, parent: Option<ProgramId>, image: Image) -> ProgramId {
        let key = (parent, image);
        if let Some(&known) = self.by_image.get(&key) {
            return known;
        }
        if self.programs.len() >= MAX_PROGRAMS {
            return ProgramId(self.programs.len() - 1);
        }
        let id = ProgramId(self.programs.len());
        let last = self.programs.len() + 1 == MAX_PROGRAMS;
        let image = if last { Image::from_comm("other programs") } else { key.1.clone() };
        self.programs.push(Program::new(image, parent, self.start));
        self.by_image.insert(key, id);
        id
    }

    fn process(&mut self, pid: u32, parent: Option<ProcessSlot>, at: Timestamp) -> ProcessSlot {
        if let Some(&slot) = self.by_pid.get(&pid) {
            return slot;
        }
        let parent_pid = parent.map(|slot| {
            self.processes[slot].children += 1;
            self.processes[slot].pid
        });
        let parent = parent.map(|slot| self.processes[slot].program);
        let image = match parent {
            // A fork that does not replace its program is a worker of its parent; workers' workers are workers too.
            Some(ProgramId(id)) => Image { forked: true, ..self.programs[id].image.clone() },
            None => Image::from_comm("?"),
        };
        let program = match parent {
            Some(id) if self.programs[id.0].image.forked => id,
            _ => self.program(parent, image),
        };
        self.processes_seen += 1;
        let mut process = Process::new(pid, parent, program, at);
        process.stopped_base = self.stopped_until(at);
        process.parent_pid = parent_pid;
        process.round_stopped = process.stopped_base;
        let slot = match self.free_processes.pop() {
            Some(slot) => {
                self.processes[slot] = process;
                slot
            }
            None => {
                self.processes.push(process);
                self.processes.len() - 1
            }
        };
        self.by_pid.insert(pid, slot);
        self.programs[program.0].enter(at);
        slot
    }

    /// The thread, made with nothing known of it if need be.
    fn thread(&mut self, ids: Ids, at: Timestamp) -> u32 {
        if let Some(&slot) = self.by_tid.get(&ids.tid) {
            return slot;
        }
        let process = self.process(ids.pid, None, at);
        self.add_thread(ids, process, ThreadClock::new(ThreadState::Unseen, at), at)
    }

    fn add_thread(&mut self, ids: Ids, process: ProcessSlot, clock: ThreadClock, at: Timestamp) -> u32 {
        let mut thread = Thread::new(ids, process, clock, at);
        thread.stopped_at_block = self.stopped_until(at);
        if clock.is_active() {
            self.processes[process].wake(at);
        }
        self.processes[process].threads += 1;
        self.threads_seen += 1;
        let slot = match self.free_threads.pop() {
            Some(slot) => {
                self.threads[slot as usize] = thread;
                slot
            }
            None => {
                self.threads.push(thread);
                (self.threads.len() - 1) as u32
            }
        };
        self.by_tid.insert(ids.tid, slot);
        slot
    }

    fn fork(&mut self, ids: Ids, parent: Ids, at: Timestamp) {
        // The id was used before and its end was lost.
        if let Some(&stale) = self.by_tid.get(&ids.tid) {
            if self.threads[stale as usize].began >= at {
                return;
            }
            self.end_thread(stale, at);
        }
        let process = if ids.pid == parent.pid {
            self.process(ids.pid, None, at)
        } else {
            let parent = self.by_pid.get(&parent.pid).copied();
            self.process(ids.pid, parent, at)
        };
        // A new thread is runnable at once: until its first switch-in it waits for a CPU.
        self.add_thread(ids, process, ThreadClock::new(ThreadState::Preempted, at), at);
    }

    // ---- programs --------------------------------------------------------------------------------------------------

    fn exec(&mut self, ids: Ids, image: Image, at: Timestamp) {
        let leader = self.thread(Ids { pid: ids.pid, tid: ids.pid }, at);
        let process = self.threads[leader as usize].process;
        if self.processes[process].threads > 1 {
            let others: Vec<u32> = self.by_tid.values().copied().filter(|&slot| slot != leader).collect();
            for slot in others {
                if self.threads[slot as usize].process == process {
                    self.end_thread(slot, at);
                }
            }
        }
        let thread = &mut self.threads[leader as usize];
        if thread.clock.state() == ThreadState::Unseen {
            // Records begin with the exec of the target: it is on a CPU, in the middle of the system call.
            if self.records == Records::Whole {
                thread.clock = ThreadClock::new(ThreadState::Running, at);
                self.processes[process].wake(at);
            }
            thread.began = at;
        }
        if self.processes[process].execed {
            self.cut(leader, at);
            self.close_program(process, leader, at, true);
        }
        self.processes[process].execed = true;
        self.move_to(process, image, at);
    }

    /// Moves a process to another program without closing its sums: what it used since its fork goes along.
    fn move_to(&mut self, process: ProcessSlot, image: Image, at: Timestamp) {
        let parent = self.processes[process].parent;
        let program = self.program(parent, image);
        let before = std::mem::replace(&mut self.processes[process].program, program);
        if before == program {
            return;
        }
        let rss = self.processes[process].reading.rss_bytes.unwrap_or(0);
        self.programs[before.0].rss_now = self.programs[before.0].rss_now.saturating_sub(rss);
        self.programs[program.0].rss_now = self.programs[program.0].rss_now.saturating_add(rss);
        self.programs[before.0].leave(at);
        let began = self.processes[process].began;
        self.programs[program.0].enter(began.max(self.start));
    }

    fn name_program(&mut self, pid: u32, parent: u32, exe: Option<&str>, argv: &[String], at: Timestamp) {
        let known = self.by_pid.contains_key(&pid);
        if !known {
            // An orphan was somebody's child in this tree; whose is not known any more.
            let parent = self.by_pid.get(&parent).or_else(|| self.by_pid.get(&self.target)).copied();
            let process = self.process(pid, parent, at);
            self.add_thread(Ids { pid, tid: pid }, process, ThreadClock::new(ThreadState::Unseen, at), at);
        }
        let process = self.by_pid[&pid];
        // A worker that was forked and never replaced its program shows its parent's arguments.
        if !self.processes[process].execed && self.processes[process].parent.is_some() {
            let image = Image::from_argv(exe, argv);
            let own = &self.programs[self.processes[process].program.0].image;
            if own.forked && own.program == image.program && own.script == image.script {
                return;
            }
        }
        if exe.is_none() && argv.is_empty() {
            return;
        }
        self.processes[process].execed = true;
        self.move_to(process, Image::from_argv(exe, argv), at);
    }

    // ---- switch records --------------------------------------------------------------------------------------------

    fn step(&mut self, ids: Ids, step: Step, at: Timestamp) {
        let slot = self.thread(ids, at);
        let trusted_from = self.trusted_from;
        let stopped = self.stopped_until(at);
        let thread = &mut self.threads[slot as usize];
        let process = &mut self.processes[thread.process];
        let was_active = thread.clock.is_active();
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
        match step {
            Step::Out(why) => {
                match why {
                    SwitchOut::Preempted => thread.ledger.involuntary += 1,
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
    fn book(
        thread: &mut Thread,
        process: &mut Process,
        programs: &mut [Program],
        interval: Interval,
        still: Span,
        stopped: Span,
    ) {
        let program = &mut programs[process.program.0];
        let stopped_within = stopped - thread.stopped_at_block;
        match interval.activity {
            Activity::OnCpu => {
                thread.ledger.on_cpu += interval.span();
                program.series.add(Lane::OnCpu, interval.start, interval.end, interval.span());
            }
            Activity::RunQueue => thread.ledger.run_queue += interval.span() - stopped_within,
            Activity::Unknown => thread.ledger.unknown += interval.span() - stopped_within,
            Activity::Blocked => {
                let blocked = interval.span() - stopped_within;
                let alone = (still - thread.still_at_block - stopped_within).min(blocked);
                thread.ledger.wakeups += 1;
                Self::book_blocked(thread, process, program, interval, blocked, alone);
            }
        }
    }

    fn book_blocked(
        thread: &mut Thread,
        process: &Process,
        program: &mut Program,
        interval: Interval,
        blocked: Span,
        alone: Span,
    ) {
        let mut kinds = std::mem::take(&mut thread.sampled);
        if kinds.iter().any(|&count| count > 0) {
            program.kinds.note(blocked, &kinds);
        } else {
            kinds = program.kinds.guess(blocked);
            // Never sampled at all, but it has living children: a launcher waits for those.
            if (thread.children_at_block || process.children > 0) && kinds.iter().all(|&count| count == 0) {
                kinds[Blocking::Child as usize] = 1;
            }
        }
        thread.ledger.blocked.add(blocked - alone, alone, &kinds);
        let total: u64 = kinds.iter().map(|&count| u64::from(count)).sum();
        if total == 0 {
            program.series.add(Lane::Unattributed, interval.start, interval.end, blocked);
            return;
        }
        let mut own = 0u64;
        for kind in [Blocking::Network, Blocking::Disk, Blocking::Sleep, Blocking::Other] {
            own += blocked.0 * u64::from(kinds[kind as usize]) / total;
        }
        if process.threads == 1 {
            own += alone.0 * u64::from(kinds[Blocking::Lock as usize]) / total;
        }
        let lane = if process.threads > 1 && thread.is_quiet(interval.end) { Lane::QuietWait } else { Lane::OwnWait };
        program.series.add(lane, interval.start, interval.end, Span(own));
    }

    /// Closes a thread's current interval at `at` without changing what it does.
    fn cut(&mut self, slot: u32, at: Timestamp) {
        let stopped = self.stopped_until(at);
        let thread = &mut self.threads[slot as usize];
        let process = &mut self.processes[thread.process];
        let state = thread.clock.state();
        let still = process.stillness(at);
        if let Some(interval) = thread.clock.step(Step::End, at, self.trusted_from) {
            Self::book(thread, process, &mut self.programs, interval, still, stopped);
        }
        thread.clock = ThreadClock::new(state, at);
        thread.still_at_block = still;
        thread.stopped_at_block = stopped;
    }

    fn end_records(&mut self, at: Timestamp) {
        self.records = if at <= self.start { Records::None } else { Records::Until(at) };
        let living: Vec<u32> = self.by_tid.values().copied().collect();
        for slot in living {
            self.cut(slot, at);
            let thread = &mut self.threads[slot as usize];
            let process = &mut self.processes[thread.process];
            if thread.clock.is_active() {
                process.rest(at);
            }
            thread.clock = ThreadClock::new(ThreadState::Unseen, at);
            thread.last = None;
        }
        for &process in self.by_pid.values() {
            self.processes[process].freeze_stillness(at);
        }
    }

    // ---- readings --------------------------------------------------------------------------------------------------

    fn read_thread(&mut self, ids: Ids, reading: &ThreadReading, at: Timestamp) {
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
        let thread = &mut self.threads[slot as usize];
        if !known {
            thread.began = reading.started.unwrap_or(at).max(start).min(at);
            thread.unlaid_since = thread.began;
            thread.pending_since = thread.began;
            thread.stopped_at_block = Span::ZERO;
        }
        let (Some(on_cpu), Some(run_delay)) = (reading.on_cpu, reading.run_delay) else {
            return;
        };
        let before = thread.last.replace(Reading {
            at,
            stopped,
            on_cpu,
            run_delay,
            slices: reading.slices.or(thread.last.and_then(|last| last.slices)),
            voluntary: reading.voluntary.or(thread.last.and_then(|last| last.voluntary)),
            involuntary: reading.involuntary.or(thread.last.and_then(|last| last.involuntary)),
        });
        if records {
            Self::reconcile_thread(thread, on_cpu, run_delay);
            return;
        }
        let (from, on_cpu_before, delay_before, stopped_before) = match before {
            Some(before) => (before.at, before.on_cpu, before.run_delay, before.stopped),
            // A reading from before the start, and the first one after records ended, only set the base.
            None if at <= start => return,
            None if matches!(self.records, Records::Until(_)) && known => return,
            None => (thread.began, Span::ZERO, Span::ZERO, Span::ZERO),
        };
        let ran = on_cpu - on_cpu_before;
        let queued = run_delay - delay_before;
        let window = at.since(from) - (stopped - stopped_before);
        thread.ledger.on_cpu += ran;
        thread.ledger.run_queue += queued;
        let active = (ran + queued).0 as i64;
        thread.unsettled = thread.unsettled.saturating_add(window.0 as i64).saturating_sub(active);
        let process = &mut self.processes[thread.process];
        thread.lags = reading.active == Some(true);
        if thread.lags {
            process.round_running = true;
        } else {
            thread.settle();
        }
        process.unsettled = process.unsettled.saturating_sub(active);
        process.round.push(slot);
        let program = &mut self.programs[process.program.0];
        program.readings += 1;
        // Laid over the same stretch as the wait beside it, which is known only when the thread is seen blocked.
        thread.unlaid += ran;
        if !thread.lags || at.since(thread.unlaid_since) > LAID_AT_LEAST {
            program.series.add(Lane::OnCpu, thread.unlaid_since, at, std::mem::take(&mut thread.unlaid));
            thread.unlaid_since = at;
        }
        if let Some(last) = thread.last {
            thread.ledger.voluntary = last.voluntary.unwrap_or(0);
            thread.ledger.involuntary = last.involuntary.unwrap_or(0);
        }
    }

    /// Compares a thread's counters with what records say: the wake-up delay, and on-CPU time that lost records hid.
    fn reconcile_thread(thread: &mut Thread, on_cpu: Span, run_delay: Span) {
        if thread.clock.state() == ThreadState::Unseen {
            thread.delay_base = run_delay;
            thread.on_cpu_base = on_cpu;
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

    fn read_process(&mut self, pid: u32, parent: Option<u32>, reading: &ProcessReading, at: Timestamp) {
        if !self.by_pid.contains_key(&pid) {
            if self.records == Records::Whole {
                return;
            }
            let parent = parent.and_then(|parent| self.by_pid.get(&parent).copied());
            self.process(pid, parent, at);
        }
        let slot = self.by_pid[&pid];
        self.close_round(slot, at, false);
        let process = &mut self.processes[slot];
        let program = &mut self.programs[process.program.0];
        if let Some(rss) = reading.rss_bytes {
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
        let last = &mut process.reading;
        *last = ProcessReading {
            cpu_user: reading.cpu_user.or(last.cpu_user),
            cpu_system: reading.cpu_system.or(last.cpu_system),
            rss_bytes: reading.rss_bytes.or(last.rss_bytes),
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
    fn close_round(&mut self, slot: ProcessSlot, at: Timestamp, last: bool) {
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
    fn book_pending(&mut self, slot: u32, still: Span, at: Timestamp) {
        let thread = &mut self.threads[slot as usize];
        let blocked = std::mem::take(&mut thread.pending_blocked);
        if blocked == Span::ZERO {
            return;
        }
        let start = std::mem::replace(&mut thread.pending_since, at);
        let process = &self.processes[thread.process];
        let program = &mut self.programs[process.program.0];
        let start = start.max(Timestamp(at.0.saturating_sub(at.since(start).0.max(blocked.0))));
        let interval = Interval { activity: Activity::Blocked, start, end: at };
        Self::book_blocked(thread, process, program, interval, blocked, still.min(blocked));
    }

    // ---- deaths ----------------------------------------------------------------------------------------------------

    fn end_thread(&mut self, slot: u32, at: Timestamp) {
        self.cut(slot, at);
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
            thread.settle();
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
        if self.processes[process].threads == 0 {
            self.end_process(process, at);
        }
    }

    /// Adds a thread's ledger to its process and empties it.
    fn fold_thread(&mut self, slot: u32, at: Timestamp) {
        let stopped = self.stopped_until(at);
        let thread = &mut self.threads[slot as usize];
        let mut ledger = std::mem::take(&mut thread.ledger);
        ledger.on_cpu += thread.missing_on_cpu;
        ledger.unknown = ledger.unknown - thread.missing_on_cpu;
        thread.missing_on_cpu = Span::ZERO;
        ledger.threads = 1;
        ledger.life = at.since(thread.began);
        let quiet = (ledger.on_cpu.0 as f64) < QUIET_SHARE_OF_LIFE * ledger.life.0 as f64;
        let unlaid = std::mem::take(&mut thread.unlaid);
        let program = self.processes[thread.process].program;
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
    fn close_program(&mut self, slot: ProcessSlot, leader: u32, at: Timestamp, replaced: bool) {
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
            program.cpu_split = Some((users + (user - base_user), systems + (system - base_system)));
        }
        let bytes = &mut program.bytes;
        for (sum, one) in [
            (&mut bytes.read_chars, reading.read_chars),
            (&mut bytes.written_chars, reading.written_chars),
            (&mut bytes.disk_read, reading.disk_read_bytes),
            (&mut bytes.disk_written, reading.disk_written_bytes),
            (&mut bytes.stdin_file, since_base(reading.stdin_bytes, process.file_base.0)),
            (&mut bytes.stdout_file, since_base(reading.stdout_bytes, process.file_base.1)),
        ] {
            if let Some(one) = one {
                *sum = Some(sum.unwrap_or(0).saturating_add(one));
            }
        }
        program.book(&sums);
        process.restart(at, stopped);
    }

    fn end_process(&mut self, slot: ProcessSlot, at: Timestamp) {
        let pid = self.processes[slot].pid;
        let rss = self.processes[slot].reading.rss_bytes.unwrap_or(0);
        let program = self.processes[slot].program;
        self.programs[program.0].rss_now = self.programs[program.0].rss_now.saturating_sub(rss);
        self.tree_rss = self.tree_rss.saturating_sub(rss);
        if let Some(&parent) = self.processes[slot].parent_pid.as_ref().and_then(|parent| self.by_pid.get(parent)) {
            self.processes[parent].children = self.processes[parent].children.saturating_sub(1);
        }
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
