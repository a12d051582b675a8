//! Where reports go: every place is checked before the target runs, and written to when it has ended; lines of JSON, where
//! somebody can read them as they come, piece by piece.

use super::args::{Colour, OutputArgs};
use super::exit::Failure;
use super::otlp::{self, Receiver};
use super::report_file::{Owner, ReportFile, SHARED_MODE, rescue};
use super::same_file::{FileIdentity, refuse_inputs};
use super::say;
use super::streamed::Streamed;
use crate::report::race::Race;
use crate::report::{Document, Format, Look, Origin, jsonl, render_of, render_race};
use crate::sys::inherited::inherited;
use crate::timeline::Image;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A place that a report will be written to, known to be writable.
#[derive(Debug)]
enum Place {
    Stdout,
    Stderr,
    /// A file, replaced as a whole.
    File(ReportFile),
    /// A device or socket, which cannot be renamed to.
    Special(File, PathBuf),
    /// A named pipe that nobody reads yet: opened when there is something to say.
    Pipe(PathBuf),
    /// A receiver of metrics.
    Receiver(Receiver),
}

impl Place {
    /// Whether it is this file.
    fn is(&self, path: &Path) -> bool {
        matches!(self, Place::File(own) if FileIdentity::of(own.path()) == FileIdentity::of(path))
    }
}

/// A named pipe that nobody reads when the run has ended gets a reader within this, or the report goes elsewhere.
const READER_PATIENCE: Duration = Duration::from_secs(10);
const READER_POLL: Duration = Duration::from_millis(20);

/// The path of an export that stands for the receiver that the environment names.
const ENVIRONMENT: &str = "env";

/// One of a report's outputs.
#[derive(Debug)]
struct Output {
    format: Format,
    place: Place,
    /// What was written before the end.
    streamed: Option<Streamed>,
}

impl Output {
    fn new(format: Format, place: Place) -> Output {
        Output { format, place, streamed: None }
    }

    /// Whether lines can be read there as they come: a file appears when it is whole.
    fn can_stream(&self) -> bool {
        self.format == Format::Jsonl && !matches!(self.place, Place::File(_) | Place::Receiver(_))
    }

    /// Writes some lines, as soon as somebody reads them.
    fn stream(&mut self, lines: &[u8]) {
        let streamed = self.streamed.get_or_insert_default();
        if let Place::Pipe(path) = &self.place {
            match pipe(path) {
                Ok(pipe) => self.place = Place::Special(pipe, path.clone()),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {}
                Err(error) => return streamed.put(lines, Err(error)),
            }
        }
        match &mut self.place {
            Place::Stdout => streamed.put(lines, Ok(Some(&mut io::stdout().lock()))),
            Place::Stderr => streamed.put(lines, Ok(Some(&mut io::stderr().lock()))),
            Place::Special(file, _) => streamed.put(lines, Ok(Some(file))),
            Place::File(_) | Place::Pipe(_) | Place::Receiver(_) => streamed.put(lines, Ok(None)),
        }
    }
}

/// All places of one report.
#[derive(Debug)]
pub struct Outputs {
    places: Vec<Output>,
    colour: Colour,
    origin: Origin,
}

impl Outputs {
    /// Opens everything that was asked for. `quiet`: nothing goes to stderr by itself. `inputs`: what the command reads.
    ///
    /// # Errors
    /// Names the output that cannot be written, or that would replace an input.
    pub fn open(arguments: &OutputArgs, quiet: bool, table_to: Stream, inputs: &[&Path]) -> Result<Outputs, Failure> {
        for path in arguments.output.iter().chain(arguments.export.iter().map(|export| &export.path)) {
            refuse_inputs(path, inputs.iter().copied())?;
        }
        let mut places = Vec::new();
        let format = arguments.format.unwrap_or(Format::Table);
        match &arguments.output {
            Some(path) => places.push(Output::new(format, place(path)?)),
            None if format != Format::Table => places.push(Output::new(format, Place::Stdout)),
            None if quiet => {}
            None if table_to == Stream::Stdout => places.push(Output::new(format, Place::Stdout)),
            None => places.push(Output::new(format, Place::Stderr)),
        }
        for export in &arguments.export {
            let next = match export.format {
                Format::Otlp if export.path == Path::new(ENVIRONMENT) => {
                    let (receiver, warnings) = Receiver::named(&otlp::variable).map_err(Failure::Misuse)?;
                    warnings.iter().for_each(|warning| warn(warning));
                    Place::Receiver(receiver)
                }
                _ => place(&export.path)?,
            };
            if let Place::File(file) = &next
                && places.iter().any(|output: &Output| output.place.is(file.path()))
            {
                return Err(twice(&export.path));
            }
            places.push(Output::new(export.format, next));
        }
        let stdout = places.iter().filter(|output| matches!(output.place, Place::Stdout)).count();
        if stdout > 0 && inherited().closed[1] {
            return Err(Failure::Misuse("stdout is closed; hint: give the report a file with `--output`".to_owned()));
        }
        if stdout > 1 {
            return Err(Failure::Misuse(
                "two reports would go to stdout; hint: give one of them a file with `--output` or `--export`"
                    .to_owned(),
            ));
        }
        let origin = Origin { pipeline: arguments.pipeline.clone(), ..otlp::origin(&otlp::variable) };
        Ok(Outputs { places, colour: arguments.color, origin })
    }

    /// Refuses a file that a report will be written to already.
    ///
    /// # Errors
    /// Names the file.
    pub fn refuse(&self, path: &Path) -> Result<(), Failure> {
        if self.places.iter().any(|output| output.place.is(path)) { Err(twice(path)) } else { Ok(()) }
    }

    /// Whether something will be written in this format.
    pub fn has(&self, format: Format) -> bool {
        self.places.iter().any(|output| output.format == format)
    }

    /// Whether a report will go to stdout, so that the target's own output must not.
    pub fn takes_stdout(&self) -> bool {
        self.places.iter().any(|output| matches!(output.place, Place::Stdout))
    }

    /// Writes lines of JSON wherever they can be read as they come. What goes wrong is told when the report is written.
    pub fn stream(&mut self, lines: &[u8]) {
        self.places.iter_mut().filter(|output| output.can_stream()).for_each(|output| output.stream(lines));
    }

    /// Writes the document everywhere, and where lines were streamed what is missing of it. All places are tried; one failure
    /// is returned, others are told at once.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn write<'a>(mut self, document: impl Into<Document<'a>>) -> Result<(), Failure> {
        let document = document.into();
        let mut origin = std::mem::take(&mut self.origin);
        origin.pipeline = origin.pipeline.or_else(|| pipeline(document));
        self.write_all(|streamed, format, look, out| match document {
            Document::Check(check) if streamed => jsonl::end(check, out),
            _ => render_of(document, &origin, format, look, out),
        })
    }

    /// The same of a race.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn write_race(self, race: &Race) -> Result<(), Failure> {
        self.write_all(|_, format, look, out| render_race(race, format, look, out))
    }

    /// Refuses formats that cannot be had, before anything is measured.
    ///
    /// # Errors
    /// Names the format.
    pub fn only(&self, formats: &[Format]) -> Result<(), Failure> {
        let Some(Output { format, .. }) = self.places.iter().find(|output| !formats.contains(&output.format)) else {
            return Ok(());
        };
        let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
        Err(Failure::Misuse(format!(
            "`{}` is no format of this command; hint: it is one of {}",
            format.name(),
            names.join(", ")
        )))
    }

    /// Renders for every place, and writes it there; `render` is told whether lines were streamed to it already.
    fn write_all(self, render: impl Fn(bool, Format, Look, &mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut failed = None;
        for Output { format, place, streamed } in self.places {
            let rendered = |look| {
                let mut bytes = Vec::new();
                render(streamed.is_some(), format, look, &mut bytes)?;
                match streamed {
                    Some(streamed) => streamed.rest(&bytes),
                    None => Ok(bytes),
                }
            };
            let result = match place {
                Place::Stdout => {
                    let look = look(self.colour, io::stdout().is_terminal(), false);
                    to_stream(rendered(look), &mut io::stdout().lock(), "stdout")
                }
                Place::Stderr => {
                    let look = look(self.colour, io::stderr().is_terminal(), true);
                    to_stream(rendered(look), &mut io::stderr().lock(), "stderr")
                }
                Place::File(file) => to_file(rendered(Look::PLAIN), format, &file),
                Place::Pipe(path) => to_pipe(rendered(Look::PLAIN), &path),
                Place::Special(mut file, path) => rendered(Look::PLAIN)
                    .and_then(|bytes| file.write_all(&bytes))
                    .map_err(|source| Failure::Written { path, source }),
                Place::Receiver(receiver) => rendered(Look::PLAIN)
                    .map_err(|error| error.to_string())
                    .and_then(|bytes| receiver.send(&bytes, &warn))
                    .map_err(Failure::Sent),
            };
            if let Err(failure) = result {
                // What was not sent may be forgiven, and must not hide what was not written.
                failed = Some(match failed {
                    Some(Failure::Sent(why)) => {
                        say(&format!("error: {}", Failure::Sent(why)));
                        failure
                    }
                    Some(first) => {
                        say(&format!("error: {failure}"));
                        first
                    }
                    None => failure,
                });
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn warn(message: &str) {
    say(&format!("warning: {message}"));
}

/// What a pipeline is called that nobody named: of a profile the script or program, of a gate the folder of its manifest.
fn pipeline(document: Document<'_>) -> Option<String> {
    match document {
        Document::Profile(report) if report.target.argv.is_empty() => None,
        Document::Profile(report) => Some(Image::from_argv(None, &report.target.argv).name()),
        // One of an older version does not tell, and may still lie where it was written.
        Document::Check(check) => check.pipeline.clone().or_else(|| folder_of(Path::new(check.manifest.as_ref()?))),
    }
}

/// The name of the folder that a manifest lies in.
pub fn folder_of(manifest: &Path) -> Option<String> {
    let manifest = fs::canonicalize(manifest).ok()?;
    Some(manifest.parent()?.file_name()?.to_string_lossy().into_owned())
}

/// Where a table goes that nobody gave a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Commands whose output it is.
    Stdout,
    /// Commands that wrap a target.
    Stderr,
}

fn place(path: &Path) -> Result<Place, Failure> {
    if path == Path::new("-") {
        return Ok(Place::Stdout);
    }
    let failure = |source| Failure::Output { path: path.to_owned(), source };
    if let Ok(metadata) = fs::metadata(path) {
        if is_stdout(&metadata) {
            return Ok(Place::Stdout);
        }
        if metadata.is_dir() {
            return Err(failure(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return match pipe(path) {
                Ok(pipe) => Ok(Place::Special(pipe, path.to_owned())),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(Place::Pipe(path.to_owned())),
                Err(error) => Err(failure(error)),
            };
        }
        if kind.is_char_device() || kind.is_socket() || kind.is_block_device() {
            let file = OpenOptions::new().write(true).open(path).map_err(failure)?;
            return Ok(Place::Special(file, path.to_owned()));
        }
        // Renaming would replace a file that its owner made read-only.
        if metadata.permissions().readonly() {
            return Err(failure(io::Error::from_raw_os_error(libc::EACCES)));
        }
    }
    ReportFile::open(path).map(Place::File).map_err(failure)
}

/// Whether a path leads to stdout by another name (`/dev/stdout`, the file that it was sent to). What is not read by anybody
/// can be written to twice.
fn is_stdout(metadata: &fs::Metadata) -> bool {
    let is_read = !metadata.file_type().is_char_device() || io::stdout().is_terminal();
    let stdout = || io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| File::from(stdout).metadata());
    let same = |stdout: fs::Metadata| (stdout.dev(), stdout.ino()) == (metadata.dev(), metadata.ino());
    is_read && !inherited().closed[1] && stdout().is_ok_and(same)
}

fn twice(path: &Path) -> Failure {
    Failure::Misuse(format!("`{}` is given for two outputs; hint: give each its own file", path.display()))
}

/// Replaces a file as a whole, keeping its mode and, where that is allowed, its owner; a link is followed.
///
/// # Errors
/// Names the file.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let before = fs::metadata(path).ok();
    let mode = before.as_ref().map(|metadata| metadata.permissions().mode());
    let owner = before.as_ref().map(Owner::of);
    let failure = |source| Failure::Written { path: path.to_owned(), source };
    match place(path)? {
        Place::File(file) => file.replace(bytes, mode, owner).map_err(failure),
        Place::Special(mut file, _) => file.write_all(bytes).map_err(failure),
        Place::Pipe(_) => to_pipe(Ok(bytes.to_vec()), path),
        Place::Stdout | Place::Stderr | Place::Receiver(_) => io::stdout().lock().write_all(bytes).map_err(failure),
    }
}

fn to_file(bytes: io::Result<Vec<u8>>, format: Format, file: &ReportFile) -> Result<(), Failure> {
    let failure = |source| Failure::Written { path: file.path().to_owned(), source };
    let bytes = bytes.map_err(failure)?;
    // What node_exporter collects, another user has to read.
    let mode = if format == Format::Prometheus { Some(SHARED_MODE) } else { file.own_mode() };
    file.replace(&bytes, mode, None).map_err(|source| {
        kept_elsewhere(&bytes, file.path());
        failure(source)
    })
}

/// Opens a named pipe that somebody reads, without waiting for who does not; ENXIO where nobody does. What is written
/// later waits for its reader.
fn pipe(path: &Path) -> io::Result<File> {
    let pipe = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // By its other name the same pipe is opened anew, in the usual mode; it has a reader, so that waits for nobody. Where
    // `/proc` shows nothing, it stays as it is: what a pipe holds at once is written all the same.
    Ok(OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", pipe.as_raw_fd())).unwrap_or(pipe))
}

fn to_pipe(bytes: io::Result<Vec<u8>>, path: &Path) -> Result<(), Failure> {
    let failure = |source| Failure::Written { path: path.to_owned(), source };
    let bytes = bytes.map_err(failure)?;
    let patience = Instant::now() + READER_PATIENCE;
    let written = loop {
        match pipe(path) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && Instant::now() < patience => {
                std::thread::sleep(READER_POLL);
            }
            opened => break opened.and_then(|mut pipe| pipe.write_all(&bytes)),
        }
    };
    written.map_err(|source| {
        kept_elsewhere(&bytes, path);
        failure(source)
    })
}

fn kept_elsewhere(bytes: &[u8], path: &Path) {
    if let Ok(kept) = rescue(bytes, path) {
        say(&format!("note: the report is in `{}` instead", kept.display()));
    }
}

fn to_stream(bytes: io::Result<Vec<u8>>, out: &mut dyn Write, name: &str) -> Result<(), Failure> {
    match bytes.and_then(|bytes| out.write_all(&bytes)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Written { path: PathBuf::from(name), source: error })
        }
        _ => Ok(()),
    }
}

/// How stdout is looked at.
pub fn look_of_stdout(colour: Colour) -> Look {
    look(colour, io::stdout().is_terminal(), false)
}

/// How a stream is looked at.
fn look(colour: Colour, terminal: bool, stderr: bool) -> Look {
    let columns =
        std::env::var("COLUMNS").ok().and_then(|text| text.parse::<u16>().ok()).filter(|&columns| columns > 0);
    let size = if stderr {
        terminal_size::terminal_size_of(io::stderr())
    } else {
        terminal_size::terminal_size_of(io::stdout())
    };
    let width = terminal.then(|| columns.or(size.map(|(width, _)| width.0)).unwrap_or(80)).or(columns);
    let auto = || match anstream::AutoStream::choice(&io::stderr()) {
        _ if !terminal => false,
        anstream::ColorChoice::Never => false,
        _ => true,
    };
    Look {
        width: width.map(|width| width.max(40)),
        colour: match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => auto(),
        },
        ascii: !utf8_locale(),
    }
}

/// Whether the locale can show more than ASCII.
fn utf8_locale() -> bool {
    let first = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    // Without a locale (containers, CI) UTF-8 is what readers expect today; only a stated other one is believed.
    first.is_none_or(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8") || value == "c" || value == "posix"
    }) && std::env::var("TERM").map_or(true, |term| term != "dumb" && term != "linux-16color")
}
