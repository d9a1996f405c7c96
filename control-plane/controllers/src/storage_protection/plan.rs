//! Pure: who uses what, and whether it is held.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orknet_reconciler::ObjectKey;
use orknet_reconciler::pod_state::is_controlled_by;

pub(super) const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
pub(super) const OF_VOLUMES: &str = "kubernetes.io/pv-protection";

/// Whether there is something to do about the finalizer: the object goes and has it, or stays and does not.
pub(super) fn is_due(meta: &ObjectMeta, finalizer: &str) -> bool {
    let has = meta.finalizers.iter().flatten().any(|present| present == finalizer);
    has == meta.deletion_timestamp.is_some()
}

/// The finalizers that the object is to have, `None` for those that it has.
pub(super) fn finalizers(meta: &ObjectMeta, finalizer: &str, is_used: bool) -> Option<Vec<String>> {
    let present = meta.finalizers.clone().unwrap_or_default();
    if !is_due(meta, finalizer) {
        return None;
    }
    match meta.deletion_timestamp {
        // Made before there was admission for it.
        None => Some(present.into_iter().chain([finalizer.to_owned()]).collect()),
        Some(_) if is_used => None,
        Some(_) => Some(present.into_iter().filter(|present| present != finalizer).collect()),
    }
}

/// Whether the pod uses the claim. One that has no node yet does not: no node begins a pod whose claim is going.
pub(super) fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty())) else { return false };
    let own = is_controlled_by(&claim.metadata, pod.metadata.uid.as_deref().unwrap_or_default());
    // Its node is done with it: what it made for itself may go before it does.
    let is_over = pod.metadata.deletion_timestamp.is_some() && pod.metadata.deletion_grace_period_seconds == Some(0);
    spec.volumes.iter().flatten().any(|volume| {
        let named = claim_name(pod, volume) == claim.metadata.name;
        named && (volume.persistent_volume_claim.is_some() || (volume.ephemeral.is_some() && own && !is_over))
    })
}

/// Whether a claim has the volume.
pub(super) fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// The claims that a pod names or makes.
pub(super) fn claims_of(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(ObjectKey::new(namespace, &claim_name(pod, volume)?))).collect()
}

/// A claim that is made for a pod's volume is called `<pod>-<volume>`.
fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name)),
        (None, None) => None,
    }
}
