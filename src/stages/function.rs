//! Stages inside programs: the tasks that agents told of, with the children that they ran. A task that runs `sha256sum`
//! is CPU-bound by it. Must not judge.

use super::gil::{gil_of, held_while_waiting};
use super::phases::{agreeing, phases_of};
use super::score::{pairs_of, score_of};
use super::{FirstCalls, Kind, Stage};
use crate::timeline::{Demand, Helpers, Program, ProgramId, Tasks, Timeline};
use crate::trace::{RunsUnder, TaskKind};
use crate::units::Span;
use crate::units::ratio;

/// Fewer tasks recorded than counted by this factor: the rest is taken to be like them.
const RECORDED_ENOUGH: f64 = 1.02;
/// Threads beside the tasks are waited for where tasks wait for locks for at least this share of what these compute.
const LEAST_JOINED: f64 = 0.1;
/// A stage that took its own threads less than this share of what it demanded computes on several CPUs at once.
const PARALLEL: f64 = 0.9;
/// Tasks wait for workers that they started where their waits for locks, pipes and children cover at least this share of the
/// time that the workers took, side by side; where they cover less, they left them to themselves.
const AWAITED: f64 = 0.5;
/// What runs one at a time and waits for locks for this share of its time, while tasks of other stages are under way, may wait
/// for those.
const JOINING: f64 = 0.3;
/// What lies outside of recorded tasks can be unrecorded ones, up to this share of it.
const SPARE_SHARE: f64 = 0.95;

/// Where every program stands to the stages inside programs.
#[derive(Debug, Clone)]
pub struct Places {
    /// The stage whose task started the program, by index; its demand is the stage's.
    pub absorbed_by: Vec<Option<usize>>,
    /// The program that a worker, or a stage, belongs to.
    pub owner: Vec<usize>,
    /// Whether there are stages inside the program.
    pub has_stages: Vec<bool>,
}

impl Places {
    /// Finds them; parents stand before their children.
    pub fn of(timeline: &Timeline) -> Places {
        let programs = &timeline.programs;
        let mut places = Places {
            absorbed_by: vec![None; programs.len()],
            owner: (0..programs.len()).collect(),
            has_stages: vec![false; programs.len()],
        };
        for (index, program) in programs.iter().enumerate() {
            let Some(ProgramId(parent)) = program.parent.filter(|parent| parent.0 < index) else { continue };
            if program.tasks.is_none() {
                let by_task = programs[parent].tasks.is_some().then_some(parent);
                places.absorbed_by[index] = by_task.or(places.absorbed_by[parent]);
            }
            let image = &program.image;
            if image.forked || image.is_spawned_worker() || image.is_helper() || program.tasks.is_some() {
                places.owner[index] = places.owner[parent];
            }
            if program.tasks.is_some() && program.tasks.as_ref().is_some_and(|tasks| seen(tasks)) {
                places.has_stages[places.owner[index]] = true;
            }
        }
        places
    }

    /// Whether it is a worker of a program whose stages are told by themselves: what it does besides is dispatch.
    pub fn is_worker_rest(&self, index: usize, timeline: &Timeline) -> bool {
        let program = &timeline.programs[index];
        let worker = program.tasks.is_none() && (program.image.forked || program.image.is_spawned_worker());
        let owner = self.owner[index];
        worker && owner != index && self.has_stages[owner]
    }
}

/// Whether anything ran of it.
pub fn seen(tasks: &Tasks) -> bool {
    [tasks.totals.count, tasks.recorded, tasks.unfinished().0].iter().any(|&count| count > 0)
}

/// The stages inside programs, and by what factor the demand of each other program shrinks because it turned out to be
/// theirs.
pub fn task_stages(timeline: &Timeline, places: &Places, sampled: bool) -> (Vec<Stage>, Vec<f64>) {
    let programs = &timeline.programs;
    let mut shrink = vec![1.0; programs.len()];
    let mut stages = Vec::new();
    for owner in 0..programs.len() {
        let inside = |index: &usize| {
            places.owner[*index] == owner && programs[*index].tasks.as_ref().is_some_and(|tasks| seen(tasks))
        };
        let mut inside: Vec<usize> = (0..programs.len()).filter(inside).collect();
        drop_joins(&mut inside, programs);
        if inside.is_empty() {
            continue;
        }
        let outside: Vec<usize> = (0..programs.len())
            .filter(|&index| {
                places.owner[index] == owner && programs[index].tasks.is_none() && places.absorbed_by[index].is_none()
            })
            .collect();
        let spare: f64 = outside.iter().map(|&index| programs[index].demand.on_cpu).sum::<f64>() * SPARE_SHARE;
        let wanted: f64 =
            inside.iter().map(|&index| unrecorded(&programs[index]) * steady(&programs[index]).on_cpu).sum();
        let granted = if wanted > spare { ratio(spare, wanted).unwrap_or(0.0) } else { 1.0 };
        let moved = ratio(wanted * granted * SPARE_SHARE, spare).unwrap_or(0.0);
        for &index in &outside {
            shrink[index] = (1.0 - moved).max(0.0);
        }
        let helpers = helpers_of(&outside, programs);
        let locked: f64 = inside.iter().map(|&index| programs[index].demand.own.lock).sum();
        let waited_for = locked > LEAST_JOINED * helpers.on_cpu;
        if waited_for {
            for &index in &outside {
                let all = programs[index].demand.on_cpu;
                shrink[index] *= 1.0 - ratio(programs[index].helpers.on_cpu, all).unwrap_or(0.0).min(1.0);
            }
        }
        for &index in &inside {
            let factor = 1.0 + unrecorded(&programs[index]) * granted;
            let share = ratio(programs[index].demand.own.lock, locked).filter(|_| waited_for).unwrap_or(0.0);
            let others = joined_by(index, &inside, programs);
            stages.push(stage_of(index, owner, (factor, helpers, share, others), timeline, places, sampled));
        }
    }
    (stages, shrink)
}

/// Not every slice of a coroutine is recorded, nor every coroutine: by what factor its recorded CPU time is short.
fn slices_beyond(tasks: &Tasks) -> f64 {
    if tasks.kind != TaskKind::Coroutine {
        return 1.0;
    }
    let sums = &tasks.coroutines;
    ratio(sums.own.secs_f64(), sums.recorded_slices.secs_f64()).map_or(1.0, |beyond| beyond * coroutines_beyond(tasks))
}

/// How many coroutines there were for each that was recorded.
fn coroutines_beyond(tasks: &Tasks) -> f64 {
    ratio(tasks.totals.count as f64, tasks.coroutines.count as f64).unwrap_or(1.0).max(1.0)
}

/// The coroutine that a loop is run for waits for the others: that is a join, and no stage beside them.
fn drop_joins(inside: &mut Vec<usize>, programs: &[Program]) {
    let coroutine = |index: usize| programs[index].tasks.as_ref().filter(|tasks| tasks.kind == TaskKind::Coroutine);
    let many = |tasks: &Tasks| tasks.totals.count.max(tasks.recorded) + tasks.unfinished().0 > 1;
    if inside.iter().filter_map(|&index| coroutine(index)).any(|tasks| many(tasks)) {
        inside.retain(|&index| coroutine(index).is_none_or(|tasks| many(tasks)));
    }
}

/// How many tasks were counted beyond each one that was recorded.
fn unrecorded(program: &Program) -> f64 {
    let Some(tasks) = program.tasks.as_ref().filter(|tasks| tasks.kind != TaskKind::Coroutine) else { return 0.0 };
    let others = |cold: u64| ratio((tasks.totals.count.saturating_sub(cold)) as f64, (tasks.recorded - cold) as f64);
    let beyond = match tasks.dear_firsts() {
        Some(cold) => others(cold.count).unwrap_or(1.0),
        None => tasks.beyond_recorded(),
    };
    if beyond > RECORDED_ENOUGH { beyond - 1.0 } else { 0.0 }
}

/// What its tasks demanded but for first ones that were dear.
fn steady(program: &Program) -> Demand {
    let firsts = program.tasks.as_ref().and_then(|tasks| tasks.dear_firsts());
    firsts.map_or(program.demand, |cold| program.demand.less(&cold.demand))
}

/// Leaves first tasks out that took many times what others take: they load and warm what those find, once a process. What is
/// then known of the lock is of the others, too.
fn leave_firsts_out(program: &mut Program) -> Option<FirstCalls> {
    let cold = program.tasks.as_ref()?.dear_firsts()?.clone();
    let left = program.demand.less(&cold.demand);
    let demand = program.demand.less(&left);
    program.demand = left;
    program.gil = cold.others_gil;
    Some(FirstCalls { tasks: cold.count, seconds: ratio(cold.wall.secs_f64(), cold.count as f64)?, demand })
}

/// What tasks demanded, and for how long they were at it or wanted to be.
fn busy(demand: &Demand) -> f64 {
    demand.on_cpu + demand.run_queue + demand.own.sum()
}

/// What tasks did in workers that tasks of the stage `index` had started, and how many of these there were at once.
fn work_within(index: usize, programs: &[Program]) -> (Demand, f64) {
    let (mut demand, mut workers) = (Demand::default(), 0.0);
    for program in programs {
        let Some(tasks) = &program.tasks else { continue };
        let Some(&(_, on_cpu)) = tasks.within.iter().find(|(outer, _)| outer.0 == index) else { continue };
        let share = ratio(on_cpu.secs_f64(), program.demand.on_cpu).unwrap_or(1.0).min(1.0);
        demand.add(&program.demand.scaled(share));
        workers += f64::from(program.peak_processes.max(1));
    }
    (demand, workers)
}

/// A task that waits for its own workers waits for children, through locks and pipes of a pool that are no waits of its own:
/// what they did takes the place of that. Returns what they did.
fn take_workers(program: &mut Program, index: usize, programs: &[Program]) -> Option<Demand> {
    let (within, workers) = work_within(index, programs);
    let demand = &mut program.demand;
    let waits = demand.own.lock + demand.own.pipe + demand.child;
    let all = busy(&within);
    if all <= 0.0 || waits * workers < AWAITED * all {
        return None;
    }
    let by_lock = demand.own.lock.min(all);
    let by_pipe = demand.own.pipe.min(all - by_lock);
    demand.own.lock -= by_lock;
    demand.own.pipe -= by_pipe;
    demand.child += by_lock + by_pipe;
    demand.add(&within);
    Some(within)
}

/// What programs did that its tasks started, but for the tasks that ran in them.
fn children_of(index: usize, programs: &[Program], places: &Places) -> Demand {
    let mut children = Demand::default();
    for (program, absorbed) in programs.iter().zip(&places.absorbed_by) {
        if *absorbed == Some(index) {
            children.add(&program.demand);
        }
    }
    children
}

/// Other stages' tasks that were under way while those of this one were, one at a time: what that waits for may be they.
fn joined_by(index: usize, inside: &[usize], programs: &[Program]) -> f64 {
    let this = &programs[index];
    if this.peak_processes > 1 {
        return 0.0;
    }
    let others = inside.iter().map(|&other| (other, &programs[other])).filter(|&(other, program)| {
        let tasks = program.tasks.as_ref();
        let is_within = tasks.is_some_and(|tasks| tasks.within.iter().any(|(outer, _)| outer.0 == index));
        let is_pool = tasks.is_some_and(|tasks| matches!(tasks.executor, RunsUnder::Thread | RunsUnder::Process));
        other != index && is_pool && !is_within && program.first < this.last && program.last > this.first
    });
    others.map(|(_, program)| busy(&program.demand)).sum()
}

/// Leaves open whether waits for locks are for `others`: they may be as much the stage's own. Returns whether that matters.
fn doubt_joins(demand: &mut Demand, others: f64) -> bool {
    let joined = demand.own.lock.min(others);
    let matters = joined > JOINING * (demand.on_cpu + demand.own.sum());
    if matters {
        demand.own.lock -= joined;
        demand.starved += joined;
        demand.doubtful += joined;
    }
    matters
}

/// Without records, what short-lived workers of its own did is known in part only: much of it happened between two readings.
fn misses_workers(index: usize, demand: &Demand, programs: &[Program], places: &Places) -> bool {
    let is_worker = |program: &Program| program.image.forked || program.image.is_spawned_worker();
    let has_own =
        programs.iter().zip(&places.absorbed_by).any(|(program, by)| *by == Some(index) && is_worker(program));
    has_own && demand.child > JOINING * (demand.on_cpu + demand.own.sum())
}

/// What the threads used, all programs together, that tasks may have waited for: those of a library that computes with
/// several.
fn helpers_of(outside: &[usize], programs: &[Program]) -> Helpers {
    outside.iter().map(|&index| programs[index].helpers).fold(Helpers::default(), |mut sum, one| {
        sum.on_cpu += one.on_cpu;
        sum.run_queue += one.run_queue;
        sum.gil.fold(&one.gil);
        sum
    })
}

/// Gives a stage its share of what helping threads computed; its waits for a lock meanwhile were waits for that. Returns
/// the time that its own threads then took: less than what it demands where several computed at once.
fn take_helpers(program: &mut Program, helpers: &Helpers, share: f64) -> f64 {
    let demand = &mut program.demand;
    let direct = demand.on_cpu + demand.own.sum() + demand.child;
    let (on_cpu, run_queue) = (helpers.on_cpu * share, helpers.run_queue * share);
    let joined = demand.own.lock.min(on_cpu + run_queue);
    demand.on_cpu += on_cpu;
    demand.run_queue += run_queue;
    demand.own.lock -= joined;
    demand.child += joined;
    program.gil.fold(&helpers.gil.scaled(share));
    direct
}

/// How many threads have or want a CPU while a task computes or waits for its library's threads: what `own` threads and
/// those did, over the time of its own.
fn threads_a_task(own: &Demand, with_helpers: &Demand) -> Option<f64> {
    let joined = with_helpers.child - own.child;
    ratio(with_helpers.on_cpu + with_helpers.run_queue, own.on_cpu + own.run_queue + joined)
}

fn stage_of(
    index: usize,
    owner: usize,
    (factor, helpers, share, others): (f64, Helpers, f64, f64),
    timeline: &Timeline,
    places: &Places,
    sampled: bool,
) -> Stage {
    let programs = &timeline.programs;
    let mut program = programs[index].clone();
    let tasks = program.tasks.clone();
    let first_calls = leave_firsts_out(&mut program);
    let own = program.demand;
    let mut direct = take_helpers(&mut program, &helpers, share) * factor;
    let threads_a_task = threads_a_task(&own, &program.demand).filter(|_| !sampled);
    // What was read is of the calls that were recorded.
    let (gil, held_waiting) = (gil_of(&program, &programs[owner], sampled), held_while_waiting(&program, sampled));
    program.demand = program.demand.scaled(factor * tasks.as_deref().map_or(1.0, slices_beyond));
    let kind = match tasks.as_ref().map(|tasks| tasks.kind) {
        Some(TaskKind::Coroutine) => Kind::Coroutine,
        Some(TaskKind::Mark) => Kind::Mark,
        _ => Kind::Function,
    };
    let children = children_of(index, programs, places);
    let mut children_cpu = children.on_cpu;
    let mut joins_open = false;
    if kind != Kind::Coroutine {
        let within = take_workers(&mut program, index, programs).unwrap_or_default();
        children_cpu += within.on_cpu;
        // Alone, its children would have had a CPU whenever they wanted one.
        let (all, queued) = (busy(&within) + busy(&children), within.run_queue + children.run_queue);
        direct -= program.demand.child.min(all) * ratio(queued, all).unwrap_or(0.0);
        joins_open = sampled && misses_workers(index, &program.demand, programs, places)
            || doubt_joins(&mut program.demand, others);
    }
    if places.absorbed_by.contains(&Some(index)) {
        // What a child does replaces waiting for it.
        program.demand.child = 0.0;
    }
    // So far these are the waits of its own slices. Those that nobody saw may be none, and a lock may be the interpreter's.
    let own = &program.demand.own;
    let in_slices = (own.sum() - own.lock - program.demand.assumed_own).max(0.0);
    for (other, absorbed) in places.absorbed_by.iter().enumerate() {
        if *absorbed == Some(index) {
            program.demand.add(&programs[other].demand);
            program.series.add_all(&programs[other].series);
        }
    }
    if let (Kind::Coroutine, Some(tasks)) = (kind, &tasks) {
        await_outside(&mut program.demand, tasks, &programs[owner]);
    }
    let demanded = program.demand.on_cpu + program.demand.own.sum();
    let alone = Some(direct).filter(|&direct| kind != Kind::Coroutine && direct < PARALLEL * demanded);
    let mut pairs = pairs_of(&program);
    if first_calls.is_some() {
        blank_firsts(&mut pairs, &program);
    }
    let (first, last) = (program.first.max(timeline.start), program.last.min(timeline.end));
    let width = program.series.width();
    let score = score_of(&program.demand, std::slice::from_ref(&pairs), program.processes.max(1), sampled);
    let phases = phases_of(&pairs, width, program.series.origin(), first, last);
    let phases = agreeing(phases, score.map(|score| score.point));
    let worker = worker_of(owner, tasks.as_deref(), programs, places);
    let memory = worker.map_or(programs[owner].memory, |worker| programs[worker].memory);
    // Where only some of many short tasks were recorded, the stage was active for all the span of them.
    let spans = kind == Kind::Coroutine || factor > RECORDED_ENOUGH;
    let active = if spans { last.since(first) } else { program.present };
    let life = match (&tasks, kind) {
        (Some(tasks), Kind::Coroutine) => tasks.coroutines.wall.secs_f64() * coroutines_beyond(tasks),
        _ => programs[index].demand.thread_seconds() * factor,
    };
    let executor = tasks.as_ref().map_or(RunsUnder::Unknown, |tasks| tasks.executor);
    let mut active_workers = ratio(life, active.secs_f64());
    if kind != Kind::Coroutine {
        // What lies beyond the recorded tasks took none more at once than these.
        active_workers = active_workers.map(|mean| mean.min(f64::from(program.peak_processes.max(1))));
    }
    let peak = match kind {
        // One thread runs the slices; how many coroutines were under way is what their wall times add up to.
        Kind::Coroutine => active_workers.map_or(1, |mean| (mean.round() as u32).max(1)),
        _ => program.peak_processes.max(1),
    };
    Stage {
        id: String::new(),
        name: tasks.as_ref().map_or_else(String::new, |tasks| tasks.name.clone()),
        kind,
        exe: programs[owner].exe.clone(),
        is_python: true,
        is_pool: executor == RunsUnder::Process,
        feeds_pool: false,
        waits_told: program.demand.assumed_own <= super::segment::TOLD_SHARE * program.demand.thread_seconds(),
        score,
        wall: active,
        lives: Span::ZERO,
        processes: program.processes.max(1),
        threads: u64::from(peak),
        workers: tasks.as_ref().and_then(|tasks| tasks.workers).filter(|_| kind != Kind::Coroutine).unwrap_or(peak),
        active_threads: 1,
        parallelism: None,
        voluntary: program.voluntary.filter(|_| !sampled),
        involuntary: program.involuntary.filter(|_| !sampled),
        cpu_split: None,
        memory,
        growth: super::segment::growth(&programs[worker.unwrap_or(owner)]),
        descriptors: programs[worker.unwrap_or(owner)].descriptors,
        unreaped: programs[worker.unwrap_or(owner)].unreaped,
        memory_kills: 0,
        bytes: program.bytes,
        phases,
        demand: program.demand,
        gil,
        held_waiting,
        loop_waiting: if kind == Kind::Coroutine { in_slices } else { 0.0 },
        alone,
        threads_a_task,
        children_cpu,
        first_calls,
        joins_open,
        active: active_workers,
        tasks,
        outside_stages: false,
        notes: Vec::new(),
    }
}

/// What the first tasks did over time is left out, too.
fn blank_firsts(pairs: &mut [(f64, f64)], program: &Program) {
    let Some(tasks) = &program.tasks else { return };
    let (origin, width) = (program.series.origin(), program.series.width().0.max(1));
    for &(from, to) in &tasks.cold.stretches {
        let first = (from.since(origin).0 / width) as usize;
        let last = (to.since(origin).0 / width) as usize;
        pairs.iter_mut().take(last.saturating_add(1)).skip(first).for_each(|pair| *pair = (0.0, 0.0));
    }
}

/// The program of the processes that the tasks ran in, where those are workers.
fn worker_of(owner: usize, tasks: Option<&Tasks>, programs: &[Program], places: &Places) -> Option<usize> {
    tasks.filter(|tasks| tasks.executor == RunsUnder::Process)?;
    let worker = |index: &usize| {
        let image = &programs[*index].image;
        places.owner[*index] == owner
            && programs[*index].tasks.is_none()
            && (image.forked || image.is_spawned_worker())
            && programs[*index].processes > 0
    };
    (0..programs.len()).filter(worker).max_by_key(|&index| programs[index].processes)
}

/// A coroutine awaits while others run: its own wait is its wall time less its slices and the ready queue, and what for is
/// what the loop waited for.
fn await_outside(demand: &mut Demand, tasks: &Tasks, owner: &Program) {
    let beyond = coroutines_beyond(tasks);
    let awaited = tasks.coroutines.awaited().secs_f64() * beyond;
    let [network, sleep, disk, other] = owner.loop_waits.map(|nanoseconds| nanoseconds as f64);
    let all = network + sleep + disk + other;
    let part = |kind: f64| ratio(awaited * kind, all).unwrap_or(0.0);
    demand.own.network += part(network);
    demand.own.sleep += part(sleep);
    demand.own.disk += part(disk);
    demand.own.other += if all > 0.0 { part(other) } else { awaited };
    demand.starved += tasks.coroutines.ready.secs_f64() * beyond;
}
