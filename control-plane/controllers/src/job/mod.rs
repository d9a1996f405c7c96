//! Job: runs pods until enough of them have succeeded, or too many have failed. Watches Jobs (what is wanted) and Pods (what came of it).
//! Ended pods are held by a finalizer until the Job's status has counted them, so that each counts exactly once (KEP-2307).

mod conditions;
mod indexes;
mod plan;
mod pods;
mod reconcile;
mod tally;
#[cfg(test)]
mod tests;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Informer, ObjectKey, WorkQueue, selector};

use crate::context::{Context, synced};
use crate::pod_control::PodControl;
use reconcile::JobController;

pub(crate) use conditions::{COMPLETE, FAILED, is_finished, is_true};

const CONCURRENCY: usize = 8;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let jobs = context.informers.of::<Job>();
    let pods = context.informers.of::<Pod>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    jobs.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let (on_change, owners) = (queue.clone(), jobs.clone());
    pods.on_change(move |change| change.versions().for_each(|pod| wake(&on_change, &owners, pod)));
    let waits = vec![synced(&jobs), synced(&pods)];
    let control = PodControl { client: context.client.clone(), pods, recorder: context.recorder("job-controller") };
    context.spawn(JobController { jobs, control }, queue, CONCURRENCY, waits);
}

fn wake(queue: &WorkQueue<ObjectKey>, owners: &Informer<Job>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == "Job" => queue.add(ObjectKey::new(namespace, &owner.name)),
        Some(_) => {}
        None => {
            let selects = |owner: &Job| {
                let chosen = owner.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                chosen.is_some_and(|chosen| selector::matches(chosen, pod.metadata.labels.as_ref()))
            };
            let owners = owners.in_namespace(namespace);
            owners.iter().filter(|owner| selects(owner)).for_each(|owner| queue.add(ObjectKey::of(&owner.metadata)));
        }
    }
}
