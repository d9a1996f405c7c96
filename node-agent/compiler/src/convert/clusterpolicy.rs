//! ClusterNetworkPolicies: see <https://network-policy-api.sigs.k8s.io>. What is not understood fails closed, as that API asks: a rule with
//! such a part that accepts matches nothing, one that denies or passes denies everything. Names of domains are understood, and nobody's: there is no
//! cluster DNS to tell their addresses.

use super::policy::{block, selector};
use super::{address, port_number, range};
use crate::clusternetworkpolicy::{
    ClusterNetworkPolicy, LabelSelectorText, NamespacedPodText, PeerText, PortText, ProtocolText, RuleText, SpecText, SubjectText, read,
};
use crate::facts::{Action, ClusterPolicyFacts, ClusterRuleFacts, NamespacedPods, PeerFacts, PortFacts, RuleFacts, Selector, Tier, Uid};
use crate::names::Names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use orknet_abi::{RangeKey, protocol};
use serde_json::Value;

/// The protocols that have ports.
const PROTOCOLS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::SCTP];

impl ClusterPolicyFacts {
    /// Of any ClusterNetworkPolicy.
    pub fn of(policy: &ClusterNetworkPolicy, names: &mut Names) -> Self {
        let uid = Uid::of(policy.metadata.uid.as_deref().unwrap_or_default());
        let mut trouble = Vec::new();
        let Some(spec) = read::<SpecText>(&policy.spec) else { return Self::closed(uid, "spec is not understood; it denies everything") };
        let tier = match spec.tier.as_str() {
            Some("Admin") => Some(Tier::Admin),
            Some("Baseline") => Some(Tier::Baseline),
            _ => None,
        };
        let priority = spec.priority.as_i64().and_then(|number| i32::try_from(number).ok());
        let subject = subject(&spec.subject, names);
        for (field, is_known) in [("tier", tier.is_some()), ("priority", priority.is_some()), ("subject", subject.is_some())] {
            if !is_known {
                trouble.push(format!("spec.{field} is not understood"));
            }
        }
        let is_whole = trouble.is_empty();
        let ingress = rules("ingress", &spec.ingress, is_whole, names, &mut trouble);
        let egress = rules("egress", &spec.egress, is_whole, names, &mut trouble);
        Self {
            uid,
            tier: tier.unwrap_or(Tier::Admin),
            priority: priority.unwrap_or(0),
            subject: subject.unwrap_or_default(),
            ingress,
            egress,
            trouble: (!trouble.is_empty()).then(|| trouble.join("; ").into()),
        }
    }

    /// Of an object that cannot be read: it denies everything to every pod.
    pub fn closed(uid: Uid, trouble: &str) -> Self {
        let deny = || Box::new([closed_rule(Action::Deny)]);
        Self {
            uid,
            tier: Tier::Admin,
            priority: 0,
            subject: NamespacedPods::default(),
            ingress: deny(),
            egress: deny(),
            trouble: Some(trouble.into()),
        }
    }
}

/// A rule that fails closed.
fn closed_rule(action: Action) -> ClusterRuleFacts {
    let rule = if action == Action::Accept { RuleFacts { peers: Some(Box::default()), ports: None } } else { RuleFacts::default() };
    let action = if action == Action::Accept { action } else { Action::Deny };
    ClusterRuleFacts { name: "".into(), action, rule }
}

fn subject(subject: &Value, names: &mut Names) -> Option<NamespacedPods> {
    let subject = read::<SubjectText>(subject)?;
    match (subject.namespaces, subject.pods) {
        (Some(namespaces), None) => Some(NamespacedPods { namespaces: labels(namespaces, names)?, pods: Selector::default() }),
        (None, Some(pods)) => namespaced(pods, names),
        _ => None,
    }
}

fn namespaced(pods: NamespacedPodText, names: &mut Names) -> Option<NamespacedPods> {
    Some(NamespacedPods { namespaces: labels(pods.namespace_selector, names)?, pods: labels(pods.pod_selector, names)? })
}

fn labels(text: LabelSelectorText, names: &mut Names) -> Option<Selector> {
    let expressions = text.match_expressions.into_iter().flatten();
    let expressions =
        expressions.map(|text| LabelSelectorRequirement { key: text.key, operator: text.operator, values: text.values }).collect();
    selector(&LabelSelector { match_labels: text.match_labels, match_expressions: Some(expressions) }, names)
}

fn rules(direction: &str, rules: &Value, is_whole: bool, names: &mut Names, trouble: &mut Vec<String>) -> Box<[ClusterRuleFacts]> {
    let list = match rules {
        Value::Null => return Box::default(),
        Value::Array(list) => list,
        _ => {
            trouble.push(format!("spec.{direction} is not understood"));
            return Box::new([closed_rule(Action::Deny)]);
        }
    };
    let rules = list.iter().enumerate().map(|(place, value)| {
        let action = match value.get("action").and_then(Value::as_str) {
            Some("Accept") => Some(Action::Accept),
            Some("Deny") => Some(Action::Deny),
            Some("Pass") => Some(Action::Pass),
            _ => None,
        };
        let understood = action.and_then(|action| rule(value, direction == "ingress", action, names));
        if understood.is_none() {
            trouble.push(format!("spec.{direction}[{place}] is not understood"));
        } else if value.get("to").and_then(Value::as_array).is_some_and(|peers| peers.iter().any(|peer| peer.get("domainNames").is_some()))
        {
            trouble.push(format!("spec.{direction}[{place}] accepts nothing by domainNames: there is no cluster DNS"));
        }
        understood.filter(|_| is_whole).unwrap_or_else(|| closed_rule(action.unwrap_or(Action::Deny)))
    });
    rules.collect()
}

fn rule(value: &Value, is_ingress: bool, action: Action, names: &mut Names) -> Option<ClusterRuleFacts> {
    let text = read::<RuleText>(value)?;
    let listed = match (is_ingress, text.from, text.to) {
        (true, Some(peers), None) | (false, None, Some(peers)) => peers,
        _ => return None,
    };
    let mut peers = Vec::new();
    for value in &listed {
        peers.extend(peer(value, is_ingress, action, names)?);
    }
    let mut ports = Vec::new();
    for value in text.protocols.iter().flatten() {
        ports.extend(protocol_ports(value, names)?);
    }
    let ports = text.protocols.filter(|listed| !listed.is_empty()).map(|_| ports.into());
    (!listed.is_empty()).then(|| ClusterRuleFacts {
        name: names.intern(&text.name.unwrap_or_default()),
        action,
        rule: RuleFacts { peers: Some(peers.into()), ports },
    })
}

/// Who a peer stands for; nobody, where it is names of domains.
fn peer(value: &Value, is_ingress: bool, action: Action, names: &mut Names) -> Option<Vec<PeerFacts>> {
    let PeerText { namespaces, pods, nodes, networks, domain_names } = read(value)?;
    match (namespaces, pods, nodes, networks, domain_names) {
        (Some(namespaces), None, None, None, None) => {
            let namespaces = labels(namespaces, names)?;
            Some(vec![PeerFacts::Pods(NamespacedPods { namespaces, pods: Selector::default() })])
        }
        (None, Some(pods), None, None, None) => Some(vec![PeerFacts::Pods(namespaced(pods, names)?)]),
        (None, None, Some(nodes), None, None) if !is_ingress => Some(vec![PeerFacts::Nodes(labels(nodes, names)?)]),
        (None, None, None, Some(networks), None) if !is_ingress && !networks.is_empty() => {
            let of = |text: &String| Some(PeerFacts::Block(block(network(text)?, Vec::new())));
            networks.iter().map(of).collect()
        }
        (None, None, None, None, Some(domains)) if !is_ingress && action == Action::Accept && !domains.is_empty() => Some(Vec::new()),
        _ => None,
    }
}

/// Blanks have no place here.
fn network(text: &str) -> Option<RangeKey> {
    address(text.split_once('/')?.0).and_then(|_| range(text))
}

fn protocol_ports(value: &Value, names: &mut Names) -> Option<Vec<PortFacts>> {
    let text = read::<ProtocolText>(value)?;
    let named = text.destination_named_port.filter(|name| !name.is_empty());
    let of = |protocol, port: &PortText| range_of(protocol, port).map(|range| vec![range]);
    match (&text.tcp, &text.udp, &text.sctp, named) {
        (Some(port), None, None, None) => of(protocol::TCP, port),
        (None, Some(port), None, None) => of(protocol::UDP, port),
        (None, None, Some(port), None) => of(protocol::SCTP, port),
        (None, None, None, Some(name)) => {
            let name = names.intern(&name);
            Some(PROTOCOLS.map(|protocol| PortFacts::Named { protocol, name: name.clone() }).into())
        }
        _ => None,
    }
}

fn range_of(protocol: u8, text: &PortText) -> Option<PortFacts> {
    let Some(port) = &text.destination_port else { return Some(PortFacts::Range { protocol, first: 0, last: u16::MAX }) };
    let (first, last) = match (port.number, &port.range) {
        (Some(number), None) => (port_number(number)?, port_number(number)?),
        (None, Some(range)) => (port_number(range.start)?, port_number(range.end)?),
        _ => return None,
    };
    (first <= last).then_some(PortFacts::Range { protocol, first, last })
}
