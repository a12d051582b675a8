//! A command raced at several numbers of workers: run by a shell, timed, or asked for its throughput. Must not know what
//! it does.

use super::processes::{Signals, Woken, read_some};
use super::{Missed, Sample, Track};
use crate::report::race::Entrant;
use crate::sys::clock;
use crate::sys::poll::{Watched, wait};
use crate::units::Span;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

/// What stands for the number of workers.
const PLACE: &str = "{n}";

/// How a run of a command becomes a throughput.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Every run does this much work: throughput is that over its wall time.
    Work(f64),
    /// The last number that it prints on stdout is its throughput.
    Printed,
}

/// A command with a place for the number of workers.
pub struct Commands<'a> {
    template: String,
    measure: Measure,
    show: bool,
    timeout: Option<Span>,
    signals: &'a Signals,
}

impl<'a> Commands<'a> {
    /// `None` where `template` has no `{n}`. `show`: its stderr is poolpick's. A run longer than `timeout` is ended.
    pub fn new(
        template: &str,
        measure: Measure,
        show: bool,
        timeout: Option<Span>,
        signals: &'a Signals,
    ) -> Option<Commands<'a>> {
        template.contains(PLACE).then(|| Commands { template: template.to_owned(), measure, show, timeout, signals })
    }
}

impl Track for Commands<'_> {
    fn measure(&mut self, cell: Entrant, _: f64, _: f64) -> Result<Sample, Missed> {
        let line = self.template.replace(PLACE, &cell.workers.to_string());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(if self.show { Stdio::inherit() } else { Stdio::piped() });
        let began = clock::monotonic();
        let until = self.timeout.map(|timeout| began + timeout);
        let mut running = self.signals.start(&mut command)?;
        let (mut stdout, mut stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let (mut printed, mut complained) = (Vec::new(), Vec::new());
        loop {
            let fds: Vec<i32> = [stdout.as_ref().map(AsRawFd::as_raw_fd), stderr.as_ref().map(AsRawFd::as_raw_fd)]
                .map(|fd| fd.unwrap_or(-1))
                .to_vec();
            match running.wait(self.signals, &fds, until)? {
                Woken::Readable => {
                    drain(&mut stdout, fds[0], &mut printed)?;
                    drain(&mut stderr, fds[1], &mut complained)?;
                }
                Woken::Ended => break,
                Woken::TimedOut => {
                    let after = clock::monotonic().since(began).secs_f64();
                    return Err(Missed::Cell(format!("it did not end within {after:.0} s")));
                }
                Woken::Interrupted(signal) => return Err(Missed::Interrupted(signal)),
            }
        }
        let seconds = clock::monotonic().since(began).secs_f64();
        // What it wrote last may still be in the pipes; a descendant that holds them open is not waited for.
        rest(stdout, &mut printed)?;
        rest(stderr, &mut complained)?;
        let status = running.end()?.status;
        if !status.success() {
            let said = last_line(&complained).map(|line| format!(": {line}")).unwrap_or_default();
            return Err(Missed::Cell(format!("it failed ({status}){said}")));
        }
        let rate = match self.measure {
            Measure::Work(work) => work / seconds,
            Measure::Printed => last_number(&String::from_utf8_lossy(&printed))
                .ok_or_else(|| Missed::Cell("it printed no positive number on stdout".to_owned()))?,
        };
        Ok(Sample {
            work: rate * seconds,
            tasks: 1,
            errors: 0,
            first_error: None,
            seconds,
            p95_seconds: None,
            start_seconds: None,
            run_queue_share: None,
        })
    }
}

/// Reads what can be read without waiting; at its end a pipe is let go.
fn drain(pipe: &mut Option<impl Read>, fd: i32, into: &mut Vec<u8>) -> std::io::Result<()> {
    if fd >= 0
        && ready(fd)?
        && let Some(open) = pipe
        && !read_some(open, into)?
    {
        *pipe = None;
    }
    Ok(())
}

/// Reads what there is.
fn rest(pipe: Option<impl Read + AsRawFd>, into: &mut Vec<u8>) -> std::io::Result<()> {
    if let Some(mut open) = pipe {
        while ready(open.as_raw_fd())? && read_some(&mut open, into)? {}
    }
    Ok(())
}

fn ready(fd: i32) -> std::io::Result<bool> {
    let mut watched = [Watched::new(fd)];
    wait(&mut watched, Span::ZERO)?;
    Ok(watched[0].readable || watched[0].hung_up)
}

fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// The last word that is a positive number; units and signs may stand around it, as in `1234.5/s`.
fn last_number(text: &str) -> Option<f64> {
    let number = |word: &str| {
        let part = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | 'e' | 'E' | '+' | '-');
        let start = word.find(|letter: char| letter.is_ascii_digit())?;
        let rest = &word[start..];
        let end = rest.find(|letter: char| !part(letter)).unwrap_or(rest.len());
        let longest = (1..=end).rev().find_map(|end| rest.get(..end)?.parse::<f64>().ok());
        let negative = word[..start].ends_with('-');
        longest.filter(|value| value.is_finite() && *value > 0.0 && !negative)
    };
    text.split_whitespace().rev().find_map(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found() {
        let cases = [
            ("done\n1234.5/s\n", Some(1234.5)),
            ("8 workers: 1e3 rows", Some(1000.0)),
            ("throughput=42", Some(42.0)),
            ("rate: 12 (95.)", Some(95.0)),
            ("12 -3", Some(12.0)),
            ("1.2.3", Some(1.2)),
            ("none", None),
            ("0", None),
            ("", None),
        ];
        for (text, number) in cases {
            assert_eq!(last_number(text), number, "{text}");
        }
    }

    #[test]
    fn a_complaint_is_its_last_line() {
        assert_eq!(last_line(b"a\n b \n\n"), Some("b".to_owned()));
        assert_eq!(last_line(b"\n"), None);
    }
}
