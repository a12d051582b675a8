//! Sampled tasks as OTLP spans: one `TracesData`. Each task has a span with its time in the queue and its time at work
//! inside, whichever process each part was in. Ids hang on the report alone, so that it renders to the same bytes. Must not
//! send anything.

use super::metrics::subject::Subject;
use super::metrics::{PIPELINE, POOL, STAGE};
use super::otlp::{attribute, nanoseconds, resource};
use super::{Document, Origin, Report, SampledTask, Stage, instant};
use serde_json::{Value as Json, json};

/// A span inside the program.
const INTERNAL: u8 = 1;
const STATUS_OK: u8 = 1;
const STATUS_ERROR: u8 = 2;

/// The sampled tasks of a profile; `None` where there are none, or where nothing tells when they were.
pub(super) fn traces_data(report: &Report, origin: &Origin) -> Option<Json> {
    let started = instant::unix_seconds(&report.target.started_at)?;
    let subject = Subject::new(Document::Profile(report), origin.pipeline.as_deref());
    let target = &report.target;
    let end = started + target.wall_seconds + target.stopped_seconds;
    let trace = Trace { report, started, id: trace_id(report), root: 0 };
    let trace = Trace { root: trace.span_id("run", 0), ..trace };
    let named = report.stages.iter().zip(&subject.stages);
    let tasks: Vec<Json> = named.flat_map(|(stage, named)| trace.of_stage(stage, named.name())).collect();
    if tasks.is_empty() {
        return None;
    }
    let failed = target.exit_code != Some(0) || target.timed_out;
    let mut run = trace.span(trace.root, None, &subject.pipeline, (started, end));
    run["attributes"] = json!([attribute(PIPELINE, &subject.pipeline)]);
    run["status"] = json!({"code": if failed { STATUS_ERROR } else { STATUS_OK }});
    let spans: Vec<Json> = std::iter::once(run).chain(tasks).collect();
    Some(json!({"resourceSpans": [{
        "resource": {"attributes": resource(origin)},
        "scopeSpans": [{"scope": {"name": "poolpick", "version": report.poolpick.version}, "spans": spans}],
    }]}))
}

struct Trace<'a> {
    report: &'a Report,
    /// Seconds since 1970.
    started: f64,
    id: String,
    root: u64,
}

impl Trace<'_> {
    fn of_stage(&self, stage: &Stage, name: &str) -> Vec<Json> {
        let sampled = stage.tasks.as_ref().map_or(&[][..], |tasks| &tasks.sampled);
        let numbered = sampled.iter().enumerate();
        numbered.flat_map(|(number, task)| self.of_task(stage, name, task, number as u64)).collect()
    }

    /// The task, its time in the queue where that is known, and its time at work.
    fn of_task(&self, stage: &Stage, name: &str, task: &SampledTask, number: u64) -> Vec<Json> {
        let began = self.started + task.start_seconds;
        let (submitted, ended) = (began - task.queue_seconds.unwrap_or(0.0), began + task.wall_seconds);
        let id = |part: &str| self.span_id(&format!("{part}:{}", stage.id), number);
        let own = id("task");
        let mut whole = self.span(own, Some(self.root), name, (submitted, ended));
        let executor = stage.runs_as.map_or("", |runs| runs.executor.word());
        let mut attributes = vec![attribute(STAGE, name), attribute(POOL, executor)];
        attributes.push(number_attribute("process.pid", task.process_id));
        attributes.extend(task.thread_id.map(|thread| number_attribute("thread.id", thread)));
        whole["attributes"] = json!(attributes);
        whole["status"] = json!({"code": if task.failed { STATUS_ERROR } else { STATUS_OK }});
        let mut spans = vec![whole];
        if task.queue_seconds.is_some() {
            spans.push(self.span(id("queued"), Some(own), "queued", (submitted, began)));
        }
        spans.push(self.span(id("executing"), Some(own), "executing", (began, ended)));
        spans
    }

    fn span(&self, id: u64, parent: Option<u64>, name: &str, (start, end): (f64, f64)) -> Json {
        let parent = parent.map_or_else(String::new, |parent| format!("{parent:016x}"));
        json!({
            "traceId": self.id, "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": name, "kind": INTERNAL,
            "startTimeUnixNano": nanoseconds(start).to_string(), "endTimeUnixNano": nanoseconds(end.max(start)).to_string(),
        })
    }

    fn span_id(&self, what: &str, number: u64) -> u64 {
        // An id of nought is none.
        fnv(&[self.report.target.started_at.as_bytes(), what.as_bytes(), &number.to_le_bytes()], 2).max(1)
    }
}

fn trace_id(report: &Report) -> String {
    let target = &report.target;
    let argv = target.argv.join("\0");
    let wall = target.wall_seconds.to_le_bytes();
    let half = |salt| fnv(&[target.started_at.as_bytes(), argv.as_bytes(), &wall], salt).max(1);
    format!("{:016x}{:016x}", half(0), half(1))
}

/// FNV-1a over the parts, each with its length: the same everywhere and always, which the standard library's hashes are not
/// said to be.
fn fnv(parts: &[&[u8]], salt: u8) -> u64 {
    let lengths = parts.iter().map(|part| (part.len() as u64).to_le_bytes());
    let bytes = lengths.zip(parts).flat_map(|(length, part)| length.into_iter().chain(part.iter().copied()));
    std::iter::once(salt)
        .chain(bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn number_attribute(name: &str, number: u32) -> Json {
    json!({"key": name, "value": {"intValue": number.to_string()}})
}
