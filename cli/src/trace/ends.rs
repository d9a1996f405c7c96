//! Who speaks to whom: what was asked for, as addresses, a port and a place to begin.

use super::names::Names;
use super::packet::Ends;
use super::places::Place;
use super::{Protocol, Trace};
use crate::names;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orknet_abi::protocol;
use std::net::{IpAddr, SocketAddr};

/// The port that the client of a traced connection has, unless one is named.
const CLIENT_PORT: u16 = 45_454;

/// An end, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named<'a> {
    Address(IpAddr),
    Pod(&'a str, &'a str),
    Service(&'a str, &'a str),
    Node(&'a str),
}

/// Where the packet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A pod sends it, on the place of this number, at this device.
    Pod(usize, u32),
    /// A process on the network of the place of this number.
    Node(usize),
    /// It comes from elsewhere to the place of this number.
    Outside(usize),
}

/// What is traced.
pub struct Question {
    pub ends: Ends,
    pub start: Start,
    /// Whether the client's address was given; a process of a node else has the one that the node's routes say.
    pub has_source: bool,
    /// The two ends, for people.
    pub from: String,
    pub to: String,
}

/// `namespace/name`, `name`, `service/name`, `service/namespace/name`, `node/name`, or an address. Of `namespace` where none is named.
fn read<'a>(text: &'a str, namespace: &'a str) -> Named<'a> {
    if let Ok(address) = text.parse() {
        return Named::Address(address);
    }
    let parts: Vec<&str> = text.split('/').collect();
    let is_service = |kind: &str| matches!(kind, "service" | "services" | "svc");
    match parts[..] {
        [kind, name] if is_service(kind) => Named::Service(namespace, name),
        [kind, namespace, name] if is_service(kind) => Named::Service(namespace, name),
        ["node" | "nodes", name] => Named::Node(name),
        ["pod" | "pods", name] => Named::Pod(namespace, name),
        ["pod" | "pods", namespace, name] => Named::Pod(namespace, name),
        [namespace, name] => Named::Pod(namespace, name),
        _ => Named::Pod(namespace, text),
    }
}

/// An end with all its addresses.
struct End {
    addresses: Vec<IpAddr>,
    text: String,
    pod: Option<Pod>,
    service: Option<Service>,
    /// A process of this node, by its name, is meant.
    node: Option<String>,
}

fn end(text: &str, namespace: &str, names: &Names, places: &[Place]) -> Result<End> {
    let none = End { addresses: Vec::new(), text: text.to_owned(), pod: None, service: None, node: None };
    match read(text, namespace) {
        Named::Address(address) => Ok(End { addresses: vec![address], ..none }),
        Named::Service(namespace, name) => {
            let service = names.service(namespace, name)?;
            let addresses = names::service_addresses(&service);
            if addresses.is_empty() {
                bail!("Service {namespace}/{name} has no address of its own (headless, or a name alone); name one of its pods instead");
            }
            Ok(End { addresses, text: format!("service/{namespace}/{name}"), service: Some(service), ..none })
        }
        Named::Node(name) => node(name, names, places).map(|addresses| End { addresses, node: Some(name.to_owned()), ..none }),
        // A node of this cluster may be meant.
        Named::Pod(_, name) if text == name && places.iter().any(|place| place.name == name) => {
            node(name, names, places).map(|addresses| End { addresses, node: Some(name.to_owned()), ..none })
        }
        Named::Pod(namespace, name) => {
            let pod = names.pod(namespace, name).map_err(|error| match names.service(namespace, name) {
                Ok(_) => error.context(format!("there is a Service of that name: say service/{namespace}/{name}")),
                Err(_) => error,
            })?;
            if let Some(phase) = names::phase(&pod).filter(|_| names::has_ended(&pod)) {
                bail!("pod {namespace}/{name} has ended ({phase}): it has no network any more");
            }
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|_| names::is_on_host(&pod));
            let addresses: Vec<_> = names::addresses(&pod).collect();
            if addresses.is_empty() {
                bail!("pod {namespace}/{name} has no address yet ({})", names::phase(&pod).unwrap_or("Pending"));
            }
            Ok(End { addresses, text: format!("{namespace}/{name}"), pod: Some(pod), node, ..none })
        }
    }
}

fn node(name: &str, names: &Names, places: &[Place]) -> Result<Vec<IpAddr>> {
    if let Some(place) = places.iter().find(|place| place.name == name) {
        return Ok(place.addresses().collect());
    }
    let node = names.node(name)?;
    let addresses = node.status.into_iter().flat_map(|status| status.addresses).flatten();
    Ok(addresses.filter(|address| address.type_ == "InternalIP").filter_map(|address| address.address.parse().ok()).collect())
}

/// What was asked for.
pub fn question(options: &Trace, source: &str, destination: &str, names: &Names, places: &[Place]) -> Result<Question> {
    let namespace = options.namespace.as_str();
    let (source, destination) = (end(source, namespace, names, places)?, end(destination, namespace, names, places)?);
    let suits = |address: &&IpAddr| options.family.is_none_or(|family| family.is_v4() == address.is_ipv4());
    let to = destination.addresses.iter().filter(suits).find(|to| source.addresses.iter().any(|from| from.is_ipv4() == to.is_ipv4()));
    let Some(to) = to.copied() else {
        bail!("{} and {} have no addresses of one family{}", source.text, destination.text, with(&source, &destination));
    };
    let from = source.addresses.iter().find(|from| from.is_ipv4() == to.is_ipv4()).copied().context("no address to begin with")?;
    let start = start(options, &source, from, to, places)?;
    let protocol = options.proto.number(to.is_ipv4());
    let has_ports = options.proto != Protocol::Icmp;
    let port = if has_ports { port(options, &destination)? } else { 0 };
    let client_port = if has_ports { options.source_port.unwrap_or(CLIENT_PORT) } else { 0 };
    let ends = Ends { source: SocketAddr::new(from, client_port), destination: SocketAddr::new(to, port), protocol };
    let has_source = source.pod.is_none() && source.node.is_none();
    Ok(Question { ends, start, has_source, from: source.text, to: destination.text })
}

/// What the two ends have.
fn with(source: &End, destination: &End) -> String {
    let list = |end: &End| end.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(": [{}] and [{}]", list(source), list(destination))
}

fn start(options: &Trace, source: &End, from: IpAddr, to: IpAddr, places: &[Place]) -> Result<Start> {
    let wanted = options.node.as_deref();
    let number_of = |name: &str| places.iter().position(|place| place.name == name);
    if let Some(name) = wanted
        && number_of(name).is_none()
    {
        let known: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
        bail!("there is no node {name:?} here; there is {}", known.join(", "));
    }
    let on_node = |address: IpAddr| places.iter().position(|place| place.is_own(address));
    if let Some(number) = source.node.as_deref().and_then(number_of).or_else(|| on_node(from)) {
        return Ok(Start::Node(number));
    }
    let with_pod = places.iter().enumerate().find_map(|(number, place)| Some((number, place.pod(from)?.ifindex)));
    if let Some((number, device)) = with_pod {
        return Ok(Start::Pod(number, device));
    }
    if source.pod.is_some() {
        bail!(
            "{} ({from}) is in the maps of no node that can be looked into here: its node is elsewhere, or has not made its network",
            source.text
        );
    }
    // From elsewhere it comes to the node that is asked, or that routers lead to.
    let at = |address: IpAddr| places.iter().position(|place| place.pod(address).is_some() || place.is_own(address));
    Ok(Start::Outside(wanted.and_then(number_of).or_else(|| at(to)).unwrap_or_default()))
}

/// The port that was asked for by its number or name, or the only one that there is.
fn port(options: &Trace, destination: &End) -> Result<u16> {
    let number = options.port.as_deref().map(str::parse::<u16>);
    if let Some(Ok(number)) = number {
        return Ok(number);
    }
    let name = options.port.as_deref();
    let transport = options.proto.name();
    let offered = offered(destination);
    let suits = |(port_name, number, proto): &(String, u16, String)| {
        (proto == transport && name.is_none_or(|name| name == port_name)).then_some(*number)
    };
    let found: Vec<u16> = offered.iter().filter_map(suits).collect();
    match (&found[..], name) {
        ([one], _) | ([one, ..], Some(_)) => Ok(*one),
        (_, Some(name)) => {
            let list: Vec<_> =
                offered.iter().filter(|(_, _, proto)| proto == transport).map(|(name, number, _)| format!("{name} {number}")).collect();
            let known = if list.is_empty() { "none is named".to_owned() } else { format!("there is {}", list.join(", ").trim()) };
            bail!("{} has no {transport} port {name:?}; {known}", destination.text)
        }
        ([], None) => bail!("{} does not say which {transport} ports it has; say which is meant: --port N", destination.text),
        _ => {
            let list: Vec<_> = found.iter().map(ToString::to_string).collect();
            bail!("{} has several {transport} ports ({}); say which: --port N", destination.text, list.join(", "))
        }
    }
}

/// Name, number and protocol of what a Service or a pod offers.
fn offered(end: &End) -> Vec<(String, u16, String)> {
    let proto = |text: &Option<String>| text.clone().unwrap_or_else(|| "TCP".to_owned());
    let service = end.service.iter().filter_map(|service| service.spec.as_ref()?.ports.as_ref()).flatten();
    let service = service.filter_map(|port| {
        let target =
            port.target_port.as_ref().and_then(|target| if let IntOrString::String(name) = target { Some(name.clone()) } else { None });
        Some((port.name.clone().or(target).unwrap_or_default(), u16::try_from(port.port).ok()?, proto(&port.protocol)))
    });
    let pod = end.pod.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    let pod = pod.flat_map(|container| container.ports.iter().flatten());
    let pod = pod
        .filter_map(|port| Some((port.name.clone().unwrap_or_default(), u16::try_from(port.container_port).ok()?, proto(&port.protocol))));
    service.chain(pod).collect()
}

impl Protocol {
    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Icmp => "ICMP",
        }
    }

    fn number(self, is_v4: bool) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Sctp => protocol::SCTP,
            Self::Icmp if is_v4 => protocol::ICMP,
            Self::Icmp => protocol::ICMP6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_kubectl_would_write_them() {
        let read = |text| read(text, "default");
        assert_eq!(read("web-0"), Named::Pod("default", "web-0"));
        assert_eq!(read("shop/web-0"), Named::Pod("shop", "web-0"));
        assert_eq!(read("pod/web-0"), Named::Pod("default", "web-0"));
        assert_eq!(read("service/web"), Named::Service("default", "web"));
        assert_eq!(read("svc/shop/web"), Named::Service("shop", "web"));
        assert_eq!(read("node/node1"), Named::Node("node1"));
        assert_eq!(read("fd00::1"), Named::Address("fd00::1".parse().unwrap()));
        let there = |text| super::read(text, "shop");
        assert_eq!(there("web-0"), Named::Pod("shop", "web-0"));
        assert_eq!(there("services/web"), Named::Service("shop", "web"));
        assert_eq!(there("default/web-0"), Named::Pod("default", "web-0"));
    }
}
