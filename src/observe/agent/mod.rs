//! The agent inside Python processes, seen from outside: the private directory that it is loaded from, and the channels
//! that it writes to (docs/agent-channel.md). Tells facts as events that fit in order of time among those of other
//! instruments. Must not judge, and must not wait for the agent or be waited for.

mod follow;
mod home;
mod kept;
pub mod layout;
mod named;
mod reader;
mod trial;

pub use follow::{Follower, Moment, NoChannel, Pages};
pub use home::Home;
pub use named::NamedStage;
pub use reader::{AgentPresence, EXEC_BEFORE, Reader, moment};
pub use trial::try_out;

use super::{Options, PythonMode};
use crate::sys::clock;
use crate::target::EnvironmentChange;
use crate::trace::{Event, WhyNot};
use crate::units::{Span, Timestamp};

/// Time between two rounds where there are channels.
const INTERVAL: Span = Span::from_millis(25);
/// The same where there are none: a ring should not be full before it is found.
const IDLE: Span = Span::from_millis(50);
/// Rounds come no closer than this, whoever else wakes poolpick.
const CLOSEST: Span = Span::from_millis(1);
/// A dear round is followed by a longer rest, up to this: a ring holds more than the agent writes in it.
const LONGEST: Span = Span::from_millis(50);
/// Share of one core that rounds may cost before they are made rarer.
const BUDGET: f64 = 0.004;
/// Events of other instruments wait for a round at most so long.
const PATIENCE: Span = Span::from_millis(250);

/// The agent of one run.
#[derive(Debug)]
pub struct Agent {
    // In this order: nothing is read from a directory that is gone.
    reader: Reader,
    home: Home,
    /// When the last round began that reached all channels: what is written up to then has been read.
    read: Timestamp,
    /// When the next round may begin.
    next: Timestamp,
}

impl Agent {
    /// Makes the directory, if the agent is wanted at all.
    ///
    /// # Errors
    /// Why it is wanted and not to be had.
    pub fn prepare(options: &Options) -> Option<Result<Agent, WhyNot>> {
        if options.python != PythonMode::Agent {
            return None;
        }
        if options.disabled.agent {
            return Some(Err(WhyNot::Disabled));
        }
        Some(Home::make().map(|home| Agent {
            reader: Reader::new(home.channel()),
            home,
            read: clock::monotonic(),
            next: Timestamp(0),
        }))
    }

    /// What the target's environment must say; `stages` are `NAME=MODULE:FUNCTION`.
    pub fn environment(&self, stages: &[String]) -> Vec<EnvironmentChange> {
        self.home.environment(stages)
    }

    /// When it wants to be called.
    pub fn due(&self) -> Timestamp {
        self.next.max(self.read + if self.reader.open() > 0 { INTERVAL } else { IDLE })
    }

    /// Up to when events of all instruments are known, so that they can be passed on in order.
    pub fn settled(&self, now: Timestamp) -> Timestamp {
        self.read.max(Timestamp(now.0.saturating_sub(PATIENCE.0)))
    }

    /// Reads what is new, if it is time. Events before `open_from` have been passed on. `belongs` tells whether a living
    /// process is the target's.
    pub fn round(&mut self, open_from: Timestamp, belongs: &mut dyn FnMut(u32) -> bool, emit: &mut dyn FnMut(Event)) {
        let moment = moment(open_from, false);
        if moment.now < self.next {
            return;
        }
        if self.reader.round(moment, belongs, emit) {
            self.read = moment.now;
        }
        let ended = clock::monotonic();
        let rest = Span::from_secs_f64(ended.since(moment.now).secs_f64() / BUDGET);
        self.next = ended + if self.reader.open() > 0 { rest.max(CLOSEST).min(LONGEST) } else { CLOSEST };
    }

    /// Reads everything for the last time.
    pub fn finish(
        &mut self,
        open_from: Timestamp,
        belongs: &mut dyn FnMut(u32) -> bool,
        emit: &mut dyn FnMut(Event),
    ) -> AgentPresence {
        self.reader.finish(moment(open_from, true), belongs, emit);
        self.reader.presence().clone()
    }
}
