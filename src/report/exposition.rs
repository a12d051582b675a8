//! Metrics as text: Prometheus's own format 0.0.4, which node_exporter's textfile collector reads, and OpenMetrics 1.0.
//! Must not write a time stamp: the textfile collector refuses a file that has one.

use super::metrics::subject::Subject;
use super::metrics::{Attribute, Kind, Metric, TABLE, Value, underscored};
use super::{Document, Origin};
use std::io::{self, Write};

/// Writes Prometheus text 0.0.4: all are gauges, since a collector refuses a type that it does not know.
///
/// # Errors
/// Only those of `out`.
pub(super) fn prometheus(document: Document<'_>, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let subject = Subject::new(document, origin.pipeline.as_deref());
    for metric in &TABLE {
        let samples = metric.samples(&subject);
        if samples.is_empty() {
            continue;
        }
        let name = metric.prometheus_name();
        writeln!(out, "# HELP {name} {}", metric.help)?;
        writeln!(out, "# TYPE {name} gauge")?;
        for sample in samples {
            writeln!(out, "{name}{} {}", labels(&sample.attributes), number(sample.value))?;
        }
    }
    Ok(())
}

/// Writes OpenMetrics 1.0.
///
/// # Errors
/// Only those of `out`.
pub(super) fn openmetrics(document: Document<'_>, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let subject = Subject::new(document, origin.pipeline.as_deref());
    for metric in &TABLE {
        let samples = metric.samples(&subject);
        if samples.is_empty() {
            continue;
        }
        let name = metric.prometheus_name();
        let family = family(metric, &name);
        writeln!(out, "# TYPE {family} {}", type_of(metric.kind))?;
        if let Some(unit) = metric.prometheus_unit() {
            writeln!(out, "# UNIT {family} {unit}")?;
        }
        writeln!(out, "# HELP {family} {}", metric.help)?;
        for sample in samples {
            writeln!(out, "{name}{} {}", labels(&sample.attributes), number(sample.value))?;
        }
    }
    writeln!(out, "# EOF")
}

/// The name of the family: an info's samples carry a suffix that the family does not.
fn family<'a>(metric: &Metric, name: &'a str) -> &'a str {
    match metric.kind {
        Kind::Info => name.strip_suffix("_info").unwrap_or(name),
        Kind::Gauge | Kind::StateSet => name,
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "gauge",
        Kind::Info => "info",
        Kind::StateSet => "stateset",
    }
}

fn labels(attributes: &[Attribute]) -> String {
    let labels: Vec<String> =
        attributes.iter().map(|(name, text)| format!("{}=\"{}\"", underscored(name), escaped(text))).collect();
    format!("{{{}}}", labels.join(","))
}

/// The same in both formats. Control characters were made visible before.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Both formats read what Go reads; a real number always has a point or an exponent.
fn number(value: Value) -> String {
    match value {
        Value::Count(count) => count.to_string(),
        Value::Real(real) => format!("{real:?}"),
    }
}
