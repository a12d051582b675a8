//! What the bytes of a channel file mean (docs/agent-channel.md): bytes in, facts out. Whoever wrote them may have meant
//! harm: no length, number or text is believed before it is checked. No system call here.

use crate::trace::{
    AgentFact, Direction, Event, Ids, PayloadReading, RunsUnder, StageDefinition, TaskEnd, TaskKind, TaskTotals,
};
use crate::units::{Span, Timestamp};

/// Bytes of a file.
pub const FILE: u64 = 0x40000;
/// Bytes of the header that hold something.
pub const HEADER: usize = 64;
/// Where the stages' slots begin.
pub const SLOTS: u64 = 0x40;
/// Bytes of a slot.
pub const SLOT: usize = 128;
/// Most stages of a file.
pub const STAGES: u16 = 127;
/// Where the definitions begin.
pub const DEFINITIONS: u64 = 0x4000;
/// Room for definitions.
pub const DEFINITIONS_ROOM: u32 = 0xC000;
/// Where the ring begins.
pub const RING: u64 = 0x10000;
/// Places of the ring.
pub const PLACES: u64 = 4096;
/// Bytes of a record.
pub const RECORD: usize = 48;

const MAGIC: &[u8] = b"PPAGENT1";
const VERSION: u32 = 1;
/// Where a definition's text begins to be more than a name or a path: cut there.
const LONGEST_TEXT: usize = 4096;
/// The same of a note's code.
const LONGEST_CODE: usize = 64;
/// Bytes before the body of a definition.
const DEFINITION_HEAD: usize = 8;
/// Stage number of what belongs to none.
const NO_STAGE: u16 = 0xFFFF;

/// The largest count, size or time in nanoseconds that is believed: as a time, two years of one thread.
const MOST: u64 = 1 << 56;

// Flags of the header.
const FREE_THREADED: u32 = 1;
const FORKED: u32 = 2;
// Flags of a record.
const FAILED: u8 = 1;
const UNBEGUN: u8 = 4;
const SLICE: u8 = 8;
const EXTRAPOLATED: u8 = 16;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// The number, or the largest that may be one: so that sums of those of many liars do not overflow.
fn plausible(number: u64) -> u64 {
    number.min(MOST)
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Process id, as the process knows it.
    pub pid: u32,
    /// When the agent began in it.
    pub began: Timestamp,
    /// `sys.hexversion`.
    pub hexversion: u32,
    /// Whether the interpreter has no lock.
    pub free_threaded: bool,
    /// Whether the process was forked without exec.
    pub forked: bool,
    /// Bytes of complete definitions, at most as many as there is room for.
    pub definitions: u32,
    /// Stages defined, at most [`STAGES`].
    pub stages: u16,
    /// Sequence number of the last record.
    pub sequence: u64,
    /// Records and definitions that the agent dropped.
    pub dropped: u64,
    /// What the agent cost.
    pub spent: Span,
}

/// The header, if the file is ready and its layout is the one that is known.
pub fn header(bytes: &[u8]) -> Option<Header> {
    if bytes.get(..8)? != MAGIC || u32_at(bytes, 8)? != VERSION {
        return None;
    }
    let flags = u32_at(bytes, 28)?;
    Some(Header {
        pid: u32_at(bytes, 12)?,
        began: Timestamp(u64_at(bytes, 16)?),
        hexversion: u32_at(bytes, 24)?,
        free_threaded: flags & FREE_THREADED != 0,
        forked: flags & FORKED != 0,
        definitions: u32_at(bytes, 32)?.min(DEFINITIONS_ROOM),
        stages: u32_at(bytes, 36)?.min(u32::from(STAGES)) as u16,
        sequence: u64_at(bytes, 40)?,
        dropped: plausible(u64_at(bytes, 48)?),
        spent: Span(plausible(u64_at(bytes, 56)?)),
    })
}

/// A stage's sums from the bytes of its slot.
pub fn totals(slot: &[u8]) -> Option<TaskTotals> {
    let count = |index: usize| u64_at(slot, index * 8).map(plausible);
    let span = |index: usize| u64_at(slot, index * 8).map(plausible).map(Span);
    Some(TaskTotals {
        count: count(0)?,
        failed: count(1)?,
        timed: count(2)?,
        wall: span(3)?,
        cpu_timed: count(4)?,
        cpu: span(5)?,
        queue_timed: count(6)?,
        queue: span(7)?,
        queue_most: count(9)?,
        unretrieved: count(10)?,
        begun: count(11)?,
        estimated: count(12)? != 0,
        cancelled: count(13)?,
    })
}

/// What complete definitions say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definitions {
    /// Stages and notes, in their order.
    pub facts: Vec<AgentFact>,
    /// Bytes that they take; what is behind them is no complete definition.
    pub read: usize,
    /// Definitions that make no sense.
    pub senseless: u64,
}

/// The definitions in these bytes, which begin with one.
pub fn definitions(bytes: &[u8]) -> Definitions {
    let mut found = Definitions::default();
    while let Some((kind, body, length)) = definition(&bytes[found.read..]) {
        found.read += length;
        match kind {
            1 => match stage(body) {
                Some(stage) => found.facts.push(AgentFact::Stage(Box::new(stage))),
                None => found.senseless += 1,
            },
            2 => match note(body) {
                Some(note) => found.facts.push(note),
                None => found.senseless += 1,
            },
            // Of a later agent.
            _ => {}
        }
    }
    found
}

/// Kind, body and whole length of the definition that these bytes begin with.
fn definition(bytes: &[u8]) -> Option<(u16, &[u8], usize)> {
    let length = usize::try_from(u32_at(bytes, 4)?).ok()?;
    let end = DEFINITION_HEAD.checked_add(length)?;
    let body = bytes.get(DEFINITION_HEAD..end)?;
    let padded = end.checked_next_multiple_of(4)?;
    (padded <= bytes.len()).then_some((u16_at(bytes, 0)?, body, padded))
}

fn stage(body: &[u8]) -> Option<StageDefinition> {
    let stage = u16_at(body, 0).filter(|&stage| stage < STAGES)?;
    let kind = match body.get(2)? {
        0 => TaskKind::Function,
        1 => TaskKind::Coroutine,
        2 => TaskKind::Mark,
        3 => TaskKind::Named,
        _ => return None,
    };
    let executor = match body.get(3)? {
        1 => RunsUnder::Serial,
        2 => RunsUnder::Thread,
        3 => RunsUnder::Process,
        4 => RunsUnder::Interpreter,
        5 => RunsUnder::Asyncio,
        // Also those of a later agent.
        _ => RunsUnder::Unknown,
    };
    let some = |number: u32| (number != 0).then_some(number);
    let (workers, line) = (some(u32_at(body, 4)?), some(u32_at(body, 8)?));
    let mut rest = body.get(12..)?;
    let mut next = || text(&mut rest, LONGEST_TEXT);
    let (name, module, file, pool) = (next()?, next()?, next()?, next()?);
    let start_method = Some(next()?).filter(|method| !method.is_empty());
    Some(StageDefinition { stage, kind, executor, workers, name, module, file, line, pool, start_method })
}

fn note(body: &[u8]) -> Option<AgentFact> {
    let stage = match u16_at(body, 0)? {
        NO_STAGE => None,
        stage if stage < STAGES => Some(stage),
        _ => return None,
    };
    let mut rest = body.get(4..)?;
    let code = text(&mut rest, LONGEST_CODE)?;
    let detail = text(&mut rest, LONGEST_TEXT)?;
    Some(AgentFact::Note { stage, code, detail })
}

/// The text that `rest` begins with, cut to so many bytes; `rest` goes on behind it.
fn text(rest: &mut &[u8], most: usize) -> Option<String> {
    let length = usize::from(u16_at(rest, 0)?);
    let bytes = rest.get(2..2 + length)?;
    *rest = &rest[2 + length..];
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(most));
    Some(text)
}

/// Where record `sequence` stands in the file.
pub fn place(sequence: u64) -> u64 {
    RING + sequence.wrapping_sub(1) % PLACES * RECORD as u64
}

/// What stands in the place of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The record.
    There,
    /// A later one: the reader was overtaken.
    Overtaken,
    /// An earlier one, or one that is being written.
    Unfinished,
}

/// Whether these bytes are record `sequence`.
pub fn standing(bytes: &[u8], sequence: u64) -> Place {
    let wanted = sequence as u32;
    match (u32_at(bytes, 0), u32_at(bytes, 44)) {
        (Some(first), Some(last)) if first == wanted && last == wanted => Place::There,
        // The numbers of one place are a ring's length apart. Half of all numbers are later, the other half earlier.
        (Some(first), Some(last)) if first == last && first != 0 && first.wrapping_sub(wanted) < 1 << 31 => {
            Place::Overtaken
        }
        _ => Place::Unfinished,
    }
}

/// When a record says that it was, which may be any number.
pub fn time(record: &[u8]) -> Timestamp {
    Timestamp(u64_at(record, 16).unwrap_or(0))
}

/// What a record tells, told of process `pid` at `at`; `None` for what makes no sense.
pub fn event(record: &[u8], pid: u32, at: Timestamp) -> Option<Event> {
    let (kind, flags) = (*record.get(4)?, *record.get(5)?);
    let flag = |bit: u8| flags & bit != 0;
    let stage = u16_at(record, 6)?;
    let ids = Ids { pid, tid: u32_at(record, 8)? };
    let (x, y) = (u32_at(record, 12)?, u32_at(record, 40)?);
    let (a, b) = (plausible(u64_at(record, 24)?), plausible(u64_at(record, 32)?));
    // 0 says that it was not measured.
    let measured = |value: u64| value.checked_sub(1).map(Span);
    let told = |fact| Event::Agent { at, pid, fact };
    let known = stage < STAGES;
    Some(match kind {
        1 if known => Event::TaskBegin { at, ids, stage, queued: measured(a), slice: flag(SLICE) },
        2 if known => {
            let (failed, slice, unbegun) = (flag(FAILED), flag(SLICE), flag(UNBEGUN));
            Event::TaskEnd {
                at,
                ids,
                stage,
                end: TaskEnd { wall: Span(b), cpu: measured(a), tasks: y, failed, slice, unbegun },
            }
        }
        3 if known => told(AgentFact::Coroutine {
            stage,
            wall: Span(a),
            own: Span(b),
            ready: Span(u64::from(x) * 1000),
            slices: y,
            failed: flag(FAILED),
        }),
        4 if known => told(AgentFact::Queue { stage, depth: a, workers: b }),
        5 | 6 if known => told(AgentFact::Payload {
            stage,
            reading: PayloadReading {
                direction: if kind == 5 { Direction::Argument } else { Direction::Result },
                bytes: a,
                pickle: Span(b),
                unpickle: (x != 0).then_some(Span(u64::from(x))),
                extrapolated: flag(EXTRAPOLATED),
            },
        }),
        // A callback need not be a stage's.
        7 if known || stage == NO_STAGE => told(AgentFact::Stall { stage, length: Span(a) }),
        _ => return None,
    })
}
