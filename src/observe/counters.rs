//! perf counters over the whole tree: what the machine counts beside time. Each may be missing.
//!
//! Software counters are left out on purpose: every one of them costs each context switch about 0.1 µs (`cargo bench
//! --bench overhead`), and the kernel's totals have their figures.

use crate::sys::ring::close_on_exec;
use crate::trace::Counters;
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Counters that are running.
#[derive(Debug, Default)]
pub struct RunningCounters {
    instructions: Option<Counter>,
    cycles: Option<Counter>,
}

impl RunningCounters {
    /// Opens what can be had on process `pid`, from its exec on, inherited by its descendants.
    pub fn attach(pid: u32) -> RunningCounters {
        let Ok(pid) = i32::try_from(pid) else { return RunningCounters::default() };
        let instructions = open(pid, Hardware::INSTRUCTIONS);
        // A machine without the first has no counters at all.
        let cycles = instructions.as_ref().and_then(|_| open(pid, Hardware::CPU_CYCLES));
        RunningCounters { instructions, cycles }
    }

    /// Reads them. A counter that shared its register is scaled to the whole time, as `perf stat` does.
    pub fn read(&mut self) -> Counters {
        Counters { instructions: value(&mut self.instructions), cycles: value(&mut self.cycles) }
    }
}

fn open(pid: i32, event: Hardware) -> Option<Counter> {
    let mut builder = Builder::new().kind(event).observe_pid(pid).any_cpu();
    builder.inherit(true).enable_on_exec(true).exclude_kernel(true).exclude_hv(true);
    let counter = builder.build().ok()?;
    close_on_exec(&counter).ok()?;
    Some(counter)
}

fn value(counter: &mut Option<Counter>) -> Option<u64> {
    let read = counter.as_mut()?.read_count_and_time().ok()?;
    if read.time_running == 0 {
        return None;
    }
    Some((read.count as f64 * read.time_enabled as f64 / read.time_running as f64) as u64)
}
