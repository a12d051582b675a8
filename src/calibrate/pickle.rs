//! The cost of pickling, measured by the interpreter itself. Must not believe what it prints before checking it.

use super::{InterpreterIdentity, Median, interpreter};
use serde::{Deserialize, Serialize};
use std::path::Path;
use thiserror::Error;

const SCRIPT: &str = include_str!("pickle.py");

/// What it costs to make bytes of objects and objects of bytes, with the protocol that `multiprocessing` uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PickleCost {
    /// One `bytes` object of 1 MiB: the cheapest payload, a copy.
    pub bytes: PayloadCost,
    /// A list of 2000 dicts with four small entries each: a typical dear payload.
    pub records: PayloadCost,
    /// Seconds to pickle and unpickle `None`: what each message costs however small it is.
    pub fixed_seconds: Median,
    /// The pickle protocol.
    pub protocol: u32,
    /// Path of the interpreter, as it says itself.
    pub interpreter: String,
    /// Its implementation and version, such as `CPython 3.11.7`.
    pub version: String,
}

/// The cost of one kind of payload; a byte is one of the pickled form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PayloadCost {
    /// Seconds a byte of `pickle.dumps`.
    pub dumps_seconds_per_byte: Median,
    /// Seconds a byte of `pickle.loads`.
    pub loads_seconds_per_byte: Median,
}

/// Why the cost of pickling is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum NoPickle {
    /// There is no interpreter.
    #[error("the cost of pickling is unknown: no Python interpreter on `PATH` (`python3`) or at the path given")]
    NoInterpreter,
    /// The interpreter did not answer; what it said instead.
    #[error("the cost of pickling is unknown: {0}")]
    Failed(String),
}

impl PickleCost {
    pub(super) fn medians(&self) -> [Median; 5] {
        let PayloadCost { dumps_seconds_per_byte: bytes_out, loads_seconds_per_byte: bytes_in } = self.bytes;
        let PayloadCost { dumps_seconds_per_byte: records_out, loads_seconds_per_byte: records_in } = self.records;
        [bytes_out, bytes_in, records_out, records_in, self.fixed_seconds]
    }
}

/// Measures in about 60 ms and the start of an interpreter.
pub(super) fn measure(interpreter: &InterpreterIdentity) -> Result<PickleCost, NoPickle> {
    let line = interpreter::run(Path::new(&interpreter.path), SCRIPT, interpreter::TIME_OUT)?;
    parse(&line).ok_or_else(|| NoPickle::Failed(format!("`{}` printed `{}`", interpreter.path, line.escape_debug())))
}

fn parse(line: &str) -> Option<PickleCost> {
    let cost: PickleCost = serde_json::from_str(line).ok()?;
    cost.medians().into_iter().all(Median::plausible).then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interpreter_prints_is_checked() {
        let median = r#"{"value": 1e-9, "deviation": 1e-10}"#;
        let payload = format!(r#"{{"dumps_seconds_per_byte": {median}, "loads_seconds_per_byte": {median}}}"#);
        let line = format!(
            r#"{{"bytes": {payload}, "records": {payload}, "fixed_seconds": {median}, "protocol": 4,
                "interpreter": "/usr/bin/python3", "version": "CPython 3.11.7"}}"#
        );
        assert_eq!(parse(&line).map(|cost| cost.protocol), Some(4));
        assert_eq!(parse(&line.replace("1e-9", "-1e-9")), None);
        assert_eq!(parse(&line.replace("1e-9", "NaN")), None);
        assert_eq!(parse(&line.replace("1e-9", "1e300")), None);
        assert_eq!(parse("{}"), None);
    }
}
