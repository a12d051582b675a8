//! Files of /proc that are read again and again, kept open: one `pread` instead of open, reads and close. Must not judge
//! or parse.
//!
//! A kept file belongs to the task that it was opened on. Where that has ended the kernel answers ESRCH, also if its
//! number is in use again, so that a stranger is never read through it.

use crate::sys::identity;
use crate::trace::Ids;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Most files kept open.
const MOST: u64 = 512;
/// Share of the limit on open files that is taken: rings and handles need some too.
const SHARE_OF_LIMIT: u64 = 4;
/// A file that was not read in so many rounds is closed.
const IDLE_ROUNDS: u32 = 64;
/// Enough for all but a set-up with hundreds of groups or thousands of CPUs.
pub const LARGEST: usize = 4096;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// Run time, run-queue delay and time slices of a thread.
    Schedstat,
    /// The system call that a thread is in.
    Syscall,
    /// State and times of a thread.
    TaskStat,
    /// Switch counts of a thread.
    TaskStatus,
    /// Processes that a thread has forked.
    Children,
    /// The kernel's name of a process's program.
    Comm,
    /// Times, threads and memory of a process.
    Stat,
    /// Peak memory of a process.
    Status,
    /// Bytes that a process moved.
    Io,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Schedstat => "schedstat",
            Which::Syscall => "syscall",
            Which::TaskStat | Which::Stat => "stat",
            Which::TaskStatus | Which::Status => "status",
            Which::Children => "children",
            Which::Comm => "comm",
            Which::Io => "io",
        }
    }

    fn path(self, root: &Path, ids: Ids) -> PathBuf {
        let Ids { pid, tid } = ids;
        root.join(match self {
            Which::Comm | Which::Stat | Which::Status | Which::Io => format!("{pid}/{}", self.name()),
            _ => format!("{pid}/task/{tid}/{}", self.name()),
        })
    }
}

/// The files.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    kept: FxHashMap<(Ids, Which), Kept>,
    most: usize,
    round: u32,
    buffer: Box<[u8; LARGEST]>,
}

#[derive(Debug)]
struct Kept {
    file: File,
    read_in: u32,
}

impl Files {
    /// Files below `root` (`/proc`); none is open yet.
    pub fn new(root: &Path) -> Files {
        let limit = identity::rlimit_open_files().unwrap_or(u64::MAX);
        Files {
            root: root.to_owned(),
            kept: FxHashMap::default(),
            most: MOST.min(limit / SHARE_OF_LIMIT) as usize,
            round: 0,
            buffer: Box::new([0; LARGEST]),
        }
    }

    /// A round begins: what was not read for long is closed now and then.
    pub fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        if self.round.is_multiple_of(IDLE_ROUNDS / 4) {
            let round = self.round;
            self.kept.retain(|_, kept| round.wrapping_sub(kept.read_in) < IDLE_ROUNDS);
        }
    }

    /// Whether it is kept open: it was read lately.
    pub fn keeps(&self, ids: Ids, which: Which) -> bool {
        self.kept.contains_key(&(ids, which))
    }

    /// What the file says now, up to [`LARGEST`] bytes of it.
    ///
    /// # Errors
    /// Those of opening and reading it; ESRCH or ENOENT where the task is gone.
    pub fn read(&mut self, ids: Ids, which: Which) -> io::Result<&[u8]> {
        if let Some(kept) = self.kept.get_mut(&(ids, which)) {
            kept.read_in = self.round;
            match kept.file.read_at(&mut self.buffer[..], 0) {
                Ok(count) => return Ok(&self.buffer[..count]),
                Err(error) => {
                    self.kept.remove(&(ids, which));
                    // Its number may be another's by now, whose file is opened below.
                    if error.raw_os_error() != Some(libc::ESRCH) {
                        return Err(error);
                    }
                }
            }
        }
        let file = File::open(which.path(&self.root, ids))?;
        let count = file.read_at(&mut self.buffer[..], 0)?;
        if self.kept.len() < self.most {
            self.kept.insert((ids, which), Kept { file, read_in: self.round });
        }
        Ok(&self.buffer[..count])
    }

    /// The same without a limit, and without keeping it open.
    ///
    /// # Errors
    /// Those of opening and reading it.
    pub fn read_whole(&self, ids: Ids, which: Which) -> io::Result<Vec<u8>> {
        std::fs::read(which.path(&self.root, ids))
    }
}

/// The number behind `name` (with its colon) in a file of such lines.
pub fn number(text: &[u8], name: &str) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    let digits = line.trim_ascii_start();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn numbers_are_found_behind_their_names() {
        let status = b"Name:\tVmHWM: 1\nVmHWM:\t   12345 kB\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(number(status, "VmHWM:"), Some(12_345));
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(number(status, "nonvoluntary_ctxt_switches:"), None);
        assert_eq!(number(b"rchar: x\n", "rchar:"), None);
    }

    #[test]
    fn a_kept_file_reads_anew_and_tells_when_its_task_is_gone() {
        let mut files = Files::new(Path::new("/proc"));
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let ids = Ids { pid: child.id(), tid: child.id() };
        for _ in 0..3 {
            assert!(files.read(ids, Which::Stat).unwrap().starts_with(ids.pid.to_string().as_bytes()));
        }
        assert_eq!(files.kept.len(), usize::from(files.most > 0));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(files.read(ids, Which::Stat).is_err());
        assert!(files.kept.is_empty());
    }

    #[test]
    fn no_more_files_are_kept_than_there_is_room_for() {
        let mut files = Files::new(Path::new("/proc"));
        files.most = 2;
        let ids = Ids { pid: std::process::id(), tid: std::process::id() };
        for which in [Which::Stat, Which::Status, Which::Io, Which::Comm] {
            assert!(!files.read(ids, which).unwrap().is_empty());
        }
        assert_eq!(files.kept.len(), 2);
        for _ in 0..2 * IDLE_ROUNDS {
            files.begin_round();
        }
        assert!(files.kept.is_empty());
    }
}
