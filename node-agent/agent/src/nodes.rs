//! What the agent knows of the Nodes: its own (facts for the compiler, addresses for pods) and the others (routes).

use crate::routes::NodeNetwork;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use orknet_cni::protocol::NodeConfiguration;
use orknet_compiler::{Names, NodeFacts};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

/// The next hops of every pod. No device has them: the pods' neighbour entries say where they are.
const GATEWAYS: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 1, 1)), IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))];

/// The Nodes, reduced to what matters.
#[derive(Debug, Default)]
pub struct Nodes {
    own: String,
    own_facts: Option<NodeFacts>,
    own_uid: Option<String>,
    is_leaving: bool,
    networks: BTreeMap<String, NodeNetwork>,
    names: Names,
}

impl Nodes {
    /// Nothing known yet; `own` is the name of our Node.
    pub fn new(own: &str) -> Self {
        Self { own: own.to_owned(), ..Self::default() }
    }

    /// A Node as it is now. Whether something that matters changed; heartbeats do not.
    pub fn put(&mut self, node: &Node) -> bool {
        let Some(name) = node.metadata.name.clone() else { return false };
        let mut changed = false;
        if name == self.own {
            let facts = Some(NodeFacts::of(node, &mut self.names));
            changed |= self.own_facts != facts || self.is_leaving != is_leaving(node) || self.own_uid != node.metadata.uid;
            (self.own_facts, self.is_leaving) = (facts, is_leaving(node));
            self.own_uid.clone_from(&node.metadata.uid);
        }
        let network = network(node);
        changed |= self.networks.get(&name) != Some(&network);
        self.networks.insert(name, network);
        changed
    }

    /// A Node is gone. What is known of our own stays, but for its uid: we are still here, and its pods with us.
    pub fn remove(&mut self, name: &str) -> bool {
        if name == self.own { self.own_uid.take().is_some() } else { self.networks.remove(name).is_some() }
    }

    /// The end of a new list.
    pub fn retain(&mut self, listed: &HashSet<String>) -> bool {
        let before = self.networks.len();
        self.networks.retain(|name, _| *name == self.own || listed.contains(name));
        let is_own_gone = !listed.contains(&self.own) && self.own_uid.take().is_some();
        before != self.networks.len() || is_own_gone
    }

    /// The uid of our Node, while there is one.
    pub fn own_uid(&self) -> Option<&str> {
        self.own_uid.as_deref()
    }

    /// Our Node for the compiler, once it is registered.
    pub fn own_facts(&self) -> Option<&NodeFacts> {
        self.own_facts.as_ref()
    }

    /// What it means for our own network.
    pub fn outlook(&self) -> Outlook {
        let mut others = self.networks.clone();
        let own = others.remove(&self.own).unwrap_or_default();
        Outlook { own, others, is_leaving: self.is_leaving }
    }
}

/// What the Nodes mean for our own network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Our own prefixes and addresses.
    pub own: NodeNetwork,
    /// Those of the other nodes, by name.
    pub others: BTreeMap<String, NodeNetwork>,
    /// Our node is about to go: balancers should send new connections to others.
    pub is_leaving: bool,
}

impl Outlook {
    /// Our addresses in the cluster.
    pub fn own_addresses(&self) -> BTreeSet<IpAddr> {
        self.own.internal.iter().copied().collect()
    }

    /// How our pods are addressed, once the cluster has said so. `mtu` in bytes.
    pub fn configuration(&self, mtu: u32) -> Option<NodeConfiguration> {
        if self.own.pod_cidrs.is_empty() {
            return None;
        }
        let has = |v4: bool| self.own.pod_cidrs.iter().any(|prefix| prefix.addr().is_ipv4() == v4);
        let gateways = GATEWAYS.into_iter().filter(|gateway| has(gateway.is_ipv4())).collect();
        Some(NodeConfiguration { pod_cidrs: self.own.pod_cidrs.clone(), mtu, gateways })
    }
}

/// As kube-proxy sees it (KEP-3836): the Node is being deleted, or the autoscaler is about to take the machine away.
fn is_leaving(node: &Node) -> bool {
    const BY_AUTOSCALER: &str = "ToBeDeletedByClusterAutoscaler";
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_some() || taints.into_iter().any(|taint| taint.key == BY_AUTOSCALER)
}

/// `spec.podCIDRs` (or the older `podCIDR`) and the InternalIPs. At most one prefix per family, as the API says.
fn network(node: &Node) -> NodeNetwork {
    let spec = node.spec.as_ref();
    let listed = spec.and_then(|spec| spec.pod_cidrs.as_deref()).filter(|list| !list.is_empty());
    let single = spec.and_then(|spec| spec.pod_cidr.as_ref()).map(std::slice::from_ref);
    let pod_cidrs = listed.or(single).unwrap_or_default().iter().filter_map(|text| text.parse::<IpNet>().ok());
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal = addresses.filter(|address| address.type_ == "InternalIP").filter_map(|address| address.address.parse().ok());
    NodeNetwork { pod_cidrs: pod_cidrs.collect(), internal: internal.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, cidrs: &[&str]) -> Node {
        let addresses = json!([{ "type": "InternalIP", "address": "192.0.2.1" }, { "type": "Hostname", "address": "a" }]);
        let object = json!({ "metadata": { "name": name, "uid": format!("of-{name}") }, "spec": { "podCIDRs": cidrs }, "status": { "addresses": addresses } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_node_without_pod_addresses_has_no_configuration() {
        let mut nodes = Nodes::new("a");
        assert!(nodes.put(&node("a", &[])));
        assert_eq!(nodes.outlook().configuration(1500), None);
        assert!(nodes.put(&node("a", &["10.244.1.0/24"])));
        let configuration = nodes.outlook().configuration(1500).unwrap();
        assert_eq!(configuration.gateways, ["169.254.1.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn heartbeats_change_nothing_and_our_own_node_is_never_forgotten() {
        let mut nodes = Nodes::new("a");
        nodes.put(&node("a", &["10.244.1.0/24"]));
        nodes.put(&node("b", &["10.244.2.0/24"]));
        assert!(!nodes.put(&node("b", &["10.244.2.0/24"])));
        assert_eq!(nodes.own_uid(), Some("of-a"));
        assert!(nodes.remove("a") && !nodes.remove("a"), "it has no uid any more");
        assert_eq!(nodes.own_uid(), None);
        assert!(nodes.put(&node("a", &["10.244.1.0/24"])), "another one of its name");
        assert!(nodes.retain(&HashSet::from(["b".to_owned()])) && !nodes.retain(&HashSet::from(["b".to_owned()])));
        assert_eq!(nodes.own_uid(), None);
        assert!(nodes.retain(&HashSet::new()));
        assert!(nodes.outlook().configuration(1500).is_some());
        assert_eq!(nodes.outlook().others.len(), 0, "of the others only what is listed");
    }
}
