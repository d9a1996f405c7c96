//! What a kubelet may write of its own node: no taints once it is there, and no labels by which pods are told apart from those it should not get.
//! Pure.

use serde_json::{Map, Value};

/// Labels of Kubernetes' own that kubelets set.
const LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Domains of labels that kubelets set freely.
const DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The domain that is kept from kubelets, for rules that must hold against them.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Why the kubelet of `node` may not make (`old`: `None`) or change its node so.
pub fn refusal(node: &str, new: &Value, old: Option<&Value>) -> Option<String> {
    let source = |node: &Value| node.pointer("/spec/configSource").filter(|source| !source.is_null()).cloned();
    if let Some(new) = source(new)
        && old.is_none_or(|old| source(old).as_ref() != Some(&new))
    {
        return Some(format!("node {node:?} is not allowed to set a configSource"));
    }
    let taints = |node: &Value| node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
    if old.is_some_and(|old| taints(old) != taints(new)) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    let forbidden = forbidden_labels(labels(new), old.and_then(labels));
    match (forbidden.is_empty(), old) {
        (true, _) => None,
        (false, None) => Some(format!("node {node:?} is not allowed to set the following labels: {}", forbidden.join(", "))),
        (false, Some(_)) => Some(format!("is not allowed to modify labels: {}", forbidden.join(", "))),
    }
}

fn labels(node: &Value) -> Option<&Map<String, Value>> {
    node.pointer("/metadata/labels")?.as_object()
}

/// The changed labels that are not the kubelet's to change, in order.
fn forbidden_labels<'a>(new: Option<&'a Map<String, Value>>, old: Option<&'a Map<String, Value>>) -> Vec<&'a str> {
    let value = |labels: Option<&'a Map<String, Value>>, key: &str| labels.and_then(|labels| labels.get(key));
    let keys = new.into_iter().chain(old).flat_map(Map::keys);
    let mut found: Vec<&str> = keys.filter(|key| value(new, key) != value(old, key) && !is_free(key)).map(String::as_str).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn is_free(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let of_kubernetes = within("kubernetes.io") || within("k8s.io");
    !within(RESTRICTED) && (!of_kubernetes || LABELS.contains(&label) || DOMAINS.into_iter().any(within))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(label: &str, taint: &str) -> Value {
        json!({ "metadata": { "name": "n", "labels": { "kubernetes.io/os": "linux", label: "x" } }, "spec": { "taints": [{ "key": taint }] } })
    }

    #[test]
    fn taints_are_set_at_the_registration_alone() {
        let (old, new) = (node("a", "t"), node("a", "u"));
        assert_eq!(refusal("n", &new, None), None);
        assert_eq!(refusal("n", &old, Some(&old)), None);
        assert_eq!(refusal("n", &new, Some(&old)).as_deref(), Some("node \"n\" is not allowed to modify taints"));
        assert!(refusal("n", &json!({ "metadata": old["metadata"] }), Some(&old)).is_some(), "taints are not taken away");
    }

    #[test]
    fn labels_of_kubernetes_are_not_the_kubelets_but_for_its_own() {
        for label in
            ["own", "example.org/a", "kubernetes.io/hostname", "node.kubernetes.io/a", "x.kubelet.kubernetes.io/a", "notkubernetes.io/a"]
        {
            assert_eq!(refusal("n", &node(label, "t"), None), None, "{label}");
        }
        let forbidden =
            ["node-restriction.kubernetes.io/a", "x.node-restriction.kubernetes.io/a", "node-role.kubernetes.io/control-plane", "k8s.io/a"];
        for label in forbidden {
            let expected = format!("node \"n\" is not allowed to set the following labels: {label}");
            assert_eq!(refusal("n", &node(label, "t"), None), Some(expected));
            let expected = Some(format!("is not allowed to modify labels: {label}"));
            assert_eq!(refusal("n", &node(label, "t"), Some(&node("own", "t"))), expected);
            assert_eq!(refusal("n", &node("own", "t"), Some(&node(label, "t"))), expected, "nor taken away");
            assert_eq!(refusal("n", &node(label, "t"), Some(&node(label, "t"))), None, "what others set stays");
        }
    }
}
