//! The agent's channel: its bytes decoded, its file followed while it is written. Must not run poolpick or the agent.

mod channel;

use channel::{Image, NOW, PID, Record, begins, stage_body, text};
use poolpick::observe::agent::layout::{self, Place};
use poolpick::observe::agent::{Follower, Moment, NoChannel, Pages};
use poolpick::trace::{
    AgentFact, Direction, Event, Ids, PayloadReading, RunsUnder, StageDefinition, TaskEnd, TaskKind, TaskTotals,
};
use poolpick::units::{Span, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::RefCell;
use std::io;

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

#[test]
fn every_field_of_the_contract_is_told() {
    let mut image = Image::of(PID);
    image.stage(3, "etl.parse");
    let note = [&3u16.to_le_bytes()[..], &[0; 2], &text("shared-state"), &text("`etl.SEEN`")].concat();
    image.define(2, &note);
    image.define(2, &[&0xFFFFu16.to_le_bytes()[..], &[0; 2], &text("a"), &text("")].concat());
    image.define(77, b"of a later agent");
    image.slot(3, [100, 1, 90, 5000, 80, 4000, 70, 3000, 6, 9, 2, 101, 1, 4, 0, 0]);
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
        begun: 101,
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
