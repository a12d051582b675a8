//! `poolpick race` from outside, on functions of every kind: JSON against its schema, cells that cannot be measured, misuse,
//! interrupts; and the driver's own tests. Judges no figure more closely than a busy machine allows.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use support::{POOLPICK, alone, python, skip};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn poolpick(arguments: &[&str]) -> Command {
    let mut command = Command::new(POOLPICK);
    command.args(arguments).stdin(Stdio::null()).current_dir(root().join("fixtures/race"));
    // No bytecode beside the fixtures, and nothing in the user's cache.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Races a function of the fixtures; `None` without Python.
fn raced(function: &str, items: &str, options: &str) -> Option<Output> {
    let python = python()?;
    let _turn = alone();
    let mut command = poolpick(&["race", function, "--items", items, "--python", python]);
    Some(command.args(options.split_whitespace()).output().expect("poolpick can be started"))
}

/// The same, as JSON that keeps to its schema; no profile, and soon over.
fn race(function: &str, items: &str, options: &str) -> Option<Value> {
    let budget = if options.contains("--budget") { "" } else { "--budget 3s" };
    let output = raced(function, items, &format!("--no-profile {budget} --format json {options}"))?;
    Some(checked(&output))
}

fn checked(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON, {error}: {text}"));
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let validator = SCHEMA.get_or_init(|| jsonschema::validator_for(&schema()).expect("the schema is one"));
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "against the schema: {errors:#?}\n{value:#}");
    value
}

fn schema() -> Value {
    let output = poolpick(&["schema", "race"]).output().expect("poolpick can be started");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("the schema is JSON")
}

/// The cells of an executor.
fn cells<'a>(race: &'a Value, executor: &str) -> Vec<&'a Value> {
    let all = race["race"].as_array().expect("a list");
    all.iter().filter(|cell| cell["executor"] == executor).collect()
}

/// The cell, which was measured.
fn measured<'a>(race: &'a Value, executor: &str, workers: u64) -> &'a Value {
    let cells = cells(race, executor);
    let cell = cells.iter().find(|cell| cell["workers"] == workers);
    let cell = cell.unwrap_or_else(|| panic!("no {executor} with {workers}: {race:#}"));
    assert!(cell["speedup"].is_number() && cell["failure"].is_null(), "{cell:#}");
    cell
}

/// Why a cell has no numbers.
fn failure<'a>(race: &'a Value, executor: &str) -> &'a str {
    let cells = cells(race, executor);
    let cell = cells.first().unwrap_or_else(|| panic!("no {executor}: {race:#}"));
    assert!(cell["tasks_per_second"].is_null() && cell["p95_seconds"].is_null(), "{cell:#}");
    cell["failure"].as_str().unwrap_or_else(|| panic!("no reason: {cell:#}"))
}

#[test]
fn the_driver_passes_its_own_tests() {
    let Some(python) = python() else { return };
    let _turn = alone();
    let output = Command::new(python).arg(root().join("tests/race/test_driver.py")).output().expect("python runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("OK"), "{text}");
}

#[test]
fn waiting_overlaps_in_threads() {
    let Some(race) = race("steps:nap", "steps:NUMBERS", "--workers 1,4 --executors thread,process") else { return };
    let four = measured(&race, "thread", 4);
    assert!(four["speedup"].as_f64().is_some_and(|speedup| speedup > 2.0), "{four:#}");
    assert!(four["p95_seconds"].as_f64().is_some_and(|p95| p95 >= 0.005), "{four:#}");
    assert_eq!((&four["errors"], race["winner"]["workers"].as_u64()), (&Value::from(0), Some(4)), "{race:#}");
    assert_eq!(measured(&race, "serial", 1)["speedup"], 1.0);
    assert!(race["predicted_by"].is_null() && race["regret"].is_null(), "{race:#}");
    // Two points are no curve, and it says so.
    let curves = race["curves"].as_array().expect("a list");
    assert!(curves.iter().all(|curve| curve["sigma"].is_null() && curve["refused"].is_string()), "{curves:#?}");
    assert_eq!(curves.iter().map(|curve| curve["knee_workers"].as_u64()).collect::<Vec<_>>(), [Some(4), Some(4)]);
}

#[test]
fn every_kind_of_function_and_items_is_raced() {
    let options = "--workers 2 --budget 3s";
    for (function, items, more) in [
        ("steps:spin", "steps:NUMBERS", ""),
        ("steps:digest", "steps:BLOCKS", ""),
        ("steps:row", "rows.jsonl", ""),
        ("steps:add", "steps:PAIRS", "--star"),
        ("steps:nap", "steps:count", "--start-method spawn"),
        ("steps:talks", "steps:NUMBERS", ""),
    ] {
        let Some(race) = race(function, items, &format!("{options} {more}")) else { return };
        measured(&race, "thread", 2);
        let process = measured(&race, "process", 2);
        assert_eq!(process["errors"], 0, "{race:#}");
        assert!(process["start_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{race:#}");
        let count = race["subject"]["item_count"].as_u64();
        assert_eq!(count == Some(3), items == "rows.jsonl", "{race:#}");
        let told = race["notes"].to_string().contains("the first 10000 items");
        assert_eq!(told, items == "steps:count", "{race:#}");
    }
}

#[test]
fn coroutines_are_raced_on_a_loop() {
    let Some(race) = race("steps:anap", "steps:NUMBERS", "--workers 1,8") else { return };
    let eight = measured(&race, "asyncio", 8);
    assert!(eight["speedup"].as_f64().is_some_and(|speedup| speedup > 2.0), "{eight:#}");
    measured(&race, "thread", 8);
    measured(&race, "process", 1);
}

#[test]
fn a_dask_cluster_is_raced_beside_the_local_executors() {
    let Some(python) = support::python_with("distributed") else { return };
    let _turn = alone();
    let options = "--no-profile --workers 2 --executors thread,dask --budget 15s --format json";
    let mut command = poolpick(&["race", "steps:nap", "--items", "steps:NUMBERS", "--python", &python]);
    let race = checked(&command.args(options.split(' ')).output().expect("poolpick can be started"));
    for executor in ["dask-thread", "dask-process"] {
        let cell = measured(&race, executor, 2);
        assert_eq!(cell["errors"], 0, "{race:#}");
        assert!(cell["start_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{race:#}");
        assert!(cell["predicted_speedup"].is_null(), "{race:#}");
    }
    measured(&race, "thread", 2);
    // A cluster that is not there costs its cells alone.
    let options =
        "--no-profile --workers 1 --executors thread,dask --budget 12s --format json --scheduler tcp://127.0.0.1:9";
    let mut command = poolpick(&["race", "steps:nap", "--items", "steps:NUMBERS", "--python", &python]);
    let race = checked(&command.args(options.split(' ')).output().expect("poolpick can be started"));
    assert!(failure(&race, "dask").contains("the cluster cannot be reached"), "{race:#}");
    measured(&race, "thread", 1);
}

#[test]
fn what_cannot_be_measured_has_a_reason_and_the_rest_goes_on() {
    let options = "--workers 2 --executors thread,process";
    for (function, executor, words, other) in [
        ("steps:local", "process", "the function cannot be pickled", "thread"),
        ("steps:kills_its_worker", "process", "a worker died", "thread"),
        ("steps:fails_in_threads", "thread", "every task failed: RuntimeError: not here", "process"),
        ("steps:ends_the_interpreter", "thread", "the interpreter ended (exit status: 3)", "process"),
    ] {
        let Some(race) = race(function, "steps:NUMBERS", options) else { return };
        assert!(failure(&race, executor).contains(words), "{race:#}");
        measured(&race, "serial", 1);
        if function == "steps:ends_the_interpreter" {
            continue;
        }
        measured(&race, other, 2);
    }
    let Some(race) = race("steps:nap", "steps:unpicklable", options) else { return };
    assert!(failure(&race, "process").contains("the items cannot be pickled"), "{race:#}");
    measured(&race, "thread", 2);
}

#[test]
fn who_hangs_is_given_up() {
    let Some(race) = race("steps:hangs_in_threads", "steps:NUMBERS", "--workers 2 --executors thread --timeout 2s")
    else {
        return;
    };
    assert!(failure(&race, "thread").contains("did not come to an end within"), "{race:#}");
    assert_eq!(race["winner"]["executor"], "serial");
}

#[test]
fn failing_tasks_are_counted() {
    let Some(race) = race("steps:fails_at_times", "steps:NUMBERS", "--workers 2 --executors thread") else { return };
    let thread = measured(&race, "thread", 2);
    let (tasks, errors) = (thread["tasks"].as_u64().unwrap_or(0), thread["errors"].as_u64().unwrap_or(0));
    assert!(errors > 0 && errors < tasks, "{thread:#}");
    let notes = race["notes"].to_string();
    assert!(notes.contains("of the tasks failed in the baseline") && notes.contains("ValueError: odd"), "{race:#}");
}

#[test]
fn misuse_is_one_line_with_2() {
    for (function, items, options, words) in [
        ("steps:absent", "steps:NUMBERS", "", "`absent` is not in `steps`: AttributeError"),
        ("nowhere:parse", "steps:NUMBERS", "", "`nowhere` cannot be imported: ModuleNotFoundError"),
        ("steps:nap", "steps:ABSENT", "", "`ABSENT` is not in `steps`"),
        ("steps:nap", "absent.jsonl", "", "`absent.jsonl` cannot be read: FileNotFoundError"),
        ("steps:row", "broken.jsonl", "", "line 2 of `broken.jsonl` is no JSON"),
        ("steps:NUMBERS", "steps:NUMBERS", "", "is no function but list"),
        ("steps:fails", "steps:NUMBERS", "", "every task failed: ValueError: no int today"),
        ("steps:nap", "steps:NUMBERS", "--executors asyncio", "`asyncio` cannot be raced"),
        ("steps:nap", "steps:NUMBERS", "--python /nonexistent/python3", "/nonexistent/python3"),
        ("steps:nap", "steps:NUMBERS", "--python /bin/false", "/bin/false"),
    ] {
        if options.contains("--python") {
            let mut command = poolpick(&["race", function, "--items", items, "--no-profile"]);
            let output = command.args(options.split_whitespace()).output().expect("poolpick can be started");
            told(&output, words);
            continue;
        }
        let Some(output) = raced(function, items, &format!("--no-profile --budget 2s {options}")) else { return };
        told(&output, words);
    }
}

/// Status 2, nothing on stdout, one line that says what and how to go on.
fn told(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty() && said.contains(words) && said.contains("hint:"), "{words}: {said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    for words in [
        "race",
        "race steps:nap",
        "race nap --items steps:NUMBERS",
        "race steps:nap --items steps:NUMBERS --workers 0",
        "race steps:nap --items steps:NUMBERS --executors fiber",
        "race steps:nap --items steps:NUMBERS --executors command",
        "race steps:nap --items steps:NUMBERS --from x.json --no-profile",
        "race steps:nap --items steps:NUMBERS --printed",
        "race steps:nap --items steps:NUMBERS --start-method threads",
        "race steps:nap --items steps:NUMBERS --budget 0",
        "race steps:nap --items steps:NUMBERS --from /nonexistent.json",
        "race --command true{n} --work -1",
        "race --command true",
        "race --command true{n} --executors thread",
        "race --command true{n} steps:nap",
    ] {
        let arguments: Vec<&str> = words.split(' ').collect();
        let output = poolpick(&arguments).output().expect("poolpick can be started");
        assert_eq!(output.status.code(), Some(2), "{words}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words}: {output:?}");
    }
}

#[test]
fn a_command_is_raced_by_what_it_prints() {
    let arguments = ["race", "--command", "echo $((100 * {n})) rows/s", "--printed", "--workers", "1,2,4,8"];
    let output = poolpick(&arguments).args(["--budget", "5s", "--format", "json"]).output().expect("poolpick runs");
    let race = checked(&output);
    assert_eq!(race["ended_by"], "narrow", "{race:#}");
    let cells = cells(&race, "command");
    let speedups: Vec<f64> = cells.iter().filter_map(|cell| cell["speedup"].as_f64()).map(f64::round).collect();
    assert_eq!(speedups, [1.0, 2.0, 4.0, 8.0], "{race:#}");
    assert_eq!(race["winner"]["tasks_per_second"].as_f64().map(f64::round), Some(800.0), "{race:#}");
    let curve = &race["curves"][0];
    assert!(curve["sigma"].as_f64().is_some_and(|sigma| sigma < 1e-6), "{curve:#}");
    assert!(curve["peak_workers"].is_null() || curve["peak_workers"].as_f64() > Some(100.0), "{curve:#}");
    assert_eq!((&race["subject"]["command"], &race["subject"]["command_redacted"]), (&"echo".into(), &true.into()));
}

#[test]
fn a_command_is_raced_by_its_wall_time() {
    let arguments = ["race", "--command", "sleep 0.$((8 / {n}))", "--workers", "1,4", "--work", "8"];
    let output = poolpick(&arguments).args(["--budget", "4s", "--format", "json", "--show-args"]).output();
    let race = checked(&output.expect("poolpick runs"));
    let four = measured(&race, "command", 4);
    assert!(four["speedup"].as_f64().is_some_and(|speedup| speedup > 2.0), "{race:#}");
    assert!(four["tasks_per_second"].as_f64().is_some_and(|rate| rate <= 40.0), "8 in at least 0.2 s: {race:#}");
    assert_eq!(race["subject"]["command"], arguments[2]);
}

#[test]
fn a_command_that_fails_says_what_it_said() {
    let fails = poolpick(&["race", "--command", "echo broken {n} >&2; exit 3", "--workers", "1,2"]).output();
    told(&fails.expect("poolpick runs"), "it failed (exit status: 3): broken 1");
    let mute = poolpick(&["race", "--command", "echo none # {n}", "--printed"]).output();
    told(&mute.expect("poolpick runs"), "it printed no positive number");
    let some = ["race", "--command", "test {n} -lt 2 || { echo too many >&2; exit 3; }", "--workers", "1,2"];
    let output = poolpick(&some).args(["--budget", "1s", "--format", "json"]).output().expect("poolpick runs");
    let race = checked(&output);
    let two = cells(&race, "command")[1];
    assert!(two["failure"].as_str().is_some_and(|why| why.contains("too many")), "{race:#}");
}

#[test]
fn a_prediction_is_made_and_graded() {
    let options = "--executors thread --workers 1,4 --budget 3s --format json";
    let Some(output) = raced("steps:nap", "steps:NUMBERS", options) else { return };
    let race = checked(&output);
    assert_eq!(race["predicted_by"], "profile");
    if race["notes"].to_string().contains("there is no prediction to grade") {
        return skip("no source tells of tasks here");
    }
    let four = measured(&race, "thread", 4);
    assert!(four["predicted_speedup"].as_f64().is_some_and(|speedup| speedup > 2.0), "{race:#}");
    assert!(race["prediction_error"]["cells"].as_u64() >= Some(2), "{race:#}");
    assert_eq!(race["recommended"]["executor"], "thread", "{race:#}");
    assert!(race["regret"].as_f64().is_some_and(|regret| regret > 0.0 && regret <= 1.0), "{race:#}");
}

#[test]
fn a_saved_prediction_is_graded() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.json");
    let report = report.to_str().expect("a plain path");
    let script = "import steps\nfor n in range(150): steps.nap(n)";
    let export = format!("json={report}");
    let arguments = ["profile", "--quiet", "--stage", "napping=steps:nap", "--export", &export, "--"];
    let profiled = {
        let _turn = alone();
        poolpick(&arguments).args([python, "-c", script]).output().expect("poolpick runs")
    };
    assert!(profiled.status.success(), "{profiled:?}");
    let options = format!("--executors thread --workers 2 --budget 2s --from {report}");
    let Some(output) = raced("steps:nap", "steps:NUMBERS", &format!("{options} --stage napping --format json")) else {
        return;
    };
    let race = checked(&output);
    assert_eq!(race["predicted_by"], "report");
    let stored: Value = serde_json::from_str(&fs::read_to_string(report).expect("it was written")).expect("JSON");
    let stages = stored["stages"].as_array().expect("a list");
    let stage = stages.iter().find(|stage| stage["name"] == "napping").expect("it was profiled");
    let recommended = &stage["recommendation"];
    for key in ["executor", "workers"] {
        assert_eq!(race["recommended"][key], recommended[key], "{race:#}");
    }
    // What is recommended is raced besides what was asked for.
    let workers = recommended["workers"].as_u64().expect("a number");
    let cell = measured(&race, recommended["executor"].as_str().expect("a word"), workers);
    assert_eq!(cell["predicted_speedup"].as_f64(), recommended["speedup"].as_f64(), "{race:#}");
    assert!(race["regret"].is_number(), "{race:#}");

    let Some(unknown) = raced("steps:nap", "steps:NUMBERS", &format!("{options} --stage absent")) else { return };
    told(&unknown, "has no stage `absent`");
}

#[test]
fn people_read_who_won() {
    let options = "--no-profile --budget 2s --executors thread --workers 4";
    let Some(table) = raced("steps:nap", "steps:NUMBERS", options) else { return };
    let text = String::from_utf8(table.stdout).expect("UTF-8");
    assert!(table.status.success() && text.starts_with("steps:nap: 4 threads are fastest, "), "{text}");
    assert!(
        text.contains("executor") && text.contains("no USL fit: it takes 4 numbers of workers, and 1 gave"),
        "{text}"
    );
    assert!(table.stderr.is_empty(), "no progress where there is no terminal: {:?}", table.stderr);
    let Some(markdown) = raced("steps:nap", "steps:NUMBERS", &format!("{options} --format markdown")) else { return };
    let text = String::from_utf8(markdown.stdout).expect("UTF-8");
    assert!(text.starts_with("## poolpick race: **steps:nap**") && text.contains("| executor | workers |"), "{text}");
}

#[test]
fn a_saved_race_is_rendered_as_it_was() {
    let options = "--no-profile --budget 2s --executors thread --workers 4 --format json";
    let Some(race) = raced("steps:nap", "steps:NUMBERS", options) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("race.json");
    fs::write(&file, &race.stdout).expect("own folder");
    let report =
        |words: &[&str]| Command::new(POOLPICK).arg("report").arg(&file).args(words).output().expect("it runs");
    assert_eq!(report(&["--format", "json"]).stdout, race.stdout);
    let table = report(&[]);
    assert!(table.status.success() && table.stdout.starts_with(b"steps:nap: 4 threads are fastest, "), "{table:?}");
    for (words, said) in [
        (&["--format", "sarif"][..], "`sarif` is no format of this command"),
        (&["--cores", "8"], "a race was measured, and is shown as it is"),
    ] {
        let output = report(words);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    // Elsewhere it is of no use.
    let output = Command::new(POOLPICK).args(["check", "--from"]).arg(&file).output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is what `poolpick race` wrote"), "{output:?}");
}

/// Process ids of drivers below a process.
fn drivers(parent: u32) -> Vec<u32> {
    let entries =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_driver = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let words: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let child = words.get(1).and_then(|word| word.parse().ok()) == Some(parent);
        child && String::from_utf8_lossy(&command).contains("poolpick_race_driver") && words.first() != Some(&"Z")
    };
    entries.filter(is_driver).collect()
}

/// Waits until it gives something; panics after a minute.
fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match what() {
            Some(found) => return found,
            None if Instant::now() > end => panic!("it never came"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn an_interrupt_ends_everything() {
    let Some(python) = python() else { return };
    let _turn = alone();
    let mut command = poolpick(&["race", "steps:hangs_in_threads", "--items", "steps:NUMBERS", "--python", python]);
    command.args(["--no-profile", "--executors", "thread", "--workers", "2", "--budget", "60s"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("poolpick runs");
    let driver = until(|| drivers(child.id()).pop());
    // Its workers are there, and hang.
    until(|| (fs::read_dir(format!("/proc/{driver}/task")).ok()?.count() >= 3).then_some(()));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(2), "{status:?}");
    until(|| (!Path::new(&format!("/proc/{driver}")).exists()).then_some(()));
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_is_printed() {
    let path = root().join("schemas/race-0.schema.json");
    let stored: Value = serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("JSON");
    assert_eq!(stored, schema(), "`poolpick schema race > schemas/race-0.schema.json` writes it anew");
}

#[test]
fn the_page_tells_every_key_of_the_schema() {
    fn keys(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                object.values().for_each(|value| keys(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let mut known = BTreeSet::new();
    keys(&schema(), &mut known);
    assert!(known.len() > 40, "{known:?}");
    let page = fs::read_to_string(root().join("docs/race.md")).expect("the page is there");
    let host = fs::read_to_string(root().join("docs/json.md")).expect("the page is there");
    let told: BTreeSet<&str> = page.split('`').chain(host.split('`')).collect();
    let untold: Vec<&String> = known.iter().filter(|key| !told.contains(key.as_str())).collect();
    assert!(untold.is_empty(), "{untold:?}");
}
