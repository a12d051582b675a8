//! Joins a thread's time with the tasks that its process's agent tells of: what lies between the beginning and the end
//! of a task belongs to the task's stage, the rest to the program. Must not know how the agent writes.
//!
//! ```text
//! thread   ──queue──┤ task A ├─┤ task A ├──queue──┤ task B ├──
//! ledger    outside     A     out    A     outside     B      outside
//! ```

use super::fold::TimelineBuilder;
use super::image::Image;
use super::ledger::Ledger;
use super::process::{Lanes, Process, ProcessSlot, TaskPart, Thread};
use super::program::{Program, ProgramId};
use super::sample::SampledTask;
use super::series::Lane;
use super::tasks::Tasks;
use super::thread::ThreadState;
use super::{Records, births::MAX_PROGRAMS};
use crate::trace::{AgentFact, Blocking, GilAccess, Ids, RunsUnder, StageDefinition, TaskEnd, TaskKind, TaskTotals};
use crate::units::{Span, Timestamp, ratio};
use rustc_hash::FxHashMap;

/// Tasks nest no deeper than this; deeper ones belong to the one around them.
const DEEPEST: usize = 64;
/// Most stretches of a thread that wait for its counters to catch up.
const MOST_PIECES: usize = 4096;
/// A beginning that is told by its own record and one that is told by the end are the same within this.
const SAME_BEGIN: Span = Span::from_millis(1);

/// What a thread that runs tasks keeps besides its ledger, which is that of the current task, or of none.
#[derive(Debug, Clone, Default)]
pub struct Tasked {
    /// The tasks that it is in, outermost first.
    pub stack: Vec<Entered>,
    /// Time outside of all tasks.
    pub outside: Ledger,
    /// Whether it runs an event loop: its waits are those of the coroutines.
    pub is_loop: bool,
    /// The task that began last, when, and how long it had been in the queue.
    last_begun: Option<(ProgramId, Timestamp, Span)>,
    /// Sums of the stretches that are closed.
    closed: Closed,
    /// What of the counters was given to stretches: wake-up delay and switch cost.
    given: (Span, Span),
    /// Wake-ups and switches of closed stretches since the last reading.
    unread: Vec<Unread>,
    /// Without records: stretches since the counters were last settled.
    pieces: Vec<Piece>,
    /// CPU and run-queue time of these.
    unsplit: (Span, Span),
}

/// A task, or a slice of one, that a thread is in.
#[derive(Debug, Clone, Copy)]
pub struct Entered {
    /// Its stage.
    pub stage: ProgramId,
    /// Since when.
    pub since: Timestamp,
    /// Whether it began before any task of its stage had ended in its process.
    pub cold: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Closed {
    on_cpu: Span,
    run_queue: Span,
    unknown: Span,
}

#[derive(Debug, Clone, Copy)]
struct Unread {
    part: Option<TaskPart>,
    wakeups: u64,
    switches: u64,
}

/// A stretch of a thread in one task, or in none.
#[derive(Debug, Clone, Copy)]
struct Piece {
    part: Option<TaskPart>,
    start: Timestamp,
    end: Timestamp,
    /// Its CPU time, where the agent measured it.
    cpu: Option<Span>,
    /// What samples saw it wait for.
    sampled: [u32; Blocking::ALL.len()],
}

impl Thread {
    /// The stage that it is in.
    pub fn stage(&self) -> Option<ProgramId> {
        self.task_part().map(|part| part.stage)
    }

    /// The stage that it is in, and whether its task is a cold one.
    pub fn task_part(&self) -> Option<TaskPart> {
        let entered = self.tasked.as_ref()?.stack.last()?;
        Some(TaskPart { stage: entered.stage, cold: entered.cold })
    }

    /// What is kept of it besides, from its first task on. What its counters showed before that is given already.
    fn begin_tasks(&mut self) -> &mut Tasked {
        let given = (self.ledger.wakeup_delay, self.ledger.switch_cost);
        self.tasked.get_or_insert_with(|| Box::new(Tasked { given, ..Tasked::default() }))
    }

    /// Moves the ledger to where it belongs: another stretch begins.
    pub(super) fn close_stretch(&mut self, process: &mut Process, at: Timestamp) {
        self.count_gil(process, at);
        let part = self.task_part();
        let Some(tasked) = &mut self.tasked else { return };
        let ledger = std::mem::take(&mut self.ledger);
        tasked.closed.on_cpu += ledger.on_cpu;
        tasked.closed.run_queue += ledger.run_queue;
        tasked.closed.unknown += ledger.unknown;
        let wakeups = ledger.wakeups.saturating_sub(ledger.wakeups_read);
        let switches = (ledger.voluntary + ledger.involuntary).saturating_sub(ledger.switches_read);
        if wakeups + switches > 0 {
            match tasked.unread.iter_mut().find(|unread| unread.part == part) {
                Some(unread) => {
                    unread.wakeups += wakeups;
                    unread.switches += switches;
                }
                None => tasked.unread.push(Unread { part, wakeups, switches }),
            }
        }
        match part {
            Some(part) => process.task_ledger(part).fold(&ledger),
            None => tasked.outside.fold(&ledger),
        }
    }

    /// Gives what the counters show beyond the records to the stretches since the last reading: wake-up delay by
    /// wake-ups, the cost of switches by switches. `on_cpu` only where the thread is off its CPU.
    pub fn reconcile_stretches(&mut self, process: &mut Process, run_delay: Span, on_cpu: Option<Span>) {
        let part = self.task_part();
        let Some(tasked) = &mut self.tasked else { return };
        let ledger = &self.ledger;
        let current = Unread {
            part,
            wakeups: ledger.wakeups.saturating_sub(ledger.wakeups_read),
            switches: (ledger.voluntary + ledger.involuntary).saturating_sub(ledger.switches_read),
        };
        let closed = std::mem::take(&mut tasked.unread);
        let delay = run_delay - self.delay_base - tasked.closed.run_queue - ledger.run_queue - tasked.given.0;
        let beyond = on_cpu.map(|on_cpu| {
            on_cpu - self.on_cpu_base - tasked.closed.on_cpu - ledger.on_cpu - tasked.closed.unknown - tasked.given.1
        });
        let all = || closed.iter().chain(std::iter::once(&current));
        // While a thread waits for a CPU that was taken from it, its counter holds a part of that wait already.
        let queues = self.clock.state() == ThreadState::Preempted;
        let wakeups: u64 = if queues { 0 } else { all().map(|part| part.wakeups).sum() };
        let switches: u64 = all().map(|part| part.switches).sum();
        if wakeups > 0 {
            tasked.given.0 += delay;
        }
        let cost = beyond.filter(|_| switches > 0);
        tasked.given.1 += cost.unwrap_or_default();
        for (index, part) in all().enumerate() {
            // What is closed was moved, its counts with it, also where the thread is in the same stage again.
            let ledger = match part.part {
                _ if index == closed.len() => &mut self.ledger,
                Some(part) => process.task_ledger(part),
                None => &mut tasked.outside,
            };
            if wakeups > 0 {
                ledger.wakeup_delay += delay.scaled(part.wakeups as f64 / wakeups as f64);
                ledger.wakeups_read += part.wakeups;
            }
            if let Some(cost) = cost {
                ledger.switch_cost += cost.scaled(part.switches as f64 / switches as f64);
                ledger.switches_read += part.switches;
            }
        }
        // Their cost will be read when the thread is off its CPU, their delay when it does not wait for one.
        tasked.unread = closed
            .into_iter()
            .map(|part| Unread {
                wakeups: if wakeups > 0 { 0 } else { part.wakeups },
                switches: if cost.is_some() { 0 } else { part.switches },
                ..part
            })
            .filter(|part| part.wakeups + part.switches > 0)
            .collect();
    }

    /// Its life, or that of its program, is over: what it did outside of tasks becomes its ledger.
    pub fn leave_tasks(&mut self, process: &mut Process, at: Timestamp) -> Vec<Entered> {
        self.close_stretch(process, at);
        let Some(mut tasked) = self.tasked.take() else { return Vec::new() };
        self.ledger = std::mem::take(&mut tasked.outside);
        if tasked.is_loop {
            let given = self.ledger.blocked.give_away();
            self.ledger.looks.give_away();
            process.loop_waits.iter_mut().zip(given).for_each(|(sum, more)| *sum += more);
        }
        // The caller adds what the ledger holds; the tasks' part of the counters is added here.
        self.on_cpu_base += tasked.closed.on_cpu - self.ledger.on_cpu;
        self.on_cpu_base += tasked.given.1 - self.ledger.switch_cost;
        self.delay_base += tasked.closed.run_queue - self.ledger.run_queue;
        self.delay_base += tasked.given.0 - self.ledger.wakeup_delay;
        tasked.stack
    }

    /// Without records: a stretch ends here.
    fn close_piece(&mut self, at: Timestamp, cpu: Option<Span>) {
        let part = self.task_part();
        let Some(tasked) = &mut self.tasked else { return };
        let start = tasked.pieces.last().map_or(self.settled_at, |piece| piece.end);
        let sampled = std::mem::take(&mut self.sampled);
        if let Some(last) = tasked.pieces.last_mut()
            && last.part == part
            && last.cpu.is_none() == cpu.is_none()
        {
            last.end = at.max(last.end);
            last.cpu = last.cpu.zip(cpu).map(|(one, other)| one + other);
            last.sampled.iter_mut().zip(sampled).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        } else if tasked.pieces.len() < MOST_PIECES {
            tasked.pieces.push(Piece { part, start, end: at.max(start), cpu, sampled });
        } else if let Some(last) = tasked.pieces.last_mut() {
            last.end = at.max(last.end);
        }
    }
}

impl TimelineBuilder {
    pub(super) fn begin_task(&mut self, ids: Ids, stage: u16, queued: Option<Span>, slice: bool, at: Timestamp) {
        let Some((slot, program)) = self.stage_of(ids, stage) else {
            self.keep_early(ids, stage, queued, slice);
            return;
        };
        self.enter_stretch(slot, at, None);
        let process = self.threads[slot as usize].process;
        let cold = !slice && !self.processes[process].warm.contains(&stage);
        let tasked = self.threads[slot as usize].begin_tasks();
        if tasked.stack.len() < DEEPEST {
            tasked.stack.push(Entered { stage: program, since: at, cold });
        }
        tasked.is_loop |= slice;
        tasked.last_begun = queued.map(|queued| (program, at, queued));
        let program = &mut self.programs[program.0];
        program.enter(at);
        if let (Some(tasks), Some(queued)) = (&mut program.tasks, queued) {
            tasks.queued.note(queued, 1);
            tasks.backlog.note(at, queued);
        }
    }

    pub(super) fn end_task(&mut self, ids: Ids, stage: u16, end: &TaskEnd, at: Timestamp) {
        let Some((slot, program)) = self.stage_of(ids, stage) else {
            if let Some(tasks) = self.early_tasks.get_mut(&ids.tid).filter(|_| !end.unbegun) {
                tasks.pop();
                if tasks.is_empty() {
                    self.early_tasks.remove(&ids.tid);
                }
            }
            return;
        };
        let process = self.threads[slot as usize].process;
        let tasked = self.threads[slot as usize].tasked.as_ref();
        let last_begun = tasked.and_then(|tasked| tasked.last_begun);
        let entered = tasked.and_then(|tasked| tasked.stack.iter().rfind(|entered| entered.stage == program)).copied();
        if let Some(tasks) = &mut self.programs[program.0].tasks
            && !end.slice
        {
            let began = Timestamp(at.0.saturating_sub(end.wall.0));
            let queued = last_begun.filter(|&(begun, when, _)| begun == program && when <= began + SAME_BEGIN);
            let queued = queued.filter(|&(_, when, _)| began <= when + SAME_BEGIN).map(|(_, _, queued)| queued);
            let began = began.since(self.start);
            tasks.sample.note(SampledTask { began, queued, wall: end.wall, failed: end.failed, ids });
            if self.processes[process].warm.insert(stage) {
                tasks.first = (tasks.first.0 + u64::from(end.tasks), tasks.first.1 + end.wall);
            }
            if entered.is_some_and(|entered| entered.cold && !end.unbegun) {
                tasks.cold.note(end, at);
            }
            let each = Span(end.wall.0 / u64::from(end.tasks.max(1)));
            tasks.wall.note(each, end.tasks);
            tasks.recorded += u64::from(end.tasks);
            tasks.handed += 1;
        }
        if let Some(tasks) = &mut self.programs[program.0].tasks
            && end.slice
        {
            tasks.coroutines.recorded_slices += end.wall;
        }
        if end.unbegun || entered.is_none() {
            return;
        }
        self.enter_stretch(slot, at, end.cpu);
        let Some(tasked) = &mut self.threads[slot as usize].tasked else { return };
        // Ends of tasks within it were lost: they end with it.
        while let Some(left) = tasked.stack.pop() {
            self.programs[left.stage.0].leave(at);
            if left.stage == program {
                break;
            }
        }
    }

    /// Without records: a task that began before a reading found its thread, which may be in it for long.
    fn keep_early(&mut self, ids: Ids, stage: u16, queued: Option<Span>, slice: bool) {
        let unknown = self.records != Records::Whole && !self.by_tid.contains_key(&ids.tid);
        if unknown && self.early_tasks.len() < MOST_EARLY {
            let tasks = self.early_tasks.entry(ids.tid).or_default();
            if tasks.len() < DEEPEST {
                tasks.push(EarlyTask { pid: ids.pid, stage, queued, slice });
            }
        }
    }

    /// A reading found a thread: the tasks that it is in begin here.
    pub(super) fn begin_early(&mut self, ids: Ids, at: Timestamp) {
        if self.early_tasks.is_empty() {
            return;
        }
        for task in self.early_tasks.remove(&ids.tid).unwrap_or_default() {
            if task.pid == ids.pid {
                self.begin_task(ids, task.stage, task.queued, task.slice, at);
            }
        }
    }

    /// The thread that a record names, and its stage's program.
    fn stage_of(&self, ids: Ids, stage: u16) -> Option<(u32, ProgramId)> {
        let &slot = self.by_tid.get(&ids.tid)?;
        let process = &self.processes[self.threads[slot as usize].process];
        let &program = process.stages.get(&stage).filter(|_| process.pid == ids.pid)?;
        Some((slot, program))
    }

    /// What the thread did until now belongs to the stretch that ends; another begins.
    fn enter_stretch(&mut self, slot: u32, at: Timestamp, cpu: Option<Span>) {
        let at = at.max(self.threads[slot as usize].clock.since());
        self.threads[slot as usize].begin_tasks();
        if self.records == Records::Whole {
            self.cut(slot, at);
            let thread = &mut self.threads[slot as usize];
            thread.close_stretch(&mut self.processes[thread.process], at);
        } else {
            self.threads[slot as usize].close_piece(at, cpu);
        }
    }

    /// Without records: the counters of a thread have caught up; its CPU, run queue and wait since the last time are
    /// split over the stretches. `blocked`: what it was off-CPU by the counters.
    pub(super) fn split_pieces(&mut self, slot: u32, blocked: Span, at: Timestamp) {
        self.threads[slot as usize].close_piece(at, None);
        let thread = &mut self.threads[slot as usize];
        thread.settled_at = at;
        let Some(tasked) = &mut thread.tasked else { return };
        let pieces = std::mem::take(&mut tasked.pieces);
        let (ran, queued) = std::mem::take(&mut tasked.unsplit);
        let life = |piece: &Piece| piece.end.since(piece.start).secs_f64();
        let told: f64 = pieces.iter().filter_map(|piece| piece.cpu).map(Span::secs_f64).sum();
        let told_scale = if told > ran.secs_f64() { ran.secs_f64() / told } else { 1.0 };
        let rest = (ran.secs_f64() - told * told_scale).max(0.0);
        let untold: f64 = pieces.iter().filter(|piece| piece.cpu.is_none()).map(life).sum();
        let mut shares: Vec<(f64, f64, f64)> = pieces
            .iter()
            .map(|piece| match piece.cpu {
                Some(cpu) => cpu.secs_f64() * told_scale,
                None => ratio(rest * life(piece), untold).unwrap_or(0.0),
            })
            .map(|cpu| (cpu, 0.0, 0.0))
            .collect();
        let cpu: f64 = shares.iter().map(|share| share.0).sum();
        for share in &mut shares {
            share.1 = ratio(queued.secs_f64() * share.0, cpu).unwrap_or(0.0);
        }
        for (share, piece) in shares.iter_mut().zip(&pieces) {
            share.2 = (life(piece) - share.0 - share.1).max(0.0);
        }
        let waits: f64 = shares.iter().map(|share| share.2).sum();
        let scale = ratio(blocked.secs_f64(), waits).unwrap_or(0.0);
        for (piece, (cpu, queued, wait)) in pieces.iter().zip(shares) {
            let thread = &mut self.threads[slot as usize];
            let process = &mut self.processes[thread.process];
            let program = piece.part.map_or(process.program, |part| part.stage);
            let program = &mut self.programs[program.0];
            program.readings += 1;
            let cpu = Span::from_secs_f64(cpu);
            program.series.add(Lane::OnCpu, piece.start, piece.end, cpu);
            let mut ledger = std::mem::take(&mut thread.ledger);
            thread.ledger = Ledger { on_cpu: cpu, run_queue: Span::from_secs_f64(queued), ..Ledger::default() };
            thread.sampled = piece.sampled;
            let wait = Span::from_secs_f64(wait * scale);
            if wait > Span::ZERO {
                Self::book_wait(
                    thread,
                    process,
                    program,
                    piece.part.is_some(),
                    (piece.start, piece.end),
                    (wait, Span::ZERO),
                );
                if let Some(wait) = thread.wait.as_mut().filter(|wait| wait.lanes == Lanes::Task) {
                    wait.lanes = Lanes::Looked;
                }
                Self::settle_wait(thread, program);
            }
            thread.sampled = [0; Blocking::ALL.len()];
            let part = std::mem::take(&mut thread.ledger);
            match piece.part {
                Some(stage) => process.task_ledger(stage).fold(&part),
                None => ledger.fold(&part),
            }
            thread.ledger = ledger;
        }
    }

    /// Without records: what a reading adds waits for the thread to be settled.
    pub(super) fn hold_for_pieces(&mut self, slot: u32, ran: Span, queued: Span) {
        if let Some(tasked) = &mut self.threads[slot as usize].tasked {
            tasked.unsplit.0 += ran;
            tasked.unsplit.1 += queued;
        }
    }

    // ---- what agents tell ------------------------------------------------------------------------------------------

    pub(super) fn agent_tells(&mut self, pid: u32, fact: &AgentFact, at: Timestamp) {
        let Some(&slot) = self.by_pid.get(&pid) else {
            self.agent_told_late(pid, fact, at);
            return;
        };
        // Another program runs there now, without an agent so far: these are the last words of the one before.
        let begins = matches!(fact, AgentFact::Began { .. });
        if !begins && !self.processes[slot].has_agent && self.ended.contains_key(&pid) {
            self.agent_told_late(pid, fact, at);
            return;
        }
        if let AgentFact::Stage(definition) = fact {
            let program = self.processes[slot].program;
            if let Some(id) = self.define_stage(program, definition) {
                self.processes[slot].stages.insert(definition.stage, id);
            }
            return;
        }
        let process = &mut self.processes[slot];
        let stage = |stage: u16| process.stages.get(&stage).copied();
        let (number, fact) = match fact {
            AgentFact::Began { free_threaded, .. } => {
                process.has_agent = true;
                if *free_threaded {
                    process.interpreter.access = Some(GilAccess::Absent);
                }
                return;
            }
            AgentFact::Totals { stage, totals } => {
                process.task_totals.insert(*stage, **totals);
                return;
            }
            AgentFact::Cost { spent, dropped } => {
                process.agent_cost = (*spent, *dropped);
                return;
            }
            AgentFact::Note { stage: None, code, detail } => {
                let program = process.program;
                self.programs[program.0].note(code, detail);
                return;
            }
            AgentFact::Stage(_) => return,
            AgentFact::Coroutine { stage: number, .. }
            | AgentFact::Queue { stage: number, .. }
            | AgentFact::Payload { stage: number, .. }
            | AgentFact::Stall { stage: number, .. }
            | AgentFact::Note { stage: Some(number), .. } => (stage(*number), fact),
        };
        if let Some(id) = number {
            self.add_fact(id, pid, fact, at);
        }
    }

    /// A fact of a process that has ended (its last words are read after its end), or that is not known yet (readings find
    /// it later than its agent speaks).
    fn agent_told_late(&mut self, pid: u32, fact: &AgentFact, at: Timestamp) {
        let Some(ended) = self.ended.get_mut(&pid) else {
            if self.records != Records::Whole
                && matches!(fact, AgentFact::Stage(_) | AgentFact::Began { .. } | AgentFact::Totals { .. })
                && self.early.len() < MOST_EARLY
            {
                let facts = self.early.entry(pid).or_default();
                if facts.len() < MOST_EARLY {
                    facts.push(fact.clone());
                }
            }
            return;
        };
        let program = ended.program;
        match fact {
            AgentFact::Stage(definition) => {
                if let Some(id) = self.define_stage(program, definition)
                    && let Some(ended) = self.ended.get_mut(&pid)
                {
                    ended.stages.insert(definition.stage, id);
                }
            }
            AgentFact::Totals { stage, totals } => {
                let before = ended.totals.insert(*stage, **totals).unwrap_or_default();
                if let Some(&id) = ended.stages.get(stage)
                    && let Some(tasks) = &mut self.programs[id.0].tasks
                {
                    tasks.add_totals(&totals.since(&before));
                }
            }
            AgentFact::Coroutine { stage, .. }
            | AgentFact::Queue { stage, .. }
            | AgentFact::Payload { stage, .. }
            | AgentFact::Stall { stage, .. }
            | AgentFact::Note { stage: Some(stage), .. } => {
                if let Some(&id) = ended.stages.get(stage) {
                    self.add_fact(id, pid, fact, at);
                }
            }
            AgentFact::Note { stage: None, code, detail } => self.programs[program.0].note(code, detail),
            AgentFact::Began { .. } => self.programs[program.0].agents += 1,
            AgentFact::Cost { .. } => {}
        }
    }

    /// What an agent told of a process before it was known.
    pub(super) fn hear_early(&mut self, pid: u32, at: Timestamp) {
        for fact in self.early.remove(&pid).unwrap_or_default() {
            self.agent_tells(pid, &fact, at);
        }
    }

    fn add_fact(&mut self, id: ProgramId, pid: u32, fact: &AgentFact, at: Timestamp) {
        let program = &mut self.programs[id.0];
        let Some(tasks) = &mut program.tasks else { return };
        match fact {
            AgentFact::Coroutine { wall, own, ready, slices, failed, .. } => {
                tasks.wall.note(*wall, 1);
                tasks.recorded += 1;
                let began = Timestamp(at.0.saturating_sub(wall.0));
                let ids = Ids { pid, tid: 0 };
                let since = began.since(self.start);
                tasks.sample.note(SampledTask { began: since, queued: None, wall: *wall, failed: *failed, ids });
                let sums = &mut tasks.coroutines;
                sums.count += 1;
                sums.wall += *wall;
                sums.own += *own;
                sums.ready += *ready;
                sums.slices += u64::from(*slices);
                let awaited = *wall - *own - *ready;
                program.series.add(Lane::OwnWait, began, at, awaited);
                program.first = program.first.min(began);
                program.last = program.last.max(at);
            }
            AgentFact::Queue { depth, .. } => tasks.note_queue(*depth),
            AgentFact::Payload { reading, .. } => tasks.note_payload(reading),
            AgentFact::Stall { length, .. } => tasks.stalls = (tasks.stalls.0 + 1, tasks.stalls.1.max(*length)),
            AgentFact::Note { code, detail, .. } => tasks.note(code, detail),
            _ => {}
        }
    }

    fn define_stage(&mut self, program: ProgramId, definition: &StageDefinition) -> Option<ProgramId> {
        let owner = self.owner(program);
        let key = (owner, definition.name.clone(), definition.executor, definition.kind);
        let known = self.by_task.get(&key).copied();
        let id = match known {
            Some(id) => id,
            None if self.programs.len() >= MAX_PROGRAMS => return None,
            None => {
                let id = ProgramId(self.programs.len());
                let image = self.programs[owner.0].image.clone();
                let mut program = Program::new(image, Some(owner), self.start);
                program.tasks = Some(Box::new(Tasks::new(definition)));
                self.programs.push(program);
                self.by_task.insert(key, id);
                id
            }
        };
        if let Some(tasks) = &mut self.programs[id.0].tasks {
            tasks.define(definition);
        }
        Some(id)
    }

    /// The program that a process's stages belong to: workers do their parent's.
    fn owner(&self, mut id: ProgramId) -> ProgramId {
        while let Some(parent) = self.programs[id.0].parent.filter(|parent| parent.0 < id.0) {
            let program = &self.programs[id.0];
            let image: &Image = &program.image;
            if !(image.forked || image.is_spawned_worker() || image.is_helper() || program.tasks.is_some()) {
                break;
            }
            id = parent;
        }
        id
    }

    /// The stage that a new process was started by: the task that the thread is in, or the only one that runs.
    pub(super) fn starter(&self, parent: ProcessSlot, tid: Option<u32>) -> ProgramId {
        let process = &self.processes[parent];
        let by_thread = tid.and_then(|tid| self.by_tid.get(&tid)).and_then(|&slot| self.threads[slot as usize].stage());
        if self.records == Records::Whole || process.stages.is_empty() {
            return by_thread.unwrap_or(process.program);
        }
        let in_task = |&id: &&ProgramId| self.programs[id.0].live > 0;
        let mut running: Vec<ProgramId> = process.stages.values().filter(in_task).copied().collect();
        running.dedup();
        match running.as_slice() {
            [only] => *only,
            _ => process.program,
        }
    }

    /// The stage whose task started the program, over whatever generations.
    fn started_within(&self, program: ProgramId) -> Option<ProgramId> {
        let parents =
            std::iter::successors(Some(program), |id| self.programs[id.0].parent.filter(|parent| parent.0 < id.0));
        parents.skip(1).find(|id| self.programs[id.0].tasks.is_some())
    }

    /// Books what a process that ends (or runs another program from now on) did for stages.
    pub(super) fn close_stages(&mut self, slot: ProcessSlot) {
        let process = &mut self.processes[slot];
        let told = matches!(process.interpreter.access, Some(GilAccess::Read | GilAccess::Absent));
        let interpreter = process.interpreter.clone();
        let base = process.program;
        let outer = self.started_within(base);
        let process = &mut self.processes[slot];
        let totals = std::mem::take(&mut process.task_totals);
        for (stage, totals) in &totals {
            if let Some(tasks) = process.stages.get(stage).and_then(|id| self.programs[id.0].tasks.as_mut()) {
                tasks.add_totals(totals);
            }
        }
        if process.has_agent || !process.stages.is_empty() {
            if self.ended.len() >= MOST_ENDED {
                self.ended.clear();
            }
            let stages = process.stages.clone();
            self.ended.insert(process.pid, Ended { program: base, stages, totals });
        }
        for (id, ledgers) in std::mem::take(&mut process.task_ledgers) {
            let program = &mut self.programs[id.0];
            program.processes += 1;
            program.book_tasks(&ledgers, told);
            if let (Some(outer), Some(tasks)) = (outer, &mut program.tasks) {
                tasks.note_within(outer, ledgers.warm.on_cpu + ledgers.cold.on_cpu);
            }
            program.add_interpreter(&interpreter);
        }
        let process = &mut self.processes[slot];
        process.stages.clear();
        process.warm.clear();
        let agent = (process.has_agent, std::mem::take(&mut process.agent_cost));
        process.has_agent = false;
        let loop_waits = std::mem::take(&mut process.loop_waits);
        let program = &mut self.programs[base.0];
        program.add_interpreter(&interpreter);
        program.loop_waits.iter_mut().zip(loop_waits).for_each(|(sum, more)| *sum += more);
        program.agents += u64::from(agent.0);
        program.agent_cost += agent.1.0;
        program.agent_dropped += agent.1.1;
    }
}

/// Processes whose agents' last words are waited for.
const MOST_ENDED: usize = 4096;
/// Processes, and facts of each, that are kept until a reading finds the process.
const MOST_EARLY: usize = 256;

/// A task that began before its thread was known.
#[derive(Debug, Clone, Copy)]
pub struct EarlyTask {
    pid: u32,
    stage: u16,
    queued: Option<Span>,
    slice: bool,
}

/// A process that has ended, as far as its agent may still tell of it.
#[derive(Debug, Clone)]
pub struct Ended {
    program: ProgramId,
    stages: FxHashMap<u16, ProgramId>,
    totals: FxHashMap<u16, TaskTotals>,
}

/// The key that a stage is told apart by: its program, name, executor and kind.
pub type TaskKey = (ProgramId, String, RunsUnder, TaskKind);
