//! Any node sends the same packet to the same backend.

use crate::bench::{Bench, FAMILIES, Family, Front, at, settings, wired};
use crate::frames::{Packet, udp};
use orknet_abi::protocol::UDP;
use orknet_abi::service_flags;
use orknet_dataplane::{Hook, Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

fn backends(family: &Family, count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|number| at(&format!("{}{number}", family.remote_pod.trim_end_matches('9')), 53)).collect()
}

/// The backend that each client is sent to.
fn choices(bench: &Bench, front: SocketAddr, clients: &[SocketAddr]) -> Vec<SocketAddr> {
    let arrival = bench.arrival();
    bench.node.run(|| {
        let choose = |client: &SocketAddr| {
            let ran = bench.dataplane.run_from(Hook::FromNetwork, &arrival, &wired(udp(*client, front, b"x")).bytes(), 1).unwrap();
            assert_eq!(ran.verdict, Verdict::Redirect, "{client}: {:?}", bench.drops());
            Packet::read(&ran.frame).unwrap().ends().1
        };
        clients.iter().map(choose).collect()
    })
}

/// Clients of many addresses, or of many ports.
fn clients(family: &Family, count: u16, with_ports: bool) -> Vec<SocketAddr> {
    let address = |number: u16| match (with_ports, family.client.contains(':')) {
        (true, _) => family.client.to_owned(),
        (false, false) => format!("198.{}.{}.7", 18 + number / 256, number % 256),
        (false, true) => format!("2001:db8:77:{number:x}::7"),
    };
    (0..count).map(|number| at(&address(number), if with_ports { 1024 + number } else { 4000 })).collect()
}

#[test]
fn root_two_nodes_choose_the_same_backends() {
    let nodes = ["one", "two"].map(Bench::new);
    // The second is another node with another address.
    nodes[1].set_node(orknet_abi::Node { v4: at("192.0.2.7", 0).ip().into(), v6: at("2001:db8::7", 0).ip().into(), ..settings() });
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let front = at(family.load_balancer, 53);
        nodes[0].put(&Front::new(list, UDP, front, &backends(&family, 7)));
        // Numbers of lists and tables are each node's own affair.
        nodes[1].put(&Front::new(list + 100, UDP, front, &backends(&family, 7)));
        for with_ports in [false, true] {
            let clients = clients(&family, 300, with_ports);
            let [one, other] = [&nodes[0], &nodes[1]].map(|bench| choices(bench, front, &clients));
            assert_eq!(one, other);
            assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 7, "all are chosen");
        }
    }
}

#[test]
fn root_a_backend_less_moves_only_its_own_clients() {
    let nodes = ["all", "less"].map(Bench::new);
    for (list, family) in (1..).zip(FAMILIES) {
        let (front, all) = (at(family.load_balancer, 53), backends(&family, 10));
        nodes[0].put(&Front::new(list, UDP, front, &all));
        nodes[1].put(&Front::new(list, UDP, front, &[&all[..4], &all[5..]].concat()));
        let clients = clients(&family, 2000, false);
        let [before, after] = [&nodes[0], &nodes[1]].map(|bench| choices(bench, front, &clients));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after && **before != all[4]).count();
        assert!(moved <= 20, "{moved} of 2000 moved although their backend stayed");
        assert!(after.iter().all(|backend| *backend != all[4]));
    }
}

#[test]
fn root_backends_share_clients_within_a_per_cent() {
    let bench = Bench::new("share");
    bench.set_node(orknet_abi::Node { first_port: 10_000, last_port: 65_000, ..settings() });
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        // With a look-up table, and by the hash alone.
        for (with_table, port) in [(true, 53), (false, 54)] {
            let front = at(family.load_balancer, port);
            bench.put(&Front { with_table, ..Front::new(list + u32::from(with_table), UDP, front, &backends(&family, 8)) });
            for with_ports in [false, true] {
                let clients = clients(&family, 12_000, with_ports);
                let mut shares: BTreeMap<SocketAddr, u32> = BTreeMap::new();
                choices(&bench, front, &clients).into_iter().for_each(|backend| *shares.entry(backend).or_default() += 1);
                assert_eq!(shares.len(), 8);
                for (backend, count) in shares {
                    let share = f64::from(count) / 12_000.0;
                    assert!((share - 0.125).abs() < 0.01, "{backend} has {share}, ports: {with_ports}, table: {with_table}");
                }
            }
        }
    }
}

#[test]
fn root_with_session_affinity_a_client_has_one_backend_on_every_node() {
    let nodes = ["sticky", "sticky-too"].map(Bench::new);
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.load_balancer, 53);
        for bench in &nodes {
            bench.put(&Front::new(list, UDP, front, &backends(&family, 9)).with(|service| {
                service.flags |= service_flags::AFFINITY;
                service.affinity_seconds = 10_800;
            }));
        }
        let by_port = clients(&family, 200, true);
        let chosen: BTreeSet<SocketAddr> = nodes.iter().flat_map(|bench| choices(bench, front, &by_port)).collect();
        assert_eq!(chosen.len(), 1, "all ports of a client, on both nodes");
        let by_address = clients(&family, 200, false);
        let [one, other] = [&nodes[0], &nodes[1]].map(|bench| choices(bench, front, &by_address));
        assert_eq!(one, other);
        assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 9);
        // One backend less for the others: the client keeps its own, although the table may say otherwise.
        let kept = *chosen.first().unwrap();
        let fewer: Vec<_> =
            backends(&family, 9).into_iter().filter(|backend| *backend == kept || backend.to_string().contains('4')).collect();
        nodes[0].put(&Front::new(list + 50, UDP, front, &fewer).with(|service| {
            service.flags |= service_flags::AFFINITY;
            service.affinity_seconds = 10_800;
        }));
        let again: Vec<SocketAddr> = by_port.iter().map(|client| SocketAddr::new(client.ip(), client.port() + 5000)).collect();
        assert!(choices(&nodes[0], front, &again).iter().all(|backend| *backend == kept));
    }
}
