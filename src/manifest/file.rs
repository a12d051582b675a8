//! The tables of a manifest as they are written: the JSON Schema is made from these types, and what they do not name is
//! refused. Must not interpret: `read` does.

use super::value::{Share, Size, Time, Words};
use super::{Policy, Undecided};
use crate::verdict::Executor;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A manifest of poolpick: which stages a pipeline has, and which executor production runs each under.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "poolpick.toml")]
pub struct File {
    /// A manifest to take everything from that this one does not say; relative to this file.
    #[schemars(with = "String")]
    pub extend: Option<Spanned<String>>,
    /// Versions of poolpick that may read it, as `">=0.1"`; other ones refuse it.
    #[schemars(with = "String")]
    pub required_version: Option<Spanned<String>>,
    /// What every stage and program takes that does not say otherwise.
    pub defaults: DefaultsTable,
    /// Thresholds of the classes.
    pub thresholds: ThresholdTable,
    /// When the gate passes.
    pub gate: GateTable,
    /// Stages by name, checked in the order of the file.
    #[schemars(with = "BTreeMap<String, StageTable>")]
    pub stages: BTreeMap<Spanned<String>, StageTable>,
    /// Programs by name, in which stages are found.
    #[schemars(with = "BTreeMap<String, ProgramTable>")]
    pub programs: BTreeMap<Spanned<String>, ProgramTable>,
}

/// The one key that is read before all others: a later version may know more of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Early {
    /// Of [`File`].
    pub required_version: Option<Spanned<String>>,
}

/// What every stage and program takes that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DefaultsTable {
    /// The directory to run in, relative to this file.
    #[schemars(with = "Option<String>")]
    pub cwd: Option<Spanned<String>>,
    /// Environment variables; a stage's own of the same name outrank them.
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// It is run at the most so often.
    #[schemars(with = "Option<u32>", range(min = 1, max = 1000))]
    pub runs: Option<Spanned<i64>>,
    /// A run is ended after this time.
    #[schemars(with = "Option<Time>")]
    pub timeout: Option<Time>,
}

/// Thresholds of the classes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ThresholdTable {
    /// Below this score a stage is I/O-bound; 0.4 if not given.
    #[schemars(with = "Option<Share>")]
    pub io: Option<Spanned<Share>>,
    /// Above this score a stage is CPU-bound; 0.7 if not given.
    #[schemars(with = "Option<Share>")]
    pub cpu: Option<Spanned<Share>>,
    /// Above this share of its latency a payload is too dear for processes; 0.15 if not given.
    pub ipc: Option<Share>,
}

/// When the gate passes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GateTable {
    /// How far below the best executor's throughput the current one's may be; 0.15 if not given.
    #[schemars(with = "Option<Share>")]
    pub margin: Option<Spanned<Share>>,
    /// What a stage does that is undecided: `pass` if not given.
    pub undecided: Option<Undecided>,
    /// What decides: `evidence` if not given; `ratio` is the plain rule on the score alone.
    pub policy: Option<Policy>,
}

/// What is run; `command` or `shell`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StageTable {
    /// The command, word by word.
    #[schemars(with = "Option<Words>")]
    pub command: Option<Spanned<Words>>,
    /// A command line for `sh`.
    #[schemars(with = "Option<String>")]
    pub shell: Option<Spanned<String>>,
    /// The directory to run it in, relative to this file; its directory if not given.
    #[schemars(with = "Option<String>")]
    pub cwd: Option<Spanned<String>>,
    /// Environment variables that it has besides.
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// It is run at the most so often; less often where the verdict is clear before.
    #[schemars(with = "Option<u32>", range(min = 1, max = 1000))]
    pub runs: Option<Spanned<i64>>,
    /// A run is ended after this time.
    #[schemars(with = "Option<Time>")]
    pub timeout: Option<Time>,
    /// The executor that production runs it under.
    #[schemars(with = "Option<ExecutorWord>")]
    pub executor: Option<Spanned<ExecutorWord>>,
    /// The stage is this function, `MODULE:FUNCTION`.
    #[schemars(with = "Option<String>")]
    pub function: Option<Spanned<String>>,
    /// How many workers production gives it.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub workers: Option<Spanned<i64>>,
    /// Bytes that one task is given.
    pub payload_in: Option<Size>,
    /// Bytes that one task returns.
    pub payload_out: Option<Size>,
}

/// A program in which stages are found.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ProgramTable {
    /// The command, word by word.
    #[schemars(with = "Option<Words>")]
    pub command: Option<Spanned<Words>>,
    /// A command line for `sh`.
    #[schemars(with = "Option<String>")]
    pub shell: Option<Spanned<String>>,
    /// The directory to run it in, relative to this file; its directory if not given.
    #[schemars(with = "Option<String>")]
    pub cwd: Option<Spanned<String>>,
    /// Environment variables that it has besides.
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// It is run at the most so often; less often where the verdicts are clear before.
    #[schemars(with = "Option<u32>", range(min = 1, max = 1000))]
    pub runs: Option<Spanned<i64>>,
    /// A run is ended after this time.
    #[schemars(with = "Option<Time>")]
    pub timeout: Option<Time>,
    /// The executors of stages by name; stages without one are judged by the executor that they are found under.
    #[schemars(with = "BTreeMap<String, ExecutorWord>")]
    pub expect: BTreeMap<Spanned<String>, Spanned<ExecutorWord>>,
}

/// An executor as a manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutorWord {
    /// A pool of threads.
    Thread,
    /// A pool of processes.
    Process,
    /// A pool of sub-interpreters.
    Interpreter,
    /// An event loop.
    Asyncio,
    /// No pool: one after another.
    Serial,
}

impl ExecutorWord {
    const ALL: [(ExecutorWord, &'static str, Executor); 5] = [
        (ExecutorWord::Thread, "thread", Executor::Thread),
        (ExecutorWord::Process, "process", Executor::Process),
        (ExecutorWord::Interpreter, "interpreter", Executor::Interpreter),
        (ExecutorWord::Asyncio, "asyncio", Executor::Asyncio),
        (ExecutorWord::Serial, "serial", Executor::Serial),
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        ExecutorWord::ALL.iter().find(|(known, ..)| *known == self).map_or("serial", |(_, word, _)| word)
    }

    /// What it means.
    pub fn executor(self) -> Executor {
        ExecutorWord::ALL.iter().find(|(known, ..)| *known == self).map_or(Executor::Serial, |(.., executor)| *executor)
    }

    /// The word for an executor; none for a split.
    pub fn of(executor: Executor) -> Option<ExecutorWord> {
        ExecutorWord::ALL.iter().find(|(.., known)| *known == executor).map(|(word, ..)| *word)
    }
}

/// `pyproject.toml`, of which only one table is ours.
#[derive(Debug, Deserialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de>"))]
pub struct PyProject<T> {
    /// Tools.
    pub tool: Tools<T>,
}

/// Tables of tools.
#[derive(Debug, Deserialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de>"))]
pub struct Tools<T> {
    /// Ours.
    pub poolpick: Option<T>,
}

impl<T> Default for PyProject<T> {
    fn default() -> PyProject<T> {
        PyProject { tool: Tools::default() }
    }
}

impl<T> Default for Tools<T> {
    fn default() -> Tools<T> {
        Tools { poolpick: None }
    }
}
