//! What changed between the stages of two reports of the same pipeline: a change counts only where the intervals are apart, and by
//! more than two runs of unchanged code differ, which the intervals of a run cannot know. Must not render.

use crate::report::compare::{Change, ChangeKind, Comparison};
use crate::report::{Class, Executor, Prediction, Stage, Verdict};

/// A payload has no interval: sizes within this share of each other are the same.
const PAYLOAD_TOLERANCE: f64 = 0.10;
/// What unchanged code may differ by from run to run, as a share of the smaller one, where the caller does not say: machines that are
/// shared change their pace, and the intervals, which are of one run each, do not hold that.
pub const RUNS_DIFFER: f64 = 0.25;
/// Scores closer than this are the same: what a run waits for at its beginning and end moves one by as much.
const SCORE_STEP: f64 = 0.02;
/// Shares of the interpreter lock closer than this are the same.
const GIL_STEP: f64 = 0.05;
/// Of a normal distribution: from the median to the 95th and to the 99th percentile, in standard deviations.
const TO_P95: f64 = 1.645;
const TO_P99: f64 = 2.326;
/// Half of a 95 % interval, in standard errors.
const HALF: f64 = 1.96;

/// Adds the changes from `base` to `head` beyond the comparison's tolerance; those of the kinds in `fail_on` fail.
pub fn compare(base: &[Stage], head: &[Stage], fail_on: &[ChangeKind], comparison: &mut Comparison) {
    let tolerance = comparison.tolerance;
    let mut changes = Vec::new();
    for now in head {
        match partner(now, base, head) {
            Some(before) => {
                comparison.compared += 1;
                of_stage(before, now, tolerance, &mut changes);
            }
            None => changes.push(change(ChangeKind::Added, now, "it was not there before".to_owned())),
        }
    }
    for before in base.iter().filter(|before| partner(before, head, base).is_none()) {
        changes.push(change(ChangeKind::Removed, before, "it is not there any more".to_owned()));
    }
    for change in &mut changes {
        change.fails = fail_on.contains(&change.kind);
    }
    comparison.failed = changes.iter().any(|change| change.fails);
    comparison.changes = changes;
}

/// The same stage in another report: of its id, or of its name where that is nobody else's.
fn partner<'a>(stage: &Stage, others: &'a [Stage], own: &[Stage]) -> Option<&'a Stage> {
    let same_id = others.iter().find(|other| other.id == stage.id);
    same_id.or_else(|| {
        let named = |stages: &[Stage]| stages.iter().filter(|other| other.name == stage.name).count();
        let free = |other: &&Stage| other.name == stage.name && own.iter().all(|one| one.id != other.id);
        others.iter().find(free).filter(|_| named(others) == 1 && named(own) == 1)
    })
}

fn change(kind: ChangeKind, stage: &Stage, message: String) -> Change {
    Change {
        kind,
        stage: stage.name.clone(),
        stage_id: stage.id.clone(),
        message,
        base: None,
        base_interval: None,
        head: None,
        head_interval: None,
        fails: false,
    }
}

/// A value with its interval.
type Ranged = (f64, [f64; 2]);

fn apart(base: Ranged, head: Ranged) -> bool {
    base.1[1] < head.1[0] || head.1[1] < base.1[0]
}

fn ranged(kind: ChangeKind, stage: &Stage, message: String, base: Ranged, head: Ranged) -> Change {
    Change {
        base: Some(base.0),
        base_interval: Some(base.1),
        head: Some(head.0),
        head_interval: Some(head.1),
        ..change(kind, stage, message)
    }
}

/// Whether one is larger than the other by more than this share of the smaller.
fn beyond(base: f64, head: f64, tolerance: f64) -> bool {
    base.max(head) > base.min(head) * (1.0 + tolerance)
}

/// Whether one of two scores has more CPU for each second of its own wait, by more than the tolerance.
fn scores_part(base: f64, head: f64, tolerance: f64) -> bool {
    let (low, high) = (base.min(head), base.max(head));
    high - low >= SCORE_STEP && high * (1.0 - low) > low * (1.0 - high) * (1.0 + tolerance)
}

fn of_stage(before: &Stage, now: &Stage, tolerance: f64, changes: &mut Vec<Change>) {
    let score = |stage: &Stage| stage.score.zip(stage.score_interval);
    if let (Some(base), Some(head)) = (score(before), score(now))
        && apart(base, head)
        && scores_part(base.0, head.0, tolerance)
    {
        let moved = format!("the score went from {:.2} to {:.2}", base.0, head.0);
        if before.class != now.class && before.class != Class::Unknown && now.class != Class::Unknown {
            let message = format!("{} became {}: {moved}", before.class.word(), now.class.word());
            changes.push(ranged(ChangeKind::ClassChange, now, message, base, head));
        } else {
            changes.push(ranged(ChangeKind::Score, now, moved, base, head));
        }
    }
    match (before.verdict, now.verdict) {
        (Verdict::Misrouted, Verdict::Fits) => {
            changes.push(change(ChangeKind::Mended, now, "it was misrouted, and fits now".to_owned()));
        }
        (Verdict::Misrouted, _) => {}
        (_, Verdict::Misrouted) => {
            let cost = now.misrouting_cost.map_or_else(String::new, |cost| format!(" at {cost:.2}× its time"));
            changes.push(change(ChangeKind::Misrouted, now, format!("it is misrouted now{cost}")));
        }
        _ => {}
    }
    let advised = |stage: &Stage| stage.recommendation.as_ref().map(|advice| advice.executor);
    if let (Some(base), Some(head)) = (advised(before), advised(now))
        && base != head
        && predictions_part(before, now, base, head)
    {
        let message = format!("{} is recommended, and was {}", head.word(), base.word());
        changes.push(change(ChangeKind::Recommendation, now, message));
    }
    times(before, now, tolerance, changes);
    let held = |stage: &Stage| stage.gil.as_ref().map(|gil| (gil.share_of_cpu, gil.interval));
    if let (Some(base), Some(head)) = (held(before), held(now))
        && apart(base, head)
        && (base.0 - head.0).abs() >= GIL_STEP
    {
        let message = format!(
            "the interpreter lock (GIL) is held for {:.0} % of its CPU time, and was for {:.0} %",
            head.0 * 100.0,
            base.0 * 100.0
        );
        changes.push(ranged(ChangeKind::Gil, now, message, base, head));
    }
    payload(before, now, changes);
    for head in &now.predictions {
        let Some(base) = before.predictions.iter().find(|one| one.executor == head.executor) else { continue };
        let value = |one: &Prediction| (one.speedup, one.interval);
        if apart(value(base), value(head)) && beyond(base.speedup, head.speedup, tolerance) {
            let name = head.executor.word();
            let message =
                format!("{name} would do {:.2}× of a serial run, and {:.2}× before", head.speedup, base.speedup);
            changes.push(ranged(ChangeKind::Prediction, now, message, value(base), value(head)));
        }
    }
}

/// Whether the two executors, which changed places, are told apart in either report.
fn predictions_part(before: &Stage, now: &Stage, base: Executor, head: Executor) -> bool {
    let of = |stage: &Stage, executor: Executor| {
        stage.predictions.iter().find(|one| one.executor == executor).map(|one| (one.speedup, one.interval))
    };
    [before, now].into_iter().any(|stage| match (of(stage, base), of(stage, head)) {
        (Some(one), Some(other)) => apart(one, other),
        _ => false,
    })
}

/// What a task takes, with its interval.
#[derive(Debug, Clone, Copy)]
struct TaskTime {
    /// Mean, and its interval: that of the wall time, as if the times were normal, the wider of what both percentiles say.
    wall: Ranged,
    /// What of it is its own: CPU and own wait, without the CPU, the lock or the work that others kept from it. `None` in reports of
    /// schema 0.1.
    own: Option<f64>,
}

fn task_time(stage: &Stage) -> Option<TaskTime> {
    let tasks = stage.tasks.as_ref()?;
    let times = tasks.wall_seconds?;
    let spread = ((times.p95 - times.p50) / TO_P95).max((times.p99 - times.p50) / TO_P99).max(0.0);
    let half = HALF * spread / (tasks.count.max(1) as f64).sqrt();
    let own = stage.demand.map(|demand| demand.cpu_seconds + demand.wait_seconds);
    Some(TaskTime { wall: (times.mean, [times.mean - half, times.mean + half]), own })
}

impl TaskTime {
    /// The part that is its own, as sure as the whole is.
    fn of_its_own(self) -> Option<Ranged> {
        let own = self.own?;
        let relative = (self.wall.1[1] - self.wall.0) / self.wall.0.max(f64::MIN_POSITIVE);
        Some((own, [own * (1.0 - relative), own * (1.0 + relative)]))
    }
}

fn times(before_stage: &Stage, now: &Stage, tolerance: f64, changes: &mut Vec<Change>) {
    let (Some(before), Some(head)) = (task_time(before_stage), task_time(now)) else { return };
    // Who has to share a CPU takes longer and is not slower for it.
    let (base, head, verb) = match (before.of_its_own(), head.of_its_own()) {
        (Some(base), Some(head)) => (base, head, ("needs", "of CPU and own waiting", "needed")),
        _ => (before.wall, head.wall, ("takes", "", "took")),
    };
    if !apart(base, head) || !beyond(base.0, head.0, tolerance) {
        return;
    }
    let factor = head.0 / base.0.max(f64::MIN_POSITIVE);
    let kind = if factor > 1.0 { ChangeKind::Slower } else { ChangeKind::Faster };
    let (is, of, was) = verb;
    let of = if of.is_empty() { String::new() } else { format!(" {of}") };
    let message = format!("a task {is} {:.3} ms{of}, and {was} {:.3} ms ({factor:.2}×)", head.0 * 1e3, base.0 * 1e3);
    changes.push(ranged(kind, now, message, base, head));
}

fn payload(before: &Stage, now: &Stage, changes: &mut Vec<Change>) {
    let bytes = |stage: &Stage| {
        let ipc = stage.ipc.as_ref()?;
        (ipc.argument_bytes.is_some() || ipc.result_bytes.is_some())
            .then(|| ipc.argument_bytes.unwrap_or(0).saturating_add(ipc.result_bytes.unwrap_or(0)))
    };
    let source = |stage: &Stage| stage.ipc.as_ref().map(|ipc| ipc.source);
    let (Some(base), Some(head)) = (bytes(before), bytes(now)) else { return };
    let larger = base.max(head) as f64;
    if source(before) != source(now) || base.abs_diff(head) as f64 <= PAYLOAD_TOLERANCE * larger {
        return;
    }
    let message = format!("a task moves {head} bytes, and moved {base}");
    let mut moved = change(ChangeKind::Payload, now, message);
    (moved.base, moved.head) = (Some(base as f64), Some(head as f64));
    changes.push(moved);
}
