//! The channel's directory: finds the files of new processes, follows them, and lets go of those whose process is gone.
//! Anyone whom the target starts can put anything there: what is no channel is never read. Must not interpret what files
//! hold.

use super::follow::{Follower, Moment};
use super::layout::{self, FILE, HEADER};
use crate::sys::clock;
use crate::sys::identity;
use crate::sys::process;
use crate::trace::Event;
use crate::units::{Span, Timestamp};
use rustc_hash::FxHashSet;
use std::fs::{self, File, OpenOptions, ReadDir};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Most files that are open at once; others wait in the directory until one of these is done.
const MOST_OPEN: usize = 256;
/// Most entries of the directory that a round looks at.
const ENTRIES_A_ROUND: usize = 256;
/// Most rounds at the end, when every file is read that is there.
const ROUNDS_AT_THE_END: usize = 400;
/// After so many events a round leaves the other files to the next one.
const EVENTS_A_ROUND: usize = 50_000;
/// The kernel keeps times of directories by its tick: what is added within the tick of a listing does not show.
const TICK: Duration = Duration::from_millis(20);
/// Time between two looks at whether a file's process lives.
const LIFE_EVERY: Span = Span::from_millis(50);
/// How long before the agent of its new program a process is taken to have replaced the old one: last words have a place before.
pub const EXEC_BEFORE: Span = Span(1);
/// Time between two looks at files that are not ready.
const AGAIN: Span = Span::from_millis(20);
/// Most process ids that are kept.
const MOST_PROCESSES: usize = 65_536;

/// Which processes' agents told something, and what was lost of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentPresence {
    /// Processes with a channel. One that execs another interpreter is here once; a forked child only where it had
    /// something to tell.
    pub processes: FxHashSet<u32>,
    /// Channels that were read.
    pub channels: u64,
    /// Files that were no channel of a process of the target.
    pub rejected: u64,
    /// Records and definitions that were overwritten before they were read, or made no sense; what the agents dropped
    /// themselves is not in it.
    pub lost: u64,
    /// Records that were read after their place in time had been passed.
    pub late: u64,
}

/// Follows all channels of a directory.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    files: Vec<Open>,
    listing: Option<ReadDir>,
    /// The directory's time when the last listing began, if that shows all that was there.
    listed: Option<SystemTime>,
    /// When entries that were not ready are looked at again.
    again: Option<Timestamp>,
    /// Which file the next round begins with.
    turn: usize,
    presence: AgentPresence,
}

#[derive(Debug)]
struct Open {
    file: File,
    follower: Follower,
    /// When its agent began, as it says.
    began: Timestamp,
    life_due: Timestamp,
}

/// What became of an entry of the directory.
enum Entry {
    Channel(Open),
    /// It may become one.
    NotReady,
    /// It never will.
    Refused,
    /// It has no such name.
    Other,
}

impl Reader {
    /// Of this directory.
    pub fn new(directory: PathBuf) -> Reader {
        Reader {
            directory,
            files: Vec::new(),
            listing: None,
            listed: None,
            again: None,
            turn: 0,
            presence: AgentPresence::default(),
        }
    }

    /// How many channels are open.
    pub fn open(&self) -> usize {
        self.files.len()
    }

    /// What came of it so far.
    pub fn presence(&self) -> &AgentPresence {
        &self.presence
    }

    /// Looks for new files and reads what is new in all. `belongs` tells whether a living process is the target's.
    /// Returns whether all files had their turn.
    pub fn round(&mut self, moment: Moment, belongs: &mut dyn FnMut(u32) -> bool, emit: &mut dyn FnMut(Event)) -> bool {
        self.find(moment, ENTRIES_A_ROUND, belongs, emit);
        let mut events = 0;
        let count = self.files.len();
        let mut done = Vec::new();
        let mut read = 0;
        while read < count && events < EVENTS_A_ROUND {
            let index = (self.turn + read) % count;
            let open = &mut self.files[index];
            // Whoever is gone before it is read has written all.
            let mut over = moment.last;
            if moment.now >= open.life_due {
                open.life_due = moment.now + LIFE_EVERY;
                over |= !lives(open.follower.pid());
            }
            let moment = Moment { last: over, ..moment };
            let result = open.follower.read(&open.file, moment, &mut |event| {
                events += 1;
                emit(event);
            });
            if over || result.is_err() {
                done.push(index);
            }
            read += 1;
        }
        self.turn = if count == 0 { 0 } else { (self.turn + read) % count };
        done.sort_unstable();
        for index in done.into_iter().rev() {
            self.let_go(index);
        }
        read == count
    }

    /// Reads everything once more, also files that nobody came to yet.
    pub fn finish(&mut self, moment: Moment, belongs: &mut dyn FnMut(u32) -> bool, emit: &mut dyn FnMut(Event)) {
        let moment = Moment { last: true, ..moment };
        self.listed = None;
        self.listing = None;
        // A round opens only so many files, and reads each for the last time.
        for _ in 0..ROUNDS_AT_THE_END {
            let all = self.round(moment, belongs, emit);
            if all && self.listing.is_none() {
                return;
            }
        }
    }

    fn let_go(&mut self, index: usize) {
        let open = self.files.swap_remove(index);
        self.presence.lost = self.presence.lost.saturating_add(open.follower.lost());
        self.presence.late = self.presence.late.saturating_add(open.follower.late());
    }

    /// Opens new files, at most so many entries at a time.
    fn find(
        &mut self,
        moment: Moment,
        entries: usize,
        belongs: &mut dyn FnMut(u32) -> bool,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.listing.is_none() && !self.begin_listing(moment.now) {
            return;
        }
        for _ in 0..entries {
            if self.files.len() >= MOST_OPEN {
                return;
            }
            let Some(entry) = self.listing.as_mut().and_then(Iterator::next) else {
                self.listing = None;
                return;
            };
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            match consider(&path, moment.now, belongs) {
                Entry::Channel(open) => {
                    // Its name has served. Were it to stay, it would be found again, and fill a small disk.
                    if fs::remove_file(&path).is_err() {
                        self.presence.rejected += 1;
                        continue;
                    }
                    self.admit(open, moment, emit);
                }
                Entry::NotReady => self.again = Some(moment.now + AGAIN),
                Entry::Refused => {
                    self.presence.rejected += 1;
                    // A directory stays, and is refused again by the next listing.
                    let _ = fs::remove_file(&path);
                }
                Entry::Other => {}
            }
        }
    }

    /// A process that execs begins another file: the one before has ended.
    fn admit(&mut self, open: Open, moment: Moment, emit: &mut dyn FnMut(Event)) {
        let pid = open.follower.pid();
        while let Some(index) = self.files.iter().position(|other| other.follower.pid() == pid) {
            let before = &mut self.files[index];
            // What it told last was before the exec.
            let now = moment.now.min(Timestamp(open.began.0.saturating_sub(2 * EXEC_BEFORE.0)));
            let moment = Moment { last: true, now, ..moment };
            let _ = before.follower.read(&before.file, moment, emit);
            self.let_go(index);
        }
        self.presence.channels += 1;
        if self.presence.processes.len() < MOST_PROCESSES {
            self.presence.processes.insert(pid);
        }
        self.files.push(open);
    }

    /// Begins a listing where there may be something new.
    fn begin_listing(&mut self, now: Timestamp) -> bool {
        let Ok(modified) = fs::metadata(&self.directory).and_then(|metadata| metadata.modified()) else { return false };
        let again = self.again.is_some_and(|again| now >= again);
        if self.listed == Some(modified) && !again {
            return false;
        }
        self.again = None;
        let settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > TICK);
        self.listed = settled.then_some(modified);
        self.listing = fs::read_dir(&self.directory).ok();
        self.listing.is_some()
    }
}

/// Looks at an entry without trusting it.
fn consider(path: &std::path::Path, now: Timestamp, belongs: &mut dyn FnMut(u32) -> bool) -> Entry {
    let Some(pid) = path.file_name().and_then(|name| process_of(name.as_encoded_bytes())) else { return Entry::Other };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        // No descriptor is left now; later one may be.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => return Entry::NotReady,
        Err(_) => return Entry::Refused,
    };
    let Ok(metadata) = file.metadata() else { return Entry::Refused };
    if !metadata.is_file() || metadata.uid() != identity::effective_uid() {
        return Entry::Refused;
    }
    // One that ends between the questions belongs to nobody any more, and is believed as other dead ones are.
    let alive = lives(pid);
    if alive && !belongs(pid) && lives(pid) {
        return Entry::Refused;
    }
    let mut bytes = [0; HEADER];
    let ready = metadata.len() == FILE && file.read_exact_at(&mut bytes, 0).is_ok();
    match ready.then(|| layout::header(&bytes)).flatten() {
        Some(header) if header.pid == pid => {
            Entry::Channel(Open { file, follower: Follower::new(pid), began: header.began, life_due: now + LIFE_EVERY })
        }
        Some(_) => Entry::Refused,
        // Its process may still be at it.
        None if alive => Entry::NotReady,
        None => Entry::Refused,
    }
}

/// The process id in a name of the form `PID.RANDOM`.
fn process_of(name: &[u8]) -> Option<u32> {
    let (pid, random) = std::str::from_utf8(name).ok()?.split_once('.')?;
    let plain = |text: &str, letter: fn(&u8) -> bool| text.bytes().all(|byte| letter(&byte));
    let named = random.len() == 8 && plain(random, u8::is_ascii_hexdigit) && plain(pid, u8::is_ascii_digit);
    pid.parse().ok().filter(|&pid: &u32| named && pid != 0)
}

/// Whether there is a process of this id.
fn lives(pid: u32) -> bool {
    !process::kill(pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Now, for a reading whose events may take any place from `open_from` on.
pub fn moment(open_from: Timestamp, last: bool) -> Moment {
    Moment { now: clock::monotonic(), open_from, last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_process_ids() {
        assert_eq!(process_of(b"12.0123abcd"), Some(12));
        for name in ["12", "12.", "12.0123abc", "12.0123abcg", "+12.0123abcd", "0.0123abcd", "-1.0123abcd", ".0123abcd"]
        {
            assert_eq!(process_of(name.as_bytes()), None, "{name}");
        }
        assert_eq!(process_of(b"99999999999.0123abcd"), None);
        assert_eq!(process_of(b"12.\xff123abcd"), None);
    }
}
