//! Default Roles of single namespaces, with their bindings.

use super::{READ, metadata, rule};
use serde_json::{Value, json};

const EVENTS: &[&str] = &["create", "patch", "update"];

/// The Roles.
pub fn roles() -> Vec<Value> {
    let config_map =
        |name: &str, verbs: &[&str]| json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": verbs});
    let events = || rule(&["", "events.k8s.io"], &["events"], EVENTS);
    let leader = |name: &str| {
        vec![
            rule(&[""], &["configmaps"], &["watch"]),
            config_map(name, &["get", "update"]),
            rule(&["coordination.k8s.io"], &["leases"], &["create", "get", "list", "update", "watch"]),
            rule(&["coordination.k8s.io"], &["leasecandidates"], &["create", "get", "list", "update", "watch"]),
        ]
    };
    let signer = vec![rule(&[""], &["configmaps"], READ), config_map("cluster-info", &["update"]), events()];
    let cleaner = vec![rule(&[""], &["secrets"], &["delete", "get", "list", "watch"]), events()];
    [
        ("kube-public", "orknet:cluster-info", vec![config_map("cluster-info", &["get"])]),
        ("kube-public", "system:controller:bootstrap-signer", signer),
        // Which publishes what it signs, and patches it.
        (
            "kube-public",
            "system:controller:orknet-bootstrap-signer",
            vec![rule(&[""], &["configmaps"], &["create"]), config_map("cluster-info", &["patch"])],
        ),
        ("kube-system", "extension-apiserver-authentication-reader", vec![config_map("extension-apiserver-authentication", READ)]),
        ("kube-system", "system::leader-locking-kube-controller-manager", leader("kube-controller-manager")),
        ("kube-system", "system::leader-locking-kube-scheduler", leader("kube-scheduler")),
        ("kube-system", "system:controller:bootstrap-signer", vec![rule(&[""], &["secrets"], READ)]),
        ("kube-system", "system:controller:cloud-provider", vec![rule(&[""], &["configmaps"], &["create", "get", "list", "watch"])]),
        ("kube-system", "system:controller:token-cleaner", cleaner),
    ]
    .into_iter()
    .map(|(namespace, name, rules)| {
        let mut metadata = metadata(name, &[]);
        metadata["namespace"] = namespace.into();
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    })
    .collect()
}

/// The RoleBindings.
pub fn bindings() -> Vec<Value> {
    let account = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"});
    let user = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let component = |name: &str| vec![user(&format!("system:{name}")), account(name)];
    let reader = vec![user("system:kube-controller-manager"), user("system:kube-scheduler")];
    // Who joins reads where and what the cluster is before he is anybody; by his token's signature he knows that it is true.
    let anybody = vec![user("system:anonymous")];
    [
        ("kube-public", "orknet:cluster-info", "orknet:cluster-info", anybody),
        ("kube-public", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer", vec![account("bootstrap-signer")]),
        (
            "kube-public",
            "system:controller:orknet-bootstrap-signer",
            "system:controller:orknet-bootstrap-signer",
            vec![account("bootstrap-signer")],
        ),
        ("kube-system", "system::extension-apiserver-authentication-reader", "extension-apiserver-authentication-reader", reader),
        (
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            "system::leader-locking-kube-controller-manager",
            component("kube-controller-manager"),
        ),
        ("kube-system", "system::leader-locking-kube-scheduler", "system::leader-locking-kube-scheduler", component("kube-scheduler")),
        ("kube-system", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer", vec![account("bootstrap-signer")]),
        ("kube-system", "system:controller:cloud-provider", "system:controller:cloud-provider", vec![account("cloud-provider")]),
        ("kube-system", "system:controller:token-cleaner", "system:controller:token-cleaner", vec![account("token-cleaner")]),
    ]
    .into_iter()
    .map(|(namespace, name, role, subjects)| {
        let mut metadata = metadata(name, &[]);
        metadata["namespace"] = namespace.into();
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}, "subjects": subjects})
    })
    .collect()
}
