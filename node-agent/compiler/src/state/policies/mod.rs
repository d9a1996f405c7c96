//! What is known of policies and of those whom they speak of.

mod explain;

use super::State;
use crate::facts::{ClusterPolicyFacts, NamespaceFacts, ObjectName, PeerNodeFacts, PodFacts, PolicyFacts};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

pub use explain::{PodAt, PolicyName};

/// The objects.
#[derive(Debug, Default)]
pub(super) struct Policies {
    is_known: bool,
    policies: HashMap<ObjectName, PolicyFacts>,
    cluster_policies: BTreeMap<Arc<str>, ClusterPolicyFacts>,
    namespaces: HashMap<Arc<str>, NamespaceFacts>,
    pods: HashMap<ObjectName, PodFacts>,
    nodes: BTreeMap<Arc<str>, PeerNodeFacts>,
}

impl State {
    /// All policies, and all whom they speak of, have been noted, so plans may begin to lead to what they say. Before, pods' entries that the
    /// kernel has keep their sets of rules, and pods that have none get no entry. There is no way back.
    pub fn policies_known(&mut self) {
        self.policies.is_known = true;
    }

    pub(super) fn note_policy(&mut self, name: ObjectName, facts: Option<PolicyFacts>) {
        put(&mut self.policies.policies, name, facts);
    }

    pub(super) fn note_cluster_policy(&mut self, name: Arc<str>, facts: Option<ClusterPolicyFacts>) {
        match facts {
            Some(facts) => drop(self.policies.cluster_policies.insert(name, facts)),
            None => drop(self.policies.cluster_policies.remove(&name)),
        }
    }

    pub(super) fn note_namespace(&mut self, name: Arc<str>, facts: Option<NamespaceFacts>) {
        put(&mut self.policies.namespaces, name, facts);
    }

    pub(super) fn note_peer_pod(&mut self, name: ObjectName, facts: Option<PodFacts>) {
        put(&mut self.policies.pods, name, facts);
    }

    pub(super) fn note_peer_node(&mut self, name: Arc<str>, facts: Option<PeerNodeFacts>) {
        match facts {
            Some(facts) => drop(self.policies.nodes.insert(name, facts)),
            None => drop(self.policies.nodes.remove(&name)),
        }
    }

    /// Forgets NetworkPolicies that are not in `listed`: the end of a new list, which shows no deletions.
    pub fn retain_policies(&mut self, listed: &HashSet<ObjectName>) {
        gone(self.policies.policies.keys(), listed).into_iter().for_each(|name| self.note_policy(name, None));
    }

    /// Forgets ClusterNetworkPolicies that are not in `listed`.
    pub fn retain_cluster_policies(&mut self, listed: &HashSet<Arc<str>>) {
        gone(self.policies.cluster_policies.keys(), listed).into_iter().for_each(|name| self.note_cluster_policy(name, None));
    }

    /// Forgets namespaces that are not in `listed`.
    pub fn retain_namespaces(&mut self, listed: &HashSet<Arc<str>>) {
        gone(self.policies.namespaces.keys(), listed).into_iter().for_each(|name| self.note_namespace(name, None));
    }

    /// Forgets pods of the cluster that are not in `listed`.
    pub fn retain_peer_pods(&mut self, listed: &HashSet<ObjectName>) {
        gone(self.policies.pods.keys(), listed).into_iter().for_each(|name| self.note_peer_pod(name, None));
    }

    /// Forgets nodes of the cluster that are not in `listed`.
    pub fn retain_peer_nodes(&mut self, listed: &HashSet<Arc<str>>) {
        gone(self.policies.nodes.keys(), listed).into_iter().for_each(|name| self.note_peer_node(name, None));
    }
}

fn put<K: Eq + Hash, V>(known: &mut HashMap<K, V>, name: K, facts: Option<V>) {
    match facts {
        Some(facts) => drop(known.insert(name, facts)),
        None => drop(known.remove(&name)),
    }
}

fn gone<'a, K: Clone + Eq + Hash + 'a>(known: impl Iterator<Item = &'a K>, listed: &HashSet<K>) -> Vec<K> {
    known.filter(|name| !listed.contains(*name)).cloned().collect()
}
