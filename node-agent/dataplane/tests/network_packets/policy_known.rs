//! Connections between pods with rules for both directions, of which it must be known who began: what their segments leave behind although they
//! take the quick way, and that nothing but them takes it.

use crate::bench::{A_MACS, B_MACS, Bench, FAMILIES, Family, assert_sent, at, into_pod, ip, key, settings};
use crate::frames::{Frame, flags, tcp, udp};
use crate::policy::{CLOSED, FRIENDLY, assert_refused, befriend, rules, sets};
use orknet_abi::{
    Address, DropReason, Judgement, PortKey, Rule, action, flow_state, flow_timeout, pair_side, port_pair_slot,
    protocol::{TCP, UDP},
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Verdict;
use std::net::SocketAddr;

const FIN: u8 = flags::FIN | flags::ACK;

/// Both pods may ask each other at port 80, and nothing else.
fn both(bench: &Bench, family: Family, rule: u32) {
    bench.apply(&sets());
    let told = Judgement { action: action::ALLOW, rule };
    bench.apply(&Plan { steps: vec![Step::PutRule(rule, Rule::default()), Step::PutPort(PortKey::ports(1, TCP, 80, 16), told)] });
    for pod in [family.pod_a, family.pod_b] {
        befriend(bench, pod);
        rules(bench, pod, |pod| (pod.ingress, pod.egress) = (FRIENDLY, FRIENDLY));
    }
}

/// From pod B to pod A, and back.
struct Talk<'a> {
    bench: &'a Bench,
    client: SocketAddr,
    server: SocketAddr,
}

impl Talk<'_> {
    #[track_caller]
    fn ask(&self, flags: u8) {
        let sent = tcp(self.client, self.server, flags, b"");
        assert_sent(&self.bench.from_pod_b(sent.clone()), &into_pod(Frame { destination_mac: B_MACS[1], ..sent }, A_MACS));
    }

    #[track_caller]
    fn answer(&self, flags: u8) {
        let sent = tcp(self.server, self.client, flags, b"");
        assert_sent(&self.bench.from_pod(&sent.bytes()), &into_pod(sent, B_MACS));
    }

    /// What is known of both directions, and for how long after the last packet.
    fn known(&self) -> ([u32; 2], u32) {
        let flows = self.bench.flows();
        let [there, back] = [key(TCP, self.client, self.server), key(TCP, self.server, self.client)].map(|key| flows[&key].state);
        assert_eq!((there | back) & flow_state::PLAIN, flow_state::PLAIN);
        ([there, back].map(|state| state & !flow_state::PLAIN), flow_timeout(TCP, there | back, there & back))
    }
}

#[test]
fn root_segments_of_known_connections_leave_behind_what_they_say() {
    use flow_state::{CONFIRMED, FINISHED, FORWARD, OPENED, RESET};
    let bench = Bench::new("policy-known");
    for (rule, family) in (7..).zip(FAMILIES) {
        both(&bench, family, rule);
        // The first one finds the ways, those after it are told by pairs.
        for number in 0..20 {
            let talk = Talk { bench: &bench, client: at(family.pod_b, 10_000 + number), server: at(family.pod_a, 80) };
            talk.ask(flags::SYN);
            assert_eq!(talk.known(), ([FORWARD | OPENED, 0], 240));
            talk.answer(flags::SYN_ACK);
            assert_eq!(talk.known(), ([FORWARD | OPENED, OPENED], 240), "half open");
            talk.ask(flags::SYN);
            talk.ask(flags::ACK);
            assert_eq!(talk.known(), ([FORWARD | OPENED | CONFIRMED, OPENED], 7_440));
            talk.ask(FIN);
            assert_eq!(talk.known().1, 7_440, "the other end may go on");
            talk.answer(flags::ACK);
            talk.answer(FIN);
            assert_eq!(talk.known(), ([FORWARD | OPENED | CONFIRMED | FINISHED, OPENED | CONFIRMED | FINISHED], 10));
            // Said again, as long as the other end has not heard it.
            talk.answer(FIN);
            talk.ask(flags::ACK);
            assert_eq!(talk.known().1, 10);
            // The same ports again; and a reset, which may be forged.
            talk.ask(flags::SYN);
            assert_eq!(talk.known(), ([FORWARD | OPENED, 0], 240), "nothing is left of the former");
            talk.answer(flags::SYN_ACK);
            talk.ask(flags::ACK);
            talk.answer(flags::RST);
            assert_eq!((talk.known().0[1] & RESET, talk.known().1), (RESET, 10));
            talk.answer(flags::ACK);
            assert_eq!((talk.known().0[1] & RESET, talk.known().1), (0, 7_440));
        }
        assert_eq!(bench.dataplane.reader().rule_counts().unwrap()[&rule].packets, 80, "each connection once for each end");
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_only_what_answers_a_known_connection_takes_its_way() {
    let bench = Bench::new("policy-answers");
    for (rule, family) in (7..).zip(FAMILIES) {
        both(&bench, family, rule);
        let talk = |port| Talk { bench: &bench, client: at(family.pod_b, port), server: at(family.pod_a, 80) };
        for port in [999, 998] {
            talk(port).ask(flags::SYN);
            talk(port).answer(flags::SYN_ACK);
            talk(port).ask(flags::ACK);
        }
        let refused = |flags, port| {
            let sent = tcp(at(family.pod_a, 80), at(family.pod_b, port), flags, b"").bytes();
            assert_refused(&bench, || bench.from_pod(&sent), DropReason::PolicyEgress);
        };
        refused(flags::SYN, 999);
        for answer in [flags::SYN_ACK, flags::ACK, FIN] {
            refused(answer, 997);
        }
        talk(999).answer(flags::ACK);
        // What opens nothing makes nobody known.
        talk(996).ask(flags::ACK);
        refused(flags::ACK, 996);
        // Another port is another question, from the same client to the same server.
        let other = tcp(at(family.pod_b, 995), at(family.pod_a, 81), flags::SYN, b"");
        assert_refused(&bench, || bench.from_pod_b(other), DropReason::PolicyEgress);
        // The server may open one at the client's port 80 from its own: then what the other end sends answers that.
        let (there, back) =
            (Talk { bench: &bench, client: at(family.pod_b, 80), server: at(family.pod_a, 80) }, [flags::SYN, flags::SYN_ACK]);
        there.ask(flags::SYN);
        there.answer(back[1]);
        let own = tcp(at(family.pod_a, 80), at(family.pod_b, 80), flags::SYN, b"");
        assert_sent(&bench.from_pod(&own.bytes()), &into_pod(own, B_MACS));
        let flows = bench.flows();
        let state = |from, to| flows[&key(TCP, at(from, 80), at(to, 80))].state & flow_state::FORWARD;
        assert_eq!([state(family.pod_a, family.pod_b), state(family.pod_b, family.pod_a)], [flow_state::FORWARD, 0]);
        // What changes holds for the next packet, either way.
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (CLOSED, CLOSED));
        let [ask, answer] = [tcp(talk(999).client, talk(999).server, flags::ACK, b""), tcp(talk(999).server, talk(999).client, FIN, b"")];
        assert_refused(&bench, || bench.from_pod_b(ask.clone()), DropReason::PolicyIngress);
        assert_refused(&bench, || bench.from_pod(&answer.bytes()), DropReason::PolicyIngress);
        assert_eq!(bench.from_pod_b(tcp(at(family.pod_b, 994), at(family.pod_a, 80), flags::SYN, b"")).verdict, Verdict::Drop);
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_what_is_let_through_keeps_its_flow() {
    let bench = Bench::new("policy-kept");
    for (rule, family) in (7..).zip(FAMILIES) {
        both(&bench, family, rule);
        // Pod B asks, and pod A answers, and nothing else.
        rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (FRIENDLY, CLOSED));
        rules(&bench, family.pod_b, |pod| (pod.ingress, pod.egress) = (CLOSED, FRIENDLY));
        // Whether the time of both directions is a new one, after the clock's beginning.
        let is_kept = |protocol, number: u16, is_searched: bool| {
            let (client, server) = (at(family.pod_b, 10_000 + number), at(family.pod_a, 80));
            let said = |from, to, says| if protocol == UDP { udp(from, to, b"x") } else { tcp(from, to, says, b"") };
            let ask = |says| assert_eq!(bench.from_pod_b(said(client, server, says)).verdict, Verdict::Redirect);
            let answer = |says| assert_eq!(bench.from_pod(&said(server, client, says).bytes()).verdict, Verdict::Redirect);
            ask(flags::SYN);
            answer(flags::SYN_ACK);
            ask(flags::ACK);
            let keys = [key(protocol, client, server), key(protocol, server, client)];
            keys.iter().for_each(|key| bench.make_old(key));
            if is_searched {
                // The ways that were known are believed no more.
                bench.set_node(settings());
            }
            ask(flags::ACK);
            answer(flags::ACK);
            keys.iter().all(|key| bench.flows()[key].used_seconds != 0)
        };
        assert!(is_kept(UDP, 0, true) && is_kept(TCP, 1, true));
        // Segments that find their way by that of another connection. Where the second ends for which it is believed, one has a way of its own, which
        // leaves the time alone for another second.
        let kept = (2..22).filter(|number| is_kept(TCP, *number, false)).count();
        assert!(kept > 15, "{kept} of 20");
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

/// Ports of a protocol that share a place in PAIRS with another port of these ends, and are not it.
fn beside(taken: (u16, u8), protocol: u8, side: u8, [from, to]: [&str; 2]) -> Vec<u16> {
    let words = |address: &str| {
        let Address(bytes) = ip(address).into();
        std::array::from_fn::<u32, 4, _>(|word| u32::from_ne_bytes(bytes.as_chunks().0[word]))
    };
    let slot = |(port, protocol): (u16, u8)| port_pair_slot(&words(from), &words(to), port.to_be(), protocol, side);
    let is_beside = |port: &u16| (*port, protocol) != taken && slot((*port, protocol)) == slot(taken);
    let found: Vec<u16> = (1_024..10_000).filter(is_beside).collect();
    assert!(!found.is_empty(), "{protocol}");
    found
}

#[test]
fn root_ports_that_share_a_place_are_told_apart() {
    let bench = Bench::new("policy-places");
    for (rule, family) in (7..).zip(FAMILIES) {
        let (ends, server) = ([family.pod_b, family.pod_a], |port| at(family.pod_a, port));
        let ask = |client, port, flags| tcp(at(family.pod_b, client), server(port), flags, b"");
        // Of pod A's rules for what comes in nothing but port 80 is left, of which no flow is remembered.
        bench.apply(&sets());
        bench.apply(&Plan { steps: vec![Step::DeletePort(PortKey::ports(1, UDP, 0, 0))] });
        befriend(&bench, family.pod_b);
        rules(&bench, family.pod_a, |pod| pod.ingress = FRIENDLY);
        for client in 1_000..1_003 {
            assert_eq!(bench.from_pod_b(ask(client, 80, flags::SYN)).verdict, Verdict::Redirect);
        }
        assert!(bench.flows().is_empty());
        for port in beside((80, TCP), TCP, pair_side::TO_PORT, ends) {
            for says in [flags::SYN, flags::ACK] {
                assert_refused(&bench, || bench.from_pod_b(ask(2_000, port, says)), DropReason::PolicyIngress);
            }
        }
        for port in beside((80, TCP), UDP, pair_side::TO_PORT, ends) {
            assert_refused(&bench, || bench.from_pod_b(udp(at(family.pod_b, 2_000), server(port), b"x")), DropReason::PolicyIngress);
        }
        // Of connections that are remembered, to ports that were allowed when they began.
        both(&bench, family, rule);
        let talk = |client, port| Talk { bench: &bench, client: at(family.pod_b, client), server: server(port) };
        let open = |talk: Talk<'_>| {
            talk.ask(flags::SYN);
            talk.answer(flags::SYN_ACK);
            talk.ask(flags::ACK);
            talk.answer(flags::ACK);
        };
        let there = beside((80, TCP), TCP, pair_side::TO_PORT, ends);
        let back = beside((80, TCP), TCP, pair_side::FROM_PORT, [family.pod_a, family.pod_b]);
        let keys: Vec<PortKey> = there.iter().chain(&back).map(|port| PortKey::ports(1, TCP, *port, 16)).collect();
        let told = Judgement { action: action::ALLOW, rule };
        bench.apply(&Plan { steps: keys.iter().map(|key| Step::PutPort(*key, told)).collect() });
        there.iter().chain(&back).for_each(|port| open(talk(3_000, *port)));
        bench.apply(&Plan { steps: keys.into_iter().map(Step::DeletePort).collect() });
        // The pods are switched, as each change of rules does.
        both(&bench, family, rule);
        (4_000..4_003).for_each(|client| open(talk(client, 80)));
        for port in there {
            for (client, says) in [(3_000, flags::ACK), (3_001, flags::SYN)] {
                assert_refused(&bench, || bench.from_pod_b(ask(client, port, says)), DropReason::PolicyEgress);
            }
        }
        for port in back {
            let answer = tcp(server(port), at(family.pod_b, 3_000), flags::ACK, b"");
            assert_refused(&bench, || bench.from_pod(&answer.bytes()), DropReason::PolicyEgress);
        }
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}
