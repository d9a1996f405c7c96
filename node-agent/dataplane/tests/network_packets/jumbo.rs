//! Frames larger than a page, which the driver hands over in several pieces: at the program of the wire they become what the same packets
//! become behind the stack's entrance.

use crate::bench::{Bench, FAMILIES, Family, Front, NODE_2_MAC, NODE_MAC, ROUTER_MAC, at, one_hop_on, wired};
use crate::frames::{Frame, Packet, assert_sound, chunk, flags, sctp, tcp, udp};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_dataplane::Verdict;
use std::net::SocketAddr;

/// Bytes from the IP header on that jumbo frames have at most.
const MTU: usize = 9_000;
/// No frame is longer in its first piece, whatever the page holds beside it.
const PAGE: usize = 4_096;

type Make = fn(SocketAddr, SocketAddr, &[u8]) -> Frame;

fn kinds() -> [(u8, Make); 3] {
    [(TCP, |from, to, data| tcp(from, to, flags::ACK, data)), (UDP, udp), (SCTP, |from, to, data| sctp(from, to, chunk::DATA, data))]
}

/// Each protocol of each family, with a number for its list.
fn cases() -> impl Iterator<Item = (u32, &'static Family, u8, Make)> {
    let all = FAMILIES.iter().flat_map(|family| kinds().map(|(protocol, make)| (family, protocol, make)));
    (1..).step_by(2).zip(all).map(|(list, (family, protocol, make))| (list, family, protocol, make))
}

/// Data that fills a packet of so many bytes.
fn filling(make: Make, from: SocketAddr, to: SocketAddr, bytes: usize) -> Vec<u8> {
    let least = make(from, to, b"").bytes().len() - 14;
    (0..bytes - least).map(|byte| (byte % 251) as u8).collect()
}

fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    bench.node.namespace.command("ip", &["link", "set", "eth0", "mtu", &MTU.to_string()]);
    bench.serve_wire();
    bench
}

#[test]
fn root_jumbo_frames_for_another_node_are_turned_around_on_the_wire_as_small_ones_are_behind_it() {
    let bench = bench("jumbo-there");
    for (list, family, protocol, make) in cases() {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        let data = filling(make, client, front, MTU);
        let macs = |destination_mac, frame| Frame { destination_mac, source_mac: NODE_MAC, ..one_hop_on(frame) }.bytes();
        let mut node = None;
        // The first of a flow, one whose flow is known, and those whose way is known.
        for turn in 0..4 {
            let sent = wired(make(client, front, &data)).bytes();
            assert!(sent.len() > 2 * PAGE);
            let there = bench.from_wire(&sent);
            assert_eq!(there.verdict, Verdict::Redirect, "{protocol}, turn {turn}");
            assert_sound(&there.frame);
            let seen = *node.get_or_insert_with(|| Packet::read(&there.frame).unwrap().ends().0);
            assert!(there.frame == macs(NODE_2_MAC, make(seen, backend, &data)), "{protocol}, turn {turn}: not to the last byte");
            let behind = bench.from_network(&wired(make(client, front, b"small")).bytes());
            assert_eq!((behind.verdict, behind.frame), (Verdict::Redirect, one_hop_on(wired(make(seen, backend, b"small"))).bytes()));
            let back = bench.from_wire(&wired(make(backend, seen, &data)).bytes());
            assert_eq!(back.verdict, Verdict::Redirect, "{protocol}, turn {turn}");
            assert!(back.frame == macs(ROUTER_MAC, make(front, client, &data)), "{protocol}, turn {turn}: not to the last byte");
        }
    }
    assert_eq!(bench.flows().len(), 12);
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_jumbo_frames_that_are_the_nodes_or_too_large_for_the_way_are_left_as_they_are() {
    let bench = bench("jumbo-here");
    for (list, family, protocol, make) in cases() {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        let remote = at(family.load_balancer, 81);
        bench.put(&Front::new(list, protocol, front, &[at(family.pod_b, 8080)]));
        bench.put(&Front::new(list + 1, protocol, remote, &[at(family.remote_pod, 8080)]));
        let large = filling(make, client, remote, MTU + 4);
        let frames = [
            make(client, front, &filling(make, client, front, MTU)),
            make(client, at(family.pod_b, 8080), &filling(make, client, front, MTU)),
            make(client, at(family.node, 22), &filling(make, client, front, MTU)),
            make(client, remote, &large),
        ];
        for turn in 0..3 {
            for frame in &frames {
                let sent = wired(frame.clone()).bytes();
                let ran = bench.from_wire(&sent);
                assert!(ran.verdict == Verdict::Next && ran.frame == sent, "{protocol}, turn {turn}: {:?}", ran.verdict);
                // What fits goes on meanwhile, by its known way at last.
                assert_eq!(bench.from_wire(&wired(make(client, remote, b"fits")).bytes()).verdict, Verdict::Redirect);
            }
        }
        // Behind the wire they go into the pod.
        let small = bench.from_network(&wired(make(client, front, b"small")).bytes());
        assert_eq!((small.verdict, Packet::read(&small.frame).unwrap().ends().1), (Verdict::Redirect, at(family.pod_b, 8080)));
    }
    bench.assert_pairs();
}

/// Headers of IPv6 between IP's and the protocol's that take more than the first piece.
#[test]
fn root_ports_and_checksums_that_lie_in_a_later_piece_are_translated_there() {
    let bench = bench("jumbo-far");
    for (list, family, protocol, make) in cases().filter(|(_, family, ..)| family.client.contains(':')) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        // Two headers of options for the destination (RFC 8200 section 4.6), each as long as can be, filled with PadN.
        let options = |next: u8| {
            let pads = [vec![255; 7], vec![257, 4]].concat().into_iter();
            let padding = pads.flat_map(|pad: usize| [vec![1, (pad - 2) as u8], vec![0; pad - 2]].concat());
            let bytes: Vec<u8> = [next, 255].into_iter().chain(padding).collect();
            assert_eq!(bytes.len(), 2_048);
            bytes
        };
        let far = |frame: Frame| Frame { extra: [options(60), options(protocol)].concat(), protocol: 60, ..frame };
        for turn in 0..3 {
            let there = bench.from_wire(&wired(far(make(client, front, b"far away"))).bytes());
            assert_eq!(there.verdict, Verdict::Redirect, "{protocol}, turn {turn}");
            assert_sound(&there.frame);
            let node = Packet::read(&there.frame).unwrap().ends().0;
            let wanted = Frame { destination_mac: NODE_2_MAC, source_mac: NODE_MAC, ..one_hop_on(far(make(node, backend, b"far away"))) };
            assert!(there.frame == wanted.bytes(), "{protocol}, turn {turn}: not to the last byte");
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}
