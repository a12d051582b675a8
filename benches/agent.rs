//! What the agent costs the Python programs that it is loaded into, pairwise against bare runs: a pool of very many small
//! tasks, a named function that is called five million times, threads that fight for the interpreter lock, large payloads.
//!
//! `poolpick` is the usual way; beside it stands what is left of the cost without the agent (`--python sample`, which reads the
//! lock from outside) and without anything about Python (`--python off`). Settings are those of the benchmark `overhead`.
//! Loads: pool, calls, locked, payload.

mod pairs;

use pairs::{Goal, Load, POOLPICK, Settings, Tool, python};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Tasks of about 50 µs.
const POOL: &str = "
import concurrent.futures
def task(number):
    total = 0
    for step in range(STEPS): total += step
    return total
if __name__ == '__main__':
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for result in pool.map(task, range(100000)): pass
";

/// Calls of about 0.2 µs.
const CALLS: &str = "
def call(number):
    return number + 1 + number * number + number
for number in range(5000000): call(number)
";

const LOCKED: &str = "
import threading
def burn():
    total = 0
    for step in range(8000000): total += step
threads = [threading.Thread(target=burn) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
";

/// 100 MiB each.
const PAYLOAD: &str = "
import concurrent.futures
if __name__ == '__main__':
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        for number in range(2): pool.submit(len, bytes(100 << 20)).result()
";

/// Steps of the loop that last about so long, by the interpreter's own clock.
const CALIBRATION: &str = "
import time
def loop():
    total = 0
    for step in range(1000000): total += step
best = 1
for attempt in range(5):
    begun = time.perf_counter(); loop(); best = min(best, time.perf_counter() - begun)
print(int(50e-6 / best * 1000000))
";

fn main() -> ExitCode {
    let Some(settings) = Settings::asked("agent") else { return ExitCode::SUCCESS };
    let Some(python) = python() else {
        println!("skipped: there is no `python3`");
        return ExitCode::SUCCESS;
    };
    let output = std::process::Command::new(&python).args(["-c", CALIBRATION]).output();
    let steps = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let loads: [(&str, String, &[&str], Goal); 4] = [
        ("pool", POOL.replace("STEPS", steps.trim()), &[], Goal { ratio: Some(1.03), ..Goal::OPEN }),
        ("calls", CALLS.to_owned(), &["--stage", "call=__main__:call"], Goal { ratio: Some(1.10), ..Goal::OPEN }),
        ("locked", LOCKED.to_owned(), &[], Goal { ratio: Some(1.01), ..Goal::OPEN }),
        ("payload", PAYLOAD.to_owned(), &[], Goal { ratio: Some(1.05), ..Goal::OPEN }),
    ];
    let mut table = settings.table();
    for (name, script, options, goal) in loads {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("agent_{name}.py"));
        fs::write(&path, script).expect("a folder for temporary files");
        let argv = vec![python.clone(), path.to_string_lossy().into_owned()];
        let load = Load { name, argv, repeats: 1, goal, pause: Duration::ZERO };
        for (tool, python, options) in
            [("poolpick", "agent", options), ("sampling", "sample", &[][..]), ("without Python", "off", &[])]
        {
            let words = [POOLPICK, "profile", "--python", python];
            let prefix = words.iter().chain(options).chain(&["--"]).map(|&word| word.to_owned()).collect();
            table.compare(&load, &Tool { name: tool, prefix, disable: None });
        }
    }
    table.print();
    ExitCode::SUCCESS
}
