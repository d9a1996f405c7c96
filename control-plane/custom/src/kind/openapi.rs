//! The schema of a kind as it is published: the definition's own, with the fields that every object has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str =
    "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

pub fn published(schema: &Value, generator: &mut SchemaGenerator) -> Schema {
    let mut metadata = generator.subschema_for::<ObjectMeta>().to_value();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("description".to_owned(), METADATA.into());
    }
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("type".to_owned(), "object".into());
        embedded(fields, &metadata);
        add_fields(fields, &metadata);
    }
    Schema::try_from(schema).unwrap_or_default()
}

/// Gives resources inside of the object their fields.
fn embedded(schema: &mut Map<String, Value>, metadata: &Value) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(|property| embedded(property, metadata));
    }
    for name in ["items", "additionalProperties"] {
        if let Some(Value::Object(below)) = schema.get_mut(name) {
            embedded(below, metadata);
        }
    }
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        add_fields(schema, metadata);
    }
}

fn add_fields(schema: &mut Map<String, Value>, metadata: &Value) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    properties.insert("apiVersion".to_owned(), json!({ "type": "string", "description": API_VERSION }));
    properties.insert("kind".to_owned(), json!({ "type": "string", "description": KIND }));
    properties.insert("metadata".to_owned(), metadata.clone());
}
