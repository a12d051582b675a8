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

/// A process pool of either kind that is handed what cannot be pickled: a lambda, or an argument; then the program computes.
const UNSENT: &str = r#"
import multiprocessing, sys, threading
from concurrent.futures import ProcessPoolExecutor
def task(lock): pass
if __name__ == "__main__":
    kind, what = sys.argv[1].split(":")
    function, item = (task, threading.Lock()) if what == "item" else (lambda x: x, 1)
    with (ProcessPoolExecutor(2) if kind == "executor" else multiprocessing.Pool(2)) as pool:
        for _ in range(30):
            try: pool.submit(function, item).result() if kind == "executor" else pool.apply(function, (item,))
            except Exception: sum(i * i for i in range(200_000))
"#;

/// Two threads of a pool that take two locks in different order, two that compete for the interpreter lock, or two that
/// sleep, all longer than the run may take.
const STUCK: &str = r#"
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
one, two = threading.Lock(), threading.Lock()
def task(turn):
    first, second = (one, two) if turn else (two, one)
    with first:
        time.sleep(0.3)
        with second: return turn
def compete(turn):
    while True: sum(range(1000))
def doze(turn): time.sleep(60)
with ThreadPoolExecutor(2) as pool: list(pool.map(globals()[sys.argv[1]], [0, 1]))
"#;

/// Tasks of 10 ms for four seconds in threads, each of which opens a file: it is closed, or kept open.
const OPENED: &str = r#"
import sys, time
from concurrent.futures import ThreadPoolExecutor
kept = []
def task(number):
    file = open("/dev/null")
    time.sleep(0.01)
    if sys.argv[1] == "kept": kept.append(file)
    else: file.close()
end = time.monotonic() + 4
with ThreadPoolExecutor(2) as pool:
    while time.monotonic() < end: list(pool.map(task, range(4)))
"#;

/// Five children that end at once, while the program computes in a pool: it waits for each, for all in the end, never, or it
/// ignores their signal; or a pool whose workers it renews.
const CHILDREN: &str = r#"
import multiprocessing, os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
def task(number):
    end = time.monotonic() + 0.05
    while time.monotonic() < end: sum(range(1000))
def renewed(number): time.sleep(0.1)
def compute(seconds):
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(1) as pool:
        while time.monotonic() < end: list(pool.map(task, range(4)))
if __name__ == "__main__":
    how = sys.argv[1]
    if how == "ignored": signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if how == "renewed":
        with multiprocessing.Pool(2, maxtasksperchild=1) as pool: pool.map(renewed, range(60), 1)
    else:
        children = []
        for _ in range(5):
            child = os.fork()
            if not child: os._exit(0)
            children.append(child)
            if how == "each": os.waitpid(child, 0)
        compute(4.5)
        if how == "end": [os.waitpid(child, 0) for child in children]
"#;

/// Six pools of two threads each, one after another or all at once.
const POOLS: &str = r#"
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
def task(number): time.sleep(0.05)
def serve():
    with ThreadPoolExecutor(2) as pool: list(pool.map(task, range(20)))
threads = [threading.Thread(target=serve) for _ in range(6)]
for thread in threads:
    thread.start()
    if sys.argv[1] == "one": thread.join()
for thread in threads: thread.join()
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

#[test]
fn what_cannot_be_pickled_is_a_stage_and_no_reason_for_processes() {
    let Some(python) = python() else { return };
    let _alone = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    for kind in ["executor", "pool"] {
        for (what, why) in [("item", "cannot pickle `_thread.lock`"), ("lambda", "local function `<lambda>`")] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let script = folder.path().join("unsent.py");
            fs::write(&script, UNSENT).expect("it can be written");
            let argument = format!("{kind}:{what}");
            let report = Profile::of(rung, &[python, &script.to_string_lossy(), &argument]).run().report;
            assert!(said(&report, "not-picklable").contains(why), "{argument}: {:#}", report.0["stages"]);
            let stages = report.stages();
            let stage = stages.iter().find(|stage| stage.0["kind"] == "function").expect("the stage is found");
            assert_eq!(stage.0["ipc"]["picklable"], false, "{argument}");
            assert_eq!(stage.0["tasks"]["failed"], 30, "{argument}");
            let advice = |stage: &support::Stage<'_>| stage.0["recommendation"]["executor"].clone();
            assert!(stages.iter().all(|stage| advice(stage) != "process"), "{argument}: {:#}", report.0["stages"]);
        }
    }
}

#[test]
fn a_deadlock_is_told_from_threads_that_take_turns_and_from_those_that_sleep() {
    let Some(python) = python() else { return };
    let _alone = alone();
    for rung in [PERF, SCHEDSTAT].into_iter().filter(|rung| rung.is_here()) {
        let of = |how: &str| {
            let argv = [python, "-c", STUCK, how];
            let report = Profile::of(rung, &argv).with(&["--timeout", "7"]).run().report;
            let unfinished: Vec<u64> =
                report.stages().iter().filter_map(|stage| stage.0["tasks"]["unfinished"].as_u64()).collect();
            assert_eq!(unfinished, [2], "{rung:?} {how}: {:#}", report.0["stages"]);
            report
        };
        measured(|| {
            let text = said(&of("task"), "deadlock-suspect");
            assert!(text.contains("all 2 threads") && text.contains("task (<string>:9)"), "{rung:?}: {text}");
        });
        for how in ["compete", "doze"] {
            let report = of(how);
            unsaid(&report, "deadlock-suspect");
            let stages = report.stages();
            let stage = stages.iter().find(|stage| stage.0["kind"] == "function").expect("the stage is found");
            let class = if how == "doze" { "io-bound" } else { "cpu-bound" };
            assert_eq!((stage.class(), &stage.0["verdict"]), (class, &"not-judged".into()), "{rung:?} {how}");
        }
    }
}

#[test]
fn files_that_stay_open_are_told_from_those_that_are_closed() {
    if python().is_none() {
        return;
    }
    let _alone = alone();
    for rung in [PERF, SCHEDSTAT].into_iter().filter(|rung| rung.is_here()) {
        // A busy machine leaves too few readings.
        measured(|| {
            let text = said(&profile(rung, OPENED, "kept").expect("python is here"), "descriptors-growing");
            assert!(text.contains("tasks: close files"), "{text}");
        });
        unsaid(&profile(rung, OPENED, "closed").expect("python is here"), "descriptors-growing");
    }
}

#[test]
fn children_that_nobody_waits_for_are_told_from_those_that_are_reaped() {
    if python().is_none() {
        return;
    }
    let _alone = alone();
    for rung in [PERF, SCHEDSTAT].into_iter().filter(|rung| rung.is_here()) {
        let text = said(&profile(rung, CHILDREN, "never").expect("python is here"), "zombies");
        assert!(text.starts_with("5 processes that it started ended and are zombies, for up to "), "{rung:?}: {text}");
        assert!(text.contains("`wait()`") && text.contains("`SIGCHLD`"), "{rung:?}: {text}");
        for how in ["each", "end", "ignored", "renewed"] {
            println!("{rung:?} {how}:");
            unsaid(&profile(rung, CHILDREN, how).expect("python is here"), "zombies");
        }
    }
}

#[test]
fn several_pools_at_once_are_told_from_one_after_another() {
    if python().is_none() {
        return;
    }
    let _alone = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    let text = said(&profile(rung, POOLS, "many").expect("python is here"), "above-max-workers");
    assert!(text.contains("where a pool has 2 workers"), "{text}");
    unsaid(&profile(rung, POOLS, "one").expect("python is here"), "above-max-workers");
}
