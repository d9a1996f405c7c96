//! Node lifecycle: a node whose kubelet is silent for the grace period becomes Unknown; taints follow its conditions; pods on a lost node stop
//! counting as ready. Watches Nodes (conditions), Leases in kube-node-lease (the kubelets' sign of life) and Pods (to mark them).
//! Which pods must leave a tainted node is for taint_eviction.

mod plan;
mod reconcile;
mod registry;
mod taints;
#[cfg(test)]
mod tests;
mod zones;

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use orknet_reconciler::Change;

use crate::context::Context;
use reconcile::NodeLifecycleController;

pub(crate) const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches::<Arc<str>>();
    let known = watches.read::<Node>();
    let nodes = watches.on_change(move |change: &Change<Node>, queue| {
        change.versions().for_each(|node| queue.add(node.name_any().into()));
        // Whether pods are evicted from one node depends on how many are ready.
        let counted = |node: &Option<Arc<Node>>| node.as_deref().and_then(zones::counted);
        if counted(&change.old) != counted(&change.new) {
            known.all().iter().for_each(|node| queue.add(node.name_any().into()));
        }
    });
    let leases = watches.keyed(|lease: &Lease| {
        let of_a_node = lease.metadata.namespace.as_deref() == Some(LEASE_NAMESPACE);
        of_a_node.then(|| lease.name_any().into())
    });
    let controller = NodeLifecycleController::new(context, nodes, leases, watches.read());
    context.start(watches, controller, 4);
}
