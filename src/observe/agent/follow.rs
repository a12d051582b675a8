//! One process's channel file, followed as it grows: what is new in it becomes events. Reads by position and never maps
//! it: a file that shrinks under a mapping would end poolpick. Must not open, list or remove anything.

use super::layout::{self, DEFINITIONS, HEADER, Header, PLACES, Place, RECORD, SLOT, SLOTS, STAGES};
use crate::trace::{AgentFact, Event, TaskTotals};
use crate::units::{Span, Timestamp};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Time between two readings of a file's sums.
const SUMS_EVERY: Span = Span::from_millis(200);
/// How often a record that was not finished, though a later one was, is looked for again.
const PATIENCE: u8 = 3;
/// Most such records at once: each is one of a thread that was interrupted while it wrote.
const MOST_UNFINISHED: usize = 64;

/// Something to read by position.
pub trait Pages {
    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// Those of reading, also where it ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Pages for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }
}

impl Pages for [u8] {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start.checked_add(into.len()).and_then(|end| self.get(start..end));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// When a file is read.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now. What claims to be later is taken to be of now.
    pub now: Timestamp,
    /// Events before this have been passed on. What claims to be earlier comes too late for its place and is taken to be
    /// of this moment.
    pub open_from: Timestamp,
    /// Whether it is the last time: sums are read whether or not it is their turn.
    pub last: bool,
}

impl Moment {
    fn fit(&self, at: Timestamp) -> Timestamp {
        at.max(self.open_from).min(self.now.max(self.open_from))
    }
}

/// The file turned out not to be a channel, or not one any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoChannel;

/// What is known of a file.
#[derive(Debug)]
pub struct Follower {
    pid: u32,
    told_of: bool,
    /// Bytes of definitions that were read.
    definitions: u32,
    /// The last record that was read.
    sequence: u64,
    /// Records before it that were not finished, and how often each is still looked for.
    unfinished: Vec<(u64, u8)>,
    /// Sums as they were told last, by stage.
    totals: Vec<TaskTotals>,
    cost: (Span, u64),
    sums_due: Timestamp,
    /// Records and definitions that were there and could not be had.
    lost: u64,
    /// Records that came too late for their place in time.
    late: u64,
    scratch: Scratch,
}

/// Memory that is used again.
#[derive(Debug, Default)]
struct Scratch {
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Follower {
    /// Of the file of process `pid`.
    pub fn new(pid: u32) -> Follower {
        Follower {
            pid,
            told_of: false,
            definitions: 0,
            sequence: 0,
            unfinished: Vec::new(),
            totals: Vec::new(),
            cost: (Span(0), 0),
            sums_due: Timestamp(0),
            lost: 0,
            late: 0,
            scratch: Scratch::default(),
        }
    }

    /// Whose file it is.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Records and definitions that were there and could not be had, as far as the reader knows.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Records that came too late for their place in time.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The header, if there is one of this process.
    fn header(&self, pages: &(impl Pages + ?Sized)) -> Option<Header> {
        let mut bytes = [0; HEADER];
        pages.read_at(&mut bytes, 0).ok()?;
        layout::header(&bytes).filter(|header| header.pid == self.pid)
    }

    /// Reads what is new. Returns whether there were records.
    ///
    /// # Errors
    /// Where the file is no channel of this process: then it need not be read again.
    pub fn read(
        &mut self,
        pages: &(impl Pages + ?Sized),
        moment: Moment,
        emit: &mut dyn FnMut(Event),
    ) -> Result<bool, NoChannel> {
        let header = self.header(pages).ok_or(NoChannel)?;
        let began = moment.fit(header.began);
        if !self.told_of {
            self.told_of = true;
            let Header { hexversion, free_threaded, forked, .. } = header;
            let fact = AgentFact::Began { hexversion, free_threaded, forked };
            emit(Event::Agent { at: began, pid: self.pid, fact });
        }
        let mut news = false;
        if header.sequence != self.sequence || header.definitions != self.definitions || !self.unfinished.is_empty() {
            // A number may be read while it is written. It only grows: the smaller one of two readings is no lie. That of
            // the definitions is read after that of the records, so that a stage is defined before its first record.
            let (second, third) = (self.header(pages).ok_or(NoChannel)?, self.header(pages).ok_or(NoChannel)?);
            self.read_definitions(pages, second.definitions.min(third.definitions), began, emit)?;
            news = self.read_records(pages, header.sequence.min(second.sequence), moment, emit)?;
        }
        if moment.last || moment.now >= self.sums_due {
            self.sums_due = moment.now + SUMS_EVERY;
            self.read_sums(pages, moment, emit)?;
        }
        Ok(news)
    }

    fn read_definitions(
        &mut self,
        pages: &(impl Pages + ?Sized),
        end: u32,
        at: Timestamp,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), NoChannel> {
        if end <= self.definitions {
            return Ok(());
        }
        let mut bytes = vec![0; (end - self.definitions) as usize];
        pages.read_at(&mut bytes, DEFINITIONS + u64::from(self.definitions)).map_err(|_| NoChannel)?;
        let found = layout::definitions(&bytes);
        // What is not complete, though it is said to be, may become so.
        self.definitions += found.read as u32;
        self.lost = self.lost.saturating_add(found.senseless);
        for fact in found.facts {
            emit(Event::Agent { at, pid: self.pid, fact });
        }
        Ok(())
    }

    fn read_records(
        &mut self,
        pages: &(impl Pages + ?Sized),
        end: u64,
        moment: Moment,
        emit: &mut dyn FnMut(Event),
    ) -> Result<bool, NoChannel> {
        let mut waiting = std::mem::take(&mut self.unfinished);
        waiting.retain(|(sequence, _)| {
            let kept = end.saturating_sub(*sequence) < PLACES;
            self.lost = self.lost.saturating_add(u64::from(!kept));
            kept
        });
        let mut read = false;
        for (sequence, patience) in waiting {
            read |= self.read_run(pages, sequence, sequence, patience, moment, emit)?;
        }
        if end <= self.sequence {
            return Ok(read);
        }
        let oldest = end - end.min(PLACES) + 1;
        let first = (self.sequence + 1).max(oldest);
        self.lost = self.lost.saturating_add(first - self.sequence - 1);
        self.sequence = end;
        // The ring's end, and then its beginning.
        let to_wrap = PLACES - (first - 1) % PLACES;
        let turn = first.saturating_add(to_wrap - 1).min(end);
        read |= self.read_run(pages, first, turn, PATIENCE, moment, emit)?;
        if turn < end {
            read |= self.read_run(pages, turn + 1, end, PATIENCE, moment, emit)?;
        }
        Ok(read)
    }

    /// Reads records `first` to `last`, which lie side by side. Twice: one that is being written differs.
    fn read_run(
        &mut self,
        pages: &(impl Pages + ?Sized),
        first: u64,
        last: u64,
        patience: u8,
        moment: Moment,
        emit: &mut dyn FnMut(Event),
    ) -> Result<bool, NoChannel> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let length = (last - first + 1) as usize * RECORD;
        for bytes in [&mut scratch.first, &mut scratch.second] {
            bytes.resize(length, 0);
            pages.read_at(bytes, layout::place(first)).map_err(|_| NoChannel)?;
        }
        let records = scratch.first.chunks_exact(RECORD).zip(scratch.second.chunks_exact(RECORD));
        let mut read = false;
        for (sequence, (record, again)) in (first..=last).zip(records) {
            let standing = if record == again { layout::standing(record, sequence) } else { Place::Unfinished };
            match standing {
                Place::There => {
                    let claimed = layout::time(record);
                    self.late += u64::from(claimed < moment.open_from);
                    match layout::event(record, self.pid, moment.fit(claimed)) {
                        Some(event) => {
                            emit(event);
                            read = true;
                        }
                        None => self.lost = self.lost.saturating_add(1),
                    }
                }
                Place::Unfinished if patience > 0 && self.unfinished.len() < MOST_UNFINISHED => {
                    self.unfinished.push((sequence, patience - 1));
                }
                Place::Unfinished | Place::Overtaken => self.lost = self.lost.saturating_add(1),
            }
        }
        self.scratch = scratch;
        Ok(read)
    }

    fn read_sums(
        &mut self,
        pages: &(impl Pages + ?Sized),
        moment: Moment,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), NoChannel> {
        let header = self.header(pages).ok_or(NoChannel)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let stages = usize::from(header.stages.min(STAGES));
        for bytes in [&mut scratch.first, &mut scratch.second] {
            bytes.resize(stages * SLOT, 0);
            if stages > 0 {
                pages.read_at(bytes, SLOTS).map_err(|_| NoChannel)?;
            }
        }
        self.totals.resize_with(stages.max(self.totals.len()), TaskTotals::default);
        let slots = scratch.first.chunks_exact(SLOT).zip(scratch.second.chunks_exact(SLOT));
        for (stage, (slot, again)) in slots.enumerate() {
            // One that is being written has its turn next time; sums lose nothing by that.
            if slot != again && !moment.last {
                continue;
            }
            let Some(totals) = layout::totals(again) else { continue };
            if totals != self.totals[stage] {
                self.totals[stage] = totals;
                let fact = AgentFact::Totals { stage: stage as u16, totals: Box::new(totals) };
                emit(Event::Agent { at: moment.fit(moment.now), pid: self.pid, fact });
            }
        }
        self.scratch = scratch;
        let cost = (header.spent, header.dropped.saturating_add(self.lost));
        if cost != self.cost {
            self.cost = cost;
            let fact = AgentFact::Cost { spent: cost.0, dropped: cost.1 };
            emit(Event::Agent { at: moment.fit(moment.now), pid: self.pid, fact });
        }
        Ok(())
    }
}
