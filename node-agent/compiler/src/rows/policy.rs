//! What policies put into the maps, in rows: peer sets, verdicts with their ports, rules, and what holds for one pod.

use super::{protocol_name, range_text};
use crate::image::{MapImage, sets_of};
use orknet_abi::{Address, Judgement, PodKey, PortKey, Rule, Verdict, VerdictKey, action, direction, policy_kind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// One entry of the map of peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerRow {
    pub range: String,
    /// The peer set.
    pub peers: u32,
}

/// One entry of the map of verdicts, with its table of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictRow {
    /// The set of rules.
    pub set: u32,
    /// The other end's peer set; what is said of 0 holds for all of which nothing else is said.
    pub peers: u32,
    /// 0 without.
    pub table: u32,
    /// What the table says, narrow ranges first: the first that fits counts.
    pub ports: Vec<PortRow>,
    /// What holds for the rest.
    pub otherwise: SaidRow,
}

/// A range of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortRow {
    /// `TCP`, `UDP`, `SCTP`; empty for all.
    pub protocol: String,
    pub first: u16,
    pub last: u16,
    pub said: SaidRow,
}

/// A judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SaidRow {
    /// `allow` or `deny`.
    pub action: &'static str,
    /// 0 if no rule says so.
    pub rule: u32,
}

/// One entry of the map of rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleRow {
    pub rule: u32,
    /// `NetworkPolicy`, `ClusterNetworkPolicy`, or a number.
    pub kind: String,
    /// `metadata.uid`, or a hash of what is no UUID.
    pub uid: String,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// Place in the policy's list, from 0.
    pub index: u32,
}

/// What holds for a pod in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPolicyRow {
    /// `ingress`, `egress`, `ingress from itself`, `egress to itself`.
    pub direction: &'static str,
    /// 0 if nothing is refused.
    pub set: u32,
    /// All that the set says.
    pub verdicts: Vec<VerdictRow>,
}

impl MapImage {
    /// Peer sets by length of prefix and address.
    pub fn peer_rows(&self) -> Vec<PeerRow> {
        self.peers.iter().map(|(range, peer)| PeerRow { range: range_text(range), peers: peer.peers }).collect()
    }

    /// Verdicts by set and peer set.
    pub fn verdict_rows(&self) -> Vec<VerdictRow> {
        let tables = self.port_tables();
        self.verdicts.iter().map(|(key, verdict)| verdict_row(*key, *verdict, &tables)).collect()
    }

    /// Rules by number.
    pub fn rule_rows(&self) -> Vec<RuleRow> {
        self.rules.iter().map(|(number, rule)| rule_row(*number, rule)).collect()
    }

    /// What holds for the pod that has an address, in all four directions; `None` if no pod of this node has it.
    pub fn pod_policy_rows(&self, address: Address) -> Option<Vec<PodPolicyRow>> {
        let sets = sets_of(self.pods.get(&PodKey { address })?);
        let tables = self.port_tables();
        let row = |(direction, set): (&'static str, u32)| PodPolicyRow {
            direction,
            set,
            verdicts: if set == 0 { Vec::new() } else { self.set(set).map(|(key, verdict)| verdict_row(key, verdict, &tables)).collect() },
        };
        Some(["ingress", "egress", "ingress from itself", "egress to itself"].into_iter().zip(sets).map(row).collect())
    }

    /// The addresses and ranges that have a peer set, as people write them. Of 0 there are none: it is everybody else.
    pub fn members(&self, peers: u32) -> Vec<String> {
        self.peers.iter().filter(|(_, peer)| peer.peers == peers).map(|(range, _)| range_text(range)).collect()
    }
}

impl PodPolicyRow {
    /// Whether what no rule allows is refused.
    pub fn is_isolated(&self) -> bool {
        let otherwise = self.verdicts.iter().find(|verdict| verdict.peers == 0).map(|verdict| &verdict.otherwise);
        // What is not there refuses.
        self.set != 0 && otherwise.is_none_or(|said| (said.action, said.rule) == ("deny", 0))
    }

    /// The row in words, a line for each verdict. `rule` names a rule by its number, `peers` a peer set.
    pub fn lines(&self, rule: &dyn Fn(u32) -> String, peers: &dyn Fn(u32) -> String) -> Vec<String> {
        if self.set == 0 {
            return vec![format!("{}: everything is allowed (no policy isolates the pod)", self.direction)];
        }
        let mut lines = vec![format!("{}: set {}", self.direction, self.set)];
        // What holds for everybody else is read last.
        let (of_nobody, of_some): (Vec<_>, Vec<_>) = self.verdicts.iter().partition(|verdict| verdict.peers == 0);
        let name = |verdict: &VerdictRow| if verdict.peers == 0 { "everybody else".into() } else { peers(verdict.peers) };
        lines.extend(of_some.into_iter().chain(of_nobody).map(|verdict| format!("  {}: {}", name(verdict), verdict.words(rule))));
        lines
    }
}

impl VerdictRow {
    /// What it says, in words.
    pub fn words(&self, rule: &dyn Fn(u32) -> String) -> String {
        let mut parts: Vec<String> = self.ports.iter().map(|port| format!("{port} {}", port.said.words(rule))).collect();
        let otherwise = self.otherwise.words(rule);
        parts.push(if parts.is_empty() { otherwise } else { format!("else {otherwise}") });
        parts.join(", ")
    }
}

impl SaidRow {
    /// The judgement in words. `rule` names a rule by its number, which is never 0.
    pub fn words(&self, rule: &dyn Fn(u32) -> String) -> String {
        match (self.rule, self.action) {
            (0, "deny") => "deny (no rule allows it)".into(),
            (0, action) => format!("{action} (no rule says anything)"),
            (number, action) => format!("{action} by {}", rule(number)),
        }
    }
}

fn said(judgement: Judgement) -> SaidRow {
    SaidRow { action: if judgement.action == action::ALLOW { "allow" } else { "deny" }, rule: judgement.rule }
}

fn verdict_row(key: VerdictKey, verdict: Verdict, tables: &BTreeMap<u32, Vec<(PortKey, Judgement)>>) -> VerdictRow {
    let entries = tables.get(&verdict.table).filter(|_| verdict.table != 0).map(Vec::as_slice).unwrap_or_default();
    VerdictRow { set: key.set, peers: key.peers, table: verdict.table, ports: port_rows(entries), otherwise: said(verdict.otherwise) }
}

/// Prefixes that follow on each other and say the same are one range. What holds for all ports of a protocol comes after those that don't.
fn port_rows(entries: &[(PortKey, Judgement)]) -> Vec<PortRow> {
    let (mut some, mut all): (Vec<PortRow>, Vec<PortRow>) = (Vec::new(), Vec::new());
    let mut sorted = entries.to_vec();
    sorted.sort_unstable_by_key(|(key, _)| (key.protocol, u16::from_be(key.port_be)));
    for (key, judgement) in sorted {
        let bits = key.prefix_bits.saturating_sub(PortKey::PROTOCOL_BITS).min(16);
        let first = u16::from_be(key.port_be);
        let last = first | u16::MAX.checked_shr(bits).unwrap_or(0);
        let row = PortRow { protocol: protocol_name(key.protocol), first, last, said: said(judgement) };
        match some.last_mut() {
            _ if bits == 0 => all.push(row),
            Some(before) if before.protocol == row.protocol && before.said == row.said && before.last.checked_add(1) == Some(first) => {
                before.last = last;
            }
            _ => some.push(row),
        }
    }
    some.into_iter().chain(all).collect()
}

fn rule_row(number: u32, rule: &Rule) -> RuleRow {
    RuleRow {
        rule: number,
        kind: match rule.kind {
            policy_kind::NETWORK_POLICY => "NetworkPolicy".into(),
            policy_kind::CLUSTER_NETWORK_POLICY => "ClusterNetworkPolicy".into(),
            other => other.to_string(),
        },
        uid: uid_text(rule.policy),
        direction: if u32::from(rule.direction) == direction::INGRESS { "ingress" } else { "egress" },
        index: rule.index,
    }
}

/// A UUID as people write it.
pub fn uid_text(uid: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(uid));
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// `TCP 80`, `UDP 8000-8099`; all ports of a protocol are the protocol alone, and all protocols are `all`.
impl fmt::Display for PortRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol.as_str(), self.first, self.last) {
            ("", _, _) => f.write_str("all"),
            (protocol, 0, u16::MAX) => f.write_str(protocol),
            (protocol, first, last) if first == last => write!(f, "{protocol} {first}"),
            (protocol, first, last) => write!(f, "{protocol} {first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{Peer, Pod, RangeKey, protocol};
    use std::net::IpAddr;

    const ADDRESS: Address = Address::from_v4([10, 244, 0, 2]);

    fn allow(rule: u32) -> Judgement {
        Judgement { action: action::ALLOW, rule }
    }

    /// A pod of which what may come in depends on who comes and on the port.
    fn image() -> MapImage {
        let rule = |uid, index| Rule {
            policy: [uid; 16],
            index,
            direction: direction::INGRESS as u8,
            kind: policy_kind::NETWORK_POLICY,
            reserved: 0,
        };
        let verdict = |table| Verdict { table, otherwise: Judgement::default() };
        MapImage {
            pods: [(PodKey { address: ADDRESS }, Pod { ifindex: 7, ingress: 3, ..Pod::default() })].into(),
            peers: [(RangeKey::new(IpAddr::from([10, 0, 0, 0]), 8), Peer { peers: 5 })].into(),
            verdicts: [(VerdictKey { set: 3, peers: 0 }, verdict(0)), (VerdictKey { set: 3, peers: 5 }, verdict(9))].into(),
            // 8000 to 8007 as one prefix, 8008 beside it; UDP as a whole.
            ports: [
                (PortKey::ports(9, protocol::TCP, 8_000, 13), allow(1)),
                (PortKey::ports(9, protocol::TCP, 8_008, 16), allow(1)),
                (PortKey::ports(9, protocol::TCP, 8_009, 16), allow(2)),
                (PortKey::ports(9, protocol::UDP, 0, 0), allow(2)),
                (PortKey::ports(8, protocol::TCP, 1, 16), allow(2)),
            ]
            .into(),
            rules: [(1, rule(1, 0)), (2, rule(2, 4))].into(),
            ..MapImage::default()
        }
    }

    #[test]
    fn a_pods_set_is_said_with_its_ports_and_its_rules() {
        let image = image();
        let rows = image.pod_policy_rows(ADDRESS).unwrap();
        assert_eq!(rows.iter().map(|row| row.set).collect::<Vec<_>>(), [3, 0, 0, 0]);
        let lines = rows[0].lines(&|number| format!("rule {number}"), &|peers| image.members(peers).join(" "));
        assert_eq!(
            lines,
            [
                "ingress: set 3",
                "  10.0.0.0/8: TCP 8000-8008 allow by rule 1, TCP 8009 allow by rule 2, UDP allow by rule 2, else deny (no rule allows it)",
                "  everybody else: deny (no rule allows it)",
            ]
        );
        assert!(rows[1].lines(&|_| String::new(), &|_| String::new())[0].contains("everything is allowed"));
        assert_eq!(image.pod_policy_rows(Address::from_v4([10, 244, 0, 3])), None);
        assert_eq!(
            image.rule_rows()[1],
            RuleRow {
                rule: 2,
                kind: "NetworkPolicy".into(),
                uid: "02020202-0202-0202-0202-020202020202".into(),
                direction: "ingress",
                index: 4
            }
        );
    }

    #[test]
    fn who_is_refused_by_no_rule_is_isolated_and_who_is_let_through_is_not() {
        let mut image = image();
        let isolated = |image: &MapImage| image.pod_policy_rows(ADDRESS).unwrap()[0].is_isolated();
        assert!(isolated(&image));
        image.verdicts.insert(VerdictKey { set: 3, peers: 0 }, Verdict { table: 0, otherwise: allow(0) });
        assert!(!isolated(&image));
        image.verdicts.remove(&VerdictKey { set: 3, peers: 0 });
        assert!(isolated(&image), "what is missing refuses");
    }
}
