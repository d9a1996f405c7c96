//! Whose an address or a rule is, for those who explain what became of packets. Each question about several takes one look at all there are, so
//! ask about many at once.

use super::super::State;
use crate::facts::{Action, ClusterPolicyFacts, ObjectName, Uid};
use orknet_abi::{Address, Rule, direction, policy_kind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
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

/// As `kubectl` writes a resource, with its kind: `NetworkPolicy default/web`.
impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaced(name) => write!(f, "NetworkPolicy {}/{}", name.namespace, name.name),
            Self::Cluster(name) => write!(f, "ClusterNetworkPolicy {name}"),
        }
    }
}

impl State {
    /// The pods that have these addresses. Pods on their host's network have none of their own.
    pub fn pods_at(&self, addresses: &HashSet<Address>) -> HashMap<Address, PodAt> {
        addresses.iter().filter_map(|address| Some((*address, self.policies.pods.named_at(*address)?))).collect()
    }

    /// The uid of a pod of the cluster, as its node calls it; `None` if no pod of that name has been seen.
    pub fn pod_uid(&self, pod: &ObjectName) -> Option<Uid> {
        self.policies.pods.get(pod).map(|facts| facts.uid)
    }

    /// Whether a namespace has been seen. Before, it is taken for one that has no labels but its name.
    pub fn knows_namespace(&self, name: &str) -> bool {
        self.policies.namespaces.contains_key(name)
    }

    /// The pod behind a device of this node.
    pub fn pod_behind(&self, device: u32) -> Option<PodAt> {
        let owner = self.attachments.values().find(|attachment| attachment.pod.ifindex == device)?.owner.as_ref()?;
        Some(PodAt { name: owner.pod.clone(), uid: owner.uid, is_local: true })
    }

    /// The policies with these `metadata.uid`s.
    pub fn policies_with(&self, uids: &BTreeSet<Uid>) -> HashMap<Uid, PolicyName> {
        uids.iter().filter_map(|uid| Some((*uid, self.policies.names.get(uid)?.clone()))).collect()
    }

    /// The NetworkPolicies that isolate a pod in a [`direction`], by name.
    pub fn isolating(&self, pod: &ObjectName, direction: u32) -> Vec<ObjectName> {
        let Some(facts) = self.policies.pods.get(pod) else { return Vec::new() };
        let of_namespace = self.policies.policies.get(&pod.namespace).into_iter().flatten();
        let isolates = |policy: &crate::facts::PolicyFacts| match direction {
            direction::EGRESS => policy.egress.is_some(),
            _ => policy.ingress.is_some(),
        };
        let isolating = of_namespace.filter(|(_, policy)| isolates(policy) && policy.pods.selects(&facts.labels));
        isolating.map(|(name, _)| ObjectName { namespace: Arc::clone(&pod.namespace), name: Arc::clone(name) }).collect()
    }

    /// The name that a rule of a ClusterNetworkPolicy has, if it has one.
    pub fn rule_name(&self, rule: &Rule, policy: &PolicyName) -> Option<&Arc<str>> {
        let PolicyName::Cluster(policy) = policy else { return None };
        let facts = self.policies.cluster_policies.get(policy)?;
        let rules = if u32::from(rule.direction) == direction::EGRESS { &facts.egress } else { &facts.ingress };
        rules.get(rule.index as usize).map(|rule| &rule.name).filter(|name| !name.is_empty())
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
                let facts = self.policies.policies.get(&name.namespace)?.get(&name.name)?;
                let rules = if u32::from(rule.direction) == direction::EGRESS { &facts.egress } else { &facts.ingress };
                rules.as_ref()?.get(index).map(|_| Action::Accept)
            }
            _ => None,
        }
    }
}
