//! What leads nowhere is answered or dropped, each with its reason.

use crate::bench::{Bench, DONE, FAMILIES, Front, TABLE_SIZE, V4, V6, at, ip, settings, wired};
use crate::frames::{Frame, IP, Packet, assert_sound, chunk, flags, ping, sctp, tcp, tcp_numbered, udp};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_abi::{Address, DropReason, RangeKey, SourceKey, service_flags};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Ran, Verdict};

/// The answer went back out of the device, to where the frame came from.
#[track_caller]
fn assert_answered(ran: &Ran, asked: &Frame) -> Packet {
    assert_eq!((ran.verdict, ran.mark), (Verdict::Redirect, DONE));
    assert_eq!((&ran.frame[..6], &ran.frame[6..12]), (&asked.source_mac[..], &asked.destination_mac[..]));
    assert_sound(&ran.frame);
    let answer = Packet::read(&ran.frame).unwrap();
    assert_eq!((answer.source, answer.destination, answer.hop_limit), (asked.destination, asked.source, 64));
    answer
}

/// An ICMP error of this kind that quotes the frame.
#[track_caller]
fn assert_complained(ran: &Ran, asked: &Frame, kinds: [[u8; 2]; 2]) {
    let answer = assert_answered(ran, asked);
    assert_eq!(answer.protocol, if asked.source.is_ipv4() { 1 } else { 58 });
    assert_eq!(answer.payload[..2], kinds[usize::from(asked.source.is_ipv6())]);
    let quoted = answer.quoted();
    assert!(quoted.len() >= if asked.source.is_ipv4() { 28 } else { 48 });
    assert_eq!(quoted, &asked.bytes()[IP..IP + quoted.len()]);
}

#[track_caller]
fn assert_dropped(bench: &Bench, frame: &Frame, reason: DropReason) {
    let (ran, dropped) = bench.dropped_by(|| bench.from_network(&frame.bytes()));
    assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![reason]));
}

const PORT_UNREACHABLE: [[u8; 2]; 2] = [[3, 3], [1, 4]];
const TIME_EXCEEDED: [[u8; 2]; 2] = [[11, 0], [3, 0]];

#[test]
fn root_without_endpoints_tcp_is_reset_as_rfc_9293_says() {
    let bench = Bench::new("reset");
    let cases = [
        // Without an acknowledgement the reset has number 0 and acknowledges all of the segment.
        (flags::SYN, &b""[..], [7, 0], flags::RST | flags::ACK, [0, 8]),
        (flags::SYN, b"fast open", [7, 0], flags::RST | flags::ACK, [0, 17]),
        (flags::FIN, b"abc", [u32::MAX, 0], flags::RST | flags::ACK, [0, 3]),
        // With one it continues where the sender is.
        (flags::ACK, b"data", [100, 4_000_000_000], flags::RST, [4_000_000_000, 0]),
        (flags::SYN_ACK, b"", [100, 200], flags::RST, [200, 0]),
    ];
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, TCP, front, &[]));
        for (flags, data, numbers, wanted_flags, wanted) in cases {
            let asked = wired(tcp_numbered(at(family.client, 999), front, flags, numbers, data));
            let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked.bytes()));
            assert_eq!(dropped, [DropReason::NoEndpoints]);
            let answer = assert_answered(&ran, &asked);
            assert_eq!(answer.ends(), (front, at(family.client, 999)));
            let number = |at: usize| u32::from_be_bytes(answer.payload[at..at + 4].try_into().unwrap());
            assert_eq!((answer.payload[13], [number(4), number(8)]), (wanted_flags, wanted), "{flags:#x}");
            assert_eq!((answer.payload.len(), answer.payload[12], answer.payload[14..16] == [0, 0]), (20, 0x50, true));
        }
    }
    assert!(bench.flows().is_empty());
}

#[test]
fn root_packets_with_options_of_ipv4_are_answered_too() {
    let bench = Bench::new("options");
    let front = at(V4.load_balancer, 80);
    bench.put(&Front::new(1, TCP, front, &[]));
    bench.put(&Front::new(2, UDP, front, &[]));
    for words in 1..=10 {
        let extra = vec![1; words * 4];
        let asked = Frame { extra: extra.clone(), ..wired(tcp_numbered(at(V4.client, 999), front, flags::SYN, [7, 0], b"data")) };
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked.bytes()));
        assert_eq!(dropped, [DropReason::NoEndpoints]);
        let answer = assert_answered(&ran, &asked);
        assert_eq!((answer.ends(), answer.offset, answer.payload.len()), ((front, at(V4.client, 999)), IP + 20, 20));
        assert_eq!((answer.payload[13], &answer.payload[8..12]), (flags::RST | flags::ACK, &12_u32.to_be_bytes()[..]));
        let asked = Frame { extra, ..wired(udp(at(V4.client, 999), front, b"x")) };
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked.bytes()));
        assert_eq!(dropped, [DropReason::NoEndpoints]);
        assert_complained(&ran, &asked, PORT_UNREACHABLE);
    }
}

#[test]
fn root_padding_of_ethernet_is_not_counted_as_data() {
    let bench = Bench::new("padding");
    let front = at(V4.load_balancer, 80);
    bench.put(&Front::new(1, TCP, front, &[]));
    let asked = wired(tcp_numbered(at(V4.client, 999), front, flags::SYN, [7, 0], b""));
    let ran = bench.from_network(&[asked.bytes(), vec![0xee; 6]].concat());
    let answer = assert_answered(&ran, &asked);
    assert_eq!(answer.payload[8..12], 8_u32.to_be_bytes());
}

#[test]
fn root_without_endpoints_datagrams_are_told_that_nobody_is_there() {
    let bench = Bench::new("unreachable");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let (front, client) = (at(family.load_balancer, 80), at(family.client, 999));
        bench.put(&Front::new(list, UDP, front, &[]));
        bench.put(&Front::new(list + 1, SCTP, front, &[]));
        for asked in [udp(client, front, b""), udp(client, front, &[7; 600]), sctp(client, front, chunk::INIT, &[0; 16])] {
            let asked = wired(asked);
            let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked.bytes()));
            assert_complained(&ran, &asked, PORT_UNREACHABLE);
            assert_eq!(dropped, [DropReason::NoEndpoints]);
        }
    }
    assert!(bench.flows().is_empty());
}

#[test]
fn root_a_local_policy_without_a_local_endpoint_drops() {
    let bench = Bench::new("local");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, TCP, front, &[]).with(|service| service.flags = service_flags::LOCAL_ONLY));
        assert_dropped(&bench, &wired(tcp(at(family.client, 9), front, flags::SYN, b"")), DropReason::NoLocalEndpoints);
    }
}

#[test]
fn root_only_allowed_sources_come_through() {
    let bench = Bench::new("sources");
    for (list, family, [range, inside, outside], bits) in [
        (1, V4, ["198.51.100.0", "198.51.100.255", "198.51.101.0"], 24),
        (2, V6, ["2001:db8:9::", "2001:db8:9:ffff::1", "2001:db8:a::1"], 48),
    ] {
        let set = SourceKey::new(list, &RangeKey::new(ip(range), bits));
        bench.apply(&Plan { steps: vec![Step::PutSource(set)] });
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, UDP, front, &[at(family.pod_b, 53)]).with(|service| service.sources = list));
        let from = |source: &str| wired(udp(at(source, 9), front, b"x"));
        assert_eq!(bench.from_network(&from(inside).bytes()).verdict, Verdict::Redirect);
        assert_dropped(&bench, &from(outside), DropReason::SourceNotAllowed);
    }
    assert_eq!(bench.flows().len(), 4);
}

#[test]
fn root_pods_use_a_balanced_address_from_allowed_ranges_only() {
    let bench = Bench::new("inside");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        // Pod A alone is in the range.
        let range = RangeKey::new(ip(family.pod_a), if front.is_ipv4() { 32 } else { 128 });
        bench.apply(&Plan { steps: vec![Step::PutSource(SourceKey::new(list, &range))] });
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]).with(|service| service.sources = list));
        let (ran, dropped) = bench.dropped_by(|| bench.from_pod(&tcp(at(family.pod_a, 9), front, flags::SYN, b"").bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![]));
        let (ran, dropped) = bench.dropped_by(|| bench.from_pod_b(tcp(at(family.pod_b, 9), front, flags::SYN, b"")));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::SourceNotAllowed]));
        // Another node's pod is as much inside.
        assert_dropped(&bench, &wired(tcp(at(family.remote_pod_2, 9), front, flags::SYN, b"")), DropReason::SourceNotAllowed);
    }
    assert_eq!(bench.flows().len(), 4);
}

#[test]
fn root_full_flows_refuse_the_next_and_keep_what_is_there() {
    for capacity in [4, 5] {
        let bench = Bench::sized("full", &[("FLOWS", capacity)]);
        let front = at(V4.load_balancer, 80);
        bench.put(&Front::new(1, UDP, front, &[at(V4.pod_b, 53), at(V4.remote_pod, 53)]));
        let from = |port| wired(udp(at(V4.client, port), front, b"x")).bytes();
        let firsts: Vec<Ran> = (1..=2).map(|port| bench.from_network(&from(port))).collect();
        assert!(firsts.iter().all(|ran| ran.verdict == Verdict::Redirect));
        let kept = bench.flows();
        for port in 3..9 {
            let (ran, dropped) = bench.dropped_by(|| bench.from_network(&from(port)));
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::FlowsFull]));
        }
        assert_eq!(bench.flows().keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>(), "no half of a pair is left or lost");
        for (port, first) in (1..).zip(firsts) {
            assert_eq!(bench.from_network(&from(port)).frame, first.frame);
        }
    }
}

#[test]
fn root_full_flows_refuse_what_pods_send_and_leave_frames_of_the_wire_to_the_stack() {
    for capacity in [2, 3] {
        let bench = Bench::sized("full-rest", &[("FLOWS", capacity)]);
        bench.serve_wire();
        let (front, inside) = (at(V4.load_balancer, 80), at(V4.cluster, 80));
        bench.put(&Front::new(1, UDP, front, &[at(V4.remote_pod, 53)]));
        bench.put(&Front::new(2, UDP, inside, &[at(V4.remote_pod, 53)]).cluster());
        let from = |port| wired(udp(at(V4.client, port), front, b"x")).bytes();
        assert_eq!(bench.from_wire(&from(1)).verdict, Verdict::Redirect);
        let kept: Vec<_> = bench.flows().into_keys().collect();
        assert_eq!(kept.len(), 2);
        let frame = from(2);
        let (ran, dropped) = bench.dropped_by(|| bench.from_wire(&frame));
        assert_eq!((ran.verdict, ran.frame, dropped), (Verdict::Next, frame, vec![]), "who drops it counts it");
        type Run<'a> = Box<dyn Fn() -> Ran + 'a>;
        let runs: [Run<'_>; 3] = [
            Box::new(|| bench.from_network(&from(2))),
            Box::new(|| bench.from_pod(&udp(at(V4.pod_a, 9), inside, b"x").bytes())),
            Box::new(|| bench.to_network(&udp(at(V4.pod_a, 9), at(V4.client, 53), b"x").bytes())),
        ];
        for run in &runs {
            let (ran, dropped) = bench.dropped_by(run);
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::FlowsFull]));
            assert_eq!(bench.flows().into_keys().collect::<Vec<_>>(), kept, "no half of a pair");
        }
    }
}

#[test]
fn root_when_ports_run_out_the_next_is_dropped_by_name() {
    let bench = Bench::new("exhausted");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, UDP, front, &[at(family.remote_pod, 53)]));
        let from = |port| wired(udp(at(family.client, port), front, b"x"));
        let mut node = settings();
        (node.first_port, node.last_port) = (61_000, 61_000);
        bench.set_node(node);
        assert_eq!(bench.from_network(&from(1).bytes()).verdict, Verdict::Redirect);
        for port in 2..5 {
            assert_dropped(&bench, &from(port), DropReason::NatPortsExhausted);
        }
        // Another backend has ports of its own, and one more port is one more flow.
        bench.put(&Front::new(list + 10, UDP, at(family.load_balancer, 81), &[at(family.remote_pod_2, 53)]));
        assert_eq!(
            bench.from_network(&wired(udp(at(family.client, 1), at(family.load_balancer, 81), b"x")).bytes()).verdict,
            Verdict::Redirect
        );
        bench.assert_pairs();
    }
    assert_eq!(bench.flows().len(), 8);
}

#[test]
fn root_the_last_free_port_is_found() {
    const PORTS: u16 = 200;
    let bench = Bench::new("last-port");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, UDP, front, &[at(family.remote_pod, 53)]));
        let mut node = settings();
        (node.first_port, node.last_port) = (61_000, 61_000 + PORTS - 1);
        bench.set_node(node);
        for port in 1..=PORTS {
            let ran = bench.from_network(&wired(udp(at(family.client, port), front, b"x")).bytes());
            assert_eq!(ran.verdict, Verdict::Redirect, "client {port} of as many as there are ports");
        }
        assert_dropped(&bench, &wired(udp(at(family.client, PORTS + 1), front, b"x")), DropReason::NatPortsExhausted);
        bench.assert_pairs();
    }
}

#[test]
fn root_without_an_address_of_the_family_source_nat_says_so() {
    let bench = Bench::new("addressless");
    for (list, family, without) in [
        (1, V4, orknet_abi::Node { v4: Address::default(), ..settings() }),
        (2, V6, orknet_abi::Node { v6: Address::default(), ..settings() }),
        (3, V4, orknet_abi::Node { table_size: TABLE_SIZE, ..orknet_abi::Node::default() }),
    ] {
        bench.set_node(without);
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, UDP, front, &[at(family.remote_pod, 53)]));
        assert_dropped(&bench, &wired(udp(at(family.client, 1), front, b"x")), DropReason::NoNodeAddress);
        assert!(bench.flows().is_empty());
    }
}

#[test]
fn root_without_a_hop_left_the_sender_is_told() {
    let bench = Bench::new("hops");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        for (port, backend) in [(80, family.pod_b), (81, family.remote_pod)] {
            let front = at(family.load_balancer, port);
            bench.put(&Front::new(list + u32::from(port == 81), UDP, front, &[at(backend, 53)]));
            for hop_limit in [0, 1] {
                let asked = Frame { hop_limit, ..wired(udp(at(family.client, 1), front, b"x")) };
                let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked.bytes()));
                assert_complained(&ran, &asked, TIME_EXCEEDED);
                assert_eq!(dropped, [DropReason::NoHopLeft]);
            }
            let asked = Frame { hop_limit: 2, ..wired(udp(at(family.client, 1), front, b"x")) };
            let sent = bench.from_network(&asked.bytes());
            assert_eq!((sent.verdict, Packet::read(&sent.frame).unwrap().hop_limit), (Verdict::Redirect, 1));
        }
    }
}

#[test]
fn root_nobody_complains_to_what_is_no_single_host() {
    let bench = Bench::new("groups");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, UDP, front, &[]));
        bench.put(&Front::new(list + 1, TCP, front, &[]));
    }
    for (source, family) in
        [("224.0.0.5", V4), ("255.255.255.255", V4), ("0.0.0.0", V4), ("127.0.0.1", V4), ("ff02::1", V6), ("::", V6), ("::1", V6)]
    {
        let front = at(family.load_balancer, 80);
        for asked in [udp(at(source, 9), front, b"x"), tcp(at(source, 9), front, flags::SYN, b"")] {
            assert_dropped(&bench, &wired(asked), DropReason::NoEndpoints);
        }
    }
}

#[test]
fn root_a_ping_to_a_front_is_answered_and_to_nobody_is_not() {
    let bench = Bench::new("ping");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        bench.put(&Front::new(list, TCP, at(family.load_balancer, 80), &[]));
        bench.put(&Front::new(list + 1, TCP, at(family.cluster, 80), &[at(family.pod_b, 80)]).cluster());
        for front in [family.load_balancer, family.cluster] {
            let asked = wired(ping(ip(family.client), ip(front), 77));
            let from_outside = bench.from_network(&asked.bytes());
            let asked_by_pod = ping(ip(family.pod_a), ip(front), 77);
            let from_pod = bench.from_pod(&asked_by_pod.bytes());
            for (ran, asked) in [(from_outside, asked), (from_pod, asked_by_pod)] {
                let answer = assert_answered(&ran, &asked);
                assert_eq!(answer.payload[0], if asked.source.is_ipv4() { 0 } else { 129 });
                assert_eq!(answer.payload[4..], asked.payload[4..], "identifier, number and data as asked");
            }
        }
        let nobody = wired(ping(ip(family.client), at("203.0.113.99", 0).ip(), 77));
        let nobody = if family.client == V6.client { wired(ping(ip(family.client), ip("2001:db8:113::99"), 77)) } else { nobody };
        let ran = bench.from_network(&nobody.bytes());
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, nobody.bytes()));
        let unallocated = if family.client == V4.client { "10.96.0.99" } else { "fd00:10:96::99" };
        let asked = ping(ip(family.pod_a), ip(unallocated), 77);
        let (ran, dropped) = bench.dropped_by(|| bench.from_pod(&asked.bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::NoSuchService]));
    }
    assert!(bench.flows().is_empty());
}

#[test]
fn root_another_proxys_address_is_left_alone() {
    let bench = Bench::new("foreign");
    for (list, family) in (1..).zip(FAMILIES) {
        let foreign = service_flags::ADDRESS | service_flags::FOREIGN;
        let front = Front { scopes: &[], whole: Some(foreign), ..Front::new(list, TCP, at(family.cluster, 80), &[]) };
        bench.put(&front);
        for asked in [ping(ip(family.pod_a), ip(family.cluster), 1), tcp(at(family.pod_a, 1), front.at, flags::SYN, b"")] {
            let ran = bench.from_pod(&asked.bytes());
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, asked.bytes()));
        }
    }
}

#[test]
fn root_pods_are_refused_at_ports_that_a_cluster_address_has_not() {
    let bench = Bench::new("port");
    for (list, family) in (1..).zip(FAMILIES) {
        bench.put(&Front::new(list, TCP, at(family.cluster, 80), &[at(family.pod_b, 80)]).cluster());
        let wrong = at(family.cluster, 81);
        let asked = tcp_numbered(at(family.pod_a, 999), wrong, flags::SYN, [7, 0], b"");
        let (ran, dropped) = bench.dropped_by(|| bench.from_pod(&asked.bytes()));
        let answer = assert_answered(&ran, &asked);
        assert_eq!((answer.payload[13], dropped), (flags::RST | flags::ACK, vec![DropReason::NoSuchPort]));
        let asked = udp(at(family.pod_a, 999), wrong, b"x");
        let (ran, dropped) = bench.dropped_by(|| bench.from_pod(&asked.bytes()));
        assert_complained(&ran, &asked, PORT_UNREACHABLE);
        assert_eq!(dropped, [DropReason::NoSuchPort]);
    }
}
