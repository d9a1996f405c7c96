//! Policy on every way into a pod and out of it: direct server return, the wire, the stack, full maps.

use crate::bench::{A_MACS, Bench, DEVICE_A, FAMILIES, Front, assert_sent, at, into_pod, ip, key, one_hop_on, settings, wired};
use crate::direct_return::{direct, telling};
use crate::frames::{Packet, flags, tcp, udp};
use crate::policy::{CLOSED, FRIENDLY, assert_refused, befriend, rules, sets};
use orknet_abi::{
    DropReason, RangeKey, judged_mark, node_flags,
    protocol::{TCP, UDP},
    uncertain,
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Verdict;

#[test]
fn root_under_direct_return_the_backends_node_judges_the_client() {
    for is_lenient in [false, true] {
        let bench = direct(if is_lenient { "policy-dsr-lenient" } else { "policy-dsr" });
        let lenient = if is_lenient { node_flags::LENIENT } else { 0 };
        let flags_of_node = settings().flags | node_flags::DIRECT_RETURN | lenient;
        bench.set_node(orknet_abi::Node { flags: flags_of_node, ..settings() });
        for (list, family) in (1..).zip(FAMILIES) {
            bench.apply(&sets());
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, CLOSED));
            let (client, front, backend) = (at(family.client, 41_000), at(family.load_balancer, 80), at(family.pod_a, 80));
            bench.put(&Front::new(list, TCP, front, &[backend]));
            let told = wired(telling(tcp(client, backend, flags::SYN, b""), front));
            assert_refused(&bench, || bench.from_network(&told.bytes()), DropReason::PolicyIngress);
            befriend(&bench, family.client);
            assert_sent(&bench.from_network(&told.bytes()), &into_pod(told, A_MACS));
            let more = wired(tcp(client, backend, flags::ACK, b"a request"));
            for _ in 0..3 {
                assert_sent(&bench.from_network(&more.bytes()), &into_pod(more.clone(), A_MACS));
                let back = bench.from_pod(&tcp(backend, client, flags::SYN | flags::ACK, b"").bytes());
                assert_sent(&back, &one_hop_on(tcp(front, client, flags::SYN | flags::ACK, b"")));
            }
            bench.apply(&Plan { steps: vec![Step::DeletePeer(RangeKey::new(ip(family.client), 128))] });
            let wanted = if is_lenient { Verdict::Redirect } else { Verdict::Drop };
            assert_eq!(bench.from_network(&more.bytes()).verdict, wanted);
            assert_eq!(bench.from_pod(&tcp(backend, client, flags::ACK, b"").bytes()).verdict, wanted);
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
    }
}

#[test]
fn root_the_wire_opens_nothing_into_a_pod_that_does_not_take_it() {
    let bench = Bench::new("policy-wire");
    bench.serve_wire();
    for (list, family) in (1..).zip(FAMILIES) {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_a, 80)]));
        let sent = wired(tcp(client, front, flags::SYN, b"")).bytes();
        assert_eq!(bench.from_wire(&sent).verdict, Verdict::Next);
        assert!(!bench.flows().contains_key(&key(TCP, client, front)));
        assert_refused(&bench, || bench.from_network(&sent), DropReason::PolicyIngress);
        befriend(&bench, family.client);
        assert_eq!((bench.from_wire(&sent).verdict, bench.from_network(&sent).verdict), (Verdict::Next, Verdict::Redirect));
    }
}

#[test]
fn root_what_is_left_to_the_stack_is_judged_once_and_answers_of_services_are_not_taken_for_strangers() {
    let bench = Bench::new("policy-left");
    bench.set_node(orknet_abi::Node { flags: settings().flags | node_flags::NO_REDIRECT, ..settings() });
    for (list, family) in (1..).zip(FAMILIES) {
        bench.apply(&sets());
        // A client that nobody may ask, through a Service to another node.
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        befriend(&bench, family.remote_pod);
        let (client, front, backend) = (at(family.pod_a, 999), at(family.cluster, 8080), at(family.remote_pod, 80));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        for (there, back) in [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK)] {
            let sent = bench.from_pod(&tcp(client, front, there, b"").bytes());
            assert_eq!((sent.verdict, sent.mark), (Verdict::Next, 0));
            assert_eq!(Packet::read(&sent.frame).unwrap().ends(), (client, backend));
            let left = bench.to_network(&sent.frame);
            assert_eq!((left.verdict, &left.frame), (Verdict::Next, &sent.frame));
            let answered = bench.from_network(&wired(tcp(backend, client, back, b"")).bytes());
            assert_eq!(answered.verdict, Verdict::Redirect, "with the Service's address for a source the stack would not take it");
        }
        // The same without a Service.
        let plain = at(family.pod_a, 998);
        for (there, back) in [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK)] {
            let sent = bench.from_pod(&tcp(plain, backend, there, b"").bytes());
            assert_eq!((sent.verdict, sent.mark), (Verdict::Next, 0));
            let answered = bench.from_network(&wired(tcp(backend, plain, back, b"")).bytes());
            assert_eq!((answered.verdict, answered.mark), (Verdict::Next, judged_mark(DEVICE_A)));
            let handed = bench.forwarded_to_pod(&answered.frame, answered.mark);
            assert_eq!((handed.verdict, handed.mark), (Verdict::Next, 0));
        }
        assert_refused(
            &bench,
            || bench.from_network(&wired(tcp(backend, at(family.pod_a, 997), flags::ACK, b"")).bytes()),
            DropReason::PolicyIngress,
        );
    }
    bench.assert_pairs();
}

#[test]
fn root_where_there_is_no_room_for_a_flow_that_must_be_known_it_is_refused() {
    let bench = Bench::sized("policy-full", &[("FLOWS", 4)]);
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        befriend(&bench, family.remote_pod);
        let sent = |port| udp(at(family.pod_a, port), at(family.remote_pod, 53), b"?").bytes();
        let outcomes: Vec<_> = (1..20).map(|port| bench.dropped_by(|| bench.from_pod(&sent(port)))).collect();
        assert!(outcomes.iter().any(|(ran, _)| ran.verdict == Verdict::Redirect));
        let refused: Vec<_> = outcomes.iter().filter(|(ran, _)| ran.verdict == Verdict::Drop).collect();
        assert!(!refused.is_empty() && refused.iter().all(|(_, dropped)| *dropped == [DropReason::FlowsFull]));
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_a_datagram_that_may_answer_what_nobody_noted_opens_nothing() {
    let bench = Bench::new("policy-uncertain");
    for family in FAMILIES {
        bench.apply(&sets());
        let both = uncertain::SENT | uncertain::HEARD;
        let (server, client) = (at(family.pod_a, 53), at(family.pod_b, 40_000));
        // A server that nobody may ask any more, and that may send anything.
        rules(&bench, family.pod_a, |pod| pod.ingress = CLOSED);
        let answer = || bench.from_pod(&udp(server, client, b"!").bytes()).verdict;
        let question = || bench.from_pod_b(udp(client, server, b"?"));
        for (pods, ports, opens) in [(both, 0, false), (0, uncertain::SENT, false), (0, uncertain::HEARD, true), (0, 0, true)] {
            bench.be_uncertain(family.pod_a, &[(0, pods), (53, ports)]);
            assert_eq!((answer(), answer()), (Verdict::Redirect, Verdict::Redirect), "rules let it through");
            assert_eq!(bench.flows().contains_key(&key(UDP, server, client)), opens);
            if !opens {
                assert_refused(&bench, question, DropReason::PolicyIngress);
            }
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
        // A client that may ask nobody any more, and hears a late answer.
        rules(&bench, family.pod_a, |pod| pod.egress = CLOSED);
        let (client, server) = (at(family.pod_a, 40_000), at(family.pod_b, 53));
        let answer = || bench.from_pod_b(udp(server, client, b"!")).verdict;
        for (which, opens) in [(uncertain::HEARD, false), (uncertain::SENT, true)] {
            bench.be_uncertain(family.pod_a, &[(0, 0), (40_000, which)]);
            assert_eq!(answer(), Verdict::Redirect);
            assert_eq!(bench.flows().contains_key(&key(UDP, server, client)), opens);
            if !opens {
                assert_refused(&bench, || bench.from_pod(&udp(client, server, b"?").bytes()), DropReason::PolicyEgress);
            }
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
        // What asks, from a port that was not in use then, opens a flow and hears its answer; and so does the port once its time is over.
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        befriend(&bench, family.pod_b);
        let asks = |port| {
            bench.from_pod(&udp(at(family.pod_a, port), server, b"?").bytes());
            bench.from_pod_b(udp(server, at(family.pod_a, port), b"!")).verdict
        };
        bench.be_uncertain(family.pod_a, &[(0, both)]);
        assert_eq!((asks(122), asks(50_000)), (Verdict::Drop, Verdict::Redirect), "what a client sends is no answer");
        bench.be_uncertain(family.pod_a, &[(0, 0), (123, uncertain::SENT)]);
        assert_eq!((asks(123), asks(124)), (Verdict::Drop, Verdict::Redirect));
        bench.be_uncertain_until(0, family.pod_a, &[(0, 0), (123, uncertain::SENT)]);
        assert_eq!(asks(123), Verdict::Redirect);
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}
