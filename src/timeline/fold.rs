//! The fold: one event at a time into the living, and the living into programs when they end.

use super::attribution::{EarlyTask, Ended, TaskKey};
use super::bytes::EndedBytes;
use super::comms::Names;
use super::image::Image;
use super::process::{Process, ProcessSlot, Thread};
use super::program::{Program, ProgramId};
use super::reconcile::Neighbours;
use super::series::Lane;
use super::thread::{Step, ThreadState};
use super::zombies::Zombie;
use super::{Records, Timeline};
use crate::trace::{AgentFact, Blocking, Event, Ids};
use crate::units::{Span, Timestamp};
use rustc_hash::FxHashMap;

/// Folds events into a timeline.
#[derive(Debug, Clone)]
pub struct TimelineBuilder {
    pub(super) start: Timestamp,
    pub(super) target: u32,
    pub(super) now: Timestamp,
    pub(super) records: Records,
    /// Intervals that began before it may hide lost records.
    pub(super) trusted_from: Timestamp,
    pub(super) stopped: Span,
    pub(super) stopped_since: Option<Timestamp>,
    pub(super) threads: Vec<Thread>,
    pub(super) free_threads: Vec<u32>,
    pub(super) by_tid: FxHashMap<u32, u32>,
    pub(super) processes: Vec<Process>,
    pub(super) free_processes: Vec<ProcessSlot>,
    pub(super) by_pid: FxHashMap<u32, ProcessSlot>,
    pub(super) programs: Vec<Program>,
    pub(super) ended: FxHashMap<u32, Ended>,
    /// Of processes that have ended, those whose bytes may still be told.
    pub(super) ended_bytes: FxHashMap<u32, EndedBytes>,
    pub(super) early: FxHashMap<u32, Vec<AgentFact>>,
    /// What a thread that is not known yet was seen blocked on: its first reading comes right behind.
    pub(super) early_look: Option<(Ids, Blocking)>,
    pub(super) early_tasks: FxHashMap<u32, Vec<EarlyTask>>,
    pub(super) by_task: FxHashMap<TaskKey, ProgramId>,
    pub(super) by_image: FxHashMap<(Option<ProgramId>, Image), ProgramId>,
    /// What programs under one parent turned out to be, by the kernel's names for them.
    pub(super) by_comm: Names,
    pub(super) lost_records: u64,
    pub(super) processes_seen: u64,
    pub(super) threads_seen: u64,
    pub(super) tree_rss: u64,
    pub(super) peak_tree_rss: Option<u64>,
    pub(super) host_idle: Option<(f64, Option<Span>)>,
    pub(super) memory_kills: u64,
    pub(super) zombies: Vec<Zombie>,
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
            ended: FxHashMap::default(),
            ended_bytes: FxHashMap::default(),
            early: FxHashMap::default(),
            early_look: None,
            early_tasks: FxHashMap::default(),
            by_task: FxHashMap::default(),
            by_image: FxHashMap::default(),
            by_comm: FxHashMap::default(),
            lost_records: 0,
            processes_seen: 0,
            threads_seen: 0,
            tree_rss: 0,
            peak_tree_rss: None,
            host_idle: None,
            memory_kills: 0,
            zombies: Vec::new(),
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

    /// Demand of everything so far, for a live display: on-CPU seconds, and own wait: that of closed intervals, and the
    /// time since which all threads of a process that waits for no child have been blocked.
    pub fn so_far(&self, now: Timestamp) -> (f64, f64) {
        let (mut on_cpu, mut own) = (0.0, 0.0);
        for program in &self.programs {
            for bin in program.series.bins() {
                on_cpu += bin.seconds(Lane::OnCpu);
                own += bin.seconds(Lane::OwnWait) + bin.seconds(Lane::Unattributed);
            }
        }
        let living = self.by_pid.values().map(|&slot| &self.processes[slot]);
        own += living.filter(|one| one.children == 0).map(|one| one.still_for(now).secs_f64()).sum::<f64>();
        (on_cpu, own)
    }

    /// Takes one event. Events come in order of time, but for a little disorder between CPUs.
    pub fn push(&mut self, event: &Event) {
        let at = event.at();
        self.now = self.now.max(at);
        match event {
            Event::SwitchIn { ids, .. } => {
                if let Some(&slot) = self.by_tid.get(&ids.tid) {
                    self.threads[slot as usize].locked.runs(at);
                }
                self.step(*ids, Step::In, at);
            }
            Event::SwitchOut { ids, why, .. } => self.step(*ids, Step::Out(*why), at),
            Event::Fork { ids, parent, .. } => self.fork(*ids, *parent, at),
            Event::Exit { ids, .. } | Event::Gone { ids, .. } => {
                if let Some(&slot) = self.by_tid.get(&ids.tid) {
                    self.end_thread(slot, at);
                }
            }
            Event::Exec { ids, name, .. } => self.exec_by_name(*ids, name, at),
            Event::Program { pid, parent, exe, argv, .. } => {
                let exe_by_comm = self.learn_name(*pid, exe.as_deref(), argv, at);
                self.name_program(*pid, *parent, exe_by_comm.as_deref(), argv, at);
            }
            Event::Lost { records, .. } => {
                self.lost_records = self.lost_records.saturating_add(*records);
                self.trusted_from = at;
            }
            Event::SwitchesEnd { .. } => self.end_records(at),
            Event::Thread { ids, reading, .. } => self.read_thread(*ids, reading, at),
            Event::Process { pid, parent, reading, .. } => self.read_process(*pid, *parent, reading, at),
            Event::Waiting { ids, on, .. } => {
                self.early_look = Some((*ids, *on)).filter(|(ids, _)| !self.by_tid.contains_key(&ids.tid));
                if let Some(&slot) = self.by_tid.get(&ids.tid) {
                    let on = &self.beyond_children(slot, *on);
                    let thread = &mut self.threads[slot as usize];
                    thread.noticed = Some(*on).filter(|_| self.records != Records::Whole);
                    if self.records != Records::Whole || thread.clock.state() == ThreadState::Blocked {
                        thread.sampled[*on as usize] = thread.sampled[*on as usize].saturating_add(1);
                        thread.locked.waits(*on, at);
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
            Event::Interpreter { pid, version, gil, .. } => {
                if let Some(&slot) = self.by_pid.get(pid) {
                    let interpreter = &mut self.processes[slot].interpreter;
                    interpreter.version = Some(*version);
                    interpreter.access = Some(gil.clone());
                }
            }
            Event::Gil { pid, sample, .. } => self.read_gil(*pid, sample, at),
            Event::TaskBegin { ids, stage, queued, slice, .. } => self.begin_task(*ids, *stage, *queued, *slice, at),
            Event::TaskEnd { ids, stage, end, .. } => self.end_task(*ids, *stage, end, at),
            Event::Agent { pid, fact, .. } => self.agent_tells(*pid, fact, at),
            Event::Descriptors { pid, open, .. } => {
                if let Some(&slot) = self.by_pid.get(pid) {
                    self.processes[slot].descriptors.note(at, *open);
                }
            }
            Event::MemoryKills { kills, .. } => self.memory_kills = self.memory_kills.saturating_add(*kills),
            Event::Zombie { pid, parent, since, .. } => self.note_zombie(*pid, *parent, *since),
            Event::Reaped { pid, .. } => self.note_reaped(*pid),
            Event::Stacks { pid, stacks, .. } => self.read_stacks(*pid, stacks),
            Event::TimesOut { ids, ends, .. } => {
                if let Some(&slot) = self.by_tid.get(&ids.tid) {
                    let thread = &mut self.threads[slot as usize];
                    let blocked = self.records != Records::Whole || thread.clock.state() == ThreadState::Blocked;
                    thread.ends = Some(*ends).filter(|_| blocked);
                }
            }
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
        self.book_zombies(end);
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
            memory_kills: self.memory_kills,
        }
    }

    pub(super) fn stopped_until(&self, at: Timestamp) -> Span {
        self.stopped + self.stopped_since.map_or(Span::ZERO, |since| at.since(since))
    }
}
