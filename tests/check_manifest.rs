//! What `poolpick check` says of malformed manifests, as transcripts: each file of `fixtures/manifests` ends in exit
//! status 2 and the message beside it. `UPDATE_GOLDENS=1 cargo test --test check_manifest` rewrites the messages; read
//! them before you commit.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{POOLPICK, each};

/// Misuse, or a manifest that cannot be used.
const USAGE: i32 = 2;

fn manifests() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/manifests");
    let entries = fs::read_dir(folder).expect("the manifests are there");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    found
}

#[test]
fn a_pyproject_that_is_not_utf8_is_refused_where_it_is_ours() {
    let table = "[tool.poolpick.stages.a]\ncommand = [\"true\"]\n";
    for (table, said) in [
        (table, "it is not UTF-8: byte 5, counted from 0, begins no character; hint: save it as UTF-8"),
        ("[tool.other]\n", "there is no manifest"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes = [b"# Caf\xe9\n", table.as_bytes()].concat();
        fs::write(folder.path().join("pyproject.toml"), bytes).expect("own folder");
        let mut command = Command::new(POOLPICK);
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).arg("check").output();
        let output = output.expect("poolpick can be started");
        assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
}

#[test]
fn malformed_manifests_are_told_with_file_line_and_a_way_out() {
    let all = manifests();
    assert!(all.len() >= 40, "{}", all.len());
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    each(all.into_iter().map(|path| (path.display().to_string(), path)), |path| {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let mut command = Command::new(POOLPICK);
        command.current_dir(path.parent().expect("a folder")).stdin(Stdio::null());
        let output = command.args(["check", "--manifest", &name]).output().expect("poolpick can be started");
        assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.starts_with("poolpick: error: "), "{said}");
        assert!(!said.contains("panicked") && said.is_ascii() && said.len() < 2_000, "{said}");
        let file_is_named = said.contains(&name) || said.contains(&format!("`{name}`"));
        assert!(file_is_named, "{said}");
        let golden = path.with_extension("txt");
        if update {
            fs::write(&golden, &said).expect("the golden can be written");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(expected == said, "{} differs; UPDATE_GOLDENS=1 rewrites it. Now:\n{said}", golden.display());
    });
}
