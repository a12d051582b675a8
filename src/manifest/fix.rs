//! Edits to a manifest that keep its comments and layout: a value is replaced where it stands, or added to its table.
//! Must not decide what to edit.

use super::{TOOL_TABLE, is_pyproject};
use std::path::PathBuf;
use toml_edit::{DocumentMut, Item, TableLike, Value};

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
}

/// The text of a file with these edits made; edits of other files are left out.
///
/// # Errors
/// Where the text is not the manifest that the edits are for.
pub fn apply(file: &std::path::Path, text: &str, edits: &[Edit]) -> Result<String, Unfixed> {
    let mut document: DocumentMut = text.parse()?;
    for edit in edits.iter().filter(|edit| edit.file == file) {
        let prefix: &[&str] = if is_pyproject(file) { &TOOL_TABLE } else { &[] };
        let path: Vec<&str> = prefix.iter().copied().chain(edit.table.iter().map(String::as_str)).collect();
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for name in &path {
            table = table
                .get_mut(name)
                .and_then(Item::as_table_like_mut)
                .ok_or_else(|| Unfixed::NoTable(path.join(".")))?;
        }
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
    }
    Ok(document.to_string())
}
