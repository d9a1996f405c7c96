//! Laws that hold for arbitrary objects: patches of every kind, applied by random hands.

use crate::apply::{ApplyError, Gvk, Manager, apply, track_update};
use crate::fields::FieldSet;
use crate::schema::tests::sample;
use crate::{json, merge, strategic};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const POD: Gvk<'_> = Gvk { group: "", version: "v1", kind: "Pod" };

fn manager(name: &str) -> Manager<'_> {
    Manager { name, subresource: "", time: "2026-01-01T00:00:00Z", ignored: &["status"] }
}

/// Any JSON, with field names that mean something to patches.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        Just(json!(0.5)),
        prop_oneof![Just("a"), Just("b"), Just("delete"), Just("replace"), Just("TCP")].prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("spec"),
        Just("metadata"),
        Just("containers"),
        Just("name"),
        Just("env"),
        Just("ports"),
        Just("containerPort"),
        Just("protocol"),
        Just("labels"),
        Just("finalizers"),
        Just("managedFields"),
        Just("volumes"),
        Just("emptyDir"),
        Just("tolerations"),
        Just("$patch"),
        Just("$retainKeys"),
        Just("$setElementOrder/containers"),
        Just("$setElementOrder/finalizers"),
        Just("$deleteFromPrimitiveList/finalizers"),
        Just("f:spec"),
        Just("k:{\"name\":\"a\"}"),
        Just("."),
        Just("fieldsV1"),
        Just("op"),
        Just("path"),
    ];
    leaf.prop_recursive(5, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")]
}

/// A list of items told apart by the field `key`, each with the fields that `item` makes.
fn keyed<S: Strategy<Value = Value> + 'static>(key: &'static str, item: S) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(word(), item, 0..4).prop_shuffle_values().prop_map(move |items| {
        let items = items.into_iter().map(|(name, mut item)| {
            item[key] = name.into();
            item
        });
        items.collect()
    })
}

trait ShuffleValues: Strategy {
    /// The entries of a map in any order.
    fn prop_shuffle_values<K: std::fmt::Debug + Clone, V: std::fmt::Debug + Clone>(self) -> impl Strategy<Value = Vec<(K, V)>>
    where
        Self: Strategy<Value = std::collections::BTreeMap<K, V>> + Sized,
    {
        self.prop_map(|map| map.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }
}

impl<S: Strategy> ShuffleValues for S {}

/// An object of the given optional fields, those that are there.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| prop::option::of(value).prop_map(move |value| (name, value))).collect();
    fields
        .prop_map(|fields| {
            let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(present.collect::<Map<_, _>>())
        })
        .boxed()
}

fn text() -> BoxedStrategy<Value> {
    word().prop_map(Value::from).boxed()
}

/// Pods as people write them.
fn pod() -> BoxedStrategy<Value> {
    let env = keyed("name", object(vec![("value", text())])).boxed();
    let args = prop::collection::vec(word(), 0..3).prop_map(|args| json!(args)).boxed();
    let ports = prop::collection::btree_map((1..4i64, prop_oneof![Just("TCP"), Just("UDP")]), word(), 0..3).prop_map(|ports| {
        let ports = ports.into_iter().map(|((port, protocol), name)| json!({"containerPort": port, "protocol": protocol, "name": name}));
        ports.collect::<Value>()
    });
    let container = object(vec![("image", text()), ("env", env), ("args", args), ("ports", ports.boxed())]);
    let volume =
        prop_oneof![Just(json!({"emptyDir": {}})), Just(json!({"hostPath": {"path": "/"}})), Just(json!({"configMap": {"name": "c"}}))];
    let tolerations = prop::collection::vec(word().prop_map(|key| json!({ "key": key })), 0..3).prop_map(Value::Array).boxed();
    let spec = object(vec![
        ("containers", keyed("name", container).boxed()),
        ("volumes", keyed("name", volume).boxed()),
        ("tolerations", tolerations),
        ("nodeName", text()),
    ]);
    let labels = prop::collection::btree_map(word(), word(), 0..3).prop_map(|labels| json!(labels)).boxed();
    let finalizers = prop::collection::btree_set(word(), 0..4).prop_map(|set| json!(set)).boxed();
    let metadata = object(vec![("labels", labels), ("finalizers", finalizers)]);
    (metadata, spec)
        .prop_map(|(mut metadata, spec)| {
            metadata["name"] = "p".into();
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        })
        .boxed()
}

/// The merge patch that leads from one object to another.
fn merge_diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in to {
        match from.get(name) {
            Some(old) if old == value => {}
            Some(old) => drop(patch.insert(name.clone(), merge_diff(old, value))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

/// The strategic merge patch that leads from one object to another, written as kubectl writes it.
fn strategic_diff(place: crate::Place<'_>, from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in to {
        match (from.get(name), new) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(name.clone(), Value::Object(strategic_diff(place.field(name), old, new)));
            }
            (Some(Value::Array(old)), Value::Array(new)) if place.field(name).merges() => {
                list_diff(place.field(name), name, old, new, &mut patch)
            }
            _ => drop(patch.insert(name.clone(), new.clone())),
        }
    }
    if place.retains_keys() && !patch.is_empty() {
        patch.insert("$retainKeys".to_owned(), to.keys().cloned().collect());
    }
    patch
}

fn list_diff(list: crate::Place<'_>, name: &str, old: &[Value], new: &[Value], patch: &mut Map<String, Value>) {
    let order = format!("$setElementOrder/{name}");
    let Some(key) = list.merge_key() else {
        let gone: Vec<Value> = old.iter().filter(|item| !new.contains(item)).cloned().collect();
        patch.insert(name.to_owned(), new.iter().filter(|item| !old.contains(item)).cloned().collect());
        patch.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(gone));
        patch.insert(order, Value::Array(new.to_vec()));
        return;
    };
    let mut changes = Vec::new();
    for item in new {
        match old.iter().find(|other| other[key] == item[key]) {
            Some(other) if other == item => {}
            Some(other) => {
                let (Some(other), Some(fields)) = (other.as_object(), item.as_object()) else { continue };
                let mut change = strategic_diff(list.item(), other, fields);
                change.insert(key.to_owned(), item[key].clone());
                if list.retains_keys() {
                    change.insert("$retainKeys".to_owned(), fields.keys().cloned().collect());
                }
                changes.push(Value::Object(change));
            }
            None => changes.push(item.clone()),
        }
    }
    for item in old.iter().filter(|item| !new.iter().any(|other| other[key] == item[key])) {
        changes.push(json!({"$patch": "delete", key: item[key].clone()}));
    }
    patch.insert(name.to_owned(), Value::Array(changes));
    patch.insert(order, new.iter().map(|item| json!({ key: item[key].clone() })).collect());
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// The value with all lists sorted.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

fn forced(live: Option<&Value>, config: &Value, name: &str) -> Value {
    apply(sample(), POD, live, config, &manager(name), true).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_makes_anything_panic(target in anything(), patch in anything()) {
        let place = sample().root("", "v1", "Pod").unwrap();
        let _ = strategic::apply(place, &target, &patch);
        let _ = json::apply(&target, &patch);
        merge::apply(&mut target.clone(), &patch);
        let _ = apply(sample(), POD, Some(&target), &patch, &manager("m"), true);
        let mut new = patch.clone();
        track_update(sample(), POD, Some(&target), &mut new, &manager("m"));
        if let (Value::Object(target), Value::Object(patch)) = (&target, &patch) {
            let (mut live, mut config) = (target.clone(), patch.clone());
            for object in [&mut live, &mut config] {
                object.insert("apiVersion".to_owned(), "v1".into());
                object.insert("kind".to_owned(), "Pod".into());
            }
            let _ = apply(sample(), POD, Some(&Value::Object(live)), &Value::Object(config), &manager("m"), false);
        }
        if let Ok(set) = FieldSet::from_fields_v1(&patch) {
            prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()), Ok(set));
        }
    }

    #[test]
    fn a_merge_patch_of_the_difference_leads_to_the_other(from in pod(), to in pod()) {
        let mut result = from.clone();
        merge::apply(&mut result, &merge_diff(&from, &to));
        prop_assert_eq!(result, to);
    }

    #[test]
    fn a_merge_patch_applied_twice_is_applied_once(target in anything(), patch in anything()) {
        let mut once = target;
        merge::apply(&mut once, &patch);
        let mut twice = once.clone();
        merge::apply(&mut twice, &patch);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_strategic_patch_of_the_difference_leads_to_the_other(from in pod(), to in pod()) {
        let place = sample().root("", "v1", "Pod").unwrap();
        // Ports share a merge key when only their protocols differ; the API server cannot tell them apart either.
        let ports_differ = |pod: &Value| {
            pod["spec"]["containers"].as_array().into_iter().flatten().all(|container| {
                let ports: Vec<&Value> = container["ports"].as_array().into_iter().flatten().map(|port| &port["containerPort"]).collect();
                ports.iter().enumerate().all(|(index, port)| !ports[..index].contains(port))
            })
        };
        prop_assume!(ports_differ(&from) && ports_differ(&to));
        let patch = Value::Object(strategic_diff(place, from.as_object().unwrap(), to.as_object().unwrap()));
        let result = strategic::apply(place, &from, &patch).map_err(|error| TestCaseError::fail(format!("{error}: {patch}")))?;
        prop_assert_eq!(result, to, "{}", patch);
    }

    #[test]
    fn applying_twice_changes_nothing(live in pod(), config in pod()) {
        let first = forced(Some(&live), &config, "me");
        let later = Manager { time: "2027-01-01T00:00:00Z", ..manager("me") };
        prop_assert_eq!(apply(sample(), POD, Some(&first), &config, &later, false), Ok(first));
    }

    #[test]
    fn what_is_applied_is_there_and_owned(live in pod(), config in pod()) {
        let object = forced(Some(&live), &config, "me");
        // Laid over the result once more, by somebody else and without force, the configuration finds nothing to change.
        let again = apply(sample(), POD, Some(&object), &config, &manager("other"), false).unwrap();
        prop_assert_eq!(without_managed_fields(&again), without_managed_fields(&object));
    }

    #[test]
    fn letting_go_of_everything_leaves_what_others_applied(theirs in pod(), mine in pod()) {
        let first = forced(None, &theirs, "them");
        let nothing = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        match apply(sample(), POD, Some(&first), &mine, &manager("me"), false) {
            Err(ApplyError::Conflicts(conflicts)) => prop_assert!(!conflicts.0.is_empty()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
            Ok(both) => {
                let after = apply(sample(), POD, Some(&both), &nothing, &manager("me"), false).unwrap();
                // Nothing of theirs is gone: applying it again changes nothing but the order of items, which nobody owns.
                let again = apply(sample(), POD, Some(&after), &theirs, &manager("them"), false).unwrap();
                prop_assert_eq!(sorted(&again), sorted(&after));
            }
        }
    }

    #[test]
    fn every_field_changed_by_an_update_has_one_owner(from in pod(), to in pod()) {
        let mut old = from;
        track_update(sample(), POD, None, &mut old, &manager("creator"));
        let mut new = to;
        track_update(sample(), POD, Some(&old), &mut new, &manager("editor"));
        let sets: Vec<FieldSet> = new["metadata"]["managedFields"].as_array().into_iter().flatten()
            .map(|entry| FieldSet::from_fields_v1(&entry["fieldsV1"]).unwrap()).collect();
        if let [one, other] = sets.as_slice() {
            prop_assert!(one.intersection(other).is_empty());
        }
    }
}
