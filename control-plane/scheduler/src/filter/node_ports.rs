//! Two pods on one node can't bind the same host port.

use super::{FilterName, Rejection, refuse_for_now};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    let taken = |wanted| node.pods.iter().flat_map(|other| &other.ports).any(|port| port.conflicts(wanted));
    if pod.ports.iter().any(taken) {
        return refuse_for_now(FilterName::NodePorts, "node(s) didn't have free ports for the requested pod ports");
    }
    Ok(())
}
