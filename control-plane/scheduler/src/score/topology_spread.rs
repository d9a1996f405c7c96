//! Counts the pods of the same kind near each node; fewer is better. "Same kind" is what the pod's soft spread constraints select; without
//! any, the pods of the same controller, spread over nodes and, more loosely, zones.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use orknet_reconciler::{pod_state, selector};

use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, with_label_keys};
use crate::snapshot::Snapshot;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// One pod on the node itself weighs as much as so many in its zone.
const NODE_WEIGHT: i64 = 4;

/// A raw score per candidate; the highest is the most crowded.
pub(super) fn scores(snapshot: &Snapshot, pod: &PodInfo, candidates: &[Arc<NodeInfo>]) -> Vec<i64> {
    let all = pod.spec().and_then(|spec| spec.topology_spread_constraints.as_deref()).unwrap_or_default();
    let mut totals = vec![0; candidates.len()];
    for constraint in all.iter().filter(|constraint| constraint.when_unsatisfiable == "ScheduleAnyway") {
        let wanted = with_label_keys(constraint.label_selector.as_ref(), pod.labels(), constraint.match_label_keys.as_ref(), None);
        let same = |other: &PodInfo| matches(wanted.as_ref(), pod, other);
        add(&mut totals, snapshot, candidates, &constraint.topology_key, 1, &same);
    }
    if all.is_empty()
        && let Some(controller) = pod_state::controller_of(&pod.pod.metadata)
    {
        let same = |other: &PodInfo| pod_state::is_controlled_by(&other.pod.metadata, &controller.uid);
        add(&mut totals, snapshot, candidates, HOSTNAME, NODE_WEIGHT, &same);
        add(&mut totals, snapshot, candidates, ZONE, 1, &same);
    }
    totals
}

fn matches(wanted: Option<&LabelSelector>, pod: &PodInfo, other: &PodInfo) -> bool {
    other.namespace() == pod.namespace() && wanted.is_some_and(|wanted| selector::matches(wanted, other.labels()))
}

fn add(totals: &mut [i64], snapshot: &Snapshot, candidates: &[Arc<NodeInfo>], key: &str, weight: i64, same: &dyn Fn(&PodInfo) -> bool) {
    let count = |node: &NodeInfo| {
        let alike = node.pods.iter().filter(|other| !pod_state::is_terminating(&other.pod) && same(other));
        i64::try_from(alike.count()).unwrap_or(i64::MAX)
    };
    let mut domains: HashMap<&str, i64> = HashMap::new();
    for node in &snapshot.nodes {
        if let Some(domain) = domain(node, key) {
            *domains.entry(domain).or_default() += count(node);
        }
    }
    for (total, node) in totals.iter_mut().zip(candidates) {
        *total += weight * domain(node, key).and_then(|domain| domains.get(domain)).copied().unwrap_or(0);
    }
}

/// A node without the hostname label is a domain by its name.
fn domain<'a>(node: &'a NodeInfo, key: &str) -> Option<&'a str> {
    node.label(key).or((key == HOSTNAME).then(|| node.name()))
}
