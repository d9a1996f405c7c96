//! What others ask: which policies hold for a pod, whose a write is, and what is not understood.

use super::super::{Change, State};
use super::{Policies, PolicyName};
use crate::facts::Uid;
use crate::image::{Step, sets_of};
use crate::policy::rules::RuleSet;
use orknet_abi::Rule;
use std::collections::BTreeMap;

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

    /// The policies that writes of the last plan serve: if these fail, they are not in force. Each with the number of the first such step. To be
    /// asked before failures are taken back, for many at once: it takes a look at all verdicts if tables of ports are among them.
    pub fn policies_behind<'a>(&self, steps: impl IntoIterator<Item = &'a Step>) -> BTreeMap<PolicyName, usize> {
        let policies = &self.policies;
        let (mut found, mut sets) = (Firsts::new(), Firsts::new());
        let (mut tables, mut peers, mut pods) = (Firsts::new(), Firsts::new(), Firsts::new());
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::PutPod(key, pod) => {
                    sets_of(pod).into_iter().for_each(|set| note(&mut sets, set, index));
                    note(&mut pods, key.address, index);
                }
                Step::PutVerdict(key, _) => note(&mut sets, key.set, index),
                Step::PutPort(key, _) => note(&mut tables, key.table, index),
                Step::PutPeer(_, peer) => note(&mut peers, peer.peers, index),
                Step::PutRule(_, rule) => policies.name_of(rule).into_iter().for_each(|name| note(&mut found, name.clone(), index)),
                _ => {}
            }
        }
        for (key, verdict) in self.image().verdicts.iter().filter(|_| !tables.is_empty()) {
            tables.get(&verdict.table).into_iter().for_each(|index| note(&mut sets, key.set, *index));
        }
        for (number, index) in peers {
            let answers = policies.peers.content(number).into_iter().flat_map(|answers| answers.iter());
            let asking = answers.filter_map(|answer| policies.sets_asking.get(&crate::policy::atoms::atom_of(*answer)));
            asking.flatten().for_each(|set| note(&mut sets, *set, index));
        }
        // A policy that isolates without rules is in no set by name.
        for (name, attachment) in self.attachments.iter().filter(|_| !pods.is_empty()) {
            for index in attachment.addresses.iter().filter_map(|address| pods.get(address)) {
                self.policies_of(name).into_iter().flatten().for_each(|policy| note(&mut found, policy, *index));
            }
        }
        for (set, index) in sets {
            let content = policies.sets.content(set).into_iter();
            content.flat_map(|set| policies.names_in(set)).for_each(|policy| note(&mut found, policy, index));
        }
        found
    }

    /// What of policies is not understood, and so fails closed, in words.
    pub fn policy_troubles(&self) -> impl Iterator<Item = (&PolicyName, &str)> {
        self.policies.troubles.iter().map(|(policy, trouble)| (policy, &**trouble))
    }
}

/// The number of the first step that is about something.
type Firsts<K> = BTreeMap<K, usize>;

fn note<K: Ord>(firsts: &mut Firsts<K>, key: K, index: usize) {
    firsts.entry(key).and_modify(|first| *first = index.min(*first)).or_insert(index);
}
