//! Lines of a report that are written as they come. Must not know what they say, nor where they go.

use std::io::{self, Write};

/// The lines of one place: what is still to be written, and whether something went wrong.
#[derive(Debug, Default)]
pub struct Streamed {
    waiting: Vec<u8>,
    failed: Option<io::Error>,
}

impl Streamed {
    /// Takes some lines, and writes all that it holds if there is somebody to write to. After an error nothing more is
    /// written, so that what was written never looks whole; the error is told at the end.
    pub fn put(&mut self, lines: &[u8], out: io::Result<Option<&mut dyn Write>>) {
        if self.failed.is_some() {
            return;
        }
        self.waiting.extend_from_slice(lines);
        let written = match out {
            Ok(None) => return,
            Ok(Some(out)) => out.write_all(&self.waiting).and_then(|()| out.flush()),
            Err(error) => Err(error),
        };
        self.waiting.clear();
        self.failed = written.err();
    }

    /// What is still to be written, with the last lines behind it.
    ///
    /// # Errors
    /// What went wrong before.
    pub fn rest(mut self, last: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.waiting.extend_from_slice(last);
        Ok(self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_reads_yet_waits() {
        let (mut lines, mut out) = (Streamed::default(), Vec::new());
        lines.put(b"a\n", Ok(None));
        lines.put(b"b\n", Ok(Some(&mut out)));
        lines.put(b"c\n", Ok(None));
        assert_eq!((out.as_slice(), lines.rest(b"d\n").ok().as_deref()), (&b"a\nb\n"[..], Some(&b"c\nd\n"[..])));
    }

    #[test]
    fn nothing_follows_what_could_not_be_written() {
        let (mut lines, mut out) = (Streamed::default(), Vec::new());
        lines.put(b"a\n", Ok(Some(&mut Full)));
        lines.put(b"b\n", Ok(Some(&mut out)));
        let error = lines.rest(b"c\n").expect_err("the disk was full");
        assert_eq!((out.len(), error.raw_os_error()), (0, Some(libc::ENOSPC)));
    }
}
