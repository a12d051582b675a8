//! A function that is named as a stage, as it is typed and as the agent is told of it. Must not look whether it exists.

use std::fmt;
use std::str::FromStr;

/// Longest part of a named stage: what is longer fits no channel.
const LONGEST: usize = 512;

/// A function that is a stage: `NAME=MODULE:FUNCTION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStage {
    /// What the report calls it.
    pub name: String,
    /// Where the function is imported from.
    pub module: String,
    /// Its path in there, as `Class.method`.
    pub function: String,
}

impl fmt::Display for NamedStage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}:{}", self.name, self.module, self.function)
    }
}

impl FromStr for NamedStage {
    type Err = String;

    fn from_str(text: &str) -> Result<NamedStage, String> {
        let (name, path) = text.split_once('=').ok_or("it is NAME=MODULE:FUNCTION, as `parse=etl.steps:parse`")?;
        NamedStage::new(name, path)
    }
}

impl NamedStage {
    /// The function at `path` (`MODULE:FUNCTION`, or with a dot between) under this name.
    ///
    /// # Errors
    /// Says what is wrong with either.
    pub fn new(name: &str, path: &str) -> Result<NamedStage, String> {
        let (module, function) = path
            .split_once(':')
            .or_else(|| path.rsplit_once('.'))
            .ok_or_else(|| format!("`{path}` names no function; it is MODULE:FUNCTION, as `etl.steps:parse`"))?;
        if name.trim().is_empty() {
            return Err("the name is missing".to_owned());
        }
        let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
        if name.contains(breaks) || path.contains(breaks) {
            return Err("it holds a line break or another control character".to_owned());
        }
        let plain =
            |word: &str| !word.is_empty() && !word.contains(|letter: char| letter.is_whitespace() || letter == ':');
        if !module.split('.').all(plain) {
            return Err(format!("`{module}` is no module; it is MODULE:FUNCTION, as `etl.steps:parse`"));
        }
        if !function.split('.').all(is_identifier) {
            return Err(format!(
                "`{function}` is no function; it is its name in the module, as `parse` or `Parser.parse`"
            ));
        }
        if [name, module, function].iter().any(|part| part.len() > LONGEST) {
            return Err(format!("a part of it has more than {LONGEST} bytes"));
        }
        let own = str::to_owned;
        Ok(NamedStage { name: own(name), module: own(module), function: own(function) })
    }
}

/// Whether Python would take it for a name, or almost: its rules for letters differ in rare scripts.
fn is_identifier(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}
