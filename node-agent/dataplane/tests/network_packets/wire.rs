//! Frames from the wire: what goes on to another machine goes at once, as `from_network` would send it; all else is left to that.

use crate::bench::{Bench, FAMILIES, Front, NODE_2_MAC, NODE_MAC, ROUTER_MAC, at, one_hop_on, wired};
use crate::frames::{Frame, Packet, assert_sound, chunk, flags, internet_sum, ping, pseudo_header, sctp, tcp, udp, udp_without_checksum};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_abi::{Count, LeftReason, device_takes};
use orknet_dataplane::Verdict;
use std::net::SocketAddr;

type Make = fn(SocketAddr, SocketAddr) -> Frame;

fn kinds() -> [(u8, Make); 3] {
    [
        (TCP, |from, to| tcp(from, to, flags::ACK, b"a request")),
        (UDP, |from, to| udp(from, to, b"odd")),
        (SCTP, |from, to| sctp(from, to, chunk::DATA, b"some data of a chunk")),
    ]
}

#[test]
fn root_packets_between_outside_and_another_node_are_turned_around_on_the_wire() {
    let bench = Bench::new("wire");
    bench.serve_wire();
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        let sent = wired(make(client, front)).bytes();
        let there = bench.from_wire(&sent);
        assert_sound(&there.frame);
        let node = Packet::read(&there.frame).unwrap().ends().0;
        let macs = |destination_mac, frame| Frame { destination_mac, source_mac: NODE_MAC, ..one_hop_on(frame) }.bytes();
        assert_eq!((there.verdict, there.frame), (Verdict::Redirect, macs(NODE_2_MAC, make(node, backend))));
        // The program behind it finds the same flow.
        let behind = bench.from_network(&sent);
        assert_eq!((behind.verdict, behind.frame), (Verdict::Redirect, one_hop_on(wired(make(node, backend))).bytes()));
        let back = bench.from_wire(&wired(make(backend, node)).bytes());
        assert_eq!((back.verdict, back.frame), (Verdict::Redirect, macs(ROUTER_MAC, make(front, client))));
    }
    assert_eq!(bench.flows().len(), 12);
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_everything_else_on_the_wire_is_the_nodes() {
    let bench = Bench::new("wire-rest");
    bench.serve_wire();
    for (list, family) in (1..).step_by(3).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_b, 80)]));
        bench.put(&Front::new(list + 1, UDP, front, &[]));
        bench.put(&Front::new(list + 2, TCP, at(family.load_balancer, 81), &[at(family.remote_pod, 80)]));
        let to_remote = tcp(client, at(family.load_balancer, 81), flags::SYN, b"");
        let frames = [
            wired(tcp(client, front, flags::SYN, b"")),
            wired(udp(client, front, b"nobody is there")),
            wired(tcp(client, at(family.pod_b, 80), flags::SYN, b"")),
            wired(tcp(client, at(family.node, 22), flags::SYN, b"")),
            wired(ping(client.ip(), front.ip(), 7)),
            wired(Frame { hop_limit: 1, ..to_remote.clone() }),
            Frame { destination_mac: [2, 0, 0, 0, 0, 0xcc], ..to_remote },
        ];
        for frame in frames {
            let bytes = frame.bytes();
            let ran = bench.from_wire(&bytes);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, bytes));
        }
    }
    assert!(bench.drops().is_empty());
}

/// The frame as its sender leaves it where a device is to sum it up.
fn open(frame: Frame) -> Frame {
    let pseudo = pseudo_header(frame.source, frame.destination, frame.protocol, frame.payload.len());
    let (at, begun) = match frame.protocol {
        SCTP => (8, vec![0; 4]),
        protocol => (if protocol == TCP { 16 } else { 6 }, internet_sum(&[&pseudo]).to_be_bytes().to_vec()),
    };
    let mut payload = frame.payload;
    payload[at..at + begun.len()].copy_from_slice(&begun);
    Frame { payload, ..frame }
}

fn left(bench: &Bench) -> u64 {
    let left: Vec<(LeftReason, Count)> = bench.dataplane.reader().left().unwrap();
    left.into_iter().find(|(reason, _)| *reason == LeftReason::OpenChecksum).unwrap().1.packets
}

#[test]
fn root_what_nobody_has_summed_up_yet_is_left_to_the_stack() {
    let bench = Bench::new("wire-open");
    bench.serve_wire();
    let mut expected = 0;
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        let whole = wired(make(client, front));
        // The first of a flow, one whose flow is known, one whose way is known.
        for turn in 0..3 {
            let sent = open(whole.clone()).bytes();
            let ran = bench.from_wire(&sent);
            assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &sent), "{protocol}, turn {turn}");
            expected += 1;
            assert_eq!(left(&bench), expected);
            assert_eq!(bench.from_wire(&whole.bytes()).verdict, Verdict::Redirect, "{protocol}, turn {turn}");
        }
        let behind = Packet::read(&bench.from_network(&open(whole).bytes()).frame).unwrap();
        assert_eq!(behind.ends().1, backend);
        // And so it is on the way back.
        let sent = open(wired(make(backend, behind.ends().0))).bytes();
        let ran = bench.from_wire(&sent);
        assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &sent));
        expected += 1;
    }
    assert_eq!(left(&bench), expected);
    // What goes to the node's own pods is the stack's anyway, and nobody counts it.
    let family = FAMILIES[0];
    let local = open(wired(tcp(at(family.client, 7), at(family.pod_b, 80), flags::SYN, b""))).bytes();
    assert_eq!(bench.from_wire(&local).verdict, Verdict::Next);
    assert_eq!(left(&bench), expected);
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_datagrams_without_a_checksum_need_none_on_the_wire() {
    let bench = Bench::new("wire-none");
    bench.serve_wire();
    let family = FAMILIES[0];
    let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
    bench.put(&Front::new(1, UDP, front, &[backend]));
    for _ in 0..3 {
        let ran = bench.from_wire(&wired(udp_without_checksum(client, front, b"odd")).bytes());
        let packet = Packet::read(&ran.frame).unwrap();
        assert_eq!((ran.verdict, packet.ends().1, &packet.payload[6..8]), (Verdict::Redirect, backend, &[0, 0][..]));
    }
    assert_eq!(left(&bench), 0);
}

#[test]
fn root_frames_are_not_sent_into_devices_that_take_none() {
    let bench = Bench::new("wire-other");
    bench.serve_wire();
    for (list, (family, (protocol, make))) in (1..).zip(FAMILIES.iter().flat_map(|family| kinds().map(|kind| (family, kind)))) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, protocol, front, &[backend]));
        let sent = wired(make(client, front)).bytes();
        let assert_left = || {
            let ran = bench.from_wire(&sent);
            assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &sent));
        };
        bench.stop_eth0();
        // The first of a flow, and one whose flow is known.
        (0..2).for_each(|_| assert_left());
        bench.serve_wire();
        (0..2).for_each(|_| assert_eq!(bench.from_wire(&sent).verdict, Verdict::Redirect));
        // One whose way is known.
        bench.stop_eth0();
        assert_left();
        let behind = bench.from_network(&sent);
        assert_eq!((behind.verdict, Packet::read(&behind.frame).unwrap().ends().1), (Verdict::Redirect, backend));
        bench.serve_wire();
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

/// A frame of more than a page comes in several pieces. Where the driver behind takes whole ones alone, the stack sends it.
#[test]
fn root_frames_of_several_pieces_go_where_drivers_take_them_and_others_go_through_the_stack() {
    let bench = Bench::new("wire-pieces");
    bench.node.namespace.command("ip", &["link", "set", "eth0", "mtu", "9000"]);
    let payload = vec![7; 6_000];
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, UDP, front, &[backend]));
        let (large, small) = (wired(udp(client, front, &payload)).bytes(), wired(udp(client, front, b"odd")).bytes());
        // The first of a flow, one whose flow is known, one whose way is known.
        for turn in 0..3 {
            bench.serve_wire_taking(device_takes::FRAMES);
            let left = bench.from_wire(&large);
            assert_eq!((left.verdict, left.frame == large), (Verdict::Next, true), "{turn}");
            assert_eq!(bench.from_wire(&small).verdict, Verdict::Redirect, "{turn}");
            bench.serve_wire();
            let sent = bench.from_wire(&large);
            assert_sound(&sent.frame);
            assert_eq!((sent.verdict, Packet::read(&sent.frame).unwrap().ends().1), (Verdict::Redirect, backend), "{turn}");
            bench.serve_wire_taking(0);
            assert_eq!(bench.from_wire(&small).verdict, Verdict::Next, "{turn}");
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}
