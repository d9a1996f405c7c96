//! Pure: a Service and its pods in, the Endpoints object out.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state;

use super::{MANAGED_BY, MANAGER};
use crate::endpoint_slice::{HEADLESS, PortSet, address_of, annotate, host_name, ports_for, publishes_all, reference_to, should_list};

/// More addresses than these are cut off, and the object says so in an annotation.
const MOST_ADDRESSES: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// The object as it should be; `present` lends the metadata that others own; `trigger` is the time of the change that is
/// being written.
pub(super) fn desired(service: &Service, pods: &[Arc<Pod>], present: Option<&Endpoints>, trigger: Option<Timestamp>) -> Endpoints {
    let spec = service.spec.as_ref();
    let publish = publishes_all(service);
    let ipv6 = spec.and_then(|spec| spec.ip_families.as_ref()).and_then(|families| families.first()).is_some_and(|first| first == "IPv6");
    let listed = |pod: &&Arc<Pod>| should_list(pod) && (publish || !pod_state::is_terminating(pod));
    let mut by_ports: BTreeMap<PortSet, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    let mut left = MOST_ADDRESSES;
    let mut over_capacity = false;
    // Ready ones first: they are the last to be cut off.
    let (ready, unready): (Vec<_>, Vec<_>) = pods.iter().filter(listed).partition(|pod| publish || pod_state::is_ready(pod));
    for (pod, ready) in ready.into_iter().map(|pod| (pod, true)).chain(unready.into_iter().map(|pod| (pod, false))) {
        let Some(address) = address(service, pod, ipv6) else { continue };
        if left == 0 {
            over_capacity = true;
            break;
        }
        let ports = ports_for(service, pod);
        if ports.is_empty() && spec.and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| !ports.is_empty()) {
            // None of the Service's ports is served here.
            continue;
        }
        left -= 1;
        let subset = by_ports.entry(ports).or_default();
        if ready { subset.0.push(address) } else { subset.1.push(address) }
    }
    Endpoints { metadata: metadata(service, present, over_capacity, trigger), subsets: subsets(by_ports) }
}

/// Whether the stored object already says all of it.
pub(super) fn is_same(present: &Endpoints, desired: &Endpoints) -> bool {
    let subsets = |endpoints: &Endpoints| endpoints.subsets.clone().filter(|subsets| !subsets.is_empty());
    let annotation = |endpoints: &Endpoints| endpoints.metadata.annotations.as_ref().and_then(|all| all.get(OVER_CAPACITY)).cloned();
    subsets(present) == subsets(desired) && present.metadata.labels == desired.metadata.labels && annotation(present) == annotation(desired)
}

fn metadata(service: &Service, present: Option<&Endpoints>, over_capacity: bool, trigger: Option<Timestamp>) -> ObjectMeta {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut metadata = present.map(|present| present.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        ..ObjectMeta::default()
    });
    metadata.labels = Some(labels);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    if over_capacity {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    annotate(&mut metadata.annotations, trigger);
    metadata
}

fn subsets(by_ports: BTreeMap<PortSet, (Vec<EndpointAddress>, Vec<EndpointAddress>)>) -> Option<Vec<EndpointSubset>> {
    let list = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by(|one, other| one.ip.cmp(&other.ip));
        Some(addresses).filter(|addresses| !addresses.is_empty())
    };
    let port = |(name, port, protocol, app_protocol): (String, i32, String, Option<String>)| EndpointPort {
        name: Some(name).filter(|name| !name.is_empty()),
        port,
        protocol: Some(protocol),
        app_protocol,
    };
    let subset = |(ports, (ready, unready)): (PortSet, _)| EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(unready),
        ports: Some(ports.into_iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
    };
    Some(by_ports.into_iter().map(subset).collect::<Vec<_>>()).filter(|subsets| !subsets.is_empty())
}

fn address(service: &Service, pod: &Pod, ipv6: bool) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: address_of(pod, ipv6)?.into(),
        hostname: host_name(service, pod),
        node_name: pod_state::node_of(pod).map(str::to_string),
        target_ref: Some(reference_to(pod)),
    })
}
