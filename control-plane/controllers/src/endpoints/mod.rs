//! Endpoints: the older list of a Service's addresses, one object per Service with a selector, for clients that do not read EndpointSlices.
//! Watches Services, Pods, and its own Endpoints (to put back what others change).

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use orknet_reconciler::{ObjectKey, WorkQueue};

use crate::context::{Context, synced};
use crate::endpoint_slice::wake_selecting;
use reconcile::EndpointsController;

/// The label that tells our Endpoints from those that users make.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "endpoint-controller";

const CONCURRENCY: usize = 8;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let services = context.informers.of::<Service>();
    let pods = context.informers.of::<Pod>();
    let endpoints = context.informers.of::<Endpoints>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    services.on_change(move |change| change.versions().for_each(|service| on_change.add(ObjectKey::of(&service.metadata))));
    let (on_change, selecting) = (queue.clone(), services.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake_selecting(&on_change, &selecting, pod)));
    let on_change = queue.clone();
    endpoints
        .on_change(move |change| change.versions().filter(|own| is_ours(own)).for_each(|own| on_change.add(ObjectKey::of(&own.metadata))));
    let waits = vec![synced(&services), synced(&pods), synced(&endpoints)];
    let controller = EndpointsController { client: context.client.clone(), services, pods, endpoints };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

/// Whether this controller made the object.
pub(crate) fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == MANAGER)
}
