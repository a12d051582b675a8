//! From the text of a manifest to what it means: TOML, then every value against the others, then the file that it
//! extends. All that is wrong in a file is told at once, where TOML itself allows it. Must not run or look for anything.

use super::discover::{Reached, trusted};
use super::entry::{Command, Entry, Expectation, Program, Stage, Surroundings};
use super::file::{ExecutorWord, File, ProgramTable, PyProject, StageTable};
use super::problem::{Problem, Problems, line_of};
use super::toml_words::of_toml;
use super::value::{Share, Time, Words};
use super::{Manifest, ManifestError, Place, Placed, TOOL_TABLE, is_pyproject, text_of, version};
use crate::observe::NamedStage;
use crate::units::toml_key;
use crate::verdict::{Executor, Thresholds};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// So long a chain of manifests that extend each other has nobody in mind.
const MOST_EXTENDED: usize = 8;
/// A stage is run at the most so often.
const MOST_RUNS: i64 = 1_000;
/// More workers than this are a mistake.
const MOST_WORKERS: i64 = 100_000;
/// Names that are longer break every table.
const LONGEST_NAME: usize = 200;

/// Reads a manifest and those that it extends; `below` holds the files that lead here.
pub(super) fn whole(path: &Path, below: &mut Vec<PathBuf>) -> Result<Manifest, ManifestError> {
    let text = text_of(path)?;
    let (mut own, extend) = parse(path, &text).map_err(ManifestError::Wrong)?;
    let Some(extend) = extend else { return Ok(own) };
    let wrong = |message: String| {
        let problems = vec![Problem::new(message, extend.span())];
        ManifestError::Wrong(Problems { file: path.to_owned(), text: text.clone(), problems })
    };
    let base = folder_of(path).join(extend.get_ref());
    let identity = fs::canonicalize(&base)
        .map_err(|error| wrong(format!("the manifest `{}` cannot be read: {error}", extend.get_ref())))?;
    if !identity.is_file() {
        return Err(wrong(format!("`{}` is no file, and a manifest is one", extend.get_ref())));
    }
    below.push(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
    if below.contains(&identity) {
        return Err(wrong(format!("`{}` extends this file in turn", extend.get_ref())));
    }
    if below.len() > MOST_EXTENDED {
        return Err(wrong(format!("more than {MOST_EXTENDED} manifests extend each other")));
    }
    trusted(&base, Reached::Extended)?;
    let base = whole(&base, below)?;
    own.extend(base);
    check_thresholds(&own, path, &text)?;
    Ok(own)
}

/// The directory of a file.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Manifest {
    /// Takes from `base` what is not said here. Entries of the base come first; one of the same name is replaced there.
    fn extend(&mut self, base: Manifest) {
        self.files.extend(base.files);
        self.texts.extend(base.texts);
        self.io = self.io.or(base.io);
        self.cpu = self.cpu.or(base.cpu);
        self.ipc = self.ipc.or(base.ipc);
        self.margin = self.margin.or(base.margin);
        self.undecided = self.undecided.or(base.undecided);
        self.policy = self.policy.or(base.policy);
        self.defaults.extend(base.defaults);
        let mut entries = base.entries;
        for own in std::mem::take(&mut self.entries) {
            match entries.iter_mut().find(|entry| entry.name() == own.name()) {
                Some(entry) => *entry = own,
                None => entries.push(own),
            }
        }
        self.entries = entries;
    }
}

/// Thresholds of several files can cross.
fn check_thresholds(manifest: &Manifest, path: &Path, text: &str) -> Result<(), ManifestError> {
    let defaults = Thresholds::default();
    let (io, cpu) = (manifest.io.unwrap_or(defaults.io), manifest.cpu.unwrap_or(defaults.cpu));
    if io <= cpu {
        return Ok(());
    }
    let problem = Problem::new(format!("with what it extends, `io` is {io} and above `cpu`, {cpu}"), 0..0);
    Err(ManifestError::Wrong(Problems { file: path.to_owned(), text: text.to_owned(), problems: vec![problem] }))
}

/// Reads one file; returns what it extends beside it.
pub(super) fn parse(path: &Path, text: &str) -> Result<(Manifest, Option<Spanned<String>>), Problems> {
    let wrong = |problems| Problems { file: path.to_owned(), text: text.to_owned(), problems };
    version::allowed(path, text).map_err(|problem| wrong(vec![problem]))?;
    let file = if is_pyproject(path) {
        toml::from_str::<PyProject<File>>(text).map(|project| project.tool.poolpick)
    } else {
        toml::from_str::<File>(text).map(Some)
    };
    let file = file.map_err(|error| wrong(vec![of_toml(&error)]))?;
    let Some(file) = file else {
        let table = TOOL_TABLE.join(".");
        let problem = Problem::new(format!("it has no table `[{table}]`"), 0..0);
        return Err(wrong(vec![problem.with_hint(format!("write it there, as `[{table}.stages.NAME]`"))]));
    };
    let mut reading = Reading { path, text, folder: folder_of(path), problems: Vec::new() };
    let manifest = reading.manifest(&file);
    if reading.problems.is_empty() {
        return Ok((manifest, file.extend));
    }
    reading.problems.sort_by_key(|problem| problem.span.start);
    Err(wrong(reading.problems))
}

/// A file that is being read.
struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    folder: PathBuf,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place { file: self.path.to_owned(), line: line_of(self.text, span.start) }
    }

    fn placed<T, U>(&self, value: &Spanned<T>, map: impl FnOnce(&T) -> U) -> Placed<U> {
        Placed { value: map(value.get_ref()), place: self.place(value.span()) }
    }

    fn wrong(&mut self, message: impl Into<String>, span: Range<usize>, hint: &str) {
        let problem = Problem::new(message, span);
        self.problems.push(if hint.is_empty() { problem } else { problem.with_hint(hint) });
    }

    fn manifest(&mut self, file: &File) -> Manifest {
        let share = |value: &Option<Spanned<Share>>| value.as_ref().map(|value| value.get_ref().0);
        let (io, cpu) = (share(&file.thresholds.io), share(&file.thresholds.cpu));
        let defaults = Thresholds::default();
        if io.unwrap_or(defaults.io) > cpu.unwrap_or(defaults.cpu) && file.extend.is_none() {
            let (io, cpu) = (io.unwrap_or(defaults.io), cpu.unwrap_or(defaults.cpu));
            let spans = [&file.thresholds.io, &file.thresholds.cpu];
            let span = spans.into_iter().flatten().next().map_or(0..0, Spanned::span);
            self.wrong(format!("`io` is {io} and above `cpu`, {cpu}: no score could be hybrid"), span, "swap them");
        }
        if let Some(margin) = file.gate.margin.as_ref().filter(|margin| margin.get_ref().0 >= 1.0) {
            self.wrong("a `margin` of 1 lets every executor pass", margin.span(), "it is a share such as 0.15");
        }
        let table = &file.defaults;
        let defaults = self.surroundings(&table.cwd, &table.env, &table.runs, table.timeout);
        let mut entries: Vec<(usize, Entry)> = Vec::new();
        for (name, table) in &file.stages {
            let stage = self.stage(name, table);
            entries.extend(stage.map(|stage| (name.span().start, Entry::Stage(stage))));
        }
        for (name, table) in &file.programs {
            if let Some((other, _)) = file.stages.get_key_value(name.get_ref().as_str()) {
                let line = line_of(self.text, other.span().start);
                let message = format!("`{}` is a stage already, on line {line}", name.get_ref());
                self.wrong(message, name.span(), "give it another name");
            }
            let program = self.program(name, table);
            entries.extend(program.map(|program| (name.span().start, Entry::Program(program))));
        }
        entries.sort_by_key(|(at, _)| *at);
        Manifest {
            file: self.path.to_owned(),
            files: vec![self.path.to_owned()],
            texts: vec![self.text.to_owned()],
            io,
            cpu,
            ipc: file.thresholds.ipc.map(|share| share.0),
            margin: share(&file.gate.margin),
            undecided: file.gate.undecided,
            policy: file.gate.policy,
            defaults,
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
        }
    }

    fn name(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        if text.trim().is_empty() {
            self.wrong("the name is empty", name.span(), "name it after what it does");
        } else if text.len() > LONGEST_NAME {
            self.wrong(format!("the name has more than {LONGEST_NAME} bytes"), name.span(), "");
        } else if text.contains(char::is_control) {
            self.wrong("the name holds a control character", name.span(), "");
        } else if text.starts_with('-') {
            self.wrong("the name begins like an option", name.span(), "begin it with a letter");
        }
    }

    fn stage(&mut self, name: &Spanned<String>, table: &StageTable) -> Option<Stage> {
        self.name(name);
        let run = Run {
            command: &table.command,
            shell: &table.shell,
            cwd: &table.cwd,
            env: &table.env,
            runs: &table.runs,
            timeout: table.timeout,
        };
        let command = self.command(name, "stages", &run);
        let function = table.function.as_ref().and_then(|function| {
            NamedStage::new(name.get_ref(), function.get_ref())
                .map_err(|why| self.wrong(why, function.span(), "it is MODULE:FUNCTION"))
                .ok()
        });
        if let Some(workers) = &table.workers {
            let message = match (*workers.get_ref(), &table.executor) {
                (count, _) if count < 1 => format!("`workers` is {count}, and a pool has at least 1 worker"),
                (count, _) if count > MOST_WORKERS => format!("`workers` is {count}, and {MOST_WORKERS} at the most"),
                (_, None) => "`workers` is of a pool, and no `executor` is given".to_owned(),
                (count, Some(executor)) if *executor.get_ref() == ExecutorWord::Serial && count > 1 => {
                    "what runs serially has 1 worker".to_owned()
                }
                _ => String::new(),
            };
            if !message.is_empty() {
                self.wrong(message, workers.span(), "");
            }
        }
        Some(Stage {
            name: name.get_ref().clone(),
            place: self.place(name.span()),
            command: command?,
            executor: table.executor.as_ref().map(|executor| self.placed(executor, |word| word.executor())),
            function,
            workers: table.workers.as_ref().and_then(|workers| {
                let value = u32::try_from(*workers.get_ref()).ok()?;
                Some(Placed { value, place: self.place(workers.span()) })
            }),
            payload_in: table.payload_in.map(|size| size.0),
            payload_out: table.payload_out.map(|size| size.0),
        })
    }

    fn program(&mut self, name: &Spanned<String>, table: &ProgramTable) -> Option<Program> {
        self.name(name);
        let run = Run {
            command: &table.command,
            shell: &table.shell,
            cwd: &table.cwd,
            env: &table.env,
            runs: &table.runs,
            timeout: table.timeout,
        };
        let command = self.command(name, "programs", &run);
        let mut expect: Vec<(usize, Expectation)> = Vec::new();
        for (stage, word) in &table.expect {
            if stage.get_ref().trim().is_empty() {
                self.wrong("the name of a stage is empty", stage.span(), "");
            }
            let executor = self.placed(word, |word: &ExecutorWord| -> Executor { word.executor() });
            expect.push((stage.span().start, Expectation { name: stage.get_ref().clone(), executor }));
        }
        expect.sort_by_key(|(at, _)| *at);
        let spelled = table.expect.iter().map(|(stage, word)| Said {
            what: stage.get_ref().replace(':', "."),
            name: stage.get_ref(),
            span: stage.span(),
            executor: *word.get_ref(),
        });
        self.said_twice(spelled.collect());
        Some(Program {
            name: name.get_ref().clone(),
            place: self.place(name.span()),
            command: command?,
            expect: expect.into_iter().map(|(_, expectation)| expectation).collect(),
        })
    }

    fn command(&mut self, name: &Spanned<String>, kind: &str, run: &Run<'_>) -> Option<Command> {
        let own = self.surroundings(run.cwd, run.env, run.runs, run.timeout);
        let argv = match (run.command, run.shell) {
            (Some(_), Some(shell)) => {
                self.wrong("it has `command` and `shell`", shell.span(), "keep one of them");
                return None;
            }
            (None, None) => {
                let message = format!("`{}` does not say what is run", name.get_ref());
                let table = toml_key(&[kind, name.get_ref()]);
                let hint = format!("give `[{table}]` a `command = [\"python3\", \"stage.py\"]`");
                self.wrong(message, name.span(), &hint);
                return None;
            }
            (Some(words), None) => {
                let list = &words.get_ref().0;
                if list.first().is_none_or(|program| program.is_empty()) {
                    self.wrong("the command is empty", words.span(), "it begins with a program");
                    return None;
                }
                if list.iter().any(|word| word.contains('\0')) {
                    self.wrong("a word of the command holds a zero byte", words.span(), "");
                }
                list.clone()
            }
            (None, Some(line)) => {
                if line.get_ref().trim().is_empty() || line.get_ref().contains('\0') {
                    self.wrong("the command line is empty or holds a zero byte", line.span(), "");
                    return None;
                }
                vec!["sh".to_owned(), "-c".to_owned(), line.get_ref().clone()]
            }
        };
        Some(Command {
            argv,
            says_directory: own.directory.is_some(),
            directory: own.directory.unwrap_or_else(|| self.folder.clone()),
            variables: own.variables,
            runs: own.runs,
            timeout: own.timeout,
        })
    }

    /// Where and how a command is run, or all of them.
    fn surroundings(
        &mut self,
        cwd: &Option<Spanned<String>>,
        env: &BTreeMap<Spanned<String>, Spanned<String>>,
        runs: &Option<Spanned<i64>>,
        timeout: Option<Time>,
    ) -> Surroundings {
        if let Some(runs) = runs.as_ref().filter(|runs| !(1..=MOST_RUNS).contains(runs.get_ref())) {
            self.wrong(
                format!("`runs` is {}, and between 1 and {MOST_RUNS}", runs.get_ref()),
                runs.span(),
                "leave it out to run as often as the verdict needs",
            );
        }
        for (variable, value) in env {
            let text = variable.get_ref();
            if text.is_empty() || text.contains(['=', '\0']) {
                self.wrong(format!("`{}` is no name of a variable", text.escape_debug()), variable.span(), "");
            } else if value.get_ref().contains('\0') {
                self.wrong("a variable cannot hold a zero byte", value.span(), "");
            }
        }
        if let Some(cwd) = cwd.as_ref().filter(|cwd| cwd.get_ref().is_empty() || cwd.get_ref().contains('\0')) {
            self.wrong("`cwd` is no path", cwd.span(), "leave it out for the manifest's directory");
        }
        let own =
            |(name, value): (&Spanned<String>, &Spanned<String>)| (name.get_ref().clone(), value.get_ref().clone());
        Surroundings {
            directory: cwd.as_ref().map(|cwd| self.folder.join(cwd.get_ref())),
            variables: env.iter().map(own).collect(),
            runs: runs.as_ref().and_then(|runs| u32::try_from(*runs.get_ref()).ok()),
            timeout: timeout.map(|time| time.0),
        }
    }

    /// Refuses two names of one thing, and shows both.
    fn said_twice(&mut self, mut said: Vec<Said<'_>>) {
        said.sort_by_key(|one| one.span.start);
        let mut first: BTreeMap<&str, &Said<'_>> = BTreeMap::new();
        for one in &said {
            let Some(before) = first.get(one.what.as_str()) else {
                first.insert(&one.what, one);
                continue;
            };
            let (line, executor) = (line_of(self.text, before.span.start), before.executor.word());
            let message = format!(
                "`{}` is `{}` here, and `{}` on line {line} is `{executor}`: they are one stage",
                one.name,
                one.executor.word(),
                before.name,
            );
            let problem = Problem::new(message, one.span.clone()).with_also(before.span.clone());
            self.problems.push(problem.with_hint("keep one of them"));
        }
    }
}

/// What is said of a stage.
struct Said<'a> {
    /// Equal for one thing.
    what: String,
    /// What it is called there.
    name: &'a str,
    /// Where.
    span: Range<usize>,
    /// Its executor.
    executor: ExecutorWord,
}

/// What stages and programs have in common.
struct Run<'a> {
    command: &'a Option<Spanned<Words>>,
    shell: &'a Option<Spanned<String>>,
    cwd: &'a Option<Spanned<String>>,
    env: &'a BTreeMap<Spanned<String>, Spanned<String>>,
    runs: &'a Option<Spanned<i64>>,
    timeout: Option<Time>,
}
