//! `poolpick calibrate` with the interpreter that is here, and none: measured once, cached, plausible. Skips without Python;
//! judges no figure more closely than a busy machine allows.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn poolpick(cache: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolpick"));
    command.arg("calibrate").args(arguments).env("XDG_CACHE_HOME", cache).output().expect("poolpick runs")
}

fn json(cache: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let output = poolpick(cache, &arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn python_is_here() -> bool {
    let here = Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 8))"]).status();
    let here = here.is_ok_and(|status| status.success());
    if !here {
        eprintln!("skipped: no python3, 3.8 or later, on PATH");
    }
    here
}

#[test]
fn it_is_measured_once_and_shown_from_the_cache() {
    if !python_is_here() {
        return;
    }
    let cache = tempfile::tempdir().expect("a folder");
    let first = json(cache.path(), &[]);
    let dispatch = first["dispatch"].as_object().expect("it was measured");
    for (name, cost) in dispatch.iter().filter(|(_, cost)| cost["value"].is_number()) {
        let value = cost["value"].as_f64().expect("it is one");
        let most = if name.starts_with("worker_start") { 8.0 } else { 0.1 };
        assert!(value > 0.0 && value < most, "{name}: {cost}");
    }
    assert!(dispatch["process_task_parent"]["value"].is_number(), "{first}");
    assert_eq!(first["kept"]["dispatch"]["cached"], false);

    let second = json(cache.path(), &[]);
    assert_eq!(second["kept"]["dispatch"]["cached"], true);
    assert_eq!(second["dispatch"], first["dispatch"]);
    let table = poolpick(cache.path(), &[]);
    let text = String::from_utf8(table.stdout).expect("UTF-8");
    assert!(table.status.success() && text.contains("process pool: a task, CPU of the parent"), "{text}");
    assert!(text.contains("ago in "), "{text}");
}

#[test]
fn misuse_is_told_with_2() {
    let cache = tempfile::tempdir().expect("a folder");
    for arguments in [["--python", "/nonexistent/python3"], ["--python", "/bin/false"], ["--wrong", "x"]] {
        let output = poolpick(cache.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn without_an_interpreter_it_says_so() {
    let cache = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolpick"));
    command.args(["calibrate", "--json"]).env("XDG_CACHE_HOME", cache.path()).env("PATH", "/nonexistent");
    let output = command.output().expect("poolpick runs");
    assert!(output.status.success(), "{output:?}");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(value["dispatch"].is_null() && value["pipe"].is_object(), "{value}");
    assert!(value["why_unknown"]["dispatch"].as_str().is_some_and(|why| why.contains("PATH")), "{value}");
}
