//! The manifest as a library sees it: what it means, where it is found, what it extends, its schema, and that no text
//! makes the reader panic. What malformed ones say on the command line is in `tests/check_manifest.rs`.

use poolpick::manifest::{Edit, Entry, Manifest, NewValue, Policy, Undecided, apply, find, load, manifest_schema};
use poolpick::verdict::Executor;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FULL: &str = r#"
required-version = ">=0.1"

[defaults]
env = { C = "3" }

[thresholds]
io = 0.3
cpu = 0.8
ipc = 0.2

[gate]
margin = 0.2
undecided = "fail"
policy = "ratio"

[stages.fetch]   # what waits
command = ["python3", "fetch.py"]
executor = "thread"
function = "stages.fetch:fetch"
workers = 16
env = { A = "1", B = "2" }
cwd = "below"
runs = 3
timeout = "90s"
payload-in = "64KiB"
payload-out = 4096

[programs.nightly]
shell = "python3 pipeline.py | cat"
timeout = 1.5
expect = { "pipeline.parse" = "process", "pipeline:fetch" = "thread" }

[stages.early]
command = ["true"]
"#;

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a temporary file");
    path
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn read(text: &str) -> Result<Manifest, String> {
    let folder = folder();
    load(&written(folder.path(), "poolpick.toml", text), true).map_err(|error| error.to_string())
}

#[test]
fn a_manifest_means_what_it_says() {
    let folder = folder();
    let path = written(folder.path(), "poolpick.toml", FULL);
    let manifest = load(&path, false).expect("it is right");
    assert_eq!((manifest.io, manifest.cpu, manifest.ipc), (Some(0.3), Some(0.8), Some(0.2)));
    assert_eq!(manifest.margin, Some(0.2));
    assert_eq!((manifest.undecided, manifest.policy), (Some(Undecided::Fail), Some(Policy::Ratio)));
    let names: Vec<&str> = manifest.entries.iter().map(Entry::name).collect();
    assert_eq!(names, ["fetch", "nightly", "early"], "in the order of the file");
    let Entry::Stage(fetch) = &manifest.entries[0] else { panic!("{manifest:?}") };
    assert_eq!(fetch.place.line, 17);
    let executor = fetch.executor.as_ref().expect("declared");
    assert_eq!((executor.value, executor.place.line), (Executor::Thread, 19));
    assert_eq!(fetch.function.as_ref().expect("declared").to_string(), "fetch=stages.fetch:fetch");
    assert_eq!(fetch.workers.as_ref().map(|workers| workers.value), Some(16));
    assert_eq!(fetch.command.directory, folder.path().join("below"));
    assert_eq!(fetch.command.variables.len(), 3);
    assert_eq!((fetch.command.runs, fetch.command.timeout), (Some(3), Some(Duration::from_secs(90))));
    assert_eq!((fetch.payload_in, fetch.payload_out), (Some(65_536), Some(4_096)));
    let Entry::Program(nightly) = &manifest.entries[1] else { panic!("{manifest:?}") };
    assert_eq!(nightly.command.argv, ["sh", "-c", "python3 pipeline.py | cat"]);
    assert_eq!(nightly.command.timeout, Some(Duration::from_millis(1_500)));
    let expected: Vec<&str> = nightly.expect.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(expected, ["pipeline.parse", "pipeline:fetch"]);
}

#[test]
fn defaults_are_for_whoever_says_nothing_also_across_files() {
    let folder = folder();
    let below = folder.path().join("below");
    fs::create_dir(&below).expect("own folder");
    let base = "[defaults]\ncwd = \"data\"\nruns = 7\nenv = { A = \"base\", B = \"base\" }\n\
                [stages.old]\ncommand = [\"true\"]\ntimeout = 9\n";
    written(&below, "base.toml", base);
    let own = "extend = \"below/base.toml\"\n[defaults]\ntimeout = \"2m\"\nenv = { A = \"own\" }\n\
               [stages.new]\ncommand = [\"true\"]\ncwd = \".\"\nruns = 1\nenv = { A = \"stage\", C = \"stage\" }\n\
               [programs.nightly]\nshell = \"true\"\n";
    let manifest = load(&written(folder.path(), "poolpick.toml", own), true).expect("it is right");
    let command = |name: &str| {
        let entry = manifest.entries.iter().find(|entry| entry.name() == name).expect("an entry");
        let command = entry.command().clone();
        let mut variables: Vec<String> =
            command.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        variables.sort();
        (command.directory, command.runs, command.timeout.map(|time| time.as_secs()), variables.join(" "))
    };
    let (data, here) = (below.join("data"), folder.path().join("."));
    assert_eq!(command("old"), (data.clone(), Some(7), Some(9), "A=own B=base".to_owned()));
    assert_eq!(command("new"), (here, Some(1), Some(120), "A=stage B=base C=stage".to_owned()));
    assert_eq!(command("nightly"), (data, Some(7), Some(120), "A=own B=base".to_owned()));
}

#[test]
fn a_manifest_for_other_versions_is_refused_before_its_keys_are() {
    let own = env!("CARGO_PKG_VERSION");
    let minor = own.rsplit_once('.').map_or(own, |(minor, _)| minor);
    for wanted in [format!(">={own}"), format!("={own}"), minor.to_owned(), ">=0.0.1, <999".to_owned()] {
        let text = format!("required-version = \"{wanted}\"\n[stages.a]\nshell = \"true\"\n");
        assert!(read(&text).is_ok(), "{wanted}: {:?}", read(&text));
    }
    let text = "required-version = \">=999\"\n[stages.a]\nfuture = 1\n";
    let message = read(text).expect_err("it is for another version");
    assert!(message.contains(&format!("it requires poolpick `>=999`, and this is {own}")), "{message}");
    assert!(
        message.contains("poolpick.toml:1:") && message.contains("hint: install") && !message.contains("future"),
        "{message}"
    );
    let folder = folder();
    let project = "[tool.poolpick]\nrequired-version = \"<0.0.1\"\n[tool.other]\nfuture = 1\n";
    let message = load(&written(folder.path(), "pyproject.toml", project), true).expect_err("the same").to_string();
    assert!(message.contains("it requires poolpick `<0.0.1`"), "{message}");
    let base = written(folder.path(), "base.toml", "required-version = \">=999\"\n");
    let message = read(&format!("extend = {base:?}\n")).expect_err("what it extends, too");
    assert!(message.contains("base.toml:1:"), "{message}");
}

#[test]
fn edits_keep_line_ends_and_byte_order_mark() {
    let file = PathBuf::from("poolpick.toml");
    let edit = |table: &str, key: &str, value| Edit {
        file: file.clone(),
        table: vec!["stages".to_owned(), table.to_owned()],
        key: key.to_owned(),
        value,
    };
    let edits = [
        edit("a", "executor", NewValue::Text("process".to_owned())),
        edit("a", "workers", NewValue::Number(4)),
        edit("b", "workers", NewValue::Number(2)),
    ];
    let before = "\u{feff}# top\r\n[stages.a]\r\nshell = \"\"\"x\r\ny\"\"\"\r\nexecutor = \"thread\" # why\r\n\n# mixed\n[stages.b]\nshell = \"b\"";
    let after = apply(&file, before, &edits).expect("all tables are there");
    assert_eq!(
        after,
        "\u{feff}# top\r\n[stages.a]\r\nshell = \"\"\"x\r\ny\"\"\"\r\nexecutor = \"process\" # why\r\nworkers = 4\r\n\n# mixed\n[stages.b]\nshell = \"b\"\nworkers = 2\n"
    );
    assert_eq!(apply(&file, &after, &edits).expect("again"), after, "twice is once");
    assert_eq!(apply(&file, before, &[]).expect("nothing"), before);
    let open = "[stages.a]\r\nshell = \"a\"\r\nexecutor = 'thread'";
    let after = apply(&file, open, &edits[..1]).expect("the table is there");
    assert_eq!(after, "[stages.a]\r\nshell = \"a\"\r\nexecutor = \"process\"", "no end where there was none");
}

#[test]
fn the_manifest_that_the_guide_shows_is_right() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gate.md")).expect("the page");
    let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it shows one");
    let (extend, rest) = shown.split_once('\n').expect("lines");
    assert!(extend.starts_with("extend = "), "{extend}");
    let manifest = read(rest).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(manifest.entries.len(), 2);
    let defaults = poolpick::gate::Rules::default();
    assert_eq!(manifest.io.zip(manifest.cpu).zip(manifest.ipc).map(|((io, cpu), ipc)| [io, cpu, ipc]), {
        let thresholds = defaults.thresholds;
        Some([thresholds.io, thresholds.cpu, thresholds.ipc])
    });
    assert!(manifest.margin.is_some_and(|margin| (margin - defaults.margin).abs() < 1e-9));
}

#[test]
fn what_it_extends_fills_the_gaps() {
    let folder = folder();
    let base =
        "[thresholds]\nio = 0.2\n[gate]\nmargin = 0.1\n[stages.a]\ncommand = [\"a\"]\n[stages.b]\ncommand = [\"b\"]\n";
    written(folder.path(), "base.toml", base);
    let own = "extend = \"base.toml\"\n[gate]\nmargin = 0.3\n[stages.b]\ncommand = [\"own\"]\n[stages.c]\ncommand = [\"c\"]\n";
    let manifest = load(&written(folder.path(), "poolpick.toml", own), false).expect("both are right");
    assert_eq!((manifest.io, manifest.margin), (Some(0.2), Some(0.3)));
    let programs: Vec<&str> = manifest.entries.iter().map(|entry| entry.command().argv[0].as_str()).collect();
    assert_eq!(programs, ["a", "own", "c"]);
    assert!(manifest.entries[0].place().file.ends_with("base.toml"));

    written(folder.path(), "base.toml", "extend = \"poolpick.toml\"\n");
    let error = load(&folder.path().join("poolpick.toml"), false).expect_err("a circle").to_string();
    assert!(error.contains("extends this file in turn"), "{error}");
    written(folder.path(), "base.toml", "[thresholds]\nio = 0.9\ncpu = 0.95\n");
    let crossing = "extend = \"base.toml\"\n[thresholds]\ncpu = 0.5\n";
    let error = load(&written(folder.path(), "poolpick.toml", crossing), false).expect_err("crossed").to_string();
    assert!(error.contains("`io` is 0.9"), "{error}");
}

#[test]
fn it_is_looked_for_up_to_the_repository_and_no_further() {
    let folder = folder();
    let top = folder.path().canonicalize().expect("it is there");
    let (repository, deep) = (top.join("repository"), top.join("repository/a/b"));
    fs::create_dir_all(&deep).expect("temporary");
    let planted = written(&top, "poolpick.toml", "");
    assert_eq!(find(&deep).file, None, "without a repository only the directory itself");
    assert_eq!(find(&top).file, Some(planted));
    fs::create_dir(repository.join(".git")).expect("temporary");
    assert_eq!(find(&deep).file, None, "what lies above the repository is not ours");
    written(&repository, "pyproject.toml", "[tool.other]\n");
    assert_eq!(find(&deep).file, None, "a pyproject.toml of others");
    let project = written(&repository, "pyproject.toml", "[tool.poolpick.stages.a]\ncommand = [\"true\"]\n");
    assert_eq!(find(&deep).file, Some(project.clone()));
    assert_eq!(load(&project, false).expect("it is right").entries.len(), 1);
    let hidden = written(&repository, ".poolpick.toml", "");
    let found = find(&deep);
    assert_eq!((found.file, found.ignored), (Some(hidden), Some(project)));
    let near = written(&deep, "poolpick.toml", "");
    assert_eq!(find(&deep).file, Some(near), "the nearest");
}

#[test]
fn what_everybody_may_write_is_not_trusted_unless_it_is_named() {
    let folder = folder();
    let path = written(folder.path(), "poolpick.toml", "");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own file");
    mode(&path, 0o666);
    let error = load(&path, false).expect_err("everybody can write it").to_string();
    assert!(error.contains("can be written by everybody") && error.contains("--manifest"), "{error}");
    assert!(load(&path, true).is_ok());
    mode(&path, 0o644);
    mode(folder.path(), 0o777);
    assert!(load(&path, false).is_err(), "everybody could replace it");
    mode(folder.path(), 0o1777);
    assert!(load(&path, false).is_ok(), "nobody else can replace it");
    let open = folder.path().join("open");
    fs::create_dir(&open).expect("own folder");
    std::os::unix::fs::symlink(&path, open.join("poolpick.toml")).expect("own folder");
    mode(&open, 0o777);
    assert!(load(&open.join("poolpick.toml"), false).is_err(), "everybody could replace the link");
    let own = written(folder.path(), "own.toml", "extend = \"poolpick.toml\"\n");
    mode(&path, 0o666);
    let error = load(&own, true).expect_err("only the named one is trusted").to_string();
    assert!(!error.contains("--manifest"), "{error}");
}

#[test]
fn the_schema_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/poolpick-toml.schema.json");
    let text = serde_json::to_string_pretty(&manifest_schema()).expect("a schema is JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &text).expect("the schema can be written");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "UPDATE_GOLDENS=1 rewrites it");
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let validator = jsonschema::draft7::new(&manifest_schema()).expect("a valid schema");
    let valid = |text: &str| {
        let value: toml::Value = toml::from_str(text).expect("TOML");
        validator.is_valid(&serde_json::to_value(value).expect("JSON"))
    };
    assert!(valid(FULL) && read(FULL).is_ok());
    for wrong in [
        "[gates]\n",
        "[gate]\nmargins = 1\n",
        "[gate]\nmargin = 2.0\n",
        "[stages.a]\ncommand = \"true\"\n",
        "[stages.a]\ncommand = [\"true\"]\nexecutor = \"fiber\"\n",
        "[stages.a]\ncommand = [\"true\"]\nruns = 0\n",
        "[programs.a]\ncommand = [\"true\"]\nexecutor = \"thread\"\n",
        "[defaults]\nexecutor = \"thread\"\n",
        "[defaults]\nruns = 0\n",
        "required-version = 1\n",
    ] {
        assert!(!valid(wrong) && read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn edits_keep_comments_and_layout() {
    let before = "# top\n[stages.a]  # one\ncommand = [\"a\"]\nexecutor   =   'thread'  # why\n\n[stages.b]\ncommand = [\"b\"]\n";
    let file = PathBuf::from("poolpick.toml");
    let edit = |table: &str, key: &str, value| Edit {
        file: file.clone(),
        table: vec!["stages".to_owned(), table.to_owned()],
        key: key.to_owned(),
        value,
    };
    let text = || NewValue::Text("process".to_owned());
    let edits =
        [edit("a", "executor", text()), edit("a", "workers", NewValue::Number(4)), edit("b", "executor", text())];
    let after = apply(&file, before, &edits).expect("all tables are there");
    assert_eq!(
        after,
        "# top\n[stages.a]  # one\ncommand = [\"a\"]\nexecutor   =   \"process\"  # why\nworkers = 4\n\n[stages.b]\ncommand = [\"b\"]\nexecutor = \"process\"\n"
    );
    assert_eq!(apply(&file, &after, &edits).expect("again"), after, "twice is once");
    assert!(apply(&file, before, &[edit("c", "executor", text())]).is_err());
    let project = PathBuf::from("pyproject.toml");
    let edits = [Edit { file: project.clone(), ..edit("a", "executor", text()) }];
    let inline = "[tool.poolpick]\nstages = { a = { command = [\"a\"], executor = \"thread\" } } # inline\n";
    let after = apply(&project, inline, &edits).expect("inline tables are tables");
    assert_eq!(after, inline.replace("thread", "process"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn nor_does_a_broken_manifest(at in 0..FULL.len(), length in 0..40usize, put in "[a-z\\[\\]={}\"'\n#.0-9é]{0,8}") {
        let floor = |mut at: usize| { while !FULL.is_char_boundary(at) { at -= 1; } at };
        let (start, end) = (floor(at), floor((at + length).min(FULL.len())));
        let broken = format!("{}{put}{}", &FULL[..start], &FULL[end.max(start)..]);
        if let Err(message) = read(&broken) {
            prop_assert!(message.contains("poolpick.toml:") || message.contains("poolpick.toml`"), "{}", message);
        }
    }
}
