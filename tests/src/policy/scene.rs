//! Who talks in tests of policies: three namespaces of three pods, pods on the network of their hosts, two nodes, somebody outside; as API
//! objects, and as names for those who ask.
//!
//! ```text
//! namespaces  x team=red    y team=red    z team=blue only-z=yes       (all: ns=NAME)
//! pods        a app=web extra=yes         b app=web                    c app=db      (all: pod=NAME)
//! TCP         web 80, alt 81              web 81, alt 80               serve 81
//! UDP         dns 80                      dns 81                       web 80, dns 81
//! ```

use super::answer::{Protocol, Question};
use serde_json::{Value, json};
use std::net::IpAddr;

pub const NAMESPACES: [&str; 3] = ["x", "y", "z"];
pub const PODS: [&str; 3] = ["a", "b", "c"];
pub const PORTS: [u16; 2] = [80, 81];
/// What a Service's port is more than its pod's.
pub const SERVICE_PORT: u16 = 8_000;
/// The nodes' addresses.
pub const NODES: [(&str, [&str; 2]); 2] = [("node1", ["192.0.2.1", "2001:db8::1"]), ("node2", ["192.0.2.2", "2001:db8::2"])];
/// Somebody who is not of the cluster.
pub const OUTSIDE: [&str; 2] = ["198.51.100.9", "2001:db8:9::9"];

/// Which pods are where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All on node1.
    OneNode,
    /// On both, in turns.
    TwoNodes,
}

/// Who opens or takes a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// `x/a`, `node1`, `outside`.
    pub name: String,
    /// IPv4 and IPv6.
    pub addresses: [IpAddr; 2],
    /// The cluster addresses of the Service that leads to it alone, if it is a pod: see [`Scene::services`].
    pub service: Option<[IpAddr; 2]>,
    /// Its node; `None` outside of the cluster.
    pub node: Option<&'static str>,
    pub is_pod: bool,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Scene {
    pub ends: Vec<End>,
}

impl Scene {
    pub fn new(spread: Spread) -> Self {
        let mut ends = Vec::new();
        for (row, namespace) in NAMESPACES.iter().enumerate() {
            for (column, pod) in PODS.iter().enumerate() {
                let node = if spread == Spread::TwoNodes { (row + column) % 2 } else { 0 };
                let last = 16 * (row + 1) + column + 1;
                let v6 = if node == 0 { format!("fd00:10:244::{last:x}") } else { format!("fd00:10:244:{node}::{last:x}") };
                ends.push(End {
                    name: format!("{namespace}/{pod}"),
                    addresses: [format!("10.244.{node}.{last}"), v6].map(|text| parsed(&text)),
                    service: Some([format!("10.96.0.{last}"), format!("fd00:10:96::{last:x}")].map(|text| parsed(&text))),
                    node: Some(NODES[node].0),
                    is_pod: true,
                });
            }
        }
        let other = |name: &str, addresses: [&str; 2], node| End {
            name: name.to_owned(),
            addresses: addresses.map(parsed),
            service: None,
            node,
            is_pod: false,
        };
        ends.extend(NODES.map(|(name, addresses)| other(name, addresses, Some(name))));
        ends.push(other("outside", OUTSIDE, None));
        Self { ends }
    }

    pub fn pods(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().filter(|end| end.is_pod)
    }

    /// # Panics
    /// If there is none of that name.
    pub fn end(&self, name: &str) -> &End {
        self.ends.iter().find(|end| end.name == name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Namespaces, nodes and pods, two more of these on their hosts' networks, and one that is over and had an address of a pod's.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects: Vec<Value> = NAMESPACES.iter().map(|name| namespace(name)).collect();
        objects.extend(NODES.iter().zip(["worker", "edge"]).map(|((name, addresses), role)| node(name, addresses, role)));
        objects.extend(self.pods().map(|end| {
            let (namespace, name) = end.name.split_once('/').unwrap_or_default();
            pod(namespace, name, end.node.unwrap_or_default(), &end.addresses)
        }));
        for (name, addresses) in NODES {
            let mut host = pod("x", name, name, &addresses.map(parsed));
            host["spec"]["hostNetwork"] = json!(true);
            host["metadata"]["labels"] = labels_of_pod("a");
            objects.push(host);
        }
        let mut over = pod("z", "over", "node1", &self.end("x/b").addresses);
        over["metadata"]["labels"] = labels_of_pod("c");
        over["status"]["phase"] = json!("Succeeded");
        objects.push(over);
        objects
    }

    /// For each pod a Service of its name that leads to it alone, TCP and UDP from ports 8000 above its own, and the Service's slices.
    pub fn services(&self) -> Vec<Value> {
        let of = |end: &End| {
            let (namespace, name) = end.name.split_once('/').unwrap_or_default();
            let kinds = || ["TCP", "UDP"].into_iter().flat_map(|protocol| PORTS.map(|port| (protocol, port)));
            let port = |(protocol, port): (&str, u16), number: u16| json!({"name": format!("{protocol}-{port}").to_lowercase(), "protocol": protocol, "port": number});
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": {
                "clusterIP": end.service.map(|all| all[0]), "clusterIPs": end.service,
                "ports": kinds().map(|kind| port(kind, SERVICE_PORT + kind.1)).collect::<Vec<_>>()}});
            let slice = |(address, kind): (&IpAddr, &str)| {
                json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                    "metadata": {"namespace": namespace, "name": format!("{name}-{kind}").to_lowercase(), "labels": {"kubernetes.io/service-name": name}},
                    "endpoints": [{"addresses": [address], "nodeName": end.node, "conditions": {"ready": true}}],
                    "ports": kinds().map(|kind| port(kind, kind.1)).collect::<Vec<_>>()})
            };
            let slices = end.addresses.iter().zip(["IPv4", "IPv6"]).map(slice);
            [service].into_iter().chain(slices).collect::<Vec<_>>()
        };
        self.pods().flat_map(of).collect()
    }

    /// What can be asked of pods through their Services, by each of them, itself as well.
    pub fn questions_through_services(&self) -> Vec<(&End, &End, Question)> {
        let pairs = self.pods().flat_map(|client| self.pods().map(move |server| (client, server)));
        let asked = pairs.flat_map(|(client, server)| {
            let ask = move |family: usize, (protocol, port)| {
                let question = Question::new(client.addresses[family], server.addresses[family], protocol, port);
                (client, server, Question { through_service: true, ..question })
            };
            let led = || kinds().filter(|(protocol, _)| matches!(protocol, Protocol::Tcp | Protocol::Udp));
            (0..2).flat_map(move |family| led().map(move |kind| ask(family, kind)))
        });
        asked.collect()
    }

    /// Everything that can be asked where a pod of the scene is at one end at least: TCP and UDP at both ports, SCTP at one, and a ping.
    pub fn questions(&self) -> Vec<(&End, &End, Question)> {
        let mut questions = Vec::new();
        for client in &self.ends {
            for server in self.ends.iter().filter(|server| server.is_pod || client.is_pod) {
                for family in 0..2 {
                    let ask = |(protocol, port)| {
                        (client, server, Question::new(client.addresses[family], server.addresses[family], protocol, port))
                    };
                    questions.extend(kinds().map(ask));
                }
            }
        }
        questions
    }
}

/// Protocols and ports that are asked.
pub fn kinds() -> impl Iterator<Item = (Protocol, u16)> {
    let both = [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(|protocol| PORTS.map(|port| (protocol, port)));
    both.chain([(Protocol::Sctp, 80), (Protocol::Icmp, 0)])
}

/// A namespace of the scene.
pub fn namespace(name: &str) -> Value {
    let team = if name == "z" { "blue" } else { "red" };
    let mut labels = json!({"ns": name, "team": team, "kubernetes.io/metadata.name": name});
    if name == "z" {
        labels["only-z"] = json!("yes");
    }
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn node(name: &str, addresses: &[&str; 2], role: &str) -> Value {
    let addresses = addresses.map(|address| json!({"type": "InternalIP", "address": address}));
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"role": role}}, "status": {"addresses": addresses}})
}

/// Of a pod with that name.
pub fn labels_of_pod(name: &str) -> Value {
    let mut labels = json!({"pod": name, "app": if name == "c" { "db" } else { "web" }});
    if name == "a" {
        labels["extra"] = json!("yes");
    }
    labels
}

/// `containers[].ports` of a pod with that name.
pub fn ports_of_pod(name: &str) -> Value {
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "containerPort": number, "protocol": protocol});
    match name {
        "a" => json!([port("web", 80, "TCP"), port("alt", 81, "TCP"), port("dns", 80, "UDP")]),
        "b" => json!([port("web", 81, "TCP"), port("alt", 80, "TCP"), port("dns", 81, "UDP")]),
        _ => json!([port("serve", 81, "TCP"), port("web", 80, "UDP"), port("dns", 81, "UDP")]),
    }
}

fn pod(namespace: &str, name: &str, node: &str, addresses: &[IpAddr; 2]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "labels": labels_of_pod(name)},
        "spec": {"nodeName": node, "containers": [{"name": "server", "ports": ports_of_pod(name)}]},
        "status": {"phase": "Running", "podIP": addresses[0], "podIPs": addresses.map(|ip| json!({"ip": ip}))},
    })
}

fn parsed(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
