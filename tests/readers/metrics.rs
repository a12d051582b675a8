//! Prometheus text 0.0.4 as node_exporter's textfile collector takes it, and OpenMetrics 1.0. Stricter than either.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// A metric with its series.
#[derive(Debug, Default, PartialEq)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub unit: Option<String>,
    pub samples: Vec<(String, Labels, f64)>,
}

/// Which of the two it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// Reads a text; the families by name.
pub fn read(text: &str, dialect: Dialect) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut series: BTreeSet<(String, Labels)> = BTreeSet::new();
    let body = match dialect {
        Dialect::Prometheus => text,
        Dialect::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?,
    };
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("the last line is not ended".to_owned());
    }
    if let Some(control) = text.chars().find(|&letter| letter.is_control() && letter != '\n') {
        return Err(format!("a control character: {control:?}"));
    }
    for line in body.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let told = words.next().unwrap_or("").to_owned();
            if !is_name(name) {
                return Err(format!("`{name}` is no name: {line}"));
            }
            if current.as_deref() != Some(name) {
                if families.contains_key(name) {
                    return Err(format!("{name} is told in two places"));
                }
                families.insert(name.to_owned(), Family::default());
                current = Some(name.to_owned());
            }
            let family = families.get_mut(name).ok_or("no family")?;
            if !family.samples.is_empty() {
                return Err(format!("{keyword} of {name} comes behind its samples"));
            }
            match (keyword, dialect) {
                ("HELP", _) if family.help.is_empty() => family.help = told,
                ("TYPE", _) if family.kind.is_empty() => family.kind = told,
                ("UNIT", Dialect::OpenMetrics) if name.ends_with(&format!("_{told}")) => family.unit = Some(told),
                _ => return Err(format!("unexpected: {line}")),
            }
            continue;
        }
        let (name, labels, value) = sample(line)?;
        let family_name = current.clone().ok_or("a sample without a family")?;
        let family = families.get_mut(&family_name).ok_or("no family")?;
        let suffix = name.strip_prefix(family_name.as_str()).ok_or(format!("{name} is not of {family_name}"))?;
        let fits = match (dialect, family.kind.as_str()) {
            (Dialect::Prometheus, "gauge") | (Dialect::OpenMetrics, "gauge") => suffix.is_empty(),
            (Dialect::OpenMetrics, "stateset") => {
                suffix.is_empty() && labels.contains_key(&family_name) && (value == 0.0 || value == 1.0)
            }
            (Dialect::OpenMetrics, "info") => suffix == "_info" && value == 1.0,
            _ => false,
        };
        if !fits || family.help.is_empty() {
            return Err(format!("no sample of a {}: {line}", family.kind));
        }
        if !series.insert((name.clone(), labels.clone())) {
            return Err(format!("a series twice: {line}"));
        }
        family.samples.push((name, labels, value));
    }
    match families.iter().find(|(_, family)| family.samples.is_empty()) {
        Some((name, _)) => Err(format!("{name} has no samples")),
        None => Ok(families),
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// `name{label="text",…} value` and nothing behind it.
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let wrong = || format!("no sample: {line}");
    let (name, mut rest) = line.split_once('{').ok_or_else(wrong)?;
    if !is_name(name) {
        return Err(wrong());
    }
    let mut labels = Labels::new();
    loop {
        let (label, behind) = rest.split_once("=\"").ok_or_else(wrong)?;
        let (text, behind) = quoted(behind).ok_or_else(wrong)?;
        if !is_name(label) || labels.insert(label.to_owned(), text).is_some() {
            return Err(wrong());
        }
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                let value = behind.strip_prefix("} ").ok_or_else(wrong)?;
                let digits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e' | b'+');
                if !value.bytes().all(digits) {
                    return Err(wrong());
                }
                return Ok((name.to_owned(), labels, value.parse().map_err(|_| wrong())?));
            }
        }
    }
}

/// The text up to the quote that ends it, and what is behind.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, text.get(at + 1..)?)),
            '\\' => out.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            _ => out.push(letter),
        }
    }
    None
}
