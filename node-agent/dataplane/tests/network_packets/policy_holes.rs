//! Ways around policy that there are in theory: each is closed, and what must pass does.

use crate::bench::{Bench, DEVICE_A, FAMILIES, Front, at, ip, key, settings, wired};
use crate::direct_return::{direct, telling};
use crate::frames::{Frame, Packet, error, flags, tcp, udp};
use crate::harness::eventually;
use crate::policy::{CLOSED, FRIENDLY, assert_refused, befriend, rules, sets};
use orknet_abi::{
    DropReason, RangeKey, judged_mark, node_flags,
    protocol::{TCP, UDP},
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Verdict;

pub fn unfriend(bench: &Bench, address: &str) {
    bench.apply(&Plan { steps: vec![Step::DeletePeer(RangeKey::new(ip(address), 128))] });
}

/// "Too big", "port unreachable".
fn too_big(is_v4: bool) -> [u8; 2] {
    if is_v4 { [3, 4] } else { [2, 0] }
}

fn unreachable(is_v4: bool) -> [u8; 2] {
    if is_v4 { [3, 3] } else { [1, 4] }
}

/// Addresses of a node beside those that its Node object lists: of the kind that a cache of names has.
const OTHERS: [&str; 2] = ["169.254.20.10", "fd00:53::10"];

/// Gives the node these. The kernel makes the routes of IPv6 to them a moment later.
fn add_others(bench: &Bench) {
    let ip = |arguments: &[&str]| bench.node.namespace.command("ip", arguments);
    ip(&["link", "set", "lo", "up"]);
    OTHERS.iter().for_each(|address| _ = ip(&["address", "add", address, "dev", "lo"]));
    eventually("the node has its address", || {
        let routes = ip(&["-6", "route", "show", "table", "local"]);
        if routes.contains(OTHERS[1]) { Ok(()) } else { Err(routes) }
    });
}

#[test]
fn root_every_address_of_the_node_is_the_nodes() {
    let bench = Bench::new("policy-addresses");
    add_others(&bench);
    for (family, own) in FAMILIES.into_iter().zip(OTHERS) {
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
        // What a pod sends to itself, by a flow that there is.
        let (pod, front) = (at(family.pod_a, 9), at(family.cluster, 82));
        bench.put(&Front::new(list + 4, UDP, front, &[at(family.pod_a, 82)]).cluster());
        for lenient in [0, node_flags::LENIENT] {
            bench.set_node(orknet_abi::Node { flags: settings().flags | lenient, ..settings() });
            let own = udp(pod, front, b"x");
            assert_ne!(bench.from_pod(&own.bytes()).verdict, Verdict::Drop);
            assert_refused(&bench, || bench.from_network(&wired(own).bytes()), DropReason::SourceIsPod);
            // The pod sees the Service as who asks it.
            for quoted in [udp(front, pod, b"x"), udp(at(family.cluster, 9), at(family.pod_a, 82), b"x")] {
                let kind = unreachable(pod.is_ipv4());
                let about = wired(error(ip(family.client), ip(family.cluster), kind, 0, &quoted.bytes()[14..])).bytes();
                assert_refused(&bench, || bench.from_network(&about), DropReason::SourceIsPod);
            }
        }
        bench.set_node(settings());
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

#[test]
fn root_a_forged_pods_address_opens_nothing_by_what_it_tells() {
    let bench = direct("policy-forged-told");
    for (list, family) in (1..).zip(FAMILIES) {
        for has_rules in [false, true] {
            bench.apply(&sets());
            befriend(&bench, family.pod_b);
            rules(&bench, family.pod_a, |pod| pod.ingress = if has_rules { FRIENDLY } else { 0 });
            let (front, backend, remote) = (at(family.load_balancer, 80), at(family.pod_a, 80), at(family.remote_pod, 80));
            bench.put(&Front::new(list, TCP, front, &[remote]));
            let told = |source| wired(telling(tcp(source, backend, flags::SYN, b""), front)).bytes();
            let real = at(family.pod_b, 41_000);
            bench.from_network(&told(real));
            assert!(bench.flows().is_empty(), "{real} is of this node, rules: {has_rules}: {:?}", bench.flows());
            bench.from_pod_b(tcp(real, front, flags::SYN, b""));
            assert_eq!(bench.flows()[&key(TCP, real, front)].becomes.destination, remote.ip().into(), "as the Service says");
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
            if !has_rules {
                bench.from_network(&told(at(family.client, 41_000)));
                assert!(!bench.flows().is_empty(), "others tell");
                bench.flows().keys().for_each(|key| bench.forget_flow(key));
            }
        }
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

#[test]
fn root_a_service_that_leads_to_any_address_of_the_node_is_the_nodes() {
    let bench = Bench::new("policy-own-backend");
    add_others(&bench);
    let masquerades = settings().flags;
    for ((list, flags_of), sets_of) in [(1, masquerades), (2, masquerades & !node_flags::MASQUERADE)]
        .into_iter()
        .flat_map(|with| [(0, 0), (FRIENDLY, 0), (0, CLOSED), (CLOSED, CLOSED)].map(|sets_of| (with, sets_of)))
    {
        bench.set_node(orknet_abi::Node { flags: flags_of, ..settings() });
        for (family, other) in FAMILIES.into_iter().zip(OTHERS) {
            bench.apply(&sets());
            rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = sets_of);
            for (protocol, number) in [(TCP, 443), (UDP, 53)] {
                let (front, backend, pod) = (at(family.cluster, number), at(other, number + 6_000), at(family.pod_a, 5_000));
                bench.put(&Front::new(list, protocol, front, &[backend]).cluster());
                let make = |from, to, bits| if protocol == TCP { tcp(from, to, bits, b"") } else { udp(from, to, b"?") };
                for (there, back) in
                    [(flags::SYN, flags::SYN_ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK)]
                {
                    let ran = bench.from_pod(&make(pod, front, there).bytes());
                    let wanted = make(pod, backend, there).bytes();
                    assert_eq!((ran.verdict, ran.mark, ran.frame), (Verdict::Next, 0, wanted), "{sets_of:?} {flags_of:x} {there:x}");
                    let ran = bench.to_pod(&make(backend, pod, back).bytes());
                    assert_eq!((ran.verdict, ran.frame), (Verdict::Next, make(front, pod, back).bytes()));
                }
                // Another backend, outside: rules are about that.
                bench.put(&Front::new(list, protocol, front, &[at(family.client, 6_443)]).cluster());
                let make = make(at(family.pod_a, 5_001), front, flags::SYN).bytes();
                if sets_of.1 == CLOSED {
                    assert_refused(&bench, || bench.from_pod(&make), DropReason::PolicyEgress);
                } else {
                    assert_eq!(bench.from_pod(&make).verdict, Verdict::Redirect);
                }
            }
            bench.assert_pairs();
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
    }
}

#[test]
fn root_nobody_reaches_the_overlay_of_another_node_with_this_nodes_address() {
    const PORT: u16 = 8_472;
    let bench = Bench::new("policy-vxlan");
    for (family, node_2) in FAMILIES.into_iter().zip(["192.0.2.2", "2001:db8::2"]) {
        bench.apply(&sets());
        // An address of node 2 that its Node object does not list is a stranger's, as far as anybody here knows.
        for (list, node_2) in (1..).zip([node_2, family.client]) {
            let (load_balancer, cluster) = (at(family.load_balancer, 80), at(family.cluster, 80));
            bench.put(&Front::new(list * 2, UDP, load_balancer, &[at(node_2, PORT)]));
            bench.put(&Front::new(list * 2 + 1, UDP, cluster, &[at(node_2, PORT)]).cluster());
            for overlay_port in [PORT, 0] {
                bench.set_node(orknet_abi::Node { overlay_port, ..settings() });
                let seen_from = |ran: orknet_dataplane::Ran| Packet::read(&ran.frame).unwrap().source;
                let is_closed = overlay_port != 0;
                // Whoever asks from outside has the node's address there; so has a pod, where the packet leaves the cluster.
                let outsider = wired(udp(at(family.router, 9), load_balancer, b"forged")).bytes();
                for (ingress, egress) in [(0, 0), (CLOSED, 0)] {
                    rules(&bench, family.pod_a, |pod| (pod.ingress, pod.egress) = (ingress, egress));
                    let pod = udp(at(family.pod_a, 9), cluster, b"forged").bytes();
                    let is_listed = node_2 != family.client;
                    if is_closed {
                        assert_refused(&bench, || bench.from_network(&outsider), DropReason::TunnelNotNode);
                        if !is_listed {
                            assert_refused(&bench, || bench.from_pod(&pod), DropReason::TunnelNotNode);
                        }
                        assert!(bench.flows().keys().all(|known| known.source != ip(family.router).into()));
                    } else {
                        assert_eq!(seen_from(bench.from_network(&outsider)), ip(family.node));
                    }
                    if is_listed {
                        // There everybody sees that it is a pod's.
                        assert_eq!(seen_from(bench.from_pod(&pod)), ip(family.pod_a));
                    }
                    // Without a Service: rules have it judged as it comes, else it is met as it leaves.
                    let direct = udp(at(family.pod_a, 9), at(node_2, PORT), b"forged").bytes();
                    let ran = bench.from_pod(&direct);
                    let out = if ran.verdict == Verdict::Next { bench.to_network(&direct) } else { ran };
                    assert_eq!(out.verdict == Verdict::Drop, is_closed && !is_listed);
                    bench.flows().keys().for_each(|key| bench.forget_flow(key));
                }
            }
        }
        // Other ports, other protocols, and pods that have a server at that port.
        bench.set_node(orknet_abi::Node { overlay_port: PORT, ..settings() });
        let to = [(UDP, at(node_2, PORT + 1)), (TCP, at(node_2, PORT)), (UDP, at(family.remote_pod, PORT))];
        for (list, (protocol, backend)) in (9..).zip(to) {
            let front = at(family.load_balancer, 90);
            bench.put(&Front::new(list, protocol, front, &[backend]));
            let client = at(family.client, 9);
            let sent = if protocol == TCP { tcp(client, front, flags::SYN, b"") } else { udp(client, front, b"?") };
            let ran = bench.from_network(&wired(sent).bytes());
            assert_eq!((ran.verdict, Packet::read(&ran.frame).unwrap().ends().1), (Verdict::Redirect, backend));
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
        }
    }
}
