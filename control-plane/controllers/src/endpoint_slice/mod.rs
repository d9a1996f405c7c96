//! EndpointSlice: for every Service with a selector, slices that list the pods behind it. Watches Services (what is selected), Pods (addresses
//! and readiness), Nodes (zones) and its own EndpointSlices (to put back what others change).

mod endpoints_of;
mod packing;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;
mod trigger_time;
mod write;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use orknet_reconciler::ObjectKey;

pub(crate) use endpoints_of::{PortSet, address_of, host_name, ports_for, publishes_all, reference_to, should_list};
pub(crate) use trigger_time::{TriggerTimes, annotate};
pub(crate) use write::SliceChanges;

use crate::context::Context;
use reconcile::EndpointSliceController;

/// The value of the managed-by label on this controller's slices.
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let services = watches.own::<Service>();
    let pods = watches.selected(&services);
    let slices = watches.indexed(|slice: &EndpointSlice| service_of(slice, MANAGER));
    let all = services.clone();
    let nodes = watches.on_change(move |change, queue| {
        let zone = |node: Option<&Node>| node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
        if zone(change.old.as_deref()) != zone(change.new.as_deref()) {
            all.all().iter().for_each(|service| queue.add(ObjectKey::of(&service.metadata)));
        }
    });
    let controller = EndpointSliceController {
        client: context.client_of("endpointslice-controller"),
        services,
        pods,
        nodes,
        slices,
        trigger_times: TriggerTimes::default(),
    };
    context.start(watches, controller, 8);
}

/// The Service of a slice that `manager` manages.
pub(crate) fn service_of(slice: &EndpointSlice, manager: &str) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    let service = labels.get(SERVICE_NAME).filter(|_| labels.get(MANAGED_BY).is_some_and(|by| by == manager))?;
    Some(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service))
}
