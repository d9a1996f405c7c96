//! What was seen, in words and as JSON.

use super::ends::Question;
use super::names::Names;
use super::packet::{Ends, is_refusal};
use super::places::{Device, Place};
use super::sockets::Connect;
use super::walk::{End, Story};
use crate::inspect::print::{Column::Text, Output, View};
use anyhow::Result;
use orknet_abi::{DropReason, FlowKey, action, direction, event_kind, protocol, way_kind};
use orknet_dataplane::{Hook, Traced};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// Backends that are named of a list.
const NAMED: usize = 8;

/// What the programs say of a flow that is known (`ebpf/programs/src/steps/flow.rs`, `known`).
const KNOWN: u32 = 7;
const KNOWN_GONE: u32 = 2;
const GOES_BACK: u32 = 8;
/// And of the first packet of one (the same file, `opened`).
const NO_SERVICE: u32 = 0;
const REFUSED: u32 = 256;
/// Beside [`way_kind`]: another machine whose MAC address the kernel has to ask for (`ebpf/programs/src/steps/way.rs`).
const STRANGER: u8 = 16;

/// A step that was seen.
pub struct Told {
    node: String,
    at: String,
    text: String,
    /// Of what kind it is, and what belongs to it.
    value: Value,
    end: Option<End>,
}

impl Told {
    fn new(node: &Place, at: impl ToString, text: String, value: Value) -> Self {
        Self { node: node.name.clone(), at: at.to_string(), text, value, end: None }
    }

    /// Whether it says that the packet goes into a pod.
    pub fn leads_into_pod(&self) -> bool {
        self.value["step"] == "way" && self.value["kind"] == "pod"
    }

    /// What ends here, if anything does.
    pub fn end(&self) -> Option<End> {
        self.end.clone()
    }
}

/// Whose an address is, with the address.
pub fn who(address: IpAddr, names: &Names) -> String {
    match names.pod_at(address) {
        Some(pod) => format!("{pod} ({address})"),
        None => address.to_string(),
    }
}

/// The same with a port.
fn whose(at: SocketAddr, names: &Names) -> String {
    let text = if at.port() == 0 { at.ip().to_string() } else { at.to_string() };
    match names.pod_at(at.ip()) {
        Some(pod) => format!("{text} ({pod})"),
        None => text,
    }
}

/// What becomes of `connect()`.
pub fn connect(node: &Place, connect: &Connect, ends: &Ends, names: &Names) -> Option<Told> {
    let to = ends.destination;
    let service = names.service_at(to.ip()).map_or_else(|| to.to_string(), |name| format!("service/{name} ({to})"));
    let told = |text, value| Some(Told::new(node, "connect", text, value));
    match connect {
        Connect::AsItIs => None,
        Connect::Packets => {
            told(format!("{service} may not be used from everywhere: its packets are looked at"), json!({"step": "connect"}))
        }
        Connect::OneOf(backends) => {
            let some: Vec<_> = backends.iter().take(NAMED).map(|backend| whose(*backend, names)).collect();
            let more = backends.len().saturating_sub(NAMED);
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            let value = json!({"step": "connect", "service": names.service_at(to.ip()), "backends": backends});
            let form = if ends.source.port() == 0 { "" } else { "; below, the packet of who sends past its sockets" };
            told(format!("{service}: a socket that connects gets one of {}{rest}{form}", some.join(", ")), value)
        }
        Connect::Refused(reason) => {
            let text = format!("{service}: a socket that connects is refused: {}", explained(*reason));
            let mut told = Told::new(node, "connect", text.clone(), json!({"step": "connect", "reason": reason.name()}));
            told.end = Some(End::Dropped { node: node.name.clone(), reason: Some(*reason), text: explained(*reason) });
            Some(told)
        }
    }
}

/// A pod that no policy isolates in a direction.
pub fn not_isolated(node: &Place, hook: Hook, pod: IpAddr, direction: &str, names: &Names) -> Told {
    let text = format!("{direction} of {}: no policy isolates it", who(pod, names));
    Told::new(node, hook, text, json!({"step": "judged", "direction": direction, "action": "allow", "isolated": false}))
}

/// A pod hears its own node, whatever policies say.
pub fn from_own_node(node: &Place, pod: IpAddr, names: &Names) -> Told {
    let text = format!("ingress of {}: what comes from its own node is not judged", who(pod, names));
    Told::new(node, Hook::ToPod, text, json!({"step": "judged", "direction": "ingress", "action": "allow", "ownNode": true}))
}

/// Into a pod, without a word of the programs.
pub fn into_pod(node: &Place, device: u32) -> Told {
    let by = node.device_name(device);
    Told::new(node, "route", format!("into the pod at {by}"), json!({"step": "way", "kind": "pod", "device": by}))
}

/// Into a node, at a device that has our program, or has not.
pub fn comes(node: &Place, device: &Device, is_ours: bool) -> Told {
    let text = format!("comes in at {}{}", device.name, without_program(is_ours));
    Told::new(node, "route", text, json!({"step": "route", "device": device.name, "program": is_ours}))
}

fn without_program(is_ours: bool) -> &'static str {
    if is_ours { "" } else { ", where no program of ours is" }
}

/// Out of a node, at a device that has our program, or has not.
pub fn leaves(node: &Place, device: u32, next: Option<IpAddr>, to: IpAddr, is_ours: bool) -> Told {
    let by = node.device_name(device);
    let next = next.filter(|next| *next != to).map(|next| format!(", next {next}")).unwrap_or_default();
    Told::new(
        node,
        "route",
        format!("leaves by {by}{next}{}", without_program(is_ours)),
        json!({"step": "route", "device": by, "program": is_ours}),
    )
}

/// Why a packet does not go on.
pub fn refusal(reason: DropReason, is_answered: bool) -> String {
    let how = if is_answered { "refused, and the sender is told" } else { "dropped" };
    format!("{how}: {}", explained(reason))
}

fn explained(reason: DropReason) -> String {
    format!("{}: {}", reason.name(), reason.explain().trim())
}

/// What a program told, step by step.
pub fn events(node: &Place, hook: Hook, traced: &Traced, before: &[u8], names: &Names) -> Result<Vec<Told>> {
    let rules = if traced.told.iter().any(|told| told.event.rule != 0) { node.reader()?.rules()? } else { Default::default() };
    let mut steps = Vec::new();
    for told in &traced.told {
        let event = &told.event;
        let (text, value) = match event.kind {
            event_kind::STEP_FLOW => flow(event.reason, &event.becomes, before, names),
            event_kind::STEP_SERVICE if event.reason == NO_SERVICE => continue,
            event_kind::STEP_SERVICE => service(event.reason, &event.becomes, before, names),
            event_kind::STEP_JUDGED => {
                let rule = (event.rule != 0).then(|| rules.get(&event.rule).map(|rule| names.rule(rule)));
                let pod = judged_pod(event.direction, &event.becomes, before);
                judged(event, pod, rule, names)
            }
            event_kind::STEP_WAY => match way(node, event.reason, event.set) {
                Some(way) => way,
                None => continue,
            },
            _ => continue,
        };
        steps.push(Told::new(node, hook, text, value));
    }
    if let Some(became) = translated(before, &traced.ran.frame).filter(|_| !steps.iter().any(|step| step.value["step"] == "service")) {
        let text = format!("becomes {} -> {}", whose(became.source, names), whose(became.destination, names));
        steps.push(Told::new(node, hook, text, json!({"step": "translated", "source": became.source, "destination": became.destination})));
    }
    Ok(steps)
}

/// The packet's ends, if they are others than before.
fn translated(before: &[u8], after_frame: &[u8]) -> Option<Ends> {
    let (before, after) = (Ends::of(before)?, Ends::of(after_frame)?);
    (before != after && before.reversed() != after && !is_refusal(after_frame)).then_some(after)
}

fn flow(reason: u32, becomes: &FlowKey, before: &[u8], names: &Names) -> (String, Value) {
    let way = if reason & GOES_BACK != 0 { "an answer of a known flow" } else { "of a known flow" };
    let value = json!({"step": "flow", "isAnswer": reason & GOES_BACK != 0});
    if reason & KNOWN == KNOWN_GONE {
        return (format!("{way}, whose backend is gone"), value);
    }
    let (source, destination) = sides(becomes);
    if Ends::of(before).is_some_and(|ends| (ends.source, ends.destination) == (source, destination)) {
        return (format!("{way}, which nobody translates"), value);
    }
    (format!("{way}: becomes {} -> {}", whose(source, names), whose(destination, names)), value)
}

fn service(reason: u32, becomes: &FlowKey, before: &[u8], names: &Names) -> (String, Value) {
    let front = Ends::of(before).map(|ends| ends.destination);
    let name = front.and_then(|front| names.service_at(front.ip()));
    let shown = match (&name, front) {
        (Some(name), Some(front)) => format!("service/{name} ({front})"),
        (_, Some(front)) => front.to_string(),
        _ => "a Service".to_owned(),
    };
    // What was refused by policy has a backend, which is told with the judgement behind it.
    let is_judged = [DropReason::PolicyIngress, DropReason::PolicyEgress].map(|reason| REFUSED + reason as u32).contains(&reason);
    if reason >= REFUSED && !is_judged {
        let reason = DropReason::ALL.iter().find(|known| **known as u32 == reason - REFUSED);
        let text = reason.map_or_else(|| "refused".to_owned(), |reason| explained(*reason));
        return (format!("{shown}: {text}"), json!({"step": "service", "service": name, "reason": reason.map(|reason| reason.name())}));
    }
    let (source, backend) = sides(becomes);
    let given = Ends::of(before).filter(|ends| ends.source != source).map(|_| format!(", from {source}")).unwrap_or_default();
    let value = json!({"step": "service", "service": name, "backend": backend, "pod": names.pod_at(backend.ip()), "source": source});
    (format!("{shown}: backend {}{given}", whose(backend, names)), value)
}

/// The pod whose rules were asked: the client for what goes out, the server for what comes in.
fn judged_pod(way: u32, becomes: &FlowKey, before: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let ends = Ends::of(before)?;
    let (_, server) = sides(becomes);
    let server = if server.ip().is_unspecified() { ends.destination.ip() } else { server.ip() };
    Some(if way == direction::EGRESS { (ends.source.ip(), server) } else { (server, ends.source.ip()) })
}

/// `rule` is `None` if no rule says it, and within it if the rule has no name.
fn judged(event: &orknet_abi::Event, pod: Option<(IpAddr, IpAddr)>, rule: Option<Option<String>>, names: &Names) -> (String, Value) {
    let way = if event.direction == direction::EGRESS { "egress" } else { "ingress" };
    let (pod, other) = pod.map_or_else(Default::default, |(pod, other)| (who(pod, names), who(other, names)));
    let is_allowed = event.reason == action::ALLOW;
    let (preposition, verb) = (if way == "egress" { "to" } else { "from" }, if is_allowed { "allowed" } else { "denied" });
    let by = match &rule {
        None if is_allowed => ": no rule refuses it".to_owned(),
        None => format!(": policies isolate the pod, and no rule allows this {preposition} {other}"),
        Some(None) => format!(" by rule {}, which the map of rules has not", event.rule),
        Some(Some(name)) => format!(" by {name}"),
    };
    let value = json!({"step": "judged", "direction": way, "action": if is_allowed { "allow" } else { "deny" }, "set": event.set,
        "peers": event.peers, "rule": event.rule, "by": rule.flatten()});
    (format!("{way} of {pod}: {verb}{by}"), value)
}

fn way(node: &Place, kind: u32, device: u32) -> Option<(String, Value)> {
    let by = node.device_name(device);
    let (name, text) = match u8::try_from(kind).ok()? {
        way_kind::POD => ("pod", format!("into the pod at {by}")),
        way_kind::NEIGHBOUR | STRANGER => ("machine", format!("to another machine by {by}, past the stack")),
        way_kind::TUNNEL => ("tunnel", format!("to another node through the overlay {by}")),
        way_kind::HOME => ("home", format!("home into the node by {by}")),
        way_kind::STACK => ("node", "to the node itself".to_owned()),
        way_kind::PASSED => ("stack", "left to the node's stack".to_owned()),
        _ => return None,
    };
    Some((text, json!({"step": "way", "kind": name, "device": by})))
}

fn sides(key: &FlowKey) -> (SocketAddr, SocketAddr) {
    let side = |address: orknet_abi::Address, port_be: u16| SocketAddr::new(IpAddr::from(address), u16::from_be(port_be));
    (side(key.source, key.source_port_be), side(key.destination, key.destination_port_be))
}

/// Everything.
pub fn text(question: &Question, story: &Story, output: Output) -> Result<String> {
    let Question { ends, from, to, .. } = question;
    let name = match ends.protocol {
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::SCTP => "SCTP",
        _ => "ICMP",
    };
    let answer = story.answer.as_ref().map(|answer| match answer {
        End::Arrives(_) | End::GoesOut(_) => "replies pass".to_owned(),
        End::Dropped { node, text, .. } => format!("replies do not pass: on {node} {text}"),
    });
    let end = match &story.end {
        End::Arrives(at) => format!("arrives at {at}"),
        End::GoesOut(how) => format!("goes out {how}"),
        End::Dropped { node, text, .. } if node.is_empty() => text.clone(),
        End::Dropped { node, text, .. } => format!("{text} (on {node})"),
    };
    if output == Output::Json {
        let steps = story.steps.iter().map(|step| {
            let mut value = step.value.clone();
            value["node"] = json!(step.node);
            value["at"] = json!(step.at);
            value["text"] = json!(step.text);
            value
        });
        let reason = if let End::Dropped { reason, .. } = &story.end { reason.map(|reason| reason.name()) } else { None };
        let value = json!({"source": {"name": from, "address": ends.source}, "destination": {"name": to, "address": ends.destination},
            "protocol": name, "steps": steps.collect::<Vec<_>>(), "arrives": story.end.arrives(), "reason": reason, "end": end,
            "replies": story.answer.as_ref().map(End::arrives)});
        return Ok(serde_json::to_string_pretty(&value)? + "\n");
    }
    let mut view = View::default();
    view.table([Text("NODE"), Text("AT"), Text("WHAT HAPPENS")]);
    for step in &story.steps {
        view.line([step.node.clone(), step.at.clone(), step.text.clone()]);
    }
    let table = view.text(Output::Table)?;
    let (from, to) = (named(from, ends.source), named(to, ends.destination));
    let answer = answer.map(|answer| format!("; {answer}")).unwrap_or_default();
    Ok(format!("{name} {from} -> {to}\n\n{table}\n{end}{answer}\n"))
}

/// What was asked for, with its address.
fn named(text: &str, at: SocketAddr) -> String {
    let address = if at.port() == 0 { at.ip().to_string() } else { at.to_string() };
    if text == at.ip().to_string() { address } else { format!("{text} ({address})") }
}
