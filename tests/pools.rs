//! What a pool's size must not change: the score and class of the tasks in it. And what zombies must not look like.

mod support;

use support::{PERF, Profile, Rung, SCHEDSTAT, alone, each, measured, python};

/// Tasks that compute and sleep in turns, each as long as it is told, handed to a pool of threads for two seconds.
const HYBRID: &str = r#"
import sys, time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
threads, cpu, wait = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
def task():
    end = time.thread_time() + cpu
    while time.thread_time() < end: sum(range(200))
    time.sleep(wait)
end, queue = time.monotonic() + 2, deque()
with ThreadPoolExecutor(threads) as pool:
    while time.monotonic() < end:
        while len(queue) < 2 * threads: queue.append(pool.submit(task))
        queue.popleft().result()
"#;

/// Four children that compute for 0.2 s and are waited for two seconds later.
const ZOMBIES: &str = r"
import os, time
for _ in range(4):
    if os.fork() == 0:
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
        os._exit(0)
time.sleep(2.5)
for _ in range(4): os.wait()
";

/// Tasks in one program, more after it has given itself another name, and others in the program that replaces it; each started
/// through a shell that replaces itself, as version managers do.
const REPLACED: &str = r#"
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
def before(_): time.sleep(0.01)
def after(_):
    end = time.thread_time() + 0.005
    while time.thread_time() < end: pass
def run(task, count):
    with ThreadPoolExecutor(2) as pool: list(pool.map(task, range(count)))
if sys.argv[1] == "after":
    run(after, 40)
else:
    run(before, 10)
    with open("/proc/self/comm", "w") as file: file.write("renamed")
    time.sleep(0.1)
    run(before, 10)
    os.execv("/bin/sh", ["sh", "-c", 'sleep 0.05; exec "$0" "$1" after', sys.executable, __file__])
"#;

#[test]
fn tasks_stay_with_the_program_that_ran_them() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("replaced.py");
    std::fs::write(&script, REPLACED).unwrap();
    let script = script.display().to_string();
    for rung in [PERF, SCHEDSTAT].into_iter().filter(|rung| rung.is_here()) {
        let argv = ["sh", "-c", "sleep 0.05; exec \"$0\" \"$1\" before", python, &script];
        let report = Profile::of(rung, &argv).run().report;
        let stages = report.stages();
        for (name, count) in [("replaced.before", 20), ("replaced.after", 40)] {
            let stage = stages.iter().find(|stage| stage.0["name"] == name);
            let stage = stage.unwrap_or_else(|| panic!("{}: no {name}: {:#}", rung.name, report.0));
            assert_eq!(stage.0["tasks"]["count"], count, "{}: {name}: {:#}", rung.name, report.0);
        }
    }
}

#[test]
fn a_class_does_not_depend_on_how_many_threads_share_the_lock() {
    let Some(python) = python() else { return };
    if !PERF.is_here() {
        return;
    }
    let _alone = alone();
    let cases = [("0.005", "0.005", "hybrid"), ("0.008", "0.002", "cpu-bound"), ("0.002", "0.008", "io-bound")];
    each(cases.map(|case| (format!("{} s of CPU, {} s of sleep", case.0, case.1), case)), |(cpu, wait, class)| {
        for threads in ["1", "2", "8"] {
            measured(|| {
                let report = Profile::of(PERF, &[python, "-c", HYBRID, threads, cpu, wait]).run().report;
                let stage = report.stages().into_iter().find(|stage| stage.0["kind"] == "function");
                let stage = stage.expect("the stage is found");
                // Beside others the middle of a wait may pass in the run queue: the score moves a little, no class does.
                assert_eq!(stage.class(), class, "{threads} threads: score {:?}", stage.score());
            });
        }
    });
}

#[test]
fn a_zombie_waits_for_nothing() {
    let Some(python) = python() else { return };
    let _alone = alone();
    each([PERF, SCHEDSTAT].map(|rung| (format!("{rung:?}"), rung)), |rung: Rung| {
        if !rung.is_here() {
            return;
        }
        measured(|| {
            let report = Profile::of(rung, &[python, "-c", ZOMBIES]).run().report;
            let workers = report.stages().into_iter().find(|stage| stage.0["runs_as"]["executor"] == "process");
            let workers = workers.expect("the children are a stage");
            assert_eq!(workers.class(), "cpu-bound", "{}", workers.0);
            assert!(workers.waits() < 0.3, "{}", workers.0["time"]);
        });
    });
}
