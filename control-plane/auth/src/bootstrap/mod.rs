//! The roles and bindings that every cluster begins with, as facts in one table (Kubernetes "Default roles and role bindings").

mod controllers;
#[cfg(test)]
mod controllers_tests;
mod namespaced;
mod reconcile;
mod system;

pub use namespaced::{bindings as role_bindings, roles};
pub use reconcile::{AUTOUPDATE, reconciled};

use crate::authn::{GROUP_AUTHENTICATED, GROUP_MASTERS, GROUP_NODES, GROUP_UNAUTHENTICATED};
use serde_json::{Value, json};

/// The ClusterRoles, as JSON objects ready to be stored.
pub fn cluster_roles() -> Vec<Value> {
    let all = rule(&["*"], &["*"], &["*"]);
    let everywhere = json!({"nonResourceURLs": ["*"], "verbs": ["*"]});
    let admin_rules = vec![
        rule(&["rbac.authorization.k8s.io"], &["roles", "rolebindings"], EVERY_VERB),
        rule(&["authorization.k8s.io"], &["localsubjectaccessreviews"], &["create"]),
    ];
    let mut roles = vec![
        role("cluster-admin", vec![all, everywhere], &[]),
        sum("admin", TO_ADMIN, &[]),
        sum("edit", TO_EDIT, &[(TO_ADMIN, "true")]),
        sum("view", TO_VIEW, &[(TO_EDIT, "true")]),
        role("system:aggregate-to-admin", admin_rules, &[(TO_ADMIN, "true")]),
        role("system:aggregate-to-edit", edit_rules(), &[(TO_EDIT, "true")]),
        role("system:aggregate-to-view", view_rules(), &[(TO_VIEW, "true")]),
        // As metrics-server brings it.
        role(
            "system:aggregated-metrics-reader",
            vec![rule(&["metrics.k8s.io"], &["pods", "nodes"], READ)],
            &[(TO_ADMIN, "true"), (TO_EDIT, "true"), (TO_VIEW, "true")],
        ),
        role(
            "system:discovery",
            vec![
                json!({"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/healthz", "/livez", "/readyz",
                "/version", "/version/"], "verbs": ["get"]}),
            ],
            &[],
        ),
        role(
            "system:public-info-viewer",
            vec![json!({"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]})],
            &[],
        ),
        role(
            "system:monitoring",
            vec![json!({"nonResourceURLs": ["/metrics", "/metrics/slis", "/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz",
                "/readyz/*"], "verbs": ["get"]})],
            &[],
        ),
        role(
            "system:basic-user",
            vec![
                rule(&["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
                rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
            ],
            &[],
        ),
        role("system:node", node_rules(), &[]),
        role("orknet:agent", agent_rules(), &[]),
    ];
    roles.extend(system::roles().into_iter().map(|(name, rules)| role(name, rules, &[])));
    roles.extend(controllers::roles().into_iter().map(|(name, rules)| role(&name, rules, &[])));
    roles
}

/// The ClusterRoleBindings that go with them.
pub fn cluster_role_bindings() -> Vec<Value> {
    let mut bindings = vec![
        binding("cluster-admin", "cluster-admin", &[GROUP_MASTERS]),
        binding("system:discovery", "system:discovery", &[GROUP_AUTHENTICATED]),
        binding("system:basic-user", "system:basic-user", &[GROUP_AUTHENTICATED]),
        binding("system:public-info-viewer", "system:public-info-viewer", &[GROUP_AUTHENTICATED, GROUP_UNAUTHENTICATED]),
        binding("system:monitoring", "system:monitoring", &["system:monitoring"]),
        // Nodes have these rules from the Node authorizer, object by object.
        binding("system:node", "system:node", &[]),
        binding("orknet:agent", "orknet:agent", &[GROUP_NODES]),
    ];
    bindings.extend(system::bindings());
    bindings.extend(controllers::bindings());
    bindings
}

const EVERY_VERB: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ: &[&str] = &["get", "list", "watch"];

/// Labels of the roles that add to the three of which users are given one.
const TO_ADMIN: &str = "rbac.authorization.k8s.io/aggregate-to-admin";
const TO_EDIT: &str = "rbac.authorization.k8s.io/aggregate-to-edit";
const TO_VIEW: &str = "rbac.authorization.k8s.io/aggregate-to-view";

fn view_rules() -> Vec<Value> {
    vec![
        rule(
            &[""],
            &[
                "configmaps",
                "endpoints",
                "events",
                "limitranges",
                "namespaces",
                "namespaces/status",
                "bindings",
                "persistentvolumeclaims",
                "persistentvolumeclaims/status",
                "pods",
                "pods/log",
                "pods/status",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "replicationcontrollers/status",
                "resourcequotas",
                "resourcequotas/status",
                "serviceaccounts",
                "services",
                "services/status",
            ],
            READ,
        ),
        rule(
            &["apps"],
            &[
                "controllerrevisions",
                "daemonsets",
                "daemonsets/status",
                "deployments",
                "deployments/scale",
                "deployments/status",
                "replicasets",
                "replicasets/scale",
                "replicasets/status",
                "statefulsets",
                "statefulsets/scale",
                "statefulsets/status",
            ],
            READ,
        ),
        rule(&["batch"], &["jobs", "jobs/status", "cronjobs", "cronjobs/status"], READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(&["events.k8s.io"], &["events"], READ),
        rule(&["networking.k8s.io"], &["ingresses", "ingresses/status", "networkpolicies"], READ),
        rule(&["policy"], &["poddisruptionbudgets", "poddisruptionbudgets/status"], READ),
        rule(&["autoscaling"], &["horizontalpodautoscalers", "horizontalpodautoscalers/status"], READ),
        rule(&["policy.networking.k8s.io"], &["clusternetworkpolicies", "clusternetworkpolicies/status"], READ),
        rule(&["networking.orknet.io"], &["networkpolicystatuses", "nodeprogrammings", "servicestatuses"], READ),
    ]
}

fn edit_rules() -> Vec<Value> {
    const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
    vec![
        rule(&[""], &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"], EVERY_VERB),
        rule(&[""], &["secrets"], EVERY_VERB),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(&[""], &["serviceaccounts/token", "pods/eviction"], &["create"]),
        // Not endpoints: who writes them sends others' traffic where a policy would not let him (CVE-2021-25740).
        rule(
            &[""],
            &[
                "configmaps",
                "events",
                "persistentvolumeclaims",
                "pods",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "serviceaccounts",
                "services",
            ],
            WRITE,
        ),
        rule(
            &["apps"],
            &[
                "daemonsets",
                "deployments",
                "deployments/rollback",
                "deployments/scale",
                "replicasets",
                "replicasets/scale",
                "statefulsets",
                "statefulsets/scale",
            ],
            WRITE,
        ),
        rule(&["batch"], &["jobs", "cronjobs"], WRITE),
        rule(&["events.k8s.io"], &["events"], WRITE),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], WRITE),
        rule(&["policy"], &["poddisruptionbudgets"], WRITE),
        rule(&["autoscaling"], &["horizontalpodautoscalers"], WRITE),
        rule(&["coordination.k8s.io"], &["leases"], EVERY_VERB),
    ]
}

/// What the Node authorizer allows every node; of the kinds that it looks at one by one, the most. The role that has them is bound to nobody.
pub(crate) fn node_rules() -> Vec<Value> {
    vec![
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
        rule(&["authorization.k8s.io"], &["localsubjectaccessreviews", "subjectaccessreviews"], &["create"]),
        rule(&[""], &["services"], READ),
        rule(&[""], &["nodes"], &["create", "get", "list", "watch"]),
        rule(&[""], &["nodes/status"], &["patch", "update"]),
        rule(&[""], &["nodes"], &["patch", "update"]),
        rule(&[""], &["events"], &["create", "patch", "update"]),
        rule(&[""], &["pods"], READ),
        rule(&[""], &["pods"], &["create", "delete"]),
        rule(&[""], &["pods/status"], &["patch", "update"]),
        rule(&[""], &["pods/eviction"], &["create"]),
        rule(&[""], &["configmaps", "secrets"], READ),
        rule(&[""], &["persistentvolumeclaims", "persistentvolumes"], &["get"]),
        rule(&[""], &["endpoints"], &["get"]),
        rule(&["certificates.k8s.io"], &["certificatesigningrequests"], &["create", "get", "list", "watch"]),
        rule(&["coordination.k8s.io"], &["leases"], &["create", "delete", "get", "patch", "update"]),
        rule(&["storage.k8s.io"], &["volumeattachments"], &["get"]),
        rule(&[""], &["serviceaccounts/token"], &["create"]),
        rule(&[""], &["persistentvolumeclaims/status"], &["get", "patch", "update"]),
        rule(&["storage.k8s.io"], &["csidrivers"], READ),
        rule(&["storage.k8s.io"], &["csinodes"], &["create", "delete", "get", "patch", "update"]),
        rule(&["node.k8s.io"], &["runtimeclasses"], READ),
    ]
}

/// What the agent on each node follows, beyond what a kubelet may: it has the kubelet's identity.
fn agent_rules() -> Vec<Value> {
    vec![
        rule(&[""], &["nodes", "pods", "services", "endpoints", "namespaces"], READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(&["networking.k8s.io"], &["networkpolicies", "ingresses", "servicecidrs"], READ),
        rule(&["policy.networking.k8s.io"], &["clusternetworkpolicies"], READ),
        // What of all this is in the node's kernel: its own report alone (NodeRestriction).
        rule(&["networking.orknet.io"], &["nodeprogrammings"], &["create", "delete", "get", "list", "patch", "update", "watch"]),
        // Which maps are full: a condition of its node, and events.
        rule(&[""], &["nodes/status"], &["patch"]),
        rule(&[""], &["events"], &["create", "patch"]),
    ]
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn role(name: &str, rules: Vec<Value>, labels: &[(&str, &str)]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(name, labels), "rules": rules})
}

/// As of every default role and binding, with more labels.
fn metadata(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> = labels
        .iter()
        .copied()
        .chain([("kubernetes.io/bootstrapping", "rbac-defaults")])
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    json!({"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}})
}

/// A role whose rules are those of the roles with a label.
fn sum(name: &str, label: &str, labels: &[(&str, &str)]) -> Value {
    let mut sum = role(name, Vec::new(), labels);
    sum["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    sum
}

fn binding(name: &str, role: &str, groups: &[&str]) -> Value {
    let subject = |group: &&str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group});
    binding_to(name, role, groups.iter().map(subject).collect())
}

fn binding_to(name: &str, role: &str, subjects: Vec<Value>) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata(name, &[]),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": subjects})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use crate::authz::{Attributes, Rbac, Target};

    #[test]
    fn a_nodes_group_is_given_what_agents_follow_and_no_secret() {
        let roles = cluster_roles().into_iter().map(|role| serde_json::from_value(role).unwrap());
        let bindings = cluster_role_bindings().into_iter().map(|binding| serde_json::from_value(binding).unwrap());
        let rbac = Rbac::new(roles, [], bindings, []);
        let node = Identity::authenticated("system:node:n1", [GROUP_NODES.to_owned()]);
        let may = |verb, group, resource, subresource| {
            rbac.allows(
                &node,
                &Attributes { verb, target: Target::Resource { group, resource, subresource, namespace: "default", name: "x" } },
            )
        };
        for resource in ["secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts"] {
            assert!(!may("get", "", resource, ""), "{resource}");
        }
        assert!(!may("create", "", "serviceaccounts", "token"));
        assert!(may("watch", "discovery.k8s.io", "endpointslices", ""));
        assert!(!may("create", "rbac.authorization.k8s.io", "clusterroles", ""));
        assert!(!may("create", "apps", "deployments", ""));
        assert!(may("watch", "policy.networking.k8s.io", "clusternetworkpolicies", ""));
        assert!(!may("patch", "policy.networking.k8s.io", "clusternetworkpolicies", "status"));
        assert!(may("patch", "networking.orknet.io", "nodeprogrammings", ""));
        assert!(!may("patch", "networking.orknet.io", "networkpolicystatuses", ""));
        let nobody = Identity::anonymous();
        let path = |path| Attributes { verb: "get", target: Target::Path(path) };
        assert!(rbac.allows(&nobody, &path("/version")));
        assert!(!rbac.allows(&nobody, &path("/apis")));
    }
}
