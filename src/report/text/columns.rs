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
    let of = Of { stages, voice };
    let columns = [
        of.text("stage", 0, |stage| Some(voice.tone(Tone::Strong, &voice.name(&stage.name)))),
        of.text("verdict", 4, |stage| {
            let word = words::verdict(stage.verdict);
            (stage.verdict != Verdict::NotJudged).then(|| voice.tone(Tone::of_verdict(stage.verdict), word))
        }),
        of.text("class", 0, |stage| Some(voice.tone(Tone::of_class(stage.class), stage.class.word()))),
        of.number("score", 1, |stage| score(stage, voice)),
        of.seconds("CPU", 3, |stage| stage.time.cpu_seconds),
        of.text("waits for", 5, wait),
        of.optional_seconds("run queue", 7, |stage| stage.time.run_queue_seconds),
        of.optional_seconds("GIL wait", 9, |stage| stage.time.gil_wait_seconds),
        of.optional_seconds("starved", 10, |stage| stage.time.starved_seconds),
        of.number("GIL held", 11, |stage| stage.gil.as_ref().map(|gil| voice.glyphs.share(gil.share_of_cpu))),
        of.number("switches/s vol/inv", 8, |stage| {
            let switches = &stage.context_switches;
            let (voluntary, involuntary) = (switches.voluntary_per_second, switches.involuntary_per_second);
            let known = voluntary.is_some() || involuntary.is_some();
            known.then(|| format!("{} / {}", voice.glyphs.rate(voluntary), voice.glyphs.rate(involuntary)))
        }),
        of.text("runs as", 6, |stage| {
            let found = stage.runs_as.map(|runs| words::short_pool(runs.executor, Some(runs.workers), voice));
            stage.declared_executor.map(|declared| words::short_pool(declared, None, voice)).or(found)
        }),
        of.text("use", 2, |stage| {
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

/// What all columns are of.
#[derive(Clone, Copy)]
struct Of<'a> {
    stages: &'a [Stage],
    voice: &'a Voice,
}

impl Of<'_> {
    fn text(self, title: &'static str, rank: u8, cell: impl Fn(&Stage) -> Option<String>) -> Option<Column> {
        self.column(title, false, rank, self.stages.iter().map(cell).collect())
    }

    fn number(self, title: &'static str, rank: u8, cell: impl Fn(&Stage) -> Option<String>) -> Option<Column> {
        self.column(title, true, rank, self.stages.iter().map(cell).collect())
    }

    fn seconds(self, title: &'static str, rank: u8, cell: impl Fn(&Stage) -> Option<f64>) -> Option<Column> {
        let values: Vec<Option<f64>> = self.stages.iter().map(cell).collect();
        self.column(title, true, rank, self.voice.glyphs.seconds_column(&values))
    }

    /// A time that mostly is nothing, and then takes no column.
    fn optional_seconds(self, title: &'static str, rank: u8, cell: impl Fn(&Stage) -> Option<f64>) -> Option<Column> {
        let some = self.stages.iter().filter_map(&cell).any(|seconds| seconds > 0.0);
        some.then(|| self.seconds(title, rank, cell)).flatten()
    }

    /// Nothing where no stage has anything to say.
    fn column(self, title: &'static str, numbers: bool, rank: u8, cells: Vec<Option<String>>) -> Option<Column> {
        let says_something = cells.iter().any(Option::is_some);
        let none = self.voice.glyphs.none;
        let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| none.to_owned())).collect();
        says_something.then_some(Column { title, numbers, rank, cells })
    }
}
