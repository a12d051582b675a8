//! What lies in `dashboards/` against the table of metrics: a query that names what is not exported shows nothing and
//! says nothing. `promtool` runs the alerts' own tests where it is; `dashboards/try.sh` tries all for real.

use poolpick::report::metrics::TABLE;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every word of a text that could be a name of ours.
fn words(text: &str) -> BTreeSet<&str> {
    let part = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    text.split(part).filter(|word| word.starts_with("poolpick_")).collect()
}

/// Labels as the page of formats tells them; that page is compared with what is written.
fn known() -> BTreeSet<String> {
    let page = fs::read_to_string(folder().join("../docs/formats.md")).expect("a page");
    let rows = page.lines().filter(|line| line.starts_with("| `poolpick_"));
    let labels = rows.flat_map(|row| {
        row.split('|').nth(2).unwrap_or("").split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    });
    let own = ["poolpick_pipeline_name", "poolpick_stage_name"].map(str::to_owned);
    labels.chain(own).chain(TABLE.iter().map(|metric| metric.prometheus_name())).collect()
}

#[test]
fn every_name_in_the_dashboard_and_the_alerts_is_exported() {
    let known = known();
    for file in ["grafana.json", "alerts.yml", "alerts_test.yml"] {
        let text = read(file);
        let used = words(&text);
        assert!(used.len() > 5, "{file}: {used:?}");
        for word in used {
            assert!(known.contains(word), "{file}: {word}");
        }
    }
}

#[test]
fn the_dashboard_can_be_provisioned() {
    let board: Value = serde_json::from_str(&read("grafana.json")).expect("JSON");
    assert!(board["id"].is_null() && board.get("__inputs").is_none() && board["uid"] == "poolpick-stages");
    let source = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    let panels = board["panels"].as_array().expect("panels");
    assert!(panels.len() > 10);
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice");
        assert_eq!(panel["datasource"], source);
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty() && targets.iter().all(|target| target["datasource"] == source));
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
    }
    let variables: Vec<&str> = board["templating"]["list"]
        .as_array()
        .expect("variables")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(variables, ["datasource", "pipeline", "stage"]);
}

#[test]
fn every_alert_is_told_and_tested() {
    let page = fs::read_to_string(folder().join("../docs/dashboards.md")).expect("a page");
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 4);
    for alert in alerts {
        assert!(page.contains(&format!("| `{alert}` |")), "{alert} is not told");
        let parts: Vec<&str> = tests.split("- alertname: ").filter(|part| part.starts_with(alert)).collect();
        assert!(parts.iter().any(|part| part.contains("exp_alerts")), "{alert} is never seen to fire");
    }
}

#[test]
fn promtool_agrees() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("skipped: no promtool on PATH");
        return;
    }
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(folder()).output().expect("it ran before");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    for golden in ["misrouted.prom", "hostile.prom", "check.prom", "check-hostile.prom"] {
        let file = fs::File::open(folder().join("../tests/goldens").join(golden)).expect("a golden");
        let output = Command::new("promtool").args(["check", "metrics"]).stdin(file).output().expect("it ran before");
        assert!(output.status.success() && output.stderr.is_empty(), "{golden}: {output:?}");
    }
}
