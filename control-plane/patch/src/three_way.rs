//! Laws of patches that clients make out of three states, as kubectl's client-side apply does (what was applied last, what is applied now, what is there),
//! and of merge patches that follow each other (RFC 7396).

use crate::schema::tests::sample;
use crate::{merge, strategic};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The additions and changes that lead from `from` to `to`: nothing is removed.
fn additions(from: &Value, to: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    for (name, new) in to.as_object().into_iter().flatten() {
        match from.get(name) {
            Some(old) if old == new => {}
            Some(old) if old.is_object() && new.is_object() => drop(patch.insert(name.clone(), Value::Object(additions(old, new)))),
            _ => drop(patch.insert(name.clone(), new.clone())),
        }
    }
    patch
}

/// The removals alone.
fn removals(from: &Value, to: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    for (name, old) in from.as_object().into_iter().flatten() {
        match to.get(name) {
            None => drop(patch.insert(name.clone(), Value::Null)),
            Some(new) if old.is_object() && new.is_object() => drop(patch.insert(name.clone(), Value::Object(removals(old, new)))),
            Some(_) => {}
        }
    }
    patch
}

/// Both in one patch.
fn both(mut one: Map<String, Value>, other: Map<String, Value>) -> Map<String, Value> {
    for (name, theirs) in other {
        match (one.remove(&name), theirs) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => drop(one.insert(name, Value::Object(both(ours, theirs)))),
            (_, theirs) => drop(one.insert(name, theirs)),
        }
    }
    one
}

/// What kubectl sends: what it applied and applies no longer goes, what it applies now comes.
fn three_way(last: &Value, now: &Value, live: &Value) -> Value {
    Value::Object(both(removals(last, now), additions(live, now)))
}

/// The object that a person would expect: every leaf by who says what of it.
fn expected(last: &Value, now: &Value, live: &Value) -> Value {
    let (Value::Object(now_fields), Value::Object(live_fields)) = (now, live) else { return now.clone() };
    let mut object = Map::new();
    let nothing = json!({});
    for (name, value) in live_fields {
        match now_fields.get(name) {
            Some(now) => drop(object.insert(name.clone(), expected(last.get(name).unwrap_or(&nothing), now, value))),
            None if last.get(name).is_some() => {}
            None => drop(object.insert(name.clone(), value.clone())),
        }
    }
    for (name, value) in now_fields.iter().filter(|(name, _)| !live_fields.contains_key(*name)) {
        object.insert(name.clone(), value.clone());
    }
    Value::Object(object)
}

fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")]
}

/// Deployments without what strategic merges treat otherwise than merge patches do: no keyed lists, nothing whose keys are retained.
fn deployment() -> impl Strategy<Value = Value> {
    let texts = || prop::option::of(prop::collection::btree_map(word(), word(), 0..4));
    (texts(), texts(), prop::option::of(0..4i64), prop::option::of(0..4i64)).prop_map(|(labels, annotations, replicas, ready)| {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {}});
        for (at, name, value) in [
            ("metadata", "labels", labels.map(|labels| json!(labels))),
            ("metadata", "annotations", annotations.map(|annotations| json!(annotations))),
            ("spec", "replicas", replicas.map(Value::from)),
            ("spec", "minReadySeconds", ready.map(Value::from)),
        ] {
            if let Some(value) = value {
                object[at][name] = value;
            }
        }
        object
    })
}

/// Merge patches of one shape without nulls: `a` and `b` hold no objects, `m` and `n` nothing else.
fn plain_patch() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![(0..3i64).prop_map(Value::from), word().prop_map(Value::from), Just(json!([1, {"x": 1}]))];
    let leaves = prop::collection::btree_map(prop_oneof![Just("a"), Just("b")], leaf, 0..3).prop_map(|leaves| json!(leaves));
    leaves.prop_recursive(3, 16, 3, |inner| {
        (inner.clone(), prop::collection::btree_map(prop_oneof![Just("m"), Just("n")], inner, 0..3)).prop_map(|(mut object, maps)| {
            for (name, map) in maps {
                object[name] = map;
            }
            object
        })
    })
}

fn merged(target: &Value, patch: &Value) -> Value {
    let mut target = target.clone();
    merge::apply(&mut target, patch);
    target
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_of_three_states_is_what_a_person_expects(last in deployment(), now in deployment(), live in deployment()) {
        let patch = three_way(&last, &now, &live);
        let place = sample().root("apps", "v1", "Deployment").unwrap();
        let expected = expected(&last, &now, &live);
        prop_assert_eq!(merged(&live, &patch), expected.clone(), "merge {}", &patch);
        prop_assert_eq!(strategic::apply(place, &live, &patch).unwrap(), expected, "strategic {}", &patch);
    }

    #[test]
    fn a_patch_of_three_states_is_done_once(last in deployment(), now in deployment(), live in deployment()) {
        let once = merged(&live, &three_way(&last, &now, &live));
        prop_assert_eq!(merged(&once, &three_way(&now, &now, &once)), once);
    }

    #[test]
    fn merge_patches_of_one_shape_without_nulls_are_associative(target in plain_patch(), one in plain_patch(), two in plain_patch()) {
        prop_assert_eq!(merged(&merged(&target, &one), &two), merged(&target, &merged(&one, &two)));
    }
}

#[test]
fn merge_patches_with_nulls_or_of_two_shapes_are_not_associative() {
    let target = json!({"a": 1, "m": {"x": 1}});
    for (one, two) in
        [(json!({"b": 1}), json!({"a": null})), (json!({"m": null}), json!({"m": {"y": 1}})), (json!({"m": 5}), json!({"m": {"y": 1}}))]
    {
        assert_ne!(merged(&merged(&target, &one), &two), merged(&target, &merged(&one, &two)), "{one} {two}");
    }
}
