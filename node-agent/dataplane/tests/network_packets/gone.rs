//! Flows whose backend is gone.

use crate::bench::{Bench, FAMILIES, Front, at, key, wired};
use crate::frames::{Packet, assert_sound, error, flags, sctp, tcp, tcp_numbered, udp};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_abi::{DropReason, flow_state};
use orknet_dataplane::Verdict;

/// Marks every flow as the collector does.
fn all_gone(bench: &Bench) {
    for (key, flow) in bench.flows() {
        bench.change_flow(&key, |state| state | flow_state::GONE, flow.used_seconds);
    }
}

#[test]
fn root_a_connection_to_a_gone_backend_is_reset_and_a_new_one_goes_elsewhere() {
    let bench = Bench::new("gone");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        let there = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        let node = Packet::read(&there.frame).unwrap().ends().0;
        all_gone(&bench);
        bench.put(&Front::new(list + 1, TCP, front, &[at(family.pod_b, 80)]));

        let asked = wired(tcp_numbered(client, front, flags::ACK, [5, 6], b"more"));
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&asked.bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::EndpointGone]));
        assert_sound(&ran.frame);
        let answer = Packet::read(&ran.frame).unwrap();
        assert_eq!((answer.ends(), answer.payload[13], &answer.payload[4..8]), ((front, client), flags::RST, &[0, 0, 0, 6][..]));

        // A reset is not answered by one.
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&wired(tcp(client, front, flags::RST, b"")).bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::EndpointGone]));

        // What is gone may still speak: its connection has ended.
        let late = wired(tcp_numbered(at(family.remote_pod, 80), node, flags::ACK, [7, 8], b"late"));
        let (ran, dropped) = bench.dropped_by(|| bench.from_network(&late.bytes()));
        assert_eq!((ran.verdict, dropped), (Verdict::Redirect, vec![DropReason::EndpointGone]));
        assert_eq!(Packet::read(&ran.frame).unwrap().payload[13], flags::RST);

        let again = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        assert_eq!((again.verdict, Packet::read(&again.frame).unwrap().ends().1), (Verdict::Redirect, at(family.pod_b, 80)));
        bench.assert_pairs();
        assert_eq!(bench.flows()[&key(TCP, client, front)].state, flow_state::FORWARD | flow_state::OPENED);
    }
    assert_eq!(bench.flows().len(), 4, "nothing is left of the gone ones");
}

#[test]
fn root_datagrams_to_a_gone_backend_are_dropped_by_name() {
    let bench = Bench::new("gone-udp");
    for (list, family) in (1..).step_by(2).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        let frames = [(UDP, wired(udp(client, front, b"x"))), (SCTP, wired(sctp(client, front, 0, b"data")))];
        for (number, (protocol, frame)) in (0..).zip(frames) {
            bench.put(&Front::new(list + number, protocol, front, &[at(family.pod_b, 80)]));
            assert_eq!(bench.from_network(&frame.bytes()).verdict, Verdict::Redirect);
            all_gone(&bench);
            let (ran, dropped) = bench.dropped_by(|| bench.from_network(&frame.bytes()));
            assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::EndpointGone]));
        }
    }
}

#[test]
fn root_errors_about_a_gone_flow_are_not_made_into_something_else() {
    let bench = Bench::new("gone-error");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 999), at(family.node, 30_080), at(family.node, 6443));
        bench.put(&Front::new(list, TCP, front, &[backend]).node_port());
        let there = bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes());
        assert_eq!(there.verdict, Verdict::Next);
        all_gone(&bench);
        let kind = if client.is_ipv4() { [3, 3] } else { [1, 4] };
        let leaving = error(backend.ip(), client.ip(), kind, 0, &there.frame[14..]).bytes();
        let ran = bench.to_network(&leaving);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, leaving));
    }
}
