//! What a user should hear about a pod spec that is accepted all the same.

use crate::field::Path;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use std::collections::{HashMap, HashSet};

/// Older names of node labels and what to use instead.
const OLD_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];

/// Warnings about a spec of a pod or template.
pub fn spec(spec: &PodSpec, at: &Path<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (old, new) in OLD_NODE_LABELS {
        if spec.node_selector.as_ref().is_some_and(|s| s.contains_key(*old)) {
            let at = at.field("nodeSelector");
            found.push(format!("{}: deprecated since v1.14; use {new:?} instead", at.key(old)));
        }
    }
    for (name, list) in [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)] {
        let list_at = at.field(name);
        for (i, container) in list.iter().enumerate() {
            self::container(container, &list_at.index(i), &mut found);
        }
    }
    found
}

fn container(container: &Container, at: &Path<'_>, found: &mut Vec<String>) {
    let env = container.env.as_deref().unwrap_or_default();
    let list = at.field("env");
    let mut names = HashSet::new();
    for (i, var) in env.iter().enumerate() {
        if !names.insert(&var.name) {
            found.push(format!("{}: hides previous definition of {:?}, which may be dropped when using apply", list.index(i), var.name));
        }
    }
    let ports = container.ports.as_deref().unwrap_or_default();
    let list = at.field("ports");
    let mut first = HashMap::new();
    for (i, port) in ports.iter().enumerate() {
        let j = *first.entry((port.container_port, &port.protocol, port.host_port, &port.host_ip)).or_insert(i);
        if j < i {
            found.push(format!("{}: duplicate port definition with {}", list.index(i), list.index(j)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pod;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn hidden_variables_and_old_labels_are_pointed_out() {
        let pod = json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "a", "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80, "name": "x"}]}]}});
        assert_eq!(
            Typed::<Pod>::NEW.warnings(&pod),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ]
        );
    }
}
