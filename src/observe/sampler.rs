//! Readings from /proc: counters of threads, memory and bytes of processes, and what blocked threads wait for.
//!
//! Rate adapts: after each round it rests so long that its own cost stays within a share of one core, whatever the
//! number of threads; a round reads a bounded number of threads, chosen at random, at a jittered instant.

use super::census::{Census, Walk};
use super::python::Interpreters;
use super::waits::{Sockets, classify};
use crate::sys::clock;
use crate::trace::{Event, Ids, ProcessReading, ThreadReading, WhyNot};
use crate::units::{Span, Timestamp};
use procfs::process::{Process, Task};
use std::path::{Path, PathBuf};

/// Share of one core that sampling may cost.
const BUDGET: f64 = 0.006;
/// Time between rounds where nothing else is asked for.
const INTERVAL: Span = Span::from_millis(10);
/// Rounds at the beginning come this much faster, so that a short run is seen too.
const EAGER_ROUNDS: u32 = 20;
/// Most threads that one round reads.
const THREADS_A_ROUND: usize = 24;
/// The same where readings are all there is: every thread should be read often.
const THREADS_A_ROUND_ALONE: usize = 400;
/// Time between two readings of a process's memory and bytes.
const PROCESS_INTERVAL: Span = Span::from_millis(100);
/// Most processes whose memory and bytes one round reads.
const PROCESSES_A_ROUND: usize = 8;
/// A reading that took longer than this is not of one moment.
const PROMPT: Span = Span(150_000);
/// Longest argument vector that is kept of a program.
const MOST_ARGUMENTS: usize = 64;
/// Longest argument that is kept.
const LONGEST_ARGUMENT: usize = 4096;

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
    interval: Span,
    next: Timestamp,
    rounds: u32,
    random: fastrand::Rng,
    sockets: Sockets,
    process_next: Timestamp,
    /// Boot-based clock minus monotonic clock.
    boot_offset: Option<Span>,
    ticks_per_second: u64,
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
        let uptime = std::fs::read_to_string(root.join("uptime")).ok();
        let uptime = uptime.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        Sampler {
            root: root.to_owned(),
            census: Census::new(root, target),
            records: scope.records,
            threads: scope.threads,
            waits: scope.waits,
            visible: scope.visible,
            waits_refused: None,
            waits_told: false,
            interval: scope.interval.unwrap_or(INTERVAL),
            next: Timestamp(0),
            rounds: 0,
            random: fastrand::Rng::new(),
            sockets: Sockets::default(),
            process_next: Timestamp(0),
            boot_offset: uptime.map(|uptime| Span::from_secs_f64(uptime) - Span(clock::monotonic().0)),
            ticks_per_second: procfs::ticks_per_second(),
        }
    }

    /// When the next round is due.
    pub fn due(&self) -> Timestamp {
        self.next
    }

    /// Who lives.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Switch records ended: from now on everything comes from here.
    pub fn take_over(&mut self) {
        self.records = false;
    }

    /// A process whose switch records ended although it runs on.
    pub fn outlives_its_records(&mut self) -> Option<u32> {
        if self.records { self.census.outlives_its_records() } else { None }
    }

    /// Takes part in what switch records tell.
    pub fn follow(&mut self, event: &Event) {
        self.census.follow(event);
    }

    /// The program of a process that was just seen to exec.
    pub fn program(&self, pid: u32, at: Timestamp) -> Option<Event> {
        if !self.visible {
            return None;
        }
        let process = Process::new_with_root(self.root.join(pid.to_string())).ok()?;
        program_of(&process, pid, 0, at)
    }

    /// What the target had used before its exec: not its own doing.
    pub fn base_line(&mut self, target: u32, emit: &mut dyn FnMut(Event)) {
        let ids = Ids { pid: target, tid: target };
        let at = clock::monotonic();
        if let Some(reading) =
            self.census.handle(target).and_then(leader).and_then(|task| thread_reading(&task, false, None))
        {
            emit(Event::Thread { at, ids, reading });
        }
        // Where its stdin and stdout files stood before it touched them.
        let root = self.root.clone();
        if let Some(process) = self.census.handle(target) {
            let (stdin_bytes, stdout_bytes) = (position(process, &root, 0), position(process, &root, 1));
            let reading = ProcessReading { stdin_bytes, stdout_bytes, ..ProcessReading::default() };
            emit(Event::Process { at, pid: target, parent: None, reading });
        }
    }

    /// One round of readings, if it is due; whether it was.
    pub fn round(&mut self, own_pid: u32, python: &Interpreters, emit: &mut dyn FnMut(Event)) -> bool {
        let began = clock::monotonic();
        if !self.visible || began < self.next {
            return false;
        }
        let cpu_before = clock::process_cpu();
        if !self.records {
            self.walk(own_pid, emit);
        }
        if self.threads || self.waits {
            self.read_threads(python, emit);
        }
        if began >= self.process_next || !self.records {
            self.read_processes(began, emit);
        }
        self.rounds = self.rounds.saturating_add(1);
        let cost = clock::process_cpu() - cpu_before;
        let wanted = if self.rounds < EAGER_ROUNDS { Span(self.interval.0 / 2) } else { self.interval };
        let rest = wanted.max(Span::from_secs_f64(cost.secs_f64() / BUDGET));
        // Jittered by half either way, so that no rhythm of the target is met always at the same beat.
        let jitter = 0.5 + self.random.f64();
        self.next = clock::monotonic() + Span((rest.0 as f64 * jitter) as u64);
        true
    }

    /// The last look at the target: it has ended but is not reaped, so its leader can still be read.
    pub fn last_look(&mut self, target: u32, emit: &mut dyn FnMut(Event)) {
        if !self.visible {
            return;
        }
        let at = clock::monotonic();
        let Ok(process) = Process::new_with_root(self.root.join(target.to_string())) else { return };
        if self.threads {
            let ids = Ids { pid: target, tid: target };
            if let Some(reading) = leader(&process).and_then(|task| thread_reading(&task, true, None)) {
                emit(Event::Thread { at, ids, reading });
            }
        }
        if let Some(reading) = process_reading(&process, &self.root, self.ticks_per_second, false) {
            emit(Event::Process { at, pid: target, parent: None, reading });
        }
    }

    fn walk(&mut self, own_pid: u32, emit: &mut dyn FnMut(Event)) {
        let mut found = Walk::default();
        let at = clock::monotonic();
        self.census.walk(own_pid, &mut found);
        for ids in found.gone {
            emit(Event::Gone { at, ids });
        }
        for (pid, parent, name) in found.changed {
            emit(Event::Exec { at, ids: Ids { pid, tid: pid }, name });
            self.tell_program(pid, parent, at, emit);
        }
        for (pid, parent) in found.new {
            self.tell_program(pid, parent, at, emit);
        }
    }

    fn tell_program(&mut self, pid: u32, parent: u32, at: Timestamp, emit: &mut dyn FnMut(Event)) {
        if let Some(event) = self.census.handle(pid).and_then(|process| program_of(process, pid, parent, at)) {
            emit(event);
        }
    }

    fn read_threads(&mut self, python: &Interpreters, emit: &mut dyn FnMut(Event)) {
        let mut all: Vec<Ids> = Vec::new();
        for pid in self.census.pids() {
            all.extend(self.census.threads(pid).iter().map(|&tid| Ids { pid, tid }));
        }
        let most = if self.records { THREADS_A_ROUND } else { THREADS_A_ROUND_ALONE };
        if all.len() > most {
            // Half of them at random, half of those that are at work.
            let mut recent = self.census.take_recent();
            self.random.shuffle(&mut recent);
            recent.truncate(most / 2);
            all = self.random.choose_multiple(all, most - recent.len());
            all.extend(recent);
        }
        all.sort_by_key(|ids| (ids.pid, ids.tid));
        all.dedup();
        let boot = self.boot_offset.map(|offset| (offset, self.ticks_per_second));
        let mut waits_refused = None;
        for ids in all {
            let with_switches = self.random.u8(..8) == 0;
            let started = if self.records { None } else { boot };
            let (wanted, waits) = (self.threads, self.waits);
            let Some(process) = self.census.handle(ids.pid) else { continue };
            let Some(task) = i32::try_from(ids.tid).ok().and_then(|tid| process.task_from_tid(tid).ok()) else {
                continue;
            };
            let at = clock::monotonic();
            let mut active = None;
            if waits {
                match syscall(&task) {
                    Ok(Some(call)) => {
                        self.waits_told = true;
                        active = Some(matches!(call, procfs::process::Syscall::Running));
                        let is_gil = |address| python.is_gil_futex(ids.pid, address);
                        if let Some(on) = classify(process, call, &mut self.sockets, is_gil) {
                            emit(Event::Waiting { at, ids, on });
                        }
                    }
                    Ok(None) => {}
                    Err(why) => waits_refused = Some(why),
                }
            }
            if wanted {
                let at = clock::monotonic();
                if let Some(mut reading) = thread_reading(&task, with_switches, started)
                    // Where we lost the CPU in between, the reading is of a later moment than it says.
                    && clock::monotonic().since(at) < PROMPT
                {
                    reading.active = active.or(reading.active);
                    emit(Event::Thread { at, ids, reading });
                }
            }
        }
        if let Some(why) = waits_refused
            && !self.waits_told
        {
            self.waits_refused.get_or_insert(why);
        }
    }

    fn read_processes(&mut self, now: Timestamp, emit: &mut dyn FnMut(Event)) {
        let full = now >= self.process_next;
        if full {
            self.process_next = now + PROCESS_INTERVAL;
        }
        let mut pids: Vec<u32> = self.census.pids().collect();
        if self.records && pids.len() > PROCESSES_A_ROUND {
            pids = self.random.choose_multiple(pids, PROCESSES_A_ROUND);
        }
        let (root, ticks) = (self.root.clone(), self.ticks_per_second);
        for (index, pid) in pids.into_iter().enumerate() {
            let at = clock::monotonic();
            let reading = if full && index < 4 * PROCESSES_A_ROUND {
                let Some(process) = self.census.handle(pid) else { continue };
                process_reading(process, &root, ticks, true)
            } else {
                None
            };
            // Without records even an empty reading closes the round of the process's threads.
            if reading.is_some() || !self.records {
                emit(Event::Process { at, pid, parent: None, reading: reading.unwrap_or_default() });
            }
        }
    }
}

fn leader(process: &Process) -> Option<Task> {
    process.task_main_thread().ok()
}

fn syscall(task: &Task) -> Result<Option<procfs::process::Syscall>, WhyNot> {
    match task.syscall() {
        Ok(call) => Ok(Some(call)),
        Err(procfs::ProcError::PermissionDenied(_)) => {
            Err(WhyNot::SyscallHidden { ptrace_scope: super::host::ptrace_scope() })
        }
        Err(_) => Ok(None),
    }
}

fn thread_reading(task: &Task, with_switches: bool, started: Option<(Span, u64)>) -> Option<ThreadReading> {
    let schedstat = task.schedstat().ok();
    let status = if with_switches { task.status().ok() } else { None };
    let stat = started.and_then(|_| task.stat().ok());
    let active = stat.as_ref().map(|stat| stat.state == 'R');
    let started = started.zip(stat).map(|((boot_offset, ticks), stat)| {
        // The middle of its clock tick, on the monotonic clock.
        let nanos = (stat.starttime as f64 + 0.5) / ticks as f64 * 1e9;
        Timestamp((nanos as u64).saturating_sub(boot_offset.0))
    });
    (schedstat.is_some() || status.is_some()).then(|| ThreadReading {
        on_cpu: schedstat.as_ref().map(|stat| Span(stat.sum_exec_runtime)),
        run_delay: schedstat.as_ref().map(|stat| Span(stat.run_delay)),
        slices: schedstat.as_ref().map(|stat| stat.pcount),
        voluntary: status.as_ref().and_then(|status| status.voluntary_ctxt_switches),
        involuntary: status.as_ref().and_then(|status| status.nonvoluntary_ctxt_switches),
        started,
        active,
    })
}

fn process_reading(process: &Process, root: &Path, ticks: u64, alive: bool) -> Option<ProcessReading> {
    let stat = process.stat().ok()?;
    let in_ticks = |count: u64| Some(Span::from_secs_f64(count as f64 / ticks as f64));
    let mut reading = ProcessReading {
        cpu_user: in_ticks(stat.utime),
        cpu_system: in_ticks(stat.stime),
        threads: u32::try_from(stat.num_threads).ok(),
        ..ProcessReading::default()
    };
    if alive {
        reading.rss_bytes = Some(stat.rss.saturating_mul(procfs::page_size())).filter(|&bytes| bytes > 0);
        reading.rss_peak_bytes =
            process.status().ok().and_then(|status| status.vmhwm).map(|kib| kib.saturating_mul(1024));
        reading.stdin_bytes = position(process, root, 0);
        reading.stdout_bytes = position(process, root, 1);
    }
    if let Ok(io) = process.io() {
        reading.read_chars = Some(io.rchar);
        reading.written_chars = Some(io.wchar);
        reading.disk_read_bytes = Some(io.read_bytes);
        reading.disk_written_bytes = Some(io.write_bytes);
    }
    Some(reading)
}

/// How far a regular file on this descriptor has been read or written.
fn position(process: &Process, root: &Path, fd: i32) -> Option<u64> {
    let directory = root.join(process.pid.to_string());
    let target = std::fs::read_link(directory.join(format!("fd/{fd}"))).ok()?;
    if !target.is_absolute() || target.starts_with("/dev") || target.starts_with("/proc") {
        return None;
    }
    let text = std::fs::read_to_string(directory.join(format!("fdinfo/{fd}"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()
}

fn program_of(process: &Process, pid: u32, parent: u32, at: Timestamp) -> Option<Event> {
    let argv = process.cmdline().ok()?;
    let exe = process.exe().ok().map(|path| path.to_string_lossy().into_owned());
    if argv.is_empty() && exe.is_none() {
        return None;
    }
    let argv = argv.into_iter().take(MOST_ARGUMENTS).map(|argument| shorten(argument, LONGEST_ARGUMENT)).collect();
    Some(Event::Program { at, pid, parent, exe, argv })
}

fn shorten(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
