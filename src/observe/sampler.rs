//! Readings from /proc in rounds: counters of threads, memory and bytes of processes, and what blocked threads wait for.
//!
//! A round reads a bounded number of threads, chosen at random, at a jittered instant; `pace` tells when.

use super::agent::EXEC_BEFORE;
use super::census::{Census, Walk};
use super::files::{Files, Which};
use super::pace::Pace;
use super::python::Interpreters;
use super::readings::{self, Called};
use super::timed;
use super::waits::{Sockets, classify, may_change};
use super::zombies::Zombies;
use crate::sys::clock;
use crate::trace::{Blocking, Event, Ids, ProcessReading, ThreadReading, TimeOut, WhyNot};
use crate::units::{Span, Timestamp};
use procfs::process::{Process, Syscall};
use rustc_hash::{FxHashMap, FxHashSet};
use std::path::{Path, PathBuf};

/// Most threads that one round reads.
const THREADS_A_ROUND: usize = 24;
/// The same where readings are all there is: every thread should be read often.
const THREADS_A_ROUND_ALONE: usize = 400;
/// Time between two readings of a process's memory and bytes.
const PROCESS_INTERVAL: Span = Span::from_millis(100);
/// Where descriptors have to be counted one by one, that is done with one in so many readings of a process.
const DESCRIPTORS_COUNTED_ONE_IN: u8 = 4;
/// Most processes whose memory and bytes one round reads.
const PROCESSES_A_ROUND: usize = 8;
/// A reading that took longer than this is not of one moment.
const PROMPT: Span = Span(150_000);
/// The same for a system call, which changes more often than counters matter.
const AT_ONCE: Span = Span(50_000);
/// One in so many readings of a thread has its switch counts, which are dear; records tell them too.
const SWITCHES_READ_BESIDE: u8 = 32;
/// The same where there are no records.
const SWITCHES_READ_ALONE: u8 = 8;
/// What an event loop waits for is looked into anew after this time.
const SAME_LOOP: Span = Span::from_millis(1_000);
/// Whether a process is stopped is looked up once in this time.
const STOPS_LOOKED_UP: Span = Span::from_millis(100);
/// Most waits that are remembered.
const MOST_WAITS: usize = 2048;
/// A thread's birth is told with so many of its readings: the first may come before its process is known.
const BIRTHS_TOLD: u8 = 3;

/// Reads /proc in rounds.
#[derive(Debug)]
pub struct Sampler {
    root: PathBuf,
    census: Census,
    /// Whether switch records tell who lives and runs; else everything comes from here.
    records: bool,
    threads: bool,
    waits: bool,
    /// Whether /proc shows our own processes and is read at all.
    visible: bool,
    /// Why waits cannot be told, once that turned out.
    pub waits_refused: Option<WhyNot>,
    waits_told: bool,
    pace: Pace,
    random: fastrand::Rng,
    files: Files,
    sockets: Sockets,
    /// What threads waited for when they were last looked at.
    known: FxHashMap<Ids, Wait>,
    /// When it was last looked up whether a process is stopped, and whether it was.
    stops: FxHashMap<u32, (Timestamp, bool)>,
    /// Threads that ended without being waited for, where records do not tell.
    zombies: FxHashSet<Ids>,
    /// Of processes, those that nobody waits for.
    unreaped: Zombies,
    /// How often a thread's birth was told, where records do not.
    births: FxHashMap<Ids, u8>,
    process_next: Timestamp,
    /// Whether records told of anything since the last round.
    stirred: bool,
    ticks_per_second: u64,
}

/// A wait that was looked into. Whoever has had no time slice since is in it still. Beside records slices are read before
/// the call, alone behind it, and always before it is found what the call waits for: with as many slices and the same call
/// it is the same wait.
#[derive(Debug)]
struct Wait {
    slices: u64,
    call: Syscall,
    on: Blocking,
    at: Timestamp,
}

/// What a sampler is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Whether switch records tell who lives and runs.
    pub records: bool,
    /// Whether counters of threads are read.
    pub threads: bool,
    /// Whether it is told what blocked threads wait for.
    pub waits: bool,
    /// Whether /proc is read at all.
    pub visible: bool,
    /// Time between rounds, if the user set one.
    pub interval: Option<Span>,
}

impl Sampler {
    /// A sampler of the tree under `target`, reading below `root` (`/proc`).
    pub fn new(root: &Path, target: u32, scope: Scope) -> Sampler {
        let mut pace = Pace::new(scope.interval);
        if !scope.records {
            pace.stand_alone();
        }
        Sampler {
            root: root.to_owned(),
            census: Census::new(root, target),
            records: scope.records,
            threads: scope.threads,
            waits: scope.waits,
            visible: scope.visible,
            waits_refused: None,
            waits_told: false,
            pace,
            random: fastrand::Rng::new(),
            files: Files::new(root),
            sockets: Sockets::default(),
            known: FxHashMap::default(),
            stops: FxHashMap::default(),
            zombies: FxHashSet::default(),
            unreaped: Zombies::new(root),
            births: FxHashMap::default(),
            process_next: Timestamp(0),
            stirred: true,
            ticks_per_second: procfs::ticks_per_second(),
        }
    }

    /// When the next round is due.
    pub fn due(&self) -> Timestamp {
        self.pace.due()
    }

    /// Who lives.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Switch records ended: from now on everything comes from here.
    pub fn take_over(&mut self) {
        self.records = false;
        self.pace.stand_alone();
    }

    /// A process whose switch records ended although it runs on.
    pub fn outlives_its_records(&mut self) -> Option<u32> {
        if self.records { self.census.outlives_its_records() } else { None }
    }

    /// Takes part in what switch records tell.
    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::Exit { ids, .. } => {
                self.stirred = true;
                self.known.remove(ids);
                if self.visible && self.census.threads(ids.pid) == [ids.tid] {
                    self.unreaped.ended(ids.pid);
                }
            }
            Event::SwitchIn { .. } | Event::SwitchOut { .. } | Event::Fork { .. } | Event::Exec { .. } => {
                self.stirred = true;
            }
            // Our own readings come by here too.
            _ => {}
        }
        self.census.follow(event);
    }

    /// The program of a process that was just seen to exec, by the kernel's name for it. One that is called otherwise by now
    /// has renamed itself, or is another program already, whose record is still to come: then it is said when it was read.
    pub fn program(&self, pid: u32, name: &str, at: Timestamp) -> Option<Event> {
        if !self.visible {
            return None;
        }
        let folder = self.root.join(pid.to_string());
        let comm = folder.join("comm");
        let read = readings::program(&Process::new_with_root(folder).ok()?, pid, 0, at)?;
        let comm = std::fs::read(comm).ok()?;
        if String::from_utf8_lossy(&comm).strip_suffix('\n') == Some(name) {
            return Some(read);
        }
        let at = clock::monotonic();
        match read {
            Event::Program { pid, parent, exe, argv, .. } => Some(Event::Program { at, pid, parent, exe, argv }),
            other => Some(other),
        }
    }

    /// What the target had used before its exec: not its own doing.
    pub fn base_line(&mut self, target: u32, emit: &mut dyn FnMut(Event)) {
        let ids = Ids { pid: target, tid: target };
        let at = clock::monotonic();
        if let Some(reading) = readings::thread(&mut self.files, ids, false) {
            emit(Event::Thread { at, ids, reading });
        }
        // Where its stdin and stdout files stood before it touched them.
        let [stdin_bytes, stdout_bytes] = [0, 1].map(|fd| readings::position(&self.root, target, fd));
        let reading = ProcessReading { stdin_bytes, stdout_bytes, ..ProcessReading::default() };
        emit(Event::Process { at, pid: target, parent: None, reading });
    }

    /// One round of readings, if it is due; whether it was.
    pub fn round(&mut self, own_pid: u32, python: &Interpreters, emit: &mut dyn FnMut(Event)) -> bool {
        let began = clock::monotonic();
        if !self.visible || began < self.pace.due() {
            return false;
        }
        self.pace.begin();
        self.files.begin_round();
        if !self.records {
            self.walk(own_pid, emit);
        }
        if self.threads || self.waits {
            self.read_threads(python, emit);
        }
        if began >= self.process_next || !self.records {
            self.read_processes(began, emit);
        }
        self.unreaped.look(own_pid, emit);
        self.pace.end(std::mem::take(&mut self.stirred) || !self.records);
        true
    }

    /// A process that had lost its parent ended and was reaped by us.
    pub fn adopted(&mut self, pid: u32) {
        self.unreaped.adopted(pid);
    }

    /// The last look at the target: it has ended but is not reaped, so its leader can still be read.
    pub fn last_look(&mut self, target: u32, emit: &mut dyn FnMut(Event)) {
        if !self.visible {
            return;
        }
        self.unreaped.last_look(emit);
        let at = clock::monotonic();
        if self.threads {
            let ids = Ids { pid: target, tid: target };
            if let Some(reading) = readings::thread(&mut self.files, ids, true) {
                emit(Event::Thread { at, ids, reading });
            }
        }
        let ticks = self.ticks_per_second;
        if let Some(reading) = readings::process(&mut self.files, &self.root, target, ticks, false) {
            emit(Event::Process { at, pid: target, parent: None, reading });
        }
    }

    /// The bytes of a process that has just ended, where it was read before and nobody has waited for it yet.
    pub fn last_bytes(&mut self, pid: u32, at: Timestamp) -> Option<Event> {
        if !self.visible || !self.files.keeps(Ids { pid, tid: pid }, Which::Io) {
            return None;
        }
        let reading = readings::process(&mut self.files, &self.root, pid, self.ticks_per_second, false)?;
        Some(Event::Process { at, pid, parent: None, reading })
    }

    fn walk(&mut self, own_pid: u32, emit: &mut dyn FnMut(Event)) {
        let mut found = Walk::default();
        let at = clock::monotonic();
        self.census.walk(own_pid, &mut self.files, &mut found);
        for ids in found.gone {
            self.births.remove(&ids);
            if self.zombies.remove(&ids) {
                continue;
            }
            self.known.remove(&ids);
            emit(Event::Gone { at, ids });
        }
        for (pid, parent, name) in found.changed {
            emit(Event::Exec { at, ids: Ids { pid, tid: pid }, name });
            self.tell_program(pid, parent, at, emit);
        }
        for (pid, parent) in found.new {
            self.tell_program(pid, parent, at, emit);
        }
        // Where not all of them are read in this round, it is told that they are there.
        let most: usize = self.census.pids().map(|pid| self.census.threads(pid).len()).sum();
        for ids in found.born.into_iter().filter(|_| most > THREADS_A_ROUND_ALONE) {
            emit(Event::Thread { at, ids, reading: ThreadReading::default() });
        }
    }

    /// Without records: an agent began in a process, which is then in the program that it is in now, whatever was seen of it
    /// last. What tells that comes first; a walk that told it before may have been later than the agent.
    pub fn agent_began(&mut self, pid: u32, began: Timestamp, held: &mut Vec<Event>) {
        if self.records || !self.visible {
            return;
        }
        let at = Timestamp(began.0.saturating_sub(EXEC_BEFORE.0));
        if let Some(name) = self.census.agent_began(pid, &mut self.files) {
            held.push(Event::Exec { at, ids: Ids { pid, tid: pid }, name });
            self.tell_program(pid, 0, at, &mut |event| held.push(event));
            return;
        }
        let is_late = |event: &Event| matches!(event, Event::Exec { at, ids, .. } if ids.pid == pid && *at > began);
        if !held.iter().any(is_late) {
            return;
        }
        for event in held {
            match event {
                Event::Exec { at: told, ids: Ids { pid: of, .. }, .. } | Event::Program { at: told, pid: of, .. }
                    if *of == pid && *told > began =>
                {
                    *told = at;
                }
                _ => {}
            }
        }
    }

    fn tell_program(&mut self, pid: u32, parent: u32, at: Timestamp, emit: &mut dyn FnMut(Event)) {
        if let Some(event) = self.census.handle(pid).and_then(|process| readings::program(process, pid, parent, at)) {
            emit(event);
        }
    }

    /// The threads to read in this round, in order.
    fn choose_threads(&mut self) -> Vec<Ids> {
        let mut all: Vec<Ids> = Vec::new();
        for pid in self.census.pids() {
            let threads = self.census.threads(pid).iter().map(|&tid| Ids { pid, tid });
            all.extend(threads.filter(|ids| !self.zombies.contains(ids)));
        }
        let most = if self.records { THREADS_A_ROUND } else { THREADS_A_ROUND_ALONE };
        if !self.records && all.len() > most {
            // A thread is not there until it is read: those that never were come first, in the order of their births.
            let mut unread: Vec<Ids> = all.iter().filter(|ids| !self.births.contains_key(ids)).copied().collect();
            unread.sort_by_key(|ids| (ids.tid, ids.pid));
            unread.truncate(most);
            self.truncate_at_random(&mut all, most - unread.len());
            all.extend(unread);
        } else if all.len() > most {
            // Half of them at random, half of those that are at work.
            let mut recent = self.census.take_recent();
            self.random.shuffle(&mut recent);
            recent.truncate(most / 2);
            self.truncate_at_random(&mut all, most - recent.len());
            all.extend(recent);
        }
        all.sort_by_key(|ids| (ids.pid, ids.tid));
        all.dedup();
        all
    }

    /// Leaves `most` of them, each as likely as any other.
    fn truncate_at_random<T>(&mut self, all: &mut Vec<T>, most: usize) {
        for index in 0..most.min(all.len()) {
            let other = self.random.usize(index..all.len());
            all.swap(index, other);
        }
        all.truncate(most);
    }

    fn read_threads(&mut self, python: &Interpreters, emit: &mut dyn FnMut(Event)) {
        let mut refused = None;
        for ids in self.choose_threads() {
            let read = if self.records {
                self.read_beside_records(ids, python, emit)
            } else {
                self.read_alone(ids, python, emit)
            };
            refused = read.err().or(refused);
        }
        if let Some(why) = refused
            && !self.waits_told
        {
            self.waits_refused.get_or_insert(why);
        }
    }

    /// Records tell whether the thread runs: its system call, which is dear to read, is read only if the thread has run
    /// since it was last looked at. An error tells why waits are hidden.
    fn read_beside_records(
        &mut self,
        ids: Ids,
        python: &Interpreters,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), WhyNot> {
        let at = clock::monotonic();
        let reading = self.counters(ids, at, SWITCHES_READ_BESIDE);
        let slices = reading.as_ref().and_then(|reading| reading.slices);
        let mut looked = Ok(());
        if let Some(on) = self.known_wait(ids, slices, at).map(|known| known.on) {
            emit(Event::Waiting { at, ids, on: self.unless_stopped(ids, on, at) });
        } else if self.waits {
            let before = clock::monotonic();
            looked = readings::syscall(&mut self.files, ids).map(|called| {
                let call = called.syscall();
                self.waits_told |= call.is_some();
                // The call is that of the moment at which it was read: the thread may have woken and blocked anew since
                // `before`, all the more where it was our CPU that it woke on.
                let at = clock::monotonic();
                let prompt = at.since(before) < AT_ONCE;
                if let Some(on) = call.and_then(|call| self.look_into(ids, call, slices, at, python)).filter(|_| prompt)
                {
                    emit(Event::Waiting { at, ids, on: self.unless_stopped(ids, on, at) });
                    if let Some(ends) = self.time_out(ids, call, on, slices) {
                        emit(Event::TimesOut { at, ids, ends });
                    }
                }
            });
        }
        if let Some(reading) = reading {
            emit(Event::Thread { at, ids, reading });
        }
        looked
    }

    /// The system call tells whether the thread runs, and is read before the counters: those of a running thread lag.
    fn read_alone(&mut self, ids: Ids, python: &Interpreters, emit: &mut dyn FnMut(Event)) -> Result<(), WhyNot> {
        let called = clock::monotonic();
        let called_in = if self.waits { readings::syscall(&mut self.files, ids) } else { Ok(Called::Gone) };
        if called_in == Ok(Called::Zombie) {
            self.bury(ids, emit);
            return Ok(());
        }
        let call = called_in.map(Called::syscall);
        let at = clock::monotonic();
        let mut reading = self.counters(ids, at, SWITCHES_READ_ALONE);
        let slices = reading.as_ref().and_then(|reading| reading.slices);
        if let Some(reading) = &mut reading {
            self.tell_birth(ids, !matches!(call, Ok(Some(_))), reading);
        }
        let looked = call.map(|call| {
            let Some(call) = call else { return };
            self.waits_told = true;
            let known = self.known_wait(ids, slices, called).filter(|known| known.call == call).map(|known| known.on);
            if let Some(on) = known.or_else(|| self.look_into(ids, call, slices, called, python)) {
                emit(Event::Waiting { at: called, ids, on: self.unless_stopped(ids, on, called) });
                if let Some(ends) = known.map_or_else(|| self.time_out(ids, Some(call), on, slices), |_| None) {
                    emit(Event::TimesOut { at: called, ids, ends });
                }
            }
            if let Some(reading) = &mut reading {
                reading.active = Some(matches!(call, Syscall::Running));
            }
        });
        if let Some(reading) = reading {
            emit(Event::Thread { at, ids, reading });
        }
        looked
    }

    /// A thread that has ended, but that nobody has waited for: its counters stand still from now on, and it waits for
    /// nothing.
    fn bury(&mut self, ids: Ids, emit: &mut dyn FnMut(Event)) {
        let at = clock::monotonic();
        if let Some(mut reading) = self.counters(ids, at, 1) {
            reading.active = Some(false);
            emit(Event::Thread { at, ids, reading });
        }
        emit(Event::Gone { at, ids });
        if self.zombies.len() >= MOST_WAITS {
            self.zombies.clear();
        }
        self.zombies.insert(ids);
        if ids.pid == ids.tid {
            self.unreaped.ended(ids.pid);
        }
    }

    /// Counters of a thread at `at`, its switch counts with a chance of one in `switches_read`.
    fn counters(&mut self, ids: Ids, at: Timestamp, switches_read: u8) -> Option<ThreadReading> {
        if !self.threads {
            return None;
        }
        let with_switches = self.random.u8(..switches_read) == 0;
        // Where we lost the CPU in between, the reading is of a later moment than it says.
        readings::thread(&mut self.files, ids, with_switches).filter(|_| clock::monotonic().since(at) < PROMPT)
    }

    /// When a new thread was born, and its state where its system call was not told.
    fn tell_birth(&mut self, ids: Ids, untold: bool, reading: &mut ThreadReading) {
        let told = self.births.entry(ids).or_insert(0);
        if *told >= BIRTHS_TOLD && !untold {
            return;
        }
        *told = told.saturating_add(1);
        if let Some((born, active)) = readings::birth_and_state(&mut self.files, ids, self.ticks_per_second) {
            reading.started = Some(Timestamp(born.0.saturating_sub(clock::boot_offset().0)));
            reading.active = Some(active);
        }
    }

    /// The wait that a thread was in when it had as many slices: it is in it still.
    fn known_wait(&self, ids: Ids, slices: Option<u64>, at: Timestamp) -> Option<&Wait> {
        let known = self.known.get(&ids).filter(|known| Some(known.slices) == slices)?;
        (!may_change(known.call) || at.since(known.at) < SAME_LOOP).then_some(known)
    }

    /// What a thread waits for, unless its process is stopped: the kernel goes on telling of the call that was interrupted.
    fn unless_stopped(&mut self, ids: Ids, on: Blocking, at: Timestamp) -> Blocking {
        let known = self.stops.get(&ids.pid).filter(|known| !known.1 && at.since(known.0) < STOPS_LOOKED_UP);
        if known.is_some() {
            return on;
        }
        let stopped = readings::is_stopped(&mut self.files, ids.pid);
        if self.stops.len() >= MOST_WAITS {
            self.stops.clear();
        }
        self.stops.insert(ids.pid, (at, stopped));
        if stopped { Blocking::Stopped } else { on }
    }

    /// When a wait for another ends of itself, which may be all that it waits for.
    fn time_out(&mut self, ids: Ids, call: Option<Syscall>, on: Blocking, slices: Option<u64>) -> Option<TimeOut> {
        if !matches!(on, Blocking::Lock | Blocking::SharedLock | Blocking::Pipe | Blocking::Idle) {
            return None;
        }
        let ends = timed::time_out(self.census.handle(ids.pid)?, call?)?;
        // Its arguments lie in memory that it uses for something else as soon as it runs on.
        let reading = readings::thread(&mut self.files, ids, false)?;
        (reading.slices.is_some() && reading.slices == slices).then_some(ends)
    }

    /// What a thread in `call` waits for; remembered with its slices.
    fn look_into(
        &mut self,
        ids: Ids,
        call: Syscall,
        slices: Option<u64>,
        at: Timestamp,
        python: &Interpreters,
    ) -> Option<Blocking> {
        let on = classify(self.census.handle(ids.pid)?, call, &mut self.sockets, |address| {
            python.is_gil_futex(ids.pid, address)
        })?;
        // The only thread of the only process: nobody else is there who could end its wait.
        let solitary = self.census.pids().count() == 1 && self.census.threads(ids.pid).len() == 1;
        let on = if solitary { timed::told_from(self.census.handle(ids.pid)?, call, on) } else { on };
        if let Some(slices) = slices {
            if self.known.len() >= MOST_WAITS {
                self.known.clear();
            }
            self.known.insert(ids, Wait { slices, call, on, at });
        }
        Some(on)
    }

    fn read_processes(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let full = now >= self.process_next;
        if full {
            self.process_next = now + PROCESS_INTERVAL;
        }
        let living =
            |pid: &u32| self.census.threads(*pid).iter().any(|&tid| !self.zombies.contains(&Ids { pid: *pid, tid }));
        let mut pids: Vec<u32> = self.census.pids().filter(living).collect();
        if self.records && pids.len() > PROCESSES_A_ROUND {
            self.truncate_at_random(&mut pids, PROCESSES_A_ROUND);
        }
        for (index, pid) in pids.into_iter().enumerate() {
            let at = clock::monotonic();
            let wanted = full && index < 4 * PROCESSES_A_ROUND;
            let (files, root, ticks) = (&mut self.files, &self.root, self.ticks_per_second);
            let reading = if wanted { readings::process(files, root, pid, ticks, true) } else { None };
            // Without records even an empty reading closes the round of the process's threads.
            if reading.is_some() || !self.records {
                emit(Event::Process { at, pid, parent: None, reading: reading.unwrap_or_default() });
            }
            if wanted
                && let Some(open) =
                    readings::descriptors(&self.root, pid, self.random.u8(..DESCRIPTORS_COUNTED_ONE_IN) == 0)
            {
                emit(Event::Descriptors { at, pid, open });
            }
        }
    }
}
