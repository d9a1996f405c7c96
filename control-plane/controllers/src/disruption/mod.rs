//! Disruption budgets: how many of a budget's pods may be evicted now (`policy/v1 PodDisruptionBudget`, status). The evictions themselves are counted
//! by the API server, which takes from the number that is written here.
//! Watches budgets, pods, and the workloads whose scale says how many pods there should be.

mod plan;
mod reconcile;
mod scale;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use orknet_reconciler::{Cached, Change, Informer, ObjectKey, Watches};

use crate::context::Context;
use reconcile::DisruptionController;
use scale::Workloads;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let budgets = watches.own::<PodDisruptionBudget>();
    let pods = watches.selected(&budgets);
    let workloads = Workloads {
        deployments: workloads(&mut watches, &budgets),
        replica_sets: workloads(&mut watches, &budgets),
        stateful_sets: workloads(&mut watches, &budgets),
        replication_controllers: workloads(&mut watches, &budgets),
    };
    context.start(watches, DisruptionController { client: context.client_of("disruption-controller"), budgets, pods, workloads }, 2);
}

/// A kind whose scale counts for every budget that has pods of it; few namespaces have more than a few budgets.
fn workloads<K: Cached>(watches: &mut Watches<ObjectKey>, budgets: &Arc<Informer<PodDisruptionBudget>>) -> Arc<Informer<K>> {
    let budgets = budgets.clone();
    watches.on_change(move |change: &Change<K>, queue| {
        for workload in change.versions() {
            let namespace = workload.meta().namespace.as_deref().unwrap_or_default();
            budgets.in_namespace(namespace).iter().for_each(|budget| queue.add(ObjectKey::of(&budget.metadata)));
        }
    })
}
