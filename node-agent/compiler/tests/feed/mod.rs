//! YAML documents as changes, for golden tests.

use k8s_openapi::api::core::v1::{Namespace, Node, Pod as ApiPod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use orknet_abi::{self as abi, Address, Pod, Range, RangeKey, protocol, range_kinds};
use orknet_compiler::clusternetworkpolicy::ClusterNetworkPolicy;
use orknet_compiler::facts::Uid;
use orknet_compiler::{
    Attachment, Change, ClusterPolicyFacts, HostPort, Inputs, Names, NamespaceFacts, NodeFacts, ObjectName, Options, Owner, PeerNodeFacts,
    PodFacts, PolicyFacts, ServiceFacts, SliceFacts,
};
use serde::Deserialize;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One object of a golden file.
pub enum Document {
    Service(ObjectName, Option<ServiceFacts>),
    Slice(ObjectName, Option<SliceFacts>),
    Attachment(Arc<str>, Attachment),
    Settings(abi::Node),
    Ranges(BTreeMap<RangeKey, Range>),
    Options(Options),
    Policy(ObjectName, PolicyFacts),
    ClusterPolicy(Arc<str>, ClusterPolicyFacts),
    Namespace(Arc<str>, NamespaceFacts),
    Pod(ObjectName, PodFacts),
    Node(Arc<str>, PeerNodeFacts),
}

/// What only the agent knows of this node.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsDocument {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    table_size: u32,
}

/// Ranges by kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RangesDocument {
    services: Vec<String>,
    direct: Vec<String>,
    /// By the address of the node that has the pods; `::` for this one.
    pods: BTreeMap<IpAddr, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OptionsDocument {
    #[serde(default)]
    loopback_ports: bool,
    #[serde(default)]
    node_port_ranges: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HostPortDocument {
    #[serde(rename = "hostIP")]
    host_ip: Option<IpAddr>,
    host_port: u16,
    container_port: u16,
    protocol: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttachmentDocument {
    name: String,
    addresses: Vec<IpAddr>,
    ifindex: u32,
    pod_mac: String,
    host_mac: String,
    #[serde(default)]
    host_ports: Vec<HostPortDocument>,
    owner: Option<OwnerDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnerDocument {
    namespace: String,
    name: String,
    uid: String,
}

/// The first Node (without one: a node named `here`), and everything else.
pub fn documents(yaml: &str) -> (NodeFacts, Vec<Document>) {
    let mut names = Names::default();
    let mut node = None;
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let mut value = Value::deserialize(document).unwrap();
        let kind = value["kind"].as_str().unwrap().to_owned();
        if value.get("apiVersion").is_none() {
            value.as_mapping_mut().unwrap().remove("kind");
        }
        match kind.as_str() {
            "Node" => {
                let found: Node = serde_yaml_ng::from_value(value).unwrap();
                let name = found.metadata.name.as_deref().unwrap().into();
                documents.push(Document::Node(name, PeerNodeFacts::of(&found, &mut names)));
                node = node.or(Some(NodeFacts::of(&found, &mut names)));
            }
            "NetworkPolicy" => {
                let policy: NetworkPolicy = serde_yaml_ng::from_value(value).unwrap();
                documents.push(Document::Policy(ObjectName::of(&policy.metadata, &mut names), PolicyFacts::of(&policy, &mut names)));
            }
            "ClusterNetworkPolicy" => {
                let policy: ClusterNetworkPolicy = serde_yaml_ng::from_value(value).unwrap();
                let name = policy.metadata.name.as_deref().unwrap().into();
                documents.push(Document::ClusterPolicy(name, ClusterPolicyFacts::of(&policy, &mut names)));
            }
            "Namespace" => {
                let namespace: Namespace = serde_yaml_ng::from_value(value).unwrap();
                let name = namespace.metadata.name.as_deref().unwrap().into();
                documents.push(Document::Namespace(name, NamespaceFacts::of(&namespace, &mut names)));
            }
            "Pod" => {
                let pod: ApiPod = serde_yaml_ng::from_value(value).unwrap();
                documents.push(Document::Pod(ObjectName::of(&pod.metadata, &mut names), PodFacts::of(&pod, &mut names)));
            }
            "Service" => {
                let service: Service = serde_yaml_ng::from_value(value).unwrap();
                let name = ObjectName::of(&service.metadata, &mut names);
                documents.push(Document::Service(name, ServiceFacts::of(&service, &mut names)));
            }
            "EndpointSlice" => {
                let slice: EndpointSlice = serde_yaml_ng::from_value(value).unwrap();
                let name = ObjectName::of(&slice.metadata, &mut names);
                documents.push(Document::Slice(name, SliceFacts::of(&slice, &mut names)));
            }
            "Attachment" => {
                let document: AttachmentDocument = serde_yaml_ng::from_value(value).unwrap();
                let pod =
                    Pod { ifindex: document.ifindex, pod_mac: mac(&document.pod_mac), host_mac: mac(&document.host_mac), ..Pod::default() };
                let addresses = document.addresses.into_iter().map(Address::from).collect();
                let host_ports = document.host_ports.into_iter().map(host_port).collect();
                let owner = document.owner.map(|owner| Owner {
                    pod: ObjectName { namespace: owner.namespace.as_str().into(), name: owner.name.as_str().into() },
                    uid: Uid::of(&owner.uid),
                });
                documents.push(Document::Attachment(document.name.into(), Attachment { addresses, pod, host_ports, owner }));
            }
            "Settings" => {
                let document: SettingsDocument = serde_yaml_ng::from_value(value).unwrap();
                let address = |address: Option<IpAddr>| address.map(Address::from).unwrap_or_default();
                let (v4, v6) = (address(document.v4), address(document.v6));
                let settings =
                    abi::Node { v4, v6, first_port: 61_000, last_port: 65_535, table_size: document.table_size, ..abi::Node::default() };
                documents.push(Document::Settings(settings));
            }
            "Ranges" => documents.push(Document::Ranges(ranges(serde_yaml_ng::from_value(value).unwrap()))),
            "Options" => {
                let document: OptionsDocument = serde_yaml_ng::from_value(value).unwrap();
                let node_port_ranges = document.node_port_ranges.iter().map(|text| range(text)).collect();
                let options = Options { loopback_ports: document.loopback_ports, node_port_ranges, ..Options::default() };
                documents.push(Document::Options(options));
            }
            other => panic!("golden files know no {other}"),
        }
    }
    (node.unwrap_or_else(|| NodeFacts { name: "here".into(), ..NodeFacts::default() }), documents)
}

fn host_port(document: HostPortDocument) -> HostPort {
    let number =
        [("TCP", protocol::TCP), ("UDP", protocol::UDP), ("SCTP", protocol::SCTP)].into_iter().find(|(name, _)| *name == document.protocol);
    HostPort {
        address: document.host_ip.map(Address::from),
        port: document.host_port,
        protocol: number.unwrap().1,
        container_port: document.container_port,
    }
}

fn range(text: &str) -> RangeKey {
    let (address, bits) = text.split_once('/').unwrap();
    RangeKey::new(address.parse().unwrap(), bits.parse().unwrap())
}

fn ranges(document: RangesDocument) -> BTreeMap<RangeKey, Range> {
    let of = |kinds, node: Address| move |key| (key, Range { kinds, node });
    let nowhere = Address::default();
    let mut ranges: BTreeMap<_, _> = document.services.iter().map(|text| range(text)).map(of(range_kinds::SERVICES, nowhere)).collect();
    ranges.extend(document.direct.iter().map(|text| range(text)).map(of(range_kinds::DIRECT, nowhere)));
    for (node, pods) in document.pods {
        ranges.extend(pods.iter().map(|text| range(text)).map(of(range_kinds::PODS, node.into())));
    }
    ranges
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<_> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

impl Document {
    pub fn added(&self) -> Change {
        match self {
            Self::Service(name, facts) => Change::Service(name.clone(), facts.clone()),
            Self::Slice(name, facts) => Change::Slice(name.clone(), facts.clone()),
            Self::Attachment(name, facts) => Change::Attachment(name.clone(), Some(facts.clone())),
            Self::Settings(node) => Change::Settings(*node),
            Self::Ranges(ranges) => Change::Ranges(ranges.clone()),
            Self::Options(options) => Change::Options(options.clone()),
            Self::Policy(name, facts) => Change::Policy(name.clone(), Some(facts.clone())),
            Self::ClusterPolicy(name, facts) => Change::ClusterPolicy(name.clone(), Some(facts.clone())),
            Self::Namespace(name, facts) => Change::Namespace(name.clone(), Some(facts.clone())),
            Self::Pod(name, facts) => Change::PeerPod(name.clone(), Some(facts.clone())),
            Self::Node(name, facts) => Change::PeerNode(name.clone(), Some(facts.clone())),
        }
    }

    pub fn removed(&self) -> Change {
        match self {
            Self::Service(name, _) => Change::Service(name.clone(), None),
            Self::Slice(name, _) => Change::Slice(name.clone(), None),
            Self::Attachment(name, _) => Change::Attachment(name.clone(), None),
            Self::Settings(_) => Change::Settings(abi::Node::default()),
            Self::Ranges(_) => Change::Ranges(BTreeMap::new()),
            Self::Options(_) => Change::Options(Options::default()),
            Self::Policy(name, _) => Change::Policy(name.clone(), None),
            Self::ClusterPolicy(name, _) => Change::ClusterPolicy(name.clone(), None),
            Self::Namespace(name, _) => Change::Namespace(name.clone(), None),
            Self::Pod(name, _) => Change::PeerPod(name.clone(), None),
            Self::Node(name, _) => Change::PeerNode(name.clone(), None),
        }
    }

    pub fn put(&self, inputs: &mut Inputs) {
        match self {
            Self::Service(name, facts) => inputs.services.extend(facts.clone().map(|facts| (name.clone(), facts))),
            Self::Slice(name, facts) => inputs.slices.extend(facts.clone().map(|facts| (name.clone(), facts))),
            Self::Attachment(name, facts) => drop(inputs.attachments.insert(name.clone(), facts.clone())),
            Self::Settings(node) => inputs.settings = Some(*node),
            Self::Ranges(ranges) => inputs.ranges = ranges.clone(),
            Self::Options(options) => inputs.options = options.clone(),
            Self::Policy(name, facts) => drop(inputs.policy.policies.insert(name.clone(), facts.clone())),
            Self::ClusterPolicy(name, facts) => drop(inputs.policy.cluster_policies.insert(name.clone(), facts.clone())),
            Self::Namespace(name, facts) => drop(inputs.policy.namespaces.insert(name.clone(), facts.clone())),
            Self::Pod(name, facts) => drop(inputs.policy.pods.insert(name.clone(), facts.clone())),
            Self::Node(name, facts) => drop(inputs.policy.nodes.insert(name.clone(), facts.clone())),
        }
    }
}
