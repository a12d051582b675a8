//! Code to paste: for each stage with a recommendation the pool as it should be, in plain Python. The shapes are files
//! beside this one, printed as they are; each stage adds a few lines with its numbers, and its reasons as comments.
//! Everything that the target could have written is escaped. Must not decide anything.

mod quote;

use super::check::Check;
use super::text::{Voice, words};
use super::{Confidence, Executor, Look, Recommendation, Report, Stage};
use quote::{Names, comment};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// A printed part and the parts that it needs.
struct Shape {
    text: &'static str,
}

const COMMON: Shape = Shape { text: include_str!("python/common.py") };
const THREADS: Shape = Shape { text: include_str!("python/threads.py") };
const ADAPTIVE: Shape = Shape { text: include_str!("python/adaptive.py") };
const PROCESSES: Shape = Shape { text: include_str!("python/processes.py") };
const LOOP: Shape = Shape { text: include_str!("python/loop.py") };
const SERIAL: Shape = Shape { text: include_str!("python/serial.py") };
const CALLER: Shape = Shape { text: include_str!("python/caller.py") };
const CALLER_LOOP: Shape = Shape { text: include_str!("python/caller_loop.py") };

/// What a template's end calls, to be replaced by the name of a stage's function.
const RUN: &str = "RUN";
/// The marks around what is printed.
const BEGIN: &str = "# poolpick: begin\n";
const END: &str = "# poolpick: end";

impl Shape {
    /// What is printed of it: its imports, and the rest.
    fn parts(&self) -> (BTreeSet<&'static str>, String) {
        let body = self.text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map_or("", |(body, _)| body);
        let is_import = |line: &&str| line.starts_with("import ") || line.starts_with("from ");
        let imports = body.lines().filter(is_import).collect();
        let code: Vec<&str> = body.lines().filter(|line| !is_import(line)).collect();
        (imports, code.join("\n").trim().to_owned())
    }
}

/// A function of the printed file: one stage, or one part of it.
struct Run {
    /// Its reasons, as comments.
    about: String,
    /// Its name.
    name: String,
    executor: Executor,
    workers: u32,
    chunksize: u32,
}

/// Writes the pools of a profile as one Python file.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let asked = report.asked.as_ref();
    let cores = asked.and_then(|asked| asked.cores).or(report.host.usable_cores);
    write_pools(&report.stages, cores, report.machine_note(), out)
}

/// Writes the pools of a gate's stages.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render_check(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    let asked = check.asked.as_ref().and_then(|asked| asked.cores);
    let cores = asked.or(check.host.as_ref().and_then(|host| host.usable_cores));
    write_pools(&check.stages, cores, None, out)
}

fn write_pools(stages: &[Stage], cores: Option<f64>, note: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let cores = cores.unwrap_or(1.0).ceil() as u32;
    let voice = Voice::terminal(Look::PLAIN);
    let mut names = Names::default();
    let runs: Vec<Run> = stages.iter().flat_map(|stage| runs(stage, cores, &voice, &mut names)).collect();
    let mut text = format!(
        "# Pools as poolpick recommends them: one function a stage, below. Give each the function of its stage and the items.\n\
         # Every item comes back as an Outcome, once: no exception is lost. Runs on Python 3.8 and later.\n{}",
        note.map(comment).unwrap_or_default()
    );
    if runs.is_empty() {
        text.push_str("# No stage has a recommendation: there is nothing to print.\n");
        return out.write_all(text.as_bytes());
    }
    let uses = |wanted: fn(Executor) -> bool| runs.iter().any(|run| wanted(run.executor));
    let sized = stages.iter().any(unsure_of_workers);
    let mut shapes = vec![COMMON];
    for (used, shape) in [
        (uses(|executor| executor == Executor::Thread), THREADS),
        (uses(|executor| executor == Executor::Thread) && sized, ADAPTIVE),
        (uses(|executor| matches!(executor, Executor::Process | Executor::Interpreter | Executor::Split)), PROCESSES),
        (uses(|executor| executor == Executor::Asyncio), LOOP),
        (uses(|executor| executor == Executor::Serial), SERIAL),
    ] {
        if used {
            shapes.push(shape);
        }
    }
    let last = if runs[0].executor == Executor::Asyncio { CALLER_LOOP } else { CALLER };
    let (mut imports, end) = last.parts();
    let mut bodies = Vec::new();
    for shape in &shapes {
        let (more, body) = shape.parts();
        imports.extend(more);
        bodies.push(body);
    }
    bodies.extend(runs.iter().map(function));
    bodies.push(end.replace(RUN, &runs[0].name));
    let imports: Vec<&str> = imports.into_iter().collect();
    let (from, plain): (Vec<&str>, Vec<&str>) = imports.into_iter().partition(|line| line.starts_with("from "));
    text.push_str(&format!("\n{}\n", [plain, from].concat().join("\n")));
    for body in bodies {
        text.push_str(&format!("\n\n{body}\n"));
    }
    out.write_all(text.as_bytes())
}

/// Whether more at once than were seen are recommended.
fn unsure_of_workers(stage: &Stage) -> bool {
    let advice = stage.recommendation.as_ref();
    advice.is_some_and(|advice| advice.reasons.iter().any(|reason| reason.code == "wait-assumed"))
}

/// The functions of a stage: one, or for a split one for each of its parts.
fn runs(stage: &Stage, cores: u32, voice: &Voice, names: &mut Names) -> Vec<Run> {
    let Some(advice) = &stage.recommendation else { return Vec::new() };
    let keeps_up = advice.arrival.and_then(|arrival| arrival.workers);
    // Of the parts of a split the numbers were not predicted: as many as there are cores is where to begin.
    let workers = keeps_up.or(advice.workers).unwrap_or(cores).max(1);
    let chunksize = advice.chunksize.unwrap_or(1).max(1);
    let about = about(stage, advice, voice);
    if advice.parts.is_empty() {
        let name = names.of(&stage.name);
        return vec![Run { about, name, executor: advice.executor, workers, chunksize }];
    }
    let part = |(index, part): (usize, &super::Part)| Run {
        about: if index == 0 { about.clone() } else { String::new() },
        name: names.of(&format!("{} part {}", stage.name, index + 1)),
        executor: part.executor,
        workers,
        chunksize,
    };
    advice.parts.iter().enumerate().map(part).collect()
}

/// What was measured and why it says so, as comments.
fn about(stage: &Stage, advice: &Recommendation, voice: &Voice) -> String {
    let sure = match advice.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    let mut text = comment(&format!("{}: {} ({sure} confidence)", stage.name, words::advice(advice, voice)));
    for reason in &advice.reasons {
        text.push_str(&comment(&format!("- {}: {}", reason.code, reason.text)));
    }
    for part in &advice.parts {
        let span = words::span(part.start_seconds, part.end_seconds, voice);
        text.push_str(&comment(&format!("- {span}: {}", words::short_pool(part.executor, None, voice))));
    }
    let has = |code: &str| advice.reasons.iter().any(|reason| reason.code == code);
    if has("ipc-too-expensive") && advice.executor == Executor::Process {
        text.push_str(&comment(
            "- hand over what is large by name, not by value: multiprocessing.shared_memory for arrays, Arrow IPC or \
             numpy.memmap files for tables, a path or an offset for files; the worker opens it in its `initializer`",
        ));
    }
    if has("task-too-small") {
        text.push_str(&comment(
            "- a task is smaller than its dispatch: let `items` be batches of many, and `function` loop over one",
        ));
    }
    if unsure_of_workers(stage) && advice.executor == Executor::Thread {
        let most = advice.workers.unwrap_or(1).max(1);
        text.push_str(&comment(&format!(
            "- or let it find the number by itself: add `size=Size(1, {most})` to the call"
        )));
    }
    if advice.executor == Executor::Process
        && stage.memory.growth_bytes_per_second.is_some()
        && stage.warnings.iter().any(|warning| warning.code == "memory-growing")
    {
        text.push_str(&comment("- its memory grows: `max_tasks_per_child` (Python 3.11) renews workers, but can hang (CPython issue 115634)"));
    }
    text
}

/// The function of one run.
fn function(run: &Run) -> String {
    let Run { about, name, executor, workers, chunksize } = run;
    let (shape, numbers) = match executor {
        Executor::Thread => ("in_threads", format!(", workers={workers}, **options")),
        Executor::Asyncio => ("in_loop", format!(", workers={workers}, **options")),
        Executor::Serial => ("in_turn", String::new()),
        Executor::Process | Executor::Interpreter | Executor::Split => {
            ("in_processes", format!(", workers={workers}, chunksize={chunksize}, **options"))
        }
    };
    let options = if *executor == Executor::Serial { "" } else { ", **options" };
    let doc = if *executor == Executor::Serial {
        ""
    } else {
        "    # options: limit=SECONDS, initializer=FUNCTION, … of the pool above\n"
    };
    let doc = if *executor == Executor::Asyncio { "    # options: limit=SECONDS\n" } else { doc };
    format!("{about}def {name}(function, items{options}):\n{doc}    return {shape}(function, items{numbers})")
}
