//! Namespace tests of what the node itself sends to Services past its sockets: real connections and datagrams of processes that no socket
//! hook sees, through the pair of devices and the rules that the agent makes.
//!
//! ```text
//!              ┌─ orknet0 ═ orknet1 ─[from_node]
//! node ─ rules ┤
//!              ├─ veth2 ─[from_pod]═ (eth0) pod 10.244.0.2, fd00:10:244::2
//!              └─ eth0 ─[from_network]═ wire0  node 2 with the pod 10.244.1.9, fd00:10:244:1::9
//! ```

mod harness;

use harness::{Namespace, Node, ServiceSpec, TestPod, put_pods, put_service, sysctl};
use orknet_abi::{self as abi, DropReason, protocol, scope, service_flags};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Dataplane, DeviceAttach};
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(5);
/// Ports that source NAT may use.
const PORTS: std::ops::RangeInclusive<u16> = 61_000..=65_000;

/// Node, node 2, pod here, pod there, cluster address, external address.
const FAMILIES: [[&str; 6]; 2] = [
    ["192.0.2.1", "192.0.2.2", "10.244.0.2", "10.244.1.9", "10.96.0.10", "203.0.113.5"],
    ["2001:db8::1", "2001:db8::2", "fd00:10:244::2", "fd00:10:244:1::9", "fd00:10:96::10", "2001:db8:113::5"],
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

struct Scene {
    // Before the node, whose drop removes the pins in the namespace that both are joined to.
    pod: TestPod,
    node_2: Namespace,
    dataplane: Dataplane,
    node: Node,
}

impl Scene {
    fn new(name: &str, how: DeviceAttach) -> Self {
        let mut node = Node::new(name);
        node.config.device_attach = how;
        let node_2 = Namespace::new(&format!("{name}-2"));
        let pod = TestPod::new(&node, 2);
        for line in [
            &format!("link add eth0 type veth peer name wire0 netns {}", node_2.name),
            "link set eth0 up",
            "address add 192.0.2.1/24 dev eth0",
            "address add 2001:db8::1/64 dev eth0 nodad",
            "route add 10.244.1.0/24 via 192.0.2.2",
            "route add fd00:10:244:1::/64 via 2001:db8::2",
            "link add orknet0 type veth peer name orknet1",
            "link set orknet0 arp off up",
            "link set orknet1 arp off up",
            "route add 10.96.0.0/16 dev orknet0 src 192.0.2.1 table 7980",
            "route add fd00:10:96::/112 dev orknet0 src 2001:db8::1 table 7980",
            "route add 203.0.113.5 dev orknet0 src 192.0.2.1 table 7981",
            "route add 2001:db8:113::5 dev orknet0 src 2001:db8::1 table 7981",
            "rule add iif lo pref 7980 lookup 7980",
            "rule add iif lo fwmark 0x6e6b726f pref 7982 lookup 7981",
            "rule add iif lo pref 32790 lookup 7981",
            "-6 rule add iif lo pref 7980 lookup 7980",
            "-6 rule add iif lo pref 32790 lookup 7981",
        ] {
            node.namespace.command("ip", &line.split(' ').collect::<Vec<_>>());
        }
        for line in [
            "link set lo up",
            "link set wire0 up",
            "address add 192.0.2.2/24 dev wire0",
            "address add 2001:db8::2/64 dev wire0 nodad",
            "address add 10.244.1.9/32 dev lo",
            "address add fd00:10:244:1::9/128 dev lo nodad",
        ] {
            node_2.command("ip", &line.split(' ').collect::<Vec<_>>());
        }
        // The check of sources as the agent sets it up.
        for (name, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/rp_filter", "2"),
            ("ipv4/conf/orknet0/src_valid_mark", "1"),
        ] {
            sysctl(&node.namespace, &format!("net/{name}"), value);
        }
        let dataplane = Dataplane::open(&node.config).unwrap();
        let [v4, v6] = FAMILIES.map(|[node, ..]| ip(node).into());
        let own = abi::Node { v4, v6, first_port: *PORTS.start(), last_port: *PORTS.end(), table_size: 251, ..abi::Node::default() };
        let scene = Self { pod, node_2, dataplane, node };
        scene.apply(&Plan { steps: vec![Step::PutNode(own)] });
        let [here_v4, here_v6] = [scene.pod.v4.as_str(), scene.pod.v6.as_str()];
        scene.apply(&put_pods(&[(here_v4, scene.pod.value), (here_v6, scene.pod.value)]));
        scene.node.namespace.run(|| {
            let index = |name| nix::net::if_::if_nametoindex(name).unwrap();
            scene.dataplane.attach_pod(scene.pod.ifindex).unwrap();
            assert!(scene.dataplane.keep_network_devices(&BTreeSet::from([index("eth0")])).is_empty());
            scene.dataplane.keep_node_device(Some(index("orknet1"))).unwrap();
        });
        scene
    }

    #[track_caller]
    fn apply(&self, plan: &Plan) {
        let applied = self.dataplane.apply(plan);
        assert!(applied.failures.is_empty(), "{:?}", applied.failures);
    }

    /// A Service of TCP and UDP at the same port with one backend.
    fn serve(&self, list: u32, front: SocketAddr, backend: Option<SocketAddr>) {
        for (list, protocol) in [(list, protocol::TCP), (list + 1, protocol::UDP)] {
            let backends: Vec<_> = backend.into_iter().collect();
            self.apply(&put_service(&ServiceSpec::new(&front.to_string(), protocol, list, &backends)));
        }
    }

    fn drops(&self) -> Vec<DropReason> {
        let drops = self.dataplane.reader().drops().unwrap();
        drops.into_iter().filter(|(_, count)| count.packets > 0).map(|(reason, _)| reason).collect()
    }
}

/// A server of both protocols at one port of an address in a namespace, that answers with the client's address, until the test process ends.
fn answer(namespace: &Namespace, address: &str, port: u16) -> SocketAddr {
    let at = SocketAddr::new(ip(address), port);
    namespace.run(|| {
        let (listener, datagrams) = (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let seen = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
                // A client that has gone is none of the server's troubles.
                let _ = stream.write_all(seen.as_bytes());
            }
        });
        thread::spawn(move || {
            let mut question = [0; 16];
            while let Ok((_, client)) = datagrams.recv_from(&mut question) {
                let _ = datagrams.send_to(client.to_string().as_bytes(), client);
            }
        });
    });
    at
}

/// What the backends of both protocols see of a process of the node that asks this front, which it believes to hear.
fn ask(scene: &Scene, front: SocketAddr) -> [SocketAddr; 2] {
    scene.node.namespace.run(|| {
        let mut stream = TcpStream::connect_timeout(&front, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut by_stream = String::new();
        stream.read_to_string(&mut by_stream).unwrap();
        let socket = UdpSocket::bind(if front.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(front).unwrap();
        // More than once: the second packet finds the flow.
        let by_datagram: Vec<_> = (0..3)
            .map(|_| {
                socket.send(b"who am I?").unwrap();
                let mut heard = [0; 80];
                let length = socket.recv(&mut heard).unwrap();
                String::from_utf8(heard[..length].to_vec()).unwrap()
            })
            .collect();
        assert!(by_datagram.iter().all(|seen| *seen == by_datagram[0]), "{by_datagram:?}");
        [by_stream, by_datagram[0].clone()].map(|seen| seen.parse().unwrap())
    })
}

fn the_node_reaches_services(name: &str, how: DeviceAttach) {
    let scene = Scene::new(name, how);
    for (number, [node, _, here, there, cluster, external]) in (1..).zip(FAMILIES) {
        let backends =
            [answer(&scene.pod.namespace, here, 8080), answer(&scene.node_2, there, 8080), answer(&scene.node.namespace, node, 6443)];
        for (index, backend) in (0..).zip(backends) {
            for (front, list) in [(cluster, 100), (external, 200)] {
                let front = SocketAddr::new(ip(front), 80 + index);
                scene.serve(list * number + 2 * u32::from(index), front, Some(backend));
                for seen in ask(&scene, front) {
                    if backend.ip() == ip(node) {
                        assert_eq!(seen.ip(), front.ip(), "a backend on the node itself sees the Service");
                    } else {
                        assert_eq!(seen.ip(), ip(node), "{front} {backend}");
                        assert!(PORTS.contains(&seen.port()), "a port that no process of the node has: {seen}");
                    }
                }
            }
        }
    }
    assert_eq!(scene.drops(), []);
}

#[test]
fn root_the_node_reaches_backends_here_elsewhere_and_on_itself_past_its_sockets() {
    the_node_reaches_services("own", DeviceAttach::Auto);
}

#[test]
fn root_clsact_leads_the_nodes_own_packets_as_tcx_does() {
    the_node_reaches_services("own-clsact", DeviceAttach::Clsact);
}

#[test]
fn root_the_node_is_refused_at_once_where_nobody_serves() {
    let scene = Scene::new("own-none", DeviceAttach::Auto);
    for (number, [node, _, here, _, cluster, external]) in (1..).zip(FAMILIES) {
        for (front, list) in [(cluster, 100), (external, 200)] {
            let front = SocketAddr::new(ip(front), 80);
            scene.serve(list * number, front, None);
            let refused = |front: SocketAddr| {
                scene.node.namespace.run(|| {
                    assert_eq!(TcpStream::connect_timeout(&front, PATIENCE).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{front}");
                    let socket = UdpSocket::bind(SocketAddr::new(ip(node), 0)).unwrap();
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    socket.connect(front).unwrap();
                    socket.send(b"anybody?").unwrap();
                    assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{front}");
                });
            };
            refused(front);
            // A backend that does not listen says so itself.
            let silent = SocketAddr::new(front.ip(), 81);
            scene.serve(list * number + 2, silent, Some(SocketAddr::new(ip(here), 9)));
            refused(silent);
            // With endpoints elsewhere alone a local policy drops.
            let local = ServiceSpec {
                flags: service_flags::LOCAL_ONLY,
                ..ServiceSpec::new(&SocketAddr::new(front.ip(), 82).to_string(), protocol::UDP, list * number + 4, &[])
            };
            scene.apply(&put_service(&local));
            assert_eq!(local.key().scope, scope::INSIDE);
            scene.node.namespace.run(|| {
                let socket = UdpSocket::bind(SocketAddr::new(ip(node), 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                socket.connect(local.front).unwrap();
                socket.send(b"anybody?").unwrap();
                assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            });
        }
    }
    assert_eq!(scene.drops(), [DropReason::NoEndpoints, DropReason::NoLocalEndpoints]);
}
