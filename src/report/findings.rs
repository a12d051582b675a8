//! Findings for machines that know no stages: a gate's own, or what a profile amounts to when it is read as one. Must
//! not judge: a finding repeats what the document says already.

use super::check::{Finding, Level};
use super::text::{Voice, headline, notices, voice};
use super::{Code, Document, Look, Report, Stage, Verdict};
use std::borrow::Cow;

/// The findings of a document, worst first.
///
/// Of a profile: a misrouted stage and a command that failed are errors, a stage's warnings are warnings, an undecided
/// stage is a note. Stages that fit, and those that nobody could judge, are none.
pub fn findings<'a>(document: Document<'a>) -> Cow<'a, [Finding]> {
    match document {
        Document::Check(check) => Cow::Borrowed(&check.findings),
        Document::Profile(report) => Cow::Owned(of_profile(report)),
    }
}

/// Where a finding stands for readers that want a file and a line whatever it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, relative to the root of the checkout that poolpick ran in.
    pub(super) file: String,
    /// The line; `None` where only the file is known.
    pub(super) line: Option<u32>,
}

/// The place of a finding: its own; else the gate's manifest; of a profile, which knows no lines of source, the script
/// or program that was run.
pub(super) fn place(document: Document<'_>, finding: &Finding) -> Option<Place> {
    let file = match document {
        Document::Check(check) => finding.file.as_ref().or(check.manifest.as_ref()),
        Document::Profile(report) if report.target.argv_redacted => report.target.argv.last(),
        Document::Profile(report) => report.target.argv.iter().take(2).rfind(|word| !word.starts_with('-')),
    };
    let file = file.filter(|file| !file.is_empty())?;
    let directory = match document {
        Document::Check(check) => check.directory.as_deref(),
        Document::Profile(_) => None,
    };
    // Readers take paths below their own checkout; of another the name is all that means something to them.
    let file = below(directory.unwrap_or_default(), file)
        .unwrap_or_else(|| file.rsplit('/').next().unwrap_or(file).to_owned());
    (!file.is_empty()).then(|| Place { file, line: finding.file.as_ref().and(finding.line) })
}

/// The path of a file, as seen from the root that `directory` is seen from; `None` where it does not lie below that.
fn below(directory: &str, file: &str) -> Option<String> {
    if file.starts_with('/') {
        return None;
    }
    let mut parts = Vec::new();
    for part in directory.split('/').chain(file.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What was found and the edit that would mend it.
pub(super) fn with_fix(finding: &Finding) -> String {
    match &finding.fix {
        Some(fix) => format!("{}; fix: {fix}", finding.message),
        None => finding.message.clone(),
    }
}

/// The same behind the name of its stage.
pub(super) fn with_stage(finding: &Finding) -> String {
    match &finding.stage {
        Some(stage) => format!("{stage}: {}", with_fix(finding)),
        None => with_fix(finding),
    }
}

/// What tells a finding from others and stays the same when lines move and numbers change: FNV-1a with 128 bits of its
/// code, pipeline and stage, in hexadecimal.
pub(super) fn fingerprint(finding: &Finding, pipeline: Option<&str>, which: usize) -> String {
    let which = which.to_string();
    let parts = [&finding.code, pipeline.unwrap_or_default(), finding.stage.as_deref().unwrap_or_default(), &which];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    format!("{:032x}", fnv(bytes))
}

/// Fowler, Noll and Vo's hash 1a with 128 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv(bytes: impl Iterator<Item = u8>) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// How many findings before `at` have the same code and stage.
pub(super) fn which(findings: &[Finding], at: usize) -> usize {
    let same = |other: &&Finding| findings.get(at).is_some_and(|f| f.code == other.code && f.stage == other.stage);
    findings.iter().take(at).filter(same).count()
}

fn of_profile(report: &Report) -> Vec<Finding> {
    let voice = Voice::terminal(Look::PLAIN);
    let code = if report.target.timed_out { Code::TimedOut } else { Code::StageFailed };
    let mut findings: Vec<Finding> = notices::failure(&report.target, &voice)
        .map(|message| finding(code.word(), Level::Error, None, message))
        .into_iter()
        .collect();
    for stage in &report.stages {
        findings.extend(match stage.verdict {
            Verdict::Misrouted => Some(judged(stage, Code::Misrouted, Level::Error, &voice)),
            Verdict::Undecided => Some(judged(stage, Code::Undecided, Level::Note, &voice)),
            Verdict::Fits | Verdict::NotJudged => None,
        });
        let warning =
            |warning: &super::Reason| finding(&warning.code, Level::Warning, Some(&stage.name), warning.text.clone());
        findings.extend(stage.warnings.iter().map(warning));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

fn judged(stage: &Stage, code: Code, level: Level, voice: &Voice) -> Finding {
    let sentence = voice::paint(&headline::sentence(stage, voice), false);
    // What the sentence begins with, stage and verdict, stands in fields of its own.
    let known = format!("{}: {} {} ", voice.name(&stage.name), code.word(), voice.glyphs.dash);
    let message = sentence.strip_prefix(&known).unwrap_or(&sentence).to_owned();
    Finding { measured: stage.misrouting_cost, ..finding(code.word(), level, Some(&stage.name), message) }
}

fn finding(code: &str, level: Level, stage: Option<&str>, message: String) -> Finding {
    Finding {
        code: code.to_owned(),
        level,
        stage: stage.map(str::to_owned),
        message,
        measured: None,
        limit: None,
        file: None,
        line: None,
        fix: None,
        known: false,
    }
}

/// The word of the JSON report.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv(std::iter::empty()), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv(b"a".iter().copied()), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_fingerprint_outlives_lines_and_numbers() {
        let old = finding(Code::Misrouted.word(), Level::Error, Some("load"), "3.1 × as fast".to_owned());
        let new = Finding { line: Some(7), message: "3.0 × as fast".to_owned(), ..old.clone() };
        assert_eq!(fingerprint(&old, Some("etl"), 0), fingerprint(&new, Some("etl"), 0));
        assert_ne!(fingerprint(&old, Some("etl"), 0), fingerprint(&old, Some("etl"), 1));
        assert_ne!(fingerprint(&old, Some("etl"), 0), fingerprint(&old, None, 0));
    }
}
