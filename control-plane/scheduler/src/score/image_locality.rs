//! Prefers nodes that already have the pod's images, by size. An image on few nodes counts less, so that one node is not flooded.

use std::sync::Arc;

use super::BEST;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const MIB: i64 = 1024 * 1024;
/// Below this sum images do not matter; above the other (per container) the node has the best score. kube-scheduler's figures.
const LEAST: i64 = 23 * MIB;
const MOST_PER_CONTAINER: i64 = 1000 * MIB;

pub(super) fn score(pod: &PodInfo, node: &NodeInfo, all: &[Arc<NodeInfo>]) -> i64 {
    let Some(spec) = pod.spec() else { return 0 };
    let images = spec.containers.iter().filter_map(|container| container.image.as_deref());
    let sum: i64 = images.filter_map(|image| weighted_size(image, node, all)).sum();
    let most = MOST_PER_CONTAINER.saturating_mul(i64::try_from(spec.containers.len()).unwrap_or(1).max(1));
    (sum.clamp(LEAST, most) - LEAST).saturating_mul(BEST) / (most - LEAST)
}

fn weighted_size(image: &str, node: &NodeInfo, all: &[Arc<NodeInfo>]) -> Option<i64> {
    let size = size_on(image, node)?;
    let nodes = all.iter().filter(|node| size_on(image, node).is_some()).count();
    Some((size as f64 * nodes as f64 / all.len().max(1) as f64) as i64)
}

fn size_on(image: &str, node: &NodeInfo) -> Option<i64> {
    let images = node.node.status.as_ref()?.images.as_ref()?;
    let last = image.rsplit('/').next().unwrap_or(image);
    let tagged = last.contains(':') || image.contains('@');
    let same = |name: &str| name == image || !tagged && name.strip_suffix(":latest") == Some(image);
    images.iter().find(|present| present.names.iter().flatten().any(|name| same(name)))?.size_bytes
}
