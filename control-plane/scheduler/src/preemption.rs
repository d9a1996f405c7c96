//! Pure: which pods of lower priority would have to go, and from which node, so that a pod fits. Budgets are kept where they can be
//! (`budgets.rs`), but do not stop a pod.

use std::cmp::Reverse;
use std::sync::Arc;

use orknet_reconciler::pod_state;

use crate::budgets::{Budgets, Disturbance};
use crate::filter::{Prepared, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// What preemption can do for a pod.
#[derive(Debug)]
pub(crate) enum Verdict {
    Displace(Preemption),
    /// No node has pods whose going would help.
    NoVictims,
    /// It is not tried, and why: the words follow `preemption: ` in the pod's message.
    NotEligible(&'static str),
}

/// Where the pod would go, and whom it displaces.
#[derive(Debug)]
pub(crate) struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
}

/// The least harmful preemption: the fewest broken budgets, then the lowest highest victim, then the lowest sum of priorities, then the fewest
/// victims. `refused` are the reasons for each node, in the order of the snapshot's nodes.
///
/// While pods that were displaced for this one are still leaving `nominated`, no others are.
pub(crate) fn plan(snapshot: &Snapshot, pod: &PodInfo, refused: &[Vec<Rejection>], nominated: Option<&str>, budgets: &Budgets) -> Verdict {
    if pod.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Verdict::NotEligible("not eligible due to preemptionPolicy=Never.");
    }
    let leaving = |other: &Arc<PodInfo>| other.priority() < pod.priority() && pod_state::is_terminating(&other.pod);
    let mut promised = snapshot.nodes.iter().zip(refused).filter(|(node, reasons)| Some(node.name()) == nominated && may_help(reasons));
    if promised.any(|(node, _)| node.pods.iter().any(leaving)) {
        return Verdict::NotEligible("not eligible due to a terminating pod on the nominated node.");
    }
    let candidates = snapshot.nodes.iter().enumerate().zip(refused);
    let options = candidates
        .filter(|(_, reasons)| may_help(reasons))
        .filter_map(|((position, node), _)| Some((node.name(), victims(snapshot, position, pod, budgets)?)));
    let harm = |victims: &Victims| {
        let priorities = || victims.pods.iter().map(|victim| i64::from(victim.priority()));
        // Shifted to be positive, so that more victims are never a smaller sum.
        let sum: i64 = priorities().map(|priority| priority - i64::from(i32::MIN)).sum();
        (victims.broken_budgets, priorities().max(), sum, victims.pods.len())
    };
    match options.min_by_key(|(_, victims)| harm(victims)) {
        Some((node, victims)) => Verdict::Displace(Preemption { node: node.to_string(), victims: victims.pods }),
        None => Verdict::NoVictims,
    }
}

fn may_help(refused: &[Rejection]) -> bool {
    refused.iter().all(|reason| reason.preemptable)
}

/// Who would have to leave one node.
struct Victims {
    /// The most important first.
    pods: Vec<Arc<PodInfo>>,
    /// How many of them their budgets would keep.
    broken_budgets: usize,
}

/// The fewest pods to remove from one node: all of lower priority, less those that can stay after all: first those whose budget would be broken, of
/// these and then of the others the most important first.
fn victims(snapshot: &Snapshot, position: usize, pod: &PodInfo, budgets: &Budgets) -> Option<Victims> {
    let mut node = NodeInfo::clone(&snapshot.nodes[position]);
    let mut lower: Vec<_> = node.pods.iter().filter(|other| other.priority() < pod.priority()).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    lower.iter().for_each(|other| node.remove(other.uid()));
    if !fits(snapshot, position, &node, pod) {
        return None;
    }
    lower.sort_by_key(importance);
    let (kept, free): (Vec<_>, Vec<_>) =
        budgets.judged(lower).into_iter().partition(|(_, disturbance)| *disturbance == Disturbance::Breaks);
    let (mut pods, mut broken_budgets) = (Vec::new(), 0);
    for (other, disturbance) in kept.into_iter().chain(free) {
        node.add(other.clone());
        if !fits(snapshot, position, &node, pod) {
            node.remove(other.uid());
            pods.push(other);
            broken_budgets += usize::from(disturbance == Disturbance::Breaks);
        }
    }
    pods.sort_by_key(importance);
    Some(Victims { pods, broken_budgets })
}

fn fits(snapshot: &Snapshot, position: usize, node: &NodeInfo, pod: &PodInfo) -> bool {
    let imagined = snapshot.with_node(position, Arc::new(node.clone()));
    Prepared::new(&imagined, pod).check(node).is_ok()
}

fn importance(pod: &Arc<PodInfo>) -> (Reverse<i32>, (bool, Option<k8s_openapi::jiff::Timestamp>)) {
    (Reverse(pod.priority()), started(pod))
}

/// Pods that run longer are spared first; one that has not started comes last.
fn started(pod: &PodInfo) -> (bool, Option<k8s_openapi::jiff::Timestamp>) {
    let start = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    (start.is_none(), start)
}
