//! Pure: which pods go first when there are too many. The order is the one documented for ReplicaSet ("Scaling a ReplicaSet"):
//! unassigned, pending, not ready, cheaper by annotation, crowded on a node, recently ready, often restarted, young.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state::{self, node_of};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods to delete, first to go first. `related` are the pods whose presence on a node makes it crowded.
pub(crate) fn victims(pods: &[Arc<Pod>], related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for node in related.iter().filter_map(|pod| node_of(pod)) {
        *crowd.entry(node).or_default() += 1;
    }
    let rank = |pod: &Pod| node_of(pod).and_then(|node| crowd.get(node)).copied().unwrap_or(0);
    let mut ranked: Vec<_> = pods.to_vec();
    ranked.sort_by(|one, other| compare(one, other, rank(one), rank(other), now));
    ranked.truncate(count);
    ranked
}

fn compare(one: &Pod, other: &Pod, one_rank: usize, other_rank: usize, now: Timestamp) -> Ordering {
    let assigned = |pod: &Pod| node_of(pod).is_some();
    let phase = |pod: &Pod| match pod_state::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let both_ready = pod_state::is_ready(one) && pod_state::is_ready(other);
    (assigned(one).cmp(&assigned(other)))
        .then(phase(one).cmp(&phase(other)))
        .then(pod_state::is_ready(one).cmp(&pod_state::is_ready(other)))
        .then(deletion_cost(one).cmp(&deletion_cost(other)))
        .then(other_rank.cmp(&one_rank))
        .then_with(|| {
            let since = |pod: &Pod| pod_state::ready_since(pod).unwrap_or(now);
            let (one_since, other_since) = (since(one), since(other));
            if !both_ready || one_since == other_since {
                return Ordering::Equal;
            }
            // About as long: by uid, not by the rules below.
            magnitude(one_since, now).cmp(&magnitude(other_since, now)).then_with(|| one.metadata.uid.cmp(&other.metadata.uid))
        })
        .then(restarts(other).cmp(&restarts(one)))
        .then_with(|| {
            let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
            magnitude(created(one), now).cmp(&magnitude(created(other), now))
        })
        // Equal in every rule: by uid, so that the choice is the same in every pass.
        .then_with(|| one.metadata.uid.cmp(&other.metadata.uid))
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    statuses.iter().map(|status| status.restart_count).max().unwrap_or(0)
}

/// The age in powers of two: pods of about the same age are equal, so that not always the youngest goes (KEP-2185).
fn magnitude(since: Timestamp, now: Timestamp) -> u32 {
    let seconds = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
    u64::BITS - seconds.leading_zeros()
}
