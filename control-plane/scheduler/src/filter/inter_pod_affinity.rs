//! Required pod affinity and anti-affinity, of the pod itself and of the pods that are already there.

use std::collections::HashSet;

use super::{FilterName, Rejection, refuse, refuse_for_now};
use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, Term};
use crate::snapshot::Snapshot;

/// Domains (topology key and value) in which something stands for or against the pod.
pub(super) struct State {
    /// Domains from which a pod's anti-affinity keeps the new pod out.
    forbidden_by_others: HashSet<(String, String)>,
    /// For each of the pod's affinity terms, the domains with a pod that satisfies all of them.
    wanted: Vec<HashSet<String>>,
    /// For each of the pod's anti-affinity terms, the domains with a pod it speaks of.
    unwanted: Vec<HashSet<String>>,
    /// No pod satisfies the affinity anywhere, but the pod itself would: the first of its kind may go anywhere.
    first_of_its_kind: bool,
}

pub(super) fn prepare(snapshot: &Snapshot, pod: &PodInfo) -> State {
    let labels_of = |namespace: &str| snapshot.namespaces.get(namespace);
    let mut state = State {
        forbidden_by_others: HashSet::new(),
        wanted: vec![HashSet::new(); pod.affinity.len()],
        unwanted: vec![HashSet::new(); pod.anti_affinity.len()],
        first_of_its_kind: false,
    };
    let has_terms = !pod.affinity.is_empty() || !pod.anti_affinity.is_empty();
    let own_labels = labels_of(pod.namespace());
    for node in &snapshot.nodes {
        for other in node.pods.iter().filter(|other| has_terms || !other.anti_affinity.is_empty()) {
            for term in other.anti_affinity.iter().filter(|term| term.matches(pod, own_labels)) {
                if let Some(value) = node.label(&term.topology_key) {
                    state.forbidden_by_others.insert((term.topology_key.clone(), value.to_string()));
                }
            }
            let labels = labels_of(other.namespace());
            if !pod.affinity.is_empty() && pod.affinity.iter().all(|term| term.matches(other, labels)) {
                note(&mut state.wanted, &pod.affinity, node, |_| true);
            }
            note(&mut state.unwanted, &pod.anti_affinity, node, |term| term.matches(other, labels));
        }
    }
    state.first_of_its_kind = state.wanted.iter().all(HashSet::is_empty) && pod.affinity.iter().all(|term| term.matches(pod, own_labels));
    state
}

pub(super) fn check(state: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    let name = FilterName::InterPodAffinity;
    let in_domain = |term: &Term, domains: &HashSet<String>| node.label(&term.topology_key).is_some_and(|value| domains.contains(value));
    for (term, domains) in pod.affinity.iter().zip(&state.wanted) {
        let allowed = in_domain(term, domains) || state.first_of_its_kind && node.label(&term.topology_key).is_some();
        if !allowed {
            return refuse(name, "node(s) didn't match pod affinity rules");
        }
    }
    if pod.anti_affinity.iter().zip(&state.unwanted).any(|(term, domains)| in_domain(term, domains)) {
        return refuse_for_now(name, "node(s) didn't match pod anti-affinity rules");
    }
    let mut labels = node.labels().into_iter().flatten();
    if !state.forbidden_by_others.is_empty() && labels.any(|(key, value)| state.forbidden_by_others.contains(&(key.clone(), value.clone())))
    {
        return refuse_for_now(name, "node(s) didn't satisfy existing pods anti-affinity rules");
    }
    Ok(())
}

fn note(domains: &mut [HashSet<String>], terms: &[Term], node: &NodeInfo, holds: impl Fn(&Term) -> bool) {
    for (domains, term) in domains.iter_mut().zip(terms) {
        if let Some(value) = node.label(&term.topology_key).filter(|_| holds(term)) {
            domains.insert(value.to_string());
        }
    }
}
