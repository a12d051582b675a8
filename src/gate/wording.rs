//! Findings and results in sentences: lower case, without a full stop, each number with what it is of. Must not decide.

use super::rule::{Remedy, Ruling};
use super::{Declared, Failure};
use crate::report::{Executor, Prediction, Stage, StageKind};
use crate::units::toml_key;

/// Reasons that tell why one executor is better than another, rather than what the stage is.
const TELLING: [&str; 14] = [
    "gil-bound",
    "gil-released",
    "gil-partly",
    "gil-churn",
    "gil-absent",
    "saturates-gil",
    "lock-bound",
    "loop-blocked",
    "lock-not-shared",
    "task-too-small",
    "not-picklable",
    "ipc-too-expensive",
    "io-bound",
    "cpu-bound",
];

/// `threads`, as people say.
fn plural(executor: Executor) -> &'static str {
    match executor {
        Executor::Thread => "threads",
        Executor::Process => "processes",
        Executor::Interpreter => "sub-interpreters",
        Executor::Asyncio => "asyncio",
        Executor::Serial => "no pool",
        Executor::Split => "an executor for each of its phases",
    }
}

/// A stage that computed for so long is not too small to be judged, seconds; a wide interval of its score is what leaves it open.
const MUCH: f64 = 0.1;

/// Why a stage is not judged though it has to be, and what would change that.
pub fn too_little(stage: &Stage) -> (String, String) {
    match open_score(stage) {
        Some([low, high]) => (
            format!("what the runs show leaves its score anywhere between {low:.2} and {high:.2}"),
            "run it for longer, or where there is more to see it by: `poolpick doctor` tells".to_owned(),
        ),
        None => (
            "the runs show too little CPU time and wait of it to judge".to_owned(),
            "give it more to do, such as a larger input".to_owned(),
        ),
    }
}

/// The interval of a score that is not decided though much of the stage was seen.
fn open_score(stage: &Stage) -> Option<[f64; 2]> {
    stage.score_interval.filter(|_| stage.time.cpu_seconds.is_some_and(|seconds| seconds > MUCH))
}

/// What is written in Python.
fn in_code(executor: Executor, workers: Option<u32>) -> String {
    let count = workers.map_or_else(String::new, |workers| format!("max_workers={workers}"));
    match executor {
        Executor::Thread => format!("`ThreadPoolExecutor({count})`"),
        Executor::Process => format!("`ProcessPoolExecutor({count})`"),
        Executor::Interpreter => format!("`InterpreterPoolExecutor({count})`"),
        Executor::Asyncio => match workers {
            Some(workers) => format!("`asyncio`, {workers} at a time"),
            None => "`asyncio`".to_owned(),
        },
        Executor::Serial => "a plain loop, without a pool".to_owned(),
        Executor::Split => "one executor for each phase".to_owned(),
    }
}

fn times(value: f64) -> String {
    if value < 9.995 { format!("{value:.2}×") } else { format!("{value:.1}×") }
}

fn predicted(stage: &Stage, executor: Executor) -> Option<&Prediction> {
    stage.predictions.iter().find(|one| one.executor == executor)
}

fn origin(declared: &Declared) -> &'static str {
    if declared.executor.is_some() { "declared" } else { "runs as" }
}

/// `declared thread: at best 1.00×; process: 3.70× with 4 workers; it runs 3.70× slower than it could`.
pub fn misrouted(stage: &Stage, declared: &Declared, now: Option<Executor>, ruling: &Ruling) -> String {
    let Ruling::Misrouted { cost, wanted, measured, limit } = ruling else { return String::new() };
    let runs = now.map_or("unknown", Executor::word);
    let origin = origin(declared);
    let mut text = match (now.and_then(|now| predicted(stage, now)), predicted(stage, *wanted), cost) {
        (Some(now), Some(best), Some(_)) => {
            let workers = match (wanted, best.workers) {
                (Executor::Serial, _) => String::new(),
                (_, 1) => " with 1 worker".to_owned(),
                (_, workers) => format!(" with {workers} workers"),
            };
            let (now, best) = (times(now.speedup), times(best.speedup));
            format!("{origin} {runs}: at best {now} the throughput of a serial run; {}: {best}{workers}", wanted.word())
        }
        (_, _, Some(_)) => format!("{origin} {runs}; {} would be faster", plural(*wanted)),
        (_, _, None) => {
            let relation = if measured < limit { "below" } else { "above" };
            format!(
                "{origin} {runs}, but {measured:.2} is {relation} {limit:.2}, for which the plain rule says {}",
                plural(*wanted)
            )
        }
    };
    if let Some(cost) = cost {
        text.push_str(&format!("; it runs {} slower than it could", times(*cost)));
    }
    if cost.is_some()
        && let Some(reason) = telling(stage)
    {
        text.push_str(&format!(" ({reason})"));
    }
    text
}

fn telling(stage: &Stage) -> Option<&str> {
    let reasons = &stage.recommendation.as_ref()?.reasons;
    TELLING
        .iter()
        .find_map(|code| reasons.iter().find(|reason| reason.code == *code))
        .map(|reason| reason.text.as_str())
}

/// The table of the manifest that declares it.
fn table(declared: &Declared) -> String {
    let kind = if declared.program.is_some() { "programs" } else { "stages" };
    let name = declared.program.as_ref().unwrap_or(&declared.name);
    let table = declared.table.clone().unwrap_or_else(|| toml_key(&[kind, name]));
    format!("[{table}]")
}

/// The edit that mends a misrouted stage.
pub fn reroute(declared: &Declared, wanted: Executor, workers: Option<u32>) -> Option<String> {
    let code = in_code(wanted, workers);
    Some(match (&declared.executor_place, &declared.program) {
        (Some(_), _) if wanted == Executor::Split => "cut it where its phases meet, and declare each part".to_owned(),
        (Some(_), Some(_)) => format!(
            "set `{} = \"{}\"` in `expect` of `{}`, and hand it to {code}",
            toml_key(&[&declared.name]),
            wanted.word(),
            table(declared)
        ),
        (Some(_), None) => {
            let number = workers.filter(|_| declared.workers.is_some());
            let number = number.map_or_else(String::new, |workers| format!(" and `workers = {workers}`"));
            format!("set `executor = \"{}\"`{number} in `{}`, and hand it to {code}", wanted.word(), table(declared))
        }
        (None, _) => format!("hand it to {code}"),
    })
}

/// What would decide it.
pub fn remedy(remedy: Remedy) -> Option<String> {
    Some(match remedy {
        Remedy::MoreRuns(Some(times)) if times <= 1.0 => "another run would decide it: raise `runs`".to_owned(),
        Remedy::MoreRuns(Some(times)) => {
            format!("about {times:.0} times as much run would decide it: raise `runs`, or give it more to do")
        }
        Remedy::MoreRuns(None) | Remedy::MoreReadings => "a longer run, or a larger `runs`, would decide it".to_owned(),
        Remedy::GilReading => {
            "let poolpick read the interpreter lock: `poolpick doctor` shows what is in the way".to_owned()
        }
        Remedy::Payload => {
            "say what a task moves with `payload-in` and `payload-out`, or name its `function`".to_owned()
        }
        Remedy::Cut => "cut it where its phases meet, and declare each part".to_owned(),
        Remedy::Function => {
            "name the function that is the stage, `function = \"MODULE:FUNCTION\"`: then its tasks are measured"
                .to_owned()
        }
        Remedy::Nothing => return None,
    })
}

/// How to get a verdict where there is no executor.
pub fn declare(declared: &Declared) -> String {
    match (&declared.place, &declared.program) {
        (Some(_), None) => {
            format!("say what production runs it under: `executor = \"thread\"` in `{}`", table(declared))
        }
        _ => "say what production runs it under: `--executor thread`, or an `expect` of its program".to_owned(),
    }
}

/// Far too few workers.
pub fn too_few_workers(stage: &Stage, declared: &Declared, has: u32, wanted: u32) -> String {
    let gain = stage.recommendation.as_ref().and_then(|advice| advice.speedup);
    let gain =
        gain.map_or_else(String::new, |gain| format!(", which reach {} the throughput of a serial run", times(gain)));
    let plural = if has == 1 { "" } else { "s" };
    let verb = if declared.workers.is_some() { "is declared" } else { "runs" };
    format!("it {verb} with {has} worker{plural} where {wanted} would be used{gain}")
}

/// More of them.
pub fn more_workers(declared: &Declared, now: Option<Executor>, wanted: u32) -> String {
    if now == Some(Executor::Asyncio) {
        format!("let {wanted} of its coroutines be under way at once")
    } else if declared.workers_place.is_some() {
        format!("set `workers = {wanted}` in `{}`, and give its pool as many", table(declared))
    } else {
        format!("give its pool `max_workers={wanted}`")
    }
}

/// The manifest says one executor, the run shows another.
pub fn differs(said: Executor, found: Executor) -> (String, String) {
    let message = format!("it is declared {}, and runs as {}", said.word(), found.word());
    (message, "make the manifest or the code say what production does".to_owned())
}

/// Why there is nothing to judge.
pub fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Exited(status) => format!("its command exited with status {status}"),
        Failure::Killed(signal) => format!("its command was killed by signal {signal}"),
        Failure::TimedOut(limit) => format!("its command did not end within {limit} s"),
        Failure::NotStarted(why) => format!("its command could not be started: {why}"),
        Failure::NoBudget => "the budget was used up before its verdict".to_owned(),
        Failure::NotSeen => "its command ran, and no such stage was seen in it".to_owned(),
    }
}

/// What to do about it.
pub fn after(failure: &Failure) -> Option<String> {
    Some(match failure {
        Failure::TimedOut(_) => "raise its `timeout`, or give it less to do".to_owned(),
        Failure::NoBudget => "raise `--budget`, or check fewer stages at once".to_owned(),
        Failure::NotSeen => {
            "is its name, or its module and function, right? only the agent inside Python sees functions: `poolpick doctor`"
                .to_owned()
        }
        Failure::NotStarted(_) => return None,
        Failure::Exited(_) | Failure::Killed(_) => "run it by itself, and read what it writes last".to_owned(),
    })
}

/// A result in a sentence.
pub fn outcome(ruling: &Ruling, now: Option<Executor>, stage: &Stage) -> String {
    let runs = now.map_or("nothing known", plural);
    let wanted = stage.recommendation.as_ref().map(|advice| advice.executor);
    match ruling {
        Ruling::Fits if wanted.is_none() || wanted == now => format!("right: {runs}"),
        Ruling::Fits => format!("{runs}: about as good as {}", wanted.map_or("any other", plural)),
        Ruling::Misrouted { cost: Some(cost), wanted, .. } => {
            format!("{} would reach {} the throughput of {runs}", plural(*wanted), times(*cost))
        }
        Ruling::Misrouted { wanted, .. } => format!("the plain rule wants {}, not {runs}", plural(*wanted)),
        Ruling::Undecided(open) => open.why.clone(),
        Ruling::TooLittle => match open_score(stage) {
            Some([low, high]) => format!("its score may be anything between {low:.2} and {high:.2}"),
            None => "too little of it was seen to judge".to_owned(),
        },
        Ruling::NoExecutor => "no executor is declared for it, and none was found".to_owned(),
        Ruling::NotJudged(why) => why.clone(),
    }
}

/// Which part of a command stands for it.
pub fn measured_as(declared: &Declared, stage: &Stage) -> String {
    let part = stage.kind != StageKind::Command && stage.name != declared.name;
    if declared.required && part { format!(" (its busiest part: {})", stage.name) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Place;

    #[test]
    fn a_fix_shows_keys_as_they_must_be_typed() {
        let fix = |name: &str, program: Option<&str>| {
            let place = Place { file: "poolpick.toml".to_owned(), line: 1 };
            let declared = Declared {
                name: name.to_owned(),
                program: program.map(str::to_owned),
                executor_place: Some(place),
                ..Declared::default()
            };
            reroute(&declared, Executor::Thread, None).expect("there is one")
        };
        assert!(fix("parse", None).contains("in `[stages.parse]`"));
        assert!(fix("parse the rows", None).contains("in `[stages.\"parse the rows\"]`"));
        assert!(
            fix("etl.parse", Some("at night"))
                .contains("`\"etl.parse\" = \"thread\"` in `expect` of `[programs.\"at night\"]`")
        );
        assert!(fix("a\"b", Some("nightly")).contains("`\"a\\\"b\" = \"thread\"`"));
    }
}
