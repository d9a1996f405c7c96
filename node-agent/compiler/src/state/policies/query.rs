//! What others ask: which policies hold for a pod, whose a write is, and what is not understood.

use super::super::{Change, State};
use super::{Policies, PolicyName, policy_name};
use crate::facts::Uid;
use crate::image::{Step, sets_of};
use crate::policy::rules::RuleSet;
use orknet_abi::Rule;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Policies {
    fn name_of(&self, rule: &Rule) -> Option<&PolicyName> {
        self.names.get(&Uid(rule.policy))
    }

    fn names_in<'a>(&'a self, set: &'a RuleSet) -> impl Iterator<Item = PolicyName> + 'a {
        set.rules().filter_map(|(_, rule)| self.name_of(&rule.rule)).cloned()
    }

    /// Whether a change of what policies depend on says nothing new.
    pub(in crate::state) fn knows(&self, change: &Change) -> bool {
        match change {
            Change::Policy(name, facts) => self.policies.get(&name.namespace).and_then(|own| own.get(&name.name)) == facts.as_ref(),
            Change::ClusterPolicy(name, facts) => self.cluster_policies.get(name) == facts.as_ref(),
            Change::Namespace(name, facts) => self.namespaces.get(name) == facts.as_ref(),
            Change::PeerPod(name, facts) => self.pods.get(name) == facts.as_ref(),
            Change::PeerNode(name, facts) => self.nodes.get(name) == facts.as_ref(),
            _ => false,
        }
    }
}

impl State {
    /// The policies that select the pod of an attachment: ClusterNetworkPolicies in the order in which they are asked, and NetworkPolicies by name.
    /// `None` if nothing is known of its pod.
    pub fn policies_of(&self, attachment: &str) -> Option<Vec<PolicyName>> {
        let (policies, cluster) = self.policies.policies_of(attachment)?;
        let cluster = cluster.into_iter().map(PolicyName::Cluster);
        Some(cluster.chain(policies.into_iter().map(PolicyName::Namespaced)).collect())
    }

    /// The policies that a write serves, of the last plan: if it fails, they are not in force. To be asked before the failure is taken back.
    pub fn policies_behind(&self, step: &Step) -> BTreeSet<PolicyName> {
        let policies = &self.policies;
        let in_sets = |numbers: &mut dyn Iterator<Item = u32>| -> BTreeSet<PolicyName> {
            numbers.filter_map(|set| policies.sets.content(set)).flat_map(|set| policies.names_in(set)).collect()
        };
        match step {
            Step::PutPod(key, pod) => {
                // One that isolates without rules is in no set by name.
                let owner = self.attachments.iter().find(|(_, attachment)| attachment.addresses.contains(&key.address));
                let selecting = owner.and_then(|(name, _)| self.policies_of(name)).unwrap_or_default();
                in_sets(&mut sets_of(pod).into_iter()).into_iter().chain(selecting).collect()
            }
            Step::PutVerdict(key, _) => in_sets(&mut [key.set].into_iter()),
            Step::PutPort(key, _) => {
                let users = self.image().verdicts.iter().filter(|(_, verdict)| verdict.table == key.table);
                in_sets(&mut users.map(|(key, _)| key.set).collect::<BTreeSet<u32>>().into_iter())
            }
            Step::PutPeer(_, peer) => {
                let answers = policies.peers.content(peer.peers).cloned().unwrap_or_default();
                let asking = answers.iter().filter_map(|answer| policies.sets_asking.get(&crate::policy::atoms::atom_of(*answer)));
                in_sets(&mut asking.flatten().copied().collect::<BTreeSet<u32>>().into_iter())
            }
            Step::PutRule(_, rule) => policies.name_of(rule).cloned().into_iter().collect(),
            _ => BTreeSet::new(),
        }
    }

    /// What of policies is not understood, and so fails closed, in words.
    pub fn policy_troubles(&self) -> impl Iterator<Item = (PolicyName, &str)> {
        let policies = &self.policies;
        let own = policies.policies.iter().flat_map(|(namespace, own)| {
            own.iter().filter_map(move |(name, facts)| Some((policy_name(namespace, name), facts.trouble.as_deref()?)))
        });
        let cluster = policies.cluster_policies.iter();
        own.chain(cluster.filter_map(|(name, facts)| Some((PolicyName::Cluster(Arc::clone(name)), facts.trouble.as_deref()?))))
    }
}
