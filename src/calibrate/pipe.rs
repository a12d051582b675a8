//! The cost of a pipe: messages from one thread to another, each acknowledged. Must not leave a thread behind.
//!
//! Two threads share an address space, so a switch between them is a little cheaper than one between processes.

use super::Median;
use serde::{Deserialize, Serialize};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

const BUDGET: Duration = Duration::from_millis(30);
const LEAST_ROUNDS: usize = 5;
const MOST_ROUNDS: usize = 500;
/// One byte for the message itself, a pipe's buffer, and much more than it holds.
const SIZES: [usize; 3] = [1, 64 << 10, 1 << 20];

/// What it costs to move a message through a pipe, one way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PipeCost {
    /// Seconds a byte, both ends together: what 1 MiB costs more than 64 KiB.
    pub seconds_per_byte: Median,
    /// Seconds a message, its reader's wake-up included: half a round trip of one byte.
    pub seconds_per_message: Median,
}

/// Why the pipe's cost is unknown; what the system said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("the cost of a pipe is unknown: {0}")]
pub struct NoPipe(pub String);

impl PipeCost {
    pub(super) fn medians(&self) -> [Median; 2] {
        [self.seconds_per_byte, self.seconds_per_message]
    }
}

/// Measures in about 30 ms.
pub(super) fn measure() -> Result<PipeCost, NoPipe> {
    let rounds = rounds().map_err(|error| NoPipe(error.to_string()))?;
    cost(&rounds).ok_or_else(|| NoPipe("nothing was measured".into()))
}

/// Seconds of each size's round trip, round by round.
fn rounds() -> io::Result<Vec<[f64; SIZES.len()]>> {
    let (their_end, mut data) = io::pipe()?;
    let (mut acknowledged, acknowledge) = io::pipe()?;
    thread::scope(|scope| {
        let peer = thread::Builder::new().name("calibrate".into());
        peer.spawn_scoped(scope, move || echo(their_end, acknowledge))?;
        // The peer ends when `data` is dropped, here or on an error, and the scope waits for it.
        let result = send(&mut data, &mut acknowledged);
        drop(data);
        result
    })
}

fn send(data: &mut PipeWriter, acknowledged: &mut PipeReader) -> io::Result<Vec<[f64; SIZES.len()]>> {
    let message = vec![0x5a; SIZES[2]];
    let mut rounds = Vec::new();
    let began = Instant::now();
    while rounds.len() < LEAST_ROUNDS || (began.elapsed() < BUDGET && rounds.len() < MOST_ROUNDS) {
        let mut round = [0.0; SIZES.len()];
        for (seconds, size) in round.iter_mut().zip(SIZES) {
            let sent = Instant::now();
            data.write_all(&message[..size])?;
            acknowledged.read_exact(&mut [0])?;
            *seconds = sent.elapsed().as_secs_f64();
        }
        rounds.push(round);
    }
    // The first one meets cold caches and a thread that is not there yet.
    rounds.remove(0);
    Ok(rounds)
}

/// Reads the messages and answers each with one byte, until the pipe ends.
fn echo(mut data: PipeReader, mut acknowledge: PipeWriter) {
    let mut message = vec![0; SIZES[2]];
    for size in SIZES.into_iter().cycle() {
        if data.read_exact(&mut message[..size]).and_then(|()| acknowledge.write_all(&[1])).is_err() {
            return;
        }
    }
}

fn cost(rounds: &[[f64; SIZES.len()]]) -> Option<PipeCost> {
    let more_bytes = (SIZES[2] - SIZES[1]) as f64;
    let slope = Median::of(rounds.iter().map(|[_, buffer, large]| (large - buffer) / more_bytes))?;
    let whole = Median::of(rounds.iter().map(|[_, _, large]| large / SIZES[2] as f64))?;
    Some(PipeCost {
        // A buffer that costs more than 1 MiB is a disturbance; the whole then is the better guess.
        seconds_per_byte: if slope.value > 0.0 { slope } else { whole },
        seconds_per_message: Median::of(rounds.iter().map(|[one, ..]| one / 2.0))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_and_half_a_round_trip_are_the_costs() {
        let large = 100e-6 + (SIZES[2] - SIZES[1]) as f64 * 1e-9;
        let cost = cost(&[[10e-6, 100e-6, large]; 5]).expect("there are samples");
        assert!((cost.seconds_per_byte.value - 1e-9).abs() < 1e-15);
        assert!((cost.seconds_per_message.value - 5e-6).abs() < 1e-15);
        assert_eq!(super::cost(&[]), None);
    }

    #[test]
    fn a_disturbed_slope_is_never_negative() {
        let cost = cost(&[[10e-6, 2e-3, 1e-3]; 5]).expect("there are samples");
        assert!((cost.seconds_per_byte.value - 1e-3 / SIZES[2] as f64).abs() < 1e-15);
    }

    #[test]
    fn a_pipe_can_be_measured() {
        let cost = measure().expect("this system has pipes");
        assert!(cost.medians().into_iter().all(|median| median.plausible() && median.value > 0.0), "{cost:?}");
    }
}
