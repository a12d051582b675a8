//! A light reading of Rust source: tokens without comments and strings, code without its tests, and the paths in it.
//! Must not judge a path.

use std::fmt;

/// A word, a `::`, a string (as `""`) or one other character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A path as it was written, groups of a `use` resolved, `super` up to the crate's root turned into `crate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Whether it stands in a `use`.
    pub(super) in_use: bool,
    /// Whether it names a macro that is called.
    pub(super) is_macro: bool,
}

impl Path {
    pub(super) fn first(&self) -> &str {
        self.segment(0)
    }

    pub(super) fn segment(&self, index: usize) -> &str {
        self.segments.get(index).map_or("", String::as_str)
    }

    pub(super) fn ends_with(&self, last: &[&str]) -> bool {
        self.segments.len() >= last.len()
            && self.segments.iter().rev().zip(last.iter().rev()).all(|(one, other)| one == other)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.segments.join("::"))
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// The tokens of `text`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut index, mut line) = (0, 1);
    while index < text.len() {
        let start = index;
        let first_line = line;
        let mut token = String::new();
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < text.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                while index < text.len() {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => (token, index) = ("\"\"".to_owned(), end_of_string(&text, index + 1, '"')),
            '\'' if at(index + 1) == '\\' || at(index + 2) == '\'' => {
                (token, index) = ("''".to_owned(), end_of_string(&text, index + 1, '\''));
            }
            ':' if at(index + 1) == ':' => (token, index) = ("::".to_owned(), index + 2),
            character if is_word(character) => {
                while is_word(at(index)) {
                    index += 1;
                }
                token = text[start..index].iter().collect();
                match (token.as_str(), at(index)) {
                    ("r" | "br" | "cr", '"') => (token, index) = raw_string(&text, index),
                    ("r" | "br" | "cr", '#') if matches!(at(index + 1), '"' | '#') => {
                        (token, index) = raw_string(&text, index);
                    }
                    // A raw identifier is what it names.
                    ("r", '#') => {
                        index += 1;
                        continue;
                    }
                    ("b" | "c", '"') => (token, index) = ("\"\"".to_owned(), end_of_string(&text, index + 1, '"')),
                    ("b", '\'') => (token, index) = ("''".to_owned(), end_of_string(&text, index + 1, '\'')),
                    _ => {}
                }
            }
            character => {
                index += 1;
                if !character.is_whitespace() {
                    token.push(character);
                }
            }
        }
        index = index.min(text.len());
        line += text[start..index].iter().filter(|character| **character == '\n').count();
        if !token.is_empty() {
            found.push(Token { text: token, line: first_line });
        }
    }
    found
}

/// One past the closing `quote`.
fn end_of_string(text: &[char], mut index: usize, quote: char) -> usize {
    while let Some(&character) = text.get(index) {
        match character {
            '\\' => index += 2,
            character if character == quote => return index + 1,
            _ => index += 1,
        }
    }
    index
}

/// The token of a raw string whose first `#` or `"` is at `index`, and one past its end.
fn raw_string(text: &[char], index: usize) -> (String, usize) {
    let hashes = text[index..].iter().take_while(|character| **character == '#').count();
    let mut end = index + hashes + 1;
    while end < text.len() {
        let closes =
            text[end] == '"' && text[end + 1..].iter().take(hashes).filter(|next| **next == '#').count() == hashes;
        end += 1;
        if closes {
            return ("\"\"".to_owned(), end + hashes);
        }
    }
    ("\"\"".to_owned(), end)
}

/// Words that begin an item.
const ITEMS: [&str; 14] = [
    "mod", "use", "fn", "impl", "struct", "enum", "const", "static", "type", "trait", "pub", "unsafe", "async",
    "extern",
];

/// The tokens without items that are compiled for tests alone. What is not plainly such an item stays.
pub(super) fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let word = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut kept = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if word(index) == "#" && word(index + 1) == "[" {
            let end = closing(&tokens, index + 1);
            let condition: Vec<&str> = (index + 2..end).map(word).collect();
            let for_tests =
                matches!(condition.as_slice(), ["cfg", "(", "test", ")"] | ["cfg", "(", "all", "(", "test", ",", ..]);
            if for_tests {
                let mut item = end + 1;
                while word(item) == "#" && word(item + 1) == "[" {
                    item = closing(&tokens, item + 1) + 1;
                }
                if ITEMS.contains(&word(item)) {
                    index = end_of_item(&tokens, item);
                    continue;
                }
            }
        }
        kept.push(tokens[index].clone());
        index += 1;
    }
    kept
}

/// One past the `;` or the block that ends the item at `index`.
fn end_of_item(tokens: &[Token], mut index: usize) -> usize {
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            ";" => return index + 1,
            "{" => {
                let end = closing(tokens, index) + 1;
                // `use a::{b};` has its `;` behind the block.
                return end + usize::from(tokens.get(end).is_some_and(|next| next.text == ";"));
            }
            "(" | "[" => index = closing(tokens, index),
            _ => {}
        }
        index += 1;
    }
    index
}

/// Where the bracket at `open` closes.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// Words that a path with a leading `::` may follow.
const BEFORE_A_PATH: [&str; 12] =
    ["use", "return", "in", "as", "if", "else", "match", "while", "mut", "dyn", "impl", "break"];

/// All paths of a file whose module is `depth` modules below the crate's root.
pub(super) fn paths(tokens: &[Token], depth: usize) -> Vec<Path> {
    let word = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    // Depths of braces at which inline modules opened.
    let (mut braces, mut modules): (usize, Vec<usize>) = (0, Vec::new());
    let mut in_use = false;
    let mut index = 0;
    while index < tokens.len() {
        match word(index) {
            "{" => {
                braces += 1;
                if index >= 2 && word(index - 2) == "mod" {
                    modules.push(braces);
                }
            }
            "}" => {
                modules.pop_if(|opened| *opened == braces);
                braces = braces.saturating_sub(1);
            }
            "use" => in_use = true,
            ";" => in_use = false,
            text if text.starts_with(is_word) => {
                let continues = word(index + 1) == "::" || matches!(text, "crate" | "super") || in_use;
                // The rest of a path that began before, such as a method's turbofish.
                let goes_on = index >= 2 && word(index - 1) == "::" && word(index - 2).starts_with(is_word);
                let begins = !goes_on || BEFORE_A_PATH.contains(&word(index - 2));
                if continues && begins && !(in_use && word(index - 1) == "as") {
                    let first = found.len();
                    index = expand(tokens, index, &[], in_use, &mut found);
                    found[first..].iter_mut().for_each(|path| rooted(path, depth + modules.len()));
                    continue;
                }
            }
            _ => {}
        }
        index += 1;
    }
    found
}

/// Takes the path or group that begins at `index`, behind `before`; gives the index behind it.
fn expand(tokens: &[Token], mut index: usize, before: &[String], in_use: bool, found: &mut Vec<Path>) -> usize {
    let word = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut segments = before.to_vec();
    loop {
        match word(index) {
            "{" if in_use => {
                let end = closing(tokens, index);
                index += 1;
                while index < end {
                    match word(index) {
                        "," => index += 1,
                        "::" => index += 1,
                        "as" => index += 2,
                        _ => index = expand(tokens, index, &segments, in_use, found),
                    }
                }
                return end + 1;
            }
            text if text == "*" || text.starts_with(is_word) => {
                segments.push(text.to_owned());
                if word(index + 1) == "::"
                    && (word(index + 2).starts_with(is_word) || matches!(word(index + 2), "*" | "{"))
                {
                    index += 2;
                    continue;
                }
                let is_macro = word(index + 1) == "!" && word(index + 2) != "=";
                found.push(Path { segments, line: tokens[index].line, in_use, is_macro });
                return index + 1;
            }
            // Nothing that a path is made of.
            _ => return index + 1,
        }
    }
}

/// Turns leading `super`s that reach the crate's root into `crate`.
fn rooted(path: &mut Path, depth: usize) {
    if path.first() == "self" && path.segments.len() > 1 {
        path.segments.remove(0);
    }
    let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
    if supers > 0 && supers >= depth {
        path.segments.splice(..supers, ["crate".to_owned()]);
    }
}
