//! Namespace deletion: removes everything in a namespace that is being deleted, Pods before all else (their policies and configuration stay
//! until they have ended), then lets the namespace go. Watches Namespaces, and the metadata of all kinds to see when something went.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use orknet_reconciler::{ObjectKey, WorkQueue};

use crate::cluster_objects::{ClusterObjects, Event};
use crate::context::{Context, synced};
use reconcile::NamespaceController;

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context, objects: &Arc<ClusterObjects>) {
    let namespaces = context.informers.of::<Namespace>();
    let queue: WorkQueue<Arc<str>> = WorkQueue::new();
    let on_change = queue.clone();
    namespaces.on_change(move |change| {
        if let Some(namespace) = change.new.as_ref().filter(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            on_change.add(namespace.metadata.name.as_deref().unwrap_or_default().into());
        }
    });
    let (on_event, known) = (queue.clone(), namespaces.clone());
    objects.on_event(move |_, event| {
        let Event::Removed(node) = event else { return };
        let namespace = known.get(&ObjectKey::new("", &node.key.namespace));
        if namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            on_event.add(node.key.namespace.clone());
        }
    });
    let waits = vec![synced(&namespaces)];
    let controller = NamespaceController { client: context.client.clone(), namespaces, objects: objects.clone() };
    context.spawn(controller, queue, CONCURRENCY, waits);
}
