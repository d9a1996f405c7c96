//! Node address management: every node gets a pod range per family, no two the same. Watches Nodes. What is allocated is read from the Nodes
//! themselves, so a restart loses nothing; one worker, so that no two nodes are served from the same view.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Node;
use orknet_reconciler::ObjectKey;
use parking_lot::Mutex;

use crate::context::Context;
use reconcile::NodeIpamController;

/// Starts the controller; without pod ranges in the configuration it does nothing.
pub(crate) fn start(context: &Context) {
    if context.config.pod_cidrs.is_empty() {
        return;
    }
    let mut watches = context.watches();
    // A node that goes frees a range that another may be waiting for; waiting nodes come again by back-off.
    let nodes = watches.keyed(|node: &Node| plan::needs_range(node).then(|| ObjectKey::of(&node.metadata)));
    let (client, config) = (context.client_of("node-controller"), context.config.clone());
    let recorder = context.recorder("cidrAllocator", &client);
    let controller = NodeIpamController { client, config, nodes, recorder, promises: Mutex::default() };
    context.start(watches, controller, 1);
}
