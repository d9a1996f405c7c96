//! Pure: which nodes a DaemonSet's pod belongs on, and the pod for one of them. The pod is bound by the scheduler: its affinity leaves it one node.

use k8s_openapi::api::apps::v1::DaemonSetSpec;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orknet_reconciler::node_match::{selects_node, taints, untolerated_taint};
use orknet_reconciler::pod_state;

use crate::pod_template::pod_from_template;
use crate::revision_history::HASH_LABEL;

/// What every daemon pod tolerates (documented under DaemonSet, "Taints and tolerations").
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");
const NAME_FIELD: &str = "metadata.name";

/// What a node is to a DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// A pod belongs here.
    Wanted,
    /// None is started here, but one that runs may stay (a taint that only keeps new pods away).
    Kept,
    /// No pod belongs here.
    Unwanted,
}

pub(super) fn fit(spec: &PodSpec, node: &Node) -> Fit {
    let other = |name: &String| !name.is_empty() && Some(name) != node.metadata.name.as_ref();
    if spec.node_name.as_ref().is_some_and(other) || !selects_node(spec, node) {
        return Fit::Unwanted;
    }
    let tolerations = tolerations(spec);
    if untolerated_taint(taints(node), &tolerations, &["NoExecute"]).is_some() {
        return Fit::Unwanted;
    }
    match untolerated_taint(taints(node), &tolerations, &["NoSchedule"]) {
        Some(_) => Fit::Kept,
        None => Fit::Wanted,
    }
}

/// The pod for the node of this name, of the revision with this hash.
pub(super) fn pod_for(namespace: &str, spec: &DaemonSetSpec, owner: OwnerReference, node: &str, hash: &str) -> Pod {
    let mut pod = pod_from_template(namespace, &spec.template, owner);
    pod.metadata.labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.into());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.tolerations = Some(tolerations(pod_spec));
    let requirement = NodeSelectorRequirement { key: NAME_FIELD.into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let affinity = pod_spec.affinity.get_or_insert_with(Affinity::default).node_affinity.get_or_insert_with(NodeAffinity::default);
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm { match_expressions: None, match_fields: Some(vec![requirement]) }],
    });
    pod
}

/// The node a daemon pod is on, or is made for while the scheduler has not bound it.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = pod_state::node_of(pod) {
        return Some(node);
    }
    let required = spec.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.filter(|field| field.key == NAME_FIELD).find_map(|field| field.values.as_ref()?.first()).map(String::as_str)
}

/// The template's own and those of every daemon pod.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let network = spec.host_network.unwrap_or(false).then_some(NETWORK_UNAVAILABLE);
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration =
            Toleration { key: Some(key.into()), operator: Some("Exists".into()), effect: Some(effect.into()), ..Toleration::default() };
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}
