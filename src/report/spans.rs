//! A run as OTLP spans: one `TracesData`. Of a profile its sampled tasks, of a gate its stages with theirs. Each task has a
//! span with its time in the queue and its time at work inside, whichever process each part was in. Ids hang on the report
//! alone, so that it renders to the same bytes, and is the same trace however often it is sent. Must not send anything.

use super::check::{Check, Outcome, StageOutcome, StageResult};
use super::metrics::subject::{StageSubject, Subject};
use super::metrics::{OUTCOME, PIPELINE, POOL, STAGE, outcome};
use super::otlp::{attribute, nanoseconds, resource};
use super::{Document, Origin, Report, SampledTask, Stage, instant};
use serde_json::{Value as Json, json};

/// A span inside the program.
const INTERNAL: u8 = 1;
const STATUS_OK: u8 = 1;
const STATUS_ERROR: u8 = 2;

/// What a span is known by.
pub(super) struct SpanName {
    pub(super) trace: String,
    pub(super) span: String,
}

/// The span of the whole run, which is the first.
pub(super) fn root(traces: &Json) -> Option<SpanName> {
    let first = traces.pointer("/resourceSpans/0/scopeSpans/0/spans/0")?;
    let text = |key: &str| Some(first.get(key)?.as_str()?.to_owned());
    Some(SpanName { trace: text("traceId")?, span: text("spanId")? })
}

/// The spans of a document; `None` where there are none, or where nothing tells when they were.
pub(super) fn traces_data(document: Document<'_>, origin: &Origin) -> Option<Json> {
    let subject = Subject::new(document, origin.pipeline.as_deref());
    let (version, spans) = match document {
        Document::Profile(report) => (&report.poolpick.version, of_profile(report, &subject)?),
        Document::Check(check) => (&check.poolpick.version, of_check(check, &subject)?),
    };
    Some(json!({"resourceSpans": [{
        "resource": {"attributes": resource(origin)},
        "scopeSpans": [{"scope": {"name": "poolpick", "version": version}, "spans": spans}],
    }]}))
}

fn of_profile(report: &Report, subject: &Subject<'_>) -> Option<Vec<Json>> {
    let target = &report.target;
    let started = instant::unix_seconds(&target.started_at)?;
    let trace = Trace::new(&target.started_at, &target.argv.join("\0"), target.wall_seconds);
    let named = report.stages.iter().zip(&subject.stages);
    let within = (trace.root, started);
    let tasks: Vec<Json> = named.flat_map(|(stage, named)| trace.of_stage(stage, named.name(), within)).collect();
    if tasks.is_empty() {
        return None;
    }
    let failed = target.exit_code != Some(0) || target.timed_out;
    let end = started + target.wall_seconds + target.stopped_seconds;
    Some(trace.with_root(subject, (started, end), failed, tasks))
}

/// The stages that were run, each from the start of its first run to the end of its last; the tasks are of the last.
fn of_check(check: &Check, subject: &Subject<'_>) -> Option<Vec<Json>> {
    let started = instant::unix_seconds(&check.started_at)?;
    let trace = Trace::new(&check.started_at, check.manifest.as_deref().unwrap_or(""), check.wall_seconds);
    let mut whole = (started, started + check.wall_seconds);
    let mut spans = Vec::new();
    for (number, (result, named)) in check.results.iter().zip(&subject.stages).enumerate() {
        let at = |text: &Option<String>| instant::unix_seconds(text.as_ref()?);
        let (Some(first), Some(end)) = (at(&result.started_at), at(&result.ended_at)) else { continue };
        // Saved reports are of other times than the first of them.
        whole = (whole.0.min(first), whole.1.max(end));
        let own = trace.span_id("stage", number as u64);
        spans.push(trace.of_result(result, named, own, (first, end)));
        if let (Some(stage), Some(last)) = (named.measured(), at(&result.last_run_at)) {
            spans.extend(trace.of_stage(stage, named.name(), (own, last)));
        }
    }
    (!spans.is_empty()).then(|| trace.with_root(subject, whole, check.outcome != Outcome::Pass, spans))
}

/// A trace, and what makes its ids.
struct Trace<'a> {
    started_at: &'a str,
    id: String,
    root: u64,
}

impl<'a> Trace<'a> {
    /// Of a run: when it started, what ran, and how long.
    fn new(started_at: &'a str, what: &str, wall_seconds: f64) -> Trace<'a> {
        let wall = wall_seconds.to_le_bytes();
        let half = |salt| fnv(&[started_at.as_bytes(), what.as_bytes(), &wall], salt).max(1);
        let trace = Trace { started_at, id: format!("{:016x}{:016x}", half(0), half(1)), root: 0 };
        Trace { root: trace.span_id("run", 0), ..trace }
    }

    /// The span of the whole run, and those below it.
    fn with_root(&self, subject: &Subject<'_>, whole: (f64, f64), failed: bool, spans: Vec<Json>) -> Vec<Json> {
        let mut run = self.span(self.root, None, &subject.pipeline, whole);
        run["attributes"] = json!([attribute(PIPELINE, &subject.pipeline)]);
        run["status"] = status(failed);
        std::iter::once(run).chain(spans).collect()
    }

    fn of_result(&self, result: &StageResult, named: &StageSubject<'_>, own: u64, whole: (f64, f64)) -> Json {
        let mut span = self.span(own, Some(self.root), named.name(), whole);
        let mut attributes = vec![attribute(STAGE, named.name()), attribute(OUTCOME, outcome(result.outcome))];
        attributes.extend(result.executor.map(|executor| attribute(POOL, executor.word())));
        attributes.push(number_attribute("poolpick.runs", result.runs));
        span["attributes"] = json!(attributes);
        span["status"] = status(result.outcome == StageOutcome::Failed);
        span
    }

    /// The tasks of a stage, below this span and from this instant on.
    fn of_stage(&self, stage: &Stage, name: &str, within: (u64, f64)) -> Vec<Json> {
        let sampled = stage.tasks.as_ref().map_or(&[][..], |tasks| &tasks.sampled);
        let numbered = sampled.iter().enumerate();
        numbered.flat_map(|(number, task)| self.of_task(stage, name, (task, number as u64), within)).collect()
    }

    /// The task, its time in the queue where that is known, and its time at work.
    fn of_task(
        &self,
        stage: &Stage,
        name: &str,
        (task, number): (&SampledTask, u64),
        (parent, started): (u64, f64),
    ) -> Vec<Json> {
        let began = started + task.start_seconds;
        let (submitted, ended) = (began - task.queue_seconds.unwrap_or(0.0), began + task.wall_seconds);
        let id = |part: &str| self.span_id(&format!("{part}:{}", stage.id), number);
        let own = id("task");
        let mut whole = self.span(own, Some(parent), name, (submitted, ended));
        let executor = stage.runs_as.map_or("", |runs| runs.executor.word());
        let mut attributes = vec![attribute(STAGE, name), attribute(POOL, executor)];
        attributes.push(number_attribute("process.pid", task.process_id));
        attributes.extend(task.thread_id.map(|thread| number_attribute("thread.id", thread)));
        whole["attributes"] = json!(attributes);
        whole["status"] = status(task.failed);
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
        fnv(&[self.started_at.as_bytes(), what.as_bytes(), &number.to_le_bytes()], 2).max(1)
    }
}

fn status(failed: bool) -> Json {
    json!({"code": if failed { STATUS_ERROR } else { STATUS_OK }})
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
