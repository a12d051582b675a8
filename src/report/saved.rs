//! Between the evidence that a verdict takes and what a report keeps of it, both ways: what comes back is what was
//! written, to the last digit. Must not judge.

use super::kept::*;
use super::types::*;
use crate::predict::{self, TaskDemand};
use crate::stages;
use crate::units::Estimate;
use crate::verdict::{Evidence as Judgeable, Gil as Lock, Payload, PayloadSource};

/// What a report keeps of a task's demand.
pub(super) fn demand(task: &TaskDemand) -> Demand {
    Demand {
        cpu_seconds: task.cpu,
        own_cpu_seconds: task.own_cpu,
        alone_seconds: task.alone,
        gil_seconds: task.gil.point,
        gil_interval: [task.gil.low, task.gil.high],
        gil_waiting_seconds: task.held_waiting,
        loop_waiting_seconds: Some(task.loop_waiting),
        wait_seconds: task.wait,
        released_run_seconds: task.released_run,
        shortest_released_run_seconds: task.shortest_run,
        payload_parent_seconds: task.payload.map(|payload| payload.parent),
        payload_transfer_seconds: task.payload.map(|payload| payload.transfer),
        payload_worker_seconds: task.payload.map(|payload| payload.worker),
        worker_bytes: task.worker_bytes,
        lock_limit_per_second: task.lock_limit,
        awaitable: task.awaitable,
        seen_at_once: task.seen_at_once,
    }
}

/// What a report keeps of the rest.
pub(super) fn evidence(judged: &Judgeable) -> Evidence {
    Evidence {
        inside: judged.is_inside,
        pool: judged.is_pool,
        feeds_pool: judged.feeds_pool,
        outside_stages: judged.is_outside,
        shared_state: judged.shared_state,
        takes_lock: judged.takes_lock.clone(),
        lock: match judged.gil {
            Lock::NotPython => LockKnown::NotPython,
            Lock::Unknown => LockKnown::Unread,
            Lock::Thin => LockKnown::Thin,
            Lock::Absent => LockKnown::Absent,
            Lock::Held { .. } => LockKnown::Read,
        },
        workers: judged.workers,
        cpu_seconds: judged.cpu,
        own_wait_seconds: judged.wait,
        lock_wait_seconds: judged.lock_wait,
        tasks: judged.tasks,
        task_seconds: judged.task_seconds,
        first_calls: judged.first_calls.map(|first| first.0),
        first_call_seconds: judged.first_calls.map(|first| first.1),
        joins_open: judged.joins_open,
        chunk_tasks: judged.chunk,
        unfinished_share: judged.unfinished_share,
        sampled_calls: judged.sampled_calls,
        cores_used: judged.cores_used,
        at_once: judged.at_once,
        cores_held: judged.cores_held,
        cores_overlapped: judged.cores_overlapped,
        cores_wanted: judged.cores_wanted,
        stretches: judged
            .phases
            .iter()
            .map(|phase| Stretch {
                start_seconds: phase.start,
                end_seconds: phase.end,
                score: phase.score,
                demand_seconds: phase.demand,
            })
            .collect(),
    }
}

/// What a report keeps of the costs.
pub(super) fn costs(costs: &predict::Costs) -> Costs {
    Costs {
        thread_dispatch_seconds: costs.thread_dispatch,
        process_parent_seconds: costs.process_parent,
        process_worker_seconds: costs.process_worker,
        process_idle_seconds: Some(costs.process_idle),
        asyncio_dispatch_seconds: costs.asyncio_dispatch,
        gil_handover_seconds: costs.gil_handover,
    }
}

/// The costs that a report kept.
pub(super) fn costs_of(kept: &Costs) -> predict::Costs {
    predict::Costs {
        thread_dispatch: kept.thread_dispatch_seconds,
        process_parent: kept.process_parent_seconds,
        process_worker: kept.process_worker_seconds,
        // Reports of before it was measured: three threads are woken in turn, each at about the price of the parent's part.
        process_idle: kept.process_idle_seconds.unwrap_or(3.0 * kept.process_parent_seconds),
        asyncio_dispatch: kept.asyncio_dispatch_seconds,
        gil_handover: kept.gil_handover_seconds,
    }
}

/// The evidence that a report kept of a stage; `None` where it is of a version that kept none.
pub(super) fn evidence_of(stage: &Stage) -> Option<Judgeable> {
    let kept = stage.evidence.as_ref()?;
    let gil = match (kept.lock, &stage.gil) {
        (LockKnown::NotPython, _) => Lock::NotPython,
        (LockKnown::Absent, _) => Lock::Absent,
        (LockKnown::Read, Some(gil)) => Lock::Held {
            share: Estimate::new(gil.interval[0], gil.share_of_cpu, gil.interval[1]),
            released_run: gil.released_run_seconds,
        },
        (LockKnown::Thin, _) => Lock::Thin,
        (LockKnown::Unread, _) | (LockKnown::Read, None) => Lock::Unknown,
    };
    let score = stage.score.map(|score| {
        let [low, high] = stage.score_interval.unwrap_or([score, score]);
        Estimate::new(low, score, high)
    });
    Some(Judgeable {
        is_inside: kept.inside,
        is_coroutine: stage.kind == StageKind::Coroutine,
        is_python: stage.language == Language::Python,
        is_pool: kept.pool,
        feeds_pool: kept.feeds_pool,
        is_outside: kept.outside_stages,
        shared_state: kept.shared_state,
        takes_lock: kept.takes_lock.clone(),
        found: stage.runs_as.map(|runs| runs.executor.into()),
        workers: kept.workers,
        score,
        cpu: kept.cpu_seconds,
        wait: kept.own_wait_seconds,
        lock_wait: kept.lock_wait_seconds,
        tasks: kept.tasks,
        task_seconds: kept.task_seconds,
        first_calls: kept.first_calls.zip(kept.first_call_seconds),
        joins_open: kept.joins_open,
        chunk: kept.chunk_tasks.max(1.0),
        unfinished_share: kept.unfinished_share,
        sampled_calls: kept.sampled_calls,
        cores_used: kept.cores_used,
        at_once: kept.at_once.max(1.0),
        cores_held: kept.cores_held,
        cores_overlapped: kept.cores_overlapped,
        cores_wanted: kept.cores_wanted,
        worker_bytes: stage.memory.per_worker_bytes,
        gil,
        phases: kept
            .stretches
            .iter()
            .map(|stretch| stages::Phase {
                start: stretch.start_seconds,
                end: stretch.end_seconds,
                score: stretch.score,
                demand: stretch.demand_seconds,
            })
            .collect(),
        task: stage.demand.as_ref().map(|kept| task_of(kept, stage)),
    })
}

/// A task's demand but for its payload.
fn task_of(kept: &Demand, stage: &Stage) -> TaskDemand {
    TaskDemand {
        cpu: kept.cpu_seconds,
        own_cpu: kept.own_cpu_seconds,
        gil: Estimate::new(kept.gil_interval[0], kept.gil_seconds, kept.gil_interval[1]),
        alone: kept.alone_seconds,
        held_waiting: kept.gil_waiting_seconds,
        loop_waiting: kept.loop_waiting_seconds.unwrap_or(0.0),
        wait: kept.wait_seconds,
        released_run: kept.released_run_seconds,
        shortest_run: kept.shortest_released_run_seconds,
        payload: None,
        picklable: None,
        awaitable: kept.awaitable,
        worker_bytes: kept.worker_bytes,
        lock_limit: kept.lock_limit_per_second,
        lock_spans_processes: stage.runs_as.as_ref().is_some_and(|runs_as| runs_as.executor == Executor::Process),
        seen_at_once: kept.seen_at_once,
    }
}

/// The payload that a report kept of a stage.
pub(super) fn payload_of(stage: &Stage) -> Option<Payload> {
    let ipc = stage.ipc.as_ref()?;
    let sides = stage.demand.as_ref();
    Some(Payload {
        argument_bytes: ipc.argument_bytes,
        result_bytes: ipc.result_bytes,
        source: match ipc.source {
            IpcSource::Declared => PayloadSource::Declared,
            IpcSource::Estimated => PayloadSource::Files,
            IpcSource::UpperBound => PayloadSource::UpperBound,
            IpcSource::Partial => PayloadSource::Partial,
            IpcSource::Measured => PayloadSource::Measured,
            IpcSource::Unknown => PayloadSource::Unknown,
        },
        seconds: ipc.seconds_per_task,
        picklable: ipc.picklable,
        parent_seconds: sides.and_then(|sides| sides.payload_parent_seconds),
        transfer_seconds: sides.and_then(|sides| sides.payload_transfer_seconds),
        worker_seconds: sides.and_then(|sides| sides.payload_worker_seconds),
        readings: ipc.readings,
        error: ipc.error_ratio,
    })
}
