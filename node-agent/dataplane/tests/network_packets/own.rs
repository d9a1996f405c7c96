//! What the node itself sends to Services past its sockets.

use crate::bench::{
    B_MACS, Bench, DONE, FAMILIES, FIRST_PORT, Family, Front, LAST_PORT, assert_sent, at, into_pod, ip, key, one_hop_on, settings, wired,
};
use crate::frames::{
    Frame, Packet, assert_sound, chunk, error, flags, fragments_v4, fragments_v6, ping, ping_of, pong, sctp, set_v4_checksum, tcp, udp,
};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_abi::{DropReason, node_flags, service_flags};
use orknet_dataplane::{Arrival, Hook, Verdict};
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

#[test]
fn root_a_ping_of_the_node_is_answered_with_and_without_endpoints() {
    let bench = Bench::new("own-ping");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        bench.put(&Front::new(list, TCP, at(family.load_balancer, 80), &[]));
        bench.put(&Front::new(list + 1, TCP, at(family.cluster, 80), &[at(family.pod_b, 80)]).cluster());
        for front in [family.load_balancer, family.cluster] {
            let asked = ping(ip(family.node), ip(front), 77);
            let ran = bench.from_node(&asked.bytes());
            assert_eq!((ran.verdict, ran.mark), (Verdict::Redirect, DONE));
            assert_eq!((&ran.frame[..6], &ran.frame[6..12]), (&asked.source_mac[..], &asked.destination_mac[..]));
            assert_sound(&ran.frame);
            let answer = Packet::read(&ran.frame).unwrap();
            assert_eq!((answer.source, answer.destination), (asked.destination, asked.source));
            assert_eq!(answer.payload[0], if asked.source.is_ipv4() { 0 } else { 129 });
            assert_eq!(answer.payload[4..], asked.payload[4..], "identifier, number and data as asked");
            let large = ping_of(ip(family.node), ip(front), 78, 1200);
            let pieces = if asked.source.is_ipv4() { fragments_v4(&large, 600) } else { fragments_v6(&large, 600) };
            for piece in pieces {
                assert_eq!(bench.from_node(&piece).verdict, Verdict::Redirect);
            }
        }
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}

/// A packet of one of the protocols.
type Make = fn(SocketAddr, SocketAddr) -> Frame;

fn kinds() -> [(u8, Make); 3] {
    [
        (TCP, |from, to| tcp(from, to, flags::SYN, b"")),
        (UDP, |from, to| udp(from, to, b"odd")),
        (SCTP, |from, to| sctp(from, to, chunk::INIT, b"sixteen bytes ..")),
    ]
}

/// Each protocol over each family, and a number for its lists.
fn cases() -> impl Iterator<Item = (u32, Family, u8, Make)> {
    let all = FAMILIES.into_iter().flat_map(|family| kinds().map(|(protocol, make)| (family, protocol, make)));
    (1..).step_by(10).zip(all).map(|(list, (family, protocol, make))| (list, family, protocol, make))
}

/// The frame as it goes in where the node's own came out: the device has one MAC address for itself and all others.
fn home(frame: Frame) -> Frame {
    Frame { destination_mac: frame.source_mac, ..frame }
}

/// Where the packet seems to come from: the node, at a port of source NAT.
#[track_caller]
fn assert_from_node(frame: &[u8], family: &Family) -> SocketAddr {
    let seen = Packet::read(frame).unwrap().ends().0;
    assert!(seen.ip() == ip(family.node) && (FIRST_PORT..=LAST_PORT).contains(&seen.port()), "{seen}");
    seen
}

/// An error from and to these, about a packet from and to those.
#[track_caller]
fn assert_about(frame: &[u8], [from, to]: [IpAddr; 2], about: [SocketAddr; 2]) {
    assert_sound(frame);
    let told = Packet::read(frame).unwrap();
    assert_eq!((told.source, told.destination), (from, to));
    assert_eq!(<[SocketAddr; 2]>::from(Packet::read_ip(told.quoted()).unwrap().ends()), about);
}

#[test]
fn root_the_nodes_packets_reach_a_pod_here_and_its_answers_go_home() {
    let bench = Bench::new("own-here");
    for (list, family, protocol, make) in cases() {
        for (number, front) in (0..).zip([at(family.cluster, 80), at(family.load_balancer, 80)]) {
            let (node, backend) = (at(family.node, 40_000 + list as u16), at(family.pod_b, 8080));
            let put = Front::new(list + number, protocol, front, &[backend]);
            bench.put(&if number == 0 { put.cluster() } else { put });
            for _ in 0..2 {
                let there = bench.from_node(&make(node, front).bytes());
                let seen = assert_from_node(&there.frame, &family);
                assert_sent(&there, &into_pod(make(seen, backend), B_MACS));
                assert_eq!(there.mark, 0);
                // More than once: no answer takes a way that is for others.
                for _ in 0..3 {
                    let back = bench.from_pod_b(make(backend, seen));
                    assert_sent(&back, &home(make(front, node)));
                    assert_eq!(back.mark, DONE, "the check of sources goes by it");
                }
            }
            // What the node says about an answer reaches the pod, and what the pod says about a packet the node.
            let seen = bench.flows()[&key(protocol, node, front)].becomes;
            let seen = SocketAddr::new(node.ip(), u16::from_be(seen.source_port_be));
            let kind = if node.is_ipv4() { [3, 3] } else { [1, 4] };
            let told = bench.from_node(&error(node.ip(), front.ip(), kind, 0, &make(front, node).bytes()[14..]).bytes());
            assert_eq!(told.frame[..12], B_MACS.concat());
            assert_about(&told.frame, [node.ip(), backend.ip()], [backend, seen]);
            let told = bench.from_pod_b(error(backend.ip(), node.ip(), kind, 0, &make(seen, backend).bytes()[14..]));
            assert_eq!((told.verdict, told.mark), (Verdict::Redirect, DONE));
            assert_about(&told.frame, [front.ip(), node.ip()], [node, front]);
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_the_nodes_packets_reach_another_nodes_pod_and_its_answers_go_home() {
    let bench = Bench::new("own-there");
    for (list, family, protocol, make) in cases() {
        let (node, front, backend) = (at(family.node, 999), at(family.cluster, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]).cluster());
        // Packets that are left to the stack are not the node's own.
        for flags in [0, node_flags::NO_REDIRECT] {
            bench.set_node(orknet_abi::Node { flags, ..settings() });
            let there = bench.from_node(&make(node, front).bytes());
            let seen = assert_from_node(&there.frame, &family);
            assert_sent(&there, &one_hop_on(make(seen, backend)));
            assert_eq!(there.mark, DONE);
            let back = bench.from_network(&wired(make(backend, seen)).bytes());
            assert_sent(&back, &home(make(front, node)));
            // A router's error comes from the router, and is looked for where that is.
            let kind = if node.is_ipv4() { [11, 0] } else { [3, 0] };
            let told = wired(error(ip(family.router), node.ip(), kind, 0, &there.frame[14..]));
            let told = bench.from_network(&told.bytes());
            assert_eq!(told.verdict, Verdict::Next);
            assert_about(&told.frame, [ip(family.router), node.ip()], [node, front]);
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_a_backend_on_the_node_itself_sees_the_service_and_is_heard_as_it() {
    let bench = Bench::new("own-self");
    for (list, family, protocol, make) in cases() {
        for (number, front) in (0..).zip([at(family.cluster, 80), at(family.load_balancer, 80)]) {
            let (client, backend) = (at(family.node, 40_000), at(family.node, 6443));
            let put = Front::new(list + number, protocol, front, &[backend]);
            bench.put(&if number == 0 { put.cluster() } else { put });
            let seen = SocketAddr::new(front.ip(), client.port());
            for _ in 0..2 {
                assert_sent(&bench.from_node(&make(client, front).bytes()), &home(make(seen, backend)));
                assert_sent(&bench.from_node(&make(backend, seen).bytes()), &home(make(front, client)));
            }
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_the_node_is_refused_where_nobody_serves_and_dropped_where_the_policy_says_so() {
    let bench = Bench::new("own-refused");
    for (list, family, protocol, make) in cases() {
        let node = at(family.node, 999);
        let front = |port| at(family.cluster, port);
        bench.put(&Front::new(list, protocol, front(80), &[]).cluster());
        bench.put(&Front::new(list + 1, protocol, front(81), &[]).with(|service| service.flags = service_flags::LOCAL_ONLY).cluster());
        let answered = |asked: Frame, reason| {
            let (ran, dropped) = bench.dropped_by(|| bench.from_node(&asked.bytes()));
            assert_eq!((ran.verdict, ran.mark, dropped), (Verdict::Redirect, DONE, vec![reason]));
            assert_sound(&ran.frame);
            let answer = Packet::read(&ran.frame).unwrap();
            assert_eq!((answer.source, answer.destination), (asked.destination, asked.source));
            if protocol == TCP {
                assert_eq!((answer.protocol, answer.payload[13]), (TCP, flags::RST | flags::ACK));
            } else {
                assert_eq!(answer.payload[..2], if node.is_ipv4() { [3, 3] } else { [1, 4] });
            }
        };
        answered(make(node, front(80)), DropReason::NoEndpoints);
        answered(make(node, front(9)), DropReason::NoSuchPort);
        let (ran, dropped) = bench.dropped_by(|| bench.from_node(&make(node, front(81)).bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::NoLocalEndpoints]));
        // Too big for its way, and the stack must not get it again.
        bench.put(&Front::new(list + 2, protocol, front(82), &[at(family.remote_pod, 8080)]).cluster());
        let big = Frame { payload: [make(node, front(82)).payload, vec![0; 2000]].concat(), ..make(node, front(82)) }.bytes();
        let (ran, dropped) = bench.dropped_by(|| bench.from_node(&big));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::TooBig]));
        if node.is_ipv4() {
            let mut may_be_cut = big;
            may_be_cut[20] = 0;
            set_v4_checksum(&mut may_be_cut);
            let (ran, dropped) = bench.dropped_by(|| bench.from_node(&may_be_cut));
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::TooBig]));
        }
    }
}

#[test]
fn root_a_device_that_was_made_anew_is_where_answers_go() {
    let bench = Bench::new("own-anew");
    for (list, family, protocol, make) in cases() {
        let (node, front, backend) = (at(family.node, 999), at(family.cluster, 80), at(family.pod_b, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]).cluster());
        let mut seen = at(family.node, 0);
        for mac in [[2, 0, 0, 0, 0, 0xaa], [2, 0, 0, 0, 0, 0xab]] {
            let there = bench.from_node(&Frame { source_mac: mac, ..make(node, front) }.bytes());
            seen = assert_from_node(&there.frame, &family);
        }
        let device = Arrival { device: bench.eth0, ..Arrival::default() };
        let other = Frame { source_mac: [2, 0, 0, 0, 0, 0xac], ..make(node, front) };
        bench.node.run(|| bench.dataplane.run_from(Hook::FromNode, &device, &other.bytes(), 1)).unwrap();
        let back = bench.from_pod_b(make(backend, seen));
        assert_sent(&back, &Frame { destination_mac: other.source_mac, source_mac: other.source_mac, ..make(front, node) });
    }
}

#[test]
fn root_what_the_link_says_to_its_groups_is_no_drop() {
    let bench = Bench::new("own-group");
    // A report of listeners to their routers, as a device without an address sends it when it comes up.
    let report = Frame::new("::", "ff02::16", 58, &[143, 0, 0, 0, 0, 0, 0, 0]);
    let (ran, dropped) = bench.dropped_by(|| bench.from_node(&report.bytes()));
    assert_eq!((ran.verdict, dropped), (Verdict::Next, vec![]));
}

#[test]
fn root_what_is_no_services_is_unreachable_or_goes_where_else_the_address_is() {
    let bench = Bench::new("own-rest");
    for (list, family) in (1..).step_by(3).zip(FAMILIES) {
        let (node, cluster) = (ip(family.node), at(family.cluster, 80));
        bench.put(&Front::new(list, TCP, cluster, &[at(family.node, 6443)]).cluster());
        bench.put(&Front::new(list + 1, TCP, at(family.load_balancer, 80), &[]));
        let is_v4 = node.is_ipv4();
        let other_proxys = at(if is_v4 { "10.96.0.11" } else { "fd00:10:96::11" }, 80);
        let foreign = service_flags::ADDRESS | service_flags::FOREIGN;
        bench.put(&Front { scopes: &[], whole: Some(foreign), ..Front::new(list + 2, TCP, other_proxys, &[]) });
        let nobody = ip(if is_v4 { "10.96.0.99" } else { "fd00:10:96::99" });
        let kind = if is_v4 { [3, 1] } else { [1, 3] };
        let cases = [
            (ping(node, nobody, 7), DropReason::NoSuchService),
            (
                error(node, cluster.ip(), kind, 0, &tcp(cluster, at(family.node, 9), flags::ACK, b"12345678").bytes()[14..]),
                DropReason::NotForService,
            ),
        ];
        for (frame, reason) in cases {
            let (ran, dropped) = bench.dropped_by(|| bench.from_node(&frame.bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![reason]));
        }
        // Another proxy's packets are not led here, where they would learn at once that nobody is there.
        let raw = at(family.node, 999);
        for asked in [tcp(raw, other_proxys, flags::SYN, b""), udp(raw, other_proxys, b"x"), ping(node, other_proxys.ip(), 7)] {
            let (ran, dropped) = bench.dropped_by(|| bench.from_node(&asked.bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::NotForService]));
            assert_sound(&ran.frame);
            let answer = Packet::read(&ran.frame).unwrap();
            assert_eq!((answer.source, answer.destination), (asked.destination, asked.source));
            assert_eq!(answer.payload[..2], if is_v4 { [3, 3] } else { [1, 4] });
        }
        // A load balancer's address may be a host's, which waits for this.
        let balancer = ip(family.load_balancer);
        for other in [pong(node, balancer, 7), sctp(raw, SocketAddr::new(balancer, 81), chunk::INIT, &[0; 16])] {
            let (ran, dropped) = bench.dropped_by(|| bench.from_node(&other.bytes()));
            assert_eq!((ran.verdict, ran.frame, ran.mark, dropped), (Verdict::Redirect, other.bytes(), DONE, vec![]));
        }
        let (ran, dropped) = bench.dropped_by(|| bench.from_node(&sctp(raw, SocketAddr::new(balancer, 81), 0, &[0; 2000]).bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::TooBig]));
        assert_eq!(Packet::read(&ran.frame).unwrap().payload[..2], if is_v4 { [3, 4] } else { [2, 0] });
    }
}

/// A socket of the node that is bound to the first address and connects to the second one, whatever becomes of that.
fn connected(bench: &Bench, kind: SockType, from: SocketAddr, to: SocketAddr) -> OwnedFd {
    bench.node.run(|| {
        let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket::socket(family, kind, SockFlag::SOCK_NONBLOCK, None).unwrap();
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
        match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
            Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => socket,
            Err(error) => panic!("{from} to {to}: {error}"),
        }
    })
}

#[test]
fn root_what_answers_a_connection_of_the_node_from_a_node_port_is_not_the_services() {
    let bench = Bench::new("own-from-port");
    bench.serve_wire();
    for (list, family) in (1..).step_by(10).zip(FAMILIES) {
        let (front, outside, other) = (at(family.node, 30_080), at(family.client, 443), at(family.client, 444));
        for (list, protocol) in [(list, TCP), (list + 1, UDP)] {
            bench.put(&Front::new(list, protocol, front, &[at(family.remote_pod, 8080)]).node_port());
        }
        let _sockets = [SockType::Stream, SockType::Datagram].map(|kind| connected(&bench, kind, front, outside));
        for make in [|from, to| tcp(from, to, flags::SYN_ACK, b""), |from, to| udp(from, to, b"answer")] as [fn(_, _) -> _; 2] {
            let answer = wired(make(outside, front)).bytes();
            for ran in [bench.from_network(&answer), bench.from_wire(&answer)] {
                assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &answer));
            }
            // What no socket is connected to is the Service's all the same.
            let asked = wired(make(other, front)).bytes();
            assert_eq!(bench.from_network(&asked).verdict, Verdict::Redirect);
        }
        assert_eq!(bench.from_network(&wired(tcp(outside, front, flags::SYN, b"")).bytes()).verdict, Verdict::Redirect);
        // A pod may be the one that was connected to.
        let (pod, front) = (at(family.pod_a, 53), at(family.node, 30_081));
        bench.put(&Front::new(list + 2, UDP, front, &[at(family.remote_pod, 8080)]).node_port());
        let _socket = connected(&bench, SockType::Datagram, front, pod);
        let answer = udp(pod, front, b"answer").bytes();
        let ran = bench.from_pod(&answer);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, answer));
    }
}
