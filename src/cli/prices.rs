//! What dispatch and moving a payload cost with the interpreter that runs the stages: measured or cached where a run is
//! judged, read back where its trace is. Measured only where it is asked for. Must not decide anything with it.

use crate::calibrate::{self, CostModel, DispatchCost, Median};
use crate::predict::Costs;
use crate::report::PayloadPrice;
use crate::stages::{PickleBounds, Stages};
use crate::trace::{BytePrice, PayloadPrices, PicklePrices, Prices, TaskPrices};
use crate::verdict::Payload;
use std::path::Path;

/// Tasks that take this many times what a process pool adds to each hardly feel an error of it.
const DISPATCH_MATTERS: f64 = 50.0;

/// Three threads of the parent are woken in turn between two tasks of a worker, each at about the price of the parent's whole
/// part in CPU time. A worker that stood idle for longer than this many times that waited for a CPU which others had.
const MOST_HAND_OVERS: f64 = 4.0;

/// Both ends of a pipe take turns. What took longer than this many times their CPU time waited for a CPU that others had.
const MOST_WALL: f64 = 2.0;

/// The prices of one host: those that were asked for so far, and whether others may be measured.
#[derive(Debug, Clone, Default)]
pub struct PriceBook {
    known: Prices,
    measures: bool,
}

impl PriceBook {
    /// That of this host, still empty.
    pub fn of_this_host() -> PriceBook {
        PriceBook { known: Prices::default(), measures: true }
    }

    /// That of another one, as a trace kept it: nothing is added to it.
    pub fn kept(prices: Option<Prices>) -> PriceBook {
        PriceBook { known: prices.unwrap_or_default(), measures: false }
    }

    /// All that was asked for.
    pub fn known(&self) -> &Prices {
        &self.known
    }

    /// What tasks cost in the interpreter that runs the stages; `None`, with a note, where that is not known.
    pub fn tasks(&mut self, stages: &Stages, notes: &mut Vec<String>) -> Option<TaskPrices> {
        let inside = || stages.stages.iter().filter(|stage| stage.tasks.is_some());
        let exe = inside().next()?.exe.as_deref().map(Path::new);
        if self.measures && self.known.tasks.is_none() {
            self.known.tasks = Some(measured(exe));
        }
        let prices = match &self.known.tasks {
            Some(Ok(prices)) => *prices,
            Some(Err(why)) => {
                notes.push(format!("executors are not predicted: {why}"));
                return None;
            }
            None => {
                notes.push("executors are not predicted: this trace does not carry what dispatch cost where it was recorded; record it again with this poolpick".to_owned());
                return None;
            }
        };
        let pool = prices.process_parent + prices.process_worker;
        let is_felt = |seconds: f64| seconds < DISPATCH_MATTERS * pool;
        if prices.noisy && inside().any(|stage| stage.task_seconds().is_none_or(is_felt)) {
            notes.push("the machine was busy while the cost of dispatch was measured, and tasks are short enough to feel it: `poolpick calibrate --refresh` measures it again".to_owned());
        }
        Some(prices)
    }

    /// What a payload of known size costs; `None` where that is not known, and `about_payloads` says why.
    pub fn payloads(&mut self) -> Option<&PayloadPrices> {
        if self.measures && self.known.payloads.is_none() {
            self.known.payloads = Some(line(&calibrate::load_or_measure(None)));
        }
        self.known.payloads.as_ref()?.as_ref().ok()
    }

    /// The same as a report keeps it.
    pub fn payload_price(&mut self) -> Option<PayloadPrice> {
        let prices = self.payloads()?;
        Some(PayloadPrice { fixed_seconds: prices.fixed, seconds_per_byte: prices.per_byte })
    }

    /// What the price of payloads rests on.
    pub fn about_payloads(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match &self.known.payloads {
            Some(Ok(prices)) => {
                notes.push(format!(
                    "payloads are priced as `bytes` objects, the cheapest to pickle, with {} (Python {})",
                    prices.interpreter, prices.version
                ));
                if prices.noisy {
                    notes.push(
                        "the machine was busy while the price of payloads was measured: it may be too high".to_owned(),
                    );
                }
            }
            Some(Err(reason)) => notes.push(format!("payloads have no price: {reason}")),
            None => {}
        }
        notes
    }
}

/// Of a task, as predictions take it.
pub fn costs(prices: &TaskPrices) -> Costs {
    Costs {
        thread_dispatch: prices.thread_dispatch,
        process_parent: prices.process_parent,
        process_worker: prices.process_worker,
        process_idle: prices.process_idle,
        asyncio_dispatch: prices.asyncio_dispatch,
        gil_handover: prices.gil_handover,
    }
}

/// Within what pickling a small payload is believed.
pub fn bounds(prices: &TaskPrices) -> Option<PickleBounds> {
    let pickling = prices.pickling?;
    Some(PickleBounds {
        fixed: pickling.fixed / 2.0,
        pickle: (pickling.least_dumps, pickling.dear_dumps),
        unpickle: (pickling.least_loads, pickling.dear_loads),
    })
}

/// A payload whose pickling was measured, with what moving its bytes takes besides.
pub fn moved(prices: &TaskPrices, payload: Payload) -> Payload {
    let cost = |bytes: Option<u64>, seconds: f64| bytes.unwrap_or(0) as f64 * seconds;
    let (there, back) = (payload.argument_bytes, payload.result_bytes);
    let parent = cost(there, prices.argument.parent) + cost(back, prices.result.parent);
    let worker = cost(there, prices.argument.worker) + cost(back, prices.result.worker);
    let pipes = cost(there, prices.argument.pipe).max(cost(back, prices.result.pipe));
    Payload {
        transfer_seconds: Some(pipes),
        seconds: payload.seconds.map(|seconds| seconds + parent + worker),
        parent_seconds: payload.parent_seconds.map(|seconds| seconds + parent),
        worker_seconds: payload.worker_seconds.map(|seconds| seconds + worker),
        ..payload
    }
}

/// Measured or cached.
fn measured(exe: Option<&Path>) -> Result<TaskPrices, String> {
    let model = calibrate::load_or_measure_dispatch_for(exe, None);
    let cost = model.cost.as_ref().map_err(ToString::to_string)?;
    let pickling = calibrate::load_or_measure_for(exe, None).pickle.ok().map(|pickle| PicklePrices {
        fixed: pickle.fixed_seconds.value,
        least_dumps: pickle.bytes.dumps_seconds_per_byte.value,
        least_loads: pickle.bytes.loads_seconds_per_byte.value,
        dear_dumps: pickle.records.dumps_seconds_per_byte.value,
        dear_loads: pickle.records.loads_seconds_per_byte.value,
    });
    let (argument, result) = bytes(cost, pickling.as_ref());
    Ok(TaskPrices {
        thread_dispatch: cost.thread_task_cpu.value,
        process_parent: cost.process_task_parent.value,
        process_worker: cost.process_task_worker.value,
        process_idle: cost.process_task_idle.value.min(MOST_HAND_OVERS * cost.process_task_parent.value),
        asyncio_dispatch: cost.asyncio_step.value,
        gil_handover: cost.gil_handover.map_or(0.0, |handover| handover.value),
        argument,
        result,
        pickling,
        noisy: model.noisy(),
    })
}

/// A byte of an argument and of a result. The calibration moves `bytes` objects, and what the agent tells of pickling these,
/// one copy on either side, is in its figures: that is taken out again. The buffer that a pool pickles into, and the pages
/// that this touches, is no part of what the agent tells, so the whole price of pickling must stay.
fn bytes(cost: &DispatchCost, pickling: Option<&PicklePrices>) -> (BytePrice, BytePrice) {
    let copy = pickling.map_or(0.0, |pickling| pickling.least_dumps.min(pickling.least_loads));
    let less = |whole: f64, copy: f64| (whole - copy).max(0.0);
    let shared =
        |wall: Median, parent: Median, worker: Median| wall.value.min(MOST_WALL * (parent.value + worker.value));
    (
        BytePrice {
            pipe: shared(cost.process_byte_wall, cost.process_byte_parent, cost.process_byte_worker),
            parent: less(cost.process_byte_parent.value, copy),
            worker: less(cost.process_byte_worker.value, copy),
        },
        BytePrice {
            pipe: shared(
                cost.process_result_byte_wall,
                cost.process_result_byte_parent,
                cost.process_result_byte_worker,
            ),
            parent: less(cost.process_result_byte_parent.value, copy),
            worker: less(cost.process_result_byte_worker.value, copy),
        },
    )
}

/// What moving a payload costs, as a line over its bytes.
fn line(model: &CostModel) -> Result<PayloadPrices, String> {
    const FAR: u64 = 1 << 40;
    let pickle = model.pickle.as_ref().map_err(ToString::to_string)?;
    let unknown = || model.pipe.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let fixed = model.price(0).ok_or_else(unknown)?;
    let far = model.price(FAR).ok_or_else(unknown)?;
    Ok(PayloadPrices {
        fixed,
        per_byte: (far - fixed) / FAR as f64,
        interpreter: pickle.interpreter.clone(),
        version: pickle.version.clone(),
        noisy: model.noisy(),
    })
}
