//! Reasons: stable codes with the numbers that decided. The wording is the report's.

use super::Class;

/// Why something is recommended or not. `report::wording` says it in a sentence.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It waits on the outside world for most of its time; `share` of it.
    IoBound {
        /// Own wait over own wait and CPU.
        share: f64,
    },
    /// It computes for most of its time.
    CpuBound {
        /// The score.
        score: f64,
    },
    /// It does both, in turns.
    Interleaved {
        /// The score.
        score: f64,
    },
    /// Its class changes over its life.
    MixedPhases {
        /// How many stretches.
        phases: usize,
    },
    /// It already uses the cores itself.
    AlreadyParallel {
        /// CPUs that it uses at once.
        used: f64,
        /// CPUs that there are.
        cores: f64,
    },
    /// It has threads of its own at work: workers are copies of the whole program.
    OwnThreads {
        /// Threads that compute or wait on the outside world at once.
        at_once: f64,
    },
    /// It is a program of its own: a thread that waits for it is enough.
    OwnProcess,
    /// One core: nothing can run beside it.
    SingleCore {
        /// CPUs that there are.
        cores: f64,
    },
    /// Memory allows fewer workers than the cores or the waits would.
    MemoryLimited {
        /// Workers that fit.
        workers: u32,
        /// Bytes of one.
        bytes: u64,
        /// Bytes that there are.
        limit: u64,
    },
    /// The payload takes too much of the latency.
    IpcTooExpensive {
        /// Share of latency.
        share: f64,
        /// Its limit.
        limit: f64,
    },
    /// It would be too expensive if the upper bound of bytes were all payload.
    IpcUnsure {
        /// Share of latency by the upper bound.
        share: f64,
        /// Its limit.
        limit: f64,
    },
    /// It holds the interpreter lock for most of its CPU time.
    GilBound {
        /// Share of CPU time.
        share: f64,
    },
    /// It hardly holds the interpreter lock.
    GilReleased {
        /// Share of CPU time.
        share: f64,
    },
    /// It holds the interpreter lock for a part of its CPU time.
    GilPartly {
        /// Share of CPU time.
        share: f64,
    },
    /// It lets go of the interpreter lock for so short a time that handing it over costs more.
    GilChurn {
        /// Share of CPU time.
        share: f64,
        /// Mean length of a released run, seconds.
        run: f64,
        /// What a hand-over costs, seconds.
        handover: f64,
    },
    /// The interval of its score leaves the class open.
    ClassOpen {
        /// Lower end of the score.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// A coroutine that may compute for most of its time, or not: only then it belongs into processes.
    CoroutineOpen {
        /// Lower end of the score.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Much of what its tasks wait for is what others do for them, of which not enough is known.
    JoinsOpen,
    /// First calls are left out: they took many times what later ones take.
    FirstCalls {
        /// How long one took, seconds.
        seconds: f64,
        /// And one of the others.
        others: f64,
    },
    /// It waits with the interpreter lock in hand.
    GilHeldWaiting {
        /// Share of its waits.
        share: f64,
    },
    /// The interpreter has no lock.
    GilAbsent,
    /// Threads would compete for the interpreter lock before the cores are full.
    SaturatesGil {
        /// Threads from which on that is so.
        workers: u32,
    },
    /// Its tasks wait for a lock of the program in turns.
    LockBound {
        /// Share of its waits.
        share: f64,
        /// Tasks a second that the lock let through.
        limit: f64,
    },
    /// A coroutine blocks its event loop instead of awaiting.
    LoopBlocked {
        /// Share of its own wait.
        share: f64,
    },
    /// Each process would have that lock to itself.
    LockNotShared,
    /// Its function names a lock that threads may queue for, and no run of so many threads showed whether they do.
    LockUnseen {
        /// Where it stands and its name.
        lock: String,
    },
    /// A task is smaller than its dispatch.
    TaskTooSmall {
        /// One task, seconds.
        seconds: f64,
        /// Its dispatch, seconds.
        dispatch: f64,
    },
    /// Its payload cannot be pickled.
    NotPicklable,
    /// Its payload was never measured.
    PayloadUnknown,
    /// Its payload was measured so few times that its price may be far off.
    PayloadThin {
        /// How many times.
        readings: u64,
    },
    /// A coroutine that computes: what a process pool runs is an ordinary function.
    CoroutineComputes,
    /// Its tasks write module state, which processes would not share.
    SharedState,
    /// Whether threads would contend for the interpreter lock was not measured.
    GilUnknown,
    /// It was read, but too few times to tell.
    GilThin,
    /// The pool that it runs in keeps the cores busy.
    SaturatesCores {
        /// CPUs that it uses at once.
        used: f64,
        /// CPUs that there are.
        cores: f64,
    },
    /// Processes are predicted to do more for what waits, but within what the run leaves open.
    ThreadsSuffice {
        /// What threads are predicted to gain.
        threads: f64,
        /// And processes.
        processes: f64,
    },
    /// More workers than were seen: that the outside world keeps up is assumed.
    WaitAssumed {
        /// Workers recommended.
        workers: u32,
        /// Workers seen.
        seen: u32,
    },
    /// So many workers that an event loop is worth a thought.
    ManyConnections {
        /// Workers that would fill the cores.
        workers: u32,
    },
    /// What a rate of arrivals asks for.
    ArrivalRate {
        /// Tasks that arrive in a second.
        rate: f64,
        /// Workers that they keep busy, on average.
        busy: f64,
        /// Workers that keep up.
        workers: u32,
        /// Tasks a second that those get through.
        per_second: f64,
    },
    /// It has far fewer workers than it could use.
    WorkersTooFew {
        /// Workers seen.
        seen: u32,
        /// Workers recommended.
        wanted: u32,
    },
}

impl Reason {
    /// The reason that a class is by itself; `None` where there is no class.
    pub fn of_class(class: Class, score: f64, phases: usize) -> Option<Reason> {
        match class {
            Class::Unknown => None,
            Class::IoBound => Some(Reason::IoBound { share: 1.0 - score }),
            Class::CpuBound => Some(Reason::CpuBound { score }),
            Class::Hybrid if phases == 0 => Some(Reason::Interleaved { score }),
            Class::Hybrid => Some(Reason::MixedPhases { phases }),
        }
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::IoBound { .. } => "io-bound",
            Reason::CpuBound { .. } => "cpu-bound",
            Reason::Interleaved { .. } => "interleaved",
            Reason::MixedPhases { .. } => "mixed-phases",
            Reason::AlreadyParallel { .. } => "already-parallel",
            Reason::OwnThreads { .. } => "own-threads",
            Reason::OwnProcess => "own-process",
            Reason::SingleCore { .. } => "single-core",
            Reason::MemoryLimited { .. } => "memory-limited",
            Reason::IpcTooExpensive { .. } => "ipc-too-expensive",
            Reason::IpcUnsure { .. } => "ipc-unsure",
            Reason::GilBound { .. } => "gil-bound",
            Reason::GilReleased { .. } => "gil-released",
            Reason::GilPartly { .. } => "gil-partly",
            Reason::GilChurn { .. } => "gil-churn",
            Reason::ClassOpen { .. } => "class-open",
            Reason::CoroutineOpen { .. } => "coroutine-open",
            Reason::JoinsOpen => "joins-open",
            Reason::FirstCalls { .. } => "first-calls",
            Reason::GilHeldWaiting { .. } => "gil-held-waiting",
            Reason::GilAbsent => "gil-absent",
            Reason::SaturatesGil { .. } => "saturates-gil",
            Reason::LockBound { .. } => "lock-bound",
            Reason::LoopBlocked { .. } => "loop-blocked",
            Reason::LockNotShared => "lock-not-shared",
            Reason::LockUnseen { .. } => "lock-unseen",
            Reason::TaskTooSmall { .. } => "task-too-small",
            Reason::NotPicklable => "not-picklable",
            Reason::PayloadUnknown => "payload-unknown",
            Reason::PayloadThin { .. } => "payload-thin",
            Reason::CoroutineComputes => "coroutine-computes",
            Reason::SharedState => "shared-state",
            Reason::GilUnknown => "gil-unknown",
            Reason::GilThin => "gil-thin",
            Reason::SaturatesCores { .. } => "saturates-cores",
            Reason::ThreadsSuffice { .. } => "threads-suffice",
            Reason::WaitAssumed { .. } => "wait-assumed",
            Reason::ManyConnections { .. } => "many-connections",
            Reason::ArrivalRate { .. } => "arrival-rate",
            Reason::WorkersTooFew { .. } => "workers-too-few",
        }
    }
}
