//! A line on the terminal while a long run goes on: elapsed, CPU, class so far. Only where nobody else owns the screen.

use crate::sys::tty;
use crate::units::{Span, Timestamp, ratio};
use crate::verdict::Thresholds;
use std::io::Write;

/// A run shorter than this shows none.
const PATIENCE: Span = Span::from_millis(2_000);
/// Time between two lines.
const REFRESH: Span = Span::from_millis(500);

/// The line.
#[derive(Debug)]
pub struct Live {
    wanted: bool,
    started: Timestamp,
    next: Timestamp,
    shown: bool,
    thresholds: Thresholds,
}

impl Live {
    /// For a run that began at `started`; never shown if not `wanted`.
    pub fn new(wanted: bool, started: Timestamp, thresholds: Thresholds) -> Live {
        Live { wanted, started, next: started + PATIENCE, shown: false, thresholds }
    }

    /// Shows the state if it is time; `so_far` gives on-CPU and own-wait seconds.
    pub fn tick(&mut self, now: Timestamp, so_far: impl FnOnce() -> (f64, f64)) {
        if !self.wanted || now < self.next {
            return;
        }
        self.next = now + REFRESH;
        if !tty::stderr_is_foreground_terminal() {
            return;
        }
        let (on_cpu, own) = so_far();
        let class = match ratio(on_cpu, on_cpu + own) {
            None => "nothing to judge",
            Some(score) if score < self.thresholds.io => "io-bound",
            Some(score) if score > self.thresholds.cpu => "cpu-bound",
            Some(_) => "hybrid",
        };
        let elapsed = now.since(self.started).secs_f64();
        let line = format!("poolpick: {elapsed:.0} s, CPU {on_cpu:.1} s, {class} so far");
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
        self.shown = true;
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
