//! What the renderers of a gate's result share: its outcome in a sentence, its findings in lines, its stages in columns.
//! Must not lay out, and must not judge.

use super::check::{Check, Finding, Level, Outcome, StageOutcome, StageResult};
use super::compare::{Comparison, sentence as compared};
use super::table::wrap;
use super::text::columns::Column;
use super::text::{Tone, Voice, voice, words};
use super::{Executor, Look, Stage, wording};
use std::io::{self, Write};

/// Names in the sentence; the others are counted.
const NAMED: usize = 5;

/// `misrouted`.
pub(super) fn result(outcome: StageOutcome) -> &'static str {
    match outcome {
        StageOutcome::Fits => "fits",
        StageOutcome::Misrouted => "misrouted",
        StageOutcome::KnownMisrouted => "known misrouted",
        StageOutcome::Undecided => "undecided",
        StageOutcome::NotJudged => "not judged",
        StageOutcome::Failed => "failed",
    }
}

fn tone(outcome: StageOutcome) -> Tone {
    match outcome {
        StageOutcome::Fits => Tone::Good,
        StageOutcome::Misrouted | StageOutcome::Failed => Tone::Bad,
        StageOutcome::KnownMisrouted | StageOutcome::Undecided => Tone::Doubtful,
        StageOutcome::NotJudged => Tone::Faint,
    }
}

/// The result in a sentence: what is wrong first, then the others counted.
pub(super) fn sentence(check: &Check, voice: &Voice) -> String {
    let of = |wanted: StageOutcome| -> Vec<&StageResult> {
        check.results.iter().filter(|result| result.outcome == wanted).collect()
    };
    let word = match check.outcome {
        Outcome::Pass => voice.tone(Tone::Good, "pass"),
        Outcome::Misrouted => voice.tone(Tone::Bad, "misrouted"),
        Outcome::NoVerdict => voice.tone(Tone::Bad, "no verdict"),
        Outcome::NothingSelected => return format!("{}: there was nothing to check", voice.tone(Tone::Bad, "nothing")),
    };
    let mut parts = Vec::new();
    let misrouted = of(StageOutcome::Misrouted);
    if !misrouted.is_empty() {
        let verb = if misrouted.len() == 1 { "runs" } else { "run" };
        parts.push(format!("{} {verb} under the wrong executor", names(&misrouted, check, voice)));
    }
    let failed = of(StageOutcome::Failed);
    if !failed.is_empty() {
        parts.push(format!("{} failed", names(&failed, check, voice)));
    }
    let undecided = of(StageOutcome::Undecided);
    if !undecided.is_empty() {
        let verb = if undecided.len() == 1 { "is" } else { "are" };
        parts.push(format!("{} {verb} undecided", names(&undecided, check, voice)));
    }
    let count = |outcome, one: &str, many: &str| match of(outcome).len() as u64 {
        0 => None,
        count => Some(words::counted(count, one, many, voice)),
    };
    parts.extend(count(StageOutcome::KnownMisrouted, "misrouted stage is known", "misrouted stages are known"));
    parts.extend(count(StageOutcome::NotJudged, "stage is not judged", "stages are not judged"));
    parts.extend(count(StageOutcome::Fits, "stage fits", "stages fit"));
    format!("{word}: {}", parts.join("; "))
}

fn names(results: &[&StageResult], check: &Check, voice: &Voice) -> String {
    let name = |result: &&StageResult| {
        let shared = check.results.iter().filter(|other| other.name == result.name).count() > 1;
        match result.program.as_ref().filter(|_| shared) {
            Some(program) => format!("{} ({})", voice.name(&result.name), voice.name(program)),
            None => voice.name(&result.name),
        }
    };
    let mut shown: Vec<String> = results.iter().take(NAMED).map(name).collect();
    if results.len() > NAMED {
        shown.push(format!("{} more", results.len() - NAMED));
    }
    match shown.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => shown.concat(),
    }
}

/// `error: misrouted: parse (poolpick.toml:4)`.
pub(super) fn title(finding: &Finding, voice: &Voice) -> String {
    let (level, tone) = match finding.level {
        _ if finding.known => ("known", Tone::Faint),
        Level::Error => ("error", Tone::Bad),
        Level::Warning => ("warning", Tone::Doubtful),
        Level::Note => ("note", Tone::Faint),
    };
    let stage = finding.stage.as_ref().map_or_else(String::new, |stage| format!(": {}", voice.name(stage)));
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!(" ({}:{line})", voice.text(file)),
        (Some(file), None) => format!(" ({})", voice.text(file)),
        (None, _) => String::new(),
    };
    format!("{}: {}{stage}{place}", voice.tone(tone, level), voice.text(&finding.code))
}

fn pool(executor: Option<Executor>, workers: Option<u32>, voice: &Voice) -> Option<String> {
    executor.map(|executor| words::short_pool(executor, workers, voice))
}

/// The stages as columns.
pub(super) fn columns(check: &Check, voice: &Voice) -> Vec<Column> {
    let measured = |result: &StageResult| -> Option<&Stage> {
        let id = result.stage_id.as_ref()?;
        check.stages.iter().find(|stage| stage.id == *id)
    };
    let column = |title, numbers, rank, cell: &dyn Fn(&StageResult) -> Option<String>| {
        let cells: Vec<Option<String>> = check.results.iter().map(cell).collect();
        let says_something = rank == 0 || cells.iter().any(Option::is_some);
        let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| voice.glyphs.none.to_owned())).collect();
        says_something.then_some(Column { title, numbers, rank, cells })
    };
    let all = [
        column("stage", false, 0, &|result| Some(voice.tone(Tone::Strong, &voice.name(&result.name)))),
        column("result", false, 0, &|one| Some(voice.tone(tone(one.outcome), result(one.outcome)))),
        column("class", false, 4, &|result| {
            measured(result).map(|stage| voice.tone(Tone::of_class(stage.class), stage.class.word()))
        }),
        column("runs as", false, 2, &|result| {
            let runs = measured(result).and_then(|stage| stage.runs_as);
            let runs = runs.filter(|runs| Some(runs.executor) == result.executor);
            pool(result.executor, runs.map(|runs| runs.workers), voice)
        }),
        column("use", false, 1, &|result| {
            let advice = measured(result).and_then(|stage| stage.recommendation.as_ref());
            pool(result.recommended, advice.and_then(|advice| advice.workers), voice)
        }),
        column("slower by", true, 3, &|result| result.misrouting_cost.map(|cost| voice.glyphs.speedup(cost))),
        column("in", false, 6, &|result| result.program.as_ref().map(|program| voice.name(program))),
        column("runs", true, 7, &|result| Some(voice.glyphs.count(u64::from(result.runs)))),
        column("time", true, 5, &|result| result.wall_seconds.map(|wall| voice.glyphs.seconds(wall))),
    ];
    all.into_iter().flatten().collect()
}

/// How it was decided, in a line.
pub(super) fn footer(check: &Check, voice: &Voice) -> String {
    let manifest = check.manifest.as_ref().map_or_else(String::new, |file| format!("{}: ", voice.text(file)));
    let rule = match check.policy {
        super::check::Policy::Evidence => "by predicted throughput".to_owned(),
        super::check::Policy::Ratio => {
            format!("by the score alone, below {} and above {}", check.thresholds.io, check.thresholds.cpu)
        }
    };
    let stages = words::counted(check.results.len() as u64, "stage", "stages", voice);
    let measured = check.host.as_ref().and_then(|host| host.usable_cores).unwrap_or(1.0);
    let asked = check.asked.as_ref().and_then(|asked| wording::asked(asked, measured));
    let asked = asked.map_or_else(String::new, |asked| format!("; {asked}"));
    format!("{manifest}{stages} in {}, judged {rule}{asked}", voice.glyphs.seconds(check.wall_seconds))
}

/// Writes a comparison as text.
pub(super) fn comparison(comparison: &Comparison, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::terminal(look);
    let width = look.width.map(usize::from);
    let mut text = String::new();
    wrap::wrap(&compared(comparison), width, "", "  ", &mut text);
    for change in &comparison.changes {
        let tone = if change.fails { Tone::Bad } else { Tone::Strong };
        let (kind, name) = (voice.tone(tone, change.kind.word()), voice.name(&change.stage));
        let line = format!("{name}: {kind}: {}", voice.text(&change.message));
        wrap::wrap(&line, width, "", "  ", &mut text);
    }
    out.write_all(voice::paint(&text, look.colour).as_bytes())
}
