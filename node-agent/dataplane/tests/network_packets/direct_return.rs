//! Direct server return: the packet tells the backend's node which Service the client knows, and the answer goes to the client from there.

use crate::bench::{A_MACS, B_MACS, Bench, FAMILIES, Family, Front, assert_sent, at, into_pod, key, one_hop_on, settings, wired};
use crate::frames::{Frame, flags, tcp, udp};
use orknet_abi::{
    flow_state, flow_timeout, node_flags,
    protocol::{TCP, UDP},
};
use orknet_dataplane::Verdict;
use std::net::{IpAddr, SocketAddr};

/// The node of the drawing, where answers go to clients directly.
pub fn direct(name: &str) -> Bench {
    let bench = Bench::new(name);
    let settings = settings();
    bench.set_node(orknet_abi::Node { flags: settings.flags | node_flags::DIRECT_RETURN, ..settings });
    bench
}

/// The frame with the Service at `front` told in it.
pub fn telling(frame: Frame, front: SocketAddr) -> Frame {
    let port = front.port().to_be_bytes();
    match front.ip() {
        IpAddr::V4(address) => Frame { extra: [&[0x9a, 8], &port[..], &address.octets()].concat(), ..frame },
        IpAddr::V6(address) => {
            let extra = [&[frame.protocol, 2, 0x1e, 20], &port[..], &[0, 0], &address.octets()].concat();
            Frame { extra, protocol: 60, ..frame }
        }
    }
}

fn ends(family: &Family) -> (SocketAddr, SocketAddr, SocketAddr) {
    (at(family.client, 40_001), at(family.load_balancer, 80), at(family.remote_pod, 8080))
}

#[test]
fn root_the_first_segment_tells_and_the_others_need_not() {
    let bench = direct("tell");
    for (list, family) in (1..).zip(&FAMILIES) {
        let (client, front, backend) = ends(family);
        bench.put(&Front::new(list, TCP, front, &[backend]));
        let syn = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        assert_sent(&syn, &one_hop_on(wired(telling(tcp(client, backend, flags::SYN, b""), front))));
        for _ in 0..2 {
            let data = bench.from_network(&wired(tcp(client, front, flags::ACK, b"a request")).bytes());
            assert_sent(&data, &one_hop_on(wired(tcp(client, backend, flags::ACK, b"a request"))));
        }
        // The first segment may get lost and come again.
        let again = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        assert_sent(&again, &one_hop_on(wired(telling(tcp(client, backend, flags::SYN, b""), front))));
        bench.assert_pairs();
        let timeout = || {
            let flows = bench.flows();
            let (there, back) = (flows[&key(TCP, client, front)], flows[&key(TCP, backend, client)]);
            flow_timeout(TCP, there.state | back.state, there.state & back.state)
        };
        assert_eq!(timeout(), 240, "half open");
        bench.from_network(&wired(tcp(client, front, flags::ACK, b"")).bytes());
        assert_eq!(timeout(), 7_440, "one direction speaks for both");
    }
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_every_datagram_tells() {
    let bench = direct("datagram");
    for (list, family) in (1..).zip(&FAMILIES) {
        let (client, front, backend) = ends(family);
        bench.put(&Front::new(list, UDP, front, &[backend]));
        for _ in 0..3 {
            let sent = bench.from_network(&wired(udp(client, front, b"odd")).bytes());
            assert_sent(&sent, &one_hop_on(wired(telling(udp(client, backend, b"odd"), front))));
        }
    }
}

#[test]
fn root_the_answer_goes_to_the_client_from_the_backends_node() {
    let bench = direct("listen");
    for (list, family) in (1..).step_by(2).zip(&FAMILIES) {
        for (port, protocol) in [(41_000, TCP), (42_000, UDP)] {
            for (number, front) in [(0, at(family.load_balancer, 80)), (1, at(family.load_balancer, 81))] {
                bench.put(&Front::new(list + number, protocol, front, &[at(family.pod_a, 8080)]));
            }
            let make = |from, to, flags| if protocol == TCP { tcp(from, to, flags, b"") } else { udp(from, to, b"what") };
            let (client, front, backend) = (at(family.client, port), at(family.load_balancer, 80), at(family.pod_a, 8080));
            let frame = wired(telling(make(client, backend, flags::SYN), front));
            let there = bench.from_network(&frame.bytes());
            assert_sent(&there, &into_pod(frame, A_MACS));
            bench.assert_pairs();
            let back = bench.from_pod(&make(backend, client, flags::SYN | flags::ACK).bytes());
            assert_sent(&back, &one_hop_on(make(front, client, flags::SYN | flags::ACK)));
            // Another Service with the same backend, and the same port of the client again: the last one counts.
            let other = at(family.load_balancer, 81);
            let frame = wired(telling(make(client, backend, flags::SYN), other));
            assert_sent(&bench.from_network(&frame.bytes()), &into_pod(frame, A_MACS));
            let back = bench.from_pod(&make(backend, client, flags::ACK).bytes());
            assert_sent(&back, &one_hop_on(make(other, client, flags::ACK)));
        }
    }
    let directs = bench.flows().values().filter(|flow| flow.state & flow_state::DIRECT != 0).count();
    assert_eq!(directs, bench.flows().len());
}

#[test]
fn root_who_does_not_want_it_neither_tells_nor_listens() {
    let bench = Bench::new("deaf");
    for (list, family) in (1..).zip(&FAMILIES) {
        let (client, front, backend) = ends(family);
        bench.put(&Front::new(list, TCP, front, &[backend]));
        let syn = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        assert_eq!(syn.frame.len(), wired(tcp(client, backend, flags::SYN, b"")).bytes().len());
        let told = wired(telling(tcp(client, at(family.pod_b, 8080), flags::SYN, b""), front));
        assert_sent(&bench.from_network(&told.bytes()), &into_pod(told, B_MACS));
        assert!(!bench.flows().contains_key(&key(TCP, at(family.pod_b, 8080), client)));
        // A connection to a backend here needs no telling.
        assert_eq!(syn.verdict, Verdict::Redirect);
    }
}

#[test]
fn root_what_anybody_could_tell_is_not_believed() {
    let bench = direct("lies");
    for (list, family) in (1..).zip(&FAMILIES) {
        let (client, front, elsewhere) = ends(family);
        let pod = at(family.pod_b, 8080);
        bench.put(&Front::new(list, TCP, front, &[pod]));
        // A pod would answer in the name of somebody who is no Service.
        let told = wired(telling(tcp(client, pod, flags::SYN, b""), at(family.client, 80)));
        assert_sent(&bench.from_network(&told.bytes()), &into_pod(told, B_MACS));
        // A client's packets for a Service would go to whom somebody else wants.
        for stranger in [elsewhere, at(family.router, 8080)] {
            let told = wired(telling(tcp(client, stranger, flags::SYN, b""), front)).bytes();
            let ran = bench.from_network(&told);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, told));
        }
        assert_eq!(bench.flows().len(), 2 * (list as usize - 1), "of the other family, below");
        // A node port of another node is known there alone.
        let node_2 = at(if client.is_ipv4() { "192.0.2.2" } else { "2001:db8::2" }, 30_080);
        let told = wired(telling(tcp(client, pod, flags::SYN, b""), node_2));
        assert_sent(&bench.from_network(&told.bytes()), &into_pod(told, B_MACS));
        assert_eq!(bench.flows()[&key(TCP, pod, client)].becomes, key(TCP, node_2, client));
    }
}

#[test]
fn root_a_connection_that_the_wire_meets_midway_is_opened_where_its_backend_can_be_told() {
    let bench = direct("midway");
    bench.serve_wire();
    for (list, family) in (1..).zip(&FAMILIES) {
        let (client, front, backend) = ends(family);
        bench.put(&Front::new(list, TCP, front, &[backend]));
        let segment = |to| wired(tcp(client, to, flags::ACK, b"a request"));
        let ran = bench.from_wire(&segment(front).bytes());
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, segment(front).bytes()));
        assert!(!bench.flows().contains_key(&key(TCP, client, front)));
        assert_sent(&bench.from_network(&segment(front).bytes()), &one_hop_on(telling(segment(backend), front)));
        // What comes after it needs to tell nothing.
        assert_eq!(bench.from_wire(&segment(front).bytes()).verdict, Verdict::Redirect);
    }
    bench.assert_pairs();
}
