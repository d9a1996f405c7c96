//! The policies that hold for a pod, and their rules as a set. `intern` gives an atom its number.

use super::atoms::Atom;
use super::rules::{PortMatch, RuleSet, Section, SetRule};
use crate::facts::{
    Action, ClusterPolicyFacts, Labels, NamedPort, NamespacedPods, PeerFacts, PolicyFacts, PortFacts, RuleFacts, Tier, Uid, port_named,
};
use orknet_abi::{Rule, direction, policy_kind};
use std::sync::Arc;

/// What of a pod of this node the rules of its policies depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub namespace: &'a Arc<str>,
    pub ports: &'a [NamedPort],
}

impl NamespacedPods {
    /// Whether it selects a pod.
    pub(crate) fn selects(&self, namespace_labels: &Labels, labels: &Labels) -> bool {
        self.namespaces.selects(namespace_labels) && self.pods.selects(labels)
    }
}

/// Direction, as the pod sees it: see [`direction`].
pub(crate) type Direction = u32;

/// Where a rule is written.
pub(crate) fn rule(uid: Uid, index: usize, direction: Direction, kind: u8) -> Rule {
    Rule { policy: uid.0, index: index as u32, direction: direction as u8, kind, reserved: 0 }
}

/// The rules of a NetworkPolicy; `None` if it does not isolate in this direction.
pub(crate) fn section(
    policy: &PolicyFacts,
    way: Direction,
    subject: &Subject<'_>,
    intern: &mut impl FnMut(Atom) -> u32,
) -> Option<Section> {
    let rules = if way == direction::INGRESS { policy.ingress.as_ref()? } else { policy.egress.as_ref()? };
    let of = |(index, facts): (usize, &RuleFacts)| {
        set_rule(facts, rule(policy.uid, index, way, policy_kind::NETWORK_POLICY), Action::Accept, way, subject, intern)
    };
    Some(rules.iter().enumerate().map(of).collect())
}

/// The rules of a ClusterNetworkPolicy; `None` if it has none in this direction.
pub(crate) fn cluster_section(
    policy: &ClusterPolicyFacts,
    way: Direction,
    subject: &Subject<'_>,
    intern: &mut impl FnMut(Atom) -> u32,
) -> Option<Section> {
    let rules = if way == direction::INGRESS { &policy.ingress } else { &policy.egress };
    let mut section = Vec::new();
    for (index, facts) in rules.iter().enumerate() {
        let written = rule(policy.uid, index, way, policy_kind::CLUSTER_NETWORK_POLICY);
        let rule = set_rule(&facts.rule, written, facts.action, way, subject, intern);
        section.extend(of_unknown(&rule, &facts.rule, intern));
        section.push(rule);
    }
    (!section.is_empty()).then(|| section.into_iter().collect())
}

/// What comes before a rule that does not accept, if it speaks of pods: an end of which nothing is known yet may be one of them. It is refused, also
/// where the rule hands on to the next tier, which may be stricter or not.
fn of_unknown(rule: &SetRule, facts: &RuleFacts, intern: &mut impl FnMut(Atom) -> u32) -> Option<SetRule> {
    let is_pods = |peer: &PeerFacts| matches!(peer, PeerFacts::Pods(_) | PeerFacts::OwnPods(_));
    if rule.action == Action::Accept || !facts.peers.as_ref()?.iter().any(is_pods) {
        return None;
    }
    // Nor is it known which port it calls so.
    let widened = |port: &PortMatch| match *port {
        PortMatch::Answered { protocol, .. } => PortMatch::Range { protocol, first: 0, last: u16::MAX },
        range @ PortMatch::Range { .. } => range,
    };
    let ports = rule.ports.as_ref().map(|ports| ports.iter().map(widened).collect());
    Some(SetRule { rule: rule.rule, action: Action::Deny, peers: Some([intern(Atom::Unknown)].into()), ports })
}

/// The set of the ClusterNetworkPolicies that select the pod, in the order of priority and name, and of its NetworkPolicies' sections, in the
/// order of their names; `None` if none of these isolates.
pub(crate) fn rule_set(cluster: &[(Tier, Section)], policies: Option<&[Section]>) -> RuleSet {
    let of = |tier: Tier| cluster.iter().filter(|(known, _)| *known == tier).map(|(_, section)| section.clone()).collect();
    RuleSet { admin: of(Tier::Admin), policies: policies.map(Into::into), baseline: of(Tier::Baseline) }
}

/// The set for what the pod sends to itself through a Service. NetworkPolicies never refuse that, and their word is final for a pod that they
/// isolate: then only the tier before theirs counts.
pub(crate) fn own_rule_set(cluster: &[(Tier, Section)], is_isolated: bool) -> RuleSet {
    let all = rule_set(cluster, None);
    RuleSet { baseline: if is_isolated { Box::default() } else { all.baseline }, ..all }
}

/// Whether the rules depend on what the pod calls its ports.
pub(crate) fn names_ports<'a>(mut rules: impl Iterator<Item = &'a RuleFacts>) -> bool {
    rules.any(|rule| rule.ports.iter().flat_map(|ports| ports.iter()).any(|port| matches!(port, PortFacts::Named { .. })))
}

fn set_rule(
    facts: &RuleFacts,
    rule: Rule,
    action: Action,
    way: Direction,
    subject: &Subject<'_>,
    intern: &mut impl FnMut(Atom) -> u32,
) -> SetRule {
    let peers = facts.peers.as_ref().map(|peers| {
        let mut atoms: Vec<u32> = peers.iter().map(|peer| intern(atom(peer, subject))).collect();
        atoms.sort_unstable();
        atoms.dedup();
        atoms.into()
    });
    // An address is in a block whatever pod has it.
    let has_block = |peers: &[PeerFacts]| peers.iter().any(|peer| matches!(peer, PeerFacts::Block(_)));
    let named = facts
        .peers
        .as_deref()
        .filter(|peers| !has_block(peers))
        .map(|peers| peers.iter().map(|peer| atom(peer, subject)).collect::<Box<[_]>>());
    let ports = facts.ports.as_ref().map(|ports| {
        let mut found: Vec<PortMatch> = ports.iter().filter_map(|port| port_match(port, way, subject, &named, intern)).collect();
        found.sort_unstable();
        found.dedup();
        found.into()
    });
    SetRule { rule, action, peers, ports }
}

fn atom(peer: &PeerFacts, subject: &Subject<'_>) -> Atom {
    match peer {
        PeerFacts::OwnPods(pods) => Atom::OwnPods(Arc::clone(subject.namespace), pods.clone()),
        PeerFacts::Pods(of) => Atom::Pods { namespaces: of.namespaces.clone(), pods: of.pods.clone() },
        PeerFacts::Block(block) => Atom::Block(block.clone()),
        PeerFacts::Nodes(nodes) => Atom::Nodes(nodes.clone()),
    }
}

/// A name is the server's: of what comes in, the pod's own.
fn port_match(
    port: &PortFacts,
    way: Direction,
    subject: &Subject<'_>,
    named: &Option<Box<[Atom]>>,
    intern: &mut impl FnMut(Atom) -> u32,
) -> Option<PortMatch> {
    match port {
        &PortFacts::Range { protocol, first, last } => Some(PortMatch::Range { protocol, first, last }),
        PortFacts::Named { protocol, name } if way == direction::INGRESS => {
            let port = port_named(subject.ports, name, *protocol)?;
            Some(PortMatch::Range { protocol: *protocol, first: port, last: port })
        }
        PortFacts::Named { protocol, name } => {
            let atom = intern(Atom::Port { protocol: *protocol, name: Arc::clone(name), of: named.clone() });
            Some(PortMatch::Answered { protocol: *protocol, atom })
        }
    }
}
