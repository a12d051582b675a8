//! Warnings on real programs: each where it is due, and beside it a program much like the first where it is not.

mod support;

use std::fs;
use std::process::Command;
use support::{Hogs, PERF, POOLPICK, Profile, Report, Rung, SCHEDSTAT, alone, measured, python, skip};

/// Tasks in four processes, each of which computes with so many threads that need no interpreter lock.
const NESTED: &str = r#"
import hashlib, sys, threading
from concurrent.futures import ProcessPoolExecutor
def burn():
    for _ in range(4): hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 60_000)
def task(number):
    threads = [threading.Thread(target=burn) for _ in range(int(sys.argv[1]))]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
if __name__ == "__main__":
    with ProcessPoolExecutor(4) as pool: list(pool.map(task, range(24 // int(sys.argv[1]))))
"#;

/// Tasks that compute without the interpreter lock, in so many threads a core.
const CROWD: &str = r#"
import hashlib, os, sys, time
from concurrent.futures import ThreadPoolExecutor
def task(number):
    hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 60_000)
threads = int(float(sys.argv[1]) * len(os.sched_getaffinity(0)))
end = time.monotonic() + 1.5
with ThreadPoolExecutor(threads) as pool:
    while time.monotonic() < end: list(pool.map(task, range(10 * threads)))
"#;

/// Tasks of 20 ms in two threads, handed in for three seconds at this pace, or 300 of them at once, or 50 at once again
/// and again.
const QUEUE: &str = r#"
import sys, time
from concurrent.futures import ThreadPoolExecutor
def task(number): time.sleep(0.02)
how, end = sys.argv[1], time.monotonic() + 3
with ThreadPoolExecutor(2) as pool:
    if how == "at-once": list(pool.map(task, range(300)))
    elif how == "batches":
        for size in range(6): list(pool.map(task, range(50 + 10 * size)))
    else:
        while time.monotonic() < end:
            pool.submit(task, 0)
            time.sleep(float(how))
"#;

/// A worker of a process pool, of either kind, that is sent this signal, or none.
const KILLED: &str = r#"
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
def task(number):
    time.sleep(0.02)
    if number: os.kill(os.getpid(), number)
if __name__ == "__main__":
    kind, number = sys.argv[1].split(":")
    if kind == "executor":
        with ProcessPoolExecutor(2) as pool:
            try: list(pool.map(task, [0, 0, int(number), 0]))
            except Exception as error: print(type(error).__name__)
    else:
        with multiprocessing.Pool(2) as pool:
            answer = pool.map_async(task, [0, 0, int(number), 0], 1)
            answer.wait(1.5)
"#;

fn profile(rung: Rung, script: &str, argument: &str) -> Option<Report> {
    let report = Profile::of(rung, &[python()?, "-c", script, argument]).run().report;
    Some(report)
}

/// The texts of the warnings of this code, of all stages.
fn texts(report: &Report, code: &str) -> Vec<String> {
    let warnings = report.stages().into_iter().filter_map(|stage| stage.0["warnings"].as_array());
    let of_code = warnings.flatten().filter(|warning| warning["code"] == code);
    of_code.filter_map(|warning| warning["text"].as_str()).map(str::to_owned).collect()
}

fn said(report: &Report, code: &str) -> String {
    texts(report, code).pop().unwrap_or_else(|| panic!("no {code}: {:#}", report.0["stages"]))
}

fn unsaid(report: &Report, code: &str) {
    assert_eq!(texts(report, code), Vec::<String>::new(), "{:#}", report.0["stages"]);
}

/// Whether the stage had two cores or more and nearly all of them to itself; says so if not.
fn undisturbed(report: &Report) -> bool {
    let usable = report.0["host"]["usable_cores"].as_f64().unwrap_or(0.0);
    let held = |stage: support::Stage<'_>| stage.time("cpu_seconds") / stage.time("wall_seconds").max(1e-9);
    let most = report.stages().into_iter().map(held).fold(0.0, f64::max);
    let quiet = usable >= 2.0 && most > 0.85 * usable;
    if !quiet {
        skip(&format!("{most:.2} of {usable} cores were the stage's: the machine is busy, or has one core"));
    }
    quiet
}

/// The same report, judged again for a machine with 64 cores.
fn judged_again(report: &Report) -> Report {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("report.json");
    fs::write(&file, report.0.to_string()).expect("it can be written");
    let mut command = Command::new(POOLPICK);
    let output = command.arg("report").arg(&file).args(["--cores", "64", "--format", "json"]).output().unwrap();
    Report(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")))
}

#[test]
fn threads_of_a_library_multiply_a_pool() {
    if !PERF.is_here() || python().is_none() {
        return;
    }
    let _alone = alone();
    measured(|| {
        let report = profile(PERF, NESTED, "6").expect("python is here");
        // On a machine with many cores that is no crowd.
        if report.0["host"]["usable_cores"].as_f64().is_some_and(|cores| cores <= 8.0) {
            let text = said(&report, "nested-threads");
            assert!(text.contains("each of 4 tasks at once") && text.contains("OMP_NUM_THREADS=1"), "{text}");
            unsaid(&report, "too-many-threads");
        }
    });
    measured(|| unsaid(&profile(PERF, NESTED, "1").expect("python is here"), "nested-threads"));
}

#[test]
fn many_threads_take_turns() {
    if python().is_none() {
        return;
    }
    let _alone = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    measured(|| {
        let report = profile(rung, CROWD, "4").expect("python is here");
        if undisturbed(&report) {
            // What was measured here stays true whatever machine the answer is for.
            let text = said(&report, "too-many-threads");
            assert_eq!(said(&judged_again(&report), "too-many-threads"), text);
            assert!(text.contains("threads want a CPU at a time") && text.contains("times a second"), "{text}");
        }
    });
    unsaid(&profile(rung, CROWD, "1").expect("python is here"), "too-many-threads");
}

#[test]
fn a_neighbours_load_is_no_crowd() {
    if python().is_none() {
        return;
    }
    let _alone = alone();
    let _hogs = Hogs::start(8);
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    let report = profile(rung, CROWD, "1").expect("python is here");
    unsaid(&report, "too-many-threads");
    unsaid(&report, "nested-threads");
}

#[test]
fn a_queue_that_grows_is_told_from_one_that_is_worked_off() {
    if python().is_none() {
        return;
    }
    let _alone = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    measured(|| {
        let text = said(&profile(rung, QUEUE, "0.007").expect("python is here"), "queue-growing");
        assert!(text.contains("for 2 workers") && text.contains("the time in it from"), "{text}");
    });
    for how in ["0.02", "at-once", "batches"] {
        println!("{how}:");
        measured(|| unsaid(&profile(rung, QUEUE, how).expect("python is here"), "queue-growing"));
    }
}

#[test]
fn a_killed_worker_is_told_by_its_signal() {
    let Some(python) = python() else { return };
    let _alone = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    let version = Command::new(python).args(["-c", "import sys; print(sys.version_info >= (3, 9))"]).output().unwrap();
    let kinds = if version.stdout.starts_with(b"True") { &["executor", "pool"][..] } else { &["pool"] };
    for kind in kinds {
        for (number, name) in [("9", "SIGKILL"), ("11", "SIGSEGV")] {
            let report = profile(rung, KILLED, &format!("{kind}:{number}")).expect("python is here");
            let text = said(&report, "worker-killed");
            assert!(text.contains(name), "{kind}: {text}");
            assert_eq!(texts(&report, "broken-pool").is_empty(), *kind == "pool", "{kind}: {:#}", report.0["stages"]);
        }
        let report = profile(rung, KILLED, &format!("{kind}:0")).expect("python is here");
        unsaid(&report, "worker-killed");
        unsaid(&report, "broken-pool");
    }
}
