//! How a medium says things: which signs it has, how it escapes what comes from the target, how it stresses a word.
//! On a terminal a stressed word is put between two zero-width marks, so that it can be measured and wrapped like any
//! other; [`paint`] turns them into colours or drops them. Target text cannot hold such marks: they are escaped.

use crate::report::number::{Glyphs, NO_BREAK};
use crate::report::{Class, Look, Verdict, escape};
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a stressed word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// It should be changed.
    Bad,
    /// It deserves a look.
    Doubtful,
    /// A class between the two.
    Mixed,
    /// A class that waits.
    Waits,
    /// A class that computes.
    Computes,
    /// A name or a title.
    Strong,
    /// Of less weight.
    Faint,
}

impl Tone {
    const ALL: [Tone; 8] =
        [Tone::Good, Tone::Bad, Tone::Doubtful, Tone::Mixed, Tone::Waits, Tone::Computes, Tone::Strong, Tone::Faint];

    /// The tone of a verdict.
    pub fn of_verdict(verdict: Verdict) -> Tone {
        match verdict {
            Verdict::Fits => Tone::Good,
            Verdict::Misrouted => Tone::Bad,
            Verdict::Undecided => Tone::Doubtful,
            Verdict::NotJudged => Tone::Faint,
        }
    }

    /// The tone of a class.
    pub fn of_class(class: Class) -> Tone {
        match class {
            Class::IoBound => Tone::Waits,
            Class::CpuBound => Tone::Computes,
            Class::Hybrid => Tone::Mixed,
            Class::Unknown => Tone::Faint,
        }
    }

    fn mark(self) -> char {
        match self {
            Tone::Good => '\u{e0021}',
            Tone::Bad => '\u{e0022}',
            Tone::Doubtful => '\u{e0023}',
            Tone::Mixed => '\u{e0028}',
            Tone::Waits => '\u{e0024}',
            Tone::Computes => '\u{e0025}',
            Tone::Strong => '\u{e0026}',
            Tone::Faint => '\u{e0027}',
        }
    }

    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Tone::Good => colour(AnsiColor::Green).bold(),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Doubtful | Tone::Mixed => colour(AnsiColor::Yellow),
            Tone::Waits => colour(AnsiColor::Cyan),
            Tone::Computes => colour(AnsiColor::Magenta),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
        }
    }
}

/// Ends a stressed word.
const END: char = '\u{e007f}';

/// How a medium says things.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// Its signs.
    pub glyphs: Glyphs,
    medium: Medium,
    name_width: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    Terminal { ascii: bool },
    Markdown,
}

impl Voice {
    /// For a terminal, or a file that looks like one.
    pub fn terminal(look: Look) -> Voice {
        Voice {
            glyphs: if look.ascii { Glyphs::ASCII } else { Glyphs::UNICODE },
            medium: Medium::Terminal { ascii: look.ascii },
            name_width: look.width.map(|width| (usize::from(width) / 2).max(12)),
        }
    }

    /// For Markdown.
    pub fn markdown() -> Voice {
        Voice { glyphs: Glyphs::UNICODE, medium: Medium::Markdown, name_width: None }
    }

    /// The same with names no wider than `width`.
    pub fn with_name_width(self, width: usize) -> Voice {
        Voice { name_width: Some(width), ..self }
    }

    /// Text that may come from the target, escaped.
    pub fn text(&self, text: &str) -> String {
        match self.medium {
            Medium::Markdown => escape::markdown(text),
            Medium::Terminal { ascii: false } => escape::terminal(text).into_owned(),
            Medium::Terminal { ascii: true } => spell_out(&escape::terminal(text)),
        }
    }

    /// A stage's name: escaped and, where the width is limited, shortened in the middle.
    pub fn name(&self, name: &str) -> String {
        let name = if name.trim().is_empty() { "(unnamed)" } else { name };
        match self.name_width {
            None => self.text(name),
            Some(width) => shorten(&self.text(name), width, self.glyphs.ellipsis),
        }
    }

    /// A word that catches the eye; `text` is escaped already.
    pub fn tone(&self, tone: Tone, text: &str) -> String {
        match (self.medium, tone) {
            (_, _) if text.is_empty() => String::new(),
            (Medium::Terminal { .. }, _) => format!("{}{text}{END}", tone.mark()),
            (Medium::Markdown, Tone::Good | Tone::Bad | Tone::Doubtful | Tone::Strong) => format!("**{text}**"),
            (Medium::Markdown, _) => text.to_owned(),
        }
    }
}

/// Turns the marks of `text` into ANSI colours, or drops them; a colour never reaches over the end of a line.
pub fn paint(text: &str, colour: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<Style> = None;
    for character in text.chars() {
        let starts = Tone::ALL.into_iter().find(|tone| tone.mark() == character);
        match (character, starts) {
            (NO_BREAK, _) => out.push(' '),
            (_, Some(tone)) if colour => {
                let style = tone.style();
                // Writing to a string cannot fail.
                let _ = write!(out, "{style}");
                open = Some(style);
            }
            (_, Some(_)) => {}
            (END, _) => {
                if let Some(style) = open.take() {
                    let _ = write!(out, "{style:#}");
                }
            }
            ('\n', _) => match open {
                Some(style) => {
                    let _ = write!(out, "{style:#}\n{style}");
                }
                None => out.push('\n'),
            },
            _ => out.push(character),
        }
    }
    out
}

/// Leaves out the middle of `text` so that it is at most `width` columns wide.
pub fn shorten(text: &str, width: usize, ellipsis: &str) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(ellipsis.width());
    // The end tells more than the beginning: `package.module.function`.
    let (head, tail) = (room / 2, room - room / 2);
    let start = prefix(text.chars(), head);
    let end: Vec<char> = prefix(text.chars().rev(), tail).chars().rev().collect();
    format!("{start}{ellipsis}{}", end.into_iter().collect::<String>())
}

fn prefix(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    characters
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= width
        })
        .collect()
}

/// Our own signs in ASCII. Letters of other scripts stay: they are part of a name.
fn spell_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let spelled: Cow<'static, str> = match character {
            'µ' | 'μ' => "u".into(),
            '×' => "x".into(),
            '±' => "+-".into(),
            '–' | '—' => "-".into(),
            '…' => "...".into(),
            '→' => "->".into(),
            '≤' => "<=".into(),
            '≥' => ">=".into(),
            '÷' => "/".into(),
            '·' => "*".into(),
            _ => character.to_string().into(),
        };
        out.push_str(&spelled);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_colours_that_end_with_the_line() {
        let voice = Voice::terminal(Look::PLAIN);
        let text = format!("a {}", voice.tone(Tone::Bad, "b\nc"));
        assert_eq!(paint(&text, false), "a b\nc");
        assert_eq!(paint(&text, true), "a \x1b[1m\x1b[31mb\x1b[0m\n\x1b[1m\x1b[31mc\x1b[0m");
    }

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(shorten("package.module.function", 11, "…"), "packa…ction");
        assert_eq!(shorten("short", 11, "…"), "short");
        assert_eq!(shorten("数数数数数数", 7, "…"), "数…数");
    }

    #[test]
    fn target_text_cannot_hold_marks() {
        let voice = Voice::terminal(Look::PLAIN);
        assert_eq!(paint(&voice.text("\u{e0022}red"), true), r"\u{e0022}red");
    }
}
