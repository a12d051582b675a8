//! What is to be graded: the prediction of a profile that is made now, or of a saved report. Must not race.

use super::not_started;
use crate::cli::analyse::{Modelled, Questions, Recorded, analyse_by};
use crate::cli::exit::Failure;
use crate::cli::prices::PriceBook;
use crate::cli::saved;
use crate::cli::session::{self, Plan};
use crate::observe::NamedStage;
use crate::observe::{DISABLE, Disabled, Options, PythonMode};
use crate::predict::{self, at};
use crate::race::{Expectation, Loading, write_driver};
use crate::report::race::{Contender, Entrant, PredictedBy};
use crate::report::{Executor, Stage};
use crate::target::{ExitKind, StartError};
use crate::units::Span;
use crate::verdict::Thresholds;
use std::ffi::OsString;
use std::path::Path;

/// A serial run is profiled for so long, seconds: the lock's readings then tell its share within a few per cent.
const PROFILE_SECONDS: &str = "2";
/// And no longer than this, or the budget, where one task takes longer.
const LONGEST_PROFILE: Span = Span::from_millis(20_000);

/// What was predicted.
#[derive(Debug, Clone)]
pub struct Predicted {
    /// By whom.
    by: PredictedBy,
    /// What to use.
    pub recommended: Option<Entrant>,
    /// Every executor at its predicted best.
    pub best: Vec<Entrant>,
    /// Speed-ups as reported.
    speedups: Vec<(Entrant, f64)>,
    /// The model behind them, where it is known.
    model: Option<Modelled>,
    /// What to beware of.
    pub notes: Vec<String>,
}

impl Predicted {
    fn of(by: PredictedBy, stage: &Stage, model: Option<Modelled>) -> Predicted {
        let recommended = stage.recommendation.as_ref();
        let speedups: Vec<(Entrant, f64)> = stage
            .predictions
            .iter()
            .filter_map(|one| Some((entrant(one.executor, one.workers)?, one.speedup)))
            .collect();
        Predicted {
            by,
            recommended: recommended.and_then(|pick| entrant(pick.executor, pick.workers.unwrap_or(1))),
            best: speedups.iter().map(|(cell, _)| *cell).collect(),
            speedups,
            model,
            notes: Vec::new(),
        }
    }

    fn nothing(by: PredictedBy, note: String) -> Predicted {
        let (best, speedups) = (Vec::new(), Vec::new());
        Predicted { by, recommended: None, best, speedups, model: None, notes: vec![note] }
    }

    /// For these cells.
    pub fn expect(self, cells: &[Entrant]) -> Expectation {
        let modelled = |cell: Entrant| {
            let Modelled { task, costs, room } = self.model?;
            let executor = match cell.executor {
                Contender::Serial => predict::Executor::Serial,
                Contender::Thread => predict::Executor::Thread,
                Contender::Asyncio => predict::Executor::Asyncio,
                Contender::Process => predict::Executor::Process,
                Contender::Interpreter
                | Contender::Loky
                | Contender::DaskThread
                | Contender::DaskProcess
                | Contender::Dask
                | Contender::Command => return None,
            };
            at(executor, &task, &costs, &room, cell.workers).map(|one| one.speedup.point)
        };
        let reported = |cell: Entrant| self.speedups.iter().find(|(one, _)| *one == cell).map(|(_, speedup)| *speedup);
        let speedups = cells.iter().filter_map(|&cell| Some((cell, reported(cell).or_else(|| modelled(cell))?)));
        Expectation { by: self.by, recommended: self.recommended, speedups: speedups.collect() }
    }
}

/// A reported executor as one that races; a split does not.
fn entrant(executor: Executor, workers: u32) -> Option<Entrant> {
    let executor = match executor {
        Executor::Thread => Contender::Thread,
        Executor::Process => Contender::Process,
        Executor::Interpreter => Contender::Interpreter,
        Executor::Asyncio => Contender::Asyncio,
        Executor::Serial => Contender::Serial,
        Executor::Split => return None,
    };
    Some(Entrant { executor, workers: if executor == Contender::Serial { 1 } else { workers } })
}

/// The prediction of a saved report.
///
/// # Errors
/// A file that is no report, or that does not hold the stage.
pub fn from_report(path: &Path, stage: Option<&str>, function: &NamedStage) -> Result<Predicted, Failure> {
    let report = saved::read(path)?;
    let wanted = stage.unwrap_or(&function.name);
    let named = report.stage(wanted);
    let only = || match report.stages().iter().filter(|one| !one.predictions.is_empty()).collect::<Vec<_>>().as_slice()
    {
        [one] if stage.is_none() => Some(*one),
        _ => None,
    };
    let found = named.or_else(only).ok_or_else(|| {
        let names: Vec<String> = report.stages().iter().map(|one| format!("`{}`", one.name)).collect();
        Failure::Misuse(format!(
            "`{}` has no stage `{wanted}` but {}; hint: name one with `--stage`",
            path.display(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ))
    })?;
    let mut predicted = Predicted::of(PredictedBy::Report, found, None);
    if predicted.speedups.is_empty() {
        predicted.notes.push(format!("the report predicts nothing for `{}`: there is nothing to grade", found.name));
    }
    Ok(predicted)
}

/// The prediction of a profile of a serial run, made now; or the signal that the user ended it with.
///
/// # Errors
/// Where no interpreter can be started.
pub fn by_profile(
    python: &Path,
    loading: &Loading,
    function: &NamedStage,
    budget: Span,
    cpu_before: Span,
) -> Result<Result<Predicted, i32>, Failure> {
    let disabled = Disabled::parse(&std::env::var(DISABLE).unwrap_or_default())?;
    let refused = |source| Failure::System { doing: "writing the driver", source };
    let (_home, file) = write_driver().map_err(refused)?;
    let load = loading.json().map_err(refused)?;
    let mut command: Vec<OsString> = vec![python.into(), file.into()];
    command.extend(["profile", &load, PROFILE_SECONDS].map(OsString::from));
    let timeout = Some(if budget < LONGEST_PROFILE { budget.max(Span::from_millis(5_000)) } else { LONGEST_PROFILE });
    let stages = [function.to_string()];
    let thresholds = Thresholds::default();
    let plan = Plan {
        command: &command,
        stdout_to_stderr: true,
        options: Options { disabled, interval: None, timeout, python: PythonMode::Agent, ends_tree: true },
        stages: &stages,
        live: false,
        thresholds,
        record: None,
        cpu_before,
        variables: &[],
        directory: None,
        capture: None,
    };
    let run = match session::run(plan) {
        Err(Failure::Start(error @ (StartError::NotFound { .. } | StartError::NotExecutable { .. }))) => {
            return Err(not_started(python, &error.to_string()));
        }
        other => other?,
    };
    if let Some(signal) = run.interrupted {
        return Ok(Err(signal));
    }
    let nothing = |why: &str| Ok(Ok(Predicted::nothing(PredictedBy::Profile, why.to_owned())));
    if let ExitKind::Killed(signal) = run.exit.status
        && matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)
        && !run.footer.timed_out
    {
        return Ok(Err(signal));
    }
    if run.exit.status != ExitKind::Exited(0) && !run.footer.timed_out {
        return nothing("the profile before the race failed: there is no prediction to grade");
    }
    let questions = Questions { named: vec![function.name.clone()], ..Questions::by(thresholds) };
    let recorded = Recorded { header: &run.header, timeline: &run.timeline, footer: &run.footer };
    let mut models: Vec<(String, Modelled)> = Vec::new();
    let told = &mut |id: &str, model: Modelled| models.push((id.to_owned(), model));
    let Some(report) = analyse_by(&mut PriceBook::of_this_host(), &[recorded], &questions, Vec::new(), told) else {
        return nothing("the profile before the race gave no report: there is no prediction to grade");
    };
    let named = report.stages.iter().find(|stage| stage.name == function.name);
    let predicted = |stage: &&Stage| !stage.predictions.is_empty();
    let Some(stage) = named.filter(predicted).or_else(|| report.stages.iter().find(predicted)) else {
        let why = named.and_then(|stage| stage.verdict_reason.as_deref()).unwrap_or("it saw no task");
        return nothing(&format!(
            "the profile before the race predicts nothing: {why}; there is no prediction to grade"
        ));
    };
    let model = models.iter().find(|(id, _)| *id == stage.id).map(|(_, model)| *model);
    Ok(Ok(Predicted::of(PredictedBy::Profile, stage, model)))
}
