//! Quotas: what a namespace uses of what is bounded (`v1 ResourceQuota`, status). The API server charges what is made, in the transaction that makes it;
//! here everything is counted anew when something went, ended or changed, and when a quota is new or bounds something else.
//!
//! Counted is what the API lists at the quota's version or later, and the result is written only if the quota still has that version. Whatever was made
//! meanwhile was charged, which gave the quota another version: a count never takes back what it has not seen.
//! Watches quotas and pods, and the metadata of all kinds.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use orknet_reconciler::{Change, Informer, ObjectKey, WorkQueue};

use crate::cluster_objects::{ClusterObjects, Event, Kind};
use crate::context::Context;
use reconcile::QuotaController;

/// Starts the controller.
pub(crate) fn start(context: &Context, objects: &Arc<ClusterObjects>) {
    let mut watches = context.watches();
    // With every charge as well: what was made and went at once may be told by no change of its own.
    let quotas = watches.on_change(|change: &Change<ResourceQuota>, queue| {
        if let Some(quota) = change.new.as_ref().filter(|new| plan::is_to_be_counted(change) || is_charged(change.old.as_deref(), new)) {
            queue.add(ObjectKey::of(&quota.metadata));
        }
    });
    let of_pods = quotas.clone();
    watches.on_change(move |change: &Change<Pod>, queue| {
        if let Some(pod) = change.old.as_ref().filter(|_| plan::gives_back(change)) {
            wake(&of_pods, queue, "", "pods", pod.metadata.namespace.as_deref().unwrap_or_default());
        }
    });
    let (queue, of_all) = (watches.queue(), quotas.clone());
    objects.on_event(move |graph, event| {
        let node = match event {
            Event::Removed(node) => Some(node),
            Event::Changed { uid, .. } => graph.get(uid),
            Event::Listed(kind) => {
                // What went before was not told of, and may have been counted.
                let (group, plural) = (&kind.resource.group, &kind.resource.plural);
                of_all
                    .all()
                    .iter()
                    .filter(|quota| plan::bounds(quota, group, plural))
                    .for_each(|quota| queue.add(ObjectKey::of(&quota.metadata)));
                None
            }
        };
        // Pods come and change without giving anything back, or are seen to, above.
        if let Some(node) = node.filter(|node| !is_pod(&node.kind)) {
            let resource = &node.kind.resource;
            wake(&of_all, &queue, &resource.group, &resource.plural, &node.key.namespace);
        }
    });
    let controller = QuotaController { client: context.client_of("resourcequota-controller"), quotas, objects: objects.clone() };
    context.start(watches, controller, 4);
}

fn is_charged(old: Option<&ResourceQuota>, new: &ResourceQuota) -> bool {
    let used = |quota: &ResourceQuota| quota.status.as_ref().and_then(|status| status.used.clone());
    old.is_none_or(|old| used(old) != used(new))
}

/// Puts the namespace's quotas in line that bound something of the kind.
fn wake(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<ObjectKey>, group: &str, plural: &str, namespace: &str) {
    for quota in quotas.in_namespace(namespace) {
        if plan::bounds(&quota, group, plural) {
            queue.add(ObjectKey::of(&quota.metadata));
        }
    }
}

fn is_pod(kind: &Kind) -> bool {
    kind.resource.group.is_empty() && kind.resource.plural == "pods"
}
