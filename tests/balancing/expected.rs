//! Who must answer a client of a Service, and whom must it see? Computed from the rules alone, for a cluster of three nodes with backends
//! on the first two.
//!
//! What counts is where the backend is chosen:
//! - Inside, at the client's own node: for cluster addresses, for load-balancer and external addresses, and for the node's own node
//!   ports, whenever a socket of the node or of one of its pods uses them. Nothing is translated on the way, so every backend sees the
//!   client's own address, a pod that reaches itself included. Kubernetes gives traffic from inside cluster-wide backends whatever
//!   `externalTrafficPolicy` says; `internalTrafficPolicy: Local` narrows cluster addresses to the client's node, and a socket for which
//!   nothing is left is refused at once.
//! - Outside, at the node that a packet comes to from the network: for whoever is not in the cluster, and for node ports of another node
//!   than the client's. With `externalTrafficPolicy: Cluster` all backends take part; one on this node sees the client's own address,
//!   one elsewhere sees this node's, or its answers would miss this node, unless they may: with direct return they see the client, but for a process of their own node. With `Local` only backends of this node take part, all see the
//!   client's own address, and where there is none the packet is dropped.
//! - A pod that uses a node port of another node is told apart from the outside by its address: it has all backends whatever the policy,
//!   and every one of them sees that node, since the pod could reach it from the same port without the Service. So could a process of
//!   another node, which is seen as that node, too, unless `Local` promises its own address.
//!
//! A cluster address is nobody's outside.
//!
//! What no socket hook sees is translated as a packet at the client's node, by the same rules but for three: a pod that reaches itself
//! sees the Service's address, or it would answer itself past the Service; where nothing is left the packet is dropped; and what a node
//! sends to an address of its own never comes to a program.

use std::collections::BTreeMap;

/// `externalTrafficPolicy`, for cluster addresses `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    Cluster,
    Local,
}

/// What of a Service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    ClusterIp,
    /// At an address of the node.
    NodePort {
        node: &'static str,
    },
    /// An address that the outside sends to the node.
    LoadBalancer {
        via: &'static str,
    },
    /// The same.
    ExternalIp {
        via: &'static str,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The backend on the first node.
    Backend,
    /// Another pod there.
    SameNode,
    /// A pod on the node without backend.
    OtherNode,
    /// A process of the first node, in no pod.
    Host,
    /// One of the node without backend.
    OtherHost,
    Outside,
}

/// Whose address a backend sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// The client's.
    Client,
    /// The one that was asked.
    Front,
    /// That of the node that translated.
    Node(&'static str),
}

/// Which way answers go from a backend of another node than the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Back through that node.
    ThroughFront,
    /// To the client at once.
    Direct,
}

/// What must come of asking often enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly these backends answer, and see that.
    Answers(BTreeMap<&'static str, Seen>),
    /// Refused at the socket.
    Denied,
    /// No answer, and no word about it.
    Silence,
    /// No answer.
    Nobody,
}

pub const NEAR: &str = "node1";
pub const MIDDLE: &str = "node2";
/// Has no backend.
pub const FAR: &str = "node3";

/// The backends' names and nodes.
pub const BACKENDS: [(&str, &str); 2] = [("near", NEAR), ("middle", MIDDLE)];

impl Who {
    pub const ALL: [Self; 6] = [Self::Backend, Self::SameNode, Self::OtherNode, Self::Host, Self::OtherHost, Self::Outside];

    fn is_pod(self) -> bool {
        matches!(self, Self::Backend | Self::SameNode | Self::OtherNode)
    }

    /// The node it is on.
    fn node(self) -> Option<&'static str> {
        match self {
            Self::Backend | Self::SameNode | Self::Host => Some(NEAR),
            Self::OtherNode | Self::OtherHost => Some(FAR),
            Self::Outside => None,
        }
    }
}

/// What the rules say of these; see the module.
pub fn expected(front: Front, policy: Policy, who: Who, returns: Return) -> Expected {
    match (front, who.node()) {
        (Front::ClusterIp, None) => Expected::Nobody,
        (Front::ClusterIp, Some(node)) => inside(|of| policy == Policy::Cluster || of == node),
        (Front::NodePort { node }, Some(own)) if own == node => inside(|_| true),
        (Front::NodePort { node }, Some(_)) if who.is_pod() || policy == Policy::Cluster => through(node),
        (Front::NodePort { node }, _) => outside(node, policy, who, returns),
        (Front::LoadBalancer { .. } | Front::ExternalIp { .. }, Some(_)) => inside(|_| true),
        (Front::LoadBalancer { via } | Front::ExternalIp { via }, None) => outside(via, policy, who, returns),
    }
}

/// The same of packets that no socket hook sees.
pub fn expected_of_packets(front: Front, policy: Policy, who: Who, returns: Return) -> Expected {
    let is_inside = who.node().is_some() && !matches!(front, Front::NodePort { node } if Some(node) != who.node());
    match expected(front, policy, who, returns) {
        _ if is_inside && !who.is_pod() && matches!(front, Front::NodePort { .. }) => Expected::Nobody,
        Expected::Denied => Expected::Silence,
        Expected::Answers(mut backends) if is_inside && who == Who::Backend => {
            backends.insert(BACKENDS[0].0, Seen::Front);
            Expected::Answers(backends)
        }
        other => other,
    }
}

fn inside(takes_part: impl Fn(&str) -> bool) -> Expected {
    answers(takes_part, |_| Seen::Client).unwrap_or(Expected::Denied)
}

fn outside(node: &'static str, policy: Policy, who: Who, returns: Return) -> Expected {
    let is_direct = |of: &str| returns == Return::Direct && who.node() != Some(of);
    let seen = |of: &str| if of == node || is_direct(of) { Seen::Client } else { Seen::Node(node) };
    answers(|of| policy == Policy::Cluster || of == node, seen).unwrap_or(Expected::Silence)
}

fn through(node: &'static str) -> Expected {
    answers(|_| true, |_| Seen::Node(node)).unwrap_or(Expected::Silence)
}

/// `None` when no backend takes part.
fn answers(takes_part: impl Fn(&str) -> bool, seen: impl Fn(&str) -> Seen) -> Option<Expected> {
    let who: BTreeMap<_, _> = BACKENDS.into_iter().filter(|(_, of)| takes_part(of)).map(|(name, of)| (name, seen(of))).collect();
    (!who.is_empty()).then_some(Expected::Answers(who))
}
