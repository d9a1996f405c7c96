//! ReplicaSet: keeps as many pods as the spec asks for. Watches ReplicaSets (what is wanted) and Pods (what is there; a pod's
//! change wakes its controller, an orphan wakes every ReplicaSet whose selector it matches).

mod plan;
pub(crate) mod ranking;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::context::Context;
use crate::pod_control::PodControl;
use reconcile::ReplicaSetController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let replica_sets = watches.own::<ReplicaSet>();
    let pods = watches.controlled(&replica_sets);
    let control = PodControl::new(context, pods, "replicaset-controller");
    context.start(watches, ReplicaSetController { replica_sets, control }, 8);
}
