//! Node address management: every node gets a pod range per family, no two the same. Watches Nodes. What is allocated is read from the Nodes
//! themselves, so a restart loses nothing; one worker, so that no two nodes are served from the same view.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Node;
use orknet_reconciler::{ObjectKey, WorkQueue};

use crate::context::{Context, synced};
use reconcile::NodeIpamController;

/// Starts the controller; without pod ranges in the configuration it does nothing.
pub(crate) fn start(context: &Context) {
    if context.config.pod_cidrs.is_empty() {
        return;
    }
    let nodes = context.informers.of::<Node>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    nodes.on_change(move |change| {
        if let Some(node) = change.new.as_ref().filter(|node| plan::needs_range(node)) {
            on_change.add(ObjectKey::of(&node.metadata));
        }
    });
    // A node that goes frees a range that another may be waiting for; waiting nodes come again by back-off.
    let waits = vec![synced(&nodes)];
    let controller = NodeIpamController {
        client: context.client.clone(),
        config: context.config.clone(),
        nodes,
        recorder: context.recorder("cidrAllocator"),
    };
    context.spawn(controller, queue, 1, waits);
}
