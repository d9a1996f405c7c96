//! Random and mutated packets at every program: a verdict that is known, a reason for every drop, checksums that hold as they did before,
//! and a way back (there_and_back.rs).
//!
//! A slice of fixed packets by default; `ORKNET_FUZZ=1000000` throws so many random ones at each program. With the seed that a run printed in
//! `ORKNET_FUZZ_SEED` it comes again, and stops at the very packet.

use crate::bench::{Bench, DEVICE_A, DONE, FAMILIES, Family, Front, at, ip, settings, wired};
use crate::direct_return::telling;
use crate::frames::{
    Frame, IP, Packet, chunk, error, flags, fragments_v4, fragments_v6, ping, pong, sctp, tcp, udp, udp_without_checksum, unsound,
};
use crate::there_and_back::{ABOUT_IT, ASSOCIATION, FIRST, ITSELF_ERROR, LATER, PING, PORTLESS, RARE, WITH_PORTS};
use orknet_abi::direct::{V4_BYTES, V6_BYTES};
use orknet_abi::node_flags;
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_dataplane::{Arrival, Hook, Ran, Verdict};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Packets at each program in an ordinary run.
const SLICE: u64 = 60_000;
/// After so many the drop counters are compared, since reading them takes longer than a packet.
const BLOCK: u64 = 500;

/// How many packets, and which.
pub struct Wanted {
    pub count: u64,
    pub seed: u64,
    /// Whether they have been there before.
    pub is_again: bool,
}

impl Wanted {
    /// What the environment says; else a slice of fixed ones.
    pub fn read(slice: u64) -> Self {
        let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number: {text}")));
        let (count, again) = (number("ORKNET_FUZZ"), number("ORKNET_FUZZ_SEED"));
        let seed = again.unwrap_or_else(|| if count.is_some() { rand::random() } else { 7 });
        Self { count: count.unwrap_or(slice), seed, is_again: again.is_some() }
    }
}

pub struct Fuzz {
    pub bench: Bench,
    pub random: StdRng,
    pub hook: Hook,
    /// Whether packets that go on may grow, and answers go another way.
    pub is_direct: bool,
    /// Whether the packet is as a host would send it.
    pub is_meant: bool,
    /// What both ends became of the first of several fragments, until the next one.
    pub first: Option<[IpAddr; 2]>,
    /// How often what happened.
    seen: BTreeMap<&'static str, u64>,
    /// Drops that verdicts and answers stand for.
    drops: u64,
    /// After so many packets the drop counters are compared.
    block: u64,
}

#[test]
fn root_fuzz_from_network() {
    let back = [WITH_PORTS, ASSOCIATION, FIRST, LATER, ABOUT_IT, ITSELF_ERROR];
    fuzz(Hook::FromNetwork, false, &[&["into a pod", "to a neighbour", "answer", "drop", "untouched"], &back[..]].concat());
}

#[test]
fn root_fuzz_from_pod() {
    let back = [WITH_PORTS, ASSOCIATION, FIRST, LATER, ABOUT_IT, ITSELF_ERROR];
    fuzz(Hook::FromPod, false, &[&["into a pod", "to a neighbour", "answer", "drop", "untouched"], &back[..]].concat());
}

#[test]
fn root_fuzz_to_network() {
    let back = [WITH_PORTS, ASSOCIATION, PING, PORTLESS, FIRST, LATER, ABOUT_IT];
    fuzz(Hook::ToNetwork, false, &[&["changed", "untouched"], &back[..]].concat());
}

#[test]
fn root_fuzz_to_pod() {
    fuzz(Hook::ToPod, false, &["changed", "untouched", WITH_PORTS, ASSOCIATION, FIRST, LATER, ABOUT_IT]);
}

#[test]
fn root_fuzz_from_node() {
    fuzz(Hook::FromNode, false, &["into a pod", "to a neighbour", "answer", "pong", "drop", "there and back"]);
}

#[test]
fn root_fuzz_from_wire() {
    fuzz(Hook::FromWire, false, &["to a neighbour", "untouched", WITH_PORTS, ASSOCIATION, ABOUT_IT]);
}

#[test]
fn root_fuzz_from_network_with_direct_return() {
    fuzz(Hook::FromNetwork, true, &["into a pod", "to a neighbour", "answer", "drop", "untouched", WITH_PORTS, ASSOCIATION]);
}

fn fuzz(hook: Hook, is_direct: bool, wanted: &[&str]) {
    let Wanted { count, seed, is_again } = Wanted::read(SLICE);
    println!("{hook:?}, direct return {is_direct}: ORKNET_FUZZ_SEED={seed}");
    // Few flows, so that the map is full at times.
    let bench = Bench::sized("fuzz", &[("FLOWS", 40_000)]);
    let flags = settings().flags | if is_direct { node_flags::DIRECT_RETURN } else { 0 };
    bench.set_node(orknet_abi::Node { first_port: 10_000, last_port: 65_000, flags, ..settings() });
    bench.serve_wire();
    let mut list = 0;
    for family in FAMILIES {
        for protocol in [TCP, UDP, SCTP] {
            let mut put = |front: Front| {
                list += 1;
                bench.put(&front.with(|service| service.list = list));
            };
            let backends = [at(family.pod_b, 8080), at(family.remote_pod, 8080), at(family.pod_a, 8080), at(family.remote_pod_2, 80)];
            put(Front::new(0, protocol, at(family.load_balancer, 80), &backends));
            put(Front::new(0, protocol, at(family.load_balancer, 81), &[]));
            put(Front::new(0, protocol, at(family.node, 30_080), &backends[1..]).node_port());
            put(Front::new(0, protocol, at(family.cluster, 80), &backends).cluster());
            put(Front::new(0, protocol, at(family.cluster, 81), &[]).cluster());
            // For what the node's stack sends to a pod in answer.
            put(Front::new(0, protocol, at(family.cluster, 83), &[at(family.node, 8080)]).cluster());
        }
    }
    let mut fuzz = Fuzz {
        bench,
        random: StdRng::seed_from_u64(seed),
        hook,
        is_direct,
        is_meant: true,
        first: None,
        seen: BTreeMap::new(),
        drops: 0,
        block: if is_again { 1 } else { BLOCK },
    };
    let node = &fuzz.bench.node.namespace.name.clone();
    println!("in {node}");
    std::thread::scope(|scope| {
        let run = || {
            fuzz.bench.node.enter();
            fuzz.all(count);
        };
        scope.spawn(run).join()
    })
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    println!("{hook:?}: {:?}, dropped {:?}", fuzz.seen, fuzz.bench.drops());
    for what in wanted {
        let least = count / if RARE.contains(what) { 10_000 } else { 200 };
        assert!(fuzz.seen.get(what).copied().unwrap_or(0) > least, "packets reach every verdict: {what}");
    }
    fuzz.bench.assert_pairs();
}

impl Fuzz {
    fn all(&mut self, count: u64) {
        for number in 0..count {
            let mut frames = self.frames();
            if self.hook == Hook::ToPod && self.random.random_ratio(1, 4) {
                self.ask_node(&frames[0]);
            }
            (self.is_meant, self.first) = (self.random.random(), None);
            for frame in &mut frames {
                if !self.is_meant {
                    self.mutate(frame);
                }
                self.one(frame);
            }
            assert!(frames.len() == 1 || self.first.is_none(), "the rest goes where its first fragment went: {frames:02x?}");
            if number % self.block == 0 {
                let counted: u64 = self.bench.drops().values().sum();
                assert_eq!(counted, self.drops, "one drop, one reason; the last packets were {frames:02x?}");
            }
        }
    }

    /// Has pod A ask, through a Service, for what the frame answers: the node's own address and port speak.
    fn ask_node(&mut self, frame: &[u8]) {
        let Some(answer) = Packet::read(frame) else { return };
        let has_ports = matches!(answer.protocol, TCP | UDP | SCTP) && answer.payload.len() >= 4;
        if answer.source != ip(FAMILIES[usize::from(answer.source.is_ipv6())].node) || !has_ports {
            return;
        }
        let family = FAMILIES[usize::from(answer.source.is_ipv6())];
        let (front, pod) = (at(family.cluster, 83), answer.ends().1);
        let asked = match answer.protocol {
            TCP => tcp(pod, front, flags::SYN, b""),
            UDP => udp(pod, front, b"?"),
            _ => sctp(pod, front, chunk::INIT, &[0; 16]),
        };
        if self.run_at(Hook::FromPod, DEVICE_A, &asked.bytes()).verdict == Verdict::Drop {
            self.drops += 1;
        }
    }

    pub fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn one(&mut self, frame: &[u8]) {
        // The kernel runs nothing that is shorter than the header of its protocol.
        let least = if frame[12..14] == [0x86, 0xdd] { 40 } else { 20 };
        if frame.len() < IP + least {
            return;
        }
        // An answer is known by the MAC addresses that have changed places.
        if frame[..6] == frame[6..12] {
            return;
        }
        let ran = self.run(self.hook, frame);
        if self.hook == Hook::FromWire {
            return self.compare_wire(frame, &ran);
        }
        let was_sound = unsound(frame).is_none();
        if was_sound && ran.verdict != Verdict::Drop && ran.frame != frame {
            assert_eq!(unsound(&ran.frame), None, "{:?}\n in {frame:02x?}\nout {:02x?}", self.hook, ran.frame);
        }
        match ran.verdict {
            Verdict::Drop => {
                self.drops += 1;
                self.note("drop");
            }
            Verdict::Next if self.hook == Hook::FromNode && !is_for_group(frame) => {
                panic!("the stack would take its own address for forged: {frame:02x?}")
            }
            Verdict::Next if ran.frame == frame => self.note("untouched"),
            Verdict::Next => {
                self.check_length(frame, &ran);
                self.note("changed");
                if was_sound {
                    self.go_back(frame, &ran);
                }
            }
            Verdict::Redirect if is_back(frame, &ran) => {
                if is_pong(frame, &ran.frame) {
                    self.note("pong");
                } else {
                    self.drops += 1;
                    self.note("answer");
                }
            }
            Verdict::Redirect => {
                self.check_length(frame, &ran);
                self.note(if ran.mark == DONE { "to a neighbour" } else { "into a pod" });
                if was_sound {
                    self.go_back(frame, &ran);
                }
            }
            Verdict::Other(other) => panic!("{:?} says {other} to {frame:02x?}", self.hook),
        }
    }

    /// Translation changes no length, unless the packet tells its Service.
    fn check_length(&self, frame: &[u8], ran: &Ran) {
        let more = if frame[12..14] == [0x08, 0x00] { V4_BYTES } else { V6_BYTES };
        let grown = ran.frame.len() - frame.len();
        assert!(grown == 0 || self.is_direct && grown == usize::from(more), "{grown}: {frame:02x?}");
    }

    /// What was sent on from the wire `from_network` would have sent on just so.
    fn compare_wire(&mut self, frame: &[u8], ran: &Ran) {
        match ran.verdict {
            Verdict::Next => {
                assert_eq!(ran.frame, frame);
                self.note("untouched");
            }
            Verdict::Redirect => {
                let behind = self.run(Hook::FromNetwork, frame);
                assert_eq!((behind.verdict, behind.mark), (Verdict::Redirect, DONE), "{frame:02x?}");
                assert_eq!(behind.frame[12..], ran.frame[12..], "{frame:02x?}");
                self.note("to a neighbour");
                if unsound(frame).is_none() {
                    self.go_back(frame, ran);
                }
            }
            Verdict::Drop => {
                self.drops += 1;
                self.note("drop");
            }
            Verdict::Other(other) => panic!("{:?} says {other} to {frame:02x?}", self.hook),
        }
    }

    fn run(&self, hook: Hook, frame: &[u8]) -> Ran {
        let device = if matches!(hook, Hook::FromPod | Hook::ToPod) { DEVICE_A } else { self.bench.eth0 };
        self.run_at(hook, device, frame)
    }

    pub fn run_at(&self, hook: Hook, device: u32, frame: &[u8]) -> Ran {
        self.bench.dataplane.run_from(hook, &Arrival { device, ..Arrival::default() }, frame, 1).unwrap()
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.random_range(0..of.len())]
    }

    /// A packet that could be meant, or two fragments of one, or one of them.
    fn frames(&mut self) -> Vec<Vec<u8>> {
        let family = self.pick(&FAMILIES);
        let (from, to) = self.ends(&family);
        let mut frame = self.payload(from, to);
        if !matches!(self.hook, Hook::FromPod | Hook::ToPod) {
            frame = wired(frame);
        }
        frame.hop_limit = self.pick(&[64, 64, 255, 2, 1]);
        let can_be_cut = frame.payload.len() >= 24 && frame.extra.is_empty();
        if can_be_cut && self.random.random_ratio(1, 12) {
            let first = 8 * self.random.random_range(2..=(frame.payload.len() - 1) / 8);
            let parts = if from.is_ipv4() { fragments_v4(&frame, first) } else { fragments_v6(&frame, first) };
            return if self.random.random() { parts.to_vec() } else { vec![parts[self.random.random_range(0..2)].clone()] };
        }
        if self.random.random_ratio(1, 12) {
            if self.is_direct {
                frame = telling(frame, to);
            } else if from.is_ipv4() {
                frame.extra = vec![1; 4 * self.random.random_range(1..=10)];
            } else {
                frame.extra = [vec![frame.protocol, 0, 1, 4], vec![0; 4]].concat();
                frame.protocol = self.pick(&[0, 43, 60]);
            }
        }
        vec![frame.bytes()]
    }

    fn ends(&mut self, family: &Family) -> (SocketAddr, SocketAddr) {
        let port = self.random.random_range(1024..3000);
        let source = match self.hook {
            Hook::FromNetwork | Hook::FromWire => {
                self.pick(&[family.client, family.client, family.router, family.remote_pod, family.remote_pod_2])
            }
            Hook::FromPod => family.pod_a,
            Hook::FromNode => family.node,
            Hook::ToPod if self.random.random() => return (at(family.node, 8080), at(family.pod_a, port)),
            _ => self.pick(&[family.pod_a, family.pod_a, family.node, family.remote_pod]),
        };
        let destination = match self.hook {
            Hook::ToNetwork => {
                self.pick(&[at(family.client, 80), at(family.router, 53), at(family.remote_pod, 8080), at(family.cluster, 80)])
            }
            Hook::ToPod => at(family.pod_a, port),
            _ => self.pick(&[
                at(family.load_balancer, 80),
                at(family.load_balancer, 81),
                at(family.node, 30_080),
                at(family.cluster, 80),
                at(family.cluster, 81),
                at(family.cluster, 82),
                at(family.cluster, 83),
                at(family.pod_b, 8080),
                at(family.remote_pod, 8080),
                at(family.client, 443),
            ]),
        };
        (at(source, port), destination)
    }

    fn payload(&mut self, from: SocketAddr, to: SocketAddr) -> Frame {
        let mut data = vec![0; self.random.random_range(0..64)];
        self.random.fill(&mut data[..]);
        let flag = self.pick(&[flags::SYN, flags::ACK, flags::SYN_ACK, flags::FIN | flags::ACK, flags::RST, flags::SYN, flags::ACK]);
        match self.random.random_range(0..12) {
            0..4 => tcp(from, to, flag, &data),
            4..6 => udp(from, to, &data),
            6 if from.is_ipv4() => udp_without_checksum(from, to, &data),
            6 | 7 if self.random.random() => sctp(from, to, chunk::INIT, &data),
            6 | 7 => sctp(from, to, self.random.random_range(0..16), &data),
            8 => ping(from.ip(), to.ip(), from.port()),
            9 => pong(from.ip(), to.ip(), from.port()),
            10 => {
                let kind = if from.is_ipv4() { self.pick(&[[3, 3], [3, 4], [11, 0]]) } else { self.pick(&[[1, 4], [2, 0], [3, 0]]) };
                // About an answer of whom it is sent to.
                let about = if self.random.random() { tcp(to, from, flags::ACK, &data) } else { udp(to, from, &data) };
                error(from.ip(), to.ip(), kind, 1400, &about.bytes()[IP..])
            }
            _ => Frame { payload: data, protocol: self.random.random(), ..tcp(from, to, flag, b"") },
        }
    }

    /// Changes up to three bytes, perhaps the length.
    fn mutate(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..self.random.random_range(0..=3) {
            let at = self.random.random_range(0..frame.len());
            frame[at] = if self.random.random() { self.random.random() } else { frame[at] ^ (1 << self.random.random_range(0..8)) };
        }
        if self.random.random_ratio(1, 8) {
            frame.truncate(self.random.random_range(IP + 20..=frame.len()));
        }
        if self.random.random_ratio(1, 8) {
            frame.extend(vec![0xee; self.random.random_range(1..40)]);
        }
    }
}

/// Whether the frame went back to where it came from.
fn is_back(frame: &[u8], ran: &Ran) -> bool {
    ran.mark == DONE && ran.frame[..6] == frame[6..12] && ran.frame[6..12] == frame[..6]
}

/// Whether the answer is the frame itself with another type of ICMP and other hops, both ends having changed places.
fn is_pong(asked: &[u8], answer: &[u8]) -> bool {
    let header = if asked[12..14] == [0x86, 0xdd] { 40 } else { 20 };
    let changed = asked[IP + header..].iter().zip(&answer[IP + header..]).filter(|(before, after)| before != after).count();
    // The type and two bytes of checksum.
    asked.len() == answer.len() && changed <= 3
}

/// Whether a frame is for a group of IPv6.
fn is_for_group(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(38) == Some(&0xff)
}
