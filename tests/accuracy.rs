//! Runs the tests of the accuracy corpus, which are in Python and need nothing of poolpick, with the `python3` that is
//! here.

use std::path::Path;
use std::process::Command;

#[test]
fn the_accuracy_corpus_passes_its_own_tests() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accuracy/test_accuracy.py");
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no `python3` on PATH");
        return;
    }
    let output = Command::new("python3").arg(file).env("PYTHONDONTWRITEBYTECODE", "1").output().expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("OK"), "{text}");
}
