//! Schemas as OpenAPI 2 and OpenAPI 3.0 spell them. They differ in where references point, and in what may stand beside one.

use super::definitions::PREFIX;
use serde_json::{Map, Value, json};

/// Which OpenAPI a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A definition in this dialect.
    pub fn definition(self, name: &str, schema: &Value) -> Value {
        let Value::Object(fields) = schema else { return json!({}) };
        let mut written = self.object(fields);
        if fields.contains_key("x-kubernetes-int-or-string") {
            self.int_or_string(name, &mut written);
        }
        Value::Object(written)
    }

    /// A reference to a definition, as a schema.
    pub fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({ "$ref": format!("{PREFIX}{name}") }),
            Self::V3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }

    fn schema(self, schema: &Value) -> Value {
        match schema {
            Value::Object(fields) => Value::Object(self.object(fields)),
            // JSON schema's `true`: anything.
            _ => json!({}),
        }
    }

    fn object(self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut written = Map::new();
        let alone = fields.len() == 1;
        for (name, value) in fields {
            let (name, value) = match (name.as_str(), value) {
                ("$ref", Value::String(target)) => {
                    let reference = self.reference(target.strip_prefix(PREFIX).unwrap_or(target));
                    match (self, alone) {
                        // OpenAPI 3.0 ignores what stands beside a reference, so it is wrapped.
                        (Self::V3, false) => ("allOf", json!([reference])),
                        _ => ("$ref", reference["$ref"].clone()),
                    }
                }
                ("properties", Value::Object(properties)) => {
                    let properties = properties.iter().map(|(name, schema)| (name.clone(), self.schema(schema)));
                    ("properties", Value::Object(properties.collect()))
                }
                ("items" | "additionalProperties", schema) => (name.as_str(), self.schema(schema)),
                ("x-kubernetes-int-or-string", _) => continue,
                _ => (name.as_str(), value.clone()),
            };
            written.insert(name.to_owned(), value);
        }
        written
    }

    /// `IntOrString` and `Quantity`: the two types that are a number or a string.
    fn int_or_string(self, name: &str, schema: &mut Map<String, Value>) {
        let is_quantity = name.ends_with(".Quantity");
        match self {
            Self::V2 => drop(schema.insert("type".to_owned(), "string".into())),
            Self::V3 => {
                let number = if is_quantity { "number" } else { "integer" };
                schema.insert("oneOf".to_owned(), json!([{"type": number}, {"type": "string"}]));
            }
        }
        if !is_quantity {
            schema.insert("format".to_owned(), "int-or-string".into());
        }
    }
}
