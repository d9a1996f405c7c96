//! Pure: a node and how long its kubelet has been silent in; conditions and taints out.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::taints::{self, Eviction};

/// Conditions that the kubelet reports and that nobody can vouch for once it is silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub node: &'a Node,
    /// Since the last change of its lease or status, by our own clock (the node's may be wrong).
    pub silent: Duration,
    pub grace: Duration,
    pub eviction: Eviction,
    pub now: Timestamp,
}

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// All conditions, when they change.
    pub conditions: Option<Vec<NodeCondition>>,
    /// Whether the node was ready and is silent now.
    pub became_unready: bool,
    /// All taints, when they change.
    pub taints: Option<Vec<Taint>>,
    /// Whether pods on the node must stop counting as ready.
    pub lost: bool,
    /// When the grace period ends.
    pub recheck: Option<Duration>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let node = observed.node;
    let present = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let silent = observed.silent >= observed.grace;
    let conditions = if silent { unknown(&present, observed.now) } else { present.clone() };
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str());
    let taints = taints::desired(node, &conditions, observed.eviction, observed.now);
    let same = taints.as_slice() == node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    Plan {
        lost: ready == Some("Unknown"),
        became_unready: is_ready(node) && ready != Some("True"),
        conditions: (conditions != present).then_some(conditions),
        taints: (!same).then_some(taints),
        recheck: (!silent).then(|| observed.grace - observed.silent),
    }
}

/// Whether the node's kubelet says that it is ready.
pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Every reported condition as Unknown. One that already is stays as it is.
fn unknown(present: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let mut conditions = present.to_vec();
    for type_ in REPORTED {
        let Some(condition) = conditions.iter_mut().find(|condition| condition.type_ == type_) else {
            conditions.push(NodeCondition {
                type_: type_.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: Some(Time(now)),
                last_transition_time: Some(Time(now)),
            });
            continue;
        };
        if condition.status != "Unknown" {
            condition.status = "Unknown".into();
            condition.reason = Some("NodeStatusUnknown".into());
            condition.message = Some("Kubelet stopped posting node status.".into());
            condition.last_transition_time = Some(Time(now));
        }
    }
    conditions
}
