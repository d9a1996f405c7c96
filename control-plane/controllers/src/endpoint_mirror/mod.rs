//! Endpoint mirroring: Endpoints that users write for Services without a selector appear as EndpointSlices too, which is all that the data plane
//! reads. Watches Endpoints, Services (whether there is one without selector) and the mirrored EndpointSlices.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use orknet_reconciler::{ObjectKey, WorkQueue};

use crate::context::{Context, synced};
use crate::endpoint_slice::{MANAGED_BY, SERVICE_NAME};
use reconcile::MirrorController;

/// The value of the managed-by label on mirrored slices.
pub(crate) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let endpoints = context.informers.of::<Endpoints>();
    let services = context.informers.of::<Service>();
    let slices = context.informers.of::<EndpointSlice>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    endpoints.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let on_change = queue.clone();
    services.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let on_change = queue.clone();
    slices.on_change(move |change| change.versions().filter_map(|slice| mirrored(slice)).for_each(|key| on_change.add(key)));
    let waits = vec![synced(&endpoints), synced(&services), synced(&slices)];
    let controller = MirrorController { client: context.client.clone(), endpoints, services, slices };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

/// The Endpoints of which this slice is a mirror.
fn mirrored(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
        return None;
    }
    Some(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), labels.get(SERVICE_NAME)?))
}
