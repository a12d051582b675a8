//! How many events a second are decoded and folded, and how much memory the fold holds on to.
//!
//! The records are laid out as the kernel writes them, in a ring that a file stands in for: what is measured is what
//! runs beside a target, from the ring's bytes to the timeline. `cargo bench --bench fold -- memory` measures memory
//! only.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use poolpick::observe::decode;
use poolpick::sys::ring::{RawRecord, Ring, page_size};
use poolpick::timeline::TimelineBuilder;
use poolpick::trace::{Event, Ids, ThreadReading};
use poolpick::units::{Span, Timestamp};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Instant;

const TARGET: u32 = 1_000;
/// The run begins here.
const START: u64 = 1_000_000_000;
/// Data of the ring, as large as the largest that poolpick maps.
const RING_BYTES: usize = 512 << 10;

// linux/perf_event.h.
const EXIT: u32 = 4;
const FORK: u32 = 7;
const SWITCH: u32 = 14;
const SWITCH_OUT: u16 = 1 << 13;
const PREEMPT: u16 = 1 << 14;
const DATA_HEAD: u64 = 1024;
const DATA_TAIL: u64 = 1032;

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benched = std::env::args().any(|argument| argument == "--bench");
    if benched && (filter.is_empty() || filter.iter().any(|word| word == "memory")) {
        memory();
    }
    divan::main();
}

// ---- what is folded --------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// One thread that is switched in and out.
    OneThread,
    /// A hundred threads of one process, one after another.
    HundredThreads,
    /// Threads that are born, run once and end: four records each.
    ShortThreads,
    /// As `ShortThreads`, each in a process of its own.
    ShortProcesses,
}

const SHAPES: [Shape; 4] = [Shape::OneThread, Shape::HundredThreads, Shape::ShortThreads, Shape::ShortProcesses];

/// Writes records of a shape until `bytes` are full; returns how many. `from` numbers the first step.
fn write_records(shape: Shape, bytes: usize, out: &mut Vec<u8>) -> usize {
    let mut count = 0;
    let mut step = 0u64;
    // The largest step writes fewer bytes than this.
    while out.len() + 256 < bytes {
        let at = START + step * 20_000;
        let fresh = TARGET + 1 + (step % 30_000) as u32;
        let ids = match shape {
            Shape::OneThread => (TARGET, TARGET),
            Shape::HundredThreads => (TARGET, TARGET + (step % 100) as u32),
            Shape::ShortThreads => (TARGET, fresh),
            Shape::ShortProcesses => (fresh, fresh),
        };
        let short = matches!(shape, Shape::ShortThreads | Shape::ShortProcesses);
        if short {
            task_record(FORK, ids, (TARGET, TARGET), at, out);
        }
        switch_record(0, ids, at + 1_000, out);
        // One in four is preempted.
        let why = if step.is_multiple_of(4) { SWITCH_OUT | PREEMPT } else { SWITCH_OUT };
        switch_record(why, ids, at + 11_000, out);
        if short {
            task_record(EXIT, ids, (TARGET, TARGET), at + 12_000, out);
        }
        count += if short { 4 } else { 2 };
        step += 1;
    }
    count
}

fn header(kind: u32, misc: u16, body: usize, out: &mut Vec<u8>) {
    out.extend(kind.to_ne_bytes());
    out.extend(misc.to_ne_bytes());
    out.extend((8 + body as u16).to_ne_bytes());
}

fn trailer((pid, tid): (u32, u32), at: u64, out: &mut Vec<u8>) {
    out.extend(pid.to_ne_bytes());
    out.extend(tid.to_ne_bytes());
    out.extend(at.to_ne_bytes());
}

fn switch_record(misc: u16, ids: (u32, u32), at: u64, out: &mut Vec<u8>) {
    header(SWITCH, misc, 16, out);
    trailer(ids, at, out);
}

fn task_record(kind: u32, ids: (u32, u32), parent: (u32, u32), at: u64, out: &mut Vec<u8>) {
    header(kind, 0, 40, out);
    for word in [ids.0, parent.0, ids.1, parent.1] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(at.to_ne_bytes());
    trailer(ids, at, out);
}

fn split(bytes: &[u8]) -> Vec<RawRecord<'_>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let [a, b, c, d, e, f, g, h, ..] = *rest {
        let size = usize::from(u16::from_ne_bytes([g, h]));
        let kind = u32::from_ne_bytes([a, b, c, d]);
        records.push(RawRecord { kind, misc: u16::from_ne_bytes([e, f]), body: &rest[8..size] });
        rest = &rest[size..];
    }
    records
}

fn events(shape: Shape) -> Vec<Event> {
    let mut bytes = Vec::new();
    write_records(shape, RING_BYTES, &mut bytes);
    split(&bytes).into_iter().filter_map(decode).collect()
}

fn builder() -> TimelineBuilder {
    TimelineBuilder::new(Timestamp(START), TARGET)
}

// ---- micro ---------------------------------------------------------------------------------------------------------

#[divan::bench(args = SHAPES)]
fn decode_records(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut bytes = Vec::new();
    write_records(shape, RING_BYTES, &mut bytes);
    let records = split(&bytes);
    bencher.counter(ItemsCount::new(records.len())).bench(|| {
        for &record in black_box(&records) {
            black_box(decode(record));
        }
    });
}

#[divan::bench(args = SHAPES)]
fn fold_events(bencher: Bencher<'_, '_>, shape: Shape) {
    let events = events(shape);
    bencher.counter(ItemsCount::new(events.len())).with_inputs(builder).bench_values(|builder| fold(builder, &events));
}

/// One reading in eight events, which is far more than the sampler takes.
#[divan::bench]
fn fold_events_with_readings(bencher: Bencher<'_, '_>) {
    let mut all = Vec::new();
    for (index, event) in events(Shape::HundredThreads).into_iter().enumerate() {
        let at = event.at();
        if index.is_multiple_of(8) {
            let ids = Ids { pid: TARGET, tid: TARGET + (index as u32 / 8) % 100 };
            let elapsed = Span(at.0 - START);
            let reading = ThreadReading {
                on_cpu: Some(Span(elapsed.0 / 200)),
                run_delay: Some(Span(elapsed.0 / 1_000)),
                voluntary: Some(index as u64),
                ..ThreadReading::default()
            };
            all.push(Event::Thread { at, ids, reading });
        }
        all.push(event);
    }
    bencher.counter(ItemsCount::new(all.len())).with_inputs(builder).bench_values(|builder| fold(builder, &all));
}

/// Decode and fold, record by record.
#[divan::bench(args = SHAPES)]
fn decode_and_fold(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut bytes = Vec::new();
    write_records(shape, RING_BYTES, &mut bytes);
    let records = split(&bytes);
    bencher.counter(ItemsCount::new(records.len())).with_inputs(builder).bench_values(|mut builder| {
        for &record in black_box(&records) {
            if let Some(event) = decode(record) {
                builder.push(&event);
            }
        }
        builder
    });
}

/// All of the way: out of a mapped ring, decoded, put in order of time, folded.
#[divan::bench(args = SHAPES)]
fn ring_to_timeline(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut stand_in = StandIn::new(shape);
    let (mut pending, mut settled) = (Vec::new(), Vec::new());
    let count = stand_in.records;
    bencher.counter(ItemsCount::new(count)).with_inputs(builder).bench_local_values(|builder| {
        stand_in.refill();
        stand_in.ring.drain(|record| pending.extend(decode(record)));
        pending.sort_by_key(Event::at);
        settled.clear();
        settled.append(&mut pending);
        fold(builder, &settled)
    });
}

fn fold(mut builder: TimelineBuilder, events: &[Event]) -> TimelineBuilder {
    for event in black_box(events) {
        builder.push(event);
    }
    builder
}

/// A file of a ring's layout, mapped as one.
struct StandIn {
    file: File,
    ring: Ring,
    filled: u64,
    records: usize,
}

impl StandIn {
    fn new(shape: Shape) -> StandIn {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len((page_size() + RING_BYTES) as u64).expect("room for it");
        let mut bytes = Vec::new();
        let records = write_records(shape, RING_BYTES, &mut bytes);
        file.write_all_at(&bytes, page_size() as u64).expect("room for it");
        let ring = Ring::map(&file, RING_BYTES / page_size()).expect("a file can be mapped");
        StandIn { file, ring, filled: bytes.len() as u64, records }
    }

    /// What the kernel does by writing: the head is ahead of the tail again.
    fn refill(&self) {
        self.file.write_all_at(&0u64.to_ne_bytes(), DATA_TAIL).expect("within the file");
        self.file.write_all_at(&self.filled.to_ne_bytes(), DATA_HEAD).expect("within the file");
    }
}

// ---- memory --------------------------------------------------------------------------------------------------------

fn memory() {
    println!("memory of the fold          events       time     events/s   peak RSS above start");
    measure("a million short threads", || {
        let mut builder = builder();
        let mut count = 0;
        for step in 0..1_000_000u64 {
            count += short_life(&mut builder, step, TARGET);
        }
        (builder, count, 1_000_000 * 20_000)
    });
    measure("a million short processes", || {
        let mut builder = builder();
        let mut count = 0;
        for step in 0..1_000_000u64 {
            count += short_life(&mut builder, step, TARGET + 1 + (step % 30_000) as u32);
        }
        (builder, count, 1_000_000 * 20_000)
    });
    measure("10,000 program names", || {
        let mut builder = builder();
        for step in 0..200_000u64 {
            let (at, pid) = (Timestamp(START + step * 20_000), TARGET + 1 + (step % 30_000) as u32);
            let ids = Ids { pid, tid: pid };
            builder.push(&Event::Fork { at, ids, parent: Ids { pid: TARGET, tid: TARGET } });
            builder.push(&Event::Exec { at, ids, name: format!("stage-{}", step % 10_000) });
            push_turn(&mut builder, ids, at.0 + 1_000, 10_000);
            builder.push(&Event::Exit { at: Timestamp(at.0 + 12_000), ids });
        }
        (builder, 200_000 * 5, 200_000 * 20_000)
    });
    measure("an hour, 5000 switches/s", || {
        let mut builder = builder();
        let (steps, gap) = (3_600 * 5_000u64, 200_000);
        for step in 0..steps {
            let tid = TARGET + (step % 100) as u32;
            push_turn(&mut builder, Ids { pid: TARGET, tid }, START + step * gap, gap);
        }
        (builder, steps * 2, steps * gap)
    });
}

fn short_life(builder: &mut TimelineBuilder, step: u64, pid: u32) -> u64 {
    let at = START + step * 20_000;
    let ids = Ids { pid, tid: TARGET + 1 + (step % 30_000) as u32 };
    builder.push(&Event::Fork { at: Timestamp(at), ids, parent: Ids { pid: TARGET, tid: TARGET } });
    push_turn(builder, ids, at + 1_000, 10_000);
    builder.push(&Event::Exit { at: Timestamp(at + 12_000), ids });
    4
}

fn push_turn(builder: &mut TimelineBuilder, ids: Ids, at: u64, gap: u64) {
    builder.push(&Event::SwitchIn { at: Timestamp(at), ids });
    let why = poolpick::trace::SwitchOut::Blocked;
    builder.push(&Event::SwitchOut { at: Timestamp(at + gap / 2), ids, why });
}

fn measure(name: &str, work: impl FnOnce() -> (TimelineBuilder, u64, u64)) {
    // "5" sets the peak back to what is resident now.
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = status_kib("VmRSS:");
    let began = Instant::now();
    let (builder, count, length) = work();
    let seconds = began.elapsed().as_secs_f64();
    let peak = status_kib("VmHWM:").saturating_sub(before);
    let timeline = builder.finish(Timestamp(START + length));
    let unsure = if reset { "" } else { " (peak of the whole process)" };
    let rate = count as f64 / seconds / 1e6;
    println!("{name:<26} {count:>8} {seconds:>8.2} s {rate:>8.1} M {peak:>12} KiB{unsure}");
    assert!(timeline.threads > 0 && timeline.on_cpu() > 0.0);
    assert!(peak < 16 << 10, "the builder grows with the run: {peak} KiB");
}

fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
