//! What poolpick costs the program that it watches, pairwise against bare runs, with other tools beside it.
//!
//! Each run under a tool has a bare run next to it, before it in one round and after it in the other (A B B A), and only
//! the two are compared: what else the machine does changes slower than that. The median of the ratios is the figure.
//! Beside it stand the least run under the tool over the least bare run, which hardly knows of other load, and the
//! median's 95 % interval: where the goal lies within that, the machine was too busy to tell.
//!
//! `POOLPICK_BENCH_ROUNDS=20` measures more often (7 else), `POOLPICK_BENCH_ONLY=start,shell` only some loads:
//! busy-python, busy-native, pipe, shell, start, cold-start, idle; `POOLPICK_BENCH_PATIENCE=300` goes on for so many
//! seconds with each pair (40 else), which a busy program's one per cent needs on a noisy machine. A cold start comes after a pause: the first perf event
//! after a second without any makes the kernel patch itself and wait for all CPUs, which `perf stat` pays as well.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const POOLPICK: &str = env!("CARGO_BIN_EXE_poolpick");
/// Longer than so many seconds, a tool gets no further round of a load.
const PATIENCE: u64 = 40;

fn main() -> ExitCode {
    if !env::args().any(|argument| argument == "--bench") {
        println!("skipped: run it with `cargo bench --bench overhead`");
        return ExitCode::SUCCESS;
    }
    let rounds = env::var("POOLPICK_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(7);
    let patience = env::var("POOLPICK_BENCH_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    let patience = Duration::from_secs(patience.unwrap_or(PATIENCE));
    let only = env::var("POOLPICK_BENCH_ONLY").ok();
    let chosen = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|word| word.trim() == name));
    let python = python();
    let tools = tools();
    let present: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
    println!("tools: {}; {rounds} rounds", present.join(", "));
    let mut rows = Vec::new();
    for load in loads(python.as_deref()).iter().filter(|load| chosen(load.name)) {
        for tool in tools.iter().filter(|tool| tool.fits(load)) {
            match compare(load, tool, rounds * load.repeats, patience) {
                Some(row) => {
                    eprintln!("{}", row.line());
                    rows.push(row);
                }
                None => eprintln!("{} under {}: it does not run here", load.name, tool.name),
            }
        }
    }
    if !rows.is_empty() {
        println!("\n{HEAD}");
        rows.iter().for_each(|row| println!("{}", row.line()));
    }
    if chosen("idle") {
        own_cost(python.as_deref());
    }
    ExitCode::SUCCESS
}

// ---- what is run -----------------------------------------------------------------------------------------------------

struct Load {
    name: &'static str,
    argv: Vec<String>,
    /// Short ones are run more often in each round.
    repeats: usize,
    goal: Goal,
    python: bool,
    /// Before each run.
    pause: Duration,
}

/// The most that poolpick may cost.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// Over the bare run.
    Ratio(f64),
    /// On top of the bare run.
    Millis(f64),
    Open,
}

/// Longer than the kernel keeps its hooks for perf after the last event.
const COLD: Duration = Duration::from_millis(2_200);

fn loads(python: Option<&str>) -> Vec<Load> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let mut loads = Vec::new();
    if let Some(python) = python {
        let script = format!("n = 0\nfor i in range({}): n += i", steps_of_a_second(python));
        let argv = words(&[python, "-c", &script]);
        loads.push(Load {
            name: "busy-python",
            argv,
            repeats: 1,
            goal: Goal::Ratio(1.01),
            python: true,
            pause: Duration::ZERO,
        });
    }
    if let (Some(_), Some(zeros)) = (on_path("sha256sum"), zeros()) {
        let argv = words(&["sha256sum", &zeros.to_string_lossy()]);
        loads.push(Load {
            name: "busy-native",
            argv,
            repeats: 1,
            goal: Goal::Ratio(1.01),
            python: false,
            pause: Duration::ZERO,
        });
    }
    let perf_bench = words(&["perf", "bench", "sched", "pipe", "-l", "100000"]);
    if runs(&perf_bench) {
        loads.push(Load {
            name: "pipe",
            argv: perf_bench,
            repeats: 2,
            goal: Goal::Ratio(1.05),
            python: false,
            pause: Duration::ZERO,
        });
    } else if let Some(python) = python {
        let argv = words(&[python, "-c", PING_PONG]);
        loads.push(Load {
            name: "pipe",
            argv,
            repeats: 2,
            goal: Goal::Ratio(1.05),
            python: true,
            pause: Duration::ZERO,
        });
    }
    let argv = words(&["sh", "-c", "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done"]);
    loads.push(Load { name: "shell", argv, repeats: 2, goal: Goal::Ratio(1.10), python: false, pause: Duration::ZERO });
    let (warm, cold) = (Duration::ZERO, COLD);
    let argv = words(&["true"]);
    loads.push(Load { name: "start", argv, repeats: 15, goal: Goal::Millis(3.0), python: false, pause: warm });
    let argv = words(&["true"]);
    loads.push(Load { name: "cold-start", argv, repeats: 1, goal: Goal::Open, python: false, pause: cold });
    loads
}

const PING_PONG: &str = "
import os
(a, b), (c, d) = os.pipe(), os.pipe()
if os.fork():
    for i in range(100000): os.write(b, b'x'); os.read(c, 1)
    os.wait()
else:
    for i in range(100000): os.read(a, 1); os.write(d, b'x')
    os._exit(0)
";

const WAKING_THREADS: &str = "
import threading, time
def wake():
    while True: time.sleep(0.1)
for i in range(1000): threading.Thread(target=wake, daemon=True).start()
time.sleep(12)
";

const IDLE_THREADS: &str = "
import threading, time
def idle():
    while True: time.sleep(1)
for i in range(1000): threading.Thread(target=idle, daemon=True).start()
time.sleep(12)
";

struct Tool {
    name: &'static str,
    prefix: Vec<String>,
    disable: Option<&'static str>,
    python_only: bool,
}

impl Tool {
    fn fits(&self, load: &Load) -> bool {
        load.python || !self.python_only
    }

    fn command(&self, argv: &[String]) -> Command {
        let mut words = self.prefix.iter().chain(argv);
        let mut command = Command::new(words.next().expect("a load has a program"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_remove("POOLPICK_DISABLE");
        if let Some(sources) = self.disable {
            command.env("POOLPICK_DISABLE", sources);
        }
        command
    }
}

const BARE: Tool = Tool { name: "bare", prefix: Vec::new(), disable: None, python_only: false };

fn tools() -> Vec<Tool> {
    let tool = |name, words: &[&str], disable| {
        let prefix = words.iter().map(|&word| word.to_owned()).collect();
        Tool { name, prefix, disable, python_only: name == "py-spy" }
    };
    let profile = [POOLPICK, "profile", "--"];
    let mut tools = vec![tool("poolpick", &profile, None), tool("poolpick, no perf", &profile, Some("perf"))];
    tools.extend([
        tool("GNU time", &["time", "-o", "/dev/null"], None),
        tool("perf stat", &["perf", "stat", "-o", "/dev/null", "--"], None),
        tool("strace -c -f", &["strace", "-c", "-f", "-o", "/dev/null", "--"], None),
        tool("py-spy", &["py-spy", "record", "--format", "raw", "-o", "/dev/null", "--"], None),
    ]);
    // py-spy is tried on a Python program when its turn comes; here it is enough that it is there.
    tools.retain(|tool| {
        let there = on_path(&tool.prefix[0]).is_some();
        there && (tool.python_only || tool.command(&["true".to_owned()]).status().is_ok_and(|status| status.success()))
    });
    tools
}

fn on_path(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn runs(argv: &[String]) -> bool {
    BARE.command(argv).status().is_ok_and(|status| status.success())
}

/// The interpreter itself: what is on PATH may be a script that looks for it.
fn python() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!path.is_empty()).then_some(path)
}

fn steps_of_a_second(python: &str) -> u64 {
    let probe = 5_000_000u64;
    let argv = [python.to_owned(), "-c".to_owned(), format!("n = 0\nfor i in range({probe}): n += i")];
    let best = (0..3).filter_map(|_| wall(&BARE, &argv, Duration::ZERO)).min().unwrap_or(Duration::from_millis(500));
    (probe as f64 / best.as_secs_f64()) as u64
}

/// A file of zeros that takes no room, about half a second's work for `sha256sum`.
fn zeros() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zeros");
    File::create(&path).ok()?.set_len(512 << 20).ok()?;
    Some(path)
}

// ---- pairs -----------------------------------------------------------------------------------------------------------

fn wall(tool: &Tool, argv: &[String], pause: Duration) -> Option<Duration> {
    thread::sleep(pause);
    let began = Instant::now();
    let status = tool.command(argv).status().ok()?;
    let wall = began.elapsed();
    status.success().then_some(wall)
}

struct Row {
    load: &'static str,
    tool: &'static str,
    goal: Goal,
    /// Bare and under the tool, seconds.
    pairs: Vec<(f64, f64)>,
}

fn compare(load: &Load, tool: &Tool, rounds: usize, patience: Duration) -> Option<Row> {
    let mut pairs = Vec::with_capacity(rounds);
    let bare = || wall(&BARE, &load.argv, load.pause);
    let with = || wall(tool, &load.argv, load.pause);
    bare()?;
    let began = Instant::now();
    for round in 0..rounds.max(1) {
        let pair = if round.is_multiple_of(2) {
            (bare()?, with()?)
        } else {
            let with = with()?;
            (bare()?, with)
        };
        pairs.push((pair.0.as_secs_f64(), pair.1.as_secs_f64()));
        if began.elapsed() > patience {
            break;
        }
    }
    let goal = if tool.name.starts_with("poolpick") { load.goal } else { Goal::Open };
    Some(Row { load: load.name, tool: tool.name, goal, pairs })
}

const HEAD: &str =
    "load         tool               bare ms  with ms  extra ms  ratio: median   least    most  of leasts  pairs  goal";

impl Row {
    fn line(&self) -> String {
        let of = |value: fn(&(f64, f64)) -> f64| sorted(self.pairs.iter().map(value).collect());
        let (bare, with) = (of(|pair| pair.0), of(|pair| pair.1));
        let ratios = of(|(bare, with)| with / bare);
        let extras = of(|(bare, with)| (with - bare) * 1e3);
        let goal = match self.goal {
            Goal::Open => String::new(),
            Goal::Millis(most) => format!("{most} ms: {}", judge(&extras, most)),
            Goal::Ratio(most) => format!("{most}: {}", judge(&ratios, most)),
        };
        let line = format!(
            "{:<12} {:<17} {:>8.2} {:>8.2} {:>9.2} {:>14.3} {:>7.3} {:>7.3} {:>10.3} {:>6}  {goal}",
            self.load,
            self.tool,
            median(&bare) * 1e3,
            median(&with) * 1e3,
            median(&extras),
            median(&ratios),
            ratios[0],
            ratios[ratios.len() - 1],
            with[0] / bare[0],
            self.pairs.len(),
        );
        line.trim_end().to_owned()
    }
}

/// By the median's interval: the order statistics that hold it with at least 95 % (normal approximation).
fn judge(sorted: &[f64], most: f64) -> &'static str {
    let count = sorted.len() as f64;
    let below = (count / 2.0 - 0.98 * count.sqrt()).floor().max(0.0) as usize;
    let (low, high) = (sorted[below], sorted[sorted.len() - 1 - below]);
    if high <= most {
        "met"
    } else if low > most {
        "missed"
    } else {
        "unclear"
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

// ---- poolpick's own CPU and memory -------------------------------------------------------------------------------------

/// After this long the eager rounds at the beginning are over.
const SETTLED: Duration = Duration::from_secs(2);

fn own_cost(python: Option<&str>) {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let mut loads = vec![
        ("sleep", words(&["sleep", "8"])),
        ("shell", words(&["sh", "-c", "i=0; while [ $i -lt 10000 ]; do /bin/true; i=$((i+1)); done"])),
    ];
    if let Some(python) = python {
        let busy = format!("n = 0\nfor i in range({}): n += i", 8 * steps_of_a_second(python));
        loads.push(("busy-python", words(&[python, "-c", &busy])));
        loads.push(("1000 idle threads", words(&[python, "-c", IDLE_THREADS])));
        loads.push(("1000 waking 10 a s", words(&[python, "-c", WAKING_THREADS])));
    }
    println!(
        "\npoolpick itself                        CPU ms  share settled  share all  peak RSS MiB  goals 1 %, 16 MiB"
    );
    for tool in tools().iter().filter(|tool| tool.name.starts_with("poolpick")) {
        for (name, argv) in &loads {
            let Some(own) = watch_itself(tool, argv) else { continue };
            let peak = own.peak_kib as f64 / 1024.0;
            let share = own.settled.unwrap_or(own.share);
            println!(
                "{name:<18} {:<17} {:>8.1} {:>12} {:>8.2} % {peak:>13.1}  {}",
                tool.name,
                own.cpu.as_secs_f64() * 1e3,
                own.settled.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share * 100.0)),
                own.share * 100.0,
                if share <= 0.01 && peak <= 16.0 { "met" } else { "missed" },
            );
        }
    }
}

struct OwnCost {
    cpu: Duration,
    /// Of one core, all of the run.
    share: f64,
    /// The same without the beginning; `None` where the run was too short for that.
    settled: Option<f64>,
    peak_kib: u64,
}

/// Runs and polls poolpick: its target's memory and CPU are not its own, so its rusage would not do.
fn watch_itself(tool: &Tool, argv: &[String]) -> Option<OwnCost> {
    let began = Instant::now();
    let mut child = tool.command(argv).spawn().ok()?;
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut last, mut base, mut peak_kib) = ((Duration::ZERO, Duration::ZERO), None, 0);
    loop {
        if let Some(cpu) = own_cpu(&proc) {
            last = (began.elapsed(), cpu);
            if last.0 > SETTLED {
                base.get_or_insert(last);
            }
        }
        peak_kib = peak_kib.max(peak_of(&proc));
        if child.try_wait().ok()?.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let (wall, cpu) = last;
    let settled = base.filter(|base| wall - base.0 > SETTLED);
    let settled = settled.map(|base| (cpu - base.1).as_secs_f64() / (wall - base.0).as_secs_f64());
    Some(OwnCost { cpu, share: cpu.as_secs_f64() / wall.as_secs_f64(), settled, peak_kib })
}

/// On-CPU time of its living threads, exact to the nanosecond; zombies have it too.
fn own_cpu(proc: &Path) -> Option<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(proc.join("task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        nanos += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

fn peak_of(proc: &Path) -> u64 {
    let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
