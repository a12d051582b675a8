//! The evidence behind a recommendation: its reasons, the phases, what each executor would do, and the facts that
//! have no column. Must not weigh them: that has been done.

use super::words;
use super::{Tone, Voice};
use crate::report::{Engine, Gil, Ipc, IpcSource, Phase, Prediction, Reason, Stage, Tasks};

/// A labelled line: `gil-bound`, `holds the GIL 98 % of its CPU time`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// A word or two, escaped.
    pub label: String,
    /// A sentence, escaped.
    pub text: String,
}

fn point(label: &str, text: String) -> Point {
    Point { label: label.to_owned(), text }
}

/// Why this recommendation, the most important first.
pub fn reasons(stage: &Stage, voice: &Voice) -> Vec<Point> {
    let mut points = Vec::new();
    if let Some(advice) = &stage.recommendation {
        let said = advice.reasons.iter();
        points.extend(said.map(|reason| Point { label: voice.text(&reason.code), text: voice.text(&reason.text) }));
        if let Some(chunksize) = advice.chunksize.filter(|size| *size > 1) {
            points.push(point("chunk size", format!("hand over {chunksize} tasks at once")));
        }
        points.extend(advice.engine.as_ref().map(|engine| in_engine(engine, voice)));
    }
    if !stage.phases.is_empty() {
        let phases: Vec<String> = stage.phases.iter().map(|one| phase(one, voice)).collect();
        points.push(point("phases", phases.join(", then ")));
    }
    points
}

/// The recommendation as settings of an engine.
fn in_engine(engine: &Engine, voice: &Voice) -> Point {
    let settings: Vec<String> =
        engine.settings.iter().map(|setting| format!("{}={}", setting.name, setting.value)).collect();
    let settings = if settings.is_empty() { "no setting".to_owned() } else { settings.join(", ") };
    Point {
        label: voice.text(&format!("in {}", engine.name)),
        text: voice.text(&format!("{settings}; {}", engine.advice)),
    }
}

/// What is wrong with it whatever its executor.
pub fn warnings(stage: &Stage, voice: &Voice) -> Vec<Point> {
    let said = |warning: &Reason| Point {
        label: voice.tone(Tone::Doubtful, &voice.text(&warning.code)),
        text: voice.text(&warning.text),
    };
    stage.warnings.iter().map(said).collect()
}

/// What each executor would do, in one line.
pub fn predictions(stage: &Stage, voice: &Voice) -> Option<Point> {
    let one = |prediction: &Prediction| {
        let pool = words::short_pool(prediction.executor, Some(prediction.workers), voice);
        format!("{} with {pool}", voice.glyphs.speedup(prediction.speedup))
    };
    let all: Vec<String> = stage.predictions.iter().map(one).collect();
    (!all.is_empty()).then(|| point("predicted over serial", all.join(", ")))
}

/// `1.80–2.00`.
pub fn interval([low, high]: [f64; 2], voice: &Voice) -> String {
    format!("{}{}{}", voice.glyphs.ratio(low), voice.glyphs.to, voice.glyphs.ratio(high))
}

/// What was seen of it apart from its time: switches, lock, tasks, payload.
pub fn facts(stage: &Stage, voice: &Voice) -> Vec<Point> {
    let mut points = Vec::new();
    if let Some(runs) = stage.runs_as {
        let busy = runs.workers_active.map(|busy| format!(", {} busy on average", voice.glyphs.ratio(busy)));
        let pool = words::short_pool(runs.executor, Some(runs.workers), voice);
        points.push(point("runs as", format!("{pool}{}", busy.unwrap_or_default())));
    }
    points.extend(switches(stage, voice));
    points.extend(stage.gil.as_ref().map(|held| gil(held, voice)));
    points.extend(stage.tasks.as_ref().map(|done| tasks(done, voice)));
    points.extend(memory(stage, voice));
    points.extend(stage.ipc.as_ref().and_then(|moved| payload(moved, voice)));
    points
}

fn phase(phase: &Phase, voice: &Voice) -> String {
    let class = voice.tone(Tone::of_class(phase.class), phase.class.word());
    let span = words::span(phase.start_seconds, phase.end_seconds, voice);
    format!("{span} {class} (score {})", voice.glyphs.ratio(phase.score))
}

fn switches(stage: &Stage, voice: &Voice) -> Option<Point> {
    let (glyphs, seen) = (voice.glyphs, &stage.context_switches);
    seen.voluntary.or(seen.involuntary)?;
    let rate = |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!(" ({}/s)", glyphs.rate(Some(rate))));
    let text = format!(
        "{} voluntary{}, {} involuntary{}",
        glyphs.count(seen.voluntary),
        rate(seen.voluntary_per_second),
        glyphs.count(seen.involuntary),
        rate(seen.involuntary_per_second)
    );
    Some(point("switches", text))
}

fn gil(gil: &Gil, voice: &Voice) -> Point {
    let (glyphs, [low, high]) = (voice.glyphs, gil.interval);
    let released = gil
        .released_run_seconds
        .map_or_else(String::new, |run| format!(", released for {} at a time", glyphs.seconds(run)));
    let between = format!("{}{}{}", glyphs.share(low), glyphs.to, glyphs.share(high));
    point("GIL", format!("held {} of its CPU time ({between}){released}", glyphs.share(gil.share_of_cpu)))
}

fn memory(stage: &Stage, voice: &Voice) -> Option<Point> {
    let (glyphs, memory) = (voice.glyphs, &stage.memory);
    let peak = memory.rss_peak_bytes?;
    let worker = memory.per_worker_bytes.filter(|worker| *worker != peak);
    let worker = worker.map_or_else(String::new, |worker| format!(", {} in one process", glyphs.bytes(Some(worker))));
    Some(point("memory", format!("peak {}{worker}", glyphs.bytes(Some(peak)))))
}

fn tasks(tasks: &Tasks, voice: &Voice) -> Point {
    let glyphs = voice.glyphs;
    let queued = tasks.queue_seconds.map(|queued| format!("; {} in the queue", glyphs.seconds(queued.p50)));
    let each = tasks.wall_seconds.map_or_else(String::new, |wall| {
        format!(", {} each, 95th percentile {}", glyphs.seconds(wall.p50), glyphs.seconds(wall.p95))
    });
    let about = if tasks.count_estimated { "about " } else { "" };
    let failed =
        if tasks.failed > 0 { format!(", {} failed", glyphs.count(Some(tasks.failed))) } else { String::new() };
    let count = glyphs.count(Some(tasks.count));
    point("tasks", format!("{about}{count}{failed}{each}{}", queued.unwrap_or_default()))
}

fn payload(ipc: &Ipc, voice: &Voice) -> Option<Point> {
    let glyphs = voice.glyphs;
    if ipc.picklable == Some(false) {
        return Some(point("payload", "cannot be pickled".to_owned()));
    }
    ipc.argument_bytes.or(ipc.result_bytes)?;
    let source = match ipc.source {
        IpcSource::Measured => "",
        IpcSource::Declared => " (declared)",
        IpcSource::Estimated => " (from the files on its stdin and stdout)",
        IpcSource::UpperBound => " (at the most: all bytes that it read and wrote)",
        IpcSource::Partial => " (all bytes that it was seen to read and write; more may have followed)",
        IpcSource::Unknown => " (of unknown source)",
    };
    let cost = ipc.seconds_per_task.map_or_else(String::new, |cost| {
        let share = ipc.share_of_latency.map_or_else(String::new, |share| {
            format!(", {} of a task's time (limit {})", glyphs.share(share), glyphs.share(ipc.limit))
        });
        format!(": {} to move{share}", glyphs.seconds(cost))
    });
    let (inward, outward) = (glyphs.bytes(ipc.argument_bytes), glyphs.bytes(ipc.result_bytes));
    Some(point("payload", format!("{inward} in, {outward} out for each task{source}{cost}")))
}
