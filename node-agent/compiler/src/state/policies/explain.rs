//! Whose an address or a rule is, for those who explain what became of packets. Each question about several takes one look at all there are, so
//! ask about many at once.

use super::super::State;
use crate::facts::{Action, ClusterPolicyFacts, ObjectName, Uid};
use orknet_abi::{Address, Rule, direction, policy_kind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The pod that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAt {
    pub name: ObjectName,
    pub uid: Uid,
    /// It is attached to this node.
    pub is_local: bool,
}

/// A policy's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyName {
    Namespaced(ObjectName),
    Cluster(Arc<str>),
}

impl State {
    /// The pods that have these addresses. Pods on their host's network have none of their own.
    pub fn pods_at(&self, addresses: &HashSet<Address>) -> HashMap<Address, PodAt> {
        let mut found = HashMap::new();
        let mut created = HashMap::new();
        for (name, facts) in self.policies.pods.iter().filter(|(_, facts)| facts.is_peer) {
            for address in facts.addresses.iter().filter(|address| addresses.contains(*address)) {
                // Of two pods with one address, the younger has it.
                if created.get(address).is_none_or(|other| *other <= facts.created) {
                    created.insert(*address, facts.created);
                    found.insert(*address, PodAt { name: name.clone(), uid: facts.uid, is_local: false });
                }
            }
        }
        for attachment in self.attachments.values() {
            for address in attachment.addresses.iter().filter(|address| addresses.contains(*address)) {
                // Whose device the address leads to is known better here than anywhere.
                match &attachment.owner {
                    Some(owner) => {
                        _ = found.insert(*address, PodAt { name: owner.pod.clone(), uid: owner.uid, is_local: true });
                    }
                    None => drop(found.remove(address)),
                }
            }
        }
        found
    }

    /// The pod behind a device of this node.
    pub fn pod_behind(&self, device: u32) -> Option<PodAt> {
        let owner = self.attachments.values().find(|attachment| attachment.pod.ifindex == device)?.owner.as_ref()?;
        Some(PodAt { name: owner.pod.clone(), uid: owner.uid, is_local: true })
    }

    /// The policies with these `metadata.uid`s.
    pub fn policies_with(&self, uids: &BTreeSet<Uid>) -> HashMap<Uid, PolicyName> {
        if uids.is_empty() {
            return HashMap::new();
        }
        let namespaced = self.policies.policies.iter().map(|(name, facts)| (facts.uid, PolicyName::Namespaced(name.clone())));
        let of_cluster = self.policies.cluster_policies.iter().map(|(name, facts)| (facts.uid, PolicyName::Cluster(Arc::clone(name))));
        namespaced.chain(of_cluster).filter(|(uid, _)| uids.contains(uid)).collect()
    }

    /// The NetworkPolicies that isolate a pod in a [`direction`], by name.
    pub fn isolating(&self, pod: &ObjectName, direction: u32) -> Vec<ObjectName> {
        let Some(facts) = self.policies.pods.get(pod) else { return Vec::new() };
        let of_namespace = self.policies.policies.iter().filter(|(name, _)| name.namespace == pod.namespace);
        let isolates = |policy: &crate::facts::PolicyFacts| match direction {
            direction::EGRESS => policy.egress.is_some(),
            _ => policy.ingress.is_some(),
        };
        let isolating = of_namespace.filter(|(_, policy)| isolates(policy) && policy.pods.selects(&facts.labels));
        let mut names: Vec<_> = isolating.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// What a rule does; `None` if its policy is not known (any more), or has no such rule.
    pub fn action_of(&self, rule: &Rule, policy: &PolicyName) -> Option<Action> {
        let index = rule.index as usize;
        let of = |facts: &ClusterPolicyFacts| {
            let rules = if u32::from(rule.direction) == direction::EGRESS { &facts.egress } else { &facts.ingress };
            rules.get(index).map(|rule| rule.action)
        };
        match (policy, rule.kind) {
            (PolicyName::Cluster(name), policy_kind::CLUSTER_NETWORK_POLICY) => self.policies.cluster_policies.get(name).and_then(of),
            (PolicyName::Namespaced(name), policy_kind::NETWORK_POLICY) => {
                let facts = self.policies.policies.get(name)?;
                let rules = if u32::from(rule.direction) == direction::EGRESS { &facts.egress } else { &facts.ingress };
                rules.as_ref()?.get(index).map(|_| Action::Accept)
            }
            _ => None,
        }
    }
}
