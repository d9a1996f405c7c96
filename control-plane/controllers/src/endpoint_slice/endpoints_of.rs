//! Pure: one pod as an endpoint of one Service, and the ports it serves there.

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orknet_reconciler::pod_state;

/// A Service's ports resolved for one pod: name, number, protocol, application protocol.
pub(crate) type PortSet = Vec<(String, i32, String, Option<String>)>;

/// Whether the pod belongs in a list of endpoints: it has an address and has not ended.
pub(crate) fn should_list(pod: &Pod) -> bool {
    !pod_state::is_terminal(pod) && pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).is_some_and(|ip| !ip.is_empty())
}

/// `spec.publishNotReadyAddresses`: every address counts as ready.
pub(crate) fn publishes_all(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The ports of the Service on this pod; one whose name the pod does not declare is left out.
pub(crate) fn ports_for(service: &Service, pod: &Pod) -> PortSet {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports
        .iter()
        .filter_map(|port| Some((port.name.clone().unwrap_or_default(), target(port, pod)?, protocol(port), port.app_protocol.clone())))
        .collect()
}

/// The pod as endpoint at its address of this family; `None` when it has none.
pub(super) fn endpoint(service: &Service, pod: &Pod, ipv6: bool, zone: Option<&str>) -> Option<Endpoint> {
    let spec = pod.spec.as_ref()?;
    let address = address_of(pod, ipv6)?;
    let publish = publishes_all(service);
    let terminating = pod_state::is_terminating(pod);
    let serving = pod_state::is_ready(pod);
    Some(Endpoint {
        addresses: vec![address.into()],
        conditions: Some(EndpointConditions {
            ready: Some(publish || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: host_name(service, pod),
        node_name: spec.node_name.clone(),
        target_ref: Some(reference_to(pod)),
        zone: zone.map(str::to_string),
        hints: hints(service, spec.node_name.as_deref(), zone, publish || serving && !terminating),
        deprecated_topology: None,
    })
}

/// The name by which the pod has a record of its own: `spec.hostname` of a pod whose `spec.subdomain` is the Service.
pub(crate) fn host_name(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let in_subdomain = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|hostname| !hostname.is_empty() && in_subdomain)
}

/// The pod as the target of an endpoint.
pub(crate) fn reference_to(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// A slice's port list.
pub(super) fn slice_ports(ports: &PortSet) -> Vec<EndpointPort> {
    ports
        .iter()
        .map(|(name, port, protocol, app_protocol)| EndpointPort {
            name: Some(name.clone()),
            port: Some(*port),
            protocol: Some(protocol.clone()),
            app_protocol: app_protocol.clone(),
        })
        .collect()
}

/// `spec.trafficDistribution`: which zones and nodes a ready endpoint is for (KEP-4444, KEP-3015).
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>, ready: bool) -> Option<EndpointHints> {
    let distribution = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let near_node = distribution == "PreferSameNode";
    if !ready || !(near_node || matches!(distribution, "PreferClose" | "PreferSameZone")) {
        return None;
    }
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.into() }]);
    let for_nodes = node.filter(|_| near_node).map(|node| vec![ForNode { name: node.into() }]);
    (for_zones.is_some() || for_nodes.is_some()).then_some(EndpointHints { for_nodes, for_zones })
}

/// The pod's address of a family: `status.podIPs`, or the older single field.
pub(crate) fn address_of(pod: &Pod, ipv6: bool) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).chain(status.pod_ip.as_deref());
    all.filter(|ip| !ip.is_empty()).find(|ip| ip.contains(':') == ipv6)
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => named(pod, name, &protocol(port)),
    }
}

fn named(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let found = ports.into_iter().find(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol);
    found.map(|port| port.container_port)
}

fn protocol(port: &ServicePort) -> String {
    port.protocol.clone().unwrap_or_else(|| "TCP".into())
}
