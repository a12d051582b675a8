//! `--fix`: the gate's edits, written to the manifest and the files that it extends. Must not decide what to edit.

use super::plan::{Plan, shown};
use crate::cli::exit::Failure;
use crate::cli::output::replace;
use crate::cli::say;
use crate::gate::{Mend, MendKey, MendValue, Ruled};
use crate::manifest::{Edit, Entry, NewValue, apply, executor_word};
use std::collections::BTreeSet;
use std::fs;

/// Makes the edits, and says how many.
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
    for file in files {
        let input = |source| Failure::Input { path: file.clone(), source };
        let text = fs::read_to_string(&file).map_err(input)?;
        let mended = apply(&file, &text, &edits).map_err(|error| {
            Failure::Misuse(format!("cannot mend `{}`: {error}; hint: it was changed meanwhile", file.display()))
        })?;
        replace(&file, mended.as_bytes())?;
        let count = edits.iter().filter(|edit| edit.file == file).count();
        let values = if count == 1 { "1 value".to_owned() } else { format!("{count} values") };
        say(&format!("{}: {values} mended; change what production runs, too", shown(&file)));
    }
    Ok(())
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
