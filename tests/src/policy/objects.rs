//! The API's objects, as far as policies and those whom they are about have fields that matter.

use super::selector::Selector;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything that there is in a cluster.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub(super) namespaces: Vec<Namespace>,
    pub(super) nodes: Vec<Node>,
    pub(super) pods: Vec<Pod>,
    pub(super) policies: Vec<NetworkPolicy>,
    pub(super) cluster_policies: Vec<ClusterNetworkPolicy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    pub name: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Namespace {
    pub metadata: Meta,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Node {
    pub metadata: Meta,
    #[serde(default)]
    pub status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct NodeStatus {
    #[serde(default)]
    pub addresses: Vec<NodeAddress>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct NodeAddress {
    pub address: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pod {
    pub metadata: Meta,
    #[serde(default)]
    pub spec: PodSpec,
    #[serde(default)]
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub node_name: String,
    pub host_network: bool,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    pub ports: Vec<ContainerPort>,
    pub restart_policy: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerPort {
    pub name: String,
    pub container_port: u16,
    pub protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    pub phase: String,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<IpAddr>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodIp {
    pub ip: IpAddr,
}

/// networking.k8s.io/v1.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NetworkPolicy {
    pub metadata: Meta,
    pub spec: NetworkPolicySpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkPolicySpec {
    #[serde(default)]
    pub pod_selector: Selector,
    pub policy_types: Option<Vec<String>>,
    #[serde(default)]
    pub ingress: Vec<PolicyRule>,
    #[serde(default)]
    pub egress: Vec<PolicyRule>,
}

/// Of either direction.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PolicyRule {
    #[serde(alias = "from", alias = "to", default)]
    pub peers: Option<Vec<PolicyPeer>>,
    #[serde(default)]
    pub ports: Option<Vec<PolicyPort>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyPeer {
    pub namespace_selector: Option<Selector>,
    pub pod_selector: Option<Selector>,
    pub ip_block: Option<IpBlock>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct IpBlock {
    pub cidr: String,
    #[serde(default)]
    pub except: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyPort {
    pub protocol: Option<String>,
    pub port: Option<PortOrName>,
    pub end_port: Option<u16>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum PortOrName {
    Port(u16),
    Name(String),
}

/// policy.networking.k8s.io/v1alpha2.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClusterNetworkPolicy {
    pub metadata: Meta,
    pub spec: ClusterPolicySpec,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClusterPolicySpec {
    pub tier: Tier,
    pub priority: i32,
    pub subject: Subject,
    #[serde(default)]
    pub ingress: Vec<ClusterRule>,
    #[serde(default)]
    pub egress: Vec<ClusterRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Tier {
    Admin,
    Baseline,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Subject {
    pub namespaces: Option<Selector>,
    pub pods: Option<NamespacedPod>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamespacedPod {
    #[serde(default)]
    pub namespace_selector: Selector,
    #[serde(default)]
    pub pod_selector: Selector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Action {
    Accept,
    Deny,
    Pass,
}

/// Of either direction.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClusterRule {
    pub action: Action,
    #[serde(alias = "from", alias = "to")]
    pub peers: Vec<ClusterPeer>,
    #[serde(default)]
    pub protocols: Option<Vec<ClusterProtocol>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterPeer {
    pub namespaces: Option<Selector>,
    pub pods: Option<NamespacedPod>,
    pub nodes: Option<Selector>,
    pub networks: Option<Vec<String>>,
    pub domain_names: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterProtocol {
    pub tcp: Option<ClusterPorts>,
    pub udp: Option<ClusterPorts>,
    pub sctp: Option<ClusterPorts>,
    pub destination_named_port: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterPorts {
    pub destination_port: Option<ClusterPort>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClusterPort {
    pub number: Option<u16>,
    pub range: Option<PortRange>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PortRange {
    pub start: u16,
    pub end: u16,
}

impl World {
    /// The world that has these objects; kinds that policies do not depend on are passed over.
    ///
    /// # Panics
    /// If one is not what its kind says it is.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut world = Self::default();
        objects.into_iter().for_each(|object| world.add(object));
        world
    }

    /// One object more.
    ///
    /// # Panics
    /// As [`Self::of`].
    pub fn add(&mut self, object: &Value) {
        fn read<T: for<'a> Deserialize<'a>>(object: &Value) -> T {
            T::deserialize(object).unwrap_or_else(|error| panic!("{error}: {object}"))
        }
        match object["kind"].as_str() {
            Some("Namespace") => self.namespaces.push(read(object)),
            Some("Node") => self.nodes.push(read(object)),
            Some("Pod") => self.pods.push(read(object)),
            Some("NetworkPolicy") => self.policies.push(read(object)),
            Some("ClusterNetworkPolicy") => self.cluster_policies.push(read(object)),
            _ => {}
        }
    }

    /// The pod that has the address for itself.
    pub(super) fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.is_alone_at(address))
    }

    /// The labels of a namespace; `None` if there is none of that name.
    pub(super) fn labels_of_namespace(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.iter().find(|namespace| namespace.metadata.name == name).map(|namespace| &namespace.metadata.labels)
    }

    /// Whether the address is one of the node's.
    pub(super) fn is_of_node(&self, address: IpAddr, node: &str) -> bool {
        self.nodes.iter().any(|known| known.metadata.name == node && known.has(address))
    }
}

impl Node {
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.status.addresses.iter().any(|own| own.address.parse() == Ok(address))
    }
}

impl Pod {
    /// A pod that is over has given its addresses back, and one on its host's network has none but the host's.
    fn is_alone_at(&self, address: IpAddr) -> bool {
        let is_over = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let mut addresses = self.status.pod_ip.iter().chain(self.status.pod_ips.iter().map(|one| &one.ip));
        !is_over && !self.spec.host_network && addresses.any(|own| *own == address)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.metadata.namespace, &self.metadata.name) == (&other.metadata.namespace, &other.metadata.name)
    }

    /// The ports with that name: number and protocol.
    pub(super) fn ports_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u16, &'a str)> + 'a {
        // Init containers are over before the pod serves, but for those that stay (KEP-753).
        let staying = self.spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
        let ports = self.spec.containers.iter().chain(staying).flat_map(|container| &container.ports);
        ports.filter(move |port| port.name == name).map(|port| (port.container_port, port.protocol.as_deref().unwrap_or("TCP")))
    }
}
