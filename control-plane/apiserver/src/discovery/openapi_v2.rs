//! The OpenAPI 2 document in its protobuf form (`openapi.v2.Document` of gnostic's OpenAPIv2.proto), which older clients ask for: made of the JSON one.

use crate::codec::protobuf::encode::{boolean, bytes, delimited, double, number};
use serde_json::{Map, Value};

/// The media type under which it is given.
pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Whether it is asked for, under this type or the older one.
pub fn is_asked_for(accept: &str) -> bool {
    ["com.github.proto-openapi.spec.v2.v1.0+protobuf", "com.github.proto-openapi.spec.v2@v1.0+protobuf"]
        .iter()
        .any(|media_type| accept.contains(media_type))
}

/// The document. What is no JSON object is an empty one.
pub fn document(json: &[u8]) -> Vec<u8> {
    let document: Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
    let mut out = Vec::with_capacity(json.len());
    message(DOCUMENT, &document, &mut out);
    out
}

/// A message: the numbers of its fields by their JSON names, and the number of its vendor extensions.
type Message = (&'static [(&'static str, u32, Write)], u32);

/// Appends a field.
type Write = fn(u32, &Value, &mut Vec<u8>);

const DOCUMENT: Message = (&[("swagger", 1, text), ("info", 2, info), ("paths", 8, paths), ("definitions", 9, named_schemas)], 16);

const INFO: Message = (&[("title", 1, text), ("version", 2, text), ("description", 3, text)], 7);

const PATH: Message = (
    &[
        ("get", 2, operation),
        ("put", 3, operation),
        ("post", 4, operation),
        ("delete", 5, operation),
        ("options", 6, operation),
        ("head", 7, operation),
        ("patch", 8, operation),
        ("parameters", 9, parameters),
    ],
    10,
);

const OPERATION: Message = (
    &[
        ("tags", 1, text),
        ("summary", 2, text),
        ("description", 3, text),
        ("operationId", 5, text),
        ("produces", 6, text),
        ("consumes", 7, text),
        ("parameters", 8, parameters),
        ("responses", 9, responses),
        ("schemes", 10, text),
        ("deprecated", 11, flag),
    ],
    13,
);

const BODY_PARAMETER: Message =
    (&[("description", 1, text), ("name", 2, text), ("in", 3, text), ("required", 4, flag), ("schema", 5, schema)], 6);

const QUERY_PARAMETER: Message = (
    &[
        ("required", 1, flag),
        ("in", 2, text),
        ("description", 3, text),
        ("name", 4, text),
        ("type", 6, text),
        ("format", 7, text),
        ("uniqueItems", 20, flag),
    ],
    23,
);

const PATH_PARAMETER: Message = (
    &[
        ("required", 1, flag),
        ("in", 2, text),
        ("description", 3, text),
        ("name", 4, text),
        ("type", 5, text),
        ("format", 6, text),
        ("uniqueItems", 19, flag),
    ],
    22,
);

const RESPONSE: Message = (&[("description", 1, text), ("schema", 2, schema_item)], 5);

const SCHEMA: Message = (
    &[
        ("$ref", 1, text),
        ("format", 2, text),
        ("title", 3, text),
        ("description", 4, text),
        ("default", 5, any),
        ("multipleOf", 6, real),
        ("maximum", 7, real),
        ("exclusiveMaximum", 8, flag),
        ("minimum", 9, real),
        ("exclusiveMinimum", 10, flag),
        ("maxLength", 11, whole),
        ("minLength", 12, whole),
        ("pattern", 13, text),
        ("maxItems", 14, whole),
        ("minItems", 15, whole),
        ("uniqueItems", 16, flag),
        ("maxProperties", 17, whole),
        ("minProperties", 18, whole),
        ("required", 19, text),
        ("enum", 20, anys),
        ("additionalProperties", 21, schema_or_boolean),
        ("type", 22, types),
        ("items", 23, schema_item),
        ("allOf", 24, schema),
        ("properties", 25, named_schemas),
        ("readOnly", 27, flag),
        ("example", 30, any),
    ],
    31,
);

fn message((fields, extensions): Message, object: &Map<String, Value>, out: &mut Vec<u8>) {
    for (name, field, write) in fields {
        if let Some(value) = object.get(*name) {
            write(*field, value, out);
        }
    }
    for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
        named(extensions, name, out, |out| any(2, value, out));
    }
}

/// A message as a field, one for each of a list.
fn field_of(kind: Message, field: u32, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => delimited(field, out, |out| message(kind, object, out)),
        Value::Array(list) => list.iter().for_each(|item| field_of(kind, field, item, out)),
        _ => {}
    }
}

/// A name and what goes by it.
fn named(field: u32, name: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    delimited(field, out, |out| {
        bytes(1, name.as_bytes(), out);
        value(out);
    });
}

/// A text, or each of several.
fn text(field: u32, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => bytes(field, text.as_bytes(), out),
        Value::Array(list) => list.iter().for_each(|item| text(field, item, out)),
        _ => {}
    }
}

fn flag(field: u32, value: &Value, out: &mut Vec<u8>) {
    // False is what is not there.
    if value.as_bool() == Some(true) {
        boolean(field, true, out);
    }
}

fn whole(field: u32, value: &Value, out: &mut Vec<u8>) {
    number(field, value.as_i64().unwrap_or_default(), out);
}

fn real(field: u32, value: &Value, out: &mut Vec<u8>) {
    double(field, value.as_f64().unwrap_or_default(), out);
}

/// Anything, as YAML: every JSON is.
fn any(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| bytes(2, value.to_string().as_bytes(), out));
}

fn anys(field: u32, value: &Value, out: &mut Vec<u8>) {
    value.as_array().into_iter().flatten().for_each(|item| any(field, item, out));
}

fn types(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| text(1, value, out));
}

fn info(field: u32, value: &Value, out: &mut Vec<u8>) {
    field_of(INFO, field, value, out);
}

fn operation(field: u32, value: &Value, out: &mut Vec<u8>) {
    field_of(OPERATION, field, value, out);
}

fn schema(field: u32, value: &Value, out: &mut Vec<u8>) {
    field_of(SCHEMA, field, value, out);
}

fn schema_item(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| schema(1, value, out));
}

fn schema_or_boolean(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| match value {
        // The one case that is told even when it is false.
        Value::Bool(value) => boolean(2, *value, out),
        _ => schema(1, value, out),
    });
}

fn named_schemas(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| {
        for (name, value) in value.as_object().into_iter().flatten() {
            named(1, name, out, |out| schema(2, value, out));
        }
    });
}

fn paths(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| {
        for (path, item) in value.as_object().into_iter().flatten() {
            named(2, path, out, |out| field_of(PATH, 2, item, out));
        }
    });
}

fn responses(field: u32, value: &Value, out: &mut Vec<u8>) {
    delimited(field, out, |out| {
        for (code, response) in value.as_object().into_iter().flatten() {
            named(1, code, out, |out| delimited(2, out, |out| field_of(RESPONSE, 1, response, out)));
        }
    });
}

fn parameters(field: u32, value: &Value, out: &mut Vec<u8>) {
    for parameter in value.as_array().into_iter().flatten() {
        // An item is a parameter, which is of the body or of another place.
        let within = |out: &mut Vec<u8>| match parameter["in"].as_str() {
            Some("body") => field_of(BODY_PARAMETER, 1, parameter, out),
            Some("path") => delimited(2, out, |out| field_of(PATH_PARAMETER, 4, parameter, out)),
            _ => delimited(2, out, |out| field_of(QUERY_PARAMETER, 3, parameter, out)),
        };
        delimited(field, out, |out| delimited(1, out, within));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use serde_json::json;

    /// As much of gnostic's messages as a client looks for.
    #[derive(prost::Message)]
    struct Document {
        #[prost(string, tag = "1")]
        swagger: String,
        #[prost(message, optional, tag = "8")]
        paths: Option<Paths>,
        #[prost(message, optional, tag = "9")]
        definitions: Option<Schemas>,
    }

    #[derive(prost::Message)]
    struct Paths {
        #[prost(message, repeated, tag = "2")]
        all: Vec<NamedBytes>,
    }

    #[derive(prost::Message)]
    struct NamedBytes {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(bytes, tag = "2")]
        value: Vec<u8>,
    }

    #[derive(prost::Message)]
    struct Schemas {
        #[prost(message, repeated, tag = "1")]
        all: Vec<NamedSchema>,
    }

    #[derive(prost::Message)]
    struct NamedSchema {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        value: Option<Schema>,
    }

    #[derive(prost::Message)]
    struct Schema {
        #[prost(string, tag = "1")]
        reference: String,
        #[prost(string, tag = "4")]
        description: String,
        #[prost(string, repeated, tag = "19")]
        required: Vec<String>,
        #[prost(message, optional, tag = "22")]
        kind: Option<Texts>,
        #[prost(message, optional, tag = "25")]
        properties: Option<Schemas>,
        #[prost(message, repeated, tag = "31")]
        extensions: Vec<NamedAny>,
    }

    #[derive(prost::Message)]
    struct Texts {
        #[prost(string, repeated, tag = "1")]
        all: Vec<String>,
    }

    #[derive(prost::Message)]
    struct NamedAny {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        value: Option<Any>,
    }

    #[derive(prost::Message)]
    struct Any {
        #[prost(string, tag = "2")]
        yaml: String,
    }

    #[test]
    fn every_definition_and_path_of_the_json_document_is_there() {
        let json = orknet_resources::openapi::v2_document(orknet_resources::registry());
        let expected: Value = serde_json::from_slice(&json).expect("JSON");
        let read = Document::decode(&document(&json)[..]).expect("a document");
        assert_eq!(read.swagger, "2.0");
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(read.paths.expect("paths").all.iter().map(|path| path.name.clone()).collect::<Vec<_>>(), keys(&expected["paths"]));
        let definitions = read.definitions.expect("definitions").all;
        assert_eq!(definitions.iter().map(|schema| schema.name.clone()).collect::<Vec<_>>(), keys(&expected["definitions"]));
        for NamedSchema { name, value } in definitions {
            let (read, expected) = (value.expect("a schema"), &expected["definitions"][&name]);
            assert_eq!(read.description, expected["description"].as_str().unwrap_or_default(), "{name}");
            assert_eq!(json!(read.required), expected.get("required").cloned().unwrap_or(json!([])), "{name}");
            assert_eq!(read.kind.map(|kind| json!(kind.all[0])), expected.get("type").cloned(), "{name}");
            for NamedSchema { name: field, value } in read.properties.map(|properties| properties.all).unwrap_or_default() {
                let (read, expected) = (value.expect("a schema"), &expected["properties"][&field]);
                assert!(expected.is_object(), "{name}.{field}");
                assert_eq!(read.reference, expected["$ref"].as_str().unwrap_or_default(), "{name}.{field}");
            }
            for NamedAny { name: extension, value } in read.extensions {
                let yaml: Value = serde_yaml_ng::from_str(&value.expect("a value").yaml).expect("YAML");
                assert_eq!(yaml, expected[&extension], "{name}");
            }
        }
    }

    #[test]
    fn both_names_of_the_type_are_known() {
        assert!(is_asked_for("application/com.github.proto-openapi.spec.v2@v1.0+protobuf, application/json"));
        assert!(is_asked_for(MEDIA_TYPE) && !is_asked_for("application/json"));
    }
}
