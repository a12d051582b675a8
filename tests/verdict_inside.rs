//! The decision on stages inside Python programs where something is not known: what that opens, and what it leaves decided.

use poolpick::predict::{Costs, TaskDemand};
use poolpick::units::Estimate;
use poolpick::verdict::{
    Capacity, Class, Confidence, Evidence, Executor, Gil, Judgement, Outcome, Payload, PayloadSource, Terms,
    Thresholds, Why, judge,
};

const COSTS: Costs = Costs {
    thread_dispatch: 20e-6,
    process_parent: 100e-6,
    process_worker: 60e-6,
    process_idle: 200e-6,
    asyncio_dispatch: 10e-6,
    gil_handover: 5e-6,
};

/// Tasks that compute for so long each, for a second in all, under this executor; the lock was not read.
fn computing(each: f64, found: Executor) -> Evidence {
    let tasks = (1.0 / each) as u64;
    Evidence {
        is_inside: true,
        is_coroutine: found == Executor::Asyncio,
        is_python: true,
        is_pool: false,
        feeds_pool: false,
        is_outside: false,
        takes_lock: None,
        shared_state: false,
        found: Some(found),
        workers: 2,
        score: Some(Estimate::new(0.97, 0.99, 1.0)),
        cpu: 1.0,
        wait: 0.0,
        lock_wait: 0.0,
        tasks,
        task_seconds: Some(each),
        first_calls: None,
        joins_open: false,
        chunk: 1.0,
        unfinished_share: 0.0,
        sampled_calls: None,
        cores_used: 1.0,
        at_once: 1.0,
        cores_held: None,
        cores_overlapped: None,
        cores_wanted: None,
        worker_bytes: Some(20 << 20),
        gil: Gil::Unknown,
        phases: Vec::new(),
        task: Some(TaskDemand {
            cpu: each,
            own_cpu: each,
            gil: Estimate::new(0.0, each, each),
            alone: None,
            held_waiting: 0.0,
            loop_waiting: 0.0,
            wait: 0.0,
            released_run: None,
            shortest_run: None,
            payload: None,
            picklable: None,
            awaitable: found == Executor::Asyncio,
            worker_bytes: None,
            lock_limit: None,
            lock_spans_processes: false,
            seen_at_once: 1.0,
        }),
    }
}

/// A payload that takes so long to move.
fn payload(seconds: f64, readings: u64, error: f64) -> Payload {
    Payload {
        argument_bytes: Some(100),
        result_bytes: Some(100),
        source: PayloadSource::Measured,
        seconds: Some(seconds),
        picklable: Some(true),
        parent_seconds: Some(seconds / 2.0),
        worker_seconds: Some(seconds / 2.0),
        transfer_seconds: None,
        readings: Some(readings),
        error: Some(error),
    }
}

fn judged(evidence: &Evidence, payload: Option<&Payload>) -> Judgement {
    judged_by(evidence, payload, Thresholds::default())
}

fn judged_by(evidence: &Evidence, payload: Option<&Payload>, thresholds: Thresholds) -> Judgement {
    judge(evidence, payload, &Terms { thresholds, ..usual_terms() })
}

fn usual_terms() -> Terms {
    Terms {
        declared: None,
        capacity: Capacity { cores: 2.0, measured_on: 2.0, memory_bytes: Some(8 << 30) },
        costs: Some(COSTS),
        thresholds: Thresholds::default(),
        arrival_rate: None,
    }
}

fn codes(judgement: &Judgement) -> Vec<&'static str> {
    let found = judgement.recommendation.as_ref().expect("something is recommended");
    found.reasons.iter().map(|reason| reason.code()).collect()
}

#[test]
fn tasks_smaller_than_their_dispatch_need_no_reading_of_the_lock() {
    for each in [1e-6, 5e-6] {
        for found in [Executor::Thread, Executor::Process] {
            let judgement = judged(&computing(each, found), Some(&payload(5e-6, 12, 0.25)));
            let advice = judgement.recommendation.as_ref().expect("serial");
            assert_eq!((advice.executor, advice.workers), (Executor::Serial, Some(1)), "{each} {found:?}");
            assert!(advice.confidence >= Confidence::Medium, "{each} {found:?}: {advice:?}");
            assert!(matches!(judgement.outcome, Outcome::Misrouted { .. }), "{each} {found:?}: {judgement:?}");
            let codes = codes(&judgement);
            assert!(codes.contains(&"task-too-small") && !codes.contains(&"gil-unknown"), "{codes:?}");
        }
        let fits = judged(&computing(each, Executor::Serial), Some(&payload(5e-6, 12, 0.25)));
        assert_eq!(fits.outcome, Outcome::Fits);
    }
}

#[test]
fn a_payload_too_dear_for_processes_is_decided_whatever_the_lock() {
    let dear = payload(50e-3, 12, 0.25);
    let processes = judged(&computing(5e-3, Executor::Process), Some(&dear));
    let Outcome::Misrouted { cost } = processes.outcome else { panic!("{processes:?}") };
    assert!(cost > 5.0, "{cost}");
    // Threads or no pool, that is open: it hangs on the lock.
    assert!(codes(&processes).contains(&"gil-unknown"), "{processes:?}");
    // And so is, for what runs in threads, whether they do.
    let threads = judged(&computing(5e-3, Executor::Thread), Some(&payload(1e-5, 12, 0.25)));
    assert_eq!(threads.outcome, Outcome::Undecided(Why::GilUnknown), "{threads:?}");
}

#[test]
fn a_pool_recommended_in_doubt_has_to_be_well_ahead() {
    // Processes are predicted a little, or much, above no pool, whatever the lock; threads may do as well as they.
    let with = |seconds| judged(&computing(1e-3, Executor::Serial), Some(&payload(seconds, 12, 0.25)));
    let (little, much) = (with(0.35e-3), with(1e-5));
    assert_eq!(little.outcome, Outcome::Undecided(Why::GilUnknown), "{little:?}");
    assert!(matches!(much.outcome, Outcome::Misrouted { .. }), "{much:?}");
    for judgement in [little, much] {
        let advice = judgement.recommendation.expect("processes");
        assert_eq!((advice.executor, advice.confidence), (Executor::Process, Confidence::Low));
    }
}

#[test]
fn a_score_that_may_be_anything_accuses_nobody() {
    // A few microseconds, of which nobody knows whether they were waited or computed.
    let computes = computing(3e-5, Executor::Serial);
    let task = TaskDemand { cpu: 1.5e-5, wait: 1.5e-5, ..computes.task.expect("it has one") };
    let score = Some(Estimate::new(0.0, 0.5, 1.0));
    let open = Evidence { score, cpu: 0.5, wait: 0.5, task: Some(task), ..computes };
    let judgement = judged(&open, Some(&payload(5e-6, 12, 0.25)));
    assert!(!matches!(judgement.outcome, Outcome::Misrouted { .. }), "{judgement:?}");
    // Where both ends lose all the same, it is open and misrouted.
    let found = Some(Executor::Process);
    let task = TaskDemand { cpu: 1e-6, own_cpu: 1e-6, gil: Estimate::new(0.0, 1e-6, 1e-6), wait: 2e-7, ..task };
    let score = Some(Estimate::new(0.55, 0.83, 1.0));
    let lost = Evidence { found, score, task: Some(task), task_seconds: Some(1.2e-6), ..open };
    let judgement = judged(&lost, Some(&payload(5e-6, 12, 0.25)));
    assert!(matches!(judgement.outcome, Outcome::Misrouted { .. }), "{judgement:?}");
}

#[test]
fn what_executors_would_do_does_not_depend_on_what_a_score_is_called() {
    // Between 0.66 and 1: open by the usual thresholds, and not by others.
    let evidence = holding(0.01, 0.97, Executor::Thread, 4.0);
    let score = Some(Estimate::new(0.66, 0.97, 1.0));
    let evidence = Evidence { score, ..evidence };
    let predictions = [0.7, 0.65, 0.9, 1.0].map(|cpu| {
        let judgement =
            judged_by(&evidence, Some(&payload(5e-6, 12, 0.25)), Thresholds { cpu, ..Thresholds::default() });
        (judgement.predictions, judgement.outcome)
    });
    assert!(predictions.iter().all(|other| *other == predictions[0]), "{predictions:#?}");
}

#[test]
fn no_pool_is_not_called_right_where_the_lock_may_let_threads_gain() {
    // Processes gain too little for what they cost, and what threads would was not read.
    let serial = computing(0.6e-3, Executor::Serial);
    let judgement = judged(&Evidence { gil: Gil::Thin, ..serial.clone() }, Some(&payload(0.2e-3, 12, 0.25)));
    assert_eq!(judgement.outcome, Outcome::Undecided(Why::GilThin), "{judgement:#?}");
    let held = Gil::Held { share: Estimate::new(0.97, 1.0, 1.0), released_run: None };
    let task = serial.task.map(|task| TaskDemand { gil: Estimate::new(0.58e-3, 0.6e-3, 0.6e-3), ..task });
    let judgement = judged(&Evidence { gil: held, task, ..serial }, Some(&payload(0.4e-3, 12, 0.25)));
    assert_eq!(judgement.outcome, Outcome::Fits, "{judgement:#?}");
}

#[test]
fn what_moves_both_executors_at_once_parts_them_no_less() {
    // A little more of it or less is waited: threads and processes both gain more from that, or less.
    let held = Gil::Held { share: Estimate::new(0.77, 0.83, 0.87), released_run: None };
    let mixed = computing(10e-3, Executor::Serial);
    let task = mixed.task.map(|task| TaskDemand {
        cpu: 5.7e-3,
        own_cpu: 5.7e-3,
        gil: Estimate::new(4.4e-3, 4.7e-3, 5e-3),
        wait: 4.5e-3,
        picklable: Some(true),
        ..task
    });
    let mixed =
        Evidence { score: Some(Estimate::new(0.51, 0.56, 0.61)), cpu: 0.57, wait: 0.45, gil: held, task, ..mixed };
    let terms = Terms { declared: Some(Executor::Thread), ..usual_terms() };
    let judgement = judge(&mixed, Some(&payload(5e-6, 12, 0.25)), &terms);
    let of = |executor| judgement.predictions.iter().find(|one| Executor::from(one.executor) == executor);
    let (threads, processes) = of(Executor::Thread).zip(of(Executor::Process)).expect("both are predicted");
    assert!(threads.speedup.high > processes.speedup.low, "by themselves they touch: {judgement:#?}");
    assert!(threads.most_of_best < Some(1.0), "{threads:?}");
    assert!(matches!(judgement.outcome, Outcome::Misrouted { .. }), "{judgement:#?}");
}

#[test]
fn a_payload_that_was_hardly_measured_leaves_open_what_it_could_turn() {
    // Moving takes a seventh of the task: processes win, unless it took twice as long.
    let with = |readings, error| judged(&computing(2e-3, Executor::Serial), Some(&payload(1.2e-3, readings, error)));
    let (few, many) = (with(1, 1.0), with(12, 0.25));
    assert!(codes(&few).contains(&"payload-thin") && !codes(&many).contains(&"payload-thin"), "{few:?}");
    let width = |judgement: &Judgement| {
        let of = |one: &&poolpick::predict::Prediction| one.executor == poolpick::predict::Executor::Process;
        let process = judgement.predictions.iter().find(of).expect("it is predicted").speedup;
        process.high - process.low
    };
    assert!(width(&few) > 1.3 * width(&many), "{} {}", width(&few), width(&many));
    // What weighs nothing may be off by as much as it likes.
    let light = judged(&computing(2e-3, Executor::Serial), Some(&payload(5e-6, 1, 1.0)));
    assert!(!codes(&light).contains(&"payload-thin"), "{light:?}");
}

#[test]
fn a_coroutine_that_only_computes_belongs_into_processes_as_a_function() {
    let read = |share| Gil::Held { share: Estimate::new(share - 0.02, share, share + 0.01), released_run: None };
    let cpu = Evidence { gil: read(0.99), ..computing(5e-3, Executor::Asyncio) };
    let moved = judged(&cpu, Some(&payload(1e-5, 12, 0.25)));
    assert!(matches!(moved.outcome, Outcome::Misrouted { cost } if cost > 1.5), "{moved:?}");
    assert!(codes(&moved).contains(&"coroutine-computes"));
    // What cannot be known stays unknown, and what awaits stays where it is.
    let unknown = judged(&cpu, None);
    assert!(codes(&unknown).contains(&"payload-unknown"), "{unknown:?}");
    let task = TaskDemand { wait: 5e-3, awaitable: true, ..cpu.task.expect("it has one") };
    let score = Some(Estimate::new(0.48, 0.5, 0.52));
    let awaits = Evidence { score, wait: 1.0, task: Some(task), ..cpu };
    let stays = judged(&awaits, Some(&payload(1e-5, 12, 0.25)));
    assert!(stays.predictions.iter().all(|one| one.executor != poolpick::predict::Executor::Process), "{stays:?}");
    assert!(!codes(&stays).contains(&"payload-unknown"), "{stays:?}");
}

/// Tasks that wait for so long each, one after another or with so many others.
fn waiting(found: Executor, at_once: f64) -> Evidence {
    let computing = computing(50e-6, found);
    let task = computing.task.expect("it has one");
    Evidence {
        workers: at_once as u32,
        score: Some(Estimate::new(0.01, 0.012, 0.02)),
        wait: 4.0,
        tasks: 1000,
        task_seconds: Some(4e-3),
        gil: Gil::Held { share: Estimate::new(0.2, 0.5, 0.8), released_run: None },
        task: Some(TaskDemand { gil: Estimate::new(1e-5, 2e-5, 4e-5), wait: 4e-3, seen_at_once: at_once, ..task }),
        ..computing
    }
}

/// A request of 1 ms of CPU, whose hold of the lock was not read, in 20 ms of waiting: one after another it looks as if the
/// lock held threads back.
#[test]
fn what_waits_goes_to_threads_unless_processes_are_clearly_faster() {
    let one = waiting(Executor::Serial, 1.0);
    let request = |gil: Gil, held: (f64, f64, f64), cpu: f64| {
        let task = TaskDemand {
            cpu,
            own_cpu: cpu,
            wait: 20e-3,
            gil: Estimate::new(held.0, held.1, held.2),
            ..one.task.expect("it has one")
        };
        let score = Some(Estimate::new(0.04, cpu / (cpu + 20e-3), 0.3));
        let (cpu, wait) = (100.0 * cpu, 2.0);
        Evidence { gil, task: Some(task), score, cpu, wait, tasks: 100, task_seconds: Some(21e-3), ..one.clone() }
    };
    let cheap = payload(1e-5, 12, 0.25);
    let unread = judged(&request(Gil::Unknown, (0.2e-3, 1e-3, 1e-3), 1e-3), Some(&cheap));
    let found = unread.recommendation.as_ref().expect("enough evidence");
    assert_eq!(found.executor, Executor::Thread, "{unread:#?}");
    assert!(codes(&unread).contains(&"threads-suffice"), "{:?}", codes(&unread));
    // With five times the CPU, all of it held, threads are held back for certain.
    let held = Gil::Held { share: Estimate::new(0.97, 1.0, 1.0), released_run: None };
    let bound = judged(&request(held, (4.9e-3, 5e-3, 5e-3), 5e-3), Some(&cheap));
    assert_eq!(bound.recommendation.as_ref().expect("enough evidence").executor, Executor::Process, "{bound:#?}");
}

#[test]
fn a_lock_that_threads_may_queue_for_leaves_open_whether_they_help() {
    let cheap = payload(1e-5, 12, 0.25);
    let serial = waiting(Executor::Serial, 1.0);
    assert!(matches!(judged(&serial, Some(&cheap)).outcome, Outcome::Misrouted { .. }));
    let locking = Evidence { takes_lock: Some("global `LOCK`".to_owned()), ..serial };
    let judgement = judged(&locking, Some(&cheap));
    assert_eq!(judgement.outcome, Outcome::Undecided(Why::LockUnseen), "{judgement:?}");
    assert!(codes(&judgement).contains(&"lock-unseen"));
    // Declared under threads and run by itself, it is as open as the other way round.
    let declared = Terms { declared: Some(Executor::Thread), ..usual_terms() };
    let judgement = judge(&locking, Some(&cheap), &declared);
    assert_eq!(judgement.outcome, Outcome::Undecided(Why::LockUnseen), "{judgement:?}");
    // In threads already, they show it.
    let threads = Evidence { takes_lock: Some("global `LOCK`".to_owned()), ..waiting(Executor::Thread, 8.0) };
    let judgement = judged(&threads, Some(&cheap));
    assert_eq!(judgement.outcome, Outcome::Fits, "{judgement:?}");
    assert!(!codes(&judgement).contains(&"lock-unseen"));
}

#[test]
fn processes_do_not_queue_for_a_lock_of_threads_but_may_need_to() {
    let cheap = payload(1e-5, 12, 0.25);
    let queueing = |found, spans| {
        let evidence = waiting(found, 8.0);
        let task =
            evidence.task.map(|task| TaskDemand { lock_limit: Some(247.0), lock_spans_processes: spans, ..task });
        Evidence { lock_wait: 28.0, wait: 32.0, task, ..evidence }
    };
    let threads = judged(&queueing(Executor::Thread, false), Some(&cheap));
    assert_eq!(threads.outcome, Outcome::Undecided(Why::LockNotShared), "{threads:?}");
    assert!(codes(&threads).contains(&"lock-not-shared") && codes(&threads).contains(&"lock-bound"));
    // Processes that were seen to queue share that lock.
    let processes = judged(&queueing(Executor::Process, true), Some(&cheap));
    assert!(!codes(&processes).contains(&"lock-not-shared"), "{processes:?}");
    assert_eq!(processes.recommendation.as_ref().map(|advice| advice.executor), Some(Executor::Serial));
}

#[test]
fn where_tasks_that_never_ended_took_the_time_nothing_is_recommended() {
    let whole = computing(1e-2, Executor::Thread);
    let of = |evidence: &Evidence| {
        let judgement = judged(evidence, Some(&payload(5e-6, 12, 0.25)));
        (judgement.recommendation.is_some(), judgement.outcome)
    };
    let cut = |share| Evidence { unfinished_share: share, ..whole.clone() };
    assert_eq!(of(&cut(0.05)), of(&whole), "those that were cut off at the end hardly matter");
    assert_eq!(of(&cut(0.5)), (false, Outcome::NotJudged(Why::Unfinished)));
    // What it computed so far is known all the same; what waits for locks until the end may hang.
    let class = |evidence: &Evidence| judged(evidence, None).class;
    assert_eq!(class(&cut(0.5)), Class::CpuBound);
    let score = Some(Estimate::new(0.0, 0.01, 0.02));
    let waits = Evidence { score, cpu: 0.01, wait: 1.0, lock_wait: 0.9, ..whole };
    assert_eq!(class(&waits), Class::IoBound);
    assert_eq!(class(&Evidence { unfinished_share: 0.5, ..waits }), Class::Unknown);
}

fn read(share: f64) -> Gil {
    Gil::Held { share: Estimate::new(share, share, share), released_run: None }
}

/// Tasks that compute for so long each and hold the lock for a share of that, known well.
fn holding(each: f64, share: f64, found: Executor, at_once: f64) -> Evidence {
    let evidence = computing(each, found);
    let held = each * share;
    let task = evidence.task.map(|task| TaskDemand {
        gil: Estimate::new(held, held, held),
        seen_at_once: at_once,
        picklable: Some(true),
        ..task
    });
    Evidence { gil: read(share), task, ..evidence }
}

fn advised(evidence: &Evidence, payload: &Payload) -> Executor {
    judged(evidence, Some(payload)).recommendation.expect("something is recommended").executor
}

#[test]
fn native_code_that_was_never_seen_to_overlap_is_not_taken_to_by_preference() {
    let cheap = payload(1e-5, 12, 0.25);
    // Processes are a little ahead: threads are simpler, but a library may have locks of its own.
    assert_eq!(advised(&holding(5e-3, 0.0, Executor::Serial, 1.0), &cheap), Executor::Process);
    assert_eq!(advised(&holding(5e-3, 0.0, Executor::Process, 2.0), &cheap), Executor::Process);
    assert_eq!(advised(&holding(5e-3, 0.0, Executor::Thread, 1.9), &cheap), Executor::Thread);
    // Where processes cost more than that, they are not preferred either.
    assert_eq!(advised(&holding(1e-3, 0.0, Executor::Serial, 1.0), &payload(1e-3, 12, 0.25)), Executor::Thread);
    // And the lock is no reason for threads.
    for share in [0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 1.0] {
        let held = advised(&holding(5e-3, share, Executor::Serial, 1.0), &cheap);
        assert_eq!(held, Executor::Process, "{share}");
    }
}

#[test]
fn threads_that_gain_no_more_than_their_model_may_be_off_are_no_pool_worth_having() {
    let dear = payload(20e-3, 12, 0.25);
    assert_eq!(advised(&holding(2e-3, 0.93, Executor::Thread, 1.9), &dear), Executor::Serial);
    assert_eq!(advised(&holding(2e-3, 0.7, Executor::Thread, 1.9), &dear), Executor::Thread);
}

#[test]
fn a_coroutine_that_blocks_its_loop_gains_nothing_there() {
    let cheap = payload(1e-5, 12, 0.25);
    let on_a_loop = |blocking: f64| {
        let evidence = waiting(Executor::Asyncio, 4.0);
        let task = evidence.task.map(|task| TaskDemand { loop_waiting: blocking * task.wait, awaitable: true, ..task });
        judged(&Evidence { task, ..evidence }, Some(&cheap))
    };
    let awaits = on_a_loop(0.0);
    assert_eq!(awaits.outcome, Outcome::Fits, "{awaits:?}");
    assert!(!codes(&awaits).contains(&"loop-blocked"));
    let blocks = on_a_loop(1.0);
    assert!(codes(&blocks).contains(&"loop-blocked"), "{blocks:?}");
    assert!(matches!(blocks.outcome, Outcome::Misrouted { cost } if cost > 4.0), "{blocks:?}");
    let executor = blocks.recommendation.as_ref().map(|advice| advice.executor);
    assert_eq!(executor, Some(Executor::Thread));
}

#[test]
fn a_lock_that_was_not_seen_in_threads_opens_how_much_they_gain() {
    let cheap = payload(1e-5, 12, 0.25);
    let low = |takes_lock: Option<String>| {
        let judgement = judged(&Evidence { takes_lock, ..waiting(Executor::Serial, 1.0) }, Some(&cheap));
        let thread = |one: &&poolpick::predict::Prediction| one.executor == poolpick::predict::Executor::Thread;
        judgement.predictions.iter().find(thread).expect("threads are predicted").speedup.low
    };
    assert!(low(None) > 5.0, "{}", low(None));
    assert!(low(Some("global `LOCK`".to_owned())) <= 1.0);
}

#[test]
fn what_a_run_in_threads_reached_is_known_whatever_was_read_of_the_lock() {
    // Four threads had 1.8 CPUs, and the lock was hardly read.
    let threads = Evidence { gil: Gil::Thin, workers: 4, ..computing(2.5e-3, Executor::Thread) };
    let task = threads.task.map(|task| TaskDemand { seen_at_once: 3.6, ..task });
    let threads = Evidence { task, ..threads };
    let dear = payload(7e-3, 12, 0.25);
    assert_ne!(advised(&threads, &dear), Executor::Thread, "they may hold it all the time");
    let reached = Evidence { cores_overlapped: Some(1.8), ..threads.clone() };
    let judgement = judged(&reached, Some(&dear));
    let advice = judgement.recommendation.as_ref().expect("enough evidence");
    assert_eq!((advice.executor, advice.workers), (Executor::Thread, Some(2)), "{judgement:#?}");
    assert!(advice.speedup.is_some_and(|speedup| (1.7..1.9).contains(&speedup)), "{advice:?}");
    assert_eq!(judgement.outcome, Outcome::Fits);
    // Two threads reached no more than two can, and on one core nobody reaches that.
    let pair = Evidence { task: threads.task.map(|task| TaskDemand { seen_at_once: 1.2, ..task }), ..reached.clone() };
    let gained = |judgement: &Judgement| {
        judgement
            .predictions
            .iter()
            .find(|one| Executor::from(one.executor) == Executor::Thread)
            .map(|one| one.speedup.low)
    };
    assert!(gained(&judged(&pair, Some(&dear))) < Some(1.21));
    let capacity = Capacity { cores: 1.0, measured_on: 2.0, memory_bytes: None };
    let one_core = judge(&reached, Some(&dear), &Terms { capacity, ..usual_terms() });
    assert!(gained(&one_core) <= Some(1.0), "{one_core:#?}");
}

#[test]
fn for_how_long_the_lock_is_let_go_of_must_have_been_seen_where_it_matters() {
    let (cheap, dear) = (payload(1e-5, 12, 0.25), payload(50e-3, 12, 0.25));
    let of = |found, shortest| {
        let evidence = holding(5e-3, 0.4, found, 1.0);
        let task = evidence.task.map(|task| TaskDemand { shortest_run: Some(shortest), ..task });
        Evidence { task, ..evidence }
    };
    let thin = |judgement: &Judgement| codes(judgement).contains(&"gil-thin");
    // It may be so short that threads are slower than one: nobody may call them right, or recommend them.
    let threads = judged(&of(Executor::Thread, 1e-6), Some(&cheap));
    assert_eq!(threads.outcome, Outcome::Undecided(Why::GilThin), "{threads:#?}");
    let serial = judged(&of(Executor::Serial, 1e-6), Some(&dear));
    assert_eq!(serial.outcome, Outcome::Undecided(Why::GilThin), "{serial:#?}");
    assert_eq!(serial.recommendation.as_ref().map(|advice| advice.confidence), Some(Confidence::Low));
    // Processes gain in any case.
    let serial = judged(&of(Executor::Serial, 1e-6), Some(&cheap));
    assert!(
        matches!(serial.outcome, Outcome::Misrouted { .. })
            && advised(&of(Executor::Serial, 1e-6), &cheap) == Executor::Process
    );
    // A run that is known to be long costs nothing.
    let long = judged(&of(Executor::Serial, 2e-3), Some(&dear));
    assert!(matches!(long.outcome, Outcome::Misrouted { .. }) && !thin(&long), "{long:#?}");
}

#[test]
fn a_coroutine_that_may_compute_for_most_of_its_time_is_neither_right_nor_wrong() {
    let cheap = payload(1e-5, 12, 0.25);
    let of = |low: f64, point: f64, high: f64| {
        let computing = computing(6e-3, Executor::Asyncio);
        let wait = 6e-3 * (1.0 - point) / point;
        let task = TaskDemand { gil: Estimate::new(6e-3, 6e-3, 6e-3), wait, ..computing.task.expect("it has one") };
        let score = Some(Estimate::new(low, point, high));
        judged(&Evidence { gil: read(1.0), score, wait: wait / 6e-3, task: Some(task), ..computing }, Some(&cheap))
    };
    // The same stage, a hair to either side of the threshold.
    for (point, executor) in [(0.695, Executor::Asyncio), (0.705, Executor::Process)] {
        for half in [0.05, 0.2] {
            let judgement = of(point - half, point, point + half);
            assert_eq!(judgement.outcome, Outcome::Undecided(Why::CoroutineOpen), "{judgement:?}");
            assert!(codes(&judgement).contains(&"coroutine-open"), "{judgement:?}");
            let class_is_told = judgement.class != Class::Unknown;
            let advised = judgement.recommendation.map(|advice| advice.executor);
            assert!(!class_is_told || advised == Some(executor), "{advised:?}");
        }
    }
    // Where the interval is on one side, it is one or the other.
    assert_eq!(of(0.55, 0.6, 0.65).outcome, Outcome::Fits);
    let computes = of(0.8, 0.85, 0.9).outcome;
    assert!(matches!(computes, Outcome::Misrouted { cost } if cost > 1.4), "{computes:?}");
}

#[test]
fn what_is_handed_over_in_chunks_pays_for_its_dispatch_once_a_chunk() {
    let of = |chunk| {
        let judgement =
            judged(&Evidence { chunk, ..computing(2e-6, Executor::Process) }, Some(&payload(0.4e-6, 12, 0.5)));
        let process = |one: &&poolpick::predict::Prediction| one.executor == poolpick::predict::Executor::Process;
        let speedup = judgement.predictions.iter().find(process).expect("it is predicted").speedup.point;
        (speedup, judgement.outcome)
    };
    let (alone, chunked) = (of(1.0), of(5000.0));
    assert!(alone.0 < 0.1 && matches!(alone.1, Outcome::Misrouted { .. }), "{alone:?}");
    assert!(chunked.0 > 1.2 && chunked.1 == Outcome::Fits, "{chunked:?}");
}

#[test]
fn what_waits_for_work_that_it_hands_to_others_is_left_undecided() {
    let cheap = payload(1e-5, 12, 0.25);
    for found in [Executor::Serial, Executor::Thread, Executor::Process] {
        let judgement = judged(&Evidence { joins_open: true, ..holding(5e-3, 1.0, found, 1.0) }, Some(&cheap));
        assert_eq!(judgement.outcome, Outcome::Undecided(Why::JoinsOpen), "{judgement:?}");
        let advice = judgement.recommendation.expect("something is recommended");
        assert_eq!(advice.confidence, Confidence::Low);
    }
}
