//! What a run makes of the agent's channel: events in order of time, nothing lost unseen, no directory left behind. The
//! channel is written by a small program, or by the agent itself where a test says so.

mod support;

use poolpick::trace::{AgentFact, Event, TaskKind};
use poolpick::units::{Span, Timestamp};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use support::{POOLPICK, python};

/// The events of a run of this command, with these options; also what poolpick left in the temporary folder.
fn recorded(disable: &str, options: &[&str], argv: &[&str]) -> Vec<Event> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let mut command = Command::new(POOLPICK);
    command.args(["profile", "--quiet", "--record"]).arg(&trace).args(options).arg("--").args(argv);
    command.env("POOLPICK_DISABLE", disable).env("XDG_RUNTIME_DIR", &temporary);
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{argv:?}: {output:?}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "the directory is gone");
    let reader = poolpick::trace::Reader::open(io::BufReader::new(fs::File::open(&trace).unwrap())).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

fn channel<'a>(python: &'a str, fixture: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&[python, "-E", fixture][..], arguments].concat()
}

/// Tasks' beginnings and ends, stages, sums of the first stage.
fn tasks(events: &[Event]) -> (usize, usize, Vec<String>, u64) {
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let (begins, ends) = (
        count(|event| matches!(event, Event::TaskBegin { .. })),
        count(|event| matches!(event, Event::TaskEnd { .. })),
    );
    let facts = events.iter().filter_map(|event| match event {
        Event::Agent { fact, .. } => Some(fact),
        _ => None,
    });
    let (mut stages, mut total) = (Vec::new(), 0);
    for fact in facts {
        match fact {
            AgentFact::Stage(stage) => stages.push(stage.name.clone()),
            AgentFact::Totals { totals, .. } => total = totals.count,
            _ => {}
        }
    }
    (begins, ends, stages, total)
}

#[test]
fn tasks_stand_in_order_among_the_switches() {
    let Some(python) = python() else { return };
    let fixture = support::fixture("channel.py");
    for disable in ["", "perf", "perf,schedstat"] {
        let events = recorded(disable, &[], &channel(python, &fixture, &["tasks", "3", "1500"]));
        let (begins, ends, stages, total) = tasks(&events);
        assert_eq!((begins, ends, total), (4500, 4500, 4500), "{disable}");
        assert_eq!(stages, ["channel.work"]);
        let mut latest = Timestamp(0);
        let (mut behind, mut worst) = (0, Span(0));
        for event in &events {
            let late = latest.since(event.at());
            if late > Span(0) && matches!(event, Event::TaskBegin { .. } | Event::TaskEnd { .. }) {
                behind += 1;
            }
            worst = worst.max(late);
            latest = latest.max(event.at());
        }
        println!("{disable}: {} events, {behind} tasks' behind, at most {} us", events.len(), worst.0 / 1000);
        assert_eq!(behind, 0, "{disable}");
    }
}

#[test]
fn a_flood_is_read_as_far_as_can_be_and_counted() {
    let Some(python) = python() else { return };
    let fixture = support::fixture("channel.py");
    let events = recorded("", &[], &channel(python, &fixture, &["flood", "200000"]));
    let (begins, _, _, total) = tasks(&events);
    let mut dropped = events.iter().filter_map(|event| match event {
        Event::Agent { fact: AgentFact::Cost { dropped, .. }, .. } => Some(*dropped),
        _ => None,
    });
    assert_eq!((begins as u64 + dropped.next_back().unwrap_or(0), total), (200_000, 200_000));
    assert!(begins >= 4096, "{begins}");
}

#[test]
fn children_that_end_at_once_are_read() {
    let Some(python) = python() else { return };
    let fixture = support::fixture("channel.py");
    for disable in ["", "perf"] {
        let events = recorded(disable, &[], &channel(python, &fixture, &["forks", "600"]));
        let (_, ends, stages, _) = tasks(&events);
        assert_eq!((ends, stages.len()), (600, 600), "{disable}");
    }
}

#[test]
fn a_hostile_target_harms_nobody() {
    let Some(python) = python() else { return };
    let fixture = support::fixture("channel.py");
    let events = recorded("", &[], &channel(python, &fixture, &["hostile"]));
    assert!(tasks(&events).2.contains(&"channel.last".to_owned()));
    assert!(events.windows(2).all(|two| two[1].at().since(Timestamp(0)) < Span(u64::MAX / 2)));
}

/// A program that uses pools, with the agent itself.
#[test]
fn the_agent_tells_of_pools() {
    let Some(python) = python() else { return };
    let fixture = support::fixture("pools.py");
    for disable in ["", "perf"] {
        let options = ["--stage", "triangle=__main__:triangle"];
        let events = recorded(disable, &options, &[python, &fixture]);
        let began = events.iter().filter_map(|event| match event {
            Event::Agent { pid, fact: AgentFact::Began { forked, .. }, .. } => Some((*pid, *forked)),
            _ => None,
        });
        let began: Vec<(u32, bool)> = began.collect();
        assert!(began.iter().filter(|(_, forked)| !forked).count() >= 1, "{began:?}");
        let (begins, ends, stages, _) = tasks(&events);
        for name in ["pools.wait", "pools.burn"] {
            assert!(stages.iter().any(|stage| stage == name), "{name}: {stages:?}");
        }
        assert!(begins > 0 && ends > 0, "{begins} {ends}");
        let named = events.iter().any(|event| {
            matches!(event, Event::Agent { fact: AgentFact::Stage(stage), .. } if stage.kind == TaskKind::Named)
        });
        assert!(named, "{stages:?}");
        let mut latest = Timestamp(0);
        for event in &events {
            let is_task = matches!(event, Event::TaskBegin { .. } | Event::TaskEnd { .. });
            assert!(!is_task || event.at() >= latest, "{event:?}");
            latest = latest.max(event.at());
        }
        println!("{disable}: {began:?} {begins} {ends} {stages:?}");
    }
}

#[test]
fn without_the_agent_nothing_is_added() {
    for (options, disable) in [(["--python", "sample"], ""), (["--python", "off"], ""), (["--color", "auto"], "agent")]
    {
        let mut command = Command::new(POOLPICK);
        command.args(["profile", "--quiet"]).args(options).args(["--", "env", "-0"]);
        let output = command.env("POOLPICK_DISABLE", disable).env("PYTHONPATH", "/x").output().unwrap();
        let entries = output.stdout.split(|byte| *byte == 0);
        assert!(!entries.clone().any(|entry| entry.starts_with(b"POOLPICK_CHANNEL")));
        assert!(entries.into_iter().any(|entry| entry == b"PYTHONPATH=/x"));
    }
}

#[test]
fn where_no_directory_can_be_made_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let colon = folder.path().join("a:b");
    fs::create_dir(&colon).unwrap();
    let mut command = Command::new(POOLPICK);
    command.args(["profile", "--quiet", "--export", &format!("json={}", report.display()), "--", "sh", "-c", "exit 3"]);
    // A path that no list can hold, and shared memory out of sight.
    command.env("TMPDIR", &colon).env("XDG_RUNTIME_DIR", &colon).env("POOLPICK_DISABLE", "");
    assert_eq!(command.output().unwrap().status.code(), Some(3));
    if !Path::new("/dev/shm").exists() {
        assert!(fs::read_to_string(&report).unwrap().contains("EINVAL"));
    }
}
