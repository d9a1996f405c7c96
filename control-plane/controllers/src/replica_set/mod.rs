//! ReplicaSet, and ReplicationController, its older form: keeps as many pods as the spec asks for. Watches these (what is wanted) and Pods (what is there; a pod's
//! change wakes its controller, an orphan wakes every ReplicaSet whose selector it matches).

mod plan;
pub(crate) mod ranking;
mod reconcile;
mod replicated;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;

use crate::context::Context;
use crate::pod_control::PodControl;
use reconcile::ReplicaSetController;
use replicated::Replicated;

/// Starts the controller, once for each of the two kinds.
pub(crate) fn start(context: &Context) {
    start_for::<ReplicaSet>(context, 8);
    start_for::<ReplicationController>(context, 2);
}

fn start_for<K: Replicated>(context: &Context, workers: usize) {
    let mut watches = context.watches();
    let sets = watches.own::<K>();
    let control = PodControl::new(context, watches.controlled(&sets), K::COMPONENT, K::COMPONENT);
    context.start(watches, ReplicaSetController { sets, control }, workers);
}
