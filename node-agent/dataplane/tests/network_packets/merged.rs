//! Packets that are several merged into one, which some device cuts apart as they leave: each of them must fit into its way.

use crate::bench::{Bench, FAMILIES, Front, NODE_2_MAC, V4, at, ip, settings, wired};
use crate::frames::{Frame, IP, Packet, assert_sound, flags, set_v4_checksum, tcp, udp};
use orknet_abi::DropReason;
use orknet_abi::protocol::{TCP, UDP};
use orknet_dataplane::{Arrival, Hook, Ran, Verdict};

/// Runs a frame as one that has been merged from packets of `size` bytes of payload.
#[track_caller]
fn run(bench: &Bench, frame: &[u8], size: usize) -> Ran {
    let arrival = Arrival { segments: 3, segment_size: size as u32, ..bench.arrival() };
    bench.node.run(|| bench.dataplane.run_from(Hook::FromNetwork, &arrival, frame, 1)).unwrap()
}

/// The frame was too big: its sender is told what fits.
#[track_caller]
fn assert_told(frame: &Frame, ran: &Ran, dropped: &[DropReason], mtu: u16) {
    assert_eq!((ran.verdict, dropped), (Verdict::Redirect, &[DropReason::TooBig][..]));
    assert_sound(&ran.frame);
    let answer = Packet::read(&ran.frame).unwrap();
    assert_eq!((answer.source, answer.destination), (frame.destination, frame.source));
    assert_eq!(answer.payload[..2], if frame.source.is_ipv4() { [3, 4] } else { [2, 0] });
    assert_eq!(answer.payload[6..8], mtu.to_be_bytes());
}

#[test]
fn root_what_would_be_cut_into_packets_that_are_too_big_for_their_way_is_told() {
    let bench = Bench::new("merged");
    // Each way of its own measure: the device's, and less on the way to the other pod.
    for line in ["route add 10.244.1.10/32 via 192.0.2.2 mtu lock 1400", "-6 route add fd00:10:244:1::a/128 via 2001:db8::2 mtu lock 1400"]
    {
        bench.node.namespace.command("ip", &line.split(' ').collect::<Vec<_>>());
    }
    for (list, family) in (1..).step_by(4).zip(FAMILIES) {
        let header = if family.client.contains(':') { 40 } else { 20 };
        let client = at(family.client, 999);
        for (number, (backend, mtu)) in (0..).zip([(family.remote_pod, 1500), (family.remote_pod_2, 1400)]) {
            let front = at(family.load_balancer, 80 + number as u16);
            bench.put(&Front::new(list + number, TCP, front, &[at(backend, 80)]));
            bench.put(&Front::new(list + number + 2, UDP, front, &[at(backend, 80)]));
            let made =
                [(wired(tcp(client, front, flags::ACK, &[7; 3000])), header + 20), (wired(udp(client, front, &[7; 3000])), header + 8)];
            for (frame, headers) in made {
                // The first of its flow, and when its flow knows the way.
                for turn in 0..3 {
                    let (ran, dropped) = bench.dropped_by(|| run(&bench, &frame.bytes(), mtu - headers));
                    assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![]), "turn {turn}");
                    assert_eq!(Packet::read(&ran.frame).unwrap().destination, ip(backend));
                    let (ran, dropped) = bench.dropped_by(|| run(&bench, &frame.bytes(), mtu - headers + 1));
                    assert_told(&frame, &ran, &dropped, mtu as u16);
                }
            }
        }
    }
}

#[test]
fn root_options_of_tcp_count_as_what_each_packet_of_many_has() {
    let bench = Bench::new("merged-options");
    for (list, family) in (1..).zip(FAMILIES) {
        let headers = if family.client.contains(':') { 60 } else { 40 };
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        // Twelve bytes of the data are options: no checksum sees which.
        let frame = wired(tcp(client, front, flags::ACK, &[1; 3000]));
        let mut with_options = frame.bytes();
        let offset = Packet::read(&with_options).unwrap().offset;
        let word = |bytes: &[u8]| u16::from_be_bytes([bytes[offset + 12], bytes[offset + 13]]);
        let before = word(&with_options);
        with_options[offset + 12] = 8 << 4;
        let sum = u32::from(u16::from_be_bytes([with_options[offset + 16], with_options[offset + 17]])) + u32::from(before);
        let sum = sum + u32::from(!word(&with_options));
        let checksum = (sum % 0xffff) as u16;
        with_options[offset + 16..offset + 18].copy_from_slice(&checksum.to_be_bytes());
        assert_sound(&with_options);
        let (ran, dropped) = bench.dropped_by(|| run(&bench, &with_options, 1500 - headers - 12));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![]));
        let (ran, dropped) = bench.dropped_by(|| run(&bench, &with_options, 1500 - headers - 11));
        assert_told(&frame, &ran, &dropped, 1500);
    }
}

#[test]
fn root_each_of_many_must_fit_into_the_tunnel() {
    let bench = Bench::new("merged-tunnel");
    let overlay = bench.node.namespace.run(|| {
        let arguments = "link add vx0 mtu 1450 type vxlan external dstport 4789";
        crate::harness::command("ip", &arguments.split(' ').collect::<Vec<_>>());
        crate::harness::command("ip", &["link", "set", "vx0", "up"]);
        nix::net::if_::if_nametoindex("vx0").unwrap()
    });
    bench.set_node(orknet_abi::Node { overlay, ..settings() });
    for (list, family) in (1..).zip(FAMILIES) {
        let headers = if family.client.contains(':') { 60 } else { 40 };
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        let frame = wired(tcp(client, front, flags::ACK, &[7; 3000]));
        let (ran, dropped) = bench.dropped_by(|| run(&bench, &frame.bytes(), 1450 - headers));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![]));
        assert_eq!(Packet::read(&ran.frame).unwrap().destination, ip(family.remote_pod));
        let (ran, dropped) = bench.dropped_by(|| run(&bench, &frame.bytes(), 1451 - headers));
        assert_told(&frame, &ran, &dropped, 1450);
    }
}

#[test]
fn root_many_that_are_too_big_and_may_be_cut_are_left_to_the_stack() {
    let bench = Bench::new("merged-cut");
    let (client, front, backend) = (at(V4.client, 999), at(V4.load_balancer, 80), at(V4.remote_pod, 80));
    bench.put(&Front::new(1, TCP, front, &[backend]));
    let cuttable = |frame: Frame| {
        let mut bytes = frame.bytes();
        bytes[IP + 6..IP + 8].fill(0);
        set_v4_checksum(&mut bytes);
        bytes
    };
    let frame = |to| cuttable(wired(tcp(client, to, flags::ACK, &[7; 3000])));
    let ran = run(&bench, &frame(front), 1461);
    assert_eq!((ran.verdict, &ran.frame), (Verdict::Next, &frame(backend)));
    assert_ne!(ran.mark, 0);
    let ran = run(&bench, &frame(front), 1460);
    assert_eq!((ran.verdict, Packet::read(&ran.frame).unwrap().destination), (Verdict::Redirect, backend.ip()));
    assert_ne!(ran.frame[..6], NODE_2_MAC, "the kernel finds it");
    assert!(bench.drops().is_empty());
}
