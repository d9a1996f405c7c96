//! `topologySpreadConstraints` with DoNotSchedule: no domain may get more than `maxSkew` matching pods above the emptiest one.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use orknet_reconciler::{node_match, pod_state, selector};

use super::{FilterName, Rejection, refuse, refuse_for_now};
use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, with_label_keys};
use crate::snapshot::Snapshot;

/// Matching pods by domain for each hard constraint.
pub(super) struct State {
    constraints: Vec<Constraint>,
}

struct Constraint {
    key: String,
    max_skew: i64,
    /// Whether the pod itself matches and so adds one to its domain.
    own: i64,
    counts: HashMap<String, i64>,
    least: i64,
}

pub(super) fn prepare(snapshot: &Snapshot, pod: &PodInfo) -> State {
    let all = pod.spec().and_then(|spec| spec.topology_spread_constraints.as_deref()).unwrap_or_default();
    let hard: Vec<_> = all.iter().filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule").collect();
    State { constraints: hard.iter().map(|constraint| count(snapshot, pod, constraint, &hard)).collect() }
}

pub(super) fn check(state: &State, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    for constraint in &state.constraints {
        let Some(domain) = node.label(&constraint.key) else {
            let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
            return refuse(FilterName::PodTopologySpread, reason);
        };
        let matching = constraint.counts.get(domain).copied().unwrap_or(0);
        if matching + constraint.own - constraint.least > constraint.max_skew {
            return refuse_for_now(FilterName::PodTopologySpread, "node(s) didn't match pod topology spread constraints");
        }
    }
    Ok(())
}

fn count(snapshot: &Snapshot, pod: &PodInfo, constraint: &TopologySpreadConstraint, all: &[&TopologySpreadConstraint]) -> Constraint {
    let wanted = with_label_keys(constraint.label_selector.as_ref(), pod.labels(), constraint.match_label_keys.as_ref(), None);
    let mut counts = HashMap::new();
    for node in &snapshot.nodes {
        let eligible = all.iter().all(|constraint| node.label(&constraint.topology_key).is_some()) && counts_for(constraint, pod, node);
        if let Some(domain) = node.label(&constraint.topology_key).filter(|_| eligible) {
            *counts.entry(domain.to_string()).or_insert(0) += matching_pods(node, pod.namespace(), wanted.as_ref());
        }
    }
    let domains = i32::try_from(counts.len()).unwrap_or(i32::MAX);
    let too_few = constraint.min_domains.is_some_and(|least| domains < least);
    let least = if too_few { 0 } else { counts.values().copied().min().unwrap_or(0) };
    let own = wanted.as_ref().is_some_and(|wanted| selector::matches(wanted, pod.labels()));
    Constraint { key: constraint.topology_key.clone(), max_skew: constraint.max_skew.into(), own: own.into(), counts, least }
}

/// Whether the node's domain takes part (`nodeAffinityPolicy`, default Honor; `nodeTaintsPolicy`, default Ignore).
fn counts_for(constraint: &TopologySpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> bool {
    let by_affinity = constraint.node_affinity_policy.as_deref() == Some("Ignore")
        || pod.spec().is_none_or(|spec| node_match::selects_node(spec, &node.node));
    let tolerated = || {
        let taints = node_match::taints(&node.node);
        node_match::untolerated_taint(taints, node_match::tolerations(&pod.pod), &["NoSchedule", "NoExecute"]).is_none()
    };
    by_affinity && (constraint.node_taints_policy.as_deref() != Some("Honor") || tolerated())
}

fn matching_pods(node: &NodeInfo, namespace: &str, wanted: Option<&LabelSelector>) -> i64 {
    let Some(wanted) = wanted else { return 0 };
    let matches = |other: &&std::sync::Arc<PodInfo>| {
        other.namespace() == namespace && !pod_state::is_terminating(&other.pod) && selector::matches(wanted, other.labels())
    };
    i64::try_from(node.pods.iter().filter(matches).count()).unwrap_or(i64::MAX)
}
