//! JUnit XML against a schema of its dialect, by `xmllint` where that is installed: `tests/formats.rs` reads it without.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{each, skip};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// What `xmllint` says of a text; `None` where all is right.
fn faults(file: &Path) -> Option<String> {
    let mut command = Command::new("xmllint");
    command.arg("--noout").arg("--schema").arg(tests().join("readers/junit.xsd")).arg(file);
    let output = command.stdin(Stdio::null()).output().expect("it was there before");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_written_is_of_the_dialect() {
    if Command::new("xmllint").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return skip("xmllint is missing");
    }
    let names = ["check", "check-empty", "check-hostile", "hostile", "misrouted"];
    each(names.map(|name| (name.to_owned(), tests().join(format!("goldens/{name}.xml")))), |file| {
        assert_eq!(faults(&file), None);
    });
    // The schema tells right from wrong.
    let good = std::fs::read_to_string(tests().join("goldens/check.xml")).expect("the golden");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrong = [
        ("<testcase ", "<testcases "),
        (" classname=\"poolpick.nightly\"", ""),
        ("line=\"12\"", "line=\"0\""),
        ("time=\"6.400\"", "time=\"6,400 s\""),
        ("<skipped ", "<ignored "),
    ];
    each(wrong.map(|(from, to)| (to.to_owned(), (from, to))), |(from, to)| {
        assert!(good.contains(from), "`{from}` is not in the golden");
        let file = folder.path().join("wrong.xml");
        std::fs::write(&file, good.replacen(from, to, 1)).expect("own folder");
        assert!(faults(&file).is_some(), "`{to}` was let pass");
    });
}
