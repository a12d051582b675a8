//! One HTML file that needs no script, no network and no style: tables and drawings say everything, the style only makes
//! it pleasant, and a policy in its head forbids all else. The JSON is inside, for programs. Everything that a target
//! could have written goes through [`Esc`]. Must not compute more than the place of a bar.

mod drawing;

use super::check::{Check, Finding, Outcome};
use super::findings::{findings, level, with_fix};
use super::metrics::outcome;
use super::text::{Voice, columns, headline, notices, voice, why, words};
use super::{Document, Look, Report, Stage, escape};
use std::fmt::{self, Write as _};
use std::io::{self, Write};

/// So many stages are told one by one: a page has to open.
const STAGES: usize = 100;
/// Nothing but the style in the page is allowed: no script, no image, no form, no frame, no request.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("html/page.css");

/// Text made visible and free of markup, in an element or an attribute.
struct Esc<'a>(&'a str);

impl fmt::Display for Esc<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in escape::terminal(self.0).chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                _ => out.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Writes the page.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    let voice = Voice::terminal(Look::PLAIN);
    let title = match document {
        Document::Profile(report) => plain(&headline::title(report, &voice)),
        Document::Check(check) => verdict(check.outcome).to_owned(),
    };
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>poolpick: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>poolpick: {title}</h1>\n",
        title = Esc(&title),
    );
    match document {
        Document::Profile(report) => profile(&mut page, report, &voice),
        Document::Check(check) => gate(&mut page, check, &findings(document), &voice),
    }
    page.push_str("</main>\n");
    embed(&mut page, document)?;
    page.push_str("</body>\n</html>\n");
    out.write_all(page.as_bytes())
}

fn profile(page: &mut String, report: &Report, voice: &Voice) {
    list(page, &headline::headlines(report, voice));
    stages(page, &report.stages, voice);
    let mut notes: Vec<String> = notices::notices(report, voice);
    notes.extend(headline::unjudged(report, voice).into_iter().map(|point| format!("{}: {}", point.label, point.text)));
    if !notes.is_empty() {
        heading(page, "Notes");
        list(page, &notes);
    }
    heading(page, "The run");
    list(page, &headline::totals(report, voice));
    let _ = writeln!(page, "<p>Started at <time datetime=\"{0}\">{0}</time>.</p>", Esc(&report.target.started_at));
}

fn gate(page: &mut String, check: &Check, findings: &[Finding], voice: &Voice) {
    if !findings.is_empty() {
        heading(page, "Findings");
        let rows = findings.iter().map(|finding| {
            let place = finding.file.as_ref().map(|file| match finding.line {
                Some(line) => format!("{file}:{line}"),
                None => file.clone(),
            });
            let stage = finding.stage.clone().unwrap_or_default();
            vec![
                level(finding.level).to_owned(),
                finding.code.clone(),
                stage,
                with_fix(finding),
                place.unwrap_or_default(),
            ]
        });
        table(
            page,
            "What is wrong or worth knowing",
            &["level", "code", "stage", "finding", "place"],
            &rows.collect::<Vec<_>>(),
        );
    }
    heading(page, "Results");
    let rows = check.results.iter().map(|result| {
        let seconds = voice.glyphs.seconds(result.wall_seconds);
        vec![result.name.clone(), outcome(result.outcome).to_owned(), result.message.clone(), seconds]
    });
    table(page, "What the gate made of each stage", &["stage", "result", "because", "time"], &rows.collect::<Vec<_>>());
    stages(page, &check.stages, voice);
    heading(page, "The run");
    let _ = writeln!(page, "<p>Started at <time datetime=\"{0}\">{0}</time>.</p>", Esc(&check.started_at));
}

/// All stages in a table, then each by itself.
fn stages(page: &mut String, stages: &[Stage], voice: &Voice) {
    if stages.is_empty() {
        return;
    }
    heading(page, "Stages");
    let shown = stages.get(..STAGES).unwrap_or(stages);
    let columns = columns::columns(shown, voice);
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let row =
        |index: usize| columns.iter().map(|column| column.cells.get(index).cloned().unwrap_or_default()).collect();
    table(page, "The stages, most demand first", &titles, &(0..shown.len()).map(row).collect::<Vec<Vec<String>>>());
    if shown.len() < stages.len() {
        let _ = writeln!(page, "<p>{} less busy stages are not shown.</p>", stages.len() - shown.len());
    }
    for stage in shown {
        alone(page, stage, voice);
    }
}

/// One stage: where its time went, what each executor would do, and why.
fn alone(page: &mut String, stage: &Stage, voice: &Voice) {
    let _ = writeln!(page, "<section>\n<h3>{}</h3>", Esc(&stage.name));
    drawing::time(page, stage, voice);
    drawing::predictions(page, stage, voice);
    let mut points = why::reasons(stage, voice);
    points.extend(why::warnings(stage, voice));
    points.extend(why::facts(stage, voice));
    if !points.is_empty() {
        page.push_str("<details>\n<summary>Why, and what else is known</summary>\n<dl>\n");
        for point in points {
            let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", Esc(&plain(&point.label)), Esc(&plain(&point.text)));
        }
        page.push_str("</dl>\n</details>\n");
    }
    page.push_str("</section>\n");
}

fn heading(page: &mut String, text: &str) {
    let _ = writeln!(page, "<h2>{text}</h2>");
}

fn list(page: &mut String, lines: &[String]) {
    page.push_str("<ul>\n");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", Esc(&plain(line)));
    }
    page.push_str("</ul>\n");
}

/// A table whose first column names its rows.
fn table(page: &mut String, caption: &str, titles: &[&str], rows: &[Vec<String>]) {
    let _ = write!(page, "<table>\n<caption>{caption}</caption>\n<thead><tr>");
    for title in titles {
        let _ = write!(page, "<th scope=\"col\">{title}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let cell = plain(cell);
            let _ = match index {
                0 => write!(page, "<th scope=\"row\">{}</th>", Esc(&cell)),
                _ => write!(page, "<td>{}</td>", Esc(&cell)),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// Without the marks of stressed words.
fn plain(text: &str) -> String {
    voice::paint(text, false)
}

fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "no stage is misrouted",
        Outcome::Misrouted => "a stage is misrouted",
        Outcome::NoVerdict => "some stage has no verdict",
        Outcome::NothingSelected => "nothing was selected",
    }
}

/// The JSON in the page. What could end the element or begin another is written as JSON's own escapes.
fn embed(page: &mut String, document: Document<'_>) -> io::Result<()> {
    let json = match document {
        Document::Profile(report) => serde_json::to_string(report),
        Document::Check(check) => serde_json::to_string(check),
    };
    page.push_str("<script type=\"application/json\" id=\"poolpick-report\">");
    super::json::push_inert(page, &json?, &['<', '>', '&']);
    page.push_str("</script>\n");
    Ok(())
}
