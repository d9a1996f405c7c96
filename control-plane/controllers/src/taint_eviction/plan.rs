//! Pure: when a pod must leave its node.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::{node_match, pod_state};

/// What becomes of a pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Leaves,
    LeavesIn(Duration),
}

/// The node's taints that drive pods away.
pub(super) fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    node_match::taints(node).iter().filter(|taint| taint.effect == "NoExecute")
}

/// Every taint must be tolerated; the shortest `tolerationSeconds` counts, from when pod and taint were both there: `first_seen` where the
/// two do not tell.
pub(super) fn judge(pod: &Pod, node: &Node, first_seen: Timestamp, now: Timestamp) -> Verdict {
    if pod_state::is_terminating(pod) || pod_state::is_terminal(pod) {
        return Verdict::Stays;
    }
    let mut soonest: Option<Duration> = None;
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    for taint in evicting(node) {
        let tolerations = node_match::tolerations(pod).iter().filter(|toleration| node_match::tolerates_one(toleration, taint));
        // A toleration without seconds lasts for ever; of several with seconds the shortest counts.
        let mut seconds: Option<i64> = None;
        let mut tolerated = false;
        for toleration in tolerations {
            tolerated = true;
            if let Some(own) = toleration.toleration_seconds {
                seconds = Some(seconds.map_or(own, |least| least.min(own)));
            }
        }
        if !tolerated {
            return Verdict::Leaves;
        }
        if let Some(seconds) = seconds {
            let added = taint.time_added.as_ref().map(|time| time.0);
            let since = added.zip(started).map_or(first_seen, |(added, started)| added.max(started));
            let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).saturating_sub(passed);
            soonest = Some(soonest.map_or(left, |soonest| soonest.min(left)));
        }
    }
    match soonest {
        None => Verdict::Stays,
        Some(Duration::ZERO) => Verdict::Leaves,
        Some(left) => Verdict::LeavesIn(left),
    }
}
