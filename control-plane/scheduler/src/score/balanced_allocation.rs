//! Prefers nodes where CPU and memory would be used in about the same proportion, so that neither is left over.

use std::sync::Arc;

use super::BEST;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::requests::{CPU, MEMORY, get};

pub(super) fn score(pod: &PodInfo, node: &NodeInfo, _all: &[Arc<NodeInfo>]) -> i64 {
    let used_share = |name: &str| {
        let offered = get(&node.allocatable, name);
        if offered == 0 { 1.0 } else { ((get(&node.requested, name) + get(&pod.requests, name)) as f64 / offered as f64).min(1.0) }
    };
    // With two resources the standard deviation is half the difference.
    let deviation = (used_share(CPU) - used_share(MEMORY)).abs() / 2.0;
    ((1.0 - deviation) * BEST as f64) as i64
}
