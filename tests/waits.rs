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
