//! What anyone may hand to poolpick, taken through all that reads it: a manifest, a saved report, a trace. Shared by
//! `tests/hostile_input.rs` and the fuzz targets in `fuzz/`: a panic is a fault, and so is what ends in one. Must not
//! expect anything to be readable.

#![allow(dead_code, reason = "each user takes a part")]

use poolpick::gate::{Declared, Ran, Rules, compare, rule_on};
use poolpick::manifest::{self, Edit, Entry, ManifestError, NewValue};
use poolpick::predict::Costs;
use poolpick::report::check::Check;
use poolpick::report::compare::{Comparison, Side};
use poolpick::report::race::Race;
use poolpick::report::{Again, Document, Format, Look, RACE_FORMATS, Report, render, render_race, rescore};
use poolpick::stages::{Totals, average, segment};
use poolpick::timeline::{Timeline, TimelineBuilder};
use poolpick::trace::{
    AgentFact, Blocking, Counters, Coverage, Direction, Event, Footer, GilAccess, GilHolder, GilRun, GilSample, Header,
    Host, Ids, PayloadReading, Reader, Rung, RunsUnder, Rusage, StageDefinition, SwitchOut, TaskEnd, TaskKind,
    TaskTotals, Writer,
};
use poolpick::units::{Span, Timestamp};
use poolpick::verdict::{Capacity, Evidence, Executor, Payload, Terms, Thresholds, judge};
use std::fs;
use std::path::Path;

/// How every text may be looked at.
const LOOKS: [Look; 3] = [
    Look::PLAIN,
    Look { width: Some(1), colour: true, ascii: false },
    Look { width: Some(40), colour: true, ascii: true },
];
/// The program of the drawn trace.
const PID: u32 = 100;
// The frame of a trace, as `src/trace/file.rs` tells it.
const MAGIC: usize = 15;
const HEADER: u8 = 1;
const EVENTS: u8 = 2;
const WRITE_LIMIT: usize = 64 << 10;
/// Events beyond so many fold as these do.
const MOST_EVENTS: usize = 100_000;

/// A small trace that is right: a Python program with a stage in threads, the lock read twice.
pub fn sound_trace() -> Vec<u8> {
    let header = Header {
        version: "0.1.0".to_owned(),
        argv: vec!["python3".to_owned(), "etl.py".to_owned()],
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        origin: at(0),
        target: PID,
        agent: true,
    };
    let mut writer = Writer::new(Vec::new(), &header).expect("a vector takes everything");
    drawn().iter().for_each(|event| writer.event(event).expect("a vector takes everything"));
    let footer = Footer {
        end: at(1_000),
        exit_code: Some(0),
        signal: None,
        timed_out: false,
        left_behind: 0,
        overhead_cpu_seconds: 0.01,
        rusage: Some(Rusage { cpu_user: Span::from_millis(600), voluntary: 7, ..Rusage::default() }),
        orphans: None,
        fork_rss_bytes: 5 << 20,
        counters: Counters::default(),
        host: Host { logical_cores: Some(2), usable_cores: Some(2.0), ..Host::default() },
        coverage: Coverage { scheduler: Rung::Perf, refusals: Vec::new(), lost_records: 0 },
    };
    writer.finish(&footer).expect("a vector takes everything")
}

fn at(millis: u64) -> Timestamp {
    Timestamp(1_000_000_000 + millis * 1_000_000)
}

fn drawn() -> Vec<Event> {
    let (main, worker) = (Ids { pid: PID, tid: PID }, Ids { pid: PID, tid: PID + 1 });
    let agent = |millis, fact| Event::Agent { at: at(millis), pid: PID, fact };
    let definition = StageDefinition {
        stage: 0,
        kind: TaskKind::Function,
        executor: RunsUnder::Thread,
        workers: Some(4),
        name: "etl.parse".to_owned(),
        module: "etl".to_owned(),
        file: "etl.py".to_owned(),
        line: Some(7),
        pool: "concurrent.futures.ThreadPoolExecutor".to_owned(),
        start_method: None,
    };
    let argv = vec!["/usr/bin/python3".to_owned(), "etl.py".to_owned()];
    let mut events = vec![
        Event::Exec { at: at(0), ids: main, name: "python3".to_owned() },
        Event::Program { at: at(0), pid: PID, parent: 0, exe: Some(argv[0].clone()), argv },
        Event::Interpreter { at: at(1), pid: PID, version: (3, 11, 7), gil: GilAccess::Read },
        agent(1, AgentFact::Began { hexversion: 0x030b_07f0, free_threaded: false, forked: false }),
        agent(1, AgentFact::Stage(Box::new(definition))),
        Event::SwitchOut { at: at(1), ids: main, why: SwitchOut::Blocked },
        Event::Fork { at: at(1), ids: worker, parent: main },
        Event::SwitchIn { at: at(1), ids: worker },
    ];
    for task in 0..8 {
        let from = 10 + 100 * task;
        let run = |holder, reads| GilRun { holder, reads };
        let sample = GilSample {
            runs: vec![run(GilHolder::Thread(PID + 1), 12), run(GilHolder::Nobody, 4)],
            length: Span(16_000),
        };
        let end = TaskEnd {
            wall: Span::from_millis(80),
            cpu: Some(Span::from_millis(60)),
            tasks: 1,
            failed: task == 3,
            slice: false,
            unbegun: false,
        };
        let reading = PayloadReading {
            direction: Direction::Argument,
            bytes: 1 << 18,
            pickle: Span(90_000),
            unpickle: Some(Span(80_000)),
            extrapolated: false,
        };
        events.extend([
            Event::TaskBegin { at: at(from), ids: worker, stage: 0, queued: Some(Span::from_millis(2)), slice: false },
            Event::Gil { at: at(from + 20), pid: PID, sample },
            Event::SwitchOut { at: at(from + 60), ids: worker, why: SwitchOut::Blocked },
            Event::Waiting { at: at(from + 62), ids: worker, on: Blocking::Network },
            Event::SwitchIn { at: at(from + 80), ids: worker },
            Event::TaskEnd { at: at(from + 80), ids: worker, stage: 0, end },
            agent(from + 80, AgentFact::Payload { stage: 0, reading }),
        ]);
    }
    let totals = TaskTotals { count: 8, failed: 1, timed: 8, wall: Span::from_millis(640), ..TaskTotals::default() };
    events.push(agent(900, AgentFact::Totals { stage: 0, totals: Box::new(totals) }));
    events
        .push(agent(900, AgentFact::Note { stage: Some(0), code: "shared-state".to_owned(), detail: "x".to_owned() }));
    events.push(Event::Exit { at: at(950), ids: worker });
    events
}

/// A manifest: read, its complaints worded; one that is right is mended, and is right then, too. `file` is written.
pub fn manifest(bytes: &[u8], file: &Path) {
    fs::write(file, bytes).expect("a file of ours");
    let read = match manifest::load(file, true) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says why");
            if let ManifestError::Wrong(problems) = &error {
                assert!(!problems.problems.is_empty(), "a refusal has a reason");
            }
            return;
        }
    };
    let text = std::str::from_utf8(bytes).expect("it was read");
    let edits: Vec<Edit> = read.entries.iter().filter(|entry| entry.place().file == file).flat_map(edits_of).collect();
    let Ok(mended) = manifest::apply(file, text, &edits) else { return };
    fs::write(file, &mended).expect("a file of ours");
    if let Err(error) = manifest::load(file, true) {
        panic!("it was right before it was mended: {error}\n--- before\n{text}\n--- after\n{mended}");
    }
}

/// As `--fix` would edit an entry.
fn edits_of(entry: &Entry) -> Vec<Edit> {
    let edit = |table: &[&str], key: &str, value| Edit {
        file: entry.place().file.clone(),
        table: table.iter().map(|&word| word.to_owned()).collect(),
        key: key.to_owned(),
        value,
    };
    let process = || NewValue::Text("process".to_owned());
    match entry {
        Entry::Stage(_) => {
            let table = ["stages", entry.name()];
            vec![edit(&table, "executor", process()), edit(&table, "workers", NewValue::Number(4))]
        }
        Entry::Program(_) => vec![edit(&["programs", entry.name(), "expect"], "etl.parse", process())],
    }
}

/// A saved report of any kind: rendered in every format, judged again, gated, compared with itself.
pub fn report(bytes: &[u8]) {
    if let Ok(report) = serde_json::from_slice::<Report>(bytes) {
        render_all((&report).into());
        for again in agains() {
            if let Ok(again) = rescore(&report, &again) {
                render_all((&again).into());
            }
        }
        gated(&report);
        let side = || Side { file: "it".to_owned(), started_at: report.target.started_at.clone(), wall_seconds: 1.0 };
        let mut comparison = Comparison::new("0.1.0", side(), side(), 0.1);
        compare(&report.stages, &report.stages, &[], &mut comparison);
    }
    if let Ok(check) = serde_json::from_slice::<Check>(bytes) {
        render_all((&check).into());
    }
    if let Ok(race) = serde_json::from_slice::<Race>(bytes) {
        for format in RACE_FORMATS {
            LOOKS.iter().for_each(|&look| render_race(&race, format, look, &mut Vec::new()).expect("a vector"));
        }
    }
}

/// Questions to a saved report.
fn agains() -> [Again; 3] {
    let other = Again {
        executor: Some(Executor::Thread),
        io: Some(0.2),
        cpu: Some(0.9),
        payload_in: Some(1 << 20),
        payload_out: Some(0),
        cores: Some(1.5),
        memory_bytes: Some(1 << 30),
        arrival_rate: Some(100.0),
        ..Again::default()
    };
    [Again::default(), other, Again { cores: Some(4096.0), payload_in: Some(u64::MAX), ..other }]
}

fn render_all(document: Document<'_>) {
    for (format, _) in Format::ALL {
        // Only what is for people is laid out.
        let looks = if format == Format::Table { &LOOKS[..] } else { &LOOKS[..1] };
        for &look in looks {
            let mut out = Vec::new();
            render(document, format, look, &mut out).expect("a vector takes everything");
            assert!(std::str::from_utf8(&out).is_ok(), "{format:?} is UTF-8");
        }
    }
}

fn gated(report: &Report) {
    let ran = Ran { runs: 1, wall_seconds: Some(1.0), when: None };
    for stage in &report.stages {
        for executor in [None, Some(poolpick::report::Executor::Thread), Some(poolpick::report::Executor::Process)] {
            let declared = Declared { name: stage.name.clone(), executor, workers: Some(2), ..Declared::default() };
            rule_on(stage, &declared, &ran, &Rules::default());
        }
    }
}

/// These bytes as the events of a trace whose frames and checksums are right.
pub fn framed(events: &[u8], whole: &[u8]) -> Vec<u8> {
    let blocks = blocks_of(whole);
    let mut trace = whole[..MAGIC + 2].to_vec();
    for &(kind, payload) in &blocks {
        if kind != EVENTS {
            frame(kind, payload, &mut trace);
        }
        if kind == HEADER {
            events.chunks(WRITE_LIMIT).for_each(|part| frame(EVENTS, part, &mut trace));
        }
    }
    trace
}

/// The bytes of all events of a trace that is right.
pub fn events_of(whole: &[u8]) -> Vec<u8> {
    blocks_of(whole).iter().filter(|(kind, _)| *kind == EVENTS).flat_map(|(_, payload)| payload.to_vec()).collect()
}

fn blocks_of(whole: &[u8]) -> Vec<(u8, &[u8])> {
    let mut blocks = Vec::new();
    let mut rest = &whole[MAGIC + 2..];
    while let [kind, a, b, c, d, _, _, _, _, more @ ..] = rest {
        let (payload, after) = more.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
        blocks.push((*kind, payload));
        rest = after;
    }
    blocks
}

fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let length = (payload.len() as u32).to_le_bytes();
    let mut hasher = crc32fast::Hasher::new();
    [&[kind][..], &length, payload].iter().for_each(|part| hasher.update(part));
    out.push(kind);
    out.extend(length);
    out.extend(hasher.finalize().to_le_bytes());
    out.extend(payload);
}

/// A trace: read as far as it goes, folded, and judged.
pub fn trace(bytes: &[u8]) {
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty(), "a refusal says why"),
    };
    let header = reader.header().clone();
    let mut builder = TimelineBuilder::new(header.origin, header.target);
    let mut reached = header.origin;
    for event in (&mut reader).take(MOST_EVENTS) {
        match event {
            Ok(event) => {
                reached = reached.max(event.at());
                builder.push(&event);
            }
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
        }
    }
    let timeline = builder.finish(reader.footer().map_or(reached, |footer| footer.end));
    judged(&timeline, reader.footer());
}

fn judged(timeline: &Timeline, footer: Option<&Footer>) {
    let totals = Totals {
        rung: footer.map_or(Rung::Perf, |footer| footer.coverage.scheduler),
        rusage: footer.and_then(|footer| footer.rusage),
        whole: footer.is_some_and(|footer| footer.left_behind == 0),
    };
    let runs = vec![segment(timeline, &totals), segment(timeline, &totals)];
    let host = footer.map(|footer| footer.host.clone()).unwrap_or_default();
    let terms = Terms {
        declared: Some(Executor::Thread),
        capacity: Capacity::of(host.usable_cores, host.logical_cores, host.physical_cores, host.memory_limit_bytes),
        costs: Some(Costs {
            thread_dispatch: 30e-6,
            process_parent: 60e-6,
            process_worker: 60e-6,
            process_idle: 2e-4,
            asyncio_dispatch: 20e-6,
            gil_handover: 8e-6,
        }),
        thresholds: Thresholds::default(),
        arrival_rate: Some(1000.0),
    };
    let payload = Payload::declared(Some(1 << 20), Some(1 << 10), Some(1e-3));
    for stage in average(runs).map(|stages| stages.stages).unwrap_or_default() {
        for payload in [None, Some(&payload)] {
            judge(&Evidence::of(&stage), payload, &terms);
        }
    }
}
