//! Pure: the taints that a node's state brings with it (documented in "Taints and Tolerations", KEP-166).

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Whether pods may be driven from a node that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    /// They are not, also where that had begun.
    Revoked,
    /// Only where that has begun: it is not the node's turn.
    Held,
    Due,
}

/// Whether the node has yet to get the taint that drives its pods away.
pub(super) fn waits_for_eviction(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.is_some_and(|ready| ready.status != "True") && !present(node).iter().any(evicts)
}

/// The node's taints as they should be: its own, less ours that no longer hold, with ours that do.
pub(super) fn desired(node: &Node, conditions: &[NodeCondition], eviction: Eviction, now: Timestamp) -> Vec<Taint> {
    let present = present(node);
    let evict = match eviction {
        Eviction::Revoked => false,
        Eviction::Held => present.iter().any(evicts),
        Eviction::Due => true,
    };
    let wanted = wanted(node, conditions, evict);
    let is_wanted = |taint: &Taint| wanted.iter().any(|(key, effect)| *key == taint.key && *effect == taint.effect);
    let mut taints: Vec<_> = present.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in &wanted {
        if !taints.iter().any(|taint| taint.key == *key && taint.effect == *effect) {
            let time_added = (*effect == "NoExecute").then_some(Time(now));
            taints.push(Taint { key: (*key).into(), effect: (*effect).into(), value: None, time_added });
        }
    }
    taints
}

fn present(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn wanted(node: &Node, conditions: &[NodeCondition], evict: bool) -> Vec<(&'static str, &'static str)> {
    let status_of = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status.as_str());
    let mut wanted = Vec::new();
    let readiness = match status_of("Ready") {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        // A node that has never reported is not ready for anything either.
        _ => Some(NOT_READY),
    };
    if let Some(key) = readiness {
        wanted.push((key, "NoSchedule"));
        if evict && status_of("Ready").is_some() {
            wanted.push((key, "NoExecute"));
        }
    }
    let pressed = PRESSURES.iter().filter(|(condition, _)| status_of(condition) == Some("True"));
    wanted.extend(pressed.map(|(_, key)| (*key, "NoSchedule")));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

/// Whether it is one of ours that drives pods away.
fn evicts(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && (taint.key == NOT_READY || taint.key == UNREACHABLE)
}

fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    let keeps_away = key == NOT_READY || key == UNREACHABLE || key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, own)| *own == key);
    evicts(taint) || taint.effect == "NoSchedule" && keeps_away
}
