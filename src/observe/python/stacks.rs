//! The Python stacks of a process's threads, by py-spy, without stopping it. Dear beside a burst: the first look at a
//! process parses its interpreter's file, so it is for low rates.

use super::burst::Threads;
use crate::trace::{StackCall, ThreadStack};
use py_spy::config::LockingStrategy;
use py_spy::{Config, PythonSpy};
use rustc_hash::FxHashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Most processes that are kept open.
const MOST_PROCESSES: usize = 64;

/// Most threads of a process, and most of their innermost calls, that are told.
const MOST_STACKS: usize = 256;
/// These calls.
const MOST_CALLS: usize = 24;

/// A call on a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function's name.
    pub function: String,
    /// Its source file.
    pub file: String,
    /// The line that it is at.
    pub line: Option<u32>,
}

/// What a thread that is not idle was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its native id, where the interpreter tells (3.11 and later).
    pub tid: Option<u32>,
    /// Whether it held the interpreter lock.
    pub holds_gil: bool,
    /// Calls, the innermost first.
    pub calls: Vec<Call>,
}

/// Reads stacks.
#[derive(Default)]
pub struct Stacks {
    spies: FxHashMap<u32, PythonSpy>,
}

impl std::fmt::Debug for Stacks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Stacks").field("processes", &self.spies.len()).finish()
    }
}

impl Stacks {
    /// The stacks of all threads of a process that are not idle; `None` where they cannot be read, as in the middle of
    /// a change.
    pub fn of(&mut self, pid: u32) -> Option<Vec<Stack>> {
        let call = |frame: py_spy::Frame| Call {
            function: frame.name,
            file: frame.filename,
            line: u32::try_from(frame.line).ok().filter(|&line| line > 0),
        };
        let active = self.read(pid)?.into_iter().filter(|trace| trace.active);
        Some(
            active
                .map(|trace| Stack {
                    tid: trace.os_thread_id.and_then(|tid| u32::try_from(tid).ok()),
                    holds_gil: trace.owns_gil,
                    calls: trace.frames.into_iter().map(call).collect(),
                })
                .collect(),
        )
    }

    /// The stacks of all Python threads of a process, idle or not; `threads` tells their native ids where the interpreter
    /// does not.
    pub fn all(&mut self, root: &Path, pid: u32, threads: &mut Threads) -> Option<Vec<ThreadStack>> {
        let call = |frame: py_spy::Frame| StackCall {
            function: frame.name,
            file: frame.filename,
            line: u32::try_from(frame.line).ok().filter(|&line| line > 0),
        };
        let traces = self.read(pid)?;
        let stack = |trace: py_spy::StackTrace| ThreadStack {
            tid: trace
                .os_thread_id
                .and_then(|tid| u32::try_from(tid).ok())
                .or_else(|| threads.of_pthread(root, pid, trace.thread_id)),
            calls: trace.frames.into_iter().take(MOST_CALLS).map(call).collect(),
        };
        Some(traces.into_iter().take(MOST_STACKS).map(stack).collect())
    }

    fn read(&mut self, pid: u32) -> Option<Vec<py_spy::StackTrace>> {
        if !self.spies.contains_key(&pid) {
            if self.spies.len() >= MOST_PROCESSES {
                self.spies.clear();
            }
            let config =
                Config { blocking: LockingStrategy::NonBlocking, collect_thread_names: false, ..Config::default() };
            let number = i32::try_from(pid).ok()?;
            let spy = catch_unwind(AssertUnwindSafe(|| PythonSpy::new(number, &config))).ok()?.ok()?;
            self.spies.insert(pid, spy);
        }
        let spy = self.spies.get_mut(&pid)?;
        // The target's memory is what it wants it to be, and py-spy was written for friends.
        catch_unwind(AssertUnwindSafe(|| spy.get_stack_traces())).ok()?.ok()
    }

    /// A process ended or runs another program.
    pub fn forget(&mut self, pid: u32) {
        self.spies.remove(&pid);
    }
}
