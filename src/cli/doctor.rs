//! `poolpick doctor`: the whole ladder for this machine, user and container, with the command that would add a rung.

use super::args::DoctorArgs;
use super::exit::Failure;
use super::print;
use crate::observe::{DISABLE, Disabled, Findings, probe};
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Probes and prints.
///
/// # Errors
/// A wrong `POOLPICK_DISABLE`, or a stdout that cannot be written.
pub fn run(arguments: &DoctorArgs) -> Result<ExitCode> {
    let disabled = Disabled::parse(&std::env::var(DISABLE).unwrap_or_default()).map_err(Failure::from)?;
    let findings = probe(disabled);
    if arguments.json {
        let value = as_json(&findings);
        return print(|out| {
            serde_json::to_writer_pretty(&mut *out, &value)?;
            writeln!(out)
        });
    }
    print(|out| {
        writeln!(out, "sources, best first:")?;
        for finding in &findings.findings {
            match &finding.result {
                Ok(detail) => writeln!(out, "  {:<10} yes  {} ({detail})", finding.source, finding.gives)?,
                Err(why) => {
                    writeln!(out, "  {:<10} no   {}", finding.source, finding.gives)?;
                    writeln!(out, "                  why: {why}")?;
                    if let Some(remedy) = why.remedy() {
                        writeln!(out, "                  fix: {remedy}")?;
                    }
                }
            }
        }
        writeln!(out, "\nthis machine and container:")?;
        for (name, value) in &findings.facts {
            writeln!(out, "  {name:<20} {value}")?;
        }
        let rung =
            findings.findings.iter().find(|finding| finding.result.is_ok()).map_or("none", |finding| finding.source);
        writeln!(out, "\n`poolpick profile` would use {rung} here.")
    })
}

fn as_json(findings: &Findings) -> serde_json::Value {
    let sources: Vec<serde_json::Value> = findings
        .findings
        .iter()
        .map(|finding| {
            json!({
                "source": finding.source,
                "gives": finding.gives,
                "available": finding.result.is_ok(),
                "detail": finding.result.as_ref().ok(),
                "why_not": finding.result.as_ref().err().map(ToString::to_string),
                "remedy": finding.result.as_ref().err().and_then(|why| why.remedy()),
            })
        })
        .collect();
    let facts: serde_json::Map<String, serde_json::Value> =
        findings.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "sources": sources, "facts": facts })
}
