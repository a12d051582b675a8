//! The baseline's file. Must not decide what is known: the gate does.

use super::args::CheckArgs;
use crate::cli::exit::Failure;
use crate::cli::output::replace;
use crate::cli::saved::{text_of, told_later};
use crate::cli::say;
use crate::gate::{BASELINE_VERSION, Baseline, Ruled};
use std::fs::File;
use std::io;

/// The baseline that was asked for; one that is to be written need not be there yet.
pub fn read(arguments: &CheckArgs) -> Result<Option<Baseline>, Failure> {
    let Some(path) = &arguments.baseline else { return Ok(None) };
    let text = match File::open(path).and_then(text_of) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && arguments.update_baseline => return Ok(None),
        Err(error) => {
            let message = format!(
                "cannot read the baseline `{}`: {error}; hint: `poolpick check --baseline FILE --update-baseline` writes one",
                path.display()
            );
            return Err(Failure::Misuse(message));
        }
    };
    match serde_json::from_str::<Baseline>(&text) {
        Ok(baseline) if baseline.is_readable() => {
            if baseline.is_later() {
                if arguments.update_baseline {
                    let message = format!(
                        "the baseline `{}` was written by a later poolpick (schema version `{}`, this one writes `{BASELINE_VERSION}`): written anew, it would lose what is not known here; use that poolpick, or delete the file",
                        path.display(),
                        baseline.schema_version
                    );
                    return Err(Failure::Misuse(message));
                }
                say(&told_later(path, &baseline.schema_version, BASELINE_VERSION));
            }
            Ok(Some(baseline))
        }
        found => {
            let why = match found {
                Ok(_) => "it is of another kind or version".to_owned(),
                Err(error) => error.to_string(),
            };
            let message = format!(
                "`{}` is no baseline: {why}; hint: `--update-baseline` writes one to a file that is not there",
                path.display()
            );
            Err(Failure::Misuse(message))
        }
    }
}

/// Writes the baseline if asked, and marks what is known.
pub fn apply(arguments: &CheckArgs, baseline: Option<Baseline>, ruled: &mut [Ruled]) -> Result<(), Failure> {
    let mut baseline = baseline;
    if let (Some(path), true) = (&arguments.baseline, arguments.update_baseline) {
        let mut found = Baseline::of(ruled);
        if let Some(before) = &baseline {
            for stage in found.keep(before, ruled) {
                say(&format!("note: `{stage}` failed, so the baseline keeps what it knew of it"));
            }
        }
        let text = serde_json::to_string_pretty(&found)
            .map_err(|error| Failure::Written { path: path.clone(), source: io::Error::from(error) })?;
        replace(path, (text + "\n").as_bytes())?;
        baseline = Some(found);
    }
    if let Some(baseline) = baseline {
        baseline.mark(ruled);
    }
    Ok(())
}
