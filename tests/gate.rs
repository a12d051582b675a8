//! The gate's rules as tables, on stages of the machine form: what fits, what does not, what stays open and what is no
//! verdict at all. Runs nothing.

#[path = "goldens/samples.rs"]
mod samples;

use poolpick::gate::{
    Baseline, Declared, Failure, MendKey, MendValue, Place, RUNS_DIFFER, Ran, Ruled, Rules, compare, failed, named,
    outcome, rule_on,
};
use poolpick::report::check::{Level, Outcome, Policy, StageOutcome};
use poolpick::report::compare::{ChangeKind, Comparison, Side};
use poolpick::report::*;

/// A function that is predicted: 1, 1.1 and 1.9 times a serial run.
fn stage() -> Stage {
    let mut stage = samples::all()[3].1.stages[0].clone();
    stage.runs_as = None;
    stage.verdict = Verdict::NotJudged;
    stage.misrouting_cost = None;
    stage.score = Some(0.98);
    stage.score_interval = Some([0.96, 0.99]);
    stage.class = Class::CpuBound;
    stage.predictions = vec![
        prediction(Executor::Serial, 1, 1.0, 0.0),
        prediction(Executor::Thread, 2, 1.1, 0.05),
        prediction(Executor::Asyncio, 2, 1.0, 0.05),
        prediction(Executor::Process, 4, 1.9, 0.05),
    ];
    let advice = stage.recommendation.as_mut().expect("the sample has one");
    advice.executor = Executor::Process;
    advice.workers = Some(4);
    advice.speedup = Some(1.9);
    advice.confidence = Confidence::High;
    advice.reasons = vec![Reason { code: "gil-bound".to_owned(), text: "it holds the lock".to_owned() }];
    stage
}

fn prediction(executor: Executor, workers: u32, speedup: f64, half: f64) -> Prediction {
    let interval = [speedup - half, speedup + half];
    Prediction { executor, workers, speedup, interval, most_of_recommended: None, limited_by: Bottleneck::Cores }
}

fn declared(executor: Option<Executor>) -> Declared {
    let place = |line| Some(Place { file: "poolpick.toml".to_owned(), line });
    Declared {
        name: "parse".to_owned(),
        executor,
        place: place(1),
        executor_place: executor.and_then(|_| place(3)),
        required: true,
        ..Declared::default()
    }
}

const RAN: Ran = Ran { runs: 3, wall_seconds: Some(4.5), when: None };

fn ruled(stage: &Stage, executor: Option<Executor>, rules: &Rules) -> Ruled {
    rule_on(stage, &declared(executor), &RAN, rules)
}

fn changed(change: impl FnOnce(&mut Stage)) -> Stage {
    let mut stage = stage();
    change(&mut stage);
    stage
}

fn advice(stage: &mut Stage) -> &mut Recommendation {
    stage.recommendation.as_mut().expect("it has one")
}

#[test]
fn evidence_decides() {
    use Executor::{Asyncio, Interpreter, Process, Serial, Thread};
    use StageOutcome::{Failed, Fits, Misrouted, NotJudged, Undecided};
    let rules = Rules::default();
    let low = changed(|stage| advice(stage).confidence = Confidence::Low);
    let low_and_wide = changed(|stage| {
        advice(stage).confidence = Confidence::Low;
        stage.predictions[1] = prediction(Thread, 2, 1.1, 0.8);
    });
    let wide = changed(|stage| stage.predictions[1] = prediction(Thread, 2, 1.1, 0.8));
    let near = changed(|stage| stage.predictions[1] = prediction(Thread, 2, 1.62, 0.01));
    let just_under = changed(|stage| stage.predictions[1] = prediction(Thread, 2, 1.61, 0.01));
    let thin = changed(|stage| {
        stage.class = Class::Unknown;
        stage.recommendation = None;
    });
    let feeds = changed(|stage| stage.recommendation = None);
    let cases: [(&str, &Stage, Option<Executor>, StageOutcome); 14] = [
        ("the recommended one", &stage(), Some(Process), Fits),
        ("far below", &stage(), Some(Thread), Misrouted),
        ("serial far below", &stage(), Some(Serial), Misrouted),
        ("an event loop far below", &stage(), Some(Asyncio), Misrouted),
        ("not predicted", &stage(), Some(Interpreter), Undecided),
        ("within the margin", &near, Some(Thread), Fits),
        ("just outside", &just_under, Some(Thread), Misrouted),
        ("intervals touch", &wide, Some(Thread), Undecided),
        ("low confidence in what is best, none in this", &low, Some(Thread), Misrouted),
        ("low confidence", &low_and_wide, Some(Thread), Undecided),
        ("low confidence, the recommended one", &low, Some(Process), Fits),
        ("nothing declared or found", &stage(), None, NotJudged),
        ("too little seen", &thin, Some(Thread), Failed),
        ("judged elsewhere", &feeds, Some(Thread), NotJudged),
    ];
    for (what, stage, executor, expected) in cases {
        let one = ruled(stage, executor, &rules);
        assert_eq!(one.result.outcome, expected, "{what}: {one:?}");
    }
}

#[test]
fn the_margin_is_the_users() {
    let stage = changed(|stage| stage.predictions[1] = prediction(Executor::Thread, 2, 1.4, 0.01));
    for (margin, expected) in
        [(0.15, StageOutcome::Misrouted), (0.3, StageOutcome::Fits), (0.0, StageOutcome::Misrouted)]
    {
        let rules = Rules { margin, ..Rules::default() };
        assert_eq!(ruled(&stage, Some(Executor::Thread), &rules).result.outcome, expected, "{margin}");
    }
    assert!((Rules::default().margin - 0.15).abs() < 1e-9);
}

#[test]
fn the_plain_rule_goes_by_the_score_alone() {
    use Executor::{Asyncio, Interpreter, Process, Serial, Thread};
    use StageOutcome::{Fits, Misrouted, Undecided};
    let rules = Rules { policy: Policy::Ratio, ..Rules::default() };
    let scored = |score: f64, half: f64| {
        changed(|stage| {
            stage.score = Some(score);
            stage.score_interval = Some([score - half, score + half]);
        })
    };
    let dear = changed(|stage| stage.ipc.as_mut().expect("it has one").share_of_latency = Some(0.4));
    let cases: [(&str, Stage, Executor, StageOutcome); 12] = [
        ("waits, threads", scored(0.1, 0.05), Thread, Fits),
        ("waits, event loop", scored(0.1, 0.05), Asyncio, Fits),
        ("waits, processes", scored(0.1, 0.05), Process, Misrouted),
        ("waits, serial", scored(0.1, 0.05), Serial, Misrouted),
        ("computes, processes", scored(0.9, 0.05), Process, Fits),
        ("computes, sub-interpreters", scored(0.9, 0.05), Interpreter, Fits),
        ("computes, threads", scored(0.9, 0.05), Thread, Misrouted),
        ("computes, dear payload, threads", dear.clone(), Thread, Fits),
        ("computes, dear payload, processes", dear, Process, Misrouted),
        ("between", scored(0.5, 0.05), Thread, Undecided),
        ("at the threshold", scored(0.4, 0.0), Thread, Undecided),
        ("across the threshold", scored(0.38, 0.05), Process, Undecided),
    ];
    for (what, stage, executor, expected) in cases {
        let one = ruled(&stage, Some(executor), &rules);
        assert_eq!(one.result.outcome, expected, "{what}: {one:?}");
    }
}

#[test]
fn a_finding_names_code_value_rule_place_and_edit() {
    let one = ruled(&stage(), Some(Executor::Thread), &Rules::default());
    let finding = &one.findings[0];
    assert_eq!((finding.code.as_str(), finding.level), ("misrouted", Level::Error));
    assert_eq!((finding.file.as_deref(), finding.line), (Some("poolpick.toml"), Some(3)));
    let (measured, limit) = (finding.measured.expect("measured"), finding.limit.expect("a limit"));
    assert!((measured - 1.1 / 1.9).abs() < 1e-9 && (limit - 0.85).abs() < 1e-9, "{finding:?}");
    let expected = "declared thread: at best 1.10× the throughput of a serial run; process: 1.90× with 4 workers; \
                    it runs 1.73× slower than it could (it holds the lock)";
    assert_eq!(finding.message, expected);
    let fix = finding.fix.as_deref().expect("an edit");
    assert!(fix.contains("`executor = \"process\"` in `[stages.parse]`"), "{fix}");
    assert_eq!(one.mends.len(), 1);
    assert_eq!((one.mends[0].key, one.mends[0].value), (MendKey::Executor, MendValue::Executor(Executor::Process)));
    assert!((one.result.misrouting_cost.expect("a cost") - 1.9 / 1.1).abs() < 1e-9);
    let found = rule_on(
        &stage(),
        &Declared { name: "x".to_owned(), executor: Some(Executor::Thread), ..Declared::default() },
        &RAN,
        &Rules::default(),
    );
    assert!(found.mends.is_empty() && found.findings[0].file.is_none(), "without a manifest there is nothing to mend");
}

#[test]
fn one_run_accuses_nobody_if_another_can_be_had() {
    let ran = |runs| Ran { runs, wall_seconds: Some(1.0), when: None };
    let of = |runs, stage: &Stage| rule_on(stage, &declared(Some(Executor::Thread)), &ran(runs), &Rules::default());
    assert!(of(1, &stage()).wants_more && !of(2, &stage()).wants_more);
    let touching = changed(|stage| stage.predictions[1] = prediction(Executor::Thread, 2, 1.1, 0.8));
    assert!(of(4, &touching).wants_more, "further runs part the intervals");
    let fix = of(4, &touching).findings[0].fix.clone().expect("what would decide it");
    assert!(fix.contains("2 times as much run"), "{fix}");
    let blind = changed(|stage| {
        advice(stage).confidence = Confidence::Low;
        stage.predictions[1] = prediction(Executor::Thread, 2, 1.1, 0.8);
        advice(stage).reasons.push(Reason { code: "gil-unknown".to_owned(), text: String::new() });
    });
    assert!(!of(1, &blind).wants_more, "no run reads the lock");
    let thin = changed(|stage| {
        advice(stage).confidence = Confidence::Low;
        stage.predictions[1] = prediction(Executor::Thread, 2, 1.1, 0.8);
        advice(stage).reasons.push(Reason { code: "gil-thin".to_owned(), text: String::new() });
    });
    assert!(of(4, &thin).wants_more, "every run reads it more often");
    assert!(of(4, &thin).findings[0].fix.as_deref().is_some_and(|fix| fix.contains("a larger `runs`")));
    assert!(of(1, &blind).findings[0].fix.as_deref().is_some_and(|fix| fix.contains("poolpick doctor")));
}

#[test]
fn far_too_few_workers_are_a_warning() {
    let rules = Rules::default();
    let with = |workers, executor, speedup: f64| {
        let place = Some(Place { file: "poolpick.toml".to_owned(), line: 4 });
        let declared = Declared { workers: Some(workers), workers_place: place, ..declared(Some(executor)) };
        let wants = |stage: &mut Stage| (advice(stage).workers, advice(stage).speedup) = (Some(8), Some(speedup));
        rule_on(&changed(wants), &declared, &RAN, &rules)
    };
    let gains = |one: &Ruled| one.findings.iter().any(|finding| finding.code == "workers-too-few");
    assert!(!gains(&with(2, Executor::Process, 1.9)), "two workers nearly reach what eight would");
    for (workers, warned) in [(1, true), (4, true), (5, false), (8, false), (64, false)] {
        let one = with(workers, Executor::Process, 7.5);
        assert_eq!(one.result.outcome, StageOutcome::Fits);
        assert_eq!(gains(&one), warned, "{workers}");
        assert_eq!(one.mends.len(), usize::from(warned));
        assert!(
            one.findings
                .iter()
                .filter(|finding| finding.code == "workers-too-few")
                .all(|finding| finding.level == Level::Warning)
        );
    }
    let misrouted = with(2, Executor::Thread, 7.5);
    let keys: Vec<MendKey> = misrouted.mends.iter().map(|mend| mend.key).collect();
    assert_eq!(keys, [MendKey::Executor, MendKey::Workers], "its workers are mended with its executor");
}

#[test]
fn another_executor_than_declared_is_a_warning_but_a_serial_run_is_none() {
    let runs = |executor| {
        let stage = changed(|stage| stage.runs_as = Some(RunsAs { executor, workers: 4, workers_active: None }));
        ruled(&stage, Some(Executor::Process), &Rules::default())
    };
    let differs = |one: &Ruled| one.findings.iter().any(|finding| finding.code == "executor-differs");
    assert!(differs(&runs(Executor::Thread)));
    assert!(!differs(&runs(Executor::Process)) && !differs(&runs(Executor::Serial)));
}

/// Much of it was seen, but nothing that decides its class: that is another thing than too little of it.
#[test]
fn an_open_score_is_not_too_little_to_judge() {
    let seen = |seconds: f64| {
        let stage = changed(|stage| {
            stage.class = Class::Unknown;
            stage.recommendation = None;
            stage.score_interval = Some([0.1, 0.97]);
            stage.time.cpu_seconds = Some(seconds);
        });
        let ruled = ruled(&stage, Some(Executor::Thread), &Rules::default());
        assert_eq!(ruled.result.outcome, StageOutcome::Failed);
        let finding = &ruled.findings[0];
        (finding.message.clone(), finding.fix.clone().expect("something can be done"))
    };
    let (message, fix) = seen(3.0);
    assert!(
        message.contains("0.10") && message.contains("0.97") && fix.contains("poolpick doctor"),
        "{message}, {fix}"
    );
    let (message, fix) = seen(0.002);
    assert!(message.contains("too little") && fix.contains("more to do"), "{message}, {fix}");
}

#[test]
fn no_verdict_outranks_misrouted() {
    let rules = Rules::default();
    let strict = Rules { undecided_fails: true, ..rules };
    let fits = ruled(&stage(), Some(Executor::Process), &rules);
    let misrouted = ruled(&stage(), Some(Executor::Thread), &rules);
    let open = ruled(&stage(), Some(Executor::Interpreter), &rules);
    let unjudged = ruled(&stage(), None, &rules);
    let broken = failed(&declared(None), &RAN, &Failure::Exited(3), None);
    let cases: [(&[&Ruled], Outcome, Outcome); 8] = [
        (&[], Outcome::NothingSelected, Outcome::NothingSelected),
        (&[&fits], Outcome::Pass, Outcome::Pass),
        (&[&fits, &open], Outcome::Pass, Outcome::NoVerdict),
        (&[&fits, &unjudged], Outcome::Pass, Outcome::Pass),
        (&[&unjudged], Outcome::NoVerdict, Outcome::NoVerdict),
        (&[&fits, &misrouted], Outcome::Misrouted, Outcome::Misrouted),
        (&[&misrouted, &open], Outcome::Misrouted, Outcome::NoVerdict),
        (&[&misrouted, &broken], Outcome::NoVerdict, Outcome::NoVerdict),
    ];
    for (ruled, by_default, strictly) in cases {
        let results: Vec<_> = ruled.iter().map(|one| one.result.clone()).collect();
        assert_eq!((outcome(&results, &rules), outcome(&results, &strict)), (by_default, strictly), "{results:?}");
    }
    let finding = ruled(&stage(), Some(Executor::Interpreter), &strict).findings.remove(0);
    assert_eq!(finding.level, Level::Error);
}

#[test]
fn a_baseline_knows_findings_by_code_and_stage_and_no_failure() {
    let rules = Rules::default();
    let mut all = vec![
        ruled(&stage(), Some(Executor::Thread), &rules),
        failed(&declared(None), &RAN, &Failure::TimedOut(1.0), None),
    ];
    let baseline = Baseline::of(&all);
    assert_eq!(baseline.findings.len(), 1, "{baseline:?}");
    let again: Baseline = serde_json::from_str(&serde_json::to_string(&baseline).expect("JSON")).expect("its own JSON");
    assert!(again.is_readable() && again == baseline);
    baseline.mark(&mut all);
    assert_eq!(all[0].result.outcome, StageOutcome::KnownMisrouted);
    assert!(all[0].findings[0].known && all[0].findings[0].level == Level::Warning);
    assert_eq!(all[1].result.outcome, StageOutcome::Failed);
    let mut other = vec![ruled(&stage(), Some(Executor::Thread), &rules)];
    other[0].findings[0].stage = Some("another".to_owned());
    baseline.mark(&mut other);
    assert_eq!(other[0].result.outcome, StageOutcome::Misrouted, "a new one fails");
    let mut kept = Baseline::of(&[]);
    assert!(kept.keep(&baseline, &[]).is_empty());
    assert_eq!(kept, baseline, "what was not looked at stays known");
    let mut broken = failed(&declared(None), &RAN, &Failure::TimedOut(1.0), None);
    broken.result.name.clone_from(&baseline.findings[0].stage);
    broken.result.program.clone_from(&baseline.findings[0].program);
    let broken = [broken];
    let mut kept = Baseline::of(&broken);
    let told: Vec<String> = kept.keep(&baseline, &broken).into_iter().collect();
    assert_eq!((kept, told), (baseline.clone(), vec![baseline.findings[0].stage.clone()]), "a failure tells nothing");
    let passed = [ruled(&stage(), None, &rules)];
    let mut gone = Baseline::of(&passed);
    assert!(gone.keep(&baseline, &passed).is_empty() && !gone.findings.contains(&baseline.findings[0]), "{gone:?}");
}

#[test]
fn names_are_found_as_people_write_them() {
    let stages = &samples::all()[3].1.stages;
    let found = |name: &str| named(stages, name).map(|stage| stage.name.as_str());
    assert_eq!(found("pipeline.fetch"), Some("pipeline.fetch"));
    assert_eq!(found("pipeline:fetch"), Some("pipeline.fetch"));
    assert_eq!(found("fetch"), Some("pipeline.fetch"));
    assert_eq!(found("etch"), None);
}

fn side() -> Side {
    Side { file: "x.json".to_owned(), started_at: String::new(), wall_seconds: 1.0 }
}

fn changes(before: Stage, now: Stage) -> Vec<ChangeKind> {
    changes_beyond(RUNS_DIFFER, before, now)
}

fn changes_beyond(tolerance: f64, before: Stage, now: Stage) -> Vec<ChangeKind> {
    let report = |stage| Report { stages: vec![stage], ..samples::all().remove(3).1 };
    let mut comparison = Comparison::new("0.1.0", side(), side(), tolerance);
    compare(&report(before).stages, &report(now).stages, &[ChangeKind::Slower], &mut comparison);
    assert_eq!(comparison.failed, comparison.changes.iter().any(|change| change.kind == ChangeKind::Slower));
    comparison.changes.into_iter().map(|change| change.kind).collect()
}

#[test]
fn a_change_counts_only_where_the_intervals_are_apart() {
    let scored = |score: f64, half: f64, class| {
        changed(|stage| {
            stage.score = Some(score);
            stage.score_interval = Some([score - half, score + half]);
            stage.class = class;
        })
    };
    assert!(changes(stage(), stage()).is_empty());
    let io = scored(0.3, 0.05, Class::IoBound);
    assert_eq!(changes(io.clone(), scored(0.9, 0.05, Class::CpuBound)), [ChangeKind::ClassChange]);
    assert_eq!(changes(io.clone(), scored(0.38, 0.01, Class::IoBound)), [ChangeKind::Score]);
    assert!(changes(io, scored(0.42, 0.1, Class::Hybrid)).is_empty(), "the intervals overlap");
    let predicted = changed(|stage| stage.predictions[3] = prediction(Executor::Process, 4, 2.5, 0.05));
    assert_eq!(changes(stage(), predicted), [ChangeKind::Prediction]);
}

#[test]
fn what_two_runs_of_the_same_code_differ_by_is_no_change() {
    let scored = |score: f64, class| {
        changed(|stage| {
            stage.score = Some(score);
            stage.score_interval = Some([score - 0.001, score + 0.001]);
            stage.class = class;
        })
    };
    // At the edge of a class, however narrow the interval of one run is.
    let (below, above) = (scored(0.38, Class::IoBound), scored(0.42, Class::Hybrid));
    assert!(changes(below.clone(), above.clone()).is_empty());
    assert_eq!(changes_beyond(0.0, below.clone(), above), [ChangeKind::ClassChange]);
    assert_eq!(changes(below, scored(0.46, Class::Hybrid)), [ChangeKind::ClassChange]);
    let (waits, barely) = (scored(0.002, Class::IoBound), scored(0.012, Class::IoBound));
    assert!(changes_beyond(0.0, waits, barely).is_empty(), "its beginning and end are as long");
    let held = |share: f64| {
        changed(|stage| {
            let gil = stage.gil.as_mut().expect("read");
            (gil.share_of_cpu, gil.interval) = (share, [share - 0.001, share + 0.001]);
        })
    };
    assert!(changes(held(0.50), held(0.54)).is_empty());
    assert_eq!(changes(held(0.50), held(0.56)), [ChangeKind::Gil]);
}

/// What a task demands that demands nothing.
const NOTHING: Demand = Demand {
    cpu_seconds: 0.0,
    own_cpu_seconds: 0.0,
    alone_seconds: None,
    gil_seconds: 0.0,
    gil_interval: [0.0, 0.0],
    gil_waiting_seconds: 0.0,
    loop_waiting_seconds: None,
    wait_seconds: 0.0,
    released_run_seconds: None,
    shortest_released_run_seconds: None,
    payload_parent_seconds: None,
    payload_worker_seconds: None,
    payload_transfer_seconds: None,
    worker_bytes: None,
    lock_limit_per_second: None,
    awaitable: false,
    seen_at_once: 1.0,
};

#[test]
fn a_task_is_slower_by_what_is_its_own() {
    let timed = |factor: f64, count, own: f64| {
        changed(|stage| {
            let tasks = stage.tasks.as_mut().expect("it has some");
            tasks.count = count;
            let times = tasks.wall_seconds.as_mut().expect("measured");
            for time in [&mut times.mean, &mut times.p50, &mut times.p95, &mut times.p99] {
                *time *= factor;
            }
            stage.demand = Some(Demand { cpu_seconds: 0.002 * own, wait_seconds: 0.008 * own, ..NOTHING });
        })
    };
    let plain = timed(1.0, 1_000, 1.0);
    assert_eq!(changes(plain.clone(), timed(1.5, 1_000, 1.5)), [ChangeKind::Slower]);
    assert_eq!(changes(timed(1.5, 1_000, 1.5), plain.clone()), [ChangeKind::Faster]);
    assert!(changes(timed(1.0, 4, 1.0), timed(1.5, 4, 1.5)).is_empty(), "of four tasks nobody knows");
    assert!(changes(plain.clone(), timed(3.0, 1_000, 1.1)).is_empty(), "beside others it takes longer");
    let (sure, a_tenth) = (timed(1.0, 1_000_000, 1.0), timed(1.1, 1_000_000, 1.1));
    assert!(changes(sure.clone(), a_tenth.clone()).is_empty(), "runs differ by as much");
    assert_eq!(changes_beyond(0.05, sure, a_tenth), [ChangeKind::Slower], "not where the caller says so");
    // Reports of before a task's demand was kept have its time alone.
    let old = |stage: Stage| Stage { demand: None, ..stage };
    assert_eq!(changes(old(plain), old(timed(3.0, 1_000, 1.0))), [ChangeKind::Slower]);
}

#[test]
fn changes_without_a_number_are_told() {
    let mut gone = stage();
    gone.id = "other".to_owned();
    gone.name = "other".to_owned();
    assert_eq!(changes(stage(), gone), [ChangeKind::Added, ChangeKind::Removed]);
    let wrong = changed(|stage| stage.verdict = Verdict::Misrouted);
    assert_eq!(changes(stage(), wrong.clone()), [ChangeKind::Misrouted]);
    assert_eq!(changes(wrong, changed(|stage| stage.verdict = Verdict::Fits)), [ChangeKind::Mended]);
    let moved = changed(|stage| stage.ipc.as_mut().expect("it has one").result_bytes = Some(900_000));
    assert_eq!(changes(stage(), moved), [ChangeKind::Payload]);
}
