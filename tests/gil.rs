//! The interpreter lock of live programs whose holding of it is known, under every interpreter that is here.

mod support;

use poolpick::trace::{Blocking, Event, GilAccess, GilHolder, Reader};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{PERF, Profile, Rung, SCHEDSTAT, alone, each, measured, python, skip};

/// Runs one phase after another and prints when each was, on the monotonic clock, and what is known of it.
const PHASES: &str = r#"
import hashlib, json, multiprocessing, os, random, sys, threading, time
phases = []
def phase(name, pid, tid, work, share=None):
    start = time.monotonic()
    known = work()
    phases.append(dict(name=name, pid=pid or known["pid"], tid=tid or known["tid"], start=start, end=time.monotonic(),
                       share=share if share is not None else known["share"]))
def hold(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(200): pass
megabyte, small = bytes(1 << 20), bytes(1 << 12)
def release(seconds, block=megabyte):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hashlib.sha256(block)
def alternate(seconds):
    held, released, end = 0.0, 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        a = time.monotonic(); hold(random.uniform(0.0005, 0.003))
        b = time.monotonic(); hashlib.sha256(megabyte)
        held += b - a; released += time.monotonic() - b
    return dict(share=held / (held + released))
def in_thread():
    tids = []
    def work():
        tids.append(threading.get_native_id()); hold(0.7)
    thread = threading.Thread(target=work); thread.start(); thread.join()
    return dict(tid=tids[0])
def in_fork():
    pid = os.fork()
    if not pid:
        hold(0.7); os._exit(0)
    os.waitpid(pid, 0)
    return dict(pid=pid, tid=pid)
def in_pool():
    process = multiprocessing.get_context("fork").Process(target=hold, args=(0.7,))
    process.start(); process.join()
    return dict(pid=process.pid, tid=process.pid)
own = os.getpid()
phase("held", own, own, lambda: hold(1.0), 1.0)
phase("released", own, own, lambda: release(1.0), 0.0)
phase("alternating", own, own, lambda: alternate(2.5))
phase("churning", own, own, lambda: release(1.0, small), -1.0)
phase("thread", own, 0, in_thread, 1.0)
phase("fork", 0, 0, in_fork, 1.0)
phase("pool", 0, 0, in_pool, 1.0)
print(json.dumps(dict(version=list(sys.version_info[:3]), phases=phases)))
"#;

/// Four threads that want the lock all the time.
const FIGHT: &str = r"
import threading, time
end = time.monotonic() + 1.5
def work():
    while time.monotonic() < end:
        for _ in range(1000): pass
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
";

/// Every CPython of the versions that are read, by the path behind its shims.
fn interpreters() -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = (8..=14).flat_map(|minor| [format!("python3.{minor}"), format!("python3.{minor}t")]);
    let known: Vec<String> = std::iter::once("python3".to_owned()).chain(versions).collect();
    let in_path = std::env::split_paths(&path).flat_map(|folder| known.iter().map(move |name| folder.join(name)));
    let mut names: Vec<PathBuf> = in_path.filter(|name| name.exists()).collect();
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    for folder in std::env::var_os("PYENV_ROOT").map(PathBuf::from).into_iter().chain(home) {
        let versions = std::fs::read_dir(folder.join("versions")).into_iter().flatten().flatten();
        names.extend(versions.map(|version| version.path().join("bin/python3")));
    }
    let ask = "import os, sys; print(sys.implementation.name, sys.version_info[:2], os.path.realpath(sys.executable))";
    let mut found = BTreeMap::new();
    for name in names {
        let Ok(output) = Command::new(&name).args(["-c", ask]).output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let version = (8..=14).find(|minor| text.starts_with(&format!("cpython (3, {minor}) ")));
        if let (true, Some(minor), Some((_, path))) = (output.status.success(), version, text.split_once(") ")) {
            found.insert(path.to_owned(), minor);
        }
    }
    if found.is_empty() {
        skip("no CPython 3.8 to 3.14 is here");
    }
    found.into_keys().collect()
}

/// Runs a command and returns the facts that were recorded, and its output.
fn record(rung: Rung, argv: &[String]) -> (Vec<Event>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace").display().to_string();
    let profiled = Profile::of(rung, argv).with(&["--record", &file]).run();
    assert!(profiled.output.status.success(), "{:?}", profiled.output);
    let reader = Reader::open(std::fs::File::open(&file).unwrap()).unwrap();
    let events = reader.collect::<Result<_, _>>().unwrap();
    (events, String::from_utf8(profiled.output.stdout).unwrap())
}

/// Whether memory was refused here; says so.
fn refused(events: &[Event]) -> bool {
    events.iter().any(|event| match event {
        Event::Interpreter { gil: GilAccess::Refused(why), .. } => {
            skip(why);
            true
        }
        _ => false,
    })
}

/// What readings of one process between two instants add up to.
#[derive(Debug, Default)]
struct Readings {
    bursts: u32,
    reads: f64,
    held: f64,
    by: BTreeMap<u32, f64>,
    released_seconds: f64,
    releases: f64,
}

impl Readings {
    /// `running`: when its thread had a CPU, where only such readings count. While it has none its lock stands still.
    fn of(events: &[Event], pid: u32, (start, end): (f64, f64), running: Option<&[(u64, u64)]>) -> Readings {
        let mut all = Readings::default();
        for event in events {
            let Event::Gil { at, pid: of, sample } = event else { continue };
            let seconds = at.0 as f64 / 1e9;
            if *of != pid || seconds < start || seconds > end {
                continue;
            }
            let ran = |times: &[(u64, u64)]| {
                let last = times.partition_point(|&(since, _)| since <= at.0);
                last > 0 && times[last - 1].1 >= at.0 + sample.length.0
            };
            if !running.is_none_or(ran) {
                continue;
            }
            all.bursts += 1;
            let reads: f64 = sample.runs.iter().map(|run| f64::from(run.reads)).sum();
            let spacing = sample.length.secs_f64() / (reads - 1.0);
            all.reads += reads;
            for (index, run) in sample.runs.iter().enumerate() {
                let count = f64::from(run.reads);
                match run.holder {
                    GilHolder::Nobody => {
                        all.released_seconds += count * spacing;
                        all.releases += f64::from(u8::from(index > 0));
                    }
                    GilHolder::Thread(tid) => {
                        all.held += count;
                        *all.by.entry(tid).or_default() += count;
                    }
                    GilHolder::Unknown => all.held += count,
                }
            }
        }
        all
    }

    fn share(&self) -> f64 {
        self.held / self.reads
    }

    /// How far a share of this many bursts may be off: a burst is one look at what does not change in it.
    fn tolerance(&self, share: f64) -> f64 {
        0.03 + 2.5 * (share * (1.0 - share) / f64::from(self.bursts)).sqrt()
    }

    /// Mean time between a release and the next taking.
    fn released_run(&self) -> f64 {
        self.released_seconds / self.releases
    }
}

/// When a thread had a CPU.
fn on_cpu(events: &[Event], tid: u32) -> Vec<(u64, u64)> {
    let mut times = Vec::new();
    let mut since = None;
    for event in events {
        match event {
            Event::SwitchIn { at, ids } if ids.tid == tid => since = Some(at.0),
            Event::SwitchOut { at, ids, .. } if ids.tid == tid => times.extend(since.take().map(|since| (since, at.0))),
            _ => {}
        }
    }
    times
}

/// Phases of one run, checked against what the program knows of itself.
fn phases(rung: Rung, python: &str) {
    let argv = ["-c", PHASES].map(str::to_owned);
    let (events, told) = record(rung, &[&[python.to_owned()], &argv[..]].concat());
    if refused(&events) {
        return;
    }
    let told: Value = serde_json::from_str(&told).unwrap();
    let found: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Interpreter { pid, version, gil, .. } => Some((*pid, *version, gil.clone())),
            _ => None,
        })
        .collect();
    let version: (u8, u8, u8) = serde_json::from_value(told["version"].clone()).unwrap();
    if found.iter().any(|(_, _, gil)| *gil == GilAccess::Absent) {
        assert!(python.contains('t'), "{found:?}");
        return skip("it runs without the lock");
    }
    assert!(found.iter().all(|(_, found, gil)| *found == version && *gil == GilAccess::Read), "{found:?}");
    let mut released_run = BTreeMap::new();
    for phase in told["phases"].as_array().unwrap() {
        let (name, pid) = (phase["name"].as_str().unwrap(), phase["pid"].as_u64().unwrap() as u32);
        let (tid, share) = (phase["tid"].as_u64().unwrap() as u32, phase["share"].as_f64().unwrap());
        let (start, end) = (phase["start"].as_f64().unwrap(), phase["end"].as_f64().unwrap());
        // A child is forked and ends within its phase.
        let margin = if name == "fork" || name == "pool" { 0.1 } else { 0.01 };
        let readings = Readings::of(&events, pid, (start + margin, end - margin), None);
        let running = Readings::of(&events, pid, (start + margin, end - margin), Some(&on_cpu(&events, tid)));
        println!(
            "{name}: share {:.3} of {share:.3}, released run {:.1} us, {} bursts in {:.2} s; on a CPU: {:.3}, {:.1} us, {}",
            readings.share(),
            readings.released_run() * 1e6,
            readings.bursts,
            end - start,
            running.share(),
            running.released_run() * 1e6,
            running.bursts,
        );
        assert_eq!(found.iter().filter(|(of, ..)| *of == pid).count(), 1, "{name}: {found:?}");
        assert!(f64::from(readings.bursts) > 10.0 * (end - start), "{name}: {readings:?}");
        if share >= 0.0 {
            let off = (readings.share() - share).abs();
            assert!(off < readings.tolerance(share), "{name}: {share} but {readings:?}");
        }
        if readings.held > 0.0 {
            let own = readings.by.get(&tid).copied().unwrap_or(0.0);
            assert!(own / readings.held > 0.97, "{name}: thread {tid} but {readings:?}");
        }
        // On a machine with others to serve, our wake-up takes the CPU from the target more often than not.
        if running.bursts >= 8 {
            released_run.insert(name.to_owned(), running.released_run());
        }
    }
    if let Some(&churning) = released_run.get("churning") {
        assert!(churning > 0.2e-6 && churning < 100e-6, "{released_run:?}");
        // Blocks 256 times as long: few releases are seen, or none.
        if let Some(&released) = released_run.get("released") {
            assert!(released.is_infinite() || released > 4.0 * churning, "{released_run:?}");
        }
    }
}

#[test]
fn shares_holders_and_released_runs_are_what_the_program_knows() {
    let _turn = alone();
    if PERF.is_here() {
        each(interpreters().into_iter().map(|path| (path.clone(), path)), |path| measured(|| phases(PERF, &path)));
    }
}

#[test]
fn the_same_without_switch_records() {
    let _turn = alone();
    if SCHEDSTAT.is_here()
        && let Some(python) = python()
    {
        measured(|| phases(SCHEDSTAT, python));
    }
}

/// Interpreters made by the program itself, so many, which then computes for two seconds.
const SEVERAL: &str = r#"
import sys, time
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
made = [interpreters.create() for _ in range(int(sys.argv[1]))]
end = time.monotonic() + 2
while time.monotonic() < end: sum(range(1000))
"#;

#[test]
fn several_interpreters_with_locks_of_their_own_are_unknown() {
    let _turn = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    each(interpreters().into_iter().map(|path| (path.clone(), path)), |path| {
        for count in ["2", "70"] {
            let (events, _) = record(
                rung,
                &["-c", SEVERAL, count].iter().fold(vec![path.clone()], |mut argv, word| {
                    argv.push((*word).to_owned());
                    argv
                }),
            );
            let last = events.iter().rev().find_map(|event| match event {
                Event::Interpreter { version, gil, .. } => Some((*version, gil.clone())),
                _ => None,
            });
            let Some((version, gil)) = last else { panic!("{path}: no interpreter was found") };
            // Before 3.12 all interpreters of a process share one lock, which can be read.
            let wanted = if version >= (3, 12, 0) { GilAccess::Several } else { GilAccess::Read };
            assert!(gil == wanted || gil == GilAccess::Absent, "{version:?}, {count}: {gil:?}");
        }
    });
}

/// Two threads compute for two seconds, each in an interpreter of its own.
const OWN_INTERPRETERS: &str = "
import sys, threading
code = 'import time; end = time.monotonic() + 2\\nwhile time.monotonic() < end: sum(range(1000))'
try: import _interpreters as interpreters; create = interpreters.create
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=True)
def work():
    interpreters.run_string(create(), code)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
";

#[test]
fn a_lock_that_is_not_one_is_told_to_be_unknown_with_its_reason() {
    let _turn = alone();
    let rung = if PERF.is_here() { PERF } else { SCHEDSTAT };
    let ask = "import sys; sys.exit(sys.version_info < (3, 12) or not getattr(sys, '_is_gil_enabled', lambda: True)())";
    let of_their_own =
        |path: &String| Command::new(path).args(["-c", ask]).status().is_ok_and(|status| status.success());
    let found: Vec<String> = interpreters().into_iter().filter(of_their_own).collect();
    if found.is_empty() {
        return skip("no interpreter is here that gives others a lock of their own");
    }
    each(found.into_iter().map(|path| (path.clone(), path)), |path| {
        let profiled = Profile::of(rung, &[&path, "-c", OWN_INTERPRETERS]).run();
        assert!(profiled.output.status.success(), "{:?}", profiled.output);
        let report = &profiled.report.0;
        let stages = report["stages"].as_array().unwrap();
        assert!(!stages.is_empty() && stages.iter().all(|stage| stage["gil"].is_null()), "{stages:?}");
        let notes = report.pointer("/sources/notes").unwrap().to_string();
        assert!(notes.contains("several interpreters in one process have locks of their own"), "{notes}");
    });
}

#[test]
fn threads_that_fight_for_the_lock_wait_for_it() {
    let _turn = alone();
    if !PERF.is_here() {
        return;
    }
    each(interpreters().into_iter().map(|path| (path.clone(), path)), |path| {
        measured(|| {
            let (events, _) = record(PERF, &[path.clone(), "-c".to_owned(), FIGHT.to_owned()]);
            let without =
                events.iter().any(|event| matches!(event, Event::Interpreter { gil, .. } if *gil != GilAccess::Read));
            if without {
                return skip("its lock is not read here");
            }
            let on = |wanted: Blocking| {
                let waits = events.iter().filter(|event| match event {
                    // The main thread waits for the others to end.
                    Event::Waiting { ids, on, .. } => ids.tid != ids.pid && *on == wanted,
                    _ => false,
                });
                waits.count()
            };
            let (gil, locks) = (on(Blocking::Gil), on(Blocking::Lock));
            println!("{gil} waits for the interpreter lock, {locks} for others");
            assert!(gil > 20 && locks * 10 < gil, "{gil} {locks}");
        });
    });
}

/// A target that nobody but root may read any more.
const HIDDEN: &str = "
import ctypes, time
PR_SET_DUMPABLE = 4
ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
end = time.monotonic() + 0.7
while time.monotonic() < end: pass
";

#[test]
fn memory_that_may_not_be_read_is_told_with_its_reason() {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let ordinary = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let launcher = if is_root { &ordinary[..] } else { &[] };
    let runs = |words: &[&str]| {
        // Behind a shell: what becomes an ordinary user keeps some of root's rights up to its own exec.
        let words = [launcher, &["sh", "-c", "exec \"$@\"", "sh"], words].concat();
        Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
    };
    let interpreters = interpreters();
    let Some(python) = interpreters.iter().find(|path| runs(&[path, "-c", "import ctypes"])) else {
        return skip("root reads everything, and an ordinary user cannot run a Python here");
    };
    if !runs(&[support::POOLPICK, "--version"]) {
        return skip("an ordinary user cannot run poolpick where it lies");
    }
    let _turn = alone();
    let profiled = Profile::of(SCHEDSTAT, &[python, "-c", HIDDEN]).behind(launcher).run();
    assert!(profiled.output.status.success(), "{:?}", profiled.output);
    let notes = profiled.report.0.pointer("/sources/notes").unwrap().to_string();
    assert!(notes.contains("memory may not be read"), "{notes}");
}

#[test]
fn stacks_tell_functions_and_lines() {
    let Some(python) = python() else { return };
    let program = "def spin():\n    while True:\n        pass\nspin()";
    let mut child = Command::new(python).args(["-c", program]).spawn().unwrap();
    let mut stacks = poolpick::observe::Stacks::default();
    let mut found = None;
    for _ in 0..200 {
        found = stacks.of(child.id()).and_then(|stacks| stacks.into_iter().next()).or(found);
        // While the interpreter starts, it has others.
        if found.as_ref().is_some_and(|stack| stack.calls.first().is_some_and(|call| call.function == "spin")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(stack) = found else { return skip("py-spy cannot read memory here") };
    let calls: Vec<(&str, Option<u32>)> = stack.calls.iter().map(|call| (call.function.as_str(), call.line)).collect();
    assert!(matches!(calls[..], [("spin", Some(2 | 3)), ("<module>", Some(4))]), "{calls:?}");
    assert!(stack.holds_gil);
}

#[test]
fn programs_that_are_not_python_have_no_lock() {
    let _turn = alone();
    if !PERF.is_here() {
        return;
    }
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.2";
    let (events, _) = record(PERF, &["sh", "-c", script].map(str::to_owned));
    let found = events.iter().find(|event| matches!(event, Event::Interpreter { .. } | Event::Gil { .. }));
    assert_eq!(found, None);
}

#[test]
fn it_can_be_switched_off() {
    let Some(python) = python() else { return };
    let _turn = alone();
    let rung = Rung { name: "perf", disable: "gil" };
    let (events, _) = record(rung, &[python.to_owned(), "-c".to_owned(), FIGHT.to_owned()]);
    let found = events.iter().find(|event| matches!(event, Event::Interpreter { .. } | Event::Gil { .. }));
    assert_eq!(found, None);
}
