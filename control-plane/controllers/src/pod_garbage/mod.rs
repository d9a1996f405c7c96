//! Pod garbage: pods that nobody else will ever remove: on a node that is gone, in deletion without ever having had a node, or ended
//! and too many. Watches Pods and Nodes.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use orknet_reconciler::{ObjectKey, WorkQueue, pod_state};

use crate::context::{Context, synced};
use plan::QUARANTINE;
use reconcile::PodGarbageController;

const CONCURRENCY: usize = 4;

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
    let nodes = context.informers.of::<Node>();
    let pods = context.informers.of::<Pod>();
    let queue = WorkQueue::new();
    let (on_change, known) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let Some(pod) = &change.new else { return };
        if pod_state::is_terminal(pod) && change.old.as_ref().is_none_or(|old| !pod_state::is_terminal(old)) {
            on_change.add(Work::Ended);
        }
        match plan::node_of(pod) {
            None if pod_state::is_terminating(pod) => on_change.add(Work::Pod(ObjectKey::of(&pod.metadata))),
            Some(node) if change.old.is_none() && known.get(&ObjectKey::new("", node)).is_none() => {
                on_change.add_after(Work::Pod(ObjectKey::of(&pod.metadata)), QUARANTINE);
            }
            _ => {}
        }
    });
    let (on_change, placed) = (queue.clone(), pods.clone());
    nodes.on_change(move |change| {
        if let (Some(gone), None) = (&change.old, &change.new) {
            let name = gone.metadata.name.as_deref();
            let stranded = placed.all().into_iter().filter(|pod: &Arc<Pod>| plan::node_of(pod) == name);
            stranded.for_each(|pod| on_change.add_after(Work::Pod(ObjectKey::of(&pod.metadata)), QUARANTINE));
        }
    });
    let waits = vec![synced(&nodes), synced(&pods)];
    let controller = PodGarbageController { client: context.client.clone(), nodes, pods, limit: context.config.terminated_pod_limit };
    context.spawn(controller, queue, CONCURRENCY, waits);
}
