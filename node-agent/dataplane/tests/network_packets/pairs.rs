//! Pairs of addresses that know the way of packets that nobody translates: these become what the search makes of them, and a pair is
//! forgotten when what its way was found by has changed.

use crate::bench::{A_MACS, B_MACS, Bench, DEVICE_A, DEVICE_B, FAMILIES, Family, Front, NODE_MAC, assert_sent, at, into_pod, settings};
use crate::frames::{Frame, flags, tcp, udp, unsound};
use orknet_abi::{DropReason, protocol::TCP};
use orknet_dataplane::{Arrival, Hook, Ran, Verdict};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Where packets of a pair come in, and between whom.
fn pairs(bench: &Bench, family: &Family) -> [(Hook, u32, [u8; 6], &'static str, &'static str); 6] {
    let eth0 = bench.eth0;
    [
        (Hook::FromPod, DEVICE_A, A_MACS[1], family.pod_a, family.pod_b),
        (Hook::FromPod, DEVICE_B, B_MACS[1], family.pod_b, family.pod_a),
        (Hook::FromPod, DEVICE_A, A_MACS[1], family.pod_a, family.remote_pod),
        (Hook::FromPod, DEVICE_A, A_MACS[1], family.pod_a, family.client),
        (Hook::FromNetwork, eth0, NODE_MAC, family.remote_pod, family.pod_a),
        (Hook::FromNetwork, eth0, NODE_MAC, family.client, family.pod_b),
    ]
}

#[track_caller]
fn run(bench: &Bench, hook: Hook, arrival: &Arrival, frame: &[u8]) -> Ran {
    bench.node.run(|| bench.dataplane.run_from(hook, arrival, frame, 1)).unwrap()
}

#[test]
fn root_what_takes_a_pairs_way_becomes_what_the_search_makes_of_it() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new("pairs");
    for family in FAMILIES {
        for (hook, device, mac, from, to) in pairs(&bench, &family) {
            for round in 0..24 {
                // Connections that begin and end belong to the pair as well.
                let (source, destination) = (at(from, random.random()), at(to, random.random()));
                let mut data = vec![0; if round == 0 { 1_600 } else { random.random_range(0..300) }];
                random.fill(&mut data[..]);
                let segment = [flags::SYN, flags::ACK, flags::FIN | flags::ACK, flags::RST][round % 4];
                let frame = if round % 5 == 4 { udp(source, destination, &data) } else { tcp(source, destination, segment, &data) };
                let hop_limit = if round < 3 { 1 + round as u8 } else { random.random_range(1..=255) };
                let frame = Frame { hop_limit, destination_mac: mac, ..frame }.bytes();
                let is_summed = hook == Hook::FromNetwork && unsound(&frame).is_none();
                let arrival = Arrival { device, is_summed, ..Arrival::default() };
                // A new generation knows nothing.
                bench.set_node(settings());
                let searched = run(&bench, hook, &arrival, &frame);
                let known = run(&bench, hook, &arrival, &frame);
                let compared = |ran: &Ran| (ran.verdict, ran.frame.clone(), ran.mark);
                assert_eq!(compared(&known), compared(&searched), "{hook:?} {frame:02x?}");
            }
        }
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_a_pair_knows_its_way_for_packets_of_any_port_and_within_two_seconds_asks_again() {
    let bench = Bench::new("pair-ends");
    for family in FAMILIES {
        let packet = |port| tcp(at(family.pod_a, port), at(family.remote_pod, 80), flags::SYN, b"").bytes();
        let bits = if family.client.contains(':') { 128 } else { 32 };
        let hole = format!("{}/{bits}", family.remote_pod);
        // The search would leave the packet to the stack. Should a tick of the clock end just now, it is found once more.
        let is_known = (0..20).any(|_| {
            bench.set_node(settings());
            bench.from_pod(&packet(1));
            bench.node.namespace.command("ip", &["route", "add", "blackhole", &hole]);
            let is_known = bench.from_pod(&packet(2)).verdict == Verdict::Redirect;
            if !is_known {
                bench.node.namespace.command("ip", &["route", "del", "blackhole", &hole]);
            }
            is_known
        });
        assert!(is_known);
        let changed = Instant::now();
        while bench.from_pod(&packet(3)).verdict != Verdict::Next {
            assert!(changed.elapsed() < Duration::from_secs(3));
        }
    }
}

#[test]
fn root_a_pair_is_forgotten_when_a_service_gets_the_address() {
    let bench = Bench::new("pair-front");
    for (list, family) in (1..).zip(FAMILIES) {
        for (offset, to) in [(0, family.client), (10, family.remote_pod)] {
            let (client, front, backend) = (at(family.pod_a, 999 + offset as u16), at(to, 80), at(family.pod_b, 8080));
            let packet = tcp(client, front, flags::SYN, b"");
            let before = (0..2).map(|_| bench.from_pod(&packet.bytes())).map(|ran| ran.frame[..6] == B_MACS[0]).collect::<Vec<_>>();
            assert_eq!(before, [false, false]);
            bench.put(&Front::new(list + offset, TCP, front, &[backend]));
            assert_sent(&bench.from_pod(&packet.bytes()), &into_pod(tcp(client, backend, flags::SYN, b""), B_MACS));
        }
    }
}

#[test]
fn root_answers_of_a_flow_are_translated_although_their_pair_is_known() {
    let bench = Bench::new("pair-flow");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 80), at(family.pod_b, 8080));
        let back = |from: SocketAddr, segment| tcp(from, client, segment, b"back");
        let passes = |segment| {
            let own = at(family.pod_b, 7);
            assert_sent(&bench.from_pod_b(back(own, segment)), &into_pod(back(own, segment), A_MACS));
        };
        (0..2).for_each(|_| passes(flags::ACK));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        for segment in [flags::SYN_ACK, flags::ACK, flags::FIN | flags::ACK] {
            assert_sent(&bench.from_pod_b(back(backend, segment)), &into_pod(back(front, segment), A_MACS));
            passes(segment);
        }
    }
    bench.assert_pairs();
}

#[test]
fn root_a_pods_address_is_not_lent_to_another_pod_by_a_known_pair() {
    let bench = Bench::new("pair-lent");
    for family in FAMILIES {
        let frame = udp(at(family.pod_a, 999), at(family.remote_pod, 53), b"?");
        (0..2).for_each(|_| assert_eq!(bench.from_pod(&frame.bytes()).verdict, Verdict::Redirect));
        let (ran, drops) = bench.dropped_by(|| bench.from_pod_b(frame));
        assert_eq!((ran.verdict, drops), (Verdict::Drop, vec![DropReason::SourceNotPod]));
    }
}
