//! The machine form of a report: a contract. Times in seconds, sizes in bytes, the unit in the name; what is not
//! known is `null`, never 0. Every key of an object is always present. 0.x may still change with a changelog entry.

use super::kept::{Arrival, Asked, Costs, Demand, Engine, Evidence, PayloadPrice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of this contract, MAJOR.MINOR: minor adds, major breaks.
pub const SCHEMA_VERSION: &str = "0.2";

/// What one run showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this contract.
    pub schema_version: String,
    /// What kind of report this is.
    pub kind: Kind,
    /// Which poolpick wrote it.
    pub poolpick: Tool,
    /// The machine.
    pub host: Host,
    /// What was run.
    pub target: Target,
    /// How it was seen.
    pub sources: Sources,
    /// The kernel's totals over the whole tree.
    pub totals: Totals,
    /// The thresholds that classes were told by.
    pub thresholds: Thresholds,
    /// What was asked beyond the run itself: `null` where the answer is for the machine and the run as they were.
    pub asked: Option<Asked>,
    /// What dispatch costs on the machine; `null` where it was not measured.
    pub costs: Option<Costs>,
    /// What moving a payload costs on the machine; `null` where it was not measured.
    pub payload_price: Option<PayloadPrice>,
    /// The stages, most demand first.
    pub stages: Vec<Stage>,
}

impl Report {
    /// The note that says which machine the answer is for, where that is not the one measured.
    pub(super) fn machine_note(&self) -> Option<&str> {
        let asked = self.asked.as_ref()?;
        let first = self.sources.notes.first()?;
        (asked.cores.is_some() || asked.memory_bytes.is_some()).then_some(first)
    }
}

/// What kind of report this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Of `poolpick profile`.
    Profile,
    /// Of `poolpick check`.
    Check,
}

/// Which poolpick wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Version of the program.
    pub version: String,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Kernel release.
    pub kernel: Option<String>,
    /// Online logical CPUs.
    pub logical_cores: Option<u32>,
    /// Physical cores; siblings of one core count once.
    pub physical_cores: Option<u32>,
    /// CPUs that the target may use at once (affinity, cgroup quota).
    pub usable_cores: Option<f64>,
    /// Memory that the target may use.
    pub memory_limit_bytes: Option<u64>,
    /// Share of CPU time that the hypervisor took, 0..=1.
    pub steal_ratio: Option<f64>,
}

/// What was run and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether arguments after the program and script names were left out.
    pub argv_redacted: bool,
    /// Exit status, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Whether `--timeout` ended it.
    pub timed_out: bool,
    /// From its start to its end, stopped time left out.
    pub wall_seconds: f64,
    /// Time that it was stopped (Ctrl-Z).
    pub stopped_seconds: f64,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Descendants that were still alive when it ended.
    pub left_behind: u32,
    /// Runs that this report is of.
    pub runs: u32,
}

/// How it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sources {
    /// Which rung told who ran when.
    pub scheduler: Scheduler,
    /// What told about the Python interpreter.
    pub python: Python,
    /// Kernel records lost.
    pub lost_records: u64,
    /// CPU seconds of poolpick itself.
    pub overhead_cpu_seconds: f64,
    /// On-CPU time of the records over the kernel's total; 1 is perfect.
    pub accounted_ratio: Option<f64>,
    /// What was refused, lost or estimated, one sentence each.
    pub notes: Vec<String>,
}

/// Which rung told who ran when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// Context-switch records: exact.
    Perf,
    /// Sampled `/proc/PID/task/TID/schedstat`.
    Schedstat,
    /// `wait4` totals alone.
    Rusage,
}

/// What told about the Python interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Python {
    /// The agent inside it.
    Agent,
    /// Samples from outside.
    Sample,
    /// Nothing.
    None,
}

/// The kernel's totals over the whole tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// User CPU time of the target and of the descendants that were waited for.
    pub cpu_user_seconds: Option<f64>,
    /// System CPU time of the same.
    pub cpu_system_seconds: Option<f64>,
    /// CPU time of descendants that nobody waited for (daemons), as far as it was seen.
    pub cpu_unwaited_seconds: Option<f64>,
    /// CPU time over wall time.
    pub cpu_wall_ratio: Option<f64>,
    /// Voluntary context switches.
    pub voluntary_switches: Option<u64>,
    /// Involuntary context switches.
    pub involuntary_switches: Option<u64>,
    /// Peak resident memory: the largest of the tree's sampled sum and the largest process's peak.
    pub peak_rss_bytes: Option<u64>,
    /// Processes seen.
    pub processes: Option<u64>,
    /// Threads seen.
    pub threads: Option<u64>,
    /// Instructions retired in user space.
    pub instructions: Option<u64>,
    /// CPU cycles in user space.
    pub cycles: Option<u64>,
}

/// The thresholds that classes were told by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Thresholds {
    /// Below it a stage is I/O-bound.
    pub io: f64,
    /// Above it a stage is CPU-bound.
    pub cpu: f64,
    /// Above it the payload is too dear for processes.
    pub ipc: f64,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Stable across runs.
    pub id: String,
    /// The name that a person would look for.
    pub name: String,
    /// What it is.
    pub kind: StageKind,
    /// What it is written in, as far as that bears on the verdict.
    pub language: Language,
    /// How it was run, as found.
    pub runs_as: Option<RunsAs>,
    /// The executor that the user says production runs it under.
    pub declared_executor: Option<Executor>,
    /// Its tasks.
    pub tasks: Option<Tasks>,
    /// Where its time went.
    pub time: StageTime,
    /// CPU time over wall time, as the literature has it.
    pub cpu_wall_ratio: Option<f64>,
    /// On-CPU over (on-CPU + own wait).
    pub score: Option<f64>,
    /// 95 % interval of the score.
    pub score_interval: Option<[f64; 2]>,
    /// What the score and thresholds say.
    pub class: Class,
    /// Context switches.
    pub context_switches: Switches,
    /// The interpreter lock.
    pub gil: Option<Gil>,
    /// Memory.
    pub memory: Memory,
    /// Bytes read and written.
    pub io: Io,
    /// The payload that a process pool would have to move.
    pub ipc: Option<Ipc>,
    /// What one task demands; `null` where nothing was counted, and in reports of schema 0.1.
    pub demand: Option<Demand>,
    /// What else a verdict rests on; `null` in reports of schema 0.1.
    pub evidence: Option<Evidence>,
    /// Parts of a hybrid stage that differ in class; empty where there are none.
    pub phases: Vec<Phase>,
    /// What each executor would do.
    pub predictions: Vec<Prediction>,
    /// What the thresholds alone say.
    pub rule: Option<Rule>,
    /// What the evidence says.
    pub recommendation: Option<Recommendation>,
    /// What is wrong with it whatever its executor.
    pub warnings: Vec<Reason>,
    /// Whether the executor that it runs under is the right one.
    pub verdict: Verdict,
    /// Why the verdict is `undecided` or `not-judged`.
    pub verdict_reason: Option<String>,
    /// Recommended throughput over the current one, at least 1.
    pub misrouting_cost: Option<f64>,
}

/// What a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// A function handed to an executor.
    Function,
    /// A coroutine run as tasks.
    Coroutine,
    /// A program of a tree.
    Process,
    /// A marked region.
    Mark,
    /// The whole command.
    Command,
}

/// What a stage is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// Python.
    Python,
    /// Anything else.
    Other,
}

/// An executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// A pool of threads.
    Thread,
    /// A pool of processes.
    Process,
    /// A pool of sub-interpreters.
    Interpreter,
    /// An event loop.
    Asyncio,
    /// No pool.
    Serial,
    /// Different executors for its parts.
    Split,
}

/// How a stage was run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunsAs {
    /// Under which executor.
    pub executor: Executor,
    /// With how many workers at the most.
    pub workers: u32,
    /// How many of them had something to do, on average.
    pub workers_active: Option<f64>,
}

/// The tasks of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// How many.
    pub count: u64,
    /// Whether `count` is an estimate: calls were too short to be counted one by one.
    pub count_estimated: bool,
    /// How many failed.
    pub failed: u64,
    /// Exceptions that nobody retrieved.
    pub unretrieved_exceptions: u64,
    /// Tasks that began and had not ended when the run did; not in `count`.
    #[serde(default)]
    pub unfinished: u64,
    /// Time of one task.
    pub wall_seconds: Option<Quantiles>,
    /// Time in the queue.
    pub queue_seconds: Option<Quantiles>,
    /// Length of the queue.
    pub queue_depth: Option<Depth>,
    /// Some of them one by one, spread over the run (the last of several); empty in reports of before 0.2.
    #[serde(default)]
    pub sampled: Vec<SampledTask>,
}

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampledTask {
    /// When it began to run, since the start of the target, stopped time included.
    pub start_seconds: f64,
    /// How long it had been in the queue then; `null` where that was not measured.
    pub queue_seconds: Option<f64>,
    /// From its beginning to its end.
    pub wall_seconds: f64,
    /// Whether an exception left it.
    pub failed: bool,
    /// The process that ran it.
    pub process_id: u32,
    /// The native thread that ran it; `null` where several may have.
    pub thread_id: Option<u32>,
}

/// A distribution of times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Length of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Depth {
    /// 95th percentile.
    pub p95: f64,
    /// The longest.
    pub max: u64,
}

/// Where a stage's time went. `thread_seconds` = CPU + run queue + GIL wait + starved + all waits + unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTime {
    /// The span in which it was active.
    pub wall_seconds: Option<f64>,
    /// The lives of its threads, added up.
    pub thread_seconds: Option<f64>,
    /// User CPU time.
    pub cpu_user_seconds: Option<f64>,
    /// System CPU time.
    pub cpu_system_seconds: Option<f64>,
    /// On a CPU, user and system together.
    pub cpu_seconds: Option<f64>,
    /// Runnable, waiting for a CPU.
    pub run_queue_seconds: Option<f64>,
    /// Blocked on the interpreter lock.
    pub gil_wait_seconds: Option<f64>,
    /// Blocked because there was no work.
    pub starved_seconds: Option<f64>,
    /// Not known what it was: kernel records were lost.
    pub unknown_seconds: Option<f64>,
    /// Blocked on the outside world; `null` where the wait was not told apart from starvation at all.
    pub wait_seconds: Option<Waits>,
}

/// Wait by kind. `child` is no part of the score: what the child does replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// Sockets.
    pub network: f64,
    /// Files.
    pub disk: f64,
    /// Pipes to programs outside the tree; `null` where they are not told from pipeline neighbours, whose pipes are
    /// starvation.
    pub pipe: Option<f64>,
    /// Locks, while nothing else in the process went on.
    pub lock: f64,
    /// Clocks.
    pub sleep: f64,
    /// Children.
    pub child: f64,
    /// Of a kind that is not told apart.
    pub other: f64,
}

/// What the score and thresholds say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Below the I/O threshold.
    IoBound,
    /// Between the two, both included.
    Hybrid,
    /// Above the CPU threshold.
    CpuBound,
    /// The evidence is too thin.
    Unknown,
}

/// Context switches of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Switches {
    /// Left the CPU because there was nothing to run.
    pub voluntary: Option<u64>,
    /// Left the CPU while runnable.
    pub involuntary: Option<u64>,
    /// Voluntary a second of the stage's wall time.
    pub voluntary_per_second: Option<f64>,
    /// Involuntary a second of the stage's wall time.
    pub involuntary_per_second: Option<f64>,
}

/// The interpreter lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gil {
    /// Share of CPU time that it was held.
    pub share_of_cpu: f64,
    /// 95 % interval of the share.
    pub interval: [f64; 2],
    /// Mean length of the runs between two holdings.
    pub released_run_seconds: Option<f64>,
    /// The shortest that this may be: 95 % of runs that show as few releases have a longer one. `null` in reports of older
    /// versions.
    pub shortest_released_run_seconds: Option<f64>,
    /// Readings that this is of.
    pub samples: u64,
}

/// Memory of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Resident memory of its processes when first seen.
    pub rss_start_bytes: Option<u64>,
    /// The most that its processes had together, pages shared between them counted in each.
    pub rss_peak_bytes: Option<u64>,
    /// The most that one process had.
    pub per_worker_bytes: Option<u64>,
    /// Slope over the run.
    pub growth_bytes_per_second: Option<f64>,
}

/// Bytes that a stage's processes read and wrote, as far as readings saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Io {
    /// By all system calls, pipes, sockets and the page cache included.
    pub read_bytes: Option<u64>,
    /// By all system calls, pipes, sockets and the page cache included.
    pub written_bytes: Option<u64>,
    /// From storage.
    pub storage_read_bytes: Option<u64>,
    /// To storage.
    pub storage_written_bytes: Option<u64>,
}

/// The payload that a process pool would have to move, for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ipc {
    /// Pickled arguments.
    pub argument_bytes: Option<u64>,
    /// Pickled result.
    pub result_bytes: Option<u64>,
    /// Pickling, moving and unpickling.
    pub seconds_per_task: Option<f64>,
    /// ipc over (ipc + task wall).
    pub share_of_latency: Option<f64>,
    /// Above it the payload is too dear for processes.
    pub limit: f64,
    /// How the bytes were obtained.
    pub source: IpcSource,
    /// Whether it can be pickled at all.
    pub picklable: Option<bool>,
    /// How many were measured of the direction that was measured least; `null` where they were not measured.
    #[serde(default)]
    pub readings: Option<u64>,
    /// How much `seconds_per_task` may be off, either way, as a share of it; `null` where that is not known.
    #[serde(default)]
    pub error_ratio: Option<f64>,
}

/// How a payload's bytes were obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IpcSource {
    /// Measured on real tasks.
    Measured,
    /// Given with `--payload-in` and `--payload-out`.
    Declared,
    /// From the positions of files on descriptors 0 and 1.
    Estimated,
    /// From the bytes of all reads and writes: no more than this.
    UpperBound,
    /// From such bytes up to the last reading of some process, which may have moved more until its end.
    Partial,
    /// Not known.
    Unknown,
}

/// A part of a hybrid stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// From the start of the run.
    pub start_seconds: f64,
    /// From the start of the run.
    pub end_seconds: f64,
    /// Its score.
    pub score: f64,
    /// Its class.
    pub class: Class,
}

/// What an executor would do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prediction {
    /// Which.
    pub executor: Executor,
    /// With how many workers.
    pub workers: u32,
    /// Throughput over serial.
    pub speedup: f64,
    /// 95 % interval of the speed-up.
    pub interval: [f64; 2],
    /// The most that its throughput may be over the recommended executor's: what moves both at once, as the score does, parts
    /// them no less. `null` in older reports.
    #[serde(default)]
    pub most_of_recommended: Option<f64>,
    /// What keeps it from more.
    pub limited_by: Bottleneck,
}

/// What keeps an executor from more throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bottleneck {
    /// Cores.
    Cores,
    /// The interpreter lock.
    Gil,
    /// The number of workers.
    Workers,
    /// Moving payloads.
    Ipc,
    /// The parent's serial work.
    Parent,
    /// Memory.
    Memory,
    /// Whatever is waited for.
    Wait,
    /// A lock of the program.
    Lock,
    /// A device.
    Device,
}

/// What the thresholds alone say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Which executor.
    pub executor: Executor,
}

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    /// Which executor.
    pub executor: Executor,
    /// For `split`: the executors of its parts, in order.
    pub parts: Vec<Part>,
    /// With how many workers.
    pub workers: Option<u32>,
    /// Tasks handed over at once.
    pub chunksize: Option<u32>,
    /// Throughput over serial, at the most.
    pub speedup: Option<f64>,
    /// How sure.
    pub confidence: Confidence,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// What the rate of arrivals asks for; `null` where none was given, or the throughput is not known.
    pub arrival: Option<Arrival>,
    /// The same as settings of an engine; `null` where none was asked for.
    pub engine: Option<Engine>,
}

/// One part of a split stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// From the start of the run.
    pub start_seconds: f64,
    /// From the start of the run.
    pub end_seconds: f64,
    /// Which executor.
    pub executor: Executor,
}

/// How sure a recommendation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Evidence for a part of it is missing.
    Low,
    /// It rests on an assumption that the run could not show.
    Medium,
    /// Measured.
    High,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// A stable word; `poolpick explain CODE` tells more.
    pub code: String,
    /// The same in a sentence with its numbers.
    pub text: String,
}

/// Whether the executor that a stage runs under is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is.
    Fits,
    /// It is not.
    Misrouted,
    /// The intervals touch.
    Undecided,
    /// There is nothing to compare, or no evidence.
    NotJudged,
}
