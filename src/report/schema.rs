//! The JSON Schema of the report, generated from its types so that it cannot drift. Must not add rules of its own
//! but one: every key is required, because a report always writes every key.

use super::Report;
use super::check::Check;
use super::compare::Comparison;
use super::jsonl::Event;
use super::race::Race;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema (draft 2020-12) of what `--export json` writes. Unknown keys are allowed: a minor version may add some.
pub fn report_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<Report>().to_value()
}

/// The schema of what `poolpick race` writes.
pub fn race_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<Race>().to_value()
}

/// The schema (draft 2020-12) of a line of what `--export jsonl` writes.
pub fn event_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<Event<'_>>().to_value()
}

/// The schema (draft 2020-12) of what `check` writes as JSON.
pub fn check_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<Check>().to_value()
}

/// The schema (draft 2020-12) of what `compare` writes as JSON.
pub fn comparison_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<Comparison>().to_value()
}
