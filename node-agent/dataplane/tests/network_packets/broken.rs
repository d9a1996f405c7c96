//! Frames that are cut, contradict themselves or are huge: each has a verdict that is known, and nothing is left behind.

use crate::bench::{Bench, FAMILIES, Family, Front, V4, V6, at, ip, wired};
use crate::frames::{Frame, IP, chunk, error, flags, ping, sctp, tcp, udp};
use orknet_abi::DropReason;
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_dataplane::{Arrival, Hook, Verdict};
use std::net::SocketAddr;

const HOOKS: [Hook; 6] = [Hook::FromNetwork, Hook::FromPod, Hook::ToNetwork, Hook::ToPod, Hook::FromNode, Hook::FromWire];

/// The node with Services, and with flows of pod A to the node's own port 8080: the stack's answers to those are translated.
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    bench.serve_wire();
    for (list, family) in (1..).step_by(9).zip(FAMILIES) {
        for (number, protocol) in (0..).zip([TCP, UDP, SCTP]) {
            bench.put(&Front::new(list + number, protocol, at(family.load_balancer, 80), &[at(family.remote_pod, 80)]));
            bench.put(&Front::new(list + 3 + number, protocol, at(family.cluster, 80), &[at(family.pod_b, 80)]).cluster());
            bench.put(&Front::new(list + 6 + number, protocol, at(family.cluster, 81), &[at(family.node, 8080)]).cluster());
        }
        for asked in &frames(at(family.pod_a, 999), at(family.cluster, 81))[..3] {
            assert_eq!(bench.from_pod(&asked.bytes()).verdict, Verdict::Next);
        }
    }
    assert_eq!(bench.flows().len(), 12);
    bench
}

/// Frames of each protocol from a source to a front, and errors about such.
fn frames(from: SocketAddr, to: SocketAddr) -> Vec<Frame> {
    let kind = if from.is_ipv4() { [3, 3] } else { [1, 4] };
    let about = tcp(to, from, flags::ACK, b"0123456789").bytes();
    vec![
        tcp(from, to, flags::SYN, b"payload"),
        udp(from, to, b"payload"),
        sctp(from, to, chunk::INIT, &[0; 16]),
        ping(from.ip(), to.ip(), 9),
        error(from.ip(), to.ip(), kind, 0, &about[IP..]),
    ]
}

/// Everything that may be sent to the hooks.
fn samples() -> Vec<(Hook, Frame)> {
    let of = |family: &Family, hook| match hook {
        Hook::FromPod => frames(at(family.pod_a, 998), at(family.cluster, 80)),
        Hook::ToNetwork => frames(at(family.pod_a, 998), at(family.client, 80)),
        Hook::ToPod => frames(at(family.node, 8080), at(family.pod_a, 999)),
        Hook::FromNode => frames(at(family.node, 999), at(family.cluster, 80)),
        _ => frames(at(family.client, 999), at(family.load_balancer, 80)).into_iter().map(wired).collect(),
    };
    let all = HOOKS.iter().flat_map(|hook| FAMILIES.iter().map(move |family| (*hook, family)));
    all.flat_map(|(hook, family)| of(family, hook).into_iter().map(move |frame| (hook, frame))).collect()
}

/// Whether nothing goes on from the hook to the stack that is not whole.
fn is_strict(hook: Hook) -> bool {
    matches!(hook, Hook::FromPod | Hook::FromNode)
}

fn arrival(bench: &Bench, hook: Hook) -> Arrival {
    if matches!(hook, Hook::FromNetwork | Hook::ToNetwork) { bench.arrival() } else { Arrival::default() }
}

/// A verdict that is known, and one drop counted for a frame that ends there.
#[track_caller]
fn run(bench: &Bench, hook: Hook, frame: &[u8]) -> (Verdict, Vec<DropReason>) {
    let arrival = arrival(bench, hook);
    let (ran, dropped) = bench.dropped_by(|| bench.node.run(|| bench.dataplane.run_from(hook, &arrival, frame, 1)).unwrap());
    match ran.verdict {
        Verdict::Drop => assert_eq!(dropped.len(), 1, "{hook:?} {frame:02x?}"),
        Verdict::Next => assert_eq!((dropped.len(), &ran.frame[..]), (0, frame), "{hook:?}: the stack gets what came"),
        Verdict::Redirect => {}
        Verdict::Other(other) => panic!("{hook:?} says {other} to {frame:02x?}"),
    }
    (ran.verdict, dropped)
}

#[test]
fn root_whole_frames_of_these_are_translated_at_every_hook() {
    let bench = bench("whole");
    for (hook, frame) in samples().into_iter().filter(|(_, frame)| !matches!(frame.protocol, 1 | 58)) {
        let frame = frame.bytes();
        let ran = bench.node.run(|| bench.dataplane.run_from(hook, &arrival(&bench, hook), &frame, 1)).unwrap();
        assert_ne!(ran.frame, frame, "{hook:?}");
    }
}

#[test]
fn root_a_frame_cut_anywhere_opens_no_flow() {
    let bench = bench("cut");
    let before = bench.flows();
    for (hook, frame) in samples() {
        let whole = frame.bytes();
        let header = if frame.source.is_ipv4() { 20 } else { 40 };
        // What is shorter than an IP header the kernel refuses to run.
        for length in IP + header..whole.len() {
            let (verdict, dropped) = run(&bench, hook, &whole[..length]);
            if is_strict(hook) {
                assert_eq!(dropped, [DropReason::Truncated]);
            } else {
                assert_eq!(verdict, Verdict::Next, "{hook:?}: the stack knows what to do with what is broken");
            }
        }
    }
    assert_eq!(bench.flows(), before);
}

#[test]
fn root_a_packet_whose_protocol_is_cut_short_opens_no_flow() {
    let bench = bench("short");
    for (hook, frame) in samples() {
        let is_error = matches!(frame.protocol, 1 | 58);
        let needs = match frame.protocol {
            TCP => 20,
            SCTP => 16,
            _ => 8,
        };
        for length in 0..frame.payload.len() {
            // The IP header says how much there is, and that is true, with and without what Ethernet pads.
            let short = Frame { payload: frame.payload[..length].to_vec(), ..frame.clone() }.bytes();
            for padding in [0, 30] {
                let before = bench.flows().len();
                let padded = [short.clone(), vec![0xee; padding]].concat();
                let arrival = arrival(&bench, hook);
                let run = || bench.node.run(|| bench.dataplane.run_from(hook, &arrival, &padded, 1)).unwrap();
                let (ran, dropped) = bench.dropped_by(run);
                assert!(!matches!(ran.verdict, Verdict::Other(_)));
                // What the node itself sends may be answered "unreachable".
                let dropped_may_be = if ran.verdict == Verdict::Drop { 1..=1 } else { 0..=usize::from(hook == Hook::FromNode) };
                assert!(dropped_may_be.contains(&dropped.len()), "{hook:?} {:?} {dropped:?} {padded:02x?}", ran.verdict);
                if length < needs && !is_error {
                    assert_eq!(bench.flows().len(), before, "{hook:?}: {length} bytes of protocol {} and {padding}", frame.protocol);
                    assert_ne!(ran.verdict, Verdict::Redirect);
                }
            }
        }
    }
}

#[test]
fn root_headers_that_contradict_themselves_open_no_flow() {
    let bench = bench("malformed");
    let before = bench.flows();
    for (hook, frame) in samples() {
        let whole = frame.bytes();
        let with = |at: usize, byte: u8| {
            let mut frame = whole.clone();
            frame[at] = byte;
            frame
        };
        let firsts: &[u8] = if frame.source.is_ipv4() { &[0x44, 0x40, 0x65, 0x05, 0xf5, 0x4f] } else { &[0x40, 0x00, 0x70, 0xf0] };
        for first in firsts {
            let (verdict, dropped) = run(&bench, hook, &with(IP, *first));
            match hook {
                // Sixty bytes of header may well be there, with anything for options.
                _ if *first == 0x4f => assert_ne!(verdict, Verdict::Redirect),
                _ if is_strict(hook) => assert_eq!(dropped, [DropReason::Malformed]),
                _ => assert_eq!(verdict, Verdict::Next),
            }
        }
    }
    for (family, mapped) in [(V6, "::ffff:198.51.100.9"), (V6, "::ffff:10.244.0.2")] {
        for hook in HOOKS {
            let frame = wired(tcp(at(family.pod_a, 9), at(family.load_balancer, 80), flags::SYN, b""));
            let frame = Frame { source: ip(mapped), ..frame }.bytes();
            let frame = if hook == Hook::FromPod { [&[0; 6], &frame[6..]].concat() } else { frame };
            assert_ne!(run(&bench, hook, &frame).0, Verdict::Redirect);
        }
    }
    assert_eq!(bench.flows(), before);
}

#[test]
fn root_merged_frames_are_translated_as_others_are() {
    let bench = bench("jumbo");
    for family in FAMILIES {
        for length in [1_600, 2_500, 3_300] {
            let arrival = Arrival { segments: 3, segment_size: 1_400, ..Arrival::default() };
            let frame = tcp(at(family.pod_a, 999), at(family.cluster, 80), flags::ACK, &vec![1; length]);
            let ran = bench.node.run(|| bench.dataplane.run_from(Hook::FromPod, &arrival, &frame.bytes(), 1)).unwrap();
            assert_eq!(ran.verdict, Verdict::Redirect);
            crate::frames::assert_sound(&ran.frame);
        }
    }
    let ethernet = [&wired(udp(at(V4.client, 1), at(V4.load_balancer, 80), b"")).bytes()[..12], &[0x08, 0x06], &[0; 46]].concat();
    assert_eq!(run(&bench, Hook::FromNetwork, &ethernet).0, Verdict::Next);
}
