//! The agent's channel: its bytes decoded, its files followed, the directory read as hostile. Files are written here; must
//! not run poolpick or the agent.

use poolpick::observe::agent::layout::{self, Place};
use poolpick::observe::agent::{Follower, Home, Moment, NoChannel, Pages, Reader};
use poolpick::trace::{
    AgentFact, Direction, Event, Ids, PayloadReading, RunsUnder, StageDefinition, TaskEnd, TaskKind, TaskTotals,
};
use poolpick::units::{Span, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const PID: u32 = 4_194_000;

/// A file as the agent writes it.
struct Image {
    bytes: Vec<u8>,
    sequence: u64,
    definitions: usize,
}

impl Image {
    fn of(pid: u32) -> Image {
        let mut image = Image { bytes: vec![0; layout::FILE as usize], sequence: 0, definitions: 0 };
        image.put(0, b"PPAGENT1");
        image.put(8, &1u32.to_le_bytes());
        image.put(12, &pid.to_le_bytes());
        image.put(16, &1000u64.to_le_bytes());
        image.put(24, &0x030b_02f0_u32.to_le_bytes());
        image.put(28, &2u32.to_le_bytes());
        image
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn define(&mut self, kind: u16, body: &[u8]) {
        let mut bytes = [kind.to_le_bytes(), [0; 2]].concat();
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.put(layout::DEFINITIONS as usize + self.definitions, &bytes);
        self.definitions += bytes.len();
        self.put(32, &(self.definitions as u32).to_le_bytes());
    }

    fn stage(&mut self, stage: u16, name: &str) {
        self.define(1, &stage_body(stage, name));
        self.put(36, &(u32::from(stage) + 1).to_le_bytes());
    }

    fn record(&mut self, record: Record) {
        self.sequence += 1;
        let at = layout::place(self.sequence) as usize;
        self.put(at, &record.bytes(self.sequence));
        self.put(40, &self.sequence.to_le_bytes());
    }

    fn slot(&mut self, stage: usize, words: [u64; 16]) {
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.put(layout::SLOTS as usize + stage * layout::SLOT, &bytes);
    }
}

impl Pages for Image {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.as_slice().read_at(into, offset)
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

fn stage_body(stage: u16, name: &str) -> Vec<u8> {
    let mut body = stage.to_le_bytes().to_vec();
    body.extend([0, 3]);
    body.extend(4u32.to_le_bytes());
    body.extend(17u32.to_le_bytes());
    for word in [name, "etl", "/etl.py", "concurrent.futures.ProcessPoolExecutor", "spawn"] {
        body.extend(text(word));
    }
    body
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    kind: u8,
    flags: u8,
    stage: u16,
    tid: u32,
    x: u32,
    at: u64,
    a: u64,
    b: u64,
    y: u32,
}

impl Record {
    fn begin(at: u64) -> Record {
        Record { kind: 1, tid: 7, at, ..Record::default() }
    }

    fn bytes(self, sequence: u64) -> Vec<u8> {
        let number = (sequence as u32).to_le_bytes();
        let mut bytes = number.to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stage.to_le_bytes());
        bytes.extend(self.tid.to_le_bytes());
        bytes.extend(self.x.to_le_bytes());
        for long in [self.at, self.a, self.b] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend(self.y.to_le_bytes());
        bytes.extend(number);
        assert_eq!(bytes.len(), layout::RECORD);
        bytes
    }
}

/// Late enough for everything here.
const NOW: u64 = 1 << 40;

fn read_at(
    follower: &mut Follower,
    pages: &impl Pages,
    open_from: u64,
    now: u64,
) -> (Result<bool, NoChannel>, Vec<Event>) {
    let mut events = Vec::new();
    let moment = Moment { now: Timestamp(now), open_from: Timestamp(open_from), last: false };
    let result = follower.read(pages, moment, &mut |event| events.push(event));
    (result, events)
}

/// Reads as a run would; later calls are later.
fn read(follower: &mut Follower, pages: &impl Pages) -> Vec<Event> {
    let (result, events) = read_at(follower, pages, 0, NOW);
    result.expect("it is a channel");
    events
}

fn begins(events: &[Event]) -> Vec<u64> {
    let begin = |event: &Event| matches!(event, Event::TaskBegin { .. }).then(|| event.at().0);
    events.iter().filter_map(begin).collect()
}

#[test]
fn every_field_of_the_contract_is_told() {
    let mut image = Image::of(PID);
    image.stage(3, "etl.parse");
    let note = [&3u16.to_le_bytes()[..], &[0; 2], &text("shared-state"), &text("`etl.SEEN`")].concat();
    image.define(2, &note);
    image.define(2, &[&0xFFFFu16.to_le_bytes()[..], &[0; 2], &text("a"), &text("")].concat());
    image.define(77, b"of a later agent");
    image.slot(3, [100, 1, 90, 5000, 80, 4000, 70, 3000, 6, 9, 2, 1, 1, 4, 0, 0]);
    image.put(48, &5u64.to_le_bytes());
    image.put(56, &6u64.to_le_bytes());
    let of = |kind, flags, x, a, b, y| Record { kind, flags, stage: 3, tid: 7, x, at: 2000 + u64::from(kind), a, b, y };
    for record in [
        of(1, 8, 0, 501, 0, 1),
        of(2, 1 | 4 | 8, 0, 301, 400, 2),
        of(3, 1, 5, 900, 100, 6),
        of(4, 0, 0, 12, 2, 0),
        of(5, 16, 33, 1 << 20, 44, 0),
        of(6, 0, 0, 10, 55, 0),
        of(7, 0, 0, 60, 0, 0),
        of(1, 0, 0, 0, 0, 1),
    ] {
        image.record(record);
    }
    let definition = StageDefinition {
        stage: 3,
        kind: TaskKind::Function,
        executor: RunsUnder::Process,
        workers: Some(4),
        name: "etl.parse".into(),
        module: "etl".into(),
        file: "/etl.py".into(),
        line: Some(17),
        pool: "concurrent.futures.ProcessPoolExecutor".into(),
        start_method: Some("spawn".into()),
    };
    let totals = TaskTotals {
        count: 100,
        failed: 1,
        timed: 90,
        wall: Span(5000),
        cpu_timed: 80,
        cpu: Span(4000),
        queue_timed: 70,
        queue: Span(3000),
        queue_most: 9,
        unretrieved: 2,
        running: 1,
        estimated: true,
        cancelled: 4,
    };
    let ids = Ids { pid: PID, tid: 7 };
    let told = |at, fact| Event::Agent { at: Timestamp(at), pid: PID, fact };
    let end = TaskEnd { wall: Span(400), cpu: Some(Span(300)), tasks: 2, failed: true, slice: true, unbegun: true };
    let payload = |direction, bytes, pickle, unpickle, extrapolated| AgentFact::Payload {
        stage: 3,
        reading: PayloadReading { direction, bytes, pickle: Span(pickle), unpickle, extrapolated },
    };
    let coroutine =
        AgentFact::Coroutine { stage: 3, wall: Span(900), own: Span(100), ready: Span(5000), slices: 6, failed: true };
    let note = |stage, code: &str, detail: &str| AgentFact::Note { stage, code: code.into(), detail: detail.into() };
    let began = AgentFact::Began { hexversion: 0x030b_02f0, free_threaded: false, forked: true };
    let begin = |at, queued, slice| Event::TaskBegin { at: Timestamp(at), ids, stage: 3, queued, slice };
    let wanted = [
        told(1000, began),
        told(1000, AgentFact::Stage(Box::new(definition))),
        told(1000, note(Some(3), "shared-state", "`etl.SEEN`")),
        told(1000, note(None, "a", "")),
        begin(2001, Some(Span(500)), true),
        Event::TaskEnd { at: Timestamp(2002), ids, stage: 3, end },
        told(2003, coroutine),
        told(2004, AgentFact::Queue { stage: 3, depth: 12, workers: 2 }),
        told(2005, payload(Direction::Argument, 1 << 20, 44, Some(Span(33)), true)),
        told(2006, payload(Direction::Result, 10, 55, None, false)),
        told(2007, AgentFact::Stall { stage: 3, length: Span(60) }),
        begin(2001, None, false),
        told(NOW, AgentFact::Totals { stage: 3, totals: Box::new(totals) }),
        told(NOW, AgentFact::Cost { spent: Span(6), dropped: 5 }),
    ];
    let mut follower = Follower::new(PID);
    assert_eq!(read(&mut follower, &image), wanted);
    assert_eq!(read(&mut follower, &image), [], "nothing is told twice");
    assert_eq!((follower.lost(), follower.late()), (0, 0));
}

#[test]
fn an_overtaken_reader_knows_how_much_it_lost() {
    let mut image = Image::of(PID);
    let mut follower = Follower::new(PID);
    (1..=3).for_each(|at| image.record(Record::begin(2000 + at)));
    assert_eq!(begins(&read(&mut follower, &image)), [2001, 2002, 2003]);
    (4..=4099).for_each(|at| image.record(Record::begin(2000 + at)));
    assert_eq!(begins(&read(&mut follower, &image)).len(), 4096, "a full ring is no loss");
    (4100..=14_099).for_each(|at| image.record(Record::begin(2000 + at)));
    let seen = begins(&read(&mut follower, &image));
    assert!(seen.iter().copied().eq(2000 + 10_004..=2000 + 14_099), "{} from {:?}", seen.len(), seen.first());
    assert_eq!(follower.lost(), 10_000 - 4096);
    // The numbers' low halves go round, and a sequence may jump to the end of its range.
    image.sequence = u64::from(u32::MAX) - 2;
    (0..5).for_each(|at| image.record(Record::begin(50_000 + at)));
    assert_eq!(begins(&read(&mut follower, &image)), [50_000, 50_001, 50_002, 50_003, 50_004]);
    image.put(40, &(u64::MAX - 5000).to_le_bytes());
    assert_eq!(begins(&read(&mut follower, &image)), [] as [u64; 0]);
    for _ in 0..5 {
        read(&mut follower, &image);
    }
    assert!(follower.lost() > 1 << 60);
}

/// Gives the image as it is, and changes it after so many readings.
struct Changing<F>(RefCell<(Image, usize)>, F);

impl<F: Fn(&mut Image, usize)> Pages for Changing<F> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let (image, count) = &mut *self.0.borrow_mut();
        *count += 1;
        (self.1)(image, *count);
        image.read_at(into, offset)
    }
}

#[test]
fn a_record_that_is_being_written_waits_for_its_end() {
    let mut image = Image::of(PID);
    (1..=3).for_each(|at| image.record(Record::begin(2000 + at)));
    // A thread was interrupted in the middle of record 2: its second number is not there.
    let place = layout::place(2) as usize;
    image.put(place + 44, &[0; 4]);
    let mut follower = Follower::new(PID);
    assert_eq!(begins(&read(&mut follower, &image)), [2001, 2003]);
    assert_eq!(begins(&read(&mut follower, &image)), [] as [u64; 0]);
    image.put(place + 44, &2u32.to_le_bytes());
    assert_eq!(begins(&read(&mut follower, &image)), [2002], "it is told when it is whole");

    // It never is: then it is lost, and looked for no more.
    image.record(Record::begin(2004));
    image.put(layout::place(4) as usize, &[9; 4]);
    (0..8).for_each(|_| assert_eq!(begins(&read(&mut follower, &image)), [] as [u64; 0]));
    assert_eq!(follower.lost(), 1);
}

#[test]
fn a_record_that_changes_between_two_readings_is_not_believed() {
    let mut image = Image::of(PID);
    (1..=3).for_each(|at| image.record(Record::begin(2000 + at)));
    // Its numbers are right at both times, what is between them is not the same.
    let pages = Changing(RefCell::new((image, 0)), |image: &mut Image, count| {
        let place = layout::place(2) as usize;
        image.put(place + 24, &(count as u64).min(6).to_le_bytes());
    });
    let mut follower = Follower::new(PID);
    let (mut seen, mut rounds) = (Vec::new(), 0);
    while seen.len() < 3 && rounds < 4 {
        seen.extend(begins(&read(&mut follower, &pages)));
        rounds += 1;
    }
    assert_eq!(seen, [2001, 2003, 2002]);
}

#[test]
fn half_written_definitions_wait() {
    let mut image = Image::of(PID);
    image.stage(0, "etl.first");
    let whole = image.definitions;
    image.stage(1, "etl.second");
    let mut follower = Follower::new(PID);
    let stages = |events: &[Event]| {
        let stage = |event: &Event| match event {
            Event::Agent { fact: AgentFact::Stage(stage), .. } => Some(stage.name.clone()),
            _ => None,
        };
        events.iter().filter_map(stage).collect::<Vec<_>>()
    };
    for cut in whole + 1..image.definitions {
        image.put(32, &(cut as u32).to_le_bytes());
        let seen = stages(&read(&mut follower, &image));
        assert_eq!(seen, if cut == whole + 1 { vec!["etl.first"] } else { vec![] }, "{cut}");
    }
    image.put(32, &(image.definitions as u32).to_le_bytes());
    assert_eq!(stages(&read(&mut follower, &image)), ["etl.second"]);
    // A count that is more than there is room for, and bodies that make no sense.
    image.define(1, &stage_body(127, "etl.too_many"));
    image.define(1, b"short");
    image.define(2, &[0xFF; 9]);
    image.stage(2, &"ü".repeat(9000));
    image.put(32, &u32::MAX.to_le_bytes());
    let seen = stages(&read(&mut follower, &image));
    assert_eq!(seen.len(), 1);
    assert!(seen[0].len() <= 4096 && seen[0].chars().all(|letter| letter == 'ü'), "{}", seen[0].len());
    assert!(follower.lost() >= 3, "{}", follower.lost());
}

#[test]
fn times_that_cannot_be_are_brought_to_where_they_can() {
    let mut image = Image::of(PID);
    for at in [0, 4999, 5000, 6000, 9000, 9001, u64::MAX] {
        image.record(Record::begin(at));
    }
    let mut follower = Follower::new(PID);
    let (result, events) = read_at(&mut follower, &image, 5000, 9000);
    assert_eq!(result, Ok(true));
    assert_eq!(begins(&events), [5000, 5000, 5000, 6000, 9000, 9000, 9000]);
    assert!(events.iter().all(|event| (5000..=9000).contains(&event.at().0)));
    assert_eq!(follower.late(), 2);
}

#[test]
fn a_file_that_is_no_channel_any_more_is_let_go() {
    let mut image = Image::of(PID);
    image.stage(0, "etl.first");
    image.record(Record::begin(2000));
    let mut cut = Image { bytes: image.bytes.clone(), ..image };
    for length in [0, 1, 63, 64, 0x4000, 0x10000, 0x10010] {
        cut.bytes.truncate(0);
        cut.bytes.extend(&image.bytes[..length]);
        assert_eq!(read_at(&mut Follower::new(PID), &cut, 0, NOW).0, Err(NoChannel), "{length}");
    }
    assert_eq!(read_at(&mut Follower::new(PID + 1), &image, 0, NOW).0, Err(NoChannel), "another's");
    image.put(8, &2u32.to_le_bytes());
    assert_eq!(read_at(&mut Follower::new(PID), &image, 0, NOW).0, Err(NoChannel), "a later layout");
}

fn drawn_record() -> impl Strategy<Value = Record> {
    let words: (BoxedStrategy<u64>, BoxedStrategy<u64>, BoxedStrategy<u64>) =
        (any::<u64>().boxed(), any::<u64>().boxed(), any::<u64>().boxed());
    let head = (any::<u8>(), any::<u8>(), any::<u16>(), any::<u32>());
    (head, words, any::<(u32, u32)>()).prop_map(|((kind, flags, stage, tid), (at, a, b), (x, y))| Record {
        kind,
        flags,
        stage,
        tid,
        x,
        at,
        a,
        b,
        y,
    })
}

/// Reads a file to its end the way a run does; everything it tells.
fn followed(bytes: &[u8]) -> Vec<Event> {
    let mut follower = Follower::new(PID);
    let mut events = Vec::new();
    for round in 0..6 {
        let moment = Moment { now: Timestamp(NOW + round), open_from: Timestamp(round), last: round == 5 };
        if follower.read(bytes, moment, &mut |event| events.push(event)).is_err() {
            break;
        }
    }
    events
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        pieces in vec((0usize..0x40000, vec(any::<u8>(), 1..400)), 0..20),
        header in vec(any::<u8>(), 40), valid: bool,
    ) {
        let mut image = Image::of(PID);
        image.put(24, &header);
        for (at, bytes) in pieces {
            let end = (at + bytes.len()).min(image.bytes.len());
            image.bytes[at..end].copy_from_slice(&bytes[..end - at]);
        }
        if valid {
            image.put(0, &Image::of(PID).bytes[..16]);
        }
        let events = followed(&image.bytes);
        prop_assert!(events.len() <= 2 * 4096 + 6 * 4096, "{} events", events.len());
        prop_assert!(events.iter().all(|event| event.at().0 <= NOW + 5));
    }

    #[test]
    fn definitions_of_arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..3000)) {
        let found = layout::definitions(&bytes);
        prop_assert!(found.read <= bytes.len() && found.facts.len() <= bytes.len() / 8);
        let _ = (layout::totals(&bytes), layout::header(&bytes), layout::event(&bytes, PID, Timestamp(1)));
    }

    #[test]
    fn a_well_formed_file_is_read_whole(records in vec(drawn_record(), 0..300), cuts in vec(0usize..300, 0..5)) {
        let mut image = Image::of(PID);
        image.stage(0, "etl.parse");
        let mut follower = Follower::new(PID);
        let mut seen = Vec::new();
        for (index, record) in records.iter().enumerate() {
            image.record(*record);
            if cuts.contains(&index) {
                seen.extend(read(&mut follower, &image));
            }
        }
        seen.extend(read(&mut follower, &image));
        seen.retain(|event| !matches!(
            event, Event::Agent { fact: AgentFact::Began { .. } | AgentFact::Stage(_) | AgentFact::Cost { .. }, .. }
        ));
        let whole = |record: &Record| layout::event(&record.bytes(1), PID, Timestamp(record.at.min(NOW)));
        let wanted: Vec<Event> = records.iter().filter_map(whole).collect();
        prop_assert_eq!(follower.lost() as usize, records.len() - wanted.len());
        prop_assert_eq!(seen, wanted);
    }

    #[test]
    fn a_place_is_told_by_its_numbers(sequence in 1u64.., ahead in 0u64..1000) {
        let of = |sequence: u64| Record::begin(1).bytes(sequence);
        prop_assert_eq!(layout::standing(&of(sequence), sequence), Place::There);
        let later = sequence.saturating_add((ahead + 1) * 4096);
        if later as u32 != 0 && later as u32 != sequence as u32 {
            prop_assert_eq!(layout::standing(&of(later), sequence), Place::Overtaken);
            prop_assert_eq!(layout::standing(&of(sequence), later), Place::Unfinished);
        }
    }
}

/// A directory with a reader on it.
struct Desk {
    folder: tempfile::TempDir,
    reader: Reader,
    now: u64,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::new(folder.path().to_owned());
        Desk { folder, reader, now: 10_000 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn round(&mut self) -> Vec<Event> {
        // As much later as every look that is due.
        self.now += 100_000_000;
        let mut events = Vec::new();
        let moment = Moment { now: Timestamp(self.now), open_from: Timestamp(0), last: false };
        let own = std::process::id();
        self.reader.round(moment, &mut |pid| pid == own, &mut |event| events.push(event));
        events
    }

    fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let moment = Moment { now: Timestamp(self.now), open_from: Timestamp(0), last: true };
        let own = std::process::id();
        self.reader.finish(moment, &mut |pid| pid == own, &mut |event| events.push(event));
        events
    }

    fn left(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

#[test]
fn what_is_no_channel_is_never_read() {
    let mut desk = Desk::new();
    let own = std::process::id();
    let channel = Image::of(own).bytes;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("file"), &channel).unwrap();
    symlink(elsewhere.path().join("file"), desk.path(&format!("{own}.00000001"))).unwrap();
    let fifo = Command::new("mkfifo").arg(desk.path(&format!("{own}.00000002"))).status().unwrap();
    assert!(fifo.success());
    fs::create_dir(desk.path(&format!("{own}.00000003"))).unwrap();
    fs::write(desk.path(&format!("{own}.00000004")), &channel[..1000]).unwrap();
    fs::write(desk.path(&format!("{own}.00000005")), [&channel[..], b"more"].concat()).unwrap();
    // Process 1 lives and is not the target's; a file that says other than its name.
    fs::write(desk.path("1.00000006"), Image::of(1).bytes).unwrap();
    fs::write(desk.path(&format!("{own}.00000007")), Image::of(own + 1).bytes).unwrap();
    fs::write(desk.path("notes.txt"), &channel).unwrap();
    fs::write(desk.path(&format!("{PID}.00000008")), b"its process died early").unwrap();
    std::os::unix::fs::symlink("/dev/zero", desk.path(&format!("{own}.00000009"))).unwrap();
    for _ in 0..3 {
        assert_eq!(desk.round(), []);
    }
    assert_eq!(desk.reader.open(), 0);
    assert!(desk.reader.presence().rejected >= 6 && desk.reader.presence().channels == 0);
    assert!(elsewhere.path().join("file").exists() && desk.path("notes.txt").exists(), "only entries are removed");
    // What was not ready may become so.
    fs::write(desk.path(&format!("{own}.00000004")), &channel).unwrap();
    assert_eq!(desk.round().len(), 1);
    assert_eq!((desk.reader.open(), desk.reader.presence().channels), (1, 1));
}

#[test]
fn a_file_that_shrinks_is_let_go() {
    let mut desk = Desk::new();
    let own = std::process::id();
    let path = desk.path(&format!("{own}.0000000a"));
    fs::write(&path, Image::of(own).bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(desk.round().len(), 1);
    assert!(!path.exists(), "its name is gone as soon as it is open");
    file.set_len(20).unwrap();
    assert_eq!(desk.round(), []);
    assert_eq!(desk.reader.open(), 0);
}

#[test]
fn a_process_that_is_gone_is_read_to_its_end_and_let_go() {
    let mut desk = Desk::new();
    // No process has this id: it is beyond the kernel's limit, or was not given out yet.
    let mut image = Image::of(PID);
    image.stage(0, "etl.parse");
    image.record(Record::begin(2000));
    image.slot(0, [1; 16]);
    fs::write(desk.path(&format!("{PID}.0000000b")), &image.bytes).unwrap();
    let events = desk.round();
    assert_eq!(begins(&events), [2000]);
    desk.round();
    assert_eq!((desk.reader.open(), desk.left()), (0, 0));
    assert!(desk.reader.presence().processes.contains(&PID));
}

#[test]
fn a_second_file_of_a_process_ends_the_first() {
    let mut desk = Desk::new();
    let own = std::process::id();
    let mut image = Image::of(own);
    let path = desk.path(&format!("{own}.0000000c"));
    fs::write(&path, &image.bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(desk.round().len(), 1);
    // Written last by the program that execs, before the next one's file is found.
    image.record(Record::begin(3000));
    file.write_all_at(&image.bytes, 0).unwrap();
    fs::write(desk.path(&format!("{own}.0000000d")), Image::of(own).bytes).unwrap();
    let events = desk.round();
    assert_eq!(begins(&events), [3000]);
    assert_eq!((desk.reader.open(), desk.reader.presence().channels), (1, 2));
    assert_eq!(desk.reader.presence().processes.len(), 1);
}

#[test]
fn ten_thousand_files_are_read_a_few_at_a_time() {
    let mut desk = Desk::new();
    let junk = 9_000;
    (0..junk).for_each(|index| fs::write(desk.path(&format!("{PID}.{index:08x}")), b"junk").unwrap());
    let images: Vec<u32> = (0..600).map(|index| PID + 1 + index).collect();
    for &pid in &images {
        let file = fs::File::create(desk.path(&format!("{pid}.00000000"))).unwrap();
        file.write_all_at(&Image::of(pid).bytes[..64], 0).unwrap();
        file.set_len(layout::FILE).unwrap();
    }
    (0..400).for_each(|index| fs::write(desk.path(&format!("x{index}")), b"junk").unwrap());
    let mut seen = 0;
    for _ in 0..20 {
        seen += desk.round().len();
        assert!(desk.reader.open() <= 256);
    }
    seen += desk.finish().len();
    assert_eq!(seen, 600, "each began once");
    assert_eq!(desk.left(), 400, "what has no channel's name is not looked at");
    assert_eq!((desk.reader.presence().channels, desk.reader.presence().rejected), (600, junk));
}

#[test]
fn a_home_goes_away_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::make_in(folder.path(), None).unwrap();
    fs::create_dir_all(home.channel().join("a/b/c")).unwrap();
    symlink("/", home.channel().join("root")).unwrap();
    drop(home);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(Path::new("/etc").exists());
}
