//! What flows say of a connection's life, as `flow_timeout` wants to know it.

use crate::bench::{Bench, FAMILIES, Front, V4, at, key, wired};
use crate::frames::{Frame, Packet, chunk, flags, sctp, tcp, udp};
use orknet_abi::protocol::{SCTP, TCP, UDP};
use orknet_abi::{FlowKey, flow_state, flow_timeout};
use orknet_dataplane::Verdict;
use std::net::SocketAddr;

const ESTABLISHED: u32 = 7_440;
const TRANSITORY: u32 = 240;

/// A flow from outside to a pod of another node, seen from both ends.
struct Talk<'a> {
    bench: &'a Bench,
    protocol: u8,
    client: SocketAddr,
    front: SocketAddr,
    node: SocketAddr,
    backend: SocketAddr,
}

impl<'a> Talk<'a> {
    /// Opens it with the frame that `first` makes.
    fn open(bench: &'a Bench, protocol: u8, client: SocketAddr, front: SocketAddr, first: &Frame) -> Self {
        let ran = bench.from_network(&wired(first.clone()).bytes());
        assert_eq!(ran.verdict, Verdict::Redirect);
        let (node, backend) = Packet::read(&ran.frame).unwrap().ends();
        Self { bench, protocol, client, front, node, backend }
    }

    fn send(&self, frame: Frame) {
        assert_eq!(self.bench.from_network(&wired(frame).bytes()).verdict, Verdict::Redirect);
    }

    fn keys(&self) -> [FlowKey; 2] {
        [key(self.protocol, self.client, self.front), key(self.protocol, self.backend, self.node)]
    }

    fn states(&self) -> [u32; 2] {
        let flows = self.bench.flows();
        self.keys().map(|key| flows[&key].state)
    }

    fn timeout(&self) -> u32 {
        let [forward, back] = self.states();
        flow_timeout(self.protocol, forward | back, forward & back)
    }
}

#[test]
fn root_a_tcp_connection_is_established_once_both_spoke_and_over_once_both_finished() {
    use flow_state::{CONFIRMED, FINISHED, FORWARD, OPENED, RESET};
    let bench = Bench::new("tcp");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 80));
        bench.put(&Front::new(list, TCP, front, &[at(family.remote_pod, 80)]));
        let there = |flags| tcp(client, front, flags, b"");
        let talk = Talk::open(&bench, TCP, client, front, &there(flags::SYN));
        let back = |flags| tcp(talk.backend, talk.node, flags, b"");
        assert_eq!((talk.states(), talk.timeout()), ([FORWARD | OPENED, 0], TRANSITORY));
        talk.send(back(flags::SYN_ACK));
        assert_eq!((talk.states(), talk.timeout()), ([FORWARD | OPENED, OPENED], TRANSITORY), "half open");
        talk.send(there(flags::SYN));
        talk.send(back(flags::SYN_ACK));
        assert_eq!(talk.timeout(), TRANSITORY, "said again, it is no more");
        talk.send(there(flags::ACK));
        assert_eq!((talk.states(), talk.timeout()), ([FORWARD | OPENED | CONFIRMED, OPENED], ESTABLISHED));
        talk.send(there(flags::FIN | flags::ACK));
        assert_eq!((talk.states()[0] & FINISHED, talk.timeout()), (FINISHED, ESTABLISHED), "the other end may go on");
        talk.send(back(flags::ACK));
        assert_eq!(talk.timeout(), ESTABLISHED);
        talk.send(back(flags::FIN | flags::ACK));
        assert_eq!(talk.timeout(), TRANSITORY);
        talk.send(there(flags::ACK));
        assert_eq!(talk.timeout(), TRANSITORY, "the last word changes nothing");

        // The same ports again.
        let talk = Talk::open(&bench, TCP, client, front, &there(flags::SYN));
        let back = |flags| tcp(talk.backend, talk.node, flags, b"");
        assert_eq!((talk.states(), talk.timeout()), ([FORWARD | OPENED, 0], TRANSITORY));
        assert_eq!(bench.flows().len(), 2 * list as usize, "nothing is left of the former");
        talk.send(back(flags::SYN_ACK));
        talk.send(there(flags::ACK));
        assert_eq!(talk.timeout(), ESTABLISHED);
        talk.send(back(flags::RST));
        assert_eq!((talk.states()[1] & RESET, talk.timeout()), (RESET, TRANSITORY));
        // It may have been forged.
        talk.send(back(flags::ACK));
        assert_eq!((talk.states()[1] & RESET, talk.timeout()), (0, ESTABLISHED));
    }
}

#[test]
fn root_sctp_is_as_tcp_by_the_types_of_its_chunks() {
    let bench = Bench::new("sctp");
    let (client, front) = (at(V4.client, 999), at(V4.load_balancer, 80));
    bench.put(&Front::new(1, SCTP, front, &[at(V4.remote_pod, 80)]));
    let there = |chunk| sctp(client, front, chunk, &[0; 16]);
    let talk = Talk::open(&bench, SCTP, client, front, &there(chunk::INIT));
    let back = |chunk| sctp(talk.backend, talk.node, chunk, &[0; 16]);
    assert_eq!(talk.timeout(), TRANSITORY);
    talk.send(back(chunk::INIT_ACK));
    assert_eq!(talk.timeout(), TRANSITORY, "half open");
    talk.send(there(chunk::DATA));
    assert_eq!(talk.timeout(), ESTABLISHED);
    talk.send(there(chunk::SHUTDOWN));
    assert_eq!(talk.timeout(), ESTABLISHED);
    talk.send(back(chunk::SHUTDOWN));
    assert_eq!(talk.timeout(), TRANSITORY);
    let talk = Talk::open(&bench, SCTP, client, front, &there(chunk::INIT));
    talk.send(sctp(talk.backend, talk.node, chunk::INIT_ACK, &[0; 16]));
    talk.send(there(chunk::DATA));
    assert_eq!(talk.timeout(), ESTABLISHED);
    talk.send(there(chunk::ABORT));
    assert_eq!(talk.timeout(), TRANSITORY);
}

#[test]
fn root_a_udp_flow_lasts_longer_once_both_spoke_and_every_packet_renews_it() {
    let bench = Bench::new("udp");
    for (list, family) in (1..).zip(FAMILIES) {
        let (client, front) = (at(family.client, 999), at(family.load_balancer, 53));
        bench.put(&Front::new(list, UDP, front, &[at(family.remote_pod, 53)]));
        let there = || udp(client, front, b"ask");
        let talk = Talk::open(&bench, UDP, client, front, &there());
        let back = || udp(talk.backend, talk.node, b"answer");
        assert_eq!(talk.timeout(), 120);
        talk.send(there());
        assert_eq!(talk.timeout(), 120, "one end alone confirms nothing");
        talk.send(back());
        assert_eq!(talk.timeout(), 300);

        let used = |number: usize| bench.flows()[&talk.keys()[number]].used_seconds;
        let before = used(0);
        for number in [0, 1] {
            bench.change_flow(&talk.keys()[number], |state| state, before.wrapping_sub(100));
        }
        talk.send(there());
        assert!(used(0) >= before && used(1) == before.wrapping_sub(100), "a direction is renewed by its own packets");
        talk.send(back());
        assert!(used(1) >= before);
    }
}
