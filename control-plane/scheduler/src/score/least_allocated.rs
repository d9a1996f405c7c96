//! Prefers nodes with the larger share of CPU and memory left after the pod.

use std::sync::Arc;

use super::BEST;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::requests::{CPU, MEMORY, get};

pub(super) fn score(pod: &PodInfo, node: &NodeInfo, _all: &[Arc<NodeInfo>]) -> i64 {
    let free_share = |name: &str| {
        let offered = get(&node.allocatable, name);
        let used = get(&node.scored, name).saturating_add(get(&pod.scored, name));
        if offered == 0 || used > offered { 0 } else { (offered - used).saturating_mul(BEST) / offered }
    };
    (free_share(CPU) + free_share(MEMORY)) / 2
}
