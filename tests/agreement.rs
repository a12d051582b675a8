//! What a report says twice agrees: CPU with the kernel's counters, phases with the score, names of one program, and CPU
//! with the time that it took. Drawn runs; times are in microseconds.

use poolpick::stages::{Stages, Totals, segment};
use poolpick::timeline::{Timeline, build};
use poolpick::trace::{Blocking, Event, Ids, ProcessReading, Rung, Rusage, SwitchOut, ThreadReading};
use poolpick::units::{Span, Timestamp};

const ROOT: u32 = 100;

fn at(micros: u64) -> Timestamp {
    Timestamp(1_000_000_000 + micros * 1_000)
}

fn ids(pid: u32, tid: u32) -> Ids {
    Ids { pid, tid }
}

fn named(micros: u64, pid: u32, name: &str) -> Event {
    Event::Exec { at: at(micros), ids: ids(pid, pid), name: name.to_owned() }
}

fn program(micros: u64, pid: u32, argv: &[&str]) -> Event {
    let exe = Some(argv[0].to_owned());
    Event::Program { at: at(micros), pid, parent: 0, exe, argv: argv.iter().map(|&word| word.to_owned()).collect() }
}

fn fork(micros: u64, child: (u32, u32)) -> Event {
    Event::Fork { at: at(micros), ids: ids(child.0, child.1), parent: ids(ROOT, ROOT) }
}

fn switch_in(micros: u64, who: Ids) -> Event {
    Event::SwitchIn { at: at(micros), ids: who }
}

fn blocks(micros: u64, who: Ids) -> Event {
    Event::SwitchOut { at: at(micros), ids: who, why: SwitchOut::Blocked }
}

fn exit(micros: u64, who: Ids) -> Event {
    Event::Exit { at: at(micros), ids: who }
}

fn run(mut events: Vec<Event>, end: u64) -> Timeline {
    events.sort_by_key(Event::at);
    build(&events, at(0), ROOT, at(end))
}

fn judged(timeline: &Timeline, cpu_micros: Option<u64>) -> Stages {
    let rusage = cpu_micros.map(|micros| Rusage {
        cpu_user: Span(micros * 1_000),
        cpu_system: Span::ZERO,
        voluntary: 0,
        involuntary: 0,
        peak_rss_bytes: 0,
    });
    segment(timeline, &Totals { rung: Rung::Perf, rusage, whole: true })
}

/// A thread that runs 10 µs and waits 10 µs, over and over; each switch costs it 2 µs more, that no record shows.
#[test]
fn cpu_agrees_with_the_counters_when_records_end() {
    let me = ids(ROOT, ROOT);
    let reading = |micros: u64, turns: u64, active: bool| {
        let reading = ThreadReading {
            on_cpu: Some(Span(turns * 12_000)),
            run_delay: Some(Span::ZERO),
            slices: Some(turns),
            voluntary: Some(turns),
            involuntary: Some(0),
            active: Some(active),
            ..ThreadReading::default()
        };
        Event::Thread { at: at(micros), ids: me, reading }
    };
    let mut events = vec![named(0, ROOT, "pingpong"), program(0, ROOT, &["/bin/pingpong"])];
    for turn in 0..5_000 {
        events.extend([blocks(turn * 20 + 10, me), switch_in(turn * 20 + 20, me)]);
        if turn % 500 == 250 {
            events.push(reading(turn * 20 + 15, turn + 1, false));
        }
    }
    events.push(Event::SwitchesEnd { at: at(100_000) });
    for turn in (5_100..=25_000).step_by(100) {
        events.push(Event::Waiting { at: at(turn * 20 - 5), ids: me, on: Blocking::Pipe });
        events.push(reading(turn * 20 - 5, turn, false));
        events.push(Event::Process { at: at(turn * 20 - 5), pid: ROOT, parent: None, reading: Default::default() });
    }
    let told = run(events, 500_000).on_cpu();
    let truth = 25_000.0 * 12e-6;
    assert!((told / truth - 1.0).abs() < 0.02, "{told} of {truth}");
}

/// One thread computes 1 ms, wakes another that sleeps 9 ms, and waits for it.
#[test]
fn phases_agree_with_the_score() {
    let (worker, sleeper) = (ids(ROOT, ROOT), ids(ROOT, ROOT + 1));
    let mut events = vec![named(0, ROOT, "handoff"), program(0, ROOT, &["/bin/handoff"])];
    events.extend([fork(0, (ROOT, ROOT + 1)), switch_in(1, sleeper), blocks(2, sleeper)]);
    for turn in 0..200 {
        let begin = turn * 10_000;
        events.extend([
            blocks(begin + 1_000, worker),
            switch_in(begin + 1_000, sleeper),
            blocks(begin + 1_010, sleeper),
        ]);
        events.extend([
            switch_in(begin + 9_990, sleeper),
            blocks(begin + 9_999, sleeper),
            switch_in(begin + 10_000, worker),
        ]);
        if turn % 3 == 0 {
            events.push(Event::Waiting { at: at(begin + 5_000), ids: worker, on: Blocking::Lock });
            events.push(Event::Waiting { at: at(begin + 5_000), ids: sleeper, on: Blocking::Sleep });
            events.push(Event::Waiting { at: at(begin + 500), ids: sleeper, on: Blocking::Lock });
        }
    }
    let stages = judged(&run(events, 2_000_000), None).stages;
    let (score, phases) = (stages[0].score.expect("it ran").point, &stages[0].phases);
    assert!((score - 0.1).abs() < 0.02, "{score}");
    assert!(phases.iter().all(|phase| (phase.score - score).abs() < 0.1), "{phases:?}");
    assert_eq!(phases.len(), 1, "{phases:?}");
}

/// Runs `/bin/sh`, which is dash, three times; only the processes in `met` live long enough for a look at them.
fn shells(met: &[u32]) -> Vec<(String, u64)> {
    let mut events = vec![named(0, ROOT, "parent"), program(0, ROOT, &["/bin/parent"])];
    for (turn, pid) in [201, 202, 203].into_iter().enumerate() {
        let begin = turn as u64 * 100_000;
        events.extend([
            fork(begin + 10, (pid, pid)),
            switch_in(begin + 20, ids(pid, pid)),
            named(begin + 30, pid, "sh"),
        ]);
        if met.contains(&pid) {
            events.push(program(begin + 30, pid, &["/usr/bin/dash", "-c", "true"]));
        }
        events.push(exit(begin + 90_000, ids(pid, pid)));
    }
    events.push(blocks(40, ids(ROOT, ROOT)));
    let stages = judged(&run(events, 300_000), None).stages;
    stages.into_iter().map(|stage| (stage.name, stage.processes)).collect()
}

#[test]
fn a_program_is_one_whether_a_look_met_it_or_not() {
    for met in [[201].as_slice(), &[202], &[203], &[201, 203], &[201, 202, 203]] {
        assert_eq!(shells(met), [("dash".to_owned(), 3)], "{met:?}");
    }
    assert_eq!(shells(&[]), [("sh".to_owned(), 3)]);
}

#[test]
fn a_program_that_ends_under_the_look_is_that_of_its_siblings() {
    let mut events = vec![named(0, ROOT, "parent"), program(0, ROOT, &["/bin/parent"])];
    for (turn, exe) in [None, Some("/usr/bin/dash".to_owned()), None].into_iter().enumerate() {
        let (begin, pid) = (turn as u64 * 100_000, 201 + turn as u32);
        let argv = ["sh", "-c", "true"].map(str::to_owned).to_vec();
        events.extend([
            fork(begin + 10, (pid, pid)),
            switch_in(begin + 20, ids(pid, pid)),
            named(begin + 30, pid, "sh"),
        ]);
        events.push(Event::Program { at: at(begin + 30), pid, parent: 0, exe, argv });
        events.push(exit(begin + 90_000, ids(pid, pid)));
    }
    events.push(blocks(40, ids(ROOT, ROOT)));
    let stages = judged(&run(events, 300_000), None).stages;
    assert_eq!((stages.len(), stages[0].name.as_str(), stages[0].processes), (1, "dash", 3));
}

#[test]
fn scripts_under_one_interpreter_do_not_take_each_other_s_time() {
    let mut events = vec![named(0, ROOT, "parent"), program(0, ROOT, &["/bin/parent"])];
    for (turn, (pid, script)) in [(201, Some("a.py")), (202, None), (203, Some("b.py"))].into_iter().enumerate() {
        let begin = turn as u64 * 100_000;
        events.extend([
            fork(begin + 10, (pid, pid)),
            switch_in(begin + 20, ids(pid, pid)),
            named(begin + 30, pid, "python3"),
        ]);
        events.extend(script.map(|script| program(begin + 30, pid, &["/usr/bin/python3.13", script])));
        events.push(exit(begin + 90_000, ids(pid, pid)));
    }
    events.push(blocks(40, ids(ROOT, ROOT)));
    let stages = judged(&run(events, 300_000), None).stages;
    let mut names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a.py", "b.py", "python3.13"]);
}

/// Children strictly one after another, whose memory is taken down behind their last record.
#[test]
fn one_after_another_is_one_at_a_time() {
    let mut events = vec![named(0, ROOT, "forker"), program(0, ROOT, &["/bin/forker"])];
    for turn in 0..1_000 {
        let child = 1_000 + turn as u32;
        let begin = turn * 300;
        events.extend([fork(begin + 10, (child, child)), switch_in(begin + 20, ids(child, child))]);
        events.extend([blocks(begin + 30, ids(ROOT, ROOT)), exit(begin + 150, ids(child, child))]);
        events.push(switch_in(begin + 290, ids(ROOT, ROOT)));
    }
    let timeline = run(events, 300_000);
    let stages = judged(&timeline, Some(240_000)).stages;
    let children = stages.iter().find(|stage| stage.processes == 1_000).expect("the children are a stage");
    assert!(children.demand.on_cpu > 0.18, "{:?}", children.demand);
    let cores = children.demand.on_cpu / children.wall.secs_f64();
    assert!(cores <= 1.01, "{cores}");
}

/// A reading of a process's bytes; who has ended has no memory any more.
fn moved(micros: u64, pid: u32, read: u64, rss_bytes: Option<u64>) -> Event {
    let reading = ProcessReading { rss_bytes, read_chars: Some(read), ..ProcessReading::default() };
    Event::Process { at: at(micros), pid, parent: None, reading }
}

/// A parent that read 5 bytes and waited for a child that read 100, 40 of them before it was looked at, when the kernel had
/// counted `rss_bytes` of its memory.
fn bytes_of(caught: bool, rss_bytes: u64) -> [(Option<u64>, u64); 2] {
    let (parent, child) = (ids(ROOT, ROOT), ids(201, 201));
    let mut events = vec![named(0, ROOT, "parent"), program(0, ROOT, &["/bin/parent"])];
    events.extend([fork(10, (201, 201)), switch_in(20, child), named(30, 201, "child")]);
    events.extend([
        moved(40_000, 201, 40, Some(rss_bytes)),
        moved(40_001, ROOT, 5, Some(1 << 20)),
        exit(90_000, child),
    ]);
    if caught {
        events.push(moved(90_001, 201, 100, None));
    }
    events.extend([blocks(95_000, parent), switch_in(96_000, parent), exit(99_000, parent)]);
    // The kernel has added the child's to those of its parent, which is read when its end was told already.
    events.push(moved(99_500, ROOT, 105, None));
    let timeline = run(events, 100_000);
    ["parent", "child"].map(|name| {
        let program = timeline.programs.iter().find(|program| program.image.name() == name).expect("it ran");
        (program.bytes.read_chars, program.bytes.unread_ends)
    })
}

#[test]
fn bytes_are_those_of_a_program_s_end_or_said_not_to_be() {
    // One without a page so far is young, not ended.
    for rss_bytes in [1 << 20, 0] {
        assert_eq!(bytes_of(true, rss_bytes), [(Some(5), 0), (Some(100), 0)], "{rss_bytes}");
        assert_eq!(bytes_of(false, rss_bytes), [(Some(65), 0), (Some(40), 1)], "{rss_bytes}");
    }
}
