//! What tasks move, on real programs: priced alike however busy the machine is, known of coroutines too, and kept with the
//! trace, so that it is judged as the run was.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::{Hogs, PERF, Profile, Rung, SCHEDSTAT, alone, fixture, python};

/// Small payloads for a second, in two threads that compute.
const SMALL: &str = r"
import time
from concurrent.futures import ThreadPoolExecutor
def task(number):
    return sum(range(20_000)) % 7
end = time.monotonic() + 1
with ThreadPoolExecutor(2) as pool:
    while time.monotonic() < end: list(pool.map(task, range(50)))
";

/// Coroutines that only compute, beside some that wait for a queue.
const COROUTINES: &str = r"
import asyncio
async def crunch(rows):
    return sum(range(100_000)) + len(rows)
async def wait(queue):
    await asyncio.sleep(0.01)
    return queue.qsize()
async def main():
    queue = asyncio.Queue()
    for _ in range(30):
        await asyncio.gather(*[crunch(list(range(100))) for _ in range(20)], wait(queue))
asyncio.run(main())
";

fn rung() -> Rung {
    if PERF.is_here() { PERF } else { SCHEDSTAT }
}

#[test]
fn a_small_payload_has_a_small_price_on_a_crowded_machine() {
    let Some(python) = python() else { return };
    let _alone = alone();
    let _hogs = Hogs::start(4);
    let report = Profile::of(rung(), &[python, "-c", SMALL]).run().report;
    let stage = report.stages().into_iter().find(|stage| stage.0["kind"] == "function").expect("the stage is found");
    let ipc = &stage.0["ipc"];
    assert_eq!(ipc["source"], "measured", "{ipc}");
    assert!(ipc["readings"].as_u64().is_some_and(|readings| readings > 0), "{ipc}");
    // Whatever else ran while they were pickled, a few bytes take no longer than a few objects of the calibration.
    assert!(ipc["seconds_per_task"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 1e-3), "{ipc}");
}

#[test]
fn what_a_coroutine_is_given_is_known_where_it_can_be() {
    let Some(python) = python() else { return };
    let _alone = alone();
    let report = Profile::of(rung(), &[python, "-c", COROUTINES]).run().report;
    let named = |name: &str| {
        let found =
            report.stages().into_iter().find(|stage| stage.0["name"].as_str().is_some_and(|n| n.ends_with(name)));
        found.unwrap_or_else(|| panic!("no stage {name}: {:#}", report.0))
    };
    let crunch = named("crunch");
    let ipc = &crunch.0["ipc"];
    assert_eq!((ipc["source"].as_str(), ipc["picklable"].as_bool()), (Some("measured"), Some(true)), "{ipc}");
    assert!(ipc["argument_bytes"].as_u64().is_some_and(|bytes| (200..500).contains(&bytes)), "{ipc}");
    let predicted = crunch.0["predictions"].as_array().expect("a list");
    assert!(predicted.iter().any(|one| one["executor"] == "process"), "{}", crunch.0);
    // A queue of the loop's cannot be moved, and that is no fault of a coroutine that waits for it.
    let wait = named("wait");
    assert!(wait.0["ipc"].is_null() || wait.0["ipc"]["seconds_per_task"].is_null(), "{}", wait.0["ipc"]);
    assert_eq!(wait.0["warnings"].as_array().map(Vec::len), Some(0), "{}", wait.0["warnings"]);
}

#[test]
fn a_trace_is_judged_as_its_run_was() {
    let Some(python) = python() else { return };
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("run.trace");
    let record = ["--record", trace.to_str().expect("UTF-8"), "--stage", "triangle=__main__:triangle"];
    let profiled = Profile::of(rung(), &[python, &fixture("pools.py")]).with(&record).run().report;
    let report = |options: &[&str], cache: &Path| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolpick"));
        command.args(["report", "--format", "json"]).args(options).arg(&trace);
        // Where nothing was calibrated.
        let output = command.env("XDG_CACHE_HOME", cache).output().expect("poolpick starts");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let again = report(&[], folder.path());
    assert!(profiled.stages().iter().any(|stage| stage.0["predictions"].as_array().is_some_and(|all| !all.is_empty())));
    for key in ["stages", "costs", "payload_price", "thresholds", "totals", "host"] {
        assert_eq!(again[key], profiled.0[key], "{key}");
    }
    // Other sizes have a price as well, though nothing is measured here.
    let dear = report(&["--payload-in", "64MiB"], folder.path());
    let priced = |stage: &Value| stage["ipc"]["source"] == "declared" && stage["ipc"]["seconds_per_task"].is_f64();
    assert!(dear["stages"].as_array().expect("a list").iter().any(priced), "{:#}", dear["stages"]);
    assert!(!folder.path().join("poolpick").exists(), "a trace is judged without measuring the host");
}
