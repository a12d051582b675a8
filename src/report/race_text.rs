//! A race for people: who won, every cell in a line, the curves, how the prediction did. Must not compute.

use super::race::{Cell, Contender, Curve, EndedBy, Entrant, PredictedBy, Race};
use super::text::{Tone, Voice, voice};
use super::{Look, table};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Columns: title, and whether it holds numbers.
const COLUMNS: [(&str, bool); 8] = [
    ("executor", false),
    ("workers", true),
    ("tasks/s", true),
    ("speed-up", true),
    ("95 % interval", true),
    ("predicted", true),
    ("p95", true),
    ("errors", true),
];

/// Writes `race` as a table.
///
/// # Errors
/// Only those of `out`.
pub(super) fn table(race: &Race, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::terminal(look);
    let mut text = String::new();
    let prose = |text: &mut String, line: &str| {
        table::prose(look.width, line, "  ", text);
    };
    prose(&mut text, &headline(race, &voice));
    if let Some(line) = prediction(race, &voice) {
        prose(&mut text, &line);
    }
    text.push('\n');
    let titles = COLUMNS.map(|(title, numbers)| (voice.tone(Tone::Strong, title), numbers)).to_vec();
    let rows = rows(race, &voice).into_iter().map(|row| row.into_iter().zip(COLUMNS).map(|(cell, (_, n))| (cell, n)));
    for line in table::plain([titles].into_iter().chain(rows.map(Iterator::collect)).collect(), look) {
        let _ = writeln!(text, "{line}");
    }
    for group in [curves(race, &voice), failures(race, &voice), notes(race, &voice), vec![last(race, &voice)]] {
        if !group.is_empty() {
            text.push('\n');
        }
        for line in group {
            prose(&mut text, &line);
        }
    }
    out.write_all(voice::paint(&text, look.colour).as_bytes())
}

/// Writes `race` as Markdown.
///
/// # Errors
/// Only those of `out`.
pub(super) fn markdown(race: &Race, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::markdown();
    let mut text = String::new();
    let _ = writeln!(text, "## poolpick race: {}\n", headline(race, &voice));
    if let Some(line) = prediction(race, &voice) {
        let _ = writeln!(text, "{line}\n");
    }
    let mut row = |cells: Vec<String>| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    row(COLUMNS.map(|(title, _)| title.to_owned()).to_vec());
    row(COLUMNS.map(|(_, numbers)| if numbers { "---:" } else { "---" }.to_owned()).to_vec());
    rows(race, &voice).into_iter().for_each(|cells| row(cells.to_vec()));
    text.push('\n');
    for group in [curves(race, &voice), failures(race, &voice), notes(race, &voice)] {
        for line in &group {
            let _ = writeln!(text, "- {line}");
        }
        if !group.is_empty() {
            text.push('\n');
        }
    }
    let _ = writeln!(text, "{}", last(race, &voice));
    out.write_all(voice::paint(&text, false).as_bytes())
}

/// A speed-up; what is there at all is not `0.00`.
fn speedup(value: f64, voice: &Voice) -> String {
    let glyphs = &voice.glyphs;
    if value < 0.005 { format!("<0.01{}", glyphs.times) } else { glyphs.speedup(value) }
}

/// Who runs the tasks, with how many workers.
fn entrant(entrant: Entrant) -> String {
    let of = |one: &str, many: &str| format!("{} {}", entrant.workers, if entrant.workers == 1 { one } else { many });
    match entrant.executor {
        Contender::Serial => "no pool".to_owned(),
        Contender::Thread => of("thread", "threads"),
        Contender::Process => of("process", "processes"),
        Contender::Interpreter => of("sub-interpreter", "sub-interpreters"),
        Contender::Asyncio => format!("asyncio with {}", of("task at once", "tasks at once")),
        Contender::Loky => format!("loky with {}", of("process", "processes")),
        Contender::DaskThread => format!("Dask with {}", of("thread", "threads")),
        Contender::DaskProcess => format!("Dask with {}", of("process", "processes")),
        Contender::Dask => format!("the Dask cluster with {}", of("task at once", "tasks at once")),
        Contender::Command => of("worker", "workers"),
    }
}

fn subject(race: &Race, voice: &Voice) -> String {
    let subject = &race.subject;
    voice.name(subject.function.as_ref().or(subject.command.as_ref()).map_or("", String::as_str))
}

fn headline(race: &Race, voice: &Voice) -> String {
    let name = voice.tone(Tone::Strong, &subject(race, voice));
    let Some(winner) = &race.winner else { return format!("{name}: nothing was measured") };
    let who = entrant(Entrant { executor: winner.executor, workers: winner.workers });
    let best = voice.tone(Tone::Good, &who);
    let is_one = matches!(
        winner.executor,
        Contender::Asyncio | Contender::Loky | Contender::DaskThread | Contender::DaskProcess | Contender::Dask
    );
    let is = if winner.workers == 1 || is_one { "is" } else { "are" };
    let base = entrant(race.baseline);
    if (race.baseline.executor, race.baseline.workers) == (winner.executor, winner.workers) {
        return format!("{name}: {best} {is} fastest{}", ties(&winner.ties, voice));
    }
    let base = if race.baseline.executor == Contender::Serial { "a serial run".to_owned() } else { base };
    let times = voice.glyphs.speedup(winner.speedup);
    format!("{name}: {best} {is} fastest, {times} the throughput of {base}{}", ties(&winner.ties, voice))
}

/// Who cannot be told from the winner.
fn ties(ties: &[Entrant], voice: &Voice) -> String {
    const SHOWN: usize = 4;
    if ties.is_empty() {
        return String::new();
    }
    let mut words: Vec<String> = ties.iter().take(SHOWN).map(|&one| entrant(one)).collect();
    if ties.len() > SHOWN {
        words.push(voice.glyphs.ellipsis.to_owned());
    }
    format!("; within the noise: {}", words.join(", "))
}

fn prediction(race: &Race, voice: &Voice) -> Option<String> {
    let source = match race.predicted_by? {
        PredictedBy::Profile => "a profile of a serial run",
        PredictedBy::Report => "the report",
    };
    let mut line = match race.recommended {
        Some(recommended) => format!("{source} recommended {}", entrant(recommended)),
        None => format!("{source} recommended nothing that was raced"),
    };
    if let Some(regret) = race.regret {
        let tone = if regret >= 0.95 { Tone::Good } else { Tone::Bad };
        let ratio = voice.glyphs.ratio(regret);
        let _ = write!(line, ": {} of the best throughput", voice.tone(tone, &ratio));
    }
    if let Some(error) = &race.prediction_error {
        let (median, p90) = (voice.glyphs.share(error.median), voice.glyphs.share(error.p90));
        let _ = write!(line, "; speed-ups predicted with a median error of {median}, nine in ten within {p90}");
    }
    Some(line)
}

fn rows(race: &Race, voice: &Voice) -> Vec<[String; COLUMNS.len()]> {
    race.race.iter().map(|cell| row(cell, race, voice)).collect()
}

fn row(cell: &Cell, race: &Race, voice: &Voice) -> [String; COLUMNS.len()] {
    let glyphs = &voice.glyphs;
    let known = |value: Option<f64>, write: &dyn Fn(f64) -> String| value.map_or_else(|| glyphs.none.to_owned(), write);
    let wins = race.winner.as_ref().is_some_and(|best| (best.executor, best.workers) == (cell.executor, cell.workers));
    let name = if wins { voice.tone(Tone::Good, cell.executor.name()) } else { cell.executor.name().to_owned() };
    let interval = match cell.interval {
        Some([low, high]) if cell.entrant() != race.baseline && high >= 0.005 => {
            format!("{low:.2}{}{high:.2}", glyphs.to)
        }
        _ => glyphs.none.to_owned(),
    };
    let errors = if cell.errors > 0 {
        voice.tone(Tone::Bad, &glyphs.count(cell.errors))
    } else if cell.rounds > 0 {
        "0".to_owned()
    } else {
        glyphs.none.to_owned()
    };
    [
        name,
        cell.workers.to_string(),
        glyphs.rate(cell.tasks_per_second),
        known(cell.speedup, &|value| speedup(value, voice)),
        interval,
        known(cell.predicted_speedup, &|value| speedup(value, voice)),
        known(cell.p95_seconds, &|value| glyphs.seconds(value)),
        errors,
    ]
}

fn curves(race: &Race, voice: &Voice) -> Vec<String> {
    race.curves.iter().map(|curve| curve_line(curve, race, voice)).collect()
}

fn curve_line(curve: &Curve, race: &Race, voice: &Voice) -> String {
    let mut line = format!("{}:", voice.tone(Tone::Strong, curve.executor.name()));
    if let Some(knee) = curve.knee_workers {
        let _ = write!(line, " 97 % of its peak with {knee} {};", if knee == 1 { "worker" } else { "workers" });
    }
    match (curve.sigma, curve.kappa) {
        (Some(sigma), Some(kappa)) => {
            let _ = write!(line, " USL: contention σ {sigma:.3}, coherency κ {kappa:.4}");
            let most = race.race.iter().filter(|cell| cell.executor == curve.executor).map(|cell| cell.workers).max();
            match curve.peak_workers {
                Some(peak) if most.is_some_and(|most| peak > f64::from(most)) => {
                    let _ = write!(line, ", a peak beyond what was raced");
                }
                Some(peak) => {
                    let _ = write!(line, ", peak at {peak:.1} workers");
                }
                None => line.push_str(", no peak"),
            }
        }
        _ => {
            let _ = write!(line, " no USL fit: {}", voice.text(curve.refused.as_deref().unwrap_or("unknown")));
        }
    }
    line
}

fn failures(race: &Race, voice: &Voice) -> Vec<String> {
    let failed = race.race.iter().filter_map(|cell| Some((cell, cell.failure.as_ref()?)));
    // What befell all cells of an executor is said once.
    let mut lines: Vec<(Contender, &String, Vec<u32>)> = Vec::new();
    for (cell, why) in failed {
        match lines.iter_mut().find(|(executor, said, _)| *executor == cell.executor && *said == why) {
            Some((_, _, workers)) => workers.push(cell.workers),
            None => lines.push((cell.executor, why, vec![cell.workers])),
        }
    }
    let line = |(executor, why, workers): (Contender, &String, Vec<u32>)| {
        let workers: Vec<String> = workers.iter().map(u32::to_string).collect();
        format!("{} with {} workers: {}", executor.name(), workers.join(", "), voice.text(why))
    };
    lines.into_iter().map(line).collect()
}

fn notes(race: &Race, voice: &Voice) -> Vec<String> {
    race.notes.iter().map(|note| format!("note: {}", voice.text(note))).collect()
}

fn last(race: &Race, voice: &Voice) -> String {
    let ended = match race.ended_by {
        EndedBy::Narrow => "all intervals are narrow",
        EndedBy::Budget => "the budget ended",
        EndedBy::Interrupt => "interrupted",
    };
    let rounds = format!("{} {}", race.rounds, if race.rounds == 1 { "round" } else { "rounds" });
    let mut line = format!("{rounds} in {}: {ended}", voice.glyphs.seconds(race.wall_seconds));
    if let Some(python) = &race.subject.python {
        let _ = write!(line, "; {}", voice.text(python));
    }
    if let Some(method) = &race.subject.start_method {
        let _ = write!(line, ", processes by {}", voice.text(method));
    }
    voice.tone(Tone::Faint, &line)
}

#[cfg(test)]
mod tests {
    use super::super::race::{RACE_SCHEMA_VERSION, RaceKind, Subject, Winner};
    use super::super::{Host, Tool};
    use super::*;

    fn cell(executor: Contender, workers: u32, speedup: Option<f64>, failure: Option<&str>) -> Cell {
        Cell {
            executor,
            workers,
            tasks_per_second: speedup.map(|speedup| 100.0 * speedup),
            speedup,
            interval: speedup.map(|speedup| [0.9 * speedup, 1.1 * speedup]),
            predicted_speedup: None,
            p95_seconds: speedup.map(|_| 0.01),
            start_seconds: None,
            tasks: 100,
            errors: 0,
            rounds: u32::from(speedup.is_some()) * 3,
            failure: failure.map(str::to_owned),
        }
    }

    fn race() -> Race {
        let baseline = Entrant { executor: Contender::Serial, workers: 1 };
        let thread = Entrant { executor: Contender::Thread, workers: 2 };
        Race {
            schema_version: RACE_SCHEMA_VERSION.to_owned(),
            kind: RaceKind::Race,
            poolpick: Tool { version: "0".to_owned() },
            host: Host {
                kernel: None,
                logical_cores: None,
                physical_cores: None,
                usable_cores: None,
                memory_limit_bytes: None,
                steal_ratio: None,
            },
            subject: Subject {
                function: Some("etl:parse".to_owned()),
                items: None,
                item_count: None,
                python: None,
                start_method: None,
                command: None,
                command_redacted: false,
            },
            started_at: String::new(),
            wall_seconds: 2.0,
            rounds: 3,
            ended_by: EndedBy::Narrow,
            baseline,
            race: vec![
                cell(Contender::Serial, 1, Some(1.0), None),
                cell(Contender::Thread, 2, Some(1.95), None),
                cell(Contender::Process, 2, None, Some("broken\x1b[31m | <b>\n")),
                cell(Contender::Process, 4, None, Some("broken\x1b[31m | <b>\n")),
            ],
            curves: Vec::new(),
            winner: Some(Winner {
                executor: Contender::Thread,
                workers: 2,
                tasks_per_second: 195.0,
                speedup: 1.95,
                ties: vec![baseline],
            }),
            recommended: Some(thread),
            predicted_by: Some(PredictedBy::Report),
            prediction_error: None,
            regret: Some(1.0),
            notes: Vec::new(),
        }
    }

    fn text(render: impl Fn(&Race, &mut dyn Write) -> io::Result<()>, race: &Race) -> String {
        let mut out = Vec::new();
        render(race, &mut out).expect("memory takes everything");
        String::from_utf8(out).expect("text is UTF-8")
    }

    #[test]
    fn the_winner_comes_first_and_what_failed_is_said_once() {
        let text = text(|race, out| table(race, Look::PLAIN, out), &race());
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("etl:parse: 2 threads are fastest, 1.95× the throughput of a serial run; within the noise: no pool")
        );
        assert_eq!(lines.next(), Some("the report recommended 2 threads: 1.00 of the best throughput"));
        assert_eq!(text.matches("broken").count(), 1, "{text}");
        assert!(text.contains("process with 2, 4 workers: broken\\x1b[31m | <b>\\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn markdown_is_inert() {
        let text = text(markdown, &race());
        assert!(text.starts_with("## poolpick race: **etl:parse**: **2 threads** are fastest"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains("<b>"), "{text}");
        let widths: Vec<usize> =
            text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches('|').count()).collect();
        assert_eq!(widths, [COLUMNS.len() + 1; 6]);
    }

    #[test]
    fn a_narrow_terminal_and_ascii_are_kept_to() {
        let look = Look { width: Some(60), colour: false, ascii: true };
        let text = text(|race, out| table(race, look, out), &race());
        assert!(text.is_ascii(), "{text}");
        assert!(text.lines().filter(|line| line.starts_with("etl")).all(|line| line.len() <= 60), "{text}");
    }

    #[test]
    fn nothing_measured_is_said() {
        let nothing = Race { winner: None, regret: None, recommended: None, ..race() };
        let text = text(|race, out| table(race, Look::PLAIN, out), &nothing);
        assert!(text.starts_with("etl:parse: nothing was measured\nthe report recommended nothing"), "{text}");
    }
}
