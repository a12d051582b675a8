//! Starts a program in two steps: a fork that waits, and its exec when it is told to.
//!
//! ```text
//! parent   fork ──► instruments attach ──► release ──────────► report: began, or errno
//! child     └─► waits ······························► signals, descriptors, exec ─► the program
//! ```
//!
//! Between fork and exec the child may only make async-signal-safe calls, so all that it needs is prepared before.
//! Must not search for reasons why an exec failed, and must not wait for the program's end.

use super::environment;
use super::inherited::{Inherited, inherited};
use super::process::{ResourceUse, own_use, retried};
use super::signals::SavedSignals;
use super::{checked, clock};
use crate::units::{Span, Timestamp};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

/// What `execvp` searches where `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// Exit status of a child whose parent died before it said go; nobody is there to see it.
const ABANDONED: libc::c_int = 125;

/// A program, found as `execvp` finds it, with its arguments.
pub struct Program {
    /// The paths to try, in this order.
    paths: Vec<CString>,
    argv: Vec<CString>,
    /// Its environment where it is not ours.
    environment: Option<Vec<CString>>,
    searched: bool,
    /// The directory to start in, where it is not ours.
    directory: Option<CString>,
    /// Its stdin, and its stdout and stderr, where they are not ours.
    pub streams: Option<[Arc<OwnedFd>; 2]>,
    /// Whether its stdout is to go where its stderr goes.
    pub stdout_to_stderr: bool,
}

impl Program {
    /// The program `argv[0]`, searched in `path` unless it holds a slash. Fails where an argument holds a zero byte.
    pub fn new(argv: &[OsString], path: Option<&OsStr>) -> io::Result<Program> {
        let name = argv.first().map_or(OsStr::new(""), OsString::as_os_str);
        let searched = !name.as_bytes().contains(&b'/');
        let paths = if searched { candidates(name, path) } else { vec![name.to_owned()] };
        Ok(Program {
            paths: c_strings(&paths)?,
            argv: c_strings(argv)?,
            environment: None,
            searched,
            directory: None,
            streams: None,
            stdout_to_stderr: false,
        })
    }

    /// Gives it these entries for an environment instead of ours. Fails where one holds a zero byte.
    pub fn set_environment(&mut self, entries: &[OsString]) -> io::Result<()> {
        self.environment = Some(c_strings(entries)?);
        Ok(())
    }

    /// Lets it start in this directory. Fails where the path holds a zero byte.
    pub fn set_directory(&mut self, directory: &OsStr) -> io::Result<()> {
        self.directory = Some(CString::new(directory.as_bytes())?);
        Ok(())
    }

    /// The paths that are tried, in order.
    pub fn paths(&self) -> impl Iterator<Item = &OsStr> {
        self.paths.iter().map(|path| OsStr::from_bytes(path.as_bytes()))
    }
}

/// Where `name` may be. An empty element of `path` is the working directory; an empty name is nowhere.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if name.is_empty() {
        return Vec::new();
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
    path.split(|byte| *byte == b':')
        .map(|folder| match folder {
            [] => name.to_owned(),
            folder => OsString::from_vec([folder, b"/", name.as_bytes()].concat()),
        })
        .collect()
}

fn c_strings(strings: &[OsString]) -> io::Result<Vec<CString>> {
    strings.iter().map(|string| CString::new(string.as_bytes()).map_err(io::Error::from)).collect()
}

/// A child that waits before its exec. Dropped without [`Forked::release`], the child exits at once.
pub struct Forked {
    pid: u32,
    go: OwnedFd,
    /// The child's end, kept so that a write can never raise SIGPIPE.
    _waiting: OwnedFd,
    report: OwnedFd,
}

/// What the child says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is about to exec.
    Began {
        /// When.
        at: Timestamp,
        /// What it used until then, which is poolpick's and not the program's.
        used: ResourceUse,
    },
    /// No exec succeeded.
    ExecFailed {
        /// The error of `execve`.
        errno: i32,
    },
    /// A descriptor could not be set up.
    SetupFailed {
        /// The error.
        errno: i32,
    },
    /// There is nothing more to say: the program runs, or the child is dead.
    Closed,
}

impl Forked {
    /// Forks. The child keeps the mask of this thread, in which the watched signals are blocked, until it execs.
    pub fn fork(program: &Program, signals: &SavedSignals) -> io::Result<Result<Forked, ForkError>> {
        let (waiting, go) = pipe()?;
        let (report, tell) = pipe()?;
        let mut argv: Vec<*const libc::c_char> = program.argv.iter().map(|argument| argument.as_ptr()).collect();
        argv.push(std::ptr::null());
        let entries = program.environment.as_ref();
        let entries: Option<Vec<*const libc::c_char>> =
            entries.map(|entries| entries.iter().map(|entry| entry.as_ptr()).chain([std::ptr::null()]).collect());
        // What `execvp` runs for a file without a known format: `/bin/sh PATH ARGUMENTS`.
        let mut shell = vec![c"/bin/sh".as_ptr(), std::ptr::null()];
        shell.extend(&argv[1.min(argv.len() - 1)..]);
        let mut plan = Plan {
            program,
            argv: &argv,
            shell: &mut shell,
            environment: entries.as_ref().map_or_else(environment::block, |entries| entries.as_ptr()),
            signals,
            inherited: inherited(),
            go: go.as_raw_fd(),
            waiting: waiting.as_raw_fd(),
            tell: tell.as_raw_fd(),
        };
        // SAFETY: the child only runs `Plan::run`, which makes async-signal-safe calls alone and never returns.
        match unsafe { libc::fork() } {
            0 => plan.run(),
            pid if pid > 0 => Ok(Ok(Forked { pid: pid as u32, go, _waiting: waiting, report })),
            _ => Ok(Err(ForkError(io::Error::last_os_error()))),
        }
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells the child to exec.
    pub fn release(&self) -> io::Result<()> {
        // SAFETY: one byte of readable memory; the pipe has room for it.
        retried(|| unsafe { libc::write(self.go.as_raw_fd(), c"g".as_ptr().cast(), 1) as libc::c_int }).map(drop)
    }

    /// Waits until the child has something to say (`true`), or `other` is readable and it has not (`false`).
    pub fn wait(&self, other: BorrowedFd<'_>) -> io::Result<bool> {
        let of = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut watched = [of(self.report.as_raw_fd()), of(other.as_raw_fd())];
        // SAFETY: `watched` is two valid entries.
        retried(|| unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, -1) })?;
        Ok(watched[0].revents != 0)
    }

    /// What the child says next; waits for it.
    pub fn read(&self) -> io::Result<Report> {
        let mut words = [0_u64; MESSAGE_WORDS];
        let size = std::mem::size_of_val(&words);
        // SAFETY: `words` is `size` bytes of writable memory. A message is shorter than PIPE_BUF, hence never split.
        let count =
            retried(|| unsafe { libc::read(self.report.as_raw_fd(), words.as_mut_ptr().cast(), size) as libc::c_int })?;
        Ok(if count as usize == size { Report::from_words(words) } else { Report::Closed })
    }
}

/// The fork itself failed: no process or no memory to be had.
pub struct ForkError(pub io::Error);

const MESSAGE_WORDS: usize = 6;
const BEGAN: u64 = 1;
const EXEC_FAILED: u64 = 2;
const SETUP_FAILED: u64 = 3;

impl Report {
    fn words(self) -> [u64; MESSAGE_WORDS] {
        match self {
            Report::Began { at, used } => {
                [BEGAN, at.0, used.cpu_user.0, used.cpu_system.0, used.voluntary, used.involuntary]
            }
            Report::ExecFailed { errno } => [EXEC_FAILED, errno as u64, 0, 0, 0, 0],
            Report::SetupFailed { errno } => [SETUP_FAILED, errno as u64, 0, 0, 0, 0],
            Report::Closed => [0; MESSAGE_WORDS],
        }
    }

    fn from_words([kind, first, user, system, voluntary, involuntary]: [u64; MESSAGE_WORDS]) -> Report {
        let errno = first as i32;
        match kind {
            BEGAN => Report::Began {
                at: Timestamp(first),
                used: ResourceUse {
                    cpu_user: Span(user),
                    cpu_system: Span(system),
                    voluntary,
                    involuntary,
                    peak_rss_bytes: 0,
                },
            },
            EXEC_FAILED => Report::ExecFailed { errno },
            SETUP_FAILED => Report::SetupFailed { errno },
            _ => Report::Closed,
        }
    }
}

/// All that the child needs, prepared before the fork.
struct Plan<'a> {
    program: &'a Program,
    argv: &'a [*const libc::c_char],
    shell: &'a mut [*const libc::c_char],
    environment: *const *const libc::c_char,
    signals: &'a SavedSignals,
    inherited: Inherited,
    go: RawFd,
    waiting: RawFd,
    tell: RawFd,
}

impl Plan<'_> {
    /// The child's life until its exec. Nothing here may allocate, lock or panic.
    fn run(&mut self) -> ! {
        let mut byte = 0_u8;
        // SAFETY: close takes no pointer; the write end goes so that the death of the parent ends the wait.
        unsafe { libc::close(self.go) };
        // SAFETY: `byte` is one byte of writable memory.
        let told = retried(|| unsafe { libc::read(self.waiting, (&raw mut byte).cast(), 1) as libc::c_int });
        if !matches!(told, Ok(1)) {
            // SAFETY: _exit runs nothing of the parent's.
            unsafe { libc::_exit(ABANDONED) };
        }
        let last = match self.set_descriptors() {
            Err(errno) => Report::SetupFailed { errno },
            Ok(()) => {
                self.signals.restore_in_child(self.inherited);
                self.tell(Report::Began { at: clock::monotonic(), used: own_use() });
                Report::ExecFailed { errno: self.exec() }
            }
        };
        self.tell(last);
        // SAFETY: as above.
        unsafe { libc::_exit(127) }
    }

    /// Closes what the caller had closed, and sends stdout to stderr where asked; or takes the streams that were given.
    fn set_descriptors(&self) -> Result<(), i32> {
        if let Some(directory) = &self.program.directory {
            // SAFETY: the path is zero-terminated and outlives the call.
            if unsafe { libc::chdir(directory.as_ptr()) } < 0 {
                return Err(errno());
            }
        }
        if let Some([input, output]) = &self.program.streams {
            for (from, to) in [(input, 0), (output, 1), (output, 2)] {
                // SAFETY: dup2 takes no pointer; both descriptors stay open in the parent.
                if unsafe { libc::dup2(from.as_raw_fd(), to) } < 0 {
                    return Err(errno());
                }
            }
            return Ok(());
        }
        let [stdin, stdout, stderr] = self.inherited.closed;
        let redirected = self.program.stdout_to_stderr && !stderr;
        // SAFETY: dup2 takes no pointer.
        if redirected && unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } < 0 {
            return Err(errno());
        }
        let closed_stdout = if self.program.stdout_to_stderr { stderr } else { stdout };
        for (descriptor, closed) in [(0, stdin), (1, closed_stdout), (2, stderr)] {
            if closed {
                // SAFETY: close takes no pointer; only Rust's `/dev/null` is behind these.
                unsafe { libc::close(descriptor) };
            }
        }
        Ok(())
    }

    /// Tries the paths as `execvp` does; returns only with the error.
    fn exec(&mut self) -> i32 {
        let mut denied = false;
        for path in &self.program.paths {
            // SAFETY: path, argv and environment are zero-terminated and outlive the call.
            unsafe { libc::execve(path.as_ptr(), self.argv.as_ptr(), self.environment) };
            if errno() == libc::ENOEXEC {
                self.shell[1] = path.as_ptr();
                // SAFETY: the same; the vector begins with the shell's own path.
                unsafe { libc::execve(self.shell[0], self.shell.as_ptr(), self.environment) };
            }
            match errno() {
                failed if !self.program.searched => return failed,
                libc::EACCES => denied = true,
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                failed => return failed,
            }
        }
        if denied { libc::EACCES } else { libc::ENOENT }
    }

    fn tell(&self, report: Report) {
        let words = report.words();
        // SAFETY: `words` is that many bytes of readable memory. If the parent is dead, SIGPIPE may end the child,
        // which is as good.
        unsafe { libc::write(self.tell, words.as_ptr().cast(), std::mem::size_of_val(&words)) };
    }
}

/// The calling thread's `errno`; unlike `io::Error` it certainly does not allocate.
fn errno() -> i32 {
    // SAFETY: the location is this thread's own and always valid.
    unsafe { *libc::__errno_location() }
}

/// A pipe, close-on-exec: the end to read, the end to write.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` is room for two descriptors.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both were just opened and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, path: Option<&str>) -> Vec<OsString> {
        candidates(OsStr::new(name), path.map(OsStr::new))
    }

    #[test]
    fn the_search_is_execvps() {
        assert_eq!(tried("ls", Some("/a::/b/")), ["/a/ls", "ls", "/b//ls"]);
        assert_eq!(tried("ls", None), ["/bin/ls", "/usr/bin/ls"]);
        assert!(tried("", Some("/a")).is_empty());
    }

    #[test]
    fn messages_survive_the_pipe() {
        let used =
            ResourceUse { cpu_user: Span(1), cpu_system: Span(2), voluntary: 3, involuntary: 4, peak_rss_bytes: 0 };
        let began = Report::Began { at: Timestamp(5), used };
        for report in [began, Report::ExecFailed { errno: 2 }, Report::SetupFailed { errno: 9 }, Report::Closed] {
            assert_eq!(Report::from_words(report.words()), report);
        }
    }

    #[test]
    fn a_zero_byte_is_refused() {
        assert!(Program::new(&["a\0b".into()], None).is_err());
    }
}
