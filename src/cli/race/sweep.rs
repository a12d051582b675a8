//! Which cells are raced: executors that there are, and numbers of workers. Must not measure.

use super::args::RaceArgs;
use super::predicted::Predicted;
use crate::cli::exit::Failure;
use crate::race::About;
use crate::report::race::{Contender, Entrant};

/// The sweep goes at least so far: a curve takes four points.
const LEAST_MOST: u32 = 8;
/// And no further by itself.
const MOST: u32 = 64;

/// What speed-ups are over.
const SERIAL: Entrant = Entrant { executor: Contender::Serial, workers: 1 };

/// The numbers of workers: those given, or powers of two up to twice the cores.
pub(super) fn workers(given: &[u32], cores: f64) -> Vec<u32> {
    let most = (2.0 * cores.ceil()).min(f64::from(MOST)) as u32;
    let mut counts: Vec<u32> = if given.is_empty() {
        std::iter::successors(Some(1), |count| Some(count * 2))
            .take_while(|&count| count <= most.max(LEAST_MOST))
            .collect()
    } else {
        given.to_vec()
    };
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// `dask` is the cluster that was named, else processes against threads on one of our own.
fn asked(executors: &[Contender], scheduler: bool) -> Vec<Contender> {
    let own = [Contender::DaskThread, Contender::DaskProcess];
    let expand = |&executor: &Contender| match executor {
        Contender::Dask if !scheduler => own.to_vec(),
        other => vec![other],
    };
    executors.iter().flat_map(expand).collect()
}

/// All cells, the baseline first.
///
/// # Errors
/// An executor that was asked for and cannot be had.
pub(super) fn cells(
    arguments: &RaceArgs,
    about: &About,
    predicted: Option<&Predicted>,
    cores: f64,
) -> Result<Vec<Entrant>, Failure> {
    let asked = asked(&arguments.executors, arguments.scheduler.is_some());
    for executor in &asked {
        if let Some(why) = about.unavailable.get(executor.name()) {
            let hint = "hint: leave it out of `--executors`";
            return Err(Failure::Misuse(format!("`{}` cannot be raced: {why}; {hint}", executor.name())));
        }
    }
    let wanted = |executor: &Contender| match executor {
        Contender::Serial | Contender::Command => false,
        _ if !asked.is_empty() => asked.contains(executor),
        // A cluster takes seconds to start: only who asks for it waits for it.
        Contender::DaskThread | Contender::DaskProcess | Contender::Dask => false,
        _ => !about.unavailable.contains_key(executor.name()),
    };
    let executors: Vec<Contender> = Contender::ALL.iter().map(|(one, _)| *one).filter(wanted).collect();
    let counts = workers(&arguments.workers, cores);
    let mut cells: Vec<Entrant> = Vec::new();
    for &executor in &executors {
        cells.extend(counts.iter().map(|&workers| Entrant { executor, workers }));
    }
    if let Some(predicted) = predicted {
        let best = predicted.best.iter().filter(|_| arguments.workers.is_empty());
        let extra = predicted.recommended.iter().chain(best).copied();
        cells.extend(extra.filter(|cell| executors.contains(&cell.executor)));
    }
    // In the order of executors and then of workers, however they came in.
    cells.sort_by_key(|cell| (executors.iter().position(|&one| one == cell.executor), cell.workers));
    cells.dedup();
    cells.insert(0, SERIAL);
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_has_enough_points_for_a_curve() {
        assert_eq!(workers(&[], 2.0), [1, 2, 4, 8]);
        assert_eq!(workers(&[], 0.5), [1, 2, 4, 8]);
        assert_eq!(workers(&[], 16.0), [1, 2, 4, 8, 16, 32]);
        assert_eq!(workers(&[], 1e9), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(workers(&[4, 1, 4], 2.0), [1, 4]);
    }

    #[test]
    fn dask_is_the_cluster_that_was_named_or_one_of_our_own() {
        let (thread, process) = (Contender::DaskThread, Contender::DaskProcess);
        assert_eq!(asked(&[Contender::Thread, Contender::Dask], false), [Contender::Thread, thread, process]);
        assert_eq!(asked(&[Contender::Dask], true), [Contender::Dask]);
        assert_eq!(asked(&[process], false), [process]);
    }
}
