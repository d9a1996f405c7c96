//! Pods and nodes across three nodes, by direct routes and through the overlay, with real packets.

use crate::harness::nodes::{Cluster, Namespace, Node};
use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, ip, node};
use orknet_agent::overlay::{DEVICE, Overlay, Routing};
use orknet_agent::routes::{NodeNetwork, Router};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

/// A connection carries data both ways; who the server saw.
fn connect(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
    let listener = to.enter(|| TcpListener::bind(SocketAddr::new(address, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    let mut client = from.enter(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap_or_else(|error| panic!("to {target}: {error}"));
    let (mut server, peer) = listener.accept().unwrap();
    let mut buffer = [0; 4];
    client.write_all(b"ping").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut buffer).unwrap();
    server.write_all(b"pong").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
    peer.ip()
}

/// A datagram whose packet has exactly `mtu` bytes arrives. Linux sets "don't fragment" on one that fits.
fn assert_full_size_arrives(from: &Namespace, to: &Namespace, address: IpAddr, mtu: u32) {
    let headers = if address.is_ipv4() { 28 } else { 48 };
    let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let receiver = to.enter(|| UdpSocket::bind(SocketAddr::new(address, 0)).unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = from.enter(|| UdpSocket::bind(unspecified).unwrap());
    let sent = vec![7; mtu as usize - headers];
    sender.send_to(&sent, receiver.local_addr().unwrap()).unwrap();
    let mut received = vec![0; 65_536];
    let count = receiver.recv(&mut received).unwrap_or_else(|error| panic!("{mtu} bytes to {address}: {error}"));
    assert_eq!(received[..count], sent);
}

/// Fragments that the namespace has made.
fn fragments(namespace: &Namespace) -> u64 {
    namespace.enter(|| {
        let v4 = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        let mut lines = v4.lines().filter(|line| line.starts_with("Ip:"));
        let column = lines.next().unwrap().split(' ').position(|name| name == "FragCreates").unwrap();
        let v4: u64 = lines.next().unwrap().split(' ').nth(column).unwrap().parse().unwrap();
        let v6 = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
        let v6 = v6.lines().find_map(|line| line.strip_prefix("Ip6FragCreates")).unwrap().trim().parse::<u64>().unwrap();
        v4 + v6
    })
}

/// Every pod reaches every other pod and node with its own address, and every node every pod; the largest packets in one piece.
fn assert_all_reach_each_other(cluster: &Cluster, mtu: u32) {
    let pairs = cluster.nodes.iter().flat_map(|a| cluster.nodes.iter().map(move |b| (a, b)));
    for (a, b) in pairs.filter(|(a, b)| !std::ptr::eq(*a, *b)) {
        for family in [0, 1] {
            let (from_pod, to_pod) = (a.pod_addresses()[family], b.pod_addresses()[family]);
            assert_eq!(connect(&a.pod, &b.pod, to_pod), from_pod);
            assert_eq!(connect(&a.pod, &b.namespace, b.addresses()[family]), from_pod);
            assert_eq!(connect(&a.namespace, &b.pod, to_pod), a.addresses()[family]);
            assert_full_size_arrives(&a.pod, &b.pod, to_pod, mtu);
            assert_full_size_arrives(&a.pod, &b.namespace, b.addresses()[family], mtu);
        }
    }
    for node in &cluster.nodes {
        assert_eq!((fragments(&node.namespace), fragments(&node.pod)), (0, 0));
    }
}

/// The network between the nodes loses packets with pods' addresses from now on.
fn bar_pods_from_the_wire(node: &Node) {
    let rules = "table netdev wire {
        chain arrivals {
            type filter hook ingress device \"eth0\" priority 0
            ip saddr 10.244.0.0/16 drop
            ip daddr 10.244.0.0/16 drop
            ip6 saddr fd00:10:244::/48 drop
            ip6 daddr fd00:10:244::/48 drop
        }
    }";
    node.namespace.enter(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rules).unwrap();
        let status = std::process::Command::new("nft").arg("-f").arg(file.path()).status().unwrap();
        assert!(status.success());
    });
}

fn settle(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Routes, rules and the device of a node that are the agent's.
fn wires(node: &Node) -> [String; 3] {
    let routes = [node.namespace.ip("-4 route show table all proto 79"), node.namespace.ip("-6 route show table all proto 79")].concat();
    let rules = [node.namespace.ip("-4 rule show"), node.namespace.ip("-6 rule show")].concat();
    let rules = rules.lines().filter(|rule| rule.contains("proto 79")).map(|rule| format!("{rule}\n")).collect();
    [routes, rules, node.namespace.ip("-o link show type vxlan")]
}

/// Routes through the overlay in all tables, rules: as many as two other nodes of two families make.
fn has_overlay(node: &Node) -> bool {
    let [routes, rules, devices] = wires(node);
    routes.matches("encap ip").count() == 8 && rules.lines().count() == 2 && devices.contains(DEVICE)
}

fn has_direct_routes(node: &Node) -> bool {
    let [routes, rules, devices] = wires(node);
    routes.matches(" via ").count() == 4 && !routes.contains("encap") && rules.is_empty() && devices.is_empty()
}

fn vxlan(config: &mut orknet_agent::Config) {
    config.routing = Routing::Vxlan;
}

#[test]
fn root_pods_and_nodes_reach_each_other_by_direct_routes() {
    let mut cluster = Cluster::new(&[0, 1]);
    let mtu = cluster.start(|_| {});
    assert_eq!(mtu, 1500);
    cluster.nodes.iter().for_each(|node| settle("the routes", || has_direct_routes(node)));
    assert_all_reach_each_other(&cluster, mtu);
}

#[test]
fn root_pods_and_nodes_reach_each_other_through_the_overlay_over_ipv4() {
    let mut cluster = Cluster::new(&[0, 1]);
    let mtu = cluster.start(vxlan);
    assert_eq!(mtu, 1450);
    cluster.nodes.iter().for_each(|node| settle("the overlay", || has_overlay(node)));
    cluster.nodes.iter().for_each(bar_pods_from_the_wire);
    assert_all_reach_each_other(&cluster, mtu);
}

#[test]
fn root_pods_and_nodes_reach_each_other_through_the_overlay_over_ipv6() {
    let mut cluster = Cluster::new(&[1, 0]);
    let mtu = cluster.start(|config| {
        vxlan(config);
        config.vxlan_port = 4789;
    });
    assert_eq!(mtu, 1430);
    cluster.nodes.iter().for_each(|node| settle("the overlay", || has_overlay(node)));
    cluster.nodes.iter().for_each(bar_pods_from_the_wire);
    assert!(cluster.nodes[0].namespace.ip(&format!("-d link show {DEVICE}")).contains("dstport 4789"));
    assert_all_reach_each_other(&cluster, mtu);
}

#[test]
fn root_one_kind_of_routing_takes_the_place_of_the_other() {
    let mut cluster = Cluster::new(&[0, 1]);
    for _ in 0..2 {
        let mtu = cluster.start(|_| {});
        cluster.nodes.iter().for_each(|node| settle("direct routes", || has_direct_routes(node)));
        assert_all_reach_each_other(&cluster, mtu);
        let mtu = cluster.start(vxlan);
        cluster.nodes.iter().for_each(|node| settle("the overlay", || has_overlay(node)));
        assert_all_reach_each_other(&cluster, mtu);
    }
}

#[test]
fn root_the_overlay_is_mended_and_outlives_its_agent() {
    let mut cluster = Cluster::new(&[0, 1]);
    let mtu = cluster.start(vxlan);
    cluster.nodes.iter().for_each(|node| settle("the overlay", || has_overlay(node)));
    let first = &cluster.nodes[0];
    let before = wires(first);
    let damages = [
        format!("link del {DEVICE}"),
        format!("link set {DEVICE} mtu 1400"),
        format!("link set {DEVICE} address 02:00:00:00:00:01"),
        format!("link set {DEVICE} down"),
        format!("neigh del 10.244.2.0 dev {DEVICE}"),
        "rule del proto 79".to_owned(),
        "route flush table 7979".to_owned(),
    ];
    let whole = |node: &Node| {
        let index = |text: &str| text.split(':').nth(1).map(str::to_owned);
        let [routes, rules, device] = wires(node);
        let neighbours = node.namespace.ip("neigh show nud permanent");
        let neighbours = neighbours.lines().filter(|line| line.contains(DEVICE)).count();
        let is_whole = device.contains("mtu 1450") && device.contains("UP") && neighbours == 4;
        is_whole && routes == before[0] && rules == before[1] && index(&device) == index(&before[2])
    };
    for damage in damages {
        first.namespace.ip(&damage);
        settle(&damage, || whole(first));
    }
    cluster.nodes.iter_mut().for_each(Node::stop_agent);
    assert!(whole(&cluster.nodes[0]), "stopping must not touch the overlay");
    assert_all_reach_each_other(&cluster, mtu);
}

#[test]
fn root_cleaning_up_removes_the_overlay() {
    in_namespace(|| async {
        ip("link add uplink type veth peer name other");
        ip("address add 192.0.2.1/24 dev uplink");
        ip("link set other up");
        ip("link set uplink up");
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(node("there", &["10.244.2.0/24"], &["192.0.2.2"]));
        let agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, vxlan);
        eventually("the overlay", || ip("route show").contains("encap").then_some(())).await;
        let mut config = agent.config.clone();
        let folder = agent.stop().await;
        config.dataplane.pin_dir = folder.path().join("pins");
        for _ in 0..2 {
            orknet_agent::cleanup(&config).await.unwrap();
            let left = [ip("route show table all proto 79"), ip("rule show"), ip("-o link show type vxlan")].concat();
            assert!(!left.contains("79") && !left.contains(DEVICE), "{left}");
        }
    });
}

#[test]
fn root_a_device_of_another_kind_is_not_taken_for_the_overlay() {
    in_namespace(|| async {
        ip(&format!("link add {DEVICE} type veth peer name other"));
        let own = NodeNetwork { pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()], internal: vec!["192.0.2.1".parse().unwrap()] };
        let overlay = Overlay::of(&own, &BTreeMap::new()).unwrap();
        let router = Router::connect().unwrap();
        let error = router.reconcile_overlay(&overlay, 8472, 1450).await.unwrap_err();
        assert!(error.to_string().contains("another kind"), "{error}");
        assert!(router.remove_overlay().await.is_err());
        assert!(ip(&format!("link show {DEVICE}")).contains(DEVICE));
    });
}
