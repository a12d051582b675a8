//! Bytes that processes moved, as the kernel counts them: up to the last reading, with those of the children that the
//! process has waited for. Here they become its own, and it is kept whether its end was read. Must not judge.

use super::fold::TimelineBuilder;
use super::process::Process;
use super::program::{Program, ProgramId};
use crate::trace::ProcessReading;

/// Processes whose last reading is waited for.
const MOST_ENDED: usize = 1024;

/// Counted bytes: passed to calls that read and write, and moved from and to storage.
type Moved = [Option<u64>; 4];

/// What is known of a process's bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes {
    /// Those of its children that have ended.
    ended: [u64; 4],
    /// The same when it was last read.
    ended_when_read: [u64; 4],
    /// What it had moved, by its last reading, when it began its program.
    base: Moved,
    /// Whether it was last read when it had ended.
    is_last: bool,
}

/// A process that has ended, whose bytes may still be read until its parent has waited for it.
#[derive(Debug, Clone, Copy)]
pub struct EndedBytes {
    program: ProgramId,
    parent_pid: Option<u32>,
    own: Moved,
    all: Moved,
    bytes: Bytes,
}

fn moved(reading: &ProcessReading) -> Moved {
    [reading.read_chars, reading.written_chars, reading.disk_read_bytes, reading.disk_written_bytes]
}

/// Whether it was read when the process had ended: then it has no memory any more.
fn is_last(reading: &ProcessReading) -> bool {
    reading.rss_bytes.is_none() && reading.read_chars.is_some()
}

impl Bytes {
    /// Notes that the process is read now.
    pub fn read(&mut self, reading: &ProcessReading) {
        if reading.read_chars.is_some() {
            self.ended_when_read = self.ended;
            self.is_last = is_last(reading);
        }
    }

    /// The process begins another program, and its counters go on.
    pub fn restart(&mut self, reading: &ProcessReading) {
        let now = moved(reading);
        self.base = std::array::from_fn(|kind| now[kind].or(self.base[kind]));
        self.ended = [0; 4];
        self.ended_when_read = [0; 4];
        self.is_last = false;
    }

    /// Its own part of what the kernel counts.
    fn own(&self, counted: Moved) -> Moved {
        std::array::from_fn(|kind| {
            let children = self.ended_when_read[kind].saturating_add(self.base[kind].unwrap_or(0));
            counted[kind].map(|count| count.saturating_sub(children))
        })
    }
}

fn add(program: &mut Program, moved: Moved) {
    let bytes = &mut program.bytes;
    let sums = [&mut bytes.read_chars, &mut bytes.written_chars, &mut bytes.disk_read, &mut bytes.disk_written];
    for (sum, one) in sums.into_iter().zip(moved) {
        if let Some(one) = one {
            *sum = Some(sum.unwrap_or(0).saturating_add(one));
        }
    }
}

/// Books what a process moved while it ran its program; `replaced`: it goes on with another one.
pub fn book(process: &Process, program: &mut Program, replaced: bool) {
    add(program, process.bytes.own(moved(&process.reading)));
    program.bytes.unread_ends += u64::from(replaced || !process.bytes.is_last);
}

impl TimelineBuilder {
    /// A process has ended and is about to be booked.
    pub(super) fn bytes_end(&mut self, slot: usize) {
        let process = &self.processes[slot];
        let all = moved(&process.reading);
        let ended = EndedBytes {
            program: process.program,
            parent_pid: process.parent_pid,
            own: process.bytes.own(all),
            all,
            bytes: process.bytes,
        };
        let (pid, counted) = (process.pid, process.bytes.is_last);
        self.give_to_parent(ended.parent_pid, all.map(|bytes| bytes.unwrap_or(0)));
        if !counted {
            if self.ended_bytes.len() >= MOST_ENDED {
                self.ended_bytes.clear();
            }
            self.ended_bytes.insert(pid, ended);
        }
    }

    /// A reading of a process whose end was told already: the rest of its bytes.
    pub(super) fn read_ended(&mut self, pid: u32, reading: &ProcessReading) {
        if !is_last(reading) {
            return;
        }
        let Some(mut ended) = self.ended_bytes.remove(&pid) else { return };
        ended.bytes.read(reading);
        let all = moved(reading);
        let rest = |all: Moved, before: Moved| -> Moved {
            std::array::from_fn(|kind| all[kind].map(|count| count.saturating_sub(before[kind].unwrap_or(0))))
        };
        self.give_to_parent(ended.parent_pid, rest(all, ended.all).map(|bytes| bytes.unwrap_or(0)));
        let program = &mut self.programs[ended.program.0];
        add(program, rest(ended.bytes.own(all), ended.own));
        program.bytes.unread_ends = program.bytes.unread_ends.saturating_sub(1);
    }

    /// The kernel adds a child's bytes to those of its parent when that waits for it.
    fn give_to_parent(&mut self, parent: Option<u32>, moved: [u64; 4]) {
        let Some(parent) = parent else { return };
        let living = self.by_pid.get(&parent).map(|&slot| &mut self.processes[slot].bytes);
        // The last reading of a parent that has ended may come behind.
        if let Some(bytes) = living.or(self.ended_bytes.get_mut(&parent).map(|ended| &mut ended.bytes)) {
            bytes.ended.iter_mut().zip(moved).for_each(|(sum, one)| *sum = sum.saturating_add(one));
        }
    }
}
