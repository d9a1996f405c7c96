//! A cordoned node takes only pods that tolerate its cordon (`node.kubernetes.io/unschedulable:NoSchedule`).

use k8s_openapi::api::core::v1::Taint;
use orknet_reconciler::node_match;

use super::{FilterName, Rejection, refuse};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    if node.node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true) {
        return Ok(());
    }
    let taint = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    if node_match::tolerates(node_match::tolerations(&pod.pod), &taint) {
        return Ok(());
    }
    refuse(FilterName::NodeUnschedulable, "node(s) were unschedulable")
}
