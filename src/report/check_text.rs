//! A gate's result for people: the outcome in a sentence, then what is wrong and its edit, then each stage in a line.
//! Must not judge.

use super::check::Check;
use super::{Look, escape};
use std::io::{self, Write};

/// Writes the result as text.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(check: &Check, _look: Look, out: &mut dyn Write) -> io::Result<()> {
    for finding in &check.findings {
        writeln!(out, "{}", escape::terminal(&finding.message))?;
    }
    for result in &check.results {
        writeln!(out, "{}: {}", escape::terminal(&result.name), escape::terminal(&result.message))?;
    }
    Ok(())
}
