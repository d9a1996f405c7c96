//! Random packets of pods with rules: nothing gets into a pod that is closed, nor out of it, and while rules change nothing passes that may
//! neither be opened nor answer what may be.
//!
//! How many and which: as in `fuzz.rs`.

use crate::bench::{Bench, DEVICE_A, DEVICE_B, FAMILIES, Family, Front, at, ip, settings, wired};
use crate::direct_return::telling;
use crate::frames::{Frame, IP, Packet, error, flags, ping, pong, sctp, set_v4_checksum, tcp, udp};
use crate::fuzz::Wanted;
use crate::policy::{CLOSED, FRIENDLY, befriend, rules, sets};
use crate::policy_holes::unfriend;
use orknet_abi::node_flags::{DIRECT_RETURN, LENIENT, MASQUERADE, NO_REDIRECT};
use orknet_abi::protocol::{TCP, UDP};
use orknet_dataplane::{Arrival, Hook, Ran, Verdict};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::net::{IpAddr, SocketAddr};

/// Packets in each mode of an ordinary run.
const SLICE: u64 = 6_000;
/// So that packets meet each other's flows.
const PORTS: [u16; 5] = [7, 53, 80, 81, 999];

/// Runs in each mode, where the node is.
fn in_each(name: &str, modes: &[u32], run: impl Fn(&Bench, u32, &mut StdRng, u64) + Sync) {
    let wanted = Wanted::read(SLICE);
    println!("{name}: ORKNET_FUZZ_SEED={}", wanted.seed);
    for flags in modes {
        let bench = Bench::new(name);
        bench.set_node(orknet_abi::Node { flags: *flags, ..settings() });
        bench.apply(&sets());
        std::thread::scope(|scope| {
            let run = || {
                bench.node.enter();
                run(&bench, *flags, &mut StdRng::seed_from_u64(wanted.seed), wanted.count);
            };
            scope.spawn(run).join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

fn pick<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

fn run(bench: &Bench, hook: Hook, device: u32, came_in: u32, mark: u32, frame: &[u8]) -> Ran {
    bench.dataplane.run_from(hook, &Arrival { device, came_in, mark, ..Arrival::default() }, frame, 1).unwrap()
}

#[test]
fn root_fuzz_nothing_gets_into_a_closed_pod_or_out_of_it() {
    let modes = [MASQUERADE, 0, MASQUERADE | DIRECT_RETURN, MASQUERADE | NO_REDIRECT, MASQUERADE | LENIENT];
    in_each("closed", &modes, |bench, mode, random, count| {
        for (list, family) in (1..).step_by(8).zip(FAMILIES) {
            bench.put(&Front::new(list, TCP, at(family.load_balancer, 80), &[at(family.remote_pod, 80)]));
            bench.put(&Front::new(list + 1, UDP, at(family.load_balancer, 53), &[at(family.pod_a, 53)]));
            bench.put(&Front::new(list + 2, TCP, at(family.cluster, 80), &[at(family.pod_a, 80)]).cluster());
            bench.put(&Front::new(list + 3, UDP, at(family.cluster, 53), &[at(family.remote_pod, 53)]).cluster());
            // Flows that live meanwhile: those of pod B, which has rules for both directions.
            befriend(bench, family.remote_pod);
            rules(bench, family.pod_b, |pod| (pod.ingress, pod.egress) = (FRIENDLY, FRIENDLY));
            bench.from_pod_b(tcp(at(family.pod_b, 7), at(family.remote_pod, 80), flags::SYN, b""));
            bench.from_pod_b(udp(at(family.pod_b, 7), at(family.remote_pod, 80), b""));
            rules(bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, CLOSED));
        }
        let mut dropped = 0;
        for _ in 0..count {
            let family = pick(random, &FAMILIES);
            let (from, frame) = to_or_from_a(random, &family);
            let is_out = from == family.pod_a;
            // The stack hands a pod what is for it.
            let is_by_stack = random.random_ratio(1, 3) && Packet::read(&frame).is_none_or(|packet| packet.destination == ip(family.pod_a));
            let ran = match (is_out, is_by_stack) {
                (true, _) => run(bench, Hook::FromPod, DEVICE_A, 0, 0, &frame),
                (false, false) => run(bench, Hook::FromNetwork, bench.eth0, 0, 0, &frame),
                (false, true) => run(bench, Hook::ToPod, DEVICE_A, bench.eth0, 0, &frame),
            };
            dropped += u64::from(ran.verdict == Verdict::Drop);
            let told = || format!("mode {mode:x}, out {is_out}: {ran:?}\n{frame:02x?}");
            // Where it is going now; what is broken is for nobody.
            let Some(end) = Packet::read(&ran.frame).map(|packet| packet.destination) else { continue };
            let is_groups = matches!(end, IpAddr::V6(end) if end.is_multicast()) || matches!(end, IpAddr::V4(end) if end.is_multicast());
            // Its node it may always speak with, and its link. Who asks a Service may be answered in its place.
            let is_wrong = if is_out { end != ip(family.node) && !is_groups } else { [family.pod_a, family.pod_b].map(ip).contains(&end) };
            assert!(ran.verdict == Verdict::Drop || end == ip(from) || !is_wrong, "{}", told());
        }
        assert!(dropped > count / 2, "{dropped} of {count}");
    });
}

/// A packet that pod A sends, or one for it, of any kind, and who sends it.
fn to_or_from_a(random: &mut StdRng, family: &Family) -> (&'static str, Vec<u8>) {
    let is_v4 = ip(family.node).is_ipv4();
    let node_2 = if is_v4 { "192.0.2.2" } else { "2001:db8::2" };
    let others = [family.pod_b, family.remote_pod, family.remote_pod_2, family.client, family.router, family.node, node_2];
    let fronts = [family.load_balancer, family.cluster];
    let all = [&others[..], &fronts, &[family.pod_a]].concat();
    let is_out = random.random();
    let other = pick(random, &others);
    let (from, to) = if is_out { (family.pod_a, other) } else { (other, family.pod_a) };
    let to = if random.random_ratio(1, 4) { pick(random, &fronts) } else { to };
    let sender = from;
    let (from, to) = (at(from, pick(random, &PORTS)), at(to, pick(random, &PORTS)));
    let mut frame = match random.random_range(0..8) {
        0 => tcp(from, to, random.random(), b"x"),
        1 => udp(from, to, b"x"),
        2 => ping(from.ip(), to.ip(), from.port()),
        3 => pong(from.ip(), to.ip(), from.port()),
        4 => sctp(from, to, random.random_range(0..16), &[0; 16]),
        5 | 6 => {
            let of_v4 = [[3, 3], [3, 4], [11, 0], [12, 0], [5, 1], [4, 0]];
            let of_v6 = [[1, 4], [2, 0], [3, 0], [4, 1], [137, 0], [135, 0]];
            let kind = pick(random, if is_v4 { &of_v4 } else { &of_v6 });
            let quoted = (at(pick(random, &all), pick(random, &PORTS)), at(pick(random, &all), pick(random, &PORTS)));
            let quoted = if random.random() { tcp(quoted.0, quoted.1, flags::ACK, b"quoted") } else { udp(quoted.0, quoted.1, b"quoted") };
            error(from.ip(), to.ip(), kind, 1_300, &quoted.bytes()[IP..])
        }
        _ => {
            let mut payload = vec![0; random.random_range(0..60)];
            random.fill(&mut payload[..]);
            Frame { payload, protocol: random.random(), ..tcp(from, to, 0, b"") }
        }
    };
    if !is_v4 && random.random_ratio(1, 3) {
        (0..random.random_range(1..7)).for_each(|_| extend(random, &mut frame));
    } else if random.random_ratio(1, 5) {
        frame = telling(frame, at(pick(random, &fronts), 80));
    }
    let mut bytes = if is_out { frame } else { wired(frame) }.bytes();
    if is_v4 && random.random_ratio(1, 5) {
        // Any fragment, or one of the first.
        let word: u16 = if random.random() { 0x2000 } else { random.random() };
        bytes[20..22].copy_from_slice(&word.to_be_bytes());
        set_v4_checksum(&mut bytes);
    }
    if random.random_ratio(1, 20) && bytes.len() > IP + 20 {
        let place = random.random_range(IP + 20..bytes.len());
        bytes[place] ^= random.random::<u8>();
    }
    (sender, bytes)
}

/// Puts an extension header of IPv6 in front.
fn extend(random: &mut StdRng, frame: &mut Frame) {
    const FRAGMENT: u8 = 44;
    let kind = pick(random, &[0, 43, 60, FRAGMENT, 51, 59]);
    let [a, b] = if random.random() { random.random::<u16>() } else { 1 }.to_be_bytes();
    let header = if kind == FRAGMENT { [frame.protocol, 0, a, b, 0, 0, 0, 9] } else { [frame.protocol, 0, 1, 4, 0, 0, 0, 0] };
    frame.extra = [&header[..], &frame.extra].concat();
    frame.protocol = kind;
}

/// Two pods with rules, one of another node, a client outside; what rules say of them now.
struct Model {
    ends: [&'static str; 4],
    /// Of both pods, what comes in and what goes out.
    sets: [[u32; 2]; 2],
    are_friends: [bool; 4],
    is_tcp: bool,
    /// The last steps, for a person.
    log: Vec<String>,
}

const INGRESS: usize = 0;
const EGRESS: usize = 1;

impl Model {
    fn of(family: &Family) -> Self {
        let ends = [family.pod_a, family.pod_b, family.remote_pod, family.client];
        Self { ends, sets: [[0; 2]; 2], are_friends: [false; 4], is_tcp: true, log: Vec::new() }
    }

    /// Whether a client may open something at a server's port.
    fn may(&self, client: usize, server: usize, port: u16) -> bool {
        let says = |who: usize, way: usize, other: usize| match self.sets.get(who).map_or(0, |sets| sets[way]) {
            0 => true,
            FRIENDLY => self.are_friends[other] && (!self.is_tcp || port == 80),
            _ => false,
        };
        says(client, EGRESS, server) && says(server, INGRESS, client)
    }

    /// Changes something once in a while.
    fn change(&mut self, bench: &Bench, random: &mut StdRng) {
        if random.random_ratio(1, 50) {
            let pod = random.random_range(0..2);
            self.sets[pod] = [(); 2].map(|()| pick(random, &[0, CLOSED, FRIENDLY]));
            let [ingress, egress] = self.sets[pod];
            rules(bench, self.ends[pod], |entry| (entry.ingress, entry.egress) = (ingress, egress));
            self.log.push(format!("rules of {}: {:?}", self.ends[pod], self.sets[pod]));
        }
        if random.random_ratio(1, 100) {
            let who = random.random_range(0..4);
            self.are_friends[who] = !self.are_friends[who];
            let change = if self.are_friends[who] { befriend } else { unfriend };
            change(bench, self.ends[who]);
            self.log.push(format!("{} is a friend: {}", self.ends[who], self.are_friends[who]));
        }
    }

    /// Whether the packet got to the other end, or on its way to it.
    fn send(&mut self, bench: &Bench, [from, to]: [(usize, u16); 2], says: u8) -> bool {
        let end = |(who, port): (usize, u16)| -> SocketAddr { at(self.ends[who], port) };
        let frame = if self.is_tcp { tcp(end(from), end(to), says, b"") } else { udp(end(from), end(to), b"") };
        let ran = match from.0 {
            0 => run(bench, Hook::FromPod, DEVICE_A, 0, 0, &frame.bytes()),
            1 => run(bench, Hook::FromPod, DEVICE_B, 0, 0, &Frame { destination_mac: crate::bench::B_MACS[1], ..frame }.bytes()),
            _ => run(bench, Hook::FromNetwork, bench.eth0, 0, 0, &wired(frame).bytes()),
        };
        // What is left to the stack for a pod of this node is looked at there.
        let device = [DEVICE_A, DEVICE_B].get(to.0).filter(|_| ran.verdict == Verdict::Next);
        let came_in = *[DEVICE_A, DEVICE_B].get(from.0).unwrap_or(&bench.eth0);
        let passed = ran.verdict != Verdict::Drop
            && device.is_none_or(|device| run(bench, Hook::ToPod, *device, came_in, ran.mark, &ran.frame).verdict != Verdict::Drop);
        let name = if self.is_tcp { "TCP" } else { "UDP" };
        self.log.push(format!("{name} {says:x} {} > {}: {passed}", end(from), end(to)));
        passed
    }
}

#[test]
fn root_fuzz_what_passes_may_be_opened_or_answers_what_may_be() {
    const SAYS: [u8; 5] = [flags::SYN, flags::SYN_ACK, flags::ACK, flags::FIN | flags::ACK, flags::RST];
    in_each("model", &[0, MASQUERADE, NO_REDIRECT], |bench, mode, random, count| {
        let mut opened = 0;
        for family in FAMILIES {
            let mut model = Model::of(&family);
            for _ in 0..count / 2 {
                model.change(bench, random);
                if random.random_ratio(1, 100) {
                    bench.flows().keys().for_each(|key| bench.forget_flow(key));
                    model.log.push("flows are forgotten".to_owned());
                }
                let from = random.random_range(0..4_usize);
                // One of both is a pod of this node.
                let to = (from + random.random_range(1..if from < 2 { 4 } else { 3 })) % if from < 2 { 4 } else { 2 };
                model.is_tcp = random.random_ratio(2, 3);
                let [from, to] = [from, to].map(|who| (who, pick(random, &[80, 81, 999])));
                let says = pick(random, &SAYS);
                let passed = model.send(bench, [from, to], says);
                let is_first = model.is_tcp && says == flags::SYN;
                let (may_open, may_answer) = (model.may(from.0, to.0, to.1), model.may(to.0, from.0, from.1));
                let told = |model: &Model| format!("mode {mode:x}: {:#?}", &model.log[model.log.len().saturating_sub(12)..]);
                assert!(!passed || may_open || !is_first && may_answer, "it may not pass: {}", told(&model));
                if is_first && may_open {
                    assert!(passed, "it may pass: {}", told(&model));
                    opened += 1;
                    // Outside, what a pod has begun is the node's; so is what it answers between the same ports.
                    let is_hidden = mode & MASQUERADE != 0 && (from.0 == 3 || to.0 == 3);
                    assert!(is_hidden || model.send(bench, [to, from], flags::SYN_ACK), "its answer may: {}", told(&model));
                }
            }
            model.ends.iter().for_each(|end| unfriend(bench, end));
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
        assert!(opened > count / 50, "{opened} of {count}");
    });
}
