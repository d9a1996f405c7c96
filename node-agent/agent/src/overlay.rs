//! The VXLAN overlay (RFC 7348), where the network between the nodes does not carry pods' addresses: what of it should be on this node
//! is a pure function of the Nodes. How it gets into the kernel is [`crate::vxlan`]'s and [`crate::routes`]'s.
//!
//! ```text
//!  pod 10.244.1.2 ─▶ main table: 10.244.2.0/24 encap id 1 dst NODE2 via 10.244.2.0 dev orknet.vxlan ─▶ UDP to NODE2, port 8472
//!  pod 10.244.1.2 ─▶ table 7979: NODE2/32      the same                                            (rule: from 10.244.1.0/24)
//!  node           ─▶ main table: 10.244.2.0/24 the same, from the node's own address
//! ```
//!
//! One device serves all peers: the route says where a packet goes (a lightweight tunnel), and neighbours that are never asked for say
//! which MAC address it carries inside. The next hop of a prefix is its first address, which no pod ever has. Pods reach *nodes* through
//! the overlay too, else answers to a node's address would leave with a pod's; the node's own packets to nodes never do, for those are
//! the overlay's own. A lookup by a BPF program (`bpf_fib_lookup`) answers "unsupported" for such routes: the stack takes them.

use crate::routes::{NodeNetwork, Routes, Target, Tunnel};
use ipnet::IpNet;
use orknet_abi::{Address, overlay_mac};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Name of the overlay's device, on every node.
pub const DEVICE: &str = "orknet.vxlan";

/// Bytes that VXLAN adds to a packet over IPv4: Ethernet 14, VXLAN 8, UDP 8, IPv4 20.
const OVERHEAD_V4: u32 = 50;
/// The same over IPv6, whose header has 40.
const OVERHEAD_V6: u32 = 70;

/// How packets get to the pods of other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// As they are, by the other node's address: the network between the nodes carries pods' addresses.
    #[default]
    Direct,
    /// Inside of UDP packets between the nodes.
    Vxlan,
}

/// What the overlay is on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Our own end.
    pub end: IpAddr,
    /// The MAC address of our device.
    pub mac: [u8; 6],
    /// To the pods of all nodes: routes of the main table.
    pub routes: Routes,
    /// To the other nodes themselves, for packets of our pods.
    pub to_nodes: Routes,
    /// Our pods.
    pub pods: BTreeSet<IpNet>,
    /// The next hops of the routes, and whose device they stand for.
    pub neighbours: BTreeMap<IpAddr, [u8; 6]>,
    /// A line for each node that cannot take part.
    pub left_out: Vec<String>,
}

impl Overlay {
    /// The overlay that a node should have. None before the node has an address.
    pub fn of(own: &NodeNetwork, others: &BTreeMap<String, NodeNetwork>) -> Option<Self> {
        let end = *own.internal.first()?;
        let mut overlay = Self {
            end,
            mac: mac(end),
            routes: own.pod_cidrs.iter().map(|prefix| (prefix.trunc(), Target::Unreachable)).collect(),
            to_nodes: Routes::new(),
            pods: own.pod_cidrs.iter().map(IpNet::trunc).collect(),
            neighbours: BTreeMap::new(),
            left_out: Vec::new(),
        };
        for (name, other) in others {
            match other.internal.first() {
                Some(node) if node.is_ipv4() == end.is_ipv4() => overlay.add(own, other, *node),
                Some(node) => overlay.left_out.push(format!("{name} has {node} first, which is not of the family of our {end}")),
                // Registered a moment ago.
                None => {}
            }
        }
        Some(overlay)
    }

    /// Largest packet of a pod, in bytes, where the network between the nodes carries packets of `uplink` bytes.
    pub fn mtu(&self, uplink: u32) -> u32 {
        uplink.saturating_sub(if self.end.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 })
    }

    fn add(&mut self, own: &NodeNetwork, other: &NodeNetwork, node: IpAddr) {
        for prefix in other.pod_cidrs.iter().map(IpNet::trunc) {
            let gateway = prefix.addr();
            let is_same = |address: &&IpAddr| address.is_ipv4() == gateway.is_ipv4();
            let tunnel = Tunnel { node, own: self.end, gateway, source: own.internal.iter().find(is_same).copied() };
            self.routes.entry(prefix).or_insert(Target::Tunnel(tunnel));
            self.neighbours.insert(gateway, mac(node));
            for address in other.internal.iter().filter(is_same) {
                self.to_nodes.entry(IpNet::from(*address)).or_insert(Target::Tunnel(Tunnel { source: None, ..tunnel }));
            }
        }
    }
}

fn mac(node: IpAddr) -> [u8; 6] {
    overlay_mac(&Address::from(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(routes: &Routes) -> Vec<String> {
        let line = |(prefix, target): (&IpNet, &Target)| match target {
            Target::Tunnel(Tunnel { node, own, gateway, source }) => format!("{prefix} {own}>{node} via {gateway} src {source:?}"),
            other => format!("{prefix} {other:?}"),
        };
        routes.iter().map(line).collect()
    }

    #[test]
    fn pods_and_nodes_of_both_families_are_reached_by_the_first_address() {
        let own = NodeNetwork::of(&["10.244.1.0/24", "fd00:1::/64"], &["192.0.2.1", "2001:db8::1"]);
        let others = BTreeMap::from([
            ("b".to_owned(), NodeNetwork::of(&["10.244.2.0/24", "fd00:2::/64"], &["192.0.2.2", "2001:db8::2", "198.51.100.2"])),
            ("c".to_owned(), NodeNetwork::of(&["10.244.3.0/24"], &["2001:db8::3", "192.0.2.3"])),
            ("new".to_owned(), NodeNetwork::of(&["10.244.4.0/24"], &[])),
        ]);
        let overlay = Overlay::of(&own, &others).unwrap();
        let expected = [
            "10.244.1.0/24 Unreachable",
            "10.244.2.0/24 192.0.2.1>192.0.2.2 via 10.244.2.0 src Some(192.0.2.1)",
            "fd00:1::/64 Unreachable",
            "fd00:2::/64 192.0.2.1>192.0.2.2 via fd00:2:: src Some(2001:db8::1)",
        ];
        assert_eq!(lines(&overlay.routes), expected);
        let expected = [
            "192.0.2.2/32 192.0.2.1>192.0.2.2 via 10.244.2.0 src None",
            "198.51.100.2/32 192.0.2.1>192.0.2.2 via 10.244.2.0 src None",
            "2001:db8::2/128 192.0.2.1>192.0.2.2 via fd00:2:: src None",
        ];
        assert_eq!(lines(&overlay.to_nodes), expected);
        let gateways: Vec<_> = overlay.neighbours.iter().map(|(gateway, mac)| (gateway.to_string(), *mac)).collect();
        let of_b = mac("192.0.2.2".parse().unwrap());
        assert_eq!(gateways, [("10.244.2.0".to_owned(), of_b), ("fd00:2::".to_owned(), of_b)]);
        assert!(overlay.left_out.len() == 1 && overlay.left_out[0].starts_with("c "), "{:?}", overlay.left_out);
        assert_ne!(overlay.mac, of_b);
    }

    #[test]
    fn the_headers_of_the_underlay_are_taken_off_the_mtu() {
        let of = |address| Overlay::of(&NodeNetwork::of(&[], &[address]), &BTreeMap::new()).unwrap().mtu(1500);
        assert_eq!((of("192.0.2.1"), of("2001:db8::1")), (1450, 1430));
        assert_eq!(Overlay::of(&NodeNetwork::of(&["10.244.1.0/24"], &[]), &BTreeMap::new()), None, "not registered");
    }
}
