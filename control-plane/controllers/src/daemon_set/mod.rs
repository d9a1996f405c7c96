//! DaemonSet: one pod on every node that it wants and may have. Watches DaemonSets (what is wanted), Nodes (labels and taints decide
//! where), Pods (what is there) and ControllerRevisions (the template's history).

mod backoff;
mod placement;
mod plan;
mod reconcile;
mod rolling;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Change, Informer, ObjectKey, WorkQueue, selector};

use crate::context::{Context, synced};
use crate::pod_control::PodControl;
use reconcile::DaemonSetController;

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let sets = context.informers.of::<DaemonSet>();
    let nodes = context.informers.of::<Node>();
    let pods = context.informers.of::<Pod>();
    let revisions = context.informers.of::<ControllerRevision>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    sets.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let (on_change, owners) = (queue.clone(), sets.clone());
    nodes.on_change(move |change| {
        if moves_pods(change) {
            owners.all().iter().for_each(|owner| on_change.add(ObjectKey::of(&owner.metadata)));
        }
    });
    let (on_change, owners) = (queue.clone(), sets.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake(&on_change, &owners, pod)));
    let waits = vec![synced(&sets), synced(&nodes), synced(&pods), synced(&revisions)];
    let control = PodControl { client: context.client.clone(), pods, recorder: context.recorder("daemonset-controller") };
    let controller = DaemonSetController { sets, nodes, revisions, control, backoff: backoff::Backoff::default() };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

/// Whether a node came, went, or changed in what placement looks at. Heartbeats do not count.
fn moves_pods(change: &Change<Node>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let looked_at = |node: &Node| (node.metadata.labels.clone(), node.spec.as_ref().and_then(|spec| spec.taints.clone()));
    looked_at(old) != looked_at(new)
}

fn wake(queue: &WorkQueue<ObjectKey>, owners: &Informer<DaemonSet>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == "DaemonSet" => queue.add(ObjectKey::new(namespace, &owner.name)),
        Some(_) => {}
        None => owners
            .in_namespace(namespace)
            .iter()
            .filter(|owner| owner.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, pod.metadata.labels.as_ref())))
            .for_each(|owner| queue.add(ObjectKey::of(&owner.metadata))),
    }
}
