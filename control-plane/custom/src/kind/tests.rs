//! Kinds of definitions: what comes in, what is kept apart, what is shown, and how it is applied.

use super::*;
use crate::kinds;
use orknet_patch::Schema as PatchSchema;
use orknet_patch::apply::{Gvk, Manager, apply};
use orknet_resources::{Scope, openapi};
use serde_json::json;

/// A definition with the versions `v1`, which is stored, and `v2`.
fn definition(generation: i64) -> Value {
    let schema = json!({ "type": "object", "properties": {
        "spec": { "type": "object", "required": ["size"], "properties": {
            "size": { "type": "integer", "minimum": 1 },
            "color": { "type": "string", "default": "red" },
            "parts": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "count": { "type": "integer" } } } },
            "words": { "type": "array", "items": { "type": "string" } },
            "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
            "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "properties": { "a": { "type": "string" }, "b": { "type": "string" } } },
            "free": { "x-kubernetes-preserve-unknown-fields": true },
            "inner": { "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
        } },
        "status": { "type": "object", "properties": { "size": { "type": "integer" }, "selector": { "type": "string" }, "phase": { "type": "string", "default": "New" } } },
    } });
    let v2 = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
        "size": { "type": "integer" }, "color": { "type": "string" }, "shape": { "type": "string", "default": "round" } } } } });
    let scale = json!({ "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector" });
    json!({
        "metadata": { "name": "widgets.example.org", "generation": generation },
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"] },
            "versions": [
                { "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                  "subresources": { "status": {}, "scale": scale },
                  "selectableFields": [{ "jsonPath": ".spec.color" }, { "jsonPath": ".spec.size" }],
                  "additionalPrinterColumns": [
                      { "name": "Size", "type": "integer", "jsonPath": ".spec.size" },
                      { "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether." },
                      { "name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp", "priority": 1 },
                  ] },
                { "name": "v2", "served": true, "storage": false, "deprecated": true, "schema": { "openAPIV3Schema": v2 } },
                { "name": "v3", "served": false, "storage": false },
            ],
        },
    })
}

fn of(definition: &Value) -> Vec<Arc<dyn Resource>> {
    kinds(&Definition::read(definition).expect("whole")).expect("kinds")
}

fn v1() -> Arc<dyn Resource> {
    of(&definition(1)).swap_remove(0)
}

fn decoded(kind: &dyn Resource, spec: Value) -> Value {
    kind.decode(json!({ "metadata": { "name": "a", "namespace": "n" }, "spec": spec })).expect("of the form").object
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn each_served_version_is_a_kind() {
    let kinds = of(&definition(1));
    let names: Vec<&Descriptor> = kinds.iter().map(|kind| kind.descriptor()).collect();
    assert_eq!(names.iter().map(|names| names.version).collect::<Vec<_>>(), ["v1", "v2"]);
    let v1 = names[0];
    assert_eq!((v1.group, v1.kind, v1.plural, v1.singular), ("example.org", "Widget", "widgets", "widget"));
    assert_eq!((v1.short_names, v1.categories, v1.scope), (&["wd"][..], &["all"][..], Scope::Namespaced));
    assert_eq!((v1.subresources, names[1].subresources), (&["status", "scale"][..], &[][..]));
    assert_eq!(names[1].stored_as, v1.stored_as);
    assert_eq!((kinds[0].deprecation(), kinds[1].deprecation()), (None, Some("example.org/v2 Widget is deprecated")));
    let scale = kinds[0].scale().expect("has one");
    assert_eq!((&scale.spec_replicas.join("."), scale.selector.is_some()), (&"spec.size".to_owned(), true));
    assert!(kinds[0].replaces_known_versions_only());
}

#[test]
fn a_body_is_pruned_and_defaulted() {
    let kind = v1();
    let body = json!({
        "apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": { "name": "a", "labels": {}, "colour": "x" },
        "spec": { "size": 1, "sise": 2, "free": { "any": [1] }, "words": null,
            "inner": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "b", "nam": 1 }, "spec": {} } },
        "data": 1,
    });
    let Decoded { object, unknown } = kind.decode(body).expect("of the form");
    assert_eq!(unknown, ["metadata.colour", "data", "spec.sise", "spec.inner.metadata.nam"]);
    assert_eq!(
        object,
        json!({
            "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "a" },
            "spec": { "size": 1, "color": "red", "free": { "any": [1] },
                "inner": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "b" }, "spec": {} } },
        })
    );
    for (body, words) in [
        (json!([]), r#"Widget in version "v1" cannot be handled as a Widget: the object is not a JSON object"#),
        (json!({ "apiVersion": "v1" }), "the API version in the data (v1) does not match the expected API version (example.org/v1)"),
        (json!({ "kind": "Pod" }), "the kind in the data (Pod) does not match the expected kind (Widget)"),
        (
            json!({ "metadata": { "labels": { "a": 1 } } }),
            r#"Widget in version "v1" cannot be handled as a Widget: json: cannot unmarshal number into Go struct field ObjectMeta.labels.a of type string"#,
        ),
        (
            json!({ "spec": { "inner": { "kind": 3 } } }),
            r#"Widget in version "v1" cannot be handled as a Widget: spec.inner.kind: Invalid value: 3: must be a string"#,
        ),
    ] {
        assert_eq!(kind.decode(body).expect_err("refused").to_string(), words);
    }
}

#[test]
fn spec_and_status_are_kept_apart() {
    let kind = v1();
    let mut new = json!({ "spec": { "size": 1 }, "status": { "size": 1 } });
    kind.prepare_create(&mut new);
    assert_eq!(new, json!({ "spec": { "size": 1 } }));
    let old = json!({ "metadata": { "name": "a", "managedFields": [1] }, "spec": { "size": 1 }, "status": { "size": 1 } });
    let changed = json!({ "metadata": { "name": "a", "labels": { "x": "y" }, "managedFields": [2] }, "spec": { "size": 2 }, "status": { "size": 2 } });
    for (subresource, expected) in [
        (None, json!({ "metadata": changed["metadata"], "spec": { "size": 2 }, "status": { "size": 1 } })),
        (Some("scale"), json!({ "metadata": changed["metadata"], "spec": { "size": 2 }, "status": { "size": 1 } })),
        (Some("status"), json!({ "metadata": { "name": "a", "managedFields": [2] }, "spec": { "size": 1 }, "status": { "size": 2 } })),
    ] {
        let mut new = changed.clone();
        kind.prepare_update(&mut new, &old, subresource);
        assert_eq!(new, expected, "{subresource:?}");
    }
    // A version without the subresource has them in one.
    let mut new = changed.clone();
    of(&definition(1))[1].prepare_update(&mut new, &old, None);
    assert_eq!(new, changed);
}

#[test]
fn objects_keep_the_rules_of_all_and_of_their_schema() {
    let kind = v1();
    let right = decoded(&*kind, json!({ "size": 3 }));
    assert_eq!(texts(&kind.validate_create(&right)), Vec::<String>::new());
    let mut wrong = decoded(&*kind, json!({ "size": -1, "tags": ["a", "a"], "inner": { "kind": "Pod" } }));
    wrong["metadata"]["name"] = "A".into();
    wrong["status"] = json!({ "size": 3, "selector": 4 });
    let found = texts(&kind.validate_create(&wrong));
    let starts = [
        r#"metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain"#,
        "spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 1",
        r#"status.selector: Invalid value: "integer": status.selector in body must be of type string: "integer""#,
        ".spec.size: Invalid value: -1: should be a non-negative integer",
        r#".status.selector: Invalid value: "": .status.selector accessor error: 4 is of the type int64, expected string"#,
        "spec.inner.apiVersion: Required value",
        r#"spec.tags[1]: Duplicate value: "a""#,
    ];
    assert_eq!(found.len(), starts.len(), "{found:?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn a_change_may_leave_what_was_wrong() {
    let kind = v1();
    let old = decoded(&*kind, json!({ "size": 0, "tags": ["a", "a"] }));
    let mut new = old.clone();
    new["spec"]["color"] = "blue".into();
    assert_eq!(texts(&kind.validate_update(&new, &old, None)), Vec::<String>::new());
    new["spec"]["size"] = (-1).into();
    new["metadata"]["name"] = "b".into();
    let found = texts(&kind.validate_update(&new, &old, Some("status")));
    assert_eq!(
        found,
        [
            r#"metadata.name: Invalid value: "b": field is immutable"#,
            "spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 1"
        ]
    );
}

#[test]
fn columns_show_values_by_their_type() {
    let kind = v1();
    let names: Vec<&str> = kind.columns().iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["Name", "Size", "Ready", "Since"]);
    assert_eq!(kind.columns()[1].description, "Custom resource definition column (in JSONPath format): .spec.size");
    assert_eq!((&*kind.columns()[2].description, kind.columns()[3].priority), ("Whether.", 1));
    let object = json!({
        "metadata": { "name": "a", "creationTimestamp": "1970-01-01T00:00:00Z" },
        "spec": { "size": 3 },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    assert_eq!(kind.cells(&object, 90), [json!("a"), json!(3), json!("True"), json!("90s")]);
    let odd = json!({ "metadata": { "name": "a", "creationTimestamp": "soon" }, "spec": { "size": "big" } });
    assert_eq!(kind.cells(&odd, 90), [json!("a"), json!(null), json!(null), json!("<invalid>")]);
    let v2 = of(&definition(1)).swap_remove(1);
    assert_eq!(v2.columns().iter().map(|column| &*column.name).collect::<Vec<_>>(), ["Name", "Age"]);
    assert_eq!(v2.cells(&object, 90), [json!("a"), json!("90s")]);
}

#[test]
fn fields_can_be_selected() {
    let fields = v1().selectable_fields(&json!({ "spec": { "size": 3 } }));
    assert_eq!(fields, [("spec.color", String::new()), ("spec.size", "3".to_owned())]);
}

#[test]
fn versions_share_what_is_stored() {
    let kinds = of(&definition(1));
    let (v1, v2) = (&kinds[0], &kinds[1]);
    let object = decoded(&**v2, json!({ "size": 1, "shape": "square" }));
    let stored = v2.to_stored(object);
    assert_eq!(stored["apiVersion"], "example.org/v1");
    assert_eq!(stored["spec"], json!({ "size": 1 }), "what the stored version does not have goes");
    // Each version fills in its own defaults.
    assert_eq!(v2.from_stored(stored.clone())["spec"], json!({ "size": 1, "shape": "round" }));
    assert_eq!(v2.from_stored(stored.clone())["apiVersion"], "example.org/v2");
    let read = v1.from_stored(stored);
    assert_eq!(read["spec"], json!({ "size": 1, "color": "red" }));
    assert_eq!(v1.from_stored(read.clone()), read);
    assert!(!v1.has_own_form() && !v2.has_own_form(), "another version writes without the defaults of this one");
}

#[test]
fn stored_objects_are_as_they_are_read_until_the_definition_changes() {
    let alone = |generation: i64| {
        let mut definition = definition(generation);
        definition["spec"]["versions"][1]["served"] = false.into();
        of(&definition).swap_remove(0)
    };
    assert!(alone(1).has_own_form());
    let changed = alone(2);
    assert!(!changed.has_own_form());
    let stored = json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "a" }, "spec": { "size": 1, "gone": 1 } });
    assert_eq!(changed.from_stored(stored)["spec"], json!({ "size": 1, "color": "red" }));
}

#[test]
fn what_makes_no_kind_is_named() {
    let with = |change: fn(&mut Value)| {
        let mut definition = definition(1);
        change(&mut definition["spec"]["versions"]);
        kinds(&Definition::read(&definition).expect("whole")).err().expect("no kinds").to_string()
    };
    assert_eq!(with(|versions| versions[0]["storage"] = false.into()), "no version is the one that objects are stored in");
    assert!(with(|versions| versions[1]["schema"]["openAPIV3Schema"]["type"] = "x".into()).starts_with("version v2: type \"x\""));
    assert!(with(|versions| versions[0]["selectableFields"][0]["jsonPath"] = ".x".into()).contains("does not refer to a valid field"));
}

#[test]
fn a_column_that_cannot_be_read_leaves_the_default_ones() {
    let mut definition = definition(1);
    definition["spec"]["versions"][0]["additionalPrinterColumns"][0]["jsonPath"] = "..".into();
    let kinds = kinds(&Definition::read(&definition).expect("whole")).expect("served");
    let names: Vec<&str> = kinds[0].columns().iter().map(|column| &column.name[..]).collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn the_published_schema_has_what_every_object_has() {
    let definitions = openapi::definitions_of(&*v1());
    let widget = &definitions["org.example.v1.Widget"];
    let metadata = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(widget["properties"]["metadata"]["$ref"], metadata);
    assert_eq!(widget["properties"]["kind"]["type"], "string");
    assert_eq!(widget["properties"]["spec"]["properties"]["inner"]["properties"]["metadata"]["$ref"], metadata);
    assert_eq!(widget["properties"]["spec"]["properties"]["parts"]["x-kubernetes-list-map-keys"], json!(["name"]));
    assert!(definitions["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
}

#[test]
fn configurations_are_applied_by_the_schema() {
    let kind = v1();
    let schema = PatchSchema::from_definitions(&openapi::definitions_of(&*kind)).expect("compiles");
    let gvk = || Gvk { group: "example.org", version: "v1", kind: "Widget" };
    let config = |spec: Value| json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "a" }, "spec": spec });
    let by = |name, live: Option<&Value>, spec: Value| {
        let manager = Manager { name, subresource: "", time: "2026-01-01T00:00:00Z", ignored: &["status"] };
        apply(&schema, gvk(), live, &config(spec), &manager, false)
    };
    let inner = |name: &str, value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { name: value } });
    let one =
        json!({ "parts": [{ "name": "wheel", "count": 4 }], "tags": ["x"], "words": ["a"], "free": { "a": 1 }, "inner": inner("a", "1") });
    let live = by("one", None, one).expect("created");
    let two = json!({ "parts": [{ "name": "door", "count": 2 }], "tags": ["y"], "free": { "b": 2 }, "inner": inner("b", "2") });
    let both = by("two", Some(&live), two).expect("no conflict");
    let spec = &both["spec"];
    assert_eq!(spec["parts"], json!([{ "name": "wheel", "count": 4 }, { "name": "door", "count": 2 }]), "a map list by its key");
    assert_eq!(spec["tags"], json!(["x", "y"]), "a set");
    assert_eq!(spec["free"], json!({ "a": 1, "b": 2 }), "unknown fields one by one");
    assert_eq!(spec["inner"]["data"], json!({ "a": "1", "b": "2" }), "an embedded resource field by field");
    // A list without a type, and an atomic map, are one value each.
    assert!(by("two", Some(&both), json!({ "words": ["b"] })).is_err());
    let live = by("one", None, json!({ "whole": { "a": "1" } })).expect("created");
    assert!(by("two", Some(&live), json!({ "whole": { "b": "1" } })).is_err());
}
