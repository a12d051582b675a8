//! Sources that are refused, by a filter, a limit or a mount: the run goes on a rung lower, says why, and the remedy that
//! `doctor` prints changes the answer. Whatever is changed for a test is put back by a guard.
//! Settings are the whole machine's: no two of these tests run at once.

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{PERF, POOLPICK, Profile, Rung, SCHEDSTAT, alone, doctor, fixture, python, root, skip, source};

/// A target that needs no interpreter and that everyone may run.
const BURN: [&str; 3] = ["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"];
/// As asked for: nothing is switched off by the tests themselves.
const AS_FOUND: Rung = PERF;

/// What makes an ordinary user of root; `None`, with the reason printed, where that is not possible.
fn as_nobody() -> Option<Vec<String>> {
    if !root() {
        return None;
    }
    let launcher: Vec<String> =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned).into();
    let able = Command::new(&launcher[0]).args(&launcher[1..]).args([POOLPICK, "--version"]).output();
    if able.is_ok_and(|output| output.status.success()) {
        return Some(launcher);
    }
    skip("no setpriv, or nobody may not run the binary where it lies");
    None
}

/// Whoever runs the tests, and `nobody` as well where that is root.
fn users() -> Vec<Vec<String>> {
    let mut users = vec![Vec::new()];
    users.extend(as_nobody());
    users
}

/// The doctor's answer behind a launcher, as nothing were switched off.
fn doctor_behind(launcher: &[String]) -> Value {
    let words = [launcher, &[POOLPICK.to_owned()]].concat();
    doctor(Command::new(&words[0]).args(&words[1..]).env("POOLPICK_DISABLE", ""))
}

/// A remedy as a shell command that root can run, without its `sudo`.
fn remedy(doctor: &Value, name: &str) -> String {
    let remedy = source(doctor, name)["remedy"].as_str().unwrap_or_else(|| panic!("no remedy for {name}: {doctor:#}"));
    remedy.strip_prefix("sudo ").unwrap_or(remedy).to_owned()
}

fn available(doctor: &Value, name: &str) -> bool {
    source(doctor, name)["available"] == true
}

fn why(doctor: &Value, name: &str) -> String {
    source(doctor, name)["why_not"].as_str().unwrap_or_default().to_owned()
}

fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "`{line}`: {output:?}");
}

/// A kernel setting, put back on drop.
struct Setting(PathBuf, String);

impl Setting {
    fn change(name: &str, value: &str) -> Option<Setting> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let before = fs::read_to_string(&path).map_err(|error| skip(&format!("no `{name}`: {error}"))).ok()?;
        let setting = Setting(path, before);
        fs::write(&setting.0, value).map_err(|error| skip(&format!("`{name}` stays: {error}"))).ok()?;
        Some(setting)
    }

    fn value(&self) -> String {
        fs::read_to_string(&self.0).unwrap().trim().to_owned()
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, &self.1);
    }
}

#[test]
fn a_filter_leaves_readings_and_its_name_in_the_note() {
    let _turn = alone();
    let Some(python) = python() else { return };
    for errno in ["EPERM", "EACCES"] {
        let filter = [python.to_owned(), fixture("refuse.py"), errno.to_owned()].to_vec();
        let probe = Command::new(&filter[0]).args(&filter[1..]).arg("true").status().unwrap();
        if !probe.success() {
            return skip(&format!("no seccomp filter can be had: {probe}"));
        }
        for user in users() {
            // The filter first: `nobody` may not read the interpreter's files.
            let launcher = [filter.clone(), user.clone()].concat();
            let answer = doctor_behind(&launcher);
            let why = why(&answer, "perf");
            assert!(!available(&answer, "perf"), "{answer:#}");
            let paranoid: i32 =
                fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap().trim().parse().unwrap();
            if paranoid <= 2 {
                assert!(why.contains(errno) && why.contains("seccomp"), "{why}");
                assert!(remedy(&answer, "perf").contains("seccomp"), "{answer:#}");
                assert_eq!(answer["facts"]["seccomp"], "filter");
            }
            let profiled = Profile::of(AS_FOUND, &BURN).behind(&launcher).run();
            assert!(profiled.output.status.success(), "{:?}", profiled.output);
            let report = &profiled.report;
            let wanted = if available(&answer, "schedstat") { "schedstat" } else { "rusage" };
            assert_eq!(report.scheduler(), wanted);
            assert!(report.notes().contains(&why), "{} does not say: {why}", report.notes());
            let class = report.stages()[0].class().to_owned();
            assert!(["cpu-bound", "unknown"].contains(&class.as_str()), "{class}");
            // The remedy is to lift the filter, and that changes the answer.
            if PERF.is_here() && user.is_empty() {
                assert!(available(&doctor_behind(&user), "perf"));
            }
        }
    }
}

#[test]
fn an_ordinary_user_is_served_as_root_is() {
    let _turn = alone();
    let Some(nobody) = as_nobody() else { return };
    for rung in [PERF, SCHEDSTAT] {
        let answer = doctor_behind(&nobody);
        if !available(&answer, rung.name) {
            skip(&format!("{} for nobody: {}", rung.name, why(&answer, rung.name)));
            continue;
        }
        let report = Profile::of(rung, &BURN).behind(&nobody).run().report;
        assert_eq!(report.scheduler(), rung.name);
        let stage = report.stages()[0];
        assert_eq!(stage.class(), "cpu-bound", "{:#}", report.0);
        assert!(stage.score().unwrap() > 0.9, "{:#}", stage.0);
        assert!((stage.time("cpu_seconds") - report.cpu()).abs() < 0.02 * report.cpu() + 0.005, "{:#}", report.0);
    }
}

#[test]
fn what_is_switched_off_is_switched_on_by_its_remedy() {
    let _turn = alone();
    for (name, word) in
        [("perf", "perf"), ("schedstat", "schedstat"), ("waits", "waits"), ("counters", "counters"), ("gil", "gil")]
    {
        let answer = doctor(Command::new(POOLPICK).env("POOLPICK_DISABLE", word));
        assert!(!available(&answer, name) && why(&answer, name).contains("POOLPICK_DISABLE"), "{answer:#}");
        let line = format!("{}; exec '{POOLPICK}' doctor --json", remedy(&answer, name));
        let output = Command::new("sh").args(["-c", &line]).env("POOLPICK_DISABLE", word).output().unwrap();
        let after: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(!why(&after, name).contains("POOLPICK_DISABLE"), "{after:#}");
    }
}

#[test]
fn too_few_open_files_are_told_and_more_are_the_remedy() {
    let _turn = alone();
    if !PERF.is_here() {
        return;
    }
    let limited =
        |files: u32| ["sh", "-c", &format!("ulimit -S -n {files}; exec \"$@\""), "sh"].map(str::to_owned).to_vec();
    let mut seen = false;
    for files in 4..24 {
        // With too few the run cannot begin, which is said with a way out; with more it begins on a lower rung.
        let plain = limited(files);
        let line =
            [&plain[1..], &[POOLPICK, "profile", "--quiet", "--", "sh", "-c", "exit 7"].map(str::to_owned)].concat();
        let output = Command::new("sh").args(line).stdin(Stdio::null()).env("POOLPICK_DISABLE", "").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(125) {
            assert!(said.contains("hint:") && said.contains("ulimit -n"), "{files} files: {said}");
            continue;
        }
        // Some shared library or the loader may be what found no descriptor.
        if output.status.code() == Some(127) && said.contains("shared libraries") {
            continue;
        }
        assert_eq!(output.status.code(), Some(7), "{files} files: {output:?}");
        let report = Profile::of(AS_FOUND, &BURN).behind(&limited(files + 1)).run().report;
        if report.scheduler() == PERF.name {
            continue;
        }
        seen = true;
        assert!(report.notes().contains("ulimit -n"), "{files} files: {}", report.notes());
        let answer = doctor_behind(&limited(files + 1));
        assert!(!available(&answer, "perf"), "{files} files: the doctor promises what a run does not get");
        let cured = ["sh", "-c", &format!("{}; exec \"$@\"", remedy(&answer, "perf")), "sh"].map(str::to_owned);
        assert!(available(&doctor_behind(&[limited(files + 1), cured.to_vec()].concat()), "perf"));
    }
    if !seen {
        skip("no limit leaves a run able to begin and perf not");
    }
}

#[test]
fn scarce_locked_memory_makes_rings_smaller_and_then_none() {
    let _turn = alone();
    let Some(nobody) = as_nobody() else { return };
    if !available(&doctor_behind(&nobody), "perf") {
        return skip("no perf for nobody");
    }
    // No locked memory of its own: what is left is the allowance of `perf_event_mlock_kb`.
    let launcher = [["sh", "-c", "ulimit -l 0; exec \"$@\"", "sh"].map(str::to_owned).to_vec(), nobody].concat();
    let name = "kernel.perf_event_mlock_kb";
    let Some(setting) = Setting::change(name, "0") else { return };
    let answer = doctor_behind(&launcher);
    assert!(!available(&answer, "perf"), "{answer:#}");
    assert!(why(&answer, "perf").contains("perf_event_mlock_kb"), "{answer:#}");
    let report = Profile::of(AS_FOUND, &BURN).behind(&launcher).run().report;
    assert_eq!(report.scheduler(), SCHEDSTAT.name);
    assert!(report.notes().contains("perf_event_mlock_kb"), "{}", report.notes());
    shell(&remedy(&answer, "perf"));
    assert_eq!(setting.value(), "516");
    let answer = doctor_behind(&launcher);
    assert!(available(&answer, "perf"), "{answer:#}");
    // Room for a few pages only: smaller rings, the same accounting. Where the doctor says yes, a run agrees.
    for kib in ["516", "132", "68", "36", "20", "12", "8"] {
        fs::write(&setting.0, kib).unwrap();
        let promised = available(&doctor_behind(&launcher), "perf");
        let report = Profile::of(AS_FOUND, &BURN).behind(&launcher).run().report;
        println!("{kib} KiB: doctor {promised}, run {}", report.scheduler());
        assert!(!promised || report.scheduler() == PERF.name, "{kib} KiB: {}", report.notes());
        let refused = report.notes().contains("perf_event_mlock_kb");
        assert!(report.scheduler() == PERF.name || refused, "{kib} KiB: {}", report.notes());
        assert!(report.scheduler() != PERF.name || promised, "{kib} KiB: a run has what the doctor denies");
    }
}

#[test]
fn paranoid_kernels_are_told_and_a_lower_value_is_the_remedy() {
    let _turn = alone();
    let Some(nobody) = as_nobody() else { return };
    let Some(setting) = Setting::change("kernel.perf_event_paranoid", "3") else { return };
    let answer = doctor_behind(&nobody);
    if available(&answer, "perf") {
        return skip("this kernel knows no perf_event_paranoid above 2 (Debian's and Ubuntu's do)");
    }
    assert!(why(&answer, "perf").contains("perf_event_paranoid"), "{answer:#}");
    let report = Profile::of(AS_FOUND, &BURN).behind(&nobody).run().report;
    assert_eq!(report.scheduler(), SCHEDSTAT.name);
    assert!(report.notes().contains("perf_event_paranoid"));
    shell(&remedy(&answer, "perf"));
    assert_eq!(setting.value(), "2");
    assert!(available(&doctor_behind(&nobody), "perf"));
}

#[test]
fn yamas_scope_is_told_and_a_lower_one_is_the_remedy() {
    let _turn = alone();
    let Some(nobody) = as_nobody() else { return };
    // 2, not 3: that one cannot be taken back.
    let Some(setting) = Setting::change("kernel.yama.ptrace_scope", "2") else { return };
    if setting.value() != "2" {
        return skip("Yama's scope cannot be changed");
    }
    let answer = doctor_behind(&nobody);
    assert!(!available(&answer, "waits"), "{answer:#}");
    shell(&remedy(&answer, "waits"));
    assert!(available(&doctor_behind(&nobody), "waits"));
}

/// In a mount namespace of its own, with `/proc` mounted anew with these options.
fn with_proc(options: &str) -> Option<Vec<String>> {
    if !root() {
        return None;
    }
    let mount = format!("mount -t proc {options} proc /proc && exec \"$@\"");
    let launcher: Vec<String> = ["unshare", "-m", "sh", "-c", &mount, "sh"].map(str::to_owned).into();
    let probe = Command::new(&launcher[0]).args(&launcher[1..]).arg("true").output();
    // Before Linux 5.8 the option would be the whole pid namespace's.
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = version.split(['.', '-']).filter_map(|word| word.parse::<u32>().ok());
    let new = (numbers.next(), numbers.next()) >= (Some(5), Some(8));
    if new && probe.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(launcher);
    }
    skip(&format!("no /proc with {options} of its own: {probe:?}"));
    None
}

#[test]
fn hidden_processes_of_others_are_not_missed() {
    let _turn = alone();
    let Some(nobody) = as_nobody() else { return };
    for hidepid in ["1", "2", "4"] {
        let Some(mount) = with_proc(&format!("-o hidepid={hidepid}")) else { return };
        let launcher = [mount, nobody.clone()].concat();
        let answer = doctor_behind(&launcher);
        let words = [("1", "noaccess"), ("2", "invisible"), ("4", "ptraceable")];
        let word = words.iter().find(|(number, _)| *number == hidepid).unwrap().1;
        let told = answer["facts"]["hidepid"].as_str().unwrap();
        assert!(told.contains(hidepid) || told.contains(word), "{told}");
        for rung in [PERF, SCHEDSTAT] {
            if !available(&answer, rung.name) {
                skip(&format!("{} with hidepid {hidepid}: {}", rung.name, why(&answer, rung.name)));
                continue;
            }
            let report = Profile::of(rung, &BURN).behind(&launcher).run().report;
            assert_eq!(report.scheduler(), rung.name, "hidepid={hidepid}: {}", report.notes());
            assert_eq!(report.stages()[0].class(), "cpu-bound", "hidepid={hidepid}: {:#}", report.0);
        }
    }
}

#[test]
fn a_proc_that_shows_nothing_costs_detail_and_not_the_run() {
    let _turn = alone();
    if !root() {
        return;
    }
    let mount = "mount -t tmpfs none /proc && exec \"$@\"";
    let launcher: Vec<String> = ["unshare", "-m", "sh", "-c", mount, "sh"].map(str::to_owned).into();
    let probe = Command::new(&launcher[0]).args(&launcher[1..]).arg("true").output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        return skip(&format!("no mount namespace: {probe:?}"));
    }
    let answer = doctor_behind(&launcher);
    assert!(!available(&answer, "schedstat"), "{answer:#}");
    for name in ["schedstat", "waits"] {
        assert!(why(&answer, name).contains("/proc"), "{answer:#}");
    }
    for disable in ["", "perf"] {
        let rung = Rung { name: "", disable };
        let profiled = Profile::of(rung, &["sh", "-c", &format!("{}; exit 5", BURN[2])]).behind(&launcher).run();
        assert_eq!(profiled.output.status.code(), Some(5));
        let report = &profiled.report;
        assert!(report.cpu() > 0.0);
        if disable == "perf" {
            assert_eq!(report.scheduler(), "rusage");
            assert!(report.notes().contains("/proc"), "{}", report.notes());
        }
        let class = report.stages().first().map_or("unknown", |stage| stage.class()).to_owned();
        assert!(["cpu-bound", "unknown"].contains(&class.as_str()), "{class}");
    }
}

#[test]
fn a_proc_of_another_pid_namespace_is_not_believed() {
    let _turn = alone();
    if !root() {
        return;
    }
    // A new pid namespace over the old `/proc`: numbers there are those of strangers.
    let launcher = ["unshare", "--pid", "--fork"].map(str::to_owned).to_vec();
    let probe = Command::new(&launcher[0]).args(&launcher[1..]).arg("true").output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        return skip(&format!("no pid namespace: {probe:?}"));
    }
    let answer = doctor_behind(&launcher);
    for name in ["schedstat", "waits"] {
        assert!(!available(&answer, name) && why(&answer, name).contains("/proc"), "{name}: {answer:#}");
    }
    let wanted = if available(&answer, "perf") { "perf" } else { "rusage" };
    for (disable, scheduler) in [("", wanted), ("perf", "rusage")] {
        let report = Profile::of(Rung { name: "", disable }, &BURN).behind(&launcher).run().report;
        assert_eq!(report.scheduler(), scheduler, "{}", report.notes());
        assert_eq!(report.stages().len(), 1, "strangers: {:#}", report.0);
        assert_eq!(report.number("/target/left_behind"), 0.0);
    }
}
