//! SARIF 2.1.0 (OASIS), as code scanning reads it: a finding is a result, its code a rule. Must not write an empty
//! string where the standard wants one that says something.

use super::check::{Finding, Level};
use super::findings::{findings, fingerprint, level, place, which, with_stage};
use super::{Document, Origin, escape};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Where the standard's schema stands.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Writes one log with one run.
///
/// # Errors
/// Only those of `out`.
pub(super) fn render(document: Document<'_>, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let findings = findings(document);
    let version = match document {
        Document::Profile(report) => &report.poolpick.version,
        Document::Check(check) => &check.poolpick.version,
    };
    let codes: BTreeSet<String> = findings.iter().map(rule).collect();
    let rules: Vec<Value> =
        codes.iter().map(|code| json!({"id": code, "shortDescription": {"text": code.replace('-', " ")}})).collect();
    let results: Vec<Value> = findings
        .iter()
        .enumerate()
        .map(|(at, finding)| {
            let mark = fingerprint(finding, origin.pipeline.as_deref(), which(&findings, at));
            result(document, finding, &mark)
        })
        .collect();
    let driver = json!({"name": "poolpick", "version": said(version), "rules": rules});
    let log = json!({"$schema": SCHEMA, "version": "2.1.0", "runs": [{
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }]});
    super::json::render(&log, out)
}

fn result(document: Document<'_>, finding: &Finding, mark: &str) -> Value {
    let mut result = json!({
        "ruleId": rule(finding),
        "level": level(finding.level),
        "message": {"text": said(&with_stage(finding))},
        "partialFingerprints": {"poolpick/v1": mark},
    });
    let mut location = json!({});
    if let Some(stage) = &finding.stage {
        location["logicalLocations"] = json!([{"name": said(stage), "kind": "function"}]);
    }
    if let Some(place) = place(document, finding) {
        // Code scanning wants a line; a finding that knows none is about the whole file, which begins at 1.
        location["physicalLocation"] = json!({"artifactLocation": {"uri": uri(&place.file)}, "region": {"startLine": place.line.unwrap_or(1).max(1)}});
    }
    if location.as_object().is_some_and(|location| !location.is_empty()) {
        result["locations"] = json!([location]);
    }
    if finding.level != Level::Error && finding.known {
        result["suppressions"] = json!([{"kind": "external", "justification": "the baseline knows it"}]);
    }
    result
}

fn rule(finding: &Finding) -> String {
    said(&finding.code)
}

/// Text made visible; never empty.
fn said(text: &str) -> String {
    if text.is_empty() { "unnamed".to_owned() } else { escape::terminal(text).into_owned() }
}

/// A relative reference to a file (RFC 3986): all but unreserved characters and slashes as `%XX`.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
