//! What a manifest means: stages and programs with their commands, ready to be run. Must not know TOML.

use super::{Place, Placed};
use crate::observe::NamedStage;
use crate::verdict::Executor;
use std::path::PathBuf;
use std::time::Duration;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its words.
    pub argv: Vec<String>,
    /// The directory to run it in.
    pub directory: PathBuf,
    /// Environment variables that it has besides.
    pub variables: Vec<(String, String)>,
    /// It is run at the most so often.
    pub runs: Option<u32>,
    /// A run is ended after this time.
    pub timeout: Option<Duration>,
}

/// A stage that is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// What is run.
    pub command: Command,
    /// The executor that production runs it under.
    pub executor: Option<Placed<Executor>>,
    /// The function that it is.
    pub function: Option<NamedStage>,
    /// How many workers production gives it.
    pub workers: Option<Placed<u32>>,
    /// Bytes that one task is given.
    pub payload_in: Option<u64>,
    /// Bytes that one task returns.
    pub payload_out: Option<u64>,
}

/// A stage of a program and the executor that it is expected under.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// The stage's name.
    pub name: String,
    /// The executor.
    pub executor: Placed<Executor>,
}

/// A program in which stages are found.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// What is run.
    pub command: Command,
    /// Executors of stages.
    pub expect: Vec<Expectation>,
}

/// A stage or a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A stage that is declared.
    Stage(Stage),
    /// A program in which stages are found.
    Program(Program),
}

impl Entry {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Entry::Stage(stage) => &stage.name,
            Entry::Program(program) => &program.name,
        }
    }

    /// Where it is declared.
    pub fn place(&self) -> &Place {
        match self {
            Entry::Stage(stage) => &stage.place,
            Entry::Program(program) => &program.place,
        }
    }

    /// What is run.
    pub fn command(&self) -> &Command {
        match self {
            Entry::Stage(stage) => &stage.command,
            Entry::Program(program) => &program.command,
        }
    }
}
