//! What an event means: who spoke with whom through which Service, and which rule decided. Pure; what programs know by numbers and addresses,
//! the compiler's state knows by name.

use super::callers::{Ask, Callers};
use super::leads::{Leads, Target};
use super::line::{
    Direction, End, Front, Happened, ISOLATING_NAMED, Judged, Pod, Policy, Rule, ServiceName, Verdict, protocol_name, tcp_flags,
};
use k8s_openapi::jiff::Timestamp;
use orknet_abi::{Address, Backend, DropReason, FlowKey, PodKey, ServiceKey, direction, event_kind, policy_kind, protocol, scope};
use orknet_compiler::facts::Uid;
use orknet_compiler::{ObjectName, PodAt, PolicyName, State};
use orknet_dataplane::{Packet, Told, Transport};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// An event and when it was.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Timestamp,
    pub told: Told,
}

/// Explains events, and remembers what does not change from one to the next.
#[derive(Debug, Default)]
pub struct Explainer {
    callers: Callers,
    leads: Leads,
}

impl Explainer {
    /// Services or their endpoints have changed.
    pub fn forget_services(&mut self) {
        self.leads.forget();
    }

    /// Explains events, in their order; `files` are the network namespaces of this node's pods by device, whose numbers can be asked for. Those
    /// are left out that are of no connection: steps of a trace, and frames that show no addresses.
    pub fn explain(&mut self, seen: &[Seen], state: &State, node: &str, files: &BTreeMap<u32, PathBuf>, ask: &Ask<'_>) -> Vec<Happened> {
        let of_node = state.image().node.map(|node| node.namespace_cookie);
        let calls = seen.iter().map(|seen| &seen.told.event).filter(|event| event.kind == event_kind::REFUSED);
        let cookies: HashSet<u64> = calls.map(|event| event.cookie).filter(|cookie| Some(*cookie) != of_node).collect();
        let callers = if cookies.is_empty() { HashMap::new() } else { self.callers.devices(&cookies, files, ask) };
        self.explain_with(seen, state, node, &callers)
    }

    /// The same with what is known of callers: the devices of pods by the numbers of their network namespaces.
    fn explain_with(&mut self, seen: &[Seen], state: &State, node: &str, callers: &HashMap<u64, u32>) -> Vec<Happened> {
        let connections: Vec<_> = seen.iter().filter_map(|seen| Some((seen, Connection::of(&seen.told, state, callers)?))).collect();
        self.leads.ask(connections.iter().filter_map(|(_, connection)| connection.asks_for()).collect(), state);
        let names = Names::of(connections.iter().map(|(seen, connection)| (&seen.told, connection)), state, &self.leads);
        connections.iter().map(|(seen, connection)| happened(seen, connection, &names, node)).collect()
    }
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
    /// A call was refused: there is no packet.
    is_call: bool,
    /// Whether it is known what the client asks for: its packets show the server alone where its socket was translated.
    is_front_known: bool,
    /// The device of the pod whose call it is.
    caller: Option<u32>,
}

type Side = (IpAddr, Option<u16>);

impl Connection {
    fn of(told: &Told, state: &State, callers: &HashMap<u64, u32>) -> Option<Self> {
        if told.event.kind == event_kind::REFUSED {
            return Self::of_call(told, state, callers.get(&told.event.cookie).copied());
        }
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
        let front = told.front.map_or(destination, |front| (front.ip(), Some(front.port())));
        // A socket that opens a connection has just been connected: what its hooks have not written, they have not done.
        let is_open = packet.protocol != protocol::TCP && event.kind == event_kind::FLOW || is_opening(&packet);
        let is_direct = event.cookie != 0 && is_open;
        let there = Self {
            packet,
            dropped,
            client: source,
            server: new_destination,
            front,
            is_answer: false,
            is_call: false,
            is_front_known: is_direct || front != new_destination,
            caller: None,
        };
        let is_front_known = new_source != source;
        let back = Self { client: new_destination, server: source, front: new_source, is_answer: true, is_front_known, ..there };
        Some(if is_answer(told, state, &there, &back) { back } else { there })
    }

    /// A call that was refused, of the pod behind a device, or of the node.
    fn of_call(told: &Told, state: &State, caller: Option<u32>) -> Option<Self> {
        let asked = &told.event.becomes;
        let front: Side = (asked.destination.into(), Some(u16::from_be(asked.destination_port_be)));
        let is_v4 = front.0.is_ipv4();
        let unknown = if is_v4 { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let node = state.image().node.filter(|node| node.namespace_cookie == told.event.cookie);
        let own: Vec<Address> = match (caller, node) {
            (Some(device), _) => {
                let attachment = state.attachments().find(|(_, attachment)| attachment.pod.ifindex == device);
                attachment.map(|(_, attachment)| attachment.addresses.clone()).unwrap_or_default()
            }
            (None, Some(node)) => [node.v4, node.v6].into_iter().filter(|address| *address != Address::default()).collect(),
            (None, None) => Vec::new(),
        };
        let client = own.into_iter().map(IpAddr::from).find(|address| address.is_ipv4() == is_v4).unwrap_or(unknown);
        Some(Self {
            packet: Packet { source: client, destination: front.0, protocol: asked.protocol, transport: Transport::Unknown },
            dropped: Some(told.dropped()?),
            client: (client, None),
            server: front,
            front,
            is_answer: false,
            is_call: true,
            is_front_known: true,
            caller,
        })
    }

    /// What is to be asked to know which Services the client may have asked for.
    fn asks_for(&self) -> Option<Target> {
        let port_be = self.server.1?.to_be();
        (!self.is_front_known).then_some((self.packet.protocol, Backend { address: self.server.0.into(), port_be, reserved: 0 }))
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

/// Whether it is TCP's first packet of a connection.
fn is_opening(packet: &Packet) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    matches!(packet.transport, Transport::Tcp { flags: Some(flags), .. } if flags & (SYN | ACK) == SYN)
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

/// The first of the policies that isolate a pod, and how many there are besides.
type Isolating = (Vec<Policy>, usize);

/// Everybody's names, asked for at once.
struct Names<'a> {
    state: &'a State,
    leads: &'a Leads,
    pods: HashMap<Address, PodAt>,
    rules: HashMap<u32, Rule>,
    /// Asked for once for each pod and direction: there may be many policies, and who is refused tries again.
    isolating: RefCell<HashMap<(ObjectName, Direction), Isolating>>,
}

impl<'a> Names<'a> {
    fn of<'b>(connections: impl Iterator<Item = (&'b Told, &'b Connection)>, state: &'a State, leads: &'a Leads) -> Self {
        let (mut addresses, mut numbers) = (HashSet::new(), BTreeSet::new());
        for (told, connection) in connections {
            addresses.extend([connection.client.0, connection.server.0].map(Address::from));
            numbers.extend([told.event.rule, told.event.egress_rule].into_iter().filter(|number| *number != 0));
        }
        let known = |number: u32| Some((number, *state.image().rules.get(&number)?));
        let rules: Vec<_> = numbers.into_iter().filter_map(known).collect();
        let policies = state.policies_with(&rules.iter().map(|(_, rule)| Uid(rule.policy)).collect());
        let named = |(number, rule): (u32, orknet_abi::Rule)| {
            let name = policies.get(&Uid(rule.policy));
            let rule_name = name.and_then(|name| state.rule_name(&rule, name)).map(|name| name.to_string());
            let policy = match name {
                Some(name) => policy(name),
                None => Policy { kind: kind_name(rule.kind).into(), namespace: String::new(), name: uid_text(rule.policy) },
            };
            (number, Rule { policy, index: rule.index, rule_name })
        };
        let rules = rules.into_iter().map(named).collect();
        Self { state, leads, pods: state.pods_at(&addresses), rules, isolating: RefCell::default() }
    }

    fn end(&self, (address, port): Side) -> End {
        let pod = self.pods.get(&address.into()).map(pod);
        End { address, port, pod }
    }

    fn judged(&self, direction: Direction, number: u32, end: Side) -> Judged {
        let rule = (number != 0).then(|| self.rules.get(&number).cloned().unwrap_or_else(|| unknown_rule(number)));
        let (isolated_by, isolated_by_more) = match (&rule, self.pods.get(&end.0.into())) {
            (None, Some(pod)) => self.isolating(&pod.name, direction),
            _ => Isolating::default(),
        };
        Judged { direction, rule, isolated_by, isolated_by_more }
    }

    fn isolating(&self, pod: &ObjectName, direction: Direction) -> Isolating {
        let ask = || {
            let names = self.state.isolating(pod, number_of(direction));
            let more = names.len().saturating_sub(ISOLATING_NAMED);
            (names.into_iter().take(ISOLATING_NAMED).map(|name| policy(&PolicyName::Namespaced(name))).collect(), more)
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

    fn possible_services(&self, connection: &Connection) -> Vec<ServiceName> {
        let named = |name: &ObjectName| ServiceName { namespace: name.namespace.to_string(), name: name.name.to_string() };
        connection.asks_for().map(|target| self.leads.of(&target).iter().map(named).collect()).unwrap_or_default()
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
    if let Some(device) = connection.caller {
        client.pod = names.state.pod_behind(device).as_ref().map(pod);
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
        possible_services: names.possible_services(connection),
        judged,
        is_answer: connection.is_answer,
        is_call: connection.is_call,
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
        rule_name: None,
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
