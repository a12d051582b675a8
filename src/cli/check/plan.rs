//! From arguments and manifest to what is run and judged, and by which rules. Must not run anything.

use super::args::{CheckArgs, UndecidedArg};
use super::subject::Subject;
use crate::cli::analyse::{Questions, Recorded, analyse};
use crate::cli::args::{MachineArgs, PythonArg};
use crate::cli::capture::Capture;
use crate::cli::exit::Failure;
use crate::cli::saved::{self, Saved};
use crate::cli::session::{self, Run};
use crate::cli::{profile, say};
use crate::gate::{Declared, Place, Rules};
use crate::manifest::{self, Command, Entry, Manifest, NAMES, Placed, Policy, TOOL_TABLE, Undecided, nearest};
use crate::observe::{NamedStage, Options};
use crate::report::{Report, check};
use crate::units::{Span, toml_key};
use crate::verdict::{Executor, Thresholds};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is checked.
pub struct Plan {
    /// The manifest, if one is used.
    pub manifest: Option<Manifest>,
    /// What the gate goes by.
    pub rules: Rules,
    /// What is run or read, in order.
    pub work: Vec<Work>,
    /// What to say where there is nothing.
    pub nothing: String,
}

/// One thing to check.
pub enum Work {
    /// A command to run.
    Run(Box<Task>),
    /// A report to judge, and the file that it is in.
    Saved(PathBuf, Saved),
}

/// A command and what it is judged for.
pub struct Task {
    /// Its name.
    pub name: String,
    /// What is run.
    pub command: Command,
    /// Functions that are stages.
    pub functions: Vec<NamedStage>,
    /// The executor that all of its stages are declared to run under.
    pub executor: Option<Executor>,
    /// Bytes that one task is given.
    pub payload_in: Option<u64>,
    /// Bytes that one task returns.
    pub payload_out: Option<u64>,
    /// What it is judged for.
    pub subject: Subject,
}

impl Task {
    /// Runs it once.
    pub fn run(
        &self,
        options: Options,
        cpu_before: Span,
        thresholds: Thresholds,
        capture: &Capture,
    ) -> Result<Run, Failure> {
        let command: Vec<OsString> = self.command.argv.iter().map(OsString::from).collect();
        let stages: Vec<String> = self.functions.iter().map(ToString::to_string).collect();
        session::run(session::Plan {
            command: &command,
            stdout_to_stderr: false,
            variables: &self.command.variables,
            directory: Some(&self.command.directory),
            capture: Some(capture),
            options,
            stages: &stages,
            live: false,
            thresholds,
            record: None,
            cpu_before,
        })
    }

    /// The report of its runs.
    pub fn report(&self, runs: &[Run], thresholds: Thresholds, machine: &MachineArgs) -> Option<Report> {
        let recorded: Vec<Recorded<'_>> = runs
            .iter()
            .map(|run| Recorded { header: &run.header, timeline: &run.timeline, footer: &run.footer })
            .collect();
        let questions = Questions {
            executor: self.executor,
            payload_in: self.payload_in,
            payload_out: self.payload_out,
            named: self.functions.iter().map(|function| function.name.clone()).collect(),
            ..Questions::by(thresholds).on(machine)
        };
        analyse(&recorded, &questions, Vec::new())
    }
}

/// A path as it is shown: relative to the working directory where it lies below it, or above it in the same checkout.
pub fn shown(path: &Path) -> String {
    let own = std::env::current_dir().ok();
    let relative = own.as_deref().and_then(|own| {
        let below = path.strip_prefix(own).map(Path::to_owned).ok();
        below.or_else(|| {
            let above = own.ancestors().skip(1).take_while(|above| above.starts_with(checkout(own)));
            let (steps, rest) =
                above.zip(1..).find_map(|(above, steps)| Some((steps, path.strip_prefix(above).ok()?)))?;
            Some(std::iter::repeat_n("..", steps).collect::<PathBuf>().join(rest))
        })
    });
    let path = relative.as_deref().unwrap_or(path);
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Where readers of findings take paths from: the checkout of the CI system, else the repository, else the directory itself.
fn checkout(directory: &Path) -> PathBuf {
    let says = |flag: &str, name: &str| {
        let root = std::env::var_os(name).filter(|_| std::env::var_os(flag).is_some_and(|flag| flag == "true"));
        root.map(PathBuf::from).filter(|root| root.is_absolute() && directory.starts_with(root))
    };
    says("GITHUB_ACTIONS", "GITHUB_WORKSPACE")
        .or_else(|| says("GITLAB_CI", "CI_PROJECT_DIR"))
        .unwrap_or_else(|| manifest::repository(directory).unwrap_or(directory).to_owned())
}

/// The working directory, as seen from there; `None` where it is that itself.
pub fn directory() -> Option<String> {
    let own = std::env::current_dir().ok()?;
    let below = own.strip_prefix(checkout(&own)).ok()?.display().to_string();
    (!below.is_empty()).then_some(below)
}

fn place(place: &manifest::Place) -> Place {
    Place { file: shown(&place.file), line: place.line }
}

/// What the arguments ask for.
///
/// # Errors
/// Misuse, or a manifest or report that cannot be used.
pub fn plan(arguments: &CheckArgs) -> Result<Plan, Failure> {
    if arguments.command.is_empty() {
        let judge = &arguments.judge;
        for (given, option) in [
            (judge.executor.is_some(), "--executor"),
            (judge.payload_in.is_some(), "--payload-in"),
            (judge.payload_out.is_some(), "--payload-out"),
            (!arguments.stage.is_empty(), "--stage"),
        ] {
            if given {
                let message =
                    format!("`{option}` is about a command; hint: give one after `--`, or write it to the manifest");
                return Err(Failure::Misuse(message));
            }
        }
    }
    if !arguments.from.is_empty() {
        return from_reports(arguments);
    }
    if !arguments.command.is_empty() {
        return of_command(arguments);
    }
    if let Some(file) = arguments.stages.iter().find(|name| name.ends_with(".toml")) {
        let message = format!("`{file}` is no stage; hint: `--manifest {file}` takes another manifest");
        return Err(Failure::Misuse(message));
    }
    let manifest = manifest_of(arguments)?;
    let rules = rules(arguments, Some(&manifest))?;
    let entries = selected(arguments, &manifest)?;
    for entry in &entries {
        let directory = &entry.command().directory;
        if !directory.is_dir() {
            let (name, file, line) = (entry.name(), shown(&entry.place().file), entry.place().line);
            let message = format!(
                "`{name}` ({file}:{line}) is to run in `{}`, which is no directory; hint: `cwd` is relative to the manifest",
                directory.display()
            );
            return Err(Failure::Misuse(message));
        }
    }
    let work = entries.into_iter().map(|entry| Work::Run(Box::new(task_of(entry)))).collect();
    let nothing = format!("`{}` has no stage and no program to check", shown(&manifest.file));
    Ok(Plan { manifest: Some(manifest), rules, work, nothing })
}

/// The manifest that is named, or the one that is found.
fn manifest_of(arguments: &CheckArgs) -> Result<Manifest, Failure> {
    if let Some(path) = &arguments.manifest {
        return Ok(manifest::load(path, true)?);
    }
    let here = std::env::current_dir()
        .map_err(|source| Failure::System { doing: "asking for the working directory", source })?;
    let found = manifest::find(&here);
    if let (Some(file), Some(ignored)) = (&found.file, &found.ignored) {
        say(&format!("warning: `{}` is not read, because `{}` is beside it", shown(ignored), shown(file)));
    }
    let file = found.file.ok_or_else(|| {
        let names = NAMES.join(", ");
        let up_to = found.up_to.display();
        Failure::Misuse(format!(
            "there is no manifest ({names}) from here up to `{up_to}`; hint: `poolpick init` writes one, \
             `poolpick check -- CMD` does without"
        ))
    })?;
    Ok(manifest::load(&file, false)?)
}

/// The entries that were asked for, in the order of the manifest.
fn selected<'a>(arguments: &CheckArgs, manifest: &'a Manifest) -> Result<Vec<&'a Entry>, Failure> {
    let names: Vec<&str> = manifest.entries.iter().map(Entry::name).collect();
    for wanted in &arguments.stages {
        if !names.contains(&wanted.as_str()) {
            let near = nearest(wanted, names.iter().copied());
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "it has none".to_owned(),
                None => format!("it has {}", names.join(", ")),
            };
            let file = shown(&manifest.file);
            return Err(Failure::Misuse(format!("`{wanted}` is no stage of `{file}`; hint: {hint}")));
        }
    }
    let wanted =
        |entry: &&Entry| arguments.stages.is_empty() || arguments.stages.iter().any(|wanted| wanted == entry.name());
    Ok(manifest.entries.iter().filter(wanted).collect())
}

/// The table of an entry as its file has it.
fn table(kind: &str, entry: &Entry) -> String {
    let before: &[&str] = if manifest::is_pyproject(&entry.place().file) { &TOOL_TABLE } else { &[] };
    toml_key(&[before, &[kind, entry.name()]].concat())
}

fn task_of(entry: &Entry) -> Task {
    let name = entry.name().to_owned();
    let command = entry.command().clone();
    match entry {
        Entry::Stage(stage) => {
            let declared = Declared {
                name: name.clone(),
                program: None,
                table: Some(table("stages", entry)),
                executor: stage.executor.as_ref().map(|executor| executor.value.into()),
                workers: stage.workers.as_ref().map(|workers| workers.value),
                place: Some(place(&stage.place)),
                executor_place: stage.executor.as_ref().map(|executor| place(&executor.place)),
                workers_place: stage.workers.as_ref().map(|workers| place(&workers.place)),
                required: true,
            };
            let named = stage.function.is_some();
            Task {
                name,
                command,
                functions: stage.function.iter().cloned().collect(),
                executor: stage.executor.as_ref().map(|executor: &Placed<Executor>| executor.value),
                payload_in: stage.payload_in,
                payload_out: stage.payload_out,
                subject: if named { Subject::Named(vec![declared]) } else { Subject::Main(declared) },
            }
        }
        Entry::Program(program) => {
            let expected = |one: &manifest::Expectation| Declared {
                name: one.name.clone(),
                program: Some(name.clone()),
                table: Some(table("programs", entry)),
                executor: Some(one.executor.value.into()),
                place: Some(place(&one.executor.place)),
                executor_place: Some(place(&one.executor.place)),
                required: true,
                ..Declared::default()
            };
            let expect = program.expect.iter().map(expected).collect();
            let subject = Subject::Found {
                name: name.clone(),
                program: Some(name.clone()),
                place: Some(place(&program.place)),
                expect,
            };
            Task { name, command, functions: Vec::new(), executor: None, payload_in: None, payload_out: None, subject }
        }
    }
}

/// A command of the command line: a stage if its executor is declared, else a program in which stages are found.
fn of_command(arguments: &CheckArgs) -> Result<Plan, Failure> {
    let argv: Vec<String> = arguments.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if argv.iter().zip(&arguments.command).any(|(text, word)| word.as_os_str() != text.as_str()) {
        let message = "the command is not UTF-8; hint: `poolpick profile --export json=FILE` and `check --from FILE`";
        return Err(Failure::Misuse(message.to_owned()));
    }
    profile::named_functions(&arguments.stage, arguments.python)?;
    let name = argv.first().map(|program| program.rsplit('/').next().unwrap_or(program).to_owned()).unwrap_or_default();
    let executor = arguments.judge.executor.map(Executor::from);
    let declared = |name: &str| Declared {
        name: name.to_owned(),
        executor: executor.map(Into::into),
        required: true,
        ..Declared::default()
    };
    let subject = if !arguments.stage.is_empty() {
        Subject::Named(arguments.stage.iter().map(|stage| declared(&stage.name)).collect())
    } else if executor.is_some() {
        Subject::Main(declared(&name))
    } else {
        Subject::Found { name: name.clone(), program: None, place: None, expect: Vec::new() }
    };
    let task = Task {
        name,
        command: Command {
            argv,
            directory: PathBuf::from("."),
            variables: Vec::new(),
            says_directory: true,
            runs: arguments.runs,
            timeout: arguments.timeout,
        },
        functions: arguments.stage.clone(),
        executor,
        payload_in: arguments.judge.payload_in,
        payload_out: arguments.judge.payload_out,
        subject,
    };
    let rules = rules(arguments, None)?;
    Ok(Plan { manifest: None, rules, work: vec![Work::Run(Box::new(task))], nothing: "no stage was found".to_owned() })
}

fn from_reports(arguments: &CheckArgs) -> Result<Plan, Failure> {
    for (given, option) in [
        (arguments.runs.is_some(), "--runs"),
        (arguments.timeout.is_some(), "--timeout"),
        (arguments.budget.is_some(), "--budget"),
        (arguments.python != PythonArg::Agent, "--python"),
    ] {
        if given {
            return Err(Failure::Misuse(format!(
                "`{option}` is about runs, and `--from` runs nothing; hint: leave it out"
            )));
        }
    }
    let mut work = Vec::new();
    for path in &arguments.from {
        let saved = saved::read(path)?.on(path, &arguments.machine)?;
        work.push(Work::Saved(path.clone(), saved));
    }
    let nothing = "the reports hold no stage".to_owned();
    Ok(Plan { manifest: None, rules: rules(arguments, None)?, work, nothing })
}

/// The command line before the manifest before the defaults.
fn rules(arguments: &CheckArgs, manifest: Option<&Manifest>) -> Result<Rules, Failure> {
    let defaults = Rules::default();
    let said = |pick: fn(&Manifest) -> Option<f64>| manifest.and_then(pick);
    let thresholds = Thresholds {
        io: arguments.io_threshold.or(said(|manifest| manifest.io)).unwrap_or(defaults.thresholds.io),
        cpu: arguments.cpu_threshold.or(said(|manifest| manifest.cpu)).unwrap_or(defaults.thresholds.cpu),
        ipc: arguments.ipc_threshold.or(said(|manifest| manifest.ipc)).unwrap_or(defaults.thresholds.ipc),
    };
    let margin = arguments.margin.or(said(|manifest| manifest.margin)).unwrap_or(defaults.margin);
    if margin >= 1.0 {
        let message = format!("`--margin {margin}` lets every executor pass; hint: it is a share such as 0.15");
        return Err(Failure::Misuse(message));
    }
    let policy =
        arguments.policy.map(check::Policy::from).or(manifest.and_then(|manifest| manifest.policy).map(|policy| {
            match policy {
                Policy::Evidence => check::Policy::Evidence,
                Policy::Ratio => check::Policy::Ratio,
            }
        }));
    let fails = arguments.undecided.map(|what| what == UndecidedArg::Fail);
    let said = manifest.and_then(|manifest| manifest.undecided).map(|what| what == Undecided::Fail);
    Ok(Rules {
        policy: policy.unwrap_or(defaults.policy),
        margin,
        undecided_fails: fails.or(said).unwrap_or(defaults.undecided_fails),
        thresholds: thresholds.checked()?,
    })
}
