//! One stage alone: not a table of one row, but where its time went, line by line. Must not judge.

use super::grid;
use super::wrap;
use crate::report::text::{Tone, Voice, columns, why, words};
use crate::report::{Executor, Look, Prediction, Stage};
use unicode_width::UnicodeWidthStr;

/// Cells of a bar that stands for all of the time.
const BAR: usize = 24;

/// Time lost to the surroundings gets a line from this share on.
const NOTICED: f64 = 0.005;

/// Columns below which there is no room for bars.
const ROOM_FOR_BARS: u16 = 60;

/// Where the time of its threads went, with shares.
pub(super) fn time(stage: &Stage, look: Look, voice: &Voice) -> Vec<String> {
    let time = &stage.time;
    let mut parts = vec![("on-CPU".to_owned(), time.cpu_seconds, Tone::Computes)];
    match &time.wait_seconds {
        Some(waits) => {
            let kinds = words::waits(waits);
            parts.extend(kinds.iter().map(|(kind, seconds)| (wait_label(kind), Some(*seconds), Tone::Waits)));
            if kinds.is_empty() {
                parts.push(("waiting".to_owned(), Some(0.0), Tone::Waits));
            }
        }
        None => parts.push(("waiting".to_owned(), None, Tone::Waits)),
    }
    let others =
        [("run queue", time.run_queue_seconds), ("GIL wait", time.gil_wait_seconds), ("starved", time.starved_seconds)];
    let whole = time.thread_seconds.filter(|whole| whole.is_finite() && *whole > 0.0);
    let least = whole.map_or(0.0, |whole| whole * NOTICED);
    let some = others.into_iter().filter(|(_, seconds)| seconds.is_some_and(|seconds| seconds > least));
    parts.extend(some.map(|(label, seconds)| (label.to_owned(), seconds, Tone::Doubtful)));

    let values: Vec<Option<f64>> = parts.iter().map(|(_, seconds, _)| *seconds).collect();
    let cells = voice.glyphs.seconds_column(&values);
    let mut rows = Vec::new();
    for ((label, seconds, tone), cell) in parts.into_iter().zip(cells) {
        let mut row = vec![(label, false), (cell.unwrap_or_else(|| voice.glyphs.none.to_owned()), true)];
        if let (Some(whole), Some(seconds)) = (whole, seconds) {
            let share = seconds / whole;
            row.push((voice.glyphs.share(share), true));
            if look.width.is_none_or(|width| width >= ROOM_FOR_BARS) {
                row.push((voice.tone(tone, &bar(share, voice)), false));
            }
        }
        rows.push(row);
    }
    grid::plain(rows, look)
}

/// Labelled facts, wrapped beside their labels.
pub(super) fn facts(stage: &Stage, look: Look, voice: &Voice) -> Vec<String> {
    let mut points = why::facts(stage, voice);
    if let Some(score) = columns::score(stage, voice) {
        let word = voice.tone(Tone::of_class(stage.class), stage.class.word());
        let ratio = voice.glyphs.ratio(stage.cpu_wall_ratio);
        let text = format!("{score}, {word} (CPU/wall {ratio})");
        points.insert(0, why::Point { label: "score".to_owned(), text });
    }
    let widest = points.iter().map(|point| point.label.width()).max().unwrap_or(0);
    let hanging = " ".repeat(widest + 3);
    let mut text = String::new();
    for point in points {
        let first = format!(" {}{}", point.label, " ".repeat(widest + 2 - point.label.width()));
        wrap::wrap(&point.text, look.width.map(usize::from), &first, &hanging, &mut text);
    }
    text.lines().map(str::to_owned).collect()
}

/// What each executor would do, one a line.
pub(super) fn predictions(stage: &Stage, look: Look, voice: &Voice) -> Vec<String> {
    let recommended = stage.recommendation.as_ref().map(|advice| advice.executor);
    let runs = stage.declared_executor.or(stage.runs_as.map(|runs| runs.executor));
    let row = |prediction: &Prediction| {
        let pool = words::short_pool(prediction.executor, Some(prediction.workers), voice);
        let is_pick = recommended == Some(prediction.executor);
        let mut notes = Vec::new();
        if prediction.executor != Executor::Serial {
            notes.push(format!("limited by {}", words::bottleneck(prediction.limited_by)));
        }
        if is_pick {
            notes.push(voice.tone(Tone::Good, "recommended"));
        }
        if runs == Some(prediction.executor) {
            notes.push("as it runs".to_owned());
        }
        vec![
            (if is_pick { voice.tone(Tone::Strong, &pool) } else { pool }, false),
            (voice.glyphs.speedup(prediction.speedup), true),
            (format!("({})", why::interval(prediction.interval, voice)), false),
            (notes.join(", "), false),
        ]
    };
    if stage.predictions.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![" predicted throughput, serial = 1:".to_owned()];
    let rows: Vec<Vec<(String, bool)>> = stage.predictions.iter().map(row).collect();
    let mut table = grid::plain(rows.clone(), look);
    if look.width.is_some_and(|width| table.iter().any(|line| line.width() > usize::from(width))) {
        let narrow = rows.into_iter().map(|row| row.into_iter().take(2).collect()).collect();
        table = grid::plain(narrow, look);
    }
    lines.extend(table);
    lines
}

fn wait_label(kind: &str) -> String {
    if kind == "sleep" { kind.to_owned() } else { format!("{kind} wait") }
}

fn bar(share: f64, voice: &Voice) -> String {
    let cells = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    voice.glyphs.bar.repeat(cells)
}
