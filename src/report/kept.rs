//! The part of the machine form that answers further questions: what was asked beyond the run, what a verdict rests on so
//! that it can be given again, and what only some questions add to a recommendation. The same contract as `types`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was asked beyond the run itself; what is `null` was not asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// CPUs that may be used at once on the machine that the answer is for.
    pub cores: Option<f64>,
    /// Memory that may be used there.
    pub memory_bytes: Option<u64>,
    /// Tasks that arrive in a second.
    pub arrival_rate_per_second: Option<f64>,
    /// The engine in whose settings the answer is said.
    pub engine: Option<String>,
}

/// What dispatch costs, seconds a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Costs {
    /// Handing one task to a thread and taking its result.
    pub thread_dispatch_seconds: f64,
    /// Handing one task to a process, in the parent.
    pub process_parent_seconds: f64,
    /// And in the worker.
    pub process_worker_seconds: f64,
    /// A worker process between two tasks, though others wait; `null` in reports of older versions.
    pub process_idle_seconds: Option<f64>,
    /// One step of an event loop.
    pub asyncio_dispatch_seconds: f64,
    /// Handing the interpreter lock from one thread to another that wants it.
    pub gil_handover_seconds: f64,
}

/// What pickling a `bytes` object, moving it to another process and unpickling it costs, one way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PayloadPrice {
    /// Of a message, whatever its size.
    pub fixed_seconds: f64,
    /// Of each byte.
    pub seconds_per_byte: f64,
}

/// What one task demands: all that a prediction takes of it, with the payload's part. Seconds of one task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Demand {
    /// CPU time.
    pub cpu_seconds: f64,
    /// Of that, of its own threads; the rest is its children's.
    pub own_cpu_seconds: f64,
    /// How long one takes by itself, where it computes on several CPUs at once: less than CPU and own wait together.
    pub alone_seconds: Option<f64>,
    /// Time that it holds the interpreter lock.
    pub gil_seconds: f64,
    /// 95 % interval of that.
    pub gil_interval: [f64; 2],
    /// Of that, while it waits: C code that does not let go of the lock.
    pub gil_waiting_seconds: f64,
    /// Of a coroutine's own wait, what keeps its event loop waiting; `null` in reports of older versions.
    pub loop_waiting_seconds: Option<f64>,
    /// Own wait.
    pub wait_seconds: f64,
    /// Mean length of a run with the lock released.
    pub released_run_seconds: Option<f64>,
    /// The shortest that it may be; `null` in reports of older versions.
    pub shortest_released_run_seconds: Option<f64>,
    /// CPU time of moving its payload, in the parent.
    pub payload_parent_seconds: Option<f64>,
    /// And in the worker.
    pub payload_worker_seconds: Option<f64>,
    /// Wall time that it keeps a pipe of the pool busy, which all workers share; `null` in reports of older versions.
    pub payload_transfer_seconds: Option<f64>,
    /// Resident memory of one worker process.
    pub worker_bytes: Option<u64>,
    /// Tasks a second that a lock of the program let through, where tasks queue for it.
    pub lock_limit_per_second: Option<f64>,
    /// Whether what it waits for can be awaited.
    pub awaitable: bool,
    /// How many ran at once, on average, when it was measured.
    pub seen_at_once: f64,
}

/// What a verdict takes of a stage besides `demand`, `score`, `gil` and `ipc`: enough to judge it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Whether its tasks were told of: it is a stage inside a program.
    pub inside: bool,
    /// Whether it is the workers of a pool.
    pub pool: bool,
    /// Whether it feeds a pool of its own workers.
    pub feeds_pool: bool,
    /// Whether it is what a program did outside of its stages.
    pub outside_stages: bool,
    /// Whether its tasks were seen to write module state.
    pub shared_state: bool,
    /// A lock of the program that its function names; `null` where none was found.
    pub takes_lock: Option<String>,
    /// What is known of the interpreter lock.
    pub lock: LockKnown,
    /// Most workers at once.
    pub workers: u32,
    /// CPU time of all tasks.
    pub cpu_seconds: f64,
    /// Own wait of all tasks.
    pub own_wait_seconds: f64,
    /// Of that, for locks.
    pub lock_wait_seconds: f64,
    /// Tasks that these times are of.
    pub tasks: u64,
    /// How long one task takes.
    pub task_seconds: Option<f64>,
    /// First tasks of its processes that took many times what others take, and are left out of the times here; `null` where
    /// there were none.
    #[serde(default)]
    pub first_calls: Option<u64>,
    /// How long one of those took.
    #[serde(default)]
    pub first_call_seconds: Option<f64>,
    /// Whether much of what its tasks waited for is what others did for them, of which not enough is known.
    #[serde(default)]
    pub joins_open: bool,
    /// How many tasks were handed over at once, on average; 1 in older reports.
    #[serde(default = "one")]
    pub chunk_tasks: f64,
    /// Of its time, the share of tasks that had not ended when the run did.
    #[serde(default)]
    pub unfinished_share: f64,
    /// Calls that were counted, where the number of all is not known.
    pub sampled_calls: Option<u64>,
    /// CPUs that it uses at once by itself.
    pub cores_used: f64,
    /// Threads of one of its processes that compute or wait on the outside world at once; 1 in older reports.
    #[serde(default = "one")]
    pub at_once: f64,
    /// CPUs that it had, on average over its life; `null` in older reports.
    #[serde(default)]
    pub cores_held: Option<f64>,
    /// CPUs that the threads of its one process had at once, on average over its life, each with one task; `null` where it did
    /// not run in such threads, and in older reports.
    #[serde(default)]
    pub cores_overlapped: Option<f64>,
    /// CPUs that it had or wanted, on average over its life; `null` in reports of older versions.
    pub cores_wanted: Option<f64>,
    /// Stretches of different scores, whatever their classes.
    pub stretches: Vec<Stretch>,
}

/// What reports of before tell of threads at once, and of tasks.
fn one() -> f64 {
    1.0
}

/// What is known of the interpreter lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockKnown {
    /// No Python runs it.
    NotPython,
    /// It could not be read, or was not looked for.
    Unread,
    /// It can be read, and was not often enough.
    Thin,
    /// The interpreter has none.
    Absent,
    /// It was read: `gil` tells.
    Read,
}

/// A stretch of a stage's life that holds one score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stretch {
    /// From the start of the run.
    pub start_seconds: f64,
    /// From the start of the run.
    pub end_seconds: f64,
    /// Its score.
    pub score: f64,
    /// On-CPU and own wait in it.
    pub demand_seconds: f64,
}

/// What a rate of arrivals asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arrival {
    /// Workers that are busy on average, by Little's law.
    pub busy_workers: f64,
    /// The least number of workers that keeps up; `null` where none does.
    pub workers: Option<u32>,
    /// Tasks a second that those, or at the most any number of workers, get through.
    pub tasks_per_second: f64,
}

/// A recommendation as settings of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Engine {
    /// The engine.
    pub name: String,
    /// What to set, in order.
    pub settings: Vec<Setting>,
    /// What no setting says, in a sentence.
    pub advice: String,
}

/// One setting of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name there.
    pub name: String,
    /// Its value, as it is written there.
    pub value: String,
}
