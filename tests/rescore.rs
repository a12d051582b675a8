//! A saved report judged again: with its own settings nothing changes, to the byte; with others the answer is that of a
//! run judged so; and what a report does not carry is told.

#[path = "goldens/samples.rs"]
mod samples;
mod support;

use poolpick::report::{Again, CannotRescore, Format, Look, Report, render, rescore};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Output};
use support::{PERF, POOLPICK, Profile, RUSAGE, SCHEDSTAT, each, python, workload};

fn rendered(report: &Report) -> String {
    let mut out = Vec::new();
    render(report, Format::Json, Look::PLAIN, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("UTF-8")
}

fn read(value: &Value) -> Report {
    serde_json::from_str(&value.to_string()).expect("a report")
}

/// A report with stages of all kinds inside a Python program: threads that wait, processes that burn.
fn pools(options: &[&str]) -> Option<Value> {
    let python = python()?;
    let script = format!("{}/fixtures/pools.py", env!("CARGO_MANIFEST_DIR"));
    let named = ["--stage", "triangle=__main__:triangle"];
    Some(Profile::of(PERF, &[python, &script]).with(&named).with(options).run().report.0)
}

/// Runs poolpick.
fn poolpick(arguments: &[&str]) -> Output {
    Command::new(POOLPICK).args(arguments).output().expect("poolpick can be started")
}

fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn its_own_settings_change_nothing() {
    let Some(python) = python() else { return };
    let script = format!("{}/fixtures/pools.py", env!("CARGO_MANIFEST_DIR"));
    let pipeline = ["sh", "-c", "seq 1 100000 | gzip -9 | (sleep 0.1; cat >/dev/null)"].map(str::to_owned).to_vec();
    let cases: [(&str, Vec<String>, &[&str]); 6] = [
        ("pools", vec![python.to_owned(), script.clone()], &["--stage", "triangle=__main__:triangle"]),
        (
            "asked",
            vec![python.to_owned(), script.clone()],
            &["--cores", "12", "--memory", "3GiB", "--arrival-rate", "70"],
        ),
        (
            "declared",
            vec![python.to_owned(), script],
            &["--executor", "serial", "--payload-in", "1MiB", "--engine", "ray"],
        ),
        ("interleaved", workload(python, &["interleaved", "--seconds", "0.4"]), &["--cpu-threshold", "0.5"]),
        ("native", pipeline.clone(), &["--arrival-rate", "3"]),
        ("declared native", pipeline, &["--executor", "process", "--payload-out", "64KiB"]),
    ];
    for rung in [PERF, SCHEDSTAT, RUSAGE] {
        if !rung.is_here() {
            continue;
        }
        each(cases.clone().map(|(name, argv, options)| (format!("{} {name}", rung.name), (argv, options))), |case| {
            let (argv, options) = case;
            let report = read(&Profile::of(rung, &argv).with(options).run().report.0);
            assert!(report.stages.iter().all(|stage| stage.evidence.is_some()));
            let again = rescore(&report, &Again::default()).expect("it carries all");
            assert_eq!(rendered(&again), rendered(&report));
        });
    }
}

#[test]
fn thresholds_executor_machine_and_payload_are_the_ones_that_are_given() {
    let Some(report) = pools(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    fs::write(&file, report.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let again = |options: &[&str]| -> Value {
        let output = poolpick(&[&["report", "--format", "json"], options, &[file]].concat());
        assert!(output.status.success(), "{output:?}");
        support::checked(&String::from_utf8(output.stdout).unwrap())
    };
    let stage = |report: &Value, name: &str| -> Value {
        let stages = report["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"].as_str().unwrap().contains(name)).expect(name).clone()
    };
    assert_eq!(again(&["--io-threshold", "0.4"]), report, "the same threshold");
    let low = again(&["--io-threshold", "0", "--cpu-threshold", "0"]);
    assert_eq!(low["thresholds"], json!({"io": 0.0, "cpu": 0.0, "ipc": 0.15}));
    let wait = stage(&low, "wait");
    // A short run on a busy machine may leave open whether there was any CPU time worth the name: 0 is no side of 0.
    if wait["score_interval"][0].as_f64().is_some_and(|low| low > 0.0) {
        assert_eq!(wait["class"], "cpu-bound");
    }
    let burn = stage(&report, "burn");
    if burn["score"].as_f64().is_some_and(|score| score > 0.9) {
        let hybrid = again(&["--cpu-threshold", "1"]);
        assert_eq!(stage(&hybrid, "burn")["class"], "hybrid");
    }
    let serial = again(&["--executor", "serial"]);
    assert_eq!(stage(&serial, "burn")["declared_executor"], "serial");

    let large = again(&["--cores", "32", "--memory", "64GiB"]);
    assert_eq!(large["asked"]["cores"], 32.0);
    assert_eq!(large["asked"]["memory_bytes"], 64u64 << 30);
    assert_eq!(large["host"], report["host"], "what was measured stays what was measured");
    let note = large["sources"]["notes"][0].as_str().unwrap();
    assert!(note.contains("a machine with 32 cores and 64.0 GiB of memory"), "{note}");
    let table = poolpick(&["report", "--cores", "32", "--memory", "64GiB", file]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with(note) && table.matches(note).count() == 1, "{table}");
    let speedup = |report: &Value| {
        let burn = stage(report, "burn");
        let process = burn["predictions"].as_array().unwrap().iter().find(|one| one["executor"] == "process").cloned();
        process.expect("it can be pickled")["speedup"].as_f64().unwrap()
    };
    if report["costs"].is_object() {
        assert!(speedup(&large) >= speedup(&report), "more cores are no loss");
        let single = again(&["--cores", "1"]);
        assert!(speedup(&single) <= 1.05, "one core gives nothing");
        let dear = again(&["--payload-in", "256MiB"]);
        assert_eq!(stage(&dear, "burn")["ipc"]["source"], "declared");
        assert!(speedup(&dear) < speedup(&report) / 2.0, "{} {}", speedup(&dear), speedup(&report));
    }
    // Asked twice, the last answer stands alone.
    let text = large.to_string();
    fs::write(folder.path().join("large.json"), text).unwrap();
    let output =
        poolpick(&["report", "--format", "json", "--cores", "8", folder.path().join("large.json").to_str().unwrap()]);
    let eight: Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = eight["sources"]["notes"].to_string();
    assert!(notes.contains("8 cores and 64.0 GiB") && !notes.contains("32 cores"), "{notes}");
}

#[test]
fn a_rate_of_arrivals_has_its_workers_or_a_warning() {
    let Some(report) = pools(&["--arrival-rate", "10"]) else { return };
    if !report["costs"].is_object() {
        return support::skip("dispatch could not be measured");
    }
    let wait = |report: &Report| report.stages.iter().find(|stage| stage.name.contains("wait")).expect("it").clone();
    let has = |stage: &poolpick::report::Stage, code: &str| stage.warnings.iter().any(|warning| warning.code == code);
    let report = read(&report);
    let easy = wait(&report);
    let arrival = easy.recommendation.as_ref().and_then(|advice| advice.arrival).expect("it can be predicted");
    assert!(arrival.workers.is_some_and(|workers| workers >= 1) && arrival.tasks_per_second >= 10.0, "{arrival:?}");
    assert!(easy.recommendation.unwrap().reasons.iter().any(|reason| reason.code == "arrival-rate"));
    let flood = rescore(&report, &Again { arrival_rate: Some(1e9), ..Again::default() }).expect("it carries all");
    let flooded = wait(&flood);
    assert!(has(&flooded, "rate-unreachable"), "{:?}", flooded.warnings);
    assert_eq!(flooded.recommendation.unwrap().arrival.unwrap().workers, None);
    let ebb = rescore(&flood, &Again { arrival_rate: Some(1.0), ..Again::default() }).expect("it carries all");
    assert!(!has(&wait(&ebb), "rate-unreachable"), "a warning of what was asked goes with it");
}

/// A report as version 0.1 wrote it.
fn older(report: &Report) -> Value {
    let mut value = serde_json::to_value(report).expect("JSON");
    value["schema_version"] = "0.1".into();
    for key in ["asked", "costs", "payload_price"] {
        value.as_object_mut().expect("an object").remove(key);
    }
    for stage in value["stages"].as_array_mut().expect("a list") {
        for key in ["demand", "evidence"] {
            stage.as_object_mut().expect("an object").remove(key);
        }
        if let Some(advice) = stage["recommendation"].as_object_mut() {
            advice.remove("arrival");
            advice.remove("engine");
        }
    }
    value
}

#[test]
fn older_reports_render_but_cannot_be_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    for (name, report) in samples::all() {
        let file = folder.path().join(name).display().to_string();
        fs::write(&file, older(&report).to_string()).unwrap();
        for format in ["table", "json", "markdown"] {
            let output = poolpick(&["report", "--format", format, &file]);
            assert!(output.status.success() && !output.stdout.is_empty(), "{name} {format}: {output:?}");
        }
        let output = poolpick(&["report", "--format", "json", &file]);
        assert_eq!(support::checked(&String::from_utf8(output.stdout).unwrap())["schema_version"], "0.2");
        let message = failed(&poolpick(&["report", "--cores", "8", &file]));
        assert!(message.contains("carries no `evidence` (schema version `0.1`)"), "{message}");
        assert!(message.contains("hint: profile once more"), "{message}");
    }
}

#[test]
fn thresholds_are_checked_against_those_of_the_report() {
    let mut report = samples::all().remove(0).1;
    report.stages.clear();
    report.thresholds.cpu = 0.5;
    let crossed = rescore(&report, &Again { io: Some(0.6), ..Again::default() });
    assert!(matches!(crossed, Err(CannotRescore::Threshold(_))), "{crossed:?}");
    let both = rescore(&report, &Again { io: Some(0.6), cpu: Some(0.8), ..Again::default() }).expect("in order");
    assert_eq!((both.thresholds.io, both.thresholds.cpu), (0.6, 0.8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever stands in a report: judged again it is what a second time gives, and survives its own JSON.
    #[test]
    fn judged_again_is_settled(
        times in proptest::array::uniform8(0.0f64..20.0),
        flags in proptest::array::uniform6(any::<bool>()),
        counts in proptest::array::uniform3(0u32..2000),
        share in 0.0f64..1.0,
        lock in 0usize..4,
        asked in (proptest::option::of(0.25f64..256.0), proptest::option::of(1u64<<20..1u64<<40), proptest::option::of(0.1f64..1e5)),
    ) {
        let (_, report) = samples::all().remove(3);
        let mut value = serde_json::to_value(&report).expect("JSON");
        value["costs"] = json!({
            "thread_dispatch_seconds": 3e-5, "process_parent_seconds": 1.1e-4, "process_worker_seconds": 7e-5,
            "asyncio_dispatch_seconds": 2e-5, "gil_handover_seconds": 6e-6,
        });
        let (tasks, workers) = (counts[0], counts[1].min(64));
        let (cpu, wait) = (times[0], times[1]);
        let each = f64::from(tasks.max(1));
        for stage in value["stages"].as_array_mut().expect("a list") {
            stage["score"] = if cpu + wait > 0.0 { json!(cpu / (cpu + wait)) } else { Value::Null };
            stage["score_interval"] = json!([cpu / (cpu + wait + 0.1), (cpu + 0.1) / (cpu + wait + 0.1)]);
            stage["evidence"] = json!({
                "inside": flags[0], "pool": flags[1], "feeds_pool": flags[2] && flags[3], "outside_stages": flags[3] && flags[4],
                "shared_state": flags[4], "lock": (["not-python", "unread", "absent", "read"][lock]), "workers": workers,
                "cpu_seconds": cpu, "own_wait_seconds": wait, "lock_wait_seconds": wait * share, "tasks": tasks,
                "task_seconds": (cpu + wait) / each, "sampled_calls": flags[5].then_some(counts[2]), "cores_used": 1.0 + times[2] / 10.0,
                "stretches": [
                    {"start_seconds": 0.0, "end_seconds": times[3], "score": share, "demand_seconds": times[3]},
                    {"start_seconds": times[3], "end_seconds": times[3] + times[4], "score": 1.0 - share, "demand_seconds": times[4]},
                ],
            });
            stage["demand"] = json!({
                "cpu_seconds": cpu / each, "own_cpu_seconds": cpu / each * share, "gil_seconds": cpu / each * share * share, "gil_waiting_seconds": 0.0, "alone_seconds": null,
                "gil_interval": [0.0, cpu / each], "wait_seconds": wait / each, "released_run_seconds": times[5] / 1e5,
                "payload_parent_seconds": flags[5].then_some(times[6] / 1e3), "payload_worker_seconds": flags[5].then_some(times[7] / 1e3),
                "worker_bytes": 50u64 << 20, "lock_limit_per_second": flags[2].then_some(each), "awaitable": flags[3],
                "seen_at_once": 1.0 + f64::from(workers),
            });
        }
        let again = Again { cores: asked.0, memory_bytes: asked.1, arrival_rate: asked.2, ..Again::default() };
        let once = rescore(&read(&value), &again).expect("it carries all");
        let text = rendered(&once);
        let back: Report = serde_json::from_str(&text).expect("its own JSON");
        prop_assert_eq!(rendered(&rescore(&back, &Again::default()).expect("it carries all")), text);
    }

    /// Nothing that a file can say makes it panic or hang.
    #[test]
    fn absurd_numbers_are_judged_too(
        floats in proptest::collection::vec(any::<f64>().prop_filter("JSON", |float| float.is_finite()), 1..12),
        counts in proptest::collection::vec(any::<u32>(), 1..12),
        cores in 1e-3f64..65_536.0,
    ) {
        let text = include_str!("goldens/rescored.json");
        let mut value: Value = serde_json::from_str(text).expect("JSON");
        let (mut floats, mut counts) = (floats.iter().cycle(), counts.iter().cycle());
        walk(&mut value, &mut |scalar| {
            if scalar.is_f64() {
                *scalar = (*floats.next().expect("not empty")).into();
            } else if scalar.is_u64() {
                *scalar = (*counts.next().expect("not empty")).into();
            }
        });
        for key in ["exit_code", "signal"] {
            value["target"][key] = Value::Null;
        }
        let report = read(&value);
        for again in [
            Again { cores: Some(cores), arrival_rate: Some(1e6), io: Some(0.3), cpu: Some(0.8), ipc: Some(0.1), ..Again::default() },
            Again { payload_in: Some(u64::MAX), memory_bytes: Some(1), io: Some(0.3), cpu: Some(0.8), ..Again::default() },
        ] {
            if let Ok(judged) = rescore(&report, &again) {
                prop_assert!(!rendered(&judged).is_empty());
            }
        }
    }
}

/// Calls `change` on every scalar.
fn walk(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| walk(value, change)),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        scalar => change(scalar),
    }
}

/// A stored report of a real run: by its own terms it is the same bytes, from version to version.
#[test]
fn a_stored_report_is_judged_the_same() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/rescored.json");
    let text = fs::read_to_string(&path).unwrap();
    let report: Report = serde_json::from_str(&text).expect("a report");
    let again = rendered(&rescore(&report, &Again::default()).expect("it carries all"));
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &again).unwrap();
    }
    assert!(again == text, "UPDATE_GOLDENS=1 rewrites it. Now:\n{again}");
}
