//! The machine form of a race: a contract with a version of its own. It carries every cell as it was measured, the curves
//! over the number of workers, and how a prediction did. Must not measure or judge.

use super::{Host, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of this contract, MAJOR.MINOR: minor adds, major breaks.
pub const RACE_SCHEMA_VERSION: &str = "0.1";

/// What `poolpick race` measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Race {
    /// Version of this contract.
    pub schema_version: String,
    /// What kind of report this is.
    pub kind: RaceKind,
    /// Which poolpick wrote it.
    pub poolpick: Tool,
    /// The machine.
    pub host: Host,
    /// What was raced.
    pub subject: Subject,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// How long it was measured; a profile before it is not in it.
    pub wall_seconds: f64,
    /// Times that the cells were gone through.
    pub rounds: u32,
    /// What ended it.
    pub ended_by: EndedBy,
    /// The cell that speed-ups are over.
    pub baseline: Entrant,
    /// Every executor with every number of workers.
    pub race: Vec<Cell>,
    /// Throughput over the number of workers, one curve an executor.
    pub curves: Vec<Curve>,
    /// The fastest cell among those whose tasks did not fail more often than the baseline's; `null` where nothing was measured.
    pub winner: Option<Winner>,
    /// What was recommended beforehand; `null` without a prediction.
    pub recommended: Option<Entrant>,
    /// Where the predictions come from; `null` without one.
    pub predicted_by: Option<PredictedBy>,
    /// How far predictions were off; `null` where none can be compared.
    pub prediction_error: Option<PredictionError>,
    /// Measured throughput of what was recommended over that of the winner; `null` where either is unknown.
    pub regret: Option<f64>,
    /// What to beware of, one sentence each.
    pub notes: Vec<String>,
}

/// What kind of report this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RaceKind {
    /// Of `poolpick race`.
    Race,
}

/// What was raced: a function with its items, or a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// `MODULE:FUNCTION`.
    pub function: Option<String>,
    /// Where its items come from.
    pub items: Option<String>,
    /// How many items there are.
    pub item_count: Option<u64>,
    /// The interpreter's implementation and version.
    pub python: Option<String>,
    /// How processes are started: `fork`, `spawn`, `forkserver`.
    pub start_method: Option<String>,
    /// The command; its program alone unless arguments are to be shown.
    pub command: Option<String>,
    /// Whether arguments were left out of `command`.
    pub command_redacted: bool,
}

/// What ended a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// All intervals were narrow.
    Narrow,
    /// The time was over.
    Budget,
    /// The user.
    Interrupt,
}

/// Who runs the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// No pool: one after another.
    Serial,
    /// A pool of threads.
    Thread,
    /// An event loop.
    Asyncio,
    /// A pool of sub-interpreters.
    Interpreter,
    /// A pool of processes.
    Process,
    /// A pool of processes of the package `loky`.
    Loky,
    /// A Dask cluster on this machine: one worker process with so many threads.
    DaskThread,
    /// A Dask cluster on this machine: so many worker processes with a thread each.
    DaskProcess,
    /// A Dask cluster that is there already, with so many tasks under way at once.
    Dask,
    /// The command, which does it by itself.
    Command,
}

impl Contender {
    /// Each with its name.
    pub const ALL: [(Contender, &'static str); 10] = [
        (Contender::Serial, "serial"),
        (Contender::Thread, "thread"),
        (Contender::Asyncio, "asyncio"),
        (Contender::Interpreter, "interpreter"),
        (Contender::Process, "process"),
        (Contender::Loky, "loky"),
        (Contender::DaskThread, "dask-thread"),
        (Contender::DaskProcess, "dask-process"),
        (Contender::Dask, "dask"),
        (Contender::Command, "command"),
    ];

    /// Its name, as in the machine form.
    pub fn name(self) -> &'static str {
        Contender::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }
}

/// An executor with a number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Entrant {
    /// The executor.
    pub executor: Contender,
    /// The number of workers.
    pub workers: u32,
}

/// An executor with a number of workers, as measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// The executor.
    pub executor: Contender,
    /// The number of workers.
    pub workers: u32,
    /// Tasks a second, the mean of the rounds; of a command, what it did a second.
    pub tasks_per_second: Option<f64>,
    /// Throughput over the baseline's of the same round, the geometric mean of the rounds.
    pub speedup: Option<f64>,
    /// 95 % interval of the speed-up; `null` with fewer than two rounds.
    pub interval: Option<[f64; 2]>,
    /// What was predicted for it.
    pub predicted_speedup: Option<f64>,
    /// The 95th percentile of the time from a task's start to its result, the median of the rounds.
    pub p95_seconds: Option<f64>,
    /// From making the pool until every worker had answered, the median of the rounds; in no other number.
    pub start_seconds: Option<f64>,
    /// Tasks that were measured.
    pub tasks: u64,
    /// Of these, tasks that failed.
    pub errors: u64,
    /// Times that it was measured.
    pub rounds: u32,
    /// Why it has no numbers, or no more of them.
    pub failure: Option<String>,
}

impl Cell {
    /// Which it is.
    pub fn entrant(&self) -> Entrant {
        Entrant { executor: self.executor, workers: self.workers }
    }
}

/// Throughput of one executor over the number of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// The executor.
    pub executor: Contender,
    /// The least number of workers raced that reaches 97 % of the highest throughput raced.
    pub knee_workers: Option<u32>,
    /// σ of the Universal Scalability Law: the share of the work that is done by one worker at a time.
    pub sigma: Option<f64>,
    /// κ of the same: the cost of every pair of workers.
    pub kappa: Option<f64>,
    /// √((1−σ)/κ): from there on more workers do less; `null` where the fit has no such number.
    pub peak_workers: Option<f64>,
    /// Share of the variance of the throughputs that the fit explains.
    pub r_squared: Option<f64>,
    /// Why there is no fit.
    pub refused: Option<String>,
}

/// The fastest cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Winner {
    /// The executor.
    pub executor: Contender,
    /// The number of workers.
    pub workers: u32,
    /// Tasks a second.
    pub tasks_per_second: f64,
    /// Throughput over the baseline's.
    pub speedup: f64,
    /// Others that cannot be told from it: their intervals meet its own.
    pub ties: Vec<Entrant>,
}

/// Where predictions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PredictedBy {
    /// A serial run was profiled first.
    Profile,
    /// A saved report.
    Report,
}

/// How far predictions were off: |predicted ÷ measured − 1| of every cell but the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PredictionError {
    /// Median.
    pub median: f64,
    /// 90th percentile.
    pub p90: f64,
    /// Cells compared.
    pub cells: u32,
}
