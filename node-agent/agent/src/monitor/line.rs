//! What a monitor is told: one JSON document a line. The documents are the same that `orknet monitor -o json` prints.

use orknet_abi::protocol;
use orknet_compiler::rows::rule_path;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Line {
    /// A packet was dropped, or a flow opened.
    Event(Box<Happened>),
    /// Events are missing before the next line.
    Lost(Lost),
    /// The agent does not understand the subscription.
    Refused { message: String },
}

/// What happened to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    /// RFC 3339, to the microsecond.
    pub time: String,
    /// The node on which it happened.
    pub node: String,
    pub verdict: Verdict,
    /// Of a drop: the name of its reason, as in the counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// `TCP`, `UDP`, `SCTP`, `ICMP` (of either family), or the number of another protocol.
    pub protocol: String,
    /// Who opened the connection, with the address that it has of itself; of a call by somebody who is not known, the unspecified address.
    pub client: End,
    /// Who has it in the end; where no backend was found, what the client asked for.
    pub server: End,
    /// The Service between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Front>,
    /// Where neither packet nor socket says what the client asked for: the Services that lead to the server, by name. It may have been one of
    /// them, or the server itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub possible_services: Vec<ServiceName>,
    /// What policies said, by direction. A drop has one: the one that refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<Judged>,
    /// The packet goes from the server to the client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_answer: bool,
    /// A call at the client's socket was refused, as a drop: nothing was sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_call: bool,
    /// Flags of TCP: `SYN`, `ACK`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp_flags: Vec<String>,
    /// Index of the device at which the packet was met; 0 of a call.
    pub device: u32,
    /// The packet's length, from the Ethernet header on; 0 of a call.
    pub bytes: u32,
}

/// Whether the packet went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Allowed,
    Dropped,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub address: IpAddr,
    /// Protocols without ports have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// The pod that has an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    /// It runs on this node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_local: bool,
}

/// What the client asked for, if that was not the server's own address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Front {
    pub namespace: String,
    pub name: String,
    pub address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A Service's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceName {
    pub namespace: String,
    pub name: String,
}

/// What the policies of one end said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    pub direction: Direction,
    /// `None` where no rule said anything: what isolates a pod then refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Without a rule: the first of the policies that isolate the pod in this direction, by name. There may be thousands, which are the same
    /// at each attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolated_by: Vec<Policy>,
    /// How many there are besides.
    #[serde(default, skip_serializing_if = "is_none")]
    pub isolated_by_more: usize,
}

/// Policies of [`Judged`] that are named.
pub(super) const ISOLATING_NAMED: usize = 3;

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// From the pod with the rules seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Ingress,
    Egress,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(flatten)]
    pub policy: Policy,
    /// Place in `spec.ingress` or `spec.egress`, from 0.
    pub index: u32,
    /// The rule's own name, if it has one (those of ClusterNetworkPolicies may).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
}

/// A policy, by name; by the number that its rule has on this node if it is not known (any more).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    pub kind: String,
    /// Empty for policies of the cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

/// How many events are missing, and who lost them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    pub events: u64,
    pub because: Loss,
}

/// Who lost events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// There were more at a time than programs are to tell (`eventRate`).
    Rate,
    /// The agent did not read fast enough.
    Agent,
    /// This monitor did not read fast enough.
    Monitor,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Dropped => "dropped",
        })
    }
}

/// `namespace/name:port`, or the address for what is no pod.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.pod, self.port) {
            (Some(pod), Some(port)) => write!(f, "{pod}:{port}"),
            (Some(pod), None) => write!(f, "{pod}"),
            (None, Some(port)) => write!(f, "{}", SocketAddr::new(self.address, port)),
            (None, None) => write!(f, "{}", self.address),
        }
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// As `kubectl` writes a resource: `NetworkPolicy default/web`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// The rule as a path leads to it: `NetworkPolicy default/web ingress[0]`, and its name; without one, what there is none of.
impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = self.direction;
        match (&self.rule, self.isolated_by.as_slice()) {
            (Some(rule), _) => f.write_str(&rule_path(&rule.policy, direction, rule.index, rule.rule_name.as_deref().unwrap_or_default())),
            (None, []) => write!(f, "no {direction} rule of the policies that isolate the pod allows it"),
            (None, policies) => {
                let mut names = policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                if self.isolated_by_more > 0 {
                    names += &format!(" and {} more", self.isolated_by_more);
                }
                write!(f, "no {direction} rule of {names} allows it")
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "more happened at a time than programs are to tell",
            Self::Agent => "the agent did not read fast enough",
            Self::Monitor => "this monitor did not read fast enough",
        })
    }
}

/// Name of a protocol in lines.
pub(super) fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "TCP".into(),
        protocol::UDP => "UDP".into(),
        protocol::SCTP => "SCTP".into(),
        protocol::ICMP | protocol::ICMP6 => "ICMP".into(),
        other => other.to_string(),
    }
}

/// Names of the flags in TCP's header (RFC 9293 section 3.1, RFC 3168), in the order in which people say them.
pub(super) fn tcp_flags(flags: u8) -> Vec<String> {
    const NAMES: [(u8, &str); 8] =
        [(0x02, "SYN"), (0x10, "ACK"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x20, "URG"), (0x40, "ECE"), (0x80, "CWR")];
    NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}
