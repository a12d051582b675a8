//! The recorded trace as a file: written and read as a stream, in bounded memory, through io traits alone.
//!
//! ```text
//! "poolpick-trace\n"  version u16 LE  block*
//! block = kind u8 | payload length u32 LE | crc32 u32 LE (of kind, length and payload) | payload
//! kind  = 1 header (first, once) | 2 events, back to back | 3 footer (last of the run, once)
//!         4 prices (since version 2: behind the footer, once or not at all)
//! ```
//!
//! Values are encoded with postcard. Every later format keeps two things: this frame, and the version of poolpick as
//! the first field of the header, so that an older poolpick can say who wrote what it cannot read.
//! What is read may come from anyone: no length is believed before it is checked. Must not open files, and must not
//! judge what the events say.

use super::{AgentFact, Event, Footer, GilAccess, GilSample, Header, Prices, StackCall, StageDefinition, ThreadStack};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::iter::FusedIterator;
use thiserror::Error;

const MAGIC: &[u8; 15] = b"poolpick-trace\n";
/// Raised with every kind of event that is added, so that an older reader says that the trace is newer, not that it is broken.
const FORMAT: u16 = 4;
/// From this format on prices may follow.
const WITH_PRICES: u16 = 2;
const FRAME: usize = 9;
/// The largest payload that is written.
const WRITE_LIMIT: usize = 64 << 10;
/// The largest payload that is read; room for a later writer.
const READ_LIMIT: u32 = 1 << 20;
/// The longest string that is believed.
const STRING_LIMIT: usize = 64 << 10;
/// The longest argument vector, list of refusals or burst of readings that is believed.
const LIST_LIMIT: usize = 4096;
/// What of an argument vector is kept: with a path and 4096 length fields it still fits one block.
const ARGV_BUDGET: usize = 32 << 10;
/// What of any other string is kept; paths have at most 4 KiB, and a stage has five of them.
const TEXT_BUDGET: usize = 8 << 10;

/// Stacks of a process that are kept, and the innermost calls of each.
const STACKS: usize = 256;
/// These calls.
const STACK_CALLS: usize = 24;

const HEADER: u8 = 1;
const EVENTS: u8 = 2;
const FOOTER: u8 = 3;
const PRICES: u8 = 4;

/// Why a trace cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The first bytes are not a trace's.
    #[error(
        "this is not a poolpick trace: it begins with `{}`\n\
         hint: record one with `poolpick profile --record FILE -- CMD…`",
        .start.escape_ascii()
    )]
    NotATrace {
        /// The first bytes, at most as many as the magic has.
        start: Vec<u8>,
    },
    /// A later poolpick wrote it.
    #[error(
        "the trace has format version `{found}`, written by poolpick {}; this poolpick {} reads up to `{FORMAT}`\n\
         hint: read it with the poolpick that wrote it, or a newer one",
        .written_by.as_deref().map_or("of unknown version".into(), |version| format!("`{}`", version.escape_debug())),
        env!("CARGO_PKG_VERSION")
    )]
    NewerFormat {
        /// The format version in the file.
        found: u16,
        /// The version of poolpick in its header, where it could be made out.
        written_by: Option<String>,
    },
    /// It ends before its footer, as when poolpick was killed. All complete blocks have been read.
    #[error(
        "the trace is cut off at byte `{offset}`: `{events}` events could be read, how the run ended is not known\n\
         hint: record it again, and let poolpick end by itself"
    )]
    Truncated {
        /// Events read before the end.
        events: u64,
        /// Length of what is there.
        offset: u64,
    },
    /// A block does not match its checksum.
    #[error(
        "the trace is damaged: the block at byte `{offset}` has checksum `{found:08x}`, not `{stored:08x}`\n\
         hint: copy the file again, or record it again"
    )]
    Damaged {
        /// Where the block begins.
        offset: u64,
        /// What its frame says.
        stored: u32,
        /// What its bytes give.
        found: u32,
    },
    /// The bytes are whole, but make no sense.
    #[error(
        "the trace is malformed at byte `{offset}`: {flaw}\nhint: record it again; if that does not help, report it"
    )]
    Malformed {
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        flaw: Flaw,
    },
    /// A block claims to be larger than any that poolpick writes.
    #[error(
        "the trace's block at byte `{offset}` claims `{length}` bytes, more than the {READ_LIMIT} allowed\n\
         hint: copy the file again, or record it again"
    )]
    TooLarge {
        /// Where the block begins.
        offset: u64,
        /// What its frame claims.
        length: u32,
    },
    /// The source could not be read.
    #[error("the trace cannot be read at byte `{offset}`: {source}")]
    Io {
        /// How far reading had come.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// What makes no sense in a trace whose bytes are whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Flaw {
    /// The value cannot be decoded.
    #[error("a value cannot be decoded ({0})")]
    Encoding(postcard::Error),
    /// A header or footer is followed by more in its block, or the footer by more in the file.
    #[error("something follows where nothing may")]
    Trailing,
    /// A block of a kind that has no place here.
    #[error("a block of kind `{0}` has no place here")]
    MisplacedBlock(u8),
    /// A string that no instrument reports.
    #[error("a string has `{0}` bytes, more than {STRING_LIMIT}")]
    LongString(usize),
    /// A list that no instrument reports.
    #[error("a list has `{0}` entries, more than {LIST_LIMIT}")]
    LongList(usize),
    /// A price that no calibration finds.
    #[error("a price is negative, not finite or above any that can be")]
    Price,
}

/// Writes a trace, a block of at most 64 KiB at a time.
///
/// Argument vectors of more than 32 KiB keep their beginning. After an error the recording is over: what was written
/// so far reads as a truncated trace.
pub struct Writer<W> {
    output: W,
    /// Frame and payload of the block under construction.
    block: Vec<u8>,
    /// Where its payload ends.
    end: usize,
    broken: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a trace: writes magic, version and header at once.
    pub fn new(output: W, header: &Header) -> io::Result<Writer<W>> {
        let mut writer = Writer { output, block: vec![0; FRAME + WRITE_LIMIT], end: FRAME, broken: false };
        writer.output.write_all(MAGIC)?;
        writer.output.write_all(&FORMAT.to_le_bytes())?;
        let fitted = Header {
            version: fit_text(&header.version).to_owned(),
            argv: fit_argv(&header.argv).into_owned(),
            started_at: fit_text(&header.started_at).to_owned(),
            ..header.clone()
        };
        writer.encode(&fitted).map_err(unwritable)?;
        writer.seal(HEADER)?;
        Ok(writer)
    }

    /// Adds an event; it reaches the output when its block is full, flushed or finished.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        let fitted = fit_event(event);
        match self.encode(&*fitted) {
            Err(postcard::Error::SerializeBufferFull) if self.end > FRAME => {
                self.seal(EVENTS)?;
                self.encode(&*fitted).map_err(unwritable)
            }
            result => result.map_err(unwritable),
        }
    }

    /// Hands the events so far to the output: what a kill could still take away is what comes after.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.end > FRAME {
            self.seal(EVENTS)?;
        }
        self.output.flush()
    }

    /// Ends the trace with its footer and gives the output back.
    pub fn finish(mut self, footer: &Footer) -> io::Result<W> {
        self.flush()?;
        self.encode(footer).map_err(unwritable)?;
        self.seal(FOOTER)?;
        self.output.flush()?;
        Ok(self.output)
    }

    /// Encodes behind what the block holds; leaves the block as it was on an error.
    fn encode<T: Serialize>(&mut self, value: &T) -> Result<(), postcard::Error> {
        self.end += postcard::to_slice(value, &mut self.block[self.end..])?.len();
        Ok(())
    }

    /// Frames the block, writes it in one go, and begins the next.
    fn seal(&mut self, kind: u8) -> io::Result<()> {
        let end = std::mem::replace(&mut self.end, FRAME);
        if std::mem::replace(&mut self.broken, true) {
            return Err(io::Error::other("the recording ended with an earlier error"));
        }
        let length = ((end - FRAME) as u32).to_le_bytes();
        let crc = checksum(kind, length, &self.block[FRAME..end]);
        self.block[0] = kind;
        self.block[1..5].copy_from_slice(&length);
        self.block[5..FRAME].copy_from_slice(&crc.to_le_bytes());
        self.output.write_all(&self.block[..end])?;
        self.broken = false;
        Ok(())
    }
}

/// Puts the prices that a run was judged by behind its trace, whose footer is written.
///
/// # Errors
/// The output's own.
pub fn append_prices(output: &mut impl Write, prices: &Prices) -> io::Result<()> {
    let fitted = prices.fitted(|text| fit_text(text).to_owned());
    let payload = postcard::to_stdvec(&fitted).map_err(unwritable)?;
    let length = (payload.len() as u32).to_le_bytes();
    let mut block = vec![PRICES];
    block.extend(length);
    block.extend(checksum(PRICES, length, &payload).to_le_bytes());
    block.extend(payload);
    output.write_all(&block)?;
    output.flush()
}

/// Reads a trace: an iterator of its events in the order written, then `footer`.
///
/// A trace that is cut off yields the events of all complete blocks before `TraceError::Truncated`. After an error the
/// iterator is at its end.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    format: u16,
    header: Header,
    footer: Option<Footer>,
    prices: Option<Prices>,
    payload: Vec<u8>,
    /// The next event in `payload`.
    position: usize,
    /// Bytes taken from the input.
    offset: u64,
    events: u64,
    done: bool,
}

impl<R: Read> Reader<R> {
    /// Checks magic and version and reads the header.
    pub fn open(mut input: R) -> Result<Reader<R>, TraceError> {
        let mut start = Vec::with_capacity(MAGIC.len() + 2);
        let mut offset = take(&mut input, (MAGIC.len() + 2) as u64, &mut start, 0)?;
        if !MAGIC.starts_with(&start[..start.len().min(MAGIC.len())]) {
            start.truncate(MAGIC.len());
            return Err(TraceError::NotATrace { start });
        }
        let Some(&[low, high]) = start.get(MAGIC.len()..) else {
            return Err(TraceError::Truncated { events: 0, offset });
        };
        let found = u16::from_le_bytes([low, high]);
        if found == 0 {
            return Err(TraceError::NotATrace { start });
        }

        let mut payload = Vec::new();
        let began = offset;
        let kind = block(&mut input, &mut payload, &mut offset);
        if found > FORMAT {
            let version = kind.ok().and_then(|_| postcard::take_from_bytes::<String>(&payload).ok());
            let written_by = version.map(|(version, _)| version).filter(|version| version.len() <= 64);
            return Err(TraceError::NewerFormat { found, written_by });
        }
        match kind? {
            Some(HEADER) => {}
            Some(kind) => return Err(TraceError::Malformed { offset: began, flaw: Flaw::MisplacedBlock(kind) }),
            None => return Err(TraceError::Truncated { events: 0, offset }),
        }
        let header = whole::<Header>(&payload)
            .and_then(|header| check_header(&header).map(|()| header))
            .map_err(|flaw| TraceError::Malformed { offset: began, flaw })?;
        payload.clear();
        let format = found;
        Ok(Reader {
            input,
            format,
            header,
            footer: None,
            prices: None,
            payload,
            position: 0,
            offset,
            events: 0,
            done: false,
        })
    }

    /// What was known before the first event.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was known after the last event: there once the iterator has come to its end without an error.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// The prices that the run was judged by, where they were kept: there as soon as the footer is.
    pub fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// The next event; `None` once the footer has been read.
    fn advance(&mut self) -> Result<Option<Event>, TraceError> {
        while self.position == self.payload.len() {
            let began = self.offset;
            let malformed = |flaw| TraceError::Malformed { offset: began, flaw };
            self.position = 0;
            match block(&mut self.input, &mut self.payload, &mut self.offset)? {
                Some(EVENTS) => {}
                Some(FOOTER) => {
                    let footer = whole::<Footer>(&self.payload).map_err(malformed)?;
                    check_footer(&footer).map_err(malformed)?;
                    self.prices = self.priced()?;
                    self.footer = Some(footer);
                    return Ok(None);
                }
                Some(kind) => return Err(malformed(Flaw::MisplacedBlock(kind))),
                None => return Err(TraceError::Truncated { events: self.events, offset: self.offset }),
            }
        }
        let rest = &self.payload[self.position..];
        let offset = self.offset - rest.len() as u64;
        let (event, after) = postcard::take_from_bytes::<Event>(rest)
            .map_err(Flaw::Encoding)
            .and_then(|(event, after)| check_event(&event).map(|()| (event, after)))
            .map_err(|flaw| TraceError::Malformed { offset, flaw })?;
        self.position = self.payload.len() - after.len();
        self.events += 1;
        Ok(Some(event))
    }

    /// Nothing may follow the footer but prices, and behind these nothing at all.
    fn priced(&mut self) -> Result<Option<Prices>, TraceError> {
        let end = self.offset;
        let trailing = |offset| TraceError::Malformed { offset, flaw: Flaw::Trailing };
        self.payload.clear();
        if take(&mut self.input, 1, &mut self.payload, end)? == 0 {
            return Ok(None);
        }
        if self.format < WITH_PRICES || self.payload.first() != Some(&PRICES) {
            return Err(trailing(end));
        }
        let malformed = |flaw| TraceError::Malformed { offset: end, flaw };
        let mut rest = (&[PRICES][..]).chain(&mut self.input);
        if block(&mut rest, &mut self.payload, &mut self.offset)?.is_none() {
            return Err(TraceError::Truncated { events: self.events, offset: self.offset });
        }
        let prices = whole::<Prices>(&self.payload).map_err(malformed)?;
        prices.texts().try_for_each(check_text).map_err(malformed)?;
        if !prices.are_plausible() {
            return Err(malformed(Flaw::Price));
        }
        self.payload.clear();
        match take(&mut self.input, 1, &mut self.payload, self.offset)? {
            0 => Ok(Some(prices)),
            _ => Err(trailing(self.offset)),
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let result = self.advance().transpose();
        self.done = !matches!(result, Some(Ok(_)));
        result
    }
}

impl<R: Read> FusedIterator for Reader<R> {}

/// Reads one block's payload; its kind, or `None` where the input ends before the block does.
fn block(input: &mut impl Read, payload: &mut Vec<u8>, offset: &mut u64) -> Result<Option<u8>, TraceError> {
    let began = *offset;
    payload.clear();
    *offset += take(input, FRAME as u64, payload, began)?;
    let &[kind, l0, l1, l2, l3, c0, c1, c2, c3] = payload.as_slice() else {
        payload.clear();
        return Ok(None);
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    payload.clear();
    if length > READ_LIMIT {
        return Err(TraceError::TooLarge { offset: began, length });
    }
    *offset += take(input, u64::from(length), payload, *offset)?;
    if payload.len() as u64 != u64::from(length) {
        payload.clear();
        return Ok(None);
    }
    let found = checksum(kind, [l0, l1, l2, l3], payload);
    if found != stored {
        return Err(TraceError::Damaged { offset: began, stored, found });
    }
    Ok(Some(kind))
}

/// Appends up to `length` bytes to `into`, fewer where the input ends; allocates only for what is there.
fn take(input: &mut impl Read, length: u64, into: &mut Vec<u8>, offset: u64) -> Result<u64, TraceError> {
    match input.take(length).read_to_end(into) {
        Ok(count) => Ok(count as u64),
        Err(source) => Err(TraceError::Io { offset, source }),
    }
}

fn checksum(kind: u8, length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Decodes a value that fills its block.
fn whole<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Flaw> {
    match postcard::take_from_bytes(payload).map_err(Flaw::Encoding)? {
        (value, []) => Ok(value),
        _ => Err(Flaw::Trailing),
    }
}

fn check_header(header: &Header) -> Result<(), Flaw> {
    check_text(&header.version)?;
    check_text(&header.started_at)?;
    check_argv(&header.argv)
}

fn check_event(event: &Event) -> Result<(), Flaw> {
    match event {
        Event::Exec { name, .. } => check_text(name),
        Event::Program { exe, argv, .. } => exe.as_deref().map_or(Ok(()), check_text).and_then(|()| check_argv(argv)),
        Event::Interpreter { gil: GilAccess::Refused(why), .. } => check_text(why),
        Event::Gil { sample, .. } => check_count(sample.runs.len()),
        Event::Agent { fact: AgentFact::Stage(definition), .. } => {
            texts(definition).into_iter().flatten().try_for_each(check_text)
        }
        Event::Agent { fact: AgentFact::Note { code, detail, .. }, .. } => {
            check_text(code).and_then(|()| check_text(detail))
        }
        Event::Stacks { stacks, .. } => {
            check_count(stacks.len())?;
            stacks.iter().try_for_each(|stack| check_count(stack.calls.len()))?;
            let mut calls = stacks.iter().flat_map(|stack| &stack.calls);
            calls.try_for_each(|call| check_text(&call.function).and_then(|()| check_text(&call.file)))
        }
        _ => Ok(()),
    }
}

fn texts(definition: &StageDefinition) -> [Option<&str>; 5] {
    let StageDefinition { name, module, file, pool, start_method, .. } = definition;
    [Some(name), Some(module), Some(file), Some(pool), start_method.as_deref()]
}

fn check_footer(footer: &Footer) -> Result<(), Flaw> {
    let refusals = &footer.coverage.refusals;
    check_count(refusals.len())?;
    check_text(&footer.host.kernel)?;
    refusals.iter().try_for_each(|refusal| check_text(&refusal.source))
}

fn check_argv(argv: &[String]) -> Result<(), Flaw> {
    check_count(argv.len())?;
    argv.iter().try_for_each(|argument| check_text(argument))
}

fn check_count(count: usize) -> Result<(), Flaw> {
    if count > LIST_LIMIT { Err(Flaw::LongList(count)) } else { Ok(()) }
}

fn check_text(text: &str) -> Result<(), Flaw> {
    if text.len() > STRING_LIMIT { Err(Flaw::LongString(text.len())) } else { Ok(()) }
}

/// The event as it fits a block: only texts of the target, its arguments and bursts of readings can be too long.
fn fit_event(event: &Event) -> Cow<'_, Event> {
    match event {
        Event::Exec { at, ids, name } if name.len() > TEXT_BUDGET => {
            Cow::Owned(Event::Exec { at: *at, ids: *ids, name: fit_text(name).to_owned() })
        }
        Event::Program { at, pid, parent, exe, argv } => {
            let argv = fit_argv(argv);
            if matches!(argv, Cow::Borrowed(_)) && exe.as_ref().is_none_or(|exe| exe.len() <= TEXT_BUDGET) {
                return Cow::Borrowed(event);
            }
            let exe = exe.as_deref().map(|exe| fit_text(exe).to_owned());
            Cow::Owned(Event::Program { at: *at, pid: *pid, parent: *parent, exe, argv: argv.into_owned() })
        }
        Event::Interpreter { at, pid, version, gil: GilAccess::Refused(why) } if why.len() > TEXT_BUDGET => {
            let gil = GilAccess::Refused(fit_text(why).to_owned());
            Cow::Owned(Event::Interpreter { at: *at, pid: *pid, version: *version, gil })
        }
        Event::Gil { at, pid, sample } if sample.runs.len() > LIST_LIMIT => {
            let sample = GilSample { runs: sample.runs[..LIST_LIMIT].to_vec(), length: sample.length };
            Cow::Owned(Event::Gil { at: *at, pid: *pid, sample })
        }
        Event::Agent { at, pid, fact } => match fit_fact(fact) {
            Some(fact) => Cow::Owned(Event::Agent { at: *at, pid: *pid, fact }),
            None => Cow::Borrowed(event),
        },
        Event::Stacks { at, pid, stacks } => {
            let stacks = fit_stacks(stacks);
            Cow::Owned(Event::Stacks { at: *at, pid: *pid, stacks })
        }
        _ => Cow::Borrowed(event),
    }
}

/// A fact of the agent with its texts cut; `None` where nothing is too long.
fn fit_fact(fact: &AgentFact) -> Option<AgentFact> {
    let long = |text: &str| text.len() > TEXT_BUDGET;
    let fit = |text: &str| fit_text(text).to_owned();
    match fact {
        AgentFact::Stage(definition) if texts(definition).into_iter().flatten().any(long) => {
            let StageDefinition { name, module, file, pool, start_method, .. } = &**definition;
            Some(AgentFact::Stage(Box::new(StageDefinition {
                name: fit(name),
                module: fit(module),
                file: fit(file),
                pool: fit(pool),
                start_method: start_method.as_deref().map(fit),
                ..**definition
            })))
        }
        AgentFact::Note { stage, code, detail } if long(code) || long(detail) => {
            Some(AgentFact::Note { stage: *stage, code: fit(code), detail: fit(detail) })
        }
        _ => None,
    }
}

/// As many stacks, calls and letters of them as fit.
fn fit_stacks(stacks: &[ThreadStack]) -> Vec<ThreadStack> {
    let mut left = ARGV_BUDGET;
    let mut fit = |text: &str| {
        let kept = &text[..text.floor_char_boundary(left.min(TEXT_BUDGET))];
        left -= kept.len();
        kept.to_owned()
    };
    let mut call =
        |call: &StackCall| StackCall { function: fit(&call.function), file: fit(&call.file), line: call.line };
    let mut few = |stack: &ThreadStack| stack.calls.iter().take(STACK_CALLS).map(&mut call).collect();
    stacks.iter().take(STACKS).map(|stack| ThreadStack { tid: stack.tid, calls: few(stack) }).collect()
}

/// The beginning of a text that is too long.
fn fit_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BUDGET)]
}

/// The leading arguments, the last of them cut, of a vector that is too long.
fn fit_argv(argv: &[String]) -> Cow<'_, [String]> {
    if argv.len() <= LIST_LIMIT && argv.iter().map(String::len).sum::<usize>() <= ARGV_BUDGET {
        return Cow::Borrowed(argv);
    }
    let mut left = ARGV_BUDGET;
    let mut kept = Vec::new();
    for argument in argv.iter().take(LIST_LIMIT) {
        let cut = argument.floor_char_boundary(left);
        kept.push(argument[..cut].to_owned());
        left -= cut;
        if cut < argument.len() {
            break;
        }
    }
    Cow::Owned(kept)
}

fn unwritable(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("a value does not fit a block of the trace ({error})"))
}
