//! What an inherited perf event costs a fork and exit, and a context switch. poolpick opens one a CPU of the cpuset, each
//! is copied into every child, and the kernel looks through all of them at every switch: this says what a program pays
//! on machines with more CPUs than this one.
//!
//! A child process pinned to the first CPU forks children that end at once, or passes a byte to and fro with a child of
//! its own. Of the N events on it, one is on its own CPU, with a ring, and the others are on other CPUs: exactly what a
//! process sees on a machine of N CPUs. Where there is only one CPU they are all on that, which is dearer: an upper
//! bound.

use perf_event::events::Software;
use perf_event::{Builder, Clock, Counter};
use poolpick::observe::FORK_COST_NANOS;
use poolpick::sys::ring::{Ring, page_size};
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const EVENTS: [usize; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 128];
/// Forks of one measurement.
const FORKS: usize = 400;
/// Round trips of one measurement, two switches each; their records fit into the ring.
const ROUND_TRIPS: usize = 2_000;
const RING_PAGES: usize = 64;
/// Measurements of each number of events; the least counts, since noise only adds.
const ROUNDS: usize = 15;
const CHILD: &str = "--do-as-told";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CHILD) {
        return do_as_told();
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("skipped: run it with `cargo bench --bench fork`");
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Refused(error)) => {
            println!("skipped: perf events are refused here ({error}); `poolpick doctor` tells why");
            ExitCode::SUCCESS
        }
        Err(Trouble::Io(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Trouble {
    /// perf is not to be had.
    Refused(io::Error),
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

fn measure() -> Result<(), Trouble> {
    let cpus = usable_cpus();
    let (mut forks, mut switches) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        for (index, &events) in EVENTS.iter().enumerate() {
            forks.of[index].push(one_sample(Task::Forks, events, &cpus)?);
            switches.of[index].push(one_sample(Task::Switches, events, &cpus)? / 2.0);
        }
    }
    let place = if cpus.len() > 1 { "other CPUs" } else { "the same CPU, an upper bound" };
    println!("all events but the first are on {place}; {ROUNDS} rounds, of which the least counts");
    println!("\nfork + exit + wait of a child that does nothing");
    let nanos = forks.print();
    println!("slope: {nanos:.0} ns an event; poolpick reckons with {FORK_COST_NANOS} ns");
    for cores in [64.0, 128.0] {
        for rate in [100.0, 1_000.0] {
            let share = cores * rate * nanos / 1e9;
            println!("{cores:>5} CPUs, {rate:>5} forks/s: {:>5.1} % of one core", share * 100.0);
        }
    }
    println!("\none context switch, out of one thread and into another (a byte through a pipe)");
    let nanos = switches.print();
    println!("slope: {nanos:.1} ns an event");
    for cores in [64.0, 128.0] {
        for rate in [1_000.0, 10_000.0] {
            let share = cores * rate * nanos / 1e9;
            println!("{cores:>5} CPUs, {rate:>5} switches/s: {:>5.2} % of one core", share * 100.0);
        }
    }
    Ok(())
}

/// Microseconds, for each number of events.
#[derive(Default)]
struct Samples {
    of: [Vec<f64>; EVENTS.len()],
}

impl Samples {
    /// Prints the table; the slope in nanoseconds an event. The first event is left out of it: it is dearer, since it
    /// switches the machinery on and writes the records.
    fn print(&mut self) -> f64 {
        self.of.iter_mut().for_each(|samples| samples.sort_by(f64::total_cmp));
        println!("events   least µs   median µs   above none, µs");
        for (events, samples) in EVENTS.iter().zip(&self.of) {
            let above = samples[0] - self.of[0][0];
            println!("{events:>6} {:>10.2} {:>11.2} {above:>16.2}", samples[0], samples[samples.len() / 2]);
        }
        let points = EVENTS.iter().zip(&self.of).skip(1).map(|(&events, samples)| (events as f64, samples[0]));
        slope(&points.collect::<Vec<_>>()) * 1e3
    }
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Forks,
    Switches,
}

/// Microseconds for each fork, or for each round trip, with so many events.
fn one_sample(task: Task, events: usize, cpus: &[usize]) -> Result<f64, Trouble> {
    let (word, count) = match task {
        Task::Forks => ("forks", FORKS),
        Task::Switches => ("switches", ROUND_TRIPS),
    };
    let mut child = Told::start(cpus[0])?;
    // Before the events: page tables and caches are warm.
    child.time(word, count / 8)?;
    let pid = child.child.id() as i32;
    let mut opened: Vec<(Counter, Option<Ring>)> = Vec::with_capacity(events);
    for index in 0..events {
        let others = &cpus[1..];
        let cpu = if index == 0 || others.is_empty() { cpus[0] } else { others[index % others.len()] };
        let mut event = open_event(pid, cpu).map_err(Trouble::Refused)?;
        let ring = if index == 0 { Some(Ring::map(&event, RING_PAGES).map_err(Trouble::Refused)?) } else { None };
        event.enable()?;
        opened.push((event, ring));
    }
    child.time(word, count / 8)?;
    let micros = child.time(word, count)?;
    // Events are closed only after the child has ended.
    drop(child);
    drop(opened);
    Ok(micros)
}

/// The event of `src/observe/switches.rs`, but enabled by hand: the child has exec'd already.
fn open_event(pid: i32, cpu: usize) -> io::Result<Counter> {
    let mut builder = Builder::new().kind(Software::DUMMY).observe_pid(pid).one_cpu(cpu);
    builder
        .inherit(true)
        .exclude_kernel(true)
        .exclude_hv(true)
        .context_switch(true)
        .task(true)
        .comm(true)
        .comm_exec(true)
        .sample_id_all(true)
        .clockid(Clock::MONOTONIC)
        .wakeup_watermark(RING_PAGES * page_size() / 4);
    // PERF_SAMPLE_TID | PERF_SAMPLE_TIME.
    builder.attrs_mut().sample_type = (1 << 1) | (1 << 2);
    builder.build()
}

/// Least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let above: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    above / below
}

fn usable_cpus() -> Vec<usize> {
    // SAFETY: a cpu_set_t of zeros is an empty set; the call writes at most its size into it.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    // SAFETY: the index is below CPU_SETSIZE.
    let usable = |&cpu: &usize| unsafe { libc::CPU_ISSET(cpu, &set) };
    let cpus: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(usable).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

// ---- the child that does as told --------------------------------------------------------------------------------------

struct Told {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Told {
    fn start(cpu: usize) -> io::Result<Told> {
        let mut child = Command::new(env::current_exe()?)
            .args([CHILD, &cpu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        Ok(Told { child, to, from: BufReader::new(from) })
    }

    /// Has it do a task so often; the mean time of one, microseconds.
    fn time(&mut self, word: &str, count: usize) -> io::Result<f64> {
        writeln!(self.to, "{word} {count}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        line.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn do_as_told() -> ExitCode {
    let cpu = env::args().nth(2).and_then(|cpu| cpu.parse::<usize>().ok()).unwrap_or(0);
    // SAFETY: the set is a value of ours, and the index comes from `usable_cpus`, below CPU_SETSIZE.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu % libc::CPU_SETSIZE as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let Some((word, count)) = line.trim().split_once(' ') else { return ExitCode::FAILURE };
        let Ok(count) = count.parse::<u32>() else { return ExitCode::FAILURE };
        let Some(took) = (if word == "forks" { time_forks(count) } else { time_round_trips(count) }) else {
            return ExitCode::FAILURE;
        };
        println!("{}", (took / count).as_secs_f64() * 1e6);
    }
    ExitCode::SUCCESS
}

fn time_forks(count: u32) -> Option<Duration> {
    let began = Instant::now();
    (0..count).all(|_| fork_once()).then(|| began.elapsed())
}

/// A byte goes to a child on the same CPU and comes back.
fn time_round_trips(count: u32) -> Option<Duration> {
    let (mut child_reads, mut to) = io::pipe().ok()?;
    let (mut from, mut child_writes) = io::pipe().ok()?;
    let mut byte = [0];
    // SAFETY: this process has one thread; the child only reads and writes descriptors and then calls _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        for _ in 0..=count {
            if child_reads.read_exact(&mut byte).is_err() || child_writes.write_all(&byte).is_err() {
                break;
            }
        }
        // SAFETY: ends the process without running what it shares with its parent.
        unsafe { libc::_exit(0) };
    }
    let mut trip = || {
        to.write_all(&byte).ok()?;
        from.read_exact(&mut byte).ok()
    };
    // The first waits for the child's first steps.
    trip()?;
    let began = Instant::now();
    for _ in 0..count {
        trip()?;
    }
    let took = began.elapsed();
    let mut status = 0;
    // SAFETY: waits for the child made above; the status is a value of ours.
    let reaped = unsafe { libc::waitpid(pid, &mut status, 0) };
    (pid > 0 && reaped == pid).then_some(took)
}

fn fork_once() -> bool {
    // SAFETY: this process has one thread, and the child calls nothing but _exit, which is async-signal-safe.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(0);
        }
        let mut status = 0;
        pid > 0 && libc::waitpid(pid, &mut status, 0) == pid
    }
}
