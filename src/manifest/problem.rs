//! What is wrong in a manifest: a sentence, the place and the line itself, and what would be right. Must not print.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub message: String,
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// Another place that it is about.
    pub also: Option<Range<usize>>,
    /// What would be right.
    pub hint: Option<String>,
}

impl Problem {
    /// Without a hint.
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Problem {
        Problem { message: message.into(), span, also: None, hint: None }
    }

    /// With the other place.
    pub fn with_also(self, also: Range<usize>) -> Problem {
        Problem { also: Some(also), ..self }
    }

    /// With what would be right.
    pub fn with_hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }
}

/// All that is wrong in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.file.display().to_string();
        let renderer = Renderer::plain();
        let reports: Vec<String> = self
            .problems
            .iter()
            .map(|problem| {
                let span = within(&self.text, &problem.span);
                let also = problem.also.as_ref().map(|also| within(&self.text, also));
                let also = also.map(|also| AnnotationKind::Context.span(also));
                let mut group = Group::with_title(Level::ERROR.no_name().primary_title(problem.message.as_str()))
                    .element(
                        Snippet::source(self.text.as_str())
                            .path(path.as_str())
                            .annotation(AnnotationKind::Primary.span(span))
                            .annotations(also),
                    );
                if let Some(hint) = &problem.hint {
                    group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
                }
                let report = [group];
                renderer.render(&report).to_string()
            })
            .collect();
        out.write_str(&reports.join("\n\nerror: "))
    }
}

/// The span moved into the text, and to the bounds of its characters.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// The line of a byte, counted from 1.
pub fn line_of(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().get(..at.min(text.len())).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count() as u32
}

/// The known word that is meant by `word`, if one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.7;
    let near = known.into_iter().map(|known| (strsim::jaro_winkler(word, known), known));
    near.filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}
