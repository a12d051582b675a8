//! Drawn Python runs through the timeline and the stages: what lies between the beginning and the end of a task belongs
//! to its stage, what the lock was read belongs to the thread that had or wanted a CPU. Times are in milliseconds.

use poolpick::stages::{GilEvidence, Kind, Stage, Stages, Totals, average, segment};
use poolpick::timeline::{Timeline, build};
use poolpick::trace::{
    AgentFact, Blocking, Event, GilAccess, GilHolder, GilRun, GilSample, Ids, PayloadReading, Rung, RunsUnder,
    StackCall, StageDefinition, SwitchOut, TaskEnd, TaskKind, TaskTotals, ThreadReading, ThreadStack,
};
use poolpick::units::{Span, Timestamp};
use poolpick::verdict::{Evidence, Thresholds, Warning, classify, diagnose};

const ROOT: u32 = 100;
const MAIN: (u32, u32) = (ROOT, ROOT);
const WORKER: (u32, u32) = (ROOT, 101);

fn at(millis: u64) -> Timestamp {
    Timestamp(1_000_000_000 + millis * 1_000_000)
}

fn ids((pid, tid): (u32, u32)) -> Ids {
    Ids { pid, tid }
}

fn start() -> Vec<Event> {
    let argv = vec!["/usr/bin/python3".to_owned(), "etl.py".to_owned()];
    vec![
        Event::Exec { at: at(0), ids: ids(MAIN), name: "python3".to_owned() },
        Event::Program { at: at(0), pid: ROOT, parent: 0, exe: Some(argv[0].clone()), argv },
        Event::Interpreter { at: at(1), pid: ROOT, version: (3, 11, 7), gil: GilAccess::Read },
        out(1, MAIN, SwitchOut::Blocked),
        Event::Fork { at: at(1), ids: ids(WORKER), parent: ids(MAIN) },
        switch_in(1, WORKER),
    ]
}

fn switch_in(millis: u64, who: (u32, u32)) -> Event {
    Event::SwitchIn { at: at(millis), ids: ids(who) }
}

fn out(millis: u64, who: (u32, u32), why: SwitchOut) -> Event {
    Event::SwitchOut { at: at(millis), ids: ids(who), why }
}

fn waits(millis: u64, who: (u32, u32), on: Blocking) -> Event {
    Event::Waiting { at: at(millis), ids: ids(who), on }
}

fn stage(number: u16, name: &str, executor: RunsUnder, kind: TaskKind) -> Event {
    let definition = StageDefinition {
        stage: number,
        kind,
        executor,
        workers: Some(4),
        name: name.to_owned(),
        module: "etl".to_owned(),
        file: "etl.py".to_owned(),
        line: Some(7),
        pool: "concurrent.futures.ThreadPoolExecutor".to_owned(),
        start_method: None,
    };
    Event::Agent { at: at(1), pid: ROOT, fact: AgentFact::Stage(Box::new(definition)) }
}

fn begin(millis: u64, who: (u32, u32), stage: u16) -> Event {
    Event::TaskBegin { at: at(millis), ids: ids(who), stage, queued: Some(Span::from_millis(2)), slice: false }
}

fn end(millis: u64, who: (u32, u32), stage: u16, wall: u64) -> Event {
    let end =
        TaskEnd { wall: Span::from_millis(wall), cpu: None, tasks: 1, failed: false, slice: false, unbegun: false };
    Event::TaskEnd { at: at(millis), ids: ids(who), stage, end }
}

fn totals(stage: u16, count: u64) -> Event {
    let totals = TaskTotals { count, timed: count, ..TaskTotals::default() };
    Event::Agent { at: at(999), pid: ROOT, fact: AgentFact::Totals { stage, totals: Box::new(totals) } }
}

fn lock(millis: u64, holder: GilHolder) -> Event {
    let sample = GilSample { runs: vec![GilRun { holder, reads: 16 }], length: Span(16_000) };
    Event::Gil { at: at(millis), pid: ROOT, sample }
}

fn run(mut events: Vec<Event>, end: u64) -> (Timeline, Stages) {
    events.sort_by_key(Event::at);
    let timeline = build(&events, at(0), ROOT, at(end));
    let stages = segment(&timeline, &Totals { rung: Rung::Perf, rusage: None, whole: true });
    (timeline, stages)
}

fn named<'a>(stages: &'a Stages, name: &str) -> &'a Stage {
    stages.stages.iter().find(|stage| stage.name == name).unwrap_or_else(|| panic!("no `{name}` in {stages:#?}"))
}

fn near(one: f64, millis: u64) -> bool {
    (one - millis as f64 / 1e3).abs() < 1e-6
}

#[test]
fn delay_that_was_read_before_the_first_task_is_not_that_task_s() {
    let delayed = |millis: u64, delay: u64| {
        let (on_cpu, run_delay) = (Some(Span::from_millis(1)), Some(Span::from_millis(delay)));
        Event::Thread {
            at: at(millis),
            ids: ids(WORKER),
            reading: ThreadReading { on_cpu, run_delay, ..ThreadReading::default() },
        }
    };
    let mut events = start();
    events.extend([
        stage(0, "etl.fetch", RunsUnder::Thread, TaskKind::Function),
        // Before any task, 40 of 50 ms off its CPU are a delay; in the task, 10 of 100 ms.
        out(10, WORKER, SwitchOut::Blocked),
        switch_in(60, WORKER),
        delayed(70, 40),
        begin(100, WORKER, 0),
        out(150, WORKER, SwitchOut::Blocked),
        waits(200, WORKER, Blocking::Sleep),
        switch_in(250, WORKER),
        delayed(280, 50),
        end(300, WORKER, 0, 200),
        totals(0, 1),
    ]);
    let (_, stages) = run(events, 400);
    let demand = named(&stages, "etl.fetch").demand;
    assert!(near(demand.run_queue, 10) && near(demand.own.sleep, 90), "{demand:?}");
}

#[test]
fn what_a_task_demands_does_not_depend_on_how_often_the_command_was_run() {
    let once = || {
        let mut events = start();
        events.push(stage(0, "etl.parse", RunsUnder::Thread, TaskKind::Function));
        for number in 0..4 {
            events.extend([begin(10 + 20 * number, WORKER, 0), end(20 + 20 * number, WORKER, 0, 10)]);
        }
        events.extend([out(80, WORKER, SwitchOut::Blocked), totals(0, 4)]);
        run(events, 100).1
    };
    let (one, three) = (once(), average(vec![once(), once(), once()]).expect("there are runs"));
    let (one, three) = (named(&one, "etl.parse"), named(&three, "etl.parse"));
    let (task, again) = (Evidence::of(one).task.expect("counted"), Evidence::of(three).task.expect("counted"));
    assert!(near(task.cpu, 10) && near(again.cpu, 10), "{task:?} {again:?}");
    assert_eq!((one.task_count(), three.task_count()), (4, 4));
    assert!((task.seen_at_once - again.seen_at_once).abs() < 1e-9, "{task:?} {again:?}");
    assert_eq!(three.tasks.as_ref().map(|tasks| tasks.wall.count()), Some(12), "how long they took is known of all");
}

#[test]
fn time_within_a_task_is_its_stage_s_and_the_rest_is_not() {
    let mut events = start();
    events.extend([
        stage(0, "etl.parse", RunsUnder::Thread, TaskKind::Function),
        // Waits for work, then 100 ms of CPU, 50 ms of network, 50 ms of CPU; waits for work again.
        out(10, WORKER, SwitchOut::Blocked),
        waits(100, WORKER, Blocking::Lock),
        switch_in(200, WORKER),
        begin(200, WORKER, 0),
        out(300, WORKER, SwitchOut::Blocked),
        waits(320, WORKER, Blocking::Network),
        switch_in(350, WORKER),
        end(400, WORKER, 0, 200),
        out(400, WORKER, SwitchOut::Blocked),
        waits(500, WORKER, Blocking::Lock),
        totals(0, 1),
    ]);
    let (timeline, stages) = run(events, 1000);
    let parse = named(&stages, "etl.parse");
    assert_eq!((parse.kind, parse.id.as_str()), (Kind::Function, "function:etl.parse:thread"));
    assert!(near(parse.demand.on_cpu, 150) && near(parse.demand.own.network, 50), "{:?}", parse.demand);
    assert!(near(parse.demand.starved, 0) && near(parse.wall.secs_f64(), 200), "{parse:?}");
    assert!((parse.score.expect("demand").point - 0.75).abs() < 1e-6);
    let tasks = parse.tasks.as_ref().expect("tasks");
    assert_eq!((tasks.totals.count, tasks.recorded, tasks.workers), (1, 1, Some(4)));
    assert!((tasks.wall.mean().expect("timed") - 0.2).abs() < 0.004);
    // All of it is there: the thread's life is tiled by what it did inside and outside.
    let all: f64 = timeline.programs.iter().map(|program| program.demand.thread_seconds()).sum();
    assert!(near(all, 1999), "{all}");
}

#[test]
fn waiting_for_the_lock_is_neither_own_wait_nor_cpu() {
    let mut events = start();
    events.extend([
        stage(0, "etl.parse", RunsUnder::Thread, TaskKind::Function),
        begin(10, WORKER, 0),
        out(110, WORKER, SwitchOut::Blocked),
        waits(150, WORKER, Blocking::Gil),
        switch_in(210, WORKER),
        end(310, WORKER, 0, 300),
        out(310, WORKER, SwitchOut::Blocked),
    ]);
    let (_, stages) = run(events, 400);
    let demand = named(&stages, "etl.parse").demand;
    assert!(near(demand.gil_wait, 100) && near(demand.on_cpu, 200) && demand.own.sum() < 1e-9, "{demand:?}");
}

#[test]
fn a_child_that_a_task_runs_counts_for_the_task_s_stage() {
    let child = (200, 200);
    let mut events = start();
    let argv = vec!["/usr/bin/sha256sum".to_owned()];
    events.extend([
        stage(0, "etl.hash", RunsUnder::Thread, TaskKind::Function),
        begin(10, WORKER, 0),
        Event::Fork { at: at(20), ids: ids(child), parent: ids(WORKER) },
        out(20, WORKER, SwitchOut::Blocked),
        waits(100, WORKER, Blocking::Pipe),
        switch_in(20, child),
        Event::Exec { at: at(21), ids: ids(child), name: "sha256sum".to_owned() },
        Event::Program { at: at(21), pid: 200, parent: ROOT, exe: Some(argv[0].clone()), argv },
        Event::Exit { at: at(220), ids: ids(child) },
        switch_in(220, WORKER),
        end(230, WORKER, 0, 220),
        out(230, WORKER, SwitchOut::Blocked),
    ]);
    let (_, stages) = run(events, 300);
    let hash = named(&stages, "etl.hash");
    assert!(near(hash.demand.on_cpu, 220) && near(hash.children_cpu, 200), "{:?}", hash.demand);
    assert!(hash.demand.child == 0.0 && hash.demand.own.sum() < 1e-9, "{:?}", hash.demand);
    assert!(!stages.stages.iter().any(|stage| stage.name == "sha256sum"), "{stages:?}");
}

#[test]
fn the_lock_s_share_is_that_of_the_time_on_a_cpu() {
    let mut events = start();
    events.extend([stage(0, "etl.mix", RunsUnder::Thread, TaskKind::Function), begin(10, WORKER, 0)]);
    for turn in 0..50 {
        let base = 10 + turn * 10;
        events.push(lock(base + 2, GilHolder::Thread(WORKER.1)));
        events.push(lock(base + 6, GilHolder::Nobody));
        // It sleeps at the end of each turn: whoever holds the lock then is of no matter.
        events.push(out(base + 8, WORKER, SwitchOut::Blocked));
        events.push(waits(base + 9, WORKER, Blocking::Sleep));
        events.push(lock(base + 9, GilHolder::Nobody));
        events.push(switch_in(base + 10, WORKER));
    }
    events.push(end(515, WORKER, 0, 505));
    let (_, stages) = run(events, 600);
    let mix = named(&stages, "etl.mix");
    let GilEvidence::Measured(share) = &mix.gil else { panic!("{:?}", mix.gil) };
    assert!((share.share.point - 0.5).abs() < 1e-9, "{share:?}");
    assert!(share.share.low < 0.45 && share.share.high > 0.55 && share.samples == 1600, "{share:?}");
}

#[test]
fn tasks_that_were_only_counted_are_like_those_that_were_recorded() {
    let mut events = start();
    events.extend([
        stage(0, "etl.tiny", RunsUnder::Thread, TaskKind::Function),
        begin(10, WORKER, 0),
        end(20, WORKER, 0, 10),
        // Nine more, back to back, without records.
        out(110, WORKER, SwitchOut::Blocked),
        waits(200, WORKER, Blocking::Lock),
        totals(0, 10),
    ]);
    let (_, stages) = run(events, 300);
    let tiny = named(&stages, "etl.tiny");
    assert!((tiny.demand.on_cpu - 0.1).abs() < 0.006, "{:?}", tiny.demand);
    assert_eq!(tiny.task_count(), 10);
    assert!(tiny.active.is_some_and(|mean| (mean - 1.0).abs() < 0.01), "one after another: {:?}", tiny.active);
    // What they took is not told a second time of the program around them.
    let besides: f64 = stages.folded.iter().map(|program| program.cpu_seconds).sum();
    let others: f64 = stages.stages.iter().map(|stage| stage.demand.on_cpu).sum();
    assert!((besides + others - 0.110).abs() < 0.001, "{besides} and {others}");
    assert!(stages.folded.iter().all(|program| program.has_stages));
}

#[test]
fn a_coroutine_waits_while_others_run() {
    let slice = |millis: u64, wall: u64| {
        let end =
            TaskEnd { wall: Span::from_millis(wall), cpu: None, tasks: 1, failed: false, slice: true, unbegun: false };
        Event::TaskEnd { at: at(millis), ids: ids(WORKER), stage: 0, end }
    };
    let begin =
        |millis: u64| Event::TaskBegin { at: at(millis), ids: ids(WORKER), stage: 0, queued: None, slice: true };
    let done = |millis: u64| Event::Agent {
        at: at(millis),
        pid: ROOT,
        fact: AgentFact::Coroutine {
            stage: 0,
            wall: Span::from_millis(200),
            own: Span::from_millis(20),
            ready: Span::from_millis(10),
            slices: 2,
            failed: false,
        },
    };
    let mut events = start();
    events.extend([
        stage(0, "etl.fetch", RunsUnder::Asyncio, TaskKind::Coroutine),
        begin(10),
        slice(20, 10),
        begin(20),
        slice(30, 10),
        out(30, WORKER, SwitchOut::Blocked),
        waits(100, WORKER, Blocking::Network),
        switch_in(190, WORKER),
        begin(190),
        slice(200, 10),
        begin(200),
        slice(210, 10),
        done(200),
        done(210),
        out(211, WORKER, SwitchOut::Blocked),
        totals(0, 2),
    ]);
    let (_, stages) = run(events, 300);
    let fetch = named(&stages, "etl.fetch");
    assert_eq!(fetch.kind, Kind::Coroutine);
    assert!(near(fetch.demand.on_cpu, 40) && near(fetch.demand.own.sum(), 340), "{:?}", fetch.demand);
    assert!(fetch.demand.own.network > 0.3, "what the loop waited for: {:?}", fetch.demand);
    // The loop's wait is its coroutines': it is not counted a second time beside them.
    let rest: f64 =
        stages.stages.iter().filter(|stage| stage.tasks.is_none()).map(|stage| stage.demand.own.sum()).sum();
    assert!(rest < 0.02, "{stages:#?}");
}

#[test]
fn without_records_the_agent_s_cpu_times_split_a_reading() {
    let reading = |millis: u64, on_cpu: u64, delay: u64| Event::Thread {
        at: at(millis),
        ids: ids(WORKER),
        reading: ThreadReading {
            on_cpu: Some(Span::from_millis(on_cpu)),
            run_delay: Some(Span::from_millis(delay)),
            active: Some(false),
            ..ThreadReading::default()
        },
    };
    let cpu = |millis: u64, wall: u64, cpu: u64| {
        let end = TaskEnd {
            wall: Span::from_millis(wall),
            cpu: Some(Span::from_millis(cpu)),
            tasks: 1,
            failed: false,
            slice: false,
            unbegun: false,
        };
        Event::TaskEnd { at: at(millis), ids: ids(WORKER), stage: 0, end }
    };
    let argv = vec!["/usr/bin/python3".to_owned(), "etl.py".to_owned()];
    let mut events = vec![
        Event::SwitchesEnd { at: at(0) },
        Event::Program { at: at(0), pid: ROOT, parent: 0, exe: Some(argv[0].clone()), argv },
        stage(0, "etl.parse", RunsUnder::Thread, TaskKind::Function),
        reading(100, 0, 0),
    ];
    // Ten tasks of 20 ms CPU and 20 ms sleep, 60 ms of queue between them.
    for turn in 0..10 {
        let base = 100 + turn * 100;
        events.push(begin(base + 60, WORKER, 0));
        events.push(waits(base + 90, WORKER, Blocking::Sleep));
        events.push(cpu(base + 100, 40, 20));
        events.push(waits(base + 101, WORKER, Blocking::Lock));
        events.push(reading(base + 105, (turn + 1) * 20, 0));
    }
    events.push(totals(0, 10));
    let (_, stages) = run(events, 1150);
    let parse = named(&stages, "etl.parse");
    assert!((parse.demand.on_cpu - 0.2).abs() < 0.01, "{:?}", parse.demand);
    assert!((parse.demand.own.sum() - 0.2).abs() < 0.03, "{:?}", parse.demand);
}

/// Without records a task is looked at now and then. It sleeps for 5 ms of its 40, waits for the interpreter lock for 30 and
/// computes for 5: whoever is looked at in its sleep has just begun, and is by that not a short task that only sleeps.
#[test]
fn without_records_a_task_s_waits_are_told_by_where_looks_fall() {
    let (_, stages) = run(looked_at(97, 60, |phase| (phase < 5).then_some(Blocking::Sleep)), 6000);
    let demand = named(&stages, "etl.mixed").demand;
    let score = demand.on_cpu / (demand.on_cpu + demand.own.sum());
    assert!((score - 0.5).abs() < 0.1, "{score} {demand:?}");
    assert!((demand.gil_wait / demand.own.sum() - 6.0).abs() < 2.0, "{demand:?}");
}

/// Ten looks that all saw it wait for the lock do not say that it never sleeps.
#[test]
fn few_looks_leave_the_score_open() {
    let (_, stages) = run(looked_at(200, 10, |_| None), 2100);
    let score = named(&stages, "etl.mixed").score.expect("it ran");
    assert!(score.point > 0.9 && score.low < 0.5, "{score:?}");
}

/// Tasks of 40 ms without pause, looked at `count` times, `every` so many milliseconds. `wait`: what they wait for in the
/// first 35 ms of theirs besides the interpreter lock.
fn looked_at(every: u64, count: u64, wait: impl Fn(u64) -> Option<Blocking>) -> Vec<Event> {
    let argv = vec!["/usr/bin/python3".to_owned(), "etl.py".to_owned()];
    let mut events = vec![
        Event::SwitchesEnd { at: at(0) },
        Event::Program { at: at(0), pid: ROOT, parent: 0, exe: Some(argv[0].clone()), argv },
        stage(0, "etl.mixed", RunsUnder::Thread, TaskKind::Function),
    ];
    let look = |millis: u64, on: Option<Blocking>, on_cpu: u64| {
        let reading = ThreadReading {
            on_cpu: Some(Span::from_millis(on_cpu)),
            run_delay: Some(Span::ZERO),
            active: Some(on.is_none()),
            ..ThreadReading::default()
        };
        let seen = on.map(|on| waits(millis, WORKER, on));
        seen.into_iter().chain([Event::Thread { at: at(millis), ids: ids(WORKER), reading }])
    };
    events.extend(look(1, Some(Blocking::Gil), 0));
    let tasks = every * count / 40;
    for task in 0..tasks {
        let base = 1 + task * 40;
        let wall = Span::from_millis(40);
        let cpu = Some(Span::from_millis(5));
        let end = TaskEnd { wall, cpu, tasks: 1, failed: false, slice: false, unbegun: false };
        events.push(begin(base, WORKER, 0));
        events.push(Event::TaskEnd { at: at(base + 40), ids: ids(WORKER), stage: 0, end });
    }
    for turn in 1..count {
        // Between the milliseconds of beginnings and ends.
        let millis = 1 + turn * every;
        let (done, phase) = ((millis - 1) / 40, (millis - 1) % 40);
        let on = wait(phase).or((phase < 35).then_some(Blocking::Gil));
        events.extend(look(millis, on, done * 5 + phase.saturating_sub(35)));
    }
    events.push(totals(0, tasks));
    events
}

/// Sleeps of 10 ms beside others who want the CPU: 6 ms pass between a wake-up and the CPU, which records show as a part of
/// the sleep and the counter alone tells apart. It is read where the next task runs already, and while the thread waits for a
/// CPU that was taken from it, when the counter holds that wait too.
#[test]
fn a_wake_up_is_late_once_wherever_it_is_read() {
    let mut events = start();
    events.push(stage(0, "etl.fetch", RunsUnder::Thread, TaskKind::Function));
    let reading = |millis: u64, on_cpu: u64, queued: u64| Event::Thread {
        at: at(millis),
        ids: ids(WORKER),
        reading: ThreadReading {
            on_cpu: Some(Span::from_millis(on_cpu)),
            run_delay: Some(Span::from_millis(queued)),
            ..ThreadReading::default()
        },
    };
    for turn in 0..20 {
        let (base, ran, late) = (10 + turn * 60, 9 + turn * 20, turn * 20);
        events.push(begin(base, WORKER, 0));
        events.push(out(base + 1, WORKER, SwitchOut::Blocked));
        events.push(waits(base + 5, WORKER, Blocking::Sleep));
        events.push(switch_in(base + 17, WORKER));
        events.push(end(base + 18, WORKER, 0, 18));
        events.push(begin(base + 19, WORKER, 0));
        events.push(reading(base + 20, ran + 4, late + 6));
        // Preempted for 8 ms, of which its counter shows 5 when it is read.
        events.push(out(base + 21, WORKER, SwitchOut::Preempted));
        events.push(reading(base + 26, ran + 5, late + 6 + 5));
        events.push(switch_in(base + 29, WORKER));
        events.push(out(base + 31, WORKER, SwitchOut::Blocked));
        events.push(waits(base + 35, WORKER, Blocking::Sleep));
        events.push(switch_in(base + 47, WORKER));
        events.push(end(base + 48, WORKER, 0, 29));
        events.push(reading(base + 50, ran + 10, late + 6 + 8 + 6));
    }
    events.push(totals(0, 40));
    let (_, stages) = run(events, 1210);
    let fetch = named(&stages, "etl.fetch");
    assert!((fetch.demand.own.sum() - 0.4).abs() < 0.005, "{:?}", fetch.demand);
    assert!((fetch.demand.run_queue - 0.4).abs() < 0.005, "{:?}", fetch.demand);
}

#[test]
fn hostile_facts_do_no_harm() {
    let mut events = start();
    events.extend([
        // No such stage, an end without a beginning, a beginning that never ends, and a thread that nobody knows.
        begin(10, WORKER, 9),
        stage(0, "etl.parse", RunsUnder::Thread, TaskKind::Function),
        end(11, WORKER, 0, u64::MAX / 2_000_000),
        begin(12, WORKER, 0),
        begin(12, (ROOT, 999), 0),
        begin(5, WORKER, 0),
        lock(20, GilHolder::Thread(4242)),
        totals(0, u64::MAX),
        Event::Agent {
            at: at(30),
            pid: ROOT,
            fact: AgentFact::Payload {
                stage: 0,
                reading: PayloadReading {
                    direction: poolpick::trace::Direction::Argument,
                    bytes: u64::MAX,
                    pickle: Span(u64::MAX),
                    unpickle: Some(Span(u64::MAX)),
                    extrapolated: true,
                },
            },
        },
    ]);
    for depth in 0..1000 {
        events.push(begin(40 + depth % 50, WORKER, 0));
    }
    let (timeline, stages) = run(events, 200);
    for program in &timeline.programs {
        assert!(program.demand.thread_seconds().is_finite() && program.demand.on_cpu < 1.0, "{:?}", program.demand);
    }
    assert!(stages.stages.iter().all(|stage| stage.score.is_none_or(|score| score.point <= 1.0)));
}

/// Two threads that take two locks in different order, and the main thread, which waits for them: the last run of each is at
/// 100 ms, the run is cut at 5000. `last`: whether the main thread waits for a lock as well, or for something else.
fn deadlock(last: Blocking, read: &[u64]) -> Vec<Event> {
    const OTHER: (u32, u32) = (ROOT, 102);
    let call = |function: &str, line| StackCall { function: function.into(), file: "/etl.py".into(), line: Some(line) };
    let stacks = |millis: u64| {
        let of = |tid, call| ThreadStack { tid: Some(tid), calls: vec![call] };
        let stacks = vec![of(ROOT, call("<module>", 9)), of(101, call("left", 3)), of(102, call("right", 5))];
        Event::Stacks { at: at(millis), pid: ROOT, stacks }
    };
    let mut events = start();
    events.extend([
        stage(0, "etl.move", RunsUnder::Thread, TaskKind::Function),
        Event::Fork { at: at(2), ids: ids(OTHER), parent: ids(MAIN) },
        begin(10, WORKER, 0),
        begin(20, OTHER, 0),
        out(90, WORKER, SwitchOut::Blocked),
        switch_in(90, OTHER),
        out(100, OTHER, SwitchOut::Blocked),
        waits(900, MAIN, last),
        waits(900, WORKER, Blocking::Lock),
        waits(900, OTHER, Blocking::Lock),
    ]);
    events.extend(read.iter().map(|&millis| stacks(millis)));
    let totals = TaskTotals { begun: 2, ..TaskTotals::default() };
    events.push(Event::Agent {
        at: at(4990),
        pid: ROOT,
        fact: AgentFact::Totals { stage: 0, totals: Box::new(totals) },
    });
    events
}

#[test]
fn tasks_that_never_end_are_a_stage_with_their_time_so_far_and_are_not_judged() {
    let (_, stages) = run(deadlock(Blocking::Lock, &[]), 5000);
    let stage = named(&stages, "etl.move");
    let tasks = stage.tasks.as_ref().expect("it is inside");
    assert_eq!((tasks.unfinished(), tasks.totals.count), ((2, Span::from_millis(4990 + 4980)), 0));
    assert!((stage.demand.thread_seconds() - 9.97).abs() < 0.05, "{:?}", stage.demand);
    let evidence = Evidence::of(stage);
    assert!(evidence.is_unfinished() && evidence.unfinished_share > 0.99, "{}", evidence.unfinished_share);
    assert_eq!(classify(&evidence, &Thresholds::default()), poolpick::verdict::Class::Unknown);
    // Nobody read where they are: that they hang is not known.
    assert!(diagnose(stage, Some(2.0)).iter().any(|warning| matches!(warning, Warning::Unfinished { count: 2 })));
}

#[test]
fn a_task_whose_end_was_lost_is_none_that_never_ended() {
    let mut events = start();
    events.push(stage(0, "etl.parse", RunsUnder::Thread, TaskKind::Function));
    events.extend([begin(10, WORKER, 0), begin(20, WORKER, 0), end(30, WORKER, 0, 10), totals(0, 2)]);
    let (_, stages) = run(events, 100);
    let stage = named(&stages, "etl.parse");
    assert_eq!(stage.tasks.as_ref().map(|tasks| tasks.unfinished().0), Some(0));
    assert!(!Evidence::of(stage).is_unfinished());
}

#[test]
fn threads_that_none_can_wake_are_told_from_threads_that_somebody_may() {
    let suspects = |events: Vec<Event>| {
        let (_, stages) = run(events, 5000);
        let found = diagnose(named(&stages, "etl.move"), Some(2.0));
        found.into_iter().find(|warning| warning.code() == "deadlock-suspect")
    };
    let Some(Warning::Deadlock { threads: 2, seconds, places }) = suspects(deadlock(Blocking::Lock, &[1600])) else {
        panic!("no suspect")
    };
    assert!((4.85..5.0).contains(&seconds), "{seconds}");
    let mut functions: Vec<&str> = places.iter().map(|(_, calls)| calls[0].function.as_str()).collect();
    functions.sort_unstable();
    assert_eq!(functions, ["left", "right"]);
    assert_eq!(suspects(deadlock(Blocking::Sleep, &[1600])), None, "who sleeps may let go when it wakes");
    // One of them ran since, as threads do that take turns.
    let mut turns = deadlock(Blocking::Lock, &[1600]);
    turns.extend([switch_in(3000, WORKER), out(3010, WORKER, SwitchOut::Blocked)]);
    assert_eq!(suspects(turns), None);
    // Who is killed runs once more.
    let mut killed = deadlock(Blocking::Lock, &[1600]);
    killed.extend([MAIN, WORKER, (ROOT, 102)].map(|who| switch_in(4995, who)));
    assert!(suspects(killed).is_some());
}

#[test]
fn a_kill_for_want_of_memory_is_told_where_a_worker_died_of_that_signal() {
    let run_of = |signal: &str, kills: u64| {
        let mut events = start();
        let detail = format!("a worker process was killed by {signal}");
        let note = AgentFact::Note { stage: None, code: "worker-killed".into(), detail };
        events.extend([
            stage(0, "etl.parse", RunsUnder::Process, TaskKind::Function),
            begin(10, WORKER, 0),
            end(20, WORKER, 0, 10),
            totals(0, 1),
            Event::Agent { at: at(40), pid: ROOT, fact: note },
            Event::MemoryKills { at: at(100), kills },
        ]);
        let (_, stages) = run(events, 100);
        let warnings = stages.stages.iter().flat_map(|stage| diagnose(stage, Some(2.0)));
        warnings.filter(|warning| matches!(warning, Warning::OutOfMemory { kills: 2 })).count()
    };
    assert_eq!(run_of("SIGKILL (signal 9)", 2), 1);
    assert_eq!(run_of("SIGSEGV (signal 11)", 2), 0, "it died of something else");
    assert_eq!(run_of("SIGKILL (signal 9)", 0), 0, "somebody killed it");
}

/// A dear first call and `others` that wait for 10 ms each, one after another.
fn with_a_dear_first(first: u64, others: u64) -> (Timeline, Stages) {
    let mut events = start();
    events.push(stage(3, "etl.work", RunsUnder::Serial, TaskKind::Function));
    events.push(switch_in(2, MAIN));
    events.push(begin(10, MAIN, 3));
    events.push(end(10 + first, MAIN, 3, first));
    let mut now = 10 + first;
    for _ in 0..others {
        events.push(begin(now, MAIN, 3));
        events.push(waits(now + 5, MAIN, Blocking::Sleep));
        events.push(out(now, MAIN, SwitchOut::Blocked));
        events.push(switch_in(now + 10, MAIN));
        events.push(end(now + 10, MAIN, 3, 10));
        now += 10;
    }
    events.push(totals(3, others + 1));
    run(events, now + 10)
}

#[test]
fn a_dear_first_call_is_no_steady_demand() {
    let (_, stages) = with_a_dear_first(400, 40);
    let stage = named(&stages, "etl.work");
    let first = stage.first_calls.expect("the first one is dear");
    assert!(first.tasks == 1 && near(first.seconds, 400) && near(first.demand.on_cpu, 400), "{first:?}");
    let evidence = Evidence::of(stage);
    let task = evidence.task.expect("it was counted");
    assert_eq!((evidence.tasks, evidence.first_calls), (40, Some((1, 0.4))));
    assert!(task.cpu < 1e-4 && (task.wait - 10e-3).abs() < 1e-4, "{task:?}");
    assert!(evidence.task_seconds.is_some_and(|seconds| (seconds - 10e-3).abs() < 5e-4), "{evidence:?}");
    assert!(evidence.score.is_some_and(|score| score.high < 0.1), "{:?}", evidence.score);
    // What it took is still the stage's time.
    assert!(near(stage.whole_demand().on_cpu, 400), "{:?}", stage.whole_demand());
    // A first call like the others, or one of a few, is one of them.
    for (first, others) in [(15, 40), (400, 2)] {
        let (_, stages) = with_a_dear_first(first, others);
        assert_eq!(named(&stages, "etl.work").first_calls, None, "{first} {others}");
    }
}

/// A task that has two workers of its own compute for it, `waiting` on this or not at all.
fn with_own_workers(waiting: Option<Blocking>) -> Stages {
    let workers = [(201, 201), (202, 202)];
    let mut events = start();
    events.push(stage(3, "etl.outer", RunsUnder::Serial, TaskKind::Function));
    events.push(switch_in(2, MAIN));
    events.push(begin(10, MAIN, 3));
    for who in workers {
        events.push(Event::Fork { at: at(11), ids: ids(who), parent: ids(MAIN) });
        events.push(switch_in(12, who));
        let inner = StageDefinition {
            stage: 0,
            kind: TaskKind::Function,
            executor: RunsUnder::Process,
            workers: Some(2),
            name: "etl.inner".to_owned(),
            module: "etl".to_owned(),
            file: "etl.py".to_owned(),
            line: Some(9),
            pool: "multiprocessing.Pool".to_owned(),
            start_method: None,
        };
        events.push(Event::Agent { at: at(13), pid: who.0, fact: AgentFact::Stage(Box::new(inner)) });
        events.push(begin(15, who, 0));
        events.push(end(515, who, 0, 500));
        events.push(Event::Exit { at: at(518), ids: ids(who) });
    }
    if let Some(on) = waiting {
        events.push(out(13, MAIN, SwitchOut::Blocked));
        events.push(waits(200, MAIN, on));
        events.push(switch_in(520, MAIN));
    }
    events.push(end(522, MAIN, 3, 512));
    run(events, 600).1
}

#[test]
fn a_task_s_wait_for_its_own_workers_is_what_they_do() {
    let stages = with_own_workers(Some(Blocking::Lock));
    let outer = named(&stages, "etl.outer");
    let own = outer.demand.own.sum();
    assert!(own < 0.02 && outer.demand.on_cpu > 1.0 && outer.children_cpu > 1.0, "{outer:#?}");
    assert!(outer.score.is_some_and(|score| score.point > 0.95), "{:?}", outer.score);
    // By itself it takes half of what it demands: it uses both cores.
    assert!(outer.alone.is_some_and(|alone| alone < 0.56), "{:?}", outer.alone);
    assert!(named(&stages, "etl.inner").demand.on_cpu > 0.99);
    // What it hands to workers and does not wait for is not its own.
    let left = with_own_workers(None);
    let outer = named(&left, "etl.outer");
    assert!(outer.demand.on_cpu < 0.6 && outer.alone.is_none(), "{outer:#?}");
}

#[test]
fn what_waits_for_another_stage_s_tasks_may_wait_for_them() {
    let with = |executor| {
        let mut events = start();
        events.push(stage(3, "etl.outer", RunsUnder::Serial, TaskKind::Function));
        events.push(stage(4, "etl.inner", executor, TaskKind::Function));
        events.extend([switch_in(2, MAIN), begin(10, MAIN, 3), begin(12, WORKER, 4)]);
        events.extend([out(15, MAIN, SwitchOut::Blocked), waits(200, MAIN, Blocking::Lock)]);
        events.extend([end(500, WORKER, 4, 488), switch_in(502, MAIN), end(505, MAIN, 3, 495)]);
        let stages = run(events, 600).1;
        let outer = named(&stages, "etl.outer");
        (outer.joins_open, outer.demand.own.lock)
    };
    let (open, locked) = with(RunsUnder::Thread);
    assert!(open && locked < 0.01, "{locked}");
    // Named functions that run beside it are nobody that it waits for.
    let (open, locked) = with(RunsUnder::Serial);
    assert!(!open && locked > 0.4, "{locked}");
}
