//! The trace as a file: what is written is read back, and whatever else is read is an error that says what is wrong.

use poolpick::trace::{
    AgentFact, Blocking, BytePrice, Counters, Coverage, Direction, Event, Flaw, Footer, GilAccess, GilHolder, GilRun,
    GilSample, Header, Host, Ids, PayloadPrices, PayloadReading, PicklePrices, Prices, ProcessReading, Reader, Refusal,
    Rung, RunsUnder, Rusage, StackCall, StageDefinition, SwitchOut, TaskEnd, TaskKind, TaskPrices, TaskTotals,
    ThreadReading, ThreadStack, TimeOut, Trace, TraceError, WhyNot, Writer, append_prices,
};
use poolpick::units::{Span, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::io::{self, Read};

fn header() -> Header {
    Header {
        version: "0.1.0".into(),
        argv: vec!["python3".into(), "pipeline.py".into()],
        started_at: "2026-01-02T03:04:05Z".into(),
        origin: Timestamp(1_000_000_000),
        target: 4242,
        agent: true,
    }
}

fn footer() -> Footer {
    Footer {
        end: Timestamp(3_000_000_000),
        exit_code: Some(3),
        signal: None,
        timed_out: false,
        left_behind: 1,
        overhead_cpu_seconds: 0.0125,
        rusage: Some(Rusage { cpu_user: Span(5), cpu_system: Span(6), voluntary: 7, ..Rusage::default() }),
        orphans: None,
        fork_rss_bytes: 5 << 20,
        counters: Counters { instructions: Some(15), ..Counters::default() },
        host: Host { kernel: "6.1.0".into(), logical_cores: Some(2), quota_cores: Some(1.5), ..Host::default() },
        coverage: Coverage {
            scheduler: Rung::Schedstat,
            refusals: vec![Refusal {
                source: "perf".into(),
                why: WhyNot::LockedMemory { mlock_kib: 516, limit_kib: 64 },
            }],
            lost_records: 9,
        },
    }
}

/// A trace in bytes, as `profile --record` leaves it.
fn written(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).expect("a vector takes everything");
    for event in events {
        writer.event(event).expect("a vector takes everything");
    }
    writer.finish(&footer()).expect("a vector takes everything")
}

/// All events that can be had, and the error that ended them.
fn events(bytes: &[u8]) -> (Vec<Event>, Option<TraceError>) {
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut seen = Vec::new();
    while let Some(event) = reader.next() {
        match event {
            Ok(event) => seen.push(event),
            Err(error) => {
                assert!(reader.footer().is_none(), "a trace that ends in an error has no footer");
                assert!(reader.next().is_none(), "an error is the end");
                return (seen, Some(error));
            }
        }
    }
    assert!(reader.footer().is_some(), "a trace that ends well has a footer");
    (seen, None)
}

fn read(bytes: &[u8]) -> Result<Trace, TraceError> {
    let mut reader = Reader::open(bytes)?;
    let events = (&mut reader).collect::<Result<Vec<_>, _>>()?;
    let footer = reader.footer().expect("it ended well").clone();
    Ok(Trace { header: reader.header().clone(), events, footer })
}

fn switches(count: u64) -> Vec<Event> {
    let ids = Ids { pid: 4242, tid: 4243 };
    (0..count).map(|at| Event::SwitchIn { at: Timestamp(1_000_000_000 + at * 1000), ids }).collect()
}

fn program(argv: Vec<String>) -> Event {
    Event::Program { at: Timestamp(1), pid: 2, parent: 1, exe: Some("/usr/bin/python3".into()), argv }
}

fn note(detail: String) -> Event {
    let fact = AgentFact::Note { stage: None, code: "shared-state".into(), detail };
    Event::Agent { at: Timestamp(1), pid: 2, fact }
}

/// A stage all of whose texts are this one.
fn defined(text: String) -> Event {
    let definition = StageDefinition {
        stage: 3,
        kind: TaskKind::Function,
        executor: RunsUnder::Process,
        workers: Some(2),
        name: text.clone(),
        module: text.clone(),
        file: text.clone(),
        line: Some(7),
        pool: text.clone(),
        start_method: Some(text),
    };
    Event::Agent { at: Timestamp(1), pid: 2, fact: AgentFact::Stage(Box::new(definition)) }
}

fn gil(runs: usize) -> Event {
    let run = GilRun { holder: GilHolder::Nobody, reads: 1 };
    Event::Gil { at: Timestamp(1), pid: 2, sample: GilSample { runs: vec![run; runs], length: Span(1) } }
}

fn refused(why: String) -> Event {
    Event::Interpreter { at: Timestamp(1), pid: 2, version: (3, 11, 2), gil: GilAccess::Refused(why) }
}

prop_compose! {
    fn at()(nanos: u64) -> Timestamp { Timestamp(nanos) }
}

prop_compose! {
    fn ids()(pid: u32, tid: u32) -> Ids { Ids { pid, tid } }
}

prop_compose! {
    fn span()(nanos: u64) -> Span { Span(nanos) }
}

prop_compose! {
    fn thread_reading()(
        on_cpu in option::of(span()), run_delay in option::of(span()), voluntary: Option<u64>,
        involuntary: Option<u64>, started in option::of(at()), slices: Option<u64>, active: Option<bool>,
    ) -> ThreadReading {
        ThreadReading { on_cpu, run_delay, slices, voluntary, involuntary, started, active }
    }
}

prop_compose! {
    fn process_reading()(
        cpu in (option::of(span()), option::of(span())),
        memory: (Option<u64>, Option<u64>, Option<u32>),
        chars: (Option<u64>, Option<u64>),
        disk: (Option<u64>, Option<u64>),
        standard: (Option<u64>, Option<u64>),
    ) -> ProcessReading {
        ProcessReading {
            cpu_user: cpu.0, cpu_system: cpu.1,
            rss_bytes: memory.0, rss_peak_bytes: memory.1, threads: memory.2,
            read_chars: chars.0, written_chars: chars.1,
            disk_read_bytes: disk.0, disk_written_bytes: disk.1,
            stdin_bytes: standard.0, stdout_bytes: standard.1,
        }
    }
}

prop_compose! {
    fn task_end()(
        wall in span(), cpu in option::of(span()), tasks: u32, failed: bool, slice: bool, unbegun: bool,
    ) -> TaskEnd {
        TaskEnd { wall, cpu, tasks, failed, slice, unbegun }
    }
}

prop_compose! {
    fn totals()(
        counts: (u64, u64, u64, u64, u64), spans in (span(), span(), span()),
        others: (u64, u64, u64, u64), estimated: bool,
    ) -> TaskTotals {
        TaskTotals {
            count: counts.0, failed: counts.1, timed: counts.2, cpu_timed: counts.3, queue_timed: counts.4,
            wall: spans.0, cpu: spans.1, queue: spans.2,
            queue_most: others.0, unretrieved: others.1, begun: others.2, cancelled: others.3, estimated,
        }
    }
}

fn any_of<T: Copy + std::fmt::Debug, const N: usize>(all: [T; N]) -> impl Strategy<Value = T> {
    (0..N).prop_map(move |index| all[index])
}

prop_compose! {
    fn definition()(
        stage: u16,
        kind in any_of([TaskKind::Function, TaskKind::Coroutine, TaskKind::Mark, TaskKind::Named]),
        executor in any_of([
            RunsUnder::Unknown, RunsUnder::Serial, RunsUnder::Thread, RunsUnder::Process, RunsUnder::Interpreter,
            RunsUnder::Asyncio,
        ]),
        numbers: (Option<u32>, Option<u32>),
        texts in (".{0,20}", ".{0,20}", ".{0,20}", ".{0,20}", option::of(".{0,10}")),
    ) -> StageDefinition {
        let (workers, line) = numbers;
        let (name, module, file, pool, start_method) = texts;
        StageDefinition { stage, kind, executor, workers, name, module, file, line, pool, start_method }
    }
}

fn gil_access() -> impl Strategy<Value = GilAccess> {
    prop_oneof![
        Just(GilAccess::Read),
        Just(GilAccess::Absent),
        Just(GilAccess::Several),
        ".{0,20}".prop_map(GilAccess::Refused),
    ]
}

fn gil_sample() -> impl Strategy<Value = GilSample> {
    let holder =
        prop_oneof![Just(GilHolder::Nobody), any::<u32>().prop_map(GilHolder::Thread), Just(GilHolder::Unknown)];
    let run = (holder, any::<u16>()).prop_map(|(holder, reads)| GilRun { holder, reads });
    (vec(run, 1..6), span()).prop_map(|(runs, length)| GilSample { runs, length })
}

/// Every variant of `AgentFact`; the match is here so that a new variant cannot be forgotten.
fn fact() -> impl Strategy<Value = AgentFact> {
    fn listed(fact: &AgentFact) {
        match fact {
            AgentFact::Began { .. } | AgentFact::Stage(_) | AgentFact::Totals { .. } => {}
            AgentFact::Coroutine { .. } | AgentFact::Queue { .. } | AgentFact::Payload { .. } => {}
            AgentFact::Stall { .. } | AgentFact::Note { .. } | AgentFact::Cost { .. } => {}
        }
    }
    let coroutine = (any::<u16>(), span(), span(), span(), any::<u32>(), any::<bool>());
    let direction = any_of([Direction::Argument, Direction::Result]);
    let payload = (direction, any::<u64>(), span(), option::of(span()), any::<bool>());
    let payload = payload.prop_map(|(direction, bytes, pickle, unpickle, extrapolated)| PayloadReading {
        direction,
        bytes,
        pickle,
        unpickle,
        extrapolated,
    });
    let began = (any::<u32>(), any::<bool>(), any::<bool>());
    prop_oneof![
        began.prop_map(|(hexversion, free_threaded, forked)| AgentFact::Began { hexversion, free_threaded, forked }),
        definition().prop_map(|definition| AgentFact::Stage(Box::new(definition))),
        (any::<u16>(), totals()).prop_map(|(stage, totals)| AgentFact::Totals { stage, totals: Box::new(totals) }),
        coroutine.prop_map(|(stage, wall, own, ready, slices, failed)| AgentFact::Coroutine {
            stage,
            wall,
            own,
            ready,
            slices,
            failed,
        }),
        (any::<u16>(), any::<u64>(), any::<u64>()).prop_map(|(stage, depth, workers)| AgentFact::Queue {
            stage,
            depth,
            workers
        }),
        (any::<u16>(), payload).prop_map(|(stage, reading)| AgentFact::Payload { stage, reading }),
        (any::<u16>(), span()).prop_map(|(stage, length)| AgentFact::Stall { stage, length }),
        (any::<Option<u16>>(), ".{0,20}", ".{0,60}").prop_map(|(stage, code, detail)| AgentFact::Note {
            stage,
            code,
            detail
        }),
        (span(), any::<u64>()).prop_map(|(spent, dropped)| AgentFact::Cost { spent, dropped }),
    ]
    .prop_map(|fact| {
        listed(&fact);
        fact
    })
}

fn thread_stack() -> impl Strategy<Value = ThreadStack> {
    let call = (".{0,20}", ".{0,20}", any::<Option<u32>>());
    let call = call.prop_map(|(function, file, line)| StackCall { function, file, line });
    (any::<Option<u32>>(), vec(call, 0..5)).prop_map(|(tid, calls)| ThreadStack { tid, calls })
}

/// Every variant of `Event`; the match is here so that a new variant cannot be forgotten.
fn event() -> impl Strategy<Value = Event> {
    fn listed(event: &Event) {
        match event {
            Event::SwitchIn { .. } | Event::SwitchOut { .. } | Event::Fork { .. } | Event::Exit { .. } => {}
            Event::Exec { .. } | Event::Program { .. } | Event::Lost { .. } | Event::SwitchesEnd { .. } => {}
            Event::Thread { .. } | Event::Process { .. } | Event::Waiting { .. } | Event::Gone { .. } => {}
            Event::Stopped { .. } | Event::Continued { .. } | Event::HostIdle { .. } => {}
            Event::Interpreter { .. } | Event::Gil { .. } => {}
            Event::TaskBegin { .. } | Event::TaskEnd { .. } | Event::Agent { .. } | Event::Stacks { .. } => {}
            Event::Descriptors { .. } | Event::MemoryKills { .. } | Event::TimesOut { .. } => {}
            Event::Zombie { .. } | Event::Reaped { .. } => {}
        }
    }
    let why = prop_oneof![Just(SwitchOut::Preempted), Just(SwitchOut::Blocked)];
    let on = (0..Blocking::ALL.len()).prop_map(|index| Blocking::ALL[index]);
    let ends = prop_oneof![span().prop_map(TimeOut::After), at().prop_map(TimeOut::At)];
    let program = (at(), any::<u32>(), any::<u32>(), option::of(".{0,40}"), vec(".{0,40}", 0..8));
    let process = (at(), any::<u32>(), any::<Option<u32>>(), process_reading());
    let idle = (at(), 0.0..=1.0, option::of(span()));
    let interpreter = (at(), any::<u32>(), any::<(u8, u8, u8)>(), gil_access());
    let begin = (at(), ids(), any::<u16>(), option::of(span()), any::<bool>());
    prop_oneof![
        (at(), ids()).prop_map(|(at, ids)| Event::SwitchIn { at, ids }),
        (at(), ids(), why).prop_map(|(at, ids, why)| Event::SwitchOut { at, ids, why }),
        (at(), ids(), ids()).prop_map(|(at, ids, parent)| Event::Fork { at, ids, parent }),
        (at(), ids()).prop_map(|(at, ids)| Event::Exit { at, ids }),
        (at(), ids(), ".{0,15}").prop_map(|(at, ids, name)| Event::Exec { at, ids, name }),
        program.prop_map(|(at, pid, parent, exe, argv)| Event::Program { at, pid, parent, exe, argv }),
        (at(), any::<u64>()).prop_map(|(at, records)| Event::Lost { at, records }),
        at().prop_map(|at| Event::SwitchesEnd { at }),
        (at(), ids(), thread_reading()).prop_map(|(at, ids, reading)| Event::Thread { at, ids, reading }),
        process.prop_map(|(at, pid, parent, reading)| Event::Process { at, pid, parent, reading }),
        (at(), ids(), on).prop_map(|(at, ids, on)| Event::Waiting { at, ids, on }),
        (at(), ids()).prop_map(|(at, ids)| Event::Gone { at, ids }),
        at().prop_map(|at| Event::Stopped { at }),
        at().prop_map(|at| Event::Continued { at }),
        idle.prop_map(|(at, share, throttled)| Event::HostIdle { at, share, throttled }),
        interpreter.prop_map(|(at, pid, version, gil)| Event::Interpreter { at, pid, version, gil }),
        (at(), any::<u32>(), gil_sample()).prop_map(|(at, pid, sample)| Event::Gil { at, pid, sample }),
        begin.prop_map(|(at, ids, stage, queued, slice)| Event::TaskBegin { at, ids, stage, queued, slice }),
        (at(), ids(), any::<u16>(), task_end()).prop_map(|(at, ids, stage, end)| Event::TaskEnd {
            at,
            ids,
            stage,
            end
        }),
        (at(), any::<u32>(), fact()).prop_map(|(at, pid, fact)| Event::Agent { at, pid, fact }),
        (at(), any::<u32>(), vec(thread_stack(), 0..4)).prop_map(|(at, pid, stacks)| Event::Stacks { at, pid, stacks }),
        (at(), any::<u32>(), any::<u32>()).prop_map(|(at, pid, open)| Event::Descriptors { at, pid, open }),
        (at(), any::<u64>()).prop_map(|(at, kills)| Event::MemoryKills { at, kills }),
        (at(), ids(), at()).prop_map(|(at, Ids { pid, tid: parent }, since)| Event::Zombie { at, pid, parent, since }),
        (at(), any::<u32>()).prop_map(|(at, pid)| Event::Reaped { at, pid }),
        (at(), ids(), ends).prop_map(|(at, ids, ends)| Event::TimesOut { at, ids, ends }),
    ]
    .prop_map(|event| {
        listed(&event);
        event
    })
}

/// A source that gives a few bytes at a time, as a pipe may.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(7);
        self.0.read(&mut into[..count])
    }
}

proptest! {
    #[test]
    fn every_event_is_read_back(wanted in vec(event(), 0..200)) {
        let trace = read(&written(&wanted)).expect("what was written can be read");
        prop_assert_eq!(trace, Trace { header: header(), events: wanted, footer: footer() });
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(events(&bytes).1.is_some());
        let behind_magic = [b"poolpick-trace\n\x01\x00".as_slice(), &bytes].concat();
        prop_assert!(events(&behind_magic).1.is_some());
    }

    /// The checksum is made right, so that the decoder itself meets the bytes.
    #[test]
    fn arbitrary_payloads_never_panic(kind in 1u8..=5, payload in vec(any::<u8>(), 0..2000)) {
        let mut bytes = written(&[]);
        bytes.truncate(behind_header(&bytes));
        bytes.extend(framed(kind, &payload));
        prop_assert!(events(&bytes).1.is_some());
    }

    #[test]
    fn a_changed_byte_never_panics(wanted in vec(event(), 0..20), place: prop::sample::Index, flip in 1u8..) {
        let mut bytes = written(&wanted);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        // What an older format says is in this one too.
        prop_assume!(place != 15 || bytes[15] != 1);
        let (seen, error) = events(&bytes);
        prop_assert!(error.is_some(), "a change at byte {} went unnoticed", place);
        prop_assert!(wanted.starts_with(&seen));
    }
}

fn prices() -> Prices {
    let byte = BytePrice { parent: 1e-10, worker: 2e-10, pipe: 3e-10 };
    Prices {
        tasks: Some(Ok(TaskPrices {
            thread_dispatch: 2e-5,
            process_parent: 1e-4,
            process_worker: 6e-5,
            process_idle: 2e-4,
            asyncio_dispatch: 1e-5,
            gil_handover: 0.0,
            argument: byte,
            result: byte,
            pickling: Some(PicklePrices {
                fixed: 1e-6,
                least_dumps: 1e-10,
                least_loads: 1e-10,
                dear_dumps: 1e-8,
                dear_loads: 2e-8,
            }),
            noisy: true,
        })),
        payloads: Some(Err("no interpreter".into())),
    }
}

/// The trace with prices behind it.
fn priced(mut trace: Vec<u8>, prices: &Prices) -> Vec<u8> {
    append_prices(&mut trace, prices).expect("a vector takes everything");
    trace
}

/// The prices of a trace that is whole.
fn read_prices(bytes: &[u8]) -> Result<Option<Prices>, TraceError> {
    let mut reader = Reader::open(bytes)?;
    (&mut reader).collect::<Result<Vec<_>, _>>()?;
    assert!(reader.footer().is_some());
    Ok(reader.prices().cloned())
}

#[test]
fn prices_follow_the_footer_or_do_not() {
    let plain = written(&switches(3));
    assert_eq!(read_prices(&plain).expect("it is whole"), None);
    let whole = priced(plain.clone(), &prices());
    assert_eq!(read_prices(&whole).expect("it is whole"), Some(prices()));
    assert_eq!(events(&whole).0.len(), 3);
    for length in plain.len() + 1..whole.len() {
        let error = read_prices(&whole[..length]).expect_err("the prices are cut off");
        assert!(matches!(error, TraceError::Truncated { events: 3, .. }), "{length}: {error}");
    }
    let twice = priced(whole.clone(), &prices());
    assert!(matches!(read_prices(&twice), Err(TraceError::Malformed { flaw: Flaw::Trailing, .. })));
    // The first format knew none of it, and is still read.
    let old = |mut bytes: Vec<u8>| {
        bytes[15] = 1;
        read_prices(&bytes)
    };
    assert_eq!(old(plain).expect("an old trace"), None);
    assert!(matches!(old(whole), Err(TraceError::Malformed { flaw: Flaw::Trailing, .. })));
}

#[test]
fn prices_that_cannot_be_are_not_believed() {
    let plain = written(&[]);
    for price in [-1e-9, f64::NAN, f64::INFINITY, 101.0] {
        let payloads = PayloadPrices {
            fixed: 1e-6,
            per_byte: price,
            interpreter: "python3".into(),
            version: "3.11".into(),
            noisy: false,
        };
        let bytes = priced(plain.clone(), &Prices { tasks: None, payloads: Some(Ok(payloads)) });
        assert!(matches!(read_prices(&bytes), Err(TraceError::Malformed { flaw: Flaw::Price, .. })), "{price}");
    }
    let long = Prices { tasks: Some(Err("x".repeat(1 << 20))), payloads: None };
    let kept = read_prices(&priced(plain.clone(), &long)).expect("it is cut when it is written");
    assert!(kept.is_some_and(|kept| kept.tasks.is_some_and(|tasks| tasks.is_err_and(|why| why.len() == 8 << 10))));
    let believed = postcard::to_stdvec(&Prices { tasks: Some(Err("x".repeat(100_000))), payloads: None }).unwrap();
    let bytes = [plain.as_slice(), &framed(4, &believed)].concat();
    assert!(matches!(read_prices(&bytes), Err(TraceError::Malformed { flaw: Flaw::LongString(100_000), .. })));
    let padded = [plain.as_slice(), &framed(4, &[0; 50])].concat();
    assert!(matches!(read_prices(&padded), Err(TraceError::Malformed { flaw: Flaw::Trailing, .. })));
}

proptest! {
    #[test]
    fn arbitrary_prices_never_panic(payload in vec(any::<u8>(), 0..300)) {
        let bytes = [written(&[]).as_slice(), &framed(4, &payload)].concat();
        let _ = read_prices(&bytes);
    }
}

/// Where the block behind the header's begins.
fn behind_header(bytes: &[u8]) -> usize {
    17 + 9 + length_at(bytes, 17)
}

/// The payload length of the block that begins at `place`.
fn length_at(bytes: &[u8], place: usize) -> usize {
    u32::from_le_bytes(bytes[place + 1..place + 5].try_into().expect("four bytes")) as usize
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    let crc = crc32fast::hash(&[&[kind], length.as_slice(), payload].concat());
    [&[kind], length.as_slice(), &crc.to_le_bytes(), payload].concat()
}

#[test]
fn a_cut_at_any_byte_gives_the_complete_blocks_and_truncated() {
    let wanted = switches(40_000);
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    wanted[..3].iter().for_each(|event| writer.event(event).unwrap());
    writer.flush().unwrap();
    wanted[3..5].iter().for_each(|event| writer.event(event).unwrap());
    let small = writer.finish(&footer()).unwrap();
    for length in 0..small.len() {
        let (seen, error) = events(&small[..length]);
        let Some(TraceError::Truncated { events, offset }) = error else { panic!("{length}: {error:?}") };
        assert_eq!((events, offset), (seen.len() as u64, length as u64));
        assert!([0, 3, 5].contains(&seen.len()) && wanted.starts_with(&seen), "{length}: {} events", seen.len());
    }
    assert_eq!(events(&small).0.len(), 5);

    let large = written(&wanted);
    let (seen, error) = events(&large[..large.len() - 1]);
    assert_eq!(seen.len(), wanted.len(), "only the footer is missing");
    let text = error.expect("it is cut").to_string();
    assert!(text.contains("`40000` events") && text.contains(&format!("byte `{}`", large.len() - 1)), "{text}");
}

#[test]
fn blocks_stay_small_and_a_dribbling_source_is_enough() {
    let wanted = switches(100_000);
    let bytes = written(&wanted);
    let (mut place, mut blocks) = (17, 0);
    while place < bytes.len() {
        let length = length_at(&bytes, place);
        assert!(length <= 64 << 10);
        place += 9 + length;
        blocks += 1;
    }
    assert!(blocks > 10, "{blocks}");
    let read: Vec<Event> = Reader::open(Dribble(&bytes)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, wanted);
}

/// How many kinds a type has, by their numbers in a trace: an unknown number is refused before anything behind it is read.
fn kinds<T: serde::de::DeserializeOwned>() -> u8 {
    let is_known = |number: &u8| {
        let read = postcard::from_bytes::<T>(&[*number]);
        matches!(read, Ok(_) | Err(postcard::Error::DeserializeUnexpectedEnd))
    };
    (0..=u8::MAX).take_while(is_known).count() as u8
}

#[test]
fn a_new_kind_raises_the_format() {
    let format = u16::from_le_bytes([written(&[])[15], written(&[])[16]]);
    let kinds = [
        ("Event", kinds::<Event>()),
        ("AgentFact", kinds::<AgentFact>()),
        ("Blocking", kinds::<Blocking>()),
        ("SwitchOut", kinds::<SwitchOut>()),
        ("GilAccess", kinds::<GilAccess>()),
        ("RunsUnder", kinds::<RunsUnder>()),
        ("TaskKind", kinds::<TaskKind>()),
        ("TimeOut", kinds::<TimeOut>()),
        ("WhyNot", kinds::<WhyNot>()),
    ];
    let known = [
        ("Event", 26),
        ("AgentFact", 9),
        ("Blocking", 11),
        ("SwitchOut", 2),
        ("GilAccess", 4),
        ("RunsUnder", 6),
        ("TaskKind", 4),
        ("TimeOut", 2),
        ("WhyNot", 17),
    ];
    assert_eq!(
        (format, kinds),
        (4, known),
        "an older reader must say that the trace is newer: raise `FORMAT` with each kind"
    );
}

#[test]
fn magic_and_version_are_checked() {
    let good = written(&switches(2));

    let text = Reader::open(b"{\"schema\": \"0.1\"}\x1b[2J".as_slice()).unwrap_err().to_string();
    assert!(text.contains("not a poolpick trace: it begins with `{\\\"schema\\\": \\\"0.1`"), "{text}");
    assert!(text.contains("hint:"), "{text}");

    let mut newer = good.clone();
    newer[15] = 7;
    let error = Reader::open(newer.as_slice()).unwrap_err();
    assert!(matches!(&error, TraceError::NewerFormat { found: 7, written_by: Some(version) } if version == "0.1.0"));
    assert!(error.to_string().contains("format version `7`, written by poolpick `0.1.0`"), "{error}");
    newer.truncate(20);
    let error = Reader::open(newer.as_slice()).unwrap_err();
    assert!(matches!(&error, TraceError::NewerFormat { found: 7, written_by: None }));
}

#[test]
fn damage_is_told_with_its_block() {
    let mut bytes = written(&switches(2));
    let place = behind_header(&bytes);
    bytes[place + 12] ^= 1;
    assert!(matches!(events(&bytes).1, Some(TraceError::Damaged { offset, .. }) if offset == place as u64));
    bytes[place + 4] = 1;
    let error = events(&bytes).1.expect("16 MiB is too much");
    assert!(matches!(error, TraceError::TooLarge { offset, .. } if offset == place as u64), "{error}");
}

#[test]
fn misplaced_blocks_and_trailing_bytes_are_malformed() {
    let good = written(&switches(2));
    let first = behind_header(&good);
    let header_again = [&good[..first], &good[17..first]].concat();
    let no_header = [&good[..17], &good[first..]].concat();
    let trailing = [good.as_slice(), b"\n"].concat();
    let padded_footer = [&good[..first], &framed(3, &[0; 500])].concat();
    let unknown_kind = [&good[..first], &framed(9, b"")].concat();
    for bytes in [header_again, no_header, trailing, padded_footer, unknown_kind] {
        let error = events(&bytes).1;
        assert!(matches!(error, Some(TraceError::Malformed { .. })), "{error:?}");
    }
}

#[test]
fn implausible_strings_and_lists_are_malformed() {
    let start = written(&[]);
    let start = &start[..behind_header(&start)];
    let cases = [
        (program(vec!["x".repeat((64 << 10) + 1)]), "a string has `65537` bytes"),
        (program(vec![String::new(); 4097]), "a list has `4097` entries"),
        (note("x".repeat((64 << 10) + 1)), "a string has `65537` bytes"),
        (defined("x".repeat((64 << 10) + 1)), "a string has `65537` bytes"),
        (gil(4097), "a list has `4097` entries"),
        (refused("x".repeat((64 << 10) + 1)), "a string has `65537` bytes"),
    ];
    for (event, words) in cases {
        let payload = postcard::to_stdvec(&event).unwrap();
        let bytes = [start, framed(2, &payload).as_slice()].concat();
        let error = events(&bytes).1.expect("it is implausible");
        assert!(matches!(error, TraceError::Malformed { offset, .. } if offset == start.len() as u64 + 9), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn what_is_too_long_to_be_read_is_cut_when_written() {
    let long = "ü".repeat(100_000);
    let ids = Ids { pid: 1, tid: 1 };
    let wanted = [
        program(vec!["python3".into(), long.clone(), "lost".into()]),
        program(vec!["a".into(); 100_000]),
        Event::Program { at: Timestamp(1), pid: 2, parent: 1, exe: Some(long.clone()), argv: vec!["x".into(); 4096] },
        Event::Exec { at: Timestamp(1), ids, name: long.clone() },
        defined(long.clone()),
        note(long.clone()),
        refused(long.clone()),
        gil(100_000),
    ];
    let argv_header = Header { argv: vec![long.clone(); 3], version: long, ..header() };
    let mut writer = Writer::new(Vec::new(), &argv_header).unwrap();
    wanted.iter().for_each(|event| writer.event(event).unwrap());
    let trace = read(&writer.finish(&footer()).unwrap()).expect("it was cut to what is believed");
    assert_eq!(trace.header.argv.len(), 1);
    let Event::Program { argv, .. } = &trace.events[0] else { panic!("the order changed") };
    assert_eq!((argv.len(), argv[0].as_str()), (2, "python3"));
    assert!(argv[1].len() > 30_000 && argv[1].chars().all(|letter| letter == 'ü'));
    let Event::Program { argv, .. } = &trace.events[1] else { panic!("the order changed") };
    assert_eq!(argv.len(), 4096);
    let Event::Agent { fact: AgentFact::Stage(stage), .. } = &trace.events[4] else { panic!("the order changed") };
    assert!(stage.name.len() > 4096 && stage.start_method.as_ref().is_some_and(|method| method.len() > 4096));
    assert_eq!((stage.stage, stage.workers, stage.line), (3, Some(2), Some(7)));
    let Event::Gil { sample, .. } = &trace.events[7] else { panic!("the order changed") };
    assert_eq!(sample.runs.len(), 4096);
}

/// A disk with this much room left.
struct Disk(usize);

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.0);
        self.0 -= count;
        if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_full_disk_the_recording_is_over() {
    let mut writer = Writer::new(Disk(1000), &header()).unwrap();
    let event = &switches(1)[0];
    while writer.event(event).is_ok() {}
    writer.event(event).unwrap();
    assert!(writer.flush().unwrap_err().to_string().contains("earlier error"));
}
