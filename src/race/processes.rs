//! Processes of a race: started in a group of their own, waited for beside signals and a clock, ended with all that they
//! started. Must not know what they do.

use crate::sys::clock;
use crate::sys::poll::{Watched, wait};
use crate::sys::process::{self, Ask, Change};
use crate::sys::signals::SignalWatch;
use crate::target::descends_from;
use crate::units::{Span, Timestamp};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, ExitStatus};

/// What ends a race before its time; poolpick has them, its processes do not.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// Whether a process has ended is looked at this often where nothing tells: a fork of it may hold its pipe open.
const LOOK: Span = Span::from_millis(100);
/// Longest answer, and most of a command's output that is kept.
const MOST_BYTES: usize = 1 << 20;
/// Time that a process gets to end by itself once it has nothing more to do.
const PATIENCE: Span = Span::from_millis(2_000);

/// Signals that end a race, while this lives.
pub struct Signals(SignalWatch);

impl Signals {
    /// Begins to watch. Call it while this is the only thread.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn watch() -> io::Result<Signals> {
        SignalWatch::start(&ENDING).map(Signals)
    }

    /// The signal that came, if one did.
    fn came(&self) -> io::Result<Option<i32>> {
        let all = self.0.read()?;
        Ok(all.into_iter().map(|received| received.signal).find(|signal| ENDING.contains(signal)))
    }

    /// Starts a process that these signals do not reach from the terminal.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<Running> {
        process::spawn_apart(command, self.0.saved()).map(|child| Running { child, ending: None })
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something can be read, or never will be again.
    Readable,
    /// The process has ended.
    Ended,
    /// The time was over.
    TimedOut,
    /// A signal came.
    Interrupted(i32),
}

/// A process that leads its group. Dropped, it ends, and all that it started.
pub(super) struct Running {
    pub(super) child: Child,
    ending: Option<Ending>,
}

impl Running {
    /// Waits for any of these descriptors, for the end of the process, a signal, or `until`.
    pub(super) fn wait(&self, signals: &Signals, fds: &[i32], until: Option<Timestamp>) -> io::Result<Woken> {
        loop {
            if let Some(signal) = signals.came()? {
                return Ok(Woken::Interrupted(signal));
            }
            // Its SIGCHLD may have been read with the others.
            if self.has_ended()? {
                return Ok(Woken::Ended);
            }
            let now = clock::monotonic();
            if until.is_some_and(|until| now >= until) {
                return Ok(Woken::TimedOut);
            }
            let mut watched: Vec<Watched> = fds.iter().map(|&fd| Watched::new(fd)).collect();
            watched.push(Watched::new(signals.0.as_fd().as_raw_fd()));
            let left = until.map_or(LOOK, |until| until.since(now));
            wait(&mut watched, if left < LOOK { left } else { LOOK })?;
            if watched.iter().take(fds.len()).any(|one| one.readable || one.hung_up) {
                return Ok(Woken::Readable);
            }
        }
    }

    fn has_ended(&self) -> io::Result<bool> {
        let change = process::change(process::Child::Pid(self.child.id()), Ask::Ended)?;
        Ok(matches!(change, Some((_, Change::Ended))))
    }

    /// Waits a moment for its end, then ends it and what is left of its group; tells how it ended.
    pub(super) fn finish(&mut self, signals: &Signals) -> io::Result<Ending> {
        self.wait(signals, &[], Some(clock::monotonic() + PATIENCE))?;
        self.end()
    }

    /// Ends it now, with its group and its descendants; tells how it ended.
    pub(super) fn end(&mut self) -> io::Result<Ending> {
        if let Some(ending) = self.ending {
            return Ok(ending);
        }
        let by_itself = self.has_ended()?;
        let pid = self.child.id();
        // Collected first: the descendants of a dead process are somebody else's.
        let tree = if by_itself { Vec::new() } else { descendants(pid) };
        // It is not reaped, so that the group's number is still its own. Nobody may be left in it.
        let _ = process::kill_group(pid, libc::SIGKILL);
        for one in tree {
            // What has ended meanwhile needs no signal.
            let _ = process::kill(one, libc::SIGKILL);
        }
        let ending = Ending { by_itself, status: self.child.wait()? };
        self.ending = Some(ending);
        Ok(ending)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Or by us.
    pub(super) by_itself: bool,
    /// What it left.
    pub(super) status: ExitStatus,
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_itself { write!(out, "ended ({})", self.status) } else { out.write_str("hung") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing more can be done about what cannot be killed.
        let _ = self.end();
    }
}

/// Everybody below a process.
fn descendants(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| descends_from(pid, root)).collect()
}

/// Reads what is there, once; `false` at the end. Of what is long, the end is kept.
pub(super) fn read_some(from: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 4096];
    let count = from.read(&mut part)?;
    into.extend(part.iter().take(count));
    if into.len() > MOST_BYTES {
        into.drain(..into.len() - MOST_BYTES / 2);
    }
    Ok(count > 0)
}
