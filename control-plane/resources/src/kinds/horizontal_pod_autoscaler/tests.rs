//! Autoscalers that are accepted and refused, with the words of the refusal.

use super::HorizontalPodAutoscaler;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

const KIND: Typed<HorizontalPodAutoscaler> = Typed::NEW;

/// A right autoscaler with `change` in its spec.
fn autoscaler(change: &Value) -> Value {
    let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x"}});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    KIND.decode(json!({"metadata": {"name": "a", "namespace": "d"}, "spec": spec})).unwrap().object
}

fn refused(change: &Value) -> Vec<String> {
    KIND.validate_create(&autoscaler(change)).iter().map(ToString::to_string).collect()
}

#[test]
fn cpu_is_the_default_measure() {
    let object = autoscaler(&json!({}));
    assert!(KIND.validate_create(&object).is_empty());
    assert_eq!(KIND.cells(&object, 0)[1..5], ["Deployment/x", "cpu: <unknown>/80%", "1", "3"]);
}

#[test]
fn behavior_is_completed() {
    let behavior = |given: Value| autoscaler(&json!({"behavior": given}))["spec"]["behavior"].clone();
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]});
    let down = json!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
    assert_eq!(behavior(json!({})), json!({"scaleUp": up, "scaleDown": down}));
    let own = json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]});
    let mut completed = own.clone();
    completed["selectPolicy"] = "Max".into();
    assert_eq!(behavior(json!({"scaleDown": own})), json!({"scaleUp": up, "scaleDown": completed}));
    let slow = json!({"stabilizationWindowSeconds": 60, "selectPolicy": "Disabled"});
    let mut completed = up;
    completed["stabilizationWindowSeconds"] = 60.into();
    completed["selectPolicy"] = "Disabled".into();
    assert_eq!(behavior(json!({"scaleUp": slow}))["scaleUp"], completed);
    assert_eq!(autoscaler(&json!({}))["spec"].get("behavior"), None);
}

#[test]
fn the_range_and_what_is_scaled_are_told() {
    for (change, expected) in [
        (json!({"minReplicas": 4}), vec!["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"]),
        (json!({"minReplicas": 0}), vec!["spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"]),
        (
            json!({"maxReplicas": 0}),
            vec![
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ],
        ),
        (
            json!({"scaleTargetRef": {"kind": "", "name": "a/b"}}),
            vec!["spec.scaleTargetRef.kind: Required value", "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'"],
        ),
    ] {
        assert_eq!(refused(&change), expected, "{change}");
    }
}

#[test]
fn each_measure_has_its_source_and_target() {
    let average = json!({"type": "AverageValue", "averageValue": "10"});
    let share = json!({"type": "Utilization", "averageUtilization": 50});
    let metric = json!({"name": "hits"});
    let service = json!({"kind": "Service", "name": "s"});
    for (measure, expected) in [
        (json!({"type": "Resource", "resource": {"name": "cpu", "target": share}}), vec![]),
        (json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "a", "target": share}}), vec![]),
        (json!({"type": "Pods", "pods": {"metric": metric, "target": average}}), vec![]),
        (json!({"type": "Object", "object": {"describedObject": service, "metric": metric, "target": average}}), vec![]),
        (json!({"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "1"}}}), vec![]),
        (json!({"type": "Resource"}), vec![".resource: Required value: must populate information for the given metric source"]),
        (
            json!({"type": "Resource", "pods": {"metric": metric, "target": average}}),
            vec![".resource: Required value: must populate information for the given metric source"],
        ),
        (
            json!({"type": "Resource", "resource": {"name": "cpu", "target": share}, "pods": {"metric": metric, "target": average}}),
            vec![".pods: Forbidden: must populate the given metric source only"],
        ),
        (
            json!({"type": "Weather"}),
            vec![
                ".type: Unsupported value: \"Weather\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            ],
        ),
        (json!({"type": "Resource", "resource": {"target": share}}), vec![".resource.name: Required value: must specify a resource name"]),
        (
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}),
            vec![".resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"],
        ),
        (
            json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 1, "averageValue": "1"}}}),
            vec![".resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization"],
        ),
        (
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}),
            vec![".resource.target.averageUtilization: Invalid value: 0: must be greater than 0"],
        ),
        (
            json!({"type": "Pods", "pods": {"metric": {"name": ""}, "target": {"type": "AverageValue", "averageValue": "-1"}}}),
            vec![
                ".pods.metric.name: Required value: must specify a metric name",
                ".pods.target.averageValue: Invalid value: \"-1\": must be positive",
            ],
        ),
        (
            json!({"type": "Pods", "pods": {"metric": metric, "target": {"type": "Value", "value": "1"}}}),
            vec![".pods.target.averageValue: Required value: must specify a positive target averageValue"],
        ),
        (
            json!({"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "1", "averageValue": "1"}}}),
            vec![".external.target.value: Forbidden: may not set both a target value for metric and a per-pod target"],
        ),
        (
            json!({"type": "Object", "object": {"describedObject": service, "metric": metric, "target": {"type": "Sum"}}}),
            vec![
                ".object.target.type: Invalid value: \"Sum\": must be either Utilization, Value, or AverageValue",
                ".object.target.averageValue: Required value: must set either a target value or averageValue",
            ],
        ),
        (
            json!({"type": "ContainerResource", "containerResource": {"name": "gpu", "container": "", "target": share}}),
            vec![
                ".containerResource.name: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                ".containerResource.name: Invalid value: \"gpu\": must be a standard resource for containers",
                ".containerResource.container: Required value: must specify a container",
            ],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|e| format!("spec.metrics[0]{e}")).collect();
        assert_eq!(refused(&json!({"metrics": [measure]})), expected, "{measure}");
    }
}

#[test]
fn speed_has_bounds() {
    let policy = |change: Value| {
        let mut policy = json!({"type": "Pods", "value": 1, "periodSeconds": 1800});
        for (key, value) in change.as_object().unwrap() {
            policy[key] = value.clone();
        }
        json!({"policies": [policy]})
    };
    for (rules, expected) in [
        (policy(json!({})), vec![]),
        (json!({"stabilizationWindowSeconds": 3600}), vec![]),
        (
            json!({"stabilizationWindowSeconds": -5}),
            vec![".stabilizationWindowSeconds: Invalid value: -5: must be greater than or equal to zero"],
        ),
        (
            json!({"stabilizationWindowSeconds": 3601}),
            vec![".stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600"],
        ),
        (
            json!({"selectPolicy": "Best"}),
            vec![".selectPolicy: Unsupported value: \"Best\": supported values: \"Disabled\", \"Max\", \"Min\""],
        ),
        (json!({"policies": []}), vec![".policies: Required value: must specify at least one Policy"]),
        (
            policy(json!({"type": "Share"})),
            vec![".policies[0].type: Unsupported value: \"Share\": supported values: \"Percent\", \"Pods\""],
        ),
        (policy(json!({"value": 0})), vec![".policies[0].value: Invalid value: 0: must be greater than zero"]),
        (policy(json!({"periodSeconds": 0})), vec![".policies[0].periodSeconds: Invalid value: 0: must be greater than zero"]),
        (
            policy(json!({"periodSeconds": 1801})),
            vec![".policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"],
        ),
    ] {
        for side in ["scaleUp", "scaleDown"] {
            let expected: Vec<String> = expected.iter().map(|e| format!("spec.behavior.{side}{e}")).collect();
            assert_eq!(refused(&json!({"behavior": {side: rules}})), expected, "{side} {rules}");
        }
    }
}

#[test]
fn a_status_counts_from_zero() {
    let old = autoscaler(&json!({}));
    let mut new = old.clone();
    new["status"] = json!({"currentReplicas": -1, "desiredReplicas": -2});
    let found: Vec<String> = KIND.validate_update(&new, &old, Some("status")).iter().map(ToString::to_string).collect();
    let detail = "must be greater than or equal to 0";
    assert_eq!(
        found,
        [format!("status.currentReplicas: Invalid value: -1: {detail}"), format!("status.desiredReplicas: Invalid value: -2: {detail}")]
    );
}
