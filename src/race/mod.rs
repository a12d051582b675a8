//! A race: the executors themselves, measured on the user's own function and items, or a command at several numbers of
//! workers. The noun is [`Outcome`], the verb [`race`]. Must not predict, and must not print.

mod command;
mod driver;
mod processes;
mod rounds;
mod summary;

pub use command::{Commands, Measure};
pub use driver::{About, Driver, Loading, NoDriver, write_driver};
pub use processes::Signals;
pub use rounds::{Pace, Progress, race};
pub use summary::{Expectation, Summary, summarize};

use crate::report::race::Entrant;
use std::io;

/// One measurement of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Tasks finished, or the work that a command did.
    pub work: f64,
    /// Tasks finished, failed ones included.
    pub tasks: u64,
    /// Of these, tasks that failed.
    pub errors: u64,
    /// What the first of them failed of.
    pub first_error: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
    /// 95th percentile of the time of a task.
    pub p95_seconds: Option<f64>,
    /// From making the pool to its last worker's first answer.
    pub start_seconds: Option<f64>,
    /// Share of the time that a serial run was runnable without a CPU: others had them.
    pub run_queue_share: Option<f64>,
}

impl Sample {
    /// Work a second.
    pub fn rate(&self) -> f64 {
        self.work / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Why a measurement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Missed {
    /// This cell cannot be measured; others can.
    #[error("{0}")]
    Cell(String),
    /// The user wants no more.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// The system refused something that is always there.
    #[error("racing: {0}")]
    System(#[from] io::Error),
}

/// What can measure cells.
pub trait Track {
    /// Measures a cell for about so many seconds; one task is expected to take `task_seconds`.
    ///
    /// # Errors
    /// Why it gave nothing.
    fn measure(&mut self, cell: Entrant, seconds: f64, task_seconds: f64) -> Result<Sample, Missed>;
}

/// A cell with what was measured of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Which.
    pub cell: Entrant,
    /// Its measurements, each with the number of its round.
    pub samples: Vec<(u32, Sample)>,
    /// Why there are no more.
    pub failure: Option<String>,
}

/// What ended a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All intervals were narrow.
    Narrow,
    /// The time was over.
    Budget,
    /// This signal.
    Interrupted(i32),
}

/// A race that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The first is the baseline.
    pub lanes: Vec<Lane>,
    /// Rounds that were begun.
    pub rounds: u32,
    /// Seconds from the first measurement to the last.
    pub seconds: f64,
    /// What ended it.
    pub ended: Ended,
}
