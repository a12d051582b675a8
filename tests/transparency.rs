//! Runs commands with and without poolpick in front and compares what they and their caller can see.
//! Must not look into poolpick: the binary is all that it knows.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const POOLPICK: [&str; 4] = [env!("CARGO_BIN_EXE_poolpick"), "profile", "--quiet", "--"];

/// The command line, behind poolpick or bare.
fn line<'a>(wrapped: bool, argv: &[&'a str]) -> Vec<&'a str> {
    if wrapped { POOLPICK.iter().chain(argv).copied().collect() } else { argv.to_vec() }
}

fn command(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null());
    command
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transparency").join(name).display().to_string()
}

/// Whether python3 can be run; says so if it cannot.
fn python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: python3 is missing");
    }
    found
}

/// Runs `argv` with and without poolpick, started by `launch.py` with these options.
fn launched(options: &[&str], argv: &[&str]) -> [Output; 2] {
    [false, true].map(|wrapped| {
        let launch = fixture("launch.py");
        let whole = [&["python3", &launch][..], options, &["--"], &line(wrapped, argv)].concat();
        command(&whole).output().unwrap()
    })
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends a signal by the shell's own `kill`.
fn kill(signal: &str, pid: u32) {
    let status = command(&["sh", "-c", &format!("kill -{signal} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}: {status}");
}

fn start(argv: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = command(argv).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

fn next(said: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn the_environment_is_the_callers() {
    let of = |wrapped| {
        let output = command(&line(wrapped, &["env", "-0"])).env("EMPTY", "").env("LINES_", "a\nb=c").output().unwrap();
        // The agent's own variables are the ones that are announced.
        let entries = output.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let ours = |entry: &Vec<u8>| entry.starts_with(b"POOLPICK_") || entry.starts_with(b"PYTHONPATH=");
        entries.filter(|entry| !ours(entry)).collect::<Vec<_>>()
    };
    let bare = of(false);
    assert!(bare.len() > 2);
    assert_eq!(of(true), bare);
}

/// A block of entries as no shell can make it; poolpick's child shows what it got, byte for byte.
#[test]
fn odd_environments_are_kept_and_changed_in_their_place() {
    if !python() {
        return;
    }
    let odd: [&[u8]; 10] = [
        b"PATH=/usr/bin:/bin",
        b"A=\xff\xfe",
        b"no equals sign",
        b"A=twice",
        b"PYTHONPATH=/x:\xff",
        b"=C:=y",
        b"POOLPICK_STAGES=old=a:b",
        b"PYTHONPATH=/y",
        b"",
        b"Z=last",
    ];
    let quoted = |entry: &[u8]| format!("b'{}'", entry.escape_ascii());
    let entries: Vec<String> = odd.iter().map(|entry| quoted(entry)).collect();
    let of = |argv: &[&str]| {
        let words: Vec<String> = argv.iter().map(|word| quoted(word.as_bytes())).collect();
        let script = format!(
            "import ctypes\nargv = [{}]\nenvp = [{}]\nblock = lambda l: (ctypes.c_char_p * (len(l) + 1))(*l, None)\n\
             ctypes.CDLL(None).execve(argv[0], block(argv), block(envp))",
            words.join(", "),
            entries.join(", ")
        );
        let output = command(&["python3", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut entries: Vec<Vec<u8>> = output.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        // The last entry ends with a zero byte too.
        entries.pop();
        entries
    };
    let cat = ["/bin/cat", "/proc/self/environ"];
    assert_eq!(of(&cat), odd);
    assert_eq!(of(&[&POOLPICK[..3], &["--python", "off", "--"], &cat].concat()), odd);
    let mut wrapped = of(&[&POOLPICK[..], &cat].concat());
    let channel = wrapped.pop().unwrap();
    assert!(channel.starts_with(b"POOLPICK_CHANNEL=/"), "{}", channel.escape_ascii());
    let path = wrapped[4].clone();
    assert!(path.starts_with(b"PYTHONPATH=/") && path.ends_with(b":/x:\xff"), "{}", path.escape_ascii());
    wrapped[4] = odd[4].to_vec();
    let wanted: Vec<&[u8]> = odd.into_iter().filter(|entry| !entry.starts_with(b"POOLPICK_STAGES")).collect();
    assert_eq!(wrapped, wanted);
}

#[test]
fn descriptors_group_and_session_are_the_callers() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sets: [&[&str]; 5] = [
        &["--open", "7", "--open", "23"],
        &["--close", "0"],
        &["--close", "1"],
        &["--close", "2"],
        &["--close", "0", "--close", "1", "--close", "2"],
    ];
    for options in sets {
        let file: PathBuf = folder.path().join("seen");
        let mut seen = Vec::new();
        for wrapped in [false, true] {
            let launch = [&["python3", &fixture("launch.py")][..], options, &["--"]].concat().join(" ");
            let probe = fixture("descriptors.py");
            let file = file.display().to_string();
            let argv = line(wrapped, &["python3", &probe, &file]).join(" ");
            let output = command(&["sh", "-c", &format!("exec {launch} {argv}")]).output().unwrap();
            assert!(output.status.success(), "{options:?}: {output:?}");
            // Until 3.13, Python keeps a descriptor of what it maps: the agent's channel, at 64 or above.
            let lines = std::fs::read_to_string(&file).unwrap();
            let others: Vec<&str> = lines.lines().filter(|line| !line.contains("/poolpick-")).collect();
            seen.push(others.join("\n"));
            std::fs::remove_file(&file).unwrap();
        }
        assert_eq!(seen[1], seen[0], "{options:?}");
    }
}

#[test]
fn masks_and_dispositions_are_the_callers() {
    if !python() {
        return;
    }
    let sets: [&[&str]; 9] = [
        &[],
        &["--ignore", "PIPE"],
        &["--ignore", "INT"],
        &["--ignore", "CHLD"],
        &["--ignore", "HUP", "--ignore", "TSTP", "--ignore", "CONT"],
        &["--block", "TERM", "--block", "USR1"],
        &["--block", "CHLD", "--block", "PIPE", "--block", "RTMIN"],
        &["--ignore", "TERM", "--block", "TERM"],
        &["--ignore", "SEGV", "--ignore", "XFSZ"],
    ];
    for options in sets {
        let [bare, wrapped] = launched(options, &["cat", "/proc/self/status"]).map(|output| {
            let signals = ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp:"];
            let status = text(&output);
            let lines = status.lines().filter(|line| signals.iter().any(|name| line.starts_with(name)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        });
        assert!(bare.len() >= 5, "{bare:?}");
        assert_eq!(wrapped, bare, "{options:?}");
    }
}

#[test]
fn every_exit_status_is_passed_on() {
    let codes: Vec<i32> = (0..=255).collect();
    std::thread::scope(|scope| {
        for part in codes.chunks(64) {
            scope.spawn(move || {
                for code in part {
                    let exit = format!("exit {code}");
                    let status = command(&line(true, &["sh", "-c", &exit])).status().unwrap();
                    assert_eq!(status.code(), Some(*code));
                }
            });
        }
    });
}

#[test]
fn every_deadly_signal_is_passed_on_without_a_core() {
    let harmless = [17, 18, 19, 20, 21, 22, 23, 28];
    let folder = tempfile::tempdir().unwrap();
    for signal in (1..=31).filter(|signal| !harmless.contains(signal)).chain([34, 64]) {
        // Should cores be allowed here, then none may be written for poolpick, whatever the target leaves.
        let kill = format!("ulimit -c unlimited 2>/dev/null; kill -{signal} $$");
        let mut wrapper = command(&line(true, &["sh", "-c", &kill]));
        let status = wrapper.current_dir(folder.path()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(signal), "{status}");
        assert!(!status.core_dumped(), "signal {signal} left a core");
    }
}

#[test]
fn what_cannot_run_is_told_by_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).unwrap();
    let of = |program: &str| {
        let output = command(&line(true, &[program])).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(of("no-such-program-anywhere").0, Some(127));
    assert_eq!(of(plain.to_str().unwrap()).0, Some(126));
    assert_eq!(of(folder.path().to_str().unwrap()).0, Some(126));
    let (code, message) = of(script.to_str().unwrap());
    assert_eq!(code, Some(127));
    assert!(message.contains("/no/such/interpreter"), "{message}");
}

#[test]
fn bytes_pass_through() {
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 20).collect();
    let mut child = Command::new(POOLPICK[0])
        .args(&POOLPICK[1..])
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&bytes).unwrap();
            drop(stdin);
        });
        stdout.read_to_end(&mut back).unwrap();
    });
    assert!(child.wait().unwrap().success());
    assert!(back == bytes, "{} of {} bytes came back, or others", back.len(), bytes.len());
}

#[test]
fn a_reader_that_leaves_ends_the_target_by_sigpipe() {
    if !python() {
        return;
    }
    let launch = fixture("launch.py");
    let (mut child, said) = start(&[&["python3", &launch, "--"][..], &line(true, &["yes"])].concat());
    drop(said);
    assert_eq!(child.wait().unwrap().signal(), Some(13));
}

#[test]
fn signals_from_a_process_reach_the_target_once() {
    if !python() {
        return;
    }
    let (mut child, mut said) = start(&line(true, &["python3", &fixture("listen.py")]));
    assert_eq!(next(&mut said), "ready");
    for signal in ["TERM", "INT", "USR1", "HUP", "ALRM", "QUIT", "TERM"] {
        kill(signal, child.id());
        assert_eq!(next(&mut said), format!("SIG{signal} process"));
    }
    kill("USR2", child.id());
    assert_eq!(next(&mut said), "SIGUSR2 process");
    assert_eq!(next(&mut said), "");
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn signals_from_the_target_are_not_echoed() {
    if !python() {
        return;
    }
    let (mut child, mut said) = start(&line(true, &["python3", &fixture("listen.py"), "poke"]));
    assert_eq!(next(&mut said), "ready");
    kill("USR2", child.id());
    assert_eq!(next(&mut said), "SIGUSR2 process");
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn an_ignored_signal_stays_ignored() {
    if !python() {
        return;
    }
    let (launch, listen) = (fixture("launch.py"), fixture("listen.py"));
    let target = line(true, &["python3", &listen]);
    let (mut child, mut said) = start(&[&["python3", &launch, "--ignore", "INT", "--"][..], &target].concat());
    assert_eq!(next(&mut said), "ready");
    kill("INT", child.id());
    kill("USR1", child.id());
    assert_eq!(next(&mut said), "SIGUSR1 process");
    kill("USR2", child.id());
    assert_eq!(next(&mut said), "SIGUSR2 process");
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn descendants_left_behind_are_not_waited_for() {
    let (mut child, mut said) = start(&line(true, &["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!; exit 3"]));
    let left: u32 = next(&mut said).parse().unwrap();
    let began = std::time::Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(began.elapsed().as_secs() < 300);
    kill("KILL", left);
}

/// Plays one scenario at a terminal with and without poolpick.
fn at_terminal(scenario: &str, target: &[&str]) {
    if !python() {
        return;
    }
    let terminal = fixture("terminal.py");
    let [bare, wrapped] = [false, true].map(|wrapped| {
        let argv = line(wrapped, target);
        let output = command(&[&["python3", &terminal, scenario, "--"][..], &argv].concat()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{scenario}, wrapped: {wrapped}: {complaint}\n{}", text(&output));
        text(&output)
    });
    assert_eq!(wrapped, bare, "{scenario}");
}

#[test]
fn keys_reach_the_target_once() {
    at_terminal("keys", &["python3", &fixture("listen.py")]);
}

#[test]
fn ctrl_c_and_hang_up_kill_the_job() {
    at_terminal("interrupt", &["sh", "-c", "echo ready; exec sleep 600"]);
    at_terminal("hangup", &["sh", "-c", "echo ready; exec sleep 600"]);
}

#[test]
fn ctrl_z_stops_the_whole_job_and_fg_continues_it() {
    let echo = fixture("echo.py");
    at_terminal("stop", &["python3", &echo]);
    at_terminal("alone", &["python3", &echo]);
    at_terminal("stop", &["python3", &echo, "tidy"]);
    at_terminal("stop", &["python3", &echo, "tidy", "group"]);
}

#[test]
fn ctrl_z_does_not_stop_what_ignores_it() {
    at_terminal("deaf", &["python3", &fixture("echo.py"), "deaf"]);
}

#[test]
fn ctrl_z_in_an_orphaned_group_does_not_hang() {
    at_terminal("orphaned", &["python3", &fixture("echo.py")]);
}

#[test]
fn a_background_job_stops_when_it_reads() {
    at_terminal("background", &["python3", &fixture("echo.py")]);
}
