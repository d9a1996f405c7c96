//! A pod that names its node goes nowhere else.

use super::{FilterName, Rejection, refuse};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    match pod.spec().and_then(|spec| spec.node_name.as_deref()) {
        Some(wanted) if !wanted.is_empty() && wanted != node.name() => {
            refuse(FilterName::NodeName, "node(s) didn't match the requested node name")
        }
        _ => Ok(()),
    }
}
