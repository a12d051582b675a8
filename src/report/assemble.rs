//! From what was measured and judged to the machine form. Copies and converts; computes nothing but sums and ratios.

use super::kept::*;
use super::types::{self, *};
use super::{judged, saved, wording};
use crate::stages::{Durations, Folded, GilEvidence, Kind as StageOf, SeenTask, SeenTasks, Stage as Measured};
use crate::trace::{Footer, Header, Rung};
use crate::units::{Span, ratio};
use crate::verdict::{self, Judgement, Payload, Terms, diagnose};

/// A stage with all that is said of it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// What was measured.
    pub stage: &'a Measured,
    /// What is said of it.
    pub judgement: &'a Judgement,
    /// The payload of one task, where something is known of it.
    pub payload: Option<&'a Payload>,
    /// What it was judged by.
    pub evidence: &'a verdict::Evidence,
}

/// Everything that a report is made of.
#[derive(Debug, Clone)]
pub struct Assembly<'a> {
    /// What was known before the run.
    pub header: &'a Header,
    /// What was known after it.
    pub footer: &'a Footer,
    /// Wall time, stopped time left out.
    pub wall: Span,
    /// Stopped time.
    pub stopped: Span,
    /// On-CPU seconds that the instruments saw.
    pub seen_cpu_seconds: f64,
    /// Processes and threads seen; `None` where no instrument counts them.
    pub seen: Option<(u64, u64)>,
    /// Most resident memory of the tree at one reading.
    pub peak_tree_rss_bytes: Option<u64>,
    /// Whether switch records ended before the run did.
    pub records_ended_early: bool,
    /// The stages.
    pub stages: Vec<Judged<'a>>,
    /// What was left out of them.
    pub folded: &'a [Folded],
    /// CPU that nothing but the kernel's total tells of.
    pub unseen_cpu_seconds: Option<f64>,
    /// What all stages were judged by.
    pub terms: &'a Terms,
    /// What was asked beyond the run itself.
    pub asked: Option<Asked>,
    /// What moving a payload costs.
    pub payload_price: Option<PayloadPrice>,
    /// How many words of the command are shown: the rest may hold secrets.
    pub shown_arguments: usize,
    /// Runs that it is of.
    pub runs: u32,
    /// What told about Python interpreters.
    pub python: Python,
    /// Further notes.
    pub notes: Vec<String>,
}

/// Records that exceed the kernel's total by more than this, and this share of it, tell of children that nobody waited for.
const FORGOTTEN_SECONDS: f64 = 0.05;
const FORGOTTEN_SHARE: f64 = 0.1;

fn is_beyond(seen: f64, total: f64) -> bool {
    seen > total + FORGOTTEN_SECONDS + FORGOTTEN_SHARE * total
}

/// Builds the report.
pub fn assemble(assembly: &Assembly<'_>) -> Report {
    let Assembly { header, footer, .. } = assembly;
    let shown = assembly.shown_arguments.min(header.argv.len());
    Report {
        schema_version: SCHEMA_VERSION.to_owned(),
        kind: types::Kind::Profile,
        poolpick: Tool { version: header.version.clone() },
        host: Host {
            kernel: Some(footer.host.kernel.clone()).filter(|kernel| !kernel.is_empty()),
            logical_cores: footer.host.logical_cores,
            physical_cores: footer.host.physical_cores,
            usable_cores: footer.host.usable_cores,
            memory_limit_bytes: footer.host.memory_limit_bytes,
            steal_ratio: footer.host.steal_ratio,
        },
        target: Target {
            argv: header.argv[..shown].to_vec(),
            argv_redacted: shown < header.argv.len(),
            exit_code: footer.exit_code,
            signal: footer.signal,
            timed_out: footer.timed_out,
            wall_seconds: assembly.wall.secs_f64(),
            stopped_seconds: assembly.stopped.secs_f64(),
            started_at: header.started_at.clone(),
            left_behind: footer.left_behind,
            runs: assembly.runs,
        },
        sources: sources(assembly),
        totals: totals(assembly),
        thresholds: judged::thresholds(assembly.terms),
        asked: assembly.asked.clone(),
        costs: assembly.terms.costs.as_ref().map(saved::costs),
        payload_price: assembly.payload_price,
        stages: assembly.stages.iter().map(|judged| stage(judged, assembly)).collect(),
    }
}

fn sources(assembly: &Assembly<'_>) -> Sources {
    let footer = assembly.footer;
    let coverage = &footer.coverage;
    let asked = assembly.asked.as_ref().and_then(|asked| wording::asked(asked, assembly.terms.capacity.measured_on));
    let mut notes: Vec<String> = asked.into_iter().collect();
    notes.extend(coverage.refusals.iter().map(|refusal| wording::refusal(refusal, coverage.scheduler)));
    notes.extend(unread_locks(assembly));
    notes.extend(wording::folded(assembly.folded));
    notes.extend(assembly.unseen_cpu_seconds.and_then(|seconds| wording::unseen(seconds, coverage.scheduler)));
    notes.extend(assembly.notes.iter().cloned());
    let total = footer.rusage.map(|rusage| rusage.cpu().secs_f64());
    let waited = total.map(|total| total + footer.orphans.map_or(0.0, |orphans| orphans.cpu().secs_f64()));
    // What nobody waited for is in no total to account against.
    let waited = waited.filter(|&total| !is_beyond(assembly.seen_cpu_seconds, total));
    let whole = coverage.scheduler == Rung::Perf && !assembly.records_ended_early && footer.left_behind == 0;
    Sources {
        scheduler: match coverage.scheduler {
            Rung::Perf => Scheduler::Perf,
            Rung::Schedstat => Scheduler::Schedstat,
            Rung::Rusage => Scheduler::Rusage,
        },
        python: assembly.python,
        lost_records: coverage.lost_records,
        overhead_cpu_seconds: footer.overhead_cpu_seconds,
        accounted_ratio: waited.filter(|_| whole).and_then(|total| ratio(assembly.seen_cpu_seconds, total)),
        notes,
    }
}

fn totals(assembly: &Assembly<'_>) -> Totals {
    let footer = assembly.footer;
    let usage = footer.rusage;
    let total = usage.map(|usage| usage.cpu().secs_f64());
    // rusage's peak starts at the size of poolpick itself when it forked: below that it tells nothing.
    let kernel_peak = usage.map(|usage| usage.peak_rss_bytes).filter(|&peak| peak > footer.fork_rss_bytes);
    let orphans = footer.orphans.map(|orphans| orphans.cpu().secs_f64());
    let unwaited = match (footer.coverage.scheduler, total) {
        // Whatever the records saw beyond what `wait4` counted: daemons, living and dead.
        (Rung::Perf, Some(total)) if footer.left_behind > 0 || orphans.is_some() => {
            Some((assembly.seen_cpu_seconds - total).max(orphans.unwrap_or(0.0)))
        }
        // Whose parent ignores SIGCHLD is never waited for, and the kernel forgets what it used.
        (Rung::Perf, Some(total)) if is_beyond(assembly.seen_cpu_seconds, total) => {
            Some(assembly.seen_cpu_seconds - total)
        }
        _ => orphans.or((footer.left_behind == 0).then_some(0.0)),
    };
    Totals {
        cpu_user_seconds: usage.map(|usage| usage.cpu_user.secs_f64()),
        cpu_system_seconds: usage.map(|usage| usage.cpu_system.secs_f64()),
        cpu_unwaited_seconds: unwaited,
        cpu_wall_ratio: total.and_then(|total| ratio(total, assembly.wall.secs_f64())),
        voluntary_switches: usage.map(|usage| usage.voluntary),
        involuntary_switches: usage.map(|usage| usage.involuntary),
        peak_rss_bytes: assembly
            .peak_tree_rss_bytes
            .max(kernel_peak)
            .max(assembly.stages.iter().filter_map(|judged| judged.stage.memory.peak_one_bytes).max()),
        processes: assembly.seen.map(|seen| seen.0),
        threads: assembly.seen.map(|seen| seen.1),
        instructions: footer.counters.instructions,
        cycles: footer.counters.cycles,
    }
}

fn stage(judged: &Judged<'_>, assembly: &Assembly<'_>) -> Stage {
    let Judged { stage, judgement, payload, evidence } = *judged;
    let demand = &stage.whole_demand();
    let wall = stage.wall.secs_f64();
    let rung = assembly.footer.coverage.scheduler;
    let per_second = |count: Option<u64>| count.and_then(|count| ratio(count as f64, wall));
    let totals_only = rung == Rung::Rusage;
    let (user, system) = match (stage.kind, assembly.footer.rusage) {
        (StageOf::Command, Some(usage)) => (Some(usage.cpu_user.secs_f64()), Some(usage.cpu_system.secs_f64())),
        _ => stage.cpu_split.map_or((None, None), |(user, system)| (Some(user), Some(system))),
    };
    let (voluntary, involuntary) = match (stage.voluntary, stage.kind, assembly.footer.rusage) {
        (None, StageOf::Command, Some(usage)) => (Some(usage.voluntary), Some(usage.involuntary)),
        _ => (stage.voluntary, stage.involuntary),
    };
    let mut assembled = Stage {
        id: stage.id.clone(),
        name: stage.name.clone(),
        kind: match stage.kind {
            StageOf::Command => StageKind::Command,
            StageOf::Process => StageKind::Process,
            StageOf::Function => StageKind::Function,
            StageOf::Coroutine => StageKind::Coroutine,
            StageOf::Mark => StageKind::Mark,
        },
        language: if stage.is_python { Language::Python } else { Language::Other },
        runs_as: judgement.found.map(|found| RunsAs {
            executor: judged::executor(found),
            workers: stage.workers,
            workers_active: stage.workers_active(),
        }),
        declared_executor: None,
        tasks: stage.tasks.as_deref().and_then(tasks),
        time: StageTime {
            wall_seconds: Some(wall),
            thread_seconds: (!totals_only).then(|| demand.thread_seconds()),
            cpu_user_seconds: user,
            cpu_system_seconds: system,
            cpu_seconds: Some(demand.on_cpu),
            run_queue_seconds: (!totals_only).then_some(demand.run_queue),
            gil_wait_seconds: (gil_told(stage) && stage.waits_told).then_some(demand.gil_wait),
            starved_seconds: stage.waits_told.then_some(demand.starved),
            wait_seconds: stage.waits_told.then_some(Waits {
                network: demand.own.network,
                disk: demand.own.disk,
                pipe: stage.tasks.is_some().then_some(demand.own.pipe),
                lock: demand.own.lock,
                sleep: demand.own.sleep,
                child: demand.child,
                other: demand.own.other,
            }),
            unknown_seconds: (!totals_only).then_some(demand.unknown),
        },
        cpu_wall_ratio: ratio(demand.on_cpu, wall),
        score: stage.score.map(|score| score.point),
        score_interval: stage.score.map(|score| [score.low, score.high]),
        class: Class::Unknown,
        context_switches: Switches {
            voluntary,
            involuntary,
            voluntary_per_second: per_second(voluntary),
            involuntary_per_second: per_second(involuntary),
        },
        gil: gil(stage),
        memory: Memory {
            rss_start_bytes: stage.memory.start_bytes,
            rss_peak_bytes: stage.memory.peak_sum_bytes.max(stage.memory.peak_one_bytes),
            per_worker_bytes: stage.memory.peak_one_bytes,
            growth_bytes_per_second: stage.growth,
        },
        io: Io {
            read_bytes: stage.bytes.read_chars,
            written_bytes: stage.bytes.written_chars,
            storage_read_bytes: stage.bytes.disk_read,
            storage_written_bytes: stage.bytes.disk_written,
        },
        ipc: None,
        demand: evidence.task_with(payload).as_ref().map(saved::demand),
        evidence: Some(saved::evidence(evidence)),
        phases: Vec::new(),
        predictions: Vec::new(),
        rule: None,
        recommendation: None,
        warnings: diagnose(stage, assembly.footer.host.usable_cores).iter().map(judged::warning).collect(),
        verdict: Verdict::NotJudged,
        verdict_reason: None,
        misrouting_cost: None,
    };
    judged::apply(judgement, payload, evidence, assembly.terms, &mut assembled);
    assembled
}

/// Why interpreter locks were not read, where that is not told for all of the run: each reason once.
fn unread_locks(assembly: &Assembly<'_>) -> Vec<String> {
    let told: Vec<String> = assembly.footer.coverage.refusals.iter().map(|refusal| refusal.why.to_string()).collect();
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for Judged { stage, .. } in &assembly.stages {
        let GilEvidence::Unknown(Some(why)) = &stage.gil else { continue };
        match found.iter_mut().find(|(known, _)| known == why) {
            Some((_, names)) => names.push(&stage.name),
            None if told.contains(why) => {}
            None => found.push((why, vec![&stage.name])),
        }
    }
    found.iter().map(|(why, names)| wording::unread_lock(names, why)).collect()
}

/// Whether the interpreter lock was told from other locks.
fn gil_told(stage: &Measured) -> bool {
    matches!(stage.gil, GilEvidence::Measured(_) | GilEvidence::Absent)
}

fn gil(stage: &Measured) -> Option<Gil> {
    match &stage.gil {
        GilEvidence::Measured(measured) => Some(Gil {
            share_of_cpu: measured.share.point,
            interval: [measured.share.low, measured.share.high],
            released_run_seconds: measured.released_run,
            shortest_released_run_seconds: measured.shortest_run,
            samples: measured.samples,
        }),
        GilEvidence::NotPython | GilEvidence::Unknown(_) | GilEvidence::Thin(_) | GilEvidence::Absent => None,
    }
}

fn sampled(task: &SeenTask) -> SampledTask {
    SampledTask {
        start_seconds: task.began.secs_f64(),
        queue_seconds: task.queued.map(Span::secs_f64),
        wall_seconds: task.wall.secs_f64(),
        failed: task.failed,
        process_id: task.ids.pid,
        thread_id: Some(task.ids.tid).filter(|&tid| tid != 0),
    }
}

fn tasks(tasks: &SeenTasks) -> Option<Tasks> {
    let quantiles = |times: &Durations| {
        Some(Quantiles {
            mean: times.mean()?,
            p50: times.quantile(0.5)?,
            p95: times.quantile(0.95)?,
            p99: times.quantile(0.99)?,
        })
    };
    Some(Tasks {
        count: tasks.totals.count,
        count_estimated: tasks.totals.estimated,
        failed: tasks.totals.failed,
        unretrieved_exceptions: tasks.totals.unretrieved,
        unfinished: tasks.unfinished().0,
        wall_seconds: quantiles(&tasks.wall),
        queue_seconds: quantiles(&tasks.queued),
        queue_depth: tasks
            .queue_depth(0.95)
            .map(|p95| Depth { p95: p95 as f64, max: tasks.totals.queue_most.max(p95) }),
        sampled: tasks.sample.tasks().iter().map(sampled).collect(),
    })
}
