//! What holds for every schema and every value.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, json};

const NAMES: [&str; 4] = ["a", "b", "kind", "metadata"];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..9).prop_map(Value::from),
        (-2.0f64..9.0).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

/// Schemas as people write them, not all of them right.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = (prop::sample::select(&["string", "integer", "number", "boolean"][..]), any::<bool>(), value(), 0..6u8).prop_map(
        |(kind, nullable, default, extra)| {
            let mut schema = json!({ "type": kind });
            if nullable {
                schema["nullable"] = true.into();
            }
            match extra {
                0 => schema["default"] = default,
                1 => schema["maximum"] = 4.into(),
                2 => schema["maxLength"] = 1.into(),
                3 => schema["enum"] = json!(["a", 1]),
                4 => schema = json!({ "x-kubernetes-int-or-string": true }),
                _ => {}
            }
            schema
        },
    );
    leaf.prop_recursive(4, 24, 4, |inner| {
        let properties = prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner.clone(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()));
        prop_oneof![
            (properties, 0..8u8, value()).prop_map(|(properties, extra, default)| {
                let mut schema = json!({ "type": "object", "properties": properties });
                match extra {
                    0 => schema["x-kubernetes-preserve-unknown-fields"] = true.into(),
                    1 => schema["required"] = json!(["a"]),
                    2 => schema["x-kubernetes-embedded-resource"] = true.into(),
                    3 => schema["default"] = default,
                    4 => schema["anyOf"] = json!([{ "required": ["a"] }, { "required": ["b"] }]),
                    5 => schema["allOf"] = json!([{ "maxProperties": 2 }]),
                    _ => {}
                }
                schema
            }),
            (inner.clone(), any::<bool>())
                .prop_map(|(rest, any)| { json!({ "type": "object", "additionalProperties": if any { true.into() } else { rest } }) }),
            (inner, 0..3u8).prop_map(|(items, list)| match list {
                0 => json!({ "type": "array", "items": items, "x-kubernetes-list-type": "set" }),
                1 => json!({ "type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"] }),
                _ => json!({ "type": "array", "items": items }),
            }),
        ]
    })
}

/// As an object comes in.
fn normal(node: &Node, value: &Value) -> Value {
    let mut value = value.clone();
    node.prune(&mut value);
    node.drop_nulls(&mut value);
    node.fill(&mut value);
    value
}

proptest! {
    #[test]
    fn pruning_and_filling_twice_is_doing_it_once(schema in schema(), value in value()) {
        let Ok(node) = Node::compile(&schema) else { return Ok(()) };
        let mut pruned = value.clone();
        node.prune(&mut pruned);
        prop_assert_eq!(node.prune(&mut pruned.clone()), Vec::<String>::new());
        let mut filled = pruned.clone();
        node.fill(&mut filled);
        let mut again = filled.clone();
        node.fill(&mut again);
        prop_assert_eq!(again, filled);
    }

    #[test]
    fn under_a_right_schema_the_normal_form_is_the_normal_form(schema in schema(), value in value()) {
        let whole = json!({ "type": "object", "properties": { "spec": schema } });
        // About two of three are right.
        if !problems(&whole, "s").is_empty() {
            return Ok(());
        }
        let node = Node::compile(&whole).expect("right");
        // Nothing asks whether defaults of entries are right, in Kubernetes either.
        if node.any(&|node| matches!(&node.rest, Rest::Of(entry) if entry.has_defaults())) {
            return Ok(());
        }
        let once = normal(&node, &json!({ "spec": value }));
        let mut again = once.clone();
        prop_assert_eq!(node.prune(&mut again), Vec::<String>::new());
        let again = normal(&node, &once);
        prop_assert_eq!(&again, &once);
        prop_assert_eq!(node.complaints(&again, ""), node.complaints(&once, ""));
    }

    #[test]
    fn what_does_not_change_is_not_complained_about(schema in schema(), value in value()) {
        let Ok(node) = Node::compile(&schema) else { return Ok(()) };
        prop_assert_eq!(node.complaints_about_change(&value, &value, ""), vec![]);
        // A change is complained about at most as much as a new value would be.
        let complaints = node.complaints(&value, "");
        for complaint in node.complaints_about_change(&value, &json!({ "a": 1 }), "") {
            prop_assert!(complaints.contains(&complaint));
        }
    }

    #[test]
    fn nothing_panics(schema in value(), other in schema(), value in value()) {
        for schema in [schema, other] {
            problems(&schema, "s");
            let Ok(node) = Node::compile(&schema) else { continue };
            let normal = normal(&node, &value);
            for value in [&value, &normal] {
                node.complaints(value, "");
                node.duplicates(value);
                node.embedded_complaints(value, "x");
                let _ = node.coerce(&mut value.clone(), &mut Vec::new());
                node.coerce_stored(&mut value.clone());
            }
        }
    }
}
