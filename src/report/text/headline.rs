//! The first lines of a report: for each stage what is the matter and what to do, the most urgent first; and its last
//! line, the totals. Whoever reads no further should have read enough.

use super::why::Point;
use super::words;
use super::{Tone, Voice};
use crate::report::{Executor, Python, Report, Scheduler, Stage, StageKind, Verdict};
use crate::stages::OUTSIDE;

/// So many stages of one verdict get a line each; the others are counted.
const LINES: usize = 6;

/// One sentence a stage, or for several at once.
pub fn headlines(report: &Report, voice: &Voice) -> Vec<String> {
    if report.stages.is_empty() {
        return vec!["no stage was seen: there is nothing to judge".to_owned()];
    }
    let mut lines: Vec<String> = report.machine_note().map(|note| voice.text(note)).into_iter().collect();
    for verdict in [Verdict::Misrouted, Verdict::Undecided] {
        lines.extend(of_verdict(report, verdict).map(|stage| sentence(stage, voice)));
    }
    let (advised, unadvised): (Vec<&Stage>, Vec<&Stage>) =
        of_verdict(report, Verdict::NotJudged).partition(|stage| stage.recommendation.is_some());
    lines.extend(each_or_counted(&advised, voice, "more stages have a recommendation, below"));
    // What a program did outside of its stages is told in the table.
    let unadvised: Vec<&Stage> = unadvised.into_iter().filter(|stage| !is_rest(stage, report)).collect();
    lines.extend(each_or_counted(&unadvised, voice, "more stages were not judged"));
    let fits: Vec<&Stage> = of_verdict(report, Verdict::Fits).collect();
    lines.extend(each_or_counted(&fits, voice, "more stages fit"));
    lines
}

/// Whether it is only what a program did outside of its stages, beside stages that say more.
fn is_rest(stage: &Stage, report: &Report) -> bool {
    stage.kind == StageKind::Process
        && stage.name.ends_with(OUTSIDE)
        && report.stages.iter().any(|other| !other.name.ends_with(OUTSIDE))
}

/// How many stages are misrouted, for a title.
pub fn title(report: &Report, voice: &Voice) -> String {
    let count = |verdict| of_verdict(report, verdict).count() as u64;
    let (misrouted, undecided, fits) = (count(Verdict::Misrouted), count(Verdict::Undecided), count(Verdict::Fits));
    let all = words::counted(report.stages.len() as u64, "stage", "stages", voice);
    match report.stages.as_slice() {
        [] => "nothing to judge".to_owned(),
        [stage] => match (stage.verdict, &stage.recommendation) {
            (Verdict::NotJudged, Some(recommendation)) => words::advice(recommendation, voice),
            (verdict, _) => format!("{} {}", voice.name(&stage.name), with_be(verdict)),
        },
        _ if misrouted > 0 => format!("{misrouted} of {all} misrouted"),
        _ if undecided > 0 => format!("{undecided} of {all} undecided, none misrouted"),
        _ if fits > 0 => format!("{fits} of {all} fit, none misrouted"),
        _ => format!("{all}, none judged"),
    }
}

/// Why stages with a recommendation were not judged, each reason once.
pub fn unjudged(report: &Report, voice: &Voice) -> Vec<Point> {
    let advised = of_verdict(report, Verdict::NotJudged).filter(|stage| stage.recommendation.is_some());
    let reasons: Vec<&str> = advised.filter_map(|stage| stage.verdict_reason.as_deref()).collect();
    let mut points = Vec::new();
    for (index, reason) in reasons.iter().enumerate() {
        if reasons.iter().take(index).any(|earlier| earlier == reason) {
            continue;
        }
        let count = reasons.iter().filter(|other| *other == reason).count();
        let label = if report.stages.len() == 1 {
            "not judged".to_owned()
        } else {
            format!("not judged ({})", words::counted(count as u64, "stage", "stages", voice))
        };
        points.push(Point { label, text: voice.text(reason) });
    }
    points
}

/// Wall, CPU, switches, memory; then how it was measured and what that cost.
pub fn totals(report: &Report, voice: &Voice) -> Vec<String> {
    let (glyphs, totals, target) = (voice.glyphs, &report.totals, &report.target);
    let cpu = totals.cpu_user_seconds.zip(totals.cpu_system_seconds);
    let cpu = match cpu {
        Some((user, system)) => format!(
            "CPU {} ({} user + {} system)",
            glyphs.seconds(user + system),
            glyphs.seconds(user),
            glyphs.seconds(system)
        ),
        None => format!("CPU {}", glyphs.none),
    };
    let mut parts = vec![
        format!("wall {}", glyphs.seconds(target.wall_seconds)),
        cpu,
        format!("CPU/wall {}", glyphs.ratio(totals.cpu_wall_ratio)),
        match (totals.voluntary_switches, totals.involuntary_switches) {
            (None, None) => format!("context switches {}", glyphs.none),
            (voluntary, involuntary) => format!(
                "context switches {} voluntary + {} involuntary",
                glyphs.count(voluntary),
                glyphs.count(involuntary)
            ),
        },
        format!("peak memory {}", glyphs.bytes(totals.peak_rss_bytes)),
    ];
    parts.extend(totals.processes.map(|count| words::counted(count, "process", "processes", voice)));
    parts.extend(totals.threads.map(|count| words::counted(count, "thread", "threads", voice)));
    if target.runs > 1 {
        parts.push(format!("{} runs", glyphs.count(u64::from(target.runs))));
    }
    let scheduler = match report.sources.scheduler {
        Scheduler::Perf => "perf (every context switch)",
        Scheduler::Schedstat => "schedstat (sampled)",
        Scheduler::Rusage => "rusage (totals only)",
    };
    let python = match report.sources.python {
        Python::Agent => " and the agent inside Python",
        Python::Sample => " and samples of the Python interpreter",
        Python::None => "",
    };
    let accounted = report.sources.accounted_ratio;
    let accounted =
        accounted.map_or_else(String::new, |ratio| format!(", {} of the CPU time accounted for", glyphs.share(ratio)));
    let own = glyphs.seconds(report.sources.overhead_cpu_seconds);
    vec![
        format!("{}: {}", command(report, voice), parts.join(", ")),
        format!("measured by {scheduler}{python}{accounted}; poolpick itself used {own} of CPU"),
    ]
}

/// The command as it may be shown; what was left out is marked.
pub fn command(report: &Report, voice: &Voice) -> String {
    let mut argv = report.target.argv.join(" ");
    if argv.is_empty() {
        argv.push_str("total");
    }
    let argv = voice.name(&argv);
    if report.target.argv_redacted { format!("{argv} {}", voice.glyphs.ellipsis) } else { argv }
}

fn of_verdict(report: &Report, verdict: Verdict) -> impl Iterator<Item = &Stage> {
    report.stages.iter().filter(move |stage| stage.verdict == verdict)
}

/// A sentence for each of the first, and how many there are beyond.
fn each_or_counted(stages: &[&Stage], voice: &Voice, more: &str) -> Vec<String> {
    let shown = if stages.len() <= LINES + 1 { stages.len() } else { LINES };
    let mut lines: Vec<String> = stages.iter().take(shown).map(|stage| sentence(stage, voice)).collect();
    if shown < stages.len() {
        lines.push(format!("{} {more}", stages.len() - shown));
    }
    lines
}

/// What is the matter with one stage, and what to do; begins with its name.
pub fn sentence(stage: &Stage, voice: &Voice) -> String {
    let name = voice.tone(Tone::Strong, &voice.name(&stage.name));
    let dash = voice.glyphs.dash;
    let verdict = voice.tone(Tone::of_verdict(stage.verdict), words::verdict(stage.verdict));
    let runs = words::runs(stage.runs_as, stage.declared_executor);
    let reason = stage.verdict_reason.as_deref().map(|reason| voice.text(reason));
    match (stage.verdict, &stage.recommendation) {
        (Verdict::Misrouted | Verdict::Undecided, Some(advice)) => {
            let might = if stage.verdict == Verdict::Misrouted { "would be" } else { "may be" };
            let faster = stage.misrouting_cost.filter(|cost| cost.is_finite()).map_or_else(
                || format!("{might} faster"),
                |cost| format!("{might} {} as fast", voice.glyphs.speedup(cost)),
            );
            let better = match advice.executor {
                Executor::Serial => "running it serially, without a pool,".to_owned(),
                Executor::Split => "splitting it into its phases".to_owned(),
                executor => words::pool(executor, advice.workers),
            };
            let current = stage.declared_executor.or(stage.runs_as.map(|runs| runs.executor));
            if current == Some(advice.executor) {
                let runs = runs.map_or_else(String::new, |runs| format!("{runs}, "));
                let reason = reason.map_or_else(String::new, |reason| format!(", but {reason}"));
                return format!("{name}: {verdict} {dash} {runs}which is probably right{reason}");
            }
            let runs = runs.map_or_else(String::new, |runs| format!("{runs}; "));
            let doubt = words::doubt(advice.confidence);
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{name}: {verdict} {dash} {runs}{better} {faster}{doubt}{reason}")
        }
        (Verdict::NotJudged, Some(advice)) => {
            let gain = match advice.speedup.filter(|gain| gain.is_finite() && advice.executor != Executor::Serial) {
                Some(gain) => format!(", {} the throughput of a serial run", voice.glyphs.speedup(gain)),
                None => String::new(),
            };
            let advised = voice.tone(Tone::Strong, &words::advice(advice, voice));
            format!("{name}: {} {dash} {advised}{gain}{}", class(stage, voice), words::doubt(advice.confidence))
        }
        (Verdict::Fits, _) => {
            let runs = runs.map_or_else(String::new, |runs| format!(", {runs}"));
            format!("{name}: {verdict} {dash} {}{runs}", class(stage, voice))
        }
        (_, None) => {
            let reason = reason.unwrap_or_else(|| "the evidence is too thin".to_owned());
            format!("{name}: {verdict} {dash} {reason}")
        }
    }
}

/// `cpu-bound (score 0.98)`.
fn class(stage: &Stage, voice: &Voice) -> String {
    let word = voice.tone(Tone::of_class(stage.class), stage.class.word());
    match stage.score {
        Some(score) => format!("{word} (score {})", voice.glyphs.ratio(score)),
        None => word,
    }
}

fn with_be(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => "fits",
        Verdict::Misrouted => "is misrouted",
        Verdict::Undecided => "is undecided",
        Verdict::NotJudged => "is not judged",
    }
}
