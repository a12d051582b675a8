//! `--fix`: the gate's edits, written to the manifest and the files that it extends. Must not decide what to edit.

use super::plan::{Plan, shown};
use crate::cli::exit::Failure;
use crate::cli::output::replace;
use crate::cli::saved::text_of;
use crate::cli::say;
use crate::gate::{Mend, MendKey, MendValue, Ruled};
use crate::manifest::{Edit, Entry, NewValue, apply, executor_word, unchanged};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// Makes the edits, and says how many. All files are tried; one failure is returned, others are told at once.
pub fn mend(plan: &Plan, ruled: &[Ruled]) -> Result<(), Failure> {
    let Some(manifest) = &plan.manifest else { return Ok(()) };
    let edits: Vec<Edit> = ruled
        .iter()
        .filter(|one| !one.findings.iter().all(|finding| finding.known))
        .flat_map(|one| &one.mends)
        .filter_map(|mend| edit(mend, &manifest.entries))
        .collect();
    let files: BTreeSet<_> = edits.iter().map(|edit| edit.file.clone()).collect();
    if files.is_empty() {
        say("there is nothing in the manifest to mend");
    }
    let mut failed = None;
    for file in files {
        let read = manifest.files.iter().position(|other| *other == file).and_then(|at| manifest.texts.get(at));
        match mend_file(&file, read, &edits) {
            Ok(()) => {
                let count = edits.iter().filter(|edit| edit.file == file).count();
                let values = if count == 1 { "1 value".to_owned() } else { format!("{count} values") };
                say(&format!("{}: {values} mended; change what production runs, too", shown(&file)));
            }
            Err(failure) if failed.is_none() => failed = Some(failure),
            Err(failure) => say(&format!("error: {failure}")),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Makes the edits of one file, as it is by now; not where somebody else has set what stood there when it was `read`.
fn mend_file(file: &Path, read: Option<&String>, edits: &[Edit]) -> Result<(), Failure> {
    let failure = |reason: String| Failure::Unmended { path: file.to_owned(), reason };
    let text = File::open(file).and_then(text_of).map_err(|error| failure(error.to_string()))?;
    let mended = apply(file, &text, edits).map_err(|error| failure(error.to_string()))?;
    if let Some(read) = read {
        unchanged(file, read, &text, edits).map_err(|error| failure(error.to_string()))?;
    }
    replace(file, mended.as_bytes()).map_err(|error| match error {
        Failure::Output { source, .. } | Failure::Written { source, .. } => failure(source.to_string()),
        other => other,
    })
}

/// Where the manifest says what the mend is about.
fn edit(mend: &Mend, entries: &[Entry]) -> Option<Edit> {
    let value = match mend.value {
        MendValue::Number(number) => NewValue::Number(number),
        MendValue::Executor(executor) => NewValue::Text(executor_word(executor.into())?.to_owned()),
    };
    let own = str::to_owned;
    let entry = |name: &str| entries.iter().find(|entry| entry.name() == name);
    match (&mend.program, mend.key) {
        (None, key) => Some(Edit {
            file: entry(&mend.stage)?.place().file.clone(),
            table: vec![own("stages"), mend.stage.clone()],
            key: own(match key {
                MendKey::Executor => "executor",
                MendKey::Workers => "workers",
            }),
            value,
        }),
        (Some(program), MendKey::Executor) => Some(Edit {
            file: entry(program)?.place().file.clone(),
            table: vec![own("programs"), program.clone(), own("expect")],
            key: mend.stage.clone(),
            value,
        }),
        (Some(_), MendKey::Workers) => None,
    }
}
