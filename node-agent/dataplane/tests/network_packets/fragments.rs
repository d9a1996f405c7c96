//! Datagrams in fragments, and headers between IP and what it carries.

use crate::bench::{A_MACS, B_MACS, Bench, FAMILIES, Family, Front, V4, V6, assert_sent, at, into_pod, ip, wired};
use crate::frames::{Frame, Packet, assert_sound, chunk, flags, fragments_v4, fragments_v6, ping_of, sctp, tcp, udp};
use orknet_abi::DropReason;
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_dataplane::Verdict;

pub fn fragments(frame: &Frame) -> [Vec<u8>; 2] {
    if frame.source.is_ipv4() { fragments_v4(frame, 512) } else { fragments_v6(frame, 512) }
}

/// What a receiver makes of two fragments: they say the same of who sent them, and the checksum holds over both.
#[track_caller]
fn assert_together(first: &[u8], later: &[u8], whole: &Frame) -> Packet {
    let [one, other] = [first, later].map(|frame| Packet::read(frame).unwrap());
    assert_eq!((one.source, one.destination), (other.source, other.destination));
    [first, later].iter().for_each(|frame| assert_sound(frame));
    let joined = Frame { source: one.source, destination: one.destination, ..whole.clone() };
    let joined = Frame { payload: [&one.payload[..], &other.payload].concat(), ..joined }.bytes();
    assert_sound(&joined);
    Packet::read(&joined).unwrap()
}

fn backends(family: &Family) -> Vec<std::net::SocketAddr> {
    (2..40).map(|number| at(&format!("{}{number}", family.remote_pod.trim_end_matches('9')), 53)).collect()
}

#[test]
fn root_all_fragments_of_a_datagram_reach_one_backend() {
    let bench = Bench::new("fragments");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 53);
        bench.put(&Front::new(list, UDP, front, &backends(&family)));
        for port in 0..20 {
            let whole = wired(udp(at(family.client, 1000 + port), front, &[port as u8; 1200]));
            let [first, later] = fragments(&whole).map(|frame| {
                let ran = bench.from_network(&frame);
                assert_eq!(ran.verdict, Verdict::Redirect);
                ran.frame
            });
            let packet = assert_together(&first, &later, &whole);
            assert_eq!(packet.source, ip(family.node));
            assert_eq!(packet.payload[8..], whole.payload[8..]);
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_a_later_fragment_without_its_first_is_dropped_by_name() {
    let bench = Bench::new("unknown");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 53);
        bench.put(&Front::new(list, UDP, front, &[at(family.pod_b, 53)]));
        let whole = wired(udp(at(family.client, 999), front, &[7; 1200]));
        let [first, later] = fragments(&whole);
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&later));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::FragmentUnknown]));
        // Its first one makes it known.
        let [first, later] = [first, later].map(|frame| bench.from_network(&frame));
        assert_eq!((first.verdict, later.verdict), (Verdict::Redirect, Verdict::Redirect));
        assert_together(&first.frame, &later.frame, &whole);
        // Somebody else's is not meant.
        let others = wired(udp(at(family.router, 999), front, &[7; 1200]));
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&fragments(&others)[1]));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::FragmentUnknown]));
    }
}

#[test]
fn root_a_pods_fragments_leave_with_one_source_or_not_at_all() {
    let bench = Bench::new("leaving");
    for family in FAMILIES {
        let whole = udp(at(family.pod_a, 999), at(family.client, 53), &[7; 1200]);
        let [first, later] = fragments(&whole);
        let (ran, dropped) = bench.dropped_by(|| bench.to_network(&later));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::FragmentUnknown]), "a pod's address means nothing outside");
        let [first, later] = [first, later].map(|frame| bench.to_network(&frame));
        assert_eq!((first.verdict, later.verdict), (Verdict::Next, Verdict::Next));
        let packet = assert_together(&first.frame, &later.frame, &whole);
        assert_eq!(packet.source, ip(family.node));
        // So do the answers.
        let answer = wired(udp(packet.ends().1, packet.ends().0, &[8; 1200]));
        let [first, later] = fragments(&answer).map(|frame| bench.from_network(&frame));
        assert_eq!((first.verdict, later.verdict), (Verdict::Redirect, Verdict::Redirect));
        assert_eq!((&first.frame[..6], &later.frame[..6]), (&A_MACS[0][..], &A_MACS[0][..]));
        assert_eq!(assert_together(&first.frame, &later.frame, &answer).ends().1, at(family.pod_a, 999));
    }
}

#[test]
fn root_a_ping_in_fragments_is_answered_as_a_whole() {
    let bench = Bench::new("ping");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        bench.put(&Front::new(list, TCP, at(family.load_balancer, 80), &[]));
        bench.put(&Front::new(list + 1, TCP, at(family.cluster, 80), &[]).cluster());
        for identifier in [0, 77] {
            let from_network = ping_of(ip(family.client), ip(family.load_balancer), identifier, 1200);
            let from_pod = ping_of(ip(family.pod_a), ip(family.cluster), identifier, 1200);
            for (asked, is_pods) in [(wired(from_network), false), (from_pod, true)] {
                let [first, later] = fragments(&asked).map(|frame| {
                    let ran = if is_pods { bench.from_pod(&frame) } else { bench.from_network(&frame) };
                    assert_eq!((ran.verdict, ran.mark), (Verdict::Redirect, crate::bench::DONE));
                    ran.frame
                });
                let answer = Frame { source: asked.destination, destination: asked.source, ..asked.clone() };
                let packet = assert_together(&first, &later, &answer);
                assert_eq!((packet.source, packet.destination), (asked.destination, asked.source));
                assert_eq!(packet.payload[0], if asked.source.is_ipv4() { 0 } else { 129 });
                assert_eq!(packet.payload[4..], asked.payload[4..]);
            }
        }
        // Nobody's is left alone, whole or in pieces.
        let nobody = if family.client.contains(':') { "2001:db8:113::99" } else { "203.0.113.99" };
        for frame in fragments(&wired(ping_of(ip(family.client), ip(nobody), 7, 1200))) {
            let ran = bench.from_network(&frame);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, frame));
        }
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}

#[test]
fn root_options_of_ipv4_are_passed_over() {
    let bench = Bench::new("options");
    let (client, front, backend) = (at(V4.client, 999), at(V4.load_balancer, 80), at(V4.pod_b, 8080));
    bench.put(&Front::new(1, TCP, front, &[backend]));
    for words in 1..=10 {
        let extra = vec![1; words * 4];
        let with_options = |to| wired(Frame { extra: extra.clone(), ..tcp(client, to, flags::ACK, b"data") });
        assert_sent(&bench.from_network(&with_options(front).bytes()), &into_pod(with_options(backend), B_MACS));
    }
}

#[test]
fn root_extension_headers_of_ipv6_are_passed_over() {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let bench = Bench::new("extensions");
    let (client, front, backend) = (at(V6.client, 999), at(V6.load_balancer, 80), at(V6.pod_b, 8080));
    bench.put(&Front::new(1, TCP, front, &[backend]));
    let chains: [&[u8]; 7] = [
        &[HOP_BY_HOP],
        &[ROUTING],
        &[DESTINATION],
        // A fragment that is the whole: "atomic", RFC 6946.
        &[FRAGMENT],
        &[HOP_BY_HOP, DESTINATION],
        &[HOP_BY_HOP, ROUTING, DESTINATION],
        &[HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT],
    ];
    for chain in chains {
        for words in [0, 1, 3] {
            let followers = chain.iter().skip(1).chain([&TCP]);
            let extra: Vec<u8> = chain.iter().zip(followers).flat_map(|(header, next)| extension(*header, *next, words)).collect();
            let with_headers = |to| {
                let plain = tcp(client, to, flags::ACK, b"data");
                wired(Frame { protocol: chain[0], extra: extra.clone(), ..plain })
            };
            assert_sent(&bench.from_network(&with_headers(front).bytes()), &into_pod(with_headers(backend), B_MACS));
        }
    }
    assert!(bench.drops().is_empty());
}

/// An extension header with `words` times eight bytes more than it needs.
fn extension(header: u8, next: u8, words: u8) -> Vec<u8> {
    const FRAGMENT: u8 = 44;
    if header == FRAGMENT {
        return vec![next, 0, 0, 0, 1, 2, 3, 4];
    }
    // PadN fills options; a routing header without a segment left asks for nothing.
    let head = if header == 43 { [next, words, 4, 0] } else { [next, words, 1, 4 + 8 * words] };
    let mut bytes = head.to_vec();
    bytes.resize(8 + 8 * usize::from(words), 0);
    bytes
}

/// SCTP's checksum is one over all fragments: with another port it would be wrong, and the receiver would say nothing.
#[test]
fn root_fragments_of_sctp_whose_ports_would_change_are_dropped_by_name() {
    let bench = Bench::new("sctp-pieces");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let (client, same, other) = (at(family.client, 999), at(family.load_balancer, 80), at(family.load_balancer, 81));
        bench.put(&Front::new(list, SCTP, same, &[at(family.pod_b, 80)]));
        bench.put(&Front::new(list + 1, SCTP, other, &[at(family.pod_b, 8080)]));
        let whole = |front| wired(sctp(client, front, chunk::DATA, &[7; 1200]));
        let [first, later] = fragments(&whole(same)).map(|frame| bench.from_network(&frame).frame);
        assert_eq!(assert_together(&first, &later, &whole(same)).ends().1, at(family.pod_b, 80));
        let [first, _] = fragments(&whole(other));
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&first));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::RewriteFailed]));
        if client.is_ipv6() {
            // Behind another header a fragment's is found as well.
            let first = whole(other);
            let extra = [extension(60, 44, 0), vec![first.protocol, 0, 0, 1, 1, 2, 3, 4]].concat();
            let first = Frame { protocol: 60, extra, payload: first.payload[..512].to_vec(), ..first };
            let (ran, dropped) = bench.dropped_by(|| bench.from_network(&first.bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::RewriteFailed]));
        }
        assert_eq!(bench.from_network(&whole(other).bytes()).verdict, Verdict::Redirect, "as a whole it may pass");
    }
}
