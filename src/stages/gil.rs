//! The interpreter lock of a stage: what share of its CPU time holds it, and for how long it lets go at a time.
//! Not knowing is a value, and no lock at all is another.

use crate::laws::wilson;
use crate::timeline::{GilCounts, Program};
use crate::trace::GilAccess;
use crate::units::{Estimate, ratio};

/// Fewer bursts than this tell no share.
const FEWEST_BURSTS: u64 = 8;
/// Readings of a whole burst.
const READS_A_BURST: f64 = 16.0;
/// Below this share of the wait, holding the lock meanwhile is an error of the clocks.
const LEAST_HELD_WAITING: f64 = 0.05;
/// Fewer releases than this tell no length of a released run.
const FEWEST_RELEASES: u64 = 4;
/// Between taking the lock and letting go of it lies at least a call of Python's C API, seconds.
const SHORTEST_TENURE: f64 = 0.3e-6;
/// Without records, how many of the readings were made while it had a CPU is not known: at least this share.
const LEAST_RUNNING: f64 = 0.1;

/// What is known of a stage's lock.
#[derive(Debug, Clone, PartialEq)]
pub enum GilEvidence {
    /// No Python.
    NotPython,
    /// It could not be read; the reason where there is one.
    Unknown(Option<String>),
    /// It can be read, and was not often enough for a share: what there is of it.
    Thin(GilShare),
    /// The interpreter runs without one.
    Absent,
    /// It was read.
    Measured(GilShare),
}

/// The lock as it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GilShare {
    /// Share of CPU time that it was held, 0..=1.
    pub share: Estimate,
    /// Mean length of a released run, seconds.
    pub released_run: Option<f64>,
    /// The shortest that it may be, seconds: 95 % of all runs that would show so few releases have a longer one.
    pub shortest_run: Option<f64>,
    /// Readings.
    pub samples: u64,
    /// Bursts of readings.
    pub bursts: u64,
    /// Releases among readings, which `shortest_run` is from.
    pub releases: Releases,
}

/// How often the lock was seen to be let go of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Releases {
    /// Times that it was.
    pub seen: f64,
    /// Readings in which it could have been.
    pub readings: f64,
    /// From one reading to the next, seconds.
    pub spacing: f64,
}

impl Releases {
    /// The shortest mean length of a released run that leaves so few of them seen, where the lock is held for `share` of
    /// the CPU time: the same process as in `released_run`, from the upper 95 % bound of the number that is expected. Spells
    /// that no reading met are bounded by the share and by how short they can be.
    pub fn shortest_run(&self, share: Estimate) -> Option<f64> {
        let (held, released) = (share.point, 1.0 - share.point);
        let most = self.seen + 2.0 + 1.96 * (self.seen + 1.0).sqrt();
        let seen = ratio(most, self.readings).and_then(|chance| ratio(chance, held * released));
        let met = match seen {
            Some(seen) if seen < 0.98 => ratio(-(1.0 - seen).ln() * held * released, self.spacing),
            _ => None,
        };
        // Spells so short are over from one reading to the next, so that a burst is many looks at them: they are rarer than
        // the share may be that is held for longer.
        let apart = 1.0 - (-self.spacing / SHORTEST_TENURE).exp();
        let looks = self.readings / READS_A_BURST * (1.0 + (READS_A_BURST - 1.0) * apart);
        let (_, briefly) = wilson(share.point, looks);
        let unmet = briefly.min(share.high) / SHORTEST_TENURE;
        ratio(released, met.unwrap_or(f64::INFINITY).min(unmet))
    }

    /// Of two runs.
    pub fn add(&mut self, other: &Releases) {
        let readings = self.readings + other.readings;
        let spacings = self.spacing * self.readings + other.spacing * other.readings;
        self.spacing = ratio(spacings, readings).unwrap_or(self.spacing);
        self.seen += other.seen;
        self.readings = readings;
    }
}

impl GilEvidence {
    /// The measured share.
    pub fn share(&self) -> Option<Estimate> {
        match self {
            GilEvidence::Measured(measured) => Some(measured.share),
            GilEvidence::Absent => Some(Estimate::new(0.0, 0.0, 0.0)),
            GilEvidence::NotPython | GilEvidence::Unknown(_) | GilEvidence::Thin(_) => None,
        }
    }
}

/// What a program's readings tell. `sampled`: no switch record tells what a thread did at a reading, so the time that the
/// lock was held is compared with the CPU time of the whole, and with what its threads queued for a CPU after it was taken
/// from them: a share as that of the involuntary switches of `process`. Who queues after a wake-up mostly woke up to see
/// whether the lock is free, and does not have it.
pub fn gil_of(program: &Program, process: &Program, sampled: bool) -> GilEvidence {
    if !program.image.is_python() {
        return GilEvidence::NotPython;
    }
    let most = program.gil_access.iter().max_by_key(|access| access.1).map(|access| &access.0);
    match most {
        Some(GilAccess::Absent) => return GilEvidence::Absent,
        Some(GilAccess::Refused(why)) => return GilEvidence::Unknown(Some(why.clone())),
        Some(GilAccess::Several) => {
            return GilEvidence::Unknown(Some(
                "several interpreters in one process have locks of their own".to_owned(),
            ));
        }
        Some(GilAccess::Read) | None => {}
    }
    let counts = &program.gil;
    let spacing = ratio(program.gil_bursts.0.secs_f64(), program.gil_bursts.1 as f64);
    let (point, bursts) = if sampled {
        let (voluntary, involuntary) = (process.voluntary.unwrap_or(0) as f64, process.involuntary.unwrap_or(0) as f64);
        let preempted = ratio(involuntary, voluntary + involuntary).unwrap_or(1.0);
        let active = program.demand.on_cpu + program.demand.run_queue * preempted;
        let looks = if program.tasks.is_some() { counts.bursts } else { counts.held_bursts };
        (ratio(counts.held_time.secs_f64(), active), looks)
    } else {
        (ratio(counts.held as f64, counts.active as f64), counts.bursts)
    };
    let readings = if sampled {
        counts.bursts as f64 * READS_A_BURST * at_least_running(program, process)
    } else {
        counts.running as f64
    };
    let releases = Releases { seen: counts.releases as f64, readings, spacing: spacing.unwrap_or(0.0) };
    let point = match point {
        Some(point) => point.min(1.0),
        // The interpreter was not found, or never looked at.
        None if most.is_none() => return GilEvidence::Unknown(None),
        None => 0.5,
    };
    let (low, high) = wilson(point, bursts as f64);
    let share = Estimate::new(low, point, high);
    let released_run = spacing.filter(|_| !sampled).and_then(|spacing| released_run(counts, spacing));
    let samples = if sampled { bursts } else { counts.active + counts.held_blocked };
    let shortest_run = releases.shortest_run(share);
    GilShare { share, released_run, shortest_run, samples, bursts, releases }.judged()
}

impl GilShare {
    /// Whether it is enough.
    pub fn judged(self) -> GilEvidence {
        if self.bursts < FEWEST_BURSTS { GilEvidence::Thin(self) } else { GilEvidence::Measured(self) }
    }
}

/// At least this share of the readings was made while a stage had a CPU: our own look takes it away at most as often as the
/// process was switched out against its will, and it is blocked or queues for a known time.
fn at_least_running(program: &Program, process: &Program) -> f64 {
    let bursts = ratio(process.gil_bursts.1 as f64, READS_A_BURST - 1.0);
    let ousted = process.involuntary.and_then(|involuntary| ratio(involuntary as f64, bursts?)).unwrap_or(1.0);
    let demand = &program.demand;
    let running = ratio(demand.on_cpu, demand.on_cpu + demand.run_queue + demand.own.sum()).unwrap_or(0.0);
    (running * (1.0 - ousted)).clamp(LEAST_RUNNING, 1.0)
}

/// Share of its own wait during which a program held the lock: C code that waits without letting go of it. 0 where that is
/// not told, or so little that it is the error of when a thread was seen to wake.
pub fn held_while_waiting(program: &Program, sampled: bool) -> f64 {
    let counts = &program.gil;
    let looks = ratio(counts.held_blocked as f64, READS_A_BURST).unwrap_or(0.0);
    if sampled || looks < FEWEST_BURSTS as f64 {
        return 0.0;
    }
    let share = ratio(counts.held_blocked_time.secs_f64(), program.demand.own.sum()).unwrap_or(0.0).min(1.0);
    if share < LEAST_HELD_WAITING { 0.0 } else { share }
}

/// Mean length of a released run: the lock as seen by a running thread is a process of two states, held and not held, and
/// readings `spacing` apart miss spells shorter than that. With p the share held and P the probability that a held reading
/// is followed by one that is not, P = (1 − p)·(1 − e^(−k·spacing)), where k is the sum of both rates (D. R. Cox, *Renewal
/// Theory*, §7.4), and a released run lasts 1/(p·k). `None` where nothing can be told.
fn released_run(counts: &GilCounts, spacing: f64) -> Option<f64> {
    if counts.releases < FEWEST_RELEASES {
        return None;
    }
    let held = ratio(counts.running_held as f64, counts.running as f64)?.min(1.0);
    let leaves = ratio(counts.releases as f64, counts.running_held as f64)?;
    let seen = ratio(leaves, 1.0 - held)?;
    // As if every reading was independent of the one before: the runs are no longer than the spacing.
    let rates = if seen < 0.98 { -(1.0 - seen).ln() / spacing } else { 4.0 / spacing };
    ratio(1.0, held * rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_spells_between_readings_are_made_up_for() {
        // Held 1 µs, released 3 µs, memoryless, read every 2 µs: p = 1/4, k = 1/1 µs + 1/3 µs.
        let leaves = 0.75 * (1.0 - (-2e-6f64 * (1e6 + 1e6 / 3.0)).exp());
        let counts = GilCounts {
            running: 4_000_000,
            running_held: 1_000_000,
            releases: (leaves * 1e6) as u64,
            ..GilCounts::default()
        };
        let run = released_run(&counts, 2e-6).expect("many releases");
        assert!((run - 3e-6).abs() < 1e-8, "{run}");
        assert_eq!(released_run(&GilCounts { releases: 1, ..counts }, 2e-6), None);
    }

    #[test]
    fn the_shortest_run_follows_from_what_was_not_seen() {
        let share = |point: f64| Estimate::new(point * 0.8, point, point * 1.2);
        // Held 1 µs, released 3 µs, as above: the bound comes near from below with the number of readings.
        let chance = 0.25 * 0.75 * (1.0 - (-2e-6f64 * (1e6 + 1e6 / 3.0)).exp());
        let of = |readings: f64| Releases { seen: chance * readings, readings, spacing: 2e-6 };
        let (few, many) = (of(500.0).shortest_run(share(0.25)), of(1e6).shortest_run(share(0.25)));
        assert!(few < many && many > Some(2.8e-6) && many < Some(3e-6), "{few:?} {many:?}");
        // Never seen to let go in a second of readings: no hand-over can cost anything.
        let never = Releases { seen: 0.0, readings: 1_600.0, spacing: 2e-6 };
        assert!(never.shortest_run(share(0.02)) > Some(300e-6), "{:?}", never.shortest_run(share(0.02)));
        // A few bursts, none of whose many readings met it held: it is not let go of for a microsecond at a time.
        let bursts = Releases { seen: 0.0, readings: 24.0 * READS_A_BURST, spacing: 0.3e-6 };
        let run = bursts.shortest_run(Estimate::new(0.0, 0.0, 0.18));
        assert!(run > Some(10e-6) && run < Some(50e-6), "{run:?}");
        // Never looked at while it ran: as short as it can be at all.
        let unseen = Releases { readings: 0.0, ..never };
        let shortest = unseen.shortest_run(share(0.5)).expect("it is held at times");
        assert!((shortest - 0.5 * SHORTEST_TENURE / 0.6).abs() < 1e-9, "{shortest}");
        // Nobody lets go of what is held throughout.
        assert_eq!(never.shortest_run(Estimate::new(0.9, 1.0, 1.0)), Some(0.0));
        let mut both = never;
        both.add(&never);
        assert!(
            both.readings == 3_200.0
                && both.spacing == 2e-6
                && both.shortest_run(share(0.02)) > never.shortest_run(share(0.02))
        );
    }
}
