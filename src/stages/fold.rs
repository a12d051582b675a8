//! Which programs are no stages: shells and launchers that only wait for what they started, and helpers that do next to
//! nothing.

use super::function::Places;
use crate::timeline::{Program, ProgramId, Timeline};

/// A program whose own demand is below this share of its descendants' only launched them.
const LAUNCHER_SHARE: f64 = 0.05;
/// A program whose stages are told by themselves and that did less than this share of theirs besides.
const FEEDER_SHARE: f64 = 0.25;
/// A shell, `env` or `nice` that did less than this is a launcher, whatever its children did.
const LAUNCHER_SECONDS: f64 = 0.02;

/// A program that did less than this beside others that did more is too small to be judged, let alone moved.
const NEGLIGIBLE_SECONDS: f64 = 0.010;
/// And less than this share of everything.
const NEGLIGIBLE_SHARE: f64 = 0.02;

/// What a program did itself: on a CPU and waiting on the outside world.
pub fn own_demand(program: &Program) -> f64 {
    program.demand.on_cpu + program.demand.own.sum()
}

/// Whether it was started by another program of the tree.
fn has_parent_stage(program: &Program) -> bool {
    program.parent.is_some()
}

/// Whether each program is folded away.
pub fn folded(timeline: &Timeline, places: &Places) -> Vec<bool> {
    let programs = &timeline.programs;
    let mut below = vec![0.0; programs.len()];
    let mut has_children = vec![false; programs.len()];
    // A program's parent appears before it, so going backwards adds up whole subtrees.
    for index in (0..programs.len()).rev() {
        if let Some(ProgramId(parent)) = programs[index].parent.filter(|parent| parent.0 < index) {
            // Who starts `sleep` waits itself.
            let own = if programs[index].image.is_sleep() { 0.0 } else { own_demand(&programs[index]) };
            below[parent] += below[index] + own;
            has_children[parent] |= programs[index].processes > 0;
        }
    }
    let mut folded: Vec<bool> = programs
        .iter()
        .enumerate()
        .map(|(index, program)| {
            if program.tasks.is_some() {
                return false;
            }
            // Whatever a shell waits for, what it did is what it computed.
            let own = if program.image.is_shell() { program.demand.on_cpu } else { own_demand(program) };
            let launched = has_children[index] && own < LAUNCHER_SHARE * below[index];
            let small = own < LAUNCHER_SECONDS;
            let shell = small && program.image.is_shell() && has_children[index];
            let subshell = small && program.image.is_shell() && program.image.forked;
            let helper = has_parent_stage(program) && program.image.is_helper();
            let replaced = small && program.replaced > 0 && program.replaced == program.processes;
            let sleeper = has_parent_stage(program) && program.image.is_sleep();
            let absorbed = places.absorbed_by[index].is_some() || places.is_worker_rest(index, timeline);
            let feeder = places.has_stages[index] && own < FEEDER_SHARE * below[index];
            program.processes == 0
                || sleeper
                || launched
                || shell
                || subshell
                || replaced
                || helper
                || absorbed
                || feeder
        })
        .collect();
    let total: f64 = programs.iter().map(own_demand).sum();
    let negligible = |program: &Program| {
        program.tasks.is_none()
            && own_demand(program) < NEGLIGIBLE_SECONDS
            && own_demand(program) < NEGLIGIBLE_SHARE * total
    };
    if programs.iter().zip(&folded).any(|(program, folded)| !folded && !negligible(program)) {
        for (program, folded) in programs.iter().zip(&mut folded) {
            *folded |= negligible(program);
        }
    }
    // Never everything: the one that did most stays.
    if folded.iter().all(|&folded| folded)
        && !places.has_stages.contains(&true)
        && let Some((index, _)) = programs
            .iter()
            .enumerate()
            .filter(|(_, program)| program.processes > 0)
            .max_by(|(_, one), (_, other)| own_demand(one).total_cmp(&own_demand(other)))
    {
        folded[index] = false;
    }
    folded
}
