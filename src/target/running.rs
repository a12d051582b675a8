//! A target that runs: signals are relayed to it, its stops are followed, its orphans reaped.
//!
//! poolpick and the target are in one process group, so what the terminal sends (Ctrl-C, Ctrl-\, hang-up, Ctrl-Z)
//! reaches both. Only what a process sent to poolpick alone must be relayed. Nobody can tell a signal to poolpick from
//! one to its whole group; the latter therefore reaches the target twice, as it does below sudo and timeout.
//! Must not wait: all here is called when a descriptor or a clock says so.

use super::exit::TargetExit;
use super::lineage;
use super::stops::Stops;
use crate::sys::clock;
use crate::sys::process::{self, Ask, Change, Child, ResourceUse};
use crate::sys::signals::{self, Received, SignalWatch};
use crate::sys::tty;
use crate::units::{Span, Timestamp};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal to poolpick means for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Sent by the terminal, both have it: relayed only if a process sent it.
    Shared,
    /// Stops a job: the same, and poolpick follows if the target really stops.
    Stop,
    /// It would end poolpick and leave the target alone: always relayed.
    Sent,
}

const ROLES: [(i32, Role); 14] = [
    (libc::SIGINT, Role::Shared),
    (libc::SIGQUIT, Role::Shared),
    (libc::SIGHUP, Role::Shared),
    (libc::SIGTSTP, Role::Stop),
    (libc::SIGTTIN, Role::Stop),
    (libc::SIGTTOU, Role::Stop),
    (libc::SIGTERM, Role::Sent),
    (libc::SIGUSR1, Role::Sent),
    (libc::SIGUSR2, Role::Sent),
    (libc::SIGALRM, Role::Sent),
    (libc::SIGVTALRM, Role::Sent),
    (libc::SIGPROF, Role::Sent),
    (libc::SIGIO, Role::Sent),
    (libc::SIGPWR, Role::Sent),
];

/// The signals to watch while a target runs.
pub(super) fn watched() -> [i32; ROLES.len()] {
    ROLES.map(|(signal, _)| signal)
}

/// Whether the target must get a signal that arrived before it was born.
pub(super) fn is_owed(signal: i32) -> bool {
    matches!(role(signal), Some(Role::Shared | Role::Sent))
}

fn role(signal: i32) -> Option<Role> {
    ROLES.iter().find(|(known, _)| *known == signal).map(|(_, role)| *role)
}

/// How long a target may take to stop after Ctrl-Z (editors restore the screen first) for poolpick to follow it.
const STOP_PATIENCE: Span = Span::from_millis(5_000);

/// Something that happened to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It stopped.
    Stopped {
        /// When; where poolpick was stopped too and could not see it, when it last looked before.
        at: Timestamp,
    },
    /// It continues. Every stop is followed by this, also if the target is killed while it is stopped.
    Continued {
        /// When.
        at: Timestamp,
    },
    /// It is a zombie and not yet reaped: its `/proc` can still be read.
    Ended {
        /// When it was noticed.
        at: Timestamp,
    },
    /// A descendant that had lost its parent ended and was reaped.
    Orphan {
        /// Which.
        pid: u32,
        /// What it and those that it waited for used.
        usage: ResourceUse,
    },
    /// poolpick got a signal that the target has too: relayed, or sent to both by the terminal.
    Interrupted {
        /// Which.
        signal: i32,
    },
}

/// A target that runs. Dropped without [`RunningTarget::reap`] it runs on, and signals act on poolpick again.
pub struct RunningTarget {
    pid: u32,
    started: Timestamp,
    before_exec: ResourceUse,
    watch: SignalWatch,
    early: Vec<News>,
    orphans: Option<ResourceUse>,
    stops: Stops,
    /// A signal that should stop poolpick as soon as the target stops, and when it came.
    stop_request: Option<(i32, Timestamp)>,
    last_look: Timestamp,
    ended: Option<Timestamp>,
}

impl RunningTarget {
    pub(super) fn new(pid: u32, now: Timestamp, watch: SignalWatch, early: Vec<News>) -> RunningTarget {
        RunningTarget {
            pid,
            started: now,
            before_exec: ResourceUse::default(),
            watch,
            early,
            orphans: None,
            stops: Stops::default(),
            stop_request: None,
            last_look: now,
            ended: None,
        }
    }

    /// The program begins here: what was used and stopped before is not its own.
    pub(super) fn begins(&mut self, at: Timestamp, used: ResourceUse) {
        self.started = at;
        self.before_exec = used;
        self.stops.begin(at);
        self.early.retain(|news| !matches!(news, News::Stopped { .. } | News::Continued { .. }));
    }

    /// Looks while the exec is still under way; [`RunningTarget::news`] tells what was seen.
    pub(super) fn look_early(&mut self) -> io::Result<()> {
        let mut early = std::mem::take(&mut self.early);
        let looked = self.look(&mut early);
        self.early = early;
        looked
    }

    /// The target's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was about to exec.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Readable when there may be news.
    pub fn signal_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// What happened since the last call; does not wait, unless Ctrl-Z stops the target and poolpick with it. Call it
    /// when [`RunningTarget::signal_fd`] is readable, and now and then besides. Nothing comes after [`News::Ended`].
    pub fn news(&mut self) -> io::Result<Vec<News>> {
        let mut news = std::mem::take(&mut self.early);
        if self.ended.is_none() {
            self.look(&mut news)?;
        }
        Ok(news)
    }

    /// poolpick is awake and there is no news: whatever stops it from here on began no earlier.
    pub fn nothing_new(&mut self) {
        self.last_look = clock::monotonic();
    }

    fn look(&mut self, news: &mut Vec<News>) -> io::Result<()> {
        for received in self.watch.read()? {
            self.heed(received, news);
        }
        self.follow_stops(news)?;
        self.orphans = adopt(self.orphans, self.pid, |pid, usage| news.push(News::Orphan { pid, usage }))?;
        if self.ended.is_none() && process::change(Child::Pid(self.pid), Ask::Ended)?.is_some() {
            let at = clock::monotonic();
            self.ended = Some(at);
            self.stops.continued(at, news);
            news.push(News::Ended { at });
        }
        self.last_look = clock::monotonic();
        Ok(())
    }

    fn heed(&mut self, received: Received, news: &mut Vec<News>) {
        let signal = received.signal;
        let by_outsider = !self.sent_by_tree(received);
        if signal == libc::SIGCONT {
            self.stop_request = None;
            if received.by_process() && by_outsider {
                self.continue_stopped();
            }
        }
        let Some(role) = role(signal) else { return };
        if role == Role::Stop {
            // Also if the target sent it: editors stop their whole group by `kill(0, SIGTSTP)`.
            self.stop_request = Some((signal, clock::monotonic()));
        }
        // As the leader of a session (`ssh -t HOST poolpick …`) poolpick alone is told that the terminal is gone.
        let leaders_own = signal == libc::SIGHUP && tty::is_session_leader();
        if by_outsider && (role == Role::Sent || received.by_process() || leaders_own) {
            self.send(self.pid, signal);
        }
        if by_outsider && role != Role::Stop {
            news.push(News::Interrupted { signal });
        }
    }

    /// Whether the target or a descendant sent it. A sender that is gone cannot be told and counts as an outsider:
    /// most of those are a `kill` command.
    fn sent_by_tree(&self, received: Received) -> bool {
        received.by_process() && received.sender != 0 && lineage::descends_from(received.sender, std::process::id())
    }

    /// Notes stops of the target; after Ctrl-Z poolpick stops as well, so that the shell gets its prompt back.
    fn follow_stops(&mut self, news: &mut Vec<News>) -> io::Result<()> {
        loop {
            while let Some((_, change)) = process::change(Child::Pid(self.pid), Ask::StoppedOrContinued)? {
                let at = clock::monotonic();
                match change {
                    Change::Stopped(_) => self.stops.stopped(at, news),
                    Change::Continued => self.stops.missed_or_continued(at, self.last_look, news),
                    Change::Ended => {}
                }
            }
            let Some((signal, asked)) = self.stop_request else { return Ok(()) };
            let now = clock::monotonic();
            if !self.stops.is_stopped() {
                if now.since(asked) > STOP_PATIENCE {
                    self.stop_request = None;
                }
                return Ok(());
            }
            self.stop_request = None;
            if now.since(asked) <= STOP_PATIENCE && signals::stop_self(signal)? {
                self.continue_stopped();
                self.last_look = clock::monotonic();
            }
        }
    }

    /// Continues the target if whoever continued poolpick did not.
    fn continue_stopped(&self) {
        if lineage::is_stopped(self.pid) {
            self.send(self.pid, libc::SIGCONT);
        }
    }

    /// Sends `signal` to the target and to those of `tree` that still descend from it, and SIGCONT so that stopped
    /// ones can act on it.
    pub fn terminate(&mut self, signal: i32, tree: &[u32]) {
        // Looked at first: a process whose parent dies is ours all the same, but one that ends may be used again.
        let descendants = self.descendants(tree);
        self.signal_all(signal, std::iter::once(self.pid).chain(descendants));
    }

    /// The same for the descendants alone.
    pub fn signal_descendants(&self, signal: i32, tree: &[u32]) {
        self.signal_all(signal, self.descendants(tree));
    }

    fn descendants(&self, tree: &[u32]) -> Vec<u32> {
        let us = std::process::id();
        tree.iter().copied().filter(|pid| *pid != self.pid && lineage::descends_from(*pid, us)).collect()
    }

    fn signal_all(&self, signal: i32, pids: impl IntoIterator<Item = u32>) {
        for pid in pids {
            self.send(pid, signal);
            self.send(pid, libc::SIGCONT);
        }
    }

    /// A process that is gone, or that changed its user, cannot be signalled: then nothing is to be done.
    fn send(&self, pid: u32, signal: i32) {
        let _ = process::kill(pid, signal);
    }

    /// Reaps the target, waiting for it if it has not ended, then those orphans that have ended too. poolpick's own
    /// signals are as before afterwards; those that arrived and were not read are dropped.
    pub fn reap(mut self) -> io::Result<TargetExit> {
        let (status, usage) = process::reap(self.pid)?;
        let ended = self.ended.unwrap_or_else(clock::monotonic);
        self.stops.continued(ended, &mut Vec::new());
        let orphans = adopt(self.orphans, self.pid, |_, _| {})?;
        Ok(TargetExit {
            status,
            usage: usage.since(self.before_exec),
            orphans,
            started: self.started,
            ended,
            stopped: self.stops.total(),
            left_behind: process::has_children(),
        })
    }
}

/// Reaps the children that ended, all but `root`, and adds what they used to `total`.
fn adopt(
    mut total: Option<ResourceUse>,
    root: u32,
    mut tell: impl FnMut(u32, ResourceUse),
) -> io::Result<Option<ResourceUse>> {
    // The root is the eldest child, so that its zombie hides the others: `reap` looks again when it is gone.
    while let Some((pid, _)) = process::change(Child::Any, Ask::Ended)?.filter(|(pid, _)| *pid != root) {
        let (_, usage) = process::reap(pid)?;
        total = Some(total.unwrap_or_default().plus(usage));
        tell(pid, usage);
    }
    Ok(total)
}
