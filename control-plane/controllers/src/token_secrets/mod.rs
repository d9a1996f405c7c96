//! Secrets of type `kubernetes.io/service-account-token`: filled with a token of the account that they name, the cluster's certificate and their namespace,
//! and deleted with the account. Watches Secrets and ServiceAccounts. The tokens are good for as long as their Secret holds them (see the API server's
//! `access/legacy.rs`); [`crate::unused_tokens`] cleans up.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use orknet_auth::tokens::SECRET_TYPE;
use orknet_reconciler::{Change, ObjectKey};

use crate::context::Context;
use reconcile::TokenSecretController;

/// Starts the controller, where there is a key to sign with.
pub(crate) fn start(context: &Context) {
    let Some(issuer) = context.config.token_issuer.clone() else { return };
    let mut watches = context.watches::<ObjectKey>();
    let secrets = watches.keyed(|secret: &Secret| is_token(secret).then(|| ObjectKey::of(&secret.metadata)));
    let known = secrets.clone();
    let accounts = watches.on_change(move |change: &Change<ServiceAccount>, queue| {
        let Some(account) = change.versions().last() else { return };
        let (namespace, name) = (account.metadata.namespace.as_deref().unwrap_or_default(), account.metadata.name.as_deref());
        for secret in known.in_namespace(namespace).iter().filter(|secret| is_token(secret) && plan::account_of(secret) == name) {
            queue.add(ObjectKey::of(&secret.metadata));
        }
    });
    // As the account of all controllers together, as in Kubernetes: its role says so.
    let (client, root_ca) = (context.client.clone(), context.config.root_ca_pem.clone());
    context.start(watches, TokenSecretController { client, issuer, root_ca, secrets, accounts }, 2);
}

pub(crate) fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(SECRET_TYPE)
}
