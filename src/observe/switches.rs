//! The best rung: context-switch records of every thread of the tree, exact and unprivileged, one ring a CPU.
//!
//! An inherited event on every CPU makes each fork dearer with every core, so only the CPUs of the cpuset get one, and
//! the instrument gives itself up when the target forks so fast that it would be felt.

use super::records::{SAMPLE_TYPE, decode};
use crate::sys::ring::{Ring, close_on_exec, page_size};
use crate::trace::{Event, Ids, WhyNot};
use crate::units::{Span, Timestamp};
use perf_event::events::Software;
use perf_event::{Builder, Clock, Counter};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Most memory for all rings together: they count towards our resident memory and the user's locked memory.
const RINGS_BYTES: usize = 8 << 20;
/// Data of one ring: at most 512 KiB, which with its header page is `perf_event_mlock_kb`'s default of 516 KiB.
const LARGEST_RING: usize = 512 << 10;
/// Fewer pages hold too few records to last from one drain to the next.
const FEWEST_PAGES: usize = 4;
/// Records younger than this wait for the next drain: another CPU may still be writing an older one.
pub(super) const SETTLE_NANOS: u64 = 1_000_000;
/// What one inherited event costs a fork and exit, nanoseconds (`cargo bench --bench fork` measures it).
pub const FORK_COST_NANOS: u64 = 1_500;
/// What the two records of a context switch cost the target, nanoseconds (the same benchmark).
const SWITCH_COST_NANOS: u64 = 1_000;
/// Share of a CPU's time that this may cost before the instrument gives itself up.
const SWITCH_BUDGET: f64 = 0.05;
/// Time over which the rate of switches is taken: short, since until its end the target pays.
const SWITCH_WINDOW: Span = Span::from_millis(50);
/// Share of one core that this may cost before the instrument gives itself up.
const FORK_BUDGET: f64 = 0.10;
/// Threads that end in a second, counted over a switch window, above which nobody waits for rings: the kernel wakes whoever
/// does at each end of an inherited event, whether there is anything to read or not.
const ENDS_A_SECOND: f64 = 100.0;
/// Rings that nobody waits for are drained at least so often. A ring of 512 KiB holds what half a million switches a second
/// write in 20 ms.
const UNWATCHED_PAUSE: Span = Span::from_millis(10);

/// The rings of one target.
#[derive(Debug)]
pub struct SwitchRecords {
    rings: Vec<(Counter, Ring)>,
    /// Records of each ring since the window began.
    counts: Vec<u64>,
    counted_from: Timestamp,
    /// Threads that ended since the window began.
    ends: u64,
    ends_often: bool,
    settled: Vec<Event>,
    pending: Vec<Event>,
    forks: u64,
    window: (Timestamp, u64),
}

impl SwitchRecords {
    /// Opens one event and ring a CPU on process `pid`, which must not have exec'd yet: records begin with its exec.
    ///
    /// # Errors
    /// Why the kernel refuses, with what would change that.
    pub fn attach(pid: u32, cpus: &[usize]) -> Result<SwitchRecords, WhyNot> {
        let pid = i32::try_from(pid).map_err(|_| WhyNot::Errno(libc::ESRCH))?;
        let page = page_size();
        let share = (RINGS_BYTES / cpus.len().max(1)).min(LARGEST_RING) / page;
        let mut pages = prev_power_of_two(share.max(FEWEST_PAGES));
        loop {
            match Self::open_all(pid, cpus, pages) {
                Ok(rings) => {
                    return Ok(SwitchRecords {
                        counts: vec![0; rings.len()],
                        counted_from: Timestamp(0),
                        rings,
                        ends: 0,
                        // Who knows at the beginning.
                        ends_often: true,
                        settled: Vec::new(),
                        pending: Vec::new(),
                        forks: 0,
                        window: (Timestamp(0), 0),
                    });
                }
                Err(Refused::Map(error)) if is_memory(&error) && pages > FEWEST_PAGES => pages /= 2,
                Err(Refused::Map(error)) if is_memory(&error) => return Err(super::ladder::locked_memory()),
                Err(Refused::Map(error) | Refused::Open(error)) => return Err(super::ladder::explain_perf(&error)),
            }
        }
    }

    fn open_all(pid: i32, cpus: &[usize], pages: usize) -> Result<Vec<(Counter, Ring)>, Refused> {
        let mut rings = Vec::with_capacity(cpus.len());
        for &cpu in cpus {
            let event = match open_event(pid, cpu, pages * page_size() / 4) {
                Ok(event) => event,
                // A CPU that is offline or was taken away since the list was read.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) && cpus.len() > 1 => continue,
                Err(error) => return Err(Refused::Open(error)),
            };
            let ring = Ring::map(&event, pages).map_err(Refused::Map)?;
            rings.push((event, ring));
        }
        if rings.is_empty() {
            return Err(Refused::Open(io::Error::from_raw_os_error(libc::ENODEV)));
        }
        Ok(rings)
    }

    /// Descriptors that become readable when a ring is a quarter full. None while threads end so often that waiting for
    /// them would be waking up in vain.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.rings.iter().filter(|_| !self.ends_often).map(|(event, _)| event.as_raw_fd())
    }

    /// How long one may wait for [`SwitchRecords::descriptors`].
    pub fn patience(&self) -> Span {
        if self.ends_often { UNWATCHED_PAUSE } else { Span(u64::MAX) }
    }

    /// Whether a thread ends among the records that are still to settle.
    pub fn is_ending(&self, ids: Ids) -> bool {
        self.pending.iter().any(|event| matches!(event, Event::Exit { ids: ended, .. } if *ended == ids))
    }

    /// How many rings, and the bytes of one.
    pub fn rings(&self) -> (usize, usize) {
        (self.rings.len(), self.rings.first().map_or(0, |(_, ring)| ring.capacity()))
    }

    /// Reads all rings. Those events settle that are old enough to be in order; with `last`, all of them.
    pub fn drain(&mut self, now: Timestamp, last: bool) {
        self.settled.clear();
        let (pending, forks, ends) = (&mut self.pending, &mut self.forks, &mut self.ends);
        for ((_, ring), count) in self.rings.iter_mut().zip(&mut self.counts) {
            ring.drain(|record| {
                *count += 1;
                if let Some(event) = decode(record) {
                    *forks += u64::from(matches!(event, Event::Fork { .. }));
                    *ends += u64::from(matches!(event, Event::Exit { .. }));
                    pending.push(event);
                }
            });
        }
        // Each ring is in order already: a stable sort merges such runs in linear time.
        pending.sort_by_key(Event::at);
        let horizon = if last { Timestamp(u64::MAX) } else { Timestamp(now.0.saturating_sub(SETTLE_NANOS)) };
        let count = pending.partition_point(|event| event.at() < horizon);
        self.settled.extend(pending.drain(..count));
    }

    /// The events that settled in the last drain, in order.
    pub fn settled(&self) -> &[Event] {
        &self.settled
    }

    /// Adds an event of another instrument, so that it comes out in its place in time.
    pub fn insert(&mut self, event: Event) {
        self.pending.push(event);
    }

    /// Whether a CPU switches so fast that the records would be felt; the rate, if so. Each switch writes two.
    pub fn switches_too_fast(&mut self, now: Timestamp) -> Option<u64> {
        let seconds = now.since(self.counted_from).secs_f64();
        if self.counted_from.0 != 0 && seconds < SWITCH_WINDOW.secs_f64() {
            return None;
        }
        let busiest = self.counts.iter().max().copied().unwrap_or(0) as f64 / 2.0;
        let first = self.counted_from.0 == 0;
        self.counts.fill(0);
        self.counted_from = now;
        let ends = std::mem::take(&mut self.ends);
        if !first {
            self.ends_often = ends as f64 / seconds > ENDS_A_SECOND;
        }
        let rate = busiest / seconds;
        (!first && rate * SWITCH_COST_NANOS as f64 / 1e9 > SWITCH_BUDGET).then_some(rate as u64)
    }

    /// Whether the target forks so fast that the inherited events would be felt; the rate, if so.
    pub fn forks_too_fast(&mut self, now: Timestamp) -> Option<u64> {
        let (since, before) = self.window;
        if since.0 == 0 {
            self.window = (now, self.forks);
            return None;
        }
        let seconds = now.since(since).secs_f64();
        if seconds < 1.0 {
            return None;
        }
        let rate = (self.forks - before) as f64 / seconds;
        self.window = (now, self.forks);
        let cost = rate * self.rings.len() as f64 * FORK_COST_NANOS as f64 / 1e9;
        (cost > FORK_BUDGET).then_some(rate as u64)
    }
}

enum Refused {
    Open(io::Error),
    Map(io::Error),
}

fn is_memory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOMEM))
}

fn prev_power_of_two(value: usize) -> usize {
    1 << value.max(1).ilog2()
}

fn open_event(pid: i32, cpu: usize, watermark: usize) -> io::Result<Counter> {
    let mut builder = Builder::new().kind(Software::DUMMY).observe_pid(pid).one_cpu(cpu);
    builder
        .inherit(true)
        .enable_on_exec(true)
        .exclude_kernel(true)
        .exclude_hv(true)
        .context_switch(true)
        .task(true)
        .comm(true)
        .comm_exec(true)
        .sample_id_all(true)
        .clockid(Clock::MONOTONIC)
        .wakeup_watermark(watermark);
    builder.attrs_mut().sample_type = SAMPLE_TYPE;
    let event = builder.build()?;
    close_on_exec(&event)?;
    Ok(event)
}
