//! Namespace deletion: removes everything in a namespace that is being deleted, Pods before all else (their policies and configuration stay
//! until they have ended), then lets the namespace go. Watches Namespaces, and the metadata of all kinds to see when something went.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use orknet_reconciler::ObjectKey;

use crate::cluster_objects::{ClusterObjects, Event};
use crate::context::Context;
use reconcile::NamespaceController;

/// Starts the controller.
pub(crate) fn start(context: &Context, objects: &Arc<ClusterObjects>) {
    let mut watches = context.watches::<Arc<str>>();
    let ending = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
    let namespaces =
        watches.keyed(move |namespace: &Namespace| namespace.metadata.name.as_deref().filter(|_| ending(namespace)).map(Into::into));
    let (queue, known) = (watches.queue(), namespaces.clone());
    objects.on_event(move |_, event| {
        let Event::Removed(node) = event else { return };
        let namespace = known.get(&ObjectKey::new("", &node.key.namespace));
        if namespace.is_some_and(|namespace| ending(&namespace)) {
            queue.add(node.key.namespace.clone());
        }
    });
    context.start(
        watches,
        NamespaceController { client: context.client_of("namespace-controller"), namespaces, objects: objects.clone() },
        4,
    );
}
