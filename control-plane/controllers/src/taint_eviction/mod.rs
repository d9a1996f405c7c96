//! Taint eviction: a pod leaves a node with a NoExecute taint that it does not tolerate, at once or after `tolerationSeconds`. Watches Pods
//! (where they are and what they tolerate) and Nodes (their taints).

mod first_seen;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use orknet_reconciler::{Change, ObjectKey, pod_state};

use crate::context::Context;
use reconcile::TaintEvictionController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let known = watches.read::<Node>();
    let pods = watches.on_change(move |change: &Change<Pod>, queue| {
        let tainted = |pod: &Arc<Pod>| {
            let node = pod_state::node_of(pod).and_then(|node| known.get(&ObjectKey::new("", node)));
            node.is_some_and(|node| plan::evicting(&node).next().is_some())
        };
        match (&change.old, &change.new) {
            (_, Some(pod)) if tainted(pod) => queue.add(ObjectKey::of(&pod.metadata)),
            (Some(pod), None) => queue.add(ObjectKey::of(&pod.metadata)),
            _ => {}
        }
    });
    let placed = pods.clone();
    let nodes = watches.on_change(move |change: &Change<Node>, queue| {
        let taints =
            |node: &Option<Arc<Node>>| node.as_ref().map(|node| plan::evicting(node).cloned().collect::<Vec<_>>()).unwrap_or_default();
        let Some(node) = change.new.as_ref().filter(|_| taints(&change.old) != taints(&change.new)) else { return };
        let name = node.metadata.name.as_deref();
        let here = placed.all().into_iter().filter(|pod| pod_state::node_of(pod) == name);
        here.for_each(|pod| queue.add(ObjectKey::of(&pod.metadata)));
    });
    let client = context.client_of("node-controller");
    let recorder = context.recorder("taint-eviction-controller", &client);
    let first_seen = first_seen::FirstSeen::default();
    context.start(watches, TaintEvictionController { client, nodes, pods, recorder, first_seen }, 8);
}
