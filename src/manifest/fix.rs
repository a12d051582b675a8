//! Edits to a manifest that keep its comments and layout: a value is replaced where it stands, or added to its table.
//! Must not decide what to edit.

use super::{TOOL_TABLE, is_pyproject};
use crate::units::toml_key;
use std::path::PathBuf;
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// One value to set.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The file.
    pub file: PathBuf,
    /// The table in it, as `["stages", "fetch"]`.
    pub table: Vec<String>,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: NewValue,
}

/// A value to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// Text.
    Text(String),
    /// A number.
    Number(u32),
}

/// Why an edit cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unfixed {
    /// It is no TOML.
    #[error("it is no TOML any more: {0}")]
    NoToml(#[from] toml_edit::TomlError),
    /// The table is not there.
    #[error("it has no table `[{0}]`")]
    NoTable(String),
    /// Somebody else has set it.
    #[error("`{key}` was {before} when it was read and is {now} by now: what is to be mended was changed meanwhile")]
    Changed {
        /// Table and key.
        key: String,
        /// The value when it was read.
        before: String,
        /// The value by now.
        now: String,
    },
}

/// Whether what the edits replace still stands in `text` as it stood in `before`.
///
/// # Errors
/// The first value that does not.
pub fn unchanged(file: &std::path::Path, before: &str, text: &str, edits: &[Edit]) -> Result<(), Unfixed> {
    let parsed = |text: &str| text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).parse::<DocumentMut>();
    let (mut before, mut now) = (parsed(before)?, parsed(text)?);
    for edit in edits.iter().filter(|edit| edit.file == file) {
        let path = path_of(edit);
        let value = |document: &mut DocumentMut| -> Result<Option<String>, Unfixed> {
            let item = table_of(document, &path)?.get(&edit.key);
            // Without the comment beside it.
            let bare = |item: &Item| match item {
                Item::Value(value) => value.clone().decorated("", "").to_string(),
                other => other.to_string().trim().to_owned(),
            };
            Ok(item.map(bare))
        };
        let (before, now) = (value(&mut before)?, value(&mut now)?);
        if before != now {
            let told =
                |value: Option<String>| value.map_or_else(|| "not there".to_owned(), |value| format!("`{value}`"));
            let key = toml_key(&path.into_iter().chain([edit.key.as_str()]).collect::<Vec<_>>());
            return Err(Unfixed::Changed { key, before: told(before), now: told(now) });
        }
    }
    Ok(())
}

/// The table of an edit, from the top of its file.
fn path_of(edit: &Edit) -> Vec<&str> {
    let prefix: &[&str] = if is_pyproject(&edit.file) { &TOOL_TABLE } else { &[] };
    prefix.iter().copied().chain(edit.table.iter().map(String::as_str)).collect()
}

fn table_of<'a>(document: &'a mut DocumentMut, path: &[&str]) -> Result<&'a mut dyn TableLike, Unfixed> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for name in path {
        table =
            table.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(|| Unfixed::NoTable(toml_key(path)))?;
    }
    Ok(table)
}

/// The text of a file with these edits made; edits of other files are left out.
///
/// # Errors
/// Where the text is not the manifest that the edits are for.
pub fn apply(file: &std::path::Path, text: &str, edits: &[Edit]) -> Result<String, Unfixed> {
    // The TOML reader drops a byte order mark, and makes every line end alike.
    let (mark, rest) = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => (BYTE_ORDER_MARK, rest),
        None => ("", text),
    };
    let mut text = rest.to_owned();
    for edit in edits.iter().filter(|edit| edit.file == file) {
        text = with_own_line_ends(&text, &edited(&text, edit)?);
    }
    Ok(format!("{mark}{text}"))
}

/// `edited` with the line ends of `text`, of which one stretch was changed.
fn with_own_line_ends(text: &str, edited: &str) -> String {
    let bare = |line: &str| line.strip_suffix('\n').map_or(line, |line| line.trim_end_matches('\r')).to_owned();
    let (own, new): (Vec<&str>, Vec<&str>) =
        (text.split_inclusive('\n').collect(), edited.split_inclusive('\n').collect());
    let same = |pair: &(&&str, &&str)| bare(pair.0) == bare(pair.1);
    let before = own.iter().zip(&new).take_while(same).count();
    let least = own.len().min(new.len()) - before;
    let after = own.iter().rev().zip(new.iter().rev()).take(least).take_while(same).count();
    // What is new ends as the line that it replaces or follows, or, where that has no end, as one above.
    let end_at = |count: usize| {
        let beside = own.iter().take(count).rev().find(|line| line.ends_with('\n')).or(own.first());
        if beside.is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" }
    };
    let end = end_at(if own.len() > before + after { before + 1 } else { before });
    let replaces_last = own.len() > before + after && after == 0;
    let stays_open = replaces_last && own.last().is_some_and(|line| !line.ends_with('\n'));
    let mut out = String::with_capacity(edited.len() + new.len());
    for (index, line) in new.iter().enumerate() {
        let is_last = index + 1 == new.len();
        let kept = match index {
            _ if index < before => own.get(index),
            _ if index >= new.len() - after => own.get(index + own.len() - new.len()),
            _ => None,
        };
        match kept {
            Some(kept) if kept.ends_with('\n') || is_last => out.push_str(kept),
            // The last line of a file may have had no end, and need one now.
            Some(kept) => out.extend([kept, end_at(own.len())]),
            None => {
                out.push_str(&bare(line));
                out.push_str(if line.ends_with('\n') && !(is_last && stays_open) { end } else { "" });
            }
        }
    }
    out
}

fn edited(text: &str, edit: &Edit) -> Result<String, Unfixed> {
    let mut document: DocumentMut = text.parse()?;
    let table = table_of(&mut document, &path_of(edit))?;
    let mut value = match &edit.value {
        NewValue::Text(text) => Value::from(text.as_str()),
        NewValue::Number(number) => Value::from(i64::from(*number)),
    };
    match table.get_mut(&edit.key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        Some(item) => *item = Item::Value(value),
        None => {
            table.insert(&edit.key, Item::Value(value));
        }
    }
    Ok(document.to_string())
}
