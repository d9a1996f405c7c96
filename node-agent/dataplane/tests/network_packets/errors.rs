//! ICMP errors about translated packets: each reaches who sent the packet, about the packet that was sent.

use crate::bench::{A_MACS, B_MACS, Bench, DONE, FAMILIES, Family, Front, at, ip, wired};
use crate::frames::{Frame, IP, Packet, assert_sound, chunk, error, flags, internet_sum, ping, sctp, tcp, udp};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_dataplane::{Ran, Verdict};
use std::net::{IpAddr, SocketAddr};

type Make = fn(SocketAddr, SocketAddr) -> Frame;

/// How much of a packet an error quotes beside the IP header.
const QUOTES: [usize; 2] = [8, 60];

fn kinds() -> [(u8, Make); 3] {
    [
        (TCP, |from, to| tcp(from, to, flags::ACK, &[3; 100])),
        (UDP, |from, to| udp(from, to, &[4; 100])),
        (SCTP, |from, to| sctp(from, to, 0, &[5; 100])),
    ]
}

/// Unreachable, too big, time exceeded, a parameter that is wrong: type, code, and the word that some of them need.
fn errors(family: &Family) -> [([u8; 2], u32); 4] {
    if ip(family.client).is_ipv4() {
        [([3, 1], 0), ([3, 4], 1400), ([11, 0], 0), ([12, 0], 0x1400_0000)]
    } else {
        [([1, 0], 0), ([2, 0], 1400), ([3, 0], 0), ([4, 1], 6)]
    }
}

/// The IP header of a frame and the first bytes after it.
fn quote(frame: &[u8], bytes: usize) -> Vec<u8> {
    let offset = Packet::read(frame).unwrap().offset;
    frame[IP..(offset + bytes).min(frame.len())].to_vec()
}

/// The error was sent on, from and to these, about the packet that was `sent`: with its addresses, ports and identifiers.
#[track_caller]
fn assert_about(ran: &Ran, from: IpAddr, to: IpAddr, (kind, word): ([u8; 2], u32), sent: &[u8], bytes: usize) {
    assert_sound(&ran.frame);
    let packet = Packet::read(&ran.frame).unwrap();
    assert_eq!((packet.source, packet.destination), (from, to));
    assert_eq!((&packet.payload[..2], &packet.payload[4..8]), (&kind[..], &word.to_be_bytes()[..]));
    let (got, wanted) = (packet.quoted(), quote(sent, bytes));
    assert_eq!(got.len(), wanted.len());
    let header = if from.is_ipv4() { 20 } else { 40 };
    // Routers on the way have taken hops, and nobody reads the checksum of the protocol inside.
    if from.is_ipv4() {
        assert_eq!(internet_sum(&[&got[..header]]), 0xffff, "the inner header's checksum");
        assert_eq!((&got[..8], got[9], &got[12..header]), (&wanted[..8], wanted[9], &wanted[12..header]));
    } else {
        assert_eq!((&got[..7], &got[8..header]), (&wanted[..7], &wanted[8..header]));
    }
    let checksum = match Packet::read(sent).unwrap().protocol {
        6 => 16..18,
        17 => 6..8,
        132 => 8..12,
        _ => 2..4,
    };
    let without_checksum = |quoted: &[u8]| {
        let mut inner = quoted[header..].to_vec();
        let range = checksum.start.min(inner.len())..checksum.end.min(inner.len());
        inner[range].fill(0);
        inner
    };
    assert_eq!(without_checksum(got), without_checksum(&wanted));
}

#[test]
fn root_errors_about_packets_to_a_backend_elsewhere_reach_the_client() {
    let bench = Bench::new("there");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        let sent = wired(make(client, front)).bytes();
        let there = bench.from_network(&sent);
        assert_eq!(there.verdict, Verdict::Redirect);
        for (kind, word) in errors(family) {
            for bytes in QUOTES {
                // From a router on the way, and from the backend itself, which the client knows as the front.
                for (from, seen_from) in [("router", ip(family.router)), ("backend", front.ip())] {
                    let source = if from == "router" { seen_from } else { backend.ip() };
                    let told = wired(error(source, ip(family.node), kind, word, &quote(&there.frame, bytes)));
                    let ran = bench.from_network(&told.bytes());
                    assert_eq!((ran.verdict, ran.mark), (Verdict::Redirect, DONE));
                    assert_about(&ran, seen_from, client.ip(), (kind, word), &sent, bytes);
                }
            }
        }
        // The other direction: the client, or a router near it, about the answer.
        let node = Packet::read(&there.frame).unwrap().ends().0;
        let answered = wired(make(backend, node)).bytes();
        let back = bench.from_network(&answered);
        for (kind, word) in errors(family) {
            for bytes in QUOTES {
                for (source, seen_from) in [(ip(family.router), ip(family.router)), (client.ip(), node.ip())] {
                    let told = wired(error(source, front.ip(), kind, word, &quote(&back.frame, bytes)));
                    let ran = bench.from_network(&told.bytes());
                    assert_eq!(ran.verdict, Verdict::Redirect);
                    assert_about(&ran, seen_from, backend.ip(), (kind, word), &answered, bytes);
                }
            }
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_errors_between_a_client_and_a_pod_of_this_node_are_translated_both_ways() {
    let bench = Bench::new("here");
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.pod_b, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        let sent = wired(make(client, front)).bytes();
        let there = bench.from_network(&sent);
        let answered = make(backend, client);
        let back = bench.from_pod_b(answered.clone());
        assert_eq!((there.verdict, back.verdict), (Verdict::Redirect, Verdict::Redirect));
        for (kind, word) in errors(family) {
            for bytes in QUOTES {
                let from_pod = bench.from_pod_b(error(backend.ip(), client.ip(), kind, word, &quote(&there.frame, bytes)));
                assert_eq!(from_pod.verdict, Verdict::Redirect);
                assert_about(&from_pod, front.ip(), client.ip(), (kind, word), &sent, bytes);
                let told = wired(error(ip(family.router), front.ip(), kind, word, &quote(&back.frame, bytes)));
                let into = bench.from_network(&told.bytes());
                assert_eq!((into.verdict, &into.frame[..6]), (Verdict::Redirect, &B_MACS[0][..]));
                assert_about(&into, ip(family.router), backend.ip(), (kind, word), &answered.bytes(), bytes);
            }
        }
    }
    assert!(bench.drops().is_empty());
}

#[test]
fn root_errors_about_what_a_pod_sent_out_reach_the_pod() {
    let bench = Bench::new("masquerade");
    for family in FAMILIES {
        let (pod, outside) = (at(family.pod_a, 999), at(family.client, 443));
        // Connections have had their first packet.
        for first in [tcp(pod, outside, flags::SYN, b""), sctp(pod, outside, chunk::INIT, &[0; 16])] {
            assert_eq!(bench.to_network(&first.bytes()).verdict, Verdict::Next);
        }
        let frames = kinds().map(|(_, make)| make(pod, outside)).into_iter().chain([ping(pod.ip(), outside.ip(), 999)]);
        for sent in frames.map(|frame| frame.bytes()) {
            let left = bench.to_network(&sent);
            assert_eq!(left.verdict, Verdict::Next);
            for (kind, word) in errors(&family) {
                for bytes in QUOTES {
                    let told = wired(error(ip(family.router), ip(family.node), kind, word, &quote(&left.frame, bytes)));
                    let ran = bench.from_network(&told.bytes());
                    assert_eq!((ran.verdict, &ran.frame[..6]), (Verdict::Redirect, &A_MACS[0][..]));
                    assert_about(&ran, ip(family.router), pod.ip(), (kind, word), &sent, bytes);
                }
            }
        }
    }
    bench.assert_pairs();
}

#[test]
fn root_what_a_pod_says_about_an_answer_from_outside_leaves_with_the_nodes_address() {
    let bench = Bench::new("complaint");
    for family in FAMILIES {
        let (pod, outside) = (at(family.pod_a, 999), at(family.client, 53));
        let node = Packet::read(&bench.to_network(&udp(pod, outside, b"ask").bytes()).frame).unwrap().ends().0;
        let answer = wired(udp(outside, node, &[1; 100])).bytes();
        let into = bench.from_network(&answer);
        let kind = if pod.is_ipv4() { [3, 3] } else { [1, 4] };
        let leaving = error(pod.ip(), outside.ip(), kind, 0, &quote(&into.frame, 60));
        let ran = bench.to_network(&leaving.bytes());
        assert_eq!(ran.verdict, Verdict::Next);
        assert_about(&ran, node.ip(), outside.ip(), (kind, 0), &answer, 60);
    }
}

#[test]
fn root_errors_about_nothing_that_is_known_are_left_alone() {
    let bench = Bench::new("stray");
    for family in FAMILIES {
        for (kind, word) in errors(&family) {
            let quoted = quote(&udp(at(family.node, 61_005), at(family.client, 53), &[0; 20]).bytes(), 8);
            let frame = wired(error(ip(family.router), ip(family.node), kind, word, &quoted)).bytes();
            let ran = bench.from_network(&frame);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, frame));
        }
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}
