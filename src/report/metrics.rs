//! The one table of metrics: what each is called, its unit, its type, its help and where its value stands in a document.
//! All formats for dashboards are written from it. Must not hold a sentence or a name that another file repeats, and must
//! not change a help text or a type lightly: two versions of poolpick on one host have to agree on them.
//!
//! A run that has ended is a gauge: its CPU seconds start at 0 each time. What was not measured has no sample.

pub mod subject;

use super::check::StageOutcome;
use super::{Class, Verdict, escape};
use subject::{Run, StageSubject, Subject};

/// The value of a sample. Never written where it is not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A measure.
    Real(f64),
}

impl Value {
    /// Whether it can be said in every format.
    fn is_known(self) -> bool {
        match self {
            Value::Count(_) => true,
            Value::Real(real) => real.is_finite(),
        }
    }
}

/// A name of OpenTelemetry's form and the text under it.
pub type Attribute = (&'static str, String);

/// One value with what tells it from others of its metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// In the order in which they are written.
    pub attributes: Vec<Attribute>,
    /// The value.
    pub value: Value,
}

/// How OpenMetrics types it; in the other formats all are gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Gauge,
    /// Always 1: its labels are what it tells.
    Info,
    /// One of several words is 1, the others 0; the label that holds the word is named as the metric.
    StateSet,
}

/// Where the values of a metric stand.
enum Extract {
    /// Once a run.
    Run(fn(&Run<'_>) -> Vec<Sample>),
    /// Once a stage.
    Stage(fn(&StageSubject<'_>) -> Vec<Sample>),
}

/// A metric.
pub struct Metric {
    /// OpenTelemetry's name.
    pub name: &'static str,
    /// Unit as UCUM writes it; empty for what has none.
    pub unit: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is, in a sentence. Frozen.
    pub help: &'static str,
    extract: Extract,
}

impl Metric {
    /// The name in Prometheus by the standard translation: dots become underscores, the unit is appended.
    pub fn prometheus_name(&self) -> String {
        let name = underscored(self.name);
        match self.prometheus_unit() {
            Some(unit) => format!("{name}_{unit}"),
            None => name,
        }
    }

    /// The word that the standard translation makes of the unit; `None` where it drops it.
    pub fn prometheus_unit(&self) -> Option<&'static str> {
        match self.unit {
            "s" => Some("seconds"),
            "By" => Some("bytes"),
            "By/s" => Some("bytes_per_second"),
            "1" => Some("ratio"),
            _ => None,
        }
    }

    /// Its samples, each set of labels once, the labels of the pipeline and stage first.
    pub fn samples(&self, subject: &Subject<'_>) -> Vec<Sample> {
        let mut samples: Vec<Sample> = Vec::new();
        let mut add = |identity: &[Attribute], found: Vec<Sample>| {
            for mut sample in found.into_iter().filter(|sample| sample.value.is_known()) {
                sample.attributes.splice(0..0, identity.iter().cloned());
                if samples.iter().all(|other| other.attributes != sample.attributes) {
                    samples.push(sample);
                }
            }
        };
        let pipeline = (PIPELINE, subject.pipeline.clone());
        match self.extract {
            Extract::Run(extract) => add(&[pipeline], extract(&subject.run)),
            Extract::Stage(extract) => {
                for stage in &subject.stages {
                    add(&[pipeline.clone(), (STAGE, stage.name.clone())], extract(stage));
                }
            }
        }
        samples
    }
}

/// A dotted name as Prometheus takes it.
pub fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

/// Which pipeline a sample is of.
pub const PIPELINE: &str = "poolpick.pipeline.name";
/// Which stage a sample is of.
pub const STAGE: &str = "poolpick.stage.name";
/// An executor.
pub const POOL: &str = "poolpick.pool";
/// What was made of a stage.
pub const OUTCOME: &str = "poolpick.outcome";

const fn run(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    extract: fn(&Run<'_>) -> Vec<Sample>,
) -> Metric {
    Metric { name, unit, kind: Kind::Gauge, help, extract: Extract::Run(extract) }
}

const fn stage(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    extract: fn(&StageSubject<'_>) -> Vec<Sample>,
) -> Metric {
    Metric { name, unit, kind: Kind::Gauge, help, extract: Extract::Stage(extract) }
}

const fn of_kind(kind: Kind, metric: Metric) -> Metric {
    Metric { kind, ..metric }
}

/// Every metric, in the order in which they are written.
pub const TABLE: [Metric; 34] = [
    of_kind(
        Kind::Info,
        run("poolpick.build.info", "", "Version of poolpick that measured.", |run| {
            vec![labelled(&[("version", run.version)], Value::Count(1))]
        }),
    ),
    run("poolpick.run.end.timestamp", "s", "Unix time at which the last run ended.", |run| real(run.end_unix_seconds)),
    run("poolpick.run.duration", "s", "Wall time of the last run, stopped time left out.", |run| {
        real(Some(run.wall_seconds))
    }),
    run("poolpick.run.stopped", "s", "Time that the last run was stopped.", |run| real(run.stopped_seconds)),
    run("poolpick.run.success", "", "1 if the last run ended well, 0 if not.", |run| flag(run.success)),
    run(
        "poolpick.run.exit_code",
        "",
        "Exit status of the profiled command, 128 and the signal's number if one killed it.",
        |run| count(run.exit_code),
    ),
    run("poolpick.run.stages", "{stage}", "Stages of the last run by what was made of them.", |run| {
        let outcome = |&(word, stages): &(&str, u64)| labelled(&[(OUTCOME, word)], Value::Count(stages));
        run.stages_by_outcome.iter().map(outcome).collect()
    }),
    run("poolpick.run.memory.peak", "By", "Peak resident memory of the whole tree.", |run| count(run.peak_rss_bytes)),
    run("poolpick.run.processes", "{process}", "Processes that the last run started.", |run| count(run.processes)),
    run("poolpick.run.threads", "{thread}", "Threads that the last run started.", |run| count(run.threads)),
    run("poolpick.run.lost_records", "{record}", "Kernel records that were lost while measuring.", |run| {
        count(run.lost_records)
    }),
    run("poolpick.run.measurement.overhead", "s", "CPU time that poolpick itself used.", |run| {
        real(run.overhead_cpu_seconds)
    }),
    of_kind(
        Kind::Info,
        stage(
            "poolpick.stage.info",
            "",
            "Class of the stage and the executors it is declared, found and advised to run under.",
            info,
        ),
    ),
    of_kind(
        Kind::StateSet,
        stage("poolpick.stage.class", "", "Whether the stage waits, computes or does both.", |stage| {
            let class = stage.measured.map(|measured| measured.class);
            class.map_or_else(Vec::new, |class| CLASSES.iter().map(|&word| state(word, class == word)).collect())
        }),
    ),
    stage(
        "poolpick.stage.routed",
        "",
        "1 if the stage runs under the right executor, 0 if it is misrouted.",
        |stage| flag(stage.routed),
    ),
    stage("poolpick.stage.success", "", "1 if the stage's command could be measured, 0 if it failed.", |stage| {
        flag(stage.success)
    }),
    stage(
        "poolpick.stage.misrouting.cost",
        "1",
        "Throughput of the advised executor over that of the current one.",
        |stage| real(stage.misrouting_cost),
    ),
    stage("poolpick.stage.score", "1", "Time on a CPU over time on a CPU and own wait.", |stage| {
        real(stage.measured.and_then(|measured| measured.score))
    }),
    stage("poolpick.stage.duration", "s", "Span in which the stage was active.", |stage| {
        real(stage.measured.and_then(|measured| measured.time.wall_seconds))
    }),
    stage("poolpick.stage.cpu.time", "s", "CPU time of the stage.", |stage| {
        let time = stage.measured.map(|measured| &measured.time);
        let mode = |mode, seconds| one(&[("cpu.mode", mode)], seconds);
        let user = mode("user", time.and_then(|time| time.cpu_user_seconds));
        let system = mode("system", time.and_then(|time| time.cpu_system_seconds));
        user.into_iter().chain(system).collect()
    }),
    stage(
        "poolpick.stage.cpu.utilization",
        "1",
        "CPU time over wall time; above 1 if several cores were busy.",
        |stage| real(stage.measured.and_then(|measured| measured.cpu_wall_ratio)),
    ),
    stage("poolpick.stage.thread.time", "s", "Where the time of the stage's threads went.", thread_time),
    stage("poolpick.stage.gil.share", "1", "Share of CPU time that the interpreter lock was held.", |stage| {
        real(stage.measured.and_then(|measured| measured.gil.as_ref()).map(|gil| gil.share_of_cpu))
    }),
    stage("poolpick.stage.context_switches", "{context_switch}", "Context switches of the stage.", |stage| {
        let switches = stage.measured.map(|measured| measured.context_switches);
        let kind = |kind, count: Option<u64>| {
            count.map(|count| labelled(&[("process.context_switch.type", kind)], Value::Count(count)))
        };
        let voluntary = kind("voluntary", switches.and_then(|switches| switches.voluntary));
        let involuntary = kind("involuntary", switches.and_then(|switches| switches.involuntary));
        voluntary.into_iter().chain(involuntary).collect()
    }),
    stage(
        "poolpick.stage.memory.peak",
        "By",
        "Most resident memory that the stage's processes had together.",
        |stage| count(stage.measured.and_then(|measured| measured.memory.rss_peak_bytes)),
    ),
    stage("poolpick.stage.memory.growth", "By/s", "Slope of the stage's resident memory over the run.", |stage| {
        real(stage.measured.and_then(|measured| measured.memory.growth_bytes_per_second))
    }),
    stage("poolpick.stage.disk.io", "By", "Bytes that the stage read from storage and wrote to it.", |stage| {
        let io = stage.measured.map(|measured| measured.io);
        let way =
            |way, bytes: Option<u64>| bytes.map(|bytes| labelled(&[("disk.io.direction", way)], Value::Count(bytes)));
        let read = way("read", io.and_then(|io| io.storage_read_bytes));
        let written = way("write", io.and_then(|io| io.storage_written_bytes));
        read.into_iter().chain(written).collect()
    }),
    stage("poolpick.stage.tasks", "{task}", "Tasks that the stage was given.", |stage| {
        count(stage.measured.and_then(|measured| measured.tasks.as_ref()).map(|tasks| tasks.count))
    }),
    stage("poolpick.stage.tasks.failed", "{task}", "Tasks of the stage that failed.", |stage| {
        count(stage.measured.and_then(|measured| measured.tasks.as_ref()).map(|tasks| tasks.failed))
    }),
    stage("poolpick.stage.workers", "{worker}", "Workers that the stage ran with.", |stage| {
        count(stage.measured.and_then(|measured| measured.runs_as).map(|runs| runs.workers.into()))
    }),
    stage(
        "poolpick.stage.workers.recommended",
        "{worker}",
        "Workers that the stage is advised to run with.",
        |stage| {
            let advice = stage.measured.and_then(|measured| measured.recommendation.as_ref());
            count(advice.and_then(|advice| advice.workers).map(u64::from))
        },
    ),
    stage("poolpick.stage.speedup", "1", "Predicted throughput of each executor over a serial run.", |stage| {
        let predictions = stage.measured.map(|measured| measured.predictions.as_slice()).unwrap_or_default();
        let sample = |prediction: &super::Prediction| {
            labelled(&[(POOL, prediction.executor.word())], Value::Real(prediction.speedup))
        };
        predictions.iter().map(sample).collect()
    }),
    stage(
        "poolpick.stage.ipc.overhead",
        "s",
        "Time to pickle and move one task's payload between processes.",
        |stage| real(stage.measured.and_then(|measured| measured.ipc.as_ref()).and_then(|ipc| ipc.seconds_per_task)),
    ),
    stage(
        "poolpick.stage.ipc.overhead.share",
        "1",
        "Share of a task's latency that moving its payload would take.",
        |stage| real(stage.measured.and_then(|measured| measured.ipc.as_ref()).and_then(|ipc| ipc.share_of_latency)),
    ),
];

const CLASSES: [Class; 4] = [Class::IoBound, Class::Hybrid, Class::CpuBound, Class::Unknown];

fn labelled(attributes: &[(&'static str, &str)], value: Value) -> Sample {
    let visible = |&(name, text): &(&'static str, &str)| (name, escape::terminal(text).into_owned());
    Sample { attributes: attributes.iter().map(visible).collect(), value }
}

fn one(attributes: &[(&'static str, &str)], value: Option<f64>) -> Option<Sample> {
    value.map(|value| labelled(attributes, Value::Real(value)))
}

fn real(value: Option<f64>) -> Vec<Sample> {
    one(&[], value).into_iter().collect()
}

fn count(value: Option<u64>) -> Vec<Sample> {
    value.map(|value| labelled(&[], Value::Count(value))).into_iter().collect()
}

fn flag(value: Option<bool>) -> Vec<Sample> {
    count(value.map(u64::from))
}

fn state(word: Class, holds: bool) -> Sample {
    labelled(&[("poolpick.stage.class", word.word())], Value::Count(holds.into()))
}

/// A stage whose class or executors are known.
fn info(stage: &StageSubject<'_>) -> Vec<Sample> {
    let mut attributes = Vec::new();
    if let Some(measured) = stage.measured {
        attributes.push(("poolpick.stage.class", measured.class.word()));
    }
    // A label that is not there is the same as an empty one: what is not known is left out.
    for (name, executor) in [
        ("poolpick.pool.recommended", stage.recommended),
        ("poolpick.pool.declared", stage.declared),
        ("poolpick.pool.found", stage.found),
    ] {
        attributes.extend(executor.map(|executor| (name, executor.word())));
    }
    if attributes.is_empty() { Vec::new() } else { vec![labelled(&attributes, Value::Count(1))] }
}

fn thread_time(stage: &StageSubject<'_>) -> Vec<Sample> {
    let Some(measured) = stage.measured else { return Vec::new() };
    let time = &measured.time;
    let waits = time.wait_seconds.as_ref();
    let states = [
        ("running", time.cpu_seconds),
        ("runnable", time.run_queue_seconds),
        ("gil_wait", time.gil_wait_seconds),
        ("starved", time.starved_seconds),
        ("blocked_network", waits.map(|waits| waits.network)),
        ("blocked_disk", waits.map(|waits| waits.disk)),
        ("blocked_pipe", waits.and_then(|waits| waits.pipe)),
        ("blocked_lock", waits.map(|waits| waits.lock)),
        ("blocked_sleep", waits.map(|waits| waits.sleep)),
        ("blocked_child", waits.map(|waits| waits.child)),
        ("blocked_other", waits.map(|waits| waits.other)),
        ("unknown", time.unknown_seconds),
    ];
    states.into_iter().filter_map(|(state, seconds)| one(&[("poolpick.thread.state", state)], seconds)).collect()
}

/// The word of the JSON report.
pub fn outcome(outcome: StageOutcome) -> &'static str {
    match outcome {
        StageOutcome::Fits => "fits",
        StageOutcome::Misrouted => "misrouted",
        StageOutcome::KnownMisrouted => "known-misrouted",
        StageOutcome::Undecided => "undecided",
        StageOutcome::NotJudged => "not-judged",
        StageOutcome::Failed => "failed",
    }
}

/// A profile's verdict as a gate would call it.
pub fn outcome_of(verdict: Verdict) -> StageOutcome {
    match verdict {
        Verdict::Fits => StageOutcome::Fits,
        Verdict::Misrouted => StageOutcome::Misrouted,
        Verdict::Undecided => StageOutcome::Undecided,
        Verdict::NotJudged => StageOutcome::NotJudged,
    }
}
