//! Packets that are redirected past the stack, and the same ones where the node leaves them to it.

use crate::bench::{A_MACS, B_MACS, Bench, DEVICE_A, FAMILIES, Front, assert_sent, at, into_pod, one_hop_on, settings, wired};
use crate::frames::{Frame, Packet, flags, tcp, udp};
use orknet_abi::{judged_mark, node_flags, protocol::UDP};
use orknet_dataplane::{Ran, Verdict};

fn leave_to_stack(bench: &Bench) {
    bench.set_node(orknet_abi::Node { flags: settings().flags | node_flags::NO_REDIRECT, ..settings() });
}

/// The stack gets this frame, and takes the hop from it itself. Of one that was translated or judged, the mark says that nothing is left to do.
#[track_caller]
fn assert_left(ran: &Ran, wanted: &Frame, mark: u32) {
    assert_eq!((ran.verdict, ran.mark), (Verdict::Next, mark));
    assert_eq!(ran.frame, wanted.bytes(), "\n got {:02x?}\nwant {:02x?}", ran.frame, wanted.bytes());
}

#[test]
fn root_packets_that_nobody_translates_are_left_to_the_stack_where_nothing_is_redirected() {
    let bench = Bench::new("left-plain");
    for family in FAMILIES {
        bench.set_node(settings());
        let to_b = tcp(at(family.pod_a, 999), at(family.pod_b, 80), flags::SYN, b"");
        let to_other_node = tcp(at(family.pod_a, 999), at(family.remote_pod, 80), flags::SYN, b"");
        let from_outside = wired(tcp(at(family.client, 999), at(family.pod_b, 80), flags::SYN, b""));
        assert_sent(&bench.from_pod(&to_b.bytes()), &into_pod(to_b.clone(), B_MACS));
        assert_sent(&bench.from_pod(&to_other_node.bytes()), &one_hop_on(to_other_node.clone()));
        assert_sent(&bench.from_network(&from_outside.bytes()), &into_pod(from_outside.clone(), B_MACS));
        leave_to_stack(&bench);
        assert_left(&bench.from_pod(&to_b.bytes()), &to_b, 0);
        assert_left(&bench.from_pod(&to_other_node.bytes()), &to_other_node, 0);
        assert_left(&bench.from_network(&from_outside.bytes()), &from_outside, 0);
    }
    assert!(bench.flows().is_empty() && bench.drops().is_empty());
}

#[test]
fn root_translated_packets_are_left_to_the_stack_where_it_takes_their_source() {
    let bench = Bench::new("left-flow");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 53), at(family.pod_a, 5353));
        bench.put(&Front::new(list, UDP, front, &[backend]));
        // The first packet opens the flow, the second finds its way, the third one knows it.
        for is_left in [false, true] {
            if is_left {
                leave_to_stack(&bench)
            } else {
                bench.set_node(settings())
            }
            for data in [b"1", b"2", b"3"] {
                let sent = bench.from_network(&wired(udp(client, front, data)).bytes());
                let wanted = wired(udp(client, backend, data));
                if is_left {
                    assert_left(&sent, &wanted, judged_mark(DEVICE_A))
                } else {
                    assert_sent(&sent, &into_pod(wanted, A_MACS))
                }
                // The answer has a source that is not the pod's.
                let answered = bench.from_pod(&udp(backend, client, data).bytes());
                assert_sent(&answered, &one_hop_on(udp(front, client, data)));
            }
        }
        // What the stack sends to the pod then is as it should be.
        let there = udp(client, backend, b"4").bytes();
        let ran = bench.to_pod(&there);
        assert_eq!((ran.verdict, ran.frame), (Verdict::Next, there));
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}

#[test]
fn root_what_the_stack_would_not_send_the_same_way_is_redirected_all_the_same() {
    let bench = Bench::new("not-left");
    leave_to_stack(&bench);
    for (list, family) in (1..).zip(FAMILIES) {
        // To another node with the node's own address, and back with the Service's.
        let (client, front, backend) = (at(family.client, 999), at(family.load_balancer, 53), at(family.remote_pod, 5353));
        bench.put(&Front::new(list, UDP, front, &[backend]));
        let sent = bench.from_network(&wired(udp(client, front, b"?")).bytes());
        let node = Packet::read(&sent.frame).unwrap().ends().0;
        assert_sent(&sent, &one_hop_on(wired(udp(node, backend, b"?"))));
        let answered = bench.from_network(&wired(udp(backend, node, b"!")).bytes());
        assert_sent(&answered, &one_hop_on(wired(udp(front, client, b"!"))));
        // A pod that reaches itself sees the Service.
        let (front, backend) = (at(family.cluster, 53), at(family.pod_a, 5353));
        bench.put(&Front::new(list + 10, UDP, front, &[backend]).cluster());
        let sent = bench.from_pod(&udp(at(family.pod_a, 999), front, b"?").bytes());
        assert_sent(&sent, &into_pod(udp(at(family.cluster, 999), backend, b"?"), A_MACS));
    }
    bench.assert_pairs();
    assert!(bench.drops().is_empty());
}
