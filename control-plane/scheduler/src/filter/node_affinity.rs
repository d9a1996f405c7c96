//! `nodeSelector` and required node affinity.

use orknet_reconciler::node_match;

use super::{FilterName, Rejection, refuse};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    if pod.spec().is_none_or(|spec| node_match::selects_node(spec, &node.node)) {
        return Ok(());
    }
    refuse(FilterName::NodeAffinity, "node(s) didn't match Pod's node affinity/selector")
}
