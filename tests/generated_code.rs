//! The printed pools: that they are Python whatever a stage is called, and that each shape keeps what it promises when tasks
//! fail, workers die, consumers are slow and Ctrl-C comes. `tests/generated/check_pools.py` holds the trials; they run on
//! `python3` and on every other interpreter that is found.

#[path = "goldens/samples.rs"]
mod samples;
mod support;

use poolpick::report::{Executor, Format, Look, Part, Reason, Report, Stage, render};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn printed(report: &Report) -> String {
    let mut out = Vec::new();
    render(report, Format::Python, Look::PLAIN, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("UTF-8")
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn reason(code: &str, text: &str) -> Reason {
    Reason { code: code.to_owned(), text: text.to_owned() }
}

/// A report with a stage for each shape.
fn every_shape() -> Report {
    let mut report = samples::all().remove(3).1;
    let template = report.stages.iter().find(|stage| stage.recommendation.is_some()).expect("one is advised").clone();
    let stage = |name: &str, executor, chunksize, code: &str| {
        let mut stage = Stage { name: name.to_owned(), ..template.clone() };
        let advice = stage.recommendation.as_mut().expect("it is advised");
        (advice.executor, advice.chunksize, advice.workers) = (executor, chunksize, Some(4));
        advice.reasons = vec![reason(code, "as it was measured")];
        stage
    };
    let mut split = stage("etl.mixed", Executor::Split, None, "mixed-phases");
    let advice = split.recommendation.as_mut().expect("it is advised");
    advice.workers = None;
    advice.parts = vec![
        Part { start_seconds: 0.0, end_seconds: 4.0, executor: Executor::Thread },
        Part { start_seconds: 4.0, end_seconds: 9.0, executor: Executor::Process },
    ];
    report.stages = vec![
        stage("etl.fetch", Executor::Thread, None, "wait-assumed"),
        stage("etl.parse", Executor::Process, Some(8), "ipc-too-expensive"),
        stage("etl.crawl", Executor::Asyncio, None, "many-connections"),
        stage("etl.tiny", Executor::Serial, None, "task-too-small"),
        split,
    ];
    report
}

/// Every interpreter that is found, from 3.8 on, one of each version; `python3` is among them.
fn interpreters() -> BTreeMap<String, PathBuf> {
    let mut candidates: Vec<PathBuf> = (8..20).map(|minor| PathBuf::from(format!("python3.{minor}"))).collect();
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    if let Some(versions) = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok()) {
        candidates.extend(versions.flatten().map(|version| version.path().join("bin/python3")));
    }
    candidates.extend(support::python().map(PathBuf::from));
    let mut found = BTreeMap::new();
    for candidate in candidates {
        let ask = "import sys; print('%d.%02d' % sys.version_info[:2], sys.executable)";
        let Ok(output) = Command::new(&candidate).args(["-c", ask]).output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if let (true, Some((version, path))) = (output.status.success(), text.split_once(' '))
            && version >= "3.08"
        {
            found.insert(version.to_owned(), PathBuf::from(path));
        }
    }
    found
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_shape_keeps_its_promises_on_every_interpreter() {
    if support::python().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pools.py"), printed(&every_shape())).unwrap();
    for name in ["check_pools.py", "interrupted.py"] {
        fs::copy(root("tests/generated").join(name), folder.path().join(name)).unwrap();
    }
    let cases: Vec<(String, PathBuf)> = interpreters().into_iter().collect();
    let outputs: Vec<(String, Output)> = std::thread::scope(|scope| {
        let run = |(version, path): &(String, PathBuf)| {
            let mut command = Command::new(path);
            command.arg("-B").arg("check_pools.py").current_dir(folder.path());
            (version.clone(), command.output().expect("the interpreter was there"))
        };
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(move || run(case))).collect();
        running.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    for (version, output) in outputs {
        println!("Python {version}: {}", if output.status.success() { "kept" } else { "not kept" });
        assert!(output.status.success(), "Python {version}: {}", told(&output));
    }
}

#[test]
fn what_is_printed_runs_as_it_is() {
    let Some(python) = support::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let stages = every_shape().stages;
    support::each(stages.into_iter().map(|stage| (stage.name.clone(), stage)), |stage| {
        let file = folder.path().join("pools.py");
        fs::write(&file, printed(&Report { stages: vec![stage], ..every_shape() })).unwrap();
        let output = Command::new(python).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        let mut seen: Vec<u32> =
            String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().expect("a number")).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<u32>>());
    });
}

#[test]
fn only_the_shapes_that_are_used_are_printed() {
    let mut report = every_shape();
    report.stages.truncate(1);
    let code = printed(&report);
    assert!(code.contains("def in_threads(") && code.contains("class Size:"), "{code}");
    assert!(!code.contains("def in_processes(") && !code.contains("import asyncio"), "{code}");
    assert!(code.contains("return in_threads(function, items, workers=4, **options)"), "{code}");
    report.stages.clear();
    assert!(printed(&report).contains("No stage has a recommendation"), "{}", printed(&report));
}

#[test]
fn the_templates_are_python_by_themselves() {
    let Some(python) = support::python() else { return };
    let mut seen = 0;
    for entry in fs::read_dir(root("src/report/python")).expect("it is there").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "py") {
            let text = fs::read_to_string(entry.path()).unwrap();
            assert_eq!(text.matches("# poolpick: begin\n").count(), 1, "{:?}", entry.path());
            assert_eq!(text.matches("# poolpick: end").count(), 1, "{:?}", entry.path());
            let check = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
            let output = Command::new(python).args(["-c", check]).arg(entry.path()).output().unwrap();
            assert!(output.status.success(), "{}", told(&output));
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

/// Parses every file that is named on stdin, and looks for anything at the top that the printer does not print: what a
/// name brought in would stand there. Prints how many it read.
const PARSE: &str = r#"
import ast, sys
known = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.If)
count = 0
for path in sys.stdin.read().split():
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    for node in tree.body:
        assert isinstance(node, known), (path, ast.dump(node))
        if isinstance(node, ast.If):
            assert isinstance(node.test, ast.Compare), path
        for inner in ast.walk(node):
            assert "INJECTED" not in (getattr(inner, "id", ""), getattr(inner, "attr", "")), path
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(names) == len(set(names)), (path, names)
    count += 1
print(count)
"#;

#[test]
fn no_name_breaks_out() {
    let Some(python) = support::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let hostile = [
        "x\nINJECTED()",
        "x\r\nINJECTED()",
        "x\rINJECTED()",
        "x\u{c}INJECTED()",
        "x\u{2028}INJECTED()\u{85}INJECTED()",
        "\"\"\"\nINJECTED()\n\"\"\"",
        "'); INJECTED() #",
        "x\\\nINJECTED()",
        "\0INJECTED()",
        "-*- coding: utf-7 -*- +AAo-INJECTED()",
        "{workers} RUN RUN(",
        "\u{202e}INJECTED()",
        "lambda",
        "main",
        "",
        "é ſ 名前 ①",
    ];
    let mut runner = TestRunner::deterministic();
    let any_names = proptest::collection::vec(any::<String>(), 5);
    let sharp = proptest::collection::vec("[\\n\\r\"'#\\\\(){};:% a-zA-Z\u{0}-\u{1f}\u{7f}-\u{a0}]{0,60}", 5);
    let mut files = String::new();
    for case in 0..200 {
        let names: Vec<String> = match case {
            _ if case < hostile.len() => (0..5).map(|_| hostile[case].to_owned()).collect(),
            _ if case % 2 == 0 => any_names.new_tree(&mut runner).expect("strings").current(),
            _ => sharp.new_tree(&mut runner).expect("strings").current(),
        };
        let mut report = every_shape();
        for (stage, name) in report.stages.iter_mut().zip(&names) {
            stage.name.clone_from(name);
            let advice = stage.recommendation.as_mut().expect("it is advised");
            advice.reasons.push(reason(name, name));
        }
        let path = folder.path().join(format!("{case}.py"));
        fs::write(&path, printed(&report)).unwrap();
        files.push_str(&format!("{}\n", path.display()));
    }
    let list = folder.path().join("list");
    fs::write(&list, files).unwrap();
    let output = Command::new(python).args(["-c", PARSE]).stdin(fs::File::open(&list).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "200");
}
