//! The collector on flows that the programs made: what it takes, what it leaves, and what the programs make of the rest. The topology is
//! drawn in `network_packets/bench.rs`.

#[allow(dead_code, reason = "the packet tests use the rest")]
#[path = "network_packets/bench.rs"]
mod bench;
mod frames;
mod harness;

use bench::{Bench, FAMILIES, Front, at, wired};
use frames::{Packet, flags, tcp, udp};
use orknet_abi::protocol::{TCP, UDP};
use orknet_abi::{Address, flow_state};
use orknet_dataplane::{Swept, Verdict};
use std::net::IpAddr;
use std::ops::ControlFlow;

/// One pass, with these backends gone.
fn sweep(bench: &Bench, gone: &[&str]) -> Swept {
    let gone: Vec<Address> = gone.iter().map(|text| text.parse::<IpAddr>().unwrap().into()).collect();
    let mut ask = |uses: &std::collections::BTreeSet<orknet_dataplane::Use>| {
        uses.iter().filter(|used| gone.contains(&used.backend.address)).copied().collect()
    };
    bench.dataplane.sweep_flows(&mut ask, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Makes every flow as old as if nothing had come for so many seconds.
fn age(bench: &Bench, seconds: u32) {
    for (key, flow) in bench.flows() {
        bench.change_flow(&key, |state| state, flow.used_seconds.saturating_sub(seconds));
    }
}

#[test]
fn root_flows_that_are_used_stay_and_those_that_are_silent_go_in_pairs() {
    let bench = Bench::new("collected");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let front = at(family.load_balancer, 80);
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        bench.put(&Front::new(list + 1, UDP, front, &[at(family.pod_b, 80)]));
        bench.from_network(&wired(tcp(at(family.client, 999), front, flags::SYN, b"")).bytes());
        bench.from_network(&wired(udp(at(family.client, 999), front, b"x")).bytes());
    }
    assert_eq!(bench.flows().len(), 8);
    let swept = sweep(&bench, &[]);
    assert_eq!((swept.entries, swept.expired, swept.halves, swept.gone), (8, 0, 0, 0));
    assert_eq!((swept.flows[&TCP], swept.flows[&UDP]), (2, 2));
    // A datagram that nobody has answered is forgotten first.
    age(&bench, 130);
    let swept = sweep(&bench, &[]);
    assert_eq!((swept.expired, swept.halves), (2, 0));
    assert!(bench.flows().keys().all(|key| key.protocol == TCP));
    bench.assert_pairs();
    // A packet keeps its flow.
    let [first, _] = FAMILIES;
    age(&bench, 130);
    let again = wired(tcp(at(first.client, 999), at(first.load_balancer, 80), flags::SYN, b""));
    assert_eq!(bench.from_network(&again.bytes()).verdict, Verdict::Redirect);
    assert_eq!(sweep(&bench, &[]).expired, 1);
    assert!(bench.flows().keys().all(|key| key.source.is_v4() == at(first.client, 0).is_ipv4()));
    bench.assert_pairs();
}

#[test]
fn root_datagrams_move_to_another_backend_when_theirs_is_gone_and_connections_are_reset() {
    let bench = Bench::new("moved");
    for (list, family) in (1..).step_by(4).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        for (list, protocol) in [(list, TCP), (list + 1, UDP)] {
            bench.put(&Front::new(list, protocol, front, &[at(family.remote_pod, 80)]));
        }
        let datagram = wired(udp(client, front, b"x"));
        let leads = |frame: &[u8]| Packet::read(&bench.from_network(frame).frame).unwrap().ends().1;
        assert_eq!(leads(&wired(tcp(client, front, flags::SYN, b"")).bytes()), at(family.remote_pod, 80));
        assert_eq!(leads(&datagram.bytes()), at(family.remote_pod, 80));
        for (list, protocol) in [(list + 2, TCP), (list + 3, UDP)] {
            bench.put(&Front::new(list, protocol, front, &[at(family.pod_b, 80)]));
        }
        assert_eq!(leads(&datagram.bytes()), at(family.remote_pod, 80), "a flow keeps its backend while that is there");
        let swept = sweep(&bench, &[family.remote_pod]);
        assert_eq!((swept.gone, swept.halves), (2, 0));
        assert_eq!(leads(&datagram.bytes()), at(family.pod_b, 80));
        let reset = bench.from_network(&wired(tcp(client, front, flags::ACK, b"more")).bytes());
        assert_eq!(Packet::read(&reset.frame).unwrap().payload[13] & flags::RST, flags::RST);
        let marked = bench.flows().into_iter().filter(|(key, _)| key.protocol == TCP).all(|(_, flow)| flow.state & flow_state::GONE != 0);
        assert!(marked, "both directions");
        assert_eq!(leads(&wired(tcp(client, front, flags::SYN, b"")).bytes()), at(family.pod_b, 80));
        bench.assert_pairs();
        assert_eq!(sweep(&bench, &[family.remote_pod]).gone, 0);
        age(&bench, 10_000);
        sweep(&bench, &[]);
        assert!(bench.flows().is_empty());
    }
}
