//! Packets of pods for cluster addresses, where no socket hook saw the call, and the answers.

use crate::bench::{
    A_MACS, B_MACS, Bench, DONE, FAMILIES, FIRST_PORT, Front, LAST_PORT, assert_sent, at, into_pod, ip, key, one_hop_on, settings, wired,
};
use crate::frames::{Frame, Packet, flags, tcp};
use orknet_abi::{flow_state, protocol::TCP};
use orknet_dataplane::Verdict;

#[test]
fn root_a_pod_reaches_another_through_a_cluster_address_and_the_answer_comes_from_it() {
    let bench = Bench::new("here");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 80), at(family.pod_b, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        for (there, back) in [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK)] {
            let sent = bench.from_pod(&tcp(client, front, there, b"there").bytes());
            assert_sent(&sent, &into_pod(tcp(client, backend, there, b"there"), B_MACS));
            let answered = bench.from_pod_b(tcp(backend, client, back, b"back"));
            assert_sent(&answered, &into_pod(tcp(front, client, back, b"back"), A_MACS));
        }
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_a_pod_reaches_a_backend_on_another_node_through_a_cluster_address() {
    let bench = Bench::new("there");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 80), at(family.remote_pod, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        let sent = bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        assert_sent(&sent, &one_hop_on(tcp(client, backend, flags::SYN, b"")));
        assert_eq!(sent.mark, DONE);
        let answered = bench.from_network(&wired(tcp(backend, client, flags::SYN_ACK, b"")).bytes());
        assert_sent(&answered, &into_pod(wired(tcp(front, client, flags::SYN_ACK, b"")), A_MACS));
    }
    bench.assert_pairs();
}

#[test]
fn root_a_pod_reaches_a_backend_outside_of_the_cluster_as_its_node() {
    let bench = Bench::new("outside");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 80), at(family.client, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        let sent = bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        let node = Packet::read(&sent.frame).unwrap().ends().0;
        assert!(node.ip() == ip(family.node) && (FIRST_PORT..=LAST_PORT).contains(&node.port()), "{node}");
        assert_sent(&sent, &one_hop_on(tcp(node, backend, flags::SYN, b"")));
        assert_eq!(bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes()).frame, sent.frame);
        let answered = bench.from_network(&wired(tcp(backend, node, flags::SYN_ACK, b"")).bytes());
        assert_sent(&answered, &into_pod(wired(tcp(front, client, flags::SYN_ACK, b"")), A_MACS));
    }
    bench.assert_pairs();
    assert!(bench.flows().values().all(|flow| flow.state & flow_state::MASQUERADE == 0), "they are a Service's");
    // Where pods leave with their own addresses, so they do here.
    bench.set_node(orknet_abi::Node { flags: 0, ..settings() });
    for family in FAMILIES {
        let sent = bench.from_pod(&tcp(at(family.pod_a, 998), at(family.cluster, 80), flags::SYN, b"").bytes());
        assert_sent(&sent, &one_hop_on(tcp(at(family.pod_a, 998), at(family.client, 8080), flags::SYN, b"")));
    }
}

#[test]
fn root_a_pod_reaches_itself_through_its_service_and_sees_the_service() {
    let bench = Bench::new("hairpin");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 80), at(family.pod_a, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        let service_as_client = at(family.cluster, 999);
        let sent = bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        assert_sent(&sent, &into_pod(tcp(service_as_client, backend, flags::SYN, b""), A_MACS));
        let answered = bench.from_pod(&tcp(backend, service_as_client, flags::SYN_ACK, b"").bytes());
        assert_sent(&answered, &into_pod(tcp(front, client, flags::SYN_ACK, b""), A_MACS));
        assert_eq!(bench.flows()[&key(TCP, client, front)].becomes, key(TCP, service_as_client, backend));
    }
    bench.assert_pairs();
}

#[test]
fn root_a_pod_reaches_a_backend_on_its_node_by_the_stack() {
    let bench = Bench::new("stack");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 443), at(family.node, 6443));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        let sent = bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        assert_eq!((sent.verdict, sent.frame), (Verdict::Next, tcp(client, backend, flags::SYN, b"").bytes()));
        let answered = bench.to_pod(&tcp(backend, client, flags::SYN_ACK, b"").bytes());
        assert_eq!((answered.verdict, answered.frame), (Verdict::Next, tcp(front, client, flags::SYN_ACK, b"").bytes()));
        // What else the node sends to the pod is left as it is.
        let other = tcp(at(family.node, 22), client, flags::SYN, b"").bytes();
        let ran = bench.to_pod(&other);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, other));
    }
    bench.assert_pairs();
}

#[test]
fn root_a_packet_for_another_nodes_pod_goes_past_the_stack() {
    let bench = Bench::new("pass-on");
    for family in FAMILIES {
        let frame = tcp(at(family.pod_a, 999), at(family.remote_pod, 80), flags::SYN, b"");
        let ran = bench.from_pod(&frame.bytes());
        assert_sent(&ran, &one_hop_on(frame.clone()));
        assert_eq!(ran.mark, DONE);
        // The stack answers for what may not travel on, and takes what leaves the cluster.
        let last_hop = Frame { hop_limit: 1, ..frame }.bytes();
        let ran = bench.from_pod(&last_hop);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, last_hop));
        let outside = tcp(at(family.pod_a, 999), at(family.client, 80), flags::SYN, b"").bytes();
        let ran = bench.from_pod(&outside);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, outside));
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}

#[test]
fn root_a_pod_uses_a_node_port_from_inside() {
    let bench = Bench::new("node-port");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.pod_a, 999), at(family.node, 30_080), at(family.pod_b, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]).node_port());
        let sent = bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        assert_sent(&sent, &into_pod(tcp(client, backend, flags::SYN, b""), B_MACS));
        let answered = bench.from_pod_b(tcp(backend, client, flags::SYN_ACK, b""));
        assert_sent(&answered, &into_pod(tcp(front, client, flags::SYN_ACK, b""), A_MACS));
    }
}

#[test]
fn root_what_a_pod_may_not_send_opens_no_flow() {
    let bench = Bench::new("spoofed");
    for (list, family) in (1..).zip(FAMILIES) {
        let front = at(family.cluster, 80);
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_b, 8080)]).cluster());
        let spoofed = tcp(at(family.client, 9), front, flags::SYN, b"");
        let (ran, dropped) = bench.dropped_by(|| bench.from_pod(&spoofed.bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![orknet_abi::DropReason::SourceNotPod]));
        let elsewhere = Frame { destination_mac: [2, 0, 0, 0, 0, 0xcc], ..tcp(at(family.pod_a, 9), front, flags::SYN, b"") };
        assert_eq!(bench.from_pod(&elsewhere.bytes()).verdict, Verdict::Next);
    }
    assert!(bench.flows().is_empty());
}
