//! What a kubelet tells about its node: that it has started, and what has become of the node's conditions. Pure, but for [`tell`].

use k8s_openapi::api::core::v1::{NodeStatus, ObjectReference};

use crate::api::Cluster;
use crate::api::events::Note;

/// An event about the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// True for trouble (type Warning).
    pub warning: bool,
    /// CamelCase, as in `NodeReady`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Conditions in the order of their events: the condition, and the reasons for True and for False.
const CONDITIONS: [(&str, &str, &str); 4] = [
    ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
    ("Ready", "NodeReady", "NodeNotReady"),
];

/// The kubelet has started.
pub fn started() -> News {
    News { warning: false, reason: "Starting", message: "Starting kubelet.".to_owned() }
}

/// What is new in a status that was written over another. A kubelet's `first` status tells how the node fares in any case; whether it is
/// ready is told when that changed, so that a kubelet's restart does not read like a recovery.
pub fn of_status(node: &str, before: &NodeStatus, after: &NodeStatus, first: bool) -> Vec<News> {
    let status = |of: &NodeStatus, kind: &str| of.conditions.iter().flatten().find(|c| c.type_ == kind).map(|c| c.status.clone());
    let changed = CONDITIONS.iter().filter_map(|(kind, on, off)| {
        let now = status(after, kind)?;
        let told = status(before, kind).as_ref() == Some(&now) && !(first && *kind != "Ready");
        (!told).then(|| is_now(node, if now == "True" { on } else { off }))
    });
    rebooted(node, before, after).into_iter().chain(changed).collect()
}

/// Whether pods are placed on the node has changed.
pub fn of_schedulability(node: &str, unschedulable: bool) -> News {
    is_now(node, if unschedulable { "NodeNotSchedulable" } else { "NodeSchedulable" })
}

fn is_now(node: &str, reason: &'static str) -> News {
    News { warning: false, reason, message: format!("Node {node} status is now: {reason}") }
}

fn rebooted(node: &str, before: &NodeStatus, after: &NodeStatus) -> Option<News> {
    let boot = |of: &NodeStatus| of.node_info.as_ref().map(|info| info.boot_id.clone()).filter(|id| !id.is_empty());
    let (old, new) = (boot(before)?, boot(after)?);
    (old != new).then(|| News { warning: true, reason: "Rebooted", message: format!("Node {node} has been rebooted, boot id: {new}") })
}

/// Records an event about the node. Its name stands for its uid, as in every kubelet: by that, clients find a node's events.
pub fn tell(cluster: &dyn Cluster, node: &str, news: News) {
    tracing::debug!(node, reason = news.reason, message = news.message, "event");
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.to_owned()),
        uid: Some(node.to_owned()),
        ..ObjectReference::default()
    };
    cluster.note(Note { about, warning: news.warning, reason: news.reason.into(), message: news.message });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(ready: &str, memory: &str, boot: &str) -> NodeStatus {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastHeartbeatTime": "2024-01-01T00:00:00Z"});
        let conditions = [condition("MemoryPressure", memory), condition("PIDPressure", "False"), condition("Ready", ready)];
        let mut made: NodeStatus = serde_json::from_value(json!({"conditions": conditions})).unwrap();
        made.node_info = Some(k8s_openapi::api::core::v1::NodeSystemInfo { boot_id: boot.into(), ..Default::default() });
        made
    }

    fn reasons(before: &NodeStatus, after: &NodeStatus, first: bool) -> Vec<&'static str> {
        of_status("n", before, after, first).iter().map(|news| news.reason).collect()
    }

    #[test]
    fn a_new_node_tells_all_and_a_heartbeat_nothing() {
        let good = status("True", "False", "b");
        assert_eq!(reasons(&NodeStatus::default(), &good, true), ["NodeHasSufficientMemory", "NodeHasSufficientPID", "NodeReady"]);
        assert!(reasons(&good, &good, false).is_empty());
        assert_eq!(of_status("n", &NodeStatus::default(), &good, true)[2].message, "Node n status is now: NodeReady");
    }

    #[test]
    fn a_restarted_kubelet_tells_how_the_node_fares_but_of_no_recovery() {
        let good = status("True", "False", "b");
        assert_eq!(reasons(&good, &good, true), ["NodeHasSufficientMemory", "NodeHasSufficientPID"]);
        // What the node's controller wrote while it heard nothing.
        assert_eq!(reasons(&status("Unknown", "Unknown", "b"), &good, false), ["NodeHasSufficientMemory", "NodeReady"]);
    }

    #[test]
    fn changes_are_told_once_and_a_reboot_is_a_warning() {
        let (good, bad) = (status("True", "False", "b"), status("False", "True", "b"));
        assert_eq!(reasons(&good, &bad, false), ["NodeHasInsufficientMemory", "NodeNotReady"]);
        assert_eq!(reasons(&bad, &good, false), ["NodeHasSufficientMemory", "NodeReady"]);
        let again = of_status("n", &good, &status("True", "False", "c"), false);
        assert_eq!(again, [News { warning: true, reason: "Rebooted", message: "Node n has been rebooted, boot id: c".into() }]);
    }
}
