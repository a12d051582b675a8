//! The baseline: findings that are known and accepted, so that only new ones fail. It names what is found and where, and
//! no number, so that it stays the same from run to run. Must not read or write files.

use super::Ruled;
use crate::report::check::{Level, StageOutcome};
use crate::report::version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Version of the file.
pub const VERSION: &str = "0.1";
/// What the file calls itself.
const KIND: &str = "baseline";

/// A finding that is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Known {
    /// Its code.
    pub code: String,
    /// The program of the manifest that its stage was found in.
    #[serde(default)]
    pub program: Option<String>,
    /// Its stage.
    pub stage: String,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Version of the file.
    pub schema_version: String,
    /// What kind of file it is.
    pub kind: String,
    /// The findings, sorted.
    pub findings: Vec<Known>,
}

impl Baseline {
    /// Of what was ruled: misrouted stages and warnings. A stage without a verdict cannot be accepted.
    pub fn of(ruled: &[Ruled]) -> Baseline {
        let mut findings: Vec<Known> = ruled.iter().flat_map(known_of).map(|(_, known)| known).collect();
        findings.sort();
        findings.dedup();
        Baseline { schema_version: VERSION.to_owned(), kind: KIND.to_owned(), findings }
    }

    /// Adds what `before` knew of stages that were not looked at this time, and of those that failed, which tell nothing.
    /// Returns the stages that failed and of which something was kept.
    pub fn keep(&mut self, before: &Baseline, ruled: &[Ruled]) -> BTreeSet<String> {
        let failed = |one: &Ruled| one.result.outcome == StageOutcome::Failed;
        // A program that failed stands for the stages that would have been found in it.
        let of = |one: &Ruled, known: &Known| {
            let program = one.result.program == known.program;
            let whole = failed(one) && known.program.as_ref() == Some(&one.result.name);
            program && one.result.name == known.stage || whole
        };
        let mut kept = BTreeSet::new();
        for known in &before.findings {
            let mut own = ruled.iter().filter(|one| of(one, known)).peekable();
            let seen = own.peek().is_some();
            if own.all(failed) {
                if seen {
                    kept.insert(known.stage.clone());
                }
                self.findings.push(known.clone());
            }
        }
        self.findings.sort();
        self.findings.dedup();
        kept
    }

    /// Whether the file is one that this poolpick reads.
    pub fn is_readable(&self) -> bool {
        self.kind == KIND && version::is_readable(&self.schema_version, VERSION)
    }

    /// Whether a later poolpick wrote it.
    pub fn is_later(&self) -> bool {
        version::is_later(&self.schema_version, VERSION)
    }

    /// Marks what is known; a stage that is misrouted and known does not fail.
    pub fn mark(&self, ruled: &mut [Ruled]) {
        for one in ruled {
            let is_known: Vec<usize> =
                known_of(one).filter(|(_, known)| self.findings.contains(known)).map(|(index, _)| index).collect();
            for index in is_known {
                let Some(finding) = one.findings.get_mut(index) else { continue };
                finding.known = true;
                if finding.level == Level::Error {
                    finding.level = Level::Warning;
                    one.result.outcome = StageOutcome::KnownMisrouted;
                }
            }
        }
    }
}

/// The findings of a stage that can be accepted, with their places.
fn known_of(ruled: &Ruled) -> impl Iterator<Item = (usize, Known)> {
    let acceptable = ruled.result.outcome != StageOutcome::Failed;
    let undecided = ruled.result.outcome == StageOutcome::Undecided;
    let findings = ruled
        .findings
        .iter()
        .enumerate()
        .filter(move |(_, finding)| acceptable && !(undecided && finding.level == Level::Error));
    findings.map(|(index, finding)| {
        let known = Known {
            code: finding.code.clone(),
            program: ruled.result.program.clone(),
            stage: finding.stage.clone().unwrap_or_default(),
        };
        (index, known)
    })
}
