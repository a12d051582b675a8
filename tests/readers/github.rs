//! Workflow commands, as a runner takes a line apart: `::name key=text,key=text::data`.

use std::collections::BTreeMap;

/// A command.
#[derive(Debug, PartialEq)]
pub struct Command {
    pub name: String,
    pub properties: BTreeMap<String, String>,
    pub data: String,
}

/// The commands of a log; a line that is none is an error.
pub fn read(text: &str) -> Result<Vec<Command>, String> {
    // A runner ends a line at a carriage return too.
    text.split_terminator(['\n', '\r']).map(|line| command(line).ok_or_else(|| format!("no command: {line}"))).collect()
}

fn command(line: &str) -> Option<Command> {
    let (head, data) = line.strip_prefix("::")?.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let property = |pair: &str| {
        let (key, text) = pair.split_once('=')?;
        Some((key.to_owned(), decoded(text, &[("%3A", ":"), ("%2C", ",")])))
    };
    Some(Command {
        name: name.to_owned(),
        properties: properties.split(',').map(property).collect::<Option<_>>()?,
        data: decoded(data, &[]),
    })
}

/// The per cent sign comes last, as it was the first to be escaped.
fn decoded(text: &str, more: &[(&str, &str)]) -> String {
    let mut text = text.replace("%0D", "\r").replace("%0A", "\n");
    for (code, letter) in more {
        text = text.replace(code, letter);
    }
    text.replace("%25", "%")
}
