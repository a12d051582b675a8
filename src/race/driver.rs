//! The driver: a Python file inside the binary, run by the interpreter that is raced, which measures one cell at a time.
//! Speaks JSON lines with it over its stdin and stdout, which it puts aside before it imports anything of the user's. Must
//! not believe what it says before checking it.

use super::processes::{Running, Signals, Woken, read_some};
use super::{Missed, Sample, Track};
use crate::report::race::{Contender, Entrant};
use crate::sys::clock;
use crate::units::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use thiserror::Error;

const DRIVER: &str = include_str!("driver.py");
/// Its name: what workers unpickle is found in a module of this name.
const FILE: &str = "poolpick_race_driver.py";
/// Importing the function and its items may take this long.
const LOAD: Span = Span::from_millis(300_000);
/// A measurement may take this much more than is known of it.
const SLACK_SECONDS: f64 = 60.0;
/// A measurement takes its lead-in and its window, one after the other if all tasks do; with as much again to spare.
const ROUNDS_OF_TASKS: f64 = 6.0;

/// What to race.
#[derive(Debug, Clone, Serialize)]
pub struct Loading {
    op: &'static str,
    /// `MODULE:FUNCTION`.
    pub function: String,
    /// `MODULE:NAME`, or a file of JSON lines.
    pub items: String,
    /// Whether `items` is a file.
    pub jsonl: bool,
    /// Whether each item is a list of arguments.
    pub star: bool,
    /// How processes are started; `None` leaves it to the interpreter.
    pub start_method: Option<String>,
    /// Address of the Dask cluster that is raced; `None` makes one.
    pub scheduler: Option<String>,
}

impl Loading {
    /// Of this function and these items.
    pub fn new(function: String, items: String, jsonl: bool, star: bool, start_method: Option<String>) -> Loading {
        Loading { op: "load", function, items, jsonl, star, start_method, scheduler: None }
    }

    /// As the driver reads it.
    ///
    /// # Errors
    /// None that is known: it holds text alone.
    pub fn json(&self) -> io::Result<String> {
        serde_json::to_string(self).map_err(io::Error::from)
    }
}

/// What the driver tells of function, items and interpreter.
#[derive(Debug, Clone, Deserialize)]
pub struct About {
    /// Implementation and version.
    pub python: String,
    /// Whether the function is a coroutine function.
    pub coroutine: bool,
    /// How many items there are.
    pub items: u64,
    /// Whether more items were left out.
    pub more_items: bool,
    /// How processes are started.
    pub start_method: String,
    /// Executors that cannot be had, and why.
    pub unavailable: BTreeMap<String, String>,
}

/// Why there is no race.
#[derive(Debug, Error)]
pub enum NoDriver {
    /// Function or items cannot be used; what Python said.
    #[error("{0}")]
    Load(String),
    /// The interpreter cannot be started.
    #[error("cannot run `{}`: {source}", python.display())]
    Start {
        /// The interpreter.
        python: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The interpreter ended instead of answering.
    #[error("`{}` {how} before it had loaded the function", python.display())]
    Ended {
        /// The interpreter.
        python: PathBuf,
        /// How it ended.
        how: String,
    },
    /// The user wants no race.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// The system refused something that is always there.
    #[error("racing: {0}")]
    System(#[from] io::Error),
}

#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Value,
}

#[derive(Deserialize)]
struct Measured {
    tasks: u64,
    errors: u64,
    first_error: Option<String>,
    seconds: f64,
    p95_seconds: Option<f64>,
    start_seconds: Option<f64>,
    #[serde(default)]
    run_queue_share: Option<f64>,
}

#[derive(Serialize)]
struct Measure {
    op: &'static str,
    executor: &'static str,
    workers: u32,
    seconds: f64,
    task_seconds: f64,
}

/// Writes the driver into a private directory, from which it can be run.
///
/// # Errors
/// Where no such directory can be made.
pub fn write_driver() -> io::Result<(TempDir, PathBuf)> {
    let home = tempfile::Builder::new().prefix("poolpick-race-").tempdir()?;
    let file = home.path().join(FILE);
    std::fs::write(&file, DRIVER)?;
    Ok((home, file))
}

/// The driver of one race. If it dies of a cell, the next cell gets a new one.
pub struct Driver<'a> {
    python: PathBuf,
    loading: Loading,
    show: bool,
    timeout: Option<Span>,
    signals: &'a Signals,
    home: TempDir,
    file: PathBuf,
    session: Option<Session>,
}

/// A driver that runs.
struct Session {
    // In this order: a driver that is told nothing more ends by itself.
    requests: ChildStdin,
    replies: ChildStdout,
    heard: Vec<u8>,
    running: Running,
}

/// How a question ended.
enum Answer {
    Reply(String),
    Ended(String),
    TimedOut,
    Interrupted(i32),
}

impl<'a> Driver<'a> {
    /// For this interpreter and function. `show`: what the function prints is seen on stderr. A measurement that takes
    /// longer than `timeout` is given up.
    ///
    /// # Errors
    /// Where its file cannot be written.
    pub fn new(
        python: &Path,
        loading: Loading,
        show: bool,
        timeout: Option<Span>,
        signals: &'a Signals,
    ) -> io::Result<Driver<'a>> {
        let (home, file) = write_driver()?;
        Ok(Driver { python: python.to_owned(), loading, show, timeout, signals, home, file, session: None })
    }

    /// Starts it and loads the function.
    ///
    /// # Errors
    /// Why function, items or interpreter cannot be used.
    pub fn load(&mut self) -> Result<About, NoDriver> {
        let mut session = self.start().map_err(|source| NoDriver::Start { python: self.python.clone(), source })?;
        let request = self.loading.json()?;
        let ended = |how| NoDriver::Ended { python: self.python.clone(), how };
        let reply = match session.ask(&request, self.signals, clock::monotonic() + LOAD)? {
            Answer::Reply(reply) => reply,
            Answer::Ended(how) => return Err(ended(how)),
            Answer::TimedOut => return Err(ended(format!("took over {} s", LOAD.secs_f64()))),
            Answer::Interrupted(signal) => return Err(NoDriver::Interrupted(signal)),
        };
        let about = understood::<About>(&reply).map_err(NoDriver::Load)?;
        self.session = Some(session);
        Ok(about)
    }

    fn start(&self) -> io::Result<Session> {
        let here = std::env::current_dir()?;
        let before = std::env::var_os("PYTHONPATH");
        let mut path = vec![here, self.home.path().to_owned()];
        path.extend(
            before.as_deref().map(|before| std::env::split_paths(before).collect::<Vec<_>>()).unwrap_or_default(),
        );
        let mut command = Command::new(&self.python);
        command.arg(&self.file).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(if self.show { Stdio::inherit() } else { Stdio::null() });
        // Sub-interpreters look where the process was told to look as it began. The driver puts it back.
        let joined = std::env::join_paths(path).unwrap_or_else(|_| OsString::new());
        if !joined.is_empty() {
            command.env("PYTHONPATH", joined).env("POOLPICK_RACE_PYTHONPATH", before.unwrap_or_default());
        }
        if self.show {
            command.env("POOLPICK_RACE_SHOW", "1");
        }
        let mut running = self.signals.start(&mut command)?;
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let requests = running.child.stdin.take().ok_or_else(gone)?;
        let replies = running.child.stdout.take().ok_or_else(gone)?;
        Ok(Session { requests, replies, heard: Vec::new(), running })
    }

    fn limit(&self, cell: Entrant, seconds: f64, task_seconds: f64) -> Timestamp {
        let known = seconds * 10.0 + ROUNDS_OF_TASKS * f64::from(cell.workers) * task_seconds;
        clock::monotonic() + self.timeout.unwrap_or(Span::from_secs_f64(known + SLACK_SECONDS))
    }
}

impl Session {
    fn ask(&mut self, request: &str, signals: &Signals, until: Timestamp) -> io::Result<Answer> {
        // If it is dead, waiting for its answer tells how it died.
        let _ = self.requests.write_all(request.as_bytes()).and_then(|()| self.requests.write_all(b"\n"));
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(Answer::Reply(String::from_utf8_lossy(&line).into_owned()));
            }
            match self.running.wait(signals, &[self.replies.as_raw_fd()], Some(until))? {
                Woken::Readable => {
                    if !read_some(&mut self.replies, &mut self.heard)? {
                        return self.running.finish(signals).map(|ending| Answer::Ended(ending.to_string()));
                    }
                }
                Woken::Ended => return self.running.end().map(|ending| Answer::Ended(ending.to_string())),
                Woken::TimedOut => return Ok(Answer::TimedOut),
                Woken::Interrupted(signal) => return Ok(Answer::Interrupted(signal)),
            }
        }
    }
}

/// The answer, or what Python said instead.
fn understood<T: for<'de> Deserialize<'de>>(line: &str) -> Result<T, String> {
    let odd = |error: serde_json::Error| format!("the driver's answer was not understood: {error}");
    let reply: Reply = serde_json::from_str(line).map_err(odd)?;
    if !reply.ok {
        return Err(reply.error.unwrap_or_else(|| "it failed without a word".to_owned()));
    }
    serde_json::from_value(reply.rest).map_err(odd)
}

impl Track for Driver<'_> {
    fn measure(&mut self, cell: Entrant, seconds: f64, task_seconds: f64) -> Result<Sample, Missed> {
        if self.session.is_none() {
            self.load().map_err(|error| match error {
                NoDriver::Interrupted(signal) => Missed::Interrupted(signal),
                NoDriver::System(error) => Missed::System(error),
                other => Missed::Cell(other.to_string()),
            })?;
        }
        let Some(mut session) = self.session.take() else {
            return Err(Missed::Cell("there is no interpreter to run it".to_owned()));
        };
        let (executor, workers) = (cell.executor.name(), cell.workers);
        let request = Measure { op: "measure", executor, workers, seconds, task_seconds };
        let request = serde_json::to_string(&request).map_err(io::Error::from)?;
        let until = self.limit(cell, seconds, task_seconds);
        let began = clock::monotonic();
        // A session that is not put back ends here, with all that it started.
        match session.ask(&request, self.signals, until)? {
            Answer::Reply(line) => {
                self.session = Some(session);
                let measured: Measured = understood(&line).map_err(Missed::Cell)?;
                let plausible = measured.tasks > 0
                    && measured.errors <= measured.tasks
                    && measured.seconds.is_finite()
                    && measured.seconds > 0.0;
                if !plausible {
                    return Err(Missed::Cell("the tasks took no time that could be measured".to_owned()));
                }
                Ok(Sample {
                    work: measured.tasks as f64,
                    tasks: measured.tasks,
                    errors: measured.errors,
                    first_error: measured.first_error,
                    seconds: measured.seconds,
                    p95_seconds: measured.p95_seconds.filter(|seconds| seconds.is_finite()),
                    start_seconds: measured.start_seconds.filter(|seconds| seconds.is_finite()),
                    run_queue_share: measured.run_queue_share.filter(|share| share.is_finite()),
                })
            }
            Answer::Ended(how) => Err(Missed::Cell(format!("the interpreter {how} while it was measured"))),
            Answer::TimedOut => {
                let after = clock::monotonic().since(began).secs_f64();
                let doubt = if cell.executor == Contender::Serial { "a task" } else { "its workers" };
                Err(Missed::Cell(format!("{doubt} did not come to an end within {after:.0} s")))
            }
            Answer::Interrupted(signal) => Err(Missed::Interrupted(signal)),
        }
    }
}
