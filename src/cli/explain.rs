//! `poolpick explain`: the page of a reason code, from the shipped documentation.

use super::exit::Failure;
use super::print;
use anyhow::Result;
use std::process::ExitCode;

/// The pages of all codes: one second-level heading each.
const PAGES: &str = include_str!("../../docs/reasons.md");

/// Prints the page of a code, or the list of codes.
///
/// # Errors
/// A code that has no page.
pub fn run(code: Option<&str>) -> Result<ExitCode> {
    let Some(code) = code else {
        return print(|out| codes().try_for_each(|code| writeln!(out, "{code}")));
    };
    let page = page(code)
        .ok_or_else(|| Failure::Misuse(format!("`{code}` is no reason code; hint: `poolpick explain` lists them")))?;
    print(|out| writeln!(out, "{}", page.trim_end()))
}

fn heading(line: &str) -> Option<&str> {
    line.strip_prefix("## ").map(|title| title.trim().trim_matches('`'))
}

/// A reason's heading is one kebab-case word.
fn codes() -> impl Iterator<Item = &'static str> {
    PAGES
        .lines()
        .filter_map(heading)
        .filter(|title| title.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
}

fn page(code: &str) -> Option<&'static str> {
    codes().find(|&known| known == code)?;
    let mut at = 0;
    let mut start = None;
    for line in PAGES.split_inclusive('\n') {
        match (start, heading(line)) {
            (None, Some(title)) if title == code => start = Some(at),
            (Some(start), Some(_)) => return PAGES.get(start..at),
            _ => {}
        }
        at += line.len();
    }
    PAGES.get(start?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_page() {
        assert!(codes().count() > 10);
        for code in codes() {
            let page = page(code).expect("a listed code");
            assert!(page.starts_with("## ") && page.lines().filter(|line| line.starts_with("## ")).count() == 1);
        }
        assert_eq!(page("no-such-code"), None);
    }
}
