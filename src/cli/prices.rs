//! What dispatch and moving a payload cost with the interpreter that runs the stages, from its calibration; measured only
//! where there are stages inside programs. Must not decide anything with it.

use crate::calibrate::{self, DispatchCost};
use crate::predict::Costs;
use crate::stages::Stages;
use crate::verdict::Payload;
use std::path::Path;

/// Tasks that take this many times what a process pool adds to each hardly feel an error of it.
const DISPATCH_MATTERS: f64 = 50.0;

/// Three threads of the parent are woken in turn between two tasks of a worker, each at about the price of the parent's whole
/// part in CPU time. A worker that stood idle for longer than this many times that waited for a CPU which others had.
const MOST_HAND_OVERS: f64 = 4.0;

/// The prices of one interpreter on this host.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    /// Of a task.
    pub costs: Costs,
    /// Of an argument's byte.
    argument: Byte,
    /// Of a result's byte.
    result: Byte,
}

/// CPU seconds that moving a byte takes from one side to the other, its pickling left out.
#[derive(Debug, Clone, Copy)]
struct Byte {
    parent: f64,
    worker: f64,
}

impl Prices {
    /// Measured or cached; `None`, with a note, where they are not known.
    pub fn of(stages: &Stages, notes: &mut Vec<String>) -> Option<Prices> {
        let inside = || stages.stages.iter().filter(|stage| stage.tasks.is_some());
        let exe = inside().next()?.exe.as_deref().map(Path::new);
        let model = calibrate::load_or_measure_dispatch_for(exe, None);
        let cost = match &model.cost {
            Ok(cost) => cost,
            Err(why) => {
                notes.push(format!("executors are not predicted: {why}"));
                return None;
            }
        };
        let pool = cost.process_task_parent.value + cost.process_task_worker.value;
        let is_felt = |seconds: f64| seconds < DISPATCH_MATTERS * pool;
        if model.noisy() && inside().any(|stage| stage.task_seconds().is_none_or(is_felt)) {
            notes.push("the machine was busy while the cost of dispatch was measured, and tasks are short enough to feel it: `poolpick calibrate --refresh` measures it again".to_owned());
        }
        let (argument, result) = bytes(cost, exe);
        Some(Prices {
            costs: Costs {
                thread_dispatch: cost.thread_task_cpu.value,
                process_parent: cost.process_task_parent.value,
                process_worker: cost.process_task_worker.value,
                process_idle: cost.process_task_idle.value.min(MOST_HAND_OVERS * cost.process_task_parent.value),
                asyncio_dispatch: cost.asyncio_step.value,
                gil_handover: cost.gil_handover.map_or(0.0, |handover| handover.value),
            },
            argument,
            result,
        })
    }

    /// A payload whose pickling was measured, with what moving its bytes takes besides.
    pub fn moved(&self, payload: Payload) -> Payload {
        let cost = |bytes: Option<u64>, seconds: f64| bytes.unwrap_or(0) as f64 * seconds;
        let (there, back) = (payload.argument_bytes, payload.result_bytes);
        let parent = cost(there, self.argument.parent) + cost(back, self.result.parent);
        let worker = cost(there, self.argument.worker) + cost(back, self.result.worker);
        Payload {
            seconds: payload.seconds.map(|seconds| seconds + parent + worker),
            parent_seconds: payload.parent_seconds.map(|seconds| seconds + parent),
            worker_seconds: payload.worker_seconds.map(|seconds| seconds + worker),
            ..payload
        }
    }
}

/// A byte of an argument and of a result. The calibration moves `bytes` objects, and what pickling these takes is in its
/// figures: that is taken out again.
fn bytes(cost: &DispatchCost, exe: Option<&Path>) -> (Byte, Byte) {
    let pickle = calibrate::load_or_measure_for(exe, None).pickle;
    let (dumps, loads) = pickle.map_or((0.0, 0.0), |pickle| {
        (pickle.bytes.dumps_seconds_per_byte.value, pickle.bytes.loads_seconds_per_byte.value)
    });
    let less = |whole: f64, pickling: f64| (whole - pickling).max(0.0);
    (
        Byte {
            parent: less(cost.process_byte_parent.value, dumps),
            worker: less(cost.process_byte_worker.value, loads),
        },
        Byte {
            parent: less(cost.process_result_byte_parent.value, loads),
            worker: less(cost.process_result_byte_worker.value, dumps),
        },
    )
}
