//! Reports for the goldens: small, invented, but each of a shape that real runs have. Numbers add up as the contract
//! says they do.

use poolpick::report::*;

/// Every sample with the name of its golden.
pub fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("native", native()),
        ("python-gil-unknown", python_gil_unknown()),
        ("shell-tree", shell_tree()),
        ("misrouted", misrouted()),
        ("rusage", rusage()),
        ("hostile", hostile()),
    ]
}

fn report(argv: &[&str], wall: f64, stages: Vec<Stage>) -> Report {
    let cpu: f64 = stages.iter().filter_map(|stage| stage.time.cpu_seconds).sum();
    Report {
        schema_version: SCHEMA_VERSION.to_owned(),
        kind: Kind::Profile,
        poolpick: Tool { version: "0.1.0".to_owned() },
        host: Host {
            kernel: Some("6.1.0".to_owned()),
            logical_cores: Some(2),
            physical_cores: Some(2),
            usable_cores: Some(2.0),
            memory_limit_bytes: Some(8 << 30),
            steal_ratio: Some(0.0),
        },
        target: Target {
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            argv_redacted: true,
            exit_code: Some(0),
            signal: None,
            timed_out: false,
            wall_seconds: wall,
            stopped_seconds: 0.0,
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            left_behind: 0,
            runs: 1,
        },
        sources: Sources {
            scheduler: Scheduler::Perf,
            python: Python::None,
            lost_records: 0,
            overhead_cpu_seconds: 0.012,
            accounted_ratio: Some(0.9999),
            notes: Vec::new(),
        },
        totals: Totals {
            cpu_user_seconds: Some(cpu * 0.95),
            cpu_system_seconds: Some(cpu * 0.05),
            cpu_unwaited_seconds: None,
            cpu_wall_ratio: Some(cpu / wall),
            voluntary_switches: Some(stages.iter().filter_map(|stage| stage.context_switches.voluntary).sum()),
            involuntary_switches: Some(stages.iter().filter_map(|stage| stage.context_switches.involuntary).sum()),
            peak_rss_bytes: Some(48_400_000),
            processes: Some(stages.len() as u64),
            threads: Some(stages.len() as u64),
            instructions: None,
            cycles: None,
        },
        thresholds: Thresholds { io: 0.4, cpu: 0.7, ipc: 0.15 },
        asked: None,
        costs: None,
        payload_price: None,
        stages,
    }
}

/// A stage on one thread that computed and waited for so long.
fn stage(name: &str, wall: f64, cpu: f64, waits: Waits, run_queue: f64, switches: (u64, u64)) -> Stage {
    let waited = waits.network + waits.disk + waits.lock + waits.sleep + waits.child + waits.other;
    let score = cpu / (cpu + waited);
    let class = if score < 0.4 {
        Class::IoBound
    } else if score > 0.7 {
        Class::CpuBound
    } else {
        Class::Hybrid
    };
    Stage {
        id: format!("process:{name}"),
        name: name.to_owned(),
        kind: StageKind::Process,
        language: Language::Other,
        runs_as: None,
        declared_executor: None,
        tasks: None,
        time: StageTime {
            wall_seconds: Some(wall),
            thread_seconds: Some(wall),
            cpu_user_seconds: Some(cpu * 0.95),
            cpu_system_seconds: Some(cpu * 0.05),
            cpu_seconds: Some(cpu),
            run_queue_seconds: Some(run_queue),
            gil_wait_seconds: None,
            starved_seconds: Some((wall - cpu - waited - run_queue).max(0.0)),
            unknown_seconds: Some(0.0),
            wait_seconds: Some(waits),
        },
        cpu_wall_ratio: Some(cpu / wall),
        score: Some(score),
        score_interval: Some([score - 0.01, (score + 0.01).min(1.0)]),
        class,
        context_switches: Switches {
            voluntary: Some(switches.0),
            involuntary: Some(switches.1),
            voluntary_per_second: Some(switches.0 as f64 / wall),
            involuntary_per_second: Some(switches.1 as f64 / wall),
        },
        gil: None,
        memory: Memory::default(),
        io: Io::default(),
        ipc: None,
        demand: None,
        evidence: None,
        phases: Vec::new(),
        predictions: Vec::new(),
        rule: None,
        recommendation: None,
        warnings: Vec::new(),
        verdict: Verdict::NotJudged,
        verdict_reason: None,
        misrouting_cost: None,
    }
}

fn prediction(executor: Executor, workers: u32, speedup: f64, limited_by: Bottleneck) -> Prediction {
    let interval = [speedup * 0.94, speedup * 1.06];
    Prediction { executor, workers, speedup, interval, most_of_recommended: None, limited_by }
}

fn advice(executor: Executor, workers: u32, speedup: f64, reasons: &[(&str, &str)]) -> Recommendation {
    Recommendation {
        executor,
        parts: Vec::new(),
        workers: Some(workers),
        chunksize: None,
        speedup: Some(speedup),
        confidence: Confidence::High,
        reasons: reasons.iter().map(|&(code, text)| Reason { code: code.to_owned(), text: text.to_owned() }).collect(),
        arrival: None,
        engine: None,
    }
}

const NO_EXECUTOR: &str = "no executor was found or declared; `--executor` says what production uses";

fn native() -> Report {
    let waits = Waits { disk: 0.021, ..Waits::default() };
    let gzip = Stage {
        kind: StageKind::Command,
        predictions: vec![
            prediction(Executor::Serial, 1, 1.0, Bottleneck::Workers),
            prediction(Executor::Thread, 2, 1.94, Bottleneck::Cores),
            prediction(Executor::Process, 2, 1.91, Bottleneck::Cores),
        ],
        rule: Some(Rule { executor: Executor::Process }),
        recommendation: Some(advice(
            Executor::Thread,
            2,
            1.94,
            &[(
                "already-parallel",
                "the program is a process of its own already: threads that wait for it use both cores",
            )],
        )),
        verdict_reason: Some(NO_EXECUTOR.to_owned()),
        ..stage("gzip", 1.234, 1.204, waits, 0.009, (14, 148))
    };
    report(&["gzip", "-9"], 1.234, vec![gzip])
}

fn python_gil_unknown() -> Report {
    let waits = Waits { network: 2.14, sleep: 0.31, ..Waits::default() };
    let fetch = Stage {
        kind: StageKind::Command,
        language: Language::Python,
        verdict_reason: Some(NO_EXECUTOR.to_owned()),
        recommendation: Some(Recommendation {
            confidence: Confidence::Medium,
            reasons: vec![
                Reason {
                    code: "io-bound".to_owned(),
                    text: "waits 80 % of its own time, most of it for the network".to_owned(),
                },
                Reason {
                    code: "gil-unknown".to_owned(),
                    text: "how much of the CPU time holds the GIL is not known".to_owned(),
                },
            ],
            ..advice(Executor::Thread, 8, 3.4, &[])
        }),
        predictions: vec![
            prediction(Executor::Thread, 8, 3.4, Bottleneck::Gil),
            prediction(Executor::Process, 8, 3.3, Bottleneck::Cores),
            prediction(Executor::Asyncio, 64, 3.2, Bottleneck::Gil),
        ],
        ..stage("fetch.py", 3.11, 0.612, waits, 0.001, (433, 12))
    };
    let mut report = report(&["python3", "fetch.py"], 3.11, vec![fetch]);
    report.sources.notes = vec![
        "the GIL was not read: ptrace_scope is 1 and the target is not a child; fix: run it with `poolpick profile`"
            .to_owned(),
    ];
    report
}

fn shell_tree() -> Report {
    let none = Waits::default();
    let zcat = stage("zcat", 4.02, 1.31, Waits { disk: 0.08, ..none }, 0.04, (2_310, 40));
    let sort = Stage {
        recommendation: Some(advice(
            Executor::Thread,
            2,
            1.9,
            &[("already-parallel", "each run is a process of its own: a thread for each core is enough")],
        )),
        verdict_reason: Some(NO_EXECUTOR.to_owned()),
        ..stage("sort", 4.8, 3.92, Waits { disk: 0.12, ..none }, 0.21, (810, 402))
    };
    let curl = Stage {
        recommendation: Some(advice(
            Executor::Thread,
            12,
            11.2,
            &[("io-bound", "waits 97 % of its own time for the network")],
        )),
        ..stage("curl", 5.1, 0.12, Waits { network: 4.9, ..none }, 0.0, (5_120, 3))
    };
    let short = Stage {
        score: None,
        score_interval: None,
        class: Class::Unknown,
        verdict_reason: Some("it ran for 3 ms, too short to tell".to_owned()),
        ..stage("date", 0.0031, 0.0029, none, 0.0, (1, 0))
    };
    let mut report = report(&["sh", "etl.sh"], 10.2, vec![sort, zcat, curl, short]);
    report.stages[1].verdict_reason = Some("it was starved by its neighbour for 64 % of its time".to_owned());
    report.target.exit_code = Some(3);
    report.target.left_behind = 2;
    report.sources.lost_records = 1_204;
    report.sources.accounted_ratio = Some(0.981);
    report
}

fn misrouted() -> Report {
    let fetch = Stage {
        id: "function:pipeline.fetch".to_owned(),
        kind: StageKind::Function,
        language: Language::Python,
        runs_as: Some(RunsAs { executor: Executor::Process, workers: 2, workers_active: Some(1.98) }),
        tasks: Some(Tasks {
            count: 1_200,
            count_estimated: false,
            failed: 7,
            unretrieved_exceptions: 7,
            unfinished: 0,
            wall_seconds: Some(Quantiles { mean: 0.011, p50: 0.0102, p95: 0.019, p99: 0.031 }),
            queue_seconds: Some(Quantiles { mean: 3.1, p50: 3.05, p95: 5.9, p99: 6.2 }),
            queue_depth: Some(Depth { p95: 1_100.0, max: 1_198 }),
            sampled: Vec::new(),
        }),
        gil: Some(Gil {
            share_of_cpu: 0.91,
            interval: [0.88, 0.94],
            released_run_seconds: Some(81e-6),
            shortest_released_run_seconds: None,
            samples: 940,
        }),
        ipc: Some(Ipc {
            argument_bytes: Some(96),
            result_bytes: Some(41_200),
            seconds_per_task: Some(180e-6),
            share_of_latency: Some(0.016),
            limit: 0.15,
            source: IpcSource::Measured,
            picklable: Some(true),
            readings: Some(7),
            error_ratio: Some(0.25),
        }),
        predictions: vec![
            prediction(Executor::Thread, 16, 6.2, Bottleneck::Gil),
            prediction(Executor::Asyncio, 64, 5.9, Bottleneck::Gil),
            prediction(Executor::Process, 2, 2.0, Bottleneck::Memory),
        ],
        rule: Some(Rule { executor: Executor::Thread }),
        recommendation: Some(advice(
            Executor::Thread,
            16,
            6.2,
            &[
                ("io-bound", "waits 89 % of its own time for the network: 16 threads can wait at once"),
                ("memory-limited", "more than 2 processes do not fit: each takes 1.4 GiB of 3 GiB"),
            ],
        )),
        verdict: Verdict::Misrouted,
        misrouting_cost: Some(3.1),
        ..stage("pipeline.fetch", 6.4, 1.31, Waits { network: 10.6, sleep: 0.02, ..Waits::default() }, 0.3, (9_700, 88))
    };
    let load = Stage {
        id: "function:pipeline.load_and_index".to_owned(),
        kind: StageKind::Function,
        language: Language::Python,
        runs_as: Some(RunsAs { executor: Executor::Thread, workers: 4, workers_active: Some(3.1) }),
        phases: vec![
            Phase { start_seconds: 6.4, end_seconds: 10.4, score: 0.04, class: Class::IoBound },
            Phase { start_seconds: 10.4, end_seconds: 15.3, score: 0.97, class: Class::CpuBound },
        ],
        recommendation: Some(Recommendation {
            executor: Executor::Split,
            parts: vec![
                Part { start_seconds: 6.4, end_seconds: 10.4, executor: Executor::Thread },
                Part { start_seconds: 10.4, end_seconds: 15.3, executor: Executor::Process },
            ],
            workers: None,
            confidence: Confidence::Medium,
            ..advice(
                Executor::Split,
                0,
                2.6,
                &[("mixed-phases", "waits for 4.0 s first, then computes for 4.9 s: the two need different executors")],
            )
        }),
        verdict: Verdict::Undecided,
        verdict_reason: Some("the intervals overlap; about 20 s more would decide it".to_owned()),
        misrouting_cost: Some(1.4),
        ..stage("pipeline.load_and_index", 8.9, 4.8, Waits { disk: 3.9, ..Waits::default() }, 0.1, (1_880, 610))
    };
    let write = Stage {
        kind: StageKind::Function,
        language: Language::Python,
        runs_as: Some(RunsAs { executor: Executor::Serial, workers: 1, workers_active: Some(1.0) }),
        recommendation: Some(advice(
            Executor::Serial,
            1,
            1.0,
            &[("ipc-too-expensive", "moving 4.0 MiB a task costs 10 × the work")],
        )),
        verdict: Verdict::Fits,
        misrouting_cost: Some(1.0),
        ..stage("pipeline.write", 0.9, 0.86, Waits { disk: 0.03, ..Waits::default() }, 0.0, (61, 9))
    };
    let mut report = report(&["python3", "pipeline.py"], 16.4, vec![fetch, load, write]);
    report.stages[0].time.thread_seconds = Some(12.8);
    report.stages[0].time.gil_wait_seconds = Some(0.0);
    report.stages[1].time.gil_wait_seconds = Some(0.65);
    report.sources.python = Python::Agent;
    report
}

fn rusage() -> Report {
    let nothing = Stage {
        kind: StageKind::Command,
        time: StageTime {
            wall_seconds: None,
            thread_seconds: None,
            cpu_user_seconds: None,
            cpu_system_seconds: None,
            cpu_seconds: None,
            run_queue_seconds: None,
            gil_wait_seconds: None,
            starved_seconds: None,
            unknown_seconds: None,
            wait_seconds: None,
        },
        cpu_wall_ratio: None,
        score: None,
        score_interval: None,
        class: Class::Unknown,
        context_switches: Switches::default(),
        verdict_reason: Some("neither context switches nor schedstat could be read".to_owned()),
        ..stage("stage", 1.0, 0.0, Waits::default(), 0.0, (0, 0))
    };
    let mut report = report(&["./stage"], 2.0, vec![nothing]);
    report.host = Host {
        kernel: None,
        logical_cores: None,
        physical_cores: None,
        usable_cores: None,
        memory_limit_bytes: None,
        steal_ratio: None,
    };
    report.target.exit_code = None;
    report.target.signal = Some(9);
    report.totals = Totals {
        cpu_user_seconds: None,
        cpu_system_seconds: None,
        cpu_unwaited_seconds: None,
        cpu_wall_ratio: None,
        voluntary_switches: None,
        involuntary_switches: None,
        peak_rss_bytes: None,
        processes: None,
        threads: None,
        instructions: None,
        cycles: None,
    };
    report.sources.scheduler = Scheduler::Rusage;
    report.sources.accounted_ratio = None;
    report.sources.notes = vec![
        "no context-switch records: perf_event_paranoid is 4; fix: `sysctl kernel.perf_event_paranoid=2`".to_owned(),
        "no schedstat: /proc is not mounted".to_owned(),
    ];
    report
}

fn hostile() -> Report {
    let names = [
        "\x1b]0;owned\x07\x1b[2Jrm -rf",
        "a | b `c` <img src=x onerror=alert(1)> @org/team #1",
        "evil\u{202e}yp.exe\u{200b}\nsecond line\r\t",
        "a.very.long.package.path.that.goes.on.and.on.and.on.with.no.end.in.sight.until.the.function",
        "数据管道.抓取",
        "",
    ];
    let stages = names.iter().map(|name| {
        let reasons = [("**io**-bound|", "see [here](javascript:x) https://x.y")];
        let advised = (!name.is_empty()).then(|| advice(Executor::Thread, 4, 2.0, &reasons));
        Stage {
            recommendation: advised,
            verdict_reason: Some("\x1b[31mred\n# title".to_owned()),
            ..stage(name, 2.0, 0.4, Waits { network: 1.6, ..Waits::default() }, 0.0, (100, 1))
        }
    });
    let mut report = report(&["./x\x1b[1A", "$(id)\n"], 12.0, stages.collect());
    report.target.argv_redacted = false;
    report.sources.notes = vec!["\x07bell </details> |".to_owned()];
    report
}
