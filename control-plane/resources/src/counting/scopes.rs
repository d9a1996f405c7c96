//! Scopes: of which pods a quota counts. Things other than pods are in no scope.

use crate::kinds::pod::qos_class;
use k8s_openapi::api::core::v1;

/// Whether the pod (`None`: something else) is in every scope that the quota has.
pub fn in_scope(spec: &v1::ResourceQuotaSpec, pod: Option<&v1::Pod>) -> bool {
    let listed = spec.scopes.iter().flatten().all(|scope| pod.is_some_and(|pod| matches(scope, "Exists", &[], pod)));
    let mut selected = spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    listed
        && selected.all(|wanted| {
            let values = wanted.values.as_deref().unwrap_or_default();
            pod.is_some_and(|pod| matches(&wanted.scope_name, &wanted.operator, values, pod))
        })
}

fn matches(scope: &str, operator: &str, values: &[String], pod: &v1::Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let is_terminating = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    let is_best_effort = || qos_class(spec) == "BestEffort";
    match scope {
        "Terminating" => is_terminating,
        "NotTerminating" => !is_terminating,
        "BestEffort" => is_best_effort(),
        "NotBestEffort" => !is_best_effort(),
        "PriorityClass" => {
            let class = spec.priority_class_name.as_deref().filter(|class| !class.is_empty());
            let named = class.is_some_and(|class| values.iter().any(|value| value == class));
            match operator {
                "Exists" => class.is_some(),
                "DoesNotExist" => class.is_none(),
                "In" => named,
                "NotIn" => !named,
                _ => false,
            }
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(spec),
        _ => false,
    }
}

/// Whether a term of its affinity or anti-affinity to pods is about other namespaces than its own.
fn reaches_other_namespaces(spec: &v1::PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let crosses = |term: &v1::PodAffinityTerm| term.namespaces.iter().flatten().next().is_some() || term.namespace_selector.is_some();
    let to = affinity.pod_affinity.iter().flat_map(|to| {
        let preferred =
            to.preferred_during_scheduling_ignored_during_execution.iter().flatten().map(|weighted| &weighted.pod_affinity_term);
        to.required_during_scheduling_ignored_during_execution.iter().flatten().chain(preferred)
    });
    let from = affinity.pod_anti_affinity.iter().flat_map(|from| {
        let preferred =
            from.preferred_during_scheduling_ignored_during_execution.iter().flatten().map(|weighted| &weighted.pod_affinity_term);
        from.required_during_scheduling_ignored_during_execution.iter().flatten().chain(preferred)
    });
    to.chain(from).any(crosses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_quota_is_about_the_pods_of_its_scopes() {
        let pod = |spec: Value| -> v1::Pod {
            let mut pod = json!({ "spec": { "containers": [{ "name": "a" }] } });
            pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            serde_json::from_value(pod).unwrap()
        };
        let busy = json!({ "containers": [{ "name": "a", "resources": { "requests": { "cpu": "1" } } }] });
        let term = |part: Value| json!({ "topologyKey": "k", "labelSelector": {}, "namespaceSelector": part });
        let required =
            |kind: &str, part: Value| json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term(part)] } } });
        let preferred = |kind: &str| {
            json!({ "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 1, "podAffinityTerm": { "topologyKey": "k", "namespaces": ["other"] } }] } } })
        };
        let class = |name: &str| json!({ "priorityClassName": name });
        let selector = |operator: &str, values: &[&str]| json!({ "scopeSelector": { "matchExpressions": [{ "scopeName": "PriorityClass", "operator": operator, "values": values }] } });
        let scopes = |scopes: &[&str]| json!({ "scopes": scopes });
        for (quota, spec, expected) in [
            (json!({}), json!({}), true),
            (scopes(&["Terminating"]), json!({ "activeDeadlineSeconds": 5 }), true),
            (scopes(&["Terminating"]), json!({}), false),
            (scopes(&["NotTerminating"]), json!({}), true),
            (scopes(&["BestEffort"]), json!({}), true),
            (scopes(&["BestEffort"]), busy.clone(), false),
            (scopes(&["NotBestEffort"]), busy, true),
            (scopes(&["BestEffort", "Terminating"]), json!({}), false),
            (scopes(&["PriorityClass"]), class("a"), true),
            (scopes(&["PriorityClass"]), json!({}), false),
            (selector("In", &["a", "b"]), class("b"), true),
            (selector("In", &["a"]), class("b"), false),
            (selector("NotIn", &["a"]), class("b"), true),
            (selector("NotIn", &["a"]), json!({}), true),
            (selector("Exists", &[]), class("a"), true),
            (selector("DoesNotExist", &[]), json!({}), true),
            (selector("DoesNotExist", &[]), class("a"), false),
            (scopes(&["CrossNamespacePodAffinity"]), required("podAffinity", json!({})), true),
            (scopes(&["CrossNamespacePodAffinity"]), required("podAntiAffinity", json!({})), true),
            (scopes(&["CrossNamespacePodAffinity"]), required("podAffinity", Value::Null), false),
            (scopes(&["CrossNamespacePodAffinity"]), preferred("podAntiAffinity"), true),
            (scopes(&["VolumeAttributesClass"]), json!({}), false),
        ] {
            let quota: v1::ResourceQuotaSpec = serde_json::from_value(quota).unwrap();
            assert_eq!(in_scope(&quota, Some(&pod(spec.clone()))), expected, "{quota:?} {spec}");
            // What is no pod is in no scope.
            let without = quota.scopes.is_none() && quota.scope_selector.is_none();
            assert_eq!(in_scope(&quota, None), without, "{quota:?}");
        }
    }
}
