//! What a Service says about its addresses and ports, read from JSON.

use crate::object;
use crate::storage::keys;
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses and ports that a Service holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub addresses: BTreeSet<IpAddr>,
    pub ports: BTreeSet<u16>,
}

impl Held {
    /// The keys of the claims.
    pub fn keys(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.addresses.iter().map(|address| keys::cluster_ip(*address)).chain(self.ports.iter().map(|port| keys::node_port(*port)))
    }

    /// What is here and not there.
    pub fn without(&self, other: &Self) -> Self {
        Self { addresses: &self.addresses - &other.addresses, ports: &self.ports - &other.ports }
    }
}

/// What a stored Service holds.
pub fn held(service: &Value) -> Held {
    let addresses = cluster_ips(service).into_iter().filter_map(|address| address.parse().ok()).collect();
    let mut ports: BTreeSet<u16> = ports(service).filter_map(|port| node_port(port, "nodePort")).collect();
    ports.extend(node_port(&service["spec"], "healthCheckNodePort"));
    Held { addresses, ports }
}

/// `spec.type`.
pub fn kind(service: &Value) -> &str {
    match object::text(service, "/spec/type") {
        "" => "ClusterIP",
        kind => kind,
    }
}

/// Whether it has no address on purpose.
pub fn is_headless(service: &Value) -> bool {
    kind(service) != "ExternalName" && cluster_ips(service).first() == Some(&"None")
}

/// `spec.clusterIPs`, or the one in `spec.clusterIP`.
pub fn cluster_ips(service: &Value) -> Vec<&str> {
    let list = object::strings(service.pointer("/spec/clusterIPs"));
    match object::text(service, "/spec/clusterIP") {
        "" => list,
        one if list.is_empty() => vec![one],
        _ => list,
    }
}

/// Whether its ports are opened on nodes.
pub fn needs_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

/// Whether load balancers ask a port of its own for health.
pub fn needs_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && object::text(service, "/spec/externalTrafficPolicy") == "Local"
}

/// `spec.ports`.
pub fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten()
}

/// A port number, absent when 0.
pub fn node_port(of: &Value, field: &str) -> Option<u16> {
    of.get(field).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

/// Protocol and port: what tells one port from another across changes.
pub fn port_key(port: &Value) -> (String, u64) {
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    (protocol.to_owned(), port.get("port").and_then(Value::as_u64).unwrap_or_default())
}
