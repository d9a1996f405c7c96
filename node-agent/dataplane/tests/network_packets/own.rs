//! What the node itself sends to Services past its sockets.

use crate::bench::{Bench, DONE, FAMILIES, Front, at, ip};
use crate::frames::{Packet, assert_sound, error, flags, fragments_v4, fragments_v6, ping, ping_of, pong, tcp, udp};
use orknet_abi::DropReason;
use orknet_abi::protocol::TCP;
use orknet_abi::service_flags;
use orknet_dataplane::Verdict;

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

#[test]
fn root_anything_but_a_ping_is_unreachable_or_goes_where_else_the_address_is() {
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
        // Calls were translated at sockets, so this is a raw one's, and learns at once that nobody is there.
        let raw = at(family.node, 999);
        for asked in [tcp(raw, cluster, flags::SYN, b""), udp(raw, cluster, b"x"), ping(node, other_proxys.ip(), 7)] {
            let (ran, dropped) = bench.dropped_by(|| bench.from_node(&asked.bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::NotForService]));
            assert_sound(&ran.frame);
            let answer = Packet::read(&ran.frame).unwrap();
            assert_eq!((answer.source, answer.destination), (asked.destination, asked.source));
            assert_eq!(answer.payload[..2], if is_v4 { [3, 3] } else { [1, 4] });
        }
        // A load balancer's address may be a host's, which waits for this.
        let other = pong(node, ip(family.load_balancer), 7);
        let (ran, dropped) = bench.dropped_by(|| bench.from_node(&other.bytes()));
        assert_eq!((ran.verdict, ran.frame, ran.mark, dropped), (Verdict::Redirect, other.bytes(), DONE, vec![]));
    }
}
