//! What the evidence of an opaque program says. Without a look into the interpreter this is modest: a program of its own
//! is driven well by threads that wait for it; of Python code inside one it is said what is not known.
//!
//! | program | class | uses the cores itself | recommendation |
//! | --- | --- | --- | --- |
//! | any | unknown | | none |
//! | any | any but I/O-bound | yes | serial: one at a time |
//! | any | its own threads wait for as much at once as the cores can serve | | serial |
//! | other | any | no | threads, N* = C·(D+Z)/D |
//! | Python | I/O-bound | no | threads, N* |
//! | Python, lock held for under 30 % | hybrid, CPU-bound | no | threads, N* |
//! | Python | hybrid with phases | no | split: threads for the waiting, processes for the computing |
//! | Python | hybrid, CPU-bound | no | processes, N*: medium confidence where the lock binds, else low |
//! | any | CPU-bound | one core only | serial |
//! | any | any, where cores or memory bear one worker | | serial |

use super::{Class, Evidence, Executor, Gil, Payload, Reason, Terms};
use crate::laws::{saturation_point, thread_of_children_bound};
use crate::predict::Arrival;
use crate::stages::Phase;

/// A program that keeps this share of the cores busy by itself leaves nothing for a second one.
const PARALLEL_SHARE: f64 = 0.75;
/// Share of the memory limit that a pool may fill.
const MEMORY_SHARE: f64 = 0.8;
/// More workers than this are not recommended on the word of an assumption.
const MOST_WORKERS: u32 = 64;
/// So little more than a whole number asks for no worker more: a score is not known that well.
const NEARLY: f64 = 0.05;
/// From here on an event loop is worth a thought.
const MANY_CONNECTIONS: f64 = 200.0;

/// A program with so many threads at work at once is a pool by itself: workers are copies of it.
const OWN_THREADS: f64 = 2.0;

/// A lock held for this share of the CPU time binds.
pub const GIL_BINDS: f64 = 0.7;
/// And for less than this it does not.
pub const GIL_RELEASED: f64 = 0.3;

/// How sure a recommendation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Evidence for a part of it is missing.
    Low,
    /// It rests on an assumption that the run could not show.
    Medium,
    /// Measured.
    High,
}

/// What the evidence says.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    /// Which executor.
    pub executor: Executor,
    /// For `Split`: each phase with its executor.
    pub parts: Vec<(Phase, Executor)>,
    /// With how many workers.
    pub workers: Option<u32>,
    /// Tasks handed over at once.
    pub chunksize: Option<u32>,
    /// Throughput over serial at the most, by the asymptotic bound.
    pub speedup: Option<f64>,
    /// How sure.
    pub confidence: Confidence,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// What the rate of arrivals asks for, where the user gave one.
    pub arrival: Option<Arrival>,
}

/// The recommendation for a stage of this class; `None` where the evidence is too thin.
pub fn recommend(
    evidence: &Evidence,
    class: Class,
    phases: &[(Phase, Class)],
    payload: Option<&Payload>,
    terms: &Terms,
) -> Option<Recommendation> {
    let score = evidence.score?.point;
    let mut reasons = vec![Reason::of_class(class, score, phases.len())?];
    let (capacity, thresholds) = (&terms.capacity, &terms.thresholds);
    let cores = capacity.cores.max(f64::MIN_POSITIVE);
    let used = evidence.cores_used;
    // What keeps all cores busy that it was given would keep more of them busy, as far as anybody knows.
    let given = cores.min(capacity.measured_on);
    // While all its threads wait together, a second copy has the cores.
    let mostly = |cores: Option<f64>| cores.is_none_or(|cores| cores >= PARALLEL_SHARE * given);
    let parallel = used >= PARALLEL_SHARE * given && (class == Class::CpuBound || mostly(evidence.cores_wanted));
    if class != Class::IoBound && !evidence.is_pool && cores >= 2.0 && given > 1.5 && parallel {
        reasons.insert(0, Reason::AlreadyParallel { used, cores: given });
        // Threads that take turns want the cores too, where each that wakes has to wait for one.
        let confidence = if mostly(evidence.cores_held) { Confidence::High } else { Confidence::Low };
        return Some(plain(Executor::Serial, 1, None, confidence, reasons));
    }
    if class == Class::CpuBound && cores < 1.5 {
        reasons.push(Reason::SingleCore { cores });
        return Some(plain(Executor::Serial, 1, None, Confidence::High, reasons));
    }
    let (demand, wait) = (evidence.cpu, evidence.wait);
    // Each copy of a program takes the cores that it uses at once, and waits for as many things at once as it has threads.
    let room = evidence.room(cores);
    let wanted = saturation_point(room, demand, wait)?;
    let mut workers = ((wanted - NEARLY).ceil() as u32).clamp(1, MOST_WORKERS);
    if class == Class::CpuBound {
        workers = workers.min((cores.round() as u32).max(1));
    }
    if evidence.at_once >= OWN_THREADS && !evidence.is_pool {
        reasons.push(Reason::OwnThreads { at_once: evidence.at_once });
        if wanted <= 1.0 {
            return Some(plain(Executor::Serial, 1, None, Confidence::Medium, reasons));
        }
    }
    let mut confidence = Confidence::High;
    if let (Some(bytes), Some(limit)) = (evidence.worker_bytes.filter(|&bytes| bytes > 0), capacity.memory_bytes) {
        let fit = ((MEMORY_SHARE * limit as f64 / bytes as f64) as u32).max(1);
        if fit < workers {
            workers = fit;
            reasons.push(Reason::MemoryLimited { workers, bytes, limit });
        }
    }
    if workers == 1 {
        // A pool of one is none.
        if cores < 1.5 {
            reasons.push(Reason::SingleCore { cores });
        }
        return Some(plain(Executor::Serial, 1, None, confidence, reasons));
    }
    let task_seconds = evidence.task_seconds;
    if let Some(share) = payload.and_then(|payload| payload.share_of_latency(task_seconds))
        && share > thresholds.ipc
    {
        let limit = thresholds.ipc;
        let certain = payload.is_some_and(|payload| payload.exceeds(task_seconds, limit));
        reasons.push(if certain {
            Reason::IpcTooExpensive { share, limit }
        } else {
            Reason::IpcUnsure { share, limit }
        });
    }
    if evidence.is_pool && evidence.is_python {
        let executor = if class == Class::IoBound { Executor::Thread } else { Executor::Process };
        if class == Class::CpuBound && used >= PARALLEL_SHARE * cores {
            reasons.push(Reason::SaturatesCores { used, cores });
        } else {
            reasons.push(Reason::GilUnknown);
            confidence = Confidence::Low;
        }
        return Some(Recommendation {
            executor,
            parts: Vec::new(),
            workers: Some(workers),
            chunksize: None,
            speedup: None,
            confidence,
            reasons,
            arrival: None,
        });
    }
    if !evidence.is_python {
        reasons.push(Reason::OwnProcess);
    }
    if class != Class::CpuBound && workers > evidence.workers {
        confidence = confidence.min(Confidence::Medium);
        reasons.push(Reason::WaitAssumed { workers, seen: evidence.workers });
    }
    if evidence.is_python && wanted > MANY_CONNECTIONS {
        reasons.push(Reason::ManyConnections { workers: wanted.min(1e6) as u32 });
    }
    let speedup = thread_of_children_bound(f64::from(workers), room, demand, wait);
    if !evidence.is_python {
        return Some(plain(Executor::Thread, workers, speedup, confidence, reasons));
    }
    let share = evidence.gil.share().map(|share| share.point);
    match share {
        None if evidence.gil == Gil::Thin => reasons.push(Reason::GilThin),
        None => reasons.push(Reason::GilUnknown),
        // Who hardly computes hardly holds it.
        Some(_) if class == Class::IoBound => {}
        Some(_) if evidence.gil == Gil::Absent => reasons.push(Reason::GilAbsent),
        Some(share) if share >= GIL_BINDS => reasons.push(Reason::GilBound { share }),
        Some(share) if share < GIL_RELEASED => reasons.push(Reason::GilReleased { share }),
        Some(share) => reasons.push(Reason::GilPartly { share }),
    }
    if class == Class::IoBound {
        return Some(plain(Executor::Thread, workers, speedup, confidence.min(Confidence::Medium), reasons));
    }
    // Phases that all want the same executor, as the start of an interpreter and what follows do, are not worth a cut.
    let waits = phases.iter().filter(|(_, class)| *class == Class::IoBound).count();
    let splits = class == Class::Hybrid && waits > 0 && waits < phases.len();
    if share.is_some_and(|share| share < GIL_RELEASED) && !splits {
        return Some(plain(Executor::Thread, workers, speedup, confidence.min(Confidence::Medium), reasons));
    }
    if splits {
        let parts = phases
            .iter()
            .map(|&(phase, class)| (phase, if class == Class::IoBound { Executor::Thread } else { Executor::Process }))
            .collect();
        return Some(Recommendation {
            executor: Executor::Split,
            parts,
            workers: None,
            chunksize: None,
            speedup: None,
            confidence: Confidence::Low,
            reasons,
            arrival: None,
        });
    }
    // Whether threads would do as well hangs on the GIL share, whether processes pay on what they would have to move.
    let known = share.is_some_and(|share| share >= GIL_BINDS);
    let confidence = if known { confidence.min(Confidence::Medium) } else { Confidence::Low };
    if payload.is_none_or(|payload| payload.seconds.is_none()) {
        reasons.push(Reason::PayloadUnknown);
    }
    Some(plain(Executor::Process, workers, None, confidence, reasons))
}

fn plain(
    executor: Executor,
    workers: u32,
    speedup: Option<f64>,
    confidence: Confidence,
    reasons: Vec<Reason>,
) -> Recommendation {
    Recommendation {
        executor,
        parts: Vec::new(),
        workers: Some(workers),
        chunksize: None,
        speedup,
        confidence,
        reasons,
        arrival: None,
    }
}
