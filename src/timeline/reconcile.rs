//! From a process's ledgers to its demand: what counts as own wait, what as starvation, what as run queue.
//! One place for these rules (docs/concepts.md tells them in prose). Pure arithmetic on sums.
//!
//! - Switch records have no wake-up: a voluntary gap is wait plus the delay until a CPU was free. The kernel's own sum of
//!   run-queue delay (schedstat), less the gaps after preemptions, is that delay; it moves from blocked to run queue.
//! - A switch-in record comes a little after the kernel began to charge the thread (more after an idle CPU, and in a
//!   virtual machine): what schedstat's CPU time holds beyond the records moves from the gap before to the CPU.
//! - A lock or join is a wait of its own only while the whole process is blocked and nothing else explains it.
//! - Threads that hardly ever ran beside others that did are idle: their waits count only while the whole process is
//!   blocked and no other thread's wait explains that. Where most threads are so and do their part, they are not idle.
//! - Pipes, locks between processes and listening sockets are starvation; a child is replaced by what it does.

use super::ledger::{BlockedTime, KINDS, Ledger, UNATTRIBUTED};
use crate::trace::Blocking;

/// A thread that was on a CPU for less than this share of its life is quiet.
pub const QUIET_SHARE_OF_LIFE: f64 = 0.01;
/// A quiet thread that blocks less often than this, per second of its life (or per second, if it lived for less), idles.
pub const IDLE_WAKEUPS: f64 = 2.0;
/// Quiet threads that together used less than this share of the others' CPU are idle beside them; more, and they take part.
pub const IDLE_SHARE_OF_CPU: f64 = 0.05;

/// Idle threads' waits count only where others leave at least this share of the standstill unexplained.
pub const IDLE_EXPLAINS: f64 = 0.2;

/// Fewer switches than this say nothing of what others cost.
pub const ENOUGH_SWITCHES: u64 = 16;
/// No switch is taken to cost more than this without having been read, seconds.
pub const DEAREST_SWITCH: f64 = 20e-6;

/// A standstill that nothing explains counts only from this share of the process's standstill and CPU time on.
pub const UNEXPLAINED_SHARE: f64 = 0.05;

/// Waits for what others do.
pub const STARVING: [Blocking; 4] = [Blocking::Lock, Blocking::SharedLock, Blocking::Pipe, Blocking::Idle];

/// What a process, or all of a program, demanded. Seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Demand {
    /// On a CPU.
    pub on_cpu: f64,
    /// Runnable without a CPU.
    pub run_queue: f64,
    /// Own wait by kind: network, disk, sleep, lock, other.
    pub own: OwnWait,
    /// Blocked for want of work, or on what another thread does.
    pub starved: f64,
    /// Blocked on the interpreter lock.
    pub gil_wait: f64,
    /// Blocked on a child.
    pub child: f64,
    /// Not known: records were lost.
    pub unknown: f64,
    /// The part of own wait whose kind was never seen and is only assumed to be own.
    pub assumed_own: f64,
    /// The part of `run_queue` that is extrapolated from other wake-ups; nothing was read for these.
    pub extrapolated_delay: f64,
    /// The part of `on_cpu` that is extrapolated from other switches' cost.
    pub extrapolated_cost: f64,
    /// Wake-ups whose delay nothing tells, not even other threads.
    pub undelayed_wakeups: u64,
    /// The blocked time of threads that matter, of whatever kind.
    pub told_apart: f64,
    /// The part of it whose kinds are those of other waits that were looked at: all of it where there are no records, with
    /// them the waits that no look fell into.
    pub looked_at: f64,
    /// To how many looks of equal weight these come.
    pub looks: f64,
    /// The part of `starved` that may have been waits for a time-out.
    pub doubtful: f64,
}

/// Own wait by kind, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OwnWait {
    /// Sockets.
    pub network: f64,
    /// Files.
    pub disk: f64,
    /// Clocks.
    pub sleep: f64,
    /// Locks, while the whole process was blocked.
    pub lock: f64,
    /// Pipes, of tasks: a pipe between programs of the tree is starvation.
    pub pipe: f64,
    /// Anything else, or never told apart.
    pub other: f64,
}

impl OwnWait {
    /// All kinds together.
    pub fn sum(&self) -> f64 {
        self.network + self.disk + self.sleep + self.lock + self.pipe + self.other
    }

    fn add(&mut self, other: &OwnWait) {
        self.network += other.network;
        self.disk += other.disk;
        self.sleep += other.sleep;
        self.lock += other.lock;
        self.pipe += other.pipe;
        self.other += other.other;
    }
}

impl Demand {
    /// Adds another.
    pub fn add(&mut self, other: &Demand) {
        self.on_cpu += other.on_cpu;
        self.run_queue += other.run_queue;
        self.own.add(&other.own);
        self.starved += other.starved;
        self.gil_wait += other.gil_wait;
        self.child += other.child;
        self.unknown += other.unknown;
        self.assumed_own += other.assumed_own;
        self.extrapolated_delay += other.extrapolated_delay;
        self.extrapolated_cost += other.extrapolated_cost;
        self.undelayed_wakeups += other.undelayed_wakeups;
        self.told_apart += other.told_apart;
        self.looked_at += other.looked_at;
        self.looks += other.looks;
        self.doubtful += other.doubtful;
    }

    /// What is left of it without another.
    pub fn less(&self, other: &Demand) -> Demand {
        let less = |one: f64, other: f64| (one - other).max(0.0);
        Demand {
            on_cpu: less(self.on_cpu, other.on_cpu),
            run_queue: less(self.run_queue, other.run_queue),
            own: OwnWait {
                network: less(self.own.network, other.own.network),
                disk: less(self.own.disk, other.own.disk),
                sleep: less(self.own.sleep, other.own.sleep),
                lock: less(self.own.lock, other.own.lock),
                pipe: less(self.own.pipe, other.own.pipe),
                other: less(self.own.other, other.own.other),
            },
            starved: less(self.starved, other.starved),
            gil_wait: less(self.gil_wait, other.gil_wait),
            child: less(self.child, other.child),
            unknown: less(self.unknown, other.unknown),
            assumed_own: less(self.assumed_own, other.assumed_own),
            extrapolated_delay: less(self.extrapolated_delay, other.extrapolated_delay),
            extrapolated_cost: less(self.extrapolated_cost, other.extrapolated_cost),
            undelayed_wakeups: self.undelayed_wakeups.saturating_sub(other.undelayed_wakeups),
            told_apart: less(self.told_apart, other.told_apart),
            looked_at: less(self.looked_at, other.looked_at),
            looks: less(self.looks, other.looks),
            doubtful: less(self.doubtful, other.doubtful),
        }
    }

    /// The same, `factor` times.
    pub fn scaled(&self, factor: f64) -> Demand {
        Demand {
            on_cpu: self.on_cpu * factor,
            run_queue: self.run_queue * factor,
            own: OwnWait {
                network: self.own.network * factor,
                disk: self.own.disk * factor,
                sleep: self.own.sleep * factor,
                lock: self.own.lock * factor,
                pipe: self.own.pipe * factor,
                other: self.own.other * factor,
            },
            starved: self.starved * factor,
            gil_wait: self.gil_wait * factor,
            child: self.child * factor,
            unknown: self.unknown * factor,
            assumed_own: self.assumed_own * factor,
            extrapolated_delay: self.extrapolated_delay * factor,
            extrapolated_cost: self.extrapolated_cost * factor,
            undelayed_wakeups: (self.undelayed_wakeups as f64 * factor) as u64,
            told_apart: self.told_apart * factor,
            looked_at: self.looked_at * factor,
            // A part of them tells no less of each second.
            looks: self.looks,
            doubtful: self.doubtful * factor,
        }
    }

    /// Lives of its threads: all of the above added up.
    pub fn thread_seconds(&self) -> f64 {
        self.on_cpu + self.run_queue + self.own.sum() + self.starved + self.gil_wait + self.child + self.unknown
    }
}

/// What other evidence says where a process has none of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Neighbours {
    /// Mean delay of a wake-up, seconds.
    pub wakeup_delay: Option<f64>,
    /// Mean CPU that a switch costs before its record, seconds.
    pub switch_cost: Option<f64>,
    /// Blocked time by kind, to split what was not told apart.
    pub kinds: [f64; KINDS],
}

/// Blocked seconds by kind after the wake-up delay was taken out.
#[derive(Clone, Copy)]
struct Waits {
    beside: [f64; KINDS],
    alone: [f64; KINDS],
    /// The wake-up delay that was taken out.
    delay: f64,
}

/// A process's sums: threads that ran, threads that hardly did, and for how long all of them were blocked at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessSums {
    /// Threads that ran.
    pub busy: Ledger,
    /// Threads that were hardly ever on a CPU.
    pub quiet: Ledger,
    /// Threads that hardly ever did anything at all.
    pub idle: Ledger,
    /// Wall nanoseconds in which every thread was blocked, stopped time left out.
    pub alone: u64,
}

impl ProcessSums {
    /// All three.
    pub fn ledgers(&self) -> [&Ledger; 3] {
        [&self.busy, &self.quiet, &self.idle]
    }

    /// Whether this process's own samples tell what its waits were for.
    pub fn tells_kinds(&self) -> bool {
        let attributed = |blocked: &BlockedTime| (0..UNATTRIBUTED).map(|kind| blocked.total(kind)).sum::<u64>();
        self.ledgers().iter().all(|ledger| ledger.blocked.total(UNATTRIBUTED) == 0)
            || self.ledgers().iter().any(|ledger| attributed(&ledger.blocked) > 0)
    }

    /// Whether readings tell how long its wake-ups took.
    pub fn tells_delay(&self) -> bool {
        self.ledgers().iter().all(|ledger| ledger.wakeups == 0)
            || self.ledgers().iter().any(|ledger| ledger.wakeups_read > 0)
    }

    /// Whether readings tell what its switches cost.
    pub fn tells_cost(&self) -> bool {
        let sum = |of: fn(&Ledger) -> u64| self.ledgers().into_iter().map(of).sum::<u64>();
        let (all, read) = (sum(|ledger| ledger.voluntary + ledger.involuntary), sum(|ledger| ledger.switches_read));
        all < ENOUGH_SWITCHES || read >= ENOUGH_SWITCHES
    }

    /// Adds another process.
    pub fn fold(&mut self, other: &ProcessSums) {
        self.busy.fold(&other.busy);
        self.quiet.fold(&other.quiet);
        self.idle.fold(&other.idle);
        self.alone += other.alone;
    }
}

/// Whether the quiet threads that do something now and then are idle beside the busy ones all the same.
pub fn quiet_is_idle(sums: &ProcessSums) -> bool {
    sums.busy.threads > 0 && is_idle_beside(&sums.quiet, &sums.busy)
}

/// Whether threads did next to nothing beside others.
fn is_idle_beside(threads: &Ledger, others: &Ledger) -> bool {
    (threads.on_cpu.0 as f64) < IDLE_SHARE_OF_CPU * others.on_cpu.0 as f64
}

/// What a process demanded.
pub fn reconcile(sums: &ProcessSums, neighbours: &Neighbours) -> Demand {
    let (mut active, mut idle) = (sums.busy, sums.idle);
    if quiet_is_idle(sums) {
        idle.fold(&sums.quiet)
    } else {
        active.fold(&sums.quiet)
    }
    if active.threads == 0 || (idle.threads > active.threads && !is_idle_beside(&idle, &active)) {
        // Where most threads block rarely, and do their part all the same, that is what the program is like.
        active.fold(&std::mem::take(&mut idle));
    }
    let mut demand = Demand::default();
    let waits = settle(&active, neighbours, &mut demand);
    looked(&active, &waits, &mut demand);
    let mut explained = 0.0;
    for kind in 0..KINDS {
        let (beside, alone) = (waits.beside[kind], waits.alone[kind]);
        if kind == UNATTRIBUTED {
            demand.assumed_own += beside + alone;
        }
        match Blocking::ALL.get(kind) {
            Some(Blocking::Lock) => demand.starved += beside,
            Some(Blocking::Child) => demand.child += beside + alone,
            Some(Blocking::Gil) => demand.gil_wait += beside + alone,
            Some(Blocking::Pipe | Blocking::SharedLock | Blocking::Idle | Blocking::Stopped) => {
                demand.starved += beside + alone;
            }
            _ => own_lane(&mut demand.own, kind, beside + alone),
        }
        if kind != Blocking::Lock as usize {
            explained += alone;
        }
    }
    let busy_seconds = demand.on_cpu;
    let idle_waits = settle(&idle, neighbours, &mut demand);
    // A thread that was woken but has no CPU yet is still blocked in the records: the process did not stand still then.
    let standstill = sums.alone as f64 / 1e9;
    let mut unexplained = (standstill - explained - waits.delay - idle_waits.delay).max(0.0);
    // A small rest is the error of what is known of the other threads' waits.
    if unexplained < UNEXPLAINED_SHARE * (standstill + busy_seconds) {
        unexplained = 0.0;
    }
    let share = crate::units::ratio(unexplained, standstill).unwrap_or(0.0).min(1.0);
    let share = if share < IDLE_EXPLAINS { 0.0 } else { share };
    for kind in 0..KINDS {
        let (beside, alone) = (idle_waits.beside[kind], idle_waits.alone[kind]);
        match Blocking::ALL.get(kind) {
            Some(Blocking::Child) => demand.child += beside + alone,
            Some(Blocking::Gil) => demand.gil_wait += beside + alone,
            Some(Blocking::Lock | Blocking::Pipe | Blocking::SharedLock | Blocking::Idle | Blocking::Stopped) => {
                demand.starved += beside + alone;
            }
            _ => {
                own_lane(&mut demand.own, kind, alone * share);
                demand.starved += beside + alone * (1.0 - share);
                unexplained -= alone * share;
            }
        }
    }
    // One thread's worth of lock wait where nothing else explains why the whole process stood still.
    let locked = waits.alone[Blocking::Lock as usize];
    let own_lock = locked.min(unexplained.max(0.0));
    demand.own.lock += own_lock;
    demand.starved += locked - own_lock;
    let starving: f64 = STARVING.iter().map(|&on| waits.beside[on as usize] + waits.alone[on as usize]).sum();
    demand.doubtful = doubtful_share(&active) * (starving - own_lock).max(0.0);
    demand
}

/// Where so much of the waits with a time-out is begun anew at once, the threads wait for others.
const RETRIED_SHARE: f64 = 0.2;

/// How much of the time that a ledger holds as waits for others may have been waits for a time-out.
fn doubtful_share(ledger: &Ledger) -> f64 {
    let (retried, doubtful) = (ledger.retried.secs_f64(), ledger.doubtful.secs_f64());
    if retried > RETRIED_SHARE * (retried + doubtful) {
        return 0.0;
    }
    let starving: u64 = if ledger.wakeups == 0 {
        STARVING.iter().map(|&on| ledger.looks.time[on as usize]).sum()
    } else {
        STARVING.iter().map(|&on| ledger.blocked.total(on as usize)).sum()
    };
    crate::units::ratio(doubtful, starving as f64 / 1e9).unwrap_or(0.0).min(1.0)
}

/// What the tasks of a stage demanded. Inside a task every wait is its own, a lock and a pipe too, but for the
/// interpreter lock and its children; where the interpreter lock is not told from others, a lock counts only while the
/// whole process was blocked.
pub fn reconcile_tasks(ledger: &Ledger, neighbours: &Neighbours, locks_told: bool) -> Demand {
    let mut demand = Demand::default();
    let waits = settle(ledger, neighbours, &mut demand);
    looked(ledger, &waits, &mut demand);
    for kind in 0..KINDS {
        let (beside, alone) = (waits.beside[kind], waits.alone[kind]);
        match Blocking::ALL.get(kind) {
            Some(Blocking::Gil) => demand.gil_wait += beside + alone,
            Some(Blocking::Child) => demand.child += beside + alone,
            Some(Blocking::Stopped) => demand.starved += beside + alone,
            Some(Blocking::Lock) if !locks_told => {
                demand.own.lock += alone;
                demand.starved += beside;
            }
            Some(Blocking::Lock | Blocking::SharedLock) => demand.own.lock += beside + alone,
            Some(Blocking::Pipe) => demand.own.pipe += beside + alone,
            _ => own_lane(&mut demand.own, kind, beside + alone),
        }
        if kind == UNATTRIBUTED {
            demand.assumed_own += beside + alone;
        }
    }
    demand
}

/// Notes how much blocked time is told apart by looks alone, and by how many.
fn looked(ledger: &Ledger, waits: &Waits, demand: &mut Demand) {
    demand.told_apart = waits.beside.iter().chain(&waits.alone).sum();
    if ledger.wakeups == 0 {
        // Records tell wake-ups; readings have none.
        demand.looked_at = demand.told_apart;
        demand.looks = ledger.looks.effective();
    } else if ledger.told > 0 {
        // What the delay left of it. Where no wait was ever looked at, all of it is of no known kind, and told as such.
        let left = crate::units::ratio(demand.told_apart, ledger.blocked.sum() as f64 / 1e9).unwrap_or(0.0);
        demand.looked_at = ledger.guessed.secs_f64() * left.min(1.0);
        demand.looks = ledger.told as f64;
    }
}

fn own_lane(own: &mut OwnWait, kind: usize, seconds: f64) {
    match Blocking::ALL.get(kind) {
        Some(Blocking::Network) => own.network += seconds,
        Some(Blocking::Disk) => own.disk += seconds,
        Some(Blocking::Sleep) => own.sleep += seconds,
        _ => own.other += seconds,
    }
}

/// Takes the wake-up delay out of blocked time, splits what was not told apart, and books the plain sums.
fn settle(ledger: &Ledger, neighbours: &Neighbours, demand: &mut Demand) -> Waits {
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    let blocked = &ledger.blocked;
    let read = ledger.wakeup_delay.secs_f64();
    let unread = ledger.wakeups.saturating_sub(ledger.wakeups_read);
    let mean = if ledger.wakeups_read > 0 { Some(read / ledger.wakeups_read as f64) } else { neighbours.wakeup_delay };
    let extrapolated = unread as f64 * mean.unwrap_or(0.0);
    if mean.is_none() {
        demand.undelayed_wakeups += unread;
    }
    let switches = ledger.voluntary + ledger.involuntary;
    let unread_switches = switches.saturating_sub(ledger.switches_read).saturating_sub(ledger.costed) as f64;
    // A mean of a few readings is mostly their error, and that would be taken times all other switches.
    let mean_cost = if ledger.switches_read >= ENOUGH_SWITCHES {
        ledger.switch_cost.secs_f64() / ledger.switches_read as f64
    } else {
        neighbours.switch_cost.unwrap_or(0.0)
    };
    let mean_cost = mean_cost.min(DEAREST_SWITCH);
    let cost = ledger.switch_cost.secs_f64() + unread_switches * mean_cost;
    let preempted = crate::units::ratio(ledger.involuntary as f64, switches as f64).unwrap_or(0.0);
    let run_queue = ledger.run_queue.secs_f64();
    let queue_cost = (cost * preempted).min(run_queue);

    let total = seconds(blocked.sum());
    let delay = (read + extrapolated).min(total);
    let wait_cost = (cost - cost * preempted).min(total - delay);
    demand.extrapolated_delay += extrapolated.min(delay);
    demand.extrapolated_cost += (unread_switches * mean_cost).min(queue_cost + wait_cost);
    demand.on_cpu += ledger.on_cpu.secs_f64() + queue_cost + wait_cost;
    demand.run_queue += run_queue - queue_cost + delay;
    demand.unknown += ledger.unknown.secs_f64();

    let mut waits = Waits { beside: blocked.beside.map(seconds), alone: blocked.alone.map(seconds), delay };
    take_delay(&mut waits, &blocked.count, delay + wait_cost);
    let own_mix: [f64; KINDS] = std::array::from_fn(|kind| waits.beside[kind] + waits.alone[kind]);
    let mix = if own_mix[..UNATTRIBUTED].iter().sum::<f64>() > 0.0 { own_mix } else { neighbours.kinds };
    let known: f64 = mix[..UNATTRIBUTED].iter().sum();
    if known > 0.0 {
        let (beside, alone) = (waits.beside[UNATTRIBUTED], waits.alone[UNATTRIBUTED]);
        for (kind, amount) in mix.iter().enumerate().take(UNATTRIBUTED) {
            waits.beside[kind] += beside * amount / known;
            waits.alone[kind] += alone * amount / known;
        }
        waits.beside[UNATTRIBUTED] = 0.0;
        waits.alone[UNATTRIBUTED] = 0.0;
    }
    waits
}

/// Takes `delay` seconds out of the waits, from each kind in proportion to how often it was waited for; what a kind
/// cannot give, the others give.
fn take_delay(waits: &mut Waits, counts: &[u64; KINDS], delay: f64) {
    let mut left = delay;
    for _ in 0..KINDS {
        let givers = |waits: &Waits, kind: usize| counts[kind] > 0 && waits.beside[kind] + waits.alone[kind] > 1e-12;
        let times: u64 = (0..KINDS).filter(|&kind| givers(waits, kind)).map(|kind| counts[kind]).sum();
        if left <= 1e-12 || times == 0 {
            return;
        }
        let wanted = left;
        for (kind, &count) in counts.iter().enumerate() {
            if !givers(waits, kind) {
                continue;
            }
            let has = waits.beside[kind] + waits.alone[kind];
            let gives = (wanted * count as f64 / times as f64).min(has);
            let keep = 1.0 - gives / has;
            waits.beside[kind] *= keep;
            waits.alone[kind] *= keep;
            left -= gives;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn ledger(on_cpu: u64, kind: Blocking, beside: u64, alone: u64) -> Ledger {
        let mut ledger = Ledger { on_cpu: Span(on_cpu), threads: 1, ..Ledger::default() };
        ledger.blocked.beside[kind as usize] = beside;
        ledger.blocked.alone[kind as usize] = alone;
        ledger.blocked.count[kind as usize] = 10;
        ledger
    }

    fn score(demand: &Demand) -> f64 {
        demand.on_cpu / (demand.on_cpu + demand.own.sum())
    }

    #[test]
    fn idle_threads_beside_a_busy_one_do_not_count() {
        let mut quiet = ledger(0, Blocking::Sleep, 30 * SECOND, 0);
        quiet.fold(&ledger(0, Blocking::Lock, 30 * SECOND, 0));
        let sums = ProcessSums { busy: ledger(SECOND, Blocking::Sleep, 0, 0), idle: quiet, ..ProcessSums::default() };
        assert!((score(&reconcile(&sums, &Neighbours::default())) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn many_threads_that_block_rarely_and_do_their_part_are_not_idle() {
        let mut idle = Ledger::default();
        for _ in 0..200 {
            idle.fold(&ledger(SECOND / 5000, Blocking::Network, 0, 3 * SECOND));
        }
        let starter = ledger(SECOND / 50, Blocking::SharedLock, 0, 3 * SECOND);
        let sums = ProcessSums { busy: starter, idle, alone: 3 * SECOND, ..ProcessSums::default() };
        let demand = reconcile(&sums, &Neighbours::default());
        assert!((demand.own.network - 600.0).abs() < 1.0 && score(&demand) < 0.001, "{demand:?}");
    }

    #[test]
    fn idle_threads_do_not_multiply_the_wait_of_a_busy_one() {
        let quiet = ledger(0, Blocking::Sleep, 15 * SECOND, 15 * SECOND);
        let sums = ProcessSums {
            busy: ledger(SECOND, Blocking::Network, 0, SECOND),
            idle: quiet,
            alone: SECOND,
            ..ProcessSums::default()
        };
        assert!((score(&reconcile(&sums, &Neighbours::default())) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_lock_counts_only_while_the_whole_process_stands_still() {
        let contended = ProcessSums { busy: ledger(SECOND, Blocking::Lock, 3 * SECOND, 0), ..ProcessSums::default() };
        assert!((score(&reconcile(&contended, &Neighbours::default())) - 1.0).abs() < 1e-9);
        let sleeper =
            ProcessSums { busy: ledger(SECOND, Blocking::Lock, 0, SECOND), alone: SECOND, ..ProcessSums::default() };
        assert!((score(&reconcile(&sleeper, &Neighbours::default())) - 0.5).abs() < 1e-9);
        // A join beside a thread that sleeps: the sleep explains the stillness, the join adds nothing.
        let mut joined = sleeper;
        joined.busy.fold(&ledger(0, Blocking::Sleep, 0, SECOND));
        assert!((score(&reconcile(&joined, &Neighbours::default())) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn wake_up_delay_moves_to_the_run_queue() {
        let mut busy = ledger(SECOND, Blocking::Sleep, 0, 3 * SECOND);
        busy.wakeups = 100;
        busy.wakeups_read = 50;
        busy.wakeup_delay = Span(SECOND);
        let sums = ProcessSums { busy, alone: 3 * SECOND, ..ProcessSums::default() };
        let demand = reconcile(&sums, &Neighbours::default());
        assert!((demand.run_queue - 2.0).abs() < 1e-9);
        assert!((score(&demand) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_child_and_a_pipe_are_neither_term() {
        for kind in [Blocking::Child, Blocking::Pipe, Blocking::SharedLock, Blocking::Idle, Blocking::Stopped] {
            let sums =
                ProcessSums { busy: ledger(SECOND, kind, 0, 9 * SECOND), alone: 9 * SECOND, ..ProcessSums::default() };
            assert!((score(&reconcile(&sums, &Neighbours::default())) - 1.0).abs() < 1e-9, "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn demands_add_up_to_thread_time(
            busy in prop::array::uniform24(0u64..10 * SECOND),
            quiet in prop::array::uniform24(0u64..10 * SECOND),
            on_cpu in 0u64..10 * SECOND, alone in 0u64..40 * SECOND, delay in 0u64..SECOND, wakeups in 0u64..100,
        ) {
            let build = |amounts: [u64; 2 * KINDS], on_cpu| {
                let mut ledger = Ledger { on_cpu: Span(on_cpu), threads: 1, ..Ledger::default() };
                for kind in 0..KINDS {
                    ledger.blocked.beside[kind] = amounts[2 * kind];
                    ledger.blocked.alone[kind] = amounts[2 * kind + 1];
                    ledger.blocked.count[kind] = 3;
                }
                ledger.wakeups = wakeups;
                ledger.wakeups_read = wakeups / 2;
                ledger.wakeup_delay = Span(delay);
                ledger.voluntary = wakeups;
                ledger.switches_read = wakeups / 3;
                ledger.switch_cost = Span(delay / 2);
                ledger
            };
            let sums = ProcessSums { busy: build(busy, on_cpu), quiet: build(quiet, 0), idle: build(busy, 0), alone };
            let demand = reconcile(&sums, &Neighbours::default());
            let life = (2 * sums.busy.blocked.sum() + sums.quiet.blocked.sum() + on_cpu) as f64 / 1e9;
            prop_assert!((demand.thread_seconds() - life).abs() < 1e-6, "{} {}", demand.thread_seconds(), life);
            prop_assert!(demand.own.sum() >= 0.0 && demand.starved >= -1e-9);
        }
    }
}
