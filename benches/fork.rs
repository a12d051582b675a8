//! What an inherited perf event costs a fork and exit. poolpick opens one a CPU of the cpuset, and each is copied into
//! every child: this says what a fork pays on machines with more CPUs than this one.
//!
//! A child process pinned to the first CPU forks children that end at once. Of the N events on it, one is on its own
//! CPU, with a ring, and the others are on other CPUs: exactly what a process sees on a machine of N CPUs. Where there
//! is only one CPU they are all on that, which is dearer: an upper bound.

use perf_event::events::Software;
use perf_event::{Builder, Clock, Counter};
use poolpick::observe::FORK_COST_NANOS;
use poolpick::sys::ring::{Ring, page_size};
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const EVENTS: [usize; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 128];
/// Forks of one measurement.
const FORKS: usize = 400;
/// Measurements of each number of events; the least counts, since noise only adds.
const ROUNDS: usize = 15;
const CHILD: &str = "--forks-as-told";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CHILD) {
        return fork_as_told();
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
    let mut samples = vec![Vec::new(); EVENTS.len()];
    for _ in 0..ROUNDS {
        for (index, &events) in EVENTS.iter().enumerate() {
            samples[index].push(one_sample(events, &cpus)?);
        }
    }
    let least: Vec<f64> = samples.iter().map(|all| all.iter().copied().fold(f64::INFINITY, f64::min)).collect();
    println!("fork + exit + wait of a child that does nothing; {ROUNDS} rounds of {FORKS}");
    println!("events   least µs   median µs   each event adds, ns");
    for (index, all) in samples.iter_mut().enumerate() {
        all.sort_by(f64::total_cmp);
        let added = match EVENTS[index] {
            0 => "–".to_owned(),
            events => format!("{:.0}", (least[index] - least[0]) / events as f64 * 1e3),
        };
        println!("{:>6} {:>10.1} {:>11.1} {added:>21}", EVENTS[index], least[index], all[all.len() / 2]);
    }
    let nanos = slope(&least) * 1e3;
    let place = if cpus.len() > 1 { "other CPUs" } else { "the same CPU, an upper bound" };
    println!(
        "\nslope: {nanos:.0} ns an event (all but the first on {place}); poolpick reckons with {FORK_COST_NANOS} ns"
    );
    for cores in [64.0, 128.0] {
        for rate in [100.0, 1_000.0] {
            let share = cores * rate * nanos / 1e9;
            println!("{cores:>5} CPUs, {rate:>5} forks/s: {:>5.1} % of one core", share * 100.0);
        }
    }
    Ok(())
}

/// Microseconds for each fork with so many events.
fn one_sample(events: usize, cpus: &[usize]) -> Result<f64, Trouble> {
    let mut forker = Forker::start(cpus[0])?;
    // Before the events: page tables and caches are warm.
    forker.forks(FORKS / 8)?;
    let pid = forker.child.id() as i32;
    let mut opened: Vec<(Counter, Option<Ring>)> = Vec::with_capacity(events);
    for index in 0..events {
        let others = &cpus[1..];
        let cpu = if index == 0 || others.is_empty() { cpus[0] } else { others[index % others.len()] };
        let mut event = open_event(pid, cpu).map_err(Trouble::Refused)?;
        let ring = if index == 0 { Some(Ring::map(&event, 64).map_err(Trouble::Refused)?) } else { None };
        event.enable()?;
        opened.push((event, ring));
    }
    forker.forks(FORKS / 8)?;
    let micros = forker.forks(FORKS)?;
    // Events are closed only after the child has ended.
    drop(forker);
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
        .wakeup_watermark(64 * page_size() / 4);
    // PERF_SAMPLE_TID | PERF_SAMPLE_TIME.
    builder.attrs_mut().sample_type = (1 << 1) | (1 << 2);
    builder.build()
}

/// Least squares through the points (events, microseconds).
fn slope(micros: &[f64]) -> f64 {
    let count = EVENTS.len() as f64;
    let mean_x = EVENTS.iter().sum::<usize>() as f64 / count;
    let mean_y = micros.iter().sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for (&x, &y) in EVENTS.iter().zip(micros) {
        above += (x as f64 - mean_x) * (y - mean_y);
        below += (x as f64 - mean_x).powi(2);
    }
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

// ---- the child that forks --------------------------------------------------------------------------------------------

struct Forker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Forker {
    fn start(cpu: usize) -> io::Result<Forker> {
        let mut child = Command::new(env::current_exe()?)
            .args([CHILD, &cpu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        Ok(Forker { child, to, from: BufReader::new(from) })
    }

    /// Has it fork so often; the mean time of one, microseconds.
    fn forks(&mut self, count: usize) -> io::Result<f64> {
        writeln!(self.to, "{count}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        line.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Forker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fork_as_told() -> ExitCode {
    let cpu = env::args().nth(2).and_then(|cpu| cpu.parse::<usize>().ok()).unwrap_or(0);
    // SAFETY: the set is a value of ours, and the index comes from `usable_cpus`, below CPU_SETSIZE.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu % libc::CPU_SETSIZE as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(count) = line.trim().parse::<u32>() else { return ExitCode::FAILURE };
        let began = Instant::now();
        for _ in 0..count {
            if !fork_once() {
                return ExitCode::FAILURE;
            }
        }
        let each: Duration = began.elapsed() / count;
        println!("{}", each.as_secs_f64() * 1e6);
    }
    ExitCode::SUCCESS
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
