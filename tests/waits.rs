//! Waits that a program in C makes and Python cannot: in turns as long as it computes, until a time-out that nobody cuts
//! short. However it waits, its score is 0.5, and no interval may say otherwise.

mod support;

use std::process::Command;
use support::{Hogs, PERF, Profile, Rung, SCHEDSTAT, alone, each, fixture, measured, skip};

/// Which half of its time the program computes for.
const SCORE: f64 = 0.5;
/// How far a score may be off where the interval does not say more.
const TOLERANCE: f64 = 0.08;
/// The program's status where the kernel has no message queues.
const LACKS: i32 = 77;

/// The program, built; says so where there is no compiler.
fn built() -> Option<String> {
    let path = format!("{}/waits", env!("CARGO_TARGET_TMPDIR"));
    let compiled = Command::new("cc").args(["-O1", "-pthread", "-o", &path, &fixture("waits.c"), "-lrt"]).output();
    match compiled {
        Ok(output) if output.status.success() => Some(path),
        Ok(output) => {
            skip(&format!("cc: {}", String::from_utf8_lossy(&output.stderr)));
            None
        }
        Err(error) => {
            skip(&format!("no C compiler: {error}"));
            None
        }
    }
}

fn holds(rung: Rung, program: &str, name: &str) {
    let profiled = Profile::of(rung, &[program, name, "150"]).run();
    if profiled.output.status.code() == Some(LACKS) {
        return skip("no message queues here");
    }
    assert!(profiled.output.status.success(), "{:?}", profiled.output);
    let report = &profiled.report;
    let stage = report.stage("waits").unwrap_or_else(|| panic!("no stage: {:#}", report.0));
    let (low, high) = stage.interval().unwrap_or_else(|| panic!("no score: {:#}", report.0));
    println!("  {} {} {:?} ({low:.3}, {high:.3})", rung.name, stage.class(), stage.score());
    assert!((low - TOLERANCE..=high + TOLERANCE).contains(&SCORE), "{:#}", report.0);
    assert!(["hybrid", "unknown"].contains(&stage.class()), "{:#}", report.0);
}

fn hold(rung: Rung) {
    let (Some(program), true) = (built(), rung.is_here()) else { return };
    let names = ["idle-threads", "pool", "eventfd", "socketpair", "queue"];
    each(names.map(|name| (name.to_owned(), name)), |name| measured(|| holds(rung, &program, name)));
}

#[test]
fn time_outs_that_run_out_are_own_waits_with_records() {
    let _turn = alone();
    hold(PERF);
}

#[test]
fn time_outs_that_run_out_are_own_waits_with_records_beside_hogs() {
    let _turn = alone();
    let _hogs = Hogs::start(4);
    hold(PERF);
}

#[test]
fn time_outs_that_may_run_out_leave_the_score_open_with_readings() {
    let _turn = alone();
    hold(SCHEDSTAT);
}
