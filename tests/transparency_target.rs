//! Runs targets through the library and checks what it says of them. One test: poolpick reaps every child of its
//! process, so that no two targets may run in it at once. Signals to poolpick itself are `transparency.rs`'s, for here
//! the test harness has a thread that takes them.

use poolpick::target::{ExitKind, News, RunningTarget, StartError, SuspendedTarget, TargetExit, TargetSpec};
use poolpick::units::Span;
use std::time::{Duration, Instant};

fn suspended(argv: &[&str]) -> SuspendedTarget {
    let argv = argv.iter().map(Into::into).collect();
    TargetSpec { argv, ..TargetSpec::default() }.suspend().unwrap()
}

fn running(script: &str) -> RunningTarget {
    suspended(&["sh", "-c", script]).resume().unwrap()
}

/// Gathers news until `wanted` is among them.
fn until(target: &mut RunningTarget, wanted: impl Fn(&News) -> bool) -> Vec<News> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut all = Vec::new();
    while !all.iter().any(&wanted) {
        assert!(Instant::now() < deadline, "only {all:?}");
        all.extend(target.news().unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }
    all
}

fn ended(mut target: RunningTarget) -> (Vec<News>, TargetExit) {
    let news = until(&mut target, |news| matches!(news, News::Ended { .. }));
    (news, target.reap().unwrap())
}

fn children() -> String {
    let us = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{us}/task")).unwrap();
    tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()).collect()
}

fn mask() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn")).map(str::to_owned).collect()
}

#[test]
fn targets_are_told_of_as_they_were() {
    let before = mask();

    // What the fork of this large test binary cost is not the target's: `true` needs less than 100 ms in any case.
    let (news, exit) = ended(suspended(&["true"]).resume().unwrap());
    assert!(matches!(news[..], [News::Ended { .. }]), "{news:?}");
    assert_eq!(exit.status, ExitKind::Exited(0));
    assert!(exit.usage.cpu() < Span::from_millis(100), "{exit:?}");
    assert!(exit.started < exit.ended && exit.orphans.is_none() && !exit.left_behind);
    assert_eq!(format!("{:?}", exit.pass_on()), format!("{:?}", std::process::ExitCode::SUCCESS));

    // The pid is the program's, and nothing runs before it may.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let waiting = suspended(&["sh", "-c", &format!("echo $$ > {}", file.display())]);
    let pid = waiting.pid();
    assert!(std::fs::read_link(format!("/proc/{pid}/exe")).unwrap() == std::env::current_exe().unwrap());
    assert!(!file.exists());
    ended(waiting.resume().unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), pid.to_string());

    // Dropped before it runs, it leaves nothing; neither does a program that is not there.
    drop(suspended(&["sh", "-c", "echo never"]));
    let missing = suspended(&["./no-such-program"]).resume();
    assert!(matches!(missing, Err(StartError::NotFound { interpreter: None, .. })));
    let denied = suspended(&["/"]).resume();
    assert!(matches!(denied, Err(StartError::NotExecutable { errno: libc::EACCES, .. })));
    assert_eq!(children(), "");
    let zero = TargetSpec { argv: vec!["a\0b".into()], ..TargetSpec::default() }.suspend();
    assert!(matches!(zero, Err(StartError::Setup(_))));

    // Killed before it could exec, it ends like any other.
    let waiting = suspended(&["true"]);
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -9 {}", waiting.pid())]).status();
    assert!(killed.unwrap().success());
    assert_eq!(ended(waiting.resume().unwrap()).1.status, ExitKind::Killed(libc::SIGKILL));

    // A stop of the target alone is told once, and its length is known.
    let wake = "until grep -q '^State:.T' /proc/$$/status; do :; done; sleep 0.1; kill -CONT $$";
    let (news, exit) = ended(running(&format!("({wake}) & kill -STOP $$; exit 4")));
    let [News::Stopped { at: stopped }, News::Continued { at: continued }, ..] = news[..] else { panic!("{news:?}") };
    assert_eq!(exit.stopped, continued.since(stopped));
    assert!(exit.stopped > Span::ZERO && exit.status == ExitKind::Exited(4), "{exit:?}");

    // Killed while stopped: the stop ends with it.
    let mut target = running("kill -STOP $$");
    until(&mut target, |news| matches!(news, News::Stopped { .. }));
    target.terminate(libc::SIGKILL, &[1, 0, std::process::id()]);
    let (news, exit) = ended(target);
    assert!(matches!(news[..], [News::Continued { .. }, News::Ended { .. }]), "{news:?}");
    assert!(exit.status == ExitKind::Killed(libc::SIGKILL) && exit.stopped > Span::ZERO);

    // An orphan's use is told and summed, apart from the target's.
    let orphan = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let (news, exit) = ended(running(&format!("(sh -c '{orphan}' &); sleep 1")));
    let told = news.iter().find_map(|news| match news {
        News::Orphan { usage, .. } => Some(*usage),
        _ => None,
    });
    assert_eq!(exit.orphans, told);
    assert!(told.is_none_or(|usage| usage.cpu() > Span::from_millis(1)), "{told:?}");

    // What is left behind is neither waited for nor ended, but said; a tree can be ended.
    let mut target = running("sleep 600 & sleep 600 & wait");
    let root = target.pid();
    let deadline = Instant::now() + Duration::from_secs(60);
    let tree: Vec<u32> = loop {
        let path = format!("/proc/{root}/task/{root}/children");
        let tree: Vec<u32> =
            std::fs::read_to_string(path).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        if tree.len() == 2 {
            break tree;
        }
        assert!(Instant::now() < deadline);
    };
    target.terminate(libc::SIGTERM, &tree[..1]);
    let (_, exit) = ended(target);
    assert!(exit.status == ExitKind::Killed(libc::SIGTERM) && exit.left_behind, "{exit:?}");
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -9 {}", tree[1])]).status();
    assert!(killed.unwrap().success());

    assert_eq!(mask(), before, "signals are as they were");
}
