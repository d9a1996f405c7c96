//! Packets of IPv4 that are too big for their way and may be cut up: the stack does it, and the pieces leave as the flow says.

use crate::bench::{A_MACS, Bench, Front, V4, at, ip, wired};
use crate::frames::{Frame, IP, Packet, assert_sound, fragments_v4, set_v4_checksum, udp};
use orknet_abi::protocol::UDP;
use orknet_dataplane::{Arrival, Hook, Ran, Verdict};
use std::net::SocketAddr;

/// Twice what the device lets through.
const LARGE: usize = 2_900;

/// A large datagram whose sender lets it be cut up.
fn large(from: SocketAddr, to: SocketAddr) -> Frame {
    udp(from, to, &[5; LARGE])
}

fn cuttable(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.bytes();
    bytes[IP + 6..IP + 8].fill(0);
    set_v4_checksum(&mut bytes);
    bytes
}

/// What leaves when the stack has cut up a packet that it was left with such a mark.
#[track_caller]
fn left_in_pieces(bench: &Bench, frame: &Frame, mark: u32) -> Packet {
    let arrival = Arrival { mark, ..bench.arrival() };
    let pieces = fragments_v4(frame, 1_480).map(|piece| {
        let ran = bench.node.run(|| bench.dataplane.run_from(Hook::ToNetwork, &arrival, &piece, 1)).unwrap();
        assert_eq!((ran.verdict, ran.mark), (Verdict::Next, 0));
        assert_sound(&ran.frame);
        Packet::read(&ran.frame).unwrap()
    });
    let [first, later] = pieces;
    assert_eq!((first.source, first.destination), (later.source, later.destination));
    let whole = Frame { source: first.source, destination: first.destination, ..frame.clone() };
    let whole = Frame { payload: [first.payload, later.payload].concat(), ..whole }.bytes();
    assert_sound(&whole);
    Packet::read(&whole).unwrap()
}

#[track_caller]
fn assert_left_to_stack(ran: &Ran, wanted: &Frame) {
    assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &cuttable(wanted)), "no hop is taken, and the source is as it was");
}

#[test]
fn root_to_and_from_a_backend_elsewhere_the_pieces_carry_the_nodes_address_and_the_fronts() {
    let bench = Bench::new("elsewhere");
    // A node port's address is the node's own, too.
    let (client, backend) = (at(V4.client, 999), at(V4.remote_pod, 53));
    for (list, front) in (1..).zip([at(V4.load_balancer, 53), at(V4.node, 30_053)]) {
        let made = Front::new(list, UDP, front, &[backend]);
        bench.put(&if list == 1 { made } else { made.node_port() });
        let there = bench.from_network(&cuttable(&wired(large(client, front))));
        assert_left_to_stack(&there, &wired(large(client, backend)));
        assert_ne!(there.mark, 0);
        let node = left_in_pieces(&bench, &large(client, backend), there.mark).ends().0;
        assert_eq!(node.ip(), ip(V4.node));
        let small = bench.from_network(&wired(udp(client, front, b"small")).bytes());
        assert_eq!(Packet::read(&small.frame).unwrap().ends().0, node, "small ones go as the large ones do");
        let back = bench.from_network(&cuttable(&wired(large(backend, node))));
        assert_left_to_stack(&back, &wired(large(backend, client)));
        assert_eq!(left_in_pieces(&bench, &large(backend, client), back.mark).ends(), (front, client));
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_answers_of_a_pod_here_leave_in_pieces_from_the_front() {
    let bench = Bench::new("here");
    let (client, front, backend) = (at(V4.client, 999), at(V4.load_balancer, 53), at(V4.pod_a, 53));
    bench.put(&Front::new(1, UDP, front, &[backend]));
    assert_eq!(bench.from_network(&wired(udp(client, front, b"?")).bytes()).verdict, Verdict::Redirect);
    let back = bench.from_pod(&cuttable(&large(backend, client)));
    assert_left_to_stack(&back, &large(backend, client));
    assert_eq!(left_in_pieces(&bench, &large(backend, client), back.mark).ends(), (front, client));
}

#[test]
fn root_a_pods_own_packets_for_a_service_leave_in_pieces_with_its_address() {
    let bench = Bench::new("pod");
    let (client, front) = (at(V4.pod_a, 999), at(V4.cluster, 53));
    for (list, backend, is_outside) in [(1, at(V4.remote_pod, 53), false), (2, at(V4.client, 53), true)] {
        let front = SocketAddr::new(front.ip(), front.port() + list as u16);
        bench.put(&Front::new(list, UDP, front, &[backend]).cluster());
        let there = bench.from_pod(&cuttable(&large(client, front)));
        assert_left_to_stack(&there, &large(client, backend));
        let seen = left_in_pieces(&bench, &large(client, backend), there.mark).ends().0;
        assert_eq!(seen.ip(), ip(if is_outside { V4.node } else { V4.pod_a }));
        // Into a pod everything fits.
        let back = bench.from_network(&cuttable(&wired(large(backend, seen))));
        assert_eq!((back.verdict, &back.frame[..6]), (Verdict::Redirect, &A_MACS[0][..]));
    }
    assert!(bench.drops().is_empty());
}

#[test]
fn root_fragments_that_are_too_big_again_are_known_when_they_leave() {
    let bench = Bench::new("again");
    let (client, front, backend) = (at(V4.client, 999), at(V4.load_balancer, 53), at(V4.remote_pod, 53));
    bench.put(&Front::new(1, UDP, front, &[backend]));
    let [first, later] = fragments_v4(&wired(udp(client, front, &[5; 3_600])), 1_808);
    let [first, later] = [first, later].map(|frame| bench.from_network(&frame));
    for ran in [&later, &first] {
        assert_eq!(ran.verdict, Verdict::Next);
        let arrival = Arrival { mark: ran.mark, ..bench.arrival() };
        let left = bench.node.run(|| bench.dataplane.run_from(Hook::ToNetwork, &arrival, &ran.frame, 1)).unwrap();
        let packet = Packet::read(&left.frame).unwrap();
        assert_eq!((left.verdict, packet.source, packet.destination), (Verdict::Next, ip(V4.node), ip(V4.remote_pod)));
        assert_sound(&left.frame);
    }
    assert!(bench.drops().is_empty());
}
