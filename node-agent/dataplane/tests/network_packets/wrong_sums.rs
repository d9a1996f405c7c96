//! Checksums that are wrong: a packet that was spoiled on its way stays as wrong as it came, by the same difference, so that its receiver
//! sees it. Nothing is mended in silence, and nothing that is sound is spoiled.

use crate::bench::{B_MACS, Bench, DEVICE_A, DEVICE_B, FAMILIES, Family, Front, at, ip, settings, wired};
use crate::frames::{Frame, IP, Packet, assert_sound, chunk, error, flags, ping, pong, sctp, tcp, udp};
use orknet_abi::protocol::{ICMP, ICMP6, SCTP, TCP, UDP};
use orknet_dataplane::{Arrival, Hook, Ran};
use std::net::SocketAddr;

/// Differences of checksums in ones' complement; more are made of each frame.
const DIFFERENCES: [u16; 6] = [1, 0x0100, 0x00ff, 0x7fff, 0x8000, 0xfffe];

/// A sound frame that a program changes.
struct Case {
    hook: Hook,
    device: u32,
    frame: Vec<u8>,
}

/// A checksum in a frame.
struct Sum {
    at: usize,
    /// Of UDP 0 says that there is none (RFC 768).
    zero_is_none: bool,
}

impl Case {
    #[track_caller]
    fn run(&self, bench: &Bench, frame: &[u8]) -> Ran {
        let arrival = Arrival { device: self.device, ..Arrival::default() };
        bench.node.run(|| bench.dataplane.run_from(self.hook, &arrival, frame, 1)).unwrap()
    }

    /// The checksums in ones' complement.
    fn sums(&self) -> Vec<Sum> {
        let packet = Packet::read(&self.frame).unwrap();
        let sum = |at| Sum { at, zero_is_none: false };
        let mut sums = vec![];
        if packet.source.is_ipv4() {
            sums.push(sum(IP + 10));
        }
        match packet.protocol {
            TCP => sums.push(sum(packet.offset + 16)),
            UDP => sums.push(Sum { at: packet.offset + 6, zero_is_none: true }),
            ICMP | ICMP6 => sums.push(sum(packet.offset + 2)),
            _ => {}
        }
        // The IPv4 header inside of an error.
        if packet.protocol == ICMP && packet.payload[0] == 3 {
            sums.push(sum(packet.offset + 8 + 10));
        }
        sums
    }
}

/// A packet of one of the protocols.
type Make = fn(SocketAddr, SocketAddr) -> Frame;

fn makes() -> [(u8, Make); 3] {
    [
        (TCP, |from, to| tcp(from, to, flags::SYN, b"some data")),
        (UDP, |from, to| udp(from, to, b"some data")),
        (SCTP, |from, to| sctp(from, to, chunk::INIT, b"some data of a chunk")),
    ]
}

/// What every program translates in one family, with the flows that it needs.
fn cases(bench: &Bench, family: &Family, lists: &mut impl Iterator<Item = u32>) -> Vec<Case> {
    let eth0 = bench.eth0;
    let mut cases = vec![];
    let mut add = |hook, device, frame: &Frame| {
        let case = Case { hook, device, frame: frame.bytes() };
        // Opens the flow; errors are about it.
        let became = case.run(bench, &case.frame).frame;
        cases.push(case);
        became
    };
    let kind = if ip(family.client).is_ipv4() { [3, 3] } else { [1, 4] };
    for (protocol, make) in makes() {
        let fronts = [80, 81].map(|port| at(family.load_balancer, port));
        let clusters = [80, 81].map(|port| at(family.cluster, port));
        let mut put = |front: Front| bench.put(&front.with(|service| service.list = lists.next().unwrap()));
        put(Front::new(0, protocol, fronts[0], &[at(family.pod_b, 8080)]));
        put(Front::new(0, protocol, fronts[1], &[at(family.remote_pod, 8080)]));
        put(Front::new(0, protocol, clusters[0], &[at(family.remote_pod, 8080)]).cluster());
        put(Front::new(0, protocol, clusters[1], &[at(family.node, 8080)]).cluster());
        let (client, asker) = (at(family.client, 999), at(family.pod_a, 999));
        // From outside to a pod and back, and what the client says about the answer.
        add(Hook::FromNetwork, eth0, &wired(make(client, fronts[0])));
        let answer = Frame { destination_mac: B_MACS[1], ..make(at(family.pod_b, 8080), client) };
        let answered = add(Hook::FromPod, DEVICE_B, &answer);
        add(Hook::FromNetwork, eth0, &wired(error(client.ip(), fronts[0].ip(), kind, 0, &answered[IP..])));
        // To another node's pod, before and behind the stack's entrance.
        for hook in [Hook::FromNetwork, Hook::FromWire] {
            let to_remote = wired(make(client, fronts[1]));
            let node = Packet::read(&add(hook, eth0, &to_remote)).unwrap().ends().0;
            add(hook, eth0, &wired(make(at(family.remote_pod, 8080), node)));
        }
        // A pod's, and the stack's answers to one.
        add(Hook::FromPod, DEVICE_A, &make(asker, clusters[0]));
        add(Hook::FromPod, DEVICE_A, &make(asker, clusters[1]));
        let answered = add(Hook::ToPod, DEVICE_A, &make(at(family.node, 8080), asker));
        add(Hook::FromPod, DEVICE_A, &error(asker.ip(), clusters[1].ip(), kind, 0, &answered[IP..]));
        // Out of the cluster.
        let node = Packet::read(&add(Hook::ToNetwork, eth0, &make(asker, client))).unwrap().ends().0;
        add(Hook::FromNetwork, eth0, &wired(make(client, node)));
    }
    let (pod, client) = (ip(family.pod_a), ip(family.client));
    let left = Packet::read(&add(Hook::ToNetwork, eth0, &ping(pod, client, 7))).unwrap();
    add(Hook::FromNetwork, eth0, &wired(pong(client, ip(family.node), left.identifier())));
    // Answered in a Service's place.
    add(Hook::FromNetwork, eth0, &wired(ping(client, ip(family.load_balancer), 7)));
    add(Hook::FromPod, DEVICE_A, &ping(pod, ip(family.cluster), 7));
    add(Hook::FromNode, DEVICE_A, &ping(ip(family.node), ip(family.cluster), 7));
    assert_eq!(cases.len(), 3 * 13 + 5);
    cases
}

fn bench_with_cases(name: &str) -> (Bench, Vec<Case>) {
    let bench = Bench::new(name);
    bench.serve_wire();
    let mut lists = 1..;
    let cases = FAMILIES.iter().flat_map(|family| cases(&bench, family, &mut lists)).collect();
    (bench, cases)
}

fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// What to add to one to get the other, in ones' complement; of its two zeros each is as good as the other.
fn difference(from: u16, to: u16) -> u16 {
    ((u32::from(to) + 2 * 0xffff - u32::from(from)) % 0xffff) as u16
}

fn without(frame: &[u8], at: usize, length: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + length].fill(0);
    frame
}

#[test]
fn root_a_wrong_checksum_is_as_wrong_afterwards_at_every_program() {
    let (bench, cases) = bench_with_cases("wrong");
    for case in &cases {
        // Without a known way, as the way is noted, by the known way.
        bench.set_node(settings());
        let sound: Vec<Ran> = (0..3).map(|_| case.run(&bench, &case.frame)).collect();
        for ran in &sound {
            assert_ne!(ran.frame, case.frame, "{:?}: it is translated", case.hook);
            assert_sound(&ran.frame);
            assert_eq!((ran.verdict, &ran.frame), (sound[0].verdict, &sound[0].frame));
        }
        for Sum { at, zero_is_none } in case.sums() {
            let (right, becomes) = (word(&case.frame, at), word(&sound[0].frame, at));
            // With these the checksum that comes out is one of the two zeros, or nearly.
            let edges = [0, 0xffff, 1, 0xfffe].map(|edge| difference(becomes, edge));
            for by in DIFFERENCES.into_iter().chain(edges) {
                let mut spoiled = case.frame.clone();
                let wrong = ((u32::from(right) + u32::from(by)) % 0xffff) as u16;
                if by == 0 || zero_is_none && wrong == 0 {
                    continue;
                }
                spoiled[at..at + 2].copy_from_slice(&wrong.to_be_bytes());
                bench.set_node(settings());
                for turn in 0..3 {
                    let ran = case.run(&bench, &spoiled);
                    let context = || format!("{:?} turn {turn} at {at}, by {by:04x}: {:02x?}", case.hook, case.frame);
                    assert_eq!(ran.verdict, sound[0].verdict, "{}", context());
                    assert_eq!(difference(becomes, word(&ran.frame, at)), difference(right, wrong), "{}", context());
                    assert_eq!(without(&ran.frame, at, 2), without(&sound[0].frame, at, 2), "{}", context());
                    assert!(!zero_is_none || word(&ran.frame, at) != 0, "that there is none is not said: {}", context());
                }
            }
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

#[test]
fn root_datagrams_without_a_checksum_get_none() {
    let (bench, cases) = bench_with_cases("none");
    for case in &cases {
        let packet = Packet::read(&case.frame).unwrap();
        if packet.protocol != UDP {
            continue;
        }
        let at = packet.offset + 6;
        let asked = without(&case.frame, at, 2);
        bench.set_node(settings());
        for turn in 0..3 {
            let (whole, ran) = (case.run(&bench, &case.frame), case.run(&bench, &asked));
            // Of IPv6 too, where some tunnels leave it out (RFC 6935).
            assert_eq!((ran.verdict, ran.frame), (whole.verdict, without(&whole.frame, at, 2)), "{:?}, turn {turn}", case.hook);
        }
    }
}

#[test]
fn root_a_wrong_checksum_of_sctp_is_as_wrong_afterwards_and_none_stays_none() {
    let (bench, cases) = bench_with_cases("sctp");
    for case in &cases {
        let packet = Packet::read(&case.frame).unwrap();
        if packet.protocol != SCTP {
            continue;
        }
        let at = packet.offset + 8..packet.offset + 12;
        let sound = case.run(&bench, &case.frame);
        assert_sound(&sound.frame);
        let word = |frame: &[u8]| u32::from_be_bytes(frame[at.clone()].try_into().unwrap());
        // The checksum is linear in what it covers, without carries.
        for by in [1, 0x8000_0000, 0x00ff_ff00, u32::MAX] {
            let mut spoiled = case.frame.clone();
            spoiled[at.clone()].copy_from_slice(&(word(&case.frame) ^ by).to_be_bytes());
            let ran = case.run(&bench, &spoiled);
            assert_eq!((ran.verdict, word(&ran.frame) ^ word(&sound.frame)), (sound.verdict, by), "{:?}", case.hook);
            assert_eq!(without(&ran.frame, at.start, 4), without(&sound.frame, at.start, 4));
        }
        // None (RFC 9653), or a device is still to make it: on the wire nobody would, so there the stack gets the packet.
        let none = without(&case.frame, at.start, 4);
        let ran = case.run(&bench, &none);
        if case.hook == Hook::FromWire {
            assert_eq!(ran.frame, none);
        } else {
            assert_eq!((ran.verdict, ran.frame), (sound.verdict, without(&sound.frame, at.start, 4)), "{:?}", case.hook);
        }
    }
}
