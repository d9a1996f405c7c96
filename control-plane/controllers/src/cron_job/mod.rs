//! CronJob: starts Jobs on a schedule and keeps a few of those that ended. Watches CronJobs (when, and what) and Jobs (what runs).

mod plan;
mod reconcile;
mod schedule;
#[cfg(test)]
mod tests;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use orknet_reconciler::ObjectKey;
use orknet_reconciler::pod_state::controller_of;

use crate::context::Context;
use reconcile::CronJobController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let cron_jobs = watches.own::<CronJob>();
    let jobs = watches.keyed(|job: &Job| {
        let owner = controller_of(&job.metadata).filter(|owner| owner.kind == "CronJob")?;
        Some(ObjectKey::new(job.metadata.namespace.as_deref().unwrap_or_default(), &owner.name))
    });
    let client = context.client_of("cronjob-controller");
    let recorder = context.recorder("cronjob-controller", &client);
    context.start(watches, CronJobController { client, cron_jobs, jobs, recorder }, 4);
}
