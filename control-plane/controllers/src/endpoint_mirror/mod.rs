//! Endpoint mirroring: Endpoints that users write for Services without a selector appear as EndpointSlices too, which is all that the data plane
//! reads. Watches Endpoints, Services (whether there is one without selector) and the mirrored EndpointSlices.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::context::Context;
use crate::endpoint_slice::service_of;
use reconcile::MirrorController;

/// The value of the managed-by label on mirrored slices.
pub(crate) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";

/// Starts the controller. Endpoints and the Service that they are for have the same name.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let endpoints = watches.own::<Endpoints>();
    let services = watches.own::<Service>();
    let slices = watches.indexed(|slice: &EndpointSlice| service_of(slice, MANAGER));
    context.start(
        watches,
        MirrorController { client: context.client_of("endpointslicemirroring-controller"), endpoints, services, slices },
        4,
    );
}
