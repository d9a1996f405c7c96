//! Taint eviction: a pod leaves a node with a NoExecute taint that it does not tolerate, at once or after `tolerationSeconds`. Watches Pods
//! (where they are and what they tolerate) and Nodes (their taints).

mod first_seen;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use orknet_reconciler::{ObjectKey, WorkQueue};

use crate::context::{Context, synced};
use reconcile::TaintEvictionController;

const CONCURRENCY: usize = 8;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let nodes = context.informers.of::<Node>();
    let pods = context.informers.of::<Pod>();
    let queue = WorkQueue::new();
    let (on_change, known) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let tainted = |pod: &&Arc<Pod>| {
            let node = known.get(&ObjectKey::new("", node_of(pod).unwrap_or_default()));
            node.is_some_and(|node| plan::evicting(&node).next().is_some())
        };
        match (&change.old, &change.new) {
            (_, Some(pod)) if tainted(&pod) => on_change.add(ObjectKey::of(&pod.metadata)),
            (Some(pod), None) => on_change.add(ObjectKey::of(&pod.metadata)),
            _ => {}
        }
    });
    let (on_change, placed) = (queue.clone(), pods.clone());
    nodes.on_change(move |change| {
        let taints =
            |node: &Option<Arc<Node>>| node.as_ref().map(|node| plan::evicting(node).cloned().collect::<Vec<_>>()).unwrap_or_default();
        let (before, after) = (taints(&change.old), taints(&change.new));
        if before != after
            && let Some(node) = &change.new
        {
            let name = node.metadata.name.as_deref();
            let here = placed.all().into_iter().filter(|pod| node_of(pod) == name);
            here.for_each(|pod| on_change.add(ObjectKey::of(&pod.metadata)));
        }
    });
    let waits = vec![synced(&nodes), synced(&pods)];
    let controller = TaintEvictionController {
        client: context.client.clone(),
        nodes,
        pods,
        recorder: context.recorder("taint-eviction-controller"),
        first_seen: first_seen::FirstSeen::default(),
    };
    context.spawn(controller, queue, CONCURRENCY, waits);
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}
