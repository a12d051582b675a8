//! What dispatch and payloads cost on the host and with the interpreter that a run was judged by: calibrated, not seen in
//! the run, and kept with it so that its trace is judged alike elsewhere. Values alone: must not measure, nor decide.

use serde::{Deserialize, Serialize};

/// No price is above this, seconds a task, a message or a byte.
const MOST: f64 = 100.0;

/// The prices that a judgement took. What is `None` was not asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Prices {
    /// Of handing out tasks, with the interpreter that ran the stages; or why they are not known.
    pub tasks: Option<Result<TaskPrices, String>>,
    /// Of payloads whose size alone is known; or why they are not known.
    pub payloads: Option<Result<PayloadPrices, String>>,
}

/// What handing one task to an executor costs, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskPrices {
    /// To a thread, and taking its result.
    pub thread_dispatch: f64,
    /// To a process, in the parent.
    pub process_parent: f64,
    /// And in the worker.
    pub process_worker: f64,
    /// A worker between two tasks, though others wait.
    pub process_idle: f64,
    /// One step of an event loop.
    pub asyncio_dispatch: f64,
    /// Handing the interpreter lock from one thread to another that wants it.
    pub gil_handover: f64,
    /// A byte of an argument, its pickling left out.
    pub argument: BytePrice,
    /// A byte of a result, its pickling left out.
    pub result: BytePrice,
    /// Pickling, where that was measured.
    pub pickling: Option<PicklePrices>,
    /// Whether the machine was busy meanwhile.
    pub noisy: bool,
}

/// Seconds that moving a byte takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BytePrice {
    /// CPU time in the parent.
    pub parent: f64,
    /// CPU time in the worker.
    pub worker: f64,
    /// Wall time of the pipe, which all workers share.
    pub pipe: f64,
}

/// What pickling costs: seconds, and seconds a byte of the pickle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PicklePrices {
    /// Pickling and unpickling next to nothing.
    pub fixed: f64,
    /// Pickling a byte of one `bytes` object, the cheapest there is.
    pub least_dumps: f64,
    /// And unpickling it.
    pub least_loads: f64,
    /// Pickling a byte of small objects.
    pub dear_dumps: f64,
    /// And unpickling it.
    pub dear_loads: f64,
}

/// What a payload costs by its size: pickled, moved and unpickled as a `bytes` object, one way. Seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PayloadPrices {
    /// Of a message, whatever its size.
    pub fixed: f64,
    /// Of a byte.
    pub per_byte: f64,
    /// The interpreter that pickled.
    pub interpreter: String,
    /// Its version.
    pub version: String,
    /// Whether the machine was busy meanwhile.
    pub noisy: bool,
}

impl Prices {
    /// Whether none was asked for.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_none() && self.payloads.is_none()
    }

    /// Its texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let reasons = [self.tasks.as_ref().and_then(why), self.payloads.as_ref().and_then(why)];
        let found = self.payloads.iter().flatten().flat_map(|found| [found.interpreter.as_str(), &found.version]);
        reasons.into_iter().flatten().chain(found)
    }

    /// The same with its texts cut by `fit`.
    pub(super) fn fitted(&self, fit: impl Fn(&str) -> String) -> Prices {
        let payloads = self.payloads.as_ref().map(|found| match found {
            Ok(found) => Ok(PayloadPrices {
                interpreter: fit(&found.interpreter),
                version: fit(&found.version),
                ..found.clone()
            }),
            Err(why) => Err(fit(why)),
        });
        let tasks = self.tasks.as_ref().map(|found| found.as_ref().map(|found| *found).map_err(|why| fit(why)));
        Prices { tasks, payloads }
    }

    /// Whether every number could be a price: finite, not negative, and no more than a hundred seconds.
    pub(super) fn are_plausible(&self) -> bool {
        let tasks = self.tasks.iter().flatten().flat_map(TaskPrices::numbers);
        let payloads = self.payloads.iter().flatten().flat_map(|found| [found.fixed, found.per_byte]);
        tasks.chain(payloads).all(|price| (0.0..=MOST).contains(&price))
    }
}

impl TaskPrices {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        let pickling = self
            .pickling
            .into_iter()
            .flat_map(|one| [one.fixed, one.least_dumps, one.least_loads, one.dear_dumps, one.dear_loads]);
        let bytes = [self.argument, self.result].into_iter().flat_map(|byte| [byte.parent, byte.worker]);
        [self.thread_dispatch, self.process_parent, self.process_worker, self.asyncio_dispatch, self.gil_handover]
            .into_iter()
            .chain(bytes)
            .chain(pickling)
    }
}

fn why<T>(found: &Result<T, String>) -> Option<&str> {
    found.as_ref().err().map(String::as_str)
}
