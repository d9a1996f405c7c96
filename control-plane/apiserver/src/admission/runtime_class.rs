//! What a pod's RuntimeClass brings with it: the overhead of its sandbox and where it may run (RuntimeClass). Pure but for the lookup.

use super::tolerations;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use crate::server::Server;
use crate::storage::keys;
use orknet_resources::quantity::Quantity;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const CLASSES: StoredAs = ("node.k8s.io", "runtimeclasses");

/// The pod's class; `None` when it names none, and why the pod is refused when there is no such class.
pub async fn class_of(server: &Server, pod: &Value) -> Result<Result<Option<Value>, String>, ApiError> {
    let Some(name) = pod.pointer("/spec/runtimeClassName").and_then(Value::as_str) else { return Ok(Ok(None)) };
    if let Some(found) = server.storage.caches.get(CLASSES, "", name) {
        return Ok(Ok(Some(found.value())));
    }
    // It may have been made a moment ago.
    let stored = server.storage.get(&keys::object(CLASSES, "", name)).await?;
    Ok(stored.map(|stored| Some(stored.object)).ok_or_else(|| format!("pod rejected: RuntimeClass {name:?} not found")))
}

/// Sets the overhead and merges the scheduling of the class into the pod, or says why they do not fit.
pub fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(overhead) = part(class, "overhead") {
        let fixed = part(overhead, "podFixed").cloned().unwrap_or_else(|| json!({}));
        if pod.pointer("/spec/overhead").is_some_and(|own| !own.is_null()) && !same_amounts(pod.pointer("/spec/overhead"), &fixed) {
            return Err(DIFFERS.into());
        }
        if fixed.as_object().is_some_and(|fixed| !fixed.is_empty()) {
            object::map_at(pod, "spec").insert("overhead".into(), fixed);
        }
    }
    let Some(scheduling) = part(class, "scheduling") else { return Ok(()) };
    if let Some(selector) = part(scheduling, "nodeSelector").and_then(Value::as_object) {
        let merged = merged_selector(pod.pointer("/spec/nodeSelector").and_then(Value::as_object), selector)?;
        object::map_at(pod, "spec").insert("nodeSelector".into(), Value::Object(merged));
    }
    let added = part(scheduling, "tolerations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let own = pod.pointer("/spec/tolerations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let merged = tolerations::merged(own, added);
    if !merged.is_empty() {
        object::map_at(pod, "spec").insert("tolerations".into(), json!(merged));
    }
    Ok(())
}

const DIFFERS: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// Why the pod's overhead is not that of its class.
pub fn refusal(pod: &Value, class: Option<&Value>) -> Option<&'static str> {
    let own = pod.pointer("/spec/overhead").filter(|own| !own.is_null());
    match class.and_then(|class| part(class, "overhead")) {
        Some(overhead) => (!same_amounts(own, part(overhead, "podFixed").unwrap_or(&Value::Null))).then_some(DIFFERS),
        None => own.map(|_| "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
    }
}

fn part<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|part| !part.is_null())
}

/// Whether both hold the same amounts of the same resources, however they are spelled; nothing is the same as no amounts.
fn same_amounts(one: Option<&Value>, other: &Value) -> bool {
    let read = |amounts: Option<&Value>| -> Option<BTreeMap<String, Quantity>> {
        let amounts = amounts.and_then(Value::as_object).into_iter().flatten();
        amounts.map(|(name, amount)| Some((name.clone(), Quantity::parse(amount.as_str()?).ok()?))).collect()
    };
    let (one, other) = (read(one), read(Some(other)));
    one.is_some() && one == other
}

fn merged_selector(own: Option<&Map<String, Value>>, of_class: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut merged = own.cloned().unwrap_or_default();
    for (key, value) in of_class {
        if let Some(other) = merged.get(key).filter(|other| *other != value) {
            let [value, other] = [value, other].map(|value| value.as_str().unwrap_or_default());
            return Err(format!("conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"));
        }
        merged.insert(key.clone(), value.clone());
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(cpu: &str) -> Value {
        json!({ "overhead": { "podFixed": { "cpu": cpu } } })
    }

    fn pod(spec: Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn the_overhead_is_that_of_the_class() {
        let refused = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
        for (spec, class, expected) in [
            (json!({}), class("250m"), Ok(json!({ "cpu": "250m" }))),
            (json!({ "overhead": { "cpu": "0.25" } }), class("250m"), Ok(json!({ "cpu": "250m" }))),
            (json!({ "overhead": { "cpu": "1" } }), class("250m"), Err(refused)),
            (json!({ "overhead": { "cpu": "250m", "memory": "1" } }), class("250m"), Err(refused)),
            (json!({ "overhead": {} }), class("250m"), Err(refused)),
            (json!({}), json!({ "overhead": {} }), Ok(Value::Null)),
            (json!({}), json!({ "overhead": null }), Ok(Value::Null)),
        ] {
            let mut pod = pod(spec.clone());
            let applied = apply(&mut pod, &class);
            assert_eq!(applied.map(|()| pod["spec"]["overhead"].clone()), expected.map_err(str::to_owned), "{spec}");
            if pod["spec"]["overhead"] != spec["overhead"] {
                assert_eq!(refusal(&pod, Some(&class)), None, "{spec}");
            }
        }
        let alone = Some("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
        assert_eq!(refusal(&pod(json!({ "overhead": { "cpu": "1" } })), None), alone);
        assert_eq!(refusal(&pod(json!({ "overhead": { "cpu": "1" } })), Some(&json!({}))), alone);
        assert_eq!(refusal(&pod(json!({ "overhead": { "cpu": "1" } })), Some(&class("2"))), Some(refused));
        assert_eq!(refusal(&pod(json!({})), Some(&class("2"))), Some(refused));
        assert_eq!(refusal(&pod(json!({})), None), None);
    }

    #[test]
    fn the_scheduling_is_merged_unless_it_conflicts() {
        let toleration = |key: &str| json!({ "key": key, "operator": "Exists" });
        let class = json!({ "scheduling": { "nodeSelector": { "a": "1" }, "tolerations": [toleration("t"), toleration("u")] } });
        for (selector, expected) in [
            (Value::Null, Ok(json!({ "a": "1" }))),
            (json!({ "a": "1", "b": "2" }), Ok(json!({ "a": "1", "b": "2" }))),
            (json!({ "a": "2" }), Err("conflict: runtimeClass.scheduling.nodeSelector[a] = 1; pod.spec.nodeSelector[a] = 2".to_owned())),
        ] {
            let mut pod = pod(json!({ "nodeSelector": selector, "tolerations": [toleration("t")] }));
            let applied = apply(&mut pod, &class);
            assert_eq!(applied.map(|()| pod["spec"]["nodeSelector"].clone()), expected);
            let count = if expected.is_ok() { 2 } else { 1 };
            assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(count));
        }
        let mut untouched = pod(json!({}));
        assert_eq!(apply(&mut untouched, &json!({ "scheduling": {} })), Ok(()));
        assert_eq!(untouched, pod(json!({})));
    }
}
