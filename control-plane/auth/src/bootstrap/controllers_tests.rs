//! What single controllers may, by their roles and bindings together.

use super::controllers::{bindings, roles};
use super::{cluster_role_bindings, cluster_roles};
use crate::Identity;
use crate::authz::{Attributes, Rbac, Target};
use serde_json::from_value;

fn may(account: &str, verb: &str, group: &str, resource: &str) -> bool {
    let rbac = Rbac::new(
        cluster_roles().into_iter().map(|object| from_value(object).unwrap()),
        [],
        cluster_role_bindings().into_iter().map(|object| from_value(object).unwrap()),
        [],
    );
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let target = Target::Resource { group, resource, subresource, namespace: "a", name: "x" };
    rbac.allows(&Identity::service_account("kube-system", account), &Attributes { verb, target })
}

#[test]
fn a_controller_may_do_its_own_work_and_no_others() {
    assert!(may("deployment-controller", "create", "apps", "replicasets"));
    assert!(may("deployment-controller", "patch", "apps", "deployments/status"));
    assert!(!may("deployment-controller", "create", "", "pods"));
    assert!(!may("replicaset-controller", "get", "", "secrets"));
    assert!(may("replicaset-controller", "patch", "apps", "replicasets/status"));
    assert!(may("orknet-programming-controller", "create", "networking.orknet.io", "servicestatuses"));
    assert!(!may("programming-controller", "create", "networking.orknet.io", "servicestatuses"));
    assert!(may("generic-garbage-collector", "delete", "example.org", "things"));
    assert!(!may("generic-garbage-collector", "create", "", "pods"));
    // The account of another namespace is another.
    let stranger = bindings().into_iter().flat_map(|binding| binding["subjects"].as_array().cloned().unwrap_or_default());
    assert!(stranger.into_iter().all(|subject| subject["namespace"] == "kube-system"));
}

#[test]
fn what_is_beyond_kubernetes_is_given_to_an_account_that_kubernetes_knows() {
    let names: Vec<String> = roles().into_iter().map(|(name, _)| name).collect();
    for binding in bindings() {
        let role = binding["roleRef"]["name"].as_str().unwrap().to_owned();
        let account = binding["subjects"][0]["name"].as_str().unwrap();
        assert!(names.contains(&format!("system:controller:{account}")), "{role}");
    }
}
