//! Service accounts: every live namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt` that pods mount to know
//! the API server. Watches Namespaces (what must have them), ServiceAccounts and ConfigMaps (to put back what was removed or changed).

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::ResourceExt;
use orknet_reconciler::WorkQueue;

use crate::context::{Context, synced};
use plan::{DEFAULT_ACCOUNT, ROOT_CA};
use reconcile::ServiceAccountController;

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let namespaces = context.informers.of::<Namespace>();
    let accounts = context.informers.of::<ServiceAccount>();
    let config_maps = context.informers.of::<ConfigMap>();
    let queue: WorkQueue<Arc<str>> = WorkQueue::new();
    let on_change = queue.clone();
    namespaces.on_change(move |change| change.new.iter().for_each(|namespace| on_change.add(namespace.name_any().into())));
    let on_change = queue.clone();
    accounts.on_change(move |change| {
        if let (Some(gone), None) = (&change.old, &change.new)
            && gone.metadata.name.as_deref() == Some(DEFAULT_ACCOUNT)
        {
            on_change.add(gone.namespace().unwrap_or_default().into());
        }
    });
    let on_change = queue.clone();
    config_maps.on_change(move |change| {
        let root_cas = change.versions().filter(|map| map.metadata.name.as_deref() == Some(ROOT_CA));
        root_cas.for_each(|map| on_change.add(map.namespace().unwrap_or_default().into()));
    });
    let waits = vec![synced(&namespaces), synced(&accounts), synced(&config_maps)];
    let controller = ServiceAccountController {
        client: context.client.clone(),
        root_ca: context.config.root_ca_pem.clone(),
        namespaces,
        accounts,
        config_maps,
    };
    context.spawn(controller, queue, CONCURRENCY, waits);
}
