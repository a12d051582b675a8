//! What the evidence says of a stage inside a Python program: every executor's predicted throughput, the best of them,
//! and why. Rules:
//!
//! | evidence | recommendation |
//! | --- | --- |
//! | no demand, too little of it for a class | none |
//! | class open: its score may fall on either side | as predicted, over the whole interval of the score; confidence at most medium |
//! | lock not read, CPU-bound or hybrid | as if the lock were held throughout, low confidence |
//! | the same, and neither the pick nor what comes near it would be another if it were never held | medium confidence |
//! | lock read, but not often enough to tell for how long it is let go of at a time | as if it were for the shortest time that is possible; low confidence where that decides |
//! | payload cannot be pickled | no processes |
//! | payload never measured | processes only with low confidence |
//! | payload measured once or twice, and dear at the high end of that | confidence at most medium |
//! | a coroutine that does not compute for most of its time | no processes |
//! | one that may, by the interval of its score | processes are predicted, and picked only where its class is CPU-bound; confidence at most medium |
//! | tasks were handed over in chunks | dispatch of the pool that they were found in is divided by the chunk |
//! | a coroutine that blocks its loop for more than a tenth of its time | threads are compared as well |
//! | it ran in threads of one process | these are predicted at least at what they reached there |
//! | two executors within 3 % (5 % where intervals overlap) | the simpler one |
//! | the same, but threads would have to overlap native code that no run in threads showed to overlap | processes |
//! | threads gain less than their model may be off | no pool |
//! | a stage that waits, threads within 40 % of processes, intervals overlap | threads |
//! | module state is written by tasks | confidence at most medium |
//! | its function names a lock, and it was not seen in threads | threads only with low confidence, and perhaps no faster than one |
//! | threads queue for a lock of the program | processes, which would not, only with low confidence |

use super::classify::is_thin;
use super::judge::FITTING_SHARE;
use super::recommend::{Confidence, GIL_BINDS, GIL_RELEASED, Recommendation};
use super::{Class, Evidence, Executor, Gil, Payload, Reason, Terms, Thresholds};
use crate::predict::{self, Bottleneck, Costs, Prediction, Room, TaskDemand, curve, knee};
use crate::stages::Phase;
use crate::units::{Estimate, ratio};

/// Executors from the simplest on.
const BY_SIMPLICITY: [predict::Executor; 4] =
    [predict::Executor::Serial, predict::Executor::Thread, predict::Executor::Asyncio, predict::Executor::Process];
/// A simpler executor is preferred within this share of the best.
const CLOSE: f64 = 0.03;
/// And within this where the intervals overlap.
const CLOSE_OVERLAPPING: f64 = 0.05;
/// And no pool to threads that gain less than this: their model may be off by as much.
const CLOSE_TO_NO_POOL: f64 = 0.08;
/// What waits for most of its time is colder when it is seen than when many of it run: a task's CPU time, and with it the time
/// that it holds the lock, fell by up to this share of it (0.94 ms to 0.56 ms a request, 45 to 1285 of them a second).
const WARMER: f64 = 0.4;
/// So many at once show whether native code overlaps.
const OVERLAPS: f64 = 1.5;
/// What was reached in threads holds for the next run, and over a serial run that nobody saw, to so much.
const REACHED_ERROR: f64 = 0.1;
/// A limit that is not this near to what threads would reach does not hold them.
const LIMIT_FELT: f64 = 0.95;
/// `workers` is the least number that reaches this share of the peak.
const KNEE: f64 = 0.98;
/// Dispatch should stay below this share of a chunk.
const CHUNK_DISPATCH: f64 = 0.05;
/// At most so many times the concurrency that was seen is recommended: beyond, nobody knows what the outside bears.
const BEYOND_SEEN: f64 = 32.0;
/// Nor more workers of a pool than this, unless more were seen.
const MOST_WORKERS: f64 = 64.0;
/// What waits for less than this share of its CPU time is no reason for more workers than cores.
const STILL: f64 = 0.05;
/// Where the stage's own Python code is a smaller share of its time, the lock hardly matters.
const LOCK_MATTERS: f64 = 0.1;
/// A payload that takes more than this share of the latency is felt.
const PAYLOAD_FELT: f64 = 0.05;
/// From so many at once on an event loop is worth its rewriting.
const MANY_CONNECTIONS: u32 = 200;

/// The best of each executor, and the one to pick.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Each executor at its best number of workers.
    pub predictions: Vec<Prediction>,
    /// What to pick.
    pub recommendation: Recommendation,
}

/// Decides; `None` where there is nothing to decide on.
pub fn decide(
    evidence: &Evidence,
    class: Class,
    phases: &[(Phase, Class)],
    payload: Option<&Payload>,
    costs: &Costs,
    terms: &Terms,
) -> Option<Decision> {
    let score = evidence.score?;
    let task = evidence.task_with(payload)?;
    let (capacity, thresholds) = (&terms.capacity, &terms.thresholds);
    let room = Room { cores: capacity.cores, memory_bytes: capacity.memory_bytes };
    let is_open = class == Class::Unknown && !is_thin(evidence);
    let about = if is_open {
        // What a task demands is known better than on which side of a threshold that falls.
        Reason::ClassOpen { low: score.low, high: score.high }
    } else {
        Reason::of_class(class, score.point, phases.len())?
    };
    let mut reasons = vec![about];
    let most = (BEYOND_SEEN * task.seen_at_once.max(1.0)).min(MOST_WORKERS).max(f64::from(evidence.workers)) as u32;
    let cores = (capacity.cores.ceil() as u32).max(1);
    let most = most.max(cores.saturating_add(2));
    // A thread that hardly ever waits fills a core: one more than there are cores would only take turns. Processes wait for
    // their parent between two tasks, which a few more make up for.
    let still = task.wait < STILL * task.cpu;
    // What awaits cannot be handed to a process; what only computes can, once it is an ordinary function. Where it may be
    // either, it is told what processes would do, but not that they should.
    let may_compute = evidence.is_coroutine && score.low <= thresholds.cpu && thresholds.cpu < score.high;
    let is_movable = !evidence.is_coroutine || class == Class::CpuBound || may_compute;
    let (full, costs) = (costs, &evidence.dispatched(costs));
    let reached = reached(&task, evidence, score, &room);
    let peaks = |task: &TaskDemand| -> Vec<Prediction> {
        let usable = BY_SIMPLICITY.iter().filter(|&&executor| is_movable || executor != predict::Executor::Process);
        usable
            .filter_map(|&executor| {
                let most = match executor {
                    predict::Executor::Thread if still => cores,
                    predict::Executor::Process if still => cores.saturating_add(2),
                    _ => most,
                };
                let best = knee(&curve(executor, task, costs, &room, most), KNEE)?;
                Some(if executor == predict::Executor::Thread { at_least(best, reached, most) } else { best })
            })
            .collect()
    };
    let mut best = peaks(&task);
    let unseen_run = task.released_run.is_none() && task.shortest_run.is_some();
    // As if the lock were never held, or never handed over: an executor may then do as well as what is picked, at other
    // numbers of workers.
    let free = (evidence.gil.is_unread() || unseen_run).then(|| {
        let gil = if unseen_run { task.gil } else { Estimate::new(task.gil.low, task.gil.low, task.gil.low) };
        peaks(&TaskDemand { gil, shortest_run: None, ..task })
    });
    if score.point < Thresholds::default().io && unseen_run {
        // What waits for most of its time hardly meets the lock: that it may be handed over all the time is the low end.
        best.iter_mut().zip(free.iter().flatten()).for_each(|(one, free)| hold_least(one, free));
    }
    let blocking = blocks_its_loop(&task, evidence);
    let doubts = Doubts {
        unseen: overlap_unseen(&task, evidence),
        blocking,
        waits: (class == Class::IoBound || is_open && score.point < thresholds.io) && evidence.takes_lock.is_none(),
        awaits: may_compute && class != Class::CpuBound,
    };
    let pick = pick(&best, evidence, doubts)?;
    let mut lock_decides = false;
    let mut whole = vec![best.clone()];
    if let Some(free) = free {
        lock_decides = self::pick(&free, evidence, doubts).is_none_or(|other| other.executor != pick.executor);
        let fits = |one: &Prediction| one.speedup.point >= FITTING_SHARE * pick.speedup.point;
        let same = |held: &Prediction| free.iter().find(|free| free.executor == held.executor).is_some_and(fits);
        lock_decides |= best.iter().any(|held| held.executor != pick.executor && fits(held) != same(held));
        widen(&mut best, &free);
        whole.push(free);
    }
    if !is_thin(evidence) {
        // What it computes and what it waits may be split otherwise, whatever that is called.
        for end in [score.low, score.high] {
            let other = peaks(&split(&task, evidence, end));
            widen(&mut best, &other);
            whole.push(other);
        }
    }
    // One at a time never queues, and processes have a lock each.
    let lock = evidence.takes_lock.as_ref().filter(|_| evidence.found != Some(Executor::Thread));
    if lock.is_some() {
        // If they hold it all the time, threads are no faster than one.
        for one in best.iter_mut().filter(|one| one.executor == predict::Executor::Thread) {
            one.speedup.low = one.speedup.low.min(1.0);
        }
    }
    for one in &mut best {
        one.most_of_best = most_of_best(&whole, one.executor, pick.executor, lock.is_some());
    }
    let found = |executor| best.iter().find(|one| one.executor == executor);
    let (thread, process) = (found(predict::Executor::Thread), found(predict::Executor::Process));
    let mut confidence = if is_open { Confidence::Medium } else { Confidence::High };
    let held_waiting =
        ratio(task.held_waiting, task.wait).filter(|_| task.held_waiting > LOCK_MATTERS * (task.cpu + task.wait));
    if let Some(share) = held_waiting {
        reasons.push(Reason::GilHeldWaiting { share });
    }
    if may_compute
        && let Some((now, best)) = found(predict::Executor::Asyncio).zip(process)
        && now.speedup.point < FITTING_SHARE * best.speedup.point
    {
        reasons.push(Reason::CoroutineOpen { low: score.low, high: score.high });
        confidence = confidence.min(Confidence::Medium);
    }
    if evidence.joins_open {
        reasons.push(Reason::JoinsOpen);
        confidence = Confidence::Low;
    }
    if let (Some((_, seconds)), Some(others)) = (evidence.first_calls, evidence.task_seconds) {
        reasons.push(Reason::FirstCalls { seconds, others });
    }
    if blocking {
        reasons.push(Reason::LoopBlocked { share: ratio(task.loop_waiting, task.wait).unwrap_or(1.0) });
    }
    match evidence.gil {
        Gil::Held { share, released_run } if class != Class::IoBound => {
            let churns = thread.is_some_and(|thread| thread.speedup.point < 1.0)
                && share.point < GIL_BINDS
                && released_run.is_some_and(|run| run < 10.0 * costs.gil_handover);
            if churns {
                let run = released_run.unwrap_or(0.0);
                reasons.push(Reason::GilChurn { share: share.point, run, handover: costs.gil_handover });
            } else if share.point >= GIL_BINDS {
                reasons.push(Reason::GilBound { share: share.point });
            } else if share.point < GIL_RELEASED {
                reasons.push(Reason::GilReleased { share: share.point });
            } else {
                reasons.push(Reason::GilPartly { share: share.point });
            }
        }
        Gil::Absent => reasons.push(Reason::GilAbsent),
        Gil::NotPython | Gil::Unknown | Gil::Thin | Gil::Held { .. } => {}
    }
    let unsure = if class == Class::IoBound { Confidence::Medium } else { Confidence::Low };
    match evidence.gil {
        Gil::Absent => {}
        Gil::Held { .. } if unseen_run && lock_decides => {
            reasons.push(Reason::GilThin);
            confidence = confidence.min(unsure);
        }
        Gil::Held { .. } => {}
        // Children compute, or nobody does: what its own code holds is little, whatever the lock.
        _ if evidence.gil.is_unread() && task.gil.high < LOCK_MATTERS * (task.cpu + task.wait) => {}
        // What decides about threads is known: they cannot overlap these waits.
        _ if evidence.gil.is_unread() && held_waiting.is_some() => {}
        Gil::Unknown | Gil::Thin if class != Class::IoBound && !evidence.is_coroutine && !lock_decides => {
            confidence = confidence.min(Confidence::Medium);
        }
        Gil::Unknown | Gil::Thin | Gil::NotPython => {
            reasons.push(if evidence.gil == Gil::Thin { Reason::GilThin } else { Reason::GilUnknown });
            confidence = confidence.min(unsure);
        }
    }
    let felt = |limit: &f64| thread.is_none_or(|thread| thread.speedup.point >= LIMIT_FELT * limit * task.seconds());
    if let Some(limit) = task.lock_limit.filter(felt) {
        reasons.push(Reason::LockBound { share: ratio(evidence.lock_wait, evidence.wait).unwrap_or(1.0), limit });
        if pick.executor == predict::Executor::Process && !task.lock_spans_processes {
            // Faster, but perhaps not right: what the lock guards is not known.
            reasons.push(Reason::LockNotShared);
            confidence = Confidence::Low;
        }
    }
    if let Some(thread) = thread
        && class == Class::Hybrid
        && thread.limited_by == Bottleneck::Gil
        && pick.executor == predict::Executor::Process
    {
        reasons.push(Reason::SaturatesGil { workers: thread.workers });
    }
    if pick.executor == predict::Executor::Serial
        && evidence.task_seconds.is_some_and(|seconds| seconds < 10.0 * full.thread_dispatch)
    {
        let seconds = evidence.task_seconds.unwrap_or(0.0);
        reasons.push(Reason::TaskTooSmall { seconds, dispatch: full.thread_dispatch });
    }
    if let Some(payload) = payload {
        if payload.picklable == Some(false) && is_movable {
            reasons.push(Reason::NotPicklable);
        }
        if let Some(share) = payload.share_of_latency(evidence.task_seconds).filter(|&share| share > thresholds.ipc) {
            reasons.push(Reason::IpcTooExpensive { share, limit: thresholds.ipc });
        }
        if let Some(readings) = payload.readings.filter(|_| payload.is_thin(evidence.task_seconds, PAYLOAD_FELT)) {
            reasons.push(Reason::PayloadThin { readings });
            confidence = confidence.min(Confidence::Medium);
        }
    }
    if evidence.is_coroutine && pick.executor == predict::Executor::Process {
        reasons.push(Reason::CoroutineComputes);
    }
    if is_movable
        && process.is_none()
        && payload.is_none_or(|payload| payload.picklable.is_none() && payload.seconds.is_none())
    {
        reasons.push(Reason::PayloadUnknown);
        if class != Class::IoBound {
            confidence = Confidence::Low;
        }
    }
    if evidence.shared_state && pick.executor == predict::Executor::Process {
        reasons.push(Reason::SharedState);
        confidence = confidence.min(Confidence::Medium);
    }
    if let Some(process) = process.filter(|_| pick.executor == predict::Executor::Thread && doubts.waits)
        && pick.speedup.point < (1.0 - CLOSE_OVERLAPPING) * process.speedup.point
    {
        reasons.push(Reason::ThreadsSuffice { threads: pick.speedup.point, processes: process.speedup.point });
        confidence = confidence.min(Confidence::Medium);
    }
    let seen = task.seen_at_once.round().max(1.0) as u32;
    if pick.workers > seen && task.wait > task.cpu * 0.1 {
        confidence = confidence.min(Confidence::Medium);
        reasons.push(Reason::WaitAssumed { workers: pick.workers, seen });
    }
    if let Some(lock) = lock
        && pick.executor == predict::Executor::Thread
        && pick.workers > seen
        && task.lock_limit.is_none()
    {
        reasons.push(Reason::LockUnseen { lock: lock.clone() });
        confidence = Confidence::Low;
    }
    let loops = curve(predict::Executor::Asyncio, &task, costs, &room, u32::MAX);
    if pick.executor == predict::Executor::Thread
        && let Some(all) = knee(&loops, KNEE).filter(|all| all.workers >= MANY_CONNECTIONS)
    {
        reasons.push(Reason::ManyConnections { workers: all.workers });
    }
    let dispatch = full.process_parent + full.process_worker;
    let chunksize = (pick.executor == predict::Executor::Process)
        .then(|| chunk(dispatch, task.cpu + task.wait, evidence.tasks, pick.workers))
        .flatten();
    Some(Decision {
        predictions: best,
        recommendation: Recommendation {
            executor: pick.executor.into(),
            parts: Vec::new(),
            workers: Some(pick.workers),
            chunksize,
            speedup: Some(pick.speedup.point),
            confidence,
            reasons,
            arrival: None,
        },
    })
}

/// The same task with this share of its time on the CPU, of that as much with the lock held as before; all of it, where that
/// was not read or nothing was computed.
fn split(task: &TaskDemand, evidence: &Evidence, score: f64) -> TaskDemand {
    let total = task.cpu + task.wait;
    let (cpu, wait) = (total * score, total * (1.0 - score));
    let held_waiting = task.held_waiting.min(wait);
    let scaled = |part: f64, otherwise: f64| ratio(part, task.cpu).map_or(otherwise, |share| share * cpu);
    let gil = |held: f64, otherwise: f64| match evidence.gil {
        Gil::Unknown | Gil::Thin => otherwise + held_waiting,
        _ => scaled((held - task.held_waiting).max(0.0), otherwise) + held_waiting,
    };
    TaskDemand {
        cpu,
        wait,
        own_cpu: scaled(task.own_cpu, cpu),
        gil: Estimate::new(gil(task.gil.low, 0.0), gil(task.gil.point, cpu), gil(task.gil.high, cpu)),
        held_waiting,
        loop_waiting: task.loop_waiting.min(wait),
        ..*task
    }
}

/// What the run itself reached in threads, over a serial run, and with how many: so many tasks went on at once, the waits of one
/// beside the CPU time of others. Where the lock binds, or another one, that is little; where they do not, no reading of it is
/// needed. At the high end of the score, where least of it may be a wait for that lock.
fn reached(task: &TaskDemand, evidence: &Evidence, score: Estimate, room: &Room) -> Option<(f64, u32)> {
    // More cores than it had are no hindrance.
    let held = evidence.cores_overlapped.filter(|&held| held <= room.cores)?;
    let speedup = ratio(held, score.high)?.min(task.seen_at_once.max(1.0));
    Some((speedup, task.seen_at_once.round().max(1.0) as u32))
}

/// A prediction for threads that is not below what was reached.
fn at_least(prediction: Prediction, reached: Option<(f64, u32)>, most: u32) -> Prediction {
    let Some((speedup, seen)) = reached else { return prediction };
    let predicted = prediction.speedup;
    let (low, high) = (speedup * (1.0 - REACHED_ERROR), speedup * (1.0 + REACHED_ERROR));
    if speedup <= predicted.point {
        return Prediction {
            speedup: Estimate::new(predicted.low.max(low), predicted.point, predicted.high),
            ..prediction
        };
    }
    let speedup = Estimate::new(predicted.low.max(low), speedup, predicted.high.max(high));
    Prediction { workers: prediction.workers.max(seen.min(most)), speedup, ..prediction }
}

/// Takes what is likely from another prediction, and keeps the low end.
fn hold_least(one: &mut Prediction, likely: &Prediction) {
    if one.executor == likely.executor && one.speedup.point < likely.speedup.point {
        let (low, high) = (one.speedup.low, one.speedup.high.max(likely.speedup.high));
        *one = Prediction { speedup: Estimate::new(low, likely.speedup.point, high), ..*likely };
    }
}

/// The most that an executor's throughput may be over the best one's: in each of these cases, which hold for both at once, by
/// what is open besides. `lock`: threads may queue for one, and are then no faster than one.
fn most_of_best(cases: &[Vec<Prediction>], one: predict::Executor, best: predict::Executor, lock: bool) -> Option<f64> {
    let of =
        |case: &[Prediction], executor| case.iter().find(|other| other.executor == executor).map(|other| other.speedup);
    let least = |speedup: Estimate| {
        if lock && best == predict::Executor::Thread { speedup.low.min(1.0) } else { speedup.low }
    };
    let most = |case: &Vec<Prediction>| Some(of(case, one)?.high / least(of(case, best)?).max(f64::MIN_POSITIVE));
    cases.iter().filter_map(most).reduce(f64::max)
}

/// Opens the intervals so far that they hold what else may be; no pool is what all is measured against.
fn widen(best: &mut [Prediction], others: &[Prediction]) {
    for one in best.iter_mut().filter(|one| one.executor != predict::Executor::Serial) {
        for other in others.iter().filter(|other| other.executor == one.executor) {
            one.speedup.low = one.speedup.low.min(other.speedup.low);
            one.speedup.high = one.speedup.high.max(other.speedup.high);
        }
    }
}

/// Whether a coroutine waits without awaiting for so long that it matters.
fn blocks_its_loop(task: &TaskDemand, evidence: &Evidence) -> bool {
    evidence.is_coroutine && task.loop_waiting > LOCK_MATTERS * (task.cpu + task.wait)
}

/// Whether threads could gain, where a stage computes for most of its time, only by code that runs at once without the
/// interpreter lock, and no run in threads showed that it does: a library may have locks of its own, which one caller at a
/// time never meets.
fn overlap_unseen(task: &TaskDemand, evidence: &Evidence) -> bool {
    let seen = evidence.found == Some(Executor::Thread) && task.seen_at_once >= OVERLAPS;
    !seen && task.own_cpu > 0.5 * (task.cpu + task.wait)
}

/// What the run did not show of a stage, and bears on which executor is preferred.
#[derive(Debug, Clone, Copy)]
struct Doubts {
    /// Its threads would have to overlap native code, which was not seen.
    unseen: bool,
    /// It blocks its event loop.
    blocking: bool,
    /// It waits for most of its time, and not for a lock that its function names: how long it holds the interpreter's when
    /// many run at once is less than was seen.
    waits: bool,
    /// It is a coroutine that may, but need not, compute for most of its time.
    awaits: bool,
}

/// The highest throughput; a simpler one within 3 %, or 5 % where the intervals overlap, and threads of what waits within
/// 40 %. Threads whose code was `unseen` to overlap are not simpler than processes. An event loop only for what is a
/// coroutine already: whether rewriting pays is a reason of its own.
fn pick(best: &[Prediction], evidence: &Evidence, doubts: Doubts) -> Option<Prediction> {
    let is_coroutine = evidence.is_coroutine;
    // Threads share the lock that the loop holds, and cost more each: they gain only where the lock is let go, or what blocks a loop overlaps in them.
    let released = evidence.gil.share().is_some_and(|share| share.point < GIL_BINDS) || doubts.blocking;
    let eligible = |one: &&Prediction| match one.executor {
        predict::Executor::Asyncio => is_coroutine,
        predict::Executor::Thread => !is_coroutine || released,
        predict::Executor::Process => !doubts.awaits,
        predict::Executor::Serial => true,
    };
    let top = best.iter().filter(eligible).max_by(|one, other| one.speedup.point.total_cmp(&other.speedup.point))?;
    let close = |one: &&Prediction| {
        let overlap = one.speedup.high >= top.speedup.low;
        let share = match (one.executor, top.executor) {
            (predict::Executor::Thread, predict::Executor::Process) if doubts.waits && overlap => WARMER,
            (predict::Executor::Thread, predict::Executor::Process) if doubts.unseen => 0.0,
            (predict::Executor::Serial, predict::Executor::Thread) => CLOSE_TO_NO_POOL,
            _ if overlap => CLOSE_OVERLAPPING,
            _ => CLOSE,
        };
        one.speedup.point >= (1.0 - share) * top.speedup.point
    };
    // What runs on a loop already stays there when nothing is won by moving it.
    if is_coroutine
        && let Some(stays) = best.iter().find(|one| one.executor == predict::Executor::Asyncio).filter(close)
    {
        return Some(*stays);
    }
    best.iter().filter(eligible).find(close).copied()
}

/// Tasks handed over at once, so that dispatch is a small part of a chunk, but every worker still gets several.
fn chunk(dispatch: f64, task: f64, tasks: u64, workers: u32) -> Option<u32> {
    let wanted = ratio(dispatch, CHUNK_DISPATCH * task)?.ceil().max(1.0);
    let most = (tasks / (4 * u64::from(workers.max(1)))).max(1);
    Some(wanted.min(most as f64) as u32)
}

impl From<predict::Executor> for Executor {
    fn from(executor: predict::Executor) -> Executor {
        match executor {
            predict::Executor::Serial => Executor::Serial,
            predict::Executor::Thread => Executor::Thread,
            predict::Executor::Asyncio => Executor::Asyncio,
            predict::Executor::Process => Executor::Process,
        }
    }
}
