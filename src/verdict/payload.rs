//! The payload that a process pool would have to move for one task, and what share of its latency that is.

use crate::units::ratio;

/// Fewer readings than this are few.
const FEW: u64 = 3;

/// How a payload's bytes were obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSource {
    /// Given by the user.
    Declared,
    /// From the positions of files on descriptors 0 and 1.
    Files,
    /// From the bytes of all reads and writes: an upper bound.
    UpperBound,
    /// From such bytes up to the last reading of some process, which may have moved more until its end.
    Partial,
    /// Pickled, of real tasks.
    Measured,
    /// It cannot be pickled, or was not tried.
    Unknown,
}

/// The payload of one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Payload {
    /// Bytes in.
    pub argument_bytes: Option<u64>,
    /// Bytes out.
    pub result_bytes: Option<u64>,
    /// How the bytes were obtained.
    pub source: PayloadSource,
    /// Pickling, moving and unpickling both, seconds; `None` where no price could be measured.
    pub seconds: Option<f64>,
    /// Whether it can be pickled at all, where that was tried.
    pub picklable: Option<bool>,
    /// Of `seconds`, the parent's CPU time, where the two sides were told apart.
    pub parent_seconds: Option<f64>,
    /// And the worker's.
    pub worker_seconds: Option<f64>,
    /// Wall time that the payloads of a task keep one pipe of the pool busy, the busier of both; `None` where it is not known.
    pub transfer_seconds: Option<f64>,
    /// How many payloads were measured of the direction that was measured least, where they were.
    pub readings: Option<u64>,
    /// How much `seconds` may be off, either way, as a share of it, where that is known.
    pub error: Option<f64>,
}

impl Payload {
    /// Of sizes that the user gave, with what moving it costs. Each side is taken to bear half of that: one pickles and
    /// writes, the other reads and unpickles.
    pub fn declared(argument_bytes: Option<u64>, result_bytes: Option<u64>, seconds: Option<f64>) -> Payload {
        let half = seconds.map(|seconds| seconds / 2.0);
        Payload {
            argument_bytes,
            result_bytes,
            source: PayloadSource::Declared,
            seconds,
            picklable: None,
            parent_seconds: half,
            worker_seconds: half,
            transfer_seconds: None,
            readings: None,
            error: None,
        }
    }

    /// ipc ÷ (ipc + task wall), 0..=1.
    pub fn share_of_latency(&self, task_seconds: Option<f64>) -> Option<f64> {
        let seconds = self.seconds?;
        ratio(seconds, seconds + task_seconds?)
    }

    /// Whether so few were measured that it matters: at the dear end of its price it takes more than `limit` of the latency.
    pub fn is_thin(&self, task_seconds: Option<f64>, limit: f64) -> bool {
        let dearest = self.seconds.zip(self.error).map(|(seconds, error)| seconds * (1.0 + error));
        self.readings.is_some_and(|readings| readings < FEW)
            && dearest
                .zip(task_seconds)
                .and_then(|(dear, task)| ratio(dear, dear + task))
                .is_some_and(|share| share > limit)
    }

    /// Whether it is certainly above `limit`: all bytes that it moved never are.
    pub fn exceeds(&self, task_seconds: Option<f64>, limit: f64) -> bool {
        !matches!(self.source, PayloadSource::UpperBound | PayloadSource::Partial)
            && self.share_of_latency(task_seconds).is_some_and(|share| share > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upper_bound_never_exceeds() {
        let payload = Payload {
            argument_bytes: Some(1),
            result_bytes: None,
            source: PayloadSource::Declared,
            seconds: Some(1.0),
            picklable: None,
            parent_seconds: None,
            worker_seconds: None,
            transfer_seconds: None,
            readings: None,
            error: None,
        };
        assert_eq!(payload.share_of_latency(Some(3.0)), Some(0.25));
        assert!(payload.exceeds(Some(3.0), 0.15));
        for source in [PayloadSource::UpperBound, PayloadSource::Partial] {
            assert!(!Payload { source, ..payload }.exceeds(Some(3.0), 0.15));
        }
    }
}
