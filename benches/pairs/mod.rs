//! Pairs of runs, bare and under a tool, and what they say: what the benchmarks of whole programs share.

use std::env;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const POOLPICK: &str = env!("CARGO_BIN_EXE_poolpick");
/// Longer than so many seconds, a tool gets no further round of a load.
const PATIENCE: u64 = 40;

/// What the user asked for.
pub struct Settings {
    pub rounds: usize,
    patience: Duration,
    only: Option<String>,
}

impl Settings {
    /// `None`, with a word about it, where this is not run as a benchmark.
    pub fn asked(name: &str) -> Option<Settings> {
        if !env::args().any(|argument| argument == "--bench") {
            println!("skipped: run it with `cargo bench --bench {name}`");
            return None;
        }
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        Some(Settings {
            rounds: number("POOLPICK_BENCH_ROUNDS").unwrap_or(7) as usize,
            patience: Duration::from_secs(number("POOLPICK_BENCH_PATIENCE").unwrap_or(PATIENCE)),
            only: env::var("POOLPICK_BENCH_ONLY").ok(),
        })
    }

    pub fn chosen(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|word| word.trim() == name))
    }

    pub fn table(&self) -> Table<'_> {
        Table { settings: self, rows: Vec::new() }
    }
}

/// What was measured so far.
pub struct Table<'a> {
    settings: &'a Settings,
    rows: Vec<Row>,
}

impl Table<'_> {
    /// Measures a tool on a load, if that was asked for.
    pub fn compare(&mut self, load: &Load, tool: &Tool) {
        if !self.settings.chosen(load.name) {
            return;
        }
        match compare(load, tool, self.settings.rounds * load.repeats, self.settings.patience) {
            Some(row) => {
                eprintln!("{}", row.line());
                self.rows.push(row);
            }
            None => eprintln!("{} under {}: it does not run here", load.name, tool.name),
        }
    }

    pub fn print(&self) {
        if !self.rows.is_empty() {
            println!("\n{HEAD}");
            self.rows.iter().for_each(|row| println!("{}", row.line()));
        }
    }
}

pub struct Load {
    pub name: &'static str,
    pub argv: Vec<String>,
    /// Short ones are run more often in each round.
    pub repeats: usize,
    pub goal: Goal,
    /// Before each run.
    pub pause: Duration,
}

/// The most that poolpick may cost; `None` where that is open.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// Over the bare run.
    pub ratio: Option<f64>,
    /// On top of the bare run.
    pub millis: Option<f64>,
}

impl Goal {
    pub const OPEN: Goal = Goal { ratio: None, millis: None };
}

pub struct Tool {
    pub name: &'static str,
    pub prefix: Vec<String>,
    pub disable: Option<&'static str>,
}

impl Tool {
    pub fn command(&self, argv: &[String]) -> Command {
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

pub const BARE: Tool = Tool { name: "bare", prefix: Vec::new(), disable: None };

/// The interpreter itself: what is on PATH may be a script that looks for it.
pub fn python() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!path.is_empty()).then_some(path)
}

pub fn wall(tool: &Tool, argv: &[String], pause: Duration) -> Option<Duration> {
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
    let goal = if tool.name.starts_with("poolpick") { load.goal } else { Goal::OPEN };
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
        let ratio = self.goal.ratio.map(|most| format!("{most}: {}", judge(&ratios, most)));
        let millis = self.goal.millis.map(|most| format!("{most} ms: {}", judge(&extras, most)));
        let goal = ratio.or(millis).unwrap_or_default();
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
