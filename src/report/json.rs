//! The machine form: one object, two spaces, a newline at the end. Must not change what the types say.

use serde::Serialize;
use std::io::{self, Write};

/// Writes a document as JSON.
///
/// A number that is not finite cannot be said in JSON; none should get here. If one does it is written as `null`, the
/// contract's word for unknown, rather than losing the rest of a run that may have taken hours.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
