//! ReplicaSet: keeps as many pods as the spec asks for. Watches ReplicaSets (what is wanted) and Pods (what is there; a pod's
//! change wakes its controller, an orphan wakes every ReplicaSet whose selector it matches).

mod plan;
pub(crate) mod ranking;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Informer, ObjectKey, WorkQueue, selector};

use crate::context::{Context, synced};
use crate::pod_control::PodControl;
use reconcile::ReplicaSetController;

const CONCURRENCY: usize = 8;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let replica_sets = context.informers.of::<ReplicaSet>();
    let pods = context.informers.of::<Pod>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    replica_sets.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let (on_change, owners) = (queue.clone(), replica_sets.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake(&on_change, &owners, pod)));
    let waits = vec![synced(&replica_sets), synced(&pods)];
    let control = PodControl { client: context.client.clone(), pods, recorder: context.recorder("replicaset-controller") };
    let controller = ReplicaSetController { replica_sets, control };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

fn wake(queue: &WorkQueue<ObjectKey>, owners: &Arc<Informer<ReplicaSet>>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == "ReplicaSet" => queue.add(ObjectKey::new(namespace, &owner.name)),
        Some(_) => {}
        None => owners
            .in_namespace(namespace)
            .iter()
            .filter(|owner| owner.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, pod.metadata.labels.as_ref())))
            .for_each(|owner| queue.add(ObjectKey::of(&owner.metadata))),
    }
}
