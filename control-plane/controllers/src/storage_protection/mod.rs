//! Claims that a pod uses and volumes that are bound stay until they are not (finalizers `kubernetes.io/pvc-protection` and `…/pv-protection`, which the
//! API server's admission sets). Watches claims and pods, and volumes.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use orknet_reconciler::{Change, ObjectKey};

use crate::context::Context;
use reconcile::{ClaimProtection, VolumeProtection};

/// Starts both controllers.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let claims = watches
        .keyed(|claim: &PersistentVolumeClaim| plan::is_due(&claim.metadata, plan::OF_CLAIMS).then(|| ObjectKey::of(&claim.metadata)));
    let pods = watches.on_change(|change: &Change<Pod>, queue| {
        // While a pod runs, it lets nothing go.
        let lets_go = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
        if change.new.as_ref().is_none_or(|pod| lets_go(pod)) {
            for pod in change.versions() {
                plan::claims_of(pod).into_iter().for_each(|claim| queue.add(claim));
            }
        }
    });
    context.start(watches, ClaimProtection { client: context.client_of("pvc-protection-controller"), claims, pods }, 2);
    let mut watches = context.watches();
    let volumes = watches
        .keyed(|volume: &PersistentVolume| plan::is_due(&volume.metadata, plan::OF_VOLUMES).then(|| ObjectKey::of(&volume.metadata)));
    context.start(watches, VolumeProtection { client: context.client_of("pv-protection-controller"), volumes }, 1);
}
