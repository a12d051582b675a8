//! The GitHub Action's scripts in a faked runner with a faked gate, and what its files promise. Needs bash and python3;
//! the gate itself is tested elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const ACTION: &str = include_str!("../action.yml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A runner's surroundings for one step.
struct Runner {
    folder: tempfile::TempDir,
}

/// How a step ended.
struct Step {
    output: Output,
    outputs: String,
    /// Arguments that the gate was given, one a line.
    arguments: Vec<String>,
}

impl Runner {
    /// One whose gate exits with `status` after it wrote what it was asked for.
    fn new(status: i32) -> Runner {
        let folder = tempfile::tempdir().expect("a folder");
        let gate = folder.path().join("poolpick");
        let script = format!(
            r#"#!/usr/bin/env bash
printf '%s\n' "$@" >"$(dirname "$0")/arguments"
echo "::error::what a stage prints"
for argument; do
    case $argument in
        json=*) printf '{{"results": [{{"outcome": "misrouted"}}, {{"outcome": "fits"}}, {{"outcome": "misrouted"}}]}}' >"${{argument#json=}}" ;;
        github=*) echo "::error title=poolpick%3A misrouted,file=poolpick.toml,line=3::fetch" >"${{argument#github=}}" ;;
    esac
done
exit {status}
"#
        );
        fs::write(&gate, script).expect("a script");
        fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).expect("it can run");
        Runner { folder }
    }

    fn run(&self, script: &str, inputs: &[(&str, &str)]) -> Step {
        let path = self.folder.path();
        let outputs = path.join("outputs");
        fs::write(&outputs, "").expect("a file");
        let mut command = Command::new("bash");
        command.arg(root().join("ci").join(script)).current_dir(path);
        command.env("GITHUB_OUTPUT", &outputs).env("GITHUB_ACTION_PATH", root()).env("GITHUB_ACTIONS", "true");
        command.env("POOLPICK", path.join("poolpick")).envs(inputs.iter().copied());
        let output = command.output().expect("bash runs");
        let arguments = fs::read_to_string(path.join("arguments")).unwrap_or_default();
        Step {
            output,
            outputs: fs::read_to_string(&outputs).expect("outputs"),
            arguments: arguments.lines().map(str::to_owned).collect(),
        }
    }
}

impl Step {
    fn status(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }
}

#[test]
fn a_status_fails_the_step_as_the_input_says() {
    let table = [
        (0, "pass", [0, 0, 0]),
        (1, "misrouted", [1, 1, 0]),
        (2, "error", [2, 2, 2]),
        (3, "no-verdict", [0, 3, 0]),
        (4, "nothing-selected", [0, 4, 0]),
        (125, "error", [125, 125, 125]),
    ];
    for (status, outcome, expected) in table {
        for (fail_on, expected) in ["misrouted", "incomplete", "never"].into_iter().zip(expected) {
            let step = Runner::new(status).run("action-check.sh", &[("INPUT_FAIL_ON", fail_on)]);
            assert_eq!(step.status(), Some(expected), "{status} {fail_on}: {:?}", step.output);
            assert!(step.outputs.contains(&format!("outcome={outcome}\n")), "{}", step.outputs);
            let count = if outcome == "error" { "" } else { "2" };
            assert!(step.outputs.contains(&format!("misrouted={count}\n")), "{}", step.outputs);
        }
    }
}

#[test]
fn inputs_become_arguments_and_never_commands() {
    let runner = Runner::new(0);
    let inputs = [
        ("INPUT_MANIFEST", "a b;$(touch hacked).toml"),
        ("INPUT_STAGES", "fetch `touch hacked`\n*"),
        ("INPUT_BUDGET", "5m"),
        ("INPUT_SARIF", "out.sarif"),
        ("INPUT_REPORT", "r.json"),
    ];
    let step = runner.run("action-check.sh", &inputs);
    assert_eq!(step.status(), Some(0), "{:?}", step.output);
    assert!(!runner.folder.path().join("hacked").exists());
    let own = |prefix: &str| step.arguments.iter().filter(|word| word.starts_with(prefix)).count();
    assert_eq!((own("json=r.json"), own("github="), own("sarif=out.sarif")), (1, 1, 1));
    let tail = &step.arguments[5..];
    let expected = ["--manifest", inputs[0].1, "--budget", "5m", "--export", "sarif=out.sarif"];
    assert_eq!(tail[..6], expected);
    assert_eq!(tail[6..], ["fetch", "`touch", "hacked`", "*"]);
    assert!(step.outputs.contains("report=r.json\n"));
    let step = runner.run("action-check.sh", &[("INPUT_STAGES", "--fix")]);
    assert_eq!(step.status(), Some(2), "an option is no stage");
    let step = runner.run("action-check.sh", &[("INPUT_FAIL_ON", "always")]);
    assert_eq!(step.status(), Some(2));
}

#[test]
fn what_stages_print_is_no_command_and_annotations_are() {
    let log = Runner::new(1).run("action-check.sh", &[]).log();
    let (before, rest) = log.split_once("::stop-commands::").expect("commands are stopped");
    let token = rest.lines().next().expect("a token");
    let (stopped, after) = rest.split_once(&format!("\n::{token}::\n")).expect("and go on");
    assert!(before.is_empty() && stopped.contains("::error::what a stage prints"), "{log}");
    assert!(after.starts_with("::error title=poolpick%3A misrouted,file=poolpick.toml,line=3::"), "{log}");
    assert_ne!(Runner::new(1).run("action-check.sh", &[]).log().lines().next(), log.lines().next(), "a token twice");
}

#[test]
fn a_binary_is_found_or_named() {
    let named = Runner::new(0);
    let step = named.run("action-install.sh", &[("INPUT_BINARY", "./poolpick")]);
    assert_eq!(step.status(), Some(0), "{:?}", step.output);
    let path = fs::canonicalize(named.folder.path().join("poolpick")).expect("it is there");
    assert_eq!(step.outputs, format!("binary={}\n", path.display()));
    let step = named.run("action-install.sh", &[("INPUT_BINARY", "./none")]);
    assert_ne!(step.status(), Some(0));
}

/// The lines of a top-level table of action.yml that name something.
fn names(table: &str) -> BTreeSet<String> {
    let rest = ACTION.split_once(&format!("\n{table}:\n")).expect("a table").1;
    let lines = rest.lines().take_while(|line| line.starts_with(' '));
    lines
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_tells_the_inputs_and_outputs_and_the_scripts_read_them() {
    let page = fs::read_to_string(root().join("docs/ci.md")).expect("a page");
    let scripts = ["ci/action-install.sh", "ci/action-check.sh"]
        .map(|script| fs::read_to_string(root().join(script)).expect("a script"))
        .concat();
    let (inputs, outputs) = (names("inputs"), names("outputs"));
    assert!(inputs.len() >= 8 && outputs.len() == 3, "{inputs:?} {outputs:?}");
    for name in inputs.iter().chain(&outputs) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
    for name in &inputs {
        let variable = format!("INPUT_{}", name.to_uppercase().replace('-', "_"));
        let mapped = ACTION.contains(&format!("{variable}: ${{{{ inputs.{name} }}}}")) && scripts.contains(&variable);
        assert!(mapped || ACTION.contains(&format!("working-directory: ${{{{ inputs.{name} }}}}")), "{name}");
    }
    for name in &outputs {
        assert!(
            ACTION.contains(&format!("steps.check.outputs.{name}")) && scripts.contains(&format!("{name}=")),
            "{name}"
        );
    }
    // An input in the text of a command would be run.
    for line in ACTION.lines().filter(|line| line.trim_start().starts_with("run:")) {
        assert!(!line.contains("${{"), "{line}");
    }
}
