//! Other nodes' pods behind a VXLAN overlay: packets for them go into the tunnel to their node.

use crate::bench::{
    A_MACS, B_MACS, Bench, DONE, FAMILIES, FIRST_PORT, Front, LAST_PORT, V4, V6, at, into_pod, ip, key, one_hop_on, settings, wired,
};
use crate::direct_return::telling;
use crate::frames::{Frame, Packet, assert_sound, flags, tcp, udp};
use orknet_abi::protocol::{TCP, UDP};
use orknet_abi::{DropReason, node_flags, overlay_mac, way_kind};
use orknet_dataplane::{Arrival, Hook, Verdict};

/// The node with an overlay whose tunnel takes 1450 bytes.
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    let overlay = bench.node.namespace.run(|| {
        let arguments = "link add vx0 mtu 1450 type vxlan external dstport 4789";
        crate::harness::command("ip", &arguments.split(' ').collect::<Vec<_>>());
        crate::harness::command("ip", &["link", "set", "vx0", "up"]);
        nix::net::if_::if_nametoindex("vx0").unwrap()
    });
    bench.set_node(orknet_abi::Node { overlay, ..settings() });
    bench
}

/// As the other node's end of the tunnel wants the frame.
fn tunnelled(frame: Frame, node_2: &str) -> Frame {
    // A node's end of the tunnel is known by the address of that family.
    let node = if frame.source.is_ipv4() { V4.node } else { V6.node };
    let [destination_mac, source_mac] = [node_2, node].map(|address| overlay_mac(&ip(address).into()));
    Frame { destination_mac, source_mac, ..one_hop_on(frame) }
}

fn node_2(frame: &Frame) -> &'static str {
    if frame.source.is_ipv4() { "192.0.2.2" } else { "2001:db8::2" }
}

#[test]
fn root_what_pods_send_to_other_nodes_pods_goes_into_the_tunnel() {
    let bench = bench("tunnel");
    for family in FAMILIES {
        let frame = tcp(at(family.pod_a, 999), at(family.remote_pod, 80), flags::SYN, b"");
        let ran = bench.from_pod(&frame.bytes());
        let wanted = tunnelled(frame.clone(), node_2(&frame));
        assert_eq!((ran.verdict, ran.mark, ran.frame), (Verdict::Redirect, DONE, wanted.bytes()));
        // Pods of this node are not reached that way.
        let near = tcp(at(family.pod_a, 999), at(family.pod_b, 80), flags::SYN, b"");
        let ran = bench.from_pod(&near.bytes());
        assert_eq!((ran.verdict, ran.frame), (Verdict::Redirect, into_pod(near, B_MACS).bytes()));
    }
    assert!(bench.drops().is_empty());
}

#[test]
fn root_a_backend_elsewhere_is_reached_through_the_tunnel_with_the_nodes_address() {
    let bench = bench("tunnel-lb");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 53), at(family.remote_pod, 53));
        bench.put(&Front::new(list, UDP, front, &[backend]));
        let sent = wired(udp(client, front, b"question"));
        let there = bench.from_network(&sent.bytes());
        assert_sound(&there.frame);
        let node = Packet::read(&there.frame).unwrap().ends().0;
        assert!(node.ip() == ip(family.node) && (FIRST_PORT..=LAST_PORT).contains(&node.port()), "{node}");
        let wanted = tunnelled(wired(udp(node, backend, b"question")), node_2(&sent));
        assert_eq!((there.verdict, there.mark, there.frame), (Verdict::Redirect, DONE, wanted.bytes()));
        let back = bench.from_network(&wired(udp(backend, node, b"answer")).bytes());
        assert_eq!((back.verdict, back.frame), (Verdict::Redirect, one_hop_on(wired(udp(front, client, b"answer"))).bytes()));
    }
    bench.assert_pairs();
}

#[test]
fn root_what_does_not_fit_into_the_tunnel_and_must_not_be_cut_is_told() {
    let bench = bench("tunnel-mtu");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        let headers = if client.is_ipv4() { 40 } else { 60 };
        let with_length = |length: usize| wired(tcp(client, front, flags::ACK, &vec![1; length - headers]));
        assert_eq!(Packet::read(&bench.from_network(&with_length(1450).bytes()).frame).unwrap().destination, ip(family.remote_pod));
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&with_length(1451).bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::TooBig]));
        assert_sound(&ran.frame);
        let answer = Packet::read(&ran.frame).unwrap();
        assert_eq!((answer.source, answer.destination), (front.ip(), client.ip()));
        assert_eq!(answer.payload[6..8], 1450_u16.to_be_bytes());
    }
}

#[test]
fn root_a_flow_through_the_tunnel_knows_its_way_and_what_fits_into_it() {
    let bench = bench("tunnel-knows");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 998), at(family.load_balancer, 80), at(family.remote_pod, 80));
        bench.put(&Front::new(list, TCP, front, &[backend]));
        let headers = if client.is_ipv4() { 40 } else { 60 };
        let segment = |from, to, length: usize| wired(tcp(from, to, flags::ACK, &vec![1; length - headers]));
        let flow = key(TCP, client, front);
        // Known until a tick of the clock ends: then the next one.
        let knows = (0..20).any(|_| {
            (0..2).for_each(|_| drop(bench.from_network(&segment(client, front, 100).bytes())));
            bench.make_old(&flow);
            let ran = bench.from_network(&segment(client, front, 1450).bytes());
            let node = Packet::read(&ran.frame).unwrap().ends().0;
            let sent = segment(node, backend, 1450);
            assert_eq!((ran.verdict, ran.mark, ran.frame), (Verdict::Redirect, DONE, tunnelled(sent.clone(), node_2(&sent)).bytes()));
            let took = bench.flows()[&flow].used_seconds == 0;
            let (_, dropped) = bench.dropped_by(|| bench.from_network(&segment(client, front, 1451).bytes()));
            assert_eq!(dropped, [DropReason::TooBig]);
            took && bench.flows()[&flow].way.kind == way_kind::TUNNEL
        });
        assert!(knows, "{family:?}");
    }
}

/// The same node, where answers go to clients directly; and the overlay's device.
fn direct(name: &str) -> (Bench, u32) {
    let bench = bench(name);
    let known = bench.dataplane.reader().node().unwrap().unwrap();
    bench.set_node(orknet_abi::Node { flags: known.flags | node_flags::DIRECT_RETURN, ..known });
    (bench, known.overlay)
}

#[test]
fn root_with_direct_return_what_is_told_goes_through_the_tunnel_if_there_is_room_in_it() {
    let (bench, _) = direct("tunnel-tells");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]));
        let (headers, more) = if client.is_ipv4() { (40, 8) } else { (60, 24) };
        let syn = |length: usize, to| wired(tcp(client, to, flags::SYN, &vec![1; length - headers]));
        let largest = 1450 - more;
        let ran = bench.from_network(&syn(largest, front).bytes());
        let sent = syn(largest, backend);
        let wanted = tunnelled(telling(sent.clone(), front), node_2(&sent));
        assert_eq!((ran.verdict, ran.mark, ran.frame), (Verdict::Redirect, DONE, wanted.bytes()));
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&syn(largest + 1, front).bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::TooBig]));
        assert_eq!(Packet::read(&ran.frame).unwrap().payload[6..8], (largest as u16).to_be_bytes());
    }
    bench.assert_pairs();
}

#[test]
fn root_with_direct_return_what_was_told_in_the_tunnel_is_answered_past_it() {
    let (bench, overlay) = direct("tunnel-listens");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 53), at(family.pod_a, 53));
        bench.put(&Front::new(list, UDP, front, &[backend]));
        let frame = wired(telling(udp(client, backend, b"question"), front));
        let arrival = Arrival { device: overlay, ..Arrival::default() };
        let mac = bench.node.namespace.command("ip", &["-oneline", "link", "show", "vx0"]);
        let mac = mac.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
        let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let bytes = [&mac[..], &frame.bytes()[6..]].concat();
        let ran = bench.node.run(|| bench.dataplane.run_from(Hook::FromNetwork, &arrival, &bytes, 1)).unwrap();
        assert_eq!((ran.verdict, ran.frame), (Verdict::Redirect, into_pod(frame, A_MACS).bytes()));
        let back = bench.from_pod(&udp(backend, client, b"answer").bytes());
        assert_eq!((back.verdict, back.frame), (Verdict::Redirect, one_hop_on(udp(front, client, b"answer")).bytes()));
    }
    bench.assert_pairs();
}
