//! Wraps sentences at spaces. A number and its unit stay together; a word that is wider than the line is cut, because
//! a line must not be wider than the terminal. Must not know what it wraps.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Fewer columns than this are not worth wrapping for.
const LEAST: usize = 8;

/// Appends `sentence` and a line end to `out`; no wrapping without a width.
pub(in crate::report) fn wrap(sentence: &str, width: Option<usize>, first: &str, hanging: &str, out: &mut String) {
    out.push_str(first);
    let Some(width) = width else {
        out.push_str(sentence);
        out.push('\n');
        return;
    };
    let width = width.max(hanging.width().max(first.width()) + LEAST);
    let mut column = first.width();
    let mut empty = true;
    for word in sentence.split(' ') {
        let wide = word.width();
        let space = usize::from(!empty);
        if !empty && column + space + wide > width {
            out.push('\n');
            out.push_str(hanging);
            column = hanging.width();
        } else if space == 1 {
            out.push(' ');
            column += 1;
        }
        if column + wide <= width {
            out.push_str(word);
            column += wide;
        } else {
            column = cut(word, width, column, hanging, out);
        }
        empty = false;
    }
    out.push('\n');
}

/// Appends a word that is wider than a line, piece by piece; returns the column after it.
fn cut(word: &str, width: usize, mut column: usize, hanging: &str, out: &mut String) -> usize {
    let indent = hanging.width();
    for character in word.chars() {
        let wide = character.width().unwrap_or(0);
        if column + wide > width && column > indent {
            out.push('\n');
            out.push_str(hanging);
            column = indent;
        }
        out.push(character);
        column += wide;
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(sentence: &str, width: Option<usize>) -> String {
        let mut out = String::new();
        wrap(sentence, width, "", "  ", &mut out);
        out
    }

    #[test]
    fn breaks_at_spaces_and_never_inside_a_number_with_its_unit() {
        assert_eq!(wrapped("one two three", Some(10)), "one two\n  three\n");
        assert_eq!(wrapped("takes 12.3\u{a0}ms", Some(12)), "takes\n  12.3\u{a0}ms\n");
        assert_eq!(wrapped("one two three", None), "one two three\n");
    }

    #[test]
    fn cuts_what_is_wider_than_the_line() {
        assert_eq!(wrapped("a abcdefghijklmnop", Some(10)), "a\n  abcdefgh\n  ijklmnop\n");
    }
}
