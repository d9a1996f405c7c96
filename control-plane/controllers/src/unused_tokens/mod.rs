//! Tokens of Secrets that nobody has used for a year: first refused (a label says since when), after another year deleted, as with Kubernetes
//! (LegacyServiceAccountTokenCleanUp). Only those that were made with their account, which lists them under `secrets`; and none that a pod mounts or reads.
//! Watches ServiceAccounts and Secrets; looks once a day.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::ServiceAccount;
use orknet_reconciler::ObjectKey;

use crate::context::Context;
use reconcile::UnusedTokenController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches::<ObjectKey>();
    let accounts = watches.keyed(|account: &ServiceAccount| {
        account.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()).then(|| ObjectKey::of(&account.metadata))
    });
    let secrets = watches.read();
    let client = context.client_of("legacy-service-account-token-cleaner");
    context.start(watches, UnusedTokenController { client, reader: context.client.clone(), accounts, secrets }, 1);
}
