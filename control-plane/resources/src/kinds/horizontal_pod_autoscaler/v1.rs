//! HorizontalPodAutoscaler of autoscaling/v1: the same objects as those of v2, in which they are stored. What v1 has no fields for is in annotations, as
//! with Kubernetes (`autoscaling.alpha.kubernetes.io/…`), and comes back from there.

use super::{HorizontalPodAutoscaler, flat};
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json::{put, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::autoscaling::{v1, v2};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub struct HorizontalPodAutoscalerV1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

impl Kind for HorizontalPodAutoscalerV1 {
    type Object = v1::HorizontalPodAutoscaler;

    const DESCRIPTOR: Descriptor = Descriptor {
        version: "v1",
        stored_as: ("autoscaling", "horizontalpodautoscalers"),
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &["status"],
        ..namespaced::<v1::HorizontalPodAutoscaler>("horizontalpodautoscalers", "horizontalpodautoscaler")
    };
    const COLUMNS: &'static [Column] = HorizontalPodAutoscaler::COLUMNS;

    fn new_status() -> Value {
        serde_json::json!({"currentReplicas": 0, "desiredReplicas": 0})
    }

    fn default(object: &mut v1::HorizontalPodAutoscaler) {
        let told = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(METRICS));
        let others: Option<Vec<Value>> = told.and_then(|told| serde_json::from_str(told).ok());
        if let Some(spec) = &mut object.spec {
            spec.min_replicas.get_or_insert(1);
            if others.is_none_or(|others| others.is_empty()) {
                spec.target_cpu_utilization_percentage.get_or_insert(super::DEFAULT_CPU_PERCENT);
            }
        }
    }

    /// What v2 has in the status and v1 in annotations is no more the client's than the status, and so with the spec.
    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        let kept = if subresource == Some("status") { [METRICS, BEHAVIOR] } else { [CURRENT, CONDITIONS] };
        for name in kept {
            let before = old.pointer("/metadata/annotations").and_then(|annotations| annotations.get(name));
            match before {
                Some(before) => put(new, &["metadata", "annotations", name], before.clone()),
                None => drop(take_annotation(new, name)),
            }
        }
    }

    fn validate(object: &v1::HorizontalPodAutoscaler, errors: &mut Errors) {
        if let Some(object) = as_v2(object, errors) {
            HorizontalPodAutoscaler::validate(&object, errors);
        }
    }

    fn validate_update(
        new: &v1::HorizontalPodAutoscaler,
        old: &v1::HorizontalPodAutoscaler,
        subresource: Subresource<'_>,
        errors: &mut Errors,
    ) {
        let new = as_v2(new, errors);
        if let (Some(new), Some(old)) = (new, as_v2(old, &mut Errors::default())) {
            HorizontalPodAutoscaler::validate_update(&new, &old, subresource, errors);
        }
    }

    fn cells(object: &v1::HorizontalPodAutoscaler, now: i64) -> Vec<Value> {
        let object = as_v2(object, &mut Errors::default()).unwrap_or_default();
        HorizontalPodAutoscaler::cells(&object, now)
    }

    fn to_stored(mut object: Value) -> Value {
        put(&mut object, &["apiVersion"], "autoscaling/v2".into());
        let told = |object: &mut Value, name: &str| take_annotation(object, name);
        let (metrics, current) = (told(&mut object, METRICS), told(&mut object, CURRENT));
        let (conditions, behavior) = (told(&mut object, CONDITIONS), told(&mut object, BEHAVIOR));
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            let own = spec
                .remove("targetCPUUtilizationPercentage")
                .map(|percent| cpu("target", json!({ "type": "Utilization", "averageUtilization": percent })));
            let others = metrics.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(flat::spec_to_v2);
            let all: Vec<Value> = own.into_iter().chain(others).collect();
            if !all.is_empty() {
                spec.insert("metrics".to_owned(), all.into());
            }
            if let Some(behavior) = behavior {
                spec.insert("behavior".to_owned(), recased(behavior, lower));
            }
        }
        let percent =
            object.get_mut("status").and_then(Value::as_object_mut).and_then(|status| status.remove("currentCPUUtilizationPercentage"));
        let current = current.or_else(|| Some(json!([flat::status_to_v1(&cpu("current", json!({ "averageUtilization": percent? })))?])));
        let current = current.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(flat::status_to_v2);
        for (field, list) in [("currentMetrics", current.collect::<Value>()), ("conditions", conditions.unwrap_or(json!([])))] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                put(&mut object, &["status", field], list);
            }
        }
        defaulted(object)
    }

    fn from_stored(mut stored: Value) -> Value {
        put(&mut stored, &["apiVersion"], "autoscaling/v1".into());
        for name in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
            take_annotation(&mut stored, name);
        }
        let take = |stored: &mut Value, part: &str, field: &str| stored.get_mut(part)?.as_object_mut()?.remove(field);
        let metrics = take(&mut stored, "spec", "metrics");
        let mut others = Vec::new();
        for metric in metrics.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let percent = (text(metric, &["resource", "name"]) == "cpu").then(|| metric.pointer("/resource/target/averageUtilization"));
            match percent.flatten() {
                Some(percent) if stored.pointer("/spec/targetCPUUtilizationPercentage").is_none() => {
                    put(&mut stored, &["spec", "targetCPUUtilizationPercentage"], percent.clone());
                }
                _ => others.extend(flat::spec_to_v1(metric)),
            }
        }
        let current = take(&mut stored, "status", "currentMetrics");
        let current: Vec<&Value> = current.as_ref().and_then(Value::as_array).into_iter().flatten().collect();
        let percent = current.iter().find(|metric| text(metric, &["resource", "name"]) == "cpu");
        if let Some(percent) = percent.and_then(|metric| metric.pointer("/resource/current/averageUtilization")) {
            put(&mut stored, &["status", "currentCPUUtilizationPercentage"], percent.clone());
        }
        let mut current: Vec<Value> = current.into_iter().filter_map(flat::status_to_v1).collect();
        // Nothing but what v1 has a field for.
        if let [only] = &current[..]
            && only["resource"].as_object().is_some_and(|fields| fields.len() == 2)
            && only.pointer("/resource/currentAverageUtilization").is_some()
            && only["resource"]["name"] == "cpu"
        {
            current.clear();
        }
        let conditions = take(&mut stored, "status", "conditions").unwrap_or(json!([]));
        let behavior = take(&mut stored, "spec", "behavior");
        for (name, list) in [(METRICS, Value::from(others)), (CURRENT, current.into()), (CONDITIONS, conditions)] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                put(&mut stored, &["metadata", "annotations", name], list.to_string().into());
            }
        }
        if let Some(behavior) = behavior.filter(Value::is_object) {
            put(&mut stored, &["metadata", "annotations", BEHAVIOR], recased(behavior, upper).to_string().into());
        }
        stored
    }
}

/// An annotation's JSON; what is none stays where it is.
fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let told = serde_json::from_str(annotations.get(name)?.as_str()?).ok()?;
    annotations.remove(name);
    if annotations.is_empty() {
        object.pointer_mut("/metadata")?.as_object_mut()?.remove("annotations");
    }
    Some(told)
}

/// v2's metric of processor time where v1 asks for none.
fn defaulted(object: Value) -> Value {
    match v2::HorizontalPodAutoscaler::deserialize(&object) {
        Ok(mut typed) => {
            HorizontalPodAutoscaler::default(&mut typed);
            serde_json::to_value(typed).unwrap_or(object)
        }
        Err(_) => object,
    }
}

/// The same as v2. Complains of annotations that hold no metrics.
fn as_v2(object: &v1::HorizontalPodAutoscaler, errors: &mut Errors) -> Option<v2::HorizontalPodAutoscaler> {
    let metadata = Path::Root.field("metadata");
    let at = metadata.field("annotations");
    let annotations = object.metadata.annotations.iter().flatten();
    for (name, value) in annotations.filter(|(name, _)| [METRICS, CURRENT, CONDITIONS, BEHAVIOR].contains(&name.as_str())) {
        if serde_json::from_str::<Value>(value).is_err() {
            errors.invalid(&at.key(name), value.clone(), "must be JSON");
        }
    }
    match serde_json::to_value(object)
        .and_then(|object| v2::HorizontalPodAutoscaler::deserialize(HorizontalPodAutoscalerV1::to_stored(object)))
    {
        Ok(object) => Some(object),
        Err(error) => {
            errors.invalid(&at, "", error.to_string());
            None
        }
    }
}

/// v2's metric of processor time.
fn cpu(measure: &str, amounts: Value) -> Value {
    json!({ "type": "Resource", "resource": { "name": "cpu", measure: amounts } })
}

/// Go writes `behavior` with the names of its structure's fields.
fn recased(value: Value, case: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => map.into_iter().map(|(key, value)| (case(&key), recased(value, case))).collect::<Map<_, _>>().into(),
        Value::Array(list) => list.into_iter().map(|value| recased(value, case)).collect(),
        other => other,
    }
}

fn upper(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn lower(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every type of metric, in spec and status, with behavior and conditions.
    fn v2() -> Value {
        let metric = json!({ "name": "m", "selector": { "matchLabels": { "a": "b" } } });
        let object = json!({ "kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1" });
        json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "h", "annotations": { "own": "kept" } },
            "spec": {
                "scaleTargetRef": { "kind": "Deployment", "name": "web", "apiVersion": "apps/v1" },
                "minReplicas": 2,
                "maxReplicas": 5,
                "behavior": {
                    "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }] },
                    "scaleDown": { "selectPolicy": "Min", "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }] },
                },
                "metrics": [
                    { "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } } },
                    { "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } },
                    { "type": "ContainerResource", "containerResource": { "name": "cpu", "container": "c", "target": { "type": "Utilization", "averageUtilization": 70 } } },
                    { "type": "Pods", "pods": { "metric": metric, "target": { "type": "AverageValue", "averageValue": "10" } } },
                    { "type": "Object", "object": { "metric": metric, "describedObject": object, "target": { "type": "Value", "value": "3" } } },
                    { "type": "Object", "object": { "metric": metric, "describedObject": object, "target": { "type": "AverageValue", "averageValue": "4" } } },
                    { "type": "External", "external": { "metric": metric, "target": { "type": "Value", "value": "5" } } },
                    { "type": "External", "external": { "metric": metric, "target": { "type": "AverageValue", "averageValue": "6" } } },
                ],
            },
            "status": {
                "currentReplicas": 3,
                "desiredReplicas": 4,
                "conditions": [{ "type": "AbleToScale", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
                "currentMetrics": [
                    { "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": 30, "averageValue": "15m" } } },
                    { "type": "ContainerResource", "containerResource": { "name": "cpu", "container": "c", "current": { "averageValue": "2" } } },
                    { "type": "Pods", "pods": { "metric": metric, "current": { "averageValue": "9" } } },
                    { "type": "Object", "object": { "metric": metric, "describedObject": object, "current": { "value": "8" } } },
                    { "type": "External", "external": { "metric": metric, "current": { "averageValue": "7" } } },
                ],
            },
        })
    }

    #[test]
    fn both_ways_without_loss() {
        let v1 = HorizontalPodAutoscalerV1::from_stored(v2());
        assert_eq!(v1["apiVersion"], "autoscaling/v1");
        assert_eq!(
            (&v1["spec"]["targetCPUUtilizationPercentage"], &v1["status"]["currentCPUUtilizationPercentage"]),
            (&json!(60), &json!(30))
        );
        assert!(
            v1["spec"].get("metrics").is_none() && v1["spec"].get("behavior").is_none() && v1["status"].get("conditions").is_none(),
            "{v1}"
        );
        let told = |name: &str| serde_json::from_str::<Value>(v1["metadata"]["annotations"][name].as_str().unwrap()).unwrap();
        assert_eq!(told(METRICS)[0], json!({ "type": "Resource", "resource": { "name": "memory", "targetAverageValue": "1Gi" } }));
        assert_eq!(told(BEHAVIOR)["ScaleUp"]["Policies"][0], json!({ "Type": "Pods", "Value": 4, "PeriodSeconds": 15 }));
        assert_eq!(told(CURRENT)[0]["resource"], json!({ "name": "cpu", "currentAverageUtilization": 30, "currentAverageValue": "15m" }));
        assert_eq!(told(CONDITIONS)[0]["type"], "AbleToScale");
        assert_eq!(HorizontalPodAutoscalerV1::to_stored(v1), v2());
    }

    #[test]
    fn what_v1_says_by_itself_is_said_in_v2() {
        let spec = json!({ "scaleTargetRef": { "kind": "Deployment", "name": "web" }, "maxReplicas": 5, "minReplicas": 1 });
        let mut object =
            json!({ "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" }, "spec": spec });
        let mut typed: v1::HorizontalPodAutoscaler = serde_json::from_value(object.clone()).unwrap();
        HorizontalPodAutoscalerV1::default(&mut typed);
        assert_eq!(typed.spec.unwrap().target_cpu_utilization_percentage, Some(80));
        object["spec"]["targetCPUUtilizationPercentage"] = json!(40);
        let stored = HorizontalPodAutoscalerV1::to_stored(object.clone());
        assert_eq!(
            stored["spec"]["metrics"],
            json!([{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 40 } } }])
        );
        assert_eq!(HorizontalPodAutoscalerV1::from_stored(stored), object);
    }

    #[test]
    fn a_change_of_the_spec_leaves_what_annotations_tell_of_the_status() {
        let old = HorizontalPodAutoscalerV1::from_stored(v2());
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({ CONDITIONS: "[]" });
        HorizontalPodAutoscalerV1::prepare_update(&mut new, &old, None);
        let annotations = &new["metadata"]["annotations"];
        assert_eq!(
            (&annotations[CONDITIONS], &annotations[CURRENT]),
            (&old["metadata"]["annotations"][CONDITIONS], &old["metadata"]["annotations"][CURRENT])
        );
        assert!(annotations.get(METRICS).is_none(), "the client's own");
        let mut wrong: v1::HorizontalPodAutoscaler = serde_json::from_value(old).unwrap();
        wrong.metadata.annotations.get_or_insert_default().insert(METRICS.to_owned(), "no JSON".to_owned());
        let mut errors = Errors::default();
        HorizontalPodAutoscalerV1::validate(&wrong, &mut errors);
        assert_eq!(errors.into_list()[0].field, format!("metadata.annotations[{METRICS}]"));
    }
}
