//! From a run to its report, in data-flow order: timeline, stages, payload, judgement, report.

use super::args::{JudgeArgs, MachineArgs, WhatIfArgs};
use super::prices::{self, PriceBook};
use crate::predict::{Costs, Room, TaskDemand};
use crate::report::engine::{Engine, in_words_of};
use crate::report::{Asked, Assembly, Judged, Python, Report, assemble};
use crate::stages::{GilEvidence, PickleBounds, PickledPayload, SeenTasks, Stage, Stages, Totals, average, segment};
use crate::timeline::{Image, Program, Records, Timeline};
use crate::trace::{Footer, Header, Rung, RunsUnder, Rusage};
use crate::units::ratio;
use crate::verdict::{Capacity, Evidence, Executor, Payload, PayloadSource, Terms, Thresholds, judge};

/// CPU beyond what readings saw, from which on some program was not seen at all.
const UNSEEN_SECONDS: f64 = 0.02;
/// A payload below this is never priced without being asked for.
const SMALL_PAYLOAD: u64 = 64 << 10;
/// What pickling and moving a byte costs at the most, seconds: whether an upper bound can matter at all.
const DEAREST_BYTE: f64 = 20e-9;

/// What the user says of the stages.
#[derive(Debug, Clone)]
pub struct Questions {
    /// Thresholds of the plain rule.
    pub thresholds: Thresholds,
    /// The executor in production.
    pub executor: Option<Executor>,
    /// Bytes that one task is given.
    pub payload_in: Option<u64>,
    /// Bytes that one task returns.
    pub payload_out: Option<u64>,
    /// Whether arguments are shown.
    pub show_args: bool,
    /// Names of the functions that were asked for.
    pub named: Vec<String>,
    /// CPUs of the machine that the answer is for, where it is another one.
    pub cores: Option<f64>,
    /// Its memory, bytes.
    pub memory: Option<u64>,
    /// Tasks that arrive in a second.
    pub arrival_rate: Option<f64>,
    /// The engine in whose settings the answer is said too.
    pub engine: Option<Engine>,
}

impl Questions {
    /// From the arguments.
    pub fn new(thresholds: Thresholds, judge: &JudgeArgs, show_args: bool) -> Questions {
        Questions {
            executor: judge.executor.map(Executor::from),
            payload_in: judge.payload_in,
            payload_out: judge.payload_out,
            show_args,
            ..Questions::by(thresholds)
        }
    }

    /// By these thresholds, of this host, and nothing else.
    pub fn by(thresholds: Thresholds) -> Questions {
        Questions {
            thresholds,
            executor: None,
            payload_in: None,
            payload_out: None,
            show_args: false,
            named: Vec::new(),
            cores: None,
            memory: None,
            arrival_rate: None,
            engine: None,
        }
    }

    /// With what else is asked.
    pub fn asking(self, asked: &WhatIfArgs) -> Questions {
        let WhatIfArgs { machine, arrival_rate, engine } = *asked;
        Questions { arrival_rate, engine, ..self.on(&machine) }
    }

    /// For this machine.
    pub fn on(self, machine: &MachineArgs) -> Questions {
        Questions { cores: machine.cores, memory: machine.memory, ..self }
    }

    /// The same as the report keeps it.
    fn asked(&self) -> Option<Asked> {
        let asked = Asked {
            cores: self.cores,
            memory_bytes: self.memory,
            arrival_rate_per_second: self.arrival_rate,
            engine: None,
        };
        (asked != Asked::default()).then_some(asked)
    }
}

/// One run as it was recorded.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// What was known before.
    pub header: &'a Header,
    /// What the programs did.
    pub timeline: &'a Timeline,
    /// What was known after.
    pub footer: &'a Footer,
}

/// All that predictions for any executor and number of workers take.
#[derive(Debug, Clone, Copy)]
pub struct Modelled {
    /// What one task demands.
    pub task: TaskDemand,
    /// What dispatch costs here.
    pub costs: Costs,
    /// What the host offers.
    pub room: Room,
}

/// The report of one or more runs of the same command; totals are those of the last.
pub fn analyse(runs: &[Recorded<'_>], questions: &Questions, notes: Vec<String>) -> Option<Report> {
    analyse_by(&mut PriceBook::of_this_host(), runs, questions, notes, &mut |_, _| {})
}

/// As `analyse`, with prices of this book, which keeps those that it had to measure; `told` also hears the id of each stage
/// that can be modelled, and its model.
pub fn analyse_by(
    book: &mut PriceBook,
    runs: &[Recorded<'_>],
    questions: &Questions,
    mut notes: Vec<String>,
    told: &mut dyn FnMut(&str, Modelled),
) -> Option<Report> {
    let last = runs.last()?;
    let measured: Vec<Stages> = runs.iter().map(|run| segment(run.timeline, &totals_of(run.footer))).collect();
    let stages = average(measured)?;
    let host = &last.footer.host;
    let measured = Capacity::of(host.usable_cores, host.logical_cores, host.physical_cores, host.memory_limit_bytes);
    let prices = book.tasks(&stages, &mut notes);
    let bounds = prices.as_ref().and_then(prices::bounds);
    let terms = Terms {
        declared: questions.executor,
        capacity: measured.asked(questions.cores, questions.memory),
        costs: prices.as_ref().map(prices::costs),
        thresholds: questions.thresholds,
        arrival_rate: questions.arrival_rate,
    };
    notes.extend(unheard(last));
    notes.extend(unseen_names(&stages, &questions.named));
    let mut judged = Vec::new();
    let mut is_priced = false;
    for stage in &stages.stages {
        let mut payload = payload(stage, questions, book, bounds.as_ref(), &mut is_priced);
        if let (Some(prices), Some(Payload { source: PayloadSource::Measured, .. })) = (&prices, &payload) {
            payload = payload.map(|payload| prices::moved(prices, payload));
        }
        let evidence = Evidence::of(stage);
        if let (Some(task), Some(costs)) = (evidence.task_with(payload.as_ref()), terms.costs) {
            let room = Room { cores: terms.capacity.cores, memory_bytes: terms.capacity.memory_bytes };
            told(&stage.id, Modelled { task, costs, room });
        }
        let judgement = judge(&evidence, payload.as_ref(), &terms);
        judged.push((stage, evidence, payload, judgement));
    }
    // Whoever has stages inside Python may ask the report for other payloads.
    let payload_price = (is_priced || terms.costs.is_some()).then(|| book.payload_price()).flatten();
    if is_priced {
        notes.extend(book.about_payloads());
    }
    if runs.len() > 1 {
        notes.push(format!(
            "scores and times of stages are means of {} runs; switches, memory and totals are those of the last",
            runs.len()
        ));
    }
    let header = last.header;
    let shown = if questions.show_args { header.argv.len() } else { Image::naming_words(&header.argv) };
    let rung = last.footer.coverage.scheduler;
    let mut report = assemble(&Assembly {
        header,
        footer: last.footer,
        wall: last.timeline.wall(),
        stopped: last.timeline.stopped,
        seen_cpu_seconds: last.timeline.on_cpu(),
        // Where programs were too short to be seen, how many there were is not known.
        seen: (rung == Rung::Perf
            || rung == Rung::Schedstat && stages.unseen_cpu_seconds.unwrap_or(1.0) < UNSEEN_SECONDS)
            .then_some((last.timeline.processes, last.timeline.threads)),
        peak_tree_rss_bytes: last.timeline.peak_tree_rss_bytes,
        records_ended_early: last.timeline.records != Records::Whole,
        stages: judged
            .iter()
            .map(|(stage, evidence, payload, judgement)| Judged {
                stage,
                evidence,
                judgement,
                payload: payload.as_ref(),
            })
            .collect(),
        folded: &stages.folded,
        unseen_cpu_seconds: stages.unseen_cpu_seconds,
        terms: &terms,
        asked: questions.asked(),
        payload_price,
        shown_arguments: shown,
        runs: runs.len() as u32,
        python: told_by(&stages),
        notes,
    });
    if questions.engine.is_some() {
        in_words_of(&mut report, questions.engine);
    }
    Some(report)
}

/// Interpreters that the agent did not load in. A forked worker has one only once it has something to tell.
fn unheard(run: &Recorded<'_>) -> Option<String> {
    let own = |program: &&Program| program.image.is_python() && !program.image.forked && program.tasks.is_none();
    let (mut all, mut heard) = (0u64, 0u64);
    for program in run.timeline.programs.iter().filter(own).filter(|program| !program.image.is_helper()) {
        let ended = program.processes.saturating_sub(program.replaced);
        all += ended;
        heard += program.agents.min(ended);
    }
    let missing = all - heard;
    (run.header.agent && missing > 0).then(|| {
        format!(
            "the agent was not loaded in {missing} of {all} Python processes (isolated mode, an environment of their own, \
             another user, or over at once): functions inside them are not told apart"
        )
    })
}

/// Functions named by `--stage` that were never called, or never found.
fn unseen_names(stages: &Stages, named: &[String]) -> Vec<String> {
    let seen = |name: &&String| {
        stages.stages.iter().any(|stage| stage.tasks.as_ref().is_some_and(|tasks| tasks.name == **name))
    };
    named
        .iter()
        .filter(|name| !seen(name))
        .map(|name| {
            format!("no call of the stage `{}` was seen: is its module and function right?", name.escape_debug())
        })
        .collect()
}

/// What told about Python: agents where there are stages of theirs, else the lock's readings.
fn told_by(stages: &Stages) -> Python {
    let any = |of: fn(&Stage) -> bool| stages.stages.iter().any(of);
    if any(|stage| stage.tasks.is_some()) {
        Python::Agent
    } else if any(|stage| matches!(stage.gil, GilEvidence::Measured(_) | GilEvidence::Absent)) {
        Python::Sample
    } else {
        Python::None
    }
}

fn totals_of(footer: &Footer) -> Totals {
    let rusage = match (footer.rusage, footer.orphans) {
        (Some(usage), Some(orphans)) => Some(usage.plus(orphans)),
        (usage, orphans) => usage.or(orphans.map(|_| Rusage::default())),
    };
    Totals { rung: footer.coverage.scheduler, rusage, whole: footer.left_behind == 0 }
}

/// What one task of the stage would have to move, with its price where that can matter; says if one was asked for.
fn payload(
    stage: &Stage,
    questions: &Questions,
    book: &mut PriceBook,
    bounds: Option<&PickleBounds>,
    is_priced: &mut bool,
) -> Option<Payload> {
    if stage.outside_stages {
        return None;
    }
    if let Some(tasks) = &stage.tasks
        && questions.payload_in.is_none()
        && questions.payload_out.is_none()
    {
        return measured_payload(tasks, bounds);
    }
    let per_task = |bytes: Option<u64>| bytes.map(|bytes| bytes / stage.processes.max(1));
    let (argument_bytes, result_bytes, source) = if questions.payload_in.is_some() || questions.payload_out.is_some() {
        (questions.payload_in, questions.payload_out, PayloadSource::Declared)
    } else if stage.bytes.stdin_file.is_some_and(|bytes| bytes > 0)
        || stage.bytes.stdout_file.is_some_and(|bytes| bytes > 0)
    {
        (per_task(stage.bytes.stdin_file), per_task(stage.bytes.stdout_file), PayloadSource::Files)
    } else {
        let whole = stage.bytes.unread_ends == 0;
        let source = if whole { PayloadSource::UpperBound } else { PayloadSource::Partial };
        (per_task(stage.bytes.read_chars), per_task(stage.bytes.written_chars), source)
    };
    if argument_bytes.is_none() && result_bytes.is_none() {
        return None;
    }
    let mut payload = Payload {
        argument_bytes,
        result_bytes,
        source,
        seconds: None,
        picklable: None,
        parent_seconds: None,
        worker_seconds: None,
        transfer_seconds: None,
        readings: None,
        error: None,
    };
    let total = argument_bytes.unwrap_or(0).saturating_add(result_bytes.unwrap_or(0));
    let matters = match source {
        PayloadSource::Declared => true,
        PayloadSource::Measured | PayloadSource::Unknown => false,
        PayloadSource::Files => total > SMALL_PAYLOAD,
        PayloadSource::UpperBound | PayloadSource::Partial => {
            total as f64 * DEAREST_BYTE > questions.thresholds.ipc * stage.process_seconds().unwrap_or(f64::INFINITY)
        }
    };
    if matters {
        *is_priced = true;
        let prices = book.payloads();
        let price = |bytes: Option<u64>| {
            bytes.map_or(Some(0.0), |bytes| prices.map(|prices| prices.fixed + bytes as f64 * prices.per_byte))
        };
        payload.seconds = price(argument_bytes).zip(price(result_bytes)).map(|(there, back)| there + back);
        if source == PayloadSource::Declared {
            payload = Payload::declared(argument_bytes, result_bytes, payload.seconds);
        }
    }
    Some(payload)
}

/// What the agent pickled of a stage's tasks.
fn measured_payload(tasks: &SeenTasks, bounds: Option<&PickleBounds>) -> Option<Payload> {
    let is_noted = |code: &str| tasks.notes.iter().any(|note| note.code == code);
    // Where tasks reach worker processes and come back, a few that did not are failures of their own.
    let moved = tasks.executor == RunsUnder::Process && tasks.recorded > tasks.totals.failed;
    let refused = is_noted("not-picklable") && !moved;
    let in_chunks = |one: PickledPayload| one.in_chunks(tasks.chunk(), bounds);
    let arguments = PickledPayload::of(&tasks.arguments, bounds).map(in_chunks);
    let results = PickledPayload::of(&tasks.results, bounds).map(in_chunks);
    let both = [arguments, results];
    let found = || both.iter().flatten();
    // Where a part of it was left alone, what is known of the other tells nothing.
    let Some(readings) = found().map(|one| one.readings).min().filter(|_| refused || !is_noted("payload-unknown"))
    else {
        return refused.then_some(Payload {
            argument_bytes: None,
            result_bytes: None,
            source: PayloadSource::Unknown,
            seconds: None,
            picklable: Some(false),
            parent_seconds: None,
            worker_seconds: None,
            transfer_seconds: None,
            readings: None,
            error: None,
        });
    };
    // A call without arguments, or without a result, moves next to nothing that way.
    let sum = |of: fn(&PickledPayload) -> f64| found().map(of).sum::<f64>();
    let seconds = sum(PickledPayload::seconds);
    let bytes = |one: Option<PickledPayload>| one.map(|one| one.bytes.round() as u64);
    let there = arguments.map_or((0.0, 0.0), |one| (one.pickle, one.unpickle));
    let back = results.map_or((0.0, 0.0), |one| (one.unpickle, one.pickle));
    Some(Payload {
        argument_bytes: bytes(arguments),
        result_bytes: bytes(results),
        source: PayloadSource::Measured,
        seconds: Some(seconds),
        picklable: Some(!refused),
        parent_seconds: Some(there.0 + back.0),
        worker_seconds: Some(there.1 + back.1),
        transfer_seconds: None,
        readings: Some(readings),
        error: ratio(sum(|one| one.error * one.seconds()), seconds),
    })
}
