//! Each rule with a schema that breaks it, and Kubernetes' words.

use super::*;
use serde_json::json;

/// Complaints about a schema whose `spec` has the property `x`, from the property on.
fn about_x(x: Value) -> Vec<String> {
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": { "x": x } } } });
    let found = problems(&schema, "s");
    found.iter().map(|error| error.to_string().replace("s.properties[spec].properties[x]", "x")).collect()
}

fn about(schema: Value) -> Vec<String> {
    problems(&schema, "s").iter().map(ToString::to_string).collect()
}

#[test]
fn right_schemas_have_no_problems() {
    for x in [
        json!({ "type": "string", "enum": ["a", "b"], "default": "a", "pattern": "^[a-z]+$", "maxLength": 3 }),
        json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 5, "nullable": true }),
        json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
        json!({ "x-kubernetes-int-or-string": true, "allOf": [{ "anyOf": [{ "type": "integer" }, { "type": "string" }] }, { "minimum": 3 }] }),
        json!({ "x-kubernetes-preserve-unknown-fields": true }),
        json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }),
        json!({ "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 3 }),
        json!({ "type": "object", "additionalProperties": true }),
        json!({ "type": "array", "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" } } },
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"] }),
        json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" }),
        json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
            "oneOf": [{ "required": ["a"] }, { "required": ["b"], "properties": { "b": { "enum": ["x"] } } }], "not": { "required": ["c"] } }),
        json!({ "type": "object", "properties": { "a": { "type": "string" } },
            "x-kubernetes-validations": [{ "rule": "self.a != ''", "message": "no", "reason": "FieldValueRequired", "fieldPath": ".a" }] }),
    ] {
        assert_eq!(about_x(x.clone()), Vec::<String>::new(), "{x}");
    }
    let metadata =
        json!({ "type": "object", "properties": { "name": { "type": "string", "maxLength": 3 }, "generateName": { "type": "string" } } });
    let object = json!({ "type": "object", "properties": {
        "apiVersion": { "type": "string" }, "kind": { "type": "string" }, "metadata": metadata, "spec": { "type": "object" } } });
    assert_eq!(about(object), Vec::<String>::new());
}

#[test]
fn structure_stands_outside_of_validations() {
    for (x, complaints) in [
        (json!({}), &["x.type: Required value: must not be empty for specified object fields"][..]),
        (json!({ "type": "array", "items": {} }), &["x.items.type: Required value: must not be empty for specified array items"]),
        (json!({ "type": "array" }), &["x.items: Required value: must be specified"]),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "anyOf": [{ "properties": { "a": { "type": "string", "default": "x", "title": "t" } } }] }),
            &[
                "x.anyOf[0].properties[a].default: Forbidden: must be undefined to be structural",
                "x.anyOf[0].properties[a].title: Forbidden: must be empty to be structural",
                "x.anyOf[0].properties[a].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            json!({ "type": "object", "properties": { "metadata": { "type": "object" } }, "oneOf": [{ "properties": { "metadata": { "required": ["a"] } } }] }),
            &["x.oneOf[0].properties[metadata]: Forbidden: must not be specified in a nested context"],
        ),
        (
            json!({ "type": "object", "not": { "additionalProperties": { "minimum": 1 }, "nullable": true, "x-kubernetes-list-type": "set" } }),
            &[
                "x.not.additionalProperties: Forbidden: must be undefined to be structural",
                "x.not.nullable: Forbidden: must be false to be structural",
                "x.not.x-kubernetes-list-type: Forbidden: must be undefined to be structural",
                r#"x.not.type: Required value: must be array if x-kubernetes-list-type is specified"#,
            ],
        ),
        (
            json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "boolean" }] }),
            &["x.anyOf[0].type: Forbidden: must be empty to be structural", "x.anyOf[1].type: Forbidden: must be empty to be structural"],
        ),
        (
            json!({ "x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true }),
            &["x.x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true"],
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-embedded-resource": true }),
            &[
                "x.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
                r#"x.type: Invalid value: "array": must be object if x-kubernetes-embedded-resource is true"#,
            ],
        ),
        (
            json!({ "type": "object", "x-kubernetes-embedded-resource": true, "properties": { "kind": { "type": "integer" }, "metadata": { "type": "string" } } }),
            &[
                r#"x.properties[kind].type: Invalid value: "integer": must be string"#,
                r#"x.properties[metadata].type: Invalid value: "string": must be object"#,
            ],
        ),
        (
            json!({ "type": "string", "pattern": "(" }),
            &[r#"x.pattern: Invalid value: "(": must be a valid regular expression, but isn't: error parsing regexp: unclosed group"#],
        ),
    ] {
        assert_eq!(about_x(x.clone()), complaints, "{x}");
    }
}

#[test]
fn the_root_is_an_object_with_metadata_as_all_have_it() {
    for (schema, complaints) in [
        (json!({}), &["s.type: Required value: must not be empty at the root"][..]),
        (
            json!({ "type": "object", "allOf": [{ "properties": { "a": { "minimum": 3 } } }], "not": { "items": { "minimum": 3 } } }),
            &[
                "s.items: Required value: because it is defined in s.not.items",
                "s.properties[a]: Required value: because it is defined in s.allOf[0].properties[a]",
            ],
        ),
        (json!({ "type": "string" }), &[r#"s.type: Invalid value: "string": must be object at the root"#]),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            &["s.additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            json!({ "type": "object", "properties": { "metadata": { "type": "object", "properties": { "labels": { "type": "object" } } } } }),
            &[
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            json!({ "type": "object", "properties": { "metadata": { "type": "object", "description": "d" } } }),
            &[
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            json!({ "type": "object", "properties": { "apiVersion": { "type": "string", "default": "v1" } } }),
            &["s.properties[apiVersion].default: Forbidden: must not be set in top-level apiVersion"],
        ),
    ] {
        assert_eq!(about(schema.clone()), complaints, "{schema}");
    }
}

#[test]
fn what_is_not_supported_is_refused() {
    let duplicate = r#"x.x-kubernetes-list-map-keys: Invalid value: []string{"k", "k"}: must not contain duplicate entries"#;
    for (x, complaints) in [
        (
            json!({ "type": "text" }),
            &[r#"x.type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string""#][..],
        ),
        (
            json!({ "type": "null" }),
            &[
                r#"x.type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", "object", "string""#,
                "x.type: Forbidden: type cannot be set to null, use nullable as an alternative",
            ],
        ),
        (json!({ "type": "object", "$ref": "#/x" }), &["x.$ref: Forbidden: $ref is not supported"]),
        (json!({ "type": "object", "$schema": "x" }), &[]),
        (
            json!({ "type": "array", "items": [{ "type": "string" }] }),
            &["x.items: Forbidden: items must be a schema object and not an array"],
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
            &["x.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"],
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": { "type": "string" } }),
            &["x.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
        ),
        (
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": false }),
            &["x.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
        ),
        (
            json!({ "type": "string", "x-kubernetes-map-type": "some" }),
            &[
                r#"x.type: Invalid value: "string": must be object if x-kubernetes-map-type is specified"#,
                r#"x.x-kubernetes-map-type: Unsupported value: "some": supported values: "atomic", "granular""#,
            ],
        ),
        (
            json!({ "type": "object", "x-kubernetes-list-type": "set" }),
            &[r#"x.type: Invalid value: "object": must be array if x-kubernetes-list-type is specified"#],
        ),
        (
            json!({ "type": "array", "items": { "type": "object" }, "x-kubernetes-list-type": "set" }),
            &[r#"x.items.x-kubernetes-map-type: Invalid value: "null": must be atomic as item of a list with x-kubernetes-list-type=set"#],
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-map-keys": ["a"] }),
            &["x.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "map" }),
            &[
                "x.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
                r#"x.items.type: Invalid value: "string": must be object if parent array's x-kubernetes-list-type is map"#,
            ],
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "k"],
                "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" } } } }),
            &[duplicate],
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l", "m"],
                "items": { "type": "object", "nullable": true, "required": ["l"],
                    "properties": { "k": { "type": "string" }, "l": { "type": "array", "items": { "type": "string" }, "nullable": true } } } }),
            &[
                r#"x.items.properties[l].type: Invalid value: "object": must be a scalar type if parent array's x-kubernetes-list-type is map"#,
                r#"x.x-kubernetes-list-map-keys: Invalid value: []string{"k", "l", "m"}: entries must all be names of item properties"#,
                "x.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map",
                "x.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                "x.items.properties[l].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            ],
        ),
    ] {
        let found: Vec<String> =
            about_x(x.clone()).into_iter().filter(|text| !text.contains("items: Required value: must be specified")).collect();
        if x.get("$schema").is_some() {
            assert_eq!(found, [r#"s: Invalid value: "": OpenAPIV3Schema 'schema' is not supported"#], "{x}");
        } else {
            assert_eq!(found, complaints, "{x}");
        }
    }
}

#[test]
fn defaults_are_right_and_nothing_of_them_is_dropped() {
    let object = |fields: Value| json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "default": fields });
    for (x, complaints) in [
        (
            json!({ "type": "string", "default": 3 }),
            &[r#"x.default: Invalid value: "integer":  in body must be of type string: "integer""#][..],
        ),
        (object(json!({ "a": "x" })), &[r#"x.default.a: Invalid value: "string": a in body must be of type integer: "string""#]),
        (object(json!({ "b": 1 })), &[r#"x.default: Invalid value: map[string]interface {}{"b":1}: must not have unknown fields"#]),
        (json!({ "type": "string", "enum": ["a"], "default": "b" }), &[r#"x.default: Unsupported value: "b": supported values: "a""#]),
        (
            json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "default": { "kind": "A" } }),
            &["x.default.apiVersion: Required value"],
        ),
        (
            json!({ "type": "object", "x-kubernetes-embedded-resource": true, "properties": {
                "metadata": { "type": "object", "properties": { "labels": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "default": { "a": "b c" } } } } } }),
            &[
                r#"x.properties[metadata].properties[labels].default: Invalid value: map[string]interface {}{"a":"b c"}: must result in valid metadata: metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#,
            ],
        ),
    ] {
        assert_eq!(about_x(x.clone()), complaints, "{x}");
    }
}

#[test]
fn rules_are_whole() {
    let with =
        |rule: Value| about_x(json!({ "type": "object", "properties": { "a": { "type": "string" } }, "x-kubernetes-validations": [rule] }));
    for (rule, complaint) in [
        (json!({ "rule": " " }), "rule: Required value: rule is not specified"),
        (json!({ "rule": "true", "message": " " }), r#"message: Invalid value: " ": message must be non-empty if specified"#),
        (json!({ "rule": "true", "message": "a\nb" }), r#"message: Invalid value: "a\nb": message must not contain line breaks"#),
        (json!({ "rule": "true\n&& true" }), "message: Required value: message must be specified if rule contains line breaks"),
        (
            json!({ "rule": "true", "reason": "Bad" }),
            r#"reason: Unsupported value: "Bad": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired""#,
        ),
        (json!({ "rule": "true", "fieldPath": ".b" }), r#"fieldPath: Invalid value: ".b": fieldPath must be a valid path"#),
    ] {
        assert_eq!(with(rule.clone()), [format!("x.x-kubernetes-validations[0].{complaint}")], "{rule}");
    }
}

#[test]
fn a_schema_without_end_is_refused() {
    let mut schema = json!({ "type": "string" });
    for _ in 0..5000 {
        // Moved, not written and read again.
        schema = Value::Object([("not".to_owned(), schema)].into_iter().collect());
    }
    let found: Vec<String> = problems(&schema, "s").iter().map(ToString::to_string).collect();
    assert_eq!(found, [r#"s: Invalid value: "": schemas are nested deeper than 100 levels"#]);
    assert!(Node::compile(&schema).is_err());
    // It is taken apart piece by piece: its own destructor has no end either.
    while let Some(below) = schema.get_mut("not").map(Value::take) {
        schema = below;
    }
}
