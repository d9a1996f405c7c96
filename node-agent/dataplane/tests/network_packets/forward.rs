//! Packets from outside for node ports and load balancers' addresses, to backends here and elsewhere, and the answers.

use crate::bench::{
    B_MACS, Bench, DONE, FAMILIES, FIRST_PORT, Family, Front, LAST_PORT, V4, assert_sent, at, into_pod, ip, key, one_hop_on, wired,
};
use crate::frames::{Frame, Packet, assert_sound, chunk, flags, sctp, tcp, udp, udp_without_checksum};
use orknet_abi::{
    protocol::{SCTP, TCP, UDP},
    service_flags,
};
use orknet_dataplane::{Ran, Verdict};
use std::net::SocketAddr;

const PORT: u16 = 30_080;

/// A packet of one of the protocols.
type Make = fn(SocketAddr, SocketAddr) -> Frame;

fn kinds() -> [(u8, Make); 4] {
    [
        (TCP, |from, to| tcp(from, to, flags::ACK, b"a request")),
        (UDP, |from, to| udp(from, to, b"odd")),
        (UDP, |from, to| if from.is_ipv4() { udp_without_checksum(from, to, b"odd") } else { udp(from, to, &[0; 900]) }),
        (SCTP, |from, to| sctp(from, to, chunk::DATA, b"some data of a chunk")),
    ]
}

/// Fronts from outside: a node port and a load balancer's address.
fn fronts(family: &Family) -> [(SocketAddr, bool); 2] {
    [(at(family.node, PORT), true), (at(family.load_balancer, 80), false)]
}

fn put(bench: &Bench, list: u32, protocol: u8, (front, is_node_port): (SocketAddr, bool), backend: SocketAddr) {
    let made = Front::new(list, protocol, front, &[backend]);
    bench.put(&if is_node_port { made.node_port() } else { made });
}

#[test]
fn root_a_backend_here_sees_the_client_and_its_answer_comes_from_the_front() {
    let bench = Bench::new("local");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        for (number, front) in (0..).zip(fronts(family)) {
            let (client, backend) = (at(family.client, 40_000 + 2 * list as u16 + number as u16), at(family.pod_b, 8080));
            put(&bench, list * 2 + number, protocol, front, backend);
            for _ in 0..2 {
                let there = bench.from_network(&wired(make(client, front.0)).bytes());
                assert_sent(&there, &into_pod(wired(make(client, backend)), B_MACS));
                assert_eq!(there.mark, 0, "a pod gets no mark of the node's");
            }
            bench.assert_pairs();
            let flows = bench.flows();
            assert_eq!(flows[&key(protocol, client, front.0)].becomes, key(protocol, client, backend));
            assert_eq!(flows[&key(protocol, backend, client)].becomes, key(protocol, front.0, client));
        }
    }
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_the_answer_of_a_pod_comes_from_the_front_that_was_asked() {
    let bench = Bench::new("answer");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (client, front, backend) = (at(family.client, 41_000 + list as u16), at(family.load_balancer, 80), at(family.pod_a, 8080));
        put(&bench, list, protocol, (front, false), backend);
        let there = bench.from_network(&wired(make(client, front)).bytes());
        assert_eq!(there.verdict, Verdict::Redirect);
        let back = bench.from_pod(&make(backend, client).bytes());
        assert_sent(&back, &one_hop_on(make(front, client)));
        assert_eq!(back.mark, DONE, "nothing is left to do where it leaves");
    }
}

/// The port that source NAT gave.
#[track_caller]
fn port_given(ran: &Ran) -> u16 {
    let port = Packet::read(&ran.frame).unwrap().ends().0.port();
    assert!((FIRST_PORT..=LAST_PORT).contains(&port), "{port}");
    port
}

#[test]
fn root_a_backend_elsewhere_sees_the_node_and_the_client_sees_the_front() {
    let bench = Bench::new("remote");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        for (number, front) in (0..).zip(fronts(family)) {
            let (client, backend) = (at(family.client, 42_000 + list as u16), at(family.remote_pod, 8080));
            put(&bench, list * 2 + number, protocol, front, backend);
            let before = bench.flows().len();
            let there = bench.from_network(&wired(make(client, front.0)).bytes());
            assert_eq!(there.verdict, Verdict::Redirect, "{family:?} {protocol}");
            assert_eq!(there.mark, DONE);
            let node = at(family.node, port_given(&there));
            assert_sent(&there, &one_hop_on(wired(make(node, backend))));
            let again = bench.from_network(&wired(make(client, front.0)).bytes());
            assert_eq!(again.frame, there.frame, "the second packet goes as the first did");
            let back = bench.from_network(&wired(make(backend, node)).bytes());
            assert_sent(&back, &one_hop_on(wired(make(front.0, client))));
            assert_eq!(bench.flows().len(), before + 2, "one flow, claimed once");
            bench.assert_pairs();
        }
    }
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

/// ```text
/// node 2 ─┬─ node port of node 1 ─> pod B     from one port of node 2, at one port of pod B
///         └─ pod B
/// ```
#[test]
fn root_a_client_that_reaches_pods_as_they_are_may_use_one_port_through_a_front_and_past_it() {
    let bench = Bench::new("around");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let node_2 = if family.client.contains(':') { "2001:db8::2" } else { "192.0.2.2" };
        let (client, backend) = (at(node_2, 40_000 + list as u16), at(family.pod_b, 8080));
        for (number, front) in (0..).zip(fronts(family)) {
            put(&bench, list * 2 + number, protocol, front, backend);
            let there = bench.from_network(&wired(make(client, front.0)).bytes());
            let node = at(family.node, port_given(&there));
            assert_sent(&there, &into_pod(wired(make(node, backend)), B_MACS));
            let answer = Frame { destination_mac: B_MACS[1], ..make(front.0, client) };
            assert_sent(&bench.from_pod_b(make(backend, node)), &one_hop_on(answer));
        }
        assert_sent(&bench.from_network(&wired(make(client, backend)).bytes()), &into_pod(wired(make(client, backend)), B_MACS));
        let answered = bench.from_pod_b(make(backend, client));
        let frame = Frame { destination_mac: B_MACS[1], ..make(backend, client) };
        assert_eq!((answered.verdict, answered.frame), (Verdict::Next, frame.bytes()), "what it asked past the front");
        // Where the Service promises the client's address, the backend sees it.
        let front = at(family.node, PORT + 1 + list as u16);
        bench.put(
            &Front::new(1_000 + list, protocol, front, &[backend]).with(|service| service.flags = service_flags::LOCAL_ONLY).node_port(),
        );
        assert_sent(&bench.from_network(&wired(make(client, front)).bytes()), &into_pod(wired(make(client, backend)), B_MACS));
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_the_sum_that_a_device_made_of_a_packet_stays_right() {
    let bench = Bench::new("summed");
    let arrival = orknet_dataplane::Arrival { is_summed: true, ..bench.arrival() };
    let run = |frame: Frame| {
        let run = || bench.dataplane.run_from(orknet_dataplane::Hook::FromNetwork, &arrival, &frame.bytes(), 1);
        bench.node.run(run).unwrap()
    };
    // Of SCTP and of UDP without a checksum nobody asks for such a sum.
    let with_checksum = [kinds()[0], kinds()[1]];
    for (list, (family, (protocol, make))) in (1..).zip(with_checksum.into_iter().flat_map(|kind| FAMILIES.map(|family| (family, kind)))) {
        for (number, backend) in (0..).zip([family.pod_b, family.remote_pod]) {
            let (client, front, backend) =
                (at(family.client, 45_000 + list as u16), at(family.load_balancer, 80 + number), at(backend, 8080));
            put(&bench, list * 2 + u32::from(number), protocol, (front, false), backend);
            let there = run(wired(make(client, front)));
            assert_eq!(there.verdict, Verdict::Redirect);
            let seen = Packet::read(&there.frame).unwrap().ends().0;
            assert_eq!(run(wired(make(backend, seen))).verdict, Verdict::Redirect);
            // The third packet and those after it take the quick way.
            for _ in 0..3 {
                assert_eq!(run(wired(make(client, front))).frame, there.frame);
            }
        }
        assert_eq!(run(wired(crate::frames::ping(ip(family.client), ip(family.load_balancer), 7))).verdict, Verdict::Redirect);
    }
}

#[test]
fn root_no_two_clients_share_a_port_towards_one_backend() {
    let bench = Bench::new("ports");
    let mut settings = crate::bench::settings();
    (settings.first_port, settings.last_port) = (61_000, 61_063);
    bench.set_node(settings);
    for (list, family) in (1..).zip(FAMILIES) {
        let (front, backend) = (at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, UDP, front, &[backend]));
        let mut ports: Vec<u16> = Vec::new();
        for number in 0..40 {
            let ran = bench.from_network(&wired(udp(at(family.client, 1000 + number), front, b"x")).bytes());
            assert_eq!(ran.verdict, Verdict::Redirect);
            assert_sound(&ran.frame);
            ports.push(Packet::read(&ran.frame).unwrap().ends().0.port());
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 40);
        assert!(ports.iter().all(|port| (61_000..=61_063).contains(port)));
    }
    bench.assert_pairs();
}

#[test]
fn root_two_fronts_of_one_backend_are_told_apart_for_the_same_client() {
    let bench = Bench::new("fronts");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let (one, other, backend) = (at(family.load_balancer, 80), at(family.load_balancer, 81), at(family.pod_a, 8080));
        bench.put(&Front::new(list, TCP, one, &[backend]));
        bench.put(&Front::new(list + 1, TCP, other, &[backend]));
        let client = at(family.client, 50_000);
        let seen: Vec<SocketAddr> = [one, other]
            .iter()
            .map(|front| {
                let there = bench.from_network(&wired(tcp(client, *front, flags::SYN, b"")).bytes());
                assert_eq!(there.verdict, Verdict::Redirect);
                Packet::read(&there.frame).unwrap().ends().0
            })
            .collect();
        assert_eq!(seen[0], client);
        assert!(seen[1].ip() == client.ip() && seen[1].port() != client.port(), "{seen:?}");
        for (source, front) in seen.iter().zip([one, other]) {
            let back = bench.from_pod(&tcp(backend, *source, flags::SYN_ACK, b"").bytes());
            assert_sent(&back, &one_hop_on(tcp(front, client, flags::SYN_ACK, b"")));
        }
    }
    bench.assert_pairs();
}

#[test]
fn root_a_backend_on_the_node_itself_is_reached_by_the_stack_and_answers_from_the_front() {
    let bench = Bench::new("host");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (front, backend) = (at(family.node, PORT), at(family.node, 6443));
        put(&bench, list, protocol, (front, true), backend);
        let node_2 = if family.client.contains(':') { "2001:db8::2" } else { "192.0.2.2" };
        // Nor has the stack any use for its own address as a source, whoever the client is.
        for client in [family.client, node_2, family.remote_pod].map(|address| at(address, 43_000 + list as u16)) {
            let there = bench.from_network(&wired(make(client, front)).bytes());
            assert_eq!((there.verdict, there.frame), (Verdict::Next, wired(make(client, backend)).bytes()), "no hop is taken");
            let back = bench.to_network(&make(backend, client).bytes());
            assert_eq!((back.verdict, back.frame), (Verdict::Next, make(front, client).bytes()));
        }
    }
    assert!(bench.drops().is_empty());
}

#[test]
fn root_a_frame_for_another_machine_or_no_services_is_left_alone() {
    let bench = Bench::new("others");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_b, 8080)]));
        let client = at(family.client, 5);
        let others = [
            Frame { destination_mac: [2, 0, 0, 0, 0, 0xcc], ..tcp(client, front, flags::SYN, b"") },
            Frame { destination_mac: [0xff; 6], ..tcp(client, front, flags::SYN, b"") },
            wired(tcp(client, at(family.node, 22), flags::SYN, b"")),
        ];
        for frame in others {
            let bytes = frame.bytes();
            let ran = bench.from_network(&bytes);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, bytes));
        }
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}

#[test]
fn root_packets_for_pods_go_into_them_as_they_are() {
    let bench = Bench::new("direct");
    for family in FAMILIES {
        let frame = wired(tcp(at(family.client, 5), at(family.pod_b, 8080), flags::SYN, b""));
        assert_sent(&bench.from_network(&frame.bytes()), &into_pod(frame, B_MACS));
    }
    assert!(bench.flows().is_empty());
}

#[test]
fn root_another_nodes_pods_use_the_front_as_those_inside_do() {
    let bench = Bench::new("inside");
    // From outside only the local pod, from inside any: the remote one stands alone in that list.
    let (front, local, remote) = (at(V4.load_balancer, 80), at(V4.pod_b, 8080), at(V4.remote_pod, 8080));
    let from_outside = Front { scopes: &[orknet_abi::scope::OUTSIDE], ..Front::new(1, TCP, front, &[local]) };
    let from_inside = Front { scopes: &[orknet_abi::scope::INSIDE], ..Front::new(2, TCP, front, &[remote]) };
    bench.put(&from_outside);
    bench.put(&from_inside);
    let destination = |source: &str| {
        let ran = bench.from_network(&wired(tcp(at(source, 999), front, flags::SYN, b"")).bytes());
        assert_eq!(ran.verdict, Verdict::Redirect);
        Packet::read(&ran.frame).unwrap().destination
    };
    assert_eq!(destination(V4.client), ip(V4.pod_b));
    assert_eq!(destination(V4.remote_pod_2), ip(V4.remote_pod));
}

#[test]
fn root_what_another_device_will_cut_up_goes_on_and_what_is_too_big_is_told() {
    let bench = Bench::new("big");
    // A test run takes no more than a page, which is twice what the device's measure allows.
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 8080)]));
        let frame = wired(tcp(at(family.client, 7), front, flags::ACK, &vec![7; 3_000])).bytes();
        for segments in [3, 0] {
            let arrival = orknet_dataplane::Arrival { segments, segment_size: 1440, ..bench.arrival() };
            let run = || bench.dataplane.run_from(orknet_dataplane::Hook::FromNetwork, &arrival, &frame, 1).unwrap();
            let ran = bench.node.run(run);
            assert_eq!(ran.verdict, Verdict::Redirect, "in {segments} segments");
            assert_sound(&ran.frame);
            assert_eq!(Packet::read(&ran.frame).unwrap().destination, ip(family.remote_pod), "in {segments} segments");
        }
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&frame));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![orknet_abi::DropReason::TooBig]));
        let answer = Packet::read(&ran.frame).unwrap();
        assert_eq!((answer.source, answer.destination), (front.ip(), ip(family.client)));
        let (kind, mtu_at) = if answer.source.is_ipv4() { ([3, 4], 6) } else { ([2, 0], 6) };
        assert_eq!(answer.payload[..2], kind);
        assert_eq!(answer.payload[mtu_at..mtu_at + 2], 1500_u16.to_be_bytes());
        assert_eq!(answer.quoted(), &frame[14..14 + answer.quoted().len()], "the sender's own words");
        assert_sound(&ran.frame);
    }
}
