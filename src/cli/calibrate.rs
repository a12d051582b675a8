//! `poolpick calibrate`: what moving payloads and handing out tasks costs here, with the spread of each figure and where
//! it is kept. Measures nothing itself.

use super::args::CalibrateArgs;
use super::exit::Failure;
use super::{print, say};
use crate::calibrate::{Calibration, CostModel, DispatchModel, Median, NoDispatch, calibrate};
use crate::report::escape::terminal;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the figures of dispatch are, in words.
const WORDS: [(&str, &str); 18] = [
    ("thread_task", "thread pool: a task"),
    ("thread_task_cpu", "thread pool: a task, CPU"),
    ("process_task_parent", "process pool: a task, CPU of the parent"),
    ("process_task_worker", "process pool: a task, CPU of the workers"),
    ("process_task_wall", "process pool: a task, saturated"),
    ("process_byte_parent", "process pool: a byte of an argument, CPU of the parent"),
    ("process_byte_worker", "process pool: a byte of an argument, CPU of the workers"),
    ("process_byte_wall", "process pool: a byte of an argument, saturated"),
    ("process_result_byte_parent", "process pool: a byte of a result, CPU of the parent"),
    ("process_result_byte_worker", "process pool: a byte of a result, CPU of the workers"),
    ("process_result_byte_wall", "process pool: a byte of a result, saturated"),
    ("process_task_idle", "process pool: a worker between two tasks"),
    ("asyncio_step", "asyncio: a task that awaits once"),
    ("gil_handover", "GIL: a release that another thread waits for"),
    ("worker_start_fork", "start of a worker by fork"),
    ("worker_start_spawn", "start of a worker by spawn"),
    ("worker_start_forkserver", "start of a worker by forkserver"),
    ("interpreter_task", "interpreter pool: a task"),
];

/// Measures what is not cached, and prints.
///
/// # Errors
/// A `--python` that is no interpreter, or a stdout that cannot be written.
pub fn run(arguments: &CalibrateArgs) -> Result<ExitCode> {
    let found = calibrate(arguments.python.as_deref(), None, arguments.refresh);
    if let (Some(path), Err(reason)) = (&arguments.python, &found.dispatch.cost) {
        let what = match reason {
            NoDispatch::NoInterpreter => "is no program that can be run".to_owned(),
            NoDispatch::Failed(why) => format!("cannot be measured: {why}"),
        };
        let hint = "hint: give the path of a Python interpreter, 3.8 or later";
        return Err(Failure::Misuse(format!("`{}` {what}; {hint}", path.display())).into());
    }
    for warning in warnings(&found) {
        say(&warning);
    }
    if arguments.json {
        let value = as_json(&found);
        return print(|out| {
            serde_json::to_writer_pretty(&mut *out, &value)?;
            writeln!(out)
        });
    }
    let lines = table(&found);
    print(|out| lines.iter().try_for_each(|line| writeln!(out, "{}", terminal(line))))
}

/// What to beware of.
fn warnings(found: &Calibration) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(found.payload.pipe.as_ref().err().map(|reason| format!("warning: {reason}")));
    warnings.extend(found.payload.pickle.as_ref().err().map(|reason| format!("warning: {reason}")));
    match &found.dispatch.cost {
        Err(reason) => warnings.push(format!("warning: {reason}")),
        Ok(cost) => {
            let unmeasured = cost.unmeasured.iter();
            warnings.extend(unmeasured.map(|(name, reason)| format!("warning: `{name}` is unknown: {reason}")));
        }
    }
    if found.dispatch.cost.as_ref().is_ok_and(|cost| cost.busy()) {
        warnings.push(
            "warning: others used the machine while it was measured: figures may be off; \
                       hint: `poolpick calibrate --refresh` once it is quiet"
                .to_owned(),
        );
    } else if found.payload.noisy() || found.dispatch.noisy() {
        warnings
            .push("warning: some figures spread by more than 25 %; hint: `poolpick calibrate --refresh`".to_owned());
    }
    warnings
}

fn table(found: &Calibration) -> Vec<String> {
    let mut rows: Vec<(&str, Median)> = Vec::new();
    if let Ok(cost) = &found.dispatch.cost {
        let words =
            |name: &'static str| WORDS.iter().find(|(known, _)| *known == name).map_or(name, |(_, words)| *words);
        rows.extend(cost.rows().into_iter().filter_map(|row| Some((words(row.name), row.cost?))));
    }
    if let Ok(pipe) = &found.payload.pipe {
        rows.push(("pipe: a message", pipe.seconds_per_message));
        rows.push(("pipe: a byte", pipe.seconds_per_byte));
    }
    if let Ok(pickle) = &found.payload.pickle {
        rows.push(("pickle: None, there and back", pickle.fixed_seconds));
        rows.push(("pickle: a byte of `bytes`, dumps", pickle.bytes.dumps_seconds_per_byte));
        rows.push(("pickle: a byte of `bytes`, loads", pickle.bytes.loads_seconds_per_byte));
        rows.push(("pickle: a byte of small dicts, dumps", pickle.records.dumps_seconds_per_byte));
        rows.push(("pickle: a byte of small dicts, loads", pickle.records.loads_seconds_per_byte));
    }
    let wide = rows.iter().map(|(words, _)| words.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    if let Ok(cost) = &found.dispatch.cost {
        let path = found.dispatch.interpreter.as_ref().map_or("", |interpreter| &interpreter.path);
        lines.push(format!("{} ({path})", cost.version));
        lines.push(String::new());
    }
    lines.push(format!("{:wide$}  {:>11}  {:>11}", "cost of", "median", "deviation"));
    for (words, Median { value, deviation }) in &rows {
        let (unit, scale) = unit(*value);
        let cell = |seconds: f64| format!("{:.3} {unit}", seconds * scale);
        lines.push(format!("{words:wide$}  {:>11}  {:>11}", cell(*value), cell(*deviation)));
    }
    if let Ok(cost) = &found.dispatch.cost {
        let interval = cost.switch_interval * 1e3;
        let lock = if cost.free_threaded { "free-threaded" } else { "yes" };
        lines.push(format!("{:wide$}  {:>11}", "GIL", lock));
        lines.push(format!("{:wide$}  {:>11}", "GIL: switch interval", format!("{interval:.3} ms")));
    }
    lines.push(String::new());
    for (name, kept) in [("dispatch", dispatch_kept(found)), ("payloads", payload_kept(found))] {
        lines.push(format!("{name}: {}", kept.words()));
    }
    lines
}

fn unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        seconds if seconds >= 1.0 => ("s", 1.0),
        seconds if seconds >= 1e-3 => ("ms", 1e3),
        seconds if seconds >= 1e-6 => ("us", 1e6),
        _ => ("ns", 1e9),
    }
}

/// Where a model is from and where it is kept.
struct Kept<'a> {
    cached: bool,
    measured_at: u64,
    file: &'a Option<Result<PathBuf, String>>,
}

impl Kept<'_> {
    fn words(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let age = std::time::Duration::from_secs(now.saturating_sub(self.measured_at));
        match self.file {
            Some(Ok(file)) if self.cached => {
                format!("cached {} ago in {}", humantime::format_duration(age), file.display())
            }
            Some(Ok(file)) => format!("measured now, cached in {}", file.display()),
            Some(Err(reason)) => format!("measured now, not cached: {reason}"),
            None => "not cached: a part of it is unknown".to_owned(),
        }
    }

    fn json(&self, noisy: bool) -> Value {
        json!({
            "cached": self.cached,
            "measured_at_unix_seconds": self.measured_at,
            "file": self.file.as_ref().and_then(|file| file.as_ref().ok()).map(|file| file.display().to_string()),
            "noisy": noisy,
        })
    }
}

fn dispatch_kept(found: &Calibration) -> Kept<'_> {
    let DispatchModel { measured_at_unix_seconds: measured_at, .. } = found.dispatch;
    Kept { cached: found.cached[1], measured_at, file: &found.files[1] }
}

fn payload_kept(found: &Calibration) -> Kept<'_> {
    let CostModel { measured_at_unix_seconds: measured_at, .. } = found.payload;
    Kept { cached: found.cached[0], measured_at, file: &found.files[0] }
}

/// Everything in seconds; what is unknown is null, with its reason beside it.
fn as_json(found: &Calibration) -> Value {
    let reason = |reason: Option<String>| json!(reason);
    let Calibration { payload, dispatch, .. } = found;
    json!({
        "schema_version": "0.1",
        "kind": "calibration",
        "poolpick": {"version": env!("CARGO_PKG_VERSION")},
        "python": dispatch.interpreter.as_ref().map(|interpreter| &interpreter.path),
        "dispatch": dispatch.cost.as_ref().ok(),
        "busy": dispatch.cost.as_ref().ok().map(|cost| cost.busy()),
        "pipe": payload.pipe.as_ref().ok(),
        "pickle": payload.pickle.as_ref().ok(),
        "why_unknown": {
            "dispatch": reason(dispatch.cost.as_ref().err().map(ToString::to_string)),
            "pipe": reason(payload.pipe.as_ref().err().map(ToString::to_string)),
            "pickle": reason(payload.pickle.as_ref().err().map(ToString::to_string)),
        },
        "kept": {
            "dispatch": dispatch_kept(found).json(dispatch.noisy()),
            "payload": payload_kept(found).json(payload.noisy()),
        },
    })
}
