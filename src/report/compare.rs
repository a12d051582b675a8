//! The machine form of a comparison of two reports: a contract of the same kind as `types`. Must not compare: the gate
//! does.

use super::{Look, SCHEMA_VERSION, Tool, check_words, escape, json};
use crate::report::text::Voice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// What `poolpick compare` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this contract.
    pub schema_version: String,
    /// What kind of report this is.
    pub kind: ComparisonKind,
    /// Which poolpick wrote it.
    pub poolpick: Tool,
    /// The report that is compared with.
    pub base: Side,
    /// The report that is compared.
    pub head: Side,
    /// Whether a change is among those that fail.
    pub failed: bool,
    /// What two runs of unchanged code may differ by, as a share of the smaller: a change within it does not count.
    pub tolerance: f64,
    /// Stages that both have.
    pub compared: u32,
    /// What changed beyond what the intervals and the tolerance leave open, in the order of the stages.
    pub changes: Vec<Change>,
}

/// What kind of report this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ComparisonKind {
    /// Of `poolpick compare`.
    Compare,
}

/// One of the two reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Its file.
    pub file: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Wall time of its command.
    pub wall_seconds: f64,
}

/// What can change; the words of `--fail-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// A stage is there that was not.
    Added,
    /// A stage is not there any more.
    Removed,
    /// Its class.
    ClassChange,
    /// It is misrouted, and was not.
    Misrouted,
    /// It was misrouted, and is not any more.
    Mended,
    /// One task takes longer.
    Slower,
    /// One task takes less long.
    Faster,
    /// The score.
    Score,
    /// The share of CPU time that holds the interpreter lock.
    Gil,
    /// What a task moves.
    Payload,
    /// What an executor would do.
    Prediction,
    /// The executor that is recommended.
    Recommendation,
}

impl ChangeKind {
    /// Every kind with its word.
    pub const ALL: [(ChangeKind, &'static str); 12] = [
        (ChangeKind::Added, "added"),
        (ChangeKind::Removed, "removed"),
        (ChangeKind::ClassChange, "class-change"),
        (ChangeKind::Misrouted, "misrouted"),
        (ChangeKind::Mended, "mended"),
        (ChangeKind::Slower, "slower"),
        (ChangeKind::Faster, "faster"),
        (ChangeKind::Score, "score"),
        (ChangeKind::Gil, "gil"),
        (ChangeKind::Payload, "payload"),
        (ChangeKind::Prediction, "prediction"),
        (ChangeKind::Recommendation, "recommendation"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        ChangeKind::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, word)| word)
    }
}

/// One change of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What changed.
    pub kind: ChangeKind,
    /// The stage's name.
    pub stage: String,
    /// Its id.
    pub stage_id: String,
    /// The same in a sentence with its numbers.
    pub message: String,
    /// The value before, where it is a number.
    pub base: Option<f64>,
    /// Its 95 % interval.
    pub base_interval: Option<[f64; 2]>,
    /// The value now.
    pub head: Option<f64>,
    /// Its 95 % interval.
    pub head_interval: Option<[f64; 2]>,
    /// Whether it is among those that fail.
    pub fails: bool,
}

impl Comparison {
    /// Of these sides, with nothing compared yet.
    pub fn new(version: &str, base: Side, head: Side, tolerance: f64) -> Comparison {
        Comparison {
            schema_version: SCHEMA_VERSION.to_owned(),
            kind: ComparisonKind::Compare,
            poolpick: Tool { version: version.to_owned() },
            base,
            head,
            failed: false,
            tolerance,
            compared: 0,
            changes: Vec::new(),
        }
    }
}

/// How a comparison is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// GitHub-flavoured Markdown.
    Markdown,
}

/// Writes a comparison.
///
/// # Errors
/// Only those of `out`.
pub fn render(comparison: &Comparison, format: ComparisonFormat, look: Look, out: &mut dyn Write) -> io::Result<()> {
    match format {
        ComparisonFormat::Json => json::render(comparison, out),
        ComparisonFormat::Text => check_words::comparison(comparison, look, out),
        ComparisonFormat::Markdown => {
            let voice = Voice::markdown();
            writeln!(out, "## poolpick compare\n\n{}\n", sentence(comparison))?;
            if comparison.changes.is_empty() {
                return Ok(());
            }
            writeln!(out, "| stage | change | |\n| --- | --- | --- |")?;
            for change in &comparison.changes {
                let word =
                    if change.fails { format!("**{}**", change.kind.word()) } else { change.kind.word().to_owned() };
                let message = escape::markdown(&change.message);
                writeln!(out, "| {} | {word} | {message} |", voice.name(&change.stage))?;
            }
            Ok(())
        }
    }
}

/// The outcome in a sentence.
pub(super) fn sentence(comparison: &Comparison) -> String {
    let failing = comparison.changes.iter().filter(|change| change.fails).count();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let stages = count(comparison.compared as usize, "stage");
    match (comparison.changes.len(), failing) {
        (0, _) => format!(
            "{stages} compared, and nothing changed beyond what the intervals and a tolerance of {:.0} % leave open",
            comparison.tolerance * 100.0
        ),
        (all, 0) => format!("{stages} compared: {}", count(all, "change")),
        (all, failing) => format!("{stages} compared: {}, {failing} of them failing", count(all, "change")),
    }
}
