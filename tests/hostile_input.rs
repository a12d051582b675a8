//! Thousands of damaged manifests, reports and traces through everything that reads them: none may panic. The damage is
//! drawn by a seed, so a failure comes again; what failed is left in the build directory, ready for a fuzz target's corpus.
//! A few seconds; `POOLPICK_LONG_TESTS=1` makes it twenty times as many.

#[path = "goldens/checks.rs"]
mod checks;
mod hostile;
#[path = "goldens/samples.rs"]
mod samples;

use fastrand::Rng;
use serde_json::{Value, json};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Words that mean something in manifests and reports.
const WORDS: [&str; 24] = [
    "[stages.a]",
    "[programs.b]",
    "=",
    "\"",
    "'''",
    "{",
    "}",
    "[",
    "]",
    "\n",
    "#",
    "executor",
    "\"thread\"",
    "null",
    "-1",
    "1e999",
    "nan",
    "99999999999999999999",
    "\\u0000",
    "\u{202e}",
    "\u{1b}[31m",
    "extend = \"poolpick.toml\"",
    "0.1",
    "é",
];
/// Extremes that a value of a report is replaced with.
const EXTREMES: [f64; 10] = [0.0, -1.0, 1e-308, 5e-324, 1e308, -1e308, 1.0, 0.5, 1e9, f64::EPSILON];

fn count(usual: u64) -> u64 {
    if std::env::var_os("POOLPICK_LONG_TESTS").is_some() { usual * 20 } else { usual }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a folder that end so, always in the same order.
fn corpus(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join(folder)).expect("it is there").map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    assert!(!paths.is_empty(), "no {ending} in {folder}");
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// So many faults are told at once.
const TOLD: usize = 8;

/// Takes `count` inputs through `drive`; those that panic are kept in files and told.
fn none_panics(name: &str, count: u64, draw: impl Fn(&mut Rng) -> Vec<u8>, drive: impl Fn(&[u8])) {
    let mut kept = Vec::new();
    for seed in 0..count {
        let bytes = draw(&mut Rng::with_seed(seed));
        if catch_unwind(AssertUnwindSafe(|| drive(&bytes))).is_err() {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{seed}"));
            fs::write(&file, &bytes).expect("the build directory is writable");
            kept.push(file);
        }
        if kept.len() == TOLD {
            break;
        }
    }
    assert!(kept.is_empty(), "these panicked (above): {kept:?}");
}

/// One to four damages: bytes changed, cut out, doubled, words put in, a part of another input put in.
fn damaged(rng: &mut Rng, mut bytes: Vec<u8>, others: &[Vec<u8>]) -> Vec<u8> {
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(..=bytes.len());
        let until = (at + rng.usize(..=24)).min(bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            2 => drop(bytes.drain(at..until)),
            3 => {
                let part = bytes[at..until].to_vec();
                let to = rng.usize(..=bytes.len());
                drop(bytes.splice(to..to, part));
            }
            4 => drop(bytes.splice(at..at, rng.choice(WORDS).unwrap_or("").bytes())),
            _ => {
                let other = &others[rng.usize(..others.len())];
                let from = rng.usize(..=other.len());
                let part = other[from..(from + rng.usize(..=200)).min(other.len())].to_vec();
                drop(bytes.splice(at..until, part));
            }
        }
    }
    bytes
}

#[test]
fn no_manifest_panics() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut manifests = corpus("fixtures/manifests", ".toml");
    manifests.extend(corpus("fixtures/gate", ".toml"));
    let whole = b"[gate]\nmargin = 0.2\n[stages.a]\nshell = \"true\"\nfunction = \"a:b\"\npayload-in = \"4KiB\"\n\
        [programs.b]\ncommand = [\"true\"]\nexpect = { \"a.b\" = \"process\" } # why\n[stages]\n'c d' = { shell = \"x\" }\n";
    manifests.extend(std::iter::repeat_n(whole.to_vec(), 8));
    let file = folder.path().join("poolpick.toml");
    let draw = |rng: &mut Rng| {
        let one = manifests[rng.usize(..manifests.len())].clone();
        damaged(rng, one, &manifests)
    };
    none_panics("manifest", count(4_000), draw, |bytes| hostile::manifest(bytes, &file));
    let project = folder.path().join("pyproject.toml");
    let draw = |rng: &mut Rng| {
        let text =
            String::from_utf8_lossy(&manifests[rng.usize(..manifests.len())]).replace("\n[", "\n[tool.poolpick.");
        damaged(rng, text.into_bytes(), &manifests)
    };
    none_panics("pyproject", count(1_000), draw, |bytes| hostile::manifest(bytes, &project));
}

/// Every sample as JSON, the goldens among them.
fn reports() -> Vec<Value> {
    let mut reports: Vec<Value> =
        samples::all().iter().map(|(_, report)| serde_json::to_value(report).expect("JSON")).collect();
    reports.extend(checks::all().iter().map(|(_, check)| serde_json::to_value(check).expect("JSON")));
    reports.push(
        serde_json::from_slice(&fs::read(root().join("tests/goldens/rescored.json")).expect("it is there"))
            .expect("JSON"),
    );
    reports
}

/// Replaces, empties or removes values, each with a chance of one in `rarity`.
fn upset(rng: &mut Rng, value: &mut Value, rarity: u32) {
    let hit = rng.u32(..rarity) == 0;
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|value| upset(rng, value, rarity));
            if hit && rng.u8(..8) == 0 {
                let keys: Vec<String> = map.keys().cloned().collect();
                rng.choice(&keys).map(|key| map.remove(key));
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| upset(rng, item, rarity));
            match rng.u8(..4) {
                0 if hit => items.clear(),
                1 if hit => items.extend(items.clone()),
                2 if hit => items.reverse(),
                _ => {}
            }
        }
        _ if !hit => {}
        Value::Null => *value = json!(EXTREMES[rng.usize(..EXTREMES.len())]),
        Value::Bool(told) => *told = !*told,
        Value::String(text) => match rng.u8(..4) {
            0 => text.clear(),
            1 => text.push_str(rng.choice(WORDS).unwrap_or("")),
            2 => *text = text.repeat(40),
            _ => *value = Value::Null,
        },
        Value::Number(number) => {
            *value = match rng.u8(..5) {
                0 => Value::Null,
                1 if number.is_u64() => json!(u64::MAX),
                2 if number.is_u64() => json!(u32::MAX),
                3 if number.is_u64() => json!(0),
                _ => json!(EXTREMES[rng.usize(..EXTREMES.len())]),
            }
        }
    }
}

/// The place of every number in a value.
fn numbers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| numbers(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| numbers(item, &format!("{at}/{index}"), found));
        }
        Value::Number(_) => found.push(at.to_owned()),
        _ => {}
    }
}

#[test]
fn no_number_of_a_report_panics_by_its_size() {
    let mut cases = Vec::new();
    for report in reports() {
        let mut places = Vec::new();
        numbers(&report, "", &mut places);
        for place in places {
            let mut report = report.clone();
            let number = report.pointer_mut(&place).expect("it was found there");
            *number = if number.is_u64() { json!(u64::MAX) } else { json!(1e308) };
            cases.push(serde_json::to_vec(&report).expect("JSON"));
        }
    }
    assert!(cases.len() > 500, "{}", cases.len());
    let draw = |seed: u64| cases[seed as usize].clone();
    none_panics("report-number", cases.len() as u64, |rng| draw(rng.get_seed()), hostile::report);
}

#[test]
fn no_report_panics() {
    let reports = reports();
    let draw = |rng: &mut Rng| {
        let mut report = reports[rng.usize(..reports.len())].clone();
        let rarity = [10, 40, 200, 1_000][rng.usize(..4)];
        upset(rng, &mut report, rarity);
        serde_json::to_vec(&report).expect("JSON")
    };
    none_panics("report", count(1_500), draw, hostile::report);
    let texts: Vec<Vec<u8>> = reports.iter().map(|report| serde_json::to_vec(report).expect("JSON")).collect();
    let draw = |rng: &mut Rng| {
        let one = texts[rng.usize(..texts.len())].clone();
        damaged(rng, one, &texts)
    };
    none_panics("report-text", count(1_500), draw, hostile::report);
}

#[test]
fn no_trace_panics() {
    let sound = hostile::sound_trace();
    let events = hostile::events_of(&sound);
    assert_eq!(hostile::framed(&events, &sound), sound, "what is taken apart is put together again");
    hostile::trace(&sound);
    // Found by `trace-events`: a switch-in at the end of time.
    let late = [0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 19, 0, 7, 133, 0, 0, 0, 0, 6, 250, 8, 0, 0];
    hostile::trace(&hostile::framed(&late, &sound));
    let others = [events.clone()];
    let draw = |rng: &mut Rng| hostile::framed(&damaged(rng, events.clone(), &others), &sound);
    none_panics("trace", count(8_000), draw, hostile::trace);
    let others = [sound.clone()];
    let draw = |rng: &mut Rng| damaged(rng, sound.clone(), &others);
    none_panics("trace-file", count(2_000), draw, hostile::trace);
}
