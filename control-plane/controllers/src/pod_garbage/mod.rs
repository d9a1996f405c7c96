//! Pod garbage: pods that nobody else will ever remove: on a node that is gone, in deletion without ever having had a node, or ended
//! and too many. Watches Pods and Nodes.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Node, Pod};
use orknet_reconciler::{Change, Informer, ObjectKey, WorkQueue, pod_state};

use crate::context::Context;
use plan::QUARANTINE;
use reconcile::PodGarbageController;

/// One unit of work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Look at one pod.
    Pod(ObjectKey),
    /// Count the ended pods.
    Ended,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let known = watches.read::<Node>();
    let pods = watches.on_change(move |change, queue| pod_changed(change, &known, queue));
    let placed = pods.clone();
    let nodes = watches.on_change(move |change: &Change<Node>, queue| {
        if let (Some(gone), None) = (&change.old, &change.new) {
            let name = gone.metadata.name.as_deref();
            let stranded = placed.all().into_iter().filter(|pod| pod_state::node_of(pod) == name);
            stranded.for_each(|pod| queue.add_after(Work::Pod(ObjectKey::of(&pod.metadata)), QUARANTINE));
        }
    });
    let controller = PodGarbageController {
        client: context.client_of("pod-garbage-collector"),
        nodes,
        pods,
        limit: context.config.terminated_pod_limit,
    };
    context.start(watches, controller, 4);
}

fn pod_changed(change: &Change<Pod>, nodes: &Informer<Node>, queue: &WorkQueue<Work>) {
    let Some(pod) = &change.new else { return };
    let old = change.old.as_deref();
    if pod_state::is_terminal(pod) && old.is_none_or(|old| !pod_state::is_terminal(old)) {
        queue.add(Work::Ended);
    }
    match pod_state::node_of(pod) {
        None if pod_state::is_terminating(pod) => queue.add(Work::Pod(ObjectKey::of(&pod.metadata))),
        // Also one that was bound while its node was going.
        Some(node) if old.and_then(pod_state::node_of) != Some(node) && nodes.get(&ObjectKey::new("", node)).is_none() => {
            queue.add_after(Work::Pod(ObjectKey::of(&pod.metadata)), QUARANTINE);
        }
        _ => {}
    }
}
