//! The scores: among the nodes that fit, which is best? One file each; every score is brought to 0…100 and weighted.

mod balanced_allocation;
mod image_locality;
mod inter_pod_affinity;
mod least_allocated;
mod node_affinity;
mod taint_toleration;
mod topology_spread;

use std::sync::Arc;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// The best score of one plugin.
pub(crate) const BEST: i64 = 100;

/// How raw scores of one plugin become 0…[`BEST`].
#[derive(Clone, Copy)]
enum Scale {
    /// They already are.
    Absolute,
    /// The highest becomes the best.
    HighestIsBest,
    /// The highest becomes 0.
    LowestIsBest,
    /// The highest becomes the best and the lowest 0, whatever they are.
    Stretched,
}

type Score = fn(&PodInfo, &NodeInfo, &[Arc<NodeInfo>]) -> i64;

/// Name, weight, scale; the weights are kube-scheduler's defaults.
const SCORES: [(Score, i64, Scale); 5] = [
    (least_allocated::score, 1, Scale::Absolute),
    (balanced_allocation::score, 1, Scale::Absolute),
    (taint_toleration::score, 3, Scale::LowestIsBest),
    (node_affinity::score, 2, Scale::HighestIsBest),
    (image_locality::score, 1, Scale::Absolute),
];

const SPREAD_WEIGHT: i64 = 2;
const AFFINITY_WEIGHT: i64 = 2;

/// The sum of weighted scores of each candidate, in the order of `candidates`.
pub(crate) fn score(snapshot: &Snapshot, pod: &PodInfo, candidates: &[Arc<NodeInfo>]) -> Vec<i64> {
    let mut totals = vec![0; candidates.len()];
    let mut add = |raw: Vec<i64>, weight: i64, scale: Scale| {
        for (total, score) in totals.iter_mut().zip(scaled(raw, scale)) {
            *total += weight * score;
        }
    };
    for (score, weight, scale) in SCORES {
        add(candidates.iter().map(|node| score(pod, node, &snapshot.nodes)).collect(), weight, scale);
    }
    add(topology_spread::scores(snapshot, pod, candidates), SPREAD_WEIGHT, Scale::LowestIsBest);
    add(inter_pod_affinity::scores(snapshot, pod, candidates), AFFINITY_WEIGHT, Scale::Stretched);
    totals
}

fn scaled(mut raw: Vec<i64>, scale: Scale) -> Vec<i64> {
    let highest = raw.iter().copied().max().unwrap_or(0);
    match scale {
        Scale::Absolute => {}
        Scale::HighestIsBest if highest > 0 => raw.iter_mut().for_each(|score| *score = *score * BEST / highest),
        Scale::LowestIsBest if highest > 0 => raw.iter_mut().for_each(|score| *score = BEST - *score * BEST / highest),
        Scale::Stretched => {
            let lowest = raw.iter().copied().min().unwrap_or(0);
            raw.iter_mut().for_each(|score| *score = (*score - lowest) * BEST / (highest - lowest).max(1));
        }
        Scale::HighestIsBest => raw.fill(0),
        Scale::LowestIsBest => raw.fill(BEST),
    }
    raw
}
