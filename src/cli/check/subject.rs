//! What a run is judged for: one declared stage, named functions, or whatever is found in a program. Must not run.

use crate::gate::{self, Declared, Failure, Place, Ran, Ruled, Rules};
use crate::report::{Report, Stage};

/// What a run is judged for.
#[derive(Debug)]
pub enum Subject {
    /// The command is the stage.
    Main(Declared),
    /// Functions of these names are the stages.
    Named(Vec<Declared>),
    /// The stages are found inside.
    Found {
        /// What the command is called where nothing is found.
        name: String,
        /// The program of the manifest.
        program: Option<String>,
        /// Where it is declared.
        place: Option<Place>,
        /// Stages whose executor is declared.
        expect: Vec<Declared>,
    },
}

impl Subject {
    /// What the gate makes of a report.
    pub fn ruled(&self, report: &Report, ran: &Ran, rules: &Rules) -> Vec<Ruled> {
        let stages = &report.stages;
        let one = |stage: Option<&Stage>, declared: &Declared| match stage {
            Some(stage) => gate::rule_on(stage, declared, ran, rules),
            None => gate::missing(declared, ran),
        };
        match self {
            Subject::Main(declared) => vec![one(gate::main_stage(stages), declared)],
            Subject::Named(named) => {
                named.iter().map(|declared| one(gate::named(stages, &declared.name), declared)).collect()
            }
            Subject::Found { program, place, expect, .. } => {
                let mut ruled: Vec<Ruled> =
                    expect.iter().map(|declared| one(gate::named(stages, &declared.name), declared)).collect();
                let mut found: Vec<&Stage> = stages.iter().filter(|stage| gate::is_found(stage)).collect();
                if found.is_empty() && expect.is_empty() {
                    found.extend(gate::main_stage(stages));
                }
                for stage in found {
                    if ruled.iter().any(|one| one.result.stage_id.as_ref() == Some(&stage.id)) {
                        continue;
                    }
                    let (name, program, place) = (stage.name.clone(), program.clone(), place.clone());
                    let declared = Declared { name, program, place, ..Declared::default() };
                    ruled.push(gate::rule_on(stage, &declared, ran, rules));
                }
                ruled
            }
        }
    }

    /// The same where there is nothing to judge; the output is told once.
    pub fn failed(&self, ran: &Ran, failure: &Failure, output: Option<String>) -> Vec<Ruled> {
        let mut output = output;
        let mut one = |declared: &Declared| gate::failed(declared, ran, failure, output.take());
        match self {
            Subject::Main(declared) => vec![one(declared)],
            Subject::Named(named) => named.iter().map(one).collect(),
            Subject::Found { name, place, expect, .. } if expect.is_empty() => {
                vec![one(&Declared { name: name.clone(), place: place.clone(), ..Declared::default() })]
            }
            Subject::Found { expect, .. } => expect.iter().map(one).collect(),
        }
    }
}
