//! Objects of the API as the agent of a node tells its compiler of them.

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use orknet_abi::{self as abi, Address, Range, RangeKey, node_flags, range_kinds};
use orknet_compiler::Inputs;
use orknet_compiler::clusternetworkpolicy::ClusterNetworkPolicy;
use orknet_compiler::{
    Attachment, Change, ClusterPolicyFacts, Names, NamespaceFacts, NodeFacts, ObjectName, Owner, PeerNodeFacts, PodFacts, PolicyFacts,
    ServiceFacts, SliceFacts, State,
};
use orknet_tests::policy::{NODES, PODS, Scene};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The first device of pods, on every node.
const FIRST_DEVICE: u32 = 100;

/// The device behind an address of a pod of the scene, whoever has the address now.
pub fn device(scene: &Scene, address: IpAddr) -> u32 {
    let place = scene.pods().position(|end| end.addresses.contains(&address)).unwrap();
    FIRST_DEVICE + place as u32
}

/// MAC addresses of the pod's and the host's side of a device.
pub fn macs(device: u32) -> [[u8; 6]; 2] {
    [[2, 0, 0, 0, 1, device as u8], [2, 0, 0, 0, 0, device as u8]]
}

/// A compiler on `node` that knows the scene and these objects.
pub fn state(scene: &Scene, node: &str, objects: &[Value]) -> State {
    let mut state = State::default();
    whole(scene, node, objects).into_iter().for_each(|change| state.note(change));
    state.policies_known();
    state
}

/// The same for who compiles everything at once.
pub fn inputs(scene: &Scene, node: &str, objects: &[Value]) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.policy.known = true;
    whole(scene, node, objects).into_iter().for_each(|change| put(&mut inputs, change));
    inputs
}

/// Has the inputs know of a change.
pub fn put(inputs: &mut Inputs, change: Change) {
    fn enter<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
        match value {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
    match change {
        Change::Settings(node) => inputs.settings = Some(node),
        Change::Ranges(ranges) => inputs.ranges = ranges,
        Change::Node(node) => inputs.node = node,
        Change::Options(options) => inputs.options = options,
        Change::Service(name, facts) => enter(&mut inputs.services, name, facts),
        Change::Slice(name, facts) => enter(&mut inputs.slices, name, facts),
        Change::Attachment(name, facts) => enter(&mut inputs.attachments, name, facts),
        Change::Policy(name, facts) => enter(&mut inputs.policy.policies, name, facts),
        Change::ClusterPolicy(name, facts) => enter(&mut inputs.policy.cluster_policies, name, facts),
        Change::Namespace(name, facts) => enter(&mut inputs.policy.namespaces, name, facts),
        Change::PeerPod(name, facts) => enter(&mut inputs.policy.pods, name, facts),
        Change::PeerNode(name, facts) => enter(&mut inputs.policy.nodes, name, facts),
    }
}

/// The node itself, its pods' devices, all objects of the scene, and these.
fn whole(scene: &Scene, node: &str, more: &[Value]) -> Vec<Change> {
    let (_, [v4, v6]) = NODES.into_iter().find(|(name, _)| *name == node).unwrap();
    let settings = abi::Node {
        v4: ip(v4).into(),
        v6: ip(v6).into(),
        first_port: 61_000,
        last_port: 65_000,
        flags: node_flags::MASQUERADE,
        ..abi::Node::default()
    };
    let mut ranges = BTreeMap::new();
    for (index, (name, addresses)) in NODES.into_iter().enumerate() {
        let blocks =
            [(format!("10.244.{index}.0"), 24), (if index == 0 { "fd00:10:244::".into() } else { format!("fd00:10:244:{index}::") }, 64)];
        for ((network, bits), address) in blocks.into_iter().zip(addresses) {
            let of = if name == node { Address::default() } else { ip(address).into() };
            ranges.insert(RangeKey::new(ip(&network), bits), Range { kinds: range_kinds::PODS, node: of });
            if name != node {
                let whole = if ip(address).is_ipv4() { 32 } else { 128 };
                ranges.insert(RangeKey::new(ip(address), whole), Range { kinds: range_kinds::DIRECT, ..Range::default() });
            }
        }
    }
    for (network, bits) in [("10.96.0.0", 16), ("fd00:10:96::", 112)] {
        ranges.insert(RangeKey::new(ip(network), bits), Range { kinds: range_kinds::SERVICES, ..Range::default() });
    }
    let objects = [&scene.objects()[..], &scene.services(), more].concat();
    [Change::Settings(settings), Change::Ranges(ranges)].into_iter().chain(changes(scene, node, &objects)).collect()
}

/// What is to be noted of objects that there are.
pub fn changes(scene: &Scene, node: &str, objects: &[Value]) -> Vec<Change> {
    let mut names = Names::default();
    objects.iter().flat_map(|object| noted(scene, node, object, &mut names)).collect()
}

/// What is to be noted when they are gone.
pub fn removals(scene: &Scene, node: &str, objects: &[Value]) -> Vec<Change> {
    changes(scene, node, objects).into_iter().map(gone).collect()
}

fn gone(change: Change) -> Change {
    match change {
        Change::Policy(name, _) => Change::Policy(name, None),
        Change::ClusterPolicy(name, _) => Change::ClusterPolicy(name, None),
        Change::Namespace(name, _) => Change::Namespace(name, None),
        Change::PeerPod(name, _) => Change::PeerPod(name, None),
        Change::PeerNode(name, _) => Change::PeerNode(name, None),
        Change::Attachment(name, _) => Change::Attachment(name, None),
        other => panic!("{other:?} does not go"),
    }
}

fn noted(scene: &Scene, node: &str, object: &Value, names: &mut Names) -> Vec<Change> {
    match object["kind"].as_str().unwrap() {
        "Namespace" => {
            let namespace: Namespace = read(object);
            vec![Change::Namespace(plain_name(object), Some(NamespaceFacts::of(&namespace, names)))]
        }
        "Node" => {
            let read: Node = read(object);
            let own = (object["metadata"]["name"] == node).then(|| Change::Node(NodeFacts::of(&read, names)));
            let peer = Change::PeerNode(plain_name(object), Some(PeerNodeFacts::of(&read, names)));
            own.into_iter().chain([peer]).collect()
        }
        "Pod" => {
            let pod: Pod = read(object);
            let facts = PodFacts::of(&pod, names);
            let attached = (facts.is_peer && object["spec"]["nodeName"] == node).then(|| attachment(scene, &pod, &facts, names));
            attached.into_iter().chain([Change::PeerPod(ObjectName::of(&pod.metadata, names), Some(facts))]).collect()
        }
        "NetworkPolicy" => {
            let policy: NetworkPolicy = read(object);
            vec![Change::Policy(ObjectName::of(&policy.metadata, names), Some(PolicyFacts::of(&policy, names)))]
        }
        "ClusterNetworkPolicy" => {
            let policy: ClusterNetworkPolicy = read(object);
            vec![Change::ClusterPolicy(plain_name(object), Some(ClusterPolicyFacts::of(&policy, names)))]
        }
        "Service" => {
            let service: Service = read(object);
            vec![Change::Service(ObjectName::of(&service.metadata, names), ServiceFacts::of(&service, names))]
        }
        "EndpointSlice" => {
            let slice: EndpointSlice = read(object);
            vec![Change::Slice(ObjectName::of(&slice.metadata, names), SliceFacts::of(&slice, names))]
        }
        other => panic!("nobody watches {other}"),
    }
}

/// The device of a pod, as the CNI plugin told of it.
fn attachment(scene: &Scene, pod: &Pod, facts: &PodFacts, names: &mut Names) -> Change {
    let name = ObjectName::of(&pod.metadata, names);
    let device = device(scene, facts.addresses[0].into());
    let [pod_mac, host_mac] = macs(device);
    let attachment = Attachment {
        addresses: facts.addresses.to_vec(),
        pod: abi::Pod { ifindex: device, pod_mac, host_mac, ..abi::Pod::default() },
        owner: Some(Owner::of(&pod.metadata, names)),
        host_ports: Vec::new(),
    };
    Change::Attachment(format!("{}-{}/eth0", name.namespace, name.name).into(), Some(attachment))
}

fn plain_name(object: &Value) -> Arc<str> {
    object["metadata"]["name"].as_str().unwrap().into()
}

fn read<T: DeserializeOwned>(object: &Value) -> T {
    T::deserialize(object).unwrap_or_else(|error| panic!("{error}: {object}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const _: () = assert!(FIRST_DEVICE + (PODS.len() * PODS.len()) as u32 <= 255);
