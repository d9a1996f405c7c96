//! Counts the PreferNoSchedule taints that the pod does not tolerate; fewer is better.

use std::sync::Arc;

use orknet_reconciler::node_match;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn score(pod: &PodInfo, node: &NodeInfo, _all: &[Arc<NodeInfo>]) -> i64 {
    let tolerations = node_match::tolerations(&pod.pod);
    let soft = node_match::taints(&node.node).iter().filter(|taint| taint.effect == "PreferNoSchedule");
    i64::try_from(soft.filter(|taint| !node_match::tolerates(tolerations, taint)).count()).unwrap_or(i64::MAX)
}
