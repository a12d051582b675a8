//! What program a process runs, and the name that a person would look for. Pure text: reads no file.

use super::script::{Given, given};

/// Roles that `multiprocessing` gives to interpreters that it starts.
const SPAWNED_WORKER: &str = "multiprocessing worker";
const FORK_SERVER: &str = "multiprocessing forkserver";
const RESOURCE_TRACKER: &str = "multiprocessing resource_tracker";

/// A program as it is told apart from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Image {
    /// Base name of the executable, or the kernel's 15 bytes of it.
    pub program: String,
    /// What an interpreter runs: a script, `-m` module, or a role such as `multiprocessing worker`.
    pub script: Option<String>,
    /// Forked and never replaced its program: a worker of its parent.
    pub forked: bool,
}

impl Image {
    /// From the kernel's name alone.
    pub fn from_comm(comm: &str) -> Image {
        Image { program: comm.to_owned(), script: None, forked: false }
    }

    /// From executable and arguments.
    pub fn from_argv(exe: Option<&str>, argv: &[String]) -> Image {
        let called = argv.first().map_or("", |name| base_name(name));
        let program = match exe.map(base_name) {
            // A multi-call binary (busybox) is what it is called as; a script is called by its interpreter's name.
            Some("busybox" | "toybox" | "coreutils") if !called.is_empty() => called,
            Some(exe) => exe.strip_suffix(" (deleted)").unwrap_or(exe),
            None => called,
        };
        let script = if is_interpreter(program) { script_of(program, argv) } else { None };
        Image { program: program.to_owned(), script, forked: false }
    }

    /// How many words of `argv` name the program and what it interprets: what follows may hold secrets.
    pub fn naming_words(argv: &[String]) -> usize {
        let image = Image::from_argv(None, argv);
        let script = image
            .script
            .and_then(|script| argv.iter().position(|argument| base_name(argument) == script).filter(|&at| at > 0));
        // Options before a script are the interpreter's own.
        script.map_or(1, |at| at + 1).min(argv.len())
    }

    /// Whether it is a Python interpreter.
    pub fn is_python(&self) -> bool {
        is_python(&self.program)
    }

    /// Whether it is a worker that `multiprocessing` started with a program of its own.
    pub fn is_spawned_worker(&self) -> bool {
        self.script.as_deref() == Some(SPAWNED_WORKER)
    }

    /// Whether it is one of `multiprocessing`'s own helpers, which is nobody's stage.
    pub fn is_helper(&self) -> bool {
        matches!(self.script.as_deref(), Some(FORK_SERVER | RESOURCE_TRACKER)) && !self.forked
    }

    /// Whether it does nothing but wait, for who started it: `sleep`.
    pub fn is_sleep(&self) -> bool {
        self.program == "sleep"
    }

    /// Whether it is a shell.
    pub fn is_shell(&self) -> bool {
        is_shell(&self.program)
    }

    /// The name that a person would look for.
    pub fn name(&self) -> String {
        let name = match &self.script {
            Some(script) => script.clone(),
            None => self.program.clone(),
        };
        if self.forked { format!("{name} (forked workers)") } else { name }
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_versioned(program: &str, stem: &str) -> bool {
    program
        .strip_prefix(stem)
        .is_some_and(|rest| rest.trim_end_matches(['t', 'd']).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

fn is_python(program: &str) -> bool {
    is_versioned(program, "python") || is_versioned(program, "pypy")
}

fn is_shell(program: &str) -> bool {
    matches!(program, "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "fish")
}

fn is_interpreter(program: &str) -> bool {
    is_python(program)
        || is_shell(program)
        || is_versioned(program, "ruby")
        || is_versioned(program, "perl")
        || is_versioned(program, "lua")
        || matches!(program, "node" | "deno" | "Rscript" | "php")
}

/// What an interpreter runs, from its arguments.
fn script_of(program: &str, argv: &[String]) -> Option<String> {
    match given(program, argv.get(1..).unwrap_or(&[])) {
        Given::Script(path) => Some(base_name(path).to_owned()),
        Given::Module(name) => Some(module(name)),
        Given::Code(code) if is_python(program) => Some(inline_python(program, code)),
        Given::Code(_) | Given::Untold => None,
    }
}

/// A name for a module that is run: loky's workers (joblib's) are such.
fn module(name: &str) -> String {
    let is_worker = name.ends_with("loky.backend.popen_loky_posix");
    if is_worker { SPAWNED_WORKER } else { name }.to_owned()
}

/// A name for code given on the command line: the roles of `multiprocessing`'s helpers, or that it is inline.
fn inline_python(program: &str, code: &str) -> String {
    if code.contains("multiprocessing.spawn") {
        SPAWNED_WORKER.to_owned()
    } else if code.contains("multiprocessing.forkserver") {
        FORK_SERVER.to_owned()
    } else if code.contains("multiprocessing.resource_tracker") || code.contains("loky.backend.resource_tracker") {
        RESOURCE_TRACKER.to_owned()
    } else {
        format!("{program} -c")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(argv: &[&str]) -> String {
        let argv: Vec<String> = argv.iter().map(|&argument| argument.to_owned()).collect();
        Image::from_argv(argv.first().map(String::as_str), &argv).name()
    }

    #[test]
    fn words_that_may_hold_secrets_are_not_among_those_that_name() {
        let words = |line: &[&str]| Image::naming_words(&line.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["perl", "-we", "$pw = 'x'"]), 1);
        assert_eq!(words(&["bash", "-o", "pipefail", "-c", "pw=x"]), 1);
        assert_eq!(words(&["node", "--eval", "let pw"]), 1);
        assert_eq!(words(&["bash", "-eu", "run.sh", "--password", "x"]), 3);
        assert_eq!(words(&["gzip", "-9"]), 1);
    }

    #[test]
    fn a_program_has_the_name_that_a_person_would_look_for() {
        assert_eq!(name(&["/usr/bin/gzip", "-9"]), "gzip");
        assert_eq!(name(&["/usr/bin/python3.11", "-u", "stages/fetch.py", "--x"]), "fetch.py");
        assert_eq!(name(&["python3", "-X", "dev", "-m", "etl.parse"]), "etl.parse");
        assert_eq!(name(&["python3", "-c", "print(1)"]), "python3 -c");
        assert_eq!(name(&["python3", "-Ic", "print(1)"]), "python3 -c");
        assert_eq!(name(&["bash", "run.sh"]), "run.sh");
        assert_eq!(name(&["sh", "-c", "true"]), "sh");
        assert_eq!(name(&["bash", "-euo", "pipefail", "-c", "pw=x; true"]), "bash");
        assert_eq!(
            name(&[
                "python3",
                "-c",
                "from multiprocessing.spawn import spawn_main; spawn_main()",
                "--multiprocessing-fork"
            ]),
            "multiprocessing worker"
        );
        let loky = "joblib.externals.loky.backend.popen_loky_posix";
        assert_eq!(name(&["python3", "-m", loky, "--process-name", "LokyProcess-1"]), "multiprocessing worker");
        let tracker = "from joblib.externals.loky.backend.resource_tracker import main; main(3, False)";
        assert_eq!(name(&["python3", "-B", "-c", tracker]), "multiprocessing resource_tracker");
        assert!(Image::from_comm("python3.13t").is_python());
        assert!(!Image::from_comm("pythonesque").is_python());
    }
}
