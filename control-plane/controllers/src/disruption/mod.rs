//! Disruption budgets: how many of a budget's pods may be evicted now (`policy/v1 PodDisruptionBudget`, status). The evictions themselves are counted
//! by the API server, which takes from the number that is written here.
//! Watches budgets, pods, and the workloads whose scale says how many pods there should be.

mod plan;
mod reconcile;
mod scale;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use orknet_reconciler::{Cached, Informer, ObjectKey, WorkQueue, selector};
use std::sync::Arc;

use crate::context::{Context, synced};
use reconcile::DisruptionController;
use scale::Workloads;

const CONCURRENCY: usize = 2;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let budgets = context.informers.of::<PodDisruptionBudget>();
    let pods = context.informers.of::<Pod>();
    let workloads = Workloads {
        deployments: context.informers.of::<Deployment>(),
        replica_sets: context.informers.of::<ReplicaSet>(),
        stateful_sets: context.informers.of::<StatefulSet>(),
    };
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    budgets.on_change(move |change| change.versions().for_each(|budget| on_change.add(ObjectKey::of(&budget.metadata))));
    let (on_change, all) = (queue.clone(), budgets.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake(&on_change, &all, pod)));
    wake_namespace(&queue, &budgets, &workloads.deployments);
    wake_namespace(&queue, &budgets, &workloads.replica_sets);
    wake_namespace(&queue, &budgets, &workloads.stateful_sets);
    let waits = [synced(&budgets), synced(&pods)].into_iter().chain(workloads.synced()).collect();
    let controller = DisruptionController { client: context.client.clone(), budgets, pods, workloads };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

/// Wakes the budgets that select the pod.
fn wake(queue: &WorkQueue<ObjectKey>, budgets: &Informer<PodDisruptionBudget>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for budget in budgets.in_namespace(namespace) {
        if covers(&budget, pod) {
            queue.add(ObjectKey::of(&budget.metadata));
        }
    }
}

/// A workload's scale counts for every budget that has pods of it; few namespaces have more than a few budgets.
fn wake_namespace<K: Cached>(queue: &WorkQueue<ObjectKey>, budgets: &Arc<Informer<PodDisruptionBudget>>, workloads: &Informer<K>) {
    let (queue, budgets) = (queue.clone(), budgets.clone());
    workloads.on_change(move |change| {
        for workload in change.versions() {
            let namespace = workload.meta().namespace.as_deref().unwrap_or_default();
            budgets.in_namespace(namespace).iter().for_each(|budget| queue.add(ObjectKey::of(&budget.metadata)));
        }
    });
}

/// Whether the budget's selector selects the pod; one that is absent selects none, an empty one all.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| selector::matches(wanted, pod.metadata.labels.as_ref()))
}
