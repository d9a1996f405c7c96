//! Pure: custom Endpoints in, the slices that mirror them out: one per subset and family.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::MANAGER;
use crate::endpoint_slice::{MANAGED_BY, SERVICE_NAME, SliceChanges};
use crate::endpoints;
use crate::ownership::controller_reference;

/// At most so many addresses of one subset are mirrored.
const MOST_PER_SUBSET: usize = 1000;
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotations that speak of the Endpoints object itself.
const NOT_MIRRORED: [&str; 2] = ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// `slices` are the mirrors that exist.
pub(super) fn plan(endpoints: Option<&Endpoints>, service: Option<&Service>, slices: Vec<Arc<EndpointSlice>>) -> SliceChanges {
    let mut plan = SliceChanges::default();
    let mut left = slices;
    let wanted = endpoints.filter(|endpoints| is_mirrored(endpoints, service));
    for desired in wanted.into_iter().flat_map(mirrors) {
        let alike = |slice: &Arc<EndpointSlice>| slice.address_type == desired.address_type && ports(slice) == ports(&desired);
        let Some(position) = left.iter().position(alike) else {
            plan.create.push(desired);
            continue;
        };
        let present = left.remove(position);
        let (own, wanted) = (&present.metadata, &desired.metadata);
        let same_metadata =
            own.labels == wanted.labels && own.annotations == wanted.annotations && own.owner_references == wanted.owner_references;
        if present.endpoints != desired.endpoints || !same_metadata {
            let ObjectMeta { labels, annotations, owner_references, .. } = wanted.clone();
            let metadata = ObjectMeta { labels, annotations, owner_references, ..own.clone() };
            plan.replace.push(EndpointSlice { metadata, ..desired });
        }
    }
    plan.delete = left;
    plan
}

/// Only Endpoints of a Service without selector, not made by a controller, not opted out, and no leader-election records.
fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    let opted_out = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|skip| skip == "true");
    let leader = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    let free = service.and_then(|service| service.spec.as_ref()).is_some_and(|spec| {
        spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) && spec.type_.as_deref() != Some("ExternalName")
    });
    free && !opted_out && !leader && !endpoints::is_ours(endpoints) && meta.deletion_timestamp.is_none()
}

fn mirrors(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut mirrors = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for ipv6 in [false, true] {
            let ready = list(&subset.addresses, ipv6, true);
            let unready = list(&subset.not_ready_addresses, ipv6, false);
            let all: Vec<_> = ready.chain(unready).take(MOST_PER_SUBSET).collect();
            if !all.is_empty() {
                mirrors.push(mirror(endpoints, subset, ipv6, all));
            }
        }
    }
    mirrors
}

fn list(addresses: &Option<Vec<EndpointAddress>>, ipv6: bool, ready: bool) -> impl Iterator<Item = Endpoint> {
    let of_family = move |address: &&EndpointAddress| address.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == ipv6);
    addresses.iter().flatten().filter(of_family).map(move |address| Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    })
}

fn mirror(endpoints: &Endpoints, subset: &EndpointSubset, ipv6: bool, list: Vec<Endpoint>) -> EndpointSlice {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), name.clone());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_MIRRORED.contains(&key.as_str()));
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        address_type: if ipv6 { "IPv6" } else { "IPv4" }.into(),
        endpoints: list,
        ports: Some(ports.collect()),
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
    }
}

fn ports(slice: &EndpointSlice) -> &[EndpointPort] {
    slice.ports.as_deref().unwrap_or_default()
}
