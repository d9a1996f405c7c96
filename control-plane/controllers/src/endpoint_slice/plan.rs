//! Pure: a Service, the pods it selects and the slices that exist in; slices to create, replace and delete out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state;

use super::endpoints_of::{PortSet, endpoint, ports_for, publishes_all, should_list, slice_ports};
use super::packing::pack;
use super::{HEADLESS, MANAGED_BY, MANAGER, SERVICE_NAME, SliceChanges, annotate};
use crate::ownership::controller_reference;

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub service: &'a Service,
    /// The pods that the Service selects.
    pub pods: Vec<Arc<Pod>>,
    /// The slices of this Service that this controller manages.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The zones of the nodes that there are, by name. A pod on another node counts for nothing unless the Service publishes all addresses.
    pub zones: HashMap<String, Option<String>>,
    /// The time of the change that is being written.
    pub trigger: Option<Timestamp>,
}

pub(super) fn plan(observed: &Observed<'_>) -> SliceChanges {
    let mut plan = SliceChanges::default();
    let families = families(observed.service);
    let known = |slice: &&Arc<EndpointSlice>| families.iter().any(|ipv6| address_type(*ipv6) == slice.address_type);
    plan.delete.extend(observed.slices.iter().filter(|slice| !known(slice)).cloned());
    for ipv6 in families {
        plan_family(observed, ipv6, &mut plan);
    }
    plan
}

/// The labels that every slice of the Service carries: its own, and who manages it for what.
pub(super) fn slice_labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

fn plan_family(observed: &Observed<'_>, ipv6: bool, plan: &mut SliceChanges) {
    let service = observed.service;
    let mut wanted: BTreeMap<PortSet, Vec<Endpoint>> = BTreeMap::new();
    for pod in observed.pods.iter().filter(|pod| should_list(pod)) {
        let zone = match pod_state::node_of(pod) {
            Some(node) => match observed.zones.get(node) {
                Some(zone) => zone.as_deref(),
                None if publishes_all(service) => None,
                None => continue,
            },
            None => None,
        };
        if let Some(endpoint) = endpoint(service, pod, ipv6, zone) {
            wanted.entry(ports_for(service, pod)).or_default().push(endpoint);
        }
    }
    let mut existing: HashMap<PortSet, Vec<&Arc<EndpointSlice>>> = HashMap::new();
    for slice in observed.slices.iter().filter(|slice| slice.address_type == address_type(ipv6)) {
        existing.entry(ports_of(slice)).or_default().push(slice);
    }
    let nothing_wanted = wanted.is_empty();
    let mut spare = Vec::new();
    let mut draft = SliceChanges::default();
    for (ports, endpoints) in wanted {
        let slices = existing.remove(&ports).unwrap_or_default();
        let inputs: Vec<_> = slices.iter().enumerate().map(|(index, slice)| (index, slice.endpoints.as_slice())).collect();
        let packed = pack(&inputs, endpoints);
        for (index, endpoints) in packed.changed {
            draft.replace.push(version_of(observed, slices[index], &ports, endpoints));
        }
        for index in packed.kept {
            if !is_marked(service, slices[index]) {
                draft.replace.push(version_of(observed, slices[index], &ports, slices[index].endpoints.clone()));
            }
        }
        spare.extend(packed.emptied.into_iter().map(|index| slices[index].clone()));
        draft.create.extend(packed.created.into_iter().map(|endpoints| new_slice(observed, ipv6, &ports, endpoints)));
    }
    spare.extend(existing.into_values().flatten().cloned());
    spare.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    if nothing_wanted {
        keep_placeholder(observed, ipv6, &mut spare, &mut draft);
    }
    // A slice that would be deleted takes the place of one that would be created: one write instead of two.
    while !spare.is_empty()
        && let Some(slice) = draft.create.pop()
    {
        let old = spare.remove(0);
        draft.replace.push(EndpointSlice { metadata: carried_over(observed, &old), ..slice });
    }
    plan.create.append(&mut draft.create);
    plan.replace.append(&mut draft.replace);
    plan.delete.append(&mut spare);
}

/// A Service without endpoints still has one empty slice per family.
fn keep_placeholder(observed: &Observed<'_>, ipv6: bool, spare: &mut Vec<Arc<EndpointSlice>>, draft: &mut SliceChanges) {
    let is_placeholder = |slice: &Arc<EndpointSlice>| {
        slice.endpoints.is_empty() && slice.ports.as_ref().is_none_or(Vec::is_empty) && is_marked(observed.service, slice)
    };
    match spare.iter().position(is_placeholder) {
        Some(position) => {
            spare.remove(position);
        }
        None => draft.create.push(new_slice(observed, ipv6, &Vec::new(), Vec::new())),
    }
}

fn new_slice(observed: &Observed<'_>, ipv6: bool, ports: &PortSet, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let service = observed.service;
    let mut annotations = None;
    annotate(&mut annotations, observed.trigger);
    EndpointSlice {
        address_type: address_type(ipv6).into(),
        endpoints,
        ports: Some(slice_ports(ports)),
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.metadata.name.as_deref().unwrap_or_default())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(slice_labels(service)),
            annotations,
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
    }
}

fn version_of(observed: &Observed<'_>, slice: &EndpointSlice, ports: &PortSet, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let metadata = carried_over(observed, slice);
    EndpointSlice { address_type: slice.address_type.clone(), endpoints, ports: Some(slice_ports(ports)), metadata }
}

/// An existing slice's metadata, made that of the Service: one that a Service of the same name left behind is taken over, before it is
/// collected as an orphan.
fn carried_over(observed: &Observed<'_>, slice: &EndpointSlice) -> ObjectMeta {
    let mut annotations = slice.metadata.annotations.clone();
    annotate(&mut annotations, observed.trigger);
    let owner_references = Some(vec![controller_reference(observed.service)]);
    ObjectMeta { labels: Some(slice_labels(observed.service)), annotations, owner_references, ..slice.metadata.clone() }
}

/// Whether the slice has the Service's labels and is this Service's own.
fn is_marked(service: &Service, slice: &EndpointSlice) -> bool {
    slice.metadata.labels.as_ref() == Some(&slice_labels(service))
        && pod_state::is_controlled_by(&slice.metadata, service.metadata.uid.as_deref().unwrap_or_default())
}

fn ports_of(slice: &EndpointSlice) -> PortSet {
    let ports = slice.ports.as_deref().unwrap_or_default();
    ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            (port.name.clone().unwrap_or_default(), port.port.unwrap_or(0), protocol, port.app_protocol.clone())
        })
        .collect()
}

/// The Service's families, IPv4 when it names none; true is IPv6.
fn families(service: &Service) -> Vec<bool> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    if families.is_empty() { vec![false] } else { families.iter().map(|family| family == "IPv6").collect() }
}

fn address_type(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}
