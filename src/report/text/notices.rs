//! What the reader must know before trusting a number: how the command ended, what was lost, what could not be seen.
//! Must not repeat what the headline says.

use super::words;
use super::{Tone, Voice};
use crate::report::{Report, Stage, Target};

/// Warnings first, then the notes of the sources; one sentence each.
pub fn notices(report: &Report, voice: &Voice) -> Vec<String> {
    let mut warnings = ending(&report.target, voice);
    if report.sources.lost_records > 0 {
        let lost = words::counted(report.sources.lost_records, "kernel record was", "kernel records were", voice);
        warnings.push(format!("{lost} lost, intervals are wider for it"));
    }
    if let Some(steal) = report.host.steal_ratio.filter(|steal| *steal >= 0.01) {
        warnings.push(format!("the hypervisor took {} of the CPU time", voice.glyphs.share(steal)));
    }
    warnings.extend(report.stages.iter().filter_map(|stage| failures(stage, voice)));

    // Which machine the answer is for stands above the table.
    let said_above = usize::from(report.machine_note().is_some() && !report.stages.is_empty());
    let label = voice.tone(Tone::Doubtful, "warning:");
    let mut lines: Vec<String> = warnings.into_iter().map(|text| format!("{label} {text}")).collect();
    lines.extend(report.sources.notes.iter().skip(said_above).map(|note| format!("note: {}", voice.text(note))));
    lines
}

/// How the command ended, if not well.
fn ending(target: &Target, voice: &Voice) -> Vec<String> {
    let mut lines: Vec<String> = failure(target, voice).into_iter().collect();
    if target.left_behind > 0 {
        let left = words::counted(u64::from(target.left_behind), "process was", "processes were", voice);
        lines.push(format!("{left} still running when the command ended, counted up to then"));
    }
    if target.stopped_seconds > 0.0 {
        let stopped = voice.glyphs.seconds(target.stopped_seconds);
        lines.push(format!("the command was stopped for {stopped}, which no number here includes"));
    }
    lines
}

/// What made the command end badly, if something did.
pub fn failure(target: &Target, voice: &Voice) -> Option<String> {
    if target.timed_out {
        let after = voice.glyphs.seconds(target.wall_seconds);
        return Some(format!("the time-out ended the command after {after}: what it would have done next is not seen"));
    }
    if let Some(number) = target.signal {
        let name = words::signal(number).map_or_else(String::new, |name| format!(" ({name})"));
        return Some(format!("signal {number}{name} killed the command: this may not be its usual work"));
    }
    let code = target.exit_code.filter(|code| *code != 0)?;
    Some(format!("the command failed with exit status {code}: this may not be its usual work"))
}

/// Tasks that failed, and exceptions that nobody asked for.
fn failures(stage: &Stage, voice: &Voice) -> Option<String> {
    let tasks = stage.tasks.as_ref()?;
    let mut parts = Vec::new();
    if tasks.failed > 0 {
        parts.push(format!("{} of {} tasks failed", voice.glyphs.count(tasks.failed), voice.glyphs.count(tasks.count)));
    }
    if tasks.unretrieved_exceptions > 0 {
        let count = tasks.unretrieved_exceptions;
        parts.push(format!("nobody retrieved {}", words::counted(count, "exception", "exceptions", voice)));
    }
    (!parts.is_empty()).then(|| format!("{}: {}", voice.name(&stage.name), parts.join(", ")))
}
