//! Stages: which programs of a timeline are stages, what each demanded, and how it scores. Pure.

mod average;
mod fold;
mod function;
mod gil;
mod payload;
mod phases;
mod score;
mod segment;

pub use crate::timeline::{Durations, MOST_ZOMBIES, PayloadSums, SampledTask as SeenTask, Tasks as SeenTasks};
pub use average::average;
pub use gil::{GilEvidence, GilShare, Releases};
pub use payload::{PickleBounds, PickledPayload};
pub use phases::Phase;
pub use score::score_of;
pub use segment::{Totals, segment};

use crate::timeline::{Demand, DescriptorGrowth, ProgramBytes, ProgramMemory, TaskNote, Tasks, Unreaped};
use crate::units::{Estimate, Span};

/// How the name of what a program did outside of its stages ends.
pub const OUTSIDE: &str = " outside its stages";

/// What a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The whole command: nothing else in its tree is a stage.
    Command,
    /// One program of a tree.
    Process,
    /// A function handed to an executor, or named.
    Function,
    /// A coroutine run as tasks.
    Coroutine,
    /// A marked region.
    Mark,
}

/// First tasks of a stage's processes that took many times what later ones take: they load and warm what those find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FirstCalls {
    /// How many.
    pub tasks: u64,
    /// How long one took, seconds.
    pub seconds: f64,
    /// What they demanded.
    pub demand: Demand,
}

/// A stage: one program's processes under one parent.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Stable across runs.
    pub id: String,
    /// The name that a person would look for.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Path of the executable, where it was told.
    pub exe: Option<String>,
    /// Whether a Python interpreter runs it.
    pub is_python: bool,
    /// Whether it was forked by a program of the same image: workers of a pool.
    pub is_pool: bool,
    /// Whether it feeds a pool of forked workers: its own work is theirs to be given.
    pub feeds_pool: bool,
    /// Where its time went, but for that of `first_calls`.
    pub demand: Demand,
    /// First tasks that are left out of its demand.
    pub first_calls: Option<FirstCalls>,
    /// Whether much of what its tasks waited for is what others did for them, of which not enough is known.
    pub joins_open: bool,
    /// Whether its waits were told apart at all.
    pub waits_told: bool,
    /// On-CPU over (on-CPU + own wait), with its interval.
    pub score: Option<Estimate>,
    /// Time in which at least one of its processes lived.
    pub wall: Span,
    /// Lives of its processes, added up.
    pub lives: Span,
    /// Processes that ran it.
    pub processes: u64,
    /// Threads of all of them.
    pub threads: u64,
    /// Most processes at once.
    pub workers: u32,
    /// Most threads of one process that had or wanted a CPU at once.
    pub active_threads: u32,
    /// Mean number of CPUs that one process has or wants while any of its threads does.
    pub parallelism: Option<f64>,
    /// Voluntary and involuntary context switches.
    pub voluntary: Option<u64>,
    /// Involuntary context switches.
    pub involuntary: Option<u64>,
    /// User and system CPU seconds.
    pub cpu_split: Option<(f64, f64)>,
    /// Memory.
    pub memory: ProgramMemory,
    /// Slope of resident memory, bytes a second.
    pub growth: Option<f64>,
    /// Descriptors that its process, or one of its workers, opened and never closed.
    pub descriptors: Option<DescriptorGrowth>,
    /// Children that its processes, or those that it runs in, never reaped.
    pub unreaped: Unreaped,
    /// Processes that the kernel killed for want of memory, where it lost a worker by that signal.
    pub memory_kills: u64,
    /// Bytes in and out.
    pub bytes: ProgramBytes,
    /// Stretches of different scores; one where there is no change.
    pub phases: Vec<Phase>,
    /// The interpreter lock.
    pub gil: GilEvidence,
    /// Share of its own wait during which it held the lock.
    pub held_waiting: f64,
    /// Of a coroutine's own wait, seconds in which it kept its loop waiting: it blocked instead of awaiting.
    pub loop_waiting: f64,
    /// Its tasks, where it is a stage inside a program.
    pub tasks: Option<Box<Tasks>>,
    /// CPU of children that its tasks ran, in `demand`, seconds.
    pub children_cpu: f64,
    /// How long its tasks took their own threads, less what others kept these waiting for, seconds; only where they
    /// compute on several CPUs at once and so took less than what they demanded.
    pub alone: Option<f64>,
    /// Mean number of threads that have or want a CPU for one of its tasks that does, those that a library computes with
    /// included; only where switch records tell of these.
    pub threads_a_task: Option<f64>,
    /// How many of its workers had something to do, on average, where tasks tell.
    pub active: Option<f64>,
    /// Whether it is what a program did outside of its stages.
    pub outside_stages: bool,
    /// What agents found worth saying of the program as a whole.
    pub notes: Vec<TaskNote>,
}

/// What was left out of the stages, told in the notes.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The program.
    pub name: String,
    /// Its processes.
    pub processes: u64,
    /// On-CPU seconds, without those of tasks.
    pub cpu_seconds: f64,
    /// Whether it has stages inside, and this is what it did besides.
    pub has_stages: bool,
}

/// The stages of a run and what was left out.
#[derive(Debug, Clone)]
pub struct Stages {
    /// Most demand first.
    pub stages: Vec<Stage>,
    /// Shells and launchers that only waited.
    pub folded: Vec<Folded>,
    /// CPU that the kernel counted but no instrument saw, seconds: programs too short to be sampled.
    pub unseen_cpu_seconds: Option<f64>,
}

impl Stage {
    /// Where all of its time went.
    pub fn whole_demand(&self) -> Demand {
        let mut whole = self.demand;
        if let Some(first) = &self.first_calls {
            whole.add(&first.demand);
        }
        whole
    }

    /// How long one task takes, seconds: of an opaque program, the mean life of a process.
    pub fn task_seconds(&self) -> Option<f64> {
        match &self.tasks {
            Some(tasks) => {
                let all = tasks.mean_seconds()?;
                let Some(first) = &self.first_calls else { return Some(all) };
                let (others, firsts) = (self.task_count() as f64, first.tasks as f64);
                crate::units::ratio((all * (others + firsts) - first.seconds * firsts).max(0.0), others)
            }
            None => self.process_seconds(),
        }
    }

    /// Tasks that its demand is of: of an opaque program, its processes.
    pub fn task_count(&self) -> u64 {
        match &self.tasks {
            Some(tasks) => {
                let firsts = self.first_calls.map_or(0, |first| first.tasks);
                tasks.totals.count.max(tasks.recorded).saturating_sub(firsts)
            }
            None => self.processes,
        }
    }

    /// Mean life of one of its processes, seconds.
    pub fn process_seconds(&self) -> Option<f64> {
        crate::units::ratio(self.lives.secs_f64(), self.processes as f64).map(|mean| mean.min(self.wall.secs_f64()))
    }

    /// How many of its workers had something to do, on average.
    pub fn workers_active(&self) -> Option<f64> {
        if self.tasks.is_some() {
            return self.active;
        }
        crate::units::ratio(self.demand.on_cpu + self.demand.run_queue + self.demand.own.sum(), self.wall.secs_f64())
    }
}
