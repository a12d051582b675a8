//! JSON: of a document as one object with two spaces and a newline at the end, and of a line. Must not change what the types
//! say.

use super::escape;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes a document as JSON.
///
/// A number that is not finite cannot be said in JSON; none should get here. If one does it is written as `null`, the
/// contract's word for unknown, rather than losing the rest of a run that may have taken hours.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    ended(&serde_json::to_string_pretty(document)?, out)
}

/// Writes a value as a line of JSON.
///
/// # Errors
/// Only those of `out`.
pub(super) fn line(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    ended(&serde_json::to_string(value)?, out)
}

fn ended(json: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::with_capacity(json.len() + 1);
    push_inert(&mut text, json, &[]);
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Adds JSON in which what a terminal would obey, what nobody sees and what ends a line elsewhere (U+2028, U+0085) is
/// written as JSON's own escapes, and `also` what these are: a parser reads the same.
pub(super) fn push_inert(text: &mut String, json: &str, also: &[char]) {
    for character in json.chars() {
        // What is below has an escape already, or parts tokens.
        let is_unsafe = character >= '\u{7f}' && escape::is_unsafe(character);
        if is_unsafe || also.contains(&character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_one_visible_line_that_reads_the_same(text in any::<String>(), odd in "[\u{80}-\u{9f}\u{7f}\u{2028}\u{202e}\u{e0001}a]{0,8}") {
            let value = [text, odd];
            let mut written = Vec::new();
            line(&value, &mut written).expect("to memory");
            let written = String::from_utf8(written).expect("UTF-8");
            let (written, end) = written.split_at(written.len() - 1);
            prop_assert_eq!(end, "\n");
            prop_assert!(!written.chars().any(escape::is_unsafe), "{:?}", written);
            prop_assert_eq!(serde_json::from_str::<[String; 2]>(written).expect("JSON"), value);
        }
    }
}
