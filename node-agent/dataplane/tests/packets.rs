//! Packet tests: the real programs on the real maps over frames that were built here (`BPF_PROG_TEST_RUN`).
//!
//! ```text
//! pod A  10.244.0.2, fd00:10:244::2 ── device 1 (loopback, where test runs come in) ── [from_pod] ──┬─> redirect into pod B
//! pod B  10.244.0.3, fd00:10:244::3 ── device 7                                                     └─> the node's stack
//! Services: from 10.96.0.0/16 and fd00:10:96::/112, of which the first address is taken
//! ```

mod frames;
mod harness;

use frames::{Frame, IP, Read, read, v4_sum};
use harness::{Node, ServiceSpec, pod, put_pods, put_range, put_service};
use orknet_abi::{
    Count, DropReason, TrafficKey,
    direction::{EGRESS, INGRESS},
};
use orknet_dataplane::{Dataplane, Hook, Ran, Verdict};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{collections::BTreeMap, net::IpAddr};

const A4: &str = "10.244.0.2";
const A6: &str = "fd00:10:244::2";
const B4: &str = "10.244.0.3";
const B6: &str = "fd00:10:244::3";
const LIVE4: &str = "10.96.0.1";
const LIVE6: &str = "fd00:10:96::1";
const DEVICE_A: u32 = 1;
const DEVICE_B: u32 = 7;
const B_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xb1];
const B_HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xb0];

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

struct Bench {
    node: Node,
    dataplane: Dataplane,
}

impl Bench {
    fn new(name: &str) -> Self {
        let node = Node::new(name);
        let dataplane = Dataplane::open(&node.config).unwrap();
        let (a, b) = (pod(DEVICE_A, [2, 0, 0, 0, 0, 0xa1], [0; 6]), pod(DEVICE_B, B_MAC, B_HOST_MAC));
        let services = [format!("{LIVE4}:80"), format!("[{LIVE6}]:80")].map(|front| put_service(&ServiceSpec::new(&front, TCP, 1, &[])));
        let ranges = [put_range("10.96.0.0", 16), put_range("fd00:10:96::", 112)];
        for plan in [put_pods(&[(A4, a), (A6, a), (B4, b), (B6, b)])].iter().chain(&services).chain(&ranges) {
            assert!(dataplane.apply(plan).failures.is_empty());
        }
        Self { node, dataplane }
    }

    fn run(&self, frame: &[u8]) -> Ran {
        self.node.run(|| self.dataplane.run(Hook::FromPod, frame, 1)).unwrap()
    }

    fn drops(&self) -> BTreeMap<DropReason, Count> {
        self.dataplane.reader().drops().unwrap().into_iter().filter(|(_, count)| count.packets > 0).collect()
    }

    /// The frame is dropped, and counted under the reason with its length.
    #[track_caller]
    fn assert_dropped(&self, frame: &[u8], reason: DropReason) {
        let before = self.drops();
        let ran = self.run(frame);
        let after = self.drops();
        let count = |drops: &BTreeMap<DropReason, Count>| drops.get(&reason).copied().unwrap_or_default();
        assert_eq!(ran.verdict, Verdict::Drop, "{frame:02x?}");
        assert_eq!(count(&after).packets, count(&before).packets + 1, "{reason:?}: {after:?}");
        assert_eq!(count(&after).bytes, count(&before).bytes + frame.len() as u64);
        let total = |drops: &BTreeMap<DropReason, Count>| drops.values().map(|count| count.packets).sum::<u64>();
        assert_eq!(total(&after), total(&before) + 1, "one drop, one reason");
    }

    /// The frame goes to the stack as it came, and no drop is counted.
    #[track_caller]
    fn assert_passed(&self, frame: &[u8]) {
        let before = self.drops();
        let ran = self.run(frame);
        assert_eq!((ran.verdict, ran.frame.as_slice()), (Verdict::Next, frame));
        assert_eq!(self.drops(), before);
    }

    /// The frame goes into pod B, changed as a router changes it and nowhere else.
    #[track_caller]
    fn assert_redirected(&self, frame: &[u8]) {
        let ran = self.run(frame);
        assert_eq!(ran.verdict, Verdict::Redirect);
        let mut wanted = frame.to_vec();
        wanted[..6].copy_from_slice(&B_MAC);
        wanted[6..12].copy_from_slice(&B_HOST_MAC);
        if frame[IP] >> 4 == 4 {
            assert_eq!(v4_sum(&ran.frame), 0xffff, "the header's checksum holds");
            wanted[IP + 8] -= 1;
            wanted[IP + 10..IP + 12].copy_from_slice(&ran.frame[IP + 10..IP + 12]);
        } else {
            wanted[IP + 7] -= 1;
        }
        assert_eq!(ran.frame, wanted);
    }
}

/// Frames of pod A to pod B, of each family and protocol.
fn frames_to_b() -> Vec<Frame> {
    let payload: Vec<u8> = (0..48).collect();
    let v4 = [TCP, UDP, ICMP].map(|protocol| Frame::new(A4, B4, protocol, &payload));
    let v6 = [TCP, UDP, ICMP6].map(|protocol| Frame::new(A6, B6, protocol, &payload));
    [v4, v6].concat()
}

#[test]
fn root_packets_for_a_pod_of_this_node_go_into_it_as_a_router_would_send_them() {
    let bench = Bench::new("redirect");
    for frame in frames_to_b() {
        bench.assert_redirected(&frame.bytes());
    }
}

#[test]
fn root_packets_for_an_address_that_no_service_has_are_dropped() {
    let bench = Bench::new("nobody");
    for protocol in [TCP, UDP, ICMP] {
        bench.assert_dropped(&Frame::new(A4, "10.96.0.2", protocol, b"payload").bytes(), DropReason::NoSuchService);
        bench.assert_dropped(&Frame::new(A6, "fd00:10:96::2", protocol, b"payload").bytes(), DropReason::NoSuchService);
        // A live address and one outside of the ranges are the stack's.
        for (source, destination) in [(A4, LIVE4), (A6, LIVE6), (A4, "10.97.0.2"), (A6, "fd00:10:96::1:2")] {
            bench.assert_passed(&Frame::new(source, destination, protocol, b"payload").bytes());
        }
    }
}

#[test]
fn root_options_and_extension_headers_change_nothing() {
    let bench = Bench::new("options");
    for words in 1..=10 {
        let no_operation = vec![1; words * 4];
        bench.assert_redirected(&Frame { extra: no_operation, ..Frame::new(A4, B4, UDP, b"payload") }.bytes());
    }
    // Hop-by-hop options, then a fragment header, then UDP.
    let extension = [44, 0, 1, 4, 0, 0, 0, 0, UDP, 0, 0, 8, 0, 0, 0, 1];
    bench.assert_redirected(&Frame { extra: extension.to_vec(), ..Frame::new(A6, B6, 0, b"payload") }.bytes());
}

#[test]
fn root_packets_for_elsewhere_go_to_the_stack_untouched() {
    let bench = Bench::new("elsewhere");
    for (source, destination) in
        [(A4, "10.244.1.9"), (A4, "1.1.1.1"), (A4, "224.0.0.1"), (A6, "fd00:10:244:1::9"), (A6, "ff02::fb"), (A4, A4)]
    {
        bench.assert_passed(&Frame::new(source, destination, TCP, b"payload").bytes());
    }
}

#[test]
fn root_what_may_not_travel_on_or_was_sent_to_another_mac_is_left_to_the_stack() {
    let bench = Bench::new("stack");
    for frame in frames_to_b() {
        for hop_limit in [0, 1] {
            bench.assert_passed(&Frame { hop_limit, ..frame.clone() }.bytes());
        }
        bench.assert_redirected(&Frame { hop_limit: 2, ..frame.clone() }.bytes());
        bench.assert_passed(&Frame { destination_mac: [2, 0, 0, 0, 0, 0xcc], ..frame.clone() }.bytes());
        bench.assert_passed(&Frame { destination_mac: [0xff; 6], ..frame }.bytes());
    }
}

#[test]
fn root_a_source_that_is_not_the_pods_own_is_dropped() {
    let bench = Bench::new("source");
    let foreign = [
        ("10.244.0.9", B4),
        (B4, A4),
        ("0.0.0.0", "255.255.255.255"),
        ("127.0.0.1", B4),
        ("fd00:10:244::9", B6),
        (B6, A6),
        ("fe80::1", B6),
        ("::", B6),
        ("ff02::1", B6),
        ("::1", B6),
    ];
    for (source, destination) in foreign {
        bench.assert_dropped(&Frame::new(source, destination, UDP, b"payload").bytes(), DropReason::SourceNotPod);
    }
}

#[test]
fn root_the_link_between_pod_and_node_works() {
    let bench = Bench::new("link");
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 0xaa, 0x08, 0x06], &[0; 28]].concat();
    bench.assert_passed(&arp);
    // Duplicate address detection, router solicitation, neighbour solicitation and advertisement, listener report.
    for (source, destination) in
        [("::", "ff02::1:ff00:2"), ("fe80::2", "ff02::2"), ("fe80::2", "ff02::1:ff00:1"), ("fe80::2", "fe80::1"), ("::", "ff02::16")]
    {
        bench.assert_passed(&Frame::new(source, destination, ICMP6, &[135, 0, 0, 0, 0, 0, 0, 0]).bytes());
    }
}

#[test]
fn root_a_frame_cut_anywhere_is_dropped_as_truncated() {
    let bench = Bench::new("truncated");
    for frame in frames_to_b() {
        let whole = frame.bytes();
        // What is shorter than an IP header the kernel refuses to run; tests/devices.rs sends such frames through a device.
        for length in IP + header_length(&whole)..whole.len() {
            bench.assert_dropped(&whole[..length], DropReason::Truncated);
        }
        let padded = [whole.as_slice(), &[0; 6]].concat();
        bench.assert_redirected(&padded);
    }
}

#[test]
fn root_headers_that_contradict_themselves_are_dropped_as_malformed() {
    let bench = Bench::new("malformed");
    let (v4, v6) = (Frame::new(A4, B4, UDP, b"payload").bytes(), Frame::new(A6, B6, UDP, b"payload").bytes());
    let with = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        frame
    };
    for first in [0x44, 0x40, 0x65, 0x05, 0xf5] {
        bench.assert_dropped(&with(&v4, IP, first), DropReason::Malformed);
    }
    bench.assert_dropped(&with(&v4, IP + 3, 19), DropReason::Malformed);
    for first in [0x40, 0x00, 0x70] {
        bench.assert_dropped(&with(&v6, IP, first), DropReason::Malformed);
    }
    for (source, destination) in [("::ffff:10.244.0.2", B6), (A6, "::ffff:10.244.0.3"), ("::ffff:10.244.0.2", "::ffff:10.244.0.3")] {
        bench.assert_dropped(&Frame::new(source, destination, UDP, b"payload").bytes(), DropReason::Malformed);
    }
}

#[test]
fn root_traffic_is_counted_for_both_pods_in_both_directions() {
    let bench = Bench::new("traffic");
    bench.node.run(|| bench.dataplane.attach_pod(DEVICE_A)).unwrap();
    let to_b = Frame::new(A4, B4, UDP, b"payload").bytes();
    (0..3).for_each(|_| bench.assert_redirected(&to_b));
    let elsewhere = Frame::new(A4, "1.1.1.1", UDP, b"payload").bytes();
    bench.assert_passed(&elsewhere);
    bench.node.run(|| bench.dataplane.run(Hook::ToPod, &to_b, 1)).unwrap();
    let count = |packets: u64| Count { packets, bytes: packets * to_b.len() as u64 };
    let traffic = bench.dataplane.reader().traffic().unwrap();
    assert_eq!(traffic.get(&TrafficKey { ifindex: DEVICE_A, direction: EGRESS }), Some(&count(4)));
    assert_eq!(traffic.get(&TrafficKey { ifindex: DEVICE_A, direction: INGRESS }), Some(&count(1)));
    assert_eq!(traffic.len(), 2, "a device that nobody attached to is not counted");
}

#[test]
fn root_two_hundred_thousand_mutated_frames_are_judged_as_an_independent_reading_says() {
    const FRAMES: u32 = 200_000;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new("fuzz");
    // What a Service answers is the matter of network_packets/.
    let to_services =
        [(A4, "10.96.7.2"), (A6, "fd00:10:96::702")].map(|(source, destination)| Frame::new(source, destination, TCP, b"payload"));
    let seeds: Vec<Vec<u8>> = frames_to_b().iter().chain(&to_services).map(Frame::bytes).collect();
    let mut wanted_drops: BTreeMap<DropReason, Count> = BTreeMap::new();
    let mut redirected = 0_u32;
    let before = bench.drops();
    assert!(before.is_empty());
    bench.node.run(|| {
        for _ in 0..FRAMES {
            let mut frame = seeds[random.random_range(0..seeds.len())].clone();
            mutate(&mut frame, &mut random);
            let ran = bench.dataplane.run(Hook::FromPod, &frame, 1).unwrap();
            let (verdict, reason) = judge(&frame);
            assert_eq!(ran.verdict, verdict, "seed {seed}: {frame:02x?}");
            assert_eq!(ran.frame.len(), frame.len());
            if verdict != Verdict::Redirect {
                assert_eq!(ran.frame, frame, "only redirected frames are changed");
            }
            redirected += u32::from(verdict == Verdict::Redirect);
            if let Some(reason) = reason {
                let count = wanted_drops.entry(reason).or_default();
                count.packets += 1;
                count.bytes += frame.len() as u64;
            }
        }
    });
    assert_eq!(bench.drops(), wanted_drops);
    assert!(redirected > FRAMES / 20 && wanted_drops.len() == 4, "the mutations reach every verdict: {redirected}, {wanted_drops:?}");
}

/// Changes up to three bytes of the headers, perhaps the length.
fn mutate(frame: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(0..=3) {
        let at = random.random_range(0..frame.len());
        frame[at] = if random.random() { random.random() } else { frame[at] ^ (1 << random.random_range(0..8)) };
    }
    if random.random_ratio(1, 8) {
        frame.truncate(random.random_range(IP + header_length(frame)..frame.len()));
    }
}

/// What should happen to a frame of pod A, from the rules and not from the program.
fn judge(frame: &[u8]) -> (Verdict, Option<DropReason>) {
    let (source, destination, hop_limit) = match read(frame) {
        Read::Ip { source, destination, hop_limit } => (source, destination, hop_limit),
        Read::NotIp => return (Verdict::Next, None),
        Read::Truncated => return (Verdict::Drop, Some(DropReason::Truncated)),
        Read::Malformed => return (Verdict::Drop, Some(DropReason::Malformed)),
    };
    let is = |address: IpAddr, texts: [&str; 2]| texts.iter().any(|text| text.parse::<IpAddr>().unwrap() == address);
    if !is(source, [A4, A6]) {
        let on_link = match (source, destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let link_local = source.is_unicast_link_local() && (destination.is_unicast_link_local() || destination.is_multicast());
                link_local || source.is_unspecified() && destination.is_multicast()
            }
            _ => false,
        };
        return if on_link { (Verdict::Next, None) } else { (Verdict::Drop, Some(DropReason::SourceNotPod)) };
    }
    let in_range = match destination {
        IpAddr::V4(v4) => v4.octets()[..2] == [10, 96],
        IpAddr::V6(v6) => v6.segments()[..7] == [0xfd00, 0x10, 0x96, 0, 0, 0, 0],
    };
    // The stack answers for what was sent to another MAC address.
    if frame[..6] != [0; 6] {
        return (Verdict::Next, None);
    }
    if in_range && !is(destination, [LIVE4, LIVE6]) {
        return (Verdict::Drop, Some(DropReason::NoSuchService));
    }
    if is(destination, [B4, B6]) && hop_limit > 1 { (Verdict::Redirect, None) } else { (Verdict::Next, None) }
}

/// Bytes of the IP header without options and extensions.
fn header_length(frame: &[u8]) -> usize {
    if frame[12..14] == [0x86, 0xdd] { 40 } else { 20 }
}
