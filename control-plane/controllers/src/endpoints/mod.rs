//! Endpoints: the older list of a Service's addresses, one object per Service with a selector, for clients that do not read EndpointSlices.
//! Watches Services, Pods, and its own Endpoints (to put back what others change).

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use orknet_reconciler::ObjectKey;

use crate::context::Context;
use crate::endpoint_slice::TriggerTimes;
use reconcile::EndpointsController;

/// The label that tells our Endpoints from those that users make.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "endpoint-controller";

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let services = watches.own::<Service>();
    let pods = watches.selected(&services);
    let endpoints = watches.keyed(|own: &Endpoints| is_ours(own).then(|| ObjectKey::of(&own.metadata)));
    let controller = EndpointsController {
        client: context.client_of("endpoint-controller"),
        services,
        pods,
        endpoints,
        trigger_times: TriggerTimes::default(),
    };
    context.start(watches, controller, 8);
}

/// Whether this controller made the object.
pub(crate) fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == MANAGER)
}
