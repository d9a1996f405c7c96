//! Flows that nobody translates, of pods with rules: what is let through keeps them known, also what the stack brings, and what takes the quick
//! way. Which way a packet took, the MAC address that it has then tells: only the search looks for the pod.

use crate::bench::{A_MACS, B_MACS, Bench, FAMILIES, Family, at, ip, key, settings, wired};
use crate::frames::{Frame, flags, tcp, udp};
use crate::policy::{FRIENDLY, befriend, rules, sets};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use orknet_abi::{
    ABI_VERSION, Address, Pod,
    protocol::{TCP, UDP},
};
use orknet_dataplane::{Ran, Verdict};
use std::{mem::offset_of, net::SocketAddr};

const FIN: u8 = flags::FIN | flags::ACK;

/// All three ends may ask each other at TCP port 80 and at every port of UDP, and nothing else: who asked must be known.
fn befriend_all(bench: &Bench, family: Family) {
    bench.apply(&sets());
    for end in [family.pod_a, family.pod_b, family.remote_pod] {
        befriend(bench, end);
    }
    for pod in [family.pod_a, family.pod_b] {
        rules(bench, pod, |pod| (pod.ingress, pod.egress) = (FRIENDLY, FRIENDLY));
    }
}

fn now_seconds() -> u32 {
    nix::time::ClockId::CLOCK_MONOTONIC_COARSE.now().unwrap().tv_sec() as u32
}

/// A packet that goes from the one to the other end.
struct Sent {
    protocol: u8,
    from: SocketAddr,
    to: SocketAddr,
    flags: u8,
}

impl Sent {
    fn frame(&self) -> Frame {
        if self.protocol == TCP { tcp(self.from, self.to, self.flags, b"") } else { udp(self.from, self.to, b"?") }
    }

    fn back(&self, flags: u8) -> Self {
        Self { from: self.to, to: self.from, flags, ..*self }
    }

    fn there(&self, flags: u8) -> Self {
        Self { flags, ..*self }
    }

    /// Makes its direction one that was last used when the clock began, and runs it; whether it is used now.
    fn run(&self, bench: &Bench, run: impl FnOnce(Frame) -> Ran) -> (Ran, bool) {
        let key = key(self.protocol, self.from, self.to);
        bench.make_old(&key);
        let before = now_seconds();
        let ran = run(self.frame());
        (ran, (before..=now_seconds()).contains(&bench.flows()[&key].used_seconds))
    }
}

#[test]
fn root_what_the_stack_hands_to_a_pod_and_what_that_answers_keep_their_flow_known() {
    let bench = Bench::new("policy-used");
    for family in FAMILIES {
        befriend_all(&bench, family);
        for protocol in [TCP, UDP] {
            let asked = Sent { protocol, from: at(family.remote_pod, 999), to: at(family.pod_a, 80), flags: flags::SYN };
            assert_eq!(bench.from_network(&wired(asked.frame()).bytes()).verdict, Verdict::Redirect);
            for (answer, next) in [(flags::SYN_ACK, flags::SYN), (flags::ACK, flags::ACK), (flags::ACK, flags::ACK)] {
                // A new generation believes no way.
                bench.set_node(settings());
                let (ran, is_renewed) = asked.back(answer).run(&bench, |frame| bench.from_pod(&frame.bytes()));
                assert_eq!((ran.verdict, is_renewed), (Verdict::Redirect, true));
                let (ran, is_renewed) = asked.there(next).run(&bench, |frame| bench.forwarded_to_pod(&frame.bytes(), 0));
                assert_eq!((ran.verdict, is_renewed), (Verdict::Next, true));
            }
        }
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
}

/// Changes where frames to a pod go behind everybody's back: who searches the way finds another MAC address from now on.
fn move_unseen(bench: &Bench, address: &str) {
    let path = bench.node.pin_dir().join(format!("v{ABI_VERSION}/maps/PODS"));
    let map = aya::maps::Map::HashMap(aya::maps::MapData::from_pin(path).unwrap());
    let mut map = aya::maps::HashMap::<_, [u8; 16], [u8; 32]>::try_from(map).unwrap();
    let key = Address::from(ip(address)).0;
    let mut value = map.get(&key, 0).unwrap();
    value[offset_of!(Pod, pod_mac) + 5] ^= 0xff;
    map.insert(key, value, 0).unwrap();
}

#[test]
fn root_segments_of_known_connections_take_the_quick_way_and_keep_their_connection_known() {
    let bench = Bench::new("policy-quick");
    // Each processor has pairs of its own.
    let (this, all) = (Pid::from_raw(0), sched_getaffinity(Pid::from_raw(0)).unwrap());
    let mut one = CpuSet::new();
    one.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(this, &one).unwrap();
    for family in FAMILIES {
        // From pod B to pod A, and back; whether the frame has the MAC address that the pod had in the beginning.
        let there = |frame: Frame| bench.from_pod_b(frame);
        let back = |frame: Frame| bench.from_pod(&frame.bytes());
        let is_as_before = |ran: &Ran| {
            assert_eq!(ran.verdict, Verdict::Redirect);
            [A_MACS, B_MACS].iter().any(|macs| ran.frame[..6] == macs[0])
        };
        // Should a tick of the clock end just now, ways are searched again, and all is done once more.
        let is_quick = |round: u16| {
            befriend_all(&bench, family);
            let [first, second] = [10 * round + 1_000, 10 * round + 1_001].map(|port| Sent {
                protocol: TCP,
                from: at(family.pod_b, port),
                to: at(family.pod_a, 80),
                flags: flags::SYN,
            });
            let begun = [there(first.frame()), back(first.back(flags::SYN_ACK).frame()), there(second.frame())];
            assert!(begun.iter().all(is_as_before));
            [family.pod_a, family.pod_b].iter().for_each(|pod| move_unseen(&bench, pod));
            let mut quick = 0;
            for flags in [flags::ACK, flags::ACK, FIN] {
                let answer = if quick == 0 { flags::SYN_ACK } else { flags };
                for (ran, is_renewed) in [second.back(answer).run(&bench, back), second.there(flags).run(&bench, there)] {
                    if is_as_before(&ran) {
                        assert!(is_renewed, "{flags:x} in round {round}");
                        quick += 1;
                    }
                }
            }
            quick == 6
        };
        assert!((0..20).any(is_quick));
        bench.assert_pairs();
        bench.flows().keys().for_each(|key| bench.forget_flow(key));
    }
    sched_setaffinity(this, &all).unwrap();
}
