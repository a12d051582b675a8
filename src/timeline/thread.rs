//! The state machine of one thread: switch records in, intervals out. It is total: every record in every state has an
//! arm, because records can be lost or arrive a little out of order. Must not know processes, programs or waits.
//!
//! ```text
//!           SwitchIn                 SwitchOut(Preempted)
//!  Blocked ──────────► Running ─────────────────────────► Preempted
//!     ▲                  │  ▲                                 │
//!     └──────────────────┘  └─────────────────────────────────┘
//!      SwitchOut(Blocked)                SwitchIn
//! ```

use crate::trace::SwitchOut;
use crate::units::{Span, Timestamp};

/// What a thread does, as far as switch records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadState {
    /// Nothing was seen of it yet.
    Unseen,
    /// On a CPU.
    Running,
    /// Runnable, but another thread has the CPU; a new thread begins here.
    Preempted,
    /// Waiting, then (unknown how long) waking up.
    Blocked,
    /// It ended.
    Ended,
}

/// What an interval was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// On a CPU.
    OnCpu,
    /// Runnable, waiting for a CPU.
    RunQueue,
    /// Off the CPU of its own will: wait plus wake-up delay.
    Blocked,
    /// Records are missing: it could be anything.
    Unknown,
}

/// A piece of a thread's life. The intervals of a thread tile its life without gap or overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// What it was spent on.
    pub activity: Activity,
    /// Where it begins.
    pub start: Timestamp,
    /// Where it ends.
    pub end: Timestamp,
}

impl Interval {
    /// Its length.
    pub fn span(self) -> Span {
        self.end.since(self.start)
    }
}

/// One record about one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It got a CPU.
    In,
    /// It left its CPU.
    Out(SwitchOut),
    /// It ended, or is looked at for the last time.
    End,
}

/// A thread's state and since when.
#[derive(Debug, Clone, Copy)]
pub struct ThreadClock {
    state: ThreadState,
    since: Timestamp,
}

impl ThreadClock {
    /// A thread that is in `state` from `at` on.
    pub fn new(state: ThreadState, at: Timestamp) -> ThreadClock {
        ThreadClock { state, since: at }
    }

    /// What it does now.
    pub fn state(&self) -> ThreadState {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether it has or wants a CPU.
    pub fn is_active(&self) -> bool {
        matches!(self.state, ThreadState::Running | ThreadState::Preempted)
    }

    /// Takes a record; gives the interval that it closes. `trusted_from`: intervals that began before it may hide lost
    /// records and are `Unknown`. A record that is older than the state (reordered by less than a drain) closes an empty
    /// interval.
    pub fn step(&mut self, step: Step, at: Timestamp, trusted_from: Timestamp) -> Option<Interval> {
        let at = at.max(self.since);
        let next = match step {
            Step::In => ThreadState::Running,
            Step::Out(SwitchOut::Preempted) => ThreadState::Preempted,
            Step::Out(SwitchOut::Blocked) => ThreadState::Blocked,
            Step::End => ThreadState::Ended,
        };
        let activity = match (self.state, step) {
            // After its end a thread has no life; a record for it belongs to a successor with the same id.
            (ThreadState::Ended, _) => return None,
            // The first record of a thread that existed before: its past is not known.
            (ThreadState::Unseen, _) => None,
            (ThreadState::Running, Step::Out(_) | Step::End) => Some(Activity::OnCpu),
            // It cannot get a CPU that it has: the switch-out between was lost.
            (ThreadState::Running, Step::In) => Some(Activity::Unknown),
            (ThreadState::Preempted, Step::In | Step::End) => Some(Activity::RunQueue),
            (ThreadState::Blocked, Step::In | Step::End) => Some(Activity::Blocked),
            // It cannot leave a CPU that it does not have: the switch-in between was lost.
            (ThreadState::Preempted | ThreadState::Blocked, Step::Out(_)) => Some(Activity::Unknown),
        };
        let start = self.since;
        self.state = next;
        self.since = at;
        let activity = activity?;
        let activity = if start < trusted_from { Activity::Unknown } else { activity };
        Some(Interval { activity, start, end: at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Draws a thread: `I` in, `P` preempted, `B` blocked, `E` end; each character is one millisecond, `.` is nothing.
    fn draw(thread: &str) -> String {
        let mut clock = ThreadClock::new(ThreadState::Preempted, Timestamp(0));
        let mut picture = String::new();
        for (at, record) in thread.chars().enumerate() {
            let step = match record {
                'I' => Step::In,
                'P' => Step::Out(SwitchOut::Preempted),
                'B' => Step::Out(SwitchOut::Blocked),
                'E' => Step::End,
                _ => continue,
            };
            if let Some(interval) = clock.step(step, Timestamp(at as u64), Timestamp(0)) {
                let letter = match interval.activity {
                    Activity::OnCpu => 'c',
                    Activity::RunQueue => 'q',
                    Activity::Blocked => 'w',
                    Activity::Unknown => '?',
                };
                picture.extend(std::iter::repeat_n(letter, interval.span().0 as usize));
            }
        }
        picture
    }

    #[test]
    fn a_thread_is_drawn_as_it_lived() {
        //         record at each tick      what the ticks between were
        assert_eq!(draw("..I...B....I..E"), "qqcccc".to_owned() + "wwwww" + "ccc");
        assert_eq!(draw("I..P..I.E"), "cccqqqcc");
        assert_eq!(draw("I..B...E"), "cccwwww", "a thread killed while it waits waited to the end");
    }

    #[test]
    fn missing_records_are_unknown_not_guessed() {
        assert_eq!(draw("I...I..E"), "????ccc", "a lost switch-out");
        assert_eq!(draw("I.B...B..E"), "cc????www", "a lost switch-in");
        assert_eq!(draw("I..E..I"), "ccc", "nothing after the end");
    }

    #[test]
    fn what_began_before_a_loss_is_unknown() {
        let mut clock = ThreadClock::new(ThreadState::Running, Timestamp(0));
        let interval = clock.step(Step::Out(SwitchOut::Blocked), Timestamp(9), Timestamp(5));
        assert_eq!(interval.map(|interval| interval.activity), Some(Activity::Unknown));
        let interval = clock.step(Step::In, Timestamp(12), Timestamp(5));
        assert_eq!(interval.map(|interval| interval.activity), Some(Activity::Blocked));
    }

    proptest! {
        #[test]
        fn intervals_tile_a_thread_s_life(steps in prop::collection::vec((0u64..1000, 0usize..4), 1..200)) {
            let mut clock = ThreadClock::new(ThreadState::Running, Timestamp(10));
            let mut reached = Timestamp(10);
            for (at, step) in steps {
                let step = [Step::In, Step::Out(SwitchOut::Blocked), Step::Out(SwitchOut::Preempted), Step::End][step];
                if let Some(interval) = clock.step(step, Timestamp(at), Timestamp(0)) {
                    prop_assert_eq!(interval.start, reached);
                    prop_assert!(interval.end >= interval.start);
                    reached = interval.end;
                }
            }
        }
    }
}
