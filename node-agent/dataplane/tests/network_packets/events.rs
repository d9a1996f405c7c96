//! What programs tell of packets arrives at the ring's reader, as far as it was asked for.

use crate::bench::{Bench, FAMILIES, Family, Front, V4, at, wired};
use crate::fragments::fragments;
use crate::frames::{Frame, chunk, flags, sctp, tcp_numbered, udp};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_abi::{DropReason, EVENT_BYTES, Event, FlowKey, Monitor, event_kind, monitor_flags, service_flags};
use orknet_dataplane::{Events, Hook, Packet, Told, Transport, Untold, Verdict};
use std::net::SocketAddr;

const DROPS: Monitor = Monitor { flags: monitor_flags::DROPS, per_tick: u32::MAX };
/// Fits into the ring about 4,500 times.
const ENOUGH_TO_FILL: u32 = 10_000;

/// A Service of which this node has no endpoints, but should: what comes from outside is dropped without an answer.
fn nobody(bench: &Bench, protocol: u8, family: Family) -> SocketAddr {
    let front = at(family.load_balancer, 53);
    bench.put(&Front::new(1, protocol, front, &[]).with(|service| service.flags = service_flags::LOCAL_ONLY));
    front
}

fn lost(source: SocketAddr, destination: SocketAddr) -> Frame {
    wired(udp(source, destination, b"question"))
}

fn all(events: &mut Events) -> Vec<Told> {
    std::iter::from_fn(|| events.take()).collect()
}

fn clock() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

#[test]
fn root_a_drop_is_told_with_its_packet_and_only_when_it_is_asked_for() {
    let bench = Bench::new("events");
    let mut events = bench.dataplane.events().unwrap();
    for family in FAMILIES {
        let (source, destination) = (at(family.client, 999), nobody(&bench, UDP, family));
        let frame = lost(source, destination).bytes();
        bench.dataplane.tell_events(Monitor::default()).unwrap();
        bench.from_network(&frame);
        bench.dataplane.tell_events(DROPS).unwrap();
        let before = clock();
        let (_, dropped) = bench.dropped_by(|| bench.from_network(&frame));
        assert_eq!(dropped, [DropReason::NoLocalEndpoints]);
        let told = all(&mut events);
        let [only] = told.as_slice() else { panic!("{told:?}") };
        assert!((before..=clock()).contains(&only.event.time), "{only:?}");
        let shown = frame.len().min(EVENT_BYTES);
        let mut head = [0; EVENT_BYTES];
        head[..shown].copy_from_slice(&frame[..shown]);
        let event = Event {
            time: only.event.time,
            cookie: only.event.cookie,
            kind: event_kind::DROP,
            reason: DropReason::NoLocalEndpoints as u32,
            rule: 0,
            egress_rule: 0,
            set: 0,
            peers: 0,
            direction: 0,
            device: bench.eth0,
            bytes: frame.len() as u32,
            becomes: FlowKey::default(),
            head_bytes: shown as u32,
            head,
        };
        let transport = Transport::Ports { source: 999, destination: 53 };
        let packet = Packet { source: source.ip(), destination: destination.ip(), protocol: 17, transport };
        assert_eq!(*only, Told { event, packet: Some(packet), front: None });
        assert_eq!(only.dropped(), Some(DropReason::NoLocalEndpoints));
    }
    assert_eq!(bench.dataplane.reader().untold_events().unwrap(), Untold::default());
}

/// A fragment of SCTP whose port would change, for a backend on another node.
#[test]
fn root_what_is_dropped_before_the_stack_is_told_as_other_drops_are() {
    let bench = Bench::new("event-wire");
    bench.serve_wire();
    let mut events = bench.dataplane.events().unwrap();
    bench.dataplane.tell_events(DROPS).unwrap();
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 81));
        bench.put(&Front::new(list, SCTP, front, &[at(family.remote_pod, 8080)]));
        let [first, _] = fragments(&wired(sctp(client, front, chunk::DATA, &[7; 1200])));
        let (ran, dropped) = bench.dropped_by(|| bench.from_wire(&first));
        assert_eq!((ran.verdict, dropped), (Verdict::Drop, vec![DropReason::RewriteFailed]), "{front}");
        let told = all(&mut events);
        let [only] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((only.dropped(), only.event.bytes as usize), (Some(DropReason::RewriteFailed), first.len()));
        // Its addresses were rewritten before its ports could not be.
        let packet = only.packet.unwrap();
        assert_eq!((packet.destination, packet.protocol), (at(family.remote_pod, 8080).ip(), SCTP));
    }
    // No more of them than of others.
    bench.dataplane.tell_events(Monitor { per_tick: 0, ..DROPS }).unwrap();
    let [first, _] = fragments(&wired(sctp(at(V4.client, 999), at(V4.load_balancer, 81), chunk::DATA, &[7; 1200])));
    bench.from_wire(&first);
    assert_eq!((all(&mut events), bench.dataplane.reader().untold_events().unwrap()), (Vec::new(), Untold { rate: 1, full: 0 }));
}

#[test]
fn root_flags_of_tcp_are_told() {
    let bench = Bench::new("event-flags");
    let mut events = bench.dataplane.events().unwrap();
    bench.dataplane.tell_events(DROPS).unwrap();
    let front = nobody(&bench, TCP, V4);
    bench.from_network(&wired(tcp_numbered(at(V4.client, 999), front, flags::SYN_ACK, [1, 2], b"")).bytes());
    let told = all(&mut events);
    let transport = Transport::Tcp { source: 999, destination: 53, flags: Some(flags::SYN_ACK) };
    assert_eq!(told[0].packet.map(|packet| packet.transport), Some(transport));
}

#[test]
fn root_what_is_more_than_was_asked_for_is_counted_and_not_told() {
    let bench = Bench::new("event-rate");
    let mut events = bench.dataplane.events().unwrap();
    bench.dataplane.tell_events(Monitor { per_tick: 2, ..DROPS }).unwrap();
    let frame = lost(at(V4.client, 999), nobody(&bench, UDP, V4)).bytes();
    // One call, so that one processor runs them all; a tick may end meanwhile.
    bench.node.run(|| bench.dataplane.run_from(Hook::FromNetwork, &bench.arrival(), &frame, 1_000)).unwrap();
    let told = all(&mut events).len() as u64;
    let untold = bench.dataplane.reader().untold_events().unwrap();
    assert!(told >= 2 && untold.rate > 0, "{told} {untold:?}");
    assert_eq!(untold, Untold { rate: 1_000 - told, full: 0 });
}

#[test]
fn root_what_finds_the_ring_full_is_counted_and_who_reads_again_hears_again() {
    let bench = Bench::new("event-ring");
    let mut events = bench.dataplane.events().unwrap();
    bench.dataplane.tell_events(DROPS).unwrap();
    let frame = lost(at(V4.client, 999), nobody(&bench, UDP, V4)).bytes();
    bench.node.run(|| bench.dataplane.run_from(Hook::FromNetwork, &bench.arrival(), &frame, ENOUGH_TO_FILL)).unwrap();
    let told = all(&mut events).len() as u64;
    let untold = bench.dataplane.reader().untold_events().unwrap();
    assert!(untold.full > 0, "{told} {untold:?}");
    assert_eq!(untold, Untold { rate: 0, full: u64::from(ENOUGH_TO_FILL) - told });
    bench.from_network(&frame);
    assert_eq!(all(&mut events).len(), 1);
    // The next reader goes on where this one has read to.
    drop(events);
    bench.from_network(&frame);
    assert_eq!(all(&mut bench.dataplane.events().unwrap()).len(), 1);
}
