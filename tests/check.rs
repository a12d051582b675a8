//! `poolpick check`, `init` and `compare` through the binary: every exit status, what is captured, the baseline, `--fix`,
//! and the result's schema. Live stages wait for a clock, so that their verdict does not hang on the machine.

mod support;

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{POOLPICK, each, python};

const PASS: i32 = 0;
const MISROUTED: i32 = 1;
const USAGE: i32 = 2;
const NO_VERDICT: i32 = 3;
const NOTHING_SELECTED: i32 = 4;
const FAILED: i32 = 125;

fn poolpick(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(POOLPICK);
    command.current_dir(folder).args(words).stdin(Stdio::null()).env_remove("CI");
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).output().expect("poolpick can be started")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ends(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{}\n{}", out(output), err(output));
}

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name).display().to_string()
}

/// A folder with a manifest, and a module whose function waits.
fn folder(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = "import time\n\ndef fetch(number):\n    time.sleep(0.02)\n    return number\n\n\
                  if __name__ == '__main__':\n    for number in range(30):\n        fetch(number)\n";
    fs::write(folder.path().join("etl.py"), module).expect("own folder");
    fs::write(folder.path().join("poolpick.toml"), manifest).expect("own folder");
    folder
}

/// A stage of it that waits, declared to run under `executor`.
fn waiting(name: &str, executor: &str) -> Option<String> {
    let python = python()?;
    Some(format!(
        "[stages.{name}]  # {name} waits\ncommand = [{python:?}, \"etl.py\"]\nfunction = \"__main__:fetch\"\nexecutor = \"{executor}\"  # as it is\n\n"
    ))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

#[test]
fn saved_reports_are_judged_like_runs() {
    let here = tempfile::tempdir().expect("a temporary folder");
    let cases: [(&str, &[&str], i32, &str); 7] = [
        ("misrouted.json", &[], MISROUTED, "pipeline.fetch runs under the wrong executor"),
        ("misrouted.json", &["--undecided", "fail"], NO_VERDICT, "no verdict: "),
        ("misrouted.json", &["--margin", "0.7"], PASS, "pass: "),
        ("native.json", &[], NO_VERDICT, "1 stage is not judged"),
        ("shell-tree.json", &[], NO_VERDICT, "exited with status 3"),
        ("rusage.json", &[], NO_VERDICT, "killed by signal 9"),
        ("misrouted.json", &["--policy", "ratio"], MISROUTED, "the plain rule says threads"),
    ];
    each(cases.map(|case| (format!("{} {}", case.0, case.1.join(" ")), case)), |(file, options, status, said)| {
        let file = golden(file);
        let mut words = vec!["check", "--from", &file];
        words.extend(options);
        let output = poolpick(here.path(), &words);
        ends(&output, status);
        assert!(out(&output).contains(said), "{}", out(&output));
    });
    let (one, other) = (golden("misrouted.json"), golden("native.json"));
    let both = poolpick(here.path(), &["check", "--from", &one, "--from", &other, "--format", "json"]);
    let ids: Vec<String> =
        json(&both)["stages"].as_array().expect("a list").iter().map(|stage| stage["id"].to_string()).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn files_are_named_from_the_root_of_the_checkout() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let inside = root.path().join("services/etl/src");
    fs::create_dir_all(&inside).expect("own folder");
    fs::create_dir(root.path().join(".git")).expect("own folder");
    let manifest = "[stages.fails]\ncommand = [\"false\"]\nexecutor = \"thread\"\n";
    fs::write(root.path().join("services/etl/poolpick.toml"), manifest).expect("own folder");
    for (below, shown) in [("services/etl/src", "../poolpick.toml"), ("services/etl", "poolpick.toml")] {
        let here = root.path().join(below);
        let of = |format: &str| out(&poolpick(&here, &["check", "--format", format]));
        let kept: Value = serde_json::from_str(&of("json")).expect("JSON");
        assert_eq!((&kept["manifest"], &kept["directory"]), (&Value::from(shown), &Value::from(below)));
        assert!(of("github").contains("file=services/etl/poolpick.toml,line="), "{}", of("github"));
        assert!(of("gitlab").contains("\"path\": \"services/etl/poolpick.toml\""), "{}", of("gitlab"));
        assert!(of("sarif").contains("\"uri\": \"services/etl/poolpick.toml\""), "{}", of("sarif"));
        assert!(of("junit").contains("file=\"services/etl/poolpick.toml\""), "{}", of("junit"));
        // Wherever it is judged again, it is the same gate.
        fs::write(root.path().join("gate.json"), kept.to_string()).expect("own folder");
        let again = json(&poolpick(root.path(), &["check", "--from", "gate.json", "--format", "json"]));
        for key in ["manifest", "directory", "pipeline", "host", "findings"] {
            assert_eq!(again[key], kept[key], "{key}");
        }
    }
}

#[test]
fn a_result_looks_like_this() {
    let here = tempfile::tempdir().expect("a temporary folder");
    let report = golden("misrouted.json");
    for (format, golden_name) in [("table", "check.txt"), ("markdown", "check.md")] {
        let output = poolpick(here.path(), &["check", "--from", &report, "--format", format]);
        ends(&output, MISROUTED);
        let path = golden(golden_name);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&path, &output.stdout).expect("the golden can be written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(expected == out(&output), "{path} differs; UPDATE_GOLDENS=1 rewrites it. Now:\n{}", out(&output));
    }
    for file in ["misrouted.json", "hostile.json"] {
        let mut command = Command::new(POOLPICK);
        command.current_dir(here.path()).args(["check", "--from", &golden(file)]).env("COLUMNS", "60");
        let text = out(&command.output().expect("poolpick can be started"));
        let widest = text.lines().map(unicode_width::UnicodeWidthStr::width).max();
        assert!(widest.is_some_and(|width| width <= 60), "{widest:?}\n{text}");
    }
    let hostile = poolpick(here.path(), &["check", "--from", &golden("hostile.json")]);
    assert!(!out(&hostile).contains(['\x1b', '\u{202e}', '\x07']), "{}", out(&hostile));
}

#[test]
fn a_result_satisfies_its_schema() {
    let here = tempfile::tempdir().expect("a temporary folder");
    let schema = json(&poolpick(here.path(), &["schema", "check"]));
    let validator = jsonschema::draft202012::new(&schema).expect("a valid schema");
    for file in ["misrouted.json", "native.json", "rusage.json", "hostile.json"] {
        let check = json(&poolpick(here.path(), &["check", "--from", &golden(file), "--format", "json"]));
        let errors: Vec<String> = validator.iter_errors(&check).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
        assert_eq!(check["kind"], "check");
    }
    let report = golden("misrouted.json");
    let comparison = json(&poolpick(here.path(), &["compare", &report, &golden("native.json"), "--format", "json"]));
    let of_compare = json(&poolpick(here.path(), &["schema", "compare"]));
    assert!(jsonschema::draft202012::new(&of_compare).expect("a valid schema").is_valid(&comparison), "{comparison:#}");
    for (name, schema) in [("check-0", schema), ("compare-0", of_compare)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&path, &text).expect("the schema can be written");
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "UPDATE_GOLDENS=1 rewrites it");
    }
    let manifest = json(&poolpick(here.path(), &["schema", "manifest"]));
    assert_eq!(manifest["title"], "poolpick.toml");
}

#[test]
fn a_stage_that_fits_passes_and_its_output_is_not_shown() {
    let Some(stage) = waiting("fetch", "thread") else { return };
    let folder = folder(&stage);
    fs::write(folder.path().join("sitecustomize.py"), "").expect("own folder");
    let output = poolpick(folder.path(), &["check"]);
    ends(&output, PASS);
    assert!(out(&output).starts_with("pass: 1 stage fits"), "{}", out(&output));
    assert!(err(&output).is_empty(), "{}", err(&output));
    let quiet = poolpick(folder.path(), &["check", "--quiet", "fetch"]);
    ends(&quiet, PASS);
    assert!(quiet.stdout.is_empty());
}

#[test]
fn a_misrouted_stage_fails_is_known_by_a_baseline_and_can_be_mended() {
    let (Some(wrong), Some(right)) = (waiting("wrong", "serial"), waiting("right", "thread")) else { return };
    let manifest = format!("# the pipeline\n{wrong}{right}");
    let folder = folder(&manifest);
    let here = folder.path();
    let path = here.join("poolpick.toml");
    let output = poolpick(here, &["check", "--export", "json=check.json"]);
    ends(&output, MISROUTED);
    let check: Value = serde_json::from_slice(&fs::read(here.join("check.json")).expect("exported")).expect("JSON");
    assert_eq!(check["outcome"], "misrouted");
    let finding = &check["findings"][0];
    assert_eq!((&finding["code"], &finding["line"]), (&"misrouted".into(), &5.into()), "{finding}");
    assert_eq!(finding["file"], "poolpick.toml");
    assert_eq!(check["results"][0]["runs"], 2, "it was confirmed by a second run");
    assert!(check["results"][0]["misrouting_cost"].as_f64().expect("a cost") > 2.0);

    let missing = poolpick(here, &["check", "wrong", "--baseline", "known.json"]);
    ends(&missing, USAGE);
    ends(&poolpick(here, &["check", "--baseline", "known.json", "--update-baseline"]), PASS);
    let known = fs::read_to_string(here.join("known.json")).expect("written");
    ends(&poolpick(here, &["check", "--baseline", "known.json"]), PASS);
    ends(&poolpick(here, &["check", "right", "--baseline", "known.json", "--update-baseline"]), PASS);
    assert_eq!(fs::read_to_string(here.join("known.json")).expect("still there"), known, "`wrong` was not looked at");
    assert_eq!(fs::read_to_string(&path).expect("there"), manifest, "nothing was edited yet");

    // Another user's, which only root can make.
    const OTHER: u32 = 12_345;
    let is_given_away = std::os::unix::fs::chown(&path, Some(OTHER), Some(OTHER)).is_ok();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("own file");
    ends(&poolpick(here, &["check", "--fix", "--manifest", "poolpick.toml"]), MISROUTED);
    let metadata = fs::metadata(&path).expect("there");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    if is_given_away {
        assert_eq!((metadata.uid(), metadata.gid()), (OTHER, OTHER), "its owner keeps it");
        std::os::unix::fs::chown(&path, Some(0), Some(0)).expect("root can");
    }
    let mended = fs::read_to_string(&path).expect("there");
    assert_eq!(mended, manifest.replace("\"serial\"", "\"thread\""), "comments and layout stay");
    ends(&poolpick(here, &["check"]), PASS);
}

#[test]
fn a_manifest_that_cannot_be_mended_takes_no_result() {
    let Some(wrong) = waiting("wrong", "serial") else { return };
    let cases = [
        ("deleted", "rm poolpick.toml", "No such file"),
        ("no TOML", "printf 'x = [' > poolpick.toml", "it is no TOML any more"),
        ("emptied", "printf '' > poolpick.toml", "it has no table `[stages.wrong]`"),
        (
            "set by hand",
            "sed -i s/serial/process/ poolpick.toml",
            "`stages.wrong.executor` was `\"serial\"` when it was read",
        ),
        ("a folder", "rm poolpick.toml; mkdir poolpick.toml", "Is a directory"),
    ];
    each(cases.map(|case| (case.0.to_owned(), case)), |(_, command, why)| {
        let folder = folder(&format!("{wrong}[stages.last]\nshell = \"{command}\"\n"));
        let output = poolpick(folder.path(), &["check", "--fix", "--format", "json", "--export", "json=check.json"]);
        ends(&output, FAILED);
        let said = format!("the manifest `{}` could not be mended: ", folder.path().join("poolpick.toml").display());
        assert!(err(&output).contains(&said) && err(&output).contains(why), "{}", err(&output));
        assert!(err(&output).contains("run `poolpick check --fix` again"), "{}", err(&output));
        assert!(!err(&output).contains("give it a report"), "{}", err(&output));
        let kept: Value =
            serde_json::from_slice(&fs::read(folder.path().join("check.json")).expect("exported")).expect("JSON");
        assert_eq!(kept["results"][0]["outcome"], "misrouted");
        let folder = folder.path().file_name().expect("a folder").to_string_lossy().into_owned();
        assert_eq!(kept["pipeline"], folder.as_str(), "known before anything ran");
        assert_eq!(json(&output), kept);
    });
}

#[test]
fn the_baseline_keeps_what_it_knew_of_a_stage_that_failed() {
    let Some(wrong) = waiting("wrong", "serial") else { return };
    let folder = folder(&wrong);
    let here = folder.path();
    let known = || fs::read_to_string(here.join("known.json")).expect("written");
    let update = ["check", "--baseline", "known.json", "--update-baseline"];
    let output = poolpick(here, &[&update[..], &["--export", "json=./known.json"]].concat());
    ends(&output, USAGE);
    assert!(err(&output).contains("is given for two outputs"), "{}", err(&output));
    ends(&poolpick(here, &update), PASS);
    let before = known();
    assert!(before.contains("\"stage\": \"wrong\""), "{before}");
    let module = fs::read_to_string(here.join("etl.py")).expect("own folder");
    fs::write(here.join("etl.py"), "raise SystemExit(3)\n").expect("own folder");
    let output = poolpick(here, &update);
    ends(&output, NO_VERDICT);
    assert_eq!(known(), before, "a failure tells nothing");
    let note = "note: `wrong` failed, so the baseline keeps what it knew of it";
    assert_eq!(err(&output).matches(note).count(), 1, "{}", err(&output));
    fs::write(here.join("etl.py"), module).expect("own folder");
    let output = poolpick(here, &["check", "--baseline", "known.json"]);
    ends(&output, PASS);
    assert!(!err(&output).contains("note:"), "{}", err(&output));
}

#[test]
fn what_has_no_verdict_says_why_and_shows_what_it_wrote() {
    let stage = |name: &str, line: &str| format!("[stages.{name}]\nshell = \"{line}\"\nexecutor = \"thread\"\n");
    let manifest = [
        stage("broken", "echo on stdout; echo on stderr >&2; exit 3"),
        stage("killed", "kill -KILL $$"),
        stage("slow", "sleep 60") + "timeout = \"300ms\"\n",
        stage("short", "true"),
        "[stages.absent]\ncommand = [\"./no-such-program\"]\nexecutor = \"thread\"\n".to_owned(),
    ];
    let folder = folder(&manifest.concat());
    let cases = [
        ("broken", "its command exited with status 3"),
        ("killed", "its command was killed by signal 9"),
        ("slow", "its command did not end within 0.3 s"),
        ("short", "too little"),
        ("absent", "cannot find `./no-such-program`"),
    ];
    each(cases.map(|case| (case.0.to_owned(), case)), |(name, said)| {
        let output = poolpick(folder.path(), &["check", name]);
        ends(&output, NO_VERDICT);
        assert!(out(&output).contains(said), "{}", out(&output));
    });
    let output = poolpick(folder.path(), &["check", "broken"]);
    assert!(out(&output).contains("  | on stdout\n  | on stderr"), "{}", out(&output));
    let spent = poolpick(folder.path(), &["check", "slow", "broken", "--budget", "200ms"]);
    ends(&spent, NO_VERDICT);
    assert!(out(&spent).contains("the budget was used up"), "{}", out(&spent));
}

#[test]
fn misuse_and_missing_manifests_are_told() {
    let folder = folder("[stages.fetch]\ncommand = [\"true\"]\n");
    let here = folder.path();
    let empty = tempfile::tempdir().expect("a temporary folder");
    let file = golden("misrouted.json");
    let cases: [(&Path, &[&str], &str); 14] = [
        (here, &["check", "poolpick.toml"], "`--manifest poolpick.toml`"),
        (here, &["check", "fetsh"], "did you mean `fetch`?"),
        (here, &["check", "--manifest", "nowhere.toml"], "`nowhere.toml`"),
        (here, &["check", "--executor", "thread"], "`--executor` is about a command"),
        (here, &["check", "--stage", "a=b:c"], "`--stage` is about a command"),
        (here, &["check", "--margin", "1"], "`--margin 1`"),
        (here, &["check", "--margin", "2"], "2"),
        (here, &["check", "--io-threshold", "0.9"], "0.9"),
        (here, &["check", "--update-baseline"], "--baseline"),
        (here, &["check", "--fix", "--from", &file], "--from"),
        (here, &["check", "--runs", "3", "--from", &file], "`--runs`"),
        (here, &["check", "fetch", "--", "true"], "--"),
        (here, &["check", "--from", "etl.py"], "etl.py"),
        (empty.path(), &["check"], "there is no manifest"),
    ];
    each(cases.map(|case| (case.1.join(" "), case)), |(folder, words, said)| {
        let output = poolpick(folder, words);
        ends(&output, USAGE);
        assert!(err(&output).contains(said), "{}", err(&output));
        assert!(output.stdout.is_empty(), "{}", out(&output));
    });
}

#[test]
fn nothing_to_check_and_a_result_that_cannot_be_written_have_statuses_of_their_own() {
    let folder = folder("[gate]\nmargin = 0.2\n");
    let output = poolpick(folder.path(), &["check"]);
    ends(&output, NOTHING_SELECTED);
    assert!(err(&output).contains("has no stage"), "{}", err(&output));
    let report = golden("misrouted.json");
    ends(&poolpick(folder.path(), &["check", "--from", &report, "--output", "/dev/full"]), FAILED);
    ends(&poolpick(folder.path(), &["check", "--from", &report, "--output", "no/such/folder"]), USAGE);
}

#[test]
fn a_stage_gets_its_directory_and_variables_and_no_input() {
    let manifest = "[stages.a]\nshell = \"test \\\"$GREETING\\\" = hello && test -f marker && ! read line && sleep 0.05\"\n\
                    executor = \"thread\"\ncwd = \"below\"\nenv = { GREETING = \"hello\" }\nruns = 1\n";
    let folder = folder(manifest);
    fs::create_dir(folder.path().join("below")).expect("own folder");
    fs::write(folder.path().join("below/marker"), "").expect("own folder");
    let check = json(&poolpick(folder.path(), &["check", "--format", "json"]));
    assert_ne!(check["findings"][0]["code"], "stage-failed", "{check:#}");
}

#[test]
fn stages_of_a_program_are_found_and_expected() {
    let Some(python) = python() else { return };
    let program = "import time\nfrom concurrent.futures import ThreadPoolExecutor\n\ndef get(number):\n    time.sleep(0.02)\n\n\
                   with ThreadPoolExecutor(4) as pool:\n    list(pool.map(get, range(60)))\n";
    let manifest = |expect: &str| format!("[programs.nightly]\ncommand = [{python:?}, \"pool.py\"]\n{expect}\n");
    let folder = folder(&manifest(""));
    fs::write(folder.path().join("pool.py"), program).expect("own folder");
    let run = || poolpick(folder.path(), &["check", "--format", "json"]);
    let output = run();
    ends(&output, PASS);
    let check = json(&output);
    assert_eq!(check["results"][0]["program"], "nightly");
    assert_eq!((&check["results"][0]["executor"], &check["results"][0]["outcome"]), (&"thread".into(), &"fits".into()));
    let set = |expect: &str| fs::write(folder.path().join("poolpick.toml"), manifest(expect)).expect("own folder");
    set("expect = { \"pool.get\" = \"serial\" }");
    let output = run();
    ends(&output, MISROUTED);
    let check = json(&output);
    let codes: Vec<&str> =
        check["findings"].as_array().expect("a list").iter().filter_map(|one| one["code"].as_str()).collect();
    assert!(codes.contains(&"misrouted") && codes.contains(&"executor-differs"), "{codes:?}");
    set("expect = { \"pool.put\" = \"thread\" }");
    let output = run();
    ends(&output, NO_VERDICT);
    assert!(out(&output).contains("not-seen"), "{}", out(&output));
}

/// The lines of a stream of JSON, and of each what it is: its event, and the stage that it is of.
fn event(line: &str) -> (Value, String, String) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let stage = if text("event") == "finding" { text("stage") } else { text("name") };
    let event = text("event");
    (value, event, stage)
}

/// Two stages, of which the second waits until somebody has made the file `go`, and fails if nobody does.
fn one_after_the_other() -> Option<(tempfile::TempDir, Vec<String>)> {
    let python = python()?;
    let second = format!(
        "[stages.second]\ncommand = [{python:?}, \"wait.py\"]\nfunction = \"__main__:fetch\"\nexecutor = \"thread\"\n"
    );
    let here = folder(&(waiting("first", "serial")? + &second));
    let wait = "import os, sys, time\n\ndef fetch(number):\n    time.sleep(0.02)\n    return number\n\nfor _ in range(1200):\n    if os.path.exists('go'):\n        break\n    \
                time.sleep(0.05)\nelse:\n    sys.exit('nobody came')\nfor number in range(30):\n    fetch(number)\n";
    fs::write(here.path().join("wait.py"), wait).expect("own folder");
    fs::write(here.path().join("known.json"), r#"{"schema_version": "0.1", "kind": "baseline", "findings": []}"#)
        .expect("own folder");
    let words = ["check", "--runs", "1", "--baseline", "known.json"].map(str::to_owned).to_vec();
    Some((here, words))
}

/// Reads lines until those of the first stage are whole, lets the second one go on, and reads the rest.
fn read_as_they_come(from: impl Read, go: &Path) -> Vec<(Value, String, String)> {
    let mut read = Vec::new();
    for line in BufReader::new(from).lines() {
        read.push(event(&line.expect("a line")));
        // No pool for what only waits: the finding is the last line of its stage.
        if read.last().is_some_and(|(_, event, stage)| event == "finding" && stage == "first") {
            fs::write(go, "").expect("own folder");
        }
    }
    read
}

/// What is asked of the lines of such a gate.
fn lines_are_whole(lines: &[(Value, String, String)]) {
    let kinds: Vec<(&str, &str)> = lines.iter().map(|(_, event, stage)| (event.as_str(), stage.as_str())).collect();
    let place = |event: &str, stage: &str| kinds.iter().position(|kind| *kind == (event, stage));
    assert_eq!((kinds.first(), kinds.last()), (Some(&("run", "")), Some(&("summary", ""))), "{kinds:?}");
    let (first, second) = (place("result", "first"), place("result", "second"));
    assert!(place("finding", "first") > first && place("finding", "first") < second, "{kinds:?}");
    let (run, summary) = (&lines[0].0, &lines[lines.len() - 1].0);
    assert!(run["host"].is_null() && run["wall_seconds"].is_null(), "{run:#}");
    assert!(
        summary["host"]["logical_cores"].is_number() && summary["wall_seconds"].as_f64() > Some(0.0),
        "{summary:#}"
    );
    let outcome = |stage: Option<usize>| lines[stage.expect("a result")].0["outcome"].clone();
    assert_eq!((outcome(first), outcome(second)), ("misrouted".into(), "fits".into()), "{lines:#?}");
    let findings = lines.iter().filter(|(_, event, _)| event == "finding").count();
    assert_eq!(summary["findings"].as_u64(), Some(findings as u64));
    let schema = Command::new(POOLPICK).args(["schema", "events"]).output().expect("poolpick can be started");
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for (line, ..) in lines {
        let wrong: Vec<String> = validator.iter_errors(line).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}: {line}");
    }
}

#[test]
fn lines_of_json_come_as_the_stages_end() {
    let Some((here, words)) = one_after_the_other() else { return };
    let mut gate = Command::new(POOLPICK);
    gate.current_dir(here.path()).args(&words).args(["--format", "jsonl", "--export", "jsonl=whole.jsonl"]);
    gate.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut gate = gate.spawn().expect("poolpick can be started");
    let lines = read_as_they_come(gate.stdout.take().expect("its stdout"), &here.path().join("go"));
    assert_eq!(gate.wait().expect("its status").code(), Some(MISROUTED));
    lines_are_whole(&lines);
    // A file has the same lines; it was written when all was known.
    let whole = fs::read_to_string(here.path().join("whole.jsonl")).expect("it was written");
    let mut whole: Vec<Value> = whole.lines().map(|line| event(line).0).collect();
    assert!(whole[0]["host"]["logical_cores"].is_number() && whole[0]["wall_seconds"].is_number(), "{:#}", whole[0]);
    for key in ["host", "wall_seconds"] {
        whole[0][key] = Value::Null;
    }
    let sorted = |lines: Vec<Value>| {
        let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(whole), sorted(lines.into_iter().map(|(line, ..)| line).collect()));
}

#[test]
fn lines_of_json_wait_for_who_reads_a_named_pipe() {
    let Some((here, words)) = one_after_the_other() else { return };
    let pipe = here.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()), "a named pipe can be made");
    let mut gate = Command::new(POOLPICK);
    gate.current_dir(here.path()).args(&words).args([
        "--export",
        "jsonl=pipe",
        "--export",
        "json=result.json",
        "--quiet",
    ]);
    let mut gate = gate.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("poolpick can be started");
    // Nobody reads while the first stage runs, which ends before the second one may: its lines wait.
    fs::write(here.path().join("go"), "").expect("own folder");
    let lines = read_as_they_come(fs::File::open(&pipe).expect("a pipe"), &here.path().join("go"));
    assert_eq!(gate.wait().expect("its status").code(), Some(MISROUTED));
    lines_are_whole(&lines);
}

#[test]
fn lines_that_cannot_be_written_cost_no_other_report() {
    let Some((here, words)) = one_after_the_other() else { return };
    fs::write(here.path().join("go"), "").expect("own folder");
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["--quiet", "--export", "jsonl=/dev/full", "--export", "json=result.json"]);
    let output = poolpick(here.path(), &words);
    ends(&output, FAILED);
    assert!(err(&output).contains("/dev/full"), "{}", err(&output));
    let result = fs::read_to_string(here.path().join("result.json")).expect("it was written");
    assert!(result.contains("\"outcome\": \"misrouted\""), "{result}");
}

#[test]
fn an_interrupt_ends_stage_and_gate_alike() {
    use std::os::unix::process::ExitStatusExt;
    // No shell: one may have caught the signal, and forgets it when it execs.
    let folder = folder("[stages.a]\ncommand = [\"sleep\", \"60\"]\n[stages.b]\nshell = \"touch second\"\n");
    let mut command = Command::new(POOLPICK);
    command.current_dir(folder.path()).arg("check").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("poolpick can be started");
    let of = |path: String| fs::read_to_string(path).unwrap_or_default();
    let sleeps = |pid: &str| of(format!("/proc/{pid}/comm")).trim() == "sleep";
    while !of(format!("/proc/{0}/task/{0}/children", child.id())).split_whitespace().any(sleeps) {
        assert!(child.try_wait().expect("it is ours").is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    let status = child.wait().expect("it is ours");
    assert_eq!(status.signal(), Some(2), "{status:?}");
    assert!(!folder.path().join("second").exists(), "the next stage was run");
}

#[test]
fn init_writes_a_manifest_that_is_right_and_overwrites_none() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let here = empty.path();
    ends(&poolpick(here, &["init"]), PASS);
    ends(&poolpick(here, &["check"]), NOTHING_SELECTED);
    ends(&poolpick(here, &["init"]), USAGE);
    let text = fs::read_to_string(here.join("poolpick.toml")).expect("written");
    // What it shows commented out is right, too.
    let uncommented: String = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with('[')).unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n");
    fs::write(here.join("all.toml"), &uncommented).expect("own folder");
    let output = poolpick(here, &["check", "--manifest", "all.toml", "nothing"]);
    assert!(err(&output).contains("`nothing` is no stage of `all.toml`"), "{}\n{uncommented}", err(&output));
    for file in ["misrouted.json", "native.json", "hostile.json"] {
        ends(&poolpick(here, &["init", "--force", "--from", &golden(file)]), PASS);
        let output = poolpick(here, &["check", "nothing"]);
        ends(&output, USAGE);
        assert!(err(&output).contains("is no stage of"), "{file}: {}", err(&output));
    }
}

#[test]
fn compare_tells_changes_and_fails_on_those_that_are_asked_about() {
    let here = tempfile::tempdir().expect("a temporary folder");
    let base = golden("misrouted.json");
    let mut report: Value = serde_json::from_str(&fs::read_to_string(&base).expect("a golden")).expect("JSON");
    report["stages"][0]["score"] = 0.95.into();
    report["stages"][0]["score_interval"] = serde_json::json!([0.93, 0.97]);
    report["stages"][0]["class"] = "cpu-bound".into();
    let head: PathBuf = here.path().join("head.json");
    fs::write(&head, report.to_string()).expect("own folder");
    let head = head.display().to_string();
    let compare = |words: &[&str]| poolpick(here.path(), &[&["compare"], words].concat());
    ends(&compare(&[&base, &base, "--fail-on", "class-change,slower"]), PASS);
    ends(&compare(&[&base, &head]), PASS);
    ends(&compare(&[&base, &head, "--fail-on", "slower"]), PASS);
    let output = compare(&[&base, &head, "--fail-on", "slower,class-change"]);
    ends(&output, MISROUTED);
    assert!(out(&output).contains("pipeline.fetch: class-change: io-bound became cpu-bound"), "{}", out(&output));
    let json = json(&compare(&[&base, &head, "--format", "json"]));
    assert_eq!((&json["kind"], &json["changes"][0]["kind"]), (&"compare".into(), &"class-change".into()));
    assert!(out(&compare(&[&base, &head, "--format", "markdown"])).contains("| class-change |"));
    ends(&compare(&[&base, "nowhere.json"]), USAGE);
    ends(&compare(&[&base, &head, "--fail-on", "weather"]), USAGE);
}
