//! The decision as a table: each row a stage by its evidence, what is recommended, and the verdict on an executor.

use poolpick::stages::{GilEvidence, GilShare, Kind, Phase, Releases, Stage};
use poolpick::timeline::{Demand, OwnWait, ProgramBytes, ProgramMemory, Unreaped};
use poolpick::units::{Estimate, Span};
use poolpick::verdict::{
    Capacity, Class, Confidence, Evidence, Executor, Judgement, Outcome, Payload, PayloadSource, Terms, Thresholds, Why,
};

const TWO_CORES: Capacity = Capacity { cores: 2.0, measured_on: 2.0, memory_bytes: Some(8 << 30) };

/// One single-threaded program that ran for `on_cpu + wait` seconds.
fn stage(is_python: bool, on_cpu: f64, wait: f64) -> Stage {
    let score = on_cpu / (on_cpu + wait);
    Stage {
        id: "command:stage".to_owned(),
        name: "stage".to_owned(),
        kind: Kind::Command,
        exe: None,
        is_python,
        is_pool: false,
        feeds_pool: false,
        demand: Demand { on_cpu, own: OwnWait { network: wait, ..OwnWait::default() }, ..Demand::default() },
        waits_told: true,
        score: Some(Estimate::new(score - 0.02, score, score + 0.02).clamped(0.0, 1.0)),
        wall: Span::from_secs_f64(on_cpu + wait),
        lives: Span::from_secs_f64(on_cpu + wait),
        processes: 1,
        threads: 1,
        workers: 1,
        active_threads: 1,
        parallelism: Some(1.0),
        voluntary: Some(10),
        involuntary: Some(1),
        cpu_split: None,
        memory: ProgramMemory { peak_one_bytes: Some(50 << 20), ..ProgramMemory::default() },
        growth: None,
        descriptors: None,
        unreaped: Unreaped::default(),
        memory_kills: 0,
        bytes: ProgramBytes::default(),
        phases: Vec::new(),
        gil: if is_python { GilEvidence::Unknown(None) } else { GilEvidence::NotPython },
        held_waiting: 0.0,
        loop_waiting: 0.0,
        alone: None,
        threads_a_task: None,
        tasks: None,
        children_cpu: 0.0,
        first_calls: None,
        joins_open: false,
        active: None,
        outside_stages: false,
        notes: Vec::new(),
    }
}

fn judge(stage: &Stage, declared: Option<Executor>, payload: Option<&Payload>, capacity: &Capacity) -> Judgement {
    let terms =
        Terms { declared, capacity: *capacity, costs: None, thresholds: Thresholds::default(), arrival_rate: None };
    poolpick::verdict::judge(&Evidence::of(stage), payload, &terms)
}

fn outcome(stage: &Stage, declared: Option<Executor>) -> Outcome {
    judge(stage, declared, None, &TWO_CORES).outcome
}

#[test]
fn what_is_recommended() {
    use Class::{CpuBound, Hybrid, IoBound};
    use Confidence::{High, Low, Medium};
    let rows = [
        // python, CPU, wait → class, rule, executor, workers, confidence
        (false, 2.0, 0.0, CpuBound, Executor::Process, Executor::Thread, Some(2), High),
        (false, 1.0, 1.0, Hybrid, Executor::Split, Executor::Thread, Some(4), Medium),
        (false, 0.1, 1.9, IoBound, Executor::Thread, Executor::Thread, Some(40), Medium),
        // A shade under one half, as a run of a program that computes for half of its time may have it.
        (false, 0.995, 1.0, Hybrid, Executor::Split, Executor::Thread, Some(4), Medium),
        (true, 2.0, 0.0, CpuBound, Executor::Process, Executor::Process, Some(2), Low),
        (true, 1.0, 1.0, Hybrid, Executor::Split, Executor::Process, Some(4), Low),
        (true, 0.1, 1.9, IoBound, Executor::Thread, Executor::Thread, Some(40), Medium),
    ];
    for (is_python, on_cpu, wait, class, rule, executor, workers, confidence) in rows {
        let judged = judge(&stage(is_python, on_cpu, wait), None, None, &TWO_CORES);
        let row = format!("python {is_python}, CPU {on_cpu}, wait {wait}");
        let found = judged.recommendation.expect("enough evidence");
        assert_eq!((judged.class, judged.rule), (class, Some(rule)), "{row}");
        assert_eq!((found.executor, found.workers, found.confidence), (executor, workers, confidence), "{row}");
        assert_eq!(judged.outcome, Outcome::NotJudged(Why::NoExecutor), "{row}");
    }
}

#[test]
fn a_native_program_fits_wherever_it_is_waited_for_and_is_misrouted_one_by_one() {
    let burn = stage(false, 2.0, 0.0);
    for executor in [Executor::Thread, Executor::Process, Executor::Asyncio] {
        assert_eq!(outcome(&burn, Some(executor)), Outcome::Fits, "{executor:?}");
    }
    let Outcome::Misrouted { cost } = outcome(&burn, Some(Executor::Serial)) else { panic!("two cores, one by one") };
    assert!((cost - 2.0).abs() < 1e-9, "{cost}");
    let single = Capacity { cores: 1.0, measured_on: 1.0, memory_bytes: None };
    let judged = judge(&burn, Some(Executor::Serial), None, &single);
    assert_eq!(judged.outcome, Outcome::Fits, "one core has nothing to give to a pool");
    // One that waits half of its time fills half a core by itself: a pool of one would be none.
    let half = Capacity { cores: 0.5, measured_on: 0.5, memory_bytes: None };
    let judged = judge(&stage(false, 1.0, 1.0), Some(Executor::Serial), None, &half);
    let found = judged.recommendation.expect("enough evidence");
    assert_eq!((found.executor, found.workers, found.speedup), (Executor::Serial, Some(1), None));
    assert!(found.reasons.iter().any(|reason| reason.code() == "single-core"));
    assert_eq!(judged.outcome, Outcome::Fits);
    let pooled = judge(&stage(false, 1.0, 1.0), Some(Executor::Thread), None, &half);
    assert_eq!(pooled.outcome, Outcome::Fits, "who waits for it matters little");
}

#[test]
fn python_is_never_misrouted_without_a_look_at_its_lock() {
    for (on_cpu, wait) in [(2.0, 0.0), (1.0, 1.0), (0.1, 1.9)] {
        for executor in
            [Executor::Thread, Executor::Process, Executor::Asyncio, Executor::Serial, Executor::Interpreter]
        {
            let found = outcome(&stage(true, on_cpu, wait), Some(executor));
            assert!(!matches!(found, Outcome::Misrouted { .. }), "CPU {on_cpu}, wait {wait}, {executor:?}: {found:?}");
        }
    }
}

#[test]
fn a_program_that_fills_the_cores_is_run_one_at_a_time() {
    let wall = Span::from_secs_f64(2.1);
    let parallel = Stage { active_threads: 4, parallelism: Some(1.95), wall, lives: wall, ..stage(false, 4.0, 0.0) };
    let judged = judge(&parallel, None, None, &TWO_CORES);
    let found = judged.recommendation.expect("enough evidence");
    assert_eq!((found.executor, found.workers), (Executor::Serial, Some(1)));
    assert_eq!((found.reasons[0].code(), found.confidence), ("already-parallel", Confidence::High));
    assert_eq!(outcome(&parallel, Some(Executor::Thread)), Outcome::Undecided(Why::AlreadyParallel));
}

#[test]
fn threads_that_only_wanted_the_cores_are_not_surely_parallel() {
    // Two threads that take turns, on a machine that makes whoever wakes wait for a CPU: they had one core's worth.
    let queued = Demand { on_cpu: 1.0, run_queue: 1.0, ..Demand::default() };
    let turns =
        Stage { active_threads: 2, threads: 2, parallelism: Some(1.8), demand: queued, ..stage(false, 1.0, 0.0) };
    let found = judge(&turns, Some(Executor::Serial), None, &TWO_CORES);
    assert_eq!(found.outcome, Outcome::Undecided(Why::AlreadyParallel));
    assert_eq!(found.recommendation.expect("enough evidence").confidence, Confidence::Low);
    // Python that holds its lock nearly all the time uses one core, however many threads want it.
    let share = Estimate::new(0.93, 0.97, 1.0);
    let held = GilEvidence::Measured(GilShare {
        share,
        released_run: None,
        shortest_run: None,
        samples: 200,
        bursts: 100,
        releases: Releases::default(),
    });
    let python = Stage { is_python: true, gil: held, ..turns };
    let found = judge(&python, None, None, &TWO_CORES).recommendation.expect("enough evidence");
    assert_eq!((found.executor, found.workers), (Executor::Process, Some(2)), "{found:?}");
}

#[test]
fn workers_of_a_program_with_threads_of_its_own_are_copies_of_it() {
    // Threads that each compute for 1 ms and wait for 9, for two seconds: two cores serve 20 of them.
    for (threads, executor, workers) in [
        (1u32, Executor::Thread, 20),
        (4, Executor::Thread, 5),
        (15, Executor::Thread, 2),
        (20, Executor::Serial, 1),
        (50, Executor::Serial, 1),
    ] {
        let each = f64::from(threads);
        let (wall, lives) = (Span::from_secs_f64(2.0), Span::from_secs_f64(2.0));
        let crowd = Stage {
            active_threads: threads.min(2),
            threads: threads.into(),
            wall,
            lives,
            ..stage(false, 0.2 * each, 1.8 * each)
        };
        let found = judge(&crowd, None, None, &TWO_CORES).recommendation.expect("enough evidence");
        assert_eq!((found.executor, found.workers), (executor, Some(workers)), "{threads} threads");
        let is_told = found.reasons.iter().any(|reason| reason.code() == "own-threads");
        assert_eq!(is_told, threads > 1, "{threads} threads");
    }
}

#[test]
fn memory_and_thin_evidence_hold_it_back() {
    let mut large = stage(false, 0.1, 1.9);
    large.memory.peak_one_bytes = Some(3 << 30);
    let found = judge(&large, None, None, &TWO_CORES).recommendation.expect("evidence");
    assert_eq!(found.workers, Some(2));
    assert!(found.reasons.iter().any(|reason| reason.code() == "memory-limited"));
    let judged = judge(&stage(false, 0.001, 0.001), None, None, &TWO_CORES);
    assert_eq!((judged.class, judged.recommendation), (Class::Unknown, None));
    let vague = Stage { score: Some(Estimate::new(0.1, 0.5, 0.9)), ..stage(false, 1.0, 1.0) };
    assert_eq!(judge(&vague, None, None, &TWO_CORES).class, Class::Unknown);
}

#[test]
fn a_pool_of_processes_is_judged_as_found_and_its_parent_is_not() {
    let pool =
        Stage { is_pool: true, workers: 2, processes: 2, wall: Span::from_millis(2000), ..stage(true, 3.9, 0.0) };
    let judged = judge(&pool, None, None, &TWO_CORES);
    assert_eq!(judged.found, Some(Executor::Process));
    assert_eq!(judged.outcome, Outcome::Fits, "it keeps both cores busy: nothing has more to give");
    let parent = Stage { feeds_pool: true, ..stage(true, 0.3, 0.3) };
    assert_eq!(outcome(&parent, Some(Executor::Thread)), Outcome::NotJudged(Why::FeedsPool));
}

#[test]
fn phases_split_python_and_a_dear_payload_turns_the_rule() {
    let phase = |start, end, score| Phase { start, end, score, demand: 1.0 };
    let mut turning = stage(true, 1.0, 1.0);
    turning.phases = vec![phase(0.0, 1.0, 0.05), phase(1.0, 2.0, 0.98)];
    let judged = judge(&turning, None, None, &TWO_CORES);
    let found = judged.recommendation.expect("evidence");
    assert_eq!(found.executor, Executor::Split);
    assert_eq!(found.parts.iter().map(|part| part.1).collect::<Vec<_>>(), [Executor::Thread, Executor::Process]);
    // An interpreter that starts, and a program that computes and waits in turns: both want processes.
    turning.phases = vec![phase(0.0, 0.2, 0.98), phase(0.2, 2.0, 0.55)];
    let found = judge(&turning, None, None, &TWO_CORES).recommendation.expect("evidence");
    assert!(found.executor == Executor::Process && found.parts.is_empty(), "{found:?}");
    let payload = |source| Payload {
        argument_bytes: Some(1),
        result_bytes: None,
        source,
        seconds: Some(1.0),
        picklable: None,
        parent_seconds: None,
        worker_seconds: None,
        transfer_seconds: None,
        readings: None,
        error: None,
    };
    let burn = stage(true, 2.0, 0.0);
    let rule = |source| judge(&burn, None, Some(&payload(source)), &TWO_CORES).rule;
    assert_eq!(rule(PayloadSource::Declared), Some(Executor::Thread));
    assert_eq!(rule(PayloadSource::UpperBound), Some(Executor::Process), "an upper bound decides nothing");
}

#[test]
fn another_machine_is_asked_about_by_the_evidence_of_this_one() {
    let sixteen = TWO_CORES.asked(Some(16.0), None);
    assert_eq!((sixteen.cores, sixteen.measured_on, sixteen.memory_bytes), (16.0, 2.0, TWO_CORES.memory_bytes));
    let single = judge(&stage(false, 2.0, 0.0), None, None, &sixteen).recommendation.expect("enough evidence");
    assert_eq!((single.executor, single.workers), (Executor::Thread, Some(16)));
    // What filled both cores that there were would fill more of them, as far as anybody knows.
    let parallel =
        Stage { active_threads: 4, parallelism: Some(1.9), wall: Span::from_secs_f64(1.0), ..stage(false, 1.9, 0.0) };
    let found = judge(&parallel, None, None, &sixteen).recommendation.expect("enough evidence");
    assert_eq!((found.executor, found.workers), (Executor::Serial, Some(1)));
    // Memory holds it back where there is less of it than here.
    let small = TWO_CORES.asked(Some(16.0), Some(256 << 20));
    let found = judge(&stage(false, 2.0, 0.0), None, None, &small).recommendation.expect("enough evidence");
    assert_eq!(found.workers, Some(4), "80 % of 256 MiB, 50 MiB each");
}
