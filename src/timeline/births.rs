//! Births in the fold: threads, processes and the programs that they run. Must not book time.

use super::Records;
use super::fold::TimelineBuilder;
use super::image::Image;
use super::process::{Process, ProcessSlot, Thread};
use super::program::{Program, ProgramId};
use super::thread::{ThreadClock, ThreadState};
use crate::trace::{Blocking, Ids};
use crate::units::Timestamp;

/// Most programs that are told apart; later ones share the last.
pub const MAX_PROGRAMS: usize = 400;

/// A program that starts threads again and again is like this all the time.
const MOST_STRETCHES: u8 = 8;

impl TimelineBuilder {
    pub(super) fn program(&mut self, parent: Option<ProgramId>, image: Image) -> ProgramId {
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

    /// The process, made if need be; `starter`: the thread that forked it, where that is known.
    pub(super) fn process(
        &mut self,
        pid: u32,
        parent: Option<ProcessSlot>,
        starter: Option<u32>,
        at: Timestamp,
    ) -> ProcessSlot {
        if let Some(&slot) = self.by_pid.get(&pid) {
            return slot;
        }
        let parent_pid = parent.map(|slot| {
            self.processes[slot].children += 1;
            self.processes[slot].pid
        });
        let parent = parent.map(|slot| self.starter(slot, starter));
        let image = match parent {
            // A fork that does not replace its program is a worker of its parent; workers' workers are workers too.
            Some(ProgramId(id)) => Image { forked: true, ..self.programs[id].image.clone() },
            None => Image::from_comm("?"),
        };
        let program = match parent {
            Some(id) if self.programs[id.0].image.forked && self.programs[id.0].tasks.is_none() => id,
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
        self.ended.remove(&pid);
        self.ended_bytes.remove(&pid);
        if !self.early.is_empty() {
            self.hear_early(pid, at);
        }
        slot
    }

    /// The thread, made with nothing known of it if need be.
    pub(super) fn thread(&mut self, ids: Ids, at: Timestamp) -> u32 {
        if let Some(&slot) = self.by_tid.get(&ids.tid) {
            return slot;
        }
        let process = self.process(ids.pid, None, None, at);
        let slot = self.add_thread(ids, process, ThreadClock::new(ThreadState::Unseen, at), at);
        self.begin_early(ids, at);
        slot
    }

    pub(super) fn add_thread(&mut self, ids: Ids, process: ProcessSlot, clock: ThreadClock, at: Timestamp) -> u32 {
        if self.processes[process].threads == 1 {
            self.close_stretch(process, at);
        }
        let mut thread = Thread::new(ids, process, clock, at);
        thread.stopped_at_block = self.stopped_until(at);
        let interpreter = &self.processes[process].interpreter;
        thread.gil_base = (interpreter.reads, interpreter.bursts);
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

    /// What a program's first thread does before there is another, and when there is none any more, are lives of their own:
    /// who computed at the start and will at the end may meanwhile do no more than look whether the others are done.
    pub(super) fn close_stretch(&mut self, process: ProcessSlot, at: Timestamp) {
        let stretches = &mut self.processes[process].stretches;
        if *stretches >= MOST_STRETCHES {
            return;
        }
        *stretches += 1;
        let Some(&first) = self.by_tid.get(&self.processes[process].pid) else { return };
        let thread = &self.threads[first as usize];
        if thread.process != process || thread.tasked.is_some() || thread.stage().is_some() {
            return;
        }
        self.cut(first, at);
        let folded = self.threads[first as usize].ledger;
        self.fold_thread(first, at);
        if self.records != Records::Whole {
            // Its counters go on from there.
            let beside = &mut self.threads[first as usize].switches_beside;
            beside.0 = beside.0.saturating_sub_unsigned(folded.voluntary);
            beside.1 = beside.1.saturating_sub_unsigned(folded.involuntary);
        }
    }

    pub(super) fn fork(&mut self, ids: Ids, parent: Ids, at: Timestamp) {
        // The id was used before and its end was lost.
        if let Some(&stale) = self.by_tid.get(&ids.tid) {
            if self.threads[stale as usize].began >= at {
                return;
            }
            self.end_thread(stale, at);
        }
        let process = if ids.pid == parent.pid {
            self.process(ids.pid, None, None, at)
        } else {
            let starter = parent.tid;
            let parent = self.by_pid.get(&parent.pid).copied();
            self.process(ids.pid, parent, Some(starter), at)
        };
        // A new thread is runnable at once: until its first switch-in it waits for a CPU.
        self.add_thread(ids, process, ThreadClock::new(ThreadState::Preempted, at), at);
    }

    pub(super) fn exec(&mut self, ids: Ids, image: Image, at: Timestamp) {
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
        // Records come late: a name that was read after this exec is already that of the program that it began. What was
        // so short before has no other name, and goes along.
        if self.processes[process].named_at > at {
            return;
        }
        if self.processes[process].execed {
            self.cut(leader, at);
            self.close_program(process, leader, at, true);
        }
        self.processes[process].execed = true;
        self.move_to(process, image, at);
    }

    /// Moves a process to another program without closing its sums: what it used since its fork goes along.
    pub(super) fn move_to(&mut self, process: ProcessSlot, image: Image, at: Timestamp) {
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
        let sleeps = self.programs[program.0].image.is_sleep();
        self.doze(process, sleeps);
        let began = self.processes[process].began;
        self.programs[program.0].enter(began.max(self.start));
    }

    /// Notes whether a process lets time pass for its parent and does nothing else.
    pub(super) fn doze(&mut self, process: ProcessSlot, dozes: bool) {
        if std::mem::replace(&mut self.processes[process].dozes, dozes) == dozes {
            return;
        }
        if let Some(&parent) = self.processes[process].parent_pid.as_ref().and_then(|parent| self.by_pid.get(parent)) {
            let Process { dozing, children, program, .. } = &mut self.processes[parent];
            *dozing = if dozes { *dozing + 1 } else { dozing.saturating_sub(1) };
            // A shell waits for what it starts.
            if dozes && dozing >= children && self.programs[program.0].image.is_shell() {
                self.doze(parent, true);
            }
        }
    }

    /// What a thread waits for that waits for children: the clock, where `sleep` is all that they do. A task's children are
    /// told of by themselves.
    pub(super) fn beyond_children(&mut self, thread: u32, on: Blocking) -> Blocking {
        let (slot, in_task) = (self.threads[thread as usize].process, self.threads[thread as usize].stage().is_some());
        let process = &self.processes[slot];
        let waits_for_clock = on == Blocking::Child && process.children > 0 && process.dozing >= process.children;
        let itself = self.programs[process.program.0].image.is_sleep();
        if process.threads == 1 {
            self.doze(slot, itself || waits_for_clock);
        }
        if waits_for_clock && !in_task { Blocking::Sleep } else { on }
    }

    pub(super) fn name_program(&mut self, pid: u32, parent: u32, exe: Option<&str>, argv: &[String], at: Timestamp) {
        let known = self.by_pid.contains_key(&pid);
        if !known {
            // An orphan was somebody's child in this tree; whose is not known any more.
            let parent = self.by_pid.get(&parent).or_else(|| self.by_pid.get(&self.target)).copied();
            let process = self.process(pid, parent, None, at);
            let ids = Ids { pid, tid: pid };
            self.add_thread(ids, process, ThreadClock::new(ThreadState::Unseen, at), at);
            self.begin_early(ids, at);
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
        self.processes[process].named_at = at;
        self.move_to(process, Image::from_argv(exe, argv), at);
        let program = self.processes[process].program;
        if let Some(exe) = exe {
            self.programs[program.0].exe = Some(exe.to_owned());
        }
    }
}
