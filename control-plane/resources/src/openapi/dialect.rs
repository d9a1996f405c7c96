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
        if written.remove("x-kubernetes-int-or-string").is_some() {
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
            Value::Bool(false) => json!(false),
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
                _ => (name.as_str(), value.clone()),
            };
            written.insert(name.to_owned(), value);
        }
        if self == Self::V2 {
            reduce(&mut written);
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

/// Takes from a schema what OpenAPI 2 does not have. What clients would then refuse wrongly (`null`, fields that nobody described) is left open.
fn reduce(schema: &mut Map<String, Value>) {
    // Defaults are of version 3 alone as well (kube-openapi's PruneDefaults).
    for name in ["allOf", "anyOf", "default", "not", "oneOf"] {
        schema.remove(name);
    }
    let is_nullable = schema.remove("nullable") == Some(true.into());
    if is_nullable || schema.get("x-kubernetes-int-or-string") == Some(&true.into()) {
        schema.remove("type");
    }
    if is_nullable || schema.get("x-kubernetes-preserve-unknown-fields") == Some(&true.into()) {
        for name in ["additionalProperties", "items", "properties"] {
            schema.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_2_leaves_open_what_it_cannot_say() {
        let schema = json!({ "type": "object", "properties": {
            "port": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] },
            "maybe": { "type": "object", "nullable": true, "properties": { "a": { "type": "string" } } },
            "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "a": { "type": "string" } } },
            "none": { "type": "object", "additionalProperties": false },
        } });
        assert_eq!(Dialect::V3.definition("x", &schema), schema);
        let reduced = Dialect::V2.definition("x", &schema);
        assert_eq!(
            reduced["properties"],
            json!({
                "port": { "x-kubernetes-int-or-string": true },
                "maybe": {},
                "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                "none": { "type": "object", "additionalProperties": false },
            })
        );
    }
}
