//! Changes of objects, and what of them has to be looked at again.

use super::super::State;
use super::{PolicyName, policy_name};
use crate::facts::{Attachment, ClusterPolicyFacts, NamespaceFacts, ObjectName, PeerNodeFacts, PodFacts, PolicyFacts};
use crate::policy::blocks::pod_ranges;
use orknet_abi::{Range, RangeKey, direction};
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

impl super::Policies {
    fn note_policy(&mut self, name: ObjectName, facts: Option<PolicyFacts>) {
        let own = self.policies.entry(Arc::clone(&name.namespace)).or_default();
        let (uid, pods) = (facts.as_ref().map(|facts| facts.uid), facts.as_ref().map(|facts| facts.pods.clone()));
        let trouble = facts.as_ref().and_then(|facts| facts.trouble.clone());
        let is_same = own.get(&name.name) == facts.as_ref();
        let old = match facts {
            _ if is_same => None,
            Some(facts) => own.insert(Arc::clone(&name.name), facts),
            None => own.remove(&name.name),
        };
        if own.is_empty() {
            self.policies.remove(&name.namespace);
        }
        if is_same {
            return;
        }
        self.note_trouble(policy_name(&name.namespace, &name.name), trouble);
        self.rename(old.as_ref().map(|old| old.uid), uid, policy_name(&name.namespace, &name.name));
        self.forget_sections(Some(&name.namespace), &name.name);
        self.locals.policy_changed(&name, old.as_ref().map(|old| &old.pods), pods.as_ref());
    }

    fn note_cluster_policy(&mut self, name: Arc<str>, facts: Option<ClusterPolicyFacts>) {
        if self.cluster_policies.get(&name) == facts.as_ref() {
            return;
        }
        let uid = facts.as_ref().map(|facts| facts.uid);
        let subject = facts.as_ref().map(|facts| facts.subject.clone());
        self.note_trouble(PolicyName::Cluster(Arc::clone(&name)), facts.as_ref().and_then(|facts| facts.trouble.clone()));
        let old = match facts {
            Some(facts) => self.cluster_policies.insert(Arc::clone(&name), facts),
            None => self.cluster_policies.remove(&name),
        };
        self.rename(old.as_ref().map(|old| old.uid), uid, PolicyName::Cluster(Arc::clone(&name)));
        self.forget_sections(None, &name);
        let subjects: Vec<_> = old.map(|old| old.subject).into_iter().chain(subject).collect();
        self.locals.cluster_policy_changed(&subjects, &self.namespaces);
    }

    fn note_trouble(&mut self, policy: PolicyName, trouble: Option<Box<str>>) {
        match trouble {
            Some(trouble) => drop(self.troubles.insert(policy, trouble)),
            None => drop(self.troubles.remove(&policy)),
        }
    }

    fn rename(&mut self, old: Option<crate::facts::Uid>, new: Option<crate::facts::Uid>, name: PolicyName) {
        if let Some(old) = old.filter(|old| self.names.get(old) == Some(&name)) {
            self.names.remove(&old);
        }
        new.into_iter().for_each(|uid| drop(self.names.insert(uid, name.clone())));
    }

    fn forget_sections(&mut self, namespace: Option<&Arc<str>>, name: &Arc<str>) {
        for way in [direction::INGRESS, direction::EGRESS] {
            self.sections.remove(&(namespace.cloned(), Arc::clone(name), way));
        }
    }

    fn note_namespace(&mut self, name: Arc<str>, facts: Option<NamespaceFacts>) {
        if self.namespaces.get(&name) == facts.as_ref() {
            return;
        }
        self.pods.look_again(Some(&name));
        self.locals.namespace_changed(&name);
        match facts {
            Some(facts) => drop(self.namespaces.insert(name, facts)),
            None => drop(self.namespaces.remove(&name)),
        }
    }

    /// All ranges of addresses that are known.
    pub fn note_ranges(&mut self, ranges: &BTreeMap<RangeKey, Range>) {
        let of_pods = pod_ranges(ranges).collect();
        let is_other = self.pod_ranges != of_pods;
        self.blocks_dirty |= is_other;
        self.unknown_dirty |= is_other;
        self.pod_ranges = of_pods;
    }

    fn note_peer_pod(&mut self, name: ObjectName, facts: Option<PodFacts>) {
        if self.pods.put(name.clone(), facts.clone()) {
            facts.into_iter().for_each(|facts| self.locals.pod_changed(&name, &facts, &mut self.pods));
        }
    }

    fn note_peer_node(&mut self, name: Arc<str>, facts: Option<PeerNodeFacts>) {
        if self.nodes.get(&name) == facts.as_ref() {
            return;
        }
        let new = facts.as_ref().map(|facts| facts.addresses.clone()).unwrap_or_default();
        let old = match facts {
            Some(facts) => self.nodes.insert(Arc::clone(&name), facts),
            None => self.nodes.remove(&name),
        };
        for address in old.iter().flat_map(|old| &old.addresses) {
            if let Some(nodes) = self.node_addresses.get_mut(address) {
                nodes.remove(&name);
                if nodes.is_empty() {
                    self.node_addresses.remove(address);
                }
            }
            self.pods.dirty.push(*address);
        }
        for address in new {
            self.node_addresses.entry(address).or_default().insert(Arc::clone(&name));
            self.pods.dirty.push(address);
        }
    }

    /// The attachment of a name is another, or gone.
    pub fn note_attachment(&mut self, name: &Arc<str>, facts: Option<&Attachment>) {
        for set in self.locals.remove(name, facts, &mut self.pods) {
            self.sets.release(set);
        }
        if let Some(facts) = facts {
            self.locals.insert(name, facts, &mut self.pods);
            self.locals.get(name).into_iter().flat_map(|local| local.sets()).for_each(|set| self.sets.hold(set));
        }
    }
}

impl State {
    /// All policies, and all whom they speak of, have been noted, so plans may begin to lead to what they say. Before, pods' entries that the
    /// kernel has keep their sets of rules, and pods that have none get no entry. There is no way back.
    pub fn policies_known(&mut self) {
        if !self.policies.is_known {
            self.policies.is_known = true;
            self.pods_dirty = true;
        }
    }

    pub(in crate::state) fn note_policy(&mut self, name: ObjectName, facts: Option<PolicyFacts>) {
        self.policies.note_policy(name, facts);
    }

    pub(in crate::state) fn note_cluster_policy(&mut self, name: Arc<str>, facts: Option<ClusterPolicyFacts>) {
        self.policies.note_cluster_policy(name, facts);
    }

    pub(in crate::state) fn note_namespace(&mut self, name: Arc<str>, facts: Option<NamespaceFacts>) {
        self.policies.note_namespace(name, facts);
    }

    pub(in crate::state) fn note_peer_pod(&mut self, name: ObjectName, facts: Option<PodFacts>) {
        self.policies.note_peer_pod(name, facts);
    }

    pub(in crate::state) fn note_peer_node(&mut self, name: Arc<str>, facts: Option<PeerNodeFacts>) {
        self.policies.note_peer_node(name, facts);
    }

    /// Forgets NetworkPolicies that are not in `listed`: the end of a new list, which shows no deletions.
    pub fn retain_policies(&mut self, listed: &HashSet<ObjectName>) {
        let all =
            self.policies.policies.iter().flat_map(|(namespace, own)| {
                own.keys().map(|name| ObjectName { namespace: Arc::clone(namespace), name: Arc::clone(name) })
            });
        let gone: Vec<_> = all.filter(|name| !listed.contains(name)).collect();
        gone.into_iter().for_each(|name| self.note_policy(name, None));
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
        gone(self.policies.pods.names(), listed).into_iter().for_each(|name| self.note_peer_pod(name, None));
    }

    /// Forgets nodes of the cluster that are not in `listed`.
    pub fn retain_peer_nodes(&mut self, listed: &HashSet<Arc<str>>) {
        gone(self.policies.nodes.keys(), listed).into_iter().for_each(|name| self.note_peer_node(name, None));
    }
}

fn gone<'a, K: Clone + Eq + Hash + 'a>(known: impl Iterator<Item = &'a K>, listed: &HashSet<K>) -> Vec<K> {
    known.filter(|name| !listed.contains(*name)).cloned().collect()
}
