//! Reading, writing and the set operations.

use super::*;
use serde_json::json;

fn set(fields: Value) -> FieldSet {
    FieldSet::from_fields_v1(&fields).unwrap()
}

#[test]
fn what_is_read_is_written_again() {
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {"v:\"a\"": {}}},
        "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}, "i:3": {}}}});
    assert_eq!(set(fields.clone()).to_fields_v1(), fields);
}

#[test]
fn keys_are_the_same_in_any_order_and_number_form() {
    let one = set(json!({"f:a": {"k:{\"b\":80.0,\"a\":\"x\"}": {}}}));
    assert_eq!(one, set(json!({"f:a": {"k:{\"a\": \"x\", \"b\": 80}": {}}})));
    let mut other = FieldSet::new();
    other.insert(&[Segment::field("a"), Segment::key(vec![("b", json!(80)), ("a", json!("x"))])]);
    assert_eq!(one, other);
}

#[test]
fn paths_print_as_kubernetes_prints_them() {
    let set =
        set(json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:args": {"i:0": {}}}}, "f:finalizers": {"v:\"x/y\"": {}},
        "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}}}));
    let paths: Vec<String> = set.paths().iter().map(FieldPath::to_string).collect();
    let expected = [
        ".spec.containers[name=\"a\"]",
        ".spec.containers[name=\"a\"].args[0]",
        ".spec.finalizers[=\"x/y\"]",
        ".spec.ports[port=80,protocol=\"TCP\"]",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn set_operations_treat_a_path_and_those_below_apart() {
    let one = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}}));
    let other = set(json!({"f:a": {"f:b": {}}, "f:d": {}}));
    assert_eq!(one.difference(&other), set(json!({"f:a": {".": {}, "f:c": {}}})));
    assert_eq!(one.intersection(&other), set(json!({"f:a": {"f:b": {}}})));
    assert_eq!(one.clone().union(&other), set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}})));
    assert_eq!(one.without(&[Segment::field("a"), Segment::field("b")]), set(json!({"f:a": {".": {}, "f:c": {}}})));
    assert!(one.difference(&one).is_empty());
}

#[test]
fn what_is_no_set_is_refused() {
    for fields in [json!([]), json!({"f:a": 1}), json!({"x:a": {}}), json!({"k:[]": {}}), json!({"i:x": {}}), json!({"plain": {}})] {
        assert!(FieldSet::from_fields_v1(&fields).is_err(), "{fields}");
    }
}
