//! What is kept, filled in and refused of values, with Kubernetes' words.

use super::*;
use serde_json::json;

fn compiled(schema: Value) -> Node {
    Node::compile(&schema).expect("compiles")
}

/// The schema of an object whose only field is `x`.
fn object(x: Value) -> Node {
    compiled(json!({ "type": "object", "properties": { "x": x } }))
}

fn complaints(x: Value, value: Value) -> Vec<String> {
    object(x).complaints(&json!({ "x": value }), "").iter().map(ToString::to_string).collect()
}

#[test]
fn unknown_fields_go_and_are_named() {
    for (schema, value, kept, unknown) in [
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
            json!({ "a": 1, "b": { "c": 1 } }),
            json!({ "a": 1 }),
            &["x.b"][..],
        ),
        (
            json!({ "type": "array", "items": { "type": "object", "properties": { "a": {} } } }),
            json!([{ "a": 1 }, { "b": 1 }, 3]),
            json!([{ "a": 1 }, {}, 3]),
            &["x[1].b"],
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "object", "properties": { "a": {} } } }),
            json!({ "k": { "a": 1, "b": 2 } }),
            json!({ "k": { "a": 1 } }),
            &["x.k.b"],
        ),
        (
            json!({ "type": "object", "additionalProperties": true }),
            json!({ "k": { "a": 1 }, "l": 1 }),
            json!({ "k": {}, "l": 1 }),
            &["x.k.a"],
        ),
        (
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "a": { "type": "object" } } }),
            json!({ "a": { "b": 1 }, "c": { "d": 1 } }),
            json!({ "a": {}, "c": { "d": 1 } }),
            &["x.a.b"],
        ),
        (
            json!({ "x-kubernetes-preserve-unknown-fields": true, "items": { "properties": { "a": { "type": "object" } } } }),
            json!([{ "a": { "b": 1 }, "c": 1 }, [1]]),
            json!([{ "a": {}, "c": 1 }, [1]]),
            &["x[0].a.b"],
        ),
        (
            json!({ "type": "object", "x-kubernetes-embedded-resource": true, "properties": { "spec": {} } }),
            json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "a" }, "spec": 1, "status": 1 }),
            json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "a" }, "spec": 1 }),
            &["x.status"],
        ),
    ] {
        let node = object(schema.clone());
        let mut whole = json!({ "kind": "K", "metadata": { "name": "a" }, "x": value });
        assert_eq!(node.prune_resource(&mut whole), unknown, "{schema}");
        assert_eq!(whole, json!({ "kind": "K", "metadata": { "name": "a" }, "x": kept }), "{schema}");
    }
}

#[test]
fn defaults_fill_what_is_absent() {
    let schema = json!({ "type": "object", "properties": {
        "size": { "type": "integer", "default": 3 },
        "maybe": { "type": "string", "nullable": true, "default": "x" },
        "plain": { "type": "string" },
        "open": { "type": "string", "nullable": true },
        "deep": { "type": "object", "default": {}, "properties": { "a": { "type": "string", "default": "b" } } },
        "parts": { "type": "array", "items": { "type": "object", "properties": { "n": { "type": "integer", "default": 1 } } } },
        "tags": { "type": "object", "additionalProperties": { "type": "string", "default": "t" } },
    } });
    for (value, filled) in [
        (json!({}), json!({ "size": 3, "maybe": "x", "deep": { "a": "b" } })),
        (
            json!({ "size": null, "maybe": null, "plain": null, "open": null, "deep": { "a": "c" } }),
            json!({ "size": 3, "maybe": null, "open": null, "deep": { "a": "c" } }),
        ),
        (
            json!({ "parts": [{}, { "n": 2 }, null], "tags": { "a": null, "b": "c" } }),
            json!({ "size": 3, "maybe": "x", "deep": { "a": "b" }, "parts": [{ "n": 1 }, { "n": 2 }, null], "tags": { "a": "t", "b": "c" } }),
        ),
    ] {
        let node = object(schema.clone());
        let mut whole = json!({ "x": value });
        node.drop_nulls(&mut whole);
        node.fill(&mut whole);
        assert_eq!(whole, json!({ "x": filled }));
    }
}

#[test]
fn values_that_are_wrong_are_complained_about_in_kubernetes_words() {
    for (schema, value, words) in [
        (json!({ "type": "integer" }), json!("x"), r#"x: Invalid value: "string": x in body must be of type integer: "string""#),
        (json!({ "type": "integer" }), json!(1.5), r#"x: Invalid value: "number": x in body must be of type integer: "number""#),
        (json!({ "type": "string" }), json!(null), r#"x: Invalid value: "null": x in body must be of type string: "null""#),
        (json!({ "type": "integer", "format": "int32" }), json!(true), r#"x: Invalid value: "": x in body must be of type int32: """#),
        (json!({ "type": "string", "format": "date" }), json!(3), r#"x: Invalid value: "int64": x in body must be of type date: "int64""#),
        (
            json!({ "x-kubernetes-int-or-string": true }),
            json!(true),
            r#"x: Invalid value: "boolean": x in body must be of type integer,string: "boolean""#,
        ),
        (json!({ "type": "string", "format": "ipv4" }), json!("a"), r#"x: Invalid value: "a": x in body must be of type ipv4: "a""#),
        (json!({ "type": "string", "maxLength": 2 }), json!("äöü"), "x: Too long: may not be more than 2 bytes"),
        (json!({ "type": "string", "minLength": 2 }), json!("a"), r#"x: Invalid value: "a": x in body should be at least 2 chars long"#),
        (json!({ "type": "string", "pattern": "^a$" }), json!("b"), r#"x: Invalid value: "b": x in body should match '^a$'"#),
        (json!({ "type": "string", "enum": ["a", "b"] }), json!("c"), r#"x: Unsupported value: "c": supported values: "a", "b""#),
        (json!({ "type": "integer", "enum": [1, 2] }), json!(3), r#"x: Unsupported value: 3: supported values: "1", "2""#),
        (json!({ "type": "integer", "minimum": 1 }), json!(0), "x: Invalid value: 0: x in body should be greater than or equal to 1"),
        (
            json!({ "type": "integer", "minimum": 1, "exclusiveMinimum": true }),
            json!(1),
            "x: Invalid value: 1: x in body should be greater than 1",
        ),
        (json!({ "type": "number", "maximum": 1.5 }), json!(2.5), "x: Invalid value: 2.5: x in body should be less than or equal to 1.5"),
        (
            json!({ "type": "integer", "maximum": 1, "exclusiveMaximum": true }),
            json!(1),
            "x: Invalid value: 1: x in body should be less than 1",
        ),
        (json!({ "type": "integer", "multipleOf": 3 }), json!(4), "x: Invalid value: 4: x in body should be a multiple of 3"),
        (
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
            json!([]),
            "x: Invalid value: 0: x in body should have at least 1 items",
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1 }),
            json!(["a", "b"]),
            "x: Too many: 2: must have at most 1 item",
        ),
        (json!({ "type": "object", "minProperties": 1 }), json!({}), "x: Invalid value: 0: x in body should have at least 1 properties"),
        (json!({ "type": "object", "maxProperties": 1 }), json!({ "a": 1, "b": 2 }), "x: Too many: 2: must have at most 1 item"),
        (json!({ "type": "object", "required": ["a"] }), json!({}), "x.a: Required value"),
        (
            json!({ "type": "object", "additionalProperties": false }),
            json!({ "a": 1 }),
            r#"x: Invalid value: "a": x.a in body is a forbidden property"#,
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "array", "items": { "type": "string" } } }),
            json!({ "k": ["a", 1] }),
            r#"x.k[1]: Invalid value: "integer": x.k[1] in body must be of type string: "integer""#,
        ),
    ] {
        assert_eq!(complaints(schema.clone(), value.clone()), [words], "{schema} {value}");
    }
}

#[test]
fn values_that_are_right_have_no_complaint() {
    for (schema, value) in [
        (json!({ "type": "integer" }), json!(1.0)),
        (json!({ "type": "number" }), json!(1)),
        (json!({ "type": "string", "nullable": true }), json!(null)),
        (json!({ "x-kubernetes-int-or-string": true }), json!("50%")),
        (json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] }), json!(3)),
        (json!({ "type": "number", "enum": [1.5, 2] }), json!(2.0)),
        (json!({ "type": "number", "multipleOf": 0.1 }), json!(0.3)),
        (json!({ "type": "integer", "multipleOf": 0.5 }), json!(3)),
        (json!({ "type": "string", "format": "unheard-of" }), json!("x")),
        (json!({ "type": "string", "pattern": r"^\${[^[]{1,1000}}$" }), json!("${a}")),
        (json!({ "x-kubernetes-preserve-unknown-fields": true }), json!({ "a": [null, { "b": 1 }] })),
    ] {
        assert_eq!(complaints(schema.clone(), value.clone()), Vec::<String>::new(), "{schema} {value}");
    }
}

#[test]
fn schemas_are_joined() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } } });
    let with = |name: &str, value: Value| {
        let mut schema = schema.clone();
        schema[name] = value;
        schema
    };
    let either = json!([{ "required": ["a"] }, { "required": ["b"] }]);
    for (schema, value, words) in [
        (with("oneOf", either.clone()), json!({ "a": 1 }), &[][..]),
        (
            with("oneOf", either.clone()),
            json!({ "a": 1, "b": 1 }),
            &[r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#],
        ),
        (
            with("oneOf", either.clone()),
            json!({}),
            &[r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found none valid"#, "x.a: Required value"],
        ),
        (
            with("anyOf", either),
            json!({}),
            &[r#"<nil>: Invalid value: "": "x" must validate at least one schema (anyOf)"#, "x.a: Required value"],
        ),
        // The alternative that the value comes closest to speaks.
        (
            with(
                "anyOf",
                json!([{ "required": ["c"], "properties": { "a": { "minimum": 5 } } }, { "properties": { "a": { "minimum": 1 }, "b": { "minimum": 5 } } }]),
            ),
            json!({ "a": 3, "b": 3 }),
            &[
                r#"<nil>: Invalid value: "": "x" must validate at least one schema (anyOf)"#,
                "x.b: Invalid value: 3: x.b in body should be greater than or equal to 5",
            ],
        ),
        (
            with("allOf", json!([{ "required": ["a"] }])),
            json!({}),
            &["x.a: Required value", r#"<nil>: Invalid value: "": "x" must validate all the schemas (allOf). None validated"#],
        ),
        (
            with("not", json!({ "required": ["a"] })),
            json!({ "a": 1 }),
            &[r#"<nil>: Invalid value: "": "x" must not validate the schema (not)"#],
        ),
    ] {
        assert_eq!(complaints(schema.clone(), value.clone()), words, "{schema} {value}");
    }
}

#[test]
fn what_was_wrong_may_stay_as_it_was() {
    let part = json!({ "type": "object", "properties": { "name": { "type": "string" }, "n": { "type": "integer", "minimum": 5 } } });
    let node = compiled(json!({ "type": "object", "required": ["must"], "properties": {
        "n": { "type": "integer", "minimum": 5 },
        "word": { "type": "string", "not": { "enum": ["bad"] }, "anyOf": [{ "pattern": "^a" }, { "pattern": "^b" }] },
        "parts": { "type": "array", "items": part, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] },
        "atoms": { "type": "array", "items": { "type": "integer", "minimum": 5 } },
        "map": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 5 } },
    } }));
    let about = |old: Value, new: Value| {
        let fields = node.complaints_about_change(&new, &old, "").into_iter().map(|error| error.field);
        fields.collect::<Vec<_>>()
    };
    // The whole is not what it was, and lacks a field.
    assert_eq!(about(json!({ "n": 1 }), json!({ "n": 1, "word": "a" })), ["must"]);
    let change = |old: Value, new: Value| {
        let (mut old, mut new) = (old, new);
        old["must"] = 1.into();
        new["must"] = 2.into();
        about(old, new)
    };
    for (old, new, wrong) in [
        (json!({ "n": 1 }), json!({ "n": 1 }), &[][..]),
        (json!({ "n": 1 }), json!({ "n": 2 }), &["n"]),
        (json!({}), json!({ "n": 1 }), &["n"]),
        (json!({ "word": "bad" }), json!({ "word": "bad" }), &[]),
        (json!({ "word": "bad" }), json!({ "word": "c" }), &["<nil>", "word"]),
        (json!({ "map": { "a": 1 } }), json!({ "map": { "a": 1, "b": 7 } }), &[]),
        (json!({ "map": { "a": 1 } }), json!({ "map": { "a": 1, "b": 1 } }), &["map.b"]),
        // Items of a map list are known by their keys, in whatever order.
        (
            json!({ "parts": [{ "name": "a", "n": 1 }, { "name": "b", "n": 2 }] }),
            json!({ "parts": [{ "name": "b", "n": 2 }, { "name": "a", "n": 3 }, { "name": "c", "n": 1 }] }),
            &["parts[1].n", "parts[2].n"],
        ),
        // Items of other lists are not; the list as a whole is.
        (json!({ "atoms": [1] }), json!({ "atoms": [1] }), &[]),
        (json!({ "atoms": [1] }), json!({ "atoms": [1, 7] }), &["atoms[0]"]),
    ] {
        assert_eq!(change(old.clone(), new.clone()), wrong, "{old} {new}");
    }
    assert_eq!(about(json!({ "n": 1 }), json!({ "n": 1 })), Vec::<String>::new(), "nothing changed");
}

#[test]
fn sets_and_maps_have_each_item_once() {
    let set = json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" });
    let map = |keys: &[&str]| {
        json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
            "items": { "type": "object", "properties": { "a": {}, "b": {}, "inner": set } } })
    };
    for (schema, value, words) in [
        (set.clone(), json!(["a", "b"]), &[][..]),
        (set.clone(), json!(["a", "b", "a", "a"]), &[r#"x[2]: Duplicate value: "a""#]),
        (map(&["a"]), json!([{ "a": 1 }, { "a": 2 }, { "a": 1, "b": 3 }]), &[r#"x[2]: Duplicate value: map[string]interface {}{"a":1}"#]),
        (map(&["a"]), json!([{ "b": 1 }, { "b": 2 }]), &["x[1]: Duplicate value: map[string]interface {}{}"]),
        (
            map(&["a", "b"]),
            json!([{ "a": 1, "b": 1 }, { "a": 1 }, { "a": 1, "b": 1 }]),
            &[r#"x[2]: Duplicate value: map[string]interface {}{"a":1, "b":1}"#],
        ),
        (map(&["a"]), json!([{ "a": 1, "inner": ["x", "x"] }]), &[r#"x[0].inner[1]: Duplicate value: "x""#]),
        (map(&["a"]), json!([3]), &["x[0]: Invalid value: 3: must be an object for an array of list-type map"]),
    ] {
        let found: Vec<String> = object(schema.clone()).duplicates(&json!({ "x": value })).iter().map(ToString::to_string).collect();
        assert_eq!(found, words, "{schema} {value}");
    }
}

#[test]
fn embedded_resources_have_their_form() {
    let node = object(json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }));
    let mut value = json!({ "x": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "labels": {}, "colour": 1, "creationTimestamp": null } } });
    let mut unknown = Vec::new();
    node.coerce(&mut value, &mut unknown).expect("of the form");
    assert_eq!(
        (value, unknown),
        (json!({ "x": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" } } }), vec!["x.metadata.colour".to_owned()])
    );
    for (x, words) in [
        (json!({ "kind": 3 }), "x.kind: Invalid value: 3: must be a string"),
        (
            json!({ "metadata": { "labels": 3 } }),
            r#"x.metadata: Invalid value: map[string]interface {}{"labels":3}: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type map[string]string"#,
        ),
    ] {
        let error = node.coerce(&mut json!({ "x": x }), &mut Vec::new()).expect_err("not of the form");
        assert_eq!(error.to_string(), words);
    }
    let mut stored = json!({ "x": { "kind": 3, "apiVersion": "v1", "metadata": { "labels": 3, "name": "a" } } });
    node.coerce_stored(&mut stored);
    assert_eq!(stored, json!({ "x": { "apiVersion": "v1", "metadata": { "name": "a" } } }));
    for (x, words) in [
        (json!({ "apiVersion": "apps/v1", "kind": "Deployment" }), &[][..]),
        (json!({}), &["x.apiVersion: Required value", "x.kind: Required value"]),
        (
            json!({ "apiVersion": "a/b/c", "kind": "" }),
            &[r#"x.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#, "x.kind: Required value"],
        ),
        (
            json!({ "apiVersion": "v1", "kind": "A", "metadata": { "name": "a/b", "namespace": "n" } }),
            &[r#"x.metadata.name: Invalid value: "a/b": may not contain '/'"#],
        ),
    ] {
        let found: Vec<String> = node.embedded_complaints(&json!({ "x": x }), "").iter().map(ToString::to_string).collect();
        assert_eq!(found, words, "{x}");
    }
}
