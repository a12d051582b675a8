//! Drawn runs through the timeline and the stages: no kernel, no privilege, no clock. Times are in milliseconds.

use poolpick::stages::{Kind, Totals, segment};
use poolpick::timeline::{Records, Timeline, build};
use poolpick::trace::{Blocking, Event, Ids, ProcessReading, Rung, SwitchOut, ThreadReading, TimeOut};
use poolpick::units::{Span, Timestamp};

const ROOT: u32 = 100;

fn at(millis: u64) -> Timestamp {
    Timestamp(1_000_000_000 + millis * 1_000_000)
}

fn ids(pid: u32, tid: u32) -> Ids {
    Ids { pid, tid }
}

fn exec(millis: u64, pid: u32, argv: &[&str]) -> Vec<Event> {
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    let name = argv[0].rsplit('/').next().unwrap_or_default().to_owned();
    vec![
        Event::Exec { at: at(millis), ids: ids(pid, pid), name },
        Event::Program { at: at(millis), pid, parent: 0, exe: Some(argv[0].clone()), argv },
    ]
}

fn fork(millis: u64, child: (u32, u32), parent: u32) -> Event {
    Event::Fork { at: at(millis), ids: ids(child.0, child.1), parent: ids(parent, parent) }
}

fn switch_in(millis: u64, who: (u32, u32)) -> Event {
    Event::SwitchIn { at: at(millis), ids: ids(who.0, who.1) }
}

fn out(millis: u64, who: (u32, u32), why: SwitchOut) -> Event {
    Event::SwitchOut { at: at(millis), ids: ids(who.0, who.1), why }
}

fn exit(millis: u64, who: (u32, u32)) -> Event {
    Event::Exit { at: at(millis), ids: ids(who.0, who.1) }
}

fn waits(millis: u64, who: (u32, u32), on: Blocking) -> Event {
    Event::Waiting { at: at(millis), ids: ids(who.0, who.1), on }
}

fn run(mut events: Vec<Event>, end: u64) -> Timeline {
    events.sort_by_key(Event::at);
    build(&events, at(0), ROOT, at(end))
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[test]
fn cpu_preemption_and_wait_are_told_apart() {
    let me = (ROOT, ROOT);
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.extend([
        out(100, me, SwitchOut::Preempted),
        switch_in(150, me),
        out(200, me, SwitchOut::Blocked),
        waits(250, me, Blocking::Network),
        switch_in(500, me),
        exit(600, me),
    ]);
    let timeline = run(events, 600);
    let demand = timeline.programs.iter().find(|program| program.processes > 0).expect("one program").demand;
    assert!(near(demand.on_cpu, seconds(250)), "{demand:?}");
    assert!(near(demand.run_queue, seconds(50)), "{demand:?}");
    assert!(near(demand.own.network, seconds(300)), "{demand:?}");
    assert!(near(demand.thread_seconds(), seconds(600)), "{demand:?}");
}

#[test]
fn a_pool_of_forked_workers_is_one_stage_beside_its_parent() {
    let mut events = exec(0, ROOT, &["/usr/bin/python3", "pool.py"]);
    for worker in [201, 202] {
        events.push(fork(10, (worker, worker), ROOT));
        events.push(switch_in(11, (worker, worker)));
        events.push(exit(811, (worker, worker)));
    }
    events.push(out(20, (ROOT, ROOT), SwitchOut::Blocked));
    events.push(waits(400, (ROOT, ROOT), Blocking::Child));
    events.push(switch_in(812, (ROOT, ROOT)));
    events.push(exit(820, (ROOT, ROOT)));
    let timeline = run(events, 820);
    let stages = segment(&timeline, &Totals { rung: Rung::Perf, rusage: None, whole: false });
    assert_eq!(stages.stages.len(), 1, "the parent only waited: {:?}", stages.folded);
    let pool = &stages.stages[0];
    assert_eq!((pool.workers, pool.is_pool, pool.processes), (2, true, 2));
    assert!(near(pool.demand.on_cpu, seconds(1600)), "{:?}", pool.demand);
}

/// Two programs of one name side by side under a parent, as it is told of a pool.
fn two_side_by_side(parent: &[&str]) -> bool {
    let mut events = exec(0, ROOT, parent);
    for pid in [101, 102] {
        events.push(fork(10, (pid, pid), ROOT));
        events.push(switch_in(11, (pid, pid)));
        events.extend(exec(12, pid, &["/usr/bin/cat"]));
        events.push(exit(900, (pid, pid)));
    }
    let timeline = run(events, 1000);
    let stages = segment(&timeline, &Totals { rung: Rung::Perf, rusage: None, whole: true });
    let cat = stages.stages.iter().find(|stage| stage.name == "cat").expect("it computes");
    assert_eq!(cat.workers, 2);
    cat.is_pool
}

#[test]
fn what_a_shell_starts_side_by_side_is_no_pool() {
    assert!(!two_side_by_side(&["/bin/sh", "-c", "cat big | cat | cat >/dev/null"]));
    assert!(two_side_by_side(&["/usr/bin/xargs", "-P", "2", "cat"]));
}

#[test]
fn a_live_display_counts_the_wait_that_still_lasts() {
    let mut builder = poolpick::timeline::TimelineBuilder::new(at(0), ROOT);
    for event in exec(0, ROOT, &["/usr/bin/sleep", "10"]) {
        builder.push(&event);
    }
    builder.push(&switch_in(1, (ROOT, ROOT)));
    builder.push(&out(3, (ROOT, ROOT), SwitchOut::Blocked));
    let (on_cpu, own) = builder.so_far(at(2003));
    assert!(near(on_cpu, seconds(2)) && near(own, 2.0), "{on_cpu} {own}");
    // Who waits for a child does nothing of its own: the child does.
    builder.push(&switch_in(2003, (ROOT, ROOT)));
    builder.push(&fork(2004, (101, 101), ROOT));
    builder.push(&switch_in(2004, (101, 101)));
    builder.push(&out(2005, (ROOT, ROOT), SwitchOut::Blocked));
    let (_, before) = builder.so_far(at(2005));
    let (_, after) = builder.so_far(at(4005));
    assert!(near(before, after), "{before} {after}");
}

#[test]
fn a_chain_of_execs_is_the_last_program() {
    let mut events = exec(0, ROOT, &["/usr/bin/env", "nice"]);
    events.extend(exec(2, ROOT, &["/usr/bin/nice", "gzip"]));
    events.extend(exec(4, ROOT, &["/usr/bin/gzip"]));
    events.push(exit(900, (ROOT, ROOT)));
    let stages = segment(&run(events, 900), &Totals { rung: Rung::Perf, rusage: None, whole: false });
    assert_eq!(stages.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["gzip"]);
    assert_eq!(stages.stages[0].kind, Kind::Command);
    assert_eq!(stages.folded.len(), 2);
}

/// `env` lives so short that its name is read when it is another program already, and the record of that exec comes later.
#[test]
fn a_name_that_was_read_late_is_that_of_the_next_program() {
    let mut events = vec![
        Event::Exec { at: at(0), ids: ids(ROOT, ROOT), name: "env".to_owned() },
        Event::Program {
            at: at(3),
            pid: ROOT,
            parent: 0,
            exe: Some("/bin/python3".to_owned()),
            argv: ["python3", "stage.py"].map(str::to_owned).to_vec(),
        },
        Event::Exec { at: at(2), ids: ids(ROOT, ROOT), name: "python3".to_owned() },
        switch_in(4, (ROOT, ROOT)),
        exit(500, (ROOT, ROOT)),
    ];
    // As they come: the ring is read after the name.
    let programs = |events: &[Event]| {
        let timeline = build(events, at(0), ROOT, at(500));
        let ran = timeline.programs.iter().filter(|program| program.processes > 0);
        ran.map(|program| (program.image.name(), program.processes, program.replaced)).collect::<Vec<_>>()
    };
    assert_eq!(programs(&events), [("stage.py".to_owned(), 1, 0)]);
    // A later exec is one.
    events.insert(4, Event::Exec { at: at(300), ids: ids(ROOT, ROOT), name: "sleep".to_owned() });
    assert_eq!(programs(&events), [("stage.py".to_owned(), 1, 1), ("sleep".to_owned(), 1, 0)]);
}

#[test]
fn two_scripts_of_one_interpreter_are_two_stages() {
    let mut events = exec(0, ROOT, &["/bin/sh", "run.sh"]);
    for (child, script) in [(201, "fetch.py"), (202, "parse.py")] {
        events.push(fork(1, (child, child), ROOT));
        events.push(switch_in(1, (child, child)));
        events.extend(exec(2, child, &["/usr/bin/python3", script]));
        events.push(exit(500, (child, child)));
    }
    events.push(out(3, (ROOT, ROOT), SwitchOut::Blocked));
    events.push(exit(501, (ROOT, ROOT)));
    let stages = segment(&run(events, 501), &Totals { rung: Rung::Perf, rusage: None, whole: false });
    let mut names: Vec<&str> = stages.stages.iter().map(|stage| stage.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["fetch.py", "parse.py"]);
}

#[test]
fn stopped_time_is_no_wait() {
    let me = (ROOT, ROOT);
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.extend([
        out(100, me, SwitchOut::Blocked),
        Event::Stopped { at: at(100) },
        Event::Continued { at: at(5100) },
        switch_in(5100, me),
        exit(5200, me),
    ]);
    let timeline = run(events, 5200);
    assert!(near(timeline.wall().secs_f64(), seconds(200)));
    let demand = timeline.programs.iter().find(|program| program.processes > 0).expect("one program").demand;
    assert!(near(demand.thread_seconds(), seconds(200)), "{demand:?}");
    assert!(near(demand.own.sum(), 0.0), "{demand:?}");
}

#[test]
fn lost_records_are_unknown_and_widen_the_score() {
    let me = (ROOT, ROOT);
    let with = |lost: bool| {
        let mut events = exec(0, ROOT, &["/bin/stage"]);
        for beat in 0..100u64 {
            events.push(out(beat * 10 + 5, me, SwitchOut::Blocked));
            events.push(waits(beat * 10 + 7, me, Blocking::Sleep));
            events.push(switch_in(beat * 10 + 10, me));
        }
        if lost {
            events.retain(|event| !(at(300)..at(400)).contains(&event.at()));
            events.push(Event::Lost { at: at(399), records: 20 });
        }
        events.push(exit(1000, me));
        let timeline = run(events, 1000);
        let stages = segment(&timeline, &Totals { rung: Rung::Perf, rusage: None, whole: false });
        (stages.stages[0].demand, stages.stages[0].score.expect("there is demand"))
    };
    let ((whole, exact), (holed, vague)) = (with(false), with(true));
    assert!(near(whole.unknown, 0.0) && holed.unknown >= 0.1, "{holed:?}");
    assert!(near(holed.thread_seconds(), 1.0));
    assert!(vague.low < exact.low && vague.high > exact.high, "{exact:?} {vague:?}");
    assert!((vague.point - 0.5).abs() < 0.02);
}

#[test]
fn readings_carry_on_where_records_end() {
    let me = ids(ROOT, ROOT);
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.push(Event::SwitchesEnd { at: at(500) });
    for round in 0..=50u64 {
        let millis = 500 + round * 10;
        let reading = ThreadReading {
            on_cpu: Some(Span::from_millis(500 + round * 3)),
            run_delay: Some(Span::from_millis(round)),
            active: Some(false),
            ..ThreadReading::default()
        };
        events.push(Event::Waiting { at: at(millis), ids: me, on: Blocking::Disk });
        events.push(Event::Thread { at: at(millis), ids: me, reading });
        let reading = Default::default();
        events.push(Event::Process { at: at(millis), pid: ROOT, parent: None, reading });
    }
    events.push(Event::Gone { at: at(1000), ids: me });
    let timeline = build(&events, at(0), ROOT, at(1000));
    assert_eq!(timeline.records, Records::Until(at(500)));
    let demand = timeline.programs.iter().find(|program| program.processes > 0).expect("one program").demand;
    assert!((demand.on_cpu - 0.65).abs() < 1e-3, "{demand:?}");
    assert!((demand.run_queue - 0.05).abs() < 1e-3, "{demand:?}");
    assert!((demand.own.disk - 0.30).abs() < 1e-3, "{demand:?}");
}

/// Without records, turns of 25 ms on a CPU, 5 ms asleep and 20 ms before a pipe, looked at every 17 ms. A look that falls
/// in the sleep follows a run, so that little was waited since the look before: that is no reason to count it less.
#[test]
fn looks_count_by_the_time_between_them() {
    let me = ids(ROOT, ROOT);
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.push(Event::SwitchesEnd { at: at(0) });
    for look in 1..600u64 {
        let millis = look * 17;
        let (turn, phase) = (millis / 50, millis % 50);
        let on = match phase {
            0..25 => None,
            25..30 => Some(Blocking::Sleep),
            _ => Some(Blocking::Pipe),
        };
        let reading = ThreadReading {
            on_cpu: Some(Span::from_millis(turn * 25 + phase.min(25))),
            run_delay: Some(Span::ZERO),
            active: Some(on.is_none()),
            ..ThreadReading::default()
        };
        events.extend(on.map(|on| Event::Waiting { at: at(millis), ids: me, on }));
        events.push(Event::Thread { at: at(millis), ids: me, reading });
        events.push(Event::Process { at: at(millis), pid: ROOT, parent: None, reading: Default::default() });
    }
    let timeline = build(&events, at(0), ROOT, at(10_200));
    let demand = timeline.programs.iter().find(|program| program.processes > 0).expect("one program").demand;
    assert!((demand.own.sleep - 1.02).abs() < 0.05 && (demand.starved - 4.08).abs() < 0.1, "{demand:?}");
}

/// More threads than a round reads: half of 40 are read once in their second, the others are only known to be there.
#[test]
fn threads_that_are_hardly_read_wait_all_the_same() {
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.push(Event::SwitchesEnd { at: at(0) });
    let read = |tid: u32, on_cpu: u64, started: Option<Timestamp>| {
        let on_cpu = Some(Span::from_millis(on_cpu));
        let (run_delay, active) = (Some(Span::ZERO), Some(false));
        let reading = ThreadReading { on_cpu, run_delay, active, started, ..ThreadReading::default() };
        let waiting = Event::Waiting { at: at(300), ids: ids(ROOT, tid), on: Blocking::Sleep };
        [waiting, Event::Thread { at: at(300), ids: ids(ROOT, tid), reading }]
    };
    for tid in 1..=40 {
        let thread = ids(ROOT, ROOT + tid);
        events.push(Event::Thread { at: at(10), ids: thread, reading: ThreadReading::default() });
    }
    events.extend(read(ROOT, 20, None));
    for tid in 1..=20 {
        events.extend(read(ROOT + tid, 1, Some(at(0))));
    }
    events.push(Event::Process { at: at(310), pid: ROOT, parent: None, reading: Default::default() });
    let timeline = build(&events, at(0), ROOT, at(1000));
    let demand = timeline.programs.iter().find(|program| program.processes > 0).expect("one program").demand;
    assert!((demand.own.sleep - 40.0).abs() < 2.0, "{demand:?}");
}

/// Without records, a program whose threads each live between two readings: its own counters tell what they used, and what
/// they waited for nobody saw.
#[test]
fn threads_that_no_reading_comes_to_are_in_their_programs_time() {
    let me = ids(ROOT, ROOT);
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.push(Event::SwitchesEnd { at: at(0) });
    for round in 1..=100u64 {
        let millis = round * 10;
        let reading = ThreadReading {
            on_cpu: Some(Span(round * 200_000)),
            run_delay: Some(Span::ZERO),
            active: Some(false),
            ..ThreadReading::default()
        };
        events.push(Event::Waiting { at: at(millis), ids: me, on: Blocking::Lock });
        events.push(Event::Thread { at: at(millis), ids: me, reading });
        let (cpu_user, cpu_system) = (Some(Span::from_millis(8 * round)), Some(Span::from_millis(round)));
        let reading = ProcessReading { cpu_user, cpu_system, ..ProcessReading::default() };
        events.push(Event::Process { at: at(millis), pid: ROOT, parent: None, reading });
    }
    let timeline = build(&events, at(0), ROOT, at(1000));
    let program = timeline.programs.iter().find(|program| program.processes > 0).expect("one program");
    assert!(near(program.demand.on_cpu, 0.9) && near(program.unread_cpu, 0.88), "{program:#?}");
    let totals = Totals { rusage: None, rung: Rung::Schedstat, whole: true };
    let stages = segment(&timeline, &totals).stages;
    let score = stages[0].score.expect("it computed");
    assert!(score.low < 0.1, "what those threads waited for is not known: {score:?}");
}

#[test]
fn a_million_short_threads_leave_nothing_behind() {
    let mut builder = poolpick::timeline::TimelineBuilder::new(at(0), ROOT);
    for event in exec(0, ROOT, &["/bin/stage"]) {
        builder.push(&event);
    }
    for thread in 0..1_000_000u64 {
        let tid = 1000 + (thread % 30_000) as u32;
        let start = Timestamp(at(1).0 + thread * 1000);
        let ids = ids(ROOT, tid);
        builder.push(&Event::Fork { at: start, ids, parent: Ids { pid: ROOT, tid: ROOT } });
        builder.push(&Event::SwitchIn { at: Timestamp(start.0 + 100), ids });
        builder.push(&Event::Exit { at: Timestamp(start.0 + 900), ids });
    }
    assert_eq!(builder.living(), (1, 1), "one process with one thread lives on");
    let timeline = builder.finish(at(1001));
    assert_eq!(timeline.threads, 1_000_001);
    assert!((timeline.on_cpu() - 0.8 - 1.001).abs() < 1e-3, "{}", timeline.on_cpu());
}

/// Turns of 5 ms of CPU and a wait of 5 ms for a lock, which a look sees to end of itself in 5 ms, beside a thread that never
/// blocks. `lasts`: how long the wait takes in turn number so many, `runs`: how long the thread has a CPU then, microseconds.
fn timed_waits(lasts: impl Fn(u64) -> u64, runs: u64) -> poolpick::timeline::Demand {
    let (me, other) = ((ROOT, ROOT), (ROOT, ROOT + 1));
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.extend([fork(0, other, ROOT), switch_in(0, other)]);
    let after = |micros: u64| Timestamp(at(0).0 + micros * 1_000);
    let mut now = 1_000;
    for turn in 0..100u64 {
        let ends = TimeOut::At(after(now + 5_000));
        events.push(Event::SwitchOut { at: after(now), ids: ids(me.0, me.1), why: SwitchOut::Blocked });
        events.push(Event::Waiting { at: after(now + 1_000), ids: ids(me.0, me.1), on: Blocking::Lock });
        events.push(Event::TimesOut { at: after(now + 1_000), ids: ids(me.0, me.1), ends });
        now += lasts(turn);
        events.push(Event::SwitchIn { at: after(now), ids: ids(me.0, me.1) });
        now += runs;
    }
    let end = now / 1_000 + 1;
    events.extend([exit(end, me), exit(end, other)]);
    let timeline = run(events, end);
    timeline.programs.iter().find(|program| program.processes > 0).expect("one program").demand
}

#[test]
fn who_waits_in_vain_and_then_works_waited_for_the_clock() {
    let demand = timed_waits(|_| 5_050, 5_000);
    assert!(demand.own.sleep > 0.49 && demand.starved < 0.01 && demand.doubtful < 0.01, "{demand:?}");
}

#[test]
fn who_is_woken_or_only_looks_again_waited_for_others() {
    let woken = timed_waits(|_| 3_000, 5_000);
    let looks_again = timed_waits(|_| 5_050, 50);
    for demand in [woken, looks_again] {
        assert!(demand.own.sum() < 0.01 && demand.starved > 0.29 && demand.doubtful < 0.01, "{demand:?}");
    }
}

/// Every other wait is ended before: those that last until the time-out may have been ended then too, and were late.
#[test]
fn waits_that_others_often_end_are_no_sleeps_but_leave_doubt() {
    let demand = timed_waits(|turn| if turn % 2 == 0 { 3_000 } else { 5_050 }, 5_000);
    assert!(demand.own.sum() < 0.01 && demand.starved > 0.39, "{demand:?}");
    assert!(demand.doubtful > 0.2 && demand.doubtful < demand.starved, "{demand:?}");
}

/// Without records: turns of 5 ms of CPU and a timed wait for a lock of as long, looked at every 17 ms, beside a thread that
/// never blocks. `ends`: in how many milliseconds the wait ends of itself; `works`: whether it has work in each turn.
fn looked_at(ends: u64, works: bool) -> poolpick::stages::Stages {
    let (me, other) = (ids(ROOT, ROOT), ids(ROOT, ROOT + 1));
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.push(Event::SwitchesEnd { at: at(0) });
    for look in 1..400u64 {
        let millis = look * 17;
        let (turn, phase) = (millis / 10, millis % 10);
        let ran = if works { turn * 5 + phase.min(5) } else { 5 + look / 17 };
        let waits = !works || phase >= 5;
        let reading = |on_cpu, waits: bool, slices| ThreadReading {
            on_cpu: Some(Span::from_millis(on_cpu)),
            run_delay: Some(Span::ZERO),
            slices: Some(slices),
            active: Some(!waits),
            ..ThreadReading::default()
        };
        if waits {
            events.push(Event::Waiting { at: at(millis), ids: me, on: Blocking::Lock });
            events.push(Event::TimesOut { at: at(millis), ids: me, ends: TimeOut::At(at(millis + ends)) });
        }
        events.push(Event::Thread { at: at(millis), ids: me, reading: reading(ran, waits, turn) });
        events.push(Event::Thread { at: at(millis), ids: other, reading: reading(millis, false, 1) });
        events.push(Event::Process { at: at(millis), pid: ROOT, parent: None, reading: Default::default() });
    }
    segment(&build(&events, at(0), ROOT, at(6_800)), &Totals { rung: Rung::Schedstat, rusage: None, whole: false })
}

#[test]
fn without_records_a_time_out_that_may_have_ended_a_wait_leaves_the_score_open() {
    let low = |ends, works| {
        let stages = looked_at(ends, works).stages;
        let score = stages[0].score.expect("it ran");
        assert!(score.point > 0.95, "{score:?}");
        score.low
    };
    assert!(low(2, true) < 0.8, "it may have been a sleep: {}", low(2, true));
    assert!(low(1_000, true) > 0.9, "others ended it long before: {}", low(1_000, true));
    assert!(low(2, false) > 0.8, "it only looked again: {}", low(2, false));
}

#[test]
fn a_stop_within_a_call_is_no_wait() {
    let me = (ROOT, ROOT);
    let mut events = exec(0, ROOT, &["/bin/stage"]);
    events.extend([out(100, me, SwitchOut::Blocked), waits(150, me, Blocking::Stopped)]);
    events.extend([switch_in(1100, me), exit(1200, me)]);
    let demand = run(events, 1200).programs.iter().find(|program| program.processes > 0).expect("one program").demand;
    assert!(near(demand.own.sum(), 0.0) && near(demand.starved, seconds(1000)), "{demand:?}");
}
