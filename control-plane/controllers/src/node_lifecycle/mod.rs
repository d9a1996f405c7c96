//! Node lifecycle: a node whose kubelet is silent for the grace period becomes Unknown; taints follow its conditions; pods on a lost node stop
//! counting as ready. Watches Nodes (conditions), Leases in kube-node-lease (the kubelets' sign of life) and Pods (to mark them).
//! Which pods must leave a tainted node is for taint_eviction.

mod plan;
mod reconcile;
mod taints;
#[cfg(test)]
mod tests;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use orknet_reconciler::WorkQueue;
use std::sync::Arc;

use crate::context::{Context, synced};
use reconcile::NodeLifecycleController;

pub(crate) const LEASE_NAMESPACE: &str = "kube-node-lease";

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let nodes = context.informers.of::<Node>();
    let leases = context.informers.of::<Lease>();
    let pods = context.informers.of::<Pod>();
    let queue: WorkQueue<Arc<str>> = WorkQueue::new();
    let on_change = queue.clone();
    nodes.on_change(move |change| change.versions().for_each(|node| on_change.add(node.name_any().into())));
    let on_change = queue.clone();
    leases.on_change(move |change| {
        if let Some(lease) = change.new.as_ref().filter(|lease| lease.metadata.namespace.as_deref() == Some(LEASE_NAMESPACE)) {
            on_change.add(lease.name_any().into());
        }
    });
    let waits = vec![synced(&nodes), synced(&leases), synced(&pods)];
    let controller = NodeLifecycleController::new(context, nodes, leases, pods);
    context.spawn(controller, queue, CONCURRENCY, waits);
}
