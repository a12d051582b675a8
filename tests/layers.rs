//! Keeps the architecture: which layer may know which, what the pure ones may not touch, where `unsafe` may stand, and
//! how every file opens. Reads the sources as tokens; knows nothing of what they do. docs/architecture.md shows the same
//! table, and is compared with it.

mod source;

use source::{Path, Token, paths, tokens, without_tests};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path as File, PathBuf};

/// A folder of `src/`, and what its files may know besides it.
struct Layer {
    name: &'static str,
    /// Touches no clock, file, environment, process or thread.
    pure: bool,
    may_know: &'static [&'static str],
}

const fn pure(name: &'static str, may_know: &'static [&'static str]) -> Layer {
    Layer { name, pure: true, may_know }
}

const fn acting(name: &'static str, may_know: &'static [&'static str]) -> Layer {
    Layer { name, pure: false, may_know }
}

/// A row knows only rows above it, so a cycle cannot be written.
const LAYERS: [Layer; 16] = [
    pure("units", &[]),
    pure("laws", &["units"]),
    pure("trace", &["units"]),
    pure("timeline", &["units", "trace"]),
    pure("stages", &["units", "laws", "trace", "timeline"]),
    pure("predict", &["units", "laws", "trace", "stages"]),
    pure("verdict", &["units", "laws", "trace", "stages", "predict"]),
    pure("report", &["units", "trace", "stages", "predict", "verdict"]),
    pure("gate", &["units", "verdict", "report"]),
    acting("sys", &["units"]),
    acting("target", &["units", "sys"]),
    acting("observe", &["units", "trace", "sys", "target"]),
    acting("calibrate", &["units", "laws", "sys", "target"]),
    acting("race", &["units", "laws", "report", "sys", "target"]),
    acting("manifest", &["units", "verdict", "sys", "observe"]),
    acting(
        "cli",
        &[
            "units",
            "laws",
            "trace",
            "timeline",
            "stages",
            "predict",
            "verdict",
            "gate",
            "report",
            "sys",
            "target",
            "observe",
            "calibrate",
            "race",
            "manifest",
        ],
    ),
];

/// Where `unsafe` may stand.
const UNSAFE_IN: &str = "sys";

/// What pure layers may use of other crates: none of these touches the system.
const PURE_CRATES: [&str; 14] = [
    "anstyle",
    "bytesize",
    "comfy_table",
    "crc32fast",
    "hdrhistogram",
    "humantime",
    "postcard",
    "quick_junit",
    "rustc_hash",
    "schemars",
    "serde",
    "serde_json",
    "thiserror",
    "unicode_width",
];

/// Parts of `std` that pure layers may not touch.
const IMPURE_STD: [&[&str]; 12] = [
    &["fs"],
    &["env"],
    &["process"],
    &["thread"],
    &["net"],
    &["os"],
    &["time", "Instant"],
    &["time", "SystemTime"],
    &["time", "UNIX_EPOCH"],
    &["io", "stdin"],
    &["io", "stdout"],
    &["io", "stderr"],
];

/// Macros that print: only the command line talks.
const PRINTING: [&str; 5] = ["println", "print", "eprintln", "eprint", "dbg"];

/// What is wrong in one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    file: String,
    line: usize,
    text: String,
}

fn layer(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == name)
}

/// Everything that is wrong with a file below `src/`. `crates`: the package's dependencies, as they are written in code.
fn offences(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<Offence> {
    let mut found = Vec::new();
    let mut offend = |line, text: String| found.push(Offence { file: file.to_owned(), line, text });
    if !text.starts_with("//!") {
        offend(1, "does not open with `//!`: what it is for and what it must not do".to_owned());
    }
    let all = tokens(text);
    let modules = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut modules: Vec<&str> = modules.split('/').collect();
    modules.pop_if(|last| matches!(*last, "mod" | "lib" | "main"));
    let name = modules.first().copied().unwrap_or("");
    if name != UNSAFE_IN {
        for token in all.iter().filter(|token| token.text == "unsafe") {
            offend(token.line, format!("`unsafe` outside `{UNSAFE_IN}`"));
        }
    }
    let code = without_tests(all);
    for attribute in
        code.windows(3).filter(|three| three.iter().map(|token| token.text.as_str()).eq(["#", "[", "path"]))
    {
        offend(attribute[0].line, "`#[path]`: a file belongs to the layer of its folder".to_owned());
    }
    if name.is_empty() {
        // lib.rs declares the layers, main.rs hands over to the command line.
        let paths = paths(&code, modules.len());
        for path in paths.iter().filter(|path| matches!(path.first(), "crate" | "poolpick")) {
            if !(file == "src/main.rs" && path.segment(1) == "cli") {
                offend(path.line, format!("`{path}`: the crate's root holds no code"));
            }
        }
        return found;
    }
    let Some(this) = layer(name) else {
        offend(1, format!("`{name}` has no row in the table of tests/layers.rs"));
        return found;
    };
    for path in &paths(&code, modules.len()) {
        if path.first() == "crate" {
            let other = path.segment(1);
            match layer(other) {
                _ if other == name => {}
                Some(_) if this.may_know.contains(&other) => {}
                Some(_) => offend(path.line, format!("`{path}`: `{name}` may not know `{other}`")),
                None => offend(path.line, format!("`{path}` names no layer")),
            }
        }
        if this.pure
            && let Some(why) = impure(path, crates)
        {
            offend(path.line, format!("`{path}`: {why}, and `{name}` is pure"));
        }
    }
    if name != "cli" {
        for (index, token) in code.iter().enumerate() {
            let is_macro = code.get(index + 1).is_some_and(|next| next.text == "!");
            if is_macro && PRINTING.contains(&token.text.as_str()) {
                offend(token.line, format!("`{}!`: only `cli` prints", token.text));
            }
        }
        for path in paths(&code, modules.len()).iter().filter(|path| path.ends_with(&["process", "exit"])) {
            offend(path.line, format!("`{path}`: only `cli` ends the process"));
        }
    }
    found
}

/// What a path touches that a pure layer may not.
fn impure(path: &Path, crates: &BTreeSet<String>) -> Option<&'static str> {
    let rest: Vec<&str> = path.segments.iter().skip(1).map(String::as_str).collect();
    match path.first() {
        // `env!` is compile time.
        "std" | "core" if path.is_macro => None,
        "std" | "core" => match rest.as_slice() {
            [] | ["*" | "self"] if path.in_use => Some("it imports the standard library whole"),
            ["time"] | ["time", "*" | "self"] if path.in_use => Some("it imports the clocks"),
            rest => IMPURE_STD
                .iter()
                .any(|wanted| rest.starts_with(wanted))
                .then_some("it is a clock, file, environment, process or thread"),
        },
        other if crates.contains(other) => {
            (!PURE_CRATES.contains(&other)).then_some("that crate is not known to leave the system alone")
        }
        _ => None,
    }
}

fn root() -> &'static File {
    File::new(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files below `src/`, with `/` and from `src` on.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("it is below").to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("sources are UTF-8")));
            }
        }
    }
    found.sort();
    found
}

/// The package's dependencies, as they are written in code.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the package has a manifest");
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            names.insert(name.trim().trim_matches('"').replace('-', "_"));
        }
    }
    names
}

#[test]
fn every_file_keeps_to_its_layer() {
    let crates = dependencies();
    assert!(crates.contains("libc"), "{crates:?}");
    let sources = sources();
    assert!(sources.len() > 50, "{}", sources.len());
    let found: Vec<Offence> = sources.iter().flat_map(|(file, text)| offences(file, text, &crates)).collect();
    let lines: Vec<String> =
        found.iter().map(|offence| format!("{}:{}: {}", offence.file, offence.line, offence.text)).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn the_table_has_no_cycle_and_a_pure_layer_knows_only_pure_ones() {
    for (index, layer) in LAYERS.iter().enumerate() {
        for known in layer.may_know {
            let above = LAYERS.get(..index).and_then(|above| above.iter().find(|above| above.name == *known));
            let above = above.unwrap_or_else(|| panic!("`{}` knows `{known}`, which is not above it", layer.name));
            assert!(above.pure || !layer.pure, "`{}` is pure, `{known}` is not", layer.name);
        }
    }
}

/// Folders of `src/` that hold no Rust: text that a layer includes.
const TEXTS: [&str; 1] = ["agent"];

#[test]
fn the_table_holds_the_folders_that_there_are() {
    let there: BTreeSet<String> = fs::read_dir(root().join("src"))
        .expect("src can be read")
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !TEXTS.contains(&name.as_str()))
        .collect();
    assert_eq!(there, LAYERS.iter().map(|layer| layer.name.to_owned()).collect());
}

#[test]
fn the_architecture_page_shows_the_same_table() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there");
    let mut rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let [name, _, known, pure, ..] = cells.as_slice() else { return None };
        Some((name.trim_end_matches('`').to_owned(), (*known).to_owned(), *pure == "yes"))
    });
    for layer in &LAYERS {
        let known = match (layer.may_know.len(), layer.name) {
            (0, _) => "–".to_owned(),
            (_, "cli") => "all".to_owned(),
            _ => layer.may_know.join(", "),
        };
        assert_eq!(rows.next(), Some((layer.name.to_owned(), known, layer.pure)));
    }
    assert_eq!(rows.next(), None);
}

/// The lines and texts of what the checker finds in a planted file.
fn planted(file: &str, text: &str) -> Vec<(usize, String)> {
    let crates = ["libc", "serde", "procfs"].map(str::to_owned).into();
    offences(file, text, &crates).into_iter().map(|offence| (offence.line, offence.text)).collect()
}

fn assert_found(file: &str, code: &str, line: usize, word: &str) {
    let found = planted(file, &format!("//! A planted file.\n{code}"));
    assert!(found.iter().any(|(at, text)| *at == line && text.contains(word)), "{code}\n{found:?}");
}

fn assert_clean(file: &str, code: &str) {
    let found = planted(file, &format!("//! A planted file.\n{code}"));
    assert!(found.is_empty(), "{code}\n{found:?}");
}

#[test]
fn knowledge_of_a_layer_that_is_not_above_is_found() {
    assert_found("src/units/time.rs", "use crate::trace::Event;", 2, "may not know `trace`");
    assert_found("src/trace/event.rs", "\nfn f() -> crate::timeline::Timeline { todo!() }", 3, "timeline");
    assert_found("src/stages/mod.rs", "use crate::{\n    units::Span,\n    report::{Report, render},\n};", 4, "report");
    assert_found("src/laws/mod.rs", "pub(in crate::cli) fn f() {}", 2, "cli");
    assert_found("src/trace/mod.rs", "use super::timeline::Timeline;", 2, "timeline");
    assert_found("src/report/text/why.rs", "use super::super::super::cli;", 2, "cli");
    assert_found("src/report/text/why.rs", "mod inner {\n use super::super::super::super::sys;\n}", 3, "sys");
    assert_found("src/verdict/judge.rs", "macro_rules! m { () => { $crate::sys::clock::monotonic() } }", 2, "sys");
    assert_found("src/units/mod.rs", "use crate::*;", 2, "names no layer");
    assert_found("src/units/mod.rs", "use crate as root;", 2, "names no layer");
    assert_found("src/units/mod.rs", "use crate::r#trace::Event;", 2, "trace");
    assert_found("src/target/mod.rs", "use crate::observe::probe;", 2, "observe");
    assert_found("src/wizard/mod.rs", "use crate::units::Span;", 1, "no row");
    assert_found("src/units/mod.rs", "#[path = \"../sys/clock.rs\"]\nmod clock;", 2, "folder");
    assert_found("src/trace/mod.rs", "mod a { use super::x::Y; }\nuse super::cli;", 3, "cli");
    assert_found("src/main.rs", "fn main() { poolpick::sys::clock::monotonic(); }", 2, "root");
}

#[test]
fn what_a_layer_may_know_is_not_found() {
    assert_clean("src/stages/mod.rs", "use crate::units::Span;\nuse crate::timeline::{self, Timeline as T};");
    assert_clean("src/report/text/why.rs", "use super::super::Report;\nuse super::words;\nuse self::inner::X;");
    assert_clean("src/report/text/why.rs", "mod inner { use super::super::super::Report; }");
    assert_clean("src/trace/mod.rs", "use crate::trace::event::Event;");
    assert_clean("src/main.rs", "fn main() { poolpick::cli::main() }");
    assert_clean("src/lib.rs", "pub mod units;");
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    assert_clean("src/units/mod.rs", "// use crate::cli;\n/* use crate::cli; /* nested */ unsafe */\n/// `crate::cli`");
    assert_clean(
        "src/units/mod.rs",
        r####"const A: &str = "crate::cli \" unsafe"; const B: &str = r#"crate::"cli"#;"####,
    );
    assert_clean("src/units/mod.rs", "const A: char = '\"'; const B: u8 = b'\\''; fn f<'a>(x: &'a str) {}");
    assert_clean(
        "src/units/mod.rs",
        "#[cfg(test)]\nmod tests {\n use crate::cli;\n fn f() { std::fs::read(\"\"); }\n}",
    );
    assert_clean("src/units/mod.rs", "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;");
    assert_found("src/units/mod.rs", "#[cfg(test)]\nmod tests { }\nuse crate::cli;", 4, "cli");
    assert_found("src/units/mod.rs", "#[cfg(not(test))]\nuse crate::cli;", 3, "cli");
    assert_found("src/units/mod.rs", "const A: char = '\"';\nuse crate::cli;\nconst B: char = '\"';", 3, "cli");
}

#[test]
fn impurity_is_found() {
    for code in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::time;",
        "use std::{collections::HashMap, fs::File};",
        "fn f() { ::std::env::var(\"X\").ok(); }",
        "fn f() { std::process::id(); }",
        "fn f() { std::thread::sleep(D); }",
        "use std as s;",
        "use ::std::fs;",
        "extern crate libc;",
        "use std::*;",
        "use libc::c_int;",
        "fn f() { procfs::ticks_per_second(); }",
        "fn f() { println!(); }",
        "fn f() { std::io::stdout().lock(); }",
    ] {
        let found = planted("src/verdict/judge.rs", &format!("//! A planted file.\n{code}"));
        assert!(!found.is_empty() && found.iter().all(|(line, _)| *line == 2), "{code}: {found:?}");
    }
    assert_clean(
        "src/verdict/judge.rs",
        "use std::time::Duration;\nconst V: &str = std::env!(\"X\"); const W: &str = env!(\"X\");",
    );
    assert_clean("src/verdict/judge.rs", "use serde::Serialize;\nuse std::io::{self, Write};");
    assert_clean("src/observe/host.rs", "use std::fs;\nuse procfs::process::Process;");
    assert_found("src/observe/host.rs", "fn f() { std::process::exit(1) }", 2, "ends the process");
}

#[test]
fn unsafe_outside_its_address_is_found() {
    assert_found("src/observe/host.rs", "fn f() {\n    unsafe { g() }\n}", 3, "unsafe");
    assert_found("src/observe/host.rs", "#[cfg(test)]\nmod tests { unsafe fn f() {} }", 3, "unsafe");
    assert_clean("src/sys/ring.rs", "fn f() { unsafe { g() } }");
    assert_clean("src/report/escape.rs", "fn is_unsafe() {}");
}

#[test]
fn a_file_that_does_not_say_what_it_is_for_is_found() {
    assert_eq!(planted("src/units/mod.rs", "use std::fmt;\n").len(), 1);
    assert_eq!(planted("src/units/mod.rs", "").len(), 1);
}

#[test]
fn tokens_keep_their_lines() {
    let lines: Vec<(String, usize)> =
        tokens("a\n\"x\ny\" b\n/* \n */ c::d r\"\n\" e").into_iter().map(|Token { text, line }| (text, line)).collect();
    let expected = [("a", 1), ("\"\"", 2), ("b", 3), ("c", 5), ("::", 5), ("d", 5), ("\"\"", 5), ("e", 6)];
    assert_eq!(lines, expected.map(|(text, line)| (text.to_owned(), line)));
}
