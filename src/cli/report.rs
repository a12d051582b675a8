//! `poolpick report`: renders a saved report, or judges a recorded trace again.

use super::analyse::{Questions, Recorded, analyse_by};
use super::args::ReportArgs;
use super::exit::{Failure, first_line};
use super::output::{Outputs, Stream};
use super::prices::PriceBook;
use super::saved::{Saved, Whole, text_of, whole};
use crate::observe::survey;
use crate::report::check::Check;
use crate::report::engine::in_words_of;
use crate::report::{Again, CannotRescore, RACE_FORMATS, Report, SCHEMA_VERSION, rescore};
use crate::timeline::{Records, Timeline, TimelineBuilder};
use crate::trace::{Counters, Coverage, Footer, Reader, Rung, TraceError};
use crate::verdict::{Executor, Thresholds};
use anyhow::Result;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::process::ExitCode;

/// What every JSON report begins with.
const JSON_START: u8 = b'{';

/// Renders the file.
///
/// # Errors
/// A `Failure` that names the file.
pub fn run(arguments: &ReportArgs) -> Result<ExitCode> {
    let path = arguments.file.as_path();
    let input = |source| Failure::Input { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(input)?);
    let mut first = [0u8; 1];
    let length = file.read(&mut first).map_err(input)?;
    if length == 0 {
        return Err(Failure::NoReport { path: path.to_owned(), reason: "it is empty".to_owned() }.into());
    }
    let report = if length == 1 && (first[0] == JSON_START || first[0].is_ascii_whitespace()) {
        let text = text_of(first.as_slice().chain(file)).map_err(input)?;
        if arguments.partial {
            return Err(Failure::Misuse(
                "`--partial` is for traces; hint: leave it out for a report in JSON".to_owned(),
            )
            .into());
        }
        match whole(path, &text)? {
            Whole::Report(Saved::Profile(report)) => again(path, *report, arguments)?,
            Whole::Race(race) => {
                if asks(arguments) {
                    let message =
                        "a race was measured, and is shown as it is; hint: leave out what judges a stage again";
                    return Err(Failure::Misuse(message.to_owned()).into());
                }
                let outputs = Outputs::open(&arguments.output, false, Stream::Stdout, &[path])?;
                outputs.only(&RACE_FORMATS)?;
                outputs.write_race(&race)?;
                return Ok(ExitCode::SUCCESS);
            }
            Whole::Report(Saved::Check(check)) => {
                as_it_is(path, arguments)?;
                let pipeline = arguments.output.pipeline.clone().or(check.pipeline);
                let check = Check { schema_version: SCHEMA_VERSION.to_owned(), pipeline, ..*check };
                Outputs::open(&arguments.output, false, Stream::Stdout, &[path])?.write(&check)?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    } else {
        file.rewind().map_err(input)?;
        replayed(path, file, &questions(arguments)?, arguments.partial)?
    };
    let outputs = Outputs::open(&arguments.output, false, Stream::Stdout, &[path])?;
    outputs.write(&report)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether anything is to be judged again.
fn asks(arguments: &ReportArgs) -> bool {
    again_by(arguments) != Again::default() || arguments.what_if.engine.is_some()
}

/// Refuses questions that a gate's result has no answer to: `check` judges it again.
fn as_it_is(path: &Path, arguments: &ReportArgs) -> Result<(), Failure> {
    if !asks(arguments) {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::Misuse(format!(
        "`{path}` is what `poolpick check` wrote, and is shown as it is; hint: `poolpick check --from {path}` judges it \
         again, by other thresholds or for another machine (`--cores`, `--memory`)"
    )))
}

/// What is asked of a trace.
fn questions(arguments: &ReportArgs) -> Result<Questions, Failure> {
    let given = arguments.thresholds;
    let usual = Thresholds::default();
    let thresholds = Thresholds {
        io: given.io_threshold.unwrap_or(usual.io),
        cpu: given.cpu_threshold.unwrap_or(usual.cpu),
        ipc: given.ipc_threshold.unwrap_or(usual.ipc),
    };
    let thresholds = thresholds.checked()?;
    Ok(Questions::new(thresholds, &arguments.judge, arguments.show_args).asking(&arguments.what_if))
}

/// What is to be different.
fn again_by(arguments: &ReportArgs) -> Again {
    let (judge, asked, thresholds) = (&arguments.judge, &arguments.what_if, &arguments.thresholds);
    Again {
        executor: judge.executor.map(Executor::from),
        io: thresholds.io_threshold,
        cpu: thresholds.cpu_threshold,
        ipc: thresholds.ipc_threshold,
        payload_in: judge.payload_in,
        payload_out: judge.payload_out,
        cores: asked.machine.cores,
        memory_bytes: asked.machine.memory,
        arrival_rate: asked.arrival_rate,
    }
}

/// The report as it is, or judged again where anything is to be different. What is written is of this version.
fn again(path: &Path, report: Report, arguments: &ReportArgs) -> Result<Report, Failure> {
    let again = again_by(arguments);
    let report = if again == Again::default() {
        report
    } else {
        let unusable = |why: CannotRescore| match why {
            CannotRescore::Threshold(why) => Failure::from(why),
            source => Failure::Rescore { path: path.to_owned(), source },
        };
        rescore(&report, &again).map_err(unusable)?
    };
    let mut report = Report { schema_version: SCHEMA_VERSION.to_owned(), ..report };
    if let Some(engine) = arguments.what_if.engine {
        in_words_of(&mut report, Some(engine));
    }
    Ok(report)
}

fn replayed(path: &Path, file: impl Read, questions: &Questions, partial: bool) -> Result<Report, Failure> {
    let unusable = |source| Failure::Trace { path: path.to_owned(), source };
    let mut reader = Reader::open(file).map_err(unusable)?;
    let header = reader.header().clone();
    let mut builder = TimelineBuilder::new(header.origin, header.target);
    let mut reached = header.origin;
    let mut notes = Vec::new();
    for event in &mut reader {
        match event {
            Ok(event) => {
                reached = reached.max(event.at());
                builder.push(&event);
            }
            Err(source @ TraceError::Truncated { .. }) if partial => {
                notes.push(format!("this trace is not whole: {}", first_line(&source)))
            }
            Err(source @ TraceError::Truncated { .. }) => return Err(Failure::Cut { path: path.to_owned(), source }),
            Err(source) => return Err(unusable(source)),
        }
    }
    let footer = reader.footer().cloned();
    let timeline = builder.finish(footer.as_ref().map_or(reached, |footer| footer.end));
    let footer = footer.unwrap_or_else(|| {
        notes.push(
            "a trace that is not whole does not tell of its machine: this one's cores and memory are taken".to_owned(),
        );
        unfinished(&timeline)
    });
    let recorded = Recorded { header: &header, timeline: &timeline, footer: &footer };
    let mut book = PriceBook::kept(reader.prices().cloned());
    analyse_by(&mut book, &[recorded], questions, notes, &mut |_, _| {})
        .ok_or_else(|| Failure::NoReport { path: path.to_owned(), reason: "it holds no run".to_owned() })
}

/// What is known of a run whose recording was cut off.
fn unfinished(timeline: &Timeline) -> Footer {
    let scheduler = if timeline.records == Records::None { Rung::Schedstat } else { Rung::Perf };
    Footer {
        end: timeline.end,
        exit_code: None,
        signal: None,
        timed_out: false,
        left_behind: 0,
        overhead_cpu_seconds: 0.0,
        rusage: None,
        orphans: None,
        fork_rss_bytes: 0,
        counters: Counters::default(),
        host: survey(),
        coverage: Coverage { scheduler, refusals: Vec::new(), lost_records: 0 },
    }
}
