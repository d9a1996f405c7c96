//! Traced packets: each kind of step is told, and nothing that lives knows that there was a packet.

use crate::bench::{B_MACS, Bench, DEVICE_A, FAMILIES, Front, V4, at, ip, key, wired};
use crate::frames::{Packet, flags, tcp};
use orknet_abi::protocol::TCP;
use orknet_abi::{
    DropReason, Judgement, Peer, Pod, PodKey, RangeKey, Verdict as PolicyVerdict, VerdictKey, action, direction, event_kind, monitor_flags,
    policy_kind, service_flags, way_kind,
};
use orknet_abi::{Monitor, Rule};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Arrival, Hook, Traced, Tracer, Verdict};

/// What an event says, as far as it is a step.
fn steps(traced: &Traced) -> Vec<(u32, u32)> {
    traced.told.iter().map(|told| (told.event.kind, told.event.reason)).collect()
}

/// A traced frame of pod A.
fn from_pod(bench: &Bench, tracer: &mut Tracer, frame: &[u8]) -> Traced {
    let arrival = Arrival { device: DEVICE_A, ..Arrival::default() };
    bench.node.run(|| tracer.run(Hook::FromPod, &arrival, frame)).unwrap()
}

/// A traced frame of the network.
fn from_network(bench: &Bench, tracer: &mut Tracer, frame: &[u8]) -> Traced {
    let arrival = bench.arrival();
    bench.node.run(|| tracer.run(Hook::FromNetwork, &arrival, frame)).unwrap()
}

/// Pod B takes only pod A, by rule 5; rule 6 refuses the node behind, and isolation everybody else.
fn police(bench: &Bench) {
    let verdict = |peers, action, rule| {
        let verdict = PolicyVerdict { table: 0, otherwise: Judgement { action, rule } };
        Step::PutVerdict(VerdictKey { set: 3, peers }, verdict)
    };
    let rule = |number| {
        Step::PutRule(number, Rule { policy: [number as u8; 16], index: number, kind: policy_kind::NETWORK_POLICY, ..Rule::default() })
    };
    let pod_b = bench.dataplane.reader().pods().unwrap()[&PodKey { address: ip(V4.pod_b).into() }];
    let mut steps = vec![rule(5), rule(6), verdict(0, action::DENY, 0), verdict(1, action::ALLOW, 5), verdict(2, action::DENY, 6)];
    for family in FAMILIES {
        steps.push(Step::PutPeer(RangeKey::new(ip(family.pod_a), 128), Peer { peers: 1 }));
        steps.push(Step::PutPeer(RangeKey::new(ip(family.remote_pod), 128), Peer { peers: 2 }));
    }
    for family in FAMILIES {
        steps.push(Step::PutPod(PodKey { address: ip(family.pod_b).into() }, Pod { ingress: 3, ..pod_b }));
    }
    bench.apply(&Plan { steps });
}

#[test]
fn root_each_step_of_a_traced_packet_is_told() {
    let bench = Bench::new("trace-steps");
    police(&bench);
    let mut tracer = Tracer::open(&bench.node.pin_dir()).unwrap();
    for (list, family) in (1..).zip(FAMILIES) {
        let (a, front, backend) = (at(family.pod_a, 40_000), at(family.cluster, 80), at(family.pod_b, 8080));
        bench.put(&Front::new(list, TCP, front, &[backend]).cluster());
        // Translated, judged, sent into the pod.
        let there = from_pod(&bench, &mut tracer, &tcp(a, front, flags::SYN, b"").bytes());
        assert_eq!((there.ran.verdict, &there.ran.frame[..12]), (Verdict::Redirect, &B_MACS.concat()[..]));
        assert_eq!(Packet::read(&there.ran.frame).unwrap().ends(), (a, backend));
        let told = steps(&there);
        let judged = there.told.iter().find(|told| told.event.kind == event_kind::STEP_JUDGED).unwrap().event;
        assert_eq!((judged.reason, judged.rule, judged.set, judged.peers, judged.direction), (action::ALLOW, 5, 3, 1, direction::INGRESS));
        assert!(told.iter().any(|(kind, _)| *kind == event_kind::STEP_SERVICE), "{told:?}");
        assert!(told.contains(&(event_kind::STEP_WAY, way_kind::POD.into())), "{told:?}");
        // The answer, by the flow that the packet before has opened.
        let back = wired(tcp(backend, a, flags::SYN | flags::ACK, b""));
        let arrival = Arrival { device: crate::bench::DEVICE_B, ..Arrival::default() };
        let back = crate::frames::Frame { destination_mac: B_MACS[1], ..back }.bytes();
        let back = bench.node.run(|| tracer.run(Hook::FromPod, &arrival, &back)).unwrap();
        assert_eq!(Packet::read(&back.ran.frame).unwrap().ends(), (front, a));
        assert!(steps(&back).iter().any(|(kind, _)| *kind == event_kind::STEP_FLOW), "{:?}", steps(&back));
        // From another node's pod: refused by a rule; from outside, by isolation alone.
        for (source, rule) in [(family.remote_pod, 6), (family.client, 0)] {
            let refused = from_network(&bench, &mut tracer, &wired(tcp(at(source, 40_001), backend, flags::SYN, b"")).bytes());
            assert_eq!((refused.ran.verdict, refused.refused), (Verdict::Drop, Some(DropReason::PolicyIngress)));
            let dropped = refused.told.iter().find(|told| told.event.kind == event_kind::DROP).unwrap();
            assert_eq!((dropped.dropped(), dropped.event.rule), (Some(DropReason::PolicyIngress), rule));
        }
        // To a Service without endpoints: the sender is answered, and it is a refusal all the same.
        let empty = at(family.cluster, 81);
        bench.put(&Front::new(list + 10, TCP, empty, &[]).cluster());
        let answered = from_pod(&bench, &mut tracer, &tcp(a, empty, flags::SYN, b"").bytes());
        assert_eq!((answered.ran.verdict, answered.refused), (Verdict::Redirect, Some(DropReason::NoEndpoints)));
        // To no Service.
        let nowhere = at(if family.pod_a == V4.pod_a { "10.96.0.99" } else { "fd00:10:96::99" }, 80);
        let dropped = from_pod(&bench, &mut tracer, &tcp(a, nowhere, flags::SYN, b"").bytes());
        assert_eq!(dropped.told.iter().find_map(|told| told.dropped()), Some(DropReason::NoSuchService));
    }
}

/// A client that keeps its backend keeps it in a trace.
#[test]
fn root_a_traced_client_keeps_the_backend_that_it_has() {
    let bench = Bench::new("trace-sticky");
    let (client, front) = (at(V4.client, 40_000), at(V4.load_balancer, 80));
    let backends: Vec<_> = (0..8).map(|number| at(V4.pod_b, 8_000 + number)).collect();
    let sticky = Front::new(1, TCP, front, &backends).with(|service| {
        service.flags |= service_flags::AFFINITY;
        service.affinity_seconds = 600;
    });
    bench.put(&sticky);
    let chosen = |frame: &[u8]| Packet::read(frame).unwrap().ends().1;
    let kept = chosen(&bench.from_network(&wired(tcp(client, front, flags::SYN, b"")).bytes()).frame);
    let mut tracer = Tracer::open(&bench.node.pin_dir()).unwrap();
    for port in 40_001..40_020 {
        let frame = wired(tcp(at(V4.client, port), front, flags::SYN, b"")).bytes();
        assert_eq!(chosen(&from_network(&bench, &mut tracer, &frame).ran.frame), kept);
    }
}

/// Everything that packets leave behind.
fn left_behind(bench: &Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let reader = bench.dataplane.reader();
    let image = reader.image().unwrap();
    let uses: Vec<_> = reader.maps().unwrap().into_iter().map(|map| (map.name, map.entries)).collect();
    let counts = (reader.drops().unwrap(), reader.left().unwrap(), reader.traffic().unwrap(), reader.untold_events().unwrap());
    (bench.flows(), image.rules, reader.rule_counts().unwrap(), uses, counts)
}

#[test]
fn root_a_trace_leaves_nothing_behind() {
    let bench = Bench::new("trace-clean");
    police(&bench);
    bench.dataplane.tell_events(Monitor { flags: monitor_flags::DROPS | monitor_flags::FLOWS, per_tick: 1_000 }).unwrap();
    let mut events = bench.dataplane.events().unwrap();
    let (a, front, backend) = (at(V4.pod_a, 40_000), at(V4.cluster, 80), at(V4.pod_b, 8080));
    bench.put(&Front::new(1, TCP, front, &[backend]).cluster());
    // A flow that lives, so that it is seen to be found and left alone.
    let known = tcp(a, front, flags::SYN, b"").bytes();
    bench.from_pod(&known);
    while events.take().is_some() {}
    let before = left_behind(&bench);
    let mut tracer = Tracer::open(&bench.node.pin_dir()).unwrap();
    let found = from_pod(&bench, &mut tracer, &tcp(a, front, flags::ACK, b"data").bytes());
    assert!(steps(&found).iter().any(|(kind, _)| *kind == event_kind::STEP_FLOW), "{:?}", steps(&found));
    for port in 40_001..40_020 {
        from_pod(&bench, &mut tracer, &tcp(at(V4.pod_a, port), front, flags::SYN, b"").bytes());
        from_pod(&bench, &mut tracer, &tcp(at(V4.pod_a, port), at("10.96.0.99", 80), flags::SYN, b"").bytes());
        from_network(&bench, &mut tracer, &wired(tcp(at(V4.client, port), backend, flags::SYN, b"")).bytes());
    }
    assert_eq!(left_behind(&bench), before);
    assert_eq!(events.take(), None);
    drop(tracer);
    assert_eq!(left_behind(&bench), before);
    assert!(bench.flows().contains_key(&key(TCP, a, front)));
}
