//! Processes that ended and that their parent never reaped: kept until it is known that it does not. Must not judge.

use super::fold::TimelineBuilder;
use super::program::ProgramId;
use crate::units::{Span, Timestamp};

/// Most that are kept: as many as an instrument tells of.
pub const MOST_ZOMBIES: usize = 512;

/// What a program's processes left unreaped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unreaped {
    /// How many processes.
    pub count: u64,
    /// How long the first of them was a zombie while its parent lived.
    pub longest: Span,
}

/// A process that is a zombie, as far as is known.
#[derive(Debug, Clone, Copy)]
pub struct Zombie {
    pid: u32,
    parent: u32,
    /// What its parent runs.
    program: ProgramId,
    since: Timestamp,
    /// When its parent ended, once it has.
    until: Option<Timestamp>,
}

impl TimelineBuilder {
    /// A process stays a zombie.
    pub(super) fn note_zombie(&mut self, pid: u32, parent: u32, since: Timestamp) {
        let Some(&slot) = self.by_pid.get(&parent).filter(|_| self.zombies.len() < MOST_ZOMBIES) else { return };
        let program = self.processes[slot].program;
        self.zombies.push(Zombie { pid, parent, program, since, until: None });
    }

    /// It was reaped after all, which may be heard of when its parent has ended already.
    pub(super) fn note_reaped(&mut self, pid: u32) {
        if let Some(place) = self.zombies.iter().rposition(|zombie| zombie.pid == pid) {
            self.zombies.remove(place);
        }
    }

    /// A process ended: what it has not reaped it never will.
    pub(super) fn end_zombies_of(&mut self, parent: u32, at: Timestamp) {
        for zombie in self.zombies.iter_mut().filter(|zombie| zombie.parent == parent) {
            zombie.until.get_or_insert(at);
        }
    }

    /// Books those that were never reaped.
    pub(super) fn book_zombies(&mut self, end: Timestamp) {
        for zombie in std::mem::take(&mut self.zombies) {
            let length = zombie.until.unwrap_or(end).since(zombie.since);
            let unreaped = &mut self.programs[zombie.program.0].unreaped;
            unreaped.count += 1;
            unreaped.longest = unreaped.longest.max(length);
        }
    }
}
