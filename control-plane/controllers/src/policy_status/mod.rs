//! Type checking of ValidatingAdmissionPolicies: what would be wrong with their expressions for the kinds that they match goes into
//! `status.typeChecking`, and for which generation that is into `status.observedGeneration`, as Kubernetes' `validatingadmissionpolicy-status` does.
//! Nothing hangs on it: policies hold whether they were checked or not.
//!
//! A controller and not the API server, though that has the types at hand: one process does it and not each server, no request waits for it, and what is
//! known of kinds comes from the published OpenAPI documents, where those of definitions and of aggregated servers are like all others.
//! Watches policies. A policy is checked once for each of its generations: kinds that come or change later are looked at when it is written next.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use orknet_reconciler::{Change, ObjectKey};

use crate::context::Context;
use reconcile::PolicyStatusController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let policies = watches.on_change(|change: &Change<ValidatingAdmissionPolicy>, queue| {
        if let Some(policy) = change.new.as_ref().filter(|policy| plan::is_to_be_checked(policy)) {
            queue.add(ObjectKey::of(&policy.metadata));
        }
    });
    context.start(
        watches,
        PolicyStatusController { client: context.client_of("validatingadmissionpolicy-status-controller"), policies },
        1,
    );
}
