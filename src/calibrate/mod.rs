//! What it costs on this host to move a payload between two processes, measured in about a tenth of a second, and to hand
//! tasks to an executor, measured in about a second and only when asked for. Both are cached.
//! Must not decide anything with it, and must never fail: what could not be measured is a value that says why.

mod cache;
mod dispatch;
mod host;
mod interpreter;
mod median;
mod pickle;
mod pipe;

pub use cache::store;
pub use dispatch::{DispatchCost, DispatchModel, NoDispatch, Row};
pub use host::HostIdentity;
pub use interpreter::InterpreterIdentity;
pub use interpreter::no_python;
pub use median::Median;
pub use pickle::{NoPickle, PayloadCost, PickleCost};
pub use pipe::{NoPipe, PipeCost};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The costs of a payload's way from one process to another, and what they were measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// Moving bytes through a pipe.
    pub pipe: Result<PipeCost, NoPipe>,
    /// Making bytes of Python objects and objects of bytes.
    pub pickle: Result<PickleCost, NoPickle>,
    /// When it was measured, in seconds since 1970.
    pub measured_at_unix_seconds: u64,
    /// The host that it holds for.
    pub host: HostIdentity,
    /// The interpreter that it holds for, if there is one.
    pub interpreter: Option<InterpreterIdentity>,
}

/// What a payload is made of: the cheapest and a typical dear case. A payload of unknown make lies between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// One `bytes` object (an array, a frame, a blob): pickling is a copy.
    Bytes,
    /// A list of small dicts: pickling visits every object.
    Records,
}

impl CostModel {
    /// Seconds to pickle one message of `bytes` (its pickled size), move it and unpickle it, if it is one `bytes`
    /// object: the least that so many bytes can cost. `None` where a part is unknown.
    pub fn price(&self, bytes: u64) -> Option<f64> {
        self.price_of(Payload::Bytes, bytes)
    }

    /// Seconds to pickle one message of `bytes` (its pickled size), move it and unpickle it, one way:
    /// `fixed + bytes · (dumps + loads) + move_only(bytes)`. `None` where a part is unknown.
    pub fn price_of(&self, payload: Payload, bytes: u64) -> Option<f64> {
        let pickle = self.pickle.as_ref().ok()?;
        let cost = match payload {
            Payload::Bytes => &pickle.bytes,
            Payload::Records => &pickle.records,
        };
        let per_byte = cost.dumps_seconds_per_byte.value + cost.loads_seconds_per_byte.value;
        Some(pickle.fixed_seconds.value + bytes as f64 * per_byte + self.move_only(bytes)?)
    }

    /// Seconds to move one message of `bytes` through a pipe, one way: `per_message + bytes · per_byte`.
    pub fn move_only(&self, bytes: u64) -> Option<f64> {
        let pipe = self.pipe.as_ref().ok()?;
        Some(pipe.seconds_per_message.value + bytes as f64 * pipe.seconds_per_byte.value)
    }

    /// Whether a median of it spreads so widely that the machine was not quiet enough to measure.
    pub fn noisy(&self) -> bool {
        self.medians().any(|median| median.noisy())
    }

    fn medians(&self) -> impl Iterator<Item = Median> {
        let pipe = self.pipe.iter().flat_map(PipeCost::medians);
        let pickle = self.pickle.iter().flat_map(PickleCost::medians);
        pipe.chain(pickle)
    }
}

/// Measures, in about a tenth of a second. `python` is the interpreter; without one, the `python3` on `PATH`.
///
/// Starts a process and waits for it: not for a moment at which somebody else collects all children.
pub fn measure(python: Option<&Path>) -> CostModel {
    measure_on(HostIdentity::read(Path::new("/")), interpreter::identify(python), now())
}

/// The cached model of this host and the `python3` on `PATH`, or a new one, which is then cached.
///
/// The cache is `cache_dir`, or `$XDG_CACHE_HOME/poolpick`, or `~/.cache/poolpick`. A cache that cannot be read or
/// written, or that holds something else, costs a new measurement and nothing more.
pub fn load_or_measure(cache_dir: Option<PathBuf>) -> CostModel {
    load_or_measure_for(None, cache_dir)
}

/// As `load_or_measure`, for this interpreter.
pub fn load_or_measure_for(python: Option<&Path>, cache_dir: Option<PathBuf>) -> CostModel {
    let host = HostIdentity::read(Path::new("/"));
    let interpreter = interpreter::identify(python);
    let now = now();
    cache::load_or(cache_dir, host, interpreter, now, |host, interpreter| measure_on(host, interpreter, now))
}

/// Measures dispatch anew, in about a second. `python` is the interpreter; without one, the `python3` on `PATH`.
///
/// Starts processes and waits for them: not for a moment at which somebody else collects all children.
pub fn measure_dispatch(python: Option<&Path>) -> DispatchModel {
    dispatch::measure_on(HostIdentity::read(Path::new("/")), interpreter::identify(python), now())
}

/// The cached costs of dispatch on this host with this interpreter, or new ones, which are then cached. They have a file
/// of their own, for they take a second that a run without Python need not spend.
pub fn load_or_measure_dispatch_for(python: Option<&Path>, cache_dir: Option<PathBuf>) -> DispatchModel {
    let host = HostIdentity::read(Path::new("/"));
    let interpreter = interpreter::identify(python);
    let now = now();
    cache::load_or(cache_dir, host, interpreter, now, |host, interpreter| dispatch::measure_on(host, interpreter, now))
}

/// All that can be calibrated, and where it is from.
#[derive(Debug)]
pub struct Calibration {
    /// Moving payloads.
    pub payload: CostModel,
    /// Handing out tasks.
    pub dispatch: DispatchModel,
    /// Whether payload and dispatch were cached.
    pub cached: [bool; 2],
    /// Their files; a reason where one could not be written, none where there is nothing worth keeping.
    pub files: [Option<Result<PathBuf, String>>; 2],
}

/// Both models, cached or measured; with `refresh`, measured in any case and cached anew.
pub fn calibrate(python: Option<&Path>, cache_dir: Option<PathBuf>, refresh: bool) -> Calibration {
    let host = HostIdentity::read(Path::new("/"));
    let interpreter = interpreter::identify(python);
    let now = now();
    let origin = (&host, &interpreter, now, refresh);
    let (payload, payload_cached, payload_file) = kept(&cache_dir, origin, measure_on);
    let (dispatch, dispatch_cached, dispatch_file) = kept(&cache_dir, origin, dispatch::measure_on);
    Calibration { payload, dispatch, cached: [payload_cached, dispatch_cached], files: [payload_file, dispatch_file] }
}

type Identified = Result<InterpreterIdentity, NoPickle>;

/// A model, whether it was cached, and its file.
fn kept<M: cache::Kept>(
    cache_dir: &Option<PathBuf>,
    (host, interpreter, now, refresh): (&HostIdentity, &Identified, u64, bool),
    measure: impl FnOnce(HostIdentity, Identified, u64) -> M,
) -> (M, bool, Option<Result<PathBuf, String>>) {
    let found = (!refresh).then(|| cache::load(cache_dir.clone(), host, interpreter.as_ref(), now)).flatten();
    if let Some(model) = found {
        let file = cache::file_of(&model, cache_dir.clone());
        return (model, true, file.map(Ok));
    }
    let model = measure(host.clone(), interpreter.clone(), now);
    let file = model.worth_keeping().then(|| cache::keep(&model, cache_dir.clone()).map_err(|error| error.to_string()));
    (model, false, file)
}

fn measure_on(host: HostIdentity, interpreter: Result<InterpreterIdentity, NoPickle>, now: u64) -> CostModel {
    CostModel {
        pipe: pipe::measure(),
        pickle: interpreter.clone().and_then(|interpreter| pickle::measure(&interpreter)),
        measured_at_unix_seconds: now,
        host,
        interpreter: interpreter.ok(),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> CostModel {
        let median = |value| Median { value, deviation: 0.0 };
        let cost =
            |dumps, loads| PayloadCost { dumps_seconds_per_byte: median(dumps), loads_seconds_per_byte: median(loads) };
        CostModel {
            pipe: Ok(PipeCost { seconds_per_byte: median(1e-9), seconds_per_message: median(5e-6) }),
            pickle: Ok(PickleCost {
                bytes: cost(2e-10, 1e-10),
                records: cost(8e-9, 1e-8),
                fixed_seconds: median(1e-6),
                protocol: 4,
                interpreter: "/usr/bin/python3".into(),
                version: "CPython 3.11.2".into(),
            }),
            measured_at_unix_seconds: 0,
            host: HostIdentity::default(),
            interpreter: None,
        }
    }

    #[test]
    fn the_price_is_the_sum_of_its_parts_and_grows_with_the_bytes() {
        let model = model();
        let close = |left: Option<f64>, right: f64| (left.expect("all parts are known") - right).abs() < 1e-15;
        assert!(close(model.move_only(1000), 6e-6));
        assert!(close(model.price(1000), 1e-6 + 0.3e-6 + 6e-6));
        assert!(close(model.price_of(Payload::Records, 1000), 1e-6 + 18e-6 + 6e-6));
        let prices: Vec<f64> = (0..=63).map(|power| model.price(1 << power).expect("known")).collect();
        assert!(prices.is_sorted_by(|less, more| less < more), "{prices:?}");
    }

    #[test]
    fn an_unknown_part_leaves_the_price_unknown() {
        let unpriced = CostModel { pickle: Err(NoPickle::NoInterpreter), ..model() };
        assert_eq!(unpriced.price(1), None);
        assert!(unpriced.move_only(1).is_some());
        let unmoved = CostModel { pipe: Err(NoPipe("too many open files".into())), ..model() };
        assert_eq!((unmoved.price(1), unmoved.move_only(1)), (None, None));
    }

    #[test]
    fn one_wide_spread_makes_it_noisy() {
        let mut model = model();
        assert!(!model.noisy());
        model.pickle.as_mut().expect("it is there").records.loads_seconds_per_byte.deviation = 0.5e-8;
        assert!(model.noisy());
    }

    #[test]
    fn a_path_without_an_interpreter_says_so() {
        let model = measure(Some(Path::new("/nonexistent/python3")));
        assert_eq!(model.pickle, Err(NoPickle::NoInterpreter));
        assert_eq!((model.interpreter, model.pipe.is_ok()), (None, true));
    }
}
