//! The JSON Schema of a manifest, for editors and other programs. It is made from the same tables of keys that the
//! reader reads by.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::element::MANIFEST;
use super::plugin_reader;
use super::reader::Key;

/// The schema of a manifest, as a JSON Schema of the draft 2020-12.
#[must_use]
pub fn manifest_schema() -> Value {
    let mut schema = mapping(MANIFEST, &["services"], &mut generator());
    schema.insert("patternProperties".to_owned(), json_schema!({ "^x-": true }).to_value());
    document("A manifest of the orchestrator", schema)
}

/// The schema of a `plugin.yaml`, likewise.
#[must_use]
pub fn plugin_schema() -> Value {
    document("A plugin of the orchestrator", plugin_reader::plugin_schema(&mut generator()))
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator()
}

fn document(title: &str, mut schema: Schema) -> Value {
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}

/// The schema of a mapping with these keys and no others.
pub(crate) fn mapping(keys: &[Key], required: &[&str], generator: &mut SchemaGenerator) -> Schema {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut schema = (key.schema)(generator);
            // What the key means to whoever writes it says more than what its type is.
            schema.insert("description".to_owned(), key.about.into());
            (key.name.to_owned(), schema.to_value())
        })
        .collect();
    let mut schema = json_schema!({ "type": "object", "additionalProperties": false });
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// The schema of a service: either code, or a plugin, or an image.
pub(crate) fn service(keys: &[Key], generator: &mut SchemaGenerator) -> Schema {
    let mut schema = mapping(keys, &[], generator);
    let code = serde_json::json!({ "required": ["code"] });
    let plugin = serde_json::json!({ "required": ["plugin"], "not": { "required": ["runtime"] } });
    let alone = serde_json::json!([{ "required": ["runtime"] }, { "required": ["runtime_image"] }]);
    let image = serde_json::json!({ "required": ["image"], "not": { "anyOf": alone } });
    let mut kinds = vec![code, plugin];
    if keys.iter().any(|key| key.name == "image") {
        kinds.push(image);
    }
    schema.insert("oneOf".to_owned(), kinds.into());
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published schemas, for editors. `UPDATE_EXPECTED=1` rewrites them.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may write what it checks")]
    fn the_published_schemas_are_current() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        for (name, schema) in [("manifest", manifest_schema()), ("plugin", plugin_schema())] {
            let file = format!("{docs}/{name}.schema.json");
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
                std::fs::write(&file, text).unwrap();
            }
            let published = std::fs::read_to_string(&file).unwrap_or_default();
            let published: Value = serde_json::from_str(&published).unwrap_or_default();
            assert_eq!(published, schema, "{file} is out of date: run this test with UPDATE_EXPECTED=1");
        }
    }

    #[test]
    fn the_schema_knows_the_keys_that_the_reader_knows() {
        let schema = manifest_schema();
        let service = &schema["properties"]["services"]["additionalProperties"];
        assert_eq!(service["additionalProperties"], false);
        for key in super::super::element::SERVICE {
            assert_eq!(service["properties"][key.name]["description"], key.about, "{}", key.name);
        }
        assert_eq!(service["properties"]["restart"]["anyOf"][0]["oneOf"][0]["const"], "never");
        assert_eq!(schema["required"][0], "services");
    }
}
