//! Policies, and the pods, namespaces and nodes that they speak of.

use super::labels::{Labels, Selector};
use orknet_abi::{Address, RangeKey};
use std::sync::Arc;

/// `metadata.uid` in 16 bytes: a UUID's own, or a hash of a text that is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub [u8; 16]);

/// A NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFacts {
    pub uid: Uid,
    /// Which pods of its namespace it is for.
    pub pods: Selector,
    /// What may come in; `None` if it does not isolate them in this direction.
    pub ingress: Option<Box<[RuleFacts]>>,
    /// What may go out.
    pub egress: Option<Box<[RuleFacts]>>,
    /// What of it is not understood, in words. Such a part allows nothing.
    pub trouble: Option<Box<str>>,
}

/// A ClusterNetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicyFacts {
    pub uid: Uid,
    pub tier: Tier,
    /// The lower, the earlier. Of equal ones, the name that sorts first goes first.
    pub priority: i32,
    pub subject: NamespacedPods,
    /// In their order: the first that matches counts. Without any it says nothing about what comes in.
    pub ingress: Box<[ClusterRuleFacts]>,
    pub egress: Box<[ClusterRuleFacts]>,
    /// What of it is not understood, in words.
    pub trouble: Option<Box<str>>,
}

/// Where a ClusterNetworkPolicy stands: before all NetworkPolicies, or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    Admin,
    Baseline,
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Accept,
    Deny,
    /// On to the next tier.
    Pass,
}

/// A rule of a ClusterNetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRuleFacts {
    /// May be empty.
    pub name: Arc<str>,
    pub action: Action,
    pub rule: RuleFacts,
}

/// Whom and what a rule matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFacts {
    /// The other end, by any of these; `None` for everybody. None at all match nobody.
    pub peers: Option<Box<[PeerFacts]>>,
    /// The server's port, by any of these; `None` for everything, protocols without ports as well.
    pub ports: Option<Box<[PortFacts]>>,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerFacts {
    /// Pods of the policy's own namespace. Of a NetworkPolicy alone.
    OwnPods(Selector),
    Pods(NamespacedPods),
    /// An `ipBlock`, or one of `networks`.
    Block(Block),
    /// Addresses of Nodes.
    Nodes(Selector),
}

/// Pods by their namespaces' labels and their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedPods {
    pub namespaces: Selector,
    pub pods: Selector,
}

/// A range of addresses without some ranges in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    pub range: RangeKey,
    /// Ascending.
    pub except: Box<[RangeKey]>,
}

/// Ports of the server, native byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortFacts {
    /// From `first` to `last`, both included; all of a protocol are 0 to 65,535.
    Range { protocol: u8, first: u16, last: u16 },
    /// The port that the server's pod calls so. A pod without such a port is not matched.
    Named { protocol: u8, name: Arc<str> },
}

/// A pod of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// What its node calls it: of a static pod, not its mirror's.
    pub uid: Uid,
    pub labels: Labels,
    /// `status.podIPs`.
    pub addresses: Box<[Address]>,
    /// Ports with names. Of several with one name and protocol the first counts, and only that is here; ascending.
    pub ports: Arc<[NamedPort]>,
    /// Rules that select pods mean it. Not so on the host's network, where its addresses are the node's, nor once it is finished.
    pub is_peer: bool,
    /// When it was made, in seconds since 1970: of two pods with one address, the younger has it.
    pub created: u32,
}

/// A container's port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    pub name: Arc<str>,
    /// IANA protocol number.
    pub protocol: u8,
    /// Native byte order.
    pub port: u16,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// With `kubernetes.io/metadata.name`.
    pub labels: Labels,
}

/// A node, as the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNodeFacts {
    pub labels: Labels,
    /// `status.addresses`.
    pub addresses: Box<[Address]>,
}

/// The pod that an attachment belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub pod: super::ObjectName,
    pub uid: Uid,
}

impl PolicyFacts {
    /// Of an object that cannot be read: every pod of its namespace is isolated, and nothing allowed.
    pub fn closed(uid: Uid, trouble: &str) -> Self {
        Self { uid, pods: Selector::default(), ingress: Some(Box::default()), egress: Some(Box::default()), trouble: Some(trouble.into()) }
    }
}

impl PodFacts {
    /// The port (native byte order) that the pod calls so.
    pub fn port(&self, name: &str, protocol: u8) -> Option<u16> {
        port_named(&self.ports, name, protocol)
    }
}

/// The port (native byte order) of that name.
pub(crate) fn port_named(ports: &[NamedPort], name: &str, protocol: u8) -> Option<u16> {
    ports.iter().find(|port| *port.name == *name && port.protocol == protocol).map(|port| port.port)
}

impl Uid {
    /// Of `metadata.uid`.
    pub fn of(text: &str) -> Self {
        parse(text).unwrap_or_else(|| {
            // Two halves of FNV-1a, so that other texts get other numbers.
            let hash = |seed: u64| text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            let (first, second) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9ae1_6a3b_2f90_404f));
            Self(((u128::from(first) << 64) | u128::from(second)).to_be_bytes())
        })
    }
}

fn parse(text: &str) -> Option<Uid> {
    let digits: String = text.split('-').collect();
    let is_uuid = text.len() == 36 && digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(&digits, 16).ok().filter(|_| is_uuid).map(|number| Uid(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_itself_and_other_texts_are_told_apart() {
        let uuid = Uid::of("00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(uuid.0, [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        assert_ne!(Uid::of("a"), Uid::of("b"));
    }
}
