//! perf counters over the whole tree: what the machine counts beside time. Each may be missing.

use super::host::perf_event_paranoid;
use crate::sys::identity::effective_uid;
use crate::sys::ring::close_on_exec;
use crate::trace::Counters;
use perf_event::events::{Event, Hardware, Software};
use perf_event::{Builder, Counter};

/// Counters that are running.
#[derive(Debug, Default)]
pub struct RunningCounters {
    task_clock: Option<Counter>,
    instructions: Option<Counter>,
    cycles: Option<Counter>,
    migrations: Option<Counter>,
    page_faults: Option<Counter>,
}

impl RunningCounters {
    /// Opens what can be had on process `pid`, from its exec on, inherited by its descendants.
    pub fn attach(pid: u32) -> RunningCounters {
        let Ok(pid) = i32::try_from(pid) else { return RunningCounters::default() };
        // Software events that happen in the kernel read 0 where the kernel is excluded: then they are unknown.
        let kernel = effective_uid() == 0 || perf_event_paranoid().is_some_and(|paranoid| paranoid < 2);
        let in_kernel = |event: Software| if kernel { open(pid, event.into(), true) } else { None };
        RunningCounters {
            task_clock: open(pid, Software::TASK_CLOCK.into(), kernel),
            instructions: open(pid, Hardware::INSTRUCTIONS.into(), false),
            cycles: open(pid, Hardware::CPU_CYCLES.into(), false),
            migrations: in_kernel(Software::CPU_MIGRATIONS),
            page_faults: in_kernel(Software::PAGE_FAULTS),
        }
    }

    /// Reads them. A counter that shared its register is scaled to the whole time, as `perf stat` does.
    pub fn read(&mut self) -> Counters {
        Counters {
            task_clock_seconds: value(&mut self.task_clock).map(|nanos| nanos / 1e9),
            instructions: value(&mut self.instructions).map(|count| count as u64),
            cycles: value(&mut self.cycles).map(|count| count as u64),
            migrations: value(&mut self.migrations).map(|count| count as u64),
            page_faults: value(&mut self.page_faults).map(|count| count as u64),
        }
    }
}

fn open(pid: i32, event: Event, kernel: bool) -> Option<Counter> {
    let mut builder = Builder::new().kind(event).observe_pid(pid).any_cpu();
    builder.inherit(true).enable_on_exec(true).exclude_kernel(!kernel).exclude_hv(true);
    let counter = builder.build().ok()?;
    close_on_exec(&counter).ok()?;
    Some(counter)
}

fn value(counter: &mut Option<Counter>) -> Option<f64> {
    let read = counter.as_mut()?.read_count_and_time().ok()?;
    if read.time_running == 0 {
        return None;
    }
    Some(read.count as f64 * read.time_enabled as f64 / read.time_running as f64)
}
