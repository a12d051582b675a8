//! Times, sizes, shares and keys as people type them, on the command line and in manifests. Must not know options or keys.

use bytesize::ByteSize;
use std::time::Duration;

/// `500ms`, `10s`, `2m`, or plain seconds.
///
/// # Errors
/// Says what it is instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<f64>() {
        Ok(seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| "it is a time such as 500ms, 10s or 2m".to_owned())?
        }
        Err(_) => humantime::parse_duration(text).map_err(|_| "it is a time such as 500ms, 10s or 2m".to_owned())?,
    };
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// `4096`, `64KiB`, `10MB`.
///
/// # Errors
/// Says what it is instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>().map(|size| size.as_u64()) {
        Ok(u64::MAX) => Err("it is more than any machine holds".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("it is a size such as 4096, 64KiB or 10MB".to_owned()),
    }
}

/// A number from 0 to 1.
///
/// # Errors
/// Says what it is instead.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is a number from 0 to 1".to_owned()),
    }
}

/// A key of TOML as it must be typed: each part bare where that is allowed, else in quotes.
///
/// ```
/// assert_eq!(poolpick::units::toml_key(&["stages", "etl.parse"]), "stages.\"etl.parse\"");
/// ```
pub fn toml_key(parts: &[&str]) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let part = |part: &&str| {
        if !part.is_empty() && part.chars().all(is_bare) {
            return (*part).to_owned();
        }
        let mut quoted = String::from('"');
        for letter in part.chars() {
            match letter {
                '"' | '\\' => quoted.extend(['\\', letter]),
                _ if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
                _ => quoted.push(letter),
            }
        }
        quoted.push('"');
        quoted
    };
    parts.iter().map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_as_they_were() {
        for name in ["parse", "a b.c", "it's \"so\"", "", "größe", "back\\slash", "bell\u{7}", "-x"] {
            let text = format!("[{}]\n", toml_key(&["stages", name]));
            let read: toml_edit::DocumentMut = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(read["stages"].get(name).is_some(), "{text}");
        }
        assert_eq!(toml_key(&["programs", "nightly", "expect"]), "programs.nightly.expect");
    }
}
