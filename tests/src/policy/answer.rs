//! Questions to the model, and its answers.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
    /// ICMP of the addresses' family: it has no ports.
    Icmp,
}

/// A connection as policies see it: after Services are translated, before source NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub client: IpAddr,
    pub server: IpAddr,
    pub protocol: Protocol,
    /// The server's; 0 of a protocol without ports.
    pub port: u16,
    /// Whether a Service led the client to the server: that makes a difference where both are one pod.
    pub through_service: bool,
}

/// Which way a rule looks, from the pod that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

/// Of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    NetworkPolicy,
    ClusterNetworkPolicy,
}

/// One rule of one policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    pub kind: Kind,
    /// Empty for a cluster's.
    pub namespace: String,
    pub name: String,
    pub direction: Direction,
    /// From 0.
    pub index: usize,
}

/// What one end's policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// They are not asked: no pod, a pod on its host's network, the pod's own node at the other end, or the pod itself.
    Unasked,
    /// No policy is about it: allowed.
    Nothing,
    /// Allowed; each of these does, and any of them may be named as the reason. None is named where a pod that is isolated talks to itself.
    AllowedBy(BTreeSet<RuleName>),
    /// Refused by this rule of a ClusterNetworkPolicy.
    DeniedBy(RuleName),
    /// Refused since NetworkPolicies isolate the pod, and none allows it.
    Isolated,
}

/// What is said at both ends. The client's is asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub egress: Said,
    pub ingress: Said,
}

impl Said {
    pub fn allows(&self) -> bool {
        matches!(self, Self::Unasked | Self::Nothing | Self::AllowedBy(_))
    }
}

impl Answer {
    /// Both ends must let it through.
    pub fn allowed(&self) -> bool {
        self.egress.allows() && self.ingress.allows()
    }
}

impl Protocol {
    /// Those that rules can name.
    pub const WITH_PORTS: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As the API writes it; `None` for one that it has no name for.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Tcp => Some("TCP"),
            Self::Udp => Some("UDP"),
            Self::Sctp => Some("SCTP"),
            Self::Icmp => None,
        }
    }
}

impl Question {
    /// Of a connection that no Service led anywhere.
    pub fn new(client: IpAddr, server: IpAddr, protocol: Protocol, port: u16) -> Self {
        Self { client, server, protocol, port, through_service: false }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, direction, index } = self;
        write!(f, "{kind:?} {namespace}/{name} {direction:?} rule {index}")
    }
}
