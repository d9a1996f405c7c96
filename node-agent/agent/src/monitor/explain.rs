//! What an event means: who spoke with whom through which Service, and which rule decided. Pure; what programs know by numbers and addresses,
//! the compiler's state knows by name.

use super::line::{Direction, End, Front, Happened, Judged, Pod, Policy, Rule, Verdict, protocol_name, tcp_flags};
use k8s_openapi::jiff::Timestamp;
use orknet_abi::{Address, DropReason, FlowKey, PodKey, ServiceKey, direction, event_kind, policy_kind, scope};
use orknet_compiler::facts::Uid;
use orknet_compiler::{ObjectName, PodAt, PolicyName, State};
use orknet_dataplane::{Packet, Told, Transport};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// An event and when it was.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Timestamp,
    pub told: Told,
}

/// Explains events, in their order. Those are left out that are of no connection: steps of a trace, and frames that show no addresses.
pub fn explain(seen: &[Seen], state: &State, node: &str) -> Vec<Happened> {
    let connections: Vec<_> = seen.iter().filter_map(|seen| Some((seen, Connection::of(&seen.told, state)?))).collect();
    let names = Names::of(connections.iter().map(|(seen, connection)| (&seen.told, connection)), state);
    connections.iter().map(|(seen, connection)| happened(seen, connection, &names, node)).collect()
}

/// Who speaks with whom.
#[derive(Clone, Copy, Debug)]
struct Connection {
    packet: Packet,
    dropped: Option<DropReason>,
    client: Side,
    server: Side,
    /// What the client asks for: the server's own address, if there is no Service between them.
    front: Side,
    is_answer: bool,
}

type Side = (IpAddr, Option<u16>);

impl Connection {
    fn of(told: &Told, state: &State) -> Option<Self> {
        let (event, packet) = (&told.event, told.packet?);
        let dropped = told.dropped();
        if dropped.is_none() && event.kind != event_kind::FLOW {
            return None;
        }
        let ports = packet.ports();
        let (source, destination) = ((packet.source, ports.map(|(from, _)| from)), (packet.destination, ports.map(|(_, to)| to)));
        let becomes = (event.becomes != FlowKey::default()).then(|| {
            let port = |port_be: u16| ports.map(|_| u16::from_be(port_be));
            let (from, to) = (event.becomes.source, event.becomes.destination);
            ((from.into(), port(event.becomes.source_port_be)), (to.into(), port(event.becomes.destination_port_be)))
        });
        let (new_source, new_destination) = becomes.unwrap_or((source, destination));
        let there = Self { packet, dropped, client: source, server: new_destination, front: destination, is_answer: false };
        let back = Self { packet, dropped, client: new_destination, server: source, front: new_source, is_answer: true };
        Some(if is_answer(told, state, &there, &back) { back } else { there })
    }

    /// Whether a pod of the connection has the set of rules that was asked.
    fn has_set(&self, told: &Told, state: &State) -> bool {
        let is_egress = told.event.direction == direction::EGRESS;
        let address: Address = if is_egress { self.client.0.into() } else { self.server.0.into() };
        state.image().pods.get(&PodKey { address }).is_some_and(|pod| {
            let sets = if is_egress { [pod.egress, pod.own_egress] } else { [pod.ingress, pod.own_ingress] };
            told.event.set != 0 && sets.contains(&told.event.set)
        })
    }
}

/// Whether the packet goes to who opened the connection. Programs do not say so: whose rules they asked does, where they asked, and else that
/// only servers accept.
fn is_answer(told: &Told, state: &State, there: &Connection, back: &Connection) -> bool {
    const SYN_ACK: u8 = 0x12;
    if told.event.kind == event_kind::FLOW {
        return false;
    }
    let accepts = matches!(there.packet.transport, Transport::Tcp { flags: Some(flags), .. } if flags & SYN_ACK == SYN_ACK);
    match (there.has_set(told, state), back.has_set(told, state)) {
        (true, false) => false,
        (false, true) => true,
        _ => accepts,
    }
}

/// Everybody's names, asked for at once.
struct Names<'a> {
    state: &'a State,
    pods: HashMap<Address, PodAt>,
    rules: HashMap<u32, Rule>,
    /// Asked for once for each pod and direction: there may be many policies, and who is refused tries again.
    isolating: RefCell<HashMap<(ObjectName, Direction), Vec<Policy>>>,
}

impl<'a> Names<'a> {
    fn of<'b>(connections: impl Iterator<Item = (&'b Told, &'b Connection)>, state: &'a State) -> Self {
        let (mut addresses, mut numbers) = (HashSet::new(), BTreeSet::new());
        for (told, connection) in connections {
            addresses.extend([connection.client.0, connection.server.0].map(Address::from));
            numbers.extend([told.event.rule, told.event.egress_rule].into_iter().filter(|number| *number != 0));
        }
        let known = |number: u32| Some((number, *state.image().rules.get(&number)?));
        let rules: Vec<_> = numbers.into_iter().filter_map(known).collect();
        let policies = state.policies_with(&rules.iter().map(|(_, rule)| Uid(rule.policy)).collect());
        let named = |(number, rule): (u32, orknet_abi::Rule)| {
            let policy = match policies.get(&Uid(rule.policy)) {
                Some(name) => policy(name),
                None => Policy { kind: kind_name(rule.kind).into(), namespace: String::new(), name: uid_text(rule.policy) },
            };
            (number, Rule { policy, index: rule.index })
        };
        let rules = rules.into_iter().map(named).collect();
        Self { state, pods: state.pods_at(&addresses), rules, isolating: RefCell::default() }
    }

    fn end(&self, (address, port): Side) -> End {
        let pod = self.pods.get(&address.into()).map(pod);
        End { address, port, pod }
    }

    fn judged(&self, direction: Direction, number: u32, end: Side) -> Judged {
        let rule = (number != 0).then(|| self.rules.get(&number).cloned().unwrap_or_else(|| unknown_rule(number)));
        let isolated_by = match (&rule, self.pods.get(&end.0.into())) {
            (None, Some(pod)) => self.isolating(&pod.name, direction),
            _ => Vec::new(),
        };
        Judged { direction, rule, isolated_by }
    }

    fn isolating(&self, pod: &ObjectName, direction: Direction) -> Vec<Policy> {
        let ask = || {
            let names = self.state.isolating(pod, number_of(direction)).into_iter();
            names.map(|name| policy(&PolicyName::Namespaced(name))).collect()
        };
        self.isolating.borrow_mut().entry((pod.clone(), direction)).or_insert_with(ask).clone()
    }

    fn front(&self, connection: &Connection) -> Option<Front> {
        let (address, port) = connection.front;
        let port_be = port.unwrap_or(0).to_be();
        let key = ServiceKey { address: address.into(), port_be, protocol: connection.packet.protocol, scope: scope::INSIDE };
        let name = self.state.service_of(&key)?;
        Some(Front { namespace: name.namespace.to_string(), name: name.name.to_string(), address, port })
    }
}

fn happened(seen: &Seen, connection: &Connection, names: &Names<'_>, node: &str) -> Happened {
    let event = &seen.told.event;
    let dropped = connection.dropped;
    let mut client = names.end(connection.client);
    if dropped == Some(DropReason::SourceNotPod) {
        // The address is not its own; the device is.
        client.pod = names.state.pod_behind(event.device).as_ref().map(pod);
    }
    let judged = match dropped {
        None => {
            let both = [(Direction::Egress, event.egress_rule), (Direction::Ingress, event.rule)];
            let said = both.into_iter().filter(|(_, number)| *number != 0);
            said.map(|(direction, number)| names.judged(direction, number, connection.server)).collect()
        }
        Some(DropReason::PolicyEgress) => vec![names.judged(Direction::Egress, event.rule, connection.client)],
        Some(DropReason::PolicyIngress) => vec![names.judged(Direction::Ingress, event.rule, connection.server)],
        Some(_) => Vec::new(),
    };
    let flags = match connection.packet.transport {
        Transport::Tcp { flags: Some(flags), .. } => tcp_flags(flags),
        _ => Vec::new(),
    };
    Happened {
        time: seen.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        node: node.to_owned(),
        verdict: if dropped.is_some() { Verdict::Dropped } else { Verdict::Allowed },
        reason: dropped.map(|reason| reason.name().to_owned()),
        explanation: dropped.map(|reason| reason.explain().trim().to_owned()),
        protocol: protocol_name(connection.packet.protocol),
        client,
        server: names.end(connection.server),
        service: names.front(connection),
        judged,
        is_answer: connection.is_answer,
        tcp_flags: flags,
        device: event.device,
        bytes: event.bytes,
    }
}

fn pod(at: &PodAt) -> Pod {
    Pod { namespace: at.name.namespace.to_string(), name: at.name.name.to_string(), is_local: at.is_local }
}

/// A policy's name in lines.
pub(crate) fn policy(name: &PolicyName) -> Policy {
    match name {
        PolicyName::Namespaced(name) => Policy {
            kind: kind_name(policy_kind::NETWORK_POLICY).into(),
            namespace: name.namespace.to_string(),
            name: name.name.to_string(),
        },
        PolicyName::Cluster(name) => {
            Policy { kind: kind_name(policy_kind::CLUSTER_NETWORK_POLICY).into(), namespace: String::new(), name: name.to_string() }
        }
    }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        policy_kind::CLUSTER_NETWORK_POLICY => "ClusterNetworkPolicy",
        _ => "NetworkPolicy",
    }
}

/// A rule that went before it could be named.
fn unknown_rule(number: u32) -> Rule {
    Rule {
        policy: Policy { kind: kind_name(0).into(), namespace: String::new(), name: format!("of rule {number}, which is gone") },
        index: 0,
    }
}

/// As `metadata.uid` is written.
fn uid_text(uid: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(uid));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn number_of(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => direction::INGRESS,
        Direction::Egress => direction::EGRESS,
    }
}

#[cfg(test)]
mod tests;
