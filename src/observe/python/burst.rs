//! Reads one lock some times back to back. Must not stop the target and must not decide how often it is read.
//!
//! ```text
//! call 1           call 2           a call reads 8 times; where one takes much too long, we lost the CPU in it,
//! H H H H H H . .  . . H H H H H H  and what it and later ones read is of another moment: they are left out
//! ```

use super::layout::{STATE, ThreadIdentity, decode_state};
use super::locate::{Located, pointer};
use crate::sys::{clock, memory};
use crate::trace::{GilHolder, GilRun, GilSample};
use crate::units::{Span, Timestamp};
use rustc_hash::FxHashSet;
use std::io;
use std::path::Path;

/// Calls of one burst.
const CALLS: usize = 2;
/// Readings of one call.
const READS_A_CALL: usize = 8;
/// Most threads of one process that are remembered.
const MOST_THREADS: usize = 4096;
/// A call that takes this many times its usual time, and `GRACE` more, was interrupted.
const TOO_LONG: u64 = 4;
/// Time that a cold cache may take.
const GRACE: u64 = 20_000;

/// Where a thread's native id stands behind its `pthread_t`: `tid` of glibc's `struct pthread` (nptl/descr.h), then of
/// musl's (src/internal/pthread_impl.h) of today and before 1.1.20. What is read there is believed only if it is a
/// thread of the process.
#[cfg(target_arch = "aarch64")]
const TID_OF_PTHREAD: &[u64] = &[208, 32, 40];
/// The same on x86-64.
#[cfg(not(target_arch = "aarch64"))]
const TID_OF_PTHREAD: &[u64] = &[720, 48, 56];

/// What a burst gave.
#[derive(Debug)]
pub enum Burst {
    /// Readings.
    Sample(Timestamp, GilSample),
    /// We lost the CPU before there was anything to keep.
    Interrupted,
    /// What was read is no lock's: it is not made yet, or destroyed, or this is another program by now.
    NoLock,
    /// It could not be read.
    Failed(io::Error),
}

/// How long a call usually takes.
#[derive(Debug, Default)]
pub struct Usual(u64);

impl Usual {
    /// Takes one call's time in; whether it was interrupted.
    fn interrupted(&mut self, nanos: u64) -> bool {
        if self.0 == 0 {
            self.0 = nanos.max(1);
        }
        let most = self.0 * TOO_LONG + GRACE;
        self.0 = (self.0 * 15 + nanos.min(most)).div_ceil(16);
        nanos > most
    }
}

/// A process's threads, as far as they held its lock.
#[derive(Debug, Clone, Default)]
pub struct Threads {
    /// Known to be threads of this process.
    living: FxHashSet<u32>,
    /// Which of `TID_OF_PTHREAD` fits.
    behind_pthread: Option<u64>,
}

impl Threads {
    /// A thread ended.
    pub fn ended(&mut self, tid: u32) {
        self.living.remove(&tid);
    }

    /// Those of a process that was just forked from this one.
    pub fn of_child(&self) -> Threads {
        Threads { living: FxHashSet::default(), behind_pthread: self.behind_pthread }
    }

    /// The native id behind a `PyThreadState`. It is read anew every time: such structures are reused.
    fn native(&mut self, root: &Path, pid: u32, state: u64, identity: ThreadIdentity) -> Option<u32> {
        match identity {
            ThreadIdentity::Native(offset) => {
                let tid = u32::try_from(pointer(pid, state.wrapping_add(offset)).ok()?).ok()?;
                self.is_one(root, pid, tid).then_some(tid)
            }
            ThreadIdentity::Pthread(offset) => {
                let thread = pointer(pid, state.wrapping_add(offset)).ok()?;
                self.of_pthread(root, pid, thread)
            }
        }
    }

    /// The native id of a thread by its `pthread_t`.
    pub fn of_pthread(&mut self, root: &Path, pid: u32, thread: u64) -> Option<u32> {
        for offset in self.behind_pthread.into_iter().chain(TID_OF_PTHREAD.iter().copied()) {
            let mut word = [0; 4];
            if memory::read(pid, thread.wrapping_add(offset), &mut word).is_err() {
                continue;
            }
            let tid = u32::from_le_bytes(word);
            if self.is_one(root, pid, tid) {
                self.behind_pthread = Some(offset);
                return Some(tid);
            }
        }
        None
    }

    fn is_one(&mut self, root: &Path, pid: u32, tid: u32) -> bool {
        if tid == 0 {
            return false;
        }
        if !self.living.contains(&tid) {
            if !root.join(format!("{pid}/task/{tid}")).exists() {
                return false;
            }
            if self.living.len() >= MOST_THREADS {
                self.living.clear();
            }
            self.living.insert(tid);
        }
        true
    }
}

/// Reads a process's lock some times.
pub fn read(root: &Path, pid: u32, located: &Located, threads: &mut Threads, usual: &mut Usual) -> Burst {
    let address = located.gil.wrapping_add(located.layout.state());
    let mut bytes = [0; CALLS * READS_A_CALL * STATE];
    let mut kept = 0;
    let at = clock::monotonic();
    let mut end = at;
    for call in bytes.chunks_exact_mut(READS_A_CALL * STATE) {
        if let Err(error) = memory::read_again(pid, address, STATE, call) {
            return Burst::Failed(error);
        }
        let now = clock::monotonic();
        if usual.interrupted(now.since(end).0) {
            break;
        }
        end = now;
        kept += READS_A_CALL;
    }
    if kept == 0 {
        return Burst::Interrupted;
    }
    let Some(runs) = runs(&bytes[..kept * STATE]) else { return Burst::NoLock };
    let mut told: Vec<(u64, GilHolder)> = Vec::new();
    let mut holder = |state: Option<u64>| {
        let Some(state) = state else { return GilHolder::Nobody };
        if let Some(&(_, holder)) = told.iter().find(|(known, _)| *known == state) {
            return holder;
        }
        let native = threads.native(root, pid, state, located.layout.identity);
        let holder = native.map_or(GilHolder::Unknown, GilHolder::Thread);
        told.push((state, holder));
        holder
    };
    let runs = runs.into_iter().map(|(state, reads)| GilRun { holder: holder(state), reads }).collect();
    // A call reads evenly, so the first reading is one of `kept` steps after its start.
    let length = Span(end.since(at).0 / kept as u64 * (kept as u64 - 1));
    Burst::Sample(at, GilSample { runs, length })
}

/// Equal readings in a row; `None` if one of them is no lock's.
fn runs(bytes: &[u8]) -> Option<Vec<(Option<u64>, u16)>> {
    let mut runs: Vec<(Option<u64>, u16)> = Vec::new();
    for reading in bytes.chunks_exact(STATE) {
        let state = decode_state(reading)?;
        match runs.last_mut() {
            Some((last, reads)) if *last == state => *reads += 1,
            _ => runs.push((state, 1)),
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(holder: u64, locked: i32) -> Vec<u8> {
        [&holder.to_le_bytes()[..], &locked.to_le_bytes()].concat()
    }

    #[test]
    fn equal_readings_are_one_run() {
        let bytes = [reading(5, 1), reading(5, 1), reading(5, 0), reading(6, 0), reading(6, 1)].concat();
        assert_eq!(runs(&bytes), Some(vec![(Some(5), 2), (None, 2), (Some(6), 1)]));
        assert_eq!(runs(&[reading(5, 1), reading(5, -1)].concat()), None);
    }

    #[test]
    fn a_call_that_took_far_too_long_is_told_from_a_slow_machine() {
        let mut usual = Usual::default();
        assert!((0..100).all(|_| !usual.interrupted(5_000)));
        assert!(!usual.interrupted(30_000), "a cold cache");
        assert!(usual.interrupted(3_000_000));
        assert!(!usual.interrupted(5_000));
        let mut slow = Usual::default();
        assert!((0..100).all(|_| !slow.interrupted(200_000)));
    }

    #[test]
    fn a_thread_is_one_of_its_process() {
        let root = Path::new("/proc");
        let own = std::process::id();
        let mut threads = Threads::default();
        assert!(threads.is_one(root, own, own));
        assert!(!threads.is_one(root, own, 0) && !threads.is_one(root, own, u32::MAX));
        // Memory that is not mapped, and memory that holds no thread.
        assert_eq!(threads.native(root, own, 8, ThreadIdentity::Native(0)), None);
        let nonsense = [u64::MAX; 100];
        let state = nonsense.as_ptr().addr() as u64;
        assert_eq!(threads.native(root, own, state, ThreadIdentity::Pthread(16)), None);
    }
}
