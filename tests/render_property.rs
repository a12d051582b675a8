//! Whatever a report holds, it renders: hostile strings, absurd numbers, keys that are not known. Starts from the
//! samples, since they have every shape, and replaces what the target or the kernel could have said.

#[path = "goldens/samples.rs"]
mod samples;

use poolpick::report::{Format, Look, Report, render};
use proptest::prelude::*;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// Keys whose text is free.
const FREE: [&str; 10] =
    ["name", "id", "argv", "notes", "code", "text", "verdict_reason", "kernel", "started_at", "version"];

fn rendered(report: &Report, format: Format, look: Look) -> String {
    let mut out = Vec::new();
    render(report, format, look, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("UTF-8")
}

fn look(width: Option<u16>, colour: bool) -> Look {
    Look { width, colour, ascii: false }
}

/// Calls `change` on every scalar with the key that it is under.
fn walk(value: &mut Value, key: &str, change: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| walk(value, key, change)),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, key, change)),
        scalar => change(key, scalar),
    }
}

fn with_strings(report: &Report, strings: &[String]) -> Report {
    let mut json = serde_json::to_value(report).expect("JSON");
    let mut strings = strings.iter().cycle();
    walk(&mut json, "", &mut |key, value| {
        if let (true, Value::String(text)) = (FREE.contains(&key), value) {
            text.clone_from(strings.next().expect("not empty"));
        }
    });
    serde_json::from_value(json).expect("of the same shape")
}

fn with_numbers(report: &Report, floats: &[f64], counts: &[u32]) -> Report {
    let mut json = serde_json::to_value(report).expect("JSON");
    let (mut floats, mut counts) = (floats.iter().cycle(), counts.iter().cycle());
    walk(&mut json, "", &mut |_, value| {
        if value.is_f64() {
            *value = (*floats.next().expect("not empty")).into();
        } else if value.is_u64() {
            *value = (*counts.next().expect("not empty")).into();
        }
    });
    // Exit status and signal are signed.
    for key in ["exit_code", "signal"] {
        if let Some(number) = json["target"][key].as_u64() {
            json["target"][key] = (number % 256).into();
        }
    }
    serde_json::from_value(json).expect("of the same shape")
}

fn without_own_colours(text: &str) -> String {
    let mut out = String::new();
    let mut pieces = text.split("\x1b[");
    out.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        let (code, rest) = piece.split_once('m').expect("a colour");
        assert!(code.chars().all(|digit| digit.is_ascii_digit() || digit == ';'), "{code}");
        out.push_str(rest);
    }
    out
}

fn assert_plain(text: &str) {
    let control = text.chars().find(|&character| character.is_control() && character != '\n');
    assert_eq!(control, None, "{text:?}");
}

/// In a Markdown table every row has as many cells as its head.
fn assert_tables_hold(markdown: &str) {
    let mut columns = None;
    for line in markdown.lines() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells = line.matches('|').count();
        assert_eq!(*columns.get_or_insert(cells), cells, "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_strings(strings in proptest::collection::vec(any::<String>(), 1..12), width in 40u16..160) {
        for (_, report) in samples::all() {
            let report = with_strings(&report, &strings);
            for width in [None, Some(width)] {
                assert_plain(&rendered(&report, Format::Table, look(width, false)));
                let coloured = rendered(&report, Format::Table, look(width, true));
                assert_plain(&without_own_colours(&coloured));
                prop_assert_eq!(without_own_colours(&coloured), rendered(&report, Format::Table, look(width, false)));
            }
            let markdown = rendered(&report, Format::Markdown, Look::PLAIN);
            assert_plain(&markdown);
            assert_tables_hold(&markdown);
            let back: Report = serde_json::from_str(&rendered(&report, Format::Json, Look::PLAIN)).expect("JSON");
            prop_assert_eq!(back, report);
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal(
        strings in proptest::collection::vec("[a-z_.\u{4e00}-\u{4e20}\\p{Cc}|`<>@ ]{0,80}", 1..12),
        width in 40u16..160,
    ) {
        for (name, report) in samples::all() {
            let table = rendered(&with_strings(&report, &strings), Format::Table, look(Some(width), false));
            for line in table.lines() {
                prop_assert!(line.width() <= usize::from(width), "{}: {:?} in {}", name, line, width);
            }
        }
    }

    #[test]
    fn any_numbers(
        floats in proptest::collection::vec(any::<f64>().prop_filter("JSON", |float| float.is_finite()), 1..12),
        counts in proptest::collection::vec(any::<u32>(), 1..12),
    ) {
        for (_, report) in samples::all() {
            let report = with_numbers(&report, &floats, &counts);
            for width in [None, Some(80)] {
                assert_plain(&rendered(&report, Format::Table, look(width, false)));
            }
            assert_tables_hold(&rendered(&report, Format::Markdown, Look::PLAIN));
        }
    }
}

/// Every key that may be null, alone, is.
#[test]
fn any_unknown() {
    for (_, report) in samples::all() {
        let json = serde_json::to_value(&report).expect("JSON");
        for pointer in pointers(&json, "") {
            let mut json = json.clone();
            *json.pointer_mut(&pointer).expect("it was there") = Value::Null;
            if let Ok(report) = serde_json::from_value::<Report>(json) {
                for (format, _) in Format::ALL {
                    let text = rendered(&report, format, look(Some(80), false));
                    // Without findings there is nothing to annotate.
                    assert!(format == Format::Github || !text.is_empty(), "{pointer}");
                }
            }
        }
    }
}

fn pointers(value: &Value, at: &str) -> Vec<String> {
    let below: Vec<String> = match value {
        Value::Object(map) => map.iter().flat_map(|(key, value)| pointers(value, &format!("{at}/{key}"))).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, item)| pointers(item, &format!("{at}/{index}"))).collect()
        }
        _ => Vec::new(),
    };
    std::iter::once(at.to_owned()).chain(below).filter(|pointer| !pointer.is_empty()).collect()
}

/// A tree of many programs stays readable.
#[test]
fn many_stages_are_counted_not_listed() {
    let mut report = samples::all().remove(2).1;
    let stage = report.stages[0].clone();
    report.stages =
        (0..300).map(|index| poolpick::report::Stage { name: format!("job-{index}"), ..stage.clone() }).collect();
    let table = rendered(&report, Format::Table, look(Some(80), false));
    assert!(table.contains("and 275 less busy stages"), "{table}");
    assert!(table.contains("294 more stages have a recommendation"), "{table}");
    assert!(table.lines().count() < 100, "{table}");
    report.stages.clear();
    assert!(rendered(&report, Format::Table, Look::PLAIN).starts_with("no stage was seen"));
}
