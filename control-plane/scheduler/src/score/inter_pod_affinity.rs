//! Adds the weights of preferred pod affinity, and takes off those of anti-affinity: of the pod itself towards the pods that are there, and of those
//! towards it. Required affinity of pods that are there counts a little too: they were placed to be near pods like this one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, Term};
use crate::snapshot::Snapshot;

/// The weight of a required affinity term of a pod that is there; kube-scheduler's default.
const REQUIRED: i64 = 1;

/// A raw score per candidate; it may be negative.
pub(super) fn scores(snapshot: &Snapshot, pod: &PodInfo, candidates: &[Arc<NodeInfo>]) -> Vec<i64> {
    let own_labels = snapshot.namespaces.get(pod.namespace());
    let mut domains: HashMap<(&str, &str), i64> = HashMap::new();
    for node in &snapshot.nodes {
        let mut add = |term: &'_ Term, weight: i64, holds: bool| {
            if let Some((key, value)) = node.labels().filter(|_| holds).and_then(|labels| labels.get_key_value(&term.topology_key)) {
                *domains.entry((key, value)).or_default() += weight;
            }
        };
        for other in &node.pods {
            let labels = snapshot.namespaces.get(other.namespace());
            pod.preferred.iter().for_each(|(term, weight)| add(term, *weight, term.matches(other, labels)));
            other.preferred.iter().for_each(|(term, weight)| add(term, *weight, term.matches(pod, own_labels)));
            other.affinity.iter().for_each(|term| add(term, REQUIRED, term.matches(pod, own_labels)));
        }
    }
    let of = |node: &Arc<NodeInfo>| {
        let labels = node.labels().into_iter().flatten();
        labels.filter_map(|(key, value)| domains.get(&(key.as_str(), value.as_str()))).sum()
    };
    candidates.iter().map(of).collect()
}
