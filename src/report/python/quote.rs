//! Words that the target wrote, in Python source: in comments that they cannot leave, and as names of functions.
//! Must let no character through that ends a line or turns the direction of writing.

use std::collections::HashSet;
use std::fmt::Write as _;

/// Columns of a comment.
const WIDTH: usize = 110;
/// Longest name made of a stage's.
const LONGEST: usize = 60;

/// Text as comment lines, wrapped; what is neither a letter, a digit nor plain ASCII is written as its code.
pub fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = plain(word);
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(lines, "# {line}");
            line = if text.starts_with("- ") { " ".to_owned() } else { String::new() };
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    let _ = writeln!(lines, "# {line}");
    lines
}

/// Typography of our own sentences, which is harmless in a comment.
const OURS: [char; 5] = ['×', '–', '…', '±', '·'];

fn plain(word: &str) -> String {
    let mut safe = String::new();
    for letter in word.chars() {
        if letter.is_ascii_graphic() || letter.is_alphanumeric() || OURS.contains(&letter) {
            safe.push(letter);
        } else {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(letter));
        }
    }
    safe
}

/// Names of functions that are already given.
#[derive(Debug, Default)]
pub struct Names {
    given: HashSet<String>,
}

impl Names {
    /// A name for the function of this stage, of ASCII letters, digits and `_`, and unlike all before.
    pub fn of(&mut self, stage: &str) -> String {
        let mut words = String::new();
        for letter in stage.chars().take(LONGEST) {
            let letter = if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
            if letter != '_' || !words.ends_with('_') {
                words.push(letter);
            }
        }
        let base = format!("run_{}", words.trim_matches('_')).trim_end_matches('_').to_owned();
        let mut name = base.clone();
        let mut count = 1;
        while !self.given.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_not_left_and_names_are_names() {
        assert_eq!(comment("a\nimport os\r\u{2028}\u{202e}b\0"), "# a import os \\u{202e}b\\u{0}\n");
        assert!(comment(&"word ".repeat(100)).lines().all(|line| line.starts_with("# ") && line.len() < 130));
        let mut names = Names::default();
        assert_eq!(names.of("etl.parse"), "run_etl_parse");
        assert_eq!(names.of("etl:parse"), "run_etl_parse_2");
        assert_eq!(names.of("\"); import os #"), "run_import_os");
        assert_eq!((names.of("é"), names.of("")), ("run".to_owned(), "run_2".to_owned()));
    }
}
