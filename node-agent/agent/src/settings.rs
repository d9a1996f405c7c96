//! What programs must know of this node and of ranges of addresses: pure functions of the Nodes and of the configuration.

use crate::config::{Config, Policy, PortRange};
use crate::nodes::Outlook;
use crate::overlay::Routing;
use crate::routes::NodeNetwork;
use ipnet::IpNet;
use orknet_abi::{Address, Node, Range, RangeKey, node_flags, range_kinds};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The first port that needs no privilege.
const FIRST_PORT: u16 = 1_024;
/// Where Linux connects from unless told otherwise.
pub const DEFAULT_LOCAL_PORTS: PortRange = PortRange { first: 32_768, last: 60_999 };

/// The node's own entry, without the number of its network namespace. `overlay` is the index of the device to other nodes' pods, 0 without.
pub fn node(own: &NodeNetwork, config: &Config, ports: PortRange, overlay: u32) -> Node {
    let address = |is_v4: bool| own.internal.iter().find(|address| address.is_ipv4() == is_v4);
    let stands_for = |is_v4| address(is_v4).map_or(Address::default(), |address| Address::from(*address));
    let flag = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
    Node {
        v4: stands_for(true),
        v6: stands_for(false),
        first_port: ports.first,
        last_port: ports.last,
        flags: flag(config.masquerade, node_flags::MASQUERADE)
            | flag(config.direct_return, node_flags::DIRECT_RETURN)
            | flag(!config.dataplane.redirect, node_flags::NO_REDIRECT)
            | flag(config.policy == Policy::Lenient, node_flags::LENIENT),
        table_size: config.maglev_table_size,
        overlay,
        overlay_port: if config.routing == Routing::Vxlan { config.vxlan_port } else { 0 },
        ..Node::default()
    }
}

/// What is wrong with the ports that source NAT uses, if anything: a port that both it and a connection of the node's own take towards
/// the same peer belongs to neither.
pub fn port_conflict(ports: PortRange, local: PortRange, node_ports: PortRange) -> Option<String> {
    let with = |name: &str, other: PortRange| ports.overlaps(other).then(|| format!("{ports} overlaps {name} {other}"));
    with("net.ipv4.ip_local_port_range", local).or_else(|| with("the node ports", node_ports))
}

/// The widest range, from 1024 on, without any of these; the lowest of equals. `None` if there is no port left.
pub fn free_ports(taken: [PortRange; 2]) -> Option<PortRange> {
    let mut taken = taken;
    taken.sort();
    let mut gaps = Vec::new();
    let mut first = u32::from(FIRST_PORT);
    for range in taken {
        gaps.push((first, u32::from(range.first)));
        first = first.max(u32::from(range.last) + 1);
    }
    gaps.push((first, u32::from(u16::MAX) + 1));
    // Of equals the last one that `max_by_key` sees wins.
    let (first, end) = gaps.into_iter().rev().filter(|(first, end)| first < end).max_by_key(|(first, end)| end - first)?;
    Some(PortRange { first: u16::try_from(first).ok()?, last: u16::try_from(end - 1).ok()? })
}

/// Every range that means something. The longest prefix says all that is known of an address, so a range inside of another is also
/// what that one is.
pub fn ranges(nodes: &Outlook, config: &Config) -> BTreeMap<RangeKey, Range> {
    let mut known: BTreeMap<IpNet, Range> = BTreeMap::new();
    let mut note = |prefix: IpNet, kind: u32, node: Option<Address>| {
        let range = known.entry(prefix.trunc()).or_default();
        range.kinds |= kind;
        range.node = node.unwrap_or(range.node);
    };
    config.service_cidrs.iter().for_each(|prefix| note(*prefix, range_kinds::SERVICES, None));
    config.no_masquerade_cidrs.iter().for_each(|prefix| note(*prefix, range_kinds::DIRECT, None));
    for address in nodes.own.internal.iter().chain(nodes.others.values().flat_map(|network| &network.internal)) {
        note(IpNet::from(*address), range_kinds::DIRECT, None);
    }
    for network in nodes.others.values() {
        for prefix in &network.pod_cidrs {
            if let Some(place) = reached_at(network, prefix.addr(), config.routing) {
                note(*prefix, range_kinds::PODS, Some(place));
            }
        }
    }
    nodes.own.pod_cidrs.iter().for_each(|prefix| note(*prefix, range_kinds::PODS, Some(Address::default())));
    let lengths: BTreeSet<u8> = known.keys().map(IpNet::prefix_len).collect();
    let whole = known.keys().map(|prefix| (RangeKey::new(prefix.addr(), prefix.prefix_len()), inherited(prefix, &known, &lengths)));
    whole.collect()
}

/// Where the pods of another node are reached: at its address of their family, or else at the one it has; through an overlay always at
/// its first, which is the overlay's end.
fn reached_at(network: &NodeNetwork, pods: IpAddr, routing: Routing) -> Option<Address> {
    let is_like_pods = |address: &&IpAddr| address.is_ipv4() == pods.is_ipv4();
    let same = network.internal.iter().find(is_like_pods).filter(|_| routing == Routing::Direct);
    same.or(network.internal.first()).map(|address| Address::from(*address))
}

/// A range with all that the ranges around it say.
fn inherited(prefix: &IpNet, known: &BTreeMap<IpNet, Range>, lengths: &BTreeSet<u8>) -> Range {
    let around = lengths.range(..=prefix.prefix_len()).filter_map(|length| {
        let outer = IpNet::new(prefix.addr(), *length).ok()?;
        known.get(&outer.trunc())
    });
    // From the widest to the narrowest, which knows best which node has the pods.
    around.fold(Range::default(), |sum, range| Range {
        kinds: sum.kinds | range.kinds,
        node: if range.kinds & range_kinds::PODS == 0 { sum.node } else { range.node },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_compiler::rows::range_text;
    use range_kinds::{DIRECT, PODS, SERVICES};

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    fn shown(ranges: &BTreeMap<RangeKey, Range>) -> Vec<(String, u32, String)> {
        ranges.iter().map(|(key, range)| (range_text(key), range.kinds, IpAddr::from(range.node).to_string())).collect()
    }

    #[test]
    fn every_range_is_known_with_the_node_that_has_its_pods() {
        let nodes = Outlook {
            own: NodeNetwork::of(&["10.244.1.0/24", "fd00:1::/64"], &["192.0.2.1", "2001:db8::1"]),
            others: BTreeMap::from([
                ("there".to_owned(), NodeNetwork::of(&["10.244.2.0/24", "fd00:2::/64"], &["192.0.2.2"])),
                ("new".to_owned(), NodeNetwork::of(&["10.244.3.0/24"], &[])),
            ]),
            is_leaving: false,
        };
        let config = Config { service_cidrs: vec!["10.96.0.0/16".parse().unwrap()], ..Config::default() };
        let row = |text: &str, kinds: u32, node: &str| (text.to_owned(), kinds, node.to_owned());
        let mut expected = [
            row("10.96.0.0/16", SERVICES, "::"),
            row("10.244.1.0/24", PODS, "::"),
            row("10.244.2.0/24", PODS, "192.0.2.2"),
            row("192.0.2.1/32", DIRECT, "::"),
            row("192.0.2.2/32", DIRECT, "::"),
            row("2001:db8::1/128", DIRECT, "::"),
            row("fd00:1::/64", PODS, "::"),
            row("fd00:2::/64", PODS, "192.0.2.2"),
        ];
        let mut found = shown(&ranges(&nodes, &config));
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn through_an_overlay_pods_of_both_families_are_at_its_end() {
        let there = NodeNetwork::of(&["10.244.2.0/24", "fd00:2::/64"], &["192.0.2.2", "2001:db8::2"]);
        let nodes = Outlook { others: BTreeMap::from([("there".to_owned(), there)]), ..Outlook::default() };
        let place = |routing, prefix: &str| {
            let prefix: IpNet = prefix.parse().unwrap();
            let ranges = ranges(&nodes, &Config { routing, ..Config::default() });
            IpAddr::from(ranges[&RangeKey::new(prefix.addr(), prefix.prefix_len())].node).to_string()
        };
        assert_eq!(place(Routing::Vxlan, "fd00:2::/64"), "192.0.2.2");
        assert_eq!(
            (place(Routing::Direct, "fd00:2::/64"), place(Routing::Direct, "10.244.2.0/24")),
            ("2001:db8::2".into(), "192.0.2.2".into())
        );
    }

    #[test]
    fn a_range_inside_of_another_is_what_that_is_too() {
        let there = NodeNetwork::of(&["10.244.2.0/24"], &["192.0.2.2", "10.244.2.7"]);
        let nodes = Outlook { others: BTreeMap::from([("there".to_owned(), there)]), ..Outlook::default() };
        let parse = |text: &str| text.parse::<IpNet>().unwrap();
        let config = Config { no_masquerade_cidrs: vec![parse("10.0.0.0/8"), parse("10.244.2.128/25")], ..Config::default() };
        let ranges = ranges(&nodes, &config);
        let of = |text: &str| {
            let prefix = parse(text);
            let range = ranges[&RangeKey::new(prefix.addr(), prefix.prefix_len())];
            (range.kinds, IpAddr::from(range.node).to_string())
        };
        assert_eq!(of("10.0.0.0/8"), (DIRECT, "::".to_owned()));
        for inner in ["10.244.2.0/24", "10.244.2.128/25", "10.244.2.7/32"] {
            assert_eq!(of(inner), (DIRECT | PODS, "192.0.2.2".to_owned()), "{inner}");
        }
    }

    #[test]
    fn the_node_stands_for_others_with_an_address_of_each_family_that_it_has() {
        let dataplane = orknet_dataplane::Config { redirect: false, ..orknet_dataplane::Config::default() };
        let overlay = Config { routing: Routing::Vxlan, vxlan_port: 4_789, ..Config::default() };
        let config = Config { direct_return: true, masquerade: false, policy: Policy::Lenient, dataplane, ..overlay };
        let value = node(&NodeNetwork::of(&[], &["2001:db8::1", "192.0.2.1", "192.0.2.9"]), &config, range(1_024, 29_999), 7);
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let expected = Node {
            v4: address("192.0.2.1"),
            v6: address("2001:db8::1"),
            first_port: 1_024,
            last_port: 29_999,
            flags: node_flags::DIRECT_RETURN | node_flags::NO_REDIRECT | node_flags::LENIENT,
            table_size: 16_381,
            overlay: 7,
            overlay_port: 4_789,
            ..Node::default()
        };
        assert_eq!(value, expected);
        let v4_only = node(&NodeNetwork::of(&[], &["192.0.2.1"]), &Config::default(), range(1_024, 29_999), 0);
        assert_eq!((v4_only.v6, v4_only.flags, v4_only.overlay_port), (Address::default(), node_flags::MASQUERADE, 0));
    }

    #[test]
    fn ports_are_outside_of_those_that_others_take() {
        let node_ports = range(30_000, 32_767);
        assert_eq!(free_ports([DEFAULT_LOCAL_PORTS, node_ports]), Some(range(1_024, 29_999)));
        assert_eq!(free_ports([range(1_024, 29_999), node_ports]), Some(range(32_768, 65_535)));
        assert_eq!(free_ports([range(15_000, 65_535), node_ports]), Some(range(1_024, 14_999)));
        assert_eq!(free_ports([range(1, 65_535), node_ports]), None);
        assert_eq!(free_ports([range(65_535, 65_535), range(1, 1)]), Some(range(1_024, 65_534)));
        assert_eq!(port_conflict(range(1_024, 29_999), DEFAULT_LOCAL_PORTS, node_ports), None);
        assert!(port_conflict(range(1_024, 30_000), DEFAULT_LOCAL_PORTS, node_ports).unwrap().contains("node ports 30000-32767"));
        assert!(port_conflict(range(60_000, 61_000), DEFAULT_LOCAL_PORTS, node_ports).unwrap().contains("32768-60999"));
    }
}
