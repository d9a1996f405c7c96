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

use crate::context::Context;
use crate::pod_control::PodControl;
use reconcile::JobController;

pub(crate) use conditions::{COMPLETE, FAILED, is_finished, is_true};

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let jobs = watches.own::<Job>();
    let control = PodControl::new(context, watches.controlled(&jobs), "job-controller", "job-controller");
    let expirer = context.client_of("ttl-after-finished-controller");
    context.start(watches, JobController { jobs, control, expirer }, 8);
}
