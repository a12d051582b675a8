//! The facts that instruments report, in order of time.

use super::python::{AgentFact, GilAccess, GilSample, TaskEnd, ThreadStack};
use crate::units::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Process and thread id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ids {
    /// Process id (thread group).
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

/// Why a thread left its CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchOut {
    /// It was still runnable: an involuntary context switch (or a yield, or a CPU quota).
    Preempted,
    /// It had nothing to run: a voluntary context switch.
    Blocked,
}

/// What a blocked thread waits for, told from its system call and descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Blocking {
    /// A socket of a network family, or name resolution.
    Network,
    /// A file, its data or metadata, or a page fault that reads one.
    Disk,
    /// A clock.
    Sleep,
    /// A lock shared between threads of this process (a private futex).
    Lock,
    /// A lock shared between processes: who waits there waits for a neighbour's work.
    SharedLock,
    /// A pipe or local socket: a pipeline neighbour.
    Pipe,
    /// A new connection or job: a listening socket, a signal.
    Idle,
    /// A child process.
    Child,
    /// A terminal, a device, or a system call of no known kind.
    Other,
    /// The interpreter lock.
    Gil,
    /// Nothing: a signal or a debugger has stopped its process, inside of a system call or not.
    Stopped,
}

impl Blocking {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Blocking; 11] = [
        Blocking::Network,
        Blocking::Disk,
        Blocking::Sleep,
        Blocking::Lock,
        Blocking::SharedLock,
        Blocking::Pipe,
        Blocking::Idle,
        Blocking::Child,
        Blocking::Other,
        Blocking::Gil,
        Blocking::Stopped,
    ];
}

/// When a system call stops waiting of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeOut {
    /// So long after it began.
    After(Span),
    /// At this moment.
    At(Timestamp),
}

impl TimeOut {
    /// Whether a wait that began and ended then lasted until it.
    pub fn is_reached(self, start: Timestamp, end: Timestamp) -> bool {
        match self {
            TimeOut::After(span) => end.since(start) >= span,
            TimeOut::At(at) => start < at && at <= end,
        }
    }

    /// The earliest moment at which a wait ends of itself that began after `start`.
    pub fn earliest(self, start: Timestamp) -> Timestamp {
        match self {
            TimeOut::After(span) => start + span,
            TimeOut::At(at) => at,
        }
    }
}

/// One reading of a thread's counters; each `None` was refused or not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ThreadReading {
    /// Time on a CPU since the thread began.
    pub on_cpu: Option<Span>,
    /// Time runnable but without a CPU since the thread began.
    pub run_delay: Option<Span>,
    /// Times that it got a CPU since the thread began.
    pub slices: Option<u64>,
    /// Voluntary context switches since the thread began.
    pub voluntary: Option<u64>,
    /// Involuntary context switches since the thread began.
    pub involuntary: Option<u64>,
    /// When the thread began, where the instrument knows (a 10 ms tick).
    pub started: Option<Timestamp>,
    /// Whether it had or wanted a CPU just then: its counters lag behind until it blocks.
    pub active: Option<bool>,
}

/// One reading of a process; each `None` was refused or not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessReading {
    /// User time of all its threads, living and dead.
    pub cpu_user: Option<Span>,
    /// System time of all its threads, living and dead.
    pub cpu_system: Option<Span>,
    /// Resident memory now: 0 where the kernel has counted none yet, and `None` of who has ended.
    pub rss_bytes: Option<u64>,
    /// The most resident memory that it ever had.
    pub rss_peak_bytes: Option<u64>,
    /// Threads now.
    pub threads: Option<u32>,
    /// Bytes passed to read-like system calls.
    pub read_chars: Option<u64>,
    /// Bytes passed to write-like system calls.
    pub written_chars: Option<u64>,
    /// Bytes read from storage.
    pub disk_read_bytes: Option<u64>,
    /// Bytes written to storage.
    pub disk_written_bytes: Option<u64>,
    /// Bytes consumed of a regular file on descriptor 0.
    pub stdin_bytes: Option<u64>,
    /// Bytes written to a regular file on descriptor 1.
    pub stdout_bytes: Option<u64>,
}

/// The kernel's totals, as `wait4` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rusage {
    /// User CPU time.
    pub cpu_user: Span,
    /// System CPU time.
    pub cpu_system: Span,
    /// Voluntary context switches.
    pub voluntary: u64,
    /// Involuntary context switches.
    pub involuntary: u64,
    /// Peak resident memory of the largest process.
    pub peak_rss_bytes: u64,
}

impl Rusage {
    /// User and system time together.
    pub fn cpu(self) -> Span {
        self.cpu_user + self.cpu_system
    }

    /// Both together; the peak is the larger one.
    pub fn plus(self, other: Rusage) -> Rusage {
        Rusage {
            cpu_user: self.cpu_user + other.cpu_user,
            cpu_system: self.cpu_system + other.cpu_system,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
            peak_rss_bytes: self.peak_rss_bytes.max(other.peak_rss_bytes),
        }
    }
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A thread got a CPU.
    SwitchIn {
        /// When.
        at: Timestamp,
        /// Who.
        ids: Ids,
    },
    /// A thread left its CPU.
    SwitchOut {
        /// When.
        at: Timestamp,
        /// Who.
        ids: Ids,
        /// Why.
        why: SwitchOut,
    },
    /// A thread or process began.
    Fork {
        /// When.
        at: Timestamp,
        /// Who began.
        ids: Ids,
        /// Who made it.
        parent: Ids,
    },
    /// A thread ended.
    Exit {
        /// When.
        at: Timestamp,
        /// Who.
        ids: Ids,
    },
    /// A process replaced its program. `name` is the kernel's, at most 15 bytes.
    Exec {
        /// When.
        at: Timestamp,
        /// Who.
        ids: Ids,
        /// The kernel's name of the new program.
        name: String,
    },
    /// What program a process runs, read from /proc.
    Program {
        /// When.
        at: Timestamp,
        /// Which process.
        pid: u32,
        /// Its parent.
        parent: u32,
        /// Path of its executable.
        exe: Option<String>,
        /// Its argument vector.
        argv: Vec<String>,
    },
    /// Records were lost in the kernel: what the threads did since is not known.
    Lost {
        /// When it was noticed.
        at: Timestamp,
        /// How many.
        records: u64,
    },
    /// Switch records end here for good; from now on only readings come.
    SwitchesEnd {
        /// When.
        at: Timestamp,
    },
    /// Counters of a thread.
    Thread {
        /// When.
        at: Timestamp,
        /// Who.
        ids: Ids,
        /// What.
        reading: ThreadReading,
    },
    /// Counters of a process.
    Process {
        /// When.
        at: Timestamp,
        /// Which.
        pid: u32,
        /// Its parent, where it was asked for.
        parent: Option<u32>,
        /// What.
        reading: ProcessReading,
    },
    /// A thread was seen blocked.
    Waiting {
        /// When.
        at: Timestamp,
        /// Who.
        ids: Ids,
        /// On what.
        on: Blocking,
    },
    /// A process that was known is there no more (the rung without records).
    Gone {
        /// When it was noticed.
        at: Timestamp,
        /// Who.
        ids: Ids,
    },
    /// The target was stopped (Ctrl-Z): time does not count until it continues.
    Stopped {
        /// When.
        at: Timestamp,
    },
    /// The target continues.
    Continued {
        /// When.
        at: Timestamp,
    },
    /// The host's share of idle CPU time since the start (no scheduler source at all).
    HostIdle {
        /// When.
        at: Timestamp,
        /// 0..=1 of all usable CPUs.
        share: f64,
        /// How long tasks of our cgroup were throttled by a quota, if there is one.
        throttled: Option<Span>,
    },
    /// A Python interpreter was found in a process.
    Interpreter {
        /// When.
        at: Timestamp,
        /// Which process.
        pid: u32,
        /// Its version: major, minor, patch.
        version: (u8, u8, u8),
        /// Whether its lock can be read.
        gil: GilAccess,
    },
    /// An interpreter's lock was read.
    Gil {
        /// When the first reading was.
        at: Timestamp,
        /// Which process.
        pid: u32,
        /// What was read.
        sample: GilSample,
    },
    /// A task, a chunk of tasks or a slice of a coroutine begins on a thread.
    TaskBegin {
        /// When.
        at: Timestamp,
        /// On which thread.
        ids: Ids,
        /// Its stage, by its process's numbers.
        stage: u16,
        /// How long it was queued.
        queued: Option<Span>,
        /// Whether it is a slice of a coroutine.
        slice: bool,
    },
    /// It ends.
    TaskEnd {
        /// When.
        at: Timestamp,
        /// On which thread.
        ids: Ids,
        /// Its stage, by its process's numbers.
        stage: u16,
        /// How it went.
        end: TaskEnd,
    },
    /// The agent in a process tells something else.
    Agent {
        /// When.
        at: Timestamp,
        /// Which process.
        pid: u32,
        /// What.
        fact: AgentFact,
    },
    /// The stacks of a process's Python threads were read, because a task of it seems stuck.
    Stacks {
        /// When.
        at: Timestamp,
        /// Which process.
        pid: u32,
        /// Of all its Python threads, as far as they could be told apart.
        stacks: Vec<ThreadStack>,
    },
    /// How many descriptors a process has open.
    Descriptors {
        /// When.
        at: Timestamp,
        /// Which process.
        pid: u32,
        /// How many.
        open: u32,
    },
    /// The kernel killed processes of our cgroup for want of memory since the start.
    MemoryKills {
        /// When it was noticed.
        at: Timestamp,
        /// How many.
        kills: u64,
    },
    /// The wait that a thread was seen in has a time-out.
    TimesOut {
        /// When it was seen.
        at: Timestamp,
        /// Who.
        ids: Ids,
        /// When it ends.
        ends: TimeOut,
    },
    /// A process that ended is still a zombie a good while later, although its parent lives.
    Zombie {
        /// When it was seen.
        at: Timestamp,
        /// Which.
        pid: u32,
        /// Its parent, which has not waited for it.
        parent: u32,
        /// Since when it has been seen so.
        since: Timestamp,
    },
    /// A process that was told to be a zombie was reaped by its parent after all.
    Reaped {
        /// When it was noticed.
        at: Timestamp,
        /// Which.
        pid: u32,
    },
}

impl Event {
    /// When it was seen.
    pub fn at(&self) -> Timestamp {
        match *self {
            Event::SwitchIn { at, .. }
            | Event::SwitchOut { at, .. }
            | Event::Fork { at, .. }
            | Event::Exit { at, .. }
            | Event::Exec { at, .. }
            | Event::Program { at, .. }
            | Event::Lost { at, .. }
            | Event::SwitchesEnd { at }
            | Event::Thread { at, .. }
            | Event::Process { at, .. }
            | Event::Waiting { at, .. }
            | Event::Gone { at, .. }
            | Event::Stopped { at }
            | Event::Continued { at }
            | Event::HostIdle { at, .. }
            | Event::Interpreter { at, .. }
            | Event::Gil { at, .. }
            | Event::TaskBegin { at, .. }
            | Event::TaskEnd { at, .. }
            | Event::Agent { at, .. }
            | Event::Stacks { at, .. }
            | Event::Descriptors { at, .. }
            | Event::MemoryKills { at, .. }
            | Event::Zombie { at, .. }
            | Event::Reaped { at, .. }
            | Event::TimesOut { at, .. } => at,
        }
    }
}
