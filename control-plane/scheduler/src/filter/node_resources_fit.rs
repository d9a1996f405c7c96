//! The node must have room for the pod's requests, every resource, and for one pod more.

use super::{FilterName, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::requests::{PODS, get};

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    let mut rejections = Vec::new();
    let mut refuse = |reason: String, preemptable: bool| {
        rejections.push(Rejection { reason: reason.into(), filter: FilterName::NodeResourcesFit, preemptable });
    };
    let allowed = get(&node.allocatable, PODS);
    if i64::try_from(node.pods.len()).unwrap_or(i64::MAX) >= allowed {
        refuse("Too many pods".into(), allowed > 0);
    }
    for (name, wanted) in pod.requests.iter().filter(|(name, wanted)| **wanted > 0 && *name != PODS) {
        let offered = get(&node.allocatable, name);
        if *wanted > offered.saturating_sub(get(&node.requested, name)) {
            refuse(format!("Insufficient {name}"), *wanted <= offered);
        }
    }
    if rejections.is_empty() { Ok(()) } else { Err(rejections) }
}
