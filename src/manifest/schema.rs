//! The JSON Schema of a manifest, for editors, made from the types that read it. Must not add rules of its own.

use super::file::File;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema, in the draft that editors know best.
pub fn manifest_schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<File>().to_value()
}
