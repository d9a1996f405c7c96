//! What pods send out of the cluster seems to come from the node, and answers find back.

use crate::bench::{A_MACS, Bench, DONE, FAMILIES, FIRST_PORT, Front, LAST_PORT, at, into_pod, ip, settings, wired};
use crate::frames::{
    Frame, Packet, assert_sound, chunk, error, flags, fragments_v4, fragments_v6, internet_sum, ping, pong, pseudo_header, sctp, tcp, udp,
    udp_without_checksum,
};
use orknet_abi::DropReason;
use orknet_abi::protocol::UDP;
use orknet_dataplane::{Arrival, Hook, Verdict};
use std::net::SocketAddr;

type Make = fn(SocketAddr, SocketAddr) -> Frame;

fn kinds() -> [Make; 4] {
    [
        |from, to| tcp(from, to, flags::SYN, b""),
        |from, to| udp(from, to, b"question"),
        |from, to| if from.is_ipv4() { udp_without_checksum(from, to, b"odd") } else { udp(from, to, b"odd") },
        |from, to| sctp(from, to, chunk::INIT, &[9; 32]),
    ]
}

#[test]
fn root_a_pods_packet_leaves_with_the_nodes_address_and_the_answer_finds_the_pod() {
    let bench = Bench::new("masquerade");
    for family in FAMILIES {
        for (number, make) in (0..).zip(kinds()) {
            let (pod, outside) = (at(family.pod_a, 1000 + number), at(family.client, 443));
            let left = bench.to_network(&make(pod, outside).bytes());
            assert_eq!(left.verdict, Verdict::Next);
            let node = Packet::read(&left.frame).unwrap().ends().0;
            assert!(node.ip() == ip(family.node) && (FIRST_PORT..=LAST_PORT).contains(&node.port()), "{node}");
            assert_eq!(left.frame, make(node, outside).bytes(), "the stack has taken the hop");
            assert_eq!(bench.to_network(&make(pod, outside).bytes()).frame, left.frame);
            let back = bench.from_network(&wired(make(outside, node)).bytes());
            assert_eq!(back.verdict, Verdict::Redirect);
            assert_eq!(back.frame, into_pod(wired(make(outside, pod)), A_MACS).bytes());
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

/// The ping's frame with another type and length.
fn query(echo: Frame, kind: u8, bytes: usize) -> Frame {
    let mut payload = echo.payload;
    (payload[0], payload[2], payload[3]) = (kind, 0, 0);
    payload.truncate(bytes);
    let checksum = !internet_sum(&[&payload]);
    payload[2..4].copy_from_slice(&checksum.to_be_bytes());
    Frame { payload, ..echo }
}

#[test]
fn root_other_queries_of_icmp_leave_as_a_ping_does() {
    let bench = Bench::new("queries");
    let family = FAMILIES[0];
    let (pod, node, outside) = (ip(family.pod_a), ip(family.node), ip(family.client));
    bench.put(&Front::new(1, UDP, at(family.load_balancer, 80), &[at(family.pod_b, 53)]));
    // For a timestamp, the network's number, its mask.
    for (number, [kind, answer], bytes) in [(7, [13, 14], 20), (8, [15, 16], 8), (9, [17, 18], 12)] {
        let asks = |from, to, number| query(ping(from, to, number), kind, bytes);
        let answers = |from, to, number| query(pong(from, to, number), answer, bytes);
        let left = bench.to_network(&asks(pod, outside, number).bytes());
        let identifier = Packet::read(&left.frame).unwrap().identifier();
        assert!((FIRST_PORT..=LAST_PORT).contains(&identifier), "{identifier}");
        assert_eq!((left.verdict, left.frame), (Verdict::Next, asks(node, outside, identifier).bytes()));
        let back = bench.from_network(&wired(answers(outside, node, identifier)).bytes());
        assert_eq!((back.verdict, back.frame), (Verdict::Redirect, into_pod(wired(answers(outside, pod, number)), A_MACS).bytes()));
        assert!(bench.drops().is_empty());
    }
    // Nobody answers it in the place of a Service, nor does it go back to the router.
    let asked = wired(query(ping(outside, ip(family.load_balancer), 9), 13, 20)).bytes();
    let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked));
    assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::NoSuchPort]));
    assert_eq!(Packet::read(&ran.frame).unwrap().payload[..2], [3, 3]);
    bench.assert_pairs();
}

#[test]
fn root_a_ping_leaves_with_an_identifier_of_the_nodes() {
    let bench = Bench::new("ping");
    for family in FAMILIES {
        let (pod, node, outside) = (ip(family.pod_a), ip(family.node), ip(family.client));
        let left = bench.to_network(&ping(pod, outside, 7).bytes());
        let identifier = Packet::read(&left.frame).unwrap().identifier();
        assert!((FIRST_PORT..=LAST_PORT).contains(&identifier), "{identifier}");
        assert_eq!((left.verdict, left.frame), (Verdict::Next, ping(node, outside, identifier).bytes()));
        let back = bench.from_network(&wired(pong(outside, node, identifier)).bytes());
        assert_eq!(back.verdict, Verdict::Redirect);
        assert_eq!(back.frame, into_pod(wired(pong(outside, pod, 7)), A_MACS).bytes());
        // Nobody asked with this one.
        let stray = wired(pong(outside, node, if identifier == FIRST_PORT { LAST_PORT } else { FIRST_PORT })).bytes();
        let ran = bench.from_network(&stray);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, stray));
    }
    bench.assert_pairs();
}

/// Tunnels, IPsec, and protocols whose checksum covers the addresses (DCCP, UDP-Lite).
const PORTLESS: [u8; 6] = [4, 41, 47, 50, 33, 136];

#[test]
fn root_protocols_without_ports_leave_as_the_nodes_and_answers_find_the_pod() {
    let bench = Bench::new("portless");
    for family in FAMILIES {
        for protocol in PORTLESS {
            let frame = |from, to| Frame::new(from, to, protocol, &[1, 2, 3, 4, 0, 0, 0xab, 0xcd, 9, 10, 11, 12]);
            let sent = frame(family.pod_a, family.client);
            let left = bench.to_network(&sent.bytes());
            let packet = Packet::read(&left.frame).unwrap();
            assert_eq!((left.verdict, packet.source, packet.destination), (Verdict::Next, ip(family.node), ip(family.client)));
            let has_checksum = matches!(protocol, 33 | 136);
            let sum = |source, payload: &[u8]| internet_sum(&[&pseudo_header(source, ip(family.client), protocol, payload.len()), payload]);
            if has_checksum {
                assert_eq!(sum(packet.source, &packet.payload), sum(sent.source, &sent.payload), "the sum over everything stays");
            } else {
                assert_eq!(packet.payload, sent.payload);
            }
            let back = bench.from_network(&wired(frame(family.client, family.node)).bytes());
            assert_eq!((back.verdict, &back.frame[..6]), (Verdict::Redirect, &A_MACS[0][..]));
            assert_eq!(Packet::read(&back.frame).unwrap().destination, ip(family.pod_a));
            // An error about it reaches the pod, about what the pod sent.
            let kind = if packet.source.is_ipv4() { [3, 4] } else { [2, 0] };
            let told = error(ip(family.router), ip(family.node), kind, 1400, &left.frame[14..]);
            let told = bench.from_network(&wired(told).bytes());
            assert_sound(&told.frame);
            let told = Packet::read(&told.frame).unwrap();
            assert_eq!(told.destination, ip(family.pod_a));
            let quoted = Packet::read_ip(told.quoted()).unwrap();
            assert_eq!((quoted.source, quoted.destination, &quoted.payload[..6]), (sent.source, sent.destination, &sent.payload[..6]));
            // The addresses are this pod's: another one would get its answers.
            let (ran, dropped) = bench.dropped_by(|| bench.to_network(&frame(family.pod_b, family.client).bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::NatPortsExhausted]));
            // What nobody asked for is the node's own.
            let stray = wired(frame(family.router, family.node)).bytes();
            let ran = bench.from_network(&stray);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, stray));
        }
    }
    bench.assert_pairs();
    assert_eq!(bench.flows().len(), FAMILIES.len() * PORTLESS.len() * 2);
}

#[test]
fn root_fragments_of_a_protocol_without_ports_need_not_know_each_other() {
    let bench = Bench::new("pieces");
    for family in FAMILIES {
        let whole = Frame::new(family.pod_a, family.client, 47, &[7; 1200]);
        let [first, later] = if whole.source.is_ipv4() { fragments_v4(&whole, 512) } else { fragments_v6(&whole, 512) };
        for frame in [later, first] {
            let left = bench.to_network(&frame);
            assert_eq!((left.verdict, Packet::read(&left.frame).unwrap().source), (Verdict::Next, ip(family.node)));
            assert_sound(&left.frame);
        }
    }
    assert!(bench.drops().is_empty());
}

#[test]
fn root_what_stays_among_pods_services_and_nodes_keeps_its_source() {
    let bench = Bench::new("inside");
    for family in FAMILIES {
        let node_2 = if family.client.contains(':') { "2001:db8::2" } else { "192.0.2.2" };
        for destination in [family.remote_pod, family.cluster, node_2] {
            let frame = tcp(at(family.pod_a, 5), at(destination, 80), flags::SYN, b"").bytes();
            let ran = bench.to_network(&frame);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, frame));
        }
        // Nor are the node's own packets, other nodes' pods' or anybody else's translated.
        for source in [family.node, family.remote_pod, family.router] {
            let frame = tcp(at(source, 5), at(family.client, 80), flags::SYN, b"").bytes();
            let ran = bench.to_network(&frame);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, frame));
        }
    }
    bench.set_node(orknet_abi::Node { flags: 0, ..settings() });
    for family in FAMILIES {
        let frame = tcp(at(family.pod_a, 5), at(family.client, 80), flags::SYN, b"").bytes();
        let ran = bench.to_network(&frame);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, frame));
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}

#[test]
fn root_what_was_translated_on_its_way_in_leaves_as_it_is() {
    let bench = Bench::new("done");
    let family = FAMILIES[0];
    let frame = tcp(at(family.pod_a, 5), at(family.client, 80), flags::SYN, b"").bytes();
    let arrival = Arrival { mark: DONE, ..bench.arrival() };
    let ran = bench.node.run(|| bench.dataplane.run_from(Hook::ToNetwork, &arrival, &frame, 1)).unwrap();
    assert_eq!((ran.verdict, ran.frame, ran.mark), (Verdict::Next, frame, 0));
    assert!(bench.flows().is_empty());
}

#[test]
fn root_a_pod_that_finds_no_port_is_dropped_by_name_and_the_others_go_on() {
    let bench = Bench::new("exhausted");
    bench.set_node(orknet_abi::Node { first_port: 61_000, last_port: 61_001, ..settings() });
    for family in FAMILIES {
        let from = |port| udp(at(family.pod_a, port), at(family.client, 53), b"x").bytes();
        let mut left = Vec::new();
        for port in 1..40 {
            let (ran, dropped) = bench.dropped_by(|| bench.to_network(&from(port)));
            match ran.verdict {
                Verdict::Next => left.push((port, ran.frame)),
                verdict => assert_eq!((verdict, dropped), (Verdict::Drop, vec![DropReason::NatPortsExhausted])),
            }
        }
        assert_eq!(left.len(), 2, "two ports, two flows");
        for (port, frame) in left {
            assert_sound(&frame);
            assert_eq!(bench.to_network(&from(port)).frame, frame);
        }
    }
    bench.assert_pairs();
}

#[test]
fn root_a_client_outside_that_knows_a_pod_by_its_address_is_answered_from_it() {
    let bench = Bench::new("known");
    for family in &FAMILIES {
        for flags in [flags::SYN | flags::ACK, flags::ACK, flags::ACK | flags::FIN] {
            let frame = tcp(at(family.pod_a, 8080), at(family.client, 40_000), flags, b"").bytes();
            let ran = bench.to_network(&frame);
            assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &frame));
        }
        for kind in [chunk::INIT_ACK, chunk::DATA, chunk::SHUTDOWN] {
            let frame = sctp(at(family.pod_a, 8080), at(family.client, 40_000), kind, &[0; 16]).bytes();
            let ran = bench.to_network(&frame);
            assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &frame));
        }
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}
