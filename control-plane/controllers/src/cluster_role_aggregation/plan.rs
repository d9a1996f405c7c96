//! Pure: a ClusterRole that sums others up and all ClusterRoles in; its rules out.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use orknet_reconciler::selector;

/// The rules of the roles that `role` selects, in the order of its selectors and of their names, each rule once. `None` when it has them already, or
/// sums nothing up. A sum of sums gets there in steps: each is written, which wakes the next.
pub(super) fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let aggregation = role.aggregation_rule.as_ref()?;
    let mut others: Vec<_> = all.iter().filter(|other| other.metadata.name != role.metadata.name).collect();
    others.sort_by_key(|other| other.metadata.name.as_deref());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for chosen in aggregation.cluster_role_selectors.iter().flatten() {
        let selected = others.iter().filter(|other| selector::matches(chosen, other.metadata.labels.as_ref()));
        for rule in selected.flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (rules.as_slice() != role.rules.as_deref().unwrap_or_default()).then_some(rules)
}
