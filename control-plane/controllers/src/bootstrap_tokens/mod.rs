//! Bootstrap tokens: those that have expired are deleted, and the ConfigMap `kube-public/cluster-info`, by which who joins knows the cluster, has the
//! signature of each that may sign. Watches Secrets (the tokens) and ConfigMaps (to sign what was changed).

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Secret;
use orknet_auth::bootstrap_tokens::{NAMESPACE, SECRET_TYPE};
use orknet_reconciler::{Change, ClusterInfo, ObjectKey};

use crate::context::Context;
use plan::PUBLIC;
use reconcile::BootstrapTokenController;

/// One unit of work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Look whether a token has expired.
    Token(ObjectKey),
    /// Sign `cluster-info`.
    Sign,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    // One that was never there wakes nobody.
    watches.queue().add(Work::Sign);
    let secrets = watches.on_change(|change: &Change<Secret>, queue| {
        if change.versions().any(|secret| is_token(secret)) {
            queue.add(Work::Sign);
        }
        if let Some(secret) = change.new.as_ref().filter(|secret| is_token(secret)) {
            queue.add(Work::Token(ObjectKey::of(&secret.metadata)));
        }
    });
    watches.keyed(|map: &ClusterInfo| (map.0.metadata.namespace.as_deref() == Some(PUBLIC)).then_some(Work::Sign));
    let controller = BootstrapTokenController {
        signer: context.client_of("bootstrap-signer"),
        cleaner: context.client_of("token-cleaner"),
        cluster: context.config.cluster_info(),
        secrets,
    };
    context.start(watches, controller, 1);
}

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(SECRET_TYPE) && secret.metadata.namespace.as_deref() == Some(NAMESPACE)
}
