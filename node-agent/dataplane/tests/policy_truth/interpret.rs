//! What programs would say, from what their maps are to hold: the look-ups that the ABI documents, without a kernel; and whether that is what
//! the model says.

use orknet_abi::{
    self as abi, Address, Judgement, PodKey, PortKey, VerdictKey, action, direction, policy_kind,
    protocol::{ICMP, ICMP6, SCTP, TCP, UDP},
};
use orknet_compiler::{MapImage, facts::Uid};
use orknet_tests::policy::{Direction, Kind, Protocol, Question, RuleName, Said};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A judgement in each direction; `None` where nobody has to be asked on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub egress: Option<Judgement>,
    pub ingress: Option<Judgement>,
}

/// IANA's number.
pub fn number(protocol: Protocol, address: IpAddr) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
        Protocol::Icmp if address.is_ipv4() => ICMP,
        Protocol::Icmp => ICMP6,
    }
}

/// What the node of the image says of a packet that others sent; its own passes.
pub fn judge(image: &MapImage, question: &Question) -> Judged {
    let (client, server) = (Address::from(question.client), Address::from(question.server));
    let is_self = client == server;
    let is_own = |address: Address| image.node.is_some_and(|node| address == node.v4 || address == node.v6);
    let pod = |address: Address| image.pods.get(&PodKey { address });
    let egress = pod(client).map(|pod| if is_self { pod.own_egress } else { pod.egress }).filter(|set| *set != 0 && !is_own(server));
    let ingress = pod(server).map(|pod| if is_self { pod.own_ingress } else { pod.ingress }).filter(|set| *set != 0 && !is_own(client));
    Judged { egress: egress.map(|set| ask(image, set, server, question)), ingress: ingress.map(|set| ask(image, set, client, question)) }
}

/// What a set of rules says about the other end.
fn ask(image: &MapImage, set: u32, other: Address, question: &Question) -> Judgement {
    let ranges = image.peers.iter().filter(|(range, _)| range.contains(other));
    let peers = ranges.max_by_key(|(range, _)| range.prefix_bits).map_or(0, |(_, peer)| peer.peers);
    let verdict = image.verdicts.get(&VerdictKey { set, peers }).or_else(|| image.verdicts.get(&VerdictKey { set, peers: 0 }));
    let Some(verdict) = verdict else { return Judgement::default() };
    if verdict.table == 0 {
        return verdict.otherwise;
    }
    let protocol = number(question.protocol, question.server);
    let keys = (0..=16).rev().map(|bits| PortKey::ports(verdict.table, protocol, question.port, bits));
    let found = keys.chain([PortKey::whole(verdict.table)]).find_map(|key| image.ports.get(&key));
    found.copied().unwrap_or(verdict.otherwise)
}

/// Policies by what the maps call them.
pub type Uids = BTreeMap<[u8; 16], (Kind, String, String)>;

/// Those of these objects that are policies.
pub fn uids(objects: &[Value]) -> Uids {
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let of = |object: &Value| {
        let kind = match object["kind"].as_str() {
            Some("NetworkPolicy") => Kind::NetworkPolicy,
            Some("ClusterNetworkPolicy") => Kind::ClusterNetworkPolicy,
            _ => return None,
        };
        Some((Uid::of(&text(object, "uid")).0, (kind, text(object, "namespace"), text(object, "name"))))
    };
    objects.iter().filter_map(of).collect()
}

/// Whether the judgement is what the model says, by one of the rules that it names.
pub fn agrees(image: &MapImage, uids: &Uids, judged: Option<Judgement>, said: &Said) -> Result<(), String> {
    let Some(judgement) = judged else {
        let names_nobody = said.allows() && !matches!(said, Said::AllowedBy(rules) if !rules.is_empty());
        return if names_nobody { Ok(()) } else { Err("nobody was asked".into()) };
    };
    let rule = (judgement.rule != 0).then(|| name(image, uids, judgement.rule)).transpose()?;
    let is_allowed = judgement.action == action::ALLOW;
    let is_right = match said {
        Said::Unasked => return Err("somebody was asked".into()),
        Said::Nothing => is_allowed && rule.is_none(),
        Said::AllowedBy(rules) => is_allowed && rule.as_ref().map_or(rules.is_empty(), |rule| rules.contains(rule)),
        Said::DeniedBy(by) => !is_allowed && rule.as_ref() == Some(by),
        Said::Isolated => !is_allowed && rule.is_none(),
    };
    let shown = rule.map_or("no rule".to_owned(), |rule| rule.to_string());
    is_right.then_some(()).ok_or_else(|| format!("{} by {shown}", if is_allowed { "allowed" } else { "refused" }))
}

fn name(image: &MapImage, uids: &Uids, number: u32) -> Result<RuleName, String> {
    let rule: abi::Rule = *image.rules.get(&number).ok_or_else(|| format!("there is no rule {number}"))?;
    let (kind, namespace, name) = uids.get(&rule.policy).ok_or_else(|| format!("rule {number} is of no policy: {rule:?}"))?;
    let wanted = if *kind == Kind::NetworkPolicy { policy_kind::NETWORK_POLICY } else { policy_kind::CLUSTER_NETWORK_POLICY };
    if rule.kind != wanted {
        return Err(format!("rule {number} is of another kind of policy: {rule:?}"));
    }
    let direction = if rule.direction == direction::EGRESS as u8 { Direction::Egress } else { Direction::Ingress };
    Ok(RuleName { kind: *kind, namespace: namespace.clone(), name: name.clone(), direction, index: rule.index as usize })
}
