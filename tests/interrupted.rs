//! A signal to poolpick ends what it runs, to the last worker, and then poolpick itself by the same signal: `check`, the
//! profile before a race, the calibration. `profile` is another matter: `tests/transparency.rs`.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{POOLPICK, each, python};

/// Writes its own number, and lives on unless it is ended.
const WORKER: &str = "sh -c 'echo $$ > worker.new; mv worker.new worker; exec sleep 600'";

/// For so long the last of them may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts poolpick, waits until the worker lives, sends the signal, and sees that both end.
fn interrupted(folder: &Path, words: &[&str], signal: i32) {
    let worker = folder.join("worker");
    let mut command = Command::new(POOLPICK);
    command.current_dir(folder).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A cache of its own: what is cached would not be measured.
    let mut child = command.env("XDG_CACHE_HOME", folder.join("cache")).spawn().expect("poolpick can be started");
    while !worker.exists() {
        assert!(child.try_wait().expect("it is ours").is_none(), "it ended by itself: {:?}", child.wait_with_output());
        std::thread::yield_now();
    }
    let pid = fs::read_to_string(&worker).expect("written").trim().to_owned();
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it is ours");
    assert_eq!(output.status.signal(), Some(signal), "{output:?}");
    // Who was sent SIGKILL dies when it next has a CPU, which on a busy machine takes a moment; it would live on for minutes.
    let end = Instant::now() + PATIENCE;
    while lives(&pid) {
        assert!(Instant::now() < end, "the worker lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether there is a process of this number; a zombie that nobody has reaped yet has ended, too.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[test]
fn a_gate_leaves_nobody_behind() {
    // The second is what a pool looks like whose parent ends at once; the third does not heed TERM.
    let stages = [
        ("waits for its worker", format!("{WORKER} & wait"), libc::SIGTERM),
        ("hung up", format!("{WORKER} & wait"), libc::SIGHUP),
        ("Ctrl-C", format!("{WORKER} & exec sleep 600"), libc::SIGINT),
        ("ignores TERM", format!("trap '' TERM; {WORKER} & wait"), libc::SIGTERM),
    ];
    each(stages.map(|stage| (stage.0.to_owned(), stage)), |(_, shell, signal)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("poolpick.toml"), format!("[stages.a]\nshell = \"\"\"{shell}\"\"\"\n"))
            .expect("own folder");
        interrupted(folder.path(), &["check"], signal);
    });
}

#[test]
fn the_profile_before_a_race_leaves_nobody_behind() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = format!(
        "import subprocess, time\n\nROWS = [1, 2, 3]\n\ndef work(row):\n    \
         subprocess.Popen([\"sh\", \"-c\", {WORKER:?}])\n    time.sleep(600)\n"
    );
    fs::write(folder.path().join("etl.py"), module).expect("own folder");
    let words = ["race", "etl:work", "--items", "etl:ROWS", "--python", python];
    interrupted(folder.path(), &words, libc::SIGTERM);
}

#[test]
fn a_calibration_leaves_nobody_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shim = folder.path().join("python3");
    fs::write(&shim, format!("#!/bin/sh\n{WORKER} & wait\n")).expect("own folder");
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("own folder");
    interrupted(folder.path(), &["calibrate", "--python", "./python3"], libc::SIGTERM);
}
