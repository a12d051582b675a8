//! The pages against the program: options, commands, reason codes, exit statuses, keys of the JSON, the glossary, links.
//! Reads pages and sources as text and runs `poolpick` for its help and schema; judges no prose.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words that the glossary must define, and no other page may.
const GLOSSARY: [&str; 28] = [
    "On-CPU",
    "Off-CPU",
    "Context switch",
    "Run-queue delay",
    "Wake-up delay",
    "GIL",
    "GIL wait",
    "Own wait",
    "Starvation",
    "Service demand",
    "Stage",
    "Task",
    "Executor",
    "Worker",
    "Score",
    "Class",
    "Phase",
    "Interval",
    "Payload",
    "Rung",
    "Record",
    "Reading",
    "Trace",
    "Saturation point",
    "Verdict",
    "Misrouting cost",
    "*Voluntary*",
    "*Involuntary*",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every page, from the top of the repository on.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).expect("docs can be read") {
        let name = entry.expect("its entries too").file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    assert!(pages.len() >= 9, "{pages:?}");
    pages
}

/// What `poolpick` prints on stdout.
fn poolpick(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_poolpick")).args(arguments).output().expect("poolpick runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The long options that a help text lists.
fn options(help: &str) -> BTreeSet<String> {
    let option = |line: &str| {
        let line = line.trim_start();
        let long = line.find("--").filter(|_| line.starts_with('-'))?;
        let word = line.get(long..)?.split(|letter: char| letter.is_whitespace() || letter == '=').next()?;
        (word.len() > 2).then(|| word.to_owned())
    };
    help.lines().filter_map(option).collect()
}

/// The commands that `poolpick --help` lists.
fn commands() -> BTreeSet<String> {
    let help = poolpick(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Whether `text` holds `word` and not as a part of a longer one.
fn mentions(text: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The page's lines outside fenced blocks, and those inside with the language of their fence.
fn split_fences(page: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let (mut prose, mut code) = (Vec::new(), Vec::new());
    let mut fence = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, Some(language)) => code.push((language, line)),
            (None, None) => prose.push(line),
        }
    }
    assert_eq!(fence, None, "a fence is not closed");
    (prose, code)
}

/// Headings of a page as the anchors that GitHub makes of them.
fn anchors(page: &str) -> BTreeSet<String> {
    let (prose, _) = split_fences(page);
    let headings = prose.into_iter().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(slug).collect()
}

/// Targets of the inline links of a page.
fn links(page: &str) -> Vec<String> {
    let text = split_fences(page).0.join("\n");
    let behind = text.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn reason_codes_and_their_sections_are_the_same() {
    let quoted = |path: &str, before: &str, at: &str| -> Vec<String> {
        let code = |line: &str| {
            let rest = line.trim().strip_prefix(before)?.split_once(at)?.1;
            rest.split_once('"').map(|(code, _)| code.to_owned())
        };
        read(path).lines().filter_map(code).collect()
    };
    let mut codes: BTreeSet<String> = quoted("src/verdict/reason.rs", "Reason::", "=> \"").into_iter().collect();
    codes.extend(quoted("src/verdict/diagnose.rs", "Warning::", "=> \""));
    codes.extend(quoted("src/agent/poolpick_agent.py", "_note(", "\""));
    codes.extend(quoted("src/report/code.rs", "Code::", "=> \""));
    assert!(codes.len() > 10, "{codes:?}");
    let page = read("docs/reasons.md");
    let sections: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(codes, sections);
    for (section, text) in page.split("\n## ").skip(1).filter_map(|part| part.split_once('\n')) {
        assert!(text.contains("- Decided by: ") && text.contains("- To do: "), "{section}");
    }
}

#[test]
fn the_guide_tells_every_option_of_every_command() {
    let guide = read("docs/guide.md");
    for command in commands().iter().filter(|command| *command != "help") {
        assert!(guide.contains(&format!("poolpick {command}")), "{command}");
        let options = options(&poolpick(&[command, "--help"]));
        assert!(options.contains("--help"), "{command}: {options:?}");
        let untold: Vec<&String> = options.iter().filter(|option| !mentions(&guide, option)).collect();
        assert!(untold.is_empty(), "{command}: {untold:?}");
    }
    let formats = poolpick(&["profile", "--help"]);
    let formats = formats.split_once("[possible values: table").and_then(|(_, rest)| rest.split_once(']'));
    let page = read("docs/formats.md");
    let formats = formats.expect("formats are listed").0.split(',').map(str::trim).filter(|format| !format.is_empty());
    for format in formats {
        assert!(mentions(&guide, format) && page.contains(&format!("| `{format}` |")), "{format}");
    }
}

#[test]
fn the_guide_tells_every_source_that_can_be_switched_off() {
    let guide = read("docs/guide.md");
    let source = read("src/observe/ladder.rs");
    let words = source.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => disabled."));
    let words: Vec<&str> = words.map(|(word, _)| word).collect();
    assert!(words.len() >= 4, "{words:?}");
    for word in words {
        assert!(guide.contains(&format!("| `{word}` |")), "{word}");
    }
}

#[test]
fn commands_in_the_pages_exist_with_their_options() {
    let known = commands();
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        let fenced: Vec<&str> =
            split_fences(&text).1.into_iter().filter(|(language, _)| *language == "sh").map(|(_, line)| line).collect();
        let inline = text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("poolpick ")).map(str::trim);
        for line in fenced.into_iter().chain(inline) {
            let Some((_, line)) = line.split_once("poolpick ").or_else(|| line.split_once("cargo run --release -- "))
            else {
                continue;
            };
            let own = line.split(" -- ").next().unwrap_or(line);
            let mut words = own.split_whitespace();
            let command = words.next().unwrap_or("");
            if command == "--help" {
                continue;
            }
            assert!(known.contains(command), "{page}: `poolpick {line}`");
            let options = options(&poolpick(&[command, "--help"]));
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(options.contains(option), "{page}: `poolpick {line}`: {option}");
            }
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn exit_statuses_are_those_of_the_source() {
    let source = read("src/cli/exit.rs");
    let mut constants: BTreeSet<u8> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": u8 = ")?.1.strip_suffix(';')?.parse().ok())
        .collect();
    assert_eq!(constants.len(), 8, "{constants:?}");
    let page = read("docs/exit-status.md");
    let told: BTreeSet<u8> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')?.0.parse().ok()).collect();
    constants.insert(0);
    assert_eq!(told, constants);
}

/// Adds every key of every object of a schema.
fn keys(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                if let ("properties", Some(properties)) = (name.as_str(), value.as_object()) {
                    found.extend(properties.keys().cloned());
                }
                keys(value, found);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// Adds every word that a field may hold.
fn constants(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            found.extend(object.get("const").and_then(|word| word.as_str()).map(str::to_owned));
            object.values().for_each(|value| constants(value, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| constants(value, found)),
        _ => {}
    }
}

#[test]
fn the_json_page_tells_every_key_of_the_schema_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(&poolpick(&["schema"])).expect("the schema is JSON");
    let (mut known, mut words) = (BTreeSet::new(), BTreeSet::new());
    keys(&schema, &mut known);
    constants(&schema, &mut words);
    let check: serde_json::Value = serde_json::from_str(&poolpick(&["schema", "check"])).expect("the schema is JSON");
    keys(&check, &mut known);
    constants(&check, &mut words);
    assert!(known.len() > 80 && words.len() > 30, "{known:?} {words:?}");
    let page = read("docs/json.md");
    let told: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let untold: Vec<&String> = known.iter().filter(|key| !told.contains(key.as_str())).collect();
    assert!(untold.is_empty(), "{untold:?}");
    // First cells of tables are keys.
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap_or("");
        for key in cell.split('`').skip(1).step_by(2) {
            assert!(known.contains(key), "`{key}` is no key of the schema");
        }
    }
    for word in ["class", "verdict", "confidence", "scheduler", "outcome", "policy", "level"] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{word}` |"))).expect("it has a row");
        for value in row.split('`').skip(3).step_by(2) {
            assert!(words.contains(value), "{word}: `{value}`");
        }
    }
}

#[test]
fn the_glossary_defines_each_term_once() {
    let page = read("docs/concepts.md");
    let glossary = page.split("## Glossary").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("it is there");
    for term in GLOSSARY {
        let definition = if term.starts_with('*') { format!("{term}:") } else { format!("**{term}**:") };
        assert_eq!(page.matches(&definition).count(), 1, "{term}");
        assert!(glossary.contains(&definition), "{term}");
    }
    let defined = glossary.lines().filter(|line| line.starts_with("**")).count();
    assert_eq!(defined, GLOSSARY.iter().filter(|term| !term.starts_with('*')).count(), "a term is not in this test");
}

#[test]
fn internal_links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap_or(Path::new(""));
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { PathBuf::from(&page) } else { folder.join(file) };
            let path = root().join(&target);
            assert!(path.is_file(), "{page}: {link}");
            if !anchor.is_empty() {
                let linked = fs::read_to_string(&path).expect("pages are UTF-8");
                assert!(anchors(&linked).contains(anchor), "{page}: {link}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let linked: BTreeSet<String> = links(&read("README.md")).into_iter().collect();
    for page in pages().iter().filter(|page| *page != "README.md") {
        assert!(linked.contains(page), "{page}");
    }
}

#[test]
fn paths_in_the_pages_exist() {
    for page in pages() {
        for path in read(&page).split('`').skip(1).step_by(2) {
            let below = ["fixtures/", "tests/", "src/", "schemas/"].iter().any(|folder| path.starts_with(folder));
            let in_layer = path.ends_with(".rs") && !below;
            let path = if in_layer { format!("src/{path}") } else { path.to_owned() };
            if (below || in_layer) && !path.contains([' ', '*']) && !path.ends_with("/mod.rs") {
                assert!(root().join(&path).exists(), "{page}: {path}");
            }
        }
    }
}

#[test]
fn the_readme_shows_what_the_example_prints() {
    let readme = read("README.md");
    let (_, code) = split_fences(&readme);
    let sh: Vec<&str> = code.iter().filter(|(language, _)| *language == "sh").map(|(_, line)| *line).collect();
    assert_eq!(sh, ["cargo run --release -- profile -- python3 fixtures/pipeline.py", "cargo test"]);
    let shown: Vec<&str> = code.iter().filter(|(language, _)| *language == "text").map(|(_, line)| *line).collect();
    for stage in ["fetch.py: io-bound", "parse.py: cpu-bound", "enrich.py: hybrid", "gzip: cpu-bound"] {
        assert!(shown.iter().any(|line| line.starts_with(stage)), "{stage}");
    }
}

#[test]
fn help_texts_and_pages_are_read_as_they_are_written() {
    let help = "  -o, --output <FILE>\n      --runs <N>\n  text with --no-option\n  -h, --help  Print";
    assert_eq!(options(help), ["--help", "--output", "--runs"].map(str::to_owned).into());
    assert!(mentions("`--runs 5`", "--runs") && !mentions("--runs-all", "--runs"));
    assert_eq!(anchors("# A b\n```sh\n# no\n```\n## `c`: d-e!"), ["a-b", "c-d-e"].map(str::to_owned).into());
    assert_eq!(links("[a](b.md) and [c](#d)"), ["b.md", "#d"]);
}
