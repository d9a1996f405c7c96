//! StatefulSet: pods with stable names, made, replaced and removed in the order of their ordinals. Watches StatefulSets (what is wanted),
//! Pods (what is there) and ControllerRevisions (the template's history). Claims made from `volumeClaimTemplates` are not made here.

mod identity;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Informer, ObjectKey, WorkQueue, selector};

use crate::context::{Context, synced};
use crate::pod_control::PodControl;
use reconcile::StatefulSetController;

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let sets = context.informers.of::<StatefulSet>();
    let pods = context.informers.of::<Pod>();
    let revisions = context.informers.of::<ControllerRevision>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    sets.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let (on_change, owners) = (queue.clone(), sets.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake(&on_change, &owners, pod)));
    let waits = vec![synced(&sets), synced(&pods), synced(&revisions)];
    let control = PodControl { client: context.client.clone(), pods, recorder: context.recorder("statefulset-controller") };
    context.spawn(StatefulSetController { sets, revisions, control }, queue, CONCURRENCY, waits);
}

fn wake(queue: &WorkQueue<ObjectKey>, owners: &Informer<StatefulSet>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == "StatefulSet" => queue.add(ObjectKey::new(namespace, &owner.name)),
        Some(_) => {}
        None => owners
            .in_namespace(namespace)
            .iter()
            .filter(|owner| owner.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, pod.metadata.labels.as_ref())))
            .for_each(|owner| queue.add(ObjectKey::of(&owner.metadata))),
    }
}
