//! Default roles of Kubernetes' own components and of those who serve it, with their bindings (those of 1.33; single controllers: `controllers`). A role that
//! is bound to nobody is there for whoever installs such a component.

use super::{READ, binding_to, rule};
use crate::authn::{GROUP_NODES, GROUP_SERVICE_ACCOUNTS};
use crate::bootstrap_tokens::GROUP;
use serde_json::{Value, json};

/// Name and rules of the ClusterRoles.
pub fn roles() -> Vec<(&'static str, Vec<Value>)> {
    let events = || rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"]);
    let reviews = || {
        [
            rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
            rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
        ]
    };
    let lease_of = |name: &str| {
        [
            rule(&["coordination.k8s.io"], &["leases"], &["create"]),
            named(&["coordination.k8s.io"], &["leases"], &[name], &["get", "update"]),
        ]
    };
    let signing = |what: &str| vec![rule(&["certificates.k8s.io"], &[what], &["create"])];
    let approver = |signer: &str| vec![named(&["certificates.k8s.io"], &["signers"], &[signer], &["approve"])];
    let discovery = ["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"];
    let manager = [
        rule(&[""], &["secrets", "serviceaccounts"], &["create"]),
        rule(&[""], &["secrets"], &["delete"]),
        rule(&[""], &["configmaps", "namespaces", "secrets", "serviceaccounts"], &["get"]),
        rule(&[""], &["secrets", "serviceaccounts"], &["update"]),
        rule(&["*"], &["*"], &["list", "watch"]),
        rule(&[""], &["serviceaccounts/token"], &["create"]),
    ];
    let scheduler = [
        rule(&[""], &["nodes"], READ),
        rule(&[""], &["pods"], &["delete", "get", "list", "watch"]),
        rule(&[""], &["bindings", "pods/binding"], &["create"]),
        rule(&[""], &["pods/status"], &["patch", "update"]),
        rule(&[""], &["replicationcontrollers", "services"], READ),
        rule(&["apps", "extensions"], &["replicasets"], READ),
        rule(&["apps"], &["statefulsets"], READ),
        rule(&["policy"], &["poddisruptionbudgets"], READ),
        rule(&[""], &["persistentvolumeclaims", "persistentvolumes"], READ),
        rule(&["storage.k8s.io"], &["csinodes"], READ),
        rule(&[""], &["namespaces"], READ),
        rule(&["storage.k8s.io"], &["csidrivers"], READ),
        rule(&["storage.k8s.io"], &["csistoragecapacities"], READ),
    ];
    vec![
        ("system:auth-delegator", reviews().into()),
        ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", signing("certificatesigningrequests/nodeclient")),
        ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", signing("certificatesigningrequests/selfnodeclient")),
        ("system:certificates.k8s.io:kube-apiserver-client-approver", approver("kubernetes.io/kube-apiserver-client")),
        ("system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", approver("kubernetes.io/kube-apiserver-client-kubelet")),
        ("system:certificates.k8s.io:kubelet-serving-approver", approver("kubernetes.io/kubelet-serving")),
        ("system:certificates.k8s.io:legacy-unknown-approver", approver("kubernetes.io/legacy-unknown")),
        (
            "system:heapster",
            vec![rule(&[""], &["events", "namespaces", "nodes", "pods"], READ), rule(&["extensions"], &["deployments"], READ)],
        ),
        ("system:kube-aggregator", vec![rule(&[""], &["endpoints", "services"], READ)]),
        (
            "system:kube-controller-manager",
            [events()].into_iter().chain(lease_of("kube-controller-manager")).chain(manager).chain(reviews()).collect(),
        ),
        ("system:kube-dns", vec![rule(&[""], &["endpoints", "services"], &["list", "watch"])]),
        ("system:kube-scheduler", [events()].into_iter().chain(lease_of("kube-scheduler")).chain(scheduler).chain(reviews()).collect()),
        (
            "system:kubelet-api-admin",
            vec![
                rule(&[""], &["nodes"], READ),
                rule(&[""], &["nodes"], &["proxy"]),
                rule(&[""], &["nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"], &["*"]),
            ],
        ),
        (
            "system:node-bootstrapper",
            vec![rule(&["certificates.k8s.io"], &["certificatesigningrequests"], &["create", "get", "list", "watch"])],
        ),
        ("system:node-problem-detector", vec![rule(&[""], &["nodes"], &["get"]), rule(&[""], &["nodes/status"], &["patch"]), events()]),
        (
            "system:node-proxier",
            vec![
                rule(&[""], &["endpoints", "services"], &["list", "watch"]),
                rule(&[""], &["nodes"], READ),
                events(),
                rule(&["discovery.k8s.io"], &["endpointslices"], &["list", "watch"]),
            ],
        ),
        (
            "system:persistent-volume-provisioner",
            vec![
                rule(&[""], &["persistentvolumes"], &["create", "delete", "get", "list", "watch"]),
                rule(&[""], &["persistentvolumeclaims"], &["get", "list", "update", "watch"]),
                rule(&["storage.k8s.io"], &["storageclasses"], READ),
                rule(&[""], &["events"], &["watch"]),
                events(),
            ],
        ),
        ("system:service-account-issuer-discovery", vec![json!({"nonResourceURLs": discovery, "verbs": ["get"]})]),
        (
            "system:volume-scheduler",
            vec![
                rule(&[""], &["persistentvolumes"], &["get", "list", "patch", "update", "watch"]),
                rule(&["storage.k8s.io"], &["storageclasses"], READ),
                rule(&[""], &["persistentvolumeclaims"], &["get", "list", "patch", "update", "watch"]),
            ],
        ),
    ]
}

/// The ClusterRoleBindings of these roles.
pub fn bindings() -> Vec<Value> {
    let user = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    let dns = json!({"kind": "ServiceAccount", "name": "kube-dns", "namespace": "kube-system"});
    // A machine joins by a token, and renews what it was given, without anybody's help: what kubeadm gives each cluster.
    let joining = [
        ("orknet:node-bootstrapper", "system:node-bootstrapper", GROUP),
        ("orknet:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", GROUP),
        (
            "orknet:node-autoapprove-certificate-rotation",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            GROUP_NODES,
        ),
    ];
    [
        ("system:kube-controller-manager", user("system:kube-controller-manager")),
        ("system:kube-dns", dns),
        ("system:kube-scheduler", user("system:kube-scheduler")),
        ("system:node-proxier", user("system:kube-proxy")),
        ("system:service-account-issuer-discovery", group(GROUP_SERVICE_ACCOUNTS)),
        ("system:volume-scheduler", user("system:kube-scheduler")),
    ]
    .into_iter()
    .map(|(role, subject)| binding_to(role, role, vec![subject]))
    .chain(joining.into_iter().map(|(name, role, members)| binding_to(name, role, vec![group(members)])))
    .collect()
}

fn named(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "resourceNames": names, "verbs": verbs})
}

#[cfg(test)]
mod tests {
    use super::super::{cluster_role_bindings, cluster_roles, role_bindings, roles};
    use crate::Identity;
    use crate::authn::GROUP_SERVICE_ACCOUNTS;
    use crate::authz::{Attributes, Rbac, Target};
    use serde_json::Value;
    use serde_json::from_value;
    use std::collections::HashSet;

    #[test]
    fn every_default_object_has_its_name_alone_and_every_binding_its_role() {
        let place = |object: &Value| (object["kind"].clone(), object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone());
        let all: Vec<Value> = [cluster_roles(), cluster_role_bindings(), roles(), role_bindings()].into_iter().flatten().collect();
        let places: HashSet<_> = all.iter().map(|object| format!("{:?}", place(object))).collect();
        assert_eq!(places.len(), all.len());
        for binding in all.iter().filter(|object| object.get("roleRef").is_some()) {
            let role = &binding["roleRef"];
            let home = if role["kind"] == "Role" { binding["metadata"]["namespace"].clone() } else { Value::Null };
            assert!(places.contains(&format!("{:?}", (role["kind"].clone(), home, role["name"].clone()))), "{role}");
        }
    }

    #[test]
    fn components_may_do_their_work_and_no_more() {
        let rbac = Rbac::new(
            cluster_roles().into_iter().map(|object| from_value(object).unwrap()),
            roles().into_iter().map(|object| from_value(object).unwrap()),
            cluster_role_bindings().into_iter().map(|object| from_value(object).unwrap()),
            role_bindings().into_iter().map(|object| from_value(object).unwrap()),
        );
        let may = |user: &str, verb: &str, group: &str, resource: &str, namespace: &str, name: &str| {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let target = Target::Resource { group, resource, subresource, namespace, name };
            rbac.allows(&Identity::authenticated(user, []), &Attributes { verb, target })
        };
        let scheduler = "system:kube-scheduler";
        assert!(may(scheduler, "create", "", "pods/binding", "a", "p"));
        assert!(may(scheduler, "update", "", "persistentvolumeclaims", "a", "c"));
        assert!(may(scheduler, "update", "coordination.k8s.io", "leases", "kube-system", "kube-scheduler"));
        assert!(!may(scheduler, "update", "coordination.k8s.io", "leases", "default", "other"));
        assert!(!may(scheduler, "get", "", "secrets", "kube-system", "s"));
        assert!(may("system:kube-proxy", "watch", "discovery.k8s.io", "endpointslices", "", ""));
        assert!(may("system:serviceaccount:kube-system:kube-dns", "watch", "", "services", "", ""));
        assert!(!may("system:serviceaccount:other:kube-dns", "watch", "", "services", "", ""));
        let keys = Attributes { verb: "get", target: Target::Path("/openid/v1/jwks") };
        assert!(rbac.allows(&Identity::authenticated("x", [GROUP_SERVICE_ACCOUNTS.to_owned()]), &keys));
        assert!(!rbac.allows(&Identity::authenticated("x", []), &keys));
    }
}
