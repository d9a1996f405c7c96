//! Quotas: what a namespace uses of what is bounded (`v1 ResourceQuota`, status). The API server charges what is made, in the transaction that makes it;
//! here everything is counted anew when something went, ended or changed, and when a quota is new or bounds something else.
//!
//! Counted is what the API lists at the quota's version or later, and the result is written only if the quota still has that version. Whatever was made
//! meanwhile was charged, which gave the quota another version: a count never takes back what it has not seen.
//! Watches quotas and pods, and the metadata of all kinds.
//!
//! When is counted, and why that is enough and not too often:
//! - What is made or grows is in the charge: it is no reason to count. Nor is a change of what counts as one object, however it is changed.
//! - What goes, ends or shrinks is a reason ([`counts_less`], [`plan::gives_back`]), if it was known before. What is known is told of when it goes, also
//!   after a watch was interrupted, since lists are compared with what is known.
//! - What was made and went while a watch was interrupted is told of by nobody. That the watch has listed anew is a reason, therefore.
//! - A charge is one too, but a late one ([`AFTER_CHARGE`]): the watches of quotas and of the kind are different ones, and a kind may not be watched at all.
//!   However many charges there are, a quota is counted for them once in that time.
//! - Counting costs a list. Each quota is counted for a fifth of the time at most ([`pace`]); whatever comes in between is seen by the count after it.

mod pace;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use orknet_reconciler::{Change, Informer, ObjectKey, WorkQueue};

use crate::cluster_objects::{ClusterObjects, Event, Kind, Node};
use crate::context::Context;
use pace::Paces;
use reconcile::QuotaController;

/// How long after a charge everything is counted, in case what was charged for went without being told of.
const AFTER_CHARGE: Duration = Duration::from_secs(5);

/// Starts the controller.
pub(crate) fn start(context: &Context, objects: &Arc<ClusterObjects>) {
    let mut watches = context.watches();
    let quotas = watches.on_change(|change: &Change<ResourceQuota>, queue| {
        let Some(quota) = &change.new else { return };
        let key = ObjectKey::of(&quota.metadata);
        if plan::is_to_be_counted(change) {
            queue.add(key);
        } else if plan::is_charged(change.old.as_deref(), quota) {
            queue.add_after(key, AFTER_CHARGE);
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
        match event {
            Event::Removed(node) => wake_for(&of_all, &queue, node),
            Event::Changed { uid, is_new: false, .. } => {
                if let Some(node) = graph.get(uid).filter(|node| counts_less(&node.kind)) {
                    wake_for(&of_all, &queue, node);
                }
            }
            Event::Changed { is_new: true, .. } => {}
            Event::Listed(kind) => {
                // What went before was not told of, and may have been counted.
                let (group, plural) = (&kind.resource.group, &kind.resource.plural);
                of_all
                    .all()
                    .iter()
                    .filter(|quota| plan::bounds(quota, group, plural))
                    .for_each(|quota| queue.add(ObjectKey::of(&quota.metadata)));
            }
        }
    });
    let client = context.client_of("resourcequota-controller");
    let controller = QuotaController { client, quotas, objects: objects.clone(), paces: Paces::default() };
    context.start(watches, controller, 4);
}

/// Puts the namespace's quotas in line that bound something of the kind.
fn wake(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<ObjectKey>, group: &str, plural: &str, namespace: &str) {
    for quota in quotas.in_namespace(namespace) {
        if plan::bounds(&quota, group, plural) {
            queue.add(ObjectKey::of(&quota.metadata));
        }
    }
}

fn wake_for(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<ObjectKey>, node: &Node) {
    let resource = &node.kind.resource;
    wake(quotas, queue, &resource.group, &resource.plural, &node.key.namespace);
}

/// Whether an object of the kind may count for less than before while it stays. Pods may as well, and are looked at closer, by their own watch.
fn counts_less(kind: &Kind) -> bool {
    kind.resource.group.is_empty() && matches!(&kind.resource.plural[..], "services" | "persistentvolumeclaims")
}
