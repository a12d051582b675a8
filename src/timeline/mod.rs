//! The timeline: events folded, as they arrive, into what each program's threads did. The same fold replays a recorded
//! trace and a drawn one. Memory is bounded by the living and by the number of programs, never by the length of the run.
//! Pure: touches no clock, file, environment, process or thread.

mod attribution;
mod backlog;
mod births;
mod bytes;
mod comms;
mod deaths;
mod descriptors;
mod fold;
mod gil;
mod image;
mod kinds;
mod ledger;
mod payloads;
mod process;
mod program;
mod readings;
mod reconcile;
mod records;
mod sample;
mod script;
mod series;
mod stuck;
mod tasks;
mod thread;
mod zombies;

pub use backlog::Backlog;
pub use descriptors::{DescriptorGrowth, Descriptors};
pub use gil::GilCounts;
pub use image::Image;
pub use payloads::{PayloadSums, SizeClass};
pub use program::{Helpers, Program, ProgramBytes, ProgramId, ProgramMemory};
pub use reconcile::{Demand, OwnWait};
pub use sample::{SampledTask, TaskSample};
pub use series::{Bin, Lane, Series};
pub use stuck::{Hangs, Hung};
pub use tasks::{Cold, CoroutineSums, Durations, TaskNote, Tasks};
pub use thread::{Activity, Interval, Step, ThreadClock, ThreadState};
pub use zombies::{MOST_ZOMBIES, Unreaped};

use crate::trace::Event;
use crate::units::{Span, Timestamp};

pub use fold::TimelineBuilder;

/// What the run's programs did.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// When the target began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Time that it was stopped.
    pub stopped: Span,
    /// The programs, in the order in which they appeared.
    pub programs: Vec<Program>,
    /// Whether switch records told who ran when, and until when they did.
    pub records: Records,
    /// Kernel records lost.
    pub lost_records: u64,
    /// Processes seen.
    pub processes: u64,
    /// Threads seen.
    pub threads: u64,
    /// Most resident memory of the whole tree at one reading.
    pub peak_tree_rss_bytes: Option<u64>,
    /// The host's idle share and our cgroup's throttled time, where that is all there is.
    pub host_idle: Option<(f64, Option<Span>)>,
    /// Processes of the cgroup that the kernel killed for want of memory.
    pub memory_kills: u64,
}

/// How far switch records reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// There were none.
    None,
    /// They ended before the run did.
    Until(Timestamp),
    /// For all of the run.
    Whole,
}

impl Timeline {
    /// On-CPU time of all programs, seconds.
    pub fn on_cpu(&self) -> f64 {
        self.programs.iter().map(|program| program.demand.on_cpu).sum()
    }

    /// Wall time of the target, stopped time left out.
    pub fn wall(&self) -> Span {
        self.end.since(self.start) - self.stopped
    }
}

/// Folds a whole trace: `start` and `target` from its header, `end` from its footer.
pub fn build<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    start: Timestamp,
    target: u32,
    end: Timestamp,
) -> Timeline {
    let mut builder = TimelineBuilder::new(start, target);
    for event in events {
        builder.push(event);
    }
    builder.finish(end)
}
