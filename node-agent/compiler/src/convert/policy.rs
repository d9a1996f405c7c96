//! NetworkPolicies, and the pods, namespaces and nodes that policies speak of. A part that is not understood allows nothing, and is told.

use super::{address, protocol_number, range};
use crate::facts::{
    Block, NamedPort, NamespaceFacts, NamespacedPods, ObjectName, Owner, PeerFacts, PeerNodeFacts, PodFacts, PolicyFacts, PortFacts,
    Requirement, RuleFacts, Selector, Uid,
};
use crate::names::Names;
use k8s_openapi::api::core::v1::{Container, Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orknet_abi::RangeKey;
use std::sync::Arc;

/// Label that every namespace has, with its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Annotation of a static pod's mirror: by it the node calls the pod.
const STATIC_POD: &str = "kubernetes.io/config.hash";

impl PolicyFacts {
    /// Of any NetworkPolicy: what of it is not understood never opens anything.
    pub fn of(policy: &NetworkPolicy, names: &mut Names) -> Self {
        let uid = Uid::of(policy.metadata.uid.as_deref().unwrap_or_default());
        let default = NetworkPolicySpec::default();
        let spec = policy.spec.as_ref().unwrap_or(&default);
        let mut trouble = Vec::new();
        let everything = LabelSelector::default();
        let Some(pods) = selector(spec.pod_selector.as_ref().unwrap_or(&everything), names) else {
            return Self::closed(uid, "spec.podSelector is not understood; all pods of the namespace are isolated");
        };
        let (is_ingress, is_egress) = directions(spec, &mut trouble);
        let ingress = spec.ingress.as_deref().unwrap_or_default();
        let ingress = is_ingress.then(|| rules("ingress", ingress.iter().cloned(), names, &mut trouble));
        let egress = spec.egress.iter().flatten().map(|rule| NetworkPolicyIngressRule { from: rule.to.clone(), ports: rule.ports.clone() });
        let egress = is_egress.then(|| rules("egress", egress, names, &mut trouble));
        Self { uid, pods, ingress, egress, trouble: (!trouble.is_empty()).then(|| trouble.join("; ").into()) }
    }
}

/// `policyTypes`, and what holds without. A type that is not understood is taken for both.
fn directions(spec: &NetworkPolicySpec, trouble: &mut Vec<String>) -> (bool, bool) {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.is_empty() {
        return (true, spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()));
    }
    if let Some(strange) = types.iter().find(|kind| !matches!(kind.as_str(), "Ingress" | "Egress")) {
        trouble.push(format!("spec.policyTypes: {strange} is not understood"));
        return (true, true);
    }
    let has = |kind: &str| types.iter().any(|listed| listed == kind);
    (has("Ingress"), has("Egress"))
}

fn rules(
    direction: &str,
    rules: impl Iterator<Item = NetworkPolicyIngressRule>,
    names: &mut Names,
    trouble: &mut Vec<String>,
) -> Box<[RuleFacts]> {
    let rules = rules.enumerate().map(|(place, rule)| {
        let mut strange = |part: &str, index: usize| trouble.push(format!("spec.{direction}[{place}].{part}[{index}] is not understood"));
        let peers = rule.from.filter(|peers| !peers.is_empty()).map(|peers| {
            let side = if direction == "ingress" { "from" } else { "to" };
            understood(&peers, |listed| peer(listed, names), |index| strange(side, index))
        });
        let ports = rule.ports.filter(|ports| !ports.is_empty());
        let ports = ports.map(|ports| understood(&ports, |listed| port(listed, names), |index| strange("ports", index)));
        RuleFacts { peers, ports }
    });
    rules.collect()
}

fn understood<T, F>(all: &[T], mut convert: impl FnMut(&T) -> Option<F>, mut strange: impl FnMut(usize)) -> Box<[F]> {
    let facts = all.iter().enumerate().filter_map(|(index, one)| {
        let facts = convert(one);
        if facts.is_none() {
            strange(index);
        }
        facts
    });
    facts.collect()
}

fn peer(peer: &NetworkPolicyPeer, names: &mut Names) -> Option<PeerFacts> {
    match (&peer.ip_block, &peer.namespace_selector, &peer.pod_selector) {
        (Some(block), None, None) => Some(PeerFacts::Block(ip_block(block)?)),
        (None, None, Some(pods)) => Some(PeerFacts::OwnPods(selector(pods, names)?)),
        (None, Some(namespaces), pods) => {
            let pods = pods.as_ref().map_or_else(|| Some(Selector::default()), |pods| selector(pods, names))?;
            Some(PeerFacts::Pods(NamespacedPods { namespaces: selector(namespaces, names)?, pods }))
        }
        _ => None,
    }
}

fn ip_block(block: &IPBlock) -> Option<Block> {
    let all: Option<Vec<RangeKey>> = block.except.iter().flatten().map(|text| range(text)).collect();
    Some(self::block(range(&block.cidr)?, all?))
}

/// A range and what is not of it, in one form.
pub(super) fn block(range: RangeKey, mut except: Vec<RangeKey>) -> Block {
    except.sort_unstable();
    except.dedup();
    Block { range, except: except.into() }
}

fn port(port: &NetworkPolicyPort, names: &mut Names) -> Option<PortFacts> {
    let protocol = protocol_number(port.protocol.as_deref())?;
    let number = |number: i32| u16::try_from(number).ok().filter(|port| *port != 0);
    match (&port.port, port.end_port) {
        (None, None) => Some(PortFacts::Range { protocol, first: 0, last: u16::MAX }),
        (Some(IntOrString::Int(first)), end) => {
            let (first, last) = (number(*first)?, number(end.unwrap_or(*first))?);
            (first <= last).then_some(PortFacts::Range { protocol, first, last })
        }
        (Some(IntOrString::String(name)), None) => Some(PortFacts::Named { protocol, name: names.intern(name) }),
        _ => None,
    }
}

/// `None` for one with an operator that is not understood.
pub(super) fn selector(selector: &LabelSelector, names: &mut Names) -> Option<Selector> {
    let mut all = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        all.push(Requirement::In(names.intern(key), Box::new([names.intern(value)])));
    }
    for expression in selector.match_expressions.iter().flatten() {
        let key = names.intern(&expression.key);
        let mut values: Vec<_> = expression.values.iter().flatten().map(|value| names.intern(value)).collect();
        values.sort_unstable();
        values.dedup();
        all.push(match (expression.operator.as_str(), values.is_empty()) {
            ("In", false) => Requirement::In(key, values.into()),
            ("NotIn", false) => Requirement::NotIn(key, values.into()),
            ("Exists", true) => Requirement::Exists(key),
            ("DoesNotExist", true) => Requirement::DoesNotExist(key),
            _ => return None,
        });
    }
    Some(Selector::new(all))
}

impl PodFacts {
    /// Of any pod.
    pub fn of(pod: &Pod, names: &mut Names) -> Self {
        let meta = &pod.metadata;
        let name_on_node = meta.annotations.as_ref().and_then(|annotations| annotations.get(STATIC_POD)).or(meta.uid.as_ref());
        let is_on_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let is_peer = !is_on_host && !matches!(phase, Some("Succeeded" | "Failed"));
        let listed = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten()).map(|listed| listed.ip.as_str());
        let first = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let mut addresses: Vec<_> = listed.chain(first).filter(|_| is_peer).filter_map(address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let created = meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        Self {
            uid: Uid::of(name_on_node.map(String::as_str).unwrap_or_default()),
            labels: names.labels(meta.labels.iter().flatten()),
            addresses: addresses.into(),
            ports: named_ports(pod, names),
            is_peer,
            created: u32::try_from(created).unwrap_or(0),
        }
    }
}

/// Ports of containers, then of init containers that go on running (KEP-753), as Kubernetes looks a name up.
fn named_ports(pod: &Pod, names: &mut Names) -> Arc<[NamedPort]> {
    let Some(spec) = &pod.spec else { return Arc::from([]) };
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(stays));
    let mut found: Vec<NamedPort> = Vec::new();
    for port in containers.flat_map(|container| container.ports.iter().flatten()) {
        let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        let (Some(protocol), Ok(number)) = (protocol_number(port.protocol.as_deref()), u16::try_from(port.container_port)) else {
            continue;
        };
        if crate::facts::port_named(&found, name, protocol).is_none() {
            found.push(NamedPort { name: names.intern(name), protocol, port: number });
        }
    }
    found.sort_unstable();
    names.ports(found)
}

impl NamespaceFacts {
    /// Of any namespace.
    pub fn of(namespace: &Namespace, names: &mut Names) -> Self {
        let mut labels = namespace.metadata.labels.clone().unwrap_or_default();
        labels.insert(NAMESPACE_NAME.into(), namespace.metadata.name.clone().unwrap_or_default());
        Self { labels: names.labels(&labels) }
    }

    /// What is known of a namespace that has not been seen.
    pub fn unseen(name: &Arc<str>) -> Self {
        Self { labels: crate::facts::Labels::new([(NAMESPACE_NAME.into(), Arc::clone(name))]) }
    }
}

impl PeerNodeFacts {
    /// Of any node.
    pub fn of(node: &Node, names: &mut Names) -> Self {
        let listed = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let mut addresses: Vec<_> = listed.filter_map(|listed| address(&listed.address)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self { labels: names.labels(node.metadata.labels.iter().flatten()), addresses: addresses.into() }
    }
}

impl Owner {
    /// Whose metadata this is.
    pub fn of(meta: &ObjectMeta, names: &mut Names) -> Self {
        Self { pod: ObjectName::of(meta, names), uid: Uid::of(meta.uid.as_deref().unwrap_or_default()) }
    }
}
