//! Which interpreter, told from its file, and how to ask it something without waiting for ever.
//! Must not run what a relative entry of `PATH` names.

use super::NoPickle;
use crate::sys::process;
use crate::sys::signals::{self, SignalWatch};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// For what takes a fraction of a second.
pub(super) const TIME_OUT: Duration = Duration::from_secs(5);
/// More than the answer ever has.
const MOST_OUTPUT: u64 = 64 << 10;
/// How often a signal to poolpick is looked for meanwhile.
const SIGNALS_LOOKED_AT: Duration = Duration::from_millis(20);
/// What ends poolpick, and the interpreter with all that it started.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// How often an interpreter that has said everything is asked whether it has ended.
const POLL: Duration = Duration::from_millis(1);

/// An interpreter: when its file changes, what was measured with it no longer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterIdentity {
    /// Path of the executable, symbolic links resolved.
    pub path: String,
    /// When it was last written, seconds since 1970.
    pub modified_unix_seconds: i64,
    /// The nanoseconds of that second.
    pub modified_nanos: i64,
    /// Its size.
    pub size_bytes: u64,
}

/// The interpreter that `python` names, or the `python3` on `PATH`. A script in its place, such as a shim of pyenv,
/// decides anew each time which one it starts, so it is asked.
pub(super) fn identify(python: Option<&Path>) -> Result<InterpreterIdentity, NoPickle> {
    let named = match python {
        Some(path) => path.to_owned(),
        None => on_path(std::env::var_os("PATH").as_deref()).ok_or(NoPickle::NoInterpreter)?,
    };
    if !runnable(&named) {
        return Err(NoPickle::NoInterpreter);
    }
    let asked = if is_script(&named) {
        PathBuf::from(run(&named, "import sys; print(sys.executable)", TIME_OUT)?)
    } else {
        named
    };
    identity(&asked).map_err(|error| NoPickle::Failed(format!("`{}`: {error}", asked.display())))
}

fn identity(path: &Path) -> io::Result<InterpreterIdentity> {
    let path = path.canonicalize()?;
    let metadata = path.metadata()?;
    Ok(InterpreterIdentity {
        path: path.to_string_lossy().into_owned(),
        modified_unix_seconds: metadata.mtime(),
        modified_nanos: metadata.mtime_nsec(),
        size_bytes: metadata.size(),
    })
}

fn on_path(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("python3"))
        .find(|file| runnable(file))
}

fn runnable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

/// Runs a script and gives the last line that it printed. It sees no user site, no `PYTHON*` and no input.
pub(super) fn run(python: &Path, script: &str, time_out: Duration) -> Result<String, NoPickle> {
    let failed = |what: String| NoPickle::Failed(format!("`{}` {what}", python.display()));
    let deadline = Instant::now() + time_out;
    let signals = SignalWatch::start(&ENDING).map_err(|error| failed(format!("cannot be watched: {error}")))?;
    let started = start(python, script, &signals);
    let (child, output) = started.map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (text, status) = finish(Running { child, signals: &signals }, output, deadline);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
    match status {
        Ok(Some(status)) if status.success() => Ok(last.to_owned()),
        Ok(Some(status)) => Err(failed(format!("failed ({status}) and said `{}`", last.escape_debug()))),
        Ok(None) => Err(failed(format!("did not answer within {} s", time_out.as_secs()))),
        Err(error) => Err(failed(format!("cannot be waited for: {error}"))),
    }
}

/// What a program says that is no Python 3. `None` where it is one; where it cannot be started, or does not come to an
/// end, whoever needs it tells why.
pub fn no_python(program: &Path) -> Option<String> {
    const ANSWER: &str = "Python 3";
    let signals = SignalWatch::start(&ENDING).ok()?;
    let script = "import sys; print('Python %d' % sys.version_info[0])";
    let (child, output) = start(program, script, &signals).ok()?;
    let (text, status) = finish(Running { child, signals: &signals }, output, Instant::now() + TIME_OUT);
    let ended = status.ok().flatten()?;
    if ended.success() && text.lines().any(|line| line.trim() == ANSWER) {
        return None;
    }
    Some(text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing").to_owned())
}

/// Starts it in a process group of its own: its workers end with it.
fn start(python: &Path, script: &str, signals: &SignalWatch) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let mut command = Command::new(python);
    command.args(["-I", "-S", "-c", script]).stdin(Stdio::null()).stdout(writer).stderr(errors);
    Ok((process::spawn_apart(&mut command, signals.saved())?, reader))
}

/// An interpreter that runs, and the signals that would end it.
struct Running<'a> {
    child: Child,
    signals: &'a SignalWatch,
}

impl Running<'_> {
    /// Ends it with all that it started. It is not reaped yet.
    fn kill(&mut self) -> io::Result<()> {
        process::kill_group(self.child.id(), libc::SIGKILL)?;
        self.child.wait().map(drop)
    }

    /// Ends it and then poolpick, if a signal came that says so: nobody waits for the figures any more.
    fn heed_signals(&mut self) -> io::Result<()> {
        let came = self.signals.read()?.into_iter().map(|received| received.signal);
        let Some(signal) = came.into_iter().find(|signal| ENDING.contains(signal)) else { return Ok(()) };
        self.kill()?;
        signals::die_by(signal)
    }
}

/// What it printed, and its exit status: `None` where it had to be killed.
fn finish(mut running: Running<'_>, output: PipeReader, deadline: Instant) -> (String, io::Result<Option<ExitStatus>>) {
    let (told, heard) = mpsc::channel();
    // Not joined: if the interpreter is killed, a descendant of it may hold the pipe open.
    let listener = thread::Builder::new().name("calibrate".into()).spawn(move || {
        let mut text = Vec::new();
        // What was read before an error is still of use; the exit status tells the rest.
        let _ = output.take(MOST_OUTPUT).read_to_end(&mut text);
        let _ = told.send(String::from_utf8_lossy(&text).into_owned());
    });
    let text = match listener {
        Ok(_) => listen(&mut running, &heard, deadline),
        Err(_) => Ok(None),
    };
    let end = if matches!(text, Ok(Some(_))) { deadline } else { Instant::now() };
    let status = wait(&mut running, end);
    match text {
        Ok(text) => (text.unwrap_or_default(), status),
        Err(error) => (String::new(), Err(error)),
    }
}

/// What it printed, once it has; `None` at the deadline.
fn listen(running: &mut Running<'_>, heard: &mpsc::Receiver<String>, deadline: Instant) -> io::Result<Option<String>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match heard.recv_timeout(left.min(SIGNALS_LOOKED_AT)) {
            Ok(text) => return Ok(Some(text)),
            Err(mpsc::RecvTimeoutError::Timeout) if !left.is_zero() => running.heed_signals()?,
            Err(_) => return Ok(None),
        }
    }
}

fn wait(running: &mut Running<'_>, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        running.heed_signals()?;
        if let Some(status) = running.child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            running.kill()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn program(folder: &Path, text: &str) -> PathBuf {
        let file = folder.join("python3");
        fs::write(&file, text).expect("the folder is ours");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("the file is ours");
        file
    }

    /// Another test's fork may hold the file open for writing for a moment (`ETXTBSY`).
    fn asked(shim: &Path) -> Result<InterpreterIdentity, NoPickle> {
        let busy = |result: &Result<_, _>| matches!(result, Err(NoPickle::Failed(why)) if why.contains("busy"));
        (0..1000).map(|_| identify(Some(shim))).find(|result| !busy(result)).expect("it is not busy for ever")
    }

    #[test]
    fn only_absolute_entries_with_a_runnable_file_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = format!("relative::/nonexistent:{}", folder.path().display());
        assert_eq!(on_path(Some(path.as_ref())), None);
        let file = program(folder.path(), "#!/bin/sh\n");
        assert_eq!(on_path(Some(path.as_ref())), Some(file.clone()));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("the file is ours");
        assert_eq!(on_path(Some(path.as_ref())), None);
        assert_eq!(on_path(None), None);
    }

    #[test]
    fn a_shim_is_asked_what_it_starts() {
        let folder = tempfile::tempdir().expect("a folder");
        let shim = program(folder.path(), "#!/bin/sh\necho warning >&2\necho /bin/sh\n");
        let expected = identity(Path::new("/bin/sh")).expect("every system has it");
        assert_eq!(asked(&shim), Ok(expected));
    }

    #[test]
    fn a_failure_keeps_what_was_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let shim = program(folder.path(), "#!/bin/sh\necho 'no version is set' >&2\nexit 127\n");
        let Err(NoPickle::Failed(why)) = asked(&shim) else { panic!("it fails") };
        assert!(why.contains("exit status: 127") && why.contains("`no version is set`"), "{why}");
    }

    #[test]
    fn who_does_not_end_is_killed() {
        let signals = SignalWatch::start(&[]).expect("signals can be watched");
        let child =
            process::spawn_apart(Command::new("sleep").arg("600"), signals.saved()).expect("every system has it");
        assert!(matches!(wait(&mut Running { child, signals: &signals }, Instant::now()), Ok(None)));
    }

    #[test]
    fn a_changed_file_is_another_interpreter() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = program(folder.path(), "one");
        let before = identity(&file).expect("it is there");
        program(folder.path(), "another");
        assert_ne!(identity(&file).expect("it is there"), before);
    }
}
