//! Deployment: rolls a pod template out over ReplicaSets, one per revision. Watches Deployments (what is wanted), ReplicaSets (what each
//! revision has) and Pods (a Recreate rollout waits until the old ones are gone).

mod conditions;
mod plan;
mod reconcile;
mod revision;
mod rolling;
mod scale;
mod set;
mod strategy;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Informer, ObjectKey, WorkQueue, pod_state, selector};

use crate::context::{Context, synced};
use reconcile::DeploymentController;
pub(crate) use strategy::resolve;

const CONCURRENCY: usize = 8;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let deployments = context.informers.of::<Deployment>();
    let replica_sets = context.informers.of::<ReplicaSet>();
    let pods = context.informers.of::<Pod>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    deployments.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let (on_change, owners) = (queue.clone(), deployments.clone());
    replica_sets.on_change(move |change| change.versions().for_each(|set| wake(&on_change, &owners, set)));
    let (on_change, sets, owners) = (queue.clone(), replica_sets.clone(), deployments.clone());
    pods.on_change(move |change| {
        let gone = change.new.as_ref().is_none_or(|pod| pod_state::is_terminal(pod));
        if gone && let Some(pod) = change.old.as_ref() {
            wake_recreating(&on_change, &sets, &owners, pod);
        }
    });
    let waits = vec![synced(&deployments), synced(&replica_sets), synced(&pods)];
    let controller = DeploymentController {
        client: context.client.clone(),
        deployments,
        replica_sets,
        pods,
        recorder: context.recorder("deployment-controller"),
    };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

fn wake(queue: &WorkQueue<ObjectKey>, owners: &Informer<Deployment>, set: &ReplicaSet) {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&set.metadata) {
        Some(owner) if owner.kind == "Deployment" => queue.add(ObjectKey::new(namespace, &owner.name)),
        Some(_) => {}
        None => owners
            .in_namespace(namespace)
            .iter()
            .filter(|owner| owner.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, set.metadata.labels.as_ref())))
            .for_each(|owner| queue.add(ObjectKey::of(&owner.metadata))),
    }
}

fn wake_recreating(queue: &WorkQueue<ObjectKey>, sets: &Informer<ReplicaSet>, owners: &Informer<Deployment>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(set) = controller_of(&pod.metadata).and_then(|owner| sets.get(&ObjectKey::new(namespace, &owner.name))) else { return };
    let Some(key) = controller_of(&set.metadata).map(|owner| ObjectKey::new(namespace, &owner.name)) else { return };
    let recreates = owners.get(&key).is_some_and(|owner| owner.spec.as_ref().is_some_and(strategy::is_recreate));
    if recreates {
        queue.add(key);
    }
}
