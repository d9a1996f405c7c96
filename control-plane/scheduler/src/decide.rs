//! Pure: one scheduling decision.

use std::sync::Arc;

use crate::filter::{Prepared, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::score;
use crate::snapshot::Snapshot;

/// The outcome of one decision.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The node's name.
    Node(String),
    /// Why each node was refused, in the order of the snapshot's nodes.
    Unschedulable(Vec<Vec<Rejection>>),
}

/// Picks the best node for the pod. `turn` picks among equals, so that different turns spread over them.
pub(crate) fn decide(snapshot: &Snapshot, pod: &PodInfo, turn: u64) -> Decision {
    let prepared = Prepared::new(snapshot, pod);
    let mut candidates: Vec<Arc<NodeInfo>> = Vec::new();
    let mut refused = Vec::new();
    for node in &snapshot.nodes {
        match prepared.check(node) {
            Ok(()) => candidates.push(node.clone()),
            Err(reasons) => refused.push(reasons),
        }
    }
    let scores = match candidates.len() {
        0 => return Decision::Unschedulable(refused),
        1 => vec![0],
        _ => score::score(snapshot, pod, &candidates),
    };
    let best = scores.iter().copied().max().unwrap_or(0);
    let equals: Vec<_> = candidates.iter().zip(&scores).filter(|(_, score)| **score == best).map(|(node, _)| node).collect();
    let pick = usize::try_from(turn % equals.len() as u64).unwrap_or(0);
    Decision::Node(equals[pick].name().to_string())
}
