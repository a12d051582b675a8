//! Saved reports as inputs: no command writes over what it reads, and what `check` wrote is taken wherever a profile is.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{POOLPICK, each};

const MISROUTED: i32 = 1;
const USAGE: i32 = 2;

fn poolpick(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(POOLPICK);
    command.current_dir(folder).args(words).stdin(Stdio::null()).env_remove("CI");
    command.output().expect("poolpick can be started")
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

/// A folder with a report, under two names, the result of a gate, and a manifest.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/misrouted.json");
    fs::copy(golden, here.join("a.json")).expect("own folder");
    fs::hard_link(here.join("a.json"), here.join("link.json")).expect("own folder");
    let manifest = "extend = \"base.toml\"\n[stages.a]\nshell = \"touch ran\"\n";
    fs::write(here.join("poolpick.toml"), manifest).expect("own folder");
    fs::write(here.join("base.toml"), "[gate]\nmargin = 0.2\n").expect("own folder");
    fs::write(here.join("stage.sh"), "#!/bin/sh\ntouch ran\n").expect("own folder");
    fs::write(here.join("rows.jsonl"), "1\n").expect("own folder");
    ends(&poolpick(here, &["check", "--from", "a.json", "--export", "json=gate.json", "--quiet"]), MISROUTED);
    folder
}

#[test]
fn nothing_is_written_over_what_is_read() {
    let cases: [&[&str]; 13] = [
        &["report", "a.json", "-o", "a.json"],
        &["report", "a.json", "--format", "html", "-o", "link.json"],
        &["report", "gate.json", "--export", "json=./gate.json"],
        &["check", "--from", "a.json", "--export", "json=link.json"],
        &["check", "-o", "poolpick.toml"],
        &["check", "--export", "junit=./base.toml"],
        &["check", "--manifest", "base.toml", "--export", "json=base.toml"],
        &["compare", "a.json", "gate.json", "-o", "gate.json"],
        &["compare", "link.json", "gate.json", "-o", "a.json"],
        &["init", "--from", "a.json", "--force", "-o", "link.json"],
        &["race", "etl:work", "--items", "etl:ROWS", "--from", "a.json", "-o", "a.json"],
        &["race", "etl:work", "--items", "rows.jsonl", "--no-profile", "-o", "rows.jsonl"],
        &["profile", "--record", "stage.sh", "--", "sh", "stage.sh"],
    ];
    each(cases.map(|words| (words.join(" "), words)), |words| {
        let folder = folder();
        let all = || {
            let files = fs::read_dir(folder.path()).expect("own folder").map(|file| file.expect("a file").path());
            let mut files: Vec<_> = files.map(|file| (file.clone(), fs::read(&file).expect("own file"))).collect();
            files.sort();
            files
        };
        let before = all();
        let output = poolpick(folder.path(), words);
        ends(&output, if words[0] == "profile" { 125 } else { USAGE });
        assert!(err(&output).contains("is what this command reads, and would be overwritten"), "{}", err(&output));
        assert!(before == all(), "something was written");
    });
}

#[test]
fn two_spellings_of_one_file_that_is_not_there_are_one_output() {
    let folder = folder();
    let words = ["report", "a.json", "--export", "json=new.json", "--export", "markdown=./new.json"];
    let output = poolpick(folder.path(), &words);
    ends(&output, USAGE);
    assert!(err(&output).contains("is given for two outputs"), "{}", err(&output));
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

#[test]
fn the_result_of_a_gate_is_taken_where_a_profile_is() {
    let folder = folder();
    let run = |words: &[&str]| poolpick(folder.path(), words);
    // As it was.
    let output = run(&["report", "gate.json"]);
    ends(&output, 0);
    assert!(out(&output).starts_with("misrouted: pipeline.fetch runs under the wrong executor"), "{}", out(&output));
    let rendered = json(&run(&["report", "gate.json", "--format", "json"]));
    assert_eq!(
        rendered,
        serde_json::from_slice::<Value>(&fs::read(folder.path().join("gate.json")).expect("it")).expect("JSON")
    );
    let output = run(&["report", "gate.json", "--cores", "8"]);
    ends(&output, USAGE);
    assert!(err(&output).contains("`poolpick check --from gate.json`"), "{}", err(&output));
    // Judged again: by the same rules the same, by others another.
    let again = json(&run(&["check", "--from", "gate.json", "--format", "json"]));
    for part in ["results", "findings", "stages"] {
        assert_eq!(again[part], rendered[part], "{part}");
    }
    // For another machine it says what its profile does; without what dispatch costs, nothing.
    let other = ["--cores", "16", "--memory", "64GiB", "--format", "json"];
    let output = run(&[&["check", "--from", "gate.json"], &other[..]].concat());
    ends(&output, USAGE);
    assert!(err(&output).contains("carries no `costs`"), "{}", err(&output));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/rescored.json");
    fs::copy(golden, folder.path().join("priced.json")).expect("own folder");
    let saved = ["check", "--from", "priced.json", "--export", "json=priced-gate.json", "--quiet"];
    assert!(run(&saved).status.code().is_some_and(|status| status < 4));
    let gate = json(&run(&[&["check", "--from", "priced-gate.json"], &other[..]].concat()));
    let profile = json(&run(&[&["report", "priced.json"], &other[..]].concat()));
    assert_eq!((&gate["asked"]["cores"], &gate["asked"]["memory_bytes"]), (&16.0.into(), &(64u64 << 30).into()));
    let stages = |report: &Value| report["stages"].as_array().expect("a list").clone();
    for stage in stages(&gate) {
        let same = stages(&profile).into_iter().find(|other| other["id"] == stage["id"]).expect("it is there");
        for key in ["/predictions", "/recommendation/executor", "/recommendation/workers", "/verdict"] {
            assert_eq!(stage.pointer(key), same.pointer(key), "{key} of {}", stage["name"]);
        }
    }
    let output = run(&["check", "--from", "gate.json", "--margin", "0.7"]);
    ends(&output, 0);
    // Stage by stage as its profile.
    let output = run(&["compare", "a.json", "gate.json", "--format", "json"]);
    ends(&output, 0);
    let compared = json(&output);
    assert_eq!(compared["compared"], rendered["stages"].as_array().expect("a list").len(), "{compared}");
    assert!(compared["changes"].as_array().expect("a list").iter().all(|change| change["kind"] == "removed"));
    // A manifest with what it tells.
    let output = run(&["init", "--from", "gate.json", "-o", "-"]);
    ends(&output, 0);
    assert!(out(&output).contains("\"pipeline.fetch\" = "), "{}", out(&output));
    fs::write(folder.path().join("new.toml"), out(&output)).expect("own folder");
    let output = run(&["check", "--manifest", "new.toml", "nothing"]);
    assert!(err(&output).contains("`nothing` is no stage of `new.toml`"), "{}", err(&output));
    // Another kind of file is still none, nor is half a race.
    fs::write(folder.path().join("race.json"), r#"{"schema_version": "0.1", "kind": "race"}"#).expect("own folder");
    fs::write(folder.path().join("compare.json"), r#"{"schema_version": "0.1", "kind": "compare"}"#)
        .expect("own folder");
    for (file, said) in [("race.json", "missing field"), ("compare.json", "it is what `poolpick compare` wrote")] {
        let output = run(&["report", file]);
        ends(&output, USAGE);
        assert!(err(&output).contains(said), "{}", err(&output));
    }
}

#[test]
fn what_failed_in_a_gate_has_no_verdict_when_it_is_judged_again() {
    let folder = folder();
    fs::write(folder.path().join("poolpick.toml"), "[stages.a]\nshell = \"echo no; exit 7\"\n").expect("own folder");
    let run = |words: &[&str]| poolpick(folder.path(), words);
    ends(&run(&["check", "--export", "json=failed.json", "--quiet"]), 3);
    let output = run(&["check", "--from", "failed.json"]);
    ends(&output, 3);
    assert!(out(&output).contains("stage-failed: a (poolpick.toml:1)"), "{}", out(&output));
    assert!(out(&output).contains("exited with status 7") && out(&output).contains("| no"), "{}", out(&output));
}

#[test]
fn stages_of_the_same_name_are_told_apart_by_their_files() {
    let folder = folder();
    fs::copy(folder.path().join("a.json"), folder.path().join("b.json")).expect("own folder");
    let output = poolpick(folder.path(), &["check", "--from", "a.json", "--from", "b.json"]);
    ends(&output, MISROUTED);
    for name in ["pipeline.fetch (a.json)", "pipeline.fetch (b.json)"] {
        assert!(out(&output).matches(name).count() >= 2, "in the finding and in the table: {}", out(&output));
    }
    let output = poolpick(folder.path(), &["check", "--from", "a.json"]);
    assert!(!out(&output).contains("(a.json)"), "{}", out(&output));
}

#[test]
fn several_reports_follow_one_option() {
    let folder = folder();
    fs::copy(folder.path().join("a.json"), folder.path().join("b.json")).expect("own folder");
    let of = |words: &[&str]| {
        let output = poolpick(folder.path(), &[&["check", "--format", "json"], words].concat());
        ends(&output, MISROUTED);
        json(&output)
    };
    let (together, apart) = (of(&["--from", "a.json", "b.json"]), of(&["--from", "a.json", "--from", "b.json"]));
    assert_eq!(together["results"], apart["results"]);
    assert_eq!(together["results"].as_array().map(Vec::len), apart["stages"].as_array().map(Vec::len));
    let names = together["results"].as_array().expect("a list").iter().map(|result| &result["name"]);
    assert!(names.into_iter().any(|name| name == "pipeline.fetch (b.json)"), "{together:#}");
    let output = poolpick(folder.path(), &["check", "--from", "a.json", "fetch"]);
    ends(&output, USAGE);
    assert!(err(&output).contains("cannot read `fetch`"), "{}", err(&output));
}

#[test]
fn a_file_without_end_is_no_report() {
    let cases: [&[&str]; 6] = [
        &["report", "endless.json"],
        &["check", "--from", "/dev/zero"],
        &["check", "--from", "a.json", "--baseline", "/dev/zero"],
        &["compare", "a.json", "/dev/zero"],
        &["init", "--from", "/dev/zero", "-o", "-"],
        &["race", "etl:work", "--items", "rows.jsonl", "--from", "/dev/zero"],
    ];
    let folder = folder();
    // Of blanks, so that it looks like JSON from its first byte on, and of no blocks, so that it takes no room.
    let endless = fs::File::create(folder.path().join("endless.json")).expect("own folder");
    std::os::unix::fs::FileExt::write_at(&endless, b" ", 0).expect("own file");
    endless.set_len((256 << 20) + 1).expect("a file with a hole");
    each(cases.map(|words| (words.join(" "), words)), |words| {
        let output = poolpick(folder.path(), words);
        ends(&output, USAGE);
        assert!(err(&output).contains("it holds more than the 256 MiB that are read"), "{}", err(&output));
        assert!(err(&output).contains("hint:"), "{}", err(&output));
    });
    // A trace is told by its first bytes.
    let output = poolpick(folder.path(), &["report", "/dev/zero"]);
    ends(&output, USAGE);
    assert!(err(&output).contains("`/dev/zero`"), "{}", err(&output));
}

#[test]
fn what_a_later_poolpick_wrote_is_read_and_said() {
    let folder = folder();
    let with = |from: &str, to: &str, edit: &dyn Fn(&mut Value)| {
        let mut value: Value =
            serde_json::from_slice(&fs::read(folder.path().join(from)).expect("own file")).expect("JSON");
        edit(&mut value);
        fs::write(folder.path().join(to), value.to_string()).expect("own folder");
    };
    let later = |value: &mut Value| {
        value["schema_version"] = "0.99".into();
        value["unheard_of"] = true.into();
    };
    with("a.json", "a-later.json", &later);
    with("gate.json", "gate-later.json", &later);
    let known = ["check", "--from", "a.json", "--baseline", "known.json"];
    ends(&poolpick(folder.path(), &[&known[..], &["--update-baseline"]].concat()), 0);
    with("known.json", "known-later.json", &later);
    with("a.json", "a-broken.json", &|value| {
        later(value);
        value["stages"] = "elsewhere".into();
    });
    let cases: [(&[&str], &str, i32); 6] = [
        (&["report", "a-later.json"], "a-later.json", 0),
        (&["report", "gate-later.json"], "gate-later.json", 0),
        (&["check", "--from", "a-later.json"], "a-later.json", MISROUTED),
        (&["compare", "a.json", "a-later.json"], "a-later.json", 0),
        (&["init", "--from", "gate-later.json", "-o", "-"], "gate-later.json", 0),
        (&["check", "--from", "a.json", "--baseline", "known-later.json"], "known-later.json", 0),
    ];
    each(cases.map(|case| (case.0.join(" "), case)), |(words, file, status)| {
        let output = poolpick(folder.path(), words);
        ends(&output, status);
        let said = format!("warning: `{file}` was written by a later poolpick (schema version `0.99`");
        assert_eq!(err(&output).matches(&said).count(), 1, "{}", err(&output));
        assert!(!out(&output).contains("unheard_of"), "{}", out(&output));
        let usual: Vec<&str> = words.iter().map(|word| if *word == file { "a.json" } else { *word }).collect();
        if !words.contains(&"--baseline") {
            assert!(!err(&poolpick(folder.path(), &usual)).contains("later"), "{usual:?}");
        }
    });
    // What it does not know would be lost.
    let output =
        poolpick(folder.path(), &[&known[..3], &["--baseline", "known-later.json", "--update-baseline"]].concat());
    ends(&output, USAGE);
    assert!(err(&output).contains("`known-later.json` was written by a later poolpick"), "{}", err(&output));
    let output = poolpick(folder.path(), &["report", "a-broken.json"]);
    ends(&output, USAGE);
    assert!(err(&output).contains("`0.99` is later than `0."), "{}", err(&output));
}

#[test]
fn a_saved_result_keeps_the_name_of_its_pipeline_wherever_it_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (own, other) = (folder.path().join("nightly"), folder.path().join("elsewhere"));
    fs::create_dir(&own).expect("own folder");
    fs::create_dir(&other).expect("own folder");
    fs::write(own.join("poolpick.toml"), "[stages.a]\ncommand = [\"true\"]\n").expect("own folder");
    fs::write(other.join("poolpick.toml"), "[stages.b]\ncommand = [\"true\"]\n").expect("own folder");
    let gate = own.join("gate.json").display().to_string();
    let named = |output: &Output| {
        let text = out(output);
        let after = text.split_once("poolpick_pipeline_name=\"").map(|(_, after)| after.to_owned());
        after.and_then(|after| Some(after.split_once('"')?.0.to_owned())).unwrap_or_else(|| panic!("{text}"))
    };
    for (words, name) in [(&[][..], "nightly"), (&["--pipeline", "etl"], "etl")] {
        let export = format!("json={gate}");
        let check = [&["check", "--quiet", "--export", &export], words].concat();
        ends(&poolpick(&own, &check), 3);
        let output = poolpick(&other, &["report", &gate, "--format", "prometheus"]);
        ends(&output, 0);
        assert_eq!(named(&output), name);
        assert_eq!(named(&poolpick(&other, &["check", "--from", &gate, "--format", "prometheus"])), name);
        let output = poolpick(&other, &["report", &gate, "--format", "prometheus", "--pipeline", "mine"]);
        assert_eq!(named(&output), "mine");
    }
    // One of an older version says nothing; its manifest may be there.
    let mut older: Value = serde_json::from_slice(&fs::read(&gate).expect("written")).expect("JSON");
    assert_eq!(older.as_object_mut().expect("an object").remove("pipeline"), Some("etl".into()));
    fs::write(own.join("older.json"), older.to_string()).expect("own folder");
    let output = poolpick(&own, &["report", "older.json", "--format", "prometheus"]);
    ends(&output, 0);
    assert_eq!(named(&output), "nightly");
}

#[test]
fn a_warning_is_told_whether_its_stage_is_the_only_one_or_not() {
    let folder = folder();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/misrouted.json");
    let mut report: Value = serde_json::from_slice(&fs::read(golden).expect("the golden")).expect("JSON");
    let text = "1000000 tasks a second arrive, and no number of workers gets through more than 50 of them here";
    report["stages"][0]["warnings"] = serde_json::json!([{"code": "rate-unreachable", "text": text}]);
    for alone in [false, true] {
        if alone {
            report["stages"].as_array_mut().expect("a list").truncate(1);
        }
        fs::write(folder.path().join("warned.json"), report.to_string()).expect("own folder");
        for format in ["table", "markdown"] {
            let output = poolpick(folder.path(), &["report", "warned.json", "--format", format]);
            let said = out(&output).replace("\\-", "-");
            assert!(said.contains("rate-unreachable") && said.contains("1000000 tasks"), "{alone} {format}: {said}");
        }
    }
}
