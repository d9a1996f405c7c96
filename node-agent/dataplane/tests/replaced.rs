//! Flows that were there before the maps: maps of another capacity are made, and new programs over them know what the old ones knew. The
//! topology is drawn in `network_packets/bench.rs`.

#[allow(dead_code, reason = "the packet tests use the rest")]
#[path = "network_packets/bench.rs"]
mod bench;
mod frames;
mod harness;

use bench::{A_MACS, B_MACS, Bench, FAMILIES, Front, assert_sent, at, into_pod, ip, key, wired};
use frames::{Packet, flags, tcp};
use orknet_abi::protocol::TCP;
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Dataplane, Reader};
use std::collections::{BTreeMap, BTreeSet};

/// Opens the data plane anew with a map of this capacity; everything else is set aside, and plans write it again.
fn replace(bench: &mut Bench, map: &str, capacity: u32) {
    let plan = everything(bench.dataplane.reader());
    let kept = BTreeMap::from([(map.to_owned(), capacity)]);
    bench.node.config.capacities = kept;
    bench.dataplane = Dataplane::open(&bench.node.config).unwrap();
    assert!(!bench.dataplane.adopted(), "the maps are new");
    bench.apply(&plan);
    bench.dataplane.retire_other_versions().unwrap();
}

/// What would write the maps as they are.
fn everything(reader: &Reader) -> Plan {
    let image = reader.image().unwrap();
    let mut steps: Vec<Step> = image.node.into_iter().map(Step::PutNode).collect();
    steps.extend(image.pods.into_iter().map(|(key, pod)| Step::PutPod(key, pod)));
    steps.extend(image.ranges.into_iter().map(|(key, range)| Step::PutRange(key, range)));
    steps.extend(image.backends.into_iter().map(|(key, backend)| Step::PutBackend(key, backend)));
    steps.extend(image.services.into_iter().map(|(key, service)| Step::PutService(key, service)));
    Plan { steps }
}

#[test]
fn root_answers_between_pods_of_one_node_are_translated_after_the_maps_were_replaced() {
    let mut bench = Bench::new("answers");
    let ends = |family: &bench::Family| (at(family.pod_a, 999), at(family.cluster, 80), at(family.pod_b, 8080));
    for (list, family) in (1..).zip(&FAMILIES) {
        let (client, front, backend) = ends(family);
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        assert_sent(
            &bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes()),
            &into_pod(tcp(client, backend, flags::SYN, b""), B_MACS),
        );
    }
    replace(&mut bench, "SERVICES", 1_000);
    for family in &FAMILIES {
        let (client, front, backend) = ends(family);
        let answered = bench.from_pod_b(tcp(backend, client, flags::SYN_ACK, b""));
        assert_sent(&answered, &into_pod(tcp(front, client, flags::SYN_ACK, b""), A_MACS));
    }
    bench.assert_pairs();
}

#[test]
fn root_flows_that_begin_while_another_program_takes_over_are_known_to_it_at_once() {
    let mut bench = Bench::new("begins");
    let ends = |family: &bench::Family| (at(family.client, 999), at(family.load_balancer, 80), at(family.pod_b, 8080));
    for (list, family) in (1..).zip(&FAMILIES) {
        let (_, front, backend) = ends(family);
        bench.put(&Front::new(list, TCP, front, &[backend]));
    }
    let plan = everything(bench.dataplane.reader());
    bench.node.config.capacities = BTreeMap::from([("FLOWS".to_owned(), 1_000)]);
    let new = Dataplane::open(&bench.node.config).unwrap();
    let old = std::mem::replace(&mut bench.dataplane, new);
    bench.apply(&plan);
    let new = std::mem::replace(&mut bench.dataplane, old);
    for family in &FAMILIES {
        let (client, front, backend) = ends(family);
        let sent = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        assert_sent(&sent, &into_pod(wired(tcp(client, backend, flags::SYN, b"")), B_MACS));
    }
    let known = bench.flows();
    bench.dataplane = new;
    assert!(bench.flows().is_empty(), "nothing has been carried over since");
    for (list, family) in (21..).zip(&FAMILIES) {
        let (client, front, backend) = ends(family);
        let answered = Packet::read(&bench.from_pod_b(tcp(backend, client, flags::SYN_ACK, b"")).frame).unwrap();
        assert_eq!(answered.ends(), (front, client));
        // Not by a choice of its own: the Service has another backend now.
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_a, 8080)]));
        let sent = bench.from_network(&wired(tcp(client, front, flags::ACK, b"")).bytes());
        assert_sent(&sent, &into_pod(wired(tcp(client, backend, flags::ACK, b"")), B_MACS));
    }
    assert!(bench.flows().iter().all(|(key, flow)| known[key].becomes == flow.becomes));
    bench.dataplane.retire_other_versions().unwrap();
    assert_eq!(bench.flows().len(), known.len());
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_established_flows_go_on_when_their_own_map_is_replaced() {
    let mut bench = Bench::new("replaced");
    let ends = |family: &bench::Family| (at(family.client, 999), at(family.load_balancer, 80), at(family.pod_b, 8080));
    let exchange = |bench: &Bench, there: u8, back: u8| {
        for family in &FAMILIES {
            let (client, front, backend) = ends(family);
            let sent = bench.from_network(&wired(tcp(client, front, there, b"there")).bytes());
            assert_sent(&sent, &into_pod(wired(tcp(client, backend, there, b"there")), B_MACS));
            let answered = Packet::read(&bench.from_pod_b(tcp(backend, client, back, b"back")).frame).unwrap();
            assert_eq!(answered.ends(), (front, client));
        }
    };
    for (list, family) in (1..).zip(&FAMILIES) {
        let (_, front, backend) = ends(family);
        bench.put(&Front::new(list, TCP, front, &[backend]));
    }
    exchange(&bench, flags::SYN, flags::SYN_ACK);
    exchange(&bench, flags::ACK, flags::ACK);
    let before = bench.flows();
    for capacity in [1_000, 2_000] {
        replace(&mut bench, "FLOWS", capacity);
        // The Service has another backend now: only the flows know the one they have.
        for (list, family) in (11..).zip(&FAMILIES) {
            bench.put(&Front::new(list, TCP, at(family.load_balancer, 80), &[at(family.pod_a, 8080)]));
        }
        exchange(&bench, flags::ACK, flags::ACK);
        let after = bench.flows();
        assert!(after.iter().all(|(key, flow)| before[key].becomes == flow.becomes && before[key].state == flow.state));
        assert_eq!(after.len(), before.len());
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_flows_of_an_address_that_changes_hands_do_not_come_back_from_the_old_map() {
    let mut bench = Bench::new("forgotten");
    let ends = |family: &bench::Family| {
        [(family.pod_a, 8080), (family.pod_b, 8081)].map(|(pod, port)| (at(pod, port), at(family.load_balancer, port)))
    };
    for (list, family) in (1..).step_by(2).zip(&FAMILIES) {
        for (list, (backend, front)) in (list..).zip(ends(family)) {
            bench.put(&Front::new(list, TCP, front, &[backend]));
            bench.from_network(&wired(tcp(at(family.client, 999), front, flags::SYN, b"")).bytes());
        }
    }
    let plan = everything(bench.dataplane.reader());
    let old_flows = bench.flows().len();
    bench.node.config.capacities = BTreeMap::from([("FLOWS".to_owned(), 1_000)]);
    let new = Dataplane::open(&bench.node.config).unwrap();
    let old = std::mem::replace(&mut bench.dataplane, new);
    bench.apply(&plan);
    // They are in both maps.
    let of_a: BTreeSet<_> = FAMILIES.iter().map(|family| ip(family.pod_a).into()).collect();
    assert_eq!(bench.dataplane.forget_flows_of(&of_a).unwrap(), 2 * 2 * FAMILIES.len() as u64);
    for (list, family) in (21..).step_by(2).zip(&FAMILIES) {
        for (list, (_, front)) in (list..).zip(ends(family)) {
            bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        }
        let client = at(family.client, 999);
        let [(_, front_a), (backend_b, front_b)] = ends(family);
        let sent = bench.from_network(&wired(tcp(client, front_b, flags::ACK, b"")).bytes());
        assert_eq!(Packet::read(&sent.frame).unwrap().ends(), (client, backend_b), "the others' are known");
        let sent = bench.from_network(&wired(tcp(client, front_a, flags::ACK, b"")).bytes());
        assert_eq!(Packet::read(&sent.frame).unwrap().ends().1, at(family.remote_pod, 80), "it is a new one");
        bench.forget_flow(&key(TCP, client, front_a));
    }
    bench.dataplane.retire_other_versions().unwrap();
    assert_eq!(bench.flows().len(), old_flows / 2);
    let has_part = |known: &orknet_abi::FlowKey| of_a.contains(&known.source) || of_a.contains(&known.destination);
    assert!(bench.flows().iter().all(|(known, flow)| !has_part(known) && !has_part(&flow.becomes)));
    drop(old);
}
