//! OTLP/JSON: the metrics as one `MetricsData` on a line, and where there are spans these as one `TracesData` on a second.
//! A collector's file receiver reads either, and its HTTP receivers take each as a body. Must not send anything.

use super::metrics::subject::Subject;
use super::metrics::{Attribute, TABLE, Value};
use super::{Document, Origin, spans};
use serde_json::{Value as Json, json};
use std::io::{self, Write};

/// The metric that the trace of a run is an exemplar of.
const RUN_DURATION: &str = "poolpick.run.duration";
/// What the service is called where nobody named it.
const SERVICE: &str = "poolpick";

/// Writes the lines.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let traces = spans::traces_data(document, origin);
    let metrics = metrics_data(document, origin, traces.as_ref().and_then(spans::root));
    for line in std::iter::once(metrics).chain(traces) {
        super::json::line(&line, out)?;
    }
    Ok(())
}

/// `root`: the span of the whole run, which the run's duration names as its exemplar, so that one leads to the other.
fn metrics_data(document: Document<'_>, origin: &Origin, root: Option<spans::SpanName>) -> Json {
    let subject = Subject::new(document, origin.pipeline.as_deref());
    let version = match document {
        Document::Profile(report) => &report.poolpick.version,
        Document::Check(check) => &check.poolpick.version,
    };
    // 64-bit integers are strings in OTLP/JSON; 0 says that the time is not known.
    let at = subject.run.end_unix_seconds.map_or(0, nanoseconds).to_string();
    let metrics: Vec<Json> = TABLE
        .iter()
        .map(|metric| (metric, metric.samples(&subject)))
        .filter(|(_, samples)| !samples.is_empty())
        .map(|(metric, samples)| {
            let mut points: Vec<Json> =
                samples.iter().map(|sample| point(&sample.attributes, sample.value, &at)).collect();
            if let (RUN_DURATION, Some(root), Some(point)) = (metric.name, &root, points.first_mut()) {
                point["exemplars"] = json!([{
                    "timeUnixNano": at, "asDouble": point["asDouble"], "traceId": root.trace, "spanId": root.span,
                }]);
            }
            json!({"name": metric.name, "description": metric.help, "unit": metric.unit, "gauge": {"dataPoints": points}})
        })
        .collect();
    json!({"resourceMetrics": [{
        "resource": {"attributes": resource(origin)},
        "scopeMetrics": [{"scope": {"name": "poolpick", "version": version}, "metrics": metrics}],
    }]})
}

/// The service's name, then what the user says of where this runs.
pub(super) fn resource(origin: &Origin) -> Vec<Json> {
    let mut attributes = vec![("service.name", origin.service.as_deref().unwrap_or(SERVICE))];
    for (name, text) in &origin.attributes {
        if attributes.iter().all(|(known, _)| known != name) {
            attributes.push((name, text));
        }
    }
    attributes.into_iter().map(|(name, text)| attribute(name, text)).collect()
}

pub(super) fn attribute(name: &str, text: &str) -> Json {
    json!({"key": name, "value": {"stringValue": text}})
}

fn point(attributes: &[Attribute], value: Value, at: &str) -> Json {
    let attributes: Vec<Json> = attributes.iter().map(|(name, text)| attribute(name, text)).collect();
    match value {
        Value::Count(count) if i64::try_from(count).is_ok() => {
            json!({"attributes": attributes, "timeUnixNano": at, "asInt": count.to_string()})
        }
        Value::Count(count) => json!({"attributes": attributes, "timeUnixNano": at, "asDouble": count as f64}),
        Value::Real(real) => json!({"attributes": attributes, "timeUnixNano": at, "asDouble": real}),
    }
}

/// To the microsecond: a float of today's date carries no more.
pub(super) fn nanoseconds(seconds: f64) -> u64 {
    ((seconds.max(0.0) * 1e6).round() as u64).saturating_mul(1000)
}
