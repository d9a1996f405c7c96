//! Namespace tests of the socket hooks: real sockets in a cgroup and a network namespace, real maps.
//!
//! ```text
//! client ── connect 10.96.0.1:80 ──> (hook) ──> 127.0.0.11:p, 127.0.0.12:p, 127.0.0.13:p      all on lo of one namespace
//!        ── connect [fd00:96::1]:80 ─> (hook) ──> [fd00::11]:p, …
//! ```

mod harness;
mod servers;

use harness::{Namespace, Node, ServiceSpec, put_range, put_service};
use orknet_abi::{
    self as abi, DropReason, Monitor, Service, ServiceKey, event_kind, monitor_flags,
    protocol::{TCP, UDP},
    service_flags,
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Dataplane, Reader, Told, Untold, namespace_cookie};
use servers::{Servers, tcp_answer, udp_answer};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

fn apply(dataplane: &Dataplane, plan: &Plan) {
    let applied = dataplane.apply(plan);
    assert!(applied.failures.is_empty(), "{}", applied.failures[0]);
    assert_eq!(applied.done, plan.steps.len());
}

fn drops(reader: &Reader, reason: DropReason) -> u64 {
    reader.drops().unwrap().iter().find(|(found, _)| *found == reason).unwrap().1.packets
}

/// Each of three backends must get a fair share; a fair choice misses these bounds once in 10^8 runs.
fn assert_balanced(answers: impl Iterator<Item = String>) {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(counts.values().all(|count| (50..=150).contains(count)), "{counts:?}");
}

#[test]
fn root_connections_reach_every_backend_and_see_the_service() {
    let node = Node::new("tcp");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:80", TCP, 1, &servers.tcp_v4)));
    apply(&dataplane, &put_service(&ServiceSpec::new("[fd00:96::1]:80", TCP, 2, &servers.tcp_v6)));
    for front in ["10.96.0.1:80", "[fd00:96::1]:80", "[::ffff:10.96.0.1]:80"] {
        let front: SocketAddr = front.parse().unwrap();
        node.run(|| {
            assert_balanced((0..300).map(|_| {
                let mut stream = TcpStream::connect(front).unwrap();
                assert_eq!(stream.peer_addr().unwrap(), front);
                tcp_answer(&mut stream)
            }));
        });
    }
    let connections = dataplane.reader().connections().unwrap();
    assert_eq!(connections.len(), 900);
    assert!(connections.iter().all(|kept| kept.backend != kept.address && kept.port_be == 80_u16.to_be()));
}

#[test]
fn root_datagrams_reach_every_backend_and_answers_come_from_the_service() {
    let node = Node::new("udp");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &servers.udp_v4)));
    apply(&dataplane, &put_service(&ServiceSpec::new("[fd00:96::1]:53", UDP, 2, &servers.udp_v6)));
    for (front, local) in [("10.96.0.1:53", "0.0.0.0:0"), ("[fd00:96::1]:53", "[::]:0"), ("[::ffff:10.96.0.1]:53", "[::]:0")] {
        let front: SocketAddr = front.parse().unwrap();
        node.run(|| {
            assert_balanced((0..300).map(|_| {
                let socket = UdpSocket::bind(local).unwrap();
                let (answer, from) = udp_answer(&socket, front);
                assert_eq!(from, front);
                answer
            }));
            assert_balanced((0..300).map(|_| {
                let socket = UdpSocket::bind(local).unwrap();
                socket.connect(front).unwrap();
                assert_eq!(socket.peer_addr().unwrap(), front);
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                socket.send(b"?").unwrap();
                let mut answer = [0; 64];
                let (length, from) = socket.recv_from(&mut answer).unwrap();
                assert_eq!(from, front);
                String::from_utf8_lossy(&answer[..length]).into_owned()
            }));
        });
    }
}

#[test]
fn root_what_leads_nowhere_is_refused_at_once_and_counted() {
    let node = Node::new("refused");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    for (front, protocol, flags) in
        [("10.96.0.1:80", TCP, 0), ("10.96.0.1:53", UDP, 0), ("[fd00:96::1]:80", TCP, 0), ("10.96.0.2:80", TCP, service_flags::LOCAL_ONLY)]
    {
        apply(&dataplane, &put_service(&ServiceSpec { flags, ..ServiceSpec::new(front, protocol, 1, &[]) }));
    }
    node.namespace.command("ip", &["route", "add", "10.96.0.0/16", "dev", "lo"]);
    let connect = |to: &str| {
        let to: SocketAddr = to.parse().unwrap();
        let begun = Instant::now();
        let error = TcpStream::connect(to).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(1), "{to} hung");
        error.kind()
    };
    node.run(|| {
        assert_eq!(connect("10.96.0.1:80"), ErrorKind::ConnectionRefused);
        assert_eq!(connect("[fd00:96::1]:80"), ErrorKind::ConnectionRefused);
        assert_eq!(connect("10.96.0.1:81"), ErrorKind::ConnectionRefused, "an undefined port of a live address");
        assert_eq!(connect("10.96.0.2:80"), ErrorKind::PermissionDenied, "a local policy drops");
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(socket.send_to(b"?", "10.96.0.1:53").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(socket.connect("10.96.0.1:53").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // As `ping` does before it sends, to learn its own address: its datagrams would be answered, the call says nothing to anybody.
        socket.connect("10.96.0.1:1025").unwrap();
        assert_eq!(socket.send_to(b"?", "10.96.0.1:1025").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // What is no Service's is not touched.
        tcp_answer(&mut TcpStream::connect(servers.tcp_v4[0]).unwrap());
    });
    let reader = dataplane.reader();
    assert_eq!(drops(reader, DropReason::NoEndpoints), 4);
    assert_eq!(drops(reader, DropReason::NoSuchPort), 2);
    assert_eq!(drops(reader, DropReason::NoLocalEndpoints), 1);
}

#[test]
fn root_a_refused_call_is_told_with_what_it_asked_for_and_whose_network_it_is_of() {
    let node = Node::new("told");
    let dataplane = node.dataplane();
    for (list, front, protocol) in [(1, "10.96.0.1:80", TCP), (2, "10.96.0.1:53", UDP), (3, "[fd00:96::1]:80", TCP)] {
        apply(&dataplane, &put_service(&ServiceSpec::new(front, protocol, list, &[])));
    }
    let mut events = dataplane.events().unwrap();
    let call = || {
        TcpStream::connect("10.96.0.1:80").unwrap_err();
        TcpStream::connect("[fd00:96::1]:80").unwrap_err();
        TcpStream::connect("[::ffff:10.96.0.1]:81").unwrap_err();
        UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"?", "10.96.0.1:53").unwrap_err();
    };
    node.run(call);
    assert_eq!(events.take(), None, "nobody has asked");
    dataplane.tell_events(Monitor { flags: monitor_flags::DROPS, per_tick: u32::MAX }).unwrap();
    let pod = Namespace::new("told-pod");
    let cookie = node.run(|| {
        pod.enter();
        call();
        namespace_cookie().unwrap()
    });
    let told: Vec<_> = std::iter::from_fn(|| events.take()).collect();
    let expected = [
        ("10.96.0.1:80", TCP, DropReason::NoEndpoints),
        ("[fd00:96::1]:80", TCP, DropReason::NoEndpoints),
        ("10.96.0.1:81", TCP, DropReason::NoSuchPort),
        ("10.96.0.1:53", UDP, DropReason::NoEndpoints),
    ];
    let shown = |told: &Told| {
        let asked = told.event.becomes;
        let front = SocketAddr::new(asked.destination.into(), u16::from_be(asked.destination_port_be));
        (front.to_string(), asked.protocol, told.dropped().unwrap())
    };
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), expected.map(|(front, protocol, reason)| (front.to_owned(), protocol, reason)));
    assert!(told.iter().all(|told| told.event.kind == event_kind::REFUSED && told.event.cookie == cookie && told.packet.is_none()));
    // No more in a tick than was asked for.
    dataplane.tell_events(Monitor { flags: monitor_flags::DROPS, per_tick: 0 }).unwrap();
    node.run(call);
    assert_eq!((events.take(), dataplane.reader().untold_events().unwrap()), (None, Untold { rate: 4, full: 0 }));
}

/// A front at a loopback address, for processes of the node.
///
/// ```text
/// node's namespace:  client ── connect 127.0.0.1:30080 ──> (hook) ──> a backend
/// a pod's namespace: client ── connect 127.0.0.1:30080 ──> what listens there itself
/// ```
#[test]
fn root_loopback_addresses_are_the_nodes_in_its_namespace_and_each_pods_own_in_others() {
    let node = Node::new("loopback");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let pod = Namespace::new("pod");
    pod.command("ip", &["link", "set", "lo", "up"]);
    let fronts: [SocketAddr; 2] = ["127.0.0.1:30080".parse().unwrap(), "[::1]:30080".parse().unwrap()];
    for (front, list) in fronts.iter().zip(1..) {
        let mut plan = put_service(&ServiceSpec::new(&front.to_string(), TCP, list, &servers.tcp_v4));
        // A loopback address as a whole is nobody's.
        plan.steps.pop();
        apply(&dataplane, &plan);
    }
    let refused = |front: &SocketAddr| TcpStream::connect(front).unwrap_err().kind() == ErrorKind::ConnectionRefused;
    assert!(node.run(|| fronts.iter().all(refused)), "whose namespace it is has not been told");
    let namespace_cookie = node.namespace.run(|| namespace_cookie().unwrap());
    apply(&dataplane, &Plan { steps: vec![Step::PutNode(abi::Node { namespace_cookie, ..abi::Node::default() })] });
    node.run(|| fronts.iter().for_each(|front| drop(tcp_answer(&mut TcpStream::connect(front).unwrap()))));
    node.run(|| {
        pod.enter();
        for front in fronts {
            let listener = TcpListener::bind(front).unwrap();
            let client = TcpStream::connect(front).unwrap();
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        }
    });
}

/// A front with source ranges.
///
/// ```text
/// node's namespace:  client ── connect 203.0.113.1:80 ──> (hook) ──> a backend, if the node's address is in a range
/// a pod's namespace: client ── connect 203.0.113.1:80 ──> as it is: the pod's packets are looked at
/// ```
#[test]
fn root_source_ranges_hold_for_the_nodes_sockets_and_leave_pods_sockets_to_their_packets() {
    let node = Node::new("sources");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    let namespace_cookie = node.namespace.run(|| namespace_cookie().unwrap());
    let settings = abi::Node { v4: address("192.0.2.1").into(), namespace_cookie, ..abi::Node::default() };
    apply(&dataplane, &Plan { steps: vec![Step::PutNode(settings)] });
    let put = |front: &str, list: u32, range: &str, bits: u8, backends: &[SocketAddr]| {
        let range = abi::RangeKey::new(address(range), bits);
        apply(&dataplane, &Plan { steps: vec![Step::PutSource(abi::SourceKey::new(list, &range))] });
        let mut plan = put_service(&ServiceSpec::new(front, TCP, list, backends));
        plan.steps.iter_mut().for_each(|step| {
            if let Step::PutService(key, service) = step
                && key.port_be != 0
            {
                service.sources = list;
            }
        });
        apply(&dataplane, &plan);
    };
    put("203.0.113.1:80", 1, "192.0.2.0", 24, &servers.tcp_v4);
    put("203.0.113.2:80", 2, "198.51.100.0", 24, &servers.tcp_v4);
    // The node has no address of this family: not even the range of nobody lets it in.
    put("[2001:db8::1]:80", 3, "::", 128, &servers.tcp_v6);
    let connect = |to: &str| TcpStream::connect(to).map_err(|error| error.kind());
    node.run(|| {
        tcp_answer(&mut connect("203.0.113.1:80").unwrap());
        tcp_answer(&mut connect("[::ffff:203.0.113.1]:80").unwrap());
        assert_eq!(connect("203.0.113.2:80").unwrap_err(), ErrorKind::PermissionDenied);
        assert_eq!(connect("[2001:db8::1]:80").unwrap_err(), ErrorKind::PermissionDenied);
    });
    assert_eq!(drops(dataplane.reader(), DropReason::SourceNotAllowed), 2);
    let pod = Namespace::new("pod");
    pod.command("ip", &["link", "set", "lo", "up"]);
    pod.command("ip", &["address", "add", "203.0.113.1/32", "dev", "lo"]);
    node.run(|| {
        pod.enter();
        let listener = TcpListener::bind("203.0.113.1:80").unwrap();
        let client = connect("203.0.113.1:80").unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap(), "the call goes where it says");
    });
    assert_eq!(drops(dataplane.reader(), DropReason::SourceNotAllowed), 2);
}

/// An address that another proxy serves.
fn put_foreign(address: &str) -> Plan {
    let key = ServiceKey { address: address.parse::<std::net::IpAddr>().unwrap().into(), ..ServiceKey::default() };
    let service = Service { flags: service_flags::ADDRESS | service_flags::FOREIGN, ..Service::default() };
    Plan { steps: vec![Step::PutService(key, service)] }
}

#[test]
fn root_an_address_that_no_service_has_is_dropped_and_counted() {
    let node = Node::new("nobody");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:80", TCP, 1, &servers.tcp_v4)));
    apply(&dataplane, &put_service(&ServiceSpec::new("[fd00:96::1]:80", TCP, 2, &[])));
    apply(&dataplane, &put_foreign("10.96.0.3"));
    apply(&dataplane, &put_range("10.96.0.0", 16));
    apply(&dataplane, &put_range("fd00:96::", 112));
    node.run(|| {
        let connect = |to: &str| TcpStream::connect(to).map(drop).map_err(|error| error.kind());
        for nobody in ["10.96.9.9:80", "[fd00:96::9]:80", "[::ffff:10.96.9.9]:80"] {
            assert_eq!(connect(nobody), Err(ErrorKind::PermissionDenied), "{nobody}");
        }
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(socket.send_to(b"?", "10.96.9.9:53").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(socket.connect("10.96.9.9:53").unwrap_err().kind(), ErrorKind::PermissionDenied);
        // Those that some Service has are as they were, and so is what is outside of the ranges: here is no way to them.
        assert_eq!(connect("10.96.0.1:80"), Ok(()));
        assert_eq!(connect("10.96.0.1:81"), Err(ErrorKind::ConnectionRefused));
        assert_eq!(connect("[fd00:96::1]:80"), Err(ErrorKind::ConnectionRefused));
        assert_eq!(connect("10.96.0.3:80"), Err(ErrorKind::NetworkUnreachable), "another proxy's");
        assert_eq!(connect("10.97.0.1:80"), Err(ErrorKind::NetworkUnreachable), "outside");
        assert_eq!(connect("[fd00:96::1:1]:80"), Err(ErrorKind::NetworkUnreachable), "outside");
    });
    assert_eq!(drops(dataplane.reader(), DropReason::NoSuchService), 5);
    assert_eq!(drops(dataplane.reader(), DropReason::NoSuchPort), 1);
    assert_eq!(drops(dataplane.reader(), DropReason::NoEndpoints), 1);
}

#[test]
fn root_one_socket_speaks_to_several_services_and_sees_each_by_its_own_address() {
    let node = Node::new("several");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let [one, two]: [SocketAddr; 2] = ["10.96.0.1:53".parse().unwrap(), "10.96.0.2:5353".parse().unwrap()];
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &servers.udp_v4[..1])));
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.2:5353", UDP, 2, &servers.udp_v4[1..2])));
    let backend = |index: usize| servers.udp_v4[index].to_string();
    node.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..3 {
            assert_eq!(udp_answer(&socket, one), (backend(0), one));
            assert_eq!(udp_answer(&socket, two), (backend(1), two));
            // A server that is asked by its own address answers from it.
            assert_eq!(udp_answer(&socket, servers.udp_v4[2]), (backend(2), servers.udp_v4[2]));
        }
        // Connected to the one, then to the other: the last counts.
        for front in [one, two, one] {
            socket.connect(front).unwrap();
            assert_eq!(socket.peer_addr().unwrap(), front);
        }
        assert_eq!(udp_answer(&socket, one), (backend(0), one), "a destination that is named wins over the connection");
        let mapped: SocketAddr = "[::ffff:10.96.0.2]:5353".parse().unwrap();
        assert_eq!(udp_answer(&UdpSocket::bind("[::]:0").unwrap(), mapped), (backend(1), mapped));
    });
}

#[test]
fn root_a_connected_socket_of_datagrams_keeps_its_backend_when_the_service_moves_on() {
    let node = Node::new("connected");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let front: SocketAddr = "10.96.0.1:53".parse().unwrap();
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &servers.udp_v4[..1])));
    node.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(front).unwrap();
        apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 2, &servers.udp_v4[1..])));
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send(b"?").unwrap();
        let mut answer = [0; 64];
        let (length, from) = socket.recv_from(&mut answer).unwrap();
        assert_eq!((String::from_utf8_lossy(&answer[..length]).into_owned(), from), (servers.udp_v4[0].to_string(), front));
        assert_eq!(socket.peer_addr().unwrap(), front);
        // Connecting again asks the Service again.
        socket.connect(front).unwrap();
        socket.send(b"?").unwrap();
        let length = socket.recv(&mut answer).unwrap();
        assert_ne!(String::from_utf8_lossy(&answer[..length]), servers.udp_v4[0].to_string());
    });
}

#[test]
fn root_a_service_without_endpoints_serves_older_sockets_once_it_has_some() {
    let node = Node::new("begin");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &[])));
    node.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(socket.send_to(b"?", "10.96.0.1:53").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 2, &servers.udp_v4)));
        udp_answer(&socket, "10.96.0.1:53".parse().unwrap());
    });
}

#[test]
fn root_datagrams_of_one_socket_stay_together_until_their_backend_goes() {
    let node = Node::new("flow");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let front: SocketAddr = "10.96.0.1:53".parse().unwrap();
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &servers.udp_v4)));
    node.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let (first, _) = udp_answer(&socket, front);
        assert!((0..50).all(|_| udp_answer(&socket, front).0 == first));
        // Another order in another list: the same backend.
        let mut turned = servers.udp_v4.clone();
        turned.rotate_left(1);
        apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 2, &turned)));
        assert!((0..50).all(|_| udp_answer(&socket, front).0 == first));
        let without: Vec<_> = turned.into_iter().filter(|backend| backend.to_string() != first).collect();
        apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 3, &without)));
        let (second, _) = udp_answer(&socket, front);
        assert_ne!(second, first);
        assert!((0..50).all(|_| udp_answer(&socket, front).0 == second));
    });
}

#[test]
fn root_clients_of_a_namespace_keep_their_backend_under_session_affinity() {
    let node = Node::new("affinity");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let spec = ServiceSpec {
        flags: service_flags::AFFINITY,
        affinity_seconds: 10_800,
        ..ServiceSpec::new("10.96.0.1:80", TCP, 1, &servers.tcp_v4)
    };
    apply(&dataplane, &put_service(&spec));
    let ask = || tcp_answer(&mut TcpStream::connect(spec.front).unwrap());
    node.run(|| {
        let first = ask();
        assert!((0..50).all(|_| ask() == first));
        apply(&dataplane, &put_service(&ServiceSpec { list: 2, backends: servers.tcp_v4.iter().rev().copied().collect(), ..spec.clone() }));
        assert!((0..50).all(|_| ask() == first));
        let without: Vec<_> = servers.tcp_v4.iter().filter(|backend| backend.to_string() != first).copied().collect();
        apply(&dataplane, &put_service(&ServiceSpec { list: 3, backends: without, ..spec.clone() }));
        let second = ask();
        assert_ne!(second, first);
        assert!((0..50).all(|_| ask() == second));
        // The same number for another list, as after a restart of the agent: what was kept of the old one is worth nothing.
        let only_first: Vec<_> = servers.tcp_v4.iter().filter(|backend| backend.to_string() == first).copied().collect();
        apply(&dataplane, &put_service(&ServiceSpec { list: 3, backends: only_first, ..spec.clone() }));
        assert!((0..50).all(|_| ask() == first));
    });
}

#[test]
fn root_datagrams_of_many_sockets_take_no_room_from_session_affinity() {
    let mut node = Node::new("crowd");
    node.config.capacities = BTreeMap::from([("AFFINITY".to_owned(), 64)]);
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let sticky = ServiceSpec {
        flags: service_flags::AFFINITY,
        affinity_seconds: 10_800,
        ..ServiceSpec::new("10.96.0.1:80", TCP, 1, &servers.tcp_v4)
    };
    apply(&dataplane, &put_service(&sticky));
    apply(&dataplane, &put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 2, &servers.udp_v4)));
    let ask = || tcp_answer(&mut TcpStream::connect(sticky.front).unwrap());
    node.run(|| {
        let first = ask();
        for _ in 0..300 {
            udp_answer(&UdpSocket::bind("0.0.0.0:0").unwrap(), "10.96.0.1:53".parse().unwrap());
        }
        let entries: BTreeMap<_, _> = dataplane.reader().maps().unwrap().into_iter().map(|map| (map.name, map.entries)).collect();
        assert_eq!((entries["AFFINITY"], entries["DATAGRAMS"]), (1, 300));
        assert_eq!(ask(), first);
    });
}

#[test]
fn root_affinity_is_kept_for_each_namespace_and_each_port_of_a_service() {
    let node = Node::new("clients");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    for (front, list) in [("10.96.0.1:80", 1), ("10.96.0.1:81", 2)] {
        let spec = ServiceSpec::new(front, TCP, list, &servers.tcp_v4);
        apply(&dataplane, &put_service(&ServiceSpec { flags: service_flags::AFFINITY, affinity_seconds: 10_800, ..spec }));
    }
    let kept = || dataplane.reader().maps().unwrap().into_iter().find(|map| map.name == "AFFINITY").unwrap().entries;
    let connect = |to: &str| TcpStream::connect(to).map(drop);
    node.run(|| (0..5).for_each(|_| connect("10.96.0.1:80").unwrap()));
    assert_eq!(kept(), 1);
    node.run(|| (0..5).for_each(|_| connect("10.96.0.1:81").unwrap()));
    assert_eq!(kept(), 2);
    // In the other namespace nobody listens, but what the hook chose is kept all the same.
    let other = Namespace::new("client");
    node.run(|| {
        other.enter();
        (0..5).for_each(|_| drop(connect("10.96.0.1:80").unwrap_err()));
    });
    assert_eq!(kept(), 3);
}

#[test]
fn root_affinity_ends_when_a_client_has_not_asked_for_long_enough() {
    let node = Node::new("ends");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    // The shortest there can be: it ends with the second of the kernel's clock.
    let spec = ServiceSpec { flags: service_flags::AFFINITY, ..ServiceSpec::new("10.96.0.1:80", TCP, 1, &servers.tcp_v4) };
    apply(&dataplane, &put_service(&spec));
    let ask = || tcp_answer(&mut TcpStream::connect(spec.front).unwrap());
    node.run(|| {
        let (first, begun) = (ask(), Instant::now());
        let mut answers = 0;
        // Each second brings another one with a chance of 2/3.
        while ask() == first {
            answers += 1;
            assert!(begun.elapsed() < Duration::from_secs(30), "kept for ever");
        }
        assert!(answers > 0, "not kept for a moment");
    });
}
