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
    /// Whether that was said of this command, and is not merely where its manifest lies.
    pub says_directory: bool,
    /// Environment variables that it has besides.
    pub variables: Vec<(String, String)>,
    /// It is run at the most so often.
    pub runs: Option<u32>,
    /// A run is ended after this time.
    pub timeout: Option<Duration>,
}

/// How commands are run that do not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The directory.
    pub directory: Option<PathBuf>,
    /// Environment variables.
    pub variables: Vec<(String, String)>,
    /// At the most so often.
    pub runs: Option<u32>,
    /// A run is ended after this time.
    pub timeout: Option<Duration>,
}

impl Surroundings {
    /// Takes from `base` what is not said here.
    pub fn extend(&mut self, base: Surroundings) {
        self.directory = self.directory.take().or(base.directory);
        self.runs = self.runs.or(base.runs);
        self.timeout = self.timeout.or(base.timeout);
        add_missing(&mut self.variables, &base.variables);
    }
}

impl Command {
    /// Takes what is not said of it.
    pub fn settle(&mut self, defaults: &Surroundings) {
        if let Some(directory) = defaults.directory.as_ref().filter(|_| !self.says_directory) {
            self.directory.clone_from(directory);
        }
        self.runs = self.runs.or(defaults.runs);
        self.timeout = self.timeout.or(defaults.timeout);
        add_missing(&mut self.variables, &defaults.variables);
    }
}

/// Adds the variables that are not set yet.
fn add_missing(variables: &mut Vec<(String, String)>, more: &[(String, String)]) {
    for (name, value) in more {
        if !variables.iter().any(|(known, _)| known == name) {
            variables.push((name.clone(), value.clone()));
        }
    }
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

    /// What is run, to be changed.
    pub(super) fn command_mut(&mut self) -> &mut Command {
        match self {
            Entry::Stage(stage) => &mut stage.command,
            Entry::Program(program) => &mut program.command,
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
