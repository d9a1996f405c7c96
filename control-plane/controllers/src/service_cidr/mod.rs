//! Ranges and addresses of Services. A ServiceCIDR is held (finalizer `networking.k8s.io/service-cidr-finalizer`) until no address of it is used that
//! no other range contains, and says whether it gives addresses (condition `Ready`). Every cluster address of a Service has an IPAddress and every
//! IPAddress of the allocator has its Service: the API server writes both in one transaction, so what is put right here somebody else has changed,
//! or an older server has written. Watches ServiceCIDRs, IPAddresses and Services.
//!
//! Sources: `pkg/controller/servicecidrs`, `pkg/registry/core/service/ipallocator/controller` (names and words of the Events).

mod plan;
mod reconcile;
mod repair;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use orknet_reconciler::{Change, Informer, ObjectKey, Watches};

use crate::context::Context;
use reconcile::RangeController;
use repair::{AddressRepair, ServiceRepair};

/// Starts the three controllers.
pub(crate) fn start(context: &Context) {
    ranges(context);
    let client = context.client_of("orknet-address-repair-controller");
    let recorder = context.recorder("ipallocator-repair-controller", &client);

    let mut watches: Watches<ObjectKey> = context.watches();
    let services = watches.keyed(|service: &Service| Some(ObjectKey::of(&service.metadata)));
    let addresses = watches.keyed(plan::service_of);
    let ranges = watches.read();
    let repair = ServiceRepair { client: client.clone(), services, addresses, ranges, recorder: recorder.clone() };
    context.start(watches, repair, 2);

    let mut watches: Watches<ObjectKey> = context.watches();
    let addresses = watches.keyed(|address: &IPAddress| Some(ObjectKey::of(&address.metadata)));
    let services = watches.on_change(|change: &Change<Service>, queue| {
        // What it has given back, or left.
        if let Some(old) = &change.old {
            plan::cluster_ips(old).iter().for_each(|address| queue.add(ObjectKey::new("", address)));
        }
    });
    context.start(watches, AddressRepair { client, services, addresses, recorder }, 2);
}

fn ranges(context: &Context) {
    let mut watches: Watches<ObjectKey> = context.watches();
    let ranges: Arc<Informer<ServiceCIDR>> = watches.read();
    let known = ranges.clone();
    // One that comes may contain what holds another.
    watches.on_change(move |change: &Change<ServiceCIDR>, queue| {
        change.versions().for_each(|range| queue.add(ObjectKey::of(&range.metadata)));
        going(&known).for_each(|key| queue.add(key));
    });
    let known = ranges.clone();
    let addresses = watches.on_change(move |change: &Change<IPAddress>, queue| {
        if change.new.is_none() {
            going(&known).for_each(|key| queue.add(key));
        }
    });
    let client = context.client_of("service-cidrs-controller");
    let recorder = context.recorder("service-cidr-controller", &client);
    context.start(watches, RangeController { client, ranges, addresses, recorder }, 1);
}

/// The ranges that wait for their end.
fn going(ranges: &Informer<ServiceCIDR>) -> impl Iterator<Item = ObjectKey> {
    ranges.all().into_iter().filter(|range| range.metadata.deletion_timestamp.is_some()).map(|range| ObjectKey::of(&range.metadata))
}
