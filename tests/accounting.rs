//! Totals, switches and stages against the kernel's own numbers: the target is GNU `time` (or a small script that asks
//! `wait4`) around the command, so that both see the very same run.

mod support;

use std::path::Path;
use support::{PERF, Profile, RUSAGE, Report, Rung, SCHEDSTAT, alone, each, fixture, measured, python, skip, workload};

/// CPU totals may differ by this share, or by these seconds.
const CPU_SHARE: f64 = 0.01;
const CPU_SECONDS: f64 = 0.020;
/// What GNU time cuts off: it prints whole hundredths of user and of system time.
const CUT_SECONDS: f64 = 0.020;
/// Switches may differ by this share and by this many: those of the wrapper itself.
const SWITCH_SHARE: f64 = 0.03;
const SWITCHES: f64 = 8.0;
/// Wall time may differ by this much, and on a machine that has others to serve by a share.
const WALL_SECONDS: f64 = 0.030;
const WALL_SHARE: f64 = 0.10;
/// CPU of a process that its switch records cannot show: the kernel takes its memory down after the last of them.
const EXIT_SECONDS: f64 = 0.000_5;

/// CPU that no reading saw is only told from here on.
const SILENT_SECONDS: f64 = 0.050;

/// What the kernel told the wrapper.
#[derive(Debug)]
struct Kernel {
    cpu: f64,
    cut: f64,
    wall: f64,
    voluntary: f64,
    involuntary: f64,
}

/// Runs `argv` inside the wrapper inside poolpick.
fn run(rung: Rung, argv: &[String]) -> Option<(Report, Kernel)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel").display().to_string();
    let gnu = Path::new("/usr/bin/time").exists();
    let mut wrapped: Vec<String> = if gnu {
        ["/usr/bin/time", "-f", "%U %S %e %w %c", "-o", &file].map(str::to_owned).to_vec()
    } else {
        vec![python()?.to_owned(), fixture("account.py"), file.clone()]
    };
    wrapped.extend(argv.iter().cloned());
    let profiled = Profile::of(rung, &wrapped).run();
    assert!(profiled.output.status.success(), "{:?}", profiled.output);
    let text = std::fs::read_to_string(&file).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [user, system, wall, voluntary, involuntary] = numbers[..] else { panic!("{text}") };
    let cut = if gnu { CUT_SECONDS } else { 0.0 };
    let kernel = Kernel { cpu: user + system, cut, wall, voluntary, involuntary };
    assert_eq!(profiled.report.scheduler(), rung.name);
    Some((profiled.report, kernel))
}

/// How far `value` is out of `low..=high`.
fn out_of(value: f64, low: f64, high: f64) -> f64 {
    (low - value).max(value - high).max(0.0)
}

/// Totals are the kernel's on every rung.
fn totals_are_the_kernels(report: &Report, kernel: &Kernel) {
    let cpu = report.cpu();
    let off = out_of(cpu, kernel.cpu, kernel.cpu + kernel.cut);
    assert!(off <= (CPU_SHARE * kernel.cpu).max(CPU_SECONDS), "CPU {cpu}, {kernel:?}");
    for (name, told) in [("voluntary", kernel.voluntary), ("involuntary", kernel.involuntary)] {
        let counted = report.number(&format!("/totals/{name}_switches"));
        assert!((counted - told).abs() <= SWITCH_SHARE * told + SWITCHES, "{name} {counted}, {kernel:?}");
    }
    let wall = report.number("/target/wall_seconds");
    let off = out_of(wall, kernel.wall, kernel.wall + 0.010);
    assert!(off <= WALL_SECONDS.max(WALL_SHARE * kernel.wall), "wall {wall}, {kernel:?}");
    let ratio = report.number("/totals/cpu_wall_ratio");
    assert!((ratio - cpu / wall).abs() < 1e-9, "{ratio} is not {cpu} / {wall}");
}

/// Every part of a stage's thread time is told, and the parts make the whole.
fn thread_time_adds_up(report: &Report) {
    for stage in report.stages() {
        let Some(whole) = stage.0["time"]["thread_seconds"].as_f64() else { continue };
        if stage.0["time"]["wait_seconds"].is_null() {
            continue;
        }
        let fields = ["cpu_seconds", "run_queue_seconds", "gil_wait_seconds", "starved_seconds", "unknown_seconds"];
        let parts = fields.iter().map(|field| stage.time(field)).sum::<f64>() + stage.waits();
        assert!((whole - parts).abs() <= 1e-6 + 1e-6 * whole, "{whole} is not {parts}: {:#}", stage.0["time"]);
    }
}

/// CPU of the stages, and of what the notes say was folded away or never seen.
fn stage_cpu(report: &Report) -> f64 {
    report.stages().iter().map(|stage| stage.time("cpu_seconds")).sum()
}

/// The records hold what the kernel counted.
fn records_account_for_the_cpu(report: &Report) {
    let total = report.cpu();
    let seen = report.number("/sources/accounted_ratio") * total;
    let exits = EXIT_SECONDS * report.number("/totals/processes");
    assert!(
        (seen - total).abs() <= (CPU_SHARE * total).max(CPU_SECONDS / 2.0) + exits,
        "{seen} of {total}: {:#}",
        report.0
    );
    assert_eq!(report.number("/sources/lost_records"), 0.0);
}

/// The programs of the issue, by a name and their command line.
fn programs(python: &str) -> [(String, Vec<String>); 7] {
    let of = |arguments: &[&str]| workload(python, arguments);
    // Written in blocks: a writer of lines switches so often that poolpick gives records up, as it should.
    let pipeline = "awk 'BEGIN { for (i = 0; i < 600000; i++) print \"line\", i }' | gzip -9 | cat >/dev/null";
    [
        ("burn", of(&["burn", "--seconds", "0.6"])),
        ("short-children", of(&["short-children", "--count", "300"])),
        ("pipeline", ["sh", "-c", pipeline].map(str::to_owned).to_vec()),
        ("gil-free-threads", of(&["gil-free-threads", "--seconds", "0.5"])),
        ("process-pool", of(&["process-pool", "--seconds", "0.5"])),
        ("exec-chain", of(&["exec-chain", "--seconds", "0.5"])),
        ("exec-from-thread", of(&["exec-from-thread", "--seconds", "0.6"])),
    ]
    .map(|(name, argv)| (name.to_owned(), argv))
}

#[test]
fn records_agree_with_the_kernel() {
    let (Some(python), true) = (python(), PERF.is_here()) else { return };
    let _turn = alone();
    each(programs(python), |argv| {
        measured(|| {
            let Some((report, kernel)) = run(PERF, &argv) else { return };
            totals_are_the_kernels(&report, &kernel);
            records_account_for_the_cpu(&report);
            thread_time_adds_up(&report);
            // Programs that only launch others make no stage; the notes tell of them.
            let (stages, total) = (stage_cpu(&report), report.cpu());
            let folded = folded_cpu(&report);
            let off = (stages + folded - total).abs();
            assert!(off <= 0.02 * total + 0.002, "{stages} + {folded} of {total}: {}", report.notes());
            assert_eq!(report.number("/totals/cpu_unwaited_seconds"), 0.0);
        })
    });
}

#[test]
fn readings_agree_with_the_kernel() {
    let (Some(python), true) = (python(), SCHEDSTAT.is_here()) else { return };
    let _turn = alone();
    each(programs(python), |argv| {
        measured(|| {
            let Some((report, kernel)) = run(SCHEDSTAT, &argv) else { return };
            totals_are_the_kernels(&report, &kernel);
            thread_time_adds_up(&report);
            assert!(report.0["sources"]["accounted_ratio"].is_null());
            // What ended between two readings is told in a note and never invented: stages hold no more than there was.
            let (stages, total) = (stage_cpu(&report), report.cpu());
            assert!(stages <= 1.01 * total + 0.020, "{stages} of {total}");
            let told = stages + folded_cpu(&report) + unseen_cpu(&report);
            assert!((told - total).abs() <= 0.02 * total + SILENT_SECONDS, "{told} of {total}: {}", report.notes());
        })
    });
}

#[test]
fn totals_alone_agree_with_the_kernel() {
    let Some(python) = python() else { return };
    let _turn = alone();
    each(programs(python), |argv| {
        measured(|| {
            let Some((report, kernel)) = run(RUSAGE, &argv) else { return };
            totals_are_the_kernels(&report, &kernel);
            // Nothing tells programs apart: what is given must be the whole, and what is not must be null and not 0.
            for stage in report.stages() {
                let cpu = stage.0["time"]["cpu_seconds"].as_f64();
                assert!(cpu.is_none_or(|cpu| cpu > 0.0), "0 is not unknown: {:#}", stage.0);
            }
            let stages = stage_cpu(&report);
            assert!((stages - report.cpu()).abs() <= 0.02 * report.cpu() + 0.002, "{stages} of {}", report.cpu());
        })
    });
}

/// CPU seconds in the notes about what makes no stage: `(2 processes, 63.7 ms of CPU)`.
fn folded_cpu(report: &Report) -> f64 {
    let notes = report.notes();
    let told = |note: &&str| note.starts_with("no stages") || note.starts_with("outside the stages");
    notes.lines().filter(told).map(|line| seconds(line.rsplit(", ").next().unwrap())).sum()
}

/// CPU seconds in the note about what no reading saw: `70.4 ms of CPU was used by …`.
fn unseen_cpu(report: &Report) -> f64 {
    let notes = report.notes();
    notes.lines().find(|note| note.contains(" of CPU was used by")).map_or(0.0, seconds)
}

/// A time in words, as the notes write it, to seconds.
fn seconds(text: &str) -> f64 {
    let mut words = text.split_whitespace();
    let number: f64 = words.next().unwrap().parse().unwrap_or_else(|_| panic!("no number in `{text}`"));
    number
        * match words.next() {
            Some("s") => 1.0,
            Some("ms") => 1e-3,
            Some("µs" | "us") => 1e-6,
            Some("ns") => 1e-9,
            other => panic!("`{other:?}` is no unit, in `{text}`"),
        }
}

/// The daemon holds the pipe's end open until it has burnt its 0.3 s, and so the shell stays as long.
fn with_daemon(python: &str) -> Vec<String> {
    let line = format!("'{python}' '{}' daemon 3>&1 >/dev/null | cat", fixture("workloads.py"));
    ["sh", "-c", &line].map(str::to_owned).to_vec()
}

#[test]
fn a_daemons_cpu_is_told_apart() {
    measured(a_daemons_cpu_is_told_apart_once);
}

fn a_daemons_cpu_is_told_apart_once() {
    let Some(python) = python() else { return };
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT] {
        if !rung.is_here() {
            continue;
        }
        let Some((report, kernel)) = run(rung, &with_daemon(python)) else { return };
        totals_are_the_kernels(&report, &kernel);
        assert_eq!(report.number("/target/left_behind"), 0.0);
        // 0.3 s by its own clock, and a little for its fork and its end.
        let unwaited = report.number("/totals/cpu_unwaited_seconds");
        assert!((unwaited - 0.3).abs() < 0.030, "{}: {unwaited}", rung.name);
        if rung.name == PERF.name {
            records_of_all(&report, unwaited);
        }
    }
}

/// Stages hold the daemon too: all that ran, waited for or not.
fn records_of_all(report: &Report, unwaited: f64) {
    let all = report.cpu() + unwaited;
    let stages = stage_cpu(report) + folded_cpu(report);
    assert!((stages - all).abs() <= 0.02 * all + 0.003, "{stages} of {all}: {:#}", report.0);
}

#[test]
fn a_daemon_that_is_left_behind_is_counted_so_far() {
    measured(a_daemon_that_is_left_behind_is_counted_so_far_once);
}

fn a_daemon_that_is_left_behind_is_counted_so_far_once() {
    let Some(python) = python() else { return };
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT, RUSAGE] {
        if !rung.is_here() {
            continue;
        }
        let Some((report, kernel)) = run(rung, &workload(python, &["daemon"])) else { return };
        totals_are_the_kernels(&report, &kernel);
        thread_time_adds_up(&report);
        if report.number("/target/left_behind") < 1.0 {
            skip("the daemon had ended before its launcher did");
            continue;
        }
        // It had less than all of its 0.3 s; 0 would claim that it was looked at.
        let unwaited = report.maybe("/totals/cpu_unwaited_seconds");
        assert!(unwaited.is_none_or(|cpu| (0.0..0.3).contains(&cpu)), "{}: {unwaited:?}", rung.name);
        assert!(rung.name != PERF.name || unwaited.is_some());
    }
}

/// What is started through programs that replace themselves by it ran once: its payload and time are those of one task.
#[test]
fn a_chain_of_launchers_is_one_run_of_the_last() {
    let Some(python) = python() else { return };
    let _turn = alone();
    for rung in [PERF, SCHEDSTAT] {
        if !rung.is_here() {
            continue;
        }
        let mut argv: Vec<String> =
            ["env", "nice", "-n", "0", "sh", "-c", "exec \"$0\" \"$@\""].map(str::to_owned).to_vec();
        argv.extend(workload(python, &["burn", "--seconds", "0.3"]));
        let report = Profile::of(rung, &argv).run().report;
        let stage = report.stage("workloads.py").unwrap_or_else(|| panic!("no stage: {:#}", report.0));
        assert_eq!(stage.0["evidence"]["tasks"], 1, "{}: {:#}", rung.name, report.0);
    }
}

/// What a program wrote last is told, though it ends between two readings of it.
#[test]
fn bytes_are_counted_to_the_end() {
    if !Path::new("/bin/dd").exists() {
        return skip("there is no dd");
    }
    each([("perf".to_owned(), PERF), ("schedstat".to_owned(), SCHEDSTAT)], |rung| {
        if !rung.is_here() {
            return skip("the rung is not here");
        }
        let copy = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=32768", "count=4000", "status=none"];
        let profiled = Profile::of(rung, &copy).run();
        let written = profiled.report.number("/stages/0/io/written_bytes");
        // Before its exec the process writes a few bytes that say how that went.
        assert!((131_072_000.0..131_072_100.0).contains(&written), "{}: {written}", rung.name);
    });
}
