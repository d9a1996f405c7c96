//! EndpointSlice: for every Service with a selector, slices that list the pods behind it. Watches Services (what is selected), Pods (addresses
//! and readiness), Nodes (zones) and its own EndpointSlices (to put back what others change).

mod endpoints_of;
mod packing;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use orknet_reconciler::{Informer, ObjectKey, WorkQueue, selector};

pub(crate) use endpoints_of::{PortSet, address_of, ports_for, should_list};

use crate::context::{Context, synced};
use reconcile::EndpointSliceController;

/// The value of the managed-by label on this controller's slices.
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

const CONCURRENCY: usize = 8;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let services = context.informers.of::<Service>();
    let pods = context.informers.of::<Pod>();
    let nodes = context.informers.of::<Node>();
    let slices = context.informers.of::<EndpointSlice>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    services.on_change(move |change| change.versions().for_each(|service| on_change.add(ObjectKey::of(&service.metadata))));
    let (on_change, selecting) = (queue.clone(), services.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake_selecting(&on_change, &selecting, pod)));
    let on_change = queue.clone();
    slices.on_change(move |change| change.versions().filter_map(|slice| service_of(slice)).for_each(|key| on_change.add(key)));
    let (on_change, all) = (queue.clone(), services.clone());
    nodes.on_change(move |change| {
        let zone = |node: Option<&Node>| node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
        if zone(change.old.as_deref()) != zone(change.new.as_deref()) {
            all.all().iter().for_each(|service| on_change.add(ObjectKey::of(&service.metadata)));
        }
    });
    let waits = vec![synced(&services), synced(&pods), synced(&nodes), synced(&slices)];
    let controller = EndpointSliceController { client: context.client.clone(), services, pods, nodes, slices };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

/// Puts every Service that selects the pod in line.
pub(crate) fn wake_selecting(queue: &WorkQueue<ObjectKey>, services: &Informer<Service>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for service in services.in_namespace(namespace) {
        let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if wanted.is_some_and(|wanted| !wanted.is_empty() && selector::matches_map(wanted, pod.metadata.labels.as_ref())) {
            queue.add(ObjectKey::of(&service.metadata));
        }
    }
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
        return None;
    }
    Some(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), labels.get(SERVICE_NAME)?))
}
