//! Answers to packets whose checksum is still left to a device: real sockets, a real veth pair, a Service without endpoints.
//!
//! ```text
//! client 192.0.2.254 ═ wire0 ═ eth0 ─[from_network]─ node
//! ```

mod harness;

use harness::{Namespace, Node, sysctl};
use orknet_abi::{self as abi, Service, ServiceKey, protocol, scope};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Dataplane;
use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Node and client, and two addresses of Services: with all hops, and with one that is not enough.
const FAMILIES: [[&str; 4]; 2] =
    [["192.0.2.1", "192.0.2.254", "203.0.113.5", "203.0.113.6"], ["2001:db8::1", "2001:db8::fe", "2001:db8:113::5", "2001:db8:113::6"]];
const ELSEWHERE: [&str; 2] = ["10.244.1.9", "fd00:10:244:1::9"];
const PORT: u16 = 80;

/// Network and node, joined by a veth pair; as a wire, if wanted: what leaves the node is summed up by its device.
fn answers_of(name: &str, is_wire: bool) -> Vec<io::ErrorKind> {
    let node = Node::new(name);
    let wire = Namespace::new(&format!("{name}-wire"));
    node.namespace.command("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "wire0", "netns", &wire.name]);
    if is_wire {
        node.namespace.command("ethtool", &["-K", "eth0", "tx", "off"]);
    }
    for (namespace, device, end) in [(&node.namespace, "eth0", 0), (&wire, "wire0", 1)] {
        namespace.command("ip", &["link", "set", device, "up"]);
        namespace.command("ip", &["address", "add", &format!("{}/24", FAMILIES[0][end]), "dev", device]);
        namespace.command("ip", &["address", "add", &format!("{}/64", FAMILIES[1][end]), "dev", device, "nodad"]);
    }
    for [address, _, with_hops, without] in FAMILIES {
        wire.command("ip", &["route", "add", with_hops, "via", address]);
        wire.command("ip", &["route", "add", without, "via", address, "hoplimit", "1"]);
    }
    for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        sysctl(&node.namespace, &format!("net/{family}"), "1");
    }
    let dataplane = Dataplane::open(&node.config).unwrap();
    let address = |text: &str| abi::Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let [v4, v6] = FAMILIES.map(|[node, ..]| address(node));
    let mut plan = Plan {
        steps: vec![Step::PutNode(abi::Node { v4, v6, first_port: 61_000, last_port: 65_000, table_size: 251, ..abi::Node::default() })],
    };
    for (list, ([.., with_hops, without], elsewhere)) in (1..).zip(FAMILIES.into_iter().zip(ELSEWHERE)) {
        let key = |text| ServiceKey { address: address(text), port_be: PORT.to_be(), protocol: protocol::TCP, scope: scope::OUTSIDE };
        let backend = abi::Backend { address: address(elsewhere), port_be: PORT.to_be(), reserved: 0 };
        plan.steps.extend([
            Step::PutService(key(with_hops), Service::default()),
            Step::PutBackend(abi::BackendKey { list, slot: 0 }, backend),
            Step::PutService(key(without), Service { list, count: 1, ..Service::default() }),
        ]);
    }
    assert!(dataplane.apply(&plan).failures.is_empty());
    let attached = node.run(|| {
        let eth0 = nix::net::if_::if_nametoindex("eth0").unwrap();
        // The way to the backend: nobody will send anything there.
        for (elsewhere, [_, client, ..]) in ELSEWHERE.iter().zip(FAMILIES) {
            harness::command("ip", &["route", "add", elsewhere, "via", client]);
        }
        dataplane.keep_network_devices(&BTreeSet::from([eth0]))
    });
    assert!(attached.is_empty(), "{attached:?}");
    let connect = |text: &str| {
        let to = SocketAddr::new(text.parse().unwrap(), PORT);
        TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap_err().kind()
    };
    wire.run(|| FAMILIES.iter().flat_map(|[.., with_hops, without]| [connect(with_hops), connect(without)]).collect())
}

#[test]
fn root_answers_over_a_veth_pair_reach_who_leaves_sums_to_its_device() {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable};
    assert_eq!(answers_of("open-veth", false), [ConnectionRefused, HostUnreachable].repeat(2));
}

#[test]
fn root_answers_to_a_segment_with_an_open_sum_are_whole_once_a_device_has_summed_them_up() {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable};
    assert_eq!(answers_of("open-wire", true), [ConnectionRefused, HostUnreachable].repeat(2));
}
