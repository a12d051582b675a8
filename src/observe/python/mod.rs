//! The interpreter lock of every Python process of the tree, read from outside: who holds it, a few hundred times a
//! second, each time in a short burst. Must not stop a process, and must not judge.
//!
//! How often a process is read depends on what it did before, never on what its lock was: a share of readings is a share
//! of time.

mod burst;
mod elf;
mod layout;
mod locate;
mod pace;
mod stacks;

pub use stacks::{Call, Stack, Stacks};

use super::host;
use crate::sys::{clock, memory};
use crate::trace::{Event, GilAccess, WhyNot};
use crate::units::{Span, Timestamp};
use burst::{Burst, Threads, Usual};
use layout::Version;
use locate::{Binaries, Located, Lock, Look, lock_of};
use pace::{Allowance, Pace};
use rustc_hash::FxHashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Most processes that one round reads: they share one wake-up.
const MOST_A_ROUND: usize = 4;
/// A process that did not run for this long is idle.
const IDLE_AFTER: Span = Span::from_millis(100);
/// One in so many idle processes is read all the same.
const IDLE_ONE_IN: u8 = 8;
/// After so many bursts it is checked that the lock is still the only one, and where it was.
const CHECK_EVERY: u32 = 64;
/// The first look at a new program, and the rest between the first looks; it doubles.
const FIRST_REST: Span = Span::from_millis(1);
/// The same where nothing about the process speaks of Python.
const UNLIKELY_REST: Span = Span::from_millis(50);
/// The longest rest between looks: an interpreter may be loaded late.
const LONGEST_REST: Span = Span::from_millis(10_000);
/// Looks at an interpreter that does not come to life before that is told.
const PATIENCE: u32 = 12;
/// Most processes that one round looks at.
const MOST_LOOKS: usize = 8;
/// Most processes that are kept track of.
const MOST_PROCESSES: usize = 8192;

/// A process of the tree.
#[derive(Debug, Default)]
struct Process {
    located: Option<Located>,
    threads: Threads,
    /// What was told of it.
    told: Option<GilAccess>,
    bursts: u32,
    /// Threads of it that have a CPU, as far as switch records tell.
    running: Vec<u32>,
    ran_at: Timestamp,
    /// When it is looked at next, if at all, and how often it was.
    look_at: Option<Timestamp>,
    looks: u32,
    /// Whether its name speaks of Python.
    likely: bool,
}

/// Reads the locks of a tree of processes.
#[derive(Debug)]
pub struct Interpreters {
    enabled: bool,
    root: PathBuf,
    binaries: Binaries,
    processes: FxHashMap<u32, Process>,
    /// Those whose lock is read.
    readable: Vec<u32>,
    /// When the next look is due.
    look_at: Option<Timestamp>,
    pace: Pace,
    allowance: Allowance,
    usual: Usual,
    random: fastrand::Rng,
    refused: Option<WhyNot>,
}

impl Interpreters {
    /// Of the tree that begins with `target`, as `root` (`/proc`) shows it.
    pub fn new(root: &Path, target: u32, enabled: bool) -> Interpreters {
        let mut interpreters = Interpreters {
            enabled,
            root: root.to_owned(),
            binaries: Binaries::default(),
            processes: FxHashMap::default(),
            readable: Vec::new(),
            look_at: None,
            pace: Pace::default(),
            allowance: Allowance::default(),
            usual: Usual::default(),
            random: fastrand::Rng::new(),
            refused: None,
        };
        interpreters.begin(target, Process { ran_at: clock::monotonic(), ..Process::default() });
        interpreters
    }

    /// Why a lock could not be read, once that turned out.
    pub fn take_refused(&mut self) -> Option<WhyNot> {
        self.refused.take()
    }

    /// Whether a thread that waits for a futex at this address waits for its interpreter's lock.
    pub fn is_gil_futex(&self, pid: u32, address: u64) -> bool {
        let located = self.processes.get(&pid).and_then(|process| process.located);
        located.is_some_and(|located| {
            let offset = address.wrapping_sub(located.gil);
            located.layout.waiting_room().contains(&offset)
        })
    }

    /// Takes part in what other instruments tell: who lives, who runs which program, who has a CPU.
    pub fn follow(&mut self, event: &Event) {
        if !self.enabled {
            return;
        }
        match event {
            Event::SwitchIn { at, ids } => {
                if let Some(process) = self.processes.get_mut(&ids.pid) {
                    process.ran_at = *at;
                    if !process.running.contains(&ids.tid) {
                        process.running.push(ids.tid);
                    }
                }
            }
            Event::SwitchOut { at, ids, .. } => {
                if let Some(process) = self.processes.get_mut(&ids.pid) {
                    process.ran_at = *at;
                    process.running.retain(|&tid| tid != ids.tid);
                }
            }
            Event::Thread { at, ids, reading } if reading.active == Some(true) => {
                if let Some(process) = self.processes.get_mut(&ids.pid) {
                    process.ran_at = *at;
                }
            }
            // Records are missing: who runs is not known.
            Event::Lost { .. } => self.processes.values_mut().for_each(|process| process.running.clear()),
            Event::Fork { at, ids, parent } if ids.pid != parent.pid => self.forked(ids.pid, parent.pid, *at),
            Event::Exec { at, ids, name } => {
                self.begin(ids.pid, Process { ran_at: *at, likely: name.contains("python"), ..Process::default() });
            }
            Event::Program { at, pid, .. } if !self.processes.contains_key(pid) => {
                self.begin(*pid, Process { ran_at: *at, ..Process::default() });
            }
            Event::Exit { ids, .. } | Event::Gone { ids, .. } if ids.pid == ids.tid => self.end(ids.pid),
            Event::Exit { ids, .. } | Event::Gone { ids, .. } => {
                if let Some(process) = self.processes.get_mut(&ids.pid) {
                    process.threads.ended(ids.tid);
                    process.running.retain(|&tid| tid != ids.tid);
                }
            }
            _ => {}
        }
    }

    /// A child has its parent's memory at its parent's addresses until it runs another program.
    fn forked(&mut self, pid: u32, parent: u32, at: Timestamp) {
        let Some(parent) = self.processes.get(&parent) else { return };
        let child = Process {
            located: parent.located,
            threads: parent.threads.of_child(),
            ran_at: at,
            likely: parent.likely,
            ..Process::default()
        };
        self.begin(pid, child);
    }

    /// A process begins, or a process begins another program.
    fn begin(&mut self, pid: u32, mut process: Process) {
        if !self.enabled || self.processes.len() >= MOST_PROCESSES {
            return;
        }
        self.readable.retain(|&readable| readable != pid);
        if process.located.is_some() {
            self.readable.push(pid);
        } else {
            let first = Timestamp(clock::monotonic().0 + FIRST_REST.0);
            process.look_at = Some(first);
            self.look_at = Some(self.look_at.map_or(first, |at| at.min(first)));
        }
        self.processes.insert(pid, process);
    }

    fn end(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.readable.retain(|&readable| readable != pid);
    }

    /// When there is something to do next; `None` while there is nothing.
    pub fn due(&self) -> Option<Timestamp> {
        let next = (!self.readable.is_empty()).then(|| self.pace.next());
        match (next, self.look_at) {
            (Some(next), Some(look)) => Some(next.min(look)),
            (next, look) => next.or(look),
        }
    }

    /// Does what is due. `spent`: CPU time of ours since the last thing that was not this instrument's.
    pub fn round(&mut self, began: Span, emit: &mut dyn FnMut(Event)) -> Span {
        let now = clock::monotonic();
        let mut looking = Span(0);
        if self.look_at.is_some_and(|at| at <= now) {
            let before = clock::process_cpu();
            self.look_around(now, emit);
            looking = clock::process_cpu() - before;
            self.allowance.spend(looking);
        }
        let reading = !self.readable.is_empty() && self.pace.next() <= now;
        if reading {
            self.read_some(now, emit);
        }
        let ended = clock::process_cpu();
        if reading {
            self.pace.spent((ended - began) - looking, clock::monotonic(), &mut self.random);
        }
        ended
    }

    /// Looks for interpreters in processes where none was found yet.
    fn look_around(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let generous = self.allowance.is_left(now);
        let mut waiting: Vec<(Timestamp, u32)> = Vec::new();
        for (&pid, process) in &self.processes {
            waiting.extend(process.look_at.map(|at| (at, pid)));
        }
        waiting.sort_unstable();
        let due = waiting.iter().take_while(|(at, _)| *at <= now).take(MOST_LOOKS);
        for &(_, pid) in due {
            if generous || self.processes.get(&pid).is_some_and(|process| process.likely) {
                self.look(pid, now, emit);
            } else if let Some(process) = self.processes.get_mut(&pid) {
                process.look_at = Some(now + UNLIKELY_REST);
            }
        }
        self.look_at = self.processes.values().filter_map(|process| process.look_at).min();
    }

    fn look(&mut self, pid: u32, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let look = self.binaries.look(&self.root, pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.looks = process.looks.saturating_add(1);
        process.look_at = None;
        let rest = |first: Span, looks: u32| Span(first.0 << (looks / 2).min(16)).min(LONGEST_REST);
        match look {
            Look::Found(located) => {
                process.located = Some(located);
                process.likely = true;
                self.readable.push(pid);
                self.tell(pid, located.version, GilAccess::Read, now, emit);
            }
            // An extension module that needs the lock may bring it back.
            Look::Lockless(version) => {
                process.look_at = Some(now + rest(UNLIKELY_REST, process.looks));
                self.tell(pid, version, GilAccess::Absent, now, emit);
            }
            Look::Several(version) => self.tell(pid, version, GilAccess::Several, now, emit),
            Look::Unknown(version, why) => self.tell(pid, version, GilAccess::Refused(why), now, emit),
            Look::NotYet(version) => {
                process.likely = true;
                process.look_at = Some(now + rest(FIRST_REST, process.looks));
                if process.looks == PATIENCE {
                    let why = "no lock is where this version keeps it".to_owned();
                    self.tell(pid, version, GilAccess::Refused(why), now, emit);
                }
            }
            Look::Nothing => {
                let first = if process.likely { FIRST_REST } else { UNLIKELY_REST };
                process.look_at = Some(now + rest(first, process.looks));
            }
            Look::Refused(error) => self.refuse(pid, &error, now, emit),
            Look::Gone => self.end(pid),
        }
    }

    /// Reads the locks of some processes.
    fn read_some(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let mut chosen: Vec<u32> = Vec::with_capacity(MOST_A_ROUND);
        let wanted = self.readable.len().min(MOST_A_ROUND);
        for _ in 0..2 * wanted {
            let pid = self.readable[self.random.usize(..self.readable.len())];
            if chosen.len() < wanted && !chosen.contains(&pid) && (self.is_active(pid, now) || self.one_in_some()) {
                chosen.push(pid);
            }
        }
        for pid in chosen {
            self.read(pid, emit);
        }
    }

    fn is_active(&self, pid: u32, now: Timestamp) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| !process.running.is_empty() || now.since(process.ran_at) < IDLE_AFTER)
    }

    fn one_in_some(&mut self) -> bool {
        self.random.u8(..IDLE_ONE_IN) == 0
    }

    fn read(&mut self, pid: u32, emit: &mut dyn FnMut(Event)) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some(located) = process.located else { return };
        process.bursts = process.bursts.wrapping_add(1);
        if process.bursts % CHECK_EVERY == 1 {
            match lock_of(pid, located.runtime, &located.layout) {
                Ok(Lock::At(gil)) => process.located = Some(Located { gil, ..located }),
                Ok(Lock::Several) => {
                    self.forget_lock(pid, None);
                    return self.tell(pid, located.version, GilAccess::Several, clock::monotonic(), emit);
                }
                Ok(Lock::Unmade | Lock::Disabled) => return self.forget_lock(pid, Some(UNLIKELY_REST)),
                Err(error) => return self.failed(pid, &error, emit),
            }
        }
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some(located) = process.located else { return };
        match burst::read(&self.root, pid, &located, &mut process.threads, &mut self.usual) {
            Burst::Sample(at, sample) => {
                self.tell(pid, located.version, GilAccess::Read, at, emit);
                emit(Event::Gil { at, pid, sample });
            }
            Burst::Interrupted => {}
            Burst::NoLock => self.forget_lock(pid, Some(FIRST_REST)),
            Burst::Failed(error) => self.failed(pid, &error, emit),
        }
    }

    /// A lock that could be read cannot be read any more.
    fn failed(&mut self, pid: u32, error: &io::Error, emit: &mut dyn FnMut(Event)) {
        match error.raw_os_error() {
            Some(libc::ESRCH) => self.end(pid),
            Some(libc::EPERM | libc::EACCES) => {
                self.forget_lock(pid, None);
                self.refuse(pid, error, clock::monotonic(), emit);
            }
            // Another program by now, of whose beginning we hear later.
            _ => self.forget_lock(pid, Some(FIRST_REST)),
        }
    }

    fn forget_lock(&mut self, pid: u32, look_in: Option<Span>) {
        self.readable.retain(|&readable| readable != pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.located = None;
        process.look_at = look_in.map(|rest| clock::monotonic() + rest);
        self.look_at = match (self.look_at, process.look_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// Memory is refused: that matters where it may be Python's.
    fn refuse(&mut self, pid: u32, error: &io::Error, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let comm = std::fs::read_to_string(self.root.join(format!("{pid}/comm"))).unwrap_or_default();
        let likely = self.processes.get(&pid).is_some_and(|process| process.likely);
        if likely || comm.contains("python") {
            let why = explain(error);
            self.tell(pid, (0, 0, 0), GilAccess::Refused(why.to_string()), now, emit);
            self.refused.get_or_insert(why);
        }
    }

    /// Tells of an interpreter, unless that is known.
    fn tell(&mut self, pid: u32, version: Version, gil: GilAccess, at: Timestamp, emit: &mut dyn FnMut(Event)) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.told.as_ref() != Some(&gil) {
            process.told = Some(gil.clone());
            emit(Event::Interpreter { at, pid, version, gil });
        }
    }
}

/// What a refusal to read memory means here: where even our own is refused, it is a filter.
fn explain(error: &io::Error) -> WhyNot {
    let errno = error.raw_os_error().unwrap_or(libc::EPERM);
    let known = [0u8; 8];
    let own = memory::read(std::process::id(), known.as_ptr().addr() as u64, &mut [0; 8]);
    if own.is_err() {
        WhyNot::MemoryFiltered(errno)
    } else {
        WhyNot::MemoryHidden { ptrace_scope: host::ptrace_scope() }
    }
}
