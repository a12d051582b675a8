//! The formats for programs, each read back by a reader that is not poolpick's: whatever a document holds, they say what
//! it says, and nothing in it becomes syntax.

#[path = "goldens/checks.rs"]
mod checks;
mod readers;
#[path = "goldens/samples.rs"]
mod samples;

use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{MetricsData, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use poolpick::report::check::{Check, Level, StageOutcome};
use poolpick::report::findings::findings;
use poolpick::report::metrics::{TABLE, underscored};
use poolpick::report::{Document, Format, Look, Origin, Report, SampledTask, escape, render_of, schema};
use proptest::prelude::*;
use readers::metrics::{Dialect, Family};
use readers::{github, metrics, xml};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// Keys whose text is free, in a profile and in a gate's result.
const FREE: [&str; 18] = [
    "name",
    "id",
    "argv",
    "notes",
    "code",
    "text",
    "verdict_reason",
    "kernel",
    "started_at",
    "version",
    "stage",
    "message",
    "file",
    "fix",
    "manifest",
    "output",
    "program",
    "stage_id",
];

fn rendered(document: Document<'_>, pipeline: &str, format: Format) -> String {
    let origin = Origin { pipeline: Some(pipeline.to_owned()), ..Origin::default() };
    let mut out = Vec::new();
    render_of(document, &origin, format, Look::PLAIN, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("UTF-8")
}

/// Puts strings, in turn, wherever the text is free.
fn with_strings(value: &mut Value, key: &str, strings: &mut dyn Iterator<Item = &String>) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| with_strings(value, key, strings)),
        Value::Array(items) => items.iter_mut().for_each(|item| with_strings(item, key, strings)),
        Value::String(text) if FREE.contains(&key) => text.clone_from(strings.next().expect("they repeat")),
        _ => {}
    }
}

fn visible(text: &str) -> String {
    escape::terminal(text).into_owned()
}

fn no_controls(text: &str) {
    let control = text.chars().find(|&letter| letter.is_control() && letter != '\n');
    assert_eq!(control, None, "{text:?}");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Every format of a document, each against its reader.
fn check_all(document: Document<'_>, pipeline: &str) {
    let prometheus = metrics::read(&rendered(document, pipeline, Format::Prometheus), Dialect::Prometheus);
    let prometheus = prometheus.unwrap_or_else(|error| panic!("prometheus: {error}"));
    let open = metrics::read(&rendered(document, pipeline, Format::Openmetrics), Dialect::OpenMetrics);
    let open = open.unwrap_or_else(|error| panic!("openmetrics: {error}"));
    assert_eq!(series(&prometheus), series(&open));
    assert!(series(&prometheus).iter().all(|(_, labels, _)| labels["poolpick_pipeline_name"] == visible(pipeline)));
    for stage in stages(document) {
        let told = |(_, labels, _): &(String, BTreeMap<String, String>, u64)| {
            labels.get("poolpick_stage_name").is_some_and(|name| name.starts_with(&visible(stage)))
        };
        assert!(series(&prometheus).iter().any(told), "{stage:?} has no series");
    }
    assert_eq!(series(&prometheus), otlp(&rendered(document, pipeline, Format::Otlp)));
    junit(document, pipeline);
    annotations(document);
    gitlab(document, pipeline);
    sarif(document, pipeline);
    lines(document);
    html(document);
}

/// Elements of the page, read as XML, which is stricter than a browser; and the JSON in it.
fn html(document: Document<'_>) -> Vec<String> {
    let text = rendered(document, "p", Format::Html);
    no_controls(&text);
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let page =
        roxmltree::Document::parse_with_options(&text, options).unwrap_or_else(|error| panic!("{error}: {text}"));
    let elements: Vec<_> = page.descendants().filter(|node| node.is_element()).collect();
    let scripts: Vec<_> = elements.iter().filter(|element| element.has_tag_name("script")).collect();
    let [data] = scripts.as_slice() else { panic!("one script, which is data") };
    assert_eq!(data.attribute("type"), Some("application/json"));
    let whole = match document {
        Document::Profile(report) => serde_json::to_value(report),
        Document::Check(check) => serde_json::to_value(check),
    };
    assert_eq!(json(data.text().expect("JSON")), whole.expect("JSON"));
    for element in &elements {
        let active =
            |name: &str| name.starts_with("on") || matches!(name, "href" | "src" | "style" | "action" | "srcdoc");
        assert!(!element.attributes().any(|attribute| active(attribute.name())), "{element:?}");
    }
    // A shape that cannot be drawn would be told by its number.
    for number in
        elements.iter().flat_map(|element| ["x", "y", "width", "height"].map(|name| element.attribute(name))).flatten()
    {
        assert!(number.parse::<f64>().is_ok_and(|number| number >= 0.0 && number.is_finite()), "{number}");
    }
    // Reasons that are the same are told once: how many items a list has may hang on the words.
    let names = elements.iter().map(|element| element.tag_name().name().to_owned());
    names.filter(|name| name != "li").collect()
}

/// The names of the stages that a document tells of.
fn stages(document: Document<'_>) -> Vec<&str> {
    match document {
        Document::Profile(report) => report.stages.iter().map(|stage| stage.name.as_str()).collect(),
        Document::Check(check) => check.results.iter().map(|result| result.name.as_str()).collect(),
    }
}

/// Name, labels and the bits of the value.
type Series = BTreeSet<(String, BTreeMap<String, String>, u64)>;

fn series(families: &BTreeMap<String, Family>) -> Series {
    let samples = families.values().flat_map(|family| family.samples.iter());
    samples.map(|(name, labels, value)| (name.clone(), labels.clone(), value.to_bits())).collect()
}

/// What OpenTelemetry's own types make of it, under the names that the standard translation gives.
fn otlp(text: &str) -> Series {
    let mut lines = text.split_terminator('\n');
    let data: MetricsData = serde_json::from_str(lines.next().expect("metrics")).expect("OTLP");
    if let Some(traces) = lines.next() {
        spans(traces);
    }
    assert_eq!(lines.next(), None);
    let [resource] = data.resource_metrics.as_slice() else { panic!("one resource") };
    let attributes = &resource.resource.as_ref().expect("a resource").attributes;
    assert!(attributes.iter().any(|attribute| attribute.key == "service.name"));
    let mut found = Series::new();
    for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
        let suffix = match metric.unit.as_str() {
            "s" => "_seconds",
            "By" => "_bytes",
            "By/s" => "_bytes_per_second",
            "1" => "_ratio",
            annotation => {
                assert!(annotation.is_empty() || annotation.starts_with('{'), "{annotation}");
                ""
            }
        };
        let Some(metric::Data::Gauge(gauge)) = &metric.data else { panic!("no gauge") };
        assert!(!gauge.data_points.is_empty() && !metric.description.is_empty());
        for point in &gauge.data_points {
            let labels = point.attributes.iter().map(|attribute| {
                let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
                let Some(any_value::Value::StringValue(text)) = value else { panic!("no text") };
                (attribute.key.replace('.', "_"), text.clone())
            });
            let value = match point.value.as_ref().expect("a value") {
                number_data_point::Value::AsInt(count) => *count as f64,
                number_data_point::Value::AsDouble(real) => *real,
            };
            let name = format!("{}{suffix}", metric.name.replace('.', "_"));
            assert!(found.insert((name, labels.collect(), value.to_bits())), "a point twice");
        }
    }
    found
}

/// What OpenTelemetry's own types make of the spans: how many there are of stages and sampled tasks.
fn spans(text: &str) -> usize {
    let data: TracesData = serde_json::from_str(text).expect("OTLP");
    let [resource] = data.resource_spans.as_slice() else { panic!("one resource") };
    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let by_id: BTreeMap<&[u8], _> = spans.iter().map(|span| (span.span_id.as_slice(), *span)).collect();
    assert_eq!(by_id.len(), spans.len(), "no id twice");
    let mut tasks = 0;
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert_eq!(span.trace_id, spans[0].trace_id);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano && span.start_time_unix_nano > 0);
        no_controls(&span.name);
        let Some(parent) = by_id.get(span.parent_span_id.as_slice()) else {
            assert!(span.parent_span_id.is_empty(), "a parent that is not there");
            continue;
        };
        if matches!(span.name.as_str(), "queued" | "executing") && !parent.parent_span_id.is_empty() {
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(parent.end_time_unix_nano >= span.end_time_unix_nano);
        } else {
            assert!(span.attributes.iter().any(|attribute| attribute.key == "poolpick.stage.name"));
            assert!(span.status.as_ref().is_some_and(|status| status.code > 0), "done or failed");
            tasks += 1;
        }
    }
    tasks
}

#[test]
fn sampled_tasks_are_spans_from_the_queue_to_the_end() {
    let (_, mut report) = samples::all().remove(3);
    assert!(!rendered(Document::Profile(&report), "etl", Format::Otlp).contains("resourceSpans"));
    let stage = report.stages.iter_mut().find(|stage| stage.tasks.is_some()).expect("one has tasks");
    let task = SampledTask {
        start_seconds: 0.5,
        queue_seconds: Some(0.25),
        wall_seconds: 0.125,
        failed: true,
        process_id: 41,
        thread_id: Some(42),
    };
    let other = SampledTask { queue_seconds: None, failed: false, thread_id: None, ..task };
    stage.tasks.as_mut().expect("it has").sampled = vec![task, other];
    let text = rendered(Document::Profile(&report), "etl", Format::Otlp);
    let line = text.lines().nth(1).expect("a second line");
    assert_eq!(spans(line), 2);
    let spans = json(line)["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    // The run, a task with queue and work, a task with work alone.
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().expect("a name")).collect();
    assert_eq!((names[0], names[2], names[3], names[5]), ("etl", "queued", "executing", "executing"));
    let nanos = |span: &Value, key: &str| span[key].as_str().expect("text").parse::<u64>().expect("a number");
    let start = nanos(&spans[0], "startTimeUnixNano");
    assert_eq!(nanos(&spans[1], "startTimeUnixNano") - start, 250_000_000);
    assert_eq!(nanos(&spans[3], "startTimeUnixNano") - start, 500_000_000);
    assert_eq!(nanos(&spans[1], "endTimeUnixNano") - start, 625_000_000);
    assert_eq!((&spans[1]["status"]["code"], &spans[4]["status"]["code"]), (&Value::from(2), &Value::from(1)));
    assert_eq!(text, rendered(Document::Profile(&report), "etl", Format::Otlp));
}

#[test]
fn stages_of_a_gate_are_spans_with_the_tasks_of_their_last_run() {
    let (_, mut check) = checks::all().into_iter().find(|(name, _)| *name == "check").expect("it is there");
    let id = check.results[0].stage_id.clone().expect("the first was measured");
    let stage = check.stages.iter_mut().find(|stage| stage.id == id).expect("it is there");
    let task = SampledTask {
        start_seconds: 0.5,
        queue_seconds: Some(0.25),
        wall_seconds: 0.125,
        failed: false,
        process_id: 41,
        thread_id: None,
    };
    stage.tasks.as_mut().expect("it has").sampled = vec![task];
    let text = rendered(Document::Check(&check), "etl", Format::Otlp);
    let line = text.lines().nth(1).expect("a second line");
    // Of six results two were run at a time that is told; the first has a task.
    assert_eq!(spans(line), 3);
    let spans = json(line)["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["etl", "pipeline.fetch", "pipeline.fetch", "queued", "executing", "broken"]);
    let parents: Vec<&Value> = spans.iter().map(|span| &span["parentSpanId"]).collect();
    let (root, stage, task) = (&spans[0]["spanId"], &spans[1]["spanId"], &spans[2]["spanId"]);
    assert_eq!(parents, [&Value::from(""), root, stage, task, task, root]);
    let nanos = |span: &Value, key: &str| span[key].as_str().expect("text").parse::<u64>().expect("a number");
    let start = nanos(&spans[0], "startTimeUnixNano");
    assert_eq!(nanos(&spans[0], "endTimeUnixNano") - start, 17_500_000_000);
    assert_eq!(nanos(&spans[1], "startTimeUnixNano"), start);
    assert_eq!(nanos(&spans[1], "endTimeUnixNano") - start, 6_625_000_000);
    // Four and a half seconds later the last run starts, and half a second later the task.
    assert_eq!(nanos(&spans[4], "startTimeUnixNano") - start, 5_000_000_000);
    let codes: Vec<&Value> = [0, 1, 5].iter().map(|&index| &spans[index]["status"]["code"]).collect();
    assert_eq!(codes, [&Value::from(2), &Value::from(1), &Value::from(2)]);
    // The run's duration leads to the trace.
    let metrics =
        json(text.lines().next().expect("a line"))["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].clone();
    let metrics = metrics.as_array().expect("metrics");
    let named = metrics.iter().find(|metric| metric["name"] == "poolpick.run.duration").expect("it is there");
    let exemplar = &named["gauge"]["dataPoints"][0]["exemplars"][0];
    assert_eq!((&exemplar["traceId"], &exemplar["spanId"]), (&spans[0]["traceId"], &spans[0]["spanId"]));
    let exemplars = metrics.iter().filter(|metric| metric.to_string().contains("exemplars"));
    assert_eq!(exemplars.count(), 1);
    // The same trace, whenever it is rendered again from what was saved.
    let saved = serde_json::from_value(serde_json::to_value(&check).expect("JSON")).expect("a result");
    assert_eq!(text, rendered(Document::Check(&saved), "etl", Format::Otlp));
}

fn junit(document: Document<'_>, pipeline: &str) {
    let text = rendered(document, pipeline, Format::Junit);
    no_controls(&text);
    let cases = xml::read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(cases.iter().all(|case| case.class == format!("poolpick.{}", visible(pipeline))));
    for case in cases.iter().filter(|case| matches!(case.status.as_deref(), Some("failure" | "error"))) {
        let (kind, message) = (case.kind.as_ref().expect("a type"), case.message.as_ref().expect("a message"));
        assert_eq!(case.text.as_deref().map(trimmed), Some(trimmed(&format!("{kind}: {message}"))));
    }
    for stage in stages(document) {
        let named = cases.iter().any(|case| case.name.starts_with(&visible(stage)));
        assert!(named, "{stage:?} is no case of {text}");
    }
    if let Document::Check(check) = document {
        let failed = check.results.iter().filter(|result| result.outcome == StageOutcome::Failed).count();
        let errors = cases.iter().filter(|case| case.status.as_deref() == Some("error")).count();
        assert!(errors >= failed && cases.len() >= check.results.len());
    }
}

fn trimmed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn annotations(document: Document<'_>) {
    let text = rendered(document, "p", Format::Github);
    no_controls(&text);
    let commands = github::read(&text).expect("commands");
    for (level, name) in [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "notice")] {
        let findings = findings(document);
        let of_level = findings.iter().filter(|finding| finding.level == level).count();
        let named: Vec<_> = commands.iter().filter(|command| command.name == name).collect();
        assert_eq!(named.len(), of_level.min(10));
        if of_level > 10 {
            assert!(named[9].data.contains(&format!("and {} more", of_level - 9)));
            continue;
        }
        for (command, finding) in named.iter().zip(findings.iter().filter(|finding| finding.level == level)) {
            assert!(command.data.contains(&visible(&finding.message)), "{command:?} {finding:?}");
            assert_eq!(command.properties["title"], format!("poolpick: {}", visible(&finding.code)));
            let directory = match document {
                Document::Check(check) => {
                    check.directory.as_deref().map_or_else(String::new, |below| format!("{below}/"))
                }
                Document::Profile(_) => String::new(),
            };
            // A name alone lies in the directory that poolpick ran in.
            let name = finding.file.as_deref().filter(|file| !file.contains('/') && !["", ".", ".."].contains(file));
            let file = command.properties.get("file").cloned();
            match name {
                Some(name) => assert_eq!(file, Some(visible(&format!("{directory}{name}")))),
                None => assert!(finding.file.is_some() || file.is_none()),
            }
        }
    }
}

fn gitlab(document: Document<'_>, pipeline: &str) {
    let issues = json(&rendered(document, pipeline, Format::Gitlab));
    let issues = issues.as_array().expect("an array");
    assert_eq!(issues.len(), findings(document).len());
    let mut fingerprints = BTreeSet::new();
    for (issue, finding) in issues.iter().zip(findings(document).iter()) {
        assert!(issue["description"].as_str().is_some_and(|text| text.contains(&visible(&finding.message))));
        assert!(["info", "minor", "major", "critical", "blocker"].contains(&issue["severity"].as_str().expect("one")));
        assert!(issue["location"]["lines"]["begin"].as_u64().is_some_and(|line| line > 0 || finding.line == Some(0)));
        let path = issue["location"]["path"].as_str().expect("a path");
        assert!(!path.is_empty() && !path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
        assert!(fingerprints.insert(issue["fingerprint"].as_str().expect("one").to_owned()), "a fingerprint twice");
    }
}

/// What the standard requires of the parts that are written: its sections on logs, runs, results and locations.
fn sarif(document: Document<'_>, pipeline: &str) {
    let log = json(&rendered(document, pipeline, Format::Sarif));
    assert_eq!(log["version"], "2.1.0");
    let [run] = log["runs"].as_array().expect("runs").as_slice() else { panic!("one run") };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "poolpick");
    assert!(driver["version"].as_str().is_some_and(|version| !version.is_empty()));
    let rules: Vec<&str> =
        driver["rules"].as_array().expect("rules").iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(rules.iter().collect::<BTreeSet<_>>().len(), rules.len());
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), findings(document).len());
    for (result, finding) in results.iter().zip(findings(document).iter()) {
        assert!(rules.contains(&result["ruleId"].as_str().expect("a rule")));
        assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().expect("a level")));
        assert!(result["message"]["text"].as_str().is_some_and(|text| text.contains(&visible(&finding.message))));
        for location in result["locations"].as_array().into_iter().flatten() {
            let Some(place) = location.get("physicalLocation") else { continue };
            let uri = place["artifactLocation"]["uri"].as_str().expect("a URI");
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
            assert!(!uri.is_empty() && !uri.starts_with('/') && uri.bytes().all(allowed), "{uri}");
            assert!(place["region"]["startLine"].as_u64().is_some_and(|line| line > 0));
        }
    }
}

fn lines(document: Document<'_>) {
    let text = rendered(document, "p", Format::Jsonl);
    let lines: Vec<Value> = text.split_terminator('\n').map(json).collect();
    assert!(text.split_terminator('\n').all(|line| line.starts_with("{\"event\":\"")));
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).cloned().collect::<Vec<_>>();
    assert_eq!((of("run").len(), of("summary").len()), (1, 1));
    assert_eq!((lines[0]["event"].as_str(), lines[lines.len() - 1]["event"].as_str()), (Some("run"), Some("summary")));
    let (stages, results) = match document {
        Document::Profile(report) => (serde_json::to_value(&report.stages), Ok(Value::Array(Vec::new()))),
        Document::Check(check) => (serde_json::to_value(&check.stages), serde_json::to_value(&check.results)),
    };
    let findings = serde_json::to_value(findings(document)).expect("JSON");
    for (event, whole) in [("stage", stages.expect("JSON")), ("result", results.expect("JSON")), ("finding", findings)]
    {
        let mut told = of(event);
        for line in &mut told {
            line.as_object_mut().expect("an object").remove("event");
        }
        assert_eq!(Value::Array(told), whole, "{event}");
    }
}

#[test]
fn samples_are_read_back() {
    for (_, report) in samples::all() {
        check_all((&report).into(), "nightly");
    }
    for (_, check) in checks::all() {
        check_all((&check).into(), "nightly");
    }
}

#[test]
fn lines_satisfy_their_schema() {
    let validator = jsonschema::draft202012::new(&schema::event_schema()).expect("a valid schema");
    let validate = |document: Document<'_>| {
        for line in rendered(document, "p", Format::Jsonl).lines() {
            let errors: Vec<String> = validator.iter_errors(&json(line)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}: {line}");
        }
    };
    samples::all().iter().for_each(|(_, report)| validate(report.into()));
    checks::all().iter().for_each(|(_, check)| validate(check.into()));
    assert!(!validator.is_valid(&serde_json::json!({"event": "summary"})));
}

#[test]
fn what_is_unknown_has_no_series_and_nothing_is_nan() {
    let mut report = samples::all().remove(0).1;
    report.stages[0].score = None;
    report.stages[0].time.wall_seconds = Some(f64::NAN);
    report.target.wall_seconds = f64::INFINITY;
    let text = rendered((&report).into(), "p", Format::Prometheus);
    let families = metrics::read(&text, Dialect::Prometheus).expect("readable");
    for absent in ["poolpick_stage_score_ratio", "poolpick_stage_duration_seconds", "poolpick_run_duration_seconds"] {
        assert!(!families.contains_key(absent), "{absent}");
    }
    assert!(families.contains_key("poolpick_stage_cpu_time_seconds"));
}

#[test]
fn more_annotations_than_github_shows_are_counted() {
    let mut check = checks::all().remove(0).1;
    check.findings = vec![check.findings[0].clone(); 25];
    let text = rendered((&check).into(), "p", Format::Github);
    assert_eq!(text.lines().count(), 10);
    assert!(text.ends_with("and 16 more, in the report\n"), "{text}");
}

/// Conventions of Prometheus that its own linter checks.
#[test]
fn names_of_metrics_are_good_names() {
    let mut seen = BTreeSet::new();
    for metric in &TABLE {
        let name = metric.prometheus_name();
        assert!(name.starts_with("poolpick_") && seen.insert(name.clone()), "{name}");
        for bad in ["_total", "_count", "_sum", "_bucket", "_created", "_gauge", "_ms", "_kb"] {
            assert!(!name.ends_with(bad), "{name}");
        }
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\\', '\n', '"']), "{name}");
        assert_eq!(underscored(metric.name), metric.name.replace('.', "_"));
    }
}

/// A profile in which everything is known.
fn full() -> Report {
    let mut report = samples::all().into_iter().find(|(name, _)| *name == "misrouted").expect("it is there").1;
    let stage = &mut report.stages[0];
    stage.declared_executor = Some(poolpick::report::Executor::Process);
    stage.memory.rss_peak_bytes = Some(1 << 30);
    stage.memory.growth_bytes_per_second = Some(1e6);
    stage.io.storage_read_bytes = Some(5);
    stage.io.storage_written_bytes = Some(7);
    report
}

#[test]
fn the_page_tells_every_metric_with_its_labels() {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (profile, check) = (full(), checks::all().remove(0).1);
    for document in [Document::Profile(&profile), Document::Check(&check)] {
        let text = rendered(document, "p", Format::Prometheus);
        for family in metrics::read(&text, Dialect::Prometheus).expect("readable").values() {
            for (name, found, _) in &family.samples {
                let own = found.keys().filter(|label| !label.ends_with("_name")).cloned();
                labels.entry(name.clone()).or_default().extend(own);
            }
        }
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formats.md")).expect("a page");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `poolpick_")).collect();
    let rows: Vec<String> = TABLE
        .iter()
        .map(|metric| {
            let name = metric.prometheus_name();
            let labels = labels.get(&name).unwrap_or_else(|| panic!("{name} is in no sample"));
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {} | {} |", labels.join(" "), metric.help)
        })
        .collect();
    assert!(told == rows, "docs/formats.md has other metrics; they are:\n{}", rows.join("\n"));
}

/// The Python client's own parser of OpenMetrics, where it is installed: written by those who wrote the format.
#[test]
fn the_python_client_reads_openmetrics() {
    const READ: &str = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                        print(sum(len(family.samples) for family in read(sys.stdin.buffer.read().decode())))";
    let python = std::env::var_os("POOLPICK_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let there = Command::new(&python).args(["-c", "import prometheus_client.openmetrics"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: {} has no prometheus_client; hint: POOLPICK_TEST_PYTHON names one that has",
            python.display()
        );
        return;
    }
    for (_, check) in checks::all() {
        let text = rendered((&check).into(), "p", Format::Openmetrics);
        let mut child = Command::new(&python)
            .args(["-c", READ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), samples.to_string(), "{output:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_document_holds(
        strings in proptest::collection::vec(
            prop_oneof![
                any::<String>(),
                "[:,%\"'<>&|`$;\\\\\n\r\t{}=# a-z]{0,24}",
                Just("</script>|`$(x)`\"\n::error::%0A".to_owned()),
                Just("../../etc/passwd".to_owned()),
                Just("]]>\u{0}\u{1b}[2J\u{fffe}\u{2028}".to_owned()),
            ],
            1..12,
        ),
        pipeline in any::<String>(),
    ) {
        let mut repeated = strings.iter().cycle();
        for (_, report) in samples::all() {
            let mut json = serde_json::to_value(&report).expect("JSON");
            with_strings(&mut json, "", &mut repeated);
            let hostile: Report = serde_json::from_value(json).expect("of the same shape");
            check_all((&hostile).into(), &pipeline);
            prop_assert_eq!(html((&hostile).into()), html((&report).into()), "an element of its own");
        }
        for (_, check) in checks::all() {
            let mut json = serde_json::to_value(&check).expect("JSON");
            with_strings(&mut json, "", &mut repeated);
            let hostile: Check = serde_json::from_value(json).expect("of the same shape");
            check_all((&hostile).into(), &pipeline);
            prop_assert_eq!(html((&hostile).into()), html((&check).into()), "an element of its own");
        }
    }
}
