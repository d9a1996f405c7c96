//! The compact form of the API objects: only what the maps depend on, so that ten thousand Services fit in a few megabytes.

mod labels;
mod policy;

pub use labels::{Labels, Requirement, Selector};
pub(crate) use policy::port_named;
pub use policy::{
    Action, Block, ClusterPolicyFacts, ClusterRuleFacts, NamedPort, NamespaceFacts, NamespacedPods, Owner, PeerFacts, PeerNodeFacts,
    PodFacts, PolicyFacts, PortFacts, RuleFacts, Tier, Uid,
};

use orknet_abi::{Address, Pod, PodKey, RangeKey};
use std::sync::Arc;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// A Service that has cluster addresses. Headless and ExternalName Services have none and so leave no trace in the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// `spec.clusterIPs`, at most one per family.
    pub cluster_addresses: Box<[Address]>,
    /// `spec.ports`.
    pub ports: Box<[ServicePort]>,
    /// `spec.internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// Seconds of `spec.sessionAffinity: ClientIP`; 0 without.
    pub affinity_seconds: u32,
    /// Another proxy implements it (KEP-2447): its addresses are taken, and that is all that we have to know.
    pub is_foreign: bool,
    /// What it is outside of the cluster; `None` for a Service that is only inside.
    pub external: Option<Box<ExternalFacts>>,
}

/// How a Service is reached from outside: by node ports (of [`ServicePort::node_port`]), load-balancer addresses, external addresses;
/// all in the families of its cluster addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalFacts {
    /// `status.loadBalancer.ingress[].ip` of type LoadBalancer, but those of `ipMode: Proxy` (KEP-1860): such a balancer sends to the
    /// node ports.
    pub balancer_addresses: Box<[Address]>,
    /// `spec.externalIPs`.
    pub addresses: Box<[Address]>,
    /// `spec.externalTrafficPolicy: Local`.
    pub local: bool,
    /// `spec.loadBalancerSourceRanges`, ascending; `None` for any source.
    pub sources: Option<Box<[RangeKey]>>,
    /// `spec.healthCheckNodePort`, native byte order; 0 without.
    pub health_port: u16,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name by which slices know it; may be empty.
    pub name: Arc<str>,
    /// IANA protocol number.
    pub protocol: u8,
    /// Native byte order.
    pub port: u16,
    /// `nodePort`, native byte order; 0 without.
    pub node_port: u16,
}

/// An EndpointSlice of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceFacts {
    /// Label `kubernetes.io/service-name`; the Service is in the slice's namespace.
    pub service: Arc<str>,
    pub ports: Box<[SlicePort]>,
    pub endpoints: Box<[Endpoint]>,
}

/// A port that all endpoints of a slice have: named ports are already resolved, so pods that differ are in different slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    pub name: Arc<str>,
    pub protocol: u8,
    /// Native byte order.
    pub port: u16,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Address,
    /// Node that it runs on.
    pub node: Option<Arc<str>>,
    pub readiness: Readiness,
    /// Who should prefer it; `None` without any hint.
    pub hints: Option<Box<Hints>>,
}

/// What an endpoint's conditions amount to, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// Takes no traffic.
    No,
    /// Terminating but still serving: takes traffic if nobody is ready (KEP-1669).
    ServingTerminating,
    /// Takes traffic. `publishNotReadyAddresses` makes the slice say so regardless of the pod.
    Ready,
}

/// `endpoints[].hints` (KEP-2433, KEP-3015).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hints {
    pub zones: Box<[Arc<str>]>,
    pub nodes: Box<[Arc<str>]>,
}

/// This node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// Its InternalIPs, where node ports and host ports answer (see [`Options::node_port_ranges`]).
    pub addresses: Box<[Address]>,
    /// The others of `status.addresses`.
    pub other_addresses: Box<[Address]>,
}

impl NodeFacts {
    /// Whether the Node lists the address as its own.
    pub(crate) fn has(&self, address: Address) -> bool {
        self.listed().any(|listed| listed == address)
    }

    /// All addresses that the Node lists.
    pub(crate) fn listed(&self) -> impl Iterator<Item = Address> {
        self.addresses.iter().chain(&self.other_addresses).copied()
    }
}

/// What an operator can set about Services on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Node ports and host ports answer on 127.0.0.1 and ::1 too, for processes of the node alone: pods have loopback addresses of their
    /// own, and programs tell them apart by [`Node::namespace_cookie`](orknet_abi::Node::namespace_cookie).
    pub loopback_ports: bool,
    /// Node ports answer at those of the node's addresses that are in one of these ranges, whatever the type by which the Node lists
    /// them; at its InternalIPs if there are no ranges.
    pub node_port_ranges: Arc<[RangeKey]>,
    /// Entries that the map of look-up tables has room for. Where not all tables fit, the same ones are there on all nodes with as much
    /// room, and the other Services do without.
    pub table_room: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { loopback_ports: false, node_port_ranges: Arc::default(), table_room: u32::MAX }
    }
}

/// A pod of this node whose device is ready: its addresses lead to it.
///
/// An address is given to one pod at a time, so the attachment that claims it last has it, and one that claimed it before belongs to
/// a pod that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    pub addresses: Vec<Address>,
    /// Its sets of rules count only for an attachment without owner: as they are known from the kernel's maps.
    pub pod: Pod,
    /// Whose policies hold for it. `None` for what is no pod of the API: no policy selects it.
    pub owner: Option<Owner>,
    /// `containers[].ports[]` with a `hostPort`.
    pub host_ports: Vec<HostPort>,
}

/// A port of the node that leads to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `hostIP`; an unspecified one stands for all InternalIPs of the node of its family, `None` for all of both. A loopback address
    /// counts with [`Options::loopback_ports`] only, any other only if the Node lists it.
    pub address: Option<Address>,
    /// `hostPort`, native byte order.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// `containerPort`, native byte order.
    pub container_port: u16,
}

impl Attachment {
    /// Its entries in the maps.
    pub fn entries(&self) -> impl Iterator<Item = (PodKey, Pod)> + '_ {
        self.addresses.iter().map(|&address| (PodKey { address }, self.pod))
    }

    /// Whether both claim an address. Then the one that was known first is that of a pod that is gone.
    pub fn collides_with(&self, other: &Self) -> bool {
        self.addresses.iter().any(|address| other.addresses.contains(address))
    }
}
