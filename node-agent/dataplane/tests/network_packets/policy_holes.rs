//! Ways around policy that there are in theory: each is closed, and what must pass does.

use crate::bench::{Bench, DEVICE_A, FAMILIES, Front, at, ip, key, wired};
use crate::direct_return::{direct, telling};
use crate::frames::{Frame, Packet, error, flags, tcp, udp};
use crate::policy::{CLOSED, FRIENDLY, assert_refused, befriend, rules, sets};
use orknet_abi::{
    DropReason, RangeKey, judged_mark, node_flags,
    protocol::{TCP, UDP},
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Verdict;

fn unfriend(bench: &Bench, address: &str) {
    bench.apply(&Plan { steps: vec![Step::DeletePeer(RangeKey::new(ip(address), 128))] });
}

/// "Too big", "port unreachable".
fn too_big(is_v4: bool) -> [u8; 2] {
    if is_v4 { [3, 4] } else { [2, 0] }
}

fn unreachable(is_v4: bool) -> [u8; 2] {
    if is_v4 { [3, 3] } else { [1, 4] }
}

#[test]
fn root_every_address_of_the_node_is_the_nodes() {
    let bench = Bench::new("policy-addresses");
    bench.node.namespace.command("ip", &["link", "set", "lo", "up"]);
    // Of the kind that a cache of names has.
    for address in ["169.254.20.10/32", "fd00:53::10/128"] {
        bench.node.namespace.command("ip", &["address", "add", address, "dev", "lo"]);
    }
    for (family, own) in FAMILIES.into_iter().zip(["169.254.20.10", "fd00:53::10"]) {
        bench.apply(&sets());
        for (ingress, egress) in [(FRIENDLY, 0), (0, CLOSED), (CLOSED, CLOSED)] {
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (ingress, egress));
            let (pod, own) = (at(family.pod_a, 5_000), at(own, 53));
            for frame in [udp(pod, own, b"?"), tcp(pod, own, flags::SYN, b""), tcp(pod, own, flags::ACK, b"?")] {
                let ran = bench.from_pod(&frame.bytes());
                assert_eq!((ran.verdict, ran.mark, ran.frame), (Verdict::Next, 0, frame.bytes()), "{ingress} {egress}");
            }
        }
    }
    assert!(bench.flows().is_empty());
}

#[test]
fn root_a_client_from_outside_is_judged_again_when_policies_change() {
    let bench = Bench::new("policy-outsider");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        befriend(&bench, family.client);
        let (client, server) = (at(family.client, 999), at(family.pod_a, 80));
        let there = |protocol_flags| wired(tcp(client, server, protocol_flags, b"")).bytes();
        for (question, answer) in [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK)] {
            assert_eq!(bench.from_network(&there(question)).verdict, Verdict::Redirect);
            let back = tcp(server, client, answer, b"").bytes();
            let ran = bench.from_pod(&back);
            assert_eq!((ran.verdict, ran.frame), (Verdict::Next, back));
        }
        unfriend(&bench, family.client);
        assert_refused(&bench, || bench.from_network(&there(flags::ACK)), DropReason::PolicyIngress);
        assert!(bench.flows().is_empty(), "the server did not open it");
    }
}

#[test]
fn root_an_error_is_for_whom_the_quoted_packet_is_from() {
    let bench = Bench::new("policy-quotes");
    for family in FAMILIES {
        bench.apply(&sets());
        befriend(&bench, family.remote_pod);
        let (client, server) = (at(family.pod_a, 999), at(family.remote_pod, 80));
        let is_v4 = client.is_ipv4();
        for (ingress, egress) in [(CLOSED, FRIENDLY), (CLOSED, CLOSED)] {
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (ingress, FRIENDLY));
            assert_eq!(bench.from_pod(&tcp(client, server, flags::SYN, b"").bytes()).verdict, Verdict::Redirect);
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (ingress, egress));
            rules(&bench, family.pod_b, |pod| (pod.ingress, pod.egress) = (CLOSED, CLOSED));
            let strangers = udp(at(family.remote_pod, 1), at(family.remote_pod_2, 2), b"anything at all");
            for quoted in [tcp(server, client, flags::ACK, b"carried out"), strangers] {
                for target in [family.client, family.remote_pod_2, family.pod_b] {
                    let frame = error(ip(family.pod_a), ip(target), unreachable(is_v4), 0, &quoted.bytes()[14..]).bytes();
                    assert_refused(&bench, || bench.from_pod(&frame), DropReason::PolicyEgress);
                }
                let frame = wired(error(ip(family.client), ip(family.pod_b), unreachable(is_v4), 0, &quoted.bytes()[14..])).bytes();
                assert_refused(&bench, || bench.from_network(&frame), DropReason::PolicyIngress);
            }
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
    }
}

#[test]
fn root_errors_about_connections_of_which_nothing_is_known_reach_the_server() {
    let bench = Bench::new("policy-too-big");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        befriend(&bench, family.remote_pod);
        let (client, server) = (at(family.remote_pod, 999), at(family.pod_a, 80));
        let data = tcp(server, client, flags::ACK, &[1; 1_000]);
        for from in [family.router, family.remote_pod] {
            let about = wired(error(ip(from), ip(family.pod_a), too_big(client.is_ipv4()), 1_300, &data.bytes()[14..])).bytes();
            assert_eq!(bench.from_network(&about).verdict, Verdict::Redirect);
        }
    }
    assert!(bench.flows().is_empty());
}

#[test]
fn root_what_a_refused_packet_tells_of_a_service_opens_nothing() {
    for is_lenient in [false, true] {
        let bench = direct(if is_lenient { "policy-told-lenient" } else { "policy-told" });
        let lenient = if is_lenient { node_flags::LENIENT } else { 0 };
        bench.set_node(orknet_abi::Node {
            flags: crate::bench::settings().flags | node_flags::DIRECT_RETURN | lenient,
            ..crate::bench::settings()
        });
        for (list, family) in (1..).zip(FAMILIES) {
            bench.apply(&sets());
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, CLOSED));
            for (number, protocol) in [(0, UDP), (1, TCP)] {
                let (client, front) = (at(family.client, 41_000), at(family.load_balancer, 80 + number));
                let backend = at(family.pod_a, 22);
                bench.put(&Front::new(list * 2 + u32::from(number), protocol, front, &[at(family.remote_pod, 80)]));
                let make = |to, protocol_flags| if protocol == TCP { tcp(client, to, protocol_flags, b"") } else { udp(client, to, b"x") };
                let told = wired(telling(make(backend, flags::SYN), front)).bytes();
                assert_refused(&bench, || bench.from_network(&told), DropReason::PolicyIngress);
                assert!(bench.flows().is_empty());
                for protocol_flags in [flags::SYN, flags::ACK] {
                    let ran = bench.from_network(&wired(make(front, protocol_flags)).bytes());
                    assert_ne!(Packet::read(&ran.frame).unwrap().ends().1.ip(), backend.ip(), "into the closed pod");
                }
                bench.flows().keys().for_each(|key| bench.forget_flow(key));
            }
        }
    }
}

#[test]
fn root_what_the_host_sends_elsewhere_is_judged_there() {
    let bench = Bench::new("policy-dnat");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_b, |pod| pod.ingress = CLOSED);
        rules(&bench, family.pod_a, |pod| pod.ingress = CLOSED);
        let sent = bench.from_pod_b(tcp(at(family.pod_b, 77), at(family.node, 8_080), flags::SYN, b""));
        assert_eq!(sent.verdict, Verdict::Next);
        // The host's own rules change its destination.
        let changed = tcp(at(family.pod_b, 77), at(family.pod_a, 80), flags::SYN, b"").bytes();
        assert_refused(&bench, || bench.forwarded_to_pod(&changed, sent.mark), DropReason::PolicyIngress);
        let of_another = judged_mark(DEVICE_A + 1);
        assert_refused(&bench, || bench.forwarded_to_pod(&changed, of_another), DropReason::PolicyIngress);
    }
}

#[test]
fn root_answers_of_a_backend_that_come_by_the_stack_come_from_the_service() {
    let bench = Bench::new("policy-by-stack");
    for (list, family) in (1..).zip(FAMILIES) {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| pod.ingress = CLOSED);
        let (client, front, backend) = (at(family.pod_a, 900), at(family.cluster, 80), at(family.remote_pod, 8_080));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        bench.from_pod(&tcp(client, front, flags::SYN, b"").bytes());
        for answer in [flags::SYN_ACK, flags::ACK, flags::ACK] {
            let ran = bench.forwarded_to_pod(&tcp(backend, client, answer, b"").bytes(), 0);
            assert_eq!((ran.verdict, Packet::read(&ran.frame).unwrap().ends()), (Verdict::Next, (front, client)));
        }
        let stranger = tcp(backend, at(family.pod_a, 901), flags::SYN_ACK, b"").bytes();
        assert_refused(&bench, || bench.forwarded_to_pod(&stranger, 0), DropReason::PolicyIngress);
    }
}

#[test]
fn root_a_route_with_an_encapsulation_leads_to_no_address_of_the_node() {
    let bench = Bench::new("policy-encap");
    bench.node.namespace.command("ip", &["route", "add", "198.18.0.0/24", "encap", "ip", "id", "9", "dst", "192.0.2.2", "dev", "eth0"]);
    let family = FAMILIES[0];
    bench.apply(&sets());
    rules(&bench, family.pod_a, |pod| pod.egress = CLOSED);
    let sent: Frame = tcp(at(family.pod_a, 9), at("198.18.0.9", 80), flags::SYN, b"");
    assert_refused(&bench, || bench.from_pod(&sent.bytes()), DropReason::PolicyEgress);
}

#[test]
fn root_nobody_from_the_network_has_a_pods_address() {
    let bench = Bench::new("policy-forged");
    for (list, family) in (1..).zip(FAMILIES) {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, CLOSED));
        befriend(&bench, family.pod_b);
        for source in [family.pod_a, family.pod_b] {
            let forged = wired(udp(at(source, 9), at(family.pod_a, 81), b"x")).bytes();
            assert_refused(&bench, || bench.from_network(&forged), DropReason::SourceIsPod);
        }
        // By a Service, too.
        bench.put(&Front::new(list, UDP, at(family.load_balancer, 81), &[at(family.pod_a, 81)]));
        let forged = wired(udp(at(family.pod_b, 9), at(family.load_balancer, 81), b"x")).bytes();
        assert_refused(&bench, || bench.from_network(&forged), DropReason::SourceIsPod);
        assert_eq!(bench.from_pod_b(udp(at(family.pod_b, 9), at(family.pod_a, 81), b"x")).verdict, Verdict::Redirect);
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_who_may_open_does_although_the_other_end_did_when_it_might() {
    let bench = Bench::new("policy-reopened");
    for family in FAMILIES {
        bench.apply(&sets());
        befriend(&bench, family.pod_b);
        befriend(&bench, family.pod_a);
        let (pod_a, pod_b) = (at(family.pod_a, 7_946), at(family.pod_b, 7_946));
        // The same port at both ends; B asked first. Then A may ask, and B may not any more: once the flow of before has ended, which
        // what is refused does not put off.
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, CLOSED));
        assert_eq!(bench.from_pod_b(udp(pod_b, pod_a, b"?")).verdict, Verdict::Redirect);
        assert_eq!(bench.from_pod(&udp(pod_a, pod_b, b"!").bytes()).verdict, Verdict::Redirect);
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        let both = [key(UDP, pod_a, pod_b), key(UDP, pod_b, pod_a)];
        both.iter().for_each(|key| bench.make_old(key));
        assert_refused(&bench, || bench.from_pod(&udp(pod_a, pod_b, b"?").bytes()), DropReason::PolicyIngress);
        assert_refused(&bench, || bench.from_pod_b(udp(pod_b, pod_a, b"?")), DropReason::PolicyIngress);
        assert!(both.iter().all(|key| bench.flows()[key].used_seconds == 0));
        bench.forget_flow(&both[0]);
        for _ in 0..3 {
            assert_eq!(bench.from_pod(&udp(pod_a, pod_b, b"?").bytes()).verdict, Verdict::Redirect);
            assert_eq!(bench.from_pod_b(udp(pod_b, pod_a, b"!")).verdict, Verdict::Redirect, "an answer");
        }
        // A connection of its own against one that is half dead.
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, FRIENDLY));
        let (pod_a, pod_b) = (at(family.pod_a, 80), at(family.pod_b, 80));
        assert_eq!(bench.from_pod_b(tcp(pod_b, pod_a, flags::SYN, b"")).verdict, Verdict::Redirect);
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        assert_eq!(bench.from_pod(&tcp(pod_a, pod_b, flags::SYN, b"").bytes()).verdict, Verdict::Redirect);
        assert_eq!(bench.from_pod_b(tcp(pod_b, pod_a, flags::SYN_ACK, b"")).verdict, Verdict::Redirect);
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}
