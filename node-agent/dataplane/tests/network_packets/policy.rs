//! Packets of pods that have rules: judged by what they are once translated, tracked, answered, refused.

use crate::bench::{
    A_MACS, B_MACS, Bench, DEVICE_A, DEVICE_B, FAMILIES, Family, Front, assert_sent, at, into_pod, ip, key, one_hop_on, settings, wired,
};
use crate::frames::{Frame, Packet, error, flags, fragments_v4, ping, pong, tcp, udp};
use crate::harness::pod;
use orknet_abi::{
    DropReason, Judgement, Peer, Pod, PodKey, PortKey, RangeKey, Verdict, VerdictKey, action, judged_mark, node_flags,
    protocol::{TCP, UDP},
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Verdict as Outcome;

/// Peer sets: whoever is a friend, and everybody else.
const FRIENDS: u32 = 1;
/// A set that refuses all.
pub const CLOSED: u32 = 1;
/// A set that takes friends at TCP port 80 and all of what they ask over UDP.
pub const FRIENDLY: u32 = 2;
const TABLE: u32 = 1;

const OPEN: Judgement = Judgement { action: action::ALLOW, rule: 7 };
const SHUT: Judgement = Judgement { action: action::DENY, rule: 0 };

pub fn sets() -> Plan {
    let whole = |otherwise| Verdict { table: 0, otherwise };
    Plan {
        steps: vec![
            Step::PutPort(PortKey::ports(TABLE, TCP, 80, 16), OPEN),
            Step::PutPort(PortKey::ports(TABLE, UDP, 0, 0), OPEN),
            Step::PutVerdict(VerdictKey { set: CLOSED, peers: 0 }, whole(SHUT)),
            Step::PutVerdict(VerdictKey { set: FRIENDLY, peers: 0 }, whole(SHUT)),
            Step::PutVerdict(VerdictKey { set: FRIENDLY, peers: FRIENDS }, Verdict { table: TABLE, otherwise: SHUT }),
        ],
    }
}

pub fn befriend(bench: &Bench, address: &str) {
    bench.apply(&Plan { steps: vec![Step::PutPeer(RangeKey::new(ip(address), 128), Peer { peers: FRIENDS })] });
}

pub fn rules(bench: &Bench, address: &str, change: impl FnOnce(&mut Pod)) {
    let is_a = FAMILIES.iter().any(|family| family.pod_a == address);
    let mut entry = if is_a { pod(DEVICE_A, A_MACS[0], A_MACS[1]) } else { pod(DEVICE_B, B_MACS[0], B_MACS[1]) };
    change(&mut entry);
    bench.apply(&Plan { steps: vec![Step::PutPod(PodKey { address: ip(address).into() }, entry)] });
}

/// Pod A takes friends alone, and pod B is none.
fn guard_a(bench: &Bench, family: Family) {
    bench.apply(&sets());
    rules(bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
}

#[track_caller]
pub fn assert_refused(bench: &Bench, act: impl FnOnce() -> orknet_dataplane::Ran, reason: DropReason) {
    let (ran, dropped) = bench.dropped_by(act);
    assert_eq!((ran.verdict, dropped), (Outcome::Drop, vec![reason]));
}

#[test]
fn root_only_who_the_rules_name_gets_in_and_answers_pass() {
    let bench = Bench::new("policy-in");
    for family in FAMILIES {
        guard_a(&bench, family);
        let (server, other) = (at(family.pod_a, 80), at(family.pod_b, 999));
        let there = |protocol_flags| tcp(other, server, protocol_flags, b"");
        assert_refused(&bench, || bench.from_pod_b(there(flags::SYN)), DropReason::PolicyIngress);
        assert!(bench.flows().is_empty(), "what is refused takes no place");
        befriend(&bench, family.pod_b);
        for round in [flags::SYN, flags::ACK, flags::ACK, flags::ACK] {
            let sent = bench.from_pod_b(there(round));
            let wanted = Frame { destination_mac: B_MACS[1], ..there(round) };
            assert_sent(&sent, &into_pod(wanted, A_MACS));
            let back = tcp(server, other, if round == flags::SYN { flags::SYN_ACK } else { flags::ACK }, b"");
            assert_sent(&bench.from_pod(&back.bytes()), &into_pod(back, B_MACS));
        }
        let wrong_port = tcp(other, at(family.pod_a, 81), flags::SYN, b"");
        assert_refused(&bench, || bench.from_pod_b(wrong_port), DropReason::PolicyIngress);
        assert_eq!(bench.from_pod_b(udp(other, at(family.pod_a, 81), b"x")).verdict, Outcome::Redirect, "every port of UDP");
        // From another node.
        let far = at(family.remote_pod, 999);
        assert_refused(&bench, || bench.from_network(&wired(tcp(far, server, flags::SYN, b"")).bytes()), DropReason::PolicyIngress);
        befriend(&bench, family.remote_pod);
        let sent = bench.from_network(&wired(tcp(far, server, flags::SYN, b"")).bytes());
        assert_sent(&sent, &into_pod(wired(tcp(far, server, flags::SYN, b"")), A_MACS));
        let back = tcp(server, far, flags::SYN_ACK, b"");
        assert_sent(&bench.from_pod(&back.bytes()), &one_hop_on(back));
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_a_changed_policy_counts_for_open_connections_at_once_or_for_new_ones_only() {
    // With rules for one direction nothing need be remembered; with rules for both, answers pass because their flow is known.
    for (name, is_lenient, egress) in [("strict", false, 0), ("lenient", true, 0), ("strict-2", false, CLOSED), ("lenient-2", true, CLOSED)]
    {
        let bench = Bench::new(&format!("policy-{name}"));
        let lenient = if is_lenient { node_flags::LENIENT } else { 0 };
        bench.set_node(orknet_abi::Node { flags: settings().flags | lenient, ..settings() });
        for family in FAMILIES {
            guard_a(&bench, family);
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, egress));
            befriend(&bench, family.pod_b);
            let (server, client) = (at(family.pod_a, 80), at(family.pod_b, 999));
            let (there, back) = (tcp(client, server, flags::ACK, b"?"), tcp(server, client, flags::ACK, b"!"));
            bench.from_pod_b(tcp(client, server, flags::SYN, b""));
            // The third one knows its way.
            for _ in 0..3 {
                assert_eq!(bench.from_pod_b(there.clone()).verdict, Outcome::Redirect);
                assert_eq!(bench.from_pod(&back.bytes()).verdict, Outcome::Redirect);
            }
            assert_eq!(bench.flows().is_empty(), !is_lenient && egress == 0);
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, egress));
            let wanted = if is_lenient { Outcome::Redirect } else { Outcome::Drop };
            // Where nothing says what may go out, the server may send what it likes, and hears no answer.
            let wanted_back = if egress == 0 { Outcome::Redirect } else { wanted };
            assert_eq!(bench.from_pod_b(there.clone()).verdict, wanted);
            assert_eq!(bench.from_pod(&back.bytes()).verdict, wanted_back, "answers are part of the connection");
            assert_eq!(bench.from_pod_b(tcp(at(family.pod_b, 998), server, flags::SYN, b"")).verdict, Outcome::Drop, "a new one");
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, egress));
            assert_eq!(bench.from_pod_b(there).verdict, Outcome::Redirect);
            // Who the other end is, may change too.
            bench.apply(&Plan { steps: vec![Step::DeletePeer(RangeKey::new(ip(family.pod_b), 128))] });
            assert_eq!(bench.from_pod(&back.bytes()).verdict, wanted_back);
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
    }
}

#[test]
fn root_a_server_that_may_send_anything_does_not_open_what_it_answers() {
    let bench = Bench::new("policy-late-answer");
    for family in FAMILIES {
        guard_a(&bench, family);
        befriend(&bench, family.pod_b);
        let (server, client) = (at(family.pod_a, 80), at(family.pod_b, 999));
        let make = |is_tcp: bool, from, to, protocol_flags| if is_tcp { tcp(from, to, protocol_flags, b"") } else { udp(from, to, b"x") };
        for is_tcp in [true, false] {
            let there = |protocol_flags| make(is_tcp, client, server, protocol_flags);
            let back = |protocol_flags| make(is_tcp, server, client, protocol_flags).bytes();
            for (question, answer) in [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK)] {
                assert_eq!(bench.from_pod_b(there(question)).verdict, Outcome::Redirect);
                assert_eq!(bench.from_pod(&back(answer)).verdict, Outcome::Redirect);
            }
            rules(&bench, family.pod_a, |pod| pod.ingress = CLOSED);
            // An answer to what came in before.
            for _ in 0..3 {
                bench.from_pod(&back(flags::ACK));
                assert_refused(&bench, || bench.from_pod_b(there(flags::ACK)), DropReason::PolicyIngress);
            }
            rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
            assert_eq!(bench.from_pod_b(there(flags::ACK)).verdict, Outcome::Redirect, "it goes on");
            assert_eq!(bench.from_pod(&back(flags::ACK)).verdict, Outcome::Redirect);
        }
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_connections_of_which_nothing_need_be_known_take_no_place_and_are_counted() {
    let bench = Bench::new("policy-forgets");
    for (rule, family) in (7..).zip(FAMILIES) {
        bench.apply(&sets());
        let told = Judgement { action: action::ALLOW, rule };
        bench.apply(&Plan {
            steps: vec![Step::PutRule(rule, orknet_abi::Rule::default()), Step::PutPort(PortKey::ports(TABLE, TCP, 80, 16), told)],
        });
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        befriend(&bench, family.pod_b);
        let server = at(family.pod_a, 80);
        for number in 0..50 {
            let client = at(family.pod_b, 10_000 + number);
            for (there, back) in
                [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK), (flags::FIN | flags::ACK, flags::FIN | flags::ACK)]
            {
                let sent = tcp(client, server, there, b"");
                assert_sent(&bench.from_pod_b(sent.clone()), &into_pod(Frame { destination_mac: B_MACS[1], ..sent }, A_MACS));
                let answered = tcp(server, client, back, b"");
                assert_sent(&bench.from_pod(&answered.bytes()), &into_pod(answered, B_MACS));
            }
            assert_refused(&bench, || bench.from_pod_b(tcp(client, at(family.pod_a, 81), flags::ACK, b"")), DropReason::PolicyIngress);
        }
        assert!(bench.flows().is_empty(), "{:?}", bench.flows());
        // What the pod opens itself is known, also from that port: its answers are no friend's questions.
        let stranger = at(family.remote_pod, 443);
        for from in [80, 5_000] {
            let own = at(family.pod_a, from);
            assert_eq!(bench.from_pod(&tcp(own, stranger, flags::SYN, b"").bytes()).verdict, Outcome::Redirect);
            let answer = wired(tcp(stranger, own, flags::SYN_ACK, b"")).bytes();
            assert_eq!(bench.from_network(&answer).verdict, Outcome::Redirect);
        }
        let strange = wired(tcp(stranger, server, flags::SYN, b"")).bytes();
        assert_refused(&bench, || bench.from_network(&strange), DropReason::PolicyIngress);
        assert_eq!(bench.flows().len(), 4);
        assert_eq!(bench.dataplane.reader().rule_counts().unwrap()[&rule].packets, 50, "each connection once");
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_a_client_that_may_not_go_out_does_not_whatever_its_server_takes() {
    let bench = Bench::new("policy-out");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| pod.egress = FRIENDLY);
        let client = at(family.pod_a, 999);
        for (target, port) in [(family.pod_b, 80), (family.remote_pod, 80), (family.client, 80), (family.router, 80)] {
            let sent = tcp(client, at(target, port), flags::SYN, b"").bytes();
            assert_refused(&bench, || bench.from_pod(&sent), DropReason::PolicyEgress);
            befriend(&bench, target);
            assert_ne!(bench.from_pod(&sent).verdict, Outcome::Drop);
            let wrong = tcp(client, at(target, 443), flags::SYN, b"").bytes();
            assert_refused(&bench, || bench.from_pod(&wrong), DropReason::PolicyEgress);
        }
        // What others ask it, it may answer.
        let asked = tcp(at(family.pod_b, 5), at(family.pod_a, 8080), flags::SYN, b"");
        assert_eq!(bench.from_pod_b(asked).verdict, Outcome::Redirect);
        let answer = tcp(at(family.pod_a, 8080), at(family.pod_b, 5), flags::SYN_ACK, b"");
        assert_eq!(bench.from_pod(&answer.bytes()).verdict, Outcome::Redirect);
        // Its node always is within reach.
        assert_eq!(bench.from_pod(&tcp(client, at(family.node, 22), flags::SYN, b"").bytes()).verdict, Outcome::Next);
    }
}

#[test]
fn root_policy_sees_the_backend_and_the_client_whatever_the_service_makes_of_them() {
    let bench = Bench::new("policy-service");
    for (list, family) in (1..).step_by(4).zip(FAMILIES) {
        guard_a(&bench, family);
        // From pods, through a cluster address of another port.
        let (front, backend) = (at(family.cluster, 8080), at(family.pod_a, 80));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        let there = tcp(at(family.pod_b, 999), front, flags::SYN, b"");
        assert_refused(&bench, || bench.from_pod_b(there.clone()), DropReason::PolicyIngress);
        assert!(bench.flows().is_empty());
        befriend(&bench, family.pod_b);
        assert_eq!(bench.from_pod_b(there).verdict, Outcome::Redirect);
        let back = tcp(backend, at(family.pod_b, 999), flags::SYN_ACK, b"");
        assert_eq!(Packet::read(&bench.from_pod(&back.bytes()).frame).unwrap().ends().0, front);
        // From outside: the client's own address counts, also where the pod sees the node's.
        for (number, policy) in [(1, 0), (2, orknet_abi::service_flags::LOCAL_ONLY)] {
            let front = at(family.load_balancer, 80 + number);
            bench.put(&Front::new(list + u32::from(number), TCP, front, &[backend]).with(|service| service.flags |= policy));
            let there = wired(tcp(at(family.client, 999), front, flags::SYN, b"")).bytes();
            bench.apply(&Plan { steps: vec![Step::DeletePeer(RangeKey::new(ip(family.client), 128))] });
            assert_refused(&bench, || bench.from_network(&there), DropReason::PolicyIngress);
            befriend(&bench, family.client);
            let sent = bench.from_network(&there);
            assert_eq!(sent.verdict, Outcome::Redirect);
            let client = Packet::read(&sent.frame).unwrap().ends().0;
            let back = tcp(backend, client, flags::SYN_ACK, b"").bytes();
            assert_eq!(Packet::read(&bench.from_pod(&back).frame).unwrap().ends().1, at(family.client, 999));
        }
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_a_pod_reaches_itself_unless_its_own_sets_say_otherwise() {
    let bench = Bench::new("policy-self");
    for (list, family) in (1..).zip(FAMILIES) {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, CLOSED));
        let (client, front) = (at(family.pod_a, 999), at(family.cluster, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.pod_a, 8080)]).cluster());
        let there = tcp(client, front, flags::SYN, b"").bytes();
        assert_eq!(bench.from_pod(&there).verdict, Outcome::Redirect);
        for (reason, own) in [
            (DropReason::PolicyIngress, (|pod| pod.own_ingress = CLOSED) as fn(&mut Pod)),
            (DropReason::PolicyEgress, |pod| pod.own_egress = CLOSED),
        ] {
            rules(&bench, family.pod_a, own);
            assert_refused(&bench, || bench.from_pod(&there), reason);
        }
    }
}

#[test]
fn root_the_nodes_own_traffic_passes_and_what_others_send_by_its_stack_is_judged() {
    let bench = Bench::new("policy-node");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, CLOSED));
        let (probe, pod) = (at(family.node, 40_000), at(family.pod_a, 8080));
        assert_eq!(bench.to_pod(&tcp(probe, pod, flags::SYN, b"").bytes()).verdict, Outcome::Next);
        assert_eq!(bench.from_pod(&tcp(pod, probe, flags::SYN_ACK, b"").bytes()).verdict, Outcome::Next);
        // Whoever only writes the node's address into a packet is not the node.
        let forged = wired(tcp(probe, pod, flags::SYN, b"")).bytes();
        assert_refused(&bench, || bench.from_network(&forged), DropReason::PolicyIngress);
        let stranger = tcp(at(family.client, 9), pod, flags::SYN, b"").bytes();
        assert_refused(&bench, || bench.forwarded_to_pod(&stranger, 0), DropReason::PolicyIngress);
        let ran = bench.forwarded_to_pod(&stranger, judged_mark(DEVICE_A));
        assert_eq!((ran.verdict, ran.mark), (Outcome::Next, 0), "it has been judged before");
        let for_another = bench.forwarded_to_pod(&stranger, judged_mark(DEVICE_B));
        assert_eq!(for_another.verdict, Outcome::Drop, "and not for this pod");
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        befriend(&bench, family.client);
        let friendly = tcp(at(family.client, 9), at(family.pod_a, 80), flags::SYN, b"").bytes();
        assert_eq!(bench.forwarded_to_pod(&friendly, 0).verdict, Outcome::Next);
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, CLOSED));
        let back = tcp(at(family.pod_a, 80), at(family.client, 9), flags::SYN_ACK, b"").bytes();
        assert_ne!(bench.from_pod(&back).verdict, Outcome::Drop, "its answers pass");
    }
}

#[test]
fn root_what_leaves_the_cluster_gets_the_nodes_address_and_its_answers_come_back() {
    let bench = Bench::new("policy-outside");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        befriend(&bench, family.client);
        let (client, server) = (at(family.pod_a, 999), at(family.client, 80));
        let sent = bench.from_pod(&tcp(client, server, flags::SYN, b"").bytes());
        let node = Packet::read(&sent.frame).unwrap().ends().0;
        assert_eq!((sent.verdict, node.ip()), (Outcome::Redirect, ip(family.node)));
        for _ in 0..3 {
            let answered = bench.from_network(&wired(tcp(server, node, flags::ACK, b"!")).bytes());
            assert_sent(&answered, &into_pod(wired(tcp(server, client, flags::ACK, b"!")), A_MACS));
            let again = bench.from_pod(&tcp(client, server, flags::ACK, b"?").bytes());
            assert_sent(&again, &one_hop_on(tcp(node, server, flags::ACK, b"?")));
        }
        bench.assert_pairs();
        // Without masquerade the stack sends it, which has nothing left to do.
        bench.set_node(orknet_abi::Node { flags: 0, ..settings() });
        for data in [flags::SYN, flags::ACK, flags::ACK, flags::ACK] {
            let plain = tcp(at(family.pod_a, 998), server, data, b"");
            let ran = bench.from_pod(&plain.bytes());
            assert_eq!((ran.verdict, ran.mark, &ran.frame), (Outcome::Next, 0, &plain.bytes()));
            let left = bench.to_network(&ran.frame);
            assert_eq!((left.verdict, left.frame), (Outcome::Next, plain.bytes()));
        }
        bench.set_node(settings());
    }
}

#[test]
fn root_a_syn_against_the_direction_of_a_connection_is_a_connection_of_its_own() {
    let bench = Bench::new("policy-syn");
    for family in FAMILIES {
        guard_a(&bench, family);
        let (pod_a, pod_b) = (at(family.pod_a, 4_000), at(family.pod_b, 80));
        assert_eq!(bench.from_pod(&tcp(pod_a, pod_b, flags::SYN, b"").bytes()).verdict, Outcome::Redirect);
        assert_eq!(bench.from_pod_b(tcp(pod_b, pod_a, flags::SYN_ACK, b"")).verdict, Outcome::Redirect);
        assert_refused(&bench, || bench.from_pod_b(tcp(pod_b, pod_a, flags::SYN, b"")), DropReason::PolicyIngress);
        assert_eq!(bench.from_pod_b(tcp(pod_b, pod_a, flags::ACK, b"")).verdict, Outcome::Redirect, "the connection goes on");
        assert_eq!(bench.flows()[&key(TCP, pod_a, pod_b)].state & orknet_abi::flow_state::FORWARD, orknet_abi::flow_state::FORWARD);
    }
}

#[test]
fn root_errors_and_fragments_follow_their_flow_and_others_are_refused() {
    let bench = Bench::new("policy-errors");
    for family in FAMILIES {
        bench.apply(&sets());
        rules(&bench, family.pod_a, |pod| pod.ingress = CLOSED);
        let (client, server) = (at(family.pod_a, 999), at(family.remote_pod, 80));
        let sent = udp(client, server, b"a question");
        assert_eq!(bench.from_pod(&sent.bytes()).verdict, Outcome::Redirect);
        // "Time exceeded", as a router on the way says.
        let kind = if client.is_ipv4() { [11, 0] } else { [3, 0] };
        let about = |frame: &Frame| wired(error(ip(family.router), ip(family.pod_a), kind, 0, &frame.bytes()[14..])).bytes();
        assert_eq!(bench.from_network(&about(&sent)).verdict, Outcome::Redirect, "an error about it");
        let unknown = udp(client, at(family.remote_pod, 81), b"never sent");
        assert_refused(&bench, || bench.from_network(&about(&unknown)), DropReason::PolicyIngress);
        // Where nothing need be known of flows, errors about those that may be pass, and no others.
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        befriend(&bench, family.remote_pod);
        let answer = |port| tcp(at(family.pod_a, port), server, flags::ACK, b"too big");
        assert_eq!(bench.from_network(&about(&answer(80))).verdict, Outcome::Redirect);
        assert_refused(&bench, || bench.from_network(&about(&answer(81))), DropReason::PolicyIngress);
        rules(&bench, family.pod_a, |pod| pod.ingress = CLOSED);
        // Pings are judged as what has no ports, and answers to its own come back.
        assert_refused(&bench, || bench.from_pod_b(ping(ip(family.pod_b), ip(family.pod_a), 7)), DropReason::PolicyIngress);
        assert_eq!(bench.from_pod(&ping(ip(family.pod_a), ip(family.pod_b), 8).bytes()).verdict, Outcome::Redirect);
        assert_eq!(bench.from_pod_b(pong(ip(family.pod_b), ip(family.pod_a), 8)).verdict, Outcome::Redirect);
        if client.is_ipv4() {
            let [first, second] = fragments_v4(&wired(udp(server, client, &[9; 2_000])), 1_480);
            assert_refused(&bench, || bench.from_network(&second), DropReason::FragmentUnknown);
            assert_eq!(bench.from_network(&first).verdict, Outcome::Redirect);
            assert_eq!(bench.from_network(&second).verdict, Outcome::Redirect);
        }
    }
}

#[test]
fn root_a_set_of_which_the_maps_know_nothing_lets_nobody_in() {
    let bench = Bench::new("policy-nothing");
    for family in FAMILIES {
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (99, 98));
        assert_refused(&bench, || bench.from_pod_b(udp(at(family.pod_b, 1), at(family.pod_a, 2), b"")), DropReason::PolicyIngress);
        let out = udp(at(family.pod_a, 1), at(family.pod_b, 2), b"").bytes();
        assert_refused(&bench, || bench.from_pod(&out), DropReason::PolicyEgress);
    }
}
