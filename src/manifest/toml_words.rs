//! What the TOML reader says, in words for whoever wrote the file. Must not know what a manifest may say.

use super::problem::{Problem, nearest};

/// What the TOML reader says, in our words where it knows what would be right.
pub(super) fn of_toml(error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some((unknown, known)) = words.split_first()
        && let Some((what, kind)) = [("unknown field", "key"), ("unknown variant", "word")]
            .into_iter()
            .find(|(theirs, _)| message.starts_with(theirs))
    {
        let problem = Problem::new(format!("unknown {kind} `{unknown}`"), span);
        debug_assert!(message.contains(what));
        let listed = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        return problem.with_hint(match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? it is one of {listed}"),
            None => format!("it is one of {listed}"),
        });
    }
    let message = plain(message);
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("it is no TOML").to_owned();
    let rest: Vec<&str> = lines.collect();
    let problem = Problem::new(first, span);
    if rest.is_empty() { problem } else { problem.with_hint(rest.join("; ")) }
}

/// Words of the TOML reader, and what they mean to whoever wrote the file.
const PLAIN: [(&str, &str); 10] = [
    ("sequence", "a list"),
    ("map", "a table"),
    ("a map", "a table"),
    ("struct", "a table"),
    ("u32", "a whole number"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("integer", "the number"),
    ("floating point", "the number"),
    ("string", "the text"),
];

/// `invalid type: sequence, expected a map` is `a list where a table is expected`.
fn plain(message: &str) -> String {
    let translated = |words: &str| {
        let known = PLAIN.iter().find(|(theirs, _)| {
            words.strip_prefix(theirs).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        match known {
            // What is named after it is a type of ours.
            Some(("struct", ours)) => (*ours).to_owned(),
            Some((theirs, ours)) => words.replacen(theirs, ours, 1),
            None => words.to_owned(),
        }
    };
    let found = ["invalid type: ", "invalid value: "].into_iter().find_map(|start| message.strip_prefix(start));
    match found.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("{} where {} is expected", translated(found), translated(expected)),
        // Of an enum.
        None if message == "wanted string or table" => "it is one of the words of this key, in quotes".to_owned(),
        None => message.to_owned(),
    }
}
