//! Rules of ClusterRoles that sum others up.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::{Value, json};

use super::plan::plan;

fn role(name: &str, labels: Value, resources: &[&str], selectors: Value) -> ClusterRole {
    let rules: Vec<_> = resources.iter().map(|resource| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]})).collect();
    let mut role = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
    if !selectors.is_null() {
        role["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
    }
    serde_json::from_value(role).unwrap()
}

/// The resources of the planned rules.
fn planned(role: &ClusterRole, others: &[ClusterRole]) -> Option<Vec<String>> {
    let all: Vec<_> = others.iter().chain([role]).cloned().map(Arc::new).collect();
    plan(role, &all).map(|rules| rules.into_iter().flat_map(|rule| rule.resources.unwrap_or_default()).collect())
}

fn others() -> [ClusterRole; 3] {
    [
        role("c", json!({"part": "c"}), &["pods", "secrets"], Value::Null),
        role("b", json!({"part": "b", "to": "sum"}), &["pods", "nodes"], Value::Null),
        role("a", json!({"to": "other"}), &["events"], Value::Null),
    ]
}

#[test]
fn rules_are_those_of_the_selected_roles_each_once() {
    let selectors =
        json!([{"matchLabels": {"to": "sum"}}, {"matchExpressions": [{"key": "part", "operator": "In", "values": ["b", "c"]}]}]);
    // Rules of its own are not kept, and it is no part of itself.
    let sum = role("sum", json!({"to": "sum"}), &["leases"], selectors.clone());
    assert_eq!(planned(&sum, &others()), Some(vec!["pods".into(), "nodes".into(), "secrets".into()]));
    assert_eq!(planned(&role("sum", json!({}), &["pods", "nodes", "secrets"], selectors.clone()), &others()), None);
    assert_eq!(planned(&role("sum", json!({}), &["pods"], selectors), &[]), Some(vec![]));
}

#[test]
fn a_role_that_sums_nothing_up_is_left_alone() {
    assert_eq!(planned(&role("x", json!({}), &["leases"], Value::Null), &others()), None);
    let everything = role("x", json!({}), &["leases"], json!([{}]));
    assert_eq!(planned(&everything, &others()), Some(vec!["events".into(), "pods".into(), "nodes".into(), "secrets".into()]));
}
