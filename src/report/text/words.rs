//! The report's closed lists in words, one place for each. Must not know a stage.

use super::Voice;
use crate::report::{Bottleneck, Confidence, Executor, Part, Recommendation, RunsAs, Verdict, Waits};

/// `misrouted`.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => "fits",
        Verdict::Misrouted => "misrouted",
        Verdict::Undecided => "undecided",
        Verdict::NotJudged => "not judged",
    }
}

/// `threads`.
pub fn executor(executor: Executor) -> &'static str {
    match executor {
        Executor::Thread => "threads",
        Executor::Process => "processes",
        Executor::Interpreter => "sub-interpreters",
        Executor::Asyncio => "asyncio",
        Executor::Serial => "no pool",
        Executor::Split => "split",
    }
}

/// `threads ×16`.
pub fn short_pool(pool: Executor, workers: Option<u32>, voice: &Voice) -> String {
    match (pool, workers) {
        (Executor::Serial | Executor::Split, _) | (_, None) => executor(pool).to_owned(),
        (_, Some(workers)) => format!("{} {}{workers}", executor(pool), voice.glyphs.times),
    }
}

/// `a thread pool with 16 workers`.
pub fn pool(executor: Executor, workers: Option<u32>) -> String {
    let with = workers.map_or_else(String::new, |workers| match (executor, workers) {
        (Executor::Asyncio, 1) => " with 1 task at a time".to_owned(),
        (Executor::Asyncio, _) => format!(" with {workers} tasks at a time"),
        (_, 1) => " with 1 worker".to_owned(),
        (_, _) => format!(" with {workers} workers"),
    });
    match executor {
        Executor::Thread => format!("a thread pool{with}"),
        Executor::Process => format!("a process pool{with}"),
        Executor::Interpreter => format!("a pool of sub-interpreters{with}"),
        Executor::Asyncio => format!("asyncio{with}"),
        Executor::Serial => "no pool".to_owned(),
        Executor::Split => "an executor for each of its phases".to_owned(),
    }
}

/// `runs in a process pool with 8 workers`; what is declared for production comes before what was found.
pub fn runs(found: Option<RunsAs>, declared: Option<Executor>) -> Option<String> {
    let place = |executor, workers| match executor {
        Executor::Serial => "serially".to_owned(),
        Executor::Asyncio => format!("under {}", pool(executor, workers)),
        Executor::Split => "under an executor for each of its phases".to_owned(),
        _ => format!("in {}", pool(executor, workers)),
    };
    match (found, declared) {
        (Some(found), declared) if declared.is_none_or(|declared| declared == found.executor) => {
            Some(format!("runs {}", place(found.executor, Some(found.workers))))
        }
        (_, Some(declared)) => Some(format!("is declared to run {}", place(declared, None))),
        (_, None) => None,
    }
}

fn is_own_process(recommendation: &Recommendation) -> bool {
    let code = crate::verdict::Reason::OwnProcess.code();
    recommendation.reasons.iter().any(|reason| reason.code == code)
}

/// `use a thread pool with 16 workers`.
pub fn advice(recommendation: &Recommendation, voice: &Voice) -> String {
    match recommendation.executor {
        Executor::Serial => "run it serially, without a pool".to_owned(),
        Executor::Split if !recommendation.parts.is_empty() => {
            let parts: Vec<String> = recommendation.parts.iter().map(|part| split_part(part, voice)).collect();
            format!("split it: {}", parts.join(", then "))
        }
        Executor::Split => "split it into its phases".to_owned(),
        // A worker that waits for a program is a copy of the program, whatever threads that has.
        Executor::Thread if is_own_process(recommendation) => match recommendation.workers {
            Some(1) => "run one copy at a time".to_owned(),
            Some(workers) => format!("run {workers} copies at once, from a thread pool"),
            None => "run several copies at once, from a thread pool".to_owned(),
        },
        executor => format!("use {}", pool(executor, recommendation.workers)),
    }
}

fn split_part(part: &Part, voice: &Voice) -> String {
    format!("{} for {}", executor(part.executor), span(part.start_seconds, part.end_seconds, voice))
}

/// `0 s – 4.00 s`.
pub fn span(start: f64, end: f64, voice: &Voice) -> String {
    format!("{}{}{}", voice.glyphs.seconds(start), voice.glyphs.to, voice.glyphs.seconds(end))
}

/// What keeps an executor from more.
pub fn bottleneck(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::Cores => "cores",
        Bottleneck::Gil => "the GIL",
        Bottleneck::Workers => "the number of workers",
        Bottleneck::Ipc => "moving payloads",
        Bottleneck::Parent => "the parent process",
        Bottleneck::Memory => "memory",
        Bottleneck::Wait => "its own waiting",
        Bottleneck::Lock => "a lock",
        Bottleneck::Device => "a device",
    }
}

/// Said only where it is not high.
pub fn doubt(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::High => "",
        Confidence::Medium => " (medium confidence)",
        Confidence::Low => " (low confidence)",
    }
}

/// Own wait by kind, the largest first; kinds that did not occur are left out.
pub fn waits(waits: &Waits) -> Vec<(&'static str, f64)> {
    let mut kinds = vec![
        ("network", waits.network),
        ("disk", waits.disk),
        ("pipe", waits.pipe.unwrap_or(0.0)),
        ("lock", waits.lock),
        ("sleep", waits.sleep),
        ("child", waits.child),
        ("other", waits.other),
    ];
    kinds.retain(|(_, seconds)| *seconds > 0.0);
    kinds.sort_by(|left, right| right.1.total_cmp(&left.1));
    kinds
}

/// `1 process`, `3 processes`.
pub fn counted(count: u64, one: &str, many: &str, voice: &Voice) -> String {
    format!("{} {}", voice.glyphs.count(count), if count == 1 { one } else { many })
}

/// The name of a signal that commonly ends a program.
pub fn signal(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
