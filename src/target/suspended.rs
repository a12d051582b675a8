//! From a specification to a running program, by way of a child that waits. Must not relay: `running` does.

use super::TargetSpec;
use super::environment::{EnvironmentChange, changed};
use super::error::StartError;
use super::running::{News, RunningTarget, is_owed, watched};
use crate::sys::clock;
use crate::sys::environment;
use crate::sys::launch::{ForkError, Forked, Program, Report};
use crate::sys::process;
use crate::sys::signals::SignalWatch;
use std::ffi::OsString;

/// A child that waits before its exec, so that instruments can attach. Dropped, it ends without having run anything.
pub struct SuspendedTarget {
    name: OsString,
    program: Program,
    early: Vec<News>,
    // In this order: the child ends and is reaped before the signals are put back.
    child: Child,
    watch: SignalWatch,
}

/// The forked child, which nobody but its owner reaps.
struct Child(Option<Forked>);

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(forked) = self.0.take() {
            let pid = forked.pid();
            // Closing the pipe would end it too, unless it is stopped. What is gone already needs neither.
            drop(forked);
            let _ = process::kill(pid, libc::SIGKILL);
            let _ = process::reap(pid);
        }
    }
}

impl TargetSpec {
    /// Forks a child that waits before it execs. From here on poolpick's signals are watched: SIGINT and the like do
    /// not end it until the target has ended. Call it while this is the only thread.
    pub fn suspend(self) -> Result<SuspendedTarget, StartError> {
        // A `PATH` of its own is also where it is looked for, as `env PATH=… CMD` does.
        let own = self.environment.iter().rev().find_map(|change| match change {
            EnvironmentChange::Set { name, value } if name == "PATH" => Some(value.clone()),
            _ => None,
        });
        let path = own.or_else(|| std::env::var_os("PATH"));
        let mut program = Program::new(&self.argv, path.as_deref()).map_err(StartError::Setup)?;
        program.stdout_to_stderr = self.stdout_to_stderr;
        if !self.environment.is_empty() {
            let entries = changed(environment::entries(), &self.environment);
            program.set_environment(&entries).map_err(StartError::Setup)?;
        }
        if let Some(directory) = &self.directory {
            program.set_directory(directory.as_os_str()).map_err(StartError::Setup)?;
        }
        program.streams = self.streams.as_ref().map(|streams| [streams.input.clone(), streams.output.clone()]);
        process::become_subreaper().map_err(StartError::Setup)?;
        let watch = SignalWatch::start(&watched()).map_err(StartError::Setup)?;
        // The child is not born yet, so whatever arrived until now has missed it.
        let missed = watch.read().map_err(StartError::Setup)?;
        let forked = Forked::fork(&program, watch.saved()).map_err(StartError::Setup)?;
        let forked = forked.map_err(|ForkError(error)| StartError::Fork(error))?;
        let mut early = Vec::new();
        for received in missed.iter().filter(|received| is_owed(received.signal)) {
            // It waits and cannot be gone; the signal acts when it gets its own mask back.
            let _ = process::kill(forked.pid(), received.signal);
            early.push(News::Interrupted { signal: received.signal });
        }
        let name = self.argv.into_iter().next().unwrap_or_default();
        Ok(SuspendedTarget { name, program, early, child: Child(Some(forked)), watch })
    }
}

impl SuspendedTarget {
    /// The process id that the program will have.
    pub fn pid(&self) -> u32 {
        self.child.0.as_ref().map_or(0, Forked::pid)
    }

    /// Lets the child exec, and returns when it has. If that fails, the child is reaped and signals are as before.
    pub fn resume(self) -> Result<RunningTarget, StartError> {
        self.resume_beside(|| ()).map(|(running, ())| running)
    }

    /// The same, and does something short while the kernel loads the program, which takes it a third of a millisecond.
    pub fn resume_beside<T>(self, work: impl FnOnce() -> T) -> Result<(RunningTarget, T), StartError> {
        let SuspendedTarget { name, program, early, mut child, watch } = self;
        let Some(forked) = child.0.as_ref() else {
            return Err(StartError::Setup(std::io::ErrorKind::NotFound.into()));
        };
        forked.release().map_err(StartError::Setup)?;
        let mut running = RunningTarget::new(forked.pid(), clock::monotonic(), watch, early);
        let done = work();
        loop {
            // Ctrl-Z may stop the child just before its exec, and then poolpick must stop too and not wait for it.
            if !forked.wait(running.signal_fd()).map_err(StartError::Setup)? {
                running.look_early().map_err(StartError::Setup)?;
                continue;
            }
            match forked.read().map_err(StartError::Setup)? {
                Report::Began { at, used } => running.begins(at, used),
                Report::ExecFailed { errno } => return Err(StartError::of_exec(name, errno, program.paths())),
                Report::SetupFailed { errno } => {
                    return Err(StartError::Setup(std::io::Error::from_raw_os_error(errno)));
                }
                Report::Closed => break,
            }
        }
        // From here on the target is `running`'s to reap.
        child.0 = None;
        Ok((running, done))
    }
}
