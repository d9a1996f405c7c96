//! What a kubelet may do to pods: show the static ones of its node as mirrors, tell the state of those bound to its node, and delete them. Pure.

use super::super::mirror_pod::{Reference, is_mirror, refers_to};
use crate::object;
use serde_json::Value;

/// What a mirror pod may not refer to, as the refusal names it.
const REFERENCES: [(Reference, &str); 5] = [
    (Reference::ServiceAccount, "a service account"),
    (Reference::Secret, "secrets"),
    (Reference::ConfigMap, "configmaps"),
    (Reference::ClusterTrustBundle, "clustertrustbundles"),
    (Reference::PersistentVolumeClaim, "persistentvolumeclaims"),
];

/// Why the kubelet of `node` may not make the pod. `uid_of` tells the uid of a node that is there.
pub fn creation(node: &str, pod: &Value, uid_of: impl Fn(&str) -> Option<String>) -> Option<String> {
    if !is_mirror(pod) {
        return Some(format!("pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"));
    }
    if !is_bound(pod, node) {
        return Some(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [owner] = owners else { return Some(format!("node {node:?} can only create pods with a single owner reference set to itself")) };
    let flag = |field: &str| owner.get(field).and_then(Value::as_bool) == Some(true);
    if [("apiVersion", "v1"), ("kind", "Node"), ("name", node)].iter().any(|(field, wanted)| owner[*field] != *wanted) {
        return Some(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if !flag("controller") {
        return Some(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
    }
    if flag("blockOwnerDeletion") {
        return Some(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let (given, actual) = (object::text(owner, "/uid"), uid_of(node).unwrap_or_default());
    if given.is_empty() || given != actual {
        return Some(format!("node {node} UID mismatch: expected {actual} got {given}"));
    }
    let (_, name) = REFERENCES.into_iter().find(|(what, _)| refers_to(pod, *what))?;
    Some(format!("node {node:?} can not create pods that reference {name}"))
}

/// Why the kubelet of `node` may not change the pod.
pub fn update(node: &str, new: &Value, old: &Value, subresource: Option<&str>) -> Option<String> {
    match subresource {
        Some("status") => {}
        None => return Some(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods")),
        Some(other) => return Some(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
    }
    if !is_bound(old, node) {
        return Some(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    let changed = |pointer: &str| {
        let [new, old] = [new, old].map(|pod| pod.pointer(pointer).filter(|value| !is_empty(value)));
        new != old
    };
    if changed("/metadata/labels") {
        return Some(format!("node {node:?} cannot update labels through pod status"));
    }
    changed("/status/resourceClaimStatuses").then(|| format!("node {node:?} cannot update resource claim statues"))
}

/// Why the kubelet of `node` may not delete or evict the pod.
pub fn deletion(node: &str, pod: &Value) -> Option<String> {
    (!is_bound(pod, node)).then(|| format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
}

fn is_bound(pod: &Value, node: &str) -> bool {
    object::text(pod, "/spec/nodeName") == node
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|map| map.is_empty()) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Edit = fn(&mut Value);

    fn mirror(change: impl FnOnce(&mut Value)) -> Option<String> {
        let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1", "controller": true });
        let mut pod = json!({
            "metadata": { "name": "p", "annotations": { "kubernetes.io/config.mirror": "x" }, "ownerReferences": [owner] },
            "spec": { "nodeName": "n", "containers": [{ "name": "a" }] },
        });
        change(&mut pod);
        creation("n", &pod, |name| (name == "n").then(|| "1".to_owned()))
    }

    #[test]
    fn a_kubelet_makes_mirrors_of_its_own_alone() {
        assert_eq!(mirror(|_| {}), None);
        let refused: [Edit; 8] = [
            |pod| pod["metadata"]["annotations"] = json!({}),
            |pod| pod["spec"]["nodeName"] = json!("m"),
            |pod| pod["metadata"]["ownerReferences"] = json!([]),
            |pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("m"),
            |pod| pod["metadata"]["ownerReferences"][0]["kind"] = json!("Pod"),
            |pod| pod["metadata"]["ownerReferences"][0]["controller"] = json!(false),
            |pod| pod["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = json!(true),
            |pod| pod["metadata"]["ownerReferences"][0]["uid"] = json!("2"),
        ];
        for (index, change) in refused.into_iter().enumerate() {
            assert!(mirror(change).is_some(), "case {index}");
        }
    }

    #[test]
    fn a_mirror_refers_to_nothing() {
        let refused: [(Edit, &str); 5] = [
            (|pod| pod["spec"]["serviceAccountName"] = json!("a"), "a service account"),
            (|pod| pod["spec"]["volumes"] = json!([{ "secret": { "secretName": "s" } }]), "secrets"),
            (|pod| pod["spec"]["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": "c" } }]), "configmaps"),
            (|pod| pod["spec"]["volumes"] = json!([{ "persistentVolumeClaim": { "claimName": "c" } }]), "persistentvolumeclaims"),
            (|pod| pod["spec"]["volumes"] = json!([{ "projected": { "sources": [{ "secret": { "name": "s" } }] } }]), "secrets"),
        ];
        for (change, name) in refused {
            assert_eq!(mirror(change), Some(format!("node \"n\" can not create pods that reference {name}")));
        }
    }

    #[test]
    fn a_kubelet_changes_the_state_of_its_pods_and_no_label() {
        let pod = |node: &str, label: &str| json!({ "metadata": { "name": "p", "labels": { "a": label } }, "spec": { "nodeName": node } });
        let (own, labelled, other) = (pod("n", "x"), pod("n", "y"), pod("m", "x"));
        assert_eq!(update("n", &own, &own, Some("status")), None);
        assert_eq!(update("n", &labelled, &own, Some("status")).as_deref(), Some("node \"n\" cannot update labels through pod status"));
        assert!(update("n", &other, &other, Some("status")).is_some() && deletion("n", &other).is_some() && deletion("n", &own).is_none());
        for subresource in [None, Some("resize"), Some("ephemeralcontainers"), Some("binding")] {
            assert!(update("n", &own, &own, subresource).is_some(), "{subresource:?}");
        }
    }
}
