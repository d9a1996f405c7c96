//! Ports of source NAT against a model: whatever pods send, whatever is answered and forgotten, two flows to one destination never have the
//! same port, a flow keeps its own, answers reach the one who asked, and who finds no port is dropped by name and leaves nothing behind.

use crate::bench::{Bench, FAMILIES, FIRST_PORT, Family, at, ip, key, settings, wired};
use crate::frames::{Frame, Packet, assert_sound, chunk, flags, ping, pong, sctp, tcp, udp};
use orknet_abi::{DropReason, protocol};
use orknet_dataplane::Verdict;
use proptest::{prelude::*, test_runner::TestRunner};
use std::{collections::BTreeMap, net::SocketAddr};

/// What kind of flow: its packets there and back, and its protocol in a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tcp,
    Udp,
    Sctp,
    /// Its identifier is its source port, and it has no other.
    Ping,
}

impl Kind {
    fn asks(self, from: SocketAddr, to: SocketAddr) -> Frame {
        match self {
            Self::Tcp => tcp(from, to, flags::SYN, b""),
            Self::Udp => udp(from, to, b"question"),
            Self::Sctp => sctp(from, to, chunk::INIT, &[9; 32]),
            Self::Ping => ping(from.ip(), to.ip(), from.port()),
        }
    }

    fn answers(self, from: SocketAddr, to: SocketAddr) -> Frame {
        match self {
            Self::Tcp => tcp(from, to, flags::SYN | flags::ACK, b""),
            Self::Udp => udp(from, to, b"answer"),
            Self::Sctp => sctp(from, to, chunk::INIT_ACK, &[9; 32]),
            Self::Ping => pong(from.ip(), to.ip(), to.port()),
        }
    }

    /// The source's address and port, or identifier.
    fn source(self, packet: &Packet) -> SocketAddr {
        if self == Self::Ping { SocketAddr::new(packet.source, packet.identifier()) } else { packet.ends().0 }
    }

    /// The destination's address and port, or identifier.
    fn destination(self, packet: &Packet) -> SocketAddr {
        if self == Self::Ping { SocketAddr::new(packet.destination, packet.identifier()) } else { packet.ends().1 }
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A pod, by number, sends from a port to a destination, by number.
    Ask { kind: Kind, pod: usize, port: u16, to: usize },
    /// A destination sends to a port of the node's, by its number.
    Answer { kind: Kind, from: usize, port: u16 },
    /// One of the flows is over.
    Forget(prop::sample::Index),
}

fn events() -> impl Strategy<Value = (u16, Vec<Event>)> {
    let kind = || prop::sample::select(vec![Kind::Tcp, Kind::Udp, Kind::Sctp, Kind::Ping]);
    let event = prop_oneof![
        6 => (kind(), 0..2_usize, 1..6_u16, 0..3_usize).prop_map(|(kind, pod, port, to)| Event::Ask { kind, pod, port, to }),
        3 => (kind(), 0..3_usize, 0..6_u16).prop_map(|(kind, from, port)| Event::Answer { kind, from, port }),
        1 => any::<prop::sample::Index>().prop_map(Event::Forget),
    ];
    (1..6_u16, prop::collection::vec(event, 1..80))
}

/// Flows by kind, who asks and whom: as which port of the node's.
type Flows = BTreeMap<(Kind, SocketAddr, SocketAddr), u16>;

struct Model<'a> {
    bench: &'a Bench,
    family: Family,
    /// Ports of the node's that there are.
    span: u16,
    flows: Flows,
}

impl Model<'_> {
    fn destination(&self, kind: Kind, number: usize) -> SocketAddr {
        let all = [at(self.family.client, 443), at(self.family.client, 444), at(self.family.router, 443)];
        SocketAddr::new(all[number].ip(), if kind == Kind::Ping { 0 } else { all[number].port() })
    }

    /// Who asks a destination as a port of the node's.
    fn owner(&self, kind: Kind, to: SocketAddr, port: u16) -> Option<SocketAddr> {
        let mut owners = self.flows.iter().filter(|((its, _, there), its_port)| (*its, *there, **its_port) == (kind, to, port));
        owners.next().map(|((_, pod, _), _)| *pod)
    }

    fn meet(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Ask { kind, pod, port, to } => self.ask(*kind, at([self.family.pod_a, self.family.pod_b][*pod], *port), *to),
            Event::Answer { kind, from, port } => self.answer(*kind, *from, FIRST_PORT + port),
            Event::Forget(index) => {
                if !self.flows.is_empty() {
                    let flow = *index.get(&self.flows.keys().copied().collect::<Vec<_>>());
                    self.flows.remove(&flow);
                    self.forget(flow);
                }
                Ok(())
            }
        }
    }

    fn ask(&mut self, kind: Kind, pod: SocketAddr, to: usize) -> Result<(), TestCaseError> {
        let to = self.destination(kind, to);
        let (ran, dropped) = self.bench.dropped_by(|| self.bench.to_network(&kind.asks(pod, to).bytes()));
        let taken = self.flows.iter().filter(|((its, _, there), _)| (*its, *there) == (kind, to)).count();
        if ran.verdict == Verdict::Drop {
            prop_assert_eq!(dropped, vec![DropReason::NatPortsExhausted]);
            // Ports are tried at random, so that one that is free may be missed when few are.
            prop_assert!(taken > 0 && !self.flows.contains_key(&(kind, pod, to)), "{} of {} ports are taken", taken, self.span);
            return Ok(());
        }
        assert_sound(&ran.frame);
        let node = kind.source(&Packet::read(&ran.frame).unwrap());
        prop_assert!(node.ip() == ip(self.family.node) && (FIRST_PORT..FIRST_PORT + self.span).contains(&node.port()), "{}", node);
        prop_assert_eq!(ran.frame, kind.asks(node, to).bytes());
        match self.owner(kind, to, node.port()) {
            Some(owner) => prop_assert_eq!(owner, pod, "{} to {} has the port of another", pod, to),
            None => prop_assert_eq!(self.flows.insert((kind, pod, to), node.port()), None, "{} to {} had another port before", pod, to),
        }
        Ok(())
    }

    fn answer(&self, kind: Kind, from: usize, port: u16) -> Result<(), TestCaseError> {
        let from = self.destination(kind, from);
        let frame = wired(kind.answers(from, at(self.family.node, port))).bytes();
        let ran = self.bench.from_network(&frame);
        match self.owner(kind, from, port) {
            Some(pod) => {
                prop_assert_eq!(ran.verdict, Verdict::Redirect);
                prop_assert_eq!(kind.destination(&Packet::read(&ran.frame).unwrap()), pod);
            }
            None => prop_assert_eq!((ran.verdict, ran.frame), (Verdict::Next, frame), "nobody asked"),
        }
        Ok(())
    }

    fn forget(&self, (kind, pod, to): (Kind, SocketAddr, SocketAddr)) {
        let number = match kind {
            Kind::Tcp => protocol::TCP,
            Kind::Udp => protocol::UDP,
            Kind::Sctp => protocol::SCTP,
            Kind::Ping if pod.is_ipv4() => protocol::ICMP,
            Kind::Ping => protocol::ICMP6,
        };
        self.bench.forget_flow(&key(number, pod, to));
    }

    fn check(&self) -> Result<(), TestCaseError> {
        self.bench.assert_pairs();
        prop_assert_eq!(self.bench.flows().len(), 2 * self.flows.len());
        Ok(())
    }
}

#[test]
fn root_no_two_flows_to_one_destination_have_the_same_port() {
    let bench = Bench::new("ports");
    for family in FAMILIES {
        let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
        let outcome = TestRunner::new(config).run(&events(), |(span, events)| {
            bench.set_node(orknet_abi::Node { last_port: FIRST_PORT + span - 1, ..settings() });
            bench.flows().keys().for_each(|key| bench.forget_flow(key));
            let mut model = Model { bench: &bench, family, span, flows: Flows::new() };
            for event in &events {
                model.meet(event)?;
            }
            model.check()
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }
}
