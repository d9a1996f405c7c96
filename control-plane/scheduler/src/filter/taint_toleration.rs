//! Taints with effect NoSchedule or NoExecute keep out pods that do not tolerate them.

use orknet_reconciler::node_match;

use super::{FilterName, Rejection, refuse};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    let taints = node_match::taints(&node.node);
    match node_match::untolerated_taint(taints, node_match::tolerations(&pod.pod), &["NoSchedule", "NoExecute"]) {
        None => Ok(()),
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            refuse(FilterName::TaintToleration, format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
        }
    }
}
