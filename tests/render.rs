//! Every renderer against stored pages that a person can read. `UPDATE_GOLDENS=1 cargo test --test render` rewrites
//! them; read the difference before you commit it.

#[path = "goldens/checks.rs"]
mod checks;
#[path = "goldens/samples.rs"]
mod samples;

use poolpick::report::{Document, Format, Look, Origin, Report, render, render_of, schema};
use std::path::{Path, PathBuf};

fn rendered(report: &Report, format: Format, look: Look) -> String {
    let mut out = Vec::new();
    render(report, format, look, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("UTF-8")
}

fn compare(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(path, actual).expect("golden can be written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(expected == actual, "{} differs; UPDATE_GOLDENS=1 rewrites it. Now:\n{actual}", path.display());
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

#[test]
fn tables() {
    for (name, report) in samples::all() {
        let mut pages = String::new();
        for width in [Some(60), Some(80), Some(120), None] {
            let title = width.map_or_else(|| "any width".to_owned(), |width| format!("{width} columns"));
            let page = rendered(&report, Format::Table, Look { width, ..Look::PLAIN });
            pages.push_str(&format!("=== {title} ===\n{page}"));
        }
        compare(&golden(&format!("{name}.txt")), &pages);
    }
}

#[test]
fn table_in_ascii() {
    let look = Look { width: Some(80), colour: false, ascii: true };
    let page = rendered(&samples::all()[3].1, Format::Table, look);
    assert!(page.is_ascii(), "{page}");
    compare(&golden("misrouted.ascii.txt"), &page);
}

#[test]
fn table_in_colour() {
    let look = Look { width: Some(80), colour: true, ascii: false };
    let page = rendered(&samples::all()[3].1, Format::Table, look);
    compare(&golden("misrouted.colour.txt"), &page.replace('\x1b', "\\x1b"));
}

#[test]
fn markdown() {
    for (name, report) in samples::all() {
        compare(&golden(&format!("{name}.md")), &rendered(&report, Format::Markdown, Look::PLAIN));
    }
}

#[test]
fn json_reads_back() {
    for (name, report) in samples::all() {
        let text = rendered(&report, Format::Json, Look::PLAIN);
        compare(&golden(&format!("{name}.json")), &text);
        let back: Report = serde_json::from_str(&text).expect("its own JSON");
        assert_eq!(back, report, "{name}");
    }
}

/// Formats besides JSON that one golden a document shows, with the ending of their goldens.
const MACHINES: [(Format, &str); 9] = [
    (Format::Html, "html"),
    (Format::Jsonl, "jsonl"),
    (Format::Prometheus, "prom"),
    (Format::Openmetrics, "om"),
    (Format::Otlp, "otlp.json"),
    (Format::Junit, "xml"),
    (Format::Github, "github"),
    (Format::Gitlab, "gitlab.json"),
    (Format::Sarif, "sarif"),
];

fn for_machines(name: &str, document: Document<'_>) {
    let origin = Origin { pipeline: Some("nightly".to_owned()), ..Origin::default() };
    for (format, ending) in MACHINES {
        let mut out = Vec::new();
        render_of(document, &origin, format, Look::PLAIN, &mut out).expect("a vector takes everything");
        compare(&golden(&format!("{name}.{ending}")), &String::from_utf8(out).expect("UTF-8"));
    }
}

#[test]
fn machine_formats_of_a_profile() {
    for (name, report) in samples::all().iter().filter(|(name, _)| ["misrouted", "hostile"].contains(name)) {
        for_machines(name, report.into());
    }
}

#[test]
fn machine_formats_of_a_check() {
    for (name, check) in checks::all() {
        for_machines(name, (&check).into());
    }
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    for (_, report) in samples::all() {
        for (format, _) in Format::ALL {
            assert_eq!(rendered(&report, format, Look::PLAIN), rendered(&report.clone(), format, Look::PLAIN));
        }
    }
}

#[test]
fn a_number_that_is_not_finite_is_null() {
    let mut report = samples::all().remove(0).1;
    report.target.wall_seconds = f64::NAN;
    report.stages[0].score = Some(f64::INFINITY);
    let json: serde_json::Value =
        serde_json::from_str(&rendered(&report, Format::Json, Look::PLAIN)).expect("still JSON");
    assert!(json["target"]["wall_seconds"].is_null());
    assert!(json["stages"][0]["score"].is_null());
    assert!(rendered(&report, Format::Table, Look::PLAIN).contains("wall –"));
}

#[test]
fn schema_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/report-0.schema.json");
    let text = serde_json::to_string_pretty(&schema::report_schema()).expect("a schema is JSON");
    compare(&path, &(text + "\n"));
}

#[test]
fn schema_of_a_line_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/events-0.schema.json");
    let text = serde_json::to_string_pretty(&schema::event_schema()).expect("a schema is JSON");
    compare(&path, &(text + "\n"));
}

#[test]
fn samples_satisfy_the_schema() {
    let validator = jsonschema::draft202012::new(&schema::report_schema()).expect("a valid schema");
    for (name, report) in samples::all() {
        let json = serde_json::to_value(&report).expect("JSON");
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn schema_wants_every_key_and_allows_new_ones() {
    let validator = jsonschema::draft202012::new(&schema::report_schema()).expect("a valid schema");
    let full = serde_json::to_value(&samples::all()[3].1).expect("JSON");
    let mut missing = full.clone();
    missing["stages"][0].as_object_mut().expect("an object").remove("gil");
    assert!(!validator.is_valid(&missing));
    let mut extra = full;
    extra["stages"][0]["colour"] = "blue".into();
    assert!(validator.is_valid(&extra));
}
