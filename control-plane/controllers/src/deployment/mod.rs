//! Deployment: rolls a pod template out over ReplicaSets, one per revision. Watches Deployments (what is wanted), ReplicaSets (what each
//! revision has) and Pods (a Recreate rollout waits until the old ones are gone).

mod conditions;
mod plan;
mod reconcile;
mod revision;
mod rolling;
mod scale;
mod set;
mod strategy;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Informer, ObjectKey, pod_state};

use crate::context::Context;
use reconcile::DeploymentController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let deployments = watches.own::<Deployment>();
    let replica_sets = watches.controlled(&deployments);
    let (sets, owners) = (replica_sets.clone(), deployments.clone());
    let pods = watches.on_change(move |change, queue| {
        let gone = change.new.as_ref().is_none_or(|pod| pod_state::is_terminal(pod));
        let waiting = change.old.as_ref().filter(|_| gone).and_then(|pod| recreating(&sets, &owners, pod));
        waiting.into_iter().for_each(|key| queue.add(key));
    });
    let client = context.client_of("deployment-controller");
    let recorder = context.recorder("deployment-controller", &client);
    let controller = DeploymentController { client, deployments, replica_sets, pods, recorder };
    context.start(watches, controller, 8);
}

/// The Deployment behind a pod, if its strategy waits for pods to go.
fn recreating(sets: &Informer<ReplicaSet>, owners: &Informer<Deployment>, pod: &Pod) -> Option<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let set = sets.get(&ObjectKey::new(namespace, &controller_of(&pod.metadata)?.name))?;
    let key = ObjectKey::new(namespace, &controller_of(&set.metadata)?.name);
    let recreates = owners.get(&key)?.spec.as_ref().is_some_and(strategy::is_recreate);
    recreates.then_some(key)
}
