//! Pure: which pods are garbage.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use orknet_reconciler::pod_state;

/// How long a node must be gone before its pods are (it may only be registering anew).
pub(super) const QUARANTINE: Duration = Duration::from_secs(40);

/// Why a pod is garbage.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Garbage {
    /// Its node is gone. It is first marked Failed unless it has ended, so that its controller does not wait for it.
    Stranded { ended: bool },
    /// In deletion, and never had a node on which anything would have to be stopped.
    NeverPlaced,
}

/// `node_exists` is asked only for a pod with a node.
pub(super) fn judge(pod: &Pod, node_exists: bool) -> Option<Garbage> {
    match pod_state::node_of(pod) {
        Some(_) if !node_exists => Some(Garbage::Stranded { ended: pod_state::is_terminal(pod) }),
        None if pod_state::is_terminating(pod) => Some(Garbage::NeverPlaced),
        _ => None,
    }
}

/// The oldest ended pods beyond the limit; 0 is no limit.
pub(super) fn surplus(pods: Vec<Arc<Pod>>, limit: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<_> = pods.into_iter().filter(|pod| pod_state::is_terminal(pod) && !pod_state::is_terminating(pod)).collect();
    if limit == 0 || ended.len() <= limit {
        return Vec::new();
    }
    ended.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.metadata.name.clone()));
    ended.truncate(ended.len() - limit);
    ended
}
