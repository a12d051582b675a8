//! Waits whose demand is known, of a program in C: whatever it waits by and whoever waits beside it, its score is 0.5.

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::{PERF, Profile, Rung, SCHEDSTAT, alone, each, fixture, measured, skip};

/// How it waits.
const NAMES: [&str; 5] = ["idle-threads", "pool", "eventfd", "socketpair", "queue"];
/// What the kernel's clock and the program's own loop add to either side.
const SLACK: f64 = 0.02;
/// How far the score may be off where records tell each wait.
const OFF: f64 = 0.08;
/// What the program says where the kernel has no message queues.
const NO_QUEUES: i32 = 77;

/// The program, built into `folder`.
fn built(folder: &tempfile::TempDir) -> Option<String> {
    let program: PathBuf = folder.path().join("waits");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-pthread", "-o"]).arg(&program).arg(fixture("waits.c")).arg("-lrt");
    match compiler.status() {
        Ok(status) => {
            assert!(status.success(), "the fixture is not C");
            Some(program.display().to_string())
        }
        Err(error) => {
            skip(&format!("no C compiler: {error}"));
            None
        }
    }
}

fn half_of_it_is_waited(rung: Rung, check: impl Fn(f64)) {
    let folder = tempfile::tempdir().unwrap();
    let (true, Some(program)) = (rung.is_here(), built(&folder)) else { return };
    let _turn = alone();
    each(NAMES.map(|name| (name.to_owned(), name)), |name| {
        measured(|| {
            let profiled = Profile::of(rung, &[program.as_str(), name, "150"]).run();
            if profiled.output.status.code() == Some(NO_QUEUES) {
                return skip("no message queues here");
            }
            assert!(profiled.output.status.success(), "{:?}", profiled.output);
            let stages = profiled.report.stages();
            let (low, high) = stages[0].interval().expect("it ran");
            assert!(low <= 0.5 + SLACK && high >= 0.5 - SLACK, "0.5 is not in {low}..{high}: {:#}", stages[0].0);
            assert!(["hybrid", "unknown"].contains(&stages[0].class()), "{:#}", stages[0].0);
            check(stages[0].score().expect("it ran"));
        })
    });
}

#[test]
fn by_records_a_time_out_that_nobody_cuts_short_is_a_sleep() {
    half_of_it_is_waited(PERF, |score| assert!((score - 0.5).abs() < OFF, "{score}"));
}

/// Whether a wait lasted until its time-out is not seen; the score may be open, but it may not be wrong.
#[test]
fn without_records_a_time_out_that_nobody_cuts_short_leaves_no_wrong_score() {
    half_of_it_is_waited(SCHEDSTAT, |_| ());
}

/// Who computed when the program started and will when it ends does nothing of the kind meanwhile.
#[test]
fn who_looks_whether_others_are_done_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = built(&folder) else { return };
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT].into_iter().filter(|rung| rung.is_here()) {
        measured(|| {
            let profiled = Profile::of(rung, &[program.as_str(), "looks", "150"]).run();
            let stages = profiled.report.stages();
            assert!(stages[0].score().is_some_and(|score| score > 0.9), "{}: {:#}", rung.name, stages[0].0);
        });
    }
}

/// Computes, and lets `sleep` pass the time: directly, and by way of another shell.
const SCRIPT: &str =
    "for i in 1 2 3 4 5; do j=0; while [ $j -lt 20000 ]; do j=$((j+1)); done; sleep 0.3; sh -c 'sleep 0.2; :'; done";

#[test]
fn who_starts_sleep_and_waits_for_it_sleeps() {
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT].into_iter().filter(|rung| rung.is_here()) {
        measured(|| {
            let profiled = Profile::of(rung, &["sh", "-c", SCRIPT]).run();
            let stages = profiled.report.stages();
            assert_eq!(stages.len(), 1, "{}: {:#}", rung.name, profiled.report.0);
            let stage = &stages[0];
            let cpu = stage.0["time"]["cpu_seconds"].as_f64().expect("it computed");
            let (score, truth) = (stage.score().expect("it ran"), cpu / (cpu + 2.5));
            assert!((score - truth).abs() < OFF, "{}: {score} is not {truth}: {:#}", rung.name, stage.0);
            let sleep = stage.0["time"]["wait_seconds"]["sleep"].as_f64();
            assert!(sleep.is_some_and(|sleep| sleep > 2.0), "{}: {:#}", rung.name, stage.0);
        });
    }
}
