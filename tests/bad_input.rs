//! Misuse, unwritable places, targets that cannot run or do not end, and files that are not what they claim: a clear
//! error, its exit status, and nothing lost. The statuses are those of `src/cli/exit.rs`.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{PERF, POOLPICK, Profile, RUSAGE, SCHEDSTAT, checked, each, python, root, workload};

/// poolpick failed or was misused, as a wrapper.
const FAILED: i32 = 125;
/// Misuse or unusable input of a command that wraps nothing.
const USAGE: i32 = 2;

fn poolpick(words: &[&str]) -> Output {
    let mut command = Command::new(POOLPICK);
    command.args(words).stdin(Stdio::null()).env("POOLPICK_DISABLE", "");
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).output().expect("poolpick can be started")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A message names what was wrong, once, and shows a way out; nothing panicked.
fn helps(output: &Output, offending: &str) {
    let said = said(output);
    assert!(said.contains(offending), "`{offending}` is not named: {said}");
    let way_out = said.contains("hint:") || said.contains("tip:") || said.contains("--help");
    assert!(way_out, "no way out: {said}");
    for line in ["panicked", "RUST_BACKTRACE"] {
        assert!(!said.contains(line), "{said}");
    }
    assert!(said.matches("hint:").count() <= 1, "said twice: {said}");
}

/// What stands after `profile`, as words split at blanks, and what of it the message must name.
const MISUSE: [(&str, &str); 46] = [
    ("--runs 0", "0"),
    ("--runs 1001", "1001"),
    ("--runs many", "many"),
    ("--runs 1.5", "1.5"),
    ("--warmup -1", "-1"),
    ("--warmup 1001", "1001"),
    ("--timeout 0", "0"),
    ("--timeout soon", "soon"),
    ("--timeout -1", "-1"),
    ("--timeout 1e30", "1e30"),
    ("--timeout nan", "nan"),
    ("--interval 0.1ms", "0.1ms"),
    ("--interval 2m", "2m"),
    ("--interval often", "often"),
    ("--io-threshold 1.5", "1.5"),
    ("--io-threshold nan", "nan"),
    ("--io-threshold 0.9", "0.9"),
    ("--cpu-threshold 0.1", "0.1"),
    ("--cpu-threshold much", "much"),
    ("--ipc-threshold -1", "-1"),
    ("--payload-in lots", "lots"),
    ("--payload-in -1", "-1"),
    ("--payload-out 99999999999999999999999", "99999999999999999999999"),
    ("--executor fiber", "fiber"),
    ("--format pdf", "pdf"),
    ("--color maybe", "maybe"),
    ("--export json", "json"),
    ("--export pdf=report", "pdf"),
    ("--export json=", "json="),
    ("--format json --export json=-", "stdout"),
    ("--python maybe", "maybe"),
    ("--stage parse", "parse"),
    ("--stage =etl:parse", "=etl:parse"),
    ("--stage parse=", "parse="),
    ("--stage parse=parse", "`parse`"),
    ("--stage parse=etl:", "``"),
    ("--stage parse=:parse", "``"),
    ("--stage parse=etl:1st", "`1st`"),
    ("--stage parse=etl:a.<locals>.b", "`a.<locals>.b`"),
    ("--stage parse=etl..steps:parse", "`etl..steps`"),
    ("--stage a\nb=etl:parse", "line break"),
    ("--python sample --stage parse=etl:parse", "--python agent"),
    ("--stage parse=etl:a --stage parse=etl:b", "`parse`"),
    ("--frobnicate", "--frobnicate"),
    ("--run 3", "--run"),
    ("-x", "-x"),
];

#[test]
fn misuse_of_profile_is_told_and_nothing_runs() {
    each(MISUSE.map(|case| (case.0.to_owned(), case)), |(options, offending)| {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("ran").display().to_string();
        let words: Vec<&str> =
            ["profile"].into_iter().chain(options.split(' ')).chain(["--", "touch", &trace]).collect();
        let output = poolpick(&words);
        assert!(!Path::new(&trace).exists(), "the target ran");
        assert_eq!(output.status.code(), Some(FAILED), "{output:?}");
        helps(&output, offending);
        assert!(output.stdout.is_empty());
    });
}

#[test]
fn misuse_of_the_rest_is_told() {
    let cases: [(&[&str], &str, i32); 8] = [
        (&["profile"], "<CMD>", FAILED),
        (&["profile", "--"], "<CMD>", FAILED),
        (&["report"], "<FILE>", USAGE),
        (&["report", "--io-threshold", "7", "/dev/null"], "7", USAGE),
        (&["report", "--format", "pdf", "/dev/null"], "pdf", USAGE),
        (&["doctor", "--yaml"], "--yaml", USAGE),
        (&["profil"], "profil", USAGE),
        (&["completions", "tcl"], "tcl", USAGE),
    ];
    each(cases.map(|case| (case.0.join(" "), case)), |(words, offending, status)| {
        let output = poolpick(words);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        helps(&output, offending);
    });
    assert_eq!(poolpick(&[]).status.code(), Some(USAGE));
    for words in [&["--help"][..], &["--version"], &["profile", "--help"], &["schema"], &["man"]] {
        let output = poolpick(words);
        assert!(output.status.success() && !output.stdout.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn an_unknown_source_is_no_source() {
    let output =
        Command::new(POOLPICK).args(["profile", "--", "true"]).env("POOLPICK_DISABLE", "wings").output().unwrap();
    assert_eq!(output.status.code(), Some(FAILED));
    assert!(said(&output).contains("`wings`"), "{output:?}");
    let output = Command::new(POOLPICK).arg("doctor").env("POOLPICK_DISABLE", "perf,wings").output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE));
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_the_target_runs() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name).display().to_string();
    fs::write(of("file"), "").unwrap();
    let mut places =
        vec![of("no/such/folder/x"), of("file/x"), folder.path().display().to_string(), "/proc/x".to_owned()];
    fs::create_dir(of("closed")).unwrap();
    fs::set_permissions(of("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    if !root() {
        places.push(of("closed/x"));
    }
    fs::write(of("kept"), "precious").unwrap();
    fs::set_permissions(of("kept"), fs::Permissions::from_mode(0o400)).unwrap();
    places.push(of("kept"));
    let options = ["--export=json=", "--output=", "--record="];
    let cases = places.iter().flat_map(|place| options.map(|option| (format!("{option}{place}"), (option, place))));
    each(cases, |(option, place)| {
        if option == "--record=" && *place == of("kept") && root() {
            return;
        }
        let ran = of("ran");
        let output = poolpick(&["profile", &format!("{option}{place}"), "--", "touch", &ran]);
        assert!(!Path::new(&ran).exists(), "the target ran");
        assert_eq!(output.status.code(), Some(FAILED), "{output:?}");
        helps(&output, place);
    });
    assert_eq!(fs::read_to_string(of("kept")).unwrap(), "precious");
    // One of two cannot be written: the other is not left behind, not even in part.
    let output = poolpick(&["profile", &format!("--export=json={}", of("good")), "--output=/no/such/x", "--", "true"]);
    assert_eq!(output.status.code(), Some(FAILED));
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["closed", "file", "kept"]);
}

#[test]
fn a_report_that_could_not_be_written_shows_only_where_the_target_succeeded() {
    if !Path::new("/dev/full").exists() {
        return support::skip("no /dev/full");
    }
    for (option, exit, status) in [
        ("--export=json=/dev/full", 0, FAILED),
        ("--export=json=/dev/full", 3, 3),
        ("--record=/dev/full", 0, FAILED),
        ("--record=/dev/full", 3, 3),
    ] {
        let output = poolpick(&["profile", option, "--", "sh", "-c", &format!("echo out; exit {exit}")]);
        assert_eq!(output.status.code(), Some(status), "{option}: {output:?}");
        assert_eq!(output.stdout, b"out\n");
        assert!(said(&output).contains("`/dev/full`"), "{output:?}");
        // The other report is not lost for it.
        assert!(said(&output).contains("measured by"), "{output:?}");
    }
}

#[test]
fn what_cannot_run_leaves_no_report_and_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name).display().to_string();
    fs::write(of("plain"), "#!/bin/sh\n").unwrap();
    fs::write(of("torn"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(of("torn"), fs::Permissions::from_mode(0o755)).unwrap();
    let cases: [(String, i32); 8] = [
        ("no-such-program-anywhere".to_owned(), 127),
        (of("absent"), 127),
        (of("plain"), 126),
        (folder.path().display().to_string(), 126),
        (of("torn"), 127),
        (of("plain/x"), 126),
        (String::new(), 127),
        ("x".repeat(5000), 127),
    ];
    each(cases.map(|case| (case.0.chars().take(60).collect(), case)), |(program, status)| {
        let report = of("report");
        let output = poolpick(&["profile", &format!("--export=json={report}"), "--", &program]);
        let written = fs::remove_file(&report).is_ok();
        // Which of the two it is for a path through a file, the kernel decides (ENOTDIR); a shell says 126 or 127.
        let either = program.ends_with("/x") || program.len() > 4096;
        let code = output.status.code().unwrap();
        assert!(code == status || either && [126, 127].contains(&code), "{output:?}");
        assert!(said(&output).contains(&*program.escape_debug().to_string()), "{output:?}");
        assert!(!written, "a report of nothing");
    });
}

#[test]
fn a_script_without_an_interpreter_line_is_the_shells() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "exit $1\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(poolpick(&["profile", "--quiet", "--", script.to_str().unwrap(), "9"]).status.code(), Some(9));
}

#[test]
fn a_time_out_kills_the_tree_and_says_124() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name).display().to_string();
    for rung in [PERF, SCHEDSTAT, RUSAGE] {
        if !rung.is_here() {
            continue;
        }
        // A child and a grandchild; each tells its pid before it sleeps.
        let line = format!(
            "sh -c 'echo $$ >{0}; exec sleep 600' & sh -c 'sleep 600 & echo $! >{1}; wait' & wait",
            of("one"),
            of("two")
        );
        let began = Instant::now();
        let profiled = Profile::of(rung, &["sh", "-c", &line]).with(&["--timeout", "700ms"]).run();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(profiled.output.status.code(), Some(124), "{:?}", profiled.output);
        let report = &profiled.report;
        assert_eq!(report.0["target"]["timed_out"], true);
        let wall = report.number("/target/wall_seconds");
        assert!((0.7..3.0).contains(&wall), "{wall}");
        for name in ["one", "two"] {
            let pid: u32 = fs::read_to_string(of(name)).unwrap().trim().parse().unwrap();
            assert!(gone(pid), "{}: {name} lives on as {pid}", rung.name);
        }
    }
}

/// Whether a process ends within a while.
fn gone(pid: u32) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with(['Z', 'X'])) {
            return true;
        }
        if Instant::now() > until {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            return false;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_target_deaf_to_term_is_killed() {
    // TERM is ignored by the whole tree; KILL comes five seconds later.
    let line = "trap '' TERM; while :; do sleep 600; done";
    let began = Instant::now();
    let profiled = Profile::of(RUSAGE, &["sh", "-c", line]).with(&["--timeout", "300ms"]).run();
    assert_eq!(profiled.output.status.code(), Some(124), "{:?}", profiled.output);
    assert_eq!(profiled.report.0["target"]["signal"], 9);
    assert!(began.elapsed() >= Duration::from_secs(5) && began.elapsed() < Duration::from_secs(20));
}

#[test]
fn the_targets_end_is_told_as_it_was() {
    for (line, code, signal) in
        [("exit 0", Some(0), None), ("exit 42", Some(42), None), ("kill -TERM $$", None, Some(15))]
    {
        let profiled = Profile::of(PERF, &["sh", "-c", line]).run();
        let target = &profiled.report.0["target"];
        assert_eq!((target["exit_code"].as_i64(), target["signal"].as_i64()), (code, signal));
        let status = profiled.output.status;
        assert_eq!(status.code().map(i64::from), code);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status).map(i64::from), signal);
    }
}

/// A trace of a short run, and the report that was written with it.
fn recorded(folder: &Path, python: &str) -> (String, serde_json::Value) {
    let file = folder.join("trace").display().to_string();
    let argv = workload(python, &["interleaved", "--seconds", "0.4"]);
    let report = Profile::of(PERF, &argv).with(&["--record", &file]).run().report;
    (file, report.0)
}

/// A report without what only a live run can say.
fn replayable(mut report: serde_json::Value) -> String {
    report["sources"]["notes"] = serde_json::Value::Null;
    report["sources"]["overhead_cpu_seconds"] = serde_json::Value::Null;
    report["payload_price"] = serde_json::Value::Null;
    for stage in report["stages"].as_array_mut().expect("a list") {
        // Prices are measured on the host that judges, and not while another's trace is.
        stage["ipc"]["seconds_per_task"] = serde_json::Value::Null;
        stage["ipc"]["share_of_latency"] = serde_json::Value::Null;
    }
    serde_json::to_string_pretty(&report).expect("JSON")
}

#[test]
fn a_recorded_trace_gives_the_same_report() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = ["sh", "-c", "seq 1 200000 | gzip -9 | (sleep 0.1; cat >/dev/null)"].map(str::to_owned).to_vec();
    let cases = [
        ("interleaved", workload(python, &["interleaved", "--seconds", "0.4"])),
        ("gil-fight", workload(python, &["gil-fight", "--seconds", "0.3"])),
        ("pipeline", pipeline),
    ];
    for rung in [PERF, SCHEDSTAT, RUSAGE] {
        if !rung.is_here() {
            continue;
        }
        each(cases.clone().map(|(name, argv)| (format!("{} {name}", rung.name), argv)), |argv| {
            let trace = folder.path().join("trace").display().to_string();
            let live = Profile::of(rung, &argv).with(&["--record", &trace]).run().report;
            let output = poolpick(&["report", "--format", "json", &trace]);
            assert!(output.status.success(), "{output:?}");
            let again = checked(&String::from_utf8(output.stdout).unwrap());
            let (live, again) = (replayable(live.0), replayable(again));
            let differ: Vec<_> = live.lines().zip(again.lines()).filter(|(one, other)| one != other).collect();
            assert!(live == again, "{differ:#?}");
        });
    }
}

#[test]
fn a_saved_report_is_rendered_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let report = Profile::of(PERF, &["sh", "-c", "seq 1 1000 >/dev/null"]).run().report;
    fs::write(&file, serde_json::to_string(&report.0).unwrap()).unwrap();
    let output = poolpick(&["report", "--format", "json", file.to_str().unwrap()]);
    assert_eq!(checked(&String::from_utf8(output.stdout).unwrap()), report.0);
    for format in ["table", "markdown"] {
        let output = poolpick(&["report", "--format", format, file.to_str().unwrap()]);
        assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
    }
}

/// What `report` does with these bytes; it may refuse them, but must not panic, hang or eat the machine's memory.
fn reported(folder: &Path, bytes: &[u8], options: &[&str]) -> Output {
    let file = folder.join("hostile").display().to_string();
    fs::write(&file, bytes).unwrap();
    let report = [&["report"], options, &[&file]].concat();
    // 1 GiB of address space is plenty for a reader of bounded memory.
    let limit = ["-c", "ulimit -v 1048576; exec \"$0\" \"$@\"", POOLPICK];
    let output = Command::new("sh").args(limit).args(&report).stdin(Stdio::null()).output().unwrap();
    let said = said(&output);
    assert!(!said.contains("panicked") && output.status.code().is_some(), "{output:?}");
    if output.status.success() {
        assert!(!output.stdout.is_empty());
    } else {
        assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
        assert!(said.contains(&file), "{said}");
        assert!(said.contains("hint:"), "{said}");
        assert!(said.matches("trace").count() < 12, "{said}");
        assert!(!said.contains('\u{1b}'), "a terminal escape gets through: {said:?}");
    }
    output
}

#[test]
fn a_trace_that_was_cut_off_is_refused_and_judged_in_part_on_request() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, report) = recorded(folder.path(), python);
    let whole = fs::read(&file).unwrap();
    for length in [0, 1, 14, 15, 17, 18, 100, whole.len() / 2, whole.len() - 1] {
        let output = reported(folder.path(), &whole[..length], &[]);
        assert_eq!(output.status.code(), Some(USAGE), "{length} bytes: {output:?}");
    }
    let cut = &whole[..whole.len() - 1];
    assert!(said(&reported(folder.path(), cut, &[])).contains("--partial"));
    let output = reported(folder.path(), cut, &["--partial", "--format", "json"]);
    let part = checked(&String::from_utf8(output.stdout).unwrap());
    assert!(part["target"]["exit_code"].is_null() && part["totals"]["cpu_user_seconds"].is_null(), "{part:#}");
    assert!(part["sources"]["notes"].to_string().contains("not whole"), "{part:#}");
    // All but its end: the same class, for the part that is there.
    assert_eq!(part["stages"][0]["name"], report["stages"][0]["name"]);
    let score = |report: &serde_json::Value| report["stages"][0]["score"].as_f64().unwrap();
    assert!((score(&part) - score(&report)).abs() < 0.1, "{part:#}");
}

#[test]
fn hostile_files_are_refused() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, report) = recorded(folder.path(), python);
    let whole = fs::read(&file).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(..bytes.len());
            bytes[place] = bytes[place].wrapping_add(random.u8(1..));
        }
        assert_eq!(reported(folder.path(), &bytes, &[]).status.code(), Some(USAGE));
        reported(folder.path(), &bytes, &["--partial"]);
    }
    let mut version = whole.clone();
    version[15] = version[15].wrapping_add(1);
    let newer = reported(folder.path(), &version, &[]);
    assert_eq!(newer.status.code(), Some(USAGE));
    helps(&newer, &format!("the trace has format version `{}`", version[15]));
    let deep = "[".repeat(200_000);
    let text = serde_json::to_string(&report).unwrap();
    let with = |from: &str, to: &str| text.replacen(from, to, 1).into_bytes();
    let cases: [(&str, Vec<u8>); 14] = [
        ("noise", (0..5000).map(|_| random.u8(..)).collect()),
        ("newer", version),
        ("doubled", [&whole[..], &whole[..]].concat()),
        ("escape", b"\x1b]0;owned\x07 not a trace".to_vec()),
        ("empty object", b"{}".to_vec()),
        ("half an object", b"{\"schema_version\"".to_vec()),
        ("deep", format!("{{\"schema_version\": \"0.1\", \"stages\": {deep}").into_bytes()),
        ("later schema", with("\"schema_version\":\"0.2\"", "\"schema_version\":\"7.0\"")),
        ("no schema", with("\"schema_version\":\"0.2\",", "")),
        ("wrong kind", with("\"kind\":\"profile\"", "\"kind\":\"\u{1b}[2J\"")),
        ("wrong type", with("\"stages\":[", "\"stages\":[7,")),
        ("bytes", [b"{\"schema_version\": \"", &[0xff, 0xfe][..], b"\"}"].concat()),
        ("huge number", with("\"runs\":1", "\"runs\":1e400")),
        ("text", b"plainly not a report\n".to_vec()),
    ];
    each(cases.map(|(name, bytes)| (name.to_owned(), bytes)), |bytes| {
        assert_eq!(reported(folder.path(), &bytes, &[]).status.code(), Some(USAGE));
    });
    for absent in [folder.path().join("absent").display().to_string(), folder.path().display().to_string()] {
        let output = poolpick(&["report", &absent]);
        assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
        assert!(said(&output).contains(&absent) && said(&output).contains("hint:"), "{output:?}");
    }
}

#[test]
fn a_saved_reports_names_cannot_reach_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let report = Profile::of(PERF, &["sh", "-c", "seq 1 1000 >/dev/null"]).run().report;
    let mut hostile = report.0;
    for stage in hostile["stages"].as_array_mut().unwrap() {
        stage["name"] = "\u{1b}]0;owned\u{7}\u{202e}x\n::error::y".into();
    }
    hostile["target"]["argv"] = serde_json::json!(["\u{1b}[2J"]);
    hostile["sources"]["notes"] = serde_json::json!(["\u{1b}[31mnote\r\n"]);
    for format in ["table", "markdown"] {
        let output = reported(folder.path(), hostile.to_string().as_bytes(), &["--format", format]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let bad = text.chars().find(|sign| sign.is_control() && *sign != '\n' || *sign == '\u{202e}');
        assert!(bad.is_none() && !text.contains("\n::error"), "{bad:?}: {text}");
    }
}

#[test]
fn a_machine_format_goes_to_stdout_and_the_targets_own_does_not() {
    let output = poolpick(&["profile", "--format", "json", "--", "sh", "-c", "echo mine; seq 1 1000 >/dev/null"]);
    assert!(output.status.success(), "{output:?}");
    checked(&String::from_utf8(output.stdout.clone()).unwrap());
    assert!(said(&output).contains("mine"));
}
