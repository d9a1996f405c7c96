//! Pure: which pods of lower priority would have to go, and from which node, so that a pod fits. Disruption budgets are not known here.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::filter::{Prepared, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// Where the pod would go, and whom it displaces.
#[derive(Debug)]
pub(crate) struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
}

/// The least harmful preemption: the lowest highest victim, then the lowest sum of priorities, then the fewest victims. `refused` are the reasons
/// for each node, in the order of the snapshot's nodes.
pub(crate) fn plan(snapshot: &Snapshot, pod: &PodInfo, refused: &[Vec<Rejection>]) -> Option<Preemption> {
    if pod.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return None;
    }
    let candidates = snapshot.nodes.iter().enumerate().zip(refused);
    let options = candidates
        .filter(|(_, reasons)| reasons.iter().all(|reason| reason.preemptable))
        .filter_map(|((position, node), _)| Some((node.name(), victims(snapshot, position, pod)?)));
    let harm = |victims: &[Arc<PodInfo>]| {
        let priorities = || victims.iter().map(|victim| i64::from(victim.priority()));
        // Shifted to be positive, so that more victims are never a smaller sum.
        let sum: i64 = priorities().map(|priority| priority - i64::from(i32::MIN)).sum();
        (priorities().max(), sum, victims.len())
    };
    let (node, victims) = options.min_by_key(|(_, victims)| harm(victims))?;
    Some(Preemption { node: node.to_string(), victims })
}

/// The fewest pods to remove from one node: all of lower priority, less those that can stay after all, the most important first.
fn victims(snapshot: &Snapshot, position: usize, pod: &PodInfo) -> Option<Vec<Arc<PodInfo>>> {
    let mut node = NodeInfo::clone(&snapshot.nodes[position]);
    let mut lower: Vec<_> = node.pods.iter().filter(|other| other.priority() < pod.priority()).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    lower.iter().for_each(|other| node.remove(other.uid()));
    if !fits(snapshot, position, &node, pod) {
        return None;
    }
    lower.sort_by_key(|other| (Reverse(other.priority()), started(other)));
    let mut victims = Vec::new();
    for other in lower {
        node.add(other.clone());
        if !fits(snapshot, position, &node, pod) {
            node.remove(other.uid());
            victims.push(other);
        }
    }
    Some(victims)
}

fn fits(snapshot: &Snapshot, position: usize, node: &NodeInfo, pod: &PodInfo) -> bool {
    let imagined = snapshot.with_node(position, Arc::new(node.clone()));
    Prepared::new(&imagined, pod).check(node).is_ok()
}

/// Pods that run longer are spared first; one that has not started comes last.
fn started(pod: &PodInfo) -> (bool, Option<k8s_openapi::jiff::Timestamp>) {
    let start = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    (start.is_none(), start)
}
