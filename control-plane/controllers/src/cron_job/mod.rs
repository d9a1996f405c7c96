//! CronJob: starts Jobs on a schedule and keeps a few of those that ended. Watches CronJobs (when, and what) and Jobs (what runs).

mod plan;
mod reconcile;
mod schedule;
#[cfg(test)]
mod tests;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{ObjectKey, WorkQueue};

use crate::context::{Context, synced};
use reconcile::CronJobController;

const CONCURRENCY: usize = 4;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let cron_jobs = context.informers.of::<CronJob>();
    let jobs = context.informers.of::<Job>();
    let queue = WorkQueue::new();
    let on_change = queue.clone();
    cron_jobs.on_change(move |change| change.versions().for_each(|object| on_change.add(ObjectKey::of(&object.metadata))));
    let on_change = queue.clone();
    jobs.on_change(move |change| {
        for job in change.versions() {
            let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
            if let Some(owner) = controller_of(&job.metadata).filter(|owner| owner.kind == "CronJob") {
                on_change.add(ObjectKey::new(namespace, &owner.name));
            }
        }
    });
    let waits = vec![synced(&cron_jobs), synced(&jobs)];
    let controller =
        CronJobController { client: context.client.clone(), cron_jobs, jobs, recorder: context.recorder("cronjob-controller") };
    context.spawn(controller, queue, CONCURRENCY, waits);
}
