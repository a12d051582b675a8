//! Class and score of programs of known demand: the same on an idle machine, beside four CPU hogs and under a quota of
//! half a core, on every rung of the ladder.

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::OnceLock;
use support::workload;
use support::{
    Hogs, PERF, Profile, Quota, RUSAGE, Report, Rung, SCHEDSTAT, Stage, alone, beside_others, each, measured, python,
    skip,
};

/// How far a score may be from the program's design, by rung: records are exact, readings miss beginnings and ends.
const WITH_RECORDS: f64 = 0.05;
const WITH_READINGS: f64 = 0.08;
/// A command's score and ratio differ by no more on an idle machine.
const PLAIN: f64 = 0.01;
/// Others may use this much of a core on a machine that is called idle.
const IDLE_CORES: f64 = 0.05;

/// A program of known demand.
#[derive(Debug, Clone)]
struct Known {
    argv: Vec<String>,
    /// The name of the stage.
    stage: &'static str,
    class: &'static str,
    /// Its score without the interpreter's start.
    score: f64,
    /// Σ own wait, seconds.
    wait: f64,
}

impl Known {
    /// Its score from without to with the start and end of the interpreter. They are CPU too, and how much depends on
    /// the machine and on what runs beside it, so it is taken from what the run used by the kernel's count, which
    /// `accounting` holds.
    fn scores(&self, report: &Report) -> (f64, f64) {
        (self.score, self.score.max(report.cpu() / (report.cpu() + self.wait)))
    }
}

/// The programs. `seconds` of CPU and of waiting together, by one thread's measure.
fn programs(python: &str) -> Vec<(String, Known)> {
    let of = |name: &str, seconds: &str, class, score: f64, per_second: f64| {
        let argv = workload(python, &[name, "--seconds", seconds]);
        let wait = (1.0 - score) * per_second * seconds.parse::<f64>().unwrap();
        (name.to_owned(), Known { argv, stage: "workloads.py", class, score, wait })
    };
    vec![
        of("burn", "0.6", "cpu-bound", 1.0, 1.0),
        of("sleep-5pct", "1.2", "io-bound", 0.05, 1.0),
        of("interleaved", "1", "hybrid", 0.5, 1.0),
        of("burn-idle-threads", "0.6", "cpu-bound", 1.0, 1.0),
        of("gil-fight", "0.6", "cpu-bound", 1.0, 1.0),
        of("io-threads", "0.8", "io-bound", 0.1, 8.0),
    ]
}

/// The stage, and that it is what the program is.
fn holds(rung: Rung, known: &Known, launcher: &[String]) {
    let profiled = Profile::of(rung, &known.argv).behind(launcher).run();
    assert!(profiled.output.status.success(), "{:?}", profiled.output);
    let report = &profiled.report;
    assert_eq!(report.scheduler(), rung.name, "{}", report.notes());
    let stage = report.stage(known.stage).unwrap_or_else(|| panic!("no stage {}: {:#}", known.stage, report.0));
    let score = stage.score().unwrap_or_else(|| panic!("no score: {:#}", report.0));
    let designed = known.scores(report);
    println!("  {} {score:.3} {:.3?}, designed {designed:.3?}", stage.class(), stage.interval().unwrap());
    if rung.name == RUSAGE.name {
        return never_wrong(stage, known.class, designed);
    }
    assert_eq!(stage.class(), known.class, "{:#}", stage.0);
    let tolerance = if rung.name == PERF.name { WITH_RECORDS } else { WITH_READINGS };
    let (low, high) = (designed.0 - tolerance, designed.1 + tolerance);
    assert!((low..=high).contains(&score), "{score} is not in {low}..={high}: {:#}", stage.0);
}

/// Totals alone: the class is right or unknown, or the interval says that it may be another.
fn never_wrong(stage: Stage<'_>, class: &str, designed: (f64, f64)) {
    let (low, high) = stage.interval().unwrap();
    let truth =
        (low - WITH_READINGS..=high + WITH_READINGS).contains(&designed.0) || (low..=high).contains(&designed.1);
    assert!([class, "unknown"].contains(&stage.class()) || truth, "{:#}", stage.0);
}

fn hold(rung: Rung, launcher: &[String]) {
    let (Some(python), true) = (python(), rung.is_here()) else { return };
    each(programs(python), |known| measured(|| holds(rung, &known, launcher)));
}

#[test]
fn classes_hold_with_records() {
    let _turn = alone();
    hold(PERF, &[]);
}

#[test]
fn classes_hold_with_records_beside_hogs() {
    let _turn = alone();
    let _hogs = Hogs::start(4);
    hold(PERF, &[]);
}

#[test]
fn classes_hold_with_records_under_a_quota() {
    let _turn = alone();
    let Some(quota) = Quota::of(0.5) else { return };
    hold(PERF, &quota.launcher());
}

#[test]
fn classes_hold_with_readings() {
    let _turn = alone();
    hold(SCHEDSTAT, &[]);
}

#[test]
fn classes_hold_with_readings_beside_hogs() {
    let _turn = alone();
    let _hogs = Hogs::start(4);
    hold(SCHEDSTAT, &[]);
}

#[test]
fn classes_hold_with_readings_under_a_quota() {
    let _turn = alone();
    let Some(quota) = Quota::of(0.5) else { return };
    hold(SCHEDSTAT, &quota.launcher());
}

#[test]
fn totals_alone_are_never_wrong() {
    let _turn = alone();
    hold(RUSAGE, &[]);
}

#[test]
fn totals_alone_are_never_wrong_beside_hogs() {
    let _turn = alone();
    let _hogs = Hogs::start(4);
    hold(RUSAGE, &[]);
}

#[test]
fn totals_alone_are_never_wrong_under_a_quota() {
    let _turn = alone();
    let Some(quota) = Quota::of(0.5) else { return };
    hold(RUSAGE, &quota.launcher());
}

/// A file that gzip needs about half a second for, and sed a tenth of that.
fn big() -> &'static str {
    static FILE: OnceLock<(tempfile::TempDir, String)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        let mut out = BufWriter::new(File::create(&path).unwrap());
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..900_000 {
            writeln!(out, "{:x} of {}", random.u16(..), random.u8(..)).unwrap();
        }
        out.flush().unwrap();
        (folder, path.display().to_string())
    });
    path
}

/// Classes of `sed` and `gzip`; one that is folded away as next to nothing is unknown.
fn pipeline(rung: Rung, reader: &str, launcher: &[String]) -> [String; 2] {
    let line = format!("sed -n p '{}' | gzip -9 | {reader}", big());
    let report = Profile::of(rung, &["sh", "-c", &line]).behind(launcher).run().report;
    let of = |name: &str| report.stage(name).map_or_else(|| "unknown".to_owned(), |stage| stage.class().to_owned());
    let classes = [of("sed"), of("gzip")];
    println!("  {classes:?}");
    assert_eq!(classes[1], "cpu-bound", "{:#}", report.0);
    classes
}

fn slow_end_tells_nothing(rung: Rung) {
    measured(|| slow_end_tells_nothing_once(rung));
}

fn slow_end_tells_nothing_once(rung: Rung) {
    if !rung.is_here() {
        return;
    }
    let idle = pipeline(rung, "cat >/dev/null", &[]);
    assert_eq!(pipeline(rung, "(sleep 1; exec wc >/dev/null)", &[]), idle);
    {
        let _hogs = Hogs::start(4);
        assert_eq!(pipeline(rung, "(sleep 1; exec wc >/dev/null)", &[]), idle, "beside hogs");
    }
    let Some(quota) = Quota::of(0.5) else { return };
    assert_eq!(pipeline(rung, "(sleep 1; exec wc >/dev/null)", &quota.launcher()), idle, "under a quota");
}

#[test]
fn a_slow_neighbour_changes_no_class_with_records() {
    let _turn = alone();
    slow_end_tells_nothing(PERF);
}

#[test]
fn a_slow_neighbour_changes_no_class_with_readings() {
    let _turn = alone();
    slow_end_tells_nothing(SCHEDSTAT);
}

#[test]
fn phases_are_cut_where_they_turn() {
    measured(phases_are_cut_where_they_turn_once);
}

fn phases_are_cut_where_they_turn_once() {
    let Some(python) = python() else { return };
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT] {
        if !rung.is_here() {
            continue;
        }
        for hogs in [0, 4] {
            let _hogs = Hogs::start(hogs);
            let profiled = Profile::of(rung, &workload(python, &["phases", "--seconds", "1.6", "--truth"])).run();
            let report = &profiled.report;
            let truth: serde_json::Value = serde_json::from_slice(&profiled.output.stdout).unwrap();
            let turned = truth["turned_after_seconds"].as_f64().unwrap();
            let wall = report.number("/target/wall_seconds");
            let stage = report.stage("workloads.py").unwrap();
            let phases = stage.0["phases"].as_array().unwrap();
            println!("{} with {hogs} hogs, {turned:.2} of {wall:.2} s: {phases:?}", rung.name);
            let classes: Vec<_> = phases.iter().map(|phase| phase["class"].as_str().unwrap()).collect();
            assert_eq!(
                classes,
                ["io-bound", "cpu-bound"],
                "{} with {hogs} hogs, {turned:.2} of {wall:.2} s: {:#}",
                rung.name,
                stage.0
            );
            for cut in [&phases[0]["end_seconds"], &phases[1]["start_seconds"]] {
                assert!((cut.as_f64().unwrap() - turned).abs() < 0.1 * wall, "{cut}, not {turned}");
            }
        }
    }
}

#[test]
fn a_plain_commands_score_is_its_ratio_on_an_idle_machine() {
    measured(a_plain_commands_score_is_its_ratio_on_an_idle_machine_once);
}

fn a_plain_commands_score_is_its_ratio_on_an_idle_machine_once() {
    let Some(python) = python() else { return };
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT, RUSAGE] {
        if !rung.is_here() {
            continue;
        }
        for name in ["burn", "interleaved", "sleep-5pct"] {
            let profile = Profile::of(rung, &workload(python, &[name, "--seconds", "0.6"]));
            let mut busy = Vec::new();
            let found = (0..6).find_map(|_| {
                let (profiled, others) = beside_others(&profile);
                busy.push(others);
                (others < IDLE_CORES).then_some(profiled.report)
            });
            let Some(report) = found else {
                skip(&format!("the machine is not idle: others used {busy:.2?} cores"));
                continue;
            };
            let stage = report.stage("workloads.py").unwrap();
            let (score, ratio) = (stage.score().unwrap(), stage.0["cpu_wall_ratio"].as_f64().unwrap());
            println!("{} {name}: score {score:.4}, ratio {ratio:.4}", rung.name);
            assert!((score - ratio).abs() <= PLAIN, "{score}, {ratio}: {:#}", stage.0);
            let whole = report.number("/totals/cpu_wall_ratio");
            assert!((score - whole).abs() <= PLAIN, "{score}, {whole}: {:#}", report.0);
        }
    }
}
