//! The stages as columns. Each column knows how soon it may go when the width is short; one that says nothing about
//! any stage is left out. Must not know how a table is drawn.

use super::words;
use super::{Tone, Voice};
use crate::report::{Stage, Verdict};

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Whether it holds numbers, which stand below one another.
    pub numbers: bool,
    /// The higher, the sooner it goes.
    pub rank: u8,
    /// One cell a stage.
    pub cells: Vec<String>,
}

/// All columns that say something, from left to right; those of rank 0 are always there.
pub fn columns(stages: &[Stage], voice: &Voice) -> Vec<Column> {
    let wait = |stage: &Stage| stage.time.wait_seconds.as_ref().map(|waits| wait_cell(&words::waits(waits), 2, voice));
    let columns = [
        text("stage", 0, stages, voice, |stage| Some(voice.tone(Tone::Strong, &voice.name(&stage.name)))),
        text("verdict", 4, stages, voice, |stage| {
            let word = words::verdict(stage.verdict);
            (stage.verdict != Verdict::NotJudged).then(|| voice.tone(Tone::of_verdict(stage.verdict), word))
        }),
        text("class", 0, stages, voice, |stage| Some(voice.tone(Tone::of_class(stage.class), stage.class.word()))),
        number("score", 1, stages, voice, |stage| score(stage, voice)),
        seconds("CPU", 3, stages, voice, |stage| stage.time.cpu_seconds),
        text("waits for", 5, stages, voice, wait),
        optional_seconds("run queue", 7, stages, voice, |stage| stage.time.run_queue_seconds),
        optional_seconds("GIL wait", 9, stages, voice, |stage| stage.time.gil_wait_seconds),
        optional_seconds("starved", 10, stages, voice, |stage| stage.time.starved_seconds),
        number("GIL held", 11, stages, voice, |stage| {
            stage.gil.as_ref().map(|gil| voice.glyphs.share(gil.share_of_cpu))
        }),
        number("switches/s vol/inv", 8, stages, voice, |stage| {
            let switches = &stage.context_switches;
            let (voluntary, involuntary) = (switches.voluntary_per_second, switches.involuntary_per_second);
            let known = voluntary.is_some() || involuntary.is_some();
            known.then(|| format!("{} / {}", voice.glyphs.rate(voluntary), voice.glyphs.rate(involuntary)))
        }),
        text("runs as", 6, stages, voice, |stage| {
            let found = stage.runs_as.map(|runs| words::short_pool(runs.executor, Some(runs.workers), voice));
            stage.declared_executor.map(|declared| words::short_pool(declared, None, voice)).or(found)
        }),
        text("use", 2, stages, voice, |stage| {
            let advice = stage.recommendation.as_ref();
            advice.map(|advice| words::short_pool(advice.executor, advice.workers, voice))
        }),
    ];
    columns.into_iter().flatten().collect()
}

/// `network 3.80 s, sleep 0.10 s`: the largest kinds; what is under a twentieth of all is left out.
fn wait_cell(waits: &[(&'static str, f64)], most: usize, voice: &Voice) -> String {
    let all: f64 = waits.iter().map(|(_, seconds)| seconds).sum();
    let large: Vec<String> = waits
        .iter()
        .filter(|(_, seconds)| *seconds >= all / 20.0)
        .take(most)
        .map(|(kind, seconds)| format!("{kind} {}", voice.glyphs.seconds(*seconds)))
        .collect();
    if large.is_empty() { "nothing".to_owned() } else { large.join(", ") }
}

/// `0.98 ±0.01`, by the wider side; without it where it rounds to nothing or is not known.
pub fn score(stage: &Stage, voice: &Voice) -> Option<String> {
    let score = stage.score.filter(|score| score.is_finite())?;
    let text = voice.glyphs.ratio(score);
    let wide = stage.score_interval.map(|[low, high]| (high - score).max(score - low)).filter(|wide| *wide >= 0.005);
    // A lopsided interval is shown by its ends: one number for both sides would claim too little or too much.
    if let Some([low, high]) = stage.score_interval
        && ((high - score) - (score - low)).abs() > 0.05
        && high < 1.0
    {
        return Some(format!("{text} ({}{}{})", voice.glyphs.ratio(low), voice.glyphs.to, voice.glyphs.ratio(high)));
    }
    Some(match wide {
        Some(wide) => format!("{text} {}{}", voice.glyphs.plus_minus, voice.glyphs.ratio(wide)),
        None => text,
    })
}

fn text(
    title: &'static str,
    rank: u8,
    stages: &[Stage],
    voice: &Voice,
    cell: impl Fn(&Stage) -> Option<String>,
) -> Option<Column> {
    column(title, false, rank, stages.iter().map(cell).collect(), voice)
}

fn number(
    title: &'static str,
    rank: u8,
    stages: &[Stage],
    voice: &Voice,
    cell: impl Fn(&Stage) -> Option<String>,
) -> Option<Column> {
    column(title, true, rank, stages.iter().map(cell).collect(), voice)
}

fn seconds(
    title: &'static str,
    rank: u8,
    stages: &[Stage],
    voice: &Voice,
    cell: impl Fn(&Stage) -> Option<f64>,
) -> Option<Column> {
    let values: Vec<Option<f64>> = stages.iter().map(cell).collect();
    column(title, true, rank, voice.glyphs.seconds_column(&values), voice)
}

/// A time that mostly is nothing, and then takes no column.
fn optional_seconds(
    title: &'static str,
    rank: u8,
    stages: &[Stage],
    voice: &Voice,
    cell: impl Fn(&Stage) -> Option<f64>,
) -> Option<Column> {
    let some = stages.iter().filter_map(&cell).any(|seconds| seconds > 0.0);
    some.then(|| seconds(title, rank, stages, voice, cell)).flatten()
}

/// Nothing where no stage has anything to say.
fn column(title: &'static str, numbers: bool, rank: u8, cells: Vec<Option<String>>, voice: &Voice) -> Option<Column> {
    let says_something = cells.iter().any(Option::is_some);
    let none = voice.glyphs.none;
    let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| none.to_owned())).collect();
    says_something.then_some(Column { title, numbers, rank, cells })
}
