//! What the hooks cost: figures to look at, bounds that only a mistake in kind would break.

#[path = "network_packets/bench.rs"]
#[allow(dead_code, reason = "packet tests use the rest")]
mod bench;
mod frames;
mod harness;
mod servers;

use bench::{A_MACS, B_MACS, Bench, DEVICE_A, DEVICE_B, FAMILIES, Front, at, ip, wired};
use frames::{Frame, flags, tcp};
use harness::{Node, ServiceSpec, pod, put_pods, put_service};
use orknet_abi::{
    Judgement, Peer, PodKey, PortKey, RangeKey, Verdict as Rules, VerdictKey, action,
    protocol::{TCP, UDP},
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Dataplane, Hook, Verdict};
use servers::Servers;
use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// Mean duration of one connect(2) of a UDP socket, which sends nothing: the best of some rounds, as the host is noisy.
fn time_connect(socket: &UdpSocket, to: SocketAddr) -> Duration {
    const CALLS: u32 = 20_000;
    let round = || {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| socket.connect(to).unwrap());
        begun.elapsed() / CALLS
    };
    (0..5).map(|_| round()).min().unwrap()
}

#[test]
fn root_a_connect_through_a_service_costs_little_more_than_one_without() {
    let node = Node::new("cost");
    let servers = Servers::start(&node);
    let bare = node.run(|| time_connect(&UdpSocket::bind("0.0.0.0:0").unwrap(), servers.udp_v4[0]));
    let dataplane = node.dataplane();
    dataplane.apply(&put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &servers.udp_v4)));
    let (direct, service) = node.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        (time_connect(&socket, servers.udp_v4[0]), time_connect(&socket, "10.96.0.1:53".parse().unwrap()))
    });
    println!("connect: {bare:?} without hooks, {direct:?} to an address that is no Service's, {service:?} to a Service's");
    assert!(service < bare + Duration::from_micros(20));
}

#[test]
fn root_a_packet_between_pods_costs_little_and_loading_is_quick() {
    let node = Node::new("cost");
    let begun = Instant::now();
    let dataplane = Dataplane::open(&node.config).unwrap();
    let opened = begun.elapsed();
    let (a, b) = (pod(1, [2; 6], [0; 6]), pod(7, [4; 6], [6; 6]));
    dataplane.apply(&put_pods(&[("10.244.0.2", a), ("10.244.0.3", b), ("fd00::2", a), ("fd00::3", b)]));
    for (source, destination) in [("10.244.0.2", "10.244.0.3"), ("fd00::2", "fd00::3")] {
        // All runs of a call take from the same frame's hop limit, so there are fewer runs than hops.
        let frame = Frame { hop_limit: 255, ..Frame::new(source, destination, UDP, &[0; 64]) }.bytes();
        let run = || node.run(|| dataplane.run(Hook::FromPod, &frame, 200)).unwrap();
        let costs = (0..100).map(|_| run()).map(|ran| (ran.verdict == Verdict::Redirect).then_some(ran.nanoseconds).unwrap());
        let quickest = costs.min().unwrap();
        println!("{source}: {quickest} ns for a packet");
        assert!(quickest < 20_000);
    }
    println!("opened in {opened:?}");
    assert!(opened < Duration::from_secs(10));
}

#[test]
fn root_a_first_packet_costs_a_few_times_what_a_known_one_does() {
    let rounds: u16 = std::env::var("ORKNET_COST_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
    let bench = Bench::new("first");
    bench.serve_wire();
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x08, 0x06], &[0; 28]].concat();
    let quick = |mut costs: Vec<u32>| {
        costs.sort_unstable();
        // Where others work beside, the quick ones say more than the middle.
        costs[costs.len() / 10]
    };
    let nothing = quick((0..rounds).map(|_| bench.from_network(&arp).nanoseconds).collect());
    println!("{nothing} ns for a frame that is nobody's");
    for (family, first) in FAMILIES.iter().zip([1, 2]) {
        for (list, what, backend, on_wire) in [
            (first, "to a pod here", family.pod_b, false),
            (first + 2, "to a pod elsewhere", family.remote_pod, false),
            (first + 2, "to a pod elsewhere, on the wire", family.remote_pod, true),
        ] {
            bench.put(&Front::new(list, TCP, at(family.load_balancer, 80), &[at(backend, 8080)]));
            let begin = list as u16 * 10_000 + if on_wire { 5_000 } else { 0 };
            let costs = [flags::SYN, flags::ACK, flags::ACK].map(|flags| {
                let run = |port| {
                    let frame = wired(tcp(at(family.client, port), at(family.load_balancer, 80), flags, &[])).bytes();
                    let ran = if on_wire { bench.from_wire(&frame) } else { bench.from_network(&frame) };
                    assert_eq!(ran.verdict, Verdict::Redirect);
                    ran.nanoseconds
                };
                quick((begin..begin + rounds).map(run).collect())
            });
            println!("{}, {what}: {costs:?} ns for the first, second and third packet", family.client);
            assert!(costs[0] < 40 * costs[2].max(100), "{costs:?}");
        }
    }
}

/// What each segment of short connections between two pods costs, one after the other: the least tenth, and the mean of all but the dearest
/// hundredth.
fn time_connections(bench: &Bench, client: &str, server: &str, ports: std::ops::Range<u16>) -> Vec<(u32, u32)> {
    const FIN: u8 = flags::FIN | flags::ACK;
    let segments = [
        (true, flags::SYN),
        (false, flags::SYN_ACK),
        (true, flags::ACK),
        (true, flags::ACK),
        (false, flags::ACK),
        (false, FIN),
        (true, FIN),
        (false, flags::ACK),
    ];
    let mut costs = vec![Vec::new(); segments.len()];
    for port in ports {
        let (client, server) = (at(client, port), at(server, 80));
        for ((is_there, flags), costs) in segments.iter().zip(&mut costs) {
            let ran = if *is_there {
                bench.from_pod(&tcp(client, server, *flags, b"").bytes())
            } else {
                bench.from_pod_b(tcp(server, client, *flags, b""))
            };
            assert_eq!(ran.verdict, Verdict::Redirect);
            costs.push(ran.nanoseconds);
        }
    }
    let told = |mut costs: Vec<u32>| {
        costs.sort_unstable();
        let most = &costs[..costs.len() * 99 / 100];
        (costs[costs.len() / 10], most.iter().sum::<u32>() / most.len() as u32)
    };
    costs.into_iter().map(told).collect()
}

#[test]
fn root_a_connection_whose_beginning_must_be_known_costs_little_more_than_one_of_which_nothing_is() {
    let rounds: u16 = std::env::var("ORKNET_COST_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
    let bench = Bench::new("both");
    let allowed = |rule| Judgement { action: action::ALLOW, rule };
    for family in FAMILIES {
        let mut totals = Vec::new();
        for (turn, (sets, what)) in
            (0..).zip([([0, 0], "no rules"), ([0, 1], "rules for one direction"), ([1, 1], "rules for both directions")].repeat(3))
        {
            let [one, both] = [sets[0].max(sets[1]), sets[0]];
            let mut a = pod(DEVICE_A, A_MACS[0], A_MACS[1]);
            let mut b = pod(DEVICE_B, B_MACS[0], B_MACS[1]);
            (a.egress, a.ingress, b.ingress, b.egress) = (one, both, one, both);
            let plan = vec![
                Step::PutPort(PortKey::ports(1, TCP, 80, 16), allowed(2)),
                Step::PutVerdict(VerdictKey { set: 1, peers: 0 }, Rules::default()),
                Step::PutVerdict(VerdictKey { set: 1, peers: 1 }, Rules { table: 1, ..Rules::default() }),
                Step::PutPeer(RangeKey::new(ip(family.pod_a), 128), Peer { peers: 1 }),
                Step::PutPeer(RangeKey::new(ip(family.pod_b), 128), Peer { peers: 1 }),
                Step::PutPod(PodKey { address: ip(family.pod_a).into() }, a),
                Step::PutPod(PodKey { address: ip(family.pod_b).into() }, b),
            ];
            bench.apply(&Plan { steps: plan });
            let first = 1_000 + turn * rounds;
            let costs = time_connections(&bench, family.pod_a, family.pod_b, first..first + rounds);
            let total = costs.iter().fold((0, 0), |all, each| (all.0 + each.0, all.1 + each.1));
            println!("{}, {what}: {total:?} ns, of these {costs:?}", family.pod_a);
            totals.push(total.0);
        }
        assert!(totals[2] < 10 * totals[0].max(1_000), "{totals:?}");
    }
}
