//! Flows that know their way: what takes it becomes, to the last bit, what the search for the way makes of it; and a way is forgotten when
//! what it was found by has changed.

use crate::bench::{A_MACS, B_MACS, Bench, DEVICE_A, DEVICE_B, FAMILIES, Family, Front, NODE_2_MAC, at, key, settings, wired};
use crate::frames::{Frame, Packet, flags, tcp, udp, udp_without_checksum, unsound};
use crate::harness::{pod, put_pods};
use orknet_abi::protocol::{TCP, UDP};
use orknet_abi::{DropReason, FlowKey, TrafficKey, direction, flow_state};
use orknet_dataplane::{Arrival, Hook, Ran, Verdict};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

type Make = fn(SocketAddr, SocketAddr, &[u8]) -> Frame;

fn kinds() -> [(u8, Make); 3] {
    [
        (TCP, |from, to, data| tcp(from, to, flags::ACK, data)),
        (UDP, udp),
        (UDP, |from, to, data| if from.is_ipv4() { udp_without_checksum(from, to, data) } else { udp(from, to, data) }),
    ]
}

/// For how long a way is known at most, in nanoseconds of the kernel's coarse monotonic clock.
const TICK: i64 = 1 << 30;

fn nanoseconds() -> i64 {
    let now = nix::time::ClockId::CLOCK_MONOTONIC_COARSE.now().unwrap();
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}

/// Packets of one direction of a flow, at one program.
struct Stream<'a> {
    bench: &'a Bench,
    hook: Hook,
    device: u32,
    from: SocketAddr,
    to: SocketAddr,
    protocol: u8,
    make: Make,
}

impl Stream<'_> {
    fn key(&self) -> FlowKey {
        key(self.protocol, self.from, self.to)
    }

    fn frame(&self, data: &[u8]) -> Frame {
        let frame = (self.make)(self.from, self.to, data);
        match (self.hook, self.device) {
            (Hook::FromPod, DEVICE_B) => Frame { destination_mac: B_MACS[1], ..frame },
            (Hook::FromPod, _) => frame,
            _ => wired(frame),
        }
    }

    #[track_caller]
    fn run_as(&self, arrival: &Arrival, frame: &[u8]) -> Ran {
        self.bench.node.run(|| self.bench.dataplane.run_from(self.hook, arrival, frame, 1)).unwrap()
    }

    #[track_caller]
    fn run(&self, frame: &[u8]) -> Ran {
        self.run_as(&Arrival { device: self.device, ..Arrival::default() }, frame)
    }

    fn is_old(&self) -> bool {
        self.bench.flows()[&self.key()].used_seconds == 0
    }

    /// Runs a frame while the flow knows its way, and whether the frame took it. A way is known until the clock's tick ends, so it is
    /// noted just before, in a tick that has some time left.
    #[track_caller]
    fn run_knowing(&self, arrival: &Arrival, frame: &[u8]) -> (Ran, bool) {
        let note = self.frame(b"finds the way").bytes();
        for _ in 0..20 {
            while nanoseconds() % TICK > TICK * 9 / 10 {
                std::thread::yield_now();
            }
            let tick = nanoseconds() / TICK;
            (0..2).for_each(|_| drop(self.run(&note)));
            self.bench.make_old(&self.key());
            let ran = self.run_as(arrival, frame);
            let is_old = self.bench.flows().get(&self.key()).is_some_and(|flow| flow.used_seconds == 0);
            if nanoseconds() / TICK == tick {
                return (ran, is_old);
            }
        }
        panic!("no tick is long enough for the flow of {:?}", self.key());
    }

    /// Runs a frame after the flow has forgotten its way.
    #[track_caller]
    fn run_searching(&self, arrival: &Arrival, frame: &[u8]) -> Ran {
        self.bench.set_node(settings());
        self.bench.make_old(&self.key());
        let ran = self.run_as(arrival, frame);
        assert!(!self.is_old(), "the steps that search renew the flow");
        ran
    }
}

/// Every direction of flows of every kind, by every program: into a pod, to a neighbour with and without source NAT, to the node itself,
/// as the stack sends it, on the wire.
fn streams<'a>(bench: &'a Bench, family: &Family, list: &mut u32, protocol: u8, make: Make) -> Vec<Stream<'a>> {
    let mut all = Vec::new();
    *list += 10;
    let number = *list as u16;
    let mut add = |hook, device, from: SocketAddr, to: SocketAddr| {
        let stream = Stream { bench, hook, device, from, to, protocol, make };
        let ran = stream.run(&stream.frame(b"opens").bytes());
        let became = Packet::read(&ran.frame).unwrap().ends();
        all.push(stream);
        (became.1, became.0)
    };
    let put = |offset: u32, backend: SocketAddr| {
        let front = at(family.load_balancer, 1000 + (*list + offset) as u16);
        bench.put(&Front::new(*list + offset, protocol, front, &[backend]));
        front
    };
    let client = at(family.client, 20_000 + number);
    let (eth0, here) = (bench.eth0, at(family.node, 8080));
    // A pod of this node, and its answers.
    let (from, to) = add(Hook::FromNetwork, eth0, client, put(0, at(family.pod_a, 8080)));
    add(Hook::FromPod, DEVICE_A, from, to);
    // Another node's pod, both ways, by tc and on the wire.
    let (from, to) = add(Hook::FromNetwork, eth0, client, put(1, at(family.remote_pod, 8080)));
    add(Hook::FromNetwork, eth0, from, to);
    let (from, to) = add(Hook::FromWire, 1, client, put(2, at(family.remote_pod, 8080)));
    add(Hook::FromWire, 1, from, to);
    // The node itself.
    let (from, to) = add(Hook::FromNetwork, eth0, client, put(3, here));
    add(Hook::ToNetwork, eth0, from, to);
    // A pod's packets to another pod of this node, and to another node's.
    let asker = at(family.pod_a, 21_000 + number);
    let (from, to) = add(Hook::FromPod, DEVICE_A, asker, put(4, at(family.pod_b, 8080)));
    add(Hook::FromPod, DEVICE_B, from, to);
    let (from, to) = add(Hook::FromPod, DEVICE_A, asker, put(5, at(family.remote_pod, 8080)));
    add(Hook::FromNetwork, eth0, from, to);
    all
}

#[test]
fn root_what_takes_a_known_way_becomes_what_the_search_makes_of_it() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new("ways");
    bench.serve_wire();
    let mut list = 0;
    for family in FAMILIES {
        for (protocol, make) in kinds() {
            for stream in streams(&bench, &family, &mut list, protocol, make) {
                for round in 0..12 {
                    let mut data = vec![0; random.random_range(0..300)];
                    random.fill(&mut data[..]);
                    let hop_limit = if round == 0 { 2 } else { random.random_range(2..=255) };
                    let mut frame = Frame { hop_limit, ..stream.frame(&data) }.bytes();
                    // A checksum that is wrong is as wrong afterwards, both forms of zero included.
                    let checksum = frame.len() - data.len() - if protocol == TCP { 4 } else { 2 };
                    match round {
                        3 => frame[checksum..checksum + 2].fill(0),
                        4 => frame[checksum..checksum + 2].fill(0xff),
                        5..9 => frame[checksum..checksum + 2].copy_from_slice(&random.random::<u16>().to_ne_bytes()),
                        _ => {}
                    }
                    // Of UDP without a checksum nobody asks for a sum.
                    let is_summed =
                        stream.hook == Hook::FromNetwork && unsound(&frame).is_none() && frame[checksum..checksum + 2] != [0, 0];
                    let arrival = Arrival { device: stream.device, is_summed, ..Arrival::default() };
                    let searched = stream.run_searching(&arrival, &frame);
                    let (known, is_known) = stream.run_knowing(&arrival, &frame);
                    assert!(is_known, "{:?} {:?}", stream.hook, stream.key());
                    assert_ne!(known.frame, frame, "it is translated");
                    let compared = |ran: &Ran| (ran.verdict, ran.frame.clone(), ran.mark);
                    assert_eq!(compared(&known), compared(&searched), "{:?} {frame:02x?}", stream.hook);
                }
            }
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty(), "{:?}", bench.drops());
}

/// A stream from outside to a backend.
fn from_outside<'a>(bench: &'a Bench, family: &Family, list: u32, backend: SocketAddr) -> Stream<'a> {
    let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
    bench.put(&Front::new(list, UDP, front, &[backend]));
    let stream = Stream { bench, hook: Hook::FromNetwork, device: bench.eth0, from: client, to: front, protocol: UDP, make: udp };
    stream.run(&stream.frame(b"opens").bytes());
    stream
}

#[test]
fn root_what_is_not_plain_or_has_no_room_or_no_hop_left_is_searched_for_a_way() {
    let bench = Bench::new("not-plain");
    for (list, family) in (1..).zip(FAMILIES) {
        let stream = from_outside(&bench, &family, list, at(family.remote_pod, 53));
        let arrival = Arrival { device: stream.device, ..Arrival::default() };
        let header = if stream.from.is_ipv4() { 28 } else { 48 };
        let fits = stream.frame(&vec![7; 1500 - header]);
        assert!(stream.run_knowing(&arrival, &fits.bytes()).1);
        let large = stream.frame(&vec![7; 1501 - header]);
        let ((ran, is_known), drops) = bench.dropped_by(|| stream.run_knowing(&arrival, &large.bytes()));
        assert!(!is_known && ran.verdict == Verdict::Redirect && drops == [DropReason::TooBig], "{drops:?}");
        // Several packets in one are cut up where they leave.
        let merged = Arrival { segments: 2, segment_size: 1000, ..arrival };
        let (ran, is_known) = stream.run_knowing(&merged, &large.bytes());
        assert!(is_known && ran.verdict == Verdict::Redirect && ran.frame.len() == large.bytes().len());
        let last = Frame { hop_limit: 1, ..fits.clone() };
        let ((_, is_known), drops) = bench.dropped_by(|| stream.run_knowing(&arrival, &last.bytes()));
        assert!(!is_known && drops == [DropReason::NoHopLeft]);
        let elsewhere = Frame { destination_mac: [2, 0, 0, 0, 0, 0xcc], ..fits.clone() }.bytes();
        let (ran, is_known) = stream.run_knowing(&arrival, &elsewhere);
        assert!(is_known && ran.verdict == Verdict::Next && ran.frame == elsewhere, "not for this node: nothing looks at its flow");
        let extra = if stream.from.is_ipv4() { vec![1; 4] } else { vec![UDP, 0, 1, 4, 0, 0, 0, 0] };
        let protocol = if stream.from.is_ipv4() { UDP } else { 60 };
        let (ran, is_known) = stream.run_knowing(&arrival, &Frame { extra, protocol, ..stream.frame(b"options") }.bytes());
        assert!(!is_known && ran.verdict == Verdict::Redirect);
    }
}

#[test]
fn root_segments_that_change_the_state_of_a_flow_are_seen_although_its_way_is_known() {
    let bench = Bench::new("segments");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_b, 80)]));
        let make: Make = |from, to, data| tcp(from, to, flags::ACK, data);
        let stream = Stream { bench: &bench, hook: Hook::FromNetwork, device: bench.eth0, from: client, to: front, protocol: TCP, make };
        let arrival = Arrival { device: bench.eth0, ..Arrival::default() };
        let segment = |flag: u8| wired(tcp(client, front, flag, b"")).bytes();
        stream.run(&segment(flags::SYN));
        for (flag, wanted) in [(flags::FIN | flags::ACK, flow_state::FINISHED), (flags::RST, flow_state::RESET)] {
            let (ran, is_known) = stream.run_knowing(&arrival, &segment(flag));
            assert!(!is_known && ran.verdict == Verdict::Redirect);
            assert_ne!(bench.flows()[&stream.key()].state & wanted, 0, "{flag}");
        }
        bench.change_flow(&stream.key(), |state| state & !flow_state::RESET | flow_state::GONE, 1);
        let (_, drops) = bench.dropped_by(|| stream.run(&segment(flags::ACK)));
        assert_eq!(drops, [DropReason::EndpointGone]);
    }
}

#[test]
fn root_a_pods_source_is_not_lent_to_another_pod_by_a_known_way() {
    let bench = Bench::new("lent");
    for (list, family) in (1..).zip(FAMILIES) {
        let (asker, front) = (at(family.pod_a, 999), at(family.cluster, 80));
        bench.put(&Front::new(list, UDP, front, &[at(family.remote_pod, 53)]).cluster());
        let stream = Stream { bench: &bench, hook: Hook::FromPod, device: DEVICE_A, from: asker, to: front, protocol: UDP, make: udp };
        stream.run(&stream.frame(b"opens").bytes());
        let forged = Frame { destination_mac: B_MACS[1], ..stream.frame(b"forged") }.bytes();
        let arrival = Arrival { device: DEVICE_B, ..Arrival::default() };
        let ((ran, _), drops) = bench.dropped_by(|| stream.run_knowing(&arrival, &forged));
        assert_eq!((ran.verdict, drops), (Verdict::Drop, vec![DropReason::SourceNotPod]));
    }
}

#[test]
fn root_a_known_way_ends_with_what_user_space_knew_and_counts_what_goes_it() {
    let bench = Bench::new("replaced");
    bench.node.run(|| bench.dataplane.attach_pod(DEVICE_B)).unwrap();
    for (list, family) in (1..).zip(FAMILIES) {
        let stream = from_outside(&bench, &family, list, at(family.pod_b, 53));
        let arrival = Arrival { device: stream.device, ..Arrival::default() };
        let frame = stream.frame(b"to a pod").bytes();
        let counted =
            || bench.dataplane.reader().traffic().unwrap()[&TrafficKey { ifindex: DEVICE_B, direction: direction::INGRESS }].packets;
        let (ran, is_known) = stream.run_knowing(&arrival, &frame);
        assert!(is_known && ran.frame[..6] == B_MACS[0]);
        let before = counted();
        stream.run(&frame);
        assert_eq!(counted(), before + 1);
        // Another pod has the address now.
        bench.apply(&put_pods(&[(family.pod_b, pod(DEVICE_B, A_MACS[0], B_MACS[1]))]));
        assert_eq!(stream.run(&frame).frame[..6], A_MACS[0]);
        bench.apply(&put_pods(&[(family.pod_b, pod(DEVICE_B, B_MACS[0], B_MACS[1]))]));
    }
}

#[test]
fn root_a_known_way_ends_within_two_seconds_of_what_only_the_kernel_knew() {
    let bench = Bench::new("neighbours");
    bench.serve_wire();
    for (list, family) in (1..).zip(FAMILIES) {
        let stream = Stream { hook: Hook::FromWire, device: 1, ..from_outside(&bench, &family, list, at(family.remote_pod, 53)) };
        let arrival = Arrival { device: 1, ..Arrival::default() };
        let frame = stream.frame(b"to another node").bytes();
        let (ran, is_known) = stream.run_knowing(&arrival, &frame);
        assert!(is_known && ran.frame[..6] == NODE_2_MAC);
        let node_2 = if stream.from.is_ipv4() { "192.0.2.2" } else { "2001:db8::2" };
        bench.node.namespace.command("ip", &["neighbour", "replace", node_2, "lladdr", "02:00:00:00:00:03", "dev", "eth0"]);
        let changed = Instant::now();
        while stream.run(&frame).frame[..6] != [2, 0, 0, 0, 0, 3] {
            assert!(changed.elapsed() < Duration::from_secs(3));
        }
    }
}
