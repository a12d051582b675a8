//! Text that comes from the target, made inert: stage names, arguments, paths and Python identifiers are whatever
//! somebody wrote. What is escaped stays readable. Must be applied to every such string, once, as it is printed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Makes `text` safe for a terminal: one line, no control characters, nothing invisible, nothing that reorders.
///
/// ```
/// assert_eq!(poolpick::report::escape::terminal("a\x1b[31m\nb"), r"a\x1b[31m\nb");
/// ```
pub fn terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) && !text.contains("##[") && text.matches("::").nth(1).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for (at, character) in text.char_indices() {
        let rest = &text[at..];
        // GitHub's runner takes `::COMMAND::` at the beginning of a line, and `##[COMMAND]` anywhere, from whatever a step
        // prints; where a table breaks its lines is not known here.
        let command = rest.starts_with("##[") || rest.strip_prefix("::").is_some_and(|rest| rest.contains("::"));
        match character {
            _ if command => push(&mut out, format_args!("\\x{:02x}", u32::from(character))),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if !is_unsafe(character) => out.push(character),
            _ if character.is_ascii() => push(&mut out, format_args!("\\x{:02x}", u32::from(character))),
            _ => push(&mut out, format_args!("\\u{{{:x}}}", u32::from(character))),
        }
    }
    Cow::Owned(out)
}

/// Makes `text` inert inline text in GitHub-flavoured Markdown, also inside a table cell: no markup, no HTML, no link,
/// no mention or issue reference, no block start, one line.
///
/// Entities rather than backslashes where a table's own parser would see the character first. What GitHub looks for
/// after rendering (`@user`, `#12`, `https://`, `:emoji:`) is parted by a zero-width space, as its own bots do it.
pub fn markdown(text: &str) -> String {
    const PART: &str = "&#8203;";
    let text = terminal(text);
    let mut out = String::with_capacity(text.len() + 16);
    let mut leading = true;
    let mut number = false;
    for (index, character) in text.char_indices() {
        let rest = text.get(index + character.len_utf8()..).unwrap_or("");
        let next = rest.chars().next();
        match character {
            ' ' if index == 0 || rest.is_empty() => out.push_str("&#32;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' => out.push_str("&#124;"),
            '`' => out.push_str("&#96;"),
            '$' => out.push_str("&#36;"),
            '\\' if !next.is_some_and(|next| next.is_ascii_alphanumeric()) => out.push_str("&#92;"),
            '*' | '_' | '[' | ']' | '~' => push(&mut out, format_args!("\\{character}")),
            '#' | '-' | '+' | '=' if leading => push(&mut out, format_args!("\\{character}")),
            '.' | ')' if number => push(&mut out, format_args!("\\{character}")),
            _ => out.push(character),
        }
        let parted = match character {
            '@' => true,
            '#' => next.is_some_and(|next| next.is_ascii_digit()),
            '-' => ends_with_ignoring_case(&text, index, "gh") && next.is_some_and(|next| next.is_ascii_digit()),
            ':' => next == Some('/') || is_emoji_name(rest),
            'w' | 'W' => next == Some('.'),
            _ => false,
        };
        if parted {
            out.push_str(PART);
        }
        number = character.is_ascii_digit() && (leading || number);
        leading &= character == ' ';
    }
    out
}

/// Whether a terminal would do something with it, or nothing that can be seen.
pub(super) fn is_unsafe(character: char) -> bool {
    let noncharacter = u32::from(character) & 0xFFFE == 0xFFFE || matches!(character, '\u{fdd0}'..='\u{fdef}');
    character.is_control()
        // Letters to nobody, and no text at all in XML.
        || noncharacter
        || matches!(
            u32::from(character),
            // Soft hyphen, joiners and fillers: nothing is drawn.
            0x00AD | 0x034F | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x3164 | 0xFFA0
            // Marks, overrides and isolates of writing direction; zero-width spaces and joiners.
            | 0x061C | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0xFEFF
            // Line and paragraph separator.
            | 0x2028..=0x2029
            // Variation selectors, interlinear annotations, shorthand and musical format controls, tags.
            | 0xFE00..=0xFE0F | 0xFFF0..=0xFFFB | 0x1_3430..=0x1_345F | 0x1_BCA0..=0x1_BCA3 | 0x1_D173..=0x1_D17A
            | 0xE_0000..=0xE_0FFF
        )
}

/// Whether what follows a colon reads `name:`, which GitHub may draw as a picture.
fn is_emoji_name(rest: &str) -> bool {
    let name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '+' | '-');
    rest.trim_start_matches(name).starts_with(':') && rest.starts_with(name)
}

fn ends_with_ignoring_case(text: &str, end: usize, tail: &str) -> bool {
    end.checked_sub(tail.len()).and_then(|start| text.get(start..end)).is_some_and(|s| s.eq_ignore_ascii_case(tail))
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_shows_what_it_escapes() {
        let cases = [
            ("pipeline.fetch", "pipeline.fetch"),
            ("größe_数", "größe_数"),
            ("std::sort", "std::sort"),
            ("::error file=a::no", r"\x3a:error file=a::no"),
            ("a###[group]b", r"a#\x23#[group]b"),
            ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
            ("a\r\n\tb\x7f", r"a\r\n\tb\x7f"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("evil\u{202e}txt.exe", r"evil\u{202e}txt.exe"),
            ("a\u{200b}b\u{2028}c\u{feff}", r"a\u{200b}b\u{2028}c\u{feff}"),
            ("\u{e0041}", r"\u{e0041}"),
            ("\u{fffe}\u{1ffff}\u{fdd0}", r"\u{fffe}\u{1ffff}\u{fdd0}"),
        ];
        for (text, expected) in cases {
            assert_eq!(terminal(text), expected);
        }
        assert!(matches!(terminal("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn markdown_is_inert() {
        let cases = [
            ("pipeline.fetch", "pipeline.fetch"),
            ("__init__.load_all", r"\_\_init\_\_.load\_all"),
            ("a|b`c`", "a&#124;b&#96;c&#96;"),
            ("<script>&", "&lt;script&gt;&amp;"),
            ("[x](https://evil.example)", r"\[x\](https:&#8203;//evil.example)"),
            ("WWW.evil.example", "WWW&#8203;.evil.example"),
            ("@org/team a@b.c", "@&#8203;org/team a@&#8203;b.c"),
            ("# title", r"\# title"),
            ("fixes #12 GH-12", "fixes #&#8203;12 GH-&#8203;12"),
            ("- item", r"\- item"),
            ("12. item", r"12\. item"),
            ("1.5 ms", r"1\.5 ms"),
            ("a 1.5 - 2 + 3 = x", "a 1.5 - 2 + 3 = x"),
            ("    code ", "&#32;   code&#32;"),
            (r"\| \x", "&#92;&#124; \\x"),
            ("two\nlines", r"two\nlines"),
            ("go :rocket: etl:parse", "go :&#8203;rocket: etl:parse"),
            ("$x$", "&#36;x&#36;"),
        ];
        for (text, expected) in cases {
            assert_eq!(markdown(text), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives(text in any::<String>()) {
            prop_assert!(!terminal(&text).chars().any(is_unsafe));
            prop_assert!(!markdown(&text).chars().any(is_unsafe));
        }

        #[test]
        fn terminal_is_stable(text in any::<String>()) {
            let once = terminal(&text);
            prop_assert_eq!(terminal(&once), once.as_ref());
        }

        #[test]
        fn no_markup_survives(text in "[ -~\n\u{80}-\u{ff}]{0,40}") {
            let out = markdown(&text);
            prop_assert!(!out.contains(['|', '<', '>', '`', '$']), "{out}");
            let mut previous = ' ';
            for (index, character) in out.char_indices() {
                if matches!(character, '*' | '_' | '[' | ']' | '~') {
                    prop_assert_eq!(previous, '\\', "{}", out);
                }
                if character == '@' || (character == ':' && out[index + 1..].starts_with('/')) {
                    prop_assert!(out[index + 1..].starts_with("&#8203;"), "{}", out);
                }
                previous = character;
            }
            prop_assert!(!out.starts_with([' ', '#', '-', '+', '=', '*']), "{}", out);
        }

        #[test]
        fn a_table_keeps_its_columns(cells in proptest::collection::vec(any::<String>(), 1..6)) {
            let row = format!("| {} |", cells.iter().map(|cell| markdown(cell)).collect::<Vec<_>>().join(" | "));
            prop_assert_eq!(row.lines().count(), 1);
            prop_assert_eq!(row.matches('|').count(), cells.len() + 1);
        }
    }
}
