//! What dispatch costs: handing a task to each executor and taking its result, measured by the interpreter itself. Must
//! not believe what it prints before checking it.

use super::{HostIdentity, InterpreterIdentity, Median, NoPickle, interpreter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

const SCRIPT: &str = include_str!("dispatch.py");

/// Every process of the script ends by itself after 8 s.
const TIME_OUT: Duration = Duration::from_secs(10);

/// The processes of a measurement: the parent and two workers.
const WANTED_CORES: f64 = 3.0;
/// Others that use less of a core disturb little.
const QUIET_CORES: f64 = 0.2;
/// A loop that wants nothing but a CPU has at least so much of one on a machine that is not crowded.
const LEAST_BURN: f64 = 0.9;

/// No task, step or hand-over costs more, and no byte.
const MOST_TASK: f64 = 0.1;
const MOST_BYTE: f64 = 1e-5;
/// The start of a worker may read an interpreter from a slow disk.
const MOST_START: f64 = 8.0;

/// What it costs to hand tasks to an executor. Times in seconds; a pool has two workers and four tasks in flight, handed
/// out as they are taken back (`submit` and `wait(FIRST_COMPLETED)`), and a task does nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DispatchCost {
    /// Wall time a task takes through a saturated pool of threads; the lock is held for nearly all of it.
    pub thread_task: Median,
    /// CPU time of all threads in the same measurement: what the time costs where hand-overs of the lock leave it idle.
    pub thread_task_cpu: Median,
    /// CPU time of the parent, all its threads, a task of a pool of processes.
    pub process_task_parent: Median,
    /// CPU time of the workers a task.
    pub process_task_worker: Median,
    /// Wall time a task at saturation: the pool's throughput is one over it.
    pub process_task_wall: Median,
    /// More CPU time of the parent for each byte of a `bytes` argument: pickled by the pool, pipe included.
    pub process_byte_parent: Median,
    /// More CPU time of the workers for each byte of an argument.
    pub process_byte_worker: Median,
    /// More wall time at saturation for each byte of an argument: one thread writes them all, into one pipe.
    pub process_byte_wall: Median,
    /// More CPU time of the parent for each byte of a `bytes` result.
    pub process_result_byte_parent: Median,
    /// More CPU time of the workers for each byte of a result.
    pub process_result_byte_worker: Median,
    /// More wall time at saturation for each byte of a result.
    pub process_result_byte_wall: Median,
    /// How long a worker stands idle between two tasks of some 0.5 ms though others wait: the hand-overs from the threads of
    /// its parent to it and back.
    pub process_task_idle: Median,
    /// One coroutine run as a task that awaits `sleep(0)` once, gathered with 199 others: its making, two turns, its end.
    pub asyncio_step: Median,
    /// What a release of the lock costs as soon as another thread wants it: what a turn of two threads that each hold it
    /// for some 10 µs and release it for 1 takes above the hold. `None` where there is no lock, or where it could not be
    /// told. The script's `handover` tells how it is derived.
    pub gil_handover: Option<Median>,
    /// How long a thread waits for the lock before it asks for it.
    pub switch_interval: f64,
    /// From making a pool of one process to its first result, by `fork`; from a small parent.
    pub worker_start_fork: Option<Median>,
    /// The same by `spawn`: one sample.
    pub worker_start_spawn: Option<Median>,
    /// The same by `forkserver`, the start of the server included: one sample.
    pub worker_start_forkserver: Option<Median>,
    /// Wall time a task takes through a saturated pool of sub-interpreters; `None` before Python 3.14.
    pub interpreter_task: Option<Median>,
    /// Whether this interpreter runs without a lock.
    pub free_threaded: bool,
    /// Why an optional figure is missing that this interpreter should have had.
    pub unmeasured: BTreeMap<String, String>,
    /// CPU time over wall time of a loop that wanted nothing but a CPU.
    pub burn_cpu_share: f64,
    /// Cores that others used meanwhile, of the whole machine.
    pub others_cores: Option<f64>,
    /// Cores of the whole machine.
    pub machine_cores: f64,
    /// How long it took to measure.
    pub seconds: f64,
    /// Its implementation and version, such as `CPython 3.11.7`.
    pub version: String,
}

/// Why the cost of dispatch is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum NoDispatch {
    /// There is no interpreter.
    #[error("the cost of dispatch is unknown: no Python interpreter on `PATH` (`python3`) or at the path given")]
    NoInterpreter,
    /// The interpreter did not answer; what it said instead.
    #[error("the cost of dispatch is unknown: {0}")]
    Failed(String),
}

impl From<NoPickle> for NoDispatch {
    fn from(reason: NoPickle) -> NoDispatch {
        match reason {
            NoPickle::NoInterpreter => NoDispatch::NoInterpreter,
            NoPickle::Failed(why) => NoDispatch::Failed(why),
        }
    }
}

/// The costs of dispatch, and what they were measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DispatchModel {
    /// The costs.
    pub cost: Result<DispatchCost, NoDispatch>,
    /// When they were measured, in seconds since 1970.
    pub measured_at_unix_seconds: u64,
    /// The host that they hold for.
    pub host: HostIdentity,
    /// The interpreter that they hold for, if there is one.
    pub interpreter: Option<InterpreterIdentity>,
}

impl DispatchModel {
    /// Whether the machine was not quiet enough to measure: others used it, or a median spreads widely.
    pub fn noisy(&self) -> bool {
        self.cost.as_ref().is_ok_and(|cost| cost.busy() || cost.rows().iter().any(|row| row.known().noisy()))
    }
}

/// One figure by its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The name of the field.
    pub name: &'static str,
    /// The figure.
    pub cost: Option<Median>,
    /// More would not be believed.
    most: f64,
}

impl Row {
    fn known(self) -> Median {
        self.cost.unwrap_or(Median { value: 0.0, deviation: 0.0 })
    }

    fn plausible(self) -> bool {
        let within = |median: Median| {
            median.value > 0.0 && median.value < self.most && (0.0..self.most).contains(&median.deviation)
        };
        self.cost.is_none_or(within)
    }
}

impl DispatchCost {
    /// Whether others had a part of the CPUs while it was measured: they may be off either way.
    pub fn busy(&self) -> bool {
        let crowded = |others: f64| others > QUIET_CORES && self.machine_cores - others < WANTED_CORES;
        self.burn_cpu_share < LEAST_BURN || self.others_cores.is_some_and(crowded)
    }

    /// Every figure with a spread.
    pub fn rows(&self) -> [Row; 18] {
        let must = |name, cost, most| Row { name, cost: Some(cost), most };
        let may = |name, cost, most| Row { name, cost, most };
        [
            must("thread_task", self.thread_task, MOST_TASK),
            must("thread_task_cpu", self.thread_task_cpu, MOST_TASK),
            must("process_task_parent", self.process_task_parent, MOST_TASK),
            must("process_task_worker", self.process_task_worker, MOST_TASK),
            must("process_task_wall", self.process_task_wall, MOST_TASK),
            must("process_byte_parent", self.process_byte_parent, MOST_BYTE),
            must("process_byte_worker", self.process_byte_worker, MOST_BYTE),
            must("process_byte_wall", self.process_byte_wall, MOST_BYTE),
            must("process_result_byte_parent", self.process_result_byte_parent, MOST_BYTE),
            must("process_result_byte_worker", self.process_result_byte_worker, MOST_BYTE),
            must("process_result_byte_wall", self.process_result_byte_wall, MOST_BYTE),
            must("process_task_idle", self.process_task_idle, MOST_TASK),
            must("asyncio_step", self.asyncio_step, MOST_TASK),
            may("gil_handover", self.gil_handover, MOST_TASK),
            may("worker_start_fork", self.worker_start_fork, MOST_START),
            may("worker_start_spawn", self.worker_start_spawn, MOST_START),
            may("worker_start_forkserver", self.worker_start_forkserver, MOST_START),
            may("interpreter_task", self.interpreter_task, MOST_TASK),
        ]
    }

    pub(super) fn plausible(&self) -> bool {
        let share = self.burn_cpu_share >= 0.0 && self.burn_cpu_share < 2.0;
        let others = self.others_cores.is_none_or(|cores| (0.0..1e6).contains(&cores));
        let interval = self.switch_interval > 0.0 && self.switch_interval < 1e6;
        share && others && interval && self.rows().into_iter().all(Row::plausible)
    }
}

/// Measures in about a second.
pub(super) fn measure_on(
    host: HostIdentity,
    interpreter: Result<InterpreterIdentity, NoPickle>,
    now: u64,
) -> DispatchModel {
    let cost = interpreter.clone().map_err(NoDispatch::from).and_then(|interpreter| measure(&interpreter));
    DispatchModel { cost, measured_at_unix_seconds: now, host, interpreter: interpreter.ok() }
}

fn measure(interpreter: &InterpreterIdentity) -> Result<DispatchCost, NoDispatch> {
    let line = interpreter::run(Path::new(&interpreter.path), SCRIPT, TIME_OUT)?;
    parse(&line).ok_or_else(|| NoDispatch::Failed(format!("`{}` printed `{}`", interpreter.path, line.escape_debug())))
}

fn parse(line: &str) -> Option<DispatchCost> {
    let cost: DispatchCost = serde_json::from_str(line).ok()?;
    cost.plausible().then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer() -> Value {
        let median = |value: f64| json!({"value": value, "deviation": value / 10.0});
        json!({
            "thread_task": median(2e-5), "thread_task_cpu": median(2e-5),
            "process_task_parent": median(1e-4), "process_task_worker": median(3e-5), "process_task_wall": median(1e-4),
            "process_byte_parent": median(3e-10), "process_byte_worker": median(5e-10), "process_byte_wall": median(1e-9),
            "process_result_byte_parent": median(9e-10), "process_result_byte_worker": median(3e-10),
            "process_result_byte_wall": median(1e-9), "process_task_idle": median(2e-4),
            "asyncio_step": median(8e-6), "gil_handover": median(3e-6), "switch_interval": 0.005,
            "worker_start_fork": median(4e-3), "worker_start_spawn": median(0.1), "worker_start_forkserver": null,
            "free_threaded": false, "unmeasured": {"worker_start_forkserver": "OSError: no sockets"},
            "burn_cpu_share": 0.99, "others_cores": 0.02, "machine_cores": 2, "seconds": 1.0, "version": "CPython 3.11.7"
        })
    }

    fn with(name: &str, value: Value) -> Option<DispatchCost> {
        let mut answer = answer();
        answer[name] = value;
        parse(&answer.to_string())
    }

    #[test]
    fn what_an_interpreter_prints_is_checked() {
        let cost = parse(&answer().to_string()).expect("it is whole");
        assert_eq!((cost.thread_task.value, cost.interpreter_task, cost.worker_start_forkserver), (2e-5, None, None));
        for row in cost.rows() {
            for (value, deviation) in
                [("-1e-6", "0"), ("0", "0"), ("1e3", "0"), ("1e-6", "-1"), ("NaN", "0"), ("1e-6", "1e300")]
            {
                let mut answer = answer();
                answer[row.name] = json!("here");
                let text = answer.to_string();
                let text = text.replace("\"here\"", &format!(r#"{{"value": {value}, "deviation": {deviation}}}"#));
                assert_eq!(parse(&text), None, "{}: {value} {deviation}", row.name);
            }
            assert_eq!(with(row.name, json!("many")), None, "{}", row.name);
        }
        for (name, value) in
            [("switch_interval", json!(0)), ("burn_cpu_share", json!(-1)), ("others_cores", json!(1e9))]
        {
            assert_eq!(with(name, value), None, "{name}");
        }
        assert_eq!(parse("{}"), None);
        assert_eq!(parse("Traceback"), None);
    }

    #[test]
    fn what_every_interpreter_has_must_not_be_missing() {
        let whole = answer();
        let names = whole.as_object().expect("it is one").keys();
        for name in names.filter(|name| !name.starts_with("worker_start") && *name != "gil_handover") {
            let mut answer = answer();
            answer.as_object_mut().expect("it is one").remove(name);
            let optional = name == "others_cores";
            assert_eq!(parse(&answer.to_string()).is_some(), optional, "{name}");
        }
    }

    #[test]
    fn a_machine_that_others_use_is_busy() {
        let busy = |name, value| with(name, value).expect("it is plausible").busy();
        assert!(!busy("others_cores", Value::Null) && !busy("others_cores", json!(0.1)));
        assert!(busy("others_cores", json!(0.5)) && busy("burn_cpu_share", json!(0.6)));
        let large =
            DispatchCost { others_cores: Some(8.0), machine_cores: 64.0, ..with("seconds", json!(1)).expect("whole") };
        assert!(!large.busy(), "enough is left");
        let model = |cost| DispatchModel {
            cost: Ok(cost),
            measured_at_unix_seconds: 0,
            host: HostIdentity::default(),
            interpreter: None,
        };
        assert!(!model(large.clone()).noisy());
        assert!(model(DispatchCost { burn_cpu_share: 0.5, ..large.clone() }).noisy());
        let wide = Median { value: 1e-5, deviation: 1e-5 };
        assert!(model(DispatchCost { thread_task: wide, ..large }).noisy());
    }

    #[test]
    fn without_an_interpreter_it_says_so() {
        let model = measure_on(HostIdentity::default(), Err(NoPickle::NoInterpreter), 7);
        assert_eq!((model.cost.clone(), model.interpreter.clone()), (Err(NoDispatch::NoInterpreter), None));
        assert!(!model.noisy());
    }
}
