//! The judgement: at the client by its egress rules, at the server by its ingress rules; in each by the Admin tier, then by NetworkPolicies,
//! then by the Baseline tier.

use super::answer::{Answer, Direction, Kind, Question, RuleName, Said};
use super::blocks;
use super::objects::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterRule, NamespacedPod, NetworkPolicy, Pod, PolicyPeer, PolicyRule, Subject, Tier, World,
};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a tier of ClusterNetworkPolicies says.
enum Tiered {
    Final(Said),
    /// Nothing, or that the next tier should say.
    Next,
}

impl World {
    /// What is said about a connection.
    pub fn answer(&self, question: &Question) -> Answer {
        Answer {
            egress: self.said(Direction::Egress, question.client, question.server, question),
            ingress: self.said(Direction::Ingress, question.server, question.client, question),
        }
    }

    fn said(&self, direction: Direction, own: IpAddr, other: IpAddr, question: &Question) -> Said {
        let Some(pod) = self.pod_at(own) else { return Said::Unasked };
        if self.is_of_node(other, &pod.spec.node_name) {
            return Said::Unasked;
        }
        let is_itself = self.pod_at(other).is_some_and(|other| other.is(pod));
        if is_itself && !question.through_service {
            return Said::Unasked;
        }
        if let Tiered::Final(said) = self.tier(Tier::Admin, direction, pod, other, question) {
            return said;
        }
        let isolating: Vec<_> = self.policies.iter().filter(|policy| self.isolates(policy, direction, pod)).collect();
        if !isolating.is_empty() {
            // They decide about the pods that they select, and let each of them reach itself.
            if is_itself {
                return Said::AllowedBy(BTreeSet::new());
            }
            let allowing: BTreeSet<_> = isolating.iter().flat_map(|policy| self.allowing(policy, direction, other, question)).collect();
            return if allowing.is_empty() { Said::Isolated } else { Said::AllowedBy(allowing) };
        }
        match self.tier(Tier::Baseline, direction, pod, other, question) {
            Tiered::Final(said) => said,
            Tiered::Next => Said::Nothing,
        }
    }

    /// Whether a NetworkPolicy selects the pod and is about the direction.
    fn isolates(&self, policy: &NetworkPolicy, direction: Direction, pod: &Pod) -> bool {
        let spec = &policy.spec;
        // The API server fills in empty types as it does missing ones.
        let types = spec.policy_types.as_deref().unwrap_or_default();
        let is_about = match direction {
            Direction::Ingress => types.is_empty() || types.iter().any(|one| one == "Ingress"),
            Direction::Egress if types.is_empty() => !spec.egress.is_empty(),
            Direction::Egress => types.iter().any(|one| one == "Egress"),
        };
        is_about && policy.metadata.namespace == pod.metadata.namespace && spec.pod_selector.selects(&pod.metadata.labels)
    }

    /// The rules of a NetworkPolicy that allow it.
    fn allowing(&self, policy: &NetworkPolicy, direction: Direction, other: IpAddr, question: &Question) -> Vec<RuleName> {
        let rules = match direction {
            Direction::Ingress => &policy.spec.ingress,
            Direction::Egress => &policy.spec.egress,
        };
        let matching = rules.iter().enumerate().filter(|(_, rule)| self.allows(rule, &policy.metadata.namespace, other, question));
        let named = matching.map(|(index, _)| RuleName {
            kind: Kind::NetworkPolicy,
            namespace: policy.metadata.namespace.clone(),
            name: policy.metadata.name.clone(),
            direction,
            index,
        });
        named.collect()
    }

    fn allows(&self, rule: &PolicyRule, namespace: &str, other: IpAddr, question: &Question) -> bool {
        // Empty or missing, a list restricts nothing.
        let peers = rule.peers.as_deref().unwrap_or_default();
        let ports = rule.ports.as_deref().unwrap_or_default();
        (peers.is_empty() || peers.iter().any(|peer| self.is_peer(peer, namespace, other)))
            && (ports.is_empty() || ports.iter().any(|port| port.matches(question, self.pod_at(question.server))))
    }

    fn is_peer(&self, peer: &PolicyPeer, namespace: &str, other: IpAddr) -> bool {
        if let Some(block) = &peer.ip_block {
            // Together with a selector it is not valid.
            return peer.pod_selector.is_none() && peer.namespace_selector.is_none() && block.contains(other);
        }
        let Some(pod) = self.pod_at(other) else { return false };
        let is_in = |selector: &super::selector::Selector| {
            self.labels_of_namespace(&pod.metadata.namespace).is_some_and(|labels| selector.selects(labels))
        };
        match (&peer.namespace_selector, &peer.pod_selector) {
            (None, None) => false,
            (Some(namespaces), None) => is_in(namespaces),
            (None, Some(pods)) => pod.metadata.namespace == namespace && pods.selects(&pod.metadata.labels),
            (Some(namespaces), Some(pods)) => is_in(namespaces) && pods.selects(&pod.metadata.labels),
        }
    }

    /// The first rule that matches says it, of the policies that are about the pod by priority.
    fn tier(&self, tier: Tier, direction: Direction, pod: &Pod, other: IpAddr, question: &Question) -> Tiered {
        let about = |policy: &&ClusterNetworkPolicy| policy.spec.tier == tier && self.is_subject(&policy.spec.subject, pod);
        let mut policies: Vec<_> = self.cluster_policies.iter().filter(about).collect();
        policies.sort_by_key(|policy| (policy.spec.priority, &policy.metadata.name));
        for policy in policies {
            let rules = match direction {
                Direction::Ingress => &policy.spec.ingress,
                Direction::Egress => &policy.spec.egress,
            };
            for (index, rule) in rules.iter().enumerate() {
                let (kind, namespace, name) = (Kind::ClusterNetworkPolicy, String::new(), policy.metadata.name.clone());
                let named = || RuleName { kind, namespace: namespace.clone(), name: name.clone(), direction, index };
                match self.acts(rule, other, question) {
                    Some(Action::Accept) => return Tiered::Final(Said::AllowedBy(BTreeSet::from([named()]))),
                    Some(Action::Deny) => return Tiered::Final(Said::DeniedBy(named())),
                    Some(Action::Pass) => return Tiered::Next,
                    None => {}
                }
            }
        }
        Tiered::Next
    }

    fn is_subject(&self, subject: &Subject, pod: &Pod) -> bool {
        match subject {
            Subject { namespaces: Some(namespaces), pods: None } => {
                self.labels_of_namespace(&pod.metadata.namespace).is_some_and(|labels| namespaces.selects(labels))
            }
            Subject { namespaces: None, pods: Some(pods) } => self.is_among(pods, pod),
            // Not valid; what it is about cannot be known.
            _ => false,
        }
    }

    fn is_among(&self, selected: &NamespacedPod, pod: &Pod) -> bool {
        let labels = self.labels_of_namespace(&pod.metadata.namespace);
        labels.is_some_and(|labels| selected.namespace_selector.selects(labels)) && selected.pod_selector.selects(&pod.metadata.labels)
    }

    /// What the rule does with the connection; `None` if it does not match. A rule of which a part is not understood fails closed, as the
    /// API asks for: one that accepts matches nothing, any other denies everything.
    fn acts(&self, rule: &ClusterRule, other: IpAddr, question: &Question) -> Option<Action> {
        let server = self.pod_at(question.server);
        let peers: Option<Vec<bool>> = rule.peers.iter().map(|peer| self.is_cluster_peer(peer, other)).collect();
        let protocols: Option<Vec<bool>> = rule.protocols.iter().flatten().map(|protocol| protocol.matches(question, server)).collect();
        match (peers, protocols) {
            (Some(peers), Some(protocols)) => {
                let matches = peers.contains(&true) && (rule.protocols.is_none() || protocols.contains(&true));
                matches.then_some(rule.action)
            }
            _ if rule.action == Action::Accept => None,
            _ => Some(Action::Deny),
        }
    }

    /// `None` for a peer of a kind that this version does not know. Names of domains are nobody's: there is no cluster DNS.
    fn is_cluster_peer(&self, peer: &ClusterPeer, other: IpAddr) -> Option<bool> {
        let pod = self.pod_at(other);
        let ClusterPeer { namespaces, pods, nodes, networks, domain_names } = peer;
        match (namespaces, pods, nodes, networks, domain_names) {
            (Some(namespaces), None, None, None, None) => {
                let labels = pod.and_then(|pod| self.labels_of_namespace(&pod.metadata.namespace));
                Some(labels.is_some_and(|labels| namespaces.selects(labels)))
            }
            (None, Some(pods), None, None, None) => Some(pod.is_some_and(|pod| self.is_among(pods, pod))),
            (None, None, Some(nodes), None, None) => {
                Some(self.nodes.iter().any(|node| nodes.selects(&node.metadata.labels) && node.has(other)))
            }
            (None, None, None, Some(networks), None) => Some(networks.iter().any(|network| blocks::contains(network, other))),
            (None, None, None, None, Some(_)) => Some(false),
            _ => None,
        }
    }
}
