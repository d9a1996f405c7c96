//! Namespaces, roles, bindings and priority classes of a new cluster. Facts, no I/O.

use orknet_auth::bootstrap::{cluster_role_bindings, cluster_roles, role_bindings, roles};
use serde_json::{Value, json};

/// The group of roles and bindings.
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// Group, plural and object of each.
pub fn all() -> Vec<(&'static str, &'static str, Value)> {
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let mut all: Vec<_> = namespaces.iter().map(|name| ("", "namespaces", json!({ "metadata": { "name": name } }))).collect();
    all.extend(cluster_roles().into_iter().map(|role| (RBAC, "clusterroles", role)));
    all.extend(cluster_role_bindings().into_iter().map(|binding| (RBAC, "clusterrolebindings", binding)));
    all.extend(roles().into_iter().map(|role| (RBAC, "roles", role)));
    all.extend(role_bindings().into_iter().map(|binding| (RBAC, "rolebindings", binding)));
    for (name, value, what) in [
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let class =
            json!({ "metadata": { "name": name }, "value": value, "description": what, "preemptionPolicy": "PreemptLowerPriority" });
        all.push(("scheduling.k8s.io", "priorityclasses", class));
    }
    all
}
