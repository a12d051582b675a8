//! Arguments that parse and make no sense are told, with what would: nothing runs, and nothing is silent.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{POOLPICK, each};

const USAGE: i32 = 2;

fn poolpick(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(POOLPICK);
    command.current_dir(folder).args(words).stdin(Stdio::null()).output().expect("poolpick can be started")
}

#[test]
fn machines_and_rates_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases: [(&[&str], &str); 5] = [
        (&["report", "x.json", "--memory", "0"], "it is more than nothing"),
        (&["report", "x.json", "--memory", "0KiB"], "it is more than nothing"),
        (&["report", "x.json", "--arrival-rate", "1e300"], "and at most 1000000000"),
        (&["report", "x.json", "--arrival-rate", "0"], "a number of tasks above 0"),
        (&["report", "x.json", "--cores", "0"], "a number above 0"),
    ];
    each(cases.map(|case| (case.0.join(" "), case)), |(words, said)| {
        let output = poolpick(folder.path(), words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(USAGE), "{told}");
        assert!(told.contains(said), "{told}");
    });
}

#[test]
fn a_race_says_what_is_no_interpreter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("etl.py"), "ROWS = [1]\n\ndef work(row):\n    return row\n").expect("own folder");
    for (python, said) in [("/bin/cat", "it said `"), ("/bin/true", "it said `nothing`")] {
        let output = poolpick(folder.path(), &["race", "etl:work", "--items", "etl:ROWS", "--python", python]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(USAGE), "{told}");
        assert!(told.starts_with(&format!("poolpick: error: `{python}` is no Python interpreter: ")), "{told}");
        assert!(told.contains(said) && told.contains("hint: `--python` takes the path"), "{told}");
    }
}

#[test]
fn init_writes_to_stdout_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = poolpick(folder.path(), &["init", "-o", "-"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("[thresholds]"), "{output:?}");
    assert!(fs::read_dir(folder.path()).expect("own folder").next().is_none(), "a file was written");
}
