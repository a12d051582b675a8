//! Reasons, notes and outcomes in words: lower-case fragments without a full stop, each number with what it is of.

use super::kept::Asked;
use super::number::{Glyphs, NO_BREAK};
use crate::predict::BUSY;
use crate::stages::Folded;
use crate::trace::{Refusal, Rung, StackCall};
use crate::verdict::{Holder, Reason, Warning, Why};

/// The agent's file, which no user looks for.
const AGENT_FILE: &str = "/poolpick_agent.py";
/// Places of a deadlock that are shown.
const STACKS_SHOWN: usize = 4;
/// Calls of each.
const CALLS_SHOWN: usize = 5;

/// A reason in a sentence with its numbers.
pub fn reason(reason: &Reason) -> String {
    match *reason {
        Reason::IoBound { share } => {
            format!("it waits on the outside world for {} of its own time, so waits can overlap", percent(share))
        }
        Reason::CpuBound { score } => format!("it computes for {} of its own time", percent(score)),
        Reason::Interleaved { score } => {
            format!("it computes for {} of its own time and waits for the rest, in turns", percent(score))
        }
        Reason::MixedPhases { phases } => {
            format!("its class changes over its life: {phases} phases, each with its own best executor")
        }
        Reason::AlreadyParallel { used, cores } => {
            format!("it keeps {used:.1} of {cores:.1} cores busy by itself: a second copy would share them")
        }
        Reason::OwnThreads { at_once } => format!(
            "about {at_once:.0} of its own threads work or wait at once: a worker here is a copy of the whole program"
        ),
        Reason::OwnProcess => {
            "it is a program in a process of its own: a thread that waits for it is enough, and nothing is pickled".to_owned()
        }
        Reason::SingleCore { cores } => format!("{cores:.1} cores may be used: nothing can run beside it"),
        Reason::MemoryLimited { workers, bytes, limit } => format!(
            "no more than {workers} fit into memory: one takes {} of {}",
            bytes_of(bytes),
            bytes_of(limit)
        ),
        Reason::IpcTooExpensive { share, limit } => format!(
            "moving its payload between processes would take {} of its latency (limit {}); shared memory, Arrow or \
             memory-mapped files avoid that",
            percent(share),
            percent(limit)
        ),
        Reason::IpcUnsure { share, limit } => format!(
            "if all bytes that it reads and writes were payload, moving them would take up to {} of its latency (limit {}); \
             `--payload-in` and `--payload-out` tell the real sizes",
            percent(share),
            percent(limit)
        ),
        Reason::GilBound { share } => {
            format!("it holds the interpreter lock (GIL) for {} of its CPU time: threads would take turns", percent(share))
        }
        Reason::GilReleased { share } => {
            format!("it holds the interpreter lock (GIL) for only {} of its CPU time: threads compute side by side", percent(share))
        }
        Reason::GilPartly { share } => {
            format!("it holds the interpreter lock (GIL) for {} of its CPU time: threads compute side by side in part", percent(share))
        }
        Reason::GilChurn { share, run, handover } => format!(
            "it holds the interpreter lock (GIL) for {} of its CPU time, but lets go for only {} at a time; handing it over \
             takes {}: threads would be slower than none",
            percent(share),
            seconds_of(run),
            seconds_of(handover)
        ),
        Reason::ClassOpen { low, high } => format!(
            "its score lies between {low:.2} and {high:.2}: that leaves its class open, but not what each executor would do with it"
        ),
        Reason::CoroutineOpen { low, high } => format!(
            "its score lies between {low:.2} and {high:.2}: if it computes for most of its time, processes are clearly faster"
        ),
        Reason::JoinsOpen => {
            "its tasks wait for work that they hand to others: what those do for it is not known well enough to tell".to_owned()
        }
        Reason::FirstCalls { seconds, others } => format!(
            "the first call in a process took {}, later ones take {}: it is left out, for it is paid once",
            seconds_of(seconds),
            seconds_of(others)
        ),
        Reason::GilHeldWaiting { share } => format!(
            "it holds the interpreter lock (GIL) for {} of the time that it waits: threads cannot overlap that",
            percent(share)
        ),
        Reason::GilAbsent => "its interpreter runs without a lock (free threading): threads compute side by side".to_owned(),
        Reason::SaturatesGil { workers } => {
            format!("{workers} threads already keep the interpreter lock (GIL) busy: more of them only wait for it")
        }
        Reason::LockBound { share, limit } => format!(
            "{} of its waits are for a lock of the program, which lets {limit:.1} tasks a second through: more workers only queue for it",
            percent(share)
        ),
        Reason::LoopBlocked { share } => format!(
            "for {} of its waits it blocks its event loop, in which nothing else runs meanwhile: await them, or hand them to threads",
            percent(share)
        ),
        Reason::LockNotShared => "each process would have that lock to itself: faster, and right only if what the lock guards is the process's own".to_owned(),
        Reason::LockUnseen { ref lock } => format!(
            "its function names a lock of the program, {lock}: whether threads would queue for it, only a run in threads shows"
        ),
        Reason::TaskTooSmall { seconds, dispatch } => format!(
            "a task takes {}, handing one to a pool {}: hand over many at once, or use no pool",
            seconds_of(seconds),
            seconds_of(dispatch)
        ),
        Reason::NotPicklable => "its function, an argument or its result cannot be pickled: no other process can run it".to_owned(),
        Reason::PayloadUnknown => {
            "what a process pool would have to move for it was not measured".to_owned()
        }
        Reason::PayloadThin { readings } => format!(
            "what a process pool would have to move was pickled in only {readings} of its tasks: its price may be off by as much as \
             itself"
        ),
        Reason::CoroutineComputes => {
            "it computes in a coroutine, which no process pool runs: make it an ordinary function, and await \
             `loop.run_in_executor(pool, …)`"
                .to_owned()
        }
        Reason::SharedState => {
            "its tasks write module state, which processes would not share: results could change silently".to_owned()
        }
        Reason::GilUnknown => {
            "how much of its CPU time holds the interpreter lock (GIL) was not measured; it decides between threads and \
             processes"
                .to_owned()
        }
        Reason::GilThin => {
            "the interpreter lock (GIL) was read too few times while it ran to tell how threads would share it: a longer \
             run, or more of them, would"
                .to_owned()
        }
        Reason::SaturatesCores { used, cores } => {
            format!("its pool keeps {used:.1} of {cores:.1} cores busy: no executor has more to give")
        }
        Reason::ThreadsSuffice { threads, processes } => format!(
            "processes are predicted at {processes:.1}×, threads at {threads:.1}×: this run leaves open which is faster, and \
             each process costs memory and its start"
        ),
        Reason::WaitAssumed { workers, seen } => format!(
            "{workers} at once were not seen, only {seen}: that what it waits for keeps up is an assumption"
        ),
        Reason::ManyConnections { workers } => {
            format!("about {workers} at once would fill the cores: an event loop holds that many more cheaply than threads")
        }
        Reason::ArrivalRate { rate, busy, workers, per_second } => {
            let share = rate / per_second.max(f64::MIN_POSITIVE);
            let room = if share > BUSY { "so its queue grows long" } else { "so its queue stays short" };
            format!(
                "{} tasks a second keep {} workers busy (Little's law): {workers} get through {} a second and are {} busy, {room}",
                rate_of(rate), rate_of(busy), rate_of(per_second), percent(share)
            )
        }
        Reason::WorkersTooFew { seen, wanted } => format!("it runs with {seen} workers where {wanted} would be used"),
    }
}

/// A warning in a sentence with its numbers. What an agent says comes from the target: renderers escape it.
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::ErrorRate { failed, count } => {
            format!("{failed} of {count} tasks failed ({})", percent(*failed as f64 / (*count).max(1) as f64))
        }
        Warning::Unretrieved { count } => {
            format!("{count} exceptions were never looked at: call `result()` on every future")
        }
        Warning::LoopStalled { count, longest } => format!(
            "{count} times a callback kept the event loop for more than 50 ms, at worst {}: hand that work to a pool",
            seconds_of(*longest)
        ),
        Warning::MemoryGrowing { per_second, holder } => {
            format!("resident memory grows by {} a second: {}", bytes_of(*per_second as u64), remedy_of(*holder))
        }
        Warning::NestedThreads { tasks, each, cores } => format!(
            "each of {tasks} tasks at once keeps {each:.1} threads busy, {:.0} together for {}: limit a library's own with \
             `OMP_NUM_THREADS=1` or `threadpoolctl`, or use fewer workers",
            *tasks as f64 * each,
            cores_of(*cores)
        ),
        Warning::TooManyThreads { runnable, cores, per_second } => format!(
            "{runnable:.1} threads want a CPU at a time, for {}, and are preempted {} times a second: fewer do as much",
            cores_of(*cores),
            rate_of(*per_second)
        ),
        Warning::QueueGrowing { depth, workers, seconds, delays: (before, after) } => format!(
            "its queue grew for {}, to {depth:.0} tasks for {workers} workers, and the time in it from {} to {}: bound what \
             is handed in, or add workers",
            seconds_of(*seconds),
            seconds_of(*before),
            seconds_of(*after)
        ),
        Warning::Unfinished { count } => {
            format!("{count} of its tasks had not ended when the run did, and they took much of its time")
        }
        Warning::Deadlock { threads, seconds, places } => {
            let of = if *threads == 1 {
                "the thread of its task".to_owned()
            } else {
                format!("all {threads} threads of its tasks")
            };
            let places: Vec<String> =
                places.iter().take(STACKS_SHOWN).map(|(count, calls)| stack(*count, calls)).collect();
            format!(
                "{of} waited for locks for {} until the end, as did every other Python thread beside them: none can let go. {}",
                seconds_of(*seconds),
                places.join("; ")
            )
        }
        Warning::DescriptorsGrowing { before, after, seconds, tasks } => {
            let each = tasks.map_or(String::new(), |tasks| {
                format!(
                    ", {} for each of {tasks} tasks",
                    plain((f64::from(after.saturating_sub(*before)) / tasks as f64 * 10.0).round() / 10.0)
                )
            });
            format!(
                "open descriptors of a process grew from {before} to {after} in {}{each}: close files and sockets, as `with` does",
                seconds_of(*seconds)
            )
        }
        Warning::Zombies { count, seconds, is_least } => {
            let least = if *is_least { "at least " } else { "" };
            let (processes, are) = if *count == 1 { ("process", "is a zombie") } else { ("processes", "are zombies") };
            format!(
                "{least}{count} {processes} that it started ended and {are}, for up to {}: it never waits for them; `wait()` or \
                 `communicate()` on each `Popen`, `join()` on each `Process`, `os.waitpid` after `os.fork`, or ignore `SIGCHLD`",
                seconds_of(*seconds)
            )
        }
        Warning::AboveMaxWorkers { at_once, workers } => format!(
            "{at_once} of its tasks ran at once where a pool has {workers} workers: several pools live at a time; make one and keep it"
        ),
        Warning::OutOfMemory { kills } => format!(
            "the kernel killed {kills} {} for want of memory, a worker of its pool among them: fewer workers, smaller tasks, or a higher limit",
            if *kills == 1 { "process" } else { "processes" }
        ),
        Warning::RateUnreachable { rate, most } => format!(
            "{} tasks a second arrive, and no number of workers gets through more than {} of them here",
            rate_of(*rate),
            rate_of(*most)
        ),
        Warning::Noted { detail, .. } => detail.clone(),
    }
}

/// What bounds the memory of whoever holds it.
fn remedy_of(holder: Holder) -> &'static str {
    match holder {
        Holder::ExecutorWorkers { forked: false } => {
            "`max_tasks_per_child` (Python 3.11; it can hang: CPython issue 115634) renews workers, \
             and an `initializer` loads once what every task loads"
        }
        Holder::ExecutorWorkers { forked: true } => {
            "`max_tasks_per_child` (Python 3.11; it can hang: CPython issue 115634) renews workers, \
             though not forked ones: take `mp_context` spawn or forkserver; \
             and an `initializer` loads once what every task loads"
        }
        Holder::PoolWorkers => {
            "`maxtasksperchild` renews workers, and an `initializer` loads once what every task loads"
        }
        Holder::OtherWorkers => {
            "have the pool renew its workers (`maxtasksperchild` of `multiprocessing.Pool`; `max_tasks_per_child` \
             of `ProcessPoolExecutor` can hang: CPython issue 115634), and load once what every task loads"
        }
        Holder::Python => {
            "find what keeps it, with `tracemalloc`: a cache without a limit, futures and results that are kept, a queue that grows"
        }
        Holder::Program => "find what keeps it: a cache without a limit, results that are kept, a queue that grows",
    }
}

/// `2 threads at transfer (bank.py:12), under run (bank.py:30), …`
fn stack(threads: u64, calls: &[StackCall]) -> String {
    let place = |call: &StackCall| {
        let file = call.file.rsplit('/').next().unwrap_or_default();
        let line = call.line.map_or(String::new(), |line| format!(":{line}"));
        format!("{} ({file}{line})", call.function)
    };
    let of = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    // The agent stands between a pool and its tasks.
    let calls: Vec<&StackCall> = calls.iter().filter(|call| !call.file.ends_with(AGENT_FILE)).collect();
    let shown: Vec<String> = calls.iter().take(CALLS_SHOWN).map(|call| place(call)).collect();
    let rest = if calls.len() > CALLS_SHOWN { ", …" } else { "" };
    if shown.is_empty() {
        format!("{of} outside of Python")
    } else {
        format!("{of} at {}{rest}", shown.join(", under "))
    }
}

/// Why there is no yes or no.
pub fn why(why: Why) -> &'static str {
    match why {
        Why::NoExecutor => "one run does not show which executor production runs it under; `--executor` tells",
        Why::ThinEvidence => "the run shows too little CPU time and wait of it to judge",
        Why::ClassOpen => {
            "its score may fall on either side of a threshold; a longer run or more to see it by (`poolpick doctor`) decides it"
        }
        Why::CoroutineOpen => {
            "whether it computes for most of its time, and processes are clearly faster, is open: a longer run decides it"
        }
        Why::JoinsOpen => {
            "its tasks wait for work that they hand to others, which are the stage to judge: name their function"
        }
        Why::FeedsPool => "it feeds a pool of its own workers, which are judged instead",
        Why::OutsideStages => "its stages are judged; this is what it did besides",
        Why::PayloadUnknown => {
            "what a process pool would have to move was not measured: `--stage` or `--payload-in` tells"
        }
        Why::NoPrediction => "what the executor that it runs under would do with it is not predicted",
        Why::GilUnknown => "how much of its CPU time holds the interpreter lock (GIL) was not measured",
        Why::GilThin => "the interpreter lock (GIL) was read too few times while it ran: a longer run would decide it",
        Why::LockUnseen => {
            "whether threads would queue for a lock that its function names, only a run in threads shows"
        }
        Why::LockNotShared => {
            "processes would be faster if each may have the lock that threads queue for to itself, which no run tells"
        }
        Why::TooClose => "the difference is within what this run leaves open; a longer run would decide it",
        Why::Unfinished => {
            "much of its time went to tasks that had not ended when the run did: what one takes is not known"
        }
        Why::AlreadyParallel => "it uses the cores by itself: a pool of it makes it no faster",
    }
}

/// A refused source, with the command that would change it.
pub fn refusal(refusal: &Refusal, rung: Rung) -> String {
    let effect = match refusal.source.as_str() {
        "perf" if rung == Rung::Schedstat => "switch records are not there, times of threads are sampled",
        "perf" => "switch records are not there",
        "schedstat" => "counters of threads are not there",
        "waits" => "what blocked threads wait for is not known",
        "gil" => "who holds the interpreter lock (GIL) is not known",
        "agent" => "stages inside Python programs are not told apart",
        _ => "a source is not there",
    };
    let remedy = refusal.why.remedy().map_or(String::new(), |remedy| format!("; `{remedy}` would change that"));
    format!("{effect}: {}{remedy}", refusal.why)
}

/// Why the lock of some stages was not read.
pub fn unread_lock(names: &[&str], why: &str) -> String {
    let (first, others) = (names.first().copied().unwrap_or_default(), names.len().saturating_sub(1));
    let others = match others {
        0 => String::new(),
        1 => " and another".to_owned(),
        others => format!(" and {others} others"),
    };
    format!("who holds the interpreter lock (GIL) of `{first}`{others} is not known: {why}")
}

/// Which machine the answer is for, where that is not the one measured.
pub fn asked(asked: &Asked, measured_cores: f64) -> Option<String> {
    let cores = asked.cores.map(cores_of);
    let memory = asked.memory_bytes.map(|bytes| format!("{} of memory", bytes_of(bytes)));
    let machine: Vec<String> = cores.into_iter().chain(memory).collect();
    (!machine.is_empty()).then(|| {
        format!(
            "the answer is for a machine with {}, by what was measured on one that lent {}",
            machine.join(" and "),
            cores_of(measured_cores)
        )
    })
}

/// `1 core`, `2.5 cores`.
fn cores_of(cores: f64) -> String {
    let number = plain(cores);
    let noun = if number == "1" { "core" } else { "cores" };
    format!("{number} {noun}")
}

/// A number without needless zeros.
fn plain(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

/// What was folded away: a sentence on what programs did besides their stages, and one on those that did hardly anything.
pub fn folded(folded: &[Folded]) -> Vec<String> {
    let told = |why: &str, has_stages: bool| {
        let alike: Vec<&Folded> = folded.iter().filter(|program| program.has_stages == has_stages).collect();
        named(&alike).map(|named| format!("{why}: {named}"))
    };
    let besides = told("outside the stages", true);
    let small = told("no stages, because they only launched others or did next to nothing", false);
    besides.into_iter().chain(small).collect()
}

/// `a, b and 3 more (7 processes, 12 ms of CPU)`; `None` of nothing.
fn named(folded: &[&Folded]) -> Option<String> {
    const NAMED: usize = 4;
    let cpu: f64 = folded.iter().map(|program| program.cpu_seconds).sum();
    let processes: u64 = folded.iter().map(|program| program.processes).sum();
    let mut names: Vec<&str> = Vec::new();
    for program in folded {
        if !names.contains(&program.name.as_str()) {
            names.push(&program.name);
        }
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let names = match (names.as_slice(), more) {
        ([], _) => return None,
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {more} more", names.join(", ")),
    };
    let processes = match processes {
        // They became the programs of other stages.
        0 => String::new(),
        1 => "1 process, ".to_owned(),
        more => format!("{more} processes, "),
    };
    Some(format!("{names} ({processes}{} of CPU)", seconds_of(cpu)))
}

/// CPU that nothing but the kernel's total tells of.
pub fn unseen(seconds: f64, rung: Rung) -> Option<String> {
    (rung == Rung::Schedstat && seconds > 0.05).then(|| {
        format!(
            "{} of CPU was used by programs and threads that ended before a reading could see them; it is in the totals, not in a stage",
            seconds_of(seconds)
        )
    })
}

/// Three digits, as many as anybody needs of a rate.
fn rate_of(rate: f64) -> String {
    if rate >= 100.0 {
        format!("{rate:.0}")
    } else if rate >= 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.2}")
    }
}

fn bytes_of(bytes: u64) -> String {
    Glyphs::UNICODE.bytes(Some(bytes)).replace(NO_BREAK, " ")
}

fn seconds_of(seconds: f64) -> String {
    Glyphs::UNICODE.seconds(seconds).replace(NO_BREAK, " ")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_workers_is_told_to_renew_them() {
        let said = |holder| warning(&Warning::MemoryGrowing { per_second: 5e6, holder });
        for forked in [false, true] {
            let text = said(Holder::ExecutorWorkers { forked });
            assert!(text.contains("max_tasks_per_child") && !text.contains("maxtasksperchild"), "{text}");
            assert_eq!(text.contains("spawn"), forked, "{text}");
        }
        let text = said(Holder::PoolWorkers);
        assert!(text.contains("maxtasksperchild") && !text.contains("max_tasks_per_child"), "{text}");
        for holder in [Holder::Python, Holder::Program] {
            let text = said(holder);
            assert!(
                !text.contains("per_child") && !text.contains("perchild") && !text.contains("initializer"),
                "{text}"
            );
            assert_eq!(text.contains("tracemalloc"), holder == Holder::Python, "{text}");
        }
    }

    #[test]
    fn one_core_is_one() {
        let asked = |cores| asked(&Asked { cores: Some(cores), ..Asked::default() }, 1.0).expect("it was asked for");
        assert!(asked(1.0).contains("a machine with 1 core, by what was measured on one that lent 1 core"));
        assert!(asked(2.5).contains("a machine with 2.5 cores,"));
    }
}
