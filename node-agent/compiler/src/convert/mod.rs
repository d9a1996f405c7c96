//! From the API's types to the compact facts. Only here is k8s-openapi known; what cannot be used is left out, never an error,
//! since the API server has validated it and one strange object must not stop the others.

mod clusterpolicy;
mod policy;
mod stored;

use crate::facts::{Endpoint, ExternalFacts, Hints, NodeFacts, ObjectName, Readiness, ServiceFacts, ServicePort, SliceFacts, SlicePort};
use crate::names::Names;
use k8s_openapi::api::core::v1::{Node, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{self, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orknet_abi::{Address, RangeKey, protocol};
use std::net::IpAddr;

/// Label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label of a Service or slice that another proxy implements (KEP-2447): left alone.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Label of a headless Service and its slices: they have no front.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Label of a node with its zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// Default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

impl ObjectName {
    /// Name of a namespaced object.
    pub fn of(meta: &ObjectMeta, names: &mut Names) -> Self {
        Self {
            namespace: names.intern(meta.namespace.as_deref().unwrap_or_default()),
            name: meta.name.as_deref().unwrap_or_default().into(),
        }
    }
}

impl ServiceFacts {
    /// `None` for a Service that puts nothing into the maps: headless or ExternalName.
    pub fn of(service: &Service, names: &mut Names) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let texts = match &spec.cluster_ips {
            Some(list) if !list.is_empty() => list.iter().map(String::as_str).collect(),
            _ => spec.cluster_ip.as_deref().into_iter().collect::<Vec<_>>(),
        };
        let cluster_addresses: Box<[Address]> = texts.into_iter().filter_map(address).collect();
        if cluster_addresses.is_empty() {
            return None;
        }
        if has_label(&service.metadata, PROXY_NAME) {
            return Some(Self { cluster_addresses, is_foreign: true, ..Self::default() });
        }
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            Some(ServicePort {
                name: names.intern(port.name.as_deref().unwrap_or_default()),
                protocol: protocol_number(port.protocol.as_deref())?,
                port: port_number(port.port)?,
                node_port: if has_node_ports(spec) { port.node_port.and_then(port_number).unwrap_or(0) } else { 0 },
            })
        });
        let affinity = spec.session_affinity.as_deref() == Some("ClientIP");
        let seconds = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
        Some(Self {
            external: external(service, spec, &cluster_addresses).map(Box::new),
            cluster_addresses,
            ports: ports.collect(),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            affinity_seconds: if affinity { seconds.and_then(|s| u32::try_from(s).ok()).unwrap_or(DEFAULT_AFFINITY_SECONDS) } else { 0 },
            is_foreign: false,
        })
    }
}

impl SliceFacts {
    /// `None` for a slice that serves no Service of ours.
    pub fn of(slice: &EndpointSlice, names: &mut Names) -> Option<Self> {
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
        let wants_v4 = match slice.address_type.as_str() {
            "IPv4" => true,
            "IPv6" => false,
            _ => return None,
        };
        if service.is_empty() || has_label(&slice.metadata, PROXY_NAME) || has_label(&slice.metadata, HEADLESS) {
            return None;
        }
        // A port without a number means every port, which a Service cannot lead to.
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            Some(SlicePort {
                name: names.intern(port.name.as_deref().unwrap_or_default()),
                protocol: protocol_number(port.protocol.as_deref())?,
                port: port_number(port.port?)?,
            })
        });
        let ports = ports.collect();
        let endpoints = slice.endpoints.iter().filter_map(|endpoint| endpoint_facts(endpoint, wants_v4, names)).collect();
        Some(Self { service: service.as_str().into(), ports, endpoints })
    }
}

impl NodeFacts {
    /// The node that we are on.
    pub fn of(node: &Node, names: &mut Names) -> Self {
        let zone = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE)).filter(|zone| !zone.is_empty());
        let listed = || node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let of = |is_internal: bool| {
            let of_type = listed().filter(|listed| (listed.type_ == "InternalIP") == is_internal);
            let mut addresses: Vec<_> = of_type.filter_map(|listed| address(&listed.address)).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into()
        };
        Self {
            name: names.intern(node.metadata.name.as_deref().unwrap_or_default()),
            zone: zone.map(|zone| names.intern(zone)),
            addresses: of(true),
            other_addresses: of(false),
        }
    }
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
}

/// `None` for a Service that is only inside. `externalTrafficPolicy` counts for those that are not, whatever their type. A Service
/// has external addresses in the families of its cluster addresses only.
fn external(service: &Service, spec: &ServiceSpec, cluster_addresses: &[Address]) -> Option<ExternalFacts> {
    let is_balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let usable = |text: &str| external_address(text).filter(|address| cluster_addresses.iter().any(|own| own.is_v4() == address.is_v4()));
    let addresses: Box<[Address]> = spec.external_ips.iter().flatten().filter_map(|text| usable(text)).collect();
    if !has_node_ports(spec) && addresses.is_empty() {
        return None;
    }
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref()).unwrap_or_default();
    let to_nodes = ingress.iter().filter(|ingress| is_balanced && ingress.ip_mode.as_deref() != Some("Proxy"));
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    let sources = spec.load_balancer_source_ranges.as_deref().filter(|ranges| is_balanced && !ranges.is_empty()).map(|ranges| {
        let mut ranges: Vec<_> = ranges.iter().filter_map(|text| range(text)).collect();
        ranges.sort_unstable();
        ranges.dedup();
        ranges.into()
    });
    Some(ExternalFacts {
        balancer_addresses: to_nodes.filter_map(|ingress| usable(ingress.ip.as_deref()?)).collect(),
        addresses,
        local,
        sources,
        health_port: if is_balanced && local { spec.health_check_node_port.and_then(port_number).unwrap_or(0) } else { 0 },
    })
}

/// `10.0.0.0/8`, with blanks around it as older objects may have.
fn range(text: &str) -> Option<RangeKey> {
    let (prefix, bits) = text.trim().split_once('/')?;
    let prefix = IpAddr::from(address(prefix)?);
    let bits: u8 = bits.parse().ok().filter(|bits| *bits <= if prefix.is_ipv4() { 32 } else { 128 })?;
    Some(RangeKey::new(prefix, bits))
}

/// The first address counts; what more than one means is not defined by the API.
fn endpoint_facts(endpoint: &v1::Endpoint, wants_v4: bool, names: &mut Names) -> Option<Endpoint> {
    let address = endpoint.addresses.first().and_then(|text| address(text)).filter(|address| address.is_v4() == wants_v4)?;
    let hints = endpoint.hints.as_ref().map(|hints| Hints {
        zones: hints.for_zones.iter().flatten().map(|zone| names.intern(&zone.name)).collect(),
        nodes: hints.for_nodes.iter().flatten().map(|node| names.intern(&node.name)).collect(),
    });
    Some(Endpoint {
        address,
        node: endpoint.node_name.as_deref().map(|node| names.intern(node)),
        readiness: readiness(endpoint.conditions.as_ref()),
        hints: hints.filter(|hints| *hints != Hints::default()).map(Box::new),
    })
}

/// An absent `ready` or `serving` means yes, an absent `terminating` no (discovery/v1 EndpointConditions).
fn readiness(conditions: Option<&v1::EndpointConditions>) -> Readiness {
    let Some(conditions) = conditions else { return Readiness::Ready };
    if conditions.ready.unwrap_or(true) {
        Readiness::Ready
    } else if conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false) {
        Readiness::ServingTerminating
    } else {
        Readiness::No
    }
}

fn has_label(meta: &ObjectMeta, label: &str) -> bool {
    meta.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
}

/// IPv4 addresses written in mapped IPv6 form are refused: they would be taken for the other family.
fn address(text: &str) -> Option<Address> {
    match text.parse::<IpAddr>().ok()? {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        parsed => Some(parsed.into()),
    }
}

/// Addresses that mean something else to every host are never a Service's; the API server refuses them, too.
fn external_address(text: &str) -> Option<Address> {
    address(text).filter(|address| {
        let address = IpAddr::from(*address);
        !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
    })
}

fn protocol_number(name: Option<&str>) -> Option<u8> {
    match name {
        None | Some("TCP") => Some(protocol::TCP),
        Some("UDP") => Some(protocol::UDP),
        Some("SCTP") => Some(protocol::SCTP),
        Some(_) => None,
    }
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}
