//! Ports that no Service has, at addresses that routers lead to this node and that no host has.
//!
//! ```text
//!  client ── router ══ eth0 ─ node      203.0.113.5 leads to the node, for the port of a Service; what is for another port
//!               ▲        │              would go back by the default route, and round until its hops are gone
//!               └────────┘
//! ```

use crate::bench::{Bench, FAMILIES, Front, at, ip, settings, wired};
use crate::frames::{Packet, flags, sctp, tcp, udp};
use crate::harness::command;
use orknet_abi::protocol::TCP;
use orknet_abi::{DropReason, ServiceKey};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Verdict;

#[test]
fn root_what_would_go_back_to_the_router_is_refused() {
    let bench = Bench::new("round");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        let other = at(family.load_balancer, 81);
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_a, 80)]));
        let icmp = if client.is_ipv4() { (1, [3, 3]) } else { (58, [1, 4]) };
        for asked in [tcp(client, other, flags::SYN, b""), udp(client, front, b"a datagram"), sctp(client, front, 1, &[0; 16])] {
            let (ran, dropped) = bench.dropped_by(|| bench.from_network(&wired(asked.clone()).bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::NoSuchPort]), "protocol {}", asked.protocol);
            let answer = Packet::read(&ran.frame).unwrap();
            assert_eq!((answer.source, answer.destination), (front.ip(), client.ip()));
            if asked.protocol == TCP {
                assert_eq!(answer.protocol, TCP);
            } else {
                assert_eq!((answer.protocol, &answer.payload[..2]), (icmp.0, &icmp.1[..]));
            }
        }
        // A reset opens nothing and is not answered.
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&wired(tcp(client, front, flags::RST, b"")).bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::NoSuchPort]));
    }
}

#[test]
fn root_what_a_host_may_have_goes_on_there() {
    let bench = Bench::new("hosts");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_a, 80)]));
        let ask = || {
            // A new generation believes no route that was asked before.
            bench.set_node(settings());
            bench.from_network(&wired(tcp(client, at(family.load_balancer, 81), flags::SYN, b"")).bytes()).verdict
        };
        let (six, bits) = if front.is_ipv4() { ("-4", 32) } else { ("-6", 128) };
        let prefix = format!("{}/{bits}", front.ip());
        let route = |change: &[&str]| bench.node.run(|| command("ip", &[&[six, "route"], change].concat()));
        assert_eq!(ask(), Verdict::Redirect, "refused");
        // On the link, behind another device, the node's own.
        for to in [["dev", "eth0"], ["dev", "vethb"]] {
            route(&["add", &prefix, to[0], to[1]]);
            assert_eq!(ask(), Verdict::Next, "{to:?}");
            route(&["del", &prefix]);
        }
        bench.node.run(|| command("ip", &["address", "add", &prefix, "dev", "eth0"]));
        assert_eq!(ask(), Verdict::Next, "the node's own");
        bench.node.run(|| command("ip", &["address", "del", &prefix, "dev", "eth0"]));
        // Nobody's.
        bench.apply(&Plan {
            steps: vec![Step::DeleteService(ServiceKey { address: ip(family.load_balancer).into(), ..ServiceKey::default() })],
        });
        assert_eq!(ask(), Verdict::Next, "no Service's");
    }
    assert!(bench.drops().iter().all(|(reason, count)| (*reason, *count) == (DropReason::NoSuchPort, 2)), "{:?}", bench.drops());
}
