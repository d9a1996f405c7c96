//! Service accounts: every live namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt` that pods mount to know
//! the API server. Watches Namespaces (what must have them), ServiceAccounts and ConfigMaps (to put back what was removed or changed).

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::ResourceExt;

use crate::context::Context;
use plan::{DEFAULT_ACCOUNT, ROOT_CA};
use reconcile::ServiceAccountController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches::<Arc<str>>();
    let namespaces = watches.keyed(|namespace: &Namespace| Some(namespace.name_any().into()));
    let accounts = watches.keyed(|account: &ServiceAccount| named(account, DEFAULT_ACCOUNT));
    let config_maps = watches.keyed(|map: &ConfigMap| named(map, ROOT_CA));
    let controller = ServiceAccountController {
        client: context.client_of("service-account-controller"),
        publisher: context.client_of("root-ca-cert-publisher"),
        root_ca: context.config.root_ca_pem.clone(),
        namespaces,
        accounts,
        config_maps,
    };
    context.start(watches, controller, 4);
}

/// The namespace of an object, if the object is called so.
fn named<K: ResourceExt>(object: &K, name: &str) -> Option<Arc<str>> {
    (object.meta().name.as_deref() == Some(name)).then(|| object.namespace().unwrap_or_default().into())
}
