//! Requests and limits of containers that say nothing of them, and the note of it on the pod. Pure.

use crate::object;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives every container of the pod what it does not say, and says so in an annotation.
pub fn fill_in(range: &LimitRange, pod: &mut Value) {
    let items = || range.spec.iter().flat_map(|spec| &spec.limits).filter(|item| item.type_ == "Container");
    let merged = |of: fn(&LimitRangeItem) -> &Option<BTreeMap<String, Quantity>>| -> BTreeMap<String, String> {
        items().flat_map(|item| of(item).iter().flatten()).map(|(name, amount)| (name.clone(), amount.0.clone())).collect()
    };
    let (requests, limits) = (merged(|item| &item.default_request), merged(|item| &item.default));
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter(|container| container.is_object()) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            for (field, word, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                let set = fill_in_list(container, field, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let meta = object::meta_mut(pod);
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[ANNOTATION] = json!(format!("LimitRanger plugin set: {}", notes.join("; ")));
    }
}

/// The names of what was filled in.
fn fill_in_list<'a>(container: &mut Value, field: &str, defaults: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let said = container.pointer(&format!("/resources/{field}")).and_then(Value::as_object);
    let missing: Vec<_> = defaults.iter().filter(|(name, _)| said.is_none_or(|said| !said.contains_key(*name))).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let list = object::map_at(container, "resources").entry(field).or_insert_with(|| json!({}));
    if !list.is_object() {
        *list = json!({});
    }
    for (name, amount) in &missing {
        list[name.as_str()] = json!(amount);
    }
    missing.into_iter().map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_said_is_filled_in_and_noted() {
        let range: LimitRange = serde_json::from_value(json!({ "spec": { "limits": [
            { "type": "Pod", "max": { "cpu": "9" } },
            { "type": "Container", "default": { "cpu": "1", "memory": "1Gi" }, "defaultRequest": { "cpu": "100m" } },
        ] } }))
        .expect("a range");
        let mut pod = json!({ "metadata": { "annotations": null }, "spec": {
            "containers": [
                { "name": "a" },
                { "name": "b", "resources": { "limits": { "cpu": "2" }, "requests": { "cpu": "2" } } },
                { "name": "c", "resources": { "limits": { "cpu": "2", "memory": "1" }, "requests": { "cpu": "0" } } },
            ],
            "initContainers": [{ "name": "i", "resources": null }],
        } });
        fill_in(&range, &mut pod);
        let whole = json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "100m" } });
        let container = |pod: &Value, index: usize| pod["spec"]["containers"][index]["resources"].clone();
        assert_eq!(container(&pod, 0), whole);
        assert_eq!(container(&pod, 1), json!({ "limits": { "cpu": "2", "memory": "1Gi" }, "requests": { "cpu": "2" } }));
        assert_eq!(container(&pod, 2), json!({ "limits": { "cpu": "2", "memory": "1" }, "requests": { "cpu": "0" } }));
        assert_eq!(pod["spec"]["initContainers"][0]["resources"], whole);
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; memory limit for container b; \
             cpu request for init container i; cpu, memory limit for init container i"
        );
        // All is said now.
        let before = pod.clone();
        pod["metadata"]["annotations"] = json!({});
        fill_in(&range, &mut pod);
        assert_eq!((&pod["spec"], &pod["metadata"]["annotations"]), (&before["spec"], &json!({})));
    }
}
