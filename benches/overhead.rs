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

mod pairs;

use pairs::{BARE, Goal, Load, POOLPICK, Settings, Tool, python, wall};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let Some(settings) = Settings::asked("overhead") else { return ExitCode::SUCCESS };
    let python = python();
    let tools = tools();
    let present: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
    println!("tools: {}; {} rounds", present.join(", "), settings.rounds);
    let mut table = settings.table();
    for load in loads(python.as_deref()) {
        let fitting = tools.iter().filter(|tool| fits(tool, &load, python.as_deref()));
        fitting.for_each(|tool| table.compare(&load, tool));
    }
    table.print();
    if settings.chosen("idle") {
        own_cost(python.as_deref());
    }
    ExitCode::SUCCESS
}

// ---- what is run -----------------------------------------------------------------------------------------------------

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
            goal: Goal { ratio: Some(1.01), ..Goal::OPEN },
            pause: Duration::ZERO,
        });
    }
    if let (Some(_), Some(zeros)) = (on_path("sha256sum"), zeros()) {
        let argv = words(&["sha256sum", &zeros.to_string_lossy()]);
        loads.push(Load {
            name: "busy-native",
            argv,
            repeats: 1,
            goal: Goal { ratio: Some(1.01), ..Goal::OPEN },
            pause: Duration::ZERO,
        });
    }
    let perf_bench = words(&["perf", "bench", "sched", "pipe", "-l", "100000"]);
    if runs(&perf_bench) {
        loads.push(Load {
            name: "pipe",
            argv: perf_bench,
            repeats: 2,
            goal: Goal { ratio: Some(1.05), ..Goal::OPEN },
            pause: Duration::ZERO,
        });
    } else if let Some(python) = python {
        let argv = words(&[python, "-c", PING_PONG]);
        loads.push(Load {
            name: "pipe",
            argv,
            repeats: 2,
            goal: Goal { ratio: Some(1.05), ..Goal::OPEN },
            pause: Duration::ZERO,
        });
    }
    let argv = words(&["sh", "-c", "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done"]);
    loads.push(Load {
        name: "shell",
        argv,
        repeats: 2,
        goal: Goal { ratio: Some(1.10), ..Goal::OPEN },
        pause: Duration::ZERO,
    });
    let (warm, cold) = (Duration::ZERO, COLD);
    let argv = words(&["true"]);
    loads.push(Load { name: "start", argv, repeats: 15, goal: Goal { millis: Some(3.0), ..Goal::OPEN }, pause: warm });
    let argv = words(&["true"]);
    loads.push(Load { name: "cold-start", argv, repeats: 1, goal: Goal::OPEN, pause: cold });
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

/// It runs Python programs alone.
const PY_SPY: &str = "py-spy";

fn fits(tool: &Tool, load: &Load, python: Option<&str>) -> bool {
    tool.name != PY_SPY || load.argv.first().map(String::as_str) == python
}

fn tools() -> Vec<Tool> {
    let tool = |name, words: &[&str], disable| {
        let prefix = words.iter().map(|&word| word.to_owned()).collect();
        Tool { name, prefix, disable }
    };
    let profile = [POOLPICK, "profile", "--"];
    let mut tools = vec![tool("poolpick", &profile, None), tool("poolpick, no perf", &profile, Some("perf"))];
    tools.extend([
        tool("GNU time", &["time", "-o", "/dev/null"], None),
        tool("perf stat", &["perf", "stat", "-o", "/dev/null", "--"], None),
        tool("strace -c -f", &["strace", "-c", "-f", "-o", "/dev/null", "--"], None),
        tool(PY_SPY, &["py-spy", "record", "--format", "raw", "-o", "/dev/null", "--"], None),
    ]);
    // py-spy is tried on a Python program when its turn comes; here it is enough that it is there.
    tools.retain(|tool| {
        let there = on_path(&tool.prefix[0]).is_some();
        there
            && (tool.name == PY_SPY || tool.command(&["true".to_owned()]).status().is_ok_and(|status| status.success()))
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
