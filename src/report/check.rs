//! The machine form of a gate's result: a contract of the same kind as `types`, with the same version. It carries the
//! stages as they were reported, what the gate made of each, and the findings. Must not judge.

use super::{Asked, Costs, Executor, Host, Kind, Stage, Thresholds, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `poolpick check` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Version of this contract.
    pub schema_version: String,
    /// What kind of report this is.
    pub kind: Kind,
    /// Which poolpick wrote it.
    pub poolpick: Tool,
    /// The machine; of saved reports theirs, `null` where they are of several; `null` where no stage was run.
    pub host: Option<Host>,
    /// What was asked beyond the runs: `null` where the answer is for the machine as it is, and in reports of older versions.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// The manifest that was used, relative to the working directory where it lies in the same checkout.
    pub manifest: Option<String>,
    /// The working directory, relative to the root of the checkout; `null` where it is that, where there is none, and in
    /// reports of older versions.
    pub directory: Option<String>,
    /// What the pipeline is called: as it was named, or the folder of the manifest; `null` where there is neither, and in
    /// reports of older versions.
    pub pipeline: Option<String>,
    /// What decided.
    pub policy: Policy,
    /// The thresholds that classes were told by.
    pub thresholds: Thresholds,
    /// When it began (RFC 3339, UTC); of saved reports, when the first of their runs did.
    pub started_at: String,
    /// From there to the last stage's end, in seconds; of saved reports, the time that their runs took together.
    pub wall_seconds: f64,
    /// The whole gate's result.
    pub outcome: Outcome,
    /// What is wrong or worth knowing, worst first, then in the manifest's order.
    pub findings: Vec<Finding>,
    /// What the gate made of each stage, in the manifest's order.
    pub results: Vec<StageResult>,
    /// The stages as measured, as in a profile.
    pub stages: Vec<Stage>,
}

/// What decided whether a stage is misrouted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Predicted throughput from measured evidence.
    Evidence,
    /// The plain thresholds alone.
    Ratio,
}

/// The result of a gate; each has its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No stage is misrouted.
    Pass,
    /// A stage is misrouted, and every stage has a verdict.
    Misrouted,
    /// Some stage has no verdict: it failed, or is undecided where that fails.
    NoVerdict,
    /// No stage was selected.
    NothingSelected,
}

/// The result of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageOutcome {
    /// It runs under the right executor.
    Fits,
    /// It does not.
    Misrouted,
    /// It does not, and the baseline knows it.
    KnownMisrouted,
    /// The evidence does not decide.
    Undecided,
    /// There was nothing to compare with: neither declared nor found.
    NotJudged,
    /// Its command failed, or it was not seen, or too little of it.
    Failed,
}

/// What the gate made of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// Its name: of the manifest, or as it was found.
    pub name: String,
    /// The `id` of the stage in `stages`; `null` where none was measured.
    pub stage_id: Option<String>,
    /// For a stage that was found inside a program: that program's name in the manifest.
    pub program: Option<String>,
    /// The result.
    pub outcome: StageOutcome,
    /// The same in a sentence.
    pub message: String,
    /// The executor that is declared or found.
    pub executor: Option<Executor>,
    /// How many workers are declared; `null` where none are, and in reports of older versions.
    #[serde(default)]
    pub declared_workers: Option<u32>,
    /// The one that is recommended.
    pub recommended: Option<Executor>,
    /// Recommended throughput over the current one, at least 1.
    pub misrouting_cost: Option<f64>,
    /// How often its command was run.
    pub runs: u32,
    /// Time that the runs took together.
    pub wall_seconds: Option<f64>,
    /// When the first of them started (RFC 3339, UTC); `null` where there was none, or where an earlier version
    /// wrote the result.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When the last of them started: `start_seconds` of sampled tasks count from here.
    #[serde(default)]
    pub last_run_at: Option<String>,
    /// When the last of them ended.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// What dispatch cost where it ran; `null` where it was not measured, and in reports of older versions.
    #[serde(default)]
    pub costs: Option<Costs>,
    /// What its command wrote to stdout and stderr, its last part; only where it failed.
    pub output: Option<String>,
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Passes, but should be looked at.
    Warning,
    /// The gate does not pass.
    Error,
}

/// One thing that is wrong or worth knowing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// A stable word; `poolpick explain CODE` tells more.
    pub code: String,
    /// How much it weighs.
    pub level: Level,
    /// The stage, as named in `results`.
    pub stage: Option<String>,
    /// What was found, in a sentence with its numbers.
    pub message: String,
    /// The value that was measured.
    pub measured: Option<f64>,
    /// The limit that it crossed.
    pub limit: Option<f64>,
    /// The file whose line set the rule or declared the executor.
    pub file: Option<String>,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// The edit that would mend it, in words.
    pub fix: Option<String>,
    /// Whether the baseline knows it.
    pub known: bool,
}
