//! ClusterRole aggregation: a ClusterRole with an `aggregationRule` gets the rules of the ClusterRoles that it selects, and no others. Watches
//! ClusterRoles. What a rule allows is the API server's.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::rbac::v1::ClusterRole;
use orknet_reconciler::{Change, ObjectKey};

use crate::context::Context;
use reconcile::ClusterRoleAggregationController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let known = watches.read::<ClusterRole>();
    // Any role may be, or have been, part of any sum; sums are few.
    let roles = watches.on_change(move |_: &Change<ClusterRole>, queue| {
        let sums = known.all().into_iter().filter(|role| role.aggregation_rule.is_some());
        sums.for_each(|role| queue.add(ObjectKey::of(&role.metadata)));
    });
    context.start(watches, ClusterRoleAggregationController { client: context.client_of("clusterrole-aggregation-controller"), roles }, 1);
}
