//! The baseline: findings that are known and accepted, so that only new ones fail. It names what is found and where, and
//! no number, so that it stays the same from run to run. Must not read or write files.

use super::Ruled;
use crate::report::check::{Level, StageOutcome};
use serde::{Deserialize, Serialize};

/// Version of the file.
const VERSION: &str = "0.1";
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

    /// Adds what `before` knew of stages that were not looked at this time.
    pub fn keep(&mut self, before: &Baseline, ruled: &[Ruled]) {
        let seen = |known: &Known| {
            ruled.iter().any(|one| one.result.name == known.stage && one.result.program == known.program)
        };
        self.findings.extend(before.findings.iter().filter(|known| !seen(known)).cloned());
        self.findings.sort();
    }

    /// Whether the file is one that this poolpick reads.
    pub fn is_readable(&self) -> bool {
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        self.kind == KIND && major(&self.schema_version) == major(VERSION)
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
