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
mod stuck;

pub use stacks::{Call, Stack, Stacks};

use super::host;
use crate::sys::{clock, memory};
use crate::trace::{Event, GilAccess, WhyNot};
use crate::units::{Span, Timestamp};
use burst::{Burst, Threads, Usual};
use layout::Version;
use locate::{Binaries, Located, Lock, Look, lock_of, uncounted};
use pace::{Allowance, Pace};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};
use stuck::Stuck;

/// Most processes that one round reads: they share one wake-up.
const MOST_A_ROUND: usize = 4;
/// A process that did not run for this long is idle.
const IDLE_AFTER: Span = Span::from_millis(100);
/// One in so many idle processes is read all the same.
const IDLE_ONE_IN: u8 = 8;
/// After so many bursts it is checked that the lock is still the only one, and where it was.
const CHECK_EVERY: u32 = 64;
/// The rest before the first look at a new program; it doubles.
const FIRST_REST: Span = Span::from_millis(2);
/// The same where nothing about the process speaks of Python.
const UNLIKELY_REST: Span = Span::from_millis(50);
/// The longest rest between looks: an interpreter may be loaded late.
const LONGEST_REST: Span = Span::from_millis(10_000);
/// Rounds of looks are no nearer than this.
const BETWEEN_LOOKS: Span = Span::from_millis(1);
/// Looks at an interpreter that does not come to life before that is told: half a second.
const PATIENCE: u32 = 8;
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
    /// When its interpreter was found by a look.
    found_at: Option<Timestamp>,
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
    /// Looks to come, the next one first; those that their process does not know of any more do not count.
    looks: BinaryHeap<Reverse<(Timestamp, u32)>>,
    looked_at: Timestamp,
    pace: Pace,
    allowance: Allowance,
    usual: Usual,
    random: fastrand::Rng,
    refused: Option<WhyNot>,
    stacks: Stacks,
    stuck: Stuck,
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
            looks: BinaryHeap::new(),
            looked_at: Timestamp(0),
            pace: Pace::default(),
            allowance: Allowance::default(),
            usual: Usual::default(),
            random: fastrand::Rng::new(),
            refused: None,
            stacks: Stacks::default(),
            stuck: Stuck::default(),
        };
        interpreters.begin(target, Process { ran_at: clock::monotonic(), likely: true, ..Process::default() });
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
        self.stuck.follow(event);
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
            // Who runs is not known any more.
            Event::Lost { .. } | Event::SwitchesEnd { .. } => {
                self.processes.values_mut().for_each(|process| process.running.clear())
            }
            Event::Fork { at, ids, parent } if ids.pid != parent.pid => self.forked(ids.pid, parent.pid, *at),
            Event::Exec { at, ids, name } => {
                // Records come late: what was found since is the new program's.
                if self.processes.get(&ids.pid).and_then(|process| process.found_at).is_some_and(|found| found > *at) {
                    return;
                }
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
        let mut child = Process { ran_at: at, ..Process::default() };
        if let Some(parent) = self.processes.get(&parent) {
            child.located = parent.located;
            child.threads = parent.threads.of_child();
            child.likely = parent.likely;
        }
        self.begin(pid, child);
    }

    /// A process begins, or a process begins another program.
    fn begin(&mut self, pid: u32, mut process: Process) {
        if !self.enabled || self.processes.len() >= MOST_PROCESSES {
            return;
        }
        self.readable.retain(|&readable| readable != pid);
        self.stacks.forget(pid);
        if process.located.is_some() {
            self.readable.push(pid);
        } else {
            let first = clock::monotonic() + FIRST_REST;
            process.look_at = Some(first);
            self.looks.push(Reverse((first, pid)));
        }
        self.processes.insert(pid, process);
    }

    /// Plans the next look at a process.
    fn look_later(&mut self, pid: u32, at: Timestamp) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.look_at = Some(at);
            self.looks.push(Reverse((at, pid)));
        }
    }

    /// When the next look is due.
    fn next_look(&self) -> Option<Timestamp> {
        self.looks.peek().map(|&Reverse((at, _))| at.max(self.looked_at + BETWEEN_LOOKS))
    }

    fn end(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.readable.retain(|&readable| readable != pid);
        self.stacks.forget(pid);
    }

    /// When there is something to do next; `None` while there is nothing.
    pub fn due(&self) -> Option<Timestamp> {
        let next = (!self.readable.is_empty()).then(|| self.pace.next());
        [next, self.next_look(), self.stuck.due()].into_iter().flatten().min()
    }

    /// Does what is due. `before`: our CPU time when this instrument's turn began; returns that at its end.
    pub fn round(&mut self, before: Span, emit: &mut dyn FnMut(Event)) -> Span {
        let now = clock::monotonic();
        let mut looking = Span(0);
        if self.next_look().is_some_and(|at| at <= now) {
            let began = clock::process_cpu();
            self.look_around(now, emit);
            looking = clock::process_cpu() - began;
            self.allowance.spend(looking);
        }
        if self.stuck.due().is_some_and(|at| at <= now) {
            let began = clock::process_cpu();
            self.read_stacks(now, emit);
            looking += clock::process_cpu() - began;
        }
        let reading = !self.readable.is_empty() && self.pace.next() <= now;
        let idle = reading && self.read_some(now, emit);
        let ended = clock::process_cpu();
        if reading {
            self.pace.spent((ended - before) - looking, idle, clock::monotonic(), &mut self.random);
        }
        ended
    }

    /// Reads the stacks of processes in which a task seems stuck.
    fn read_stacks(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        for pid in self.stuck.take_due(now) {
            let Some(process) = self.processes.get_mut(&pid) else { continue };
            if let Some(stacks) = self.stacks.all(&self.root, pid, &mut process.threads) {
                emit(Event::Stacks { at: clock::monotonic(), pid, stacks });
            }
        }
    }

    /// Looks for interpreters in processes where none was found yet.
    fn look_around(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        self.looked_at = now;
        let generous = self.allowance.is_left(now);
        let mut looks = 0;
        while looks < MOST_LOOKS
            && let Some(&Reverse((at, pid))) = self.looks.peek()
            && at <= now
        {
            self.looks.pop();
            let Some(process) = self.processes.get(&pid).filter(|process| process.look_at == Some(at)) else {
                continue;
            };
            if generous || process.likely {
                looks += 1;
                self.look(pid, now, emit);
            } else {
                self.look_later(pid, now + UNLIKELY_REST);
            }
        }
    }

    fn look(&mut self, pid: u32, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let look = self.binaries.look(&self.root, pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.looks = process.looks.saturating_add(1);
        process.look_at = None;
        let looks = process.looks;
        let rest = |first: Span| Span(first.0 << (looks - 1).min(16)).min(LONGEST_REST);
        match look {
            Look::Found(located) => {
                process.located = Some(located);
                process.found_at = Some(now);
                process.likely = true;
                self.readable.push(pid);
                self.tell(pid, located.version, GilAccess::Read, now, emit);
            }
            // An extension module that needs the lock may bring it back.
            Look::Lockless(version) => {
                process.found_at = Some(now);
                self.look_later(pid, now + rest(UNLIKELY_REST));
                self.tell(pid, version, GilAccess::Absent, now, emit);
            }
            Look::Several(version) => self.tell(pid, version, GilAccess::Several, now, emit),
            Look::Unknown(version, why) => self.tell(pid, version, GilAccess::Refused(why), now, emit),
            Look::NotYet(version, why) => {
                process.likely = true;
                self.look_later(pid, now + rest(FIRST_REST));
                if looks == PATIENCE {
                    self.tell(pid, version, GilAccess::Refused(why.to_owned()), now, emit);
                }
            }
            Look::Nothing => {
                let first = if process.likely { FIRST_REST } else { UNLIKELY_REST };
                self.look_later(pid, now + rest(first));
            }
            Look::Refused(error) => self.refuse(pid, (0, 0, 0), &error, now, emit),
            Look::Gone => self.end(pid),
        }
    }

    /// Reads the locks of some processes, of the idle ones now and then; whether all are idle.
    fn read_some(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) -> bool {
        let wanted = self.readable.len().min(MOST_A_ROUND);
        let mut chosen: Vec<u32> = Vec::with_capacity(wanted);
        let mut idle = true;
        for _ in 0..3 * wanted {
            let pid = self.readable[self.random.usize(..self.readable.len())];
            if chosen.len() < wanted && !chosen.contains(&pid) {
                let active = self.is_active(pid, now);
                idle &= !active;
                if active || self.random.u8(..IDLE_ONE_IN) == 0 {
                    chosen.push(pid);
                }
            }
        }
        if chosen.is_empty() {
            chosen.push(self.readable[self.random.usize(..self.readable.len())]);
        }
        for pid in chosen {
            self.read(pid, emit);
        }
        idle
    }

    fn is_active(&self, pid: u32, now: Timestamp) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| !process.running.is_empty() || now.since(process.ran_at) < IDLE_AFTER)
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
                Ok(Lock::Uncounted) => {
                    self.forget_lock(pid, None);
                    let gil = GilAccess::Refused(uncounted());
                    return self.tell(pid, located.version, gil, clock::monotonic(), emit);
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
                let located = self.processes.get(&pid).and_then(|process| process.located);
                let version = located.map_or((0, 0, 0), |located| located.version);
                self.forget_lock(pid, None);
                self.refuse(pid, version, error, clock::monotonic(), emit);
            }
            // Another program by now, of whose beginning we hear later.
            _ => self.forget_lock(pid, Some(FIRST_REST)),
        }
    }

    fn forget_lock(&mut self, pid: u32, look_in: Option<Span>) {
        self.readable.retain(|&readable| readable != pid);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.located = None;
        }
        if let Some(rest) = look_in {
            self.look_later(pid, clock::monotonic() + rest);
        }
    }

    /// Memory is refused: that matters where it may be Python's. Version 0.0.0 is one that could not be read.
    fn refuse(&mut self, pid: u32, version: Version, error: &io::Error, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let comm = std::fs::read_to_string(self.root.join(format!("{pid}/comm"))).unwrap_or_default();
        let likely = self.processes.get(&pid).is_some_and(|process| process.likely);
        if likely || comm.contains("python") {
            let why = explain(error);
            self.tell(pid, version, GilAccess::Refused(why.to_string()), now, emit);
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
