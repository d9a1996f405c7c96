//! Adds the weights of the preferred node affinity terms that the node satisfies.

use std::sync::Arc;

use orknet_reconciler::node_match;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn score(pod: &PodInfo, node: &NodeInfo, _all: &[Arc<NodeInfo>]) -> i64 {
    let affinity = pod.spec().and_then(|spec| spec.affinity.as_ref()).and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref());
    let terms = preferred.unwrap_or_default().iter();
    terms.filter(|term| node_match::term_matches(&term.preference, &node.node)).map(|term| i64::from(term.weight)).sum()
}
