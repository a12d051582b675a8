//! From a timeline to stages: each program under one parent is one, workers of one pool are one together.

use super::fold::{folded, own_demand};
use super::function::{Places, task_stages};
use super::gil::{gil_of, held_while_waiting};
use super::phases::{Phase, agreeing, phases_of};
use super::score::{pairs_of, score_of};
use super::{Folded, Kind, OUTSIDE, Stage, Stages};
use crate::timeline::{Demand, Program, Records, TaskNote, Timeline};
use crate::trace::{Rung, Rusage};
use crate::units::{Estimate, Span, ratio};
use std::collections::HashMap;

/// Part of a stage's life that memory growth is taken from: the start fills caches and is no growth.
const GROWTH_FROM: f64 = 0.25;
/// Between two readings CPU and wait are laid evenly, so bins shorter than this many rounds are copies of each other.
const ROUNDS_JOINED: f64 = 3.0;
/// But a short run keeps this many pieces: fewer tell nothing of its variation.
const FEWEST_JOINED: usize = 4;
/// Processes of one program that live at once on average, from which on it is a pool.
const POOL_CONCURRENCY: f64 = 1.2;
/// Where nothing saw this share of all CPU time, what was seen does not stand for it.
const MISSED_MUCH: f64 = 0.2;
/// Without records, a program's processes must have been read so often each for their overlap to be known.
const POOL_READINGS: u64 = 3;
/// Waits are told apart where at most this share of all thread time is blocked on nothing that was ever seen.
pub const TOLD_SHARE: f64 = 0.05;
/// Where fewer voluntary switches a second come from a whole tree, no thread of it waits for anything beside another.
const ALONE_SWITCHES: f64 = 20.0;
/// Fewest readings that make a slope.
const GROWTH_READINGS: usize = 8;

/// The kernel's word on the whole run.
#[derive(Debug, Clone, Copy)]
pub struct Totals {
    /// The rung that told who ran when.
    pub rung: Rung,
    /// What `wait4` said, orphans included.
    pub rusage: Option<Rusage>,
    /// Whether it holds everything that ran: nothing was left behind.
    pub whole: bool,
}

/// The stages of a timeline.
pub fn segment(timeline: &Timeline, totals: &Totals) -> Stages {
    let mut places = Places::of(timeline);
    // Where nothing tells what a thread did, nothing tells what its tasks did.
    let blind = totals.rung == Rung::Rusage;
    if blind {
        places.has_stages.fill(false);
    }
    let sampled = timeline.records != Records::Whole;
    let (inside, shrink) =
        if blind { (Vec::new(), vec![1.0; timeline.programs.len()]) } else { task_stages(timeline, &places, sampled) };
    let away = folded(timeline, &places);
    let mut kept: Vec<&Program> = Vec::new();
    let mut left_out: Vec<Folded> = Vec::new();
    for (index, (program, away)) in timeline.programs.iter().zip(&away).enumerate() {
        if program.tasks.is_some() || places.absorbed_by[index].is_some() {
            continue;
        }
        if !away {
            kept.push(program);
        } else if program.processes > 0 {
            left_out.push(Folded {
                name: program.image.name(),
                processes: program.processes - program.replaced,
                cpu_seconds: program.demand.on_cpu * shrink[index],
                has_stages: places.has_stages[places.owner[index]],
            });
        }
    }
    let seen = timeline.on_cpu();
    let total = totals.rusage.map(|rusage| rusage.cpu().secs_f64());
    kept.sort_by(|one, other| {
        own_demand(other).total_cmp(&own_demand(one)).then_with(|| one.image.name().cmp(&other.image.name()))
    });
    let kind = if kept.len() == 1 && inside.is_empty() { Kind::Command } else { Kind::Process };
    let mut stages: Vec<Stage> = kept.iter().map(|program| stage_of(program, timeline, kind, sampled)).collect();
    for (stage, program) in stages.iter_mut().zip(&kept) {
        let Some(index) = timeline.programs.iter().position(|other| std::ptr::eq(other, *program)) else { continue };
        stage.outside_stages = places.has_stages[places.owner[index]];
        stage.demand.on_cpu *= shrink[index];
    }
    if let Some(total) =
        total.filter(|_| totals.whole && timeline.records == Records::Whole && timeline.lost_records == 0)
    {
        take_back(&mut stages, seen - total);
        add_exits(&mut stages, &mut left_out, &kept, total - seen, timeline.wall());
    }
    name_apart(&mut stages, &kept, timeline);
    name_inside(&inside, &mut stages);
    for (stage, program) in stages.iter_mut().zip(&kept) {
        stage.feeds_pool = kept.iter().any(|other| {
            (other.image.forked || other.image.is_spawned_worker())
                && is_pool(other, timeline, sampled)
                && descends(other, program, timeline)
                && own_demand(other) > own_demand(program)
        });
    }
    for stage in stages.iter_mut().filter(|stage| stage.outside_stages) {
        stage.name = format!("{}{OUTSIDE}", stage.name);
    }
    if let [only] = stages.as_mut_slice()
        && left_out.is_empty()
        && only.tasks.is_none()
    {
        only.wall = timeline.wall();
    }
    let mut unseen = total.map(|total| (total - seen).max(0.0));
    if let ([only], Some(total)) = (stages.as_mut_slice(), total)
        && left_out.is_empty()
        && sampled
        && only.tasks.is_none()
    {
        only.voluntary = only.voluntary.or(totals.rusage.map(|rusage| rusage.voluntary));
        complete(only, timeline, totals.rung, total);
        unseen = Some(0.0);
    }
    if let Some(share) = unseen.zip(total).and_then(|(unseen, total)| ratio(unseen, total)).filter(|_| sampled) {
        stages.iter_mut().filter(|stage| stage.tasks.is_none()).for_each(|stage| doubt(stage, share));
    }
    let weight = |stage: &Stage| stage.demand.on_cpu + stage.demand.own.sum();
    stages.sort_by(|one, other| weight(other).total_cmp(&weight(one)).then_with(|| one.id.cmp(&other.id)));
    Stages { stages, folded: left_out, unseen_cpu_seconds: unseen }
}

/// Where readings missed much of the CPU time, what they saw of a stage may be unlike the rest of it.
fn doubt(stage: &mut Stage, unseen: f64) {
    stage.score = doubted(stage.score, unseen);
}

fn doubted(score: Option<Estimate>, unseen: f64) -> Option<Estimate> {
    let score = score?;
    if unseen < MISSED_MUCH {
        return Some(score);
    }
    Some(Estimate::new(score.low * (1.0 - unseen), score.point, score.high + (1.0 - score.high) * unseen))
}

/// Adds the stages inside programs; where two share a name, the executor tells them apart.
fn name_inside(inside: &[Stage], stages: &mut Vec<Stage>) {
    let mut used: HashMap<String, usize> = HashMap::new();
    for stage in inside {
        let mut stage = stage.clone();
        let shared = inside.iter().filter(|other| other.name == stage.name).count() > 1;
        let under = stage.tasks.as_ref().map_or("", |tasks| tasks.executor.word());
        let prefix = match stage.kind {
            Kind::Coroutine => "coroutine",
            Kind::Mark => "mark",
            _ => "function",
        };
        stage.id = format!("{prefix}:{}:{under}", stage.name);
        if shared && !under.is_empty() {
            stage.name = format!("{} ({under})", stage.name);
        }
        let number = used.entry(stage.id.clone()).or_default();
        *number += 1;
        if *number > 1 {
            stage.id = format!("{} #{number}", stage.id);
            stage.name = format!("{} #{number}", stage.name);
        }
        stages.push(stage);
    }
}

fn stage_of(program: &Program, timeline: &Timeline, kind: Kind, sampled: bool) -> Stage {
    let pieces = pieces(program, sampled);
    let first = program.first.max(timeline.start);
    let last = program.last.min(timeline.end);
    let demand = program.demand;
    let name = program.image.name();
    let origin = program.series.origin();
    let score = ratio(demand.on_cpu, demand.on_cpu + demand.own.sum());
    let phases = agreeing(phases_of(&pieces.pairs, pieces.width, origin, first, last), score);
    let wall = program.present - timeline.stopped.min(program.present);
    Stage {
        id: name.clone(),
        name,
        kind,
        exe: program.exe.clone(),
        is_python: program.image.is_python(),
        is_pool: is_pool(program, timeline, sampled),
        feeds_pool: false,
        demand,
        waits_told: demand.assumed_own <= TOLD_SHARE * demand.thread_seconds(),
        score: doubted(
            score_of(&demand, &strata(&pieces, &phases), program.threads, sampled),
            ratio(program.unread_cpu, demand.on_cpu).unwrap_or(0.0),
        ),
        wall,
        lives: program.process_life,
        processes: program.processes,
        threads: program.threads,
        workers: program.peak_processes.max(1),
        active_threads: active_threads(program, &demand, wall, sampled),
        parallelism: ratio(demand.on_cpu + demand.run_queue, program.busy_wall.secs_f64()),
        voluntary: program.voluntary,
        involuntary: program.involuntary,
        cpu_split: program.cpu_split.and_then(|(user, system)| {
            // Clock ticks give the proportion, the scheduler the sum.
            let share = ratio(user.secs_f64(), (user + system).secs_f64())?;
            Some((demand.on_cpu * share, demand.on_cpu * (1.0 - share)))
        }),
        memory: program.memory,
        growth: growth(program),
        descriptors: program.descriptors,
        unreaped: program.unreaped,
        memory_kills: if program.notes.iter().any(is_sigkill) { timeline.memory_kills } else { 0 },
        bytes: program.bytes,
        phases,
        gil: gil_of(program, program, sampled),
        held_waiting: held_while_waiting(program, sampled),
        loop_waiting: 0.0,
        alone: None,
        threads_a_task: None,
        tasks: None,
        children_cpu: 0.0,
        first_calls: None,
        joins_open: false,
        active: None,
        outside_stages: false,
        notes: program.notes.clone(),
    }
}

/// Whether an agent told of a worker that was killed by the signal that the kernel uses for want of memory.
fn is_sigkill(note: &TaskNote) -> bool {
    note.code == "worker-killed" && note.detail.contains("signal 9")
}

/// Whether it is the workers of a pool: several of its processes lived at once for much of the time (the middle one of a
/// double fork is no pool). What a shell starts side by side is a pipeline or a list of jobs, not a pool; and without
/// records nobody knows whether programs that ended between two readings overlapped.
fn is_pool(program: &Program, timeline: &Timeline, sampled: bool) -> bool {
    let is_worker = program.image.forked || program.image.is_spawned_worker();
    let parent = program.parent.and_then(|parent| timeline.programs.get(parent.0));
    if !is_worker && parent.is_none_or(|parent| parent.image.is_shell()) {
        return false;
    }
    if !is_worker && sampled && program.readings < POOL_READINGS * program.processes {
        return false;
    }
    program.peak_processes > 1
        && ratio(program.process_life.secs_f64(), program.present.secs_f64())
            .is_some_and(|mean| mean > POOL_CONCURRENCY)
}

/// Whether one program was started, over whatever generations, by another.
fn descends(program: &Program, ancestor: &Program, timeline: &Timeline) -> bool {
    let mut parent = program.parent;
    for _ in 0..timeline.programs.len() {
        let Some(found) = parent.and_then(|parent| timeline.programs.get(parent.0)) else { return false };
        if std::ptr::eq(found, ancestor) {
            return true;
        }
        parent = found.parent;
    }
    false
}

/// Where the cost of switches was extrapolated beyond the kernel's total, the excess is taken back.
fn take_back(stages: &mut [Stage], excess: f64) {
    let extrapolated: f64 = stages.iter().map(|stage| stage.demand.extrapolated_cost).sum();
    let Some(share) = ratio(excess.max(0.0), extrapolated) else { return };
    for stage in stages {
        let back = stage.demand.extrapolated_cost * share.min(1.0);
        stage.demand.on_cpu -= back;
        stage.demand.unknown += back;
    }
}

/// A program's demand in bins of `width` seconds.
struct Pieces {
    pairs: Vec<(f64, f64)>,
    width: Span,
}

/// The program's demand over time, in bins no shorter than its evidence: between two readings CPU and wait are laid
/// evenly, so bins shorter than a few rounds are copies of each other.
fn pieces(program: &Program, sampled: bool) -> Pieces {
    let (pairs, width) = (pairs_of(program), program.series.width());
    let gap = ratio(program.demand.thread_seconds(), program.readings as f64).filter(|_| sampled).unwrap_or(0.0);
    let wanted = (ROUNDS_JOINED * gap / width.secs_f64()).ceil() as usize;
    let joined = wanted.min(pairs.len() / FEWEST_JOINED).max(1);
    let sum = |bins: &[(f64, f64)]| bins.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
    Pieces { pairs: pairs.chunks(joined).map(sum).collect(), width: Span(width.0 * joined as u64) }
}

/// The series cut where its level changes: a run that fetches and then computes does so every time, so the change is no
/// variation that its interval should hold.
fn strata(pieces: &Pieces, phases: &[Phase]) -> Vec<Vec<(f64, f64)>> {
    const FEWEST: usize = 3;
    const DISTINCT: f64 = 0.25;
    const SUBSTANTIAL: f64 = 0.1;
    let total: f64 = phases.iter().map(|phase| phase.demand).sum();
    let distinct = phases.windows(2).any(|pair| {
        (pair[0].score - pair[1].score).abs() > DISTINCT && pair.iter().all(|phase| phase.demand > SUBSTANTIAL * total)
    });
    let whole = vec![pieces.pairs.clone()];
    if !distinct {
        return whole;
    }
    let mut rest = pieces.pairs.as_slice();
    let mut strata = Vec::new();
    let mut taken = 0;
    for phase in &phases[..phases.len() - 1] {
        let end = (phase.end / pieces.width.secs_f64()).round() as usize;
        let end = end.clamp(taken, pieces.pairs.len());
        let (stratum, later) = rest.split_at(end - taken);
        strata.push(stratum.to_vec());
        rest = later;
        taken = end;
    }
    strata.push(rest.to_vec());
    if strata.iter().any(|stratum| stratum.len() < FEWEST) { whole } else { strata }
}

/// A process's records end before the kernel takes its memory down, and that too is CPU time of the process. What the
/// kernel's total holds beyond the records is this; it goes to the programs by how many of their processes ended and how
/// large those were.
fn add_exits(stages: &mut [Stage], left_out: &mut [Folded], kept: &[&Program], missing: f64, longest: Span) {
    const SMALLEST: f64 = (1u64 << 20) as f64;
    let weight = |program: &Program| {
        program.processes as f64 * program.memory.peak_one_bytes.map_or(SMALLEST, |bytes| (bytes as f64).max(SMALLEST))
    };
    let small: f64 = left_out.iter().map(|folded| folded.processes as f64 * SMALLEST).sum();
    let all: f64 = kept.iter().map(|program| weight(program)).sum::<f64>() + small;
    let seen: f64 = stages.iter().map(|stage| stage.demand.on_cpu).sum();
    if missing <= 0.0 || all <= 0.0 || missing > seen {
        return;
    }
    for (stage, program) in stages.iter_mut().zip(kept) {
        let exits = missing * weight(program) / all;
        stage.demand.on_cpu += exits;
        // They take their time, and overlap with each other as much as the lives before them did.
        let alone = ratio(stage.wall.secs_f64(), stage.lives.secs_f64()).unwrap_or(0.0).min(1.0);
        stage.wall = (stage.wall + Span::from_secs_f64(exits * alone)).min(longest);
        stage.lives += Span::from_secs_f64(exits);
    }
    for folded in left_out {
        folded.cpu_seconds += missing * folded.processes as f64 * SMALLEST / all;
    }
}

/// Ids stay the same from run to run: the name, and where two share one, their parents' names or a number.
fn name_apart(stages: &mut [Stage], programs: &[&Program], timeline: &Timeline) {
    let mut count: HashMap<String, usize> = HashMap::new();
    for stage in stages.iter() {
        *count.entry(stage.name.clone()).or_default() += 1;
    }
    let mut used: HashMap<String, usize> = HashMap::new();
    for (stage, program) in stages.iter_mut().zip(programs) {
        if count[&stage.name] > 1
            && let Some(parent) = program.parent
        {
            stage.name = format!("{} (under {})", stage.name, timeline.programs[parent.0].image.name());
        }
        let number = used.entry(stage.name.clone()).or_default();
        *number += 1;
        if *number > 1 {
            stage.name = format!("{} #{number}", stage.name);
        }
        let prefix = if stage.kind == Kind::Command { "command" } else { "process" };
        stage.id = format!("{prefix}:{}", stage.name);
    }
}

/// Slope of resident memory over the later part of the program's life, bytes a second, by least squares.
pub fn growth(program: &Program) -> Option<f64> {
    let width = program.series.width().secs_f64();
    let readings: Vec<(f64, f64)> = program
        .series
        .bins()
        .iter()
        .enumerate()
        .filter_map(|(index, bin)| Some((index as f64 * width, bin.rss_bytes()? as f64)))
        .collect();
    let (first, last) = (readings.first()?.0, readings.last()?.0);
    let from = first + GROWTH_FROM * (last - first);
    let later: Vec<(f64, f64)> = readings.into_iter().filter(|reading| reading.0 >= from).collect();
    if later.len() < GROWTH_READINGS {
        return None;
    }
    let count = later.len() as f64;
    let (mean_x, mean_y) = (
        later.iter().map(|point| point.0).sum::<f64>() / count,
        later.iter().map(|point| point.1).sum::<f64>() / count,
    );
    let covariance: f64 = later.iter().map(|point| (point.0 - mean_x) * (point.1 - mean_y)).sum();
    let variance: f64 = later.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    ratio(covariance, variance)
}

/// Without records, a run of one program takes its CPU from the kernel's total: readings miss the last moments.
fn complete(stage: &mut Stage, timeline: &Timeline, rung: Rung, cpu_seconds: f64) {
    let wall = timeline.wall().secs_f64();
    stage.wall = timeline.wall();
    if rung != Rung::Rusage {
        let missing = (cpu_seconds - stage.demand.on_cpu).max(0.0);
        stage.demand.on_cpu += missing;
        stage.demand.unknown = (stage.demand.unknown - missing).max(0.0);
        return;
    }
    // Totals alone: what was not CPU was wait or run queue, and nothing but the host's idleness tells which.
    let off = (wall - cpu_seconds).max(0.0);
    let (idle, throttled) = timeline.host_idle.unwrap_or((0.0, None));
    let throttled = throttled.map_or(0.0, Span::secs_f64).min(off);
    stage.demand = crate::timeline::Demand { on_cpu: cpu_seconds, ..Default::default() };
    stage.demand.run_queue = throttled;
    stage.demand.own.other = off - throttled;
    stage.waits_told = false;
    let own = stage.demand.own.sum();
    let Some(point) = ratio(cpu_seconds, cpu_seconds + own) else {
        stage.score = None;
        return;
    };
    // An idle CPU is an empty run queue: at most the busy share of the host can have been queueing.
    let queueing = own * (1.0 - idle).clamp(0.0, 1.0);
    let others_busy = idle < 0.1;
    let high = if others_busy { 1.0 } else { ratio(cpu_seconds, cpu_seconds + own - queueing).unwrap_or(1.0) };
    // Threads that nobody counted may have waited beside: then their waits are more than wall time shows.
    let switches = stage.voluntary.unwrap_or(u64::MAX) as f64;
    let low = if switches < ALONE_SWITCHES * wall { point - 0.02 } else { 0.0 };
    stage.score = Some(Estimate::new(low, point, high.max(point + 0.02)).clamped(0.0, 1.0));
}

/// From so many CPUs that are had or wanted on average, more than one thread wanted one at once.
const SEVERAL: f64 = 1.25;

/// Most threads of one process that had or wanted a CPU at once. Without records nobody sees that, but what threads had and
/// queued for is counted: one alone has or wants no more than one CPU.
fn active_threads(program: &Program, demand: &Demand, wall: Span, sampled: bool) -> u32 {
    let seen = program.peak_active_threads.max(1);
    let wanted = ratio(demand.on_cpu + demand.run_queue, wall.secs_f64()).unwrap_or(0.0);
    let several = sampled && program.peak_processes <= 1 && wanted >= SEVERAL;
    if several { seen.max(wanted.round().max(2.0) as u32) } else { seen }
}
