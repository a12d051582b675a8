//! Keeps what a stage of the gate writes, to show its last part if it fails: in a file without a name, which is emptied
//! before it grows large. A pipe would make the stage wait for poolpick. Must not show anything.

use super::exit::Failure;
use crate::target::Streams;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A file that grew beyond this is emptied: only the end is ever shown.
const LARGEST: u64 = 64 << 20;
/// So much of the end is shown.
const SHOWN: u64 = 16 << 10;

/// The streams of one run.
#[derive(Debug)]
pub struct Capture {
    file: File,
    streams: Streams,
}

impl Capture {
    /// A new one; its stdin is empty.
    ///
    /// # Errors
    /// Where no temporary file can be made.
    pub fn new() -> Result<Capture, Failure> {
        Capture::make().map_err(|source| Failure::System { doing: "making a file for a stage's output", source })
    }

    fn make() -> io::Result<Capture> {
        let file = tempfile::Builder::new().prefix("poolpick-").append(true).tempfile()?;
        let reader = File::open(file.path())?;
        let output = Arc::new(OwnedFd::from(file.into_file()));
        let input = Arc::new(OwnedFd::from(OpenOptions::new().read(true).open("/dev/null")?));
        Ok(Capture { file: reader, streams: Streams { input, output } })
    }

    /// For the target.
    pub fn streams(&self) -> Streams {
        self.streams.clone()
    }

    /// Empties the file if it has grown large; called now and then.
    pub fn bound(&self) {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() > LARGEST)
            && let Ok(writer) = self.streams.output.try_clone()
        {
            // Its writers append, so they go on at the beginning. What cannot be emptied grows on.
            let _ = File::from(writer).set_len(0);
        }
    }

    /// The end of what was written; `None` if nothing was.
    pub fn end(mut self) -> Option<String> {
        let length = self.file.metadata().ok()?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(SHOWN))).ok()?;
        let mut bytes = Vec::new();
        self.file.take(SHOWN).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        // Where the beginning is cut off, so is its first line.
        let text = if length > SHOWN { text.split_once('\n').map_or(&*text, |(_, rest)| rest) } else { &*text };
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn writer(capture: &Capture) -> File {
        File::from(capture.streams().output.try_clone().expect("a descriptor"))
    }

    #[test]
    fn the_end_is_kept_from_the_beginning_of_a_line_on() {
        assert_eq!(Capture::new().expect("a file").end(), None);
        let capture = Capture::new().expect("a file");
        let mut out = writer(&capture);
        for number in 0..5_000 {
            writeln!(out, "line {number}").expect("room");
        }
        let end = capture.end().expect("it wrote");
        assert!(end.ends_with("line 4999") && end.starts_with("line ") && end.len() as u64 <= SHOWN, "{end}");
    }

    #[test]
    fn a_large_file_is_emptied_and_written_on() {
        let capture = Capture::new().expect("a file");
        let mut out = writer(&capture);
        capture.bound();
        // Without a block on the disk.
        out.set_len(LARGEST + 1).expect("room");
        capture.bound();
        writeln!(out, "after").expect("room");
        assert_eq!(capture.end().as_deref(), Some("after"));
    }
}
