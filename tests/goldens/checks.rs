//! Results of a gate for the goldens: invented, but each of a shape that real ones have. Its stages are those of the
//! sample profiles.

use super::samples;
use poolpick::report::check::{Check, Finding, Level, Outcome, Policy, StageOutcome, StageResult};
use poolpick::report::{Executor, Kind, SCHEMA_VERSION, Tool};

/// Every sample with the name of its golden.
pub fn all() -> Vec<(&'static str, Check)> {
    vec![("check", check()), ("check-empty", empty()), ("check-hostile", hostile())]
}

fn finding(code: &str, level: Level, stage: Option<&str>, message: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        level,
        stage: stage.map(str::to_owned),
        message: message.to_owned(),
        measured: None,
        limit: None,
        file: None,
        line: None,
        fix: None,
        known: false,
    }
}

fn result(name: &str, outcome: StageOutcome, message: &str) -> StageResult {
    StageResult {
        name: name.to_owned(),
        stage_id: None,
        program: None,
        outcome,
        message: message.to_owned(),
        executor: None,
        declared_workers: None,
        recommended: None,
        misrouting_cost: None,
        runs: 1,
        wall_seconds: None,
        started_at: None,
        last_run_at: None,
        ended_at: None,
        costs: None,
        output: None,
    }
}

/// Every outcome that a stage can have.
fn check() -> Check {
    let profile = samples::all().into_iter().find(|(name, _)| *name == "misrouted").expect("it is there").1;
    let id = |index: usize| profile.stages.get(index).map(|stage| stage.id.clone());
    let fetch = StageResult {
        stage_id: id(0),
        program: Some("nightly".to_owned()),
        executor: Some(Executor::Process),
        recommended: Some(Executor::Thread),
        misrouting_cost: Some(3.1),
        runs: 3,
        wall_seconds: Some(6.4),
        started_at: Some("2026-01-02T03:04:05.250Z".to_owned()),
        last_run_at: Some("2026-01-02T03:04:09.750Z".to_owned()),
        ended_at: Some("2026-01-02T03:04:11.875Z".to_owned()),
        ..result("pipeline.fetch", StageOutcome::Misrouted, "a thread pool would be 3.10× as fast")
    };
    let load = StageResult {
        stage_id: id(1),
        executor: Some(Executor::Thread),
        wall_seconds: Some(8.9),
        ..result("pipeline.load_and_index", StageOutcome::Undecided, "the intervals overlap")
    };
    let write = StageResult {
        stage_id: id(2),
        executor: Some(Executor::Serial),
        recommended: Some(Executor::Serial),
        misrouting_cost: Some(1.0),
        wall_seconds: Some(0.9),
        ..result("pipeline.write", StageOutcome::Fits, "it runs serially, as it should")
    };
    let old = StageResult {
        executor: Some(Executor::Thread),
        recommended: Some(Executor::Process),
        misrouting_cost: Some(1.4),
        ..result("old", StageOutcome::KnownMisrouted, "the baseline knows that it is misrouted")
    };
    let report = result("report", StageOutcome::NotJudged, "no executor is declared");
    let broken = StageResult {
        wall_seconds: Some(0.1),
        started_at: Some("2026-01-02T03:04:22.500Z".to_owned()),
        last_run_at: Some("2026-01-02T03:04:22.500Z".to_owned()),
        ended_at: Some("2026-01-02T03:04:22.625Z".to_owned()),
        output: Some("Traceback (most recent call last):\n  \x1b[31mValueError\x1b[0m: no\n".to_owned()),
        ..result("broken", StageOutcome::Failed, "its command exited with 3")
    };
    Check {
        schema_version: SCHEMA_VERSION.to_owned(),
        kind: Kind::Check,
        poolpick: Tool { version: "0.1.0".to_owned() },
        host: Some(profile.host.clone()),
        asked: None,
        manifest: Some("poolpick.toml".to_owned()),
        directory: Some("services/etl".to_owned()),
        pipeline: Some("etl".to_owned()),
        policy: Policy::Evidence,
        thresholds: profile.thresholds,
        started_at: "2026-01-02T03:04:05.250Z".to_owned(),
        wall_seconds: 17.5,
        outcome: Outcome::NoVerdict,
        findings: vec![
            Finding {
                measured: Some(3.1),
                limit: Some(1.18),
                file: Some("poolpick.toml".to_owned()),
                line: Some(12),
                fix: Some("set `executor = \"thread\"` and `workers = 16`".to_owned()),
                ..finding(
                    "misrouted",
                    Level::Error,
                    Some("pipeline.fetch"),
                    "runs in a process pool; a thread pool with 16 workers would be 3.10× as fast",
                )
            },
            Finding {
                file: Some("poolpick.toml".to_owned()),
                line: Some(28),
                ..finding("stage-failed", Level::Error, Some("broken"), "its command exited with 3")
            },
            finding("undecided", Level::Warning, Some("pipeline.load_and_index"), "the intervals overlap"),
            Finding {
                known: true,
                file: Some("poolpick.toml".to_owned()),
                line: Some(20),
                ..finding("misrouted", Level::Note, Some("old"), "the baseline knows that it is misrouted")
            },
        ],
        results: vec![fetch, load, write, old, report, broken],
        stages: profile.stages,
    }
}

/// Nothing was selected.
fn empty() -> Check {
    Check {
        outcome: Outcome::NothingSelected,
        findings: vec![finding("nothing-selected", Level::Error, None, "no stage was selected")],
        results: Vec::new(),
        stages: Vec::new(),
        host: None,
        manifest: None,
        directory: None,
        pipeline: None,
        wall_seconds: 0.0,
        ..check()
    }
}

/// What may stand in a manifest or come from a target, in every place that a reader could take for its own syntax.
fn hostile() -> Check {
    const NAME: &str = "</script>|`$(x)`\"\n::error::%0A";
    let mut check = check();
    check.manifest = Some("../a b,c:d\n.toml".to_owned());
    for finding in &mut check.findings {
        finding.stage = Some(NAME.to_owned());
        finding.message = "]]> & <b>\x1b]0;x\x07\u{2028}::warning::x\r\n\u{0}".to_owned();
        finding.file = Some("/etc/a%b,c:d\n.toml".to_owned());
        finding.code = "mis\nrouted,::".to_owned();
    }
    for result in &mut check.results {
        result.name = NAME.to_owned();
        result.message = "a \" # } { \\ \\n".to_owned();
    }
    for stage in &mut check.stages {
        stage.name = NAME.to_owned();
        stage.id = NAME.to_owned();
    }
    check
}
