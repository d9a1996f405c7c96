//! A small but true piece of the API (pods, deployments, services, object metadata) for all tests of the crate, and the tests of compiling it.

use super::*;
use serde_json::json;
use std::sync::OnceLock;

fn keyed(target: &str, keys: &[&str]) -> Value {
    let mut field = json!({"type": "array", "items": {"$ref": format!("#/definitions/{target}")},
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
        "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": keys[0]});
    if target == "Volume" {
        field["x-kubernetes-patch-strategy"] = json!("merge,retainKeys");
    }
    field
}

fn atomic(items: Value) -> Value {
    json!({"type": "array", "items": items, "x-kubernetes-list-type": "atomic"})
}

/// Field names, list types and keys are those of Kubernetes 1.33.
fn definitions() -> Value {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    let to = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let kind = |group: &str, version: &str, kind: &str, spec: &str| {
        json!({"type": "object", "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}],
            "properties": {"apiVersion": text(), "kind": text(), "metadata": to("ObjectMeta"), "spec": to(spec),
                "status": {"type": "object", "properties": {"replicas": number(), "phase": text(), "conditions": keyed("Condition", &["type"])}}}})
    };
    json!({
        "Pod": kind("", "v1", "Pod", "PodSpec"),
        "Service": kind("", "v1", "Service", "ServiceSpec"),
        "Deployment": kind("apps", "v1", "Deployment", "DeploymentSpec"),
        "ConfigMap": {"type": "object", "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "ConfigMap"}],
            "properties": {"apiVersion": text(), "kind": text(), "metadata": to("ObjectMeta"), "data": texts(), "immutable": {"type": "boolean"}}},
        "ObjectMeta": {"type": "object", "properties": {"name": text(), "namespace": text(), "uid": text(), "resourceVersion": text(),
            "generation": number(), "creationTimestamp": text(), "labels": texts(), "annotations": texts(),
            "managedFields": atomic(json!({"type": "object"})),
            "finalizers": {"type": "array", "items": text(), "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
            "ownerReferences": keyed("OwnerReference", &["uid"])}},
        "OwnerReference": {"type": "object", "x-kubernetes-map-type": "atomic", "required": ["uid", "name"],
            "properties": {"uid": text(), "name": text(), "controller": {"type": "boolean"}}},
        "Condition": {"type": "object", "required": ["type"], "properties": {"type": text(), "status": text()}},
        "DeploymentSpec": {"type": "object", "properties": {"replicas": number(), "minReadySeconds": number(),
            "selector": to("LabelSelector"), "template": to("PodTemplateSpec"),
            "strategy": {"allOf": [to("DeploymentStrategy")], "x-kubernetes-patch-strategy": "retainKeys"}}},
        "DeploymentStrategy": {"type": "object", "properties": {"type": text(), "rollingUpdate": {"type": "object", "properties":
            {"maxSurge": {"x-kubernetes-int-or-string": true}, "maxUnavailable": {"x-kubernetes-int-or-string": true}}}}},
        "LabelSelector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"matchLabels": texts()}},
        "PodTemplateSpec": {"type": "object", "properties": {"metadata": to("ObjectMeta"), "spec": to("PodSpec")}},
        "PodSpec": {"type": "object", "properties": {
            "containers": keyed("Container", &["name"]), "initContainers": keyed("Container", &["name"]), "volumes": keyed("Volume", &["name"]),
            "tolerations": atomic(json!({"type": "object", "properties": {"key": text(), "operator": text()}})),
            "nodeSelector": {"type": "object", "additionalProperties": text(), "x-kubernetes-map-type": "atomic"},
            "imagePullSecrets": keyed("LocalObjectReference", &["name"]), "nodeName": text(), "hostNetwork": {"type": "boolean"}}},
        "LocalObjectReference": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"name": {"type": "string", "default": ""}}},
        "Container": {"type": "object", "required": ["name"], "properties": {"name": text(), "image": text(), "args": atomic(text()),
            "env": keyed("EnvVar", &["name"]), "ports": keyed("ContainerPort", &["containerPort", "protocol"]),
            "resources": {"type": "object", "properties": {"limits": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}}}}}},
        "EnvVar": {"type": "object", "required": ["name"], "properties": {"name": text(), "value": text(), "valueFrom": {"type": "object", "properties":
            {"fieldRef": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"fieldPath": text()}}}}}},
        "ContainerPort": {"type": "object", "required": ["containerPort"], "properties": {"containerPort": number(), "name": text(),
            "protocol": {"type": "string", "default": "TCP"}}},
        "Volume": {"type": "object", "required": ["name"], "properties": {"name": text(),
            "emptyDir": {"type": "object", "properties": {"medium": text()}},
            "configMap": {"type": "object", "properties": {"name": text()}}, "hostPath": {"type": "object", "properties": {"path": text()}}}},
        "ServiceSpec": {"type": "object", "properties": {"type": text(), "clusterIP": text(),
            "selector": {"type": "object", "additionalProperties": text(), "x-kubernetes-map-type": "atomic"},
            "ports": keyed("ServicePort", &["port", "protocol"]), "externalIPs": atomic(text())}},
        "ServicePort": {"type": "object", "required": ["port"], "properties": {"port": number(), "name": text(), "nodePort": number(),
            "targetPort": {"x-kubernetes-int-or-string": true}, "protocol": {"type": "string", "default": "TCP"}}},
    })
}

/// The compiled piece, shared by all tests.
pub(crate) fn sample() -> &'static Schema {
    static SAMPLE: OnceLock<Schema> = OnceLock::new();
    SAMPLE.get_or_init(|| Schema::from_definitions(&definitions()).unwrap())
}

#[test]
fn places_follow_references_and_keep_the_rules_of_the_field() {
    let pod = sample().root("", "v1", "Pod").unwrap();
    let containers = pod.field("spec").field("containers");
    assert_eq!(containers.shape(), Shape::List(ListType::Map(&["name".into()])));
    assert_eq!(containers.merge_key(), Some("name"));
    assert!(containers.merges() && !containers.retains_keys());
    assert!(pod.field("spec").field("volumes").retains_keys());
    assert_eq!(pod.field("metadata").field("finalizers").shape(), Shape::List(ListType::Set));
    assert_eq!(pod.field("spec").field("nodeSelector").shape(), Shape::AtomicMap);
    assert_eq!(pod.field("metadata").field("labels").shape(), Shape::Granular);
    assert_eq!(pod.field("metadata").field("ownerReferences").item().shape(), Shape::AtomicMap);
    assert_eq!(pod.field("spec").field("tolerations").shape(), Shape::List(ListType::Atomic));
    let strategy = sample().root("apps", "v1", "Deployment").unwrap().field("spec").field("strategy");
    assert!(strategy.retains_keys());
    assert_eq!(strategy.field("rollingUpdate").field("maxSurge").shape(), Shape::Scalar);
}

#[test]
fn missing_keys_take_defaults_or_the_zero_of_required_fields() {
    let ports = sample().root("", "v1", "Pod").unwrap().field("spec").field("containers").item().field("ports").item();
    assert_eq!(ports.key_default("protocol"), Some(json!("TCP")));
    assert_eq!(ports.key_default("containerPort"), Some(json!(0)));
    assert_eq!(ports.key_default("name"), None);
}

#[test]
fn unknown_kinds_and_fields_are_deduced() {
    assert!(sample().root("x", "v1", "Thing").is_none());
    let thing = sample().root_or_deduced("x", "v1", "Thing");
    assert_eq!(thing.shape(), Shape::Deduced);
    assert_eq!(thing.field("a").item().field("b").shape(), Shape::Deduced);
    assert_eq!(sample().root("", "v1", "Pod").unwrap().field("nonsense").shape(), Shape::Deduced);
}

#[test]
fn circular_definitions_compile_and_dangling_ones_are_refused() {
    let circle = json!({"A": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/A"}},
        "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "A"}]}});
    let schema = Schema::from_definitions(&circle).unwrap();
    let place = schema.root("g", "v1", "A").unwrap();
    assert_eq!(place.field("next").field("next").field("next").shape(), Shape::Granular);
    let dangling = json!({"A": {"type": "object", "properties": {"b": {"$ref": "#/definitions/B"}}}});
    assert!(matches!(Schema::from_definitions(&dangling), Err(SchemaError::Dangling { .. })));
    assert!(matches!(Schema::from_definitions(&json!([1])), Err(SchemaError::NotAnObject)));
}
