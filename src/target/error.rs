//! Why a target did not start. Must not choose an exit code.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};

/// Why a target did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program, or its `#!` line names an interpreter that does not exist.
    #[error("{}", not_found(program, interpreter.as_deref()))]
    NotFound {
        /// As it was typed.
        program: OsString,
        /// The missing interpreter, where the program itself is there.
        interpreter: Option<String>,
    },
    /// The program is there but cannot be executed.
    #[error("cannot execute `{}`: {}", program.display(), io::Error::from_raw_os_error(*errno))]
    NotExecutable {
        /// As it was typed.
        program: OsString,
        /// The error of `execve`.
        errno: i32,
    },
    /// No new process could be made.
    #[error("cannot fork: {0}; hint: the limit of processes (`ulimit -u`) or memory is reached")]
    Fork(#[source] io::Error),
    /// Signals, pipes or descriptors could not be set up.
    #[error("cannot prepare to run the command: {}{}", .0, setup_hint(.0))]
    Setup(#[source] io::Error),
}

fn setup_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "; hint: raise the limit of open files, such as `ulimit -n 1024`",
        _ => "",
    }
}

fn not_found(program: &OsStr, interpreter: Option<&str>) -> String {
    match interpreter {
        None => format!("cannot find `{}`; hint: give its path, or put its directory on PATH", program.display()),
        // Escaped, for the usual cause is an invisible carriage return.
        Some(interpreter) => {
            format!("cannot run `{}`: there is no interpreter `{}`", program.display(), interpreter.escape_debug())
        }
    }
}

impl StartError {
    /// From the `errno` of an exec that tried these paths.
    pub(super) fn of_exec<'a>(program: OsString, errno: i32, mut paths: impl Iterator<Item = &'a OsStr>) -> StartError {
        match io::Error::from_raw_os_error(errno).kind() {
            io::ErrorKind::NotFound => StartError::NotFound { program, interpreter: paths.find_map(interpreter_of) },
            _ => StartError::NotExecutable { program, errno },
        }
    }
}

/// The interpreter that the `#!` line of this file names.
fn interpreter_of(path: &OsStr) -> Option<String> {
    // The kernel reads as much of the line.
    let mut head = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut head).ok()?;
    named_interpreter(&head)
}

fn named_interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_the_first_word_of_the_line() {
        let named = |head: &[u8]| named_interpreter(head);
        assert_eq!(named(b"#!/bin/nope -x\necho"), Some("/bin/nope".into()));
        assert_eq!(named(b"#! \t/bin/nope"), Some("/bin/nope".into()));
        assert_eq!(named(b"#!/bin/sh\r\n"), Some("/bin/sh\r".into()));
        assert_eq!(named(b"#!\n"), None);
        assert_eq!(named(b"\x7fELF"), None);
    }

    #[test]
    fn messages_show_what_cannot_be_seen() {
        let error = StartError::NotFound { program: "./x".into(), interpreter: Some("/bin/sh\r".into()) };
        assert_eq!(error.to_string(), "cannot run `./x`: there is no interpreter `/bin/sh\\r`");
        let error = StartError::NotFound { program: "x".into(), interpreter: None };
        assert_eq!(error.to_string(), "cannot find `x`; hint: give its path, or put its directory on PATH");
    }
}
