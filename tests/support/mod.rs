//! What the live tests share: running poolpick, its report checked against its own schema, load and quota with guards
//! that take them away again, and reasons to skip. Must not look into poolpick: the binary is all that it knows.
#![allow(dead_code, reason = "each test file uses a part")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// The binary under test.
pub const POOLPICK: &str = env!("CARGO_BIN_EXE_poolpick");

/// Rungs of the ladder: name in the report, and what `POOLPICK_DISABLE` forces it.
pub const PERF: Rung = Rung { name: "perf", disable: "" };
/// Readings of /proc alone.
pub const SCHEDSTAT: Rung = Rung { name: "schedstat", disable: "perf" };
/// Totals alone.
pub const RUSAGE: Rung = Rung { name: "rusage", disable: "perf,schedstat" };

/// A rung of the ladder.
#[derive(Debug, Clone, Copy)]
pub struct Rung {
    /// As in `sources.scheduler`.
    pub name: &'static str,
    /// The value of `POOLPICK_DISABLE`.
    pub disable: &'static str,
}

impl Rung {
    /// Whether this machine and user have it; prints why a test is skipped if not.
    pub fn is_here(self) -> bool {
        static DOCTOR: OnceLock<Value> = OnceLock::new();
        let doctor = DOCTOR.get_or_init(|| doctor(&mut Command::new(POOLPICK)));
        let source = source(doctor, self.name);
        let here = source["available"] == true;
        if !here {
            skip(&format!("no {} here: {}", self.name, source["why_not"]));
        }
        here
    }
}

/// Says that something is not tested, and why.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// Tries all of them, and fails with the names of those that failed.
pub fn each<T>(cases: impl IntoIterator<Item = (String, T)>, test: impl Fn(T)) {
    let mut failed = Vec::new();
    for (name, case) in cases {
        println!("{name}:");
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(case))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// Measures anew, up to three times, where a measurement is off: on a shared machine a neighbour's burst falls into some
/// of them, while a fault of poolpick falls into all. Says so when it does.
pub fn measured(test: impl Fn()) {
    for again in 1..3 {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test)).is_ok() {
            return;
        }
        println!("measurement {again} was off (above); once more");
    }
    test();
}

/// Timing tests take turns: they must not be each other's load.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The interpreter itself, behind whatever shim is on PATH; says so if there is none.
pub fn python() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !path.is_empty()).then_some(path)
    });
    if found.is_none() {
        skip("python3 is missing");
    }
    found.as_deref()
}

/// An interpreter that has a package: that of the virtual environment that `.ci/run` makes, or the one on PATH. Says so
/// if there is none.
pub fn python_with(package: &str) -> Option<String> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python3").display().to_string();
    let import = format!("import {package}");
    let has =
        |python: &String| Command::new(python).args(["-c", &import]).output().is_ok_and(|ran| ran.status.success());
    let found = [Some(ours), python().map(str::to_owned)].into_iter().flatten().find(has);
    if found.is_none() {
        skip(&format!("no Python has the package `{package}`"));
    }
    found
}

/// A file below `fixtures`.
pub fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).display().to_string()
}

/// The command line of a workload of known demand.
pub fn workload(python: &str, arguments: &[&str]) -> Vec<String> {
    let mut argv = vec![python.to_owned(), fixture("workloads.py")];
    argv.extend(arguments.iter().map(|&word| word.to_owned()));
    argv
}

/// A run of `poolpick profile`, to be.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// What stands before poolpick on the command line.
    pub launcher: Vec<String>,
    /// Options of `profile`.
    pub options: Vec<String>,
    /// Sources switched off.
    pub disable: String,
    /// The target.
    pub argv: Vec<String>,
}

impl Profile {
    /// Of this command on this rung.
    pub fn of<S: AsRef<str>>(rung: Rung, argv: &[S]) -> Profile {
        let argv = argv.iter().map(|word| word.as_ref().to_owned()).collect();
        Profile { disable: rung.disable.to_owned(), argv, ..Profile::default() }
    }

    /// With these words before poolpick.
    pub fn behind<S: AsRef<str>>(mut self, launcher: &[S]) -> Profile {
        self.launcher = launcher.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// With these options of `profile`.
    pub fn with(mut self, options: &[&str]) -> Profile {
        self.options.extend(options.iter().map(|&word| word.to_owned()));
        self
    }

    /// Runs it; the report is checked against the schema.
    pub fn run(&self) -> Profiled {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The report may be written by another user.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("own folder");
        let file = folder.path().join("report.json");
        let mut words = self.launcher.clone();
        words.extend([POOLPICK, "profile", "--quiet", "--export"].map(str::to_owned));
        words.push(format!("json={}", file.display()));
        words.extend(self.options.iter().cloned());
        words.push("--".to_owned());
        words.extend(self.argv.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).env("POOLPICK_DISABLE", &self.disable);
        // Prices that it measures stay out of the user's cache.
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        let output = command.output().expect("poolpick can be started");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{words:?}: {error}, {output:?}"));
        Profiled { report: Report(checked(&text)), output }
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Profiled {
    /// Its report.
    pub report: Report,
    /// What it said and how it ended.
    pub output: Output,
}

/// A report, read as its readers do.
#[derive(Debug, Clone, PartialEq)]
pub struct Report(pub Value);

impl Report {
    /// A number at a JSON pointer; panics with the report where there is none.
    pub fn number(&self, pointer: &str) -> f64 {
        self.maybe(pointer).unwrap_or_else(|| panic!("no number at {pointer}: {:#}", self.0))
    }

    /// A number at a JSON pointer, if it is known.
    pub fn maybe(&self, pointer: &str) -> Option<f64> {
        self.0.pointer(pointer)?.as_f64()
    }

    /// All CPU time that was waited for.
    pub fn cpu(&self) -> f64 {
        self.number("/totals/cpu_user_seconds") + self.number("/totals/cpu_system_seconds")
    }

    /// The rung.
    pub fn scheduler(&self) -> &str {
        self.0["sources"]["scheduler"].as_str().expect("a word")
    }

    /// The notes, one a line.
    pub fn notes(&self) -> String {
        let notes = self.0["sources"]["notes"].as_array().expect("a list");
        notes.iter().map(|note| note.as_str().expect("a sentence")).collect::<Vec<_>>().join("\n")
    }

    /// The stages.
    pub fn stages(&self) -> Vec<Stage<'_>> {
        self.0["stages"].as_array().expect("a list").iter().map(Stage).collect()
    }

    /// The stage of this name (`cat` finds `cat (under sh)` too).
    pub fn stage(&self, name: &str) -> Option<Stage<'_>> {
        self.stages().into_iter().find(|stage| {
            let found = stage.0["name"].as_str().expect("a name");
            found == name || found.strip_prefix(name).is_some_and(|rest| rest.starts_with(" ("))
        })
    }
}

/// A stage of a report.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a>(pub &'a Value);

impl Stage<'_> {
    /// Its class.
    pub fn class(&self) -> &str {
        self.0["class"].as_str().expect("a word")
    }

    /// Its score.
    pub fn score(&self) -> Option<f64> {
        self.0["score"].as_f64()
    }

    /// The interval of its score.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let bounds = self.0["score_interval"].as_array()?;
        Some((bounds[0].as_f64()?, bounds[1].as_f64()?))
    }

    /// A field of its time, 0 where it does not apply.
    pub fn time(&self, field: &str) -> f64 {
        self.0["time"][field].as_f64().unwrap_or(0.0)
    }

    /// Σ own wait, 0 where it was not told apart.
    pub fn waits(&self) -> f64 {
        let waits = self.0["time"]["wait_seconds"].as_object();
        waits.map_or(0.0, |waits| waits.values().filter_map(Value::as_f64).sum())
    }
}

/// Parses a report and checks it against `poolpick schema`.
pub fn checked(text: &str) -> Value {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let validator = SCHEMA.get_or_init(|| {
        let output = Command::new(POOLPICK).arg("schema").output().expect("poolpick can be started");
        let schema = serde_json::from_slice(&output.stdout).expect("the schema is JSON");
        jsonschema::validator_for(&schema).expect("the schema is a schema")
    });
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON, {error}: {text}"));
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "against the schema: {errors:#?}\n{value:#}");
    value
}

/// The report of `doctor --json`; `command` is poolpick or a launcher that ends in it.
pub fn doctor(command: &mut Command) -> Value {
    let output = command.args(["doctor", "--json"]).output().expect("the doctor can be called");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("the doctor speaks JSON")
}

/// One source of a doctor's answer.
pub fn source<'a>(doctor: &'a Value, name: &str) -> &'a Value {
    let sources = doctor["sources"].as_array().expect("a list");
    sources.iter().find(|source| source["source"] == name).unwrap_or_else(|| panic!("no {name} in {doctor:#}"))
}

/// Whether the tests run as root; says so if not.
pub fn root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        skip("not root");
    }
    root
}

/// Runs that each hold a core for as long as this lives, or the test does.
#[derive(Debug)]
pub struct Hogs(Vec<Child>);

impl Hogs {
    /// So many of them.
    pub fn start(count: usize) -> Hogs {
        let parent = std::process::id();
        let burn =
            format!("while kill -0 {parent} 2>/dev/null; do i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; done");
        let hog = || Command::new("sh").args(["-c", &burn]).stdin(Stdio::null()).spawn().expect("a shell");
        Hogs((0..count).map(|_| hog()).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// A cgroup with a CPU quota, removed in the end.
#[derive(Debug)]
pub struct Quota(PathBuf);

impl Quota {
    /// A quota of so many cores; `None`, with the reason printed, where that cannot be had.
    pub fn of(cores: f64) -> Option<Quota> {
        if !root() {
            return None;
        }
        let period = 100_000;
        let quota = (cores * f64::from(period)) as u32;
        let name = format!("poolpick-test-{}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let v2 = Path::new("/sys/fs/cgroup");
        let made = if v1.join("cpu.cfs_quota_us").exists() || v1.join("cpu.shares").exists() {
            Quota::make(v1.join(name), "cpu.cfs_quota_us", &quota.to_string())
        } else if v2.join("cgroup.controllers").exists() {
            let _ = fs::write(v2.join("cgroup.subtree_control"), "+cpu");
            Quota::make(v2.join(name), "cpu.max", &format!("{quota} {period}"))
        } else {
            Err(std::io::Error::other("no cpu controller is mounted at /sys/fs/cgroup"))
        };
        made.map_err(|error| skip(&format!("no cgroup with a CPU quota: {error}"))).ok()
    }

    fn make(folder: PathBuf, file: &str, text: &str) -> std::io::Result<Quota> {
        fs::create_dir(&folder)?;
        let made = Quota(folder);
        fs::write(made.0.join(file), text)?;
        Ok(made)
    }

    /// What stands before a command that is to run in it.
    pub fn launcher(&self) -> Vec<String> {
        let enter = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", self.0.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // What still ends in it keeps it busy for a moment.
        let until = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

/// Busy and all CPU seconds of the machine so far.
pub fn machine_seconds() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let first = text.lines().next().expect("a line");
    let fields: Vec<f64> = first.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
    let all: f64 = fields.iter().sum();
    // 100 ticks a second on every Linux that Rust runs on.
    ((all - fields[3] - fields[4]) / 100.0, all / 100.0)
}

/// Runs it, and tells how many cores others were using meanwhile.
pub fn beside_others(profile: &Profile) -> (Profiled, f64) {
    let ((busy, _), began) = (machine_seconds(), Instant::now());
    let profiled = profile.run();
    let own = profiled.report.cpu() + profiled.report.number("/sources/overhead_cpu_seconds");
    let others = (machine_seconds().0 - busy - own).max(0.0) / began.elapsed().as_secs_f64();
    (profiled, others)
}
