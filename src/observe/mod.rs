//! The instruments: switch records, /proc, counters, the agent inside Python. They report facts as trace events, adapt to their own cost, and
//! keep the reason for everything that was refused. Must not judge.

pub mod agent;
mod census;
mod counters;
mod files;
mod host;
mod ladder;
mod leavers;
mod pace;
mod probe;
mod python;
mod readings;
mod records;
mod sampler;
mod switches;
mod timed;
mod waits;
mod zombies;

pub use agent::{Agent, AgentPresence, NamedStage};
pub use host::{CgroupVersion, survey};
pub use ladder::{DISABLE, Disabled, UnknownSource};
pub use probe::{Finding, Findings, probe};
pub use python::{Call, Stack, Stacks};
pub use records::decode;
pub use switches::FORK_COST_NANOS;

use crate::sys::clock;
use crate::sys::poll::{Watched, wait};
use crate::target::{News, RunningTarget, SuspendedTarget, descends_from};
use crate::trace::{AgentFact, Counters, Coverage, Event, Refusal, Rung, WhyNot};
use crate::units::{Span, Timestamp, ratio};
use counters::RunningCounters;
use python::Interpreters;
use sampler::{Sampler, Scope};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use switches::{SETTLE_NANOS, SwitchRecords};

/// After the time limit's TERM, the target has this long before KILL.
const KILL_AFTER: Span = Span::from_millis(5_000);
/// A program whose end stands within so many events of its exec cannot be asked any more.
const SOON: usize = 64;
/// Signals that ask poolpick to end.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// How often a quiet run is looked at: rings are drained so that a live display and a recording keep up.
const IDLE_TICK: Span = Span::from_millis(200);

/// How Python programs are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PythonMode {
    /// By the agent inside them, and from outside.
    #[default]
    Agent,
    /// From outside alone.
    Sample,
    /// Not at all.
    Off,
}

/// What to measure with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Sources that are switched off.
    pub disabled: Disabled,
    /// Time between sampling rounds, if the user set one.
    pub interval: Option<Span>,
    /// When to end the target.
    pub timeout: Option<Span>,
    /// How Python programs are looked into.
    pub python: PythonMode,
    /// Whether what ends the run early, the time limit or a signal to poolpick, ends the target's whole tree. Else a signal
    /// is the target's own business, and who outlives it is left alone.
    pub ends_tree: bool,
}

/// Takes the facts as they come.
pub trait Sink {
    /// One event, in order of time.
    fn event(&mut self, event: &Event);
    /// A moment to show something; called a few times a second.
    fn tick(&mut self, now: Timestamp);
}

/// Instruments that wait for the target's exec.
#[derive(Debug)]
pub struct Instruments {
    records: Option<SwitchRecords>,
    counters: Option<RunningCounters>,
    sampler: Sampler,
    interpreters: Interpreters,
    scope: Scope,
    refusals: Vec<Refusal>,
    timeout: Option<Span>,
    ends_tree: bool,
    jiffies: Option<(u64, u64, u64)>,
    throttled: Option<Span>,
    memory_kills: Option<u64>,
    waiting: Vec<Event>,
    agent: Option<Agent>,
    /// Events that wait for the agent's of the same time, where no switch records do.
    held: Vec<Event>,
    /// Events before this have been passed on.
    passed: Timestamp,
}

/// How the run was seen.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Which sources were had.
    pub coverage: Coverage,
    /// Counters of the whole tree.
    pub counters: Counters,
    /// Whether the time limit ended it.
    pub timed_out: bool,
    /// A signal that asked poolpick to end; the target has it too.
    pub interrupted: Option<i32>,
    /// Descendants that live on.
    pub left_behind: u32,
    /// Share of CPU time that the hypervisor took.
    pub steal_ratio: Option<f64>,
    /// Where the agent told something, if the target was given it.
    pub agent: Option<AgentPresence>,
}

impl Instruments {
    /// Attaches to a target that waits for its exec, on the best rung that can be had. `agent` is what the target was
    /// given, or why it was given none.
    pub fn attach(target: &SuspendedTarget, options: &Options, agent: Option<Result<Agent, WhyNot>>) -> Instruments {
        let mut refusals = Vec::new();
        let mut refuse = |source: &str, why: WhyNot| refusals.push(Refusal { source: source.to_owned(), why });
        let disabled = options.disabled;
        let records = if disabled.perf {
            refuse("perf", WhyNot::Disabled);
            None
        } else {
            SwitchRecords::attach(target.pid(), &host::cpuset()).map_err(|why| refuse("perf", why)).ok()
        };
        let counters = (!disabled.counters && !disabled.perf).then(|| RunningCounters::attach(target.pid()));
        let root = Path::new("/proc");
        let readable = probe::schedstat_of(root, target.pid());
        let threads = match (disabled.schedstat, readable.clone()) {
            (true, _) => {
                refuse("schedstat", WhyNot::Disabled);
                false
            }
            (false, Err(why)) => {
                refuse("schedstat", why);
                false
            }
            (false, Ok(())) => true,
        };
        if disabled.waits {
            refuse("waits", WhyNot::Disabled);
        }
        let hidden = matches!(readable, Err(WhyNot::ProcHidden));
        let waits = !disabled.waits && !hidden && (threads || records.is_some());
        // Totals alone are the last rung: what /proc shows besides would be a stage tree without times.
        let visible = !hidden && (threads || records.is_some());
        if disabled.gil {
            refuse("gil", WhyNot::Disabled);
        }
        let locks = visible && !disabled.gil && options.python != PythonMode::Off;
        let scope = Scope { records: records.is_some(), threads, waits, visible, interval: options.interval };
        let mut sampler = Sampler::new(root, target.pid(), scope);
        let mut waiting = Vec::new();
        if threads {
            // The base line: what the child had used before its exec.
            sampler.base_line(target.pid(), &mut |event| waiting.push(event));
        }
        let agent = agent.and_then(|agent| agent.map_err(|why| refuse("agent", why)).ok());
        Instruments {
            records,
            counters,
            sampler,
            interpreters: Interpreters::new(root, target.pid(), locks),
            scope,
            refusals,
            timeout: options.timeout,
            ends_tree: options.ends_tree,
            jiffies: None,
            throttled: None,
            memory_kills: None,
            waiting,
            agent,
            held: Vec::new(),
            passed: Timestamp(0),
        }
    }

    /// The rung that tells who ran when.
    pub fn rung(&self) -> Rung {
        match (self.records.is_some(), self.scope.threads) {
            (true, _) => Rung::Perf,
            (false, true) => Rung::Schedstat,
            (false, false) => Rung::Rusage,
        }
    }

    /// Watches until the target has ended; it is not reaped yet.
    ///
    /// # Errors
    /// Those of waiting for descriptors and signals.
    pub fn watch(mut self, target: &mut RunningTarget, sink: &mut dyn Sink) -> io::Result<Observation> {
        let started = target.started();
        // Read when the target runs already: it should not wait for this, and a clock tick is longer than that takes.
        (self.jiffies, self.throttled) = (host::cpu_jiffies(), host::throttled());
        self.memory_kills = host::memory_kills();
        for event in std::mem::take(&mut self.waiting) {
            sink.event(&event);
        }
        if self.records.is_none() {
            sink.event(&Event::SwitchesEnd { at: started });
        }
        let own_pid = std::process::id();
        let mut deadline = self.timeout.map(|limit| started + limit);
        let (mut told_to_end, mut timed_out) = (false, false);
        let mut interrupted = None;
        let mut lost = 0;
        let mut rung = self.rung();
        let mut hung_up = Vec::new();
        let ended = loop {
            let now = clock::monotonic();
            let due = if self.scope.visible { self.sampler.due() } else { now + IDLE_TICK };
            let mut pause = due.since(now).min(IDLE_TICK);
            if let Some(deadline) = deadline {
                pause = pause.min(deadline.since(now));
            }
            if let Some(agent) = &self.agent {
                pause = pause.min(agent.due().since(now));
            }
            let mut watched = vec![Watched::new(target.signal_fd().as_raw_fd())];
            if let Some(records) = &self.records {
                pause = pause.min(records.patience());
                // A ring whose tasks have all ended is always ready; it is drained at every round all the same.
                watched.extend(records.descriptors().filter(|fd| !hung_up.contains(fd)).map(Watched::new));
            }
            self.pause(&mut watched, now + pause, sink)?;
            hung_up.extend(watched.iter().skip(1).filter(|ring| ring.hung_up).map(|ring| ring.fd));
            let news = if watched[0].readable {
                target.news()?
            } else {
                target.nothing_new();
                Vec::new()
            };
            let mut ended = None;
            for news in news {
                match news {
                    News::Stopped { at } => self.emit(Event::Stopped { at }, sink),
                    News::Continued { at } => self.emit(Event::Continued { at }, sink),
                    News::Ended { at } => ended = Some(at),
                    News::Interrupted { signal } if ENDING.contains(&signal) => interrupted = Some(signal),
                    News::Orphan { pid, .. } => self.sampler.adopted(pid),
                    News::Interrupted { .. } => {}
                }
            }
            let now = clock::monotonic();
            if ended.is_none() {
                let mut readings = Vec::new();
                if self.sampler.round(own_pid, &self.interpreters, &mut |event| readings.push(event))
                    && let Some(pid) = self.sampler.outlives_its_records()
                {
                    lost += self.step_down(now, WhyNot::Privileges { pid }, sink);
                    rung = self.rung();
                }
                for event in readings {
                    self.emit(event, sink);
                }
            }
            self.ask_agent();
            lost += self.drain(now, false, sink);
            let too_dear = self.records.as_mut().and_then(|records| {
                let switches = records.switches_too_fast(now).map(|per_second| WhyNot::SwitchesTooFast { per_second });
                switches.or_else(|| records.forks_too_fast(now).map(|per_second| WhyNot::ForksTooFast { per_second }))
            });
            // Without the next rung records are dear but all there is.
            if let Some(why) = too_dear.filter(|_| self.scope.threads) {
                lost += self.step_down(now, why, sink);
                rung = self.rung();
            }
            sink.tick(now);
            if let Some(at) = ended {
                break at;
            }
            let unwanted = self.ends_tree && interrupted.is_some();
            if unwanted && !told_to_end {
                deadline = Some(now);
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                let signal = if told_to_end { libc::SIGKILL } else { libc::SIGTERM };
                target.terminate(signal, &self.tree(own_pid));
                deadline = Some(now + KILL_AFTER);
                timed_out |= !unwanted;
                told_to_end = true;
            }
        };
        let mut readings = Vec::new();
        self.sampler.last_look(target.pid(), &mut |event| readings.push(event));
        for event in readings {
            self.emit(event, sink);
        }
        let presence = self.ask_agent_last();
        lost += self.drain(ended, true, sink);
        let steal_ratio = self.host_idle(ended, sink);
        if let (Some(before), Some(after)) = (self.memory_kills, host::memory_kills())
            && after > before
        {
            sink.event(&Event::MemoryKills { at: ended, kills: after - before });
        }
        if let Some(why) = self.sampler.waits_refused.take() {
            self.refusals.push(Refusal { source: "waits".to_owned(), why });
        }
        if let Some(why) = self.interpreters.take_refused() {
            self.refusals.push(Refusal { source: "gil".to_owned(), why });
        }
        if self.ends_tree && (timed_out || interrupted.is_some()) {
            leavers::end(target);
        }
        let left_behind = if probe::proc_is_ours(Path::new("/proc")) {
            leavers::left_behind(Path::new("/proc"), own_pid, target.pid())
        } else {
            0
        };
        Ok(Observation {
            coverage: Coverage { scheduler: rung, refusals: self.refusals, lost_records: lost },
            counters: self.counters.as_mut().map(RunningCounters::read).unwrap_or_default(),
            timed_out,
            interrupted,
            left_behind,
            steal_ratio,
            agent: presence,
        })
    }

    /// Waits for a descriptor until `until`; meanwhile interpreter locks are read, and nothing else is done.
    fn pause(&mut self, watched: &mut [Watched], until: Timestamp, sink: &mut dyn Sink) -> io::Result<()> {
        let mut spent = None;
        loop {
            let now = clock::monotonic();
            let due = self.interpreters.due().filter(|&due| due < until);
            if let Some(due) = due {
                let before = spent.unwrap_or_else(clock::process_cpu);
                spent = Some(before);
                if due <= now && now < until {
                    let mut readings = Vec::new();
                    spent = Some(self.interpreters.round(before, &mut |event| readings.push(event)));
                    for event in readings {
                        self.emit(event, sink);
                    }
                    continue;
                }
            }
            wait(watched, due.unwrap_or(until).since(now))?;
            let ready = watched.iter().any(|watched| watched.readable || watched.hung_up);
            if ready || due.is_none() || clock::monotonic() >= until {
                return Ok(());
            }
        }
    }

    /// Everybody below us: by a look at /proc where it is ours, else by the records.
    fn tree(&self, own_pid: u32) -> Vec<u32> {
        let root = Path::new("/proc");
        if probe::proc_is_ours(root) {
            census::descendants(root, own_pid, None)
        } else {
            self.sampler.census().pids().collect()
        }
    }

    /// Events of other instruments wait for the switch records of the same time, where there are some, and for the
    /// agent's.
    fn emit(&mut self, event: Event, sink: &mut dyn Sink) {
        self.interpreters.follow(&event);
        match &mut self.records {
            Some(records) => records.insert(event),
            None if self.agent.is_some() => self.held.push(event),
            None => sink.event(&event),
        }
    }

    /// Reads the agent's channels, if it is time.
    fn ask_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let (records, held, sampler) = (&mut self.records, &mut self.held, &self.sampler);
        let interpreters = &mut self.interpreters;
        let mut began = Vec::new();
        agent.round(self.passed, &mut |pid| is_ours(sampler, pid), &mut |event| match records {
            Some(records) => records.insert(event),
            None => {
                interpreters.follow(&event);
                began.extend(agent_began(&event));
                held.push(event);
            }
        });
        for (pid, at) in began {
            self.sampler.agent_began(pid, at, &mut self.held);
        }
    }

    /// Reads them for the last time.
    fn ask_agent_last(&mut self) -> Option<AgentPresence> {
        let agent = self.agent.as_mut()?;
        let (records, held, sampler) = (&mut self.records, &mut self.held, &self.sampler);
        let mut began = Vec::new();
        let presence = agent.finish(self.passed, &mut |pid| is_ours(sampler, pid), &mut |event| match records {
            Some(records) => records.insert(event),
            None => {
                began.extend(agent_began(&event));
                held.push(event);
            }
        });
        for (pid, at) in began {
            self.sampler.agent_began(pid, at, &mut self.held);
        }
        // Takes the directory away.
        self.agent = None;
        Some(presence)
    }

    /// Passes on what is in order up to `now`, or all; returns the records lost.
    fn drain(&mut self, now: Timestamp, last: bool, sink: &mut dyn Sink) -> u64 {
        // What the agent has not been asked for yet may come before what the rings hold already.
        let now = self.agent.as_ref().filter(|_| !last).map_or(now, |agent| agent.settled(now).min(now));
        self.passed = if last { now } else { Timestamp(now.0.saturating_sub(SETTLE_NANOS)) }.max(self.passed);
        let Some(records) = &mut self.records else {
            self.held.sort_by_key(Event::at);
            let count =
                if last { self.held.len() } else { self.held.partition_point(|event| event.at() < self.passed) };
            self.held.drain(..count).for_each(|event| sink.event(&event));
            return 0;
        };
        let mut lost = 0;
        records.drain(now, last);
        let records = &*records;
        let events = records.settled();
        for (index, event) in events.iter().enumerate() {
            self.sampler.follow(event);
            self.interpreters.follow(event);
            sink.event(event);
            match event {
                Event::Lost { records, .. } => lost += records,
                // Who has ended can be read until somebody waits for it.
                Event::Exit { at, ids } if ids.pid == ids.tid => {
                    if let Some(last) = self.sampler.last_bytes(ids.pid, *at) {
                        sink.event(&last);
                    }
                }
                // Read at once: a short program is gone soon. Its arguments belong right behind its exec.
                Event::Exec { at, ids, name } => {
                    // Or is another program by now: what `/proc` says is that one's.
                    let gone = events[index + 1..].iter().take(SOON).any(|later| match later {
                        Event::Exit { ids: ended, .. } => ended == ids,
                        Event::Exec { ids: replaced, .. } => replaced.pid == ids.pid,
                        _ => false,
                    });
                    let gone = gone || records.is_ending(*ids);
                    if !gone && let Some(program) = self.sampler.program(ids.pid, name, *at) {
                        sink.event(&program);
                    }
                }
                _ => {}
            }
        }
        lost
    }

    /// Gives switch records up and goes on with readings alone.
    fn step_down(&mut self, now: Timestamp, why: WhyNot, sink: &mut dyn Sink) -> u64 {
        self.ask_agent();
        let lost = self.drain(now, true, sink);
        self.records = None;
        self.sampler.take_over();
        self.refusals.push(Refusal { source: Rung::Perf.word().to_owned(), why });
        sink.event(&Event::SwitchesEnd { at: now });
        lost
    }

    /// How idle the host was: the only hint of queueing where no scheduler source is there.
    fn host_idle(&self, at: Timestamp, sink: &mut dyn Sink) -> Option<f64> {
        let ((idle_before, steal_before, all_before), (idle, steal, all)) = (self.jiffies?, host::cpu_jiffies()?);
        let all = all.saturating_sub(all_before) as f64;
        let share = ratio(idle.saturating_sub(idle_before) as f64, all)?;
        let throttled = match (self.throttled, host::throttled()) {
            (Some(before), Some(after)) => Some(after - before),
            _ => None,
        };
        sink.event(&Event::HostIdle { at, share: share.min(1.0), throttled });
        ratio(steal.saturating_sub(steal_before) as f64, all)
    }
}

/// The process that an agent began in, and when; not one that was forked with it.
fn agent_began(event: &Event) -> Option<(u32, Timestamp)> {
    match event {
        Event::Agent { at, pid, fact: AgentFact::Began { forked: false, .. } } => Some((*pid, *at)),
        _ => None,
    }
}

/// Whether a living process is the target's: by the census, or where that does not know it, by its parents.
fn is_ours(sampler: &Sampler, pid: u32) -> bool {
    let root = Path::new("/proc");
    !sampler.census().threads(pid).is_empty() || !probe::proc_is_ours(root) || descends_from(pid, std::process::id())
}
