//! Runs the agent's own tests, which are in Python and need nothing of poolpick, with the `python3` that is here.

use std::path::Path;
use std::process::Command;

#[test]
fn the_agent_passes_its_own_tests() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/test_agent.py");
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no `python3` on PATH");
        return;
    }
    let output = Command::new("python3").arg(file).output().expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("OK"), "{text}");
}
