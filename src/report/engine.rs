//! The verdict in the words of an engine: one table of what each recommended executor is called there, and the page that
//! shows it. Copies the recommendation's numbers into it; must not recommend.

use super::kept::{self, Asked, Setting};
use super::types::{Executor, Part, Recommendation, Report, Stage};
use crate::verdict::Capacity;
use std::fmt::Write as _;

/// An engine that runs stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The standard library's executors.
    ConcurrentFutures,
    /// joblib.
    Joblib,
    /// Dask with its distributed scheduler.
    Dask,
    /// Ray.
    Ray,
    /// Celery.
    Celery,
    /// gunicorn.
    Gunicorn,
    /// Airflow.
    Airflow,
}

/// What an executor is called in an engine. In values `{workers}` is the recommended number, `{chunk}` the tasks to hand
/// over at once, `{inner}` the cores left to each worker (whole, at least one), `{busy}` the cores that all workers keep
/// busy, `{share}` the part of a core that each worker has.
struct Row {
    engine: Engine,
    executor: Executor,
    settings: &'static [(&'static str, &'static str)],
    advice: &'static str,
}

const fn row(
    engine: Engine,
    executor: Executor,
    settings: &'static [(&'static str, &'static str)],
    advice: &'static str,
) -> Row {
    Row { engine, executor, settings, advice }
}

/// The executors that are recommended, in the order of the page.
const EXECUTORS: [Executor; 4] = [Executor::Thread, Executor::Process, Executor::Asyncio, Executor::Serial];

/// The table: a row for each engine and recommended executor.
const TABLE: [Row; 28] = [
    row(
        Engine::ConcurrentFutures,
        Executor::Thread,
        &[("ThreadPoolExecutor(max_workers)", "{workers}")],
        "bound what is submitted: the executor's own queue has no limit",
    ),
    row(
        Engine::ConcurrentFutures,
        Executor::Process,
        &[("ProcessPoolExecutor(max_workers)", "{workers}"), ("map(chunksize)", "{chunk}")],
        "start workers with `forkserver` or `spawn` where the parent has threads",
    ),
    row(
        Engine::ConcurrentFutures,
        Executor::Asyncio,
        &[("asyncio.Semaphore(value)", "{workers}")],
        "an event loop is in `asyncio`; take the semaphore before a task is made",
    ),
    row(Engine::ConcurrentFutures, Executor::Serial, &[], "call the function in a loop, without an executor"),
    row(
        Engine::Joblib,
        Executor::Thread,
        &[("prefer", "\"threads\""), ("n_jobs", "{workers}")],
        "arguments of `Parallel`; `parallel_config` forgets `n_jobs` beside `prefer` (joblib 1.6) and is to be given \
         `backend=\"threading\"` instead",
    ),
    row(
        Engine::Joblib,
        Executor::Process,
        &[
            ("backend", "\"loky\""),
            ("n_jobs", "{workers}"),
            ("inner_max_num_threads", "{inner}"),
            ("batch_size", "\"auto\""),
        ],
        "arguments of `parallel_config`, but `batch_size` of `Parallel`; arrays of more than 1 MB are mapped into the workers, not pickled",
    ),
    row(
        Engine::Joblib,
        Executor::Asyncio,
        &[("prefer", "\"threads\""), ("n_jobs", "{workers}")],
        "arguments of `Parallel`; joblib has no event loop: threads are what comes next",
    ),
    row(
        Engine::Joblib,
        Executor::Serial,
        &[("n_jobs", "1")],
        "argument of `Parallel`: one job runs in the caller, without a pool",
    ),
    row(
        Engine::Dask,
        Executor::Thread,
        &[("n_workers", "1"), ("threads_per_worker", "{workers}"), ("processes", "False")],
        "settings of `LocalCluster`; `scheduler=\"threads\"` with `num_workers` is the same without a cluster",
    ),
    row(
        Engine::Dask,
        Executor::Process,
        &[("n_workers", "{workers}"), ("threads_per_worker", "1"), ("processes", "True")],
        "settings of `LocalCluster`; let each task be large, for the scheduler takes about a millisecond for one",
    ),
    row(
        Engine::Dask,
        Executor::Asyncio,
        &[("n_workers", "1"), ("threads_per_worker", "{workers}"), ("processes", "False")],
        "Dask runs tasks in threads: an event loop of your own in one task holds more connections more cheaply",
    ),
    row(
        Engine::Dask,
        Executor::Serial,
        &[("scheduler", "\"synchronous\"")],
        "for `compute` or `dask.config.set`; or make the tasks larger",
    ),
    row(
        Engine::Ray,
        Executor::Thread,
        &[("max_concurrency", "{workers}"), ("num_cpus", "{busy}")],
        "options of one actor: its threads share a process; tasks of Ray are processes",
    ),
    row(
        Engine::Ray,
        Executor::Process,
        &[("ActorPool(actors)", "{workers}"), ("num_cpus", "{share}")],
        "`num_cpus` is an option of each actor; put what is large into the object store once, with `ray.put`",
    ),
    row(
        Engine::Ray,
        Executor::Asyncio,
        &[("max_concurrency", "{workers}"), ("num_cpus", "1")],
        "options of one actor whose methods are coroutines",
    ),
    row(Engine::Ray, Executor::Serial, &[], "call the function itself, or let one Ray task loop over many items"),
    row(
        Engine::Celery,
        Executor::Thread,
        &[("--pool", "threads"), ("--concurrency", "{workers}")],
        "on each machine; route other kinds of tasks to a queue and a worker of their own",
    ),
    row(
        Engine::Celery,
        Executor::Process,
        &[("--pool", "prefork"), ("--concurrency", "{workers}")],
        "on each machine; hand over many items in one task where items are small (`chunks`)",
    ),
    row(
        Engine::Celery,
        Executor::Asyncio,
        &[("--pool", "gevent"), ("--concurrency", "{workers}")],
        "Celery has no pool of coroutines: green threads come next, where all libraries bear their patches",
    ),
    row(
        Engine::Celery,
        Executor::Serial,
        &[("--pool", "solo")],
        "one task after another in the worker itself; make tasks larger",
    ),
    row(
        Engine::Gunicorn,
        Executor::Thread,
        &[("--worker-class", "gthread"), ("--workers", "1"), ("--threads", "{workers}")],
        "a second worker is for availability, and then each has half of the threads",
    ),
    row(
        Engine::Gunicorn,
        Executor::Process,
        &[("--worker-class", "sync"), ("--workers", "{workers}"), ("--threads", "1")],
        "`--preload` shares what is loaded before the fork; a request's payload is not pickled",
    ),
    row(
        Engine::Gunicorn,
        Executor::Asyncio,
        &[("--worker-class", "uvicorn_worker.UvicornWorker"), ("--workers", "1")],
        "for an ASGI application; bound what is under way with a semaphore of {workers}",
    ),
    row(
        Engine::Gunicorn,
        Executor::Serial,
        &[("--worker-class", "sync"), ("--workers", "1"), ("--threads", "1")],
        "what is behind a request gains nothing from a pool; more workers serve more requests at once",
    ),
    row(
        Engine::Airflow,
        Executor::Thread,
        &[("pool_slots", "{busy}")],
        "every Airflow task is a process: let one task run a pool of {workers} threads, and take as many slots of its Airflow \
         pool as it keeps cores busy",
    ),
    row(
        Engine::Airflow,
        Executor::Process,
        &[
            ("[core] executor", "LocalExecutor"),
            ("[core] parallelism", "{workers}"),
            ("max_active_tis_per_dagrun", "{workers}"),
        ],
        "map the task over batches that take a minute or more, for starting one takes seconds; else let one task run a pool \
         of {workers} processes",
    ),
    row(
        Engine::Airflow,
        Executor::Asyncio,
        &[("deferrable", "True")],
        "of an operator that has it: the triggerer's event loop waits in place of the task; else let one task run its own",
    ),
    row(
        Engine::Airflow,
        Executor::Serial,
        &[("pool_slots", "1")],
        "one task that loops over its items, not one for each of them",
    ),
];

impl Engine {
    /// Every engine with its name on the command line.
    pub const ALL: [(Engine, &'static str); 7] = [
        (Engine::ConcurrentFutures, "concurrent.futures"),
        (Engine::Joblib, "joblib"),
        (Engine::Dask, "dask"),
        (Engine::Ray, "ray"),
        (Engine::Celery, "celery"),
        (Engine::Gunicorn, "gunicorn"),
        (Engine::Airflow, "airflow"),
    ];

    /// The engine of this name.
    pub fn named(name: &str) -> Option<Engine> {
        Engine::ALL.iter().find(|(_, known)| *known == name).map(|(engine, _)| *engine)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Engine::ALL.iter().find(|(engine, _)| *engine == self).map_or("", |(_, name)| name)
    }

    fn row(self, executor: Executor) -> Option<&'static Row> {
        // A pool of interpreters is handed to as one of processes is.
        let executor = if executor == Executor::Interpreter { Executor::Process } else { executor };
        TABLE.iter().find(|row| row.engine == self && row.executor == executor)
    }
}

/// The same report, its recommendations also in the words of `engine`; `None` takes these words away.
pub fn in_words_of(report: &mut Report, engine: Option<Engine>) {
    let mut asked = report.asked.take().unwrap_or_default();
    asked.engine = engine.map(|engine| engine.name().to_owned());
    let host = &report.host;
    let machine = Capacity::of(host.usable_cores, host.logical_cores, host.physical_cores, host.memory_limit_bytes);
    let cores = machine.asked(asked.cores, asked.memory_bytes).cores;
    for stage in &mut report.stages {
        let said = stage.recommendation.as_ref().zip(engine).map(|(advice, engine)| said(stage, advice, engine, cores));
        if let Some(advice) = &mut stage.recommendation {
            advice.engine = said;
        }
    }
    report.asked = (asked != Asked::default()).then_some(asked);
}

/// One recommendation in the words of an engine.
fn said(stage: &Stage, advice: &Recommendation, engine: Engine, cores: f64) -> kept::Engine {
    let keeps_up = advice.arrival.and_then(|arrival| arrival.workers);
    let workers = keeps_up.or(advice.workers).unwrap_or(cores.ceil() as u32).max(1);
    let numbers = |text: &str| {
        let busy = (f64::from(workers) * stage.score.unwrap_or(1.0)).clamp(1.0, cores.max(1.0)).ceil();
        let inner = (cores / f64::from(workers)).floor().max(1.0);
        let share = (cores / f64::from(workers)).min(1.0);
        let mut share = format!("{share:.2}");
        share.truncate(share.trim_end_matches('0').trim_end_matches('.').len());
        text.replace("{workers}", &workers.to_string())
            .replace("{chunk}", &advice.chunksize.unwrap_or(1).to_string())
            .replace("{inner}", &inner.to_string())
            .replace("{busy}", &busy.to_string())
            .replace("{share}", if share == "0" { "0.01" } else { &share })
    };
    let settings = |executor: Executor, before: &str| -> Vec<Setting> {
        let rows = engine.row(executor).map_or(&[][..], |row| row.settings);
        rows.iter().map(|(name, value)| Setting { name: format!("{before}{name}"), value: numbers(value) }).collect()
    };
    if advice.parts.is_empty() {
        let words = engine.row(advice.executor).map_or("its phases are to be stages of their own", |row| row.advice);
        return kept::Engine {
            name: engine.name().to_owned(),
            settings: settings(advice.executor, ""),
            advice: numbers(words),
        };
    }
    let part = |(index, part): (usize, &Part)| settings(part.executor, &format!("part {}: ", index + 1));
    kept::Engine {
        name: engine.name().to_owned(),
        settings: advice.parts.iter().enumerate().flat_map(part).collect(),
        advice: "each part is to be a stage of its own; how many workers each needs was not predicted".to_owned(),
    }
}

/// The page that shows the table, in Markdown.
pub fn page() -> String {
    let mut text = String::from(
        "# Engines\n\n\
         `--engine NAME`, of `poolpick profile` and `poolpick report`, says each recommendation in the settings of an engine \
         too: below the\nreasons in the table, and as `recommendation.engine` in the JSON. This page is made from the table \
         that poolpick uses.\n\n\
         In values, `{workers}` is the recommended number of workers (with `--arrival-rate`, those that keep up), `{chunk}` \
         the tasks to hand\nover at once, `{inner}` the cores left to each worker, `{busy}` the cores that all workers keep \
         busy, `{share}` the part of a core\nthat each has. For a split, each part has settings of its own.\n\n\
         What it says of joblib and Dask is run by `tests/engines.rs` where these are installed, last with joblib 1.6.0 and \
         Dask 2026.8.0;\noptions of Celery and gunicorn were compared with their help texts. Ray and Airflow were not tried.\n",
    );
    for (engine, name) in Engine::ALL {
        let _ = write!(text, "\n## {name}\n\n| recommended | settings | besides |\n| --- | --- | --- |\n");
        for executor in EXECUTORS {
            let Some(row) = engine.row(executor) else { continue };
            let settings: Vec<String> =
                row.settings.iter().map(|(name, value)| format!("`{name}` = `{value}`")).collect();
            let settings = if settings.is_empty() { "–".to_owned() } else { settings.join(", ") };
            let _ = writeln!(text, "| {} | {settings} | {} |", super::text::words::executor(executor), row.advice);
        }
    }
    text
}
