//! How long a report takes when the run has ended: a drawn run of an hour with 200 stages is settled, cut into stages,
//! judged under every executor, and written as table and as JSON. The goal is 100 ms. `cargo bench --bench analysis`.

use poolpick::predict::Costs;
use poolpick::report::{Assembly, Document, Format, Judged, Look, Origin, Python, Report, assemble, render_of};
use poolpick::stages::{Totals, segment};
use poolpick::timeline::TimelineBuilder;
use poolpick::trace::{
    AgentFact, Blocking, Counters, Coverage, Direction, Event, Footer, GilAccess, GilHolder, GilRun, GilSample, Header,
    Host, Ids, PayloadReading, Rung, RunsUnder, StageDefinition, SwitchOut, TaskEnd, TaskKind, TaskTotals,
};
use poolpick::units::{Span, Timestamp};
use poolpick::verdict::{Capacity, Evidence, Payload, Terms, Thresholds, judge};
use std::time::{Duration, Instant};

const PID: u32 = 1_000;
const STAGES: u16 = 200;
const THREADS: u32 = 8;
/// Tasks of each stage over the hour.
const TASKS: u64 = 400;
const HOUR: u64 = 3_600_000;
/// A task computes for so many milliseconds and waits for as many.
const HALF: u64 = 10;
const GOAL: Duration = Duration::from_millis(100);
const ROUNDS: usize = 15;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: run it with `cargo bench --bench analysis`");
        return;
    }
    let began = Instant::now();
    let (builder, events) = folded();
    println!("{events} events of an hour folded in {:.0} ms as they would arrive", millis(began.elapsed()));
    let mut all = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let builder = builder.clone();
        let began = Instant::now();
        let report = analysed(builder);
        assert_eq!(report.stages.iter().filter(|stage| !stage.predictions.is_empty()).count(), usize::from(STAGES));
        bytes = written(&report);
        all.push(began.elapsed());
    }
    all.sort();
    let median = all[all.len() / 2];
    let word = if median <= GOAL { "met" } else { "missed" };
    println!(
        "{STAGES} stages judged and written ({bytes} bytes): median {:.1} ms, {:.1} to {:.1} in {ROUNDS} rounds; goal {} ms: {word}",
        millis(median),
        millis(all[0]),
        millis(all[all.len() - 1]),
        GOAL.as_millis()
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn at(millis: u64) -> Timestamp {
    Timestamp(1_000_000_000 + millis * 1_000_000)
}

/// An hour of a program whose eight threads run tasks of 200 stages in turns.
fn folded() -> (TimelineBuilder, usize) {
    let main = Ids { pid: PID, tid: PID };
    let agent = |millis, fact| Event::Agent { at: at(millis), pid: PID, fact };
    let argv = vec!["/usr/bin/python3".to_owned(), "etl.py".to_owned()];
    let mut events = vec![
        Event::Exec { at: at(0), ids: main, name: "python3".to_owned() },
        Event::Program { at: at(0), pid: PID, parent: 0, exe: Some(argv[0].clone()), argv },
        Event::Interpreter { at: at(1), pid: PID, version: (3, 11, 7), gil: GilAccess::Read },
        agent(1, AgentFact::Began { hexversion: 0x030b_07f0, free_threaded: false, forked: false }),
        Event::SwitchOut { at: at(1), ids: main, why: SwitchOut::Blocked },
    ];
    for stage in 0..STAGES {
        events.push(agent(1, AgentFact::Stage(Box::new(definition(stage)))));
    }
    for thread in 1..=THREADS {
        events.push(Event::Fork { at: at(1), ids: worker(thread), parent: main });
        events.push(Event::SwitchIn { at: at(1), ids: worker(thread) });
        events.push(Event::SwitchOut { at: at(1), ids: worker(thread), why: SwitchOut::Blocked });
    }
    let rounds = TASKS * u64::from(STAGES) / u64::from(THREADS);
    for round in 0..rounds {
        for thread in 1..=THREADS {
            let number = round * u64::from(THREADS) + u64::from(thread - 1);
            task(round * HOUR / rounds, thread, (number % u64::from(STAGES)) as u16, &mut events);
        }
    }
    for stage in 0..STAGES {
        let wall = Span::from_millis(2 * HALF * TASKS);
        let totals = TaskTotals { count: TASKS, timed: TASKS, wall, ..TaskTotals::default() };
        events.push(agent(HOUR - 1, AgentFact::Totals { stage, totals: Box::new(totals) }));
    }
    events.sort_by_key(Event::at);
    let mut builder = TimelineBuilder::new(at(0), PID);
    events.iter().for_each(|event| builder.push(event));
    (builder, events.len())
}

fn worker(thread: u32) -> Ids {
    Ids { pid: PID, tid: PID + thread }
}

fn definition(stage: u16) -> StageDefinition {
    StageDefinition {
        stage,
        kind: TaskKind::Function,
        executor: RunsUnder::Thread,
        workers: Some(THREADS),
        name: format!("etl.stage_{stage}"),
        module: "etl".to_owned(),
        file: "etl.py".to_owned(),
        line: Some(u32::from(stage) + 1),
        pool: "concurrent.futures.ThreadPoolExecutor".to_owned(),
        start_method: None,
    }
}

/// A task that waits in its middle, with a reading of the lock and of its payload.
fn task(from: u64, thread: u32, stage: u16, events: &mut Vec<Event>) {
    let ids = worker(thread);
    // Side by side, but not in the same instant: the lock has one holder.
    let from = from + u64::from(thread);
    let run = |holder, reads| GilRun { holder, reads };
    let runs = vec![run(GilHolder::Thread(ids.tid), 10), run(GilHolder::Nobody, 6)];
    let (wall, cpu) = (Span::from_millis(2 * HALF), Some(Span::from_millis(HALF)));
    let end = TaskEnd { wall, cpu, tasks: 1, failed: false, slice: false, unbegun: false };
    let reading = PayloadReading {
        direction: Direction::Argument,
        bytes: 1 << 16,
        pickle: Span(50_000),
        unpickle: Some(Span(40_000)),
        extrapolated: false,
    };
    let payload = AgentFact::Payload { stage, reading };
    events.extend([
        Event::SwitchIn { at: at(from), ids },
        Event::TaskBegin { at: at(from), ids, stage, queued: Some(Span::from_millis(2)), slice: false },
        Event::Gil { at: at(from + 2), pid: PID, sample: GilSample { runs, length: Span(16_000) } },
        Event::SwitchOut { at: at(from + HALF), ids, why: SwitchOut::Blocked },
        Event::Waiting { at: at(from + HALF + 2), ids, on: Blocking::Network },
        Event::SwitchIn { at: at(from + 2 * HALF), ids },
        Event::TaskEnd { at: at(from + 2 * HALF), ids, stage, end },
        Event::Agent { at: at(from + 2 * HALF), pid: PID, fact: payload },
        Event::SwitchOut { at: at(from + 2 * HALF), ids, why: SwitchOut::Blocked },
    ]);
}

fn analysed(builder: TimelineBuilder) -> Report {
    let timeline = builder.finish(at(HOUR));
    let stages = segment(&timeline, &Totals { rung: Rung::Perf, rusage: None, whole: true });
    let terms = Terms {
        declared: None,
        capacity: Capacity { cores: 16.0, measured_on: 16.0, memory_bytes: Some(64 << 30) },
        costs: Some(Costs {
            thread_dispatch: 30e-6,
            process_parent: 60e-6,
            process_worker: 60e-6,
            process_idle: 2e-4,
            asyncio_dispatch: 20e-6,
            gil_handover: 8e-6,
        }),
        thresholds: Thresholds::default(),
        arrival_rate: None,
    };
    let payload = Payload::declared(Some(1 << 16), Some(1 << 10), Some(1e-4));
    let judged: Vec<_> = stages
        .stages
        .iter()
        .map(|stage| {
            let evidence = Evidence::of(stage);
            let judgement = judge(&evidence, Some(&payload), &terms);
            (stage, evidence, judgement)
        })
        .collect();
    let header = Header {
        version: "0".to_owned(),
        argv: vec!["python3".to_owned(), "etl.py".to_owned()],
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        origin: at(0),
        target: PID,
        agent: true,
    };
    let footer = Footer {
        end: at(HOUR),
        exit_code: Some(0),
        signal: None,
        timed_out: false,
        left_behind: 0,
        overhead_cpu_seconds: 0.01,
        rusage: None,
        orphans: None,
        fork_rss_bytes: 0,
        counters: Counters::default(),
        host: Host::default(),
        coverage: Coverage { scheduler: Rung::Perf, refusals: Vec::new(), lost_records: 0 },
    };
    assemble(&Assembly {
        header: &header,
        footer: &footer,
        wall: timeline.wall(),
        stopped: timeline.stopped,
        seen_cpu_seconds: timeline.on_cpu(),
        seen: Some((timeline.processes, timeline.threads)),
        peak_tree_rss_bytes: None,
        records_ended_early: false,
        stages: judged
            .iter()
            .map(|(stage, evidence, judgement)| Judged { stage, evidence, judgement, payload: Some(&payload) })
            .collect(),
        folded: &stages.folded,
        unseen_cpu_seconds: stages.unseen_cpu_seconds,
        terms: &terms,
        asked: None,
        payload_price: None,
        shown_arguments: 2,
        runs: 1,
        python: Python::Agent,
        notes: Vec::new(),
    })
}

fn written(report: &Report) -> usize {
    [Format::Table, Format::Json]
        .into_iter()
        .map(|format| {
            let mut out = Vec::new();
            render_of(Document::Profile(report), &Origin::default(), format, Look::PLAIN, &mut out)
                .expect("a vector takes everything");
            out.len()
        })
        .sum()
}
