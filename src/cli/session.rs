//! One run: target and instruments together, facts into the timeline and, if asked for, into a trace file.

use super::capture::Capture;
use super::exit::Failure;
use super::live::Live;
use crate::observe::{Agent, Instruments, Options, Sink, survey};
use crate::sys::clock;
use crate::target::{EnvironmentChange, ExitKind, ResourceUse, TargetExit, TargetSpec};
use crate::timeline::{Timeline, TimelineBuilder};
use crate::trace::{Event, Footer, Header, Prices, Rung, Rusage, Writer, append_prices};
use crate::units::{Span, Timestamp};
use crate::verdict::Thresholds;
use procfs::FromRead;
use procfs::process::StatM;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::SystemTime;

/// How often a recording is handed to the system, so that a crash loses little.
const FLUSH: Span = Span::from_millis(1_000);

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// What was known before.
    pub header: Header,
    /// What the programs did.
    pub timeline: Timeline,
    /// What was known after.
    pub footer: Footer,
    /// How the target ended.
    pub exit: TargetExit,
    /// A signal that asked poolpick to end, if one did.
    pub interrupted: Option<i32>,
    /// Its recording, footer included, or what it failed of on the way.
    recording: Option<Result<BufWriter<File>, io::Error>>,
}

impl Run {
    /// Puts the prices that it was judged by behind its recording, where it has one.
    ///
    /// # Errors
    /// What the recording failed of, now or before.
    pub fn priced(&mut self, prices: &Prices) -> io::Result<()> {
        match self.recording.take() {
            Some(Ok(mut file)) if !prices.is_empty() => append_prices(&mut file, prices),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

/// What to run and how to watch it.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The command.
    pub command: &'a [OsString],
    /// Its stdout goes to stderr.
    pub stdout_to_stderr: bool,
    /// Variables that its environment has besides.
    pub variables: &'a [(String, String)],
    /// The directory that it starts in, where it is not ours.
    pub directory: Option<&'a Path>,
    /// Keeps its output, where it does not have our streams.
    pub capture: Option<&'a Capture>,
    /// What to measure with.
    pub options: Options,
    /// Functions that are stages, as the agent is told of them.
    pub stages: &'a [String],
    /// Show the live line.
    pub live: bool,
    /// For the live line.
    pub thresholds: Thresholds,
    /// Where to record.
    pub record: Option<File>,
    /// CPU that this process had used before poolpick began: whoever exec'd it may have computed before.
    pub cpu_before: Span,
}

struct Recorder<'a> {
    capture: Option<&'a Capture>,
    timeline: TimelineBuilder,
    writer: Option<Writer<BufWriter<File>>>,
    failed: Option<io::Error>,
    flushed: Timestamp,
    live: Live,
}

impl Sink for Recorder<'_> {
    fn event(&mut self, event: &Event) {
        self.timeline.push(event);
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.event(event)
        {
            self.failed = Some(error);
            self.writer = None;
        }
    }

    fn tick(&mut self, now: Timestamp) {
        if let Some(capture) = self.capture {
            capture.bound();
        }
        if let Some(writer) = &mut self.writer
            && now.since(self.flushed) > FLUSH
        {
            self.flushed = now;
            if let Err(error) = writer.flush() {
                self.failed = Some(error);
                self.writer = None;
            }
        }
        let timeline = &self.timeline;
        self.live.tick(now, || timeline.so_far(now));
    }
}

/// Runs the plan to its end.
///
/// # Errors
/// Where the target cannot be started, or the system refuses to wait for it.
pub fn run(plan: Plan<'_>) -> Result<Run, Failure> {
    let fork_rss_bytes = own_rss_bytes();
    let agent = Agent::prepare(&plan.options);
    let environment = agent.as_ref().and_then(|agent| agent.as_ref().ok()).map(|agent| agent.environment(plan.stages));
    let agent_given = environment.is_some();
    let set = |(name, value): &(String, String)| EnvironmentChange::Set {
        name: name.clone().into(),
        value: value.clone().into(),
    };
    // The agent's come last: it puts itself before what the manifest says.
    let environment = plan.variables.iter().map(set).chain(environment.unwrap_or_default()).collect();
    let spec = TargetSpec {
        argv: plan.command.to_vec(),
        stdout_to_stderr: plan.stdout_to_stderr,
        environment,
        directory: plan.directory.map(Path::to_owned),
        streams: plan.capture.map(Capture::streams),
    };
    let started_at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let suspended = spec.suspend()?;
    let instruments = Instruments::attach(&suspended, &plan.options, agent);
    let rung = instruments.rung();
    let (mut target, mut host) = suspended.resume_beside(survey)?;
    let header = Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        argv: plan.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        started_at,
        origin: target.started(),
        target: target.pid(),
        agent: agent_given,
    };
    let writer = plan.record.map(|file| Writer::new(BufWriter::new(file), &header)).transpose();
    let (writer, failed) = match writer {
        Ok(writer) => (writer, None),
        Err(error) => (None, Some(error)),
    };
    let mut recorder = Recorder {
        capture: plan.capture,
        timeline: TimelineBuilder::new(target.started(), target.pid()),
        writer,
        failed,
        flushed: target.started(),
        live: Live::new(plan.live, target.started(), plan.thresholds),
    };
    if rung != Rung::Perf {
        // A program that ends before it is first looked at has the name that it was called by.
        let (at, pid) = (target.started(), target.pid());
        recorder.event(&Event::Program { at, pid, parent: 0, exe: None, argv: header.argv.clone() });
    }
    let observed = instruments.watch(&mut target, &mut recorder);
    recorder.live.clear();
    let observation = match observed {
        Ok(observation) => observation,
        Err(source) => return Err(Failure::System { doing: "waiting for the target", source }),
    };
    let exit = target.reap().map_err(|source| Failure::System { doing: "reaping the target", source })?;
    host.steal_ratio = observation.steal_ratio;
    let (exit_code, signal) = match exit.status {
        ExitKind::Exited(code) => (Some(code), None),
        ExitKind::Killed(signal) => (None, Some(signal)),
    };
    let footer = Footer {
        end: exit.ended,
        exit_code,
        signal,
        timed_out: observation.timed_out,
        left_behind: observation.left_behind,
        overhead_cpu_seconds: (clock::process_cpu() - plan.cpu_before).secs_f64(),
        rusage: Some(usage(exit.usage)),
        orphans: exit.orphans.map(usage),
        fork_rss_bytes,
        counters: observation.counters,
        host,
        coverage: observation.coverage,
    };
    let Recorder { timeline, writer, failed, .. } = recorder;
    let recording = failed.map(Err).or_else(|| writer.map(|writer| writer.finish(&footer)));
    Ok(Run {
        header,
        timeline: timeline.finish(exit.ended),
        footer,
        exit,
        interrupted: observation.interrupted,
        recording,
    })
}

fn usage(usage: ResourceUse) -> Rusage {
    Rusage {
        cpu_user: usage.cpu_user,
        cpu_system: usage.cpu_system,
        voluntary: usage.voluntary,
        involuntary: usage.involuntary,
        peak_rss_bytes: usage.peak_rss_bytes,
    }
}

/// What the child starts its `peak_rss` with: our own.
fn own_rss_bytes() -> u64 {
    StatM::from_file("/proc/self/statm").map_or(0, |statm| statm.resident.saturating_mul(procfs::page_size()))
}
