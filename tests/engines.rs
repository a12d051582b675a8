//! Recommendations in the words of engines: the page is the table, every engine has every executor, values are filled in,
//! and what is said for joblib and Dask runs as said where these are installed.

#[path = "goldens/samples.rs"]
mod samples;
mod support;

use poolpick::report::engine::{Engine, in_words_of, page};
use poolpick::report::{Asked, Executor, Format, Look, Report, render};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A report of one stage with this recommendation.
fn recommending(executor: Executor, workers: u32) -> Report {
    let mut report = samples::all().remove(3).1;
    report.stages.retain(|stage| stage.recommendation.is_some());
    report.stages.truncate(1);
    report.stages[0].score = Some(0.25);
    let advice = report.stages[0].recommendation.as_mut().expect("it is advised");
    (advice.executor, advice.workers, advice.chunksize) = (executor, Some(workers), Some(8));
    report
}

fn settings(report: &Report) -> String {
    let advice = report.stages[0].recommendation.as_ref().expect("it is advised");
    let engine = advice.engine.as_ref().expect("an engine was asked for");
    let settings: Vec<String> =
        engine.settings.iter().map(|setting| format!("{}={}", setting.name, setting.value)).collect();
    settings.join(" ")
}

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engines.md");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == page(), "docs/engines.md: UPDATE_GOLDENS=1 rewrites it");
}

#[test]
fn every_engine_has_words_for_every_executor() {
    for (engine, name) in Engine::ALL {
        for executor in
            [Executor::Thread, Executor::Process, Executor::Interpreter, Executor::Asyncio, Executor::Serial]
        {
            let mut report = recommending(executor, 6);
            in_words_of(&mut report, Some(engine));
            assert_eq!(report.asked, Some(Asked { engine: Some(name.to_owned()), ..Asked::default() }));
            let said = report.stages[0].recommendation.as_ref().and_then(|advice| advice.engine.clone()).expect(name);
            assert!(!said.advice.is_empty(), "{name} {executor:?}");
            let text = format!("{} {}", settings(&report), said.advice);
            assert!(!text.contains(['{', '}']), "{name} {executor:?}: {text}");
            for format in [Format::Table, Format::Markdown] {
                let mut out = Vec::new();
                render(&report, format, Look::PLAIN, &mut out).expect("a vector takes everything");
                let page = String::from_utf8(out).expect("UTF-8");
                assert!(page.replace('\\', "").contains(&format!("in {name}: ")), "{name}: {page}");
            }
            in_words_of(&mut report, None);
            assert_eq!(report.asked, None);
            assert_eq!(report.stages[0].recommendation.as_ref().and_then(|advice| advice.engine.clone()), None);
        }
        assert_eq!(Engine::named(name), Some(engine));
    }
    assert_eq!(Engine::named("spark"), None);
}

#[test]
fn values_are_those_of_the_recommendation_and_the_machine() {
    // Two cores; a quarter of a task computes.
    let rows = [
        (Engine::ConcurrentFutures, Executor::Process, "ProcessPoolExecutor(max_workers)=6 map(chunksize)=8"),
        (Engine::Dask, Executor::Thread, "n_workers=1 threads_per_worker=6 processes=False"),
        (Engine::Dask, Executor::Process, "n_workers=6 threads_per_worker=1 processes=True"),
        (Engine::Ray, Executor::Thread, "max_concurrency=6 num_cpus=2"),
        (Engine::Ray, Executor::Process, "ActorPool(actors)=6 num_cpus=0.33"),
        (Engine::Celery, Executor::Process, "--pool=prefork --concurrency=6"),
        (Engine::Gunicorn, Executor::Thread, "--worker-class=gthread --workers=1 --threads=6"),
        (Engine::Airflow, Executor::Thread, "pool_slots=2"),
    ];
    for (engine, executor, expected) in rows {
        let mut report = recommending(executor, 6);
        in_words_of(&mut report, Some(engine));
        assert_eq!(settings(&report), expected);
    }
    let mut large = recommending(Executor::Process, 6);
    large.asked = Some(Asked { cores: Some(24.0), ..Asked::default() });
    in_words_of(&mut large, Some(Engine::Joblib));
    assert_eq!(settings(&large), "backend=\"loky\" n_jobs=6 inner_max_num_threads=4 batch_size=\"auto\"");
    assert_eq!(large.asked.expect("it was").cores, Some(24.0));
}

#[test]
fn the_command_line_says_them_for_old_reports_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    fs::write(&file, serde_json::to_string(&recommending(Executor::Thread, 6)).unwrap()).unwrap();
    let arguments = ["report", "--engine", "celery", "--format", "json", file.to_str().unwrap()];
    let output = Command::new(support::POOLPICK).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = support::checked(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(report["asked"]["engine"], "celery");
    assert_eq!(report["stages"][0]["recommendation"]["engine"]["settings"][1]["value"], "6");
}

/// What a run with the engine's settings said; `None` where the engine is not installed.
fn ran(python: &str, report: &Report) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated/check_engines.py");
    let mut child = Command::new(python)
        .arg("-B")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_string(report).unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(77) {
        support::skip(String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn joblib_and_dask_run_it_as_said() {
    // An interpreter that has them may be named; `python3` is asked otherwise.
    let named = std::env::var("POOLPICK_TEST_PYTHON").ok();
    let Some(python) = named.as_deref().or_else(|| support::python()) else { return };
    for engine in [Engine::Joblib, Engine::Dask] {
        for (executor, expected, workers) in
            [(Executor::Thread, "thread", 3), (Executor::Process, "process", 2), (Executor::Serial, "serial", 1)]
        {
            let mut report = recommending(executor, workers);
            in_words_of(&mut report, Some(engine));
            let Some(seen) = ran(python, &report) else { continue };
            println!("{} {executor:?}: {seen}", engine.name());
            assert_eq!(seen["ran"], expected, "{}: {seen}", engine.name());
            assert!(seen["workers"].as_u64().is_some_and(|seen| seen <= u64::from(workers)), "{seen}");
        }
    }
}
