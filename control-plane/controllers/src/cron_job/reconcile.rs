//! One pass over a CronJob: read the stores, plan, write.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{
    Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, is_already_exists, is_namespace_terminating, pod_state,
};

use super::plan::{self, Observed, Plan, reference};
use crate::delete_exact::{Deletion, delete_exact};
use crate::job::is_finished;
use crate::write_status::write_status;

pub(super) struct CronJobController {
    pub client: Client,
    pub cron_jobs: Arc<Informer<CronJob>>,
    pub jobs: Arc<Informer<Job>>,
    pub recorder: Recorder,
}

impl Reconciler for CronJobController {
    type Key = ObjectKey;
    const NAME: &'static str = "cronjob";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(cron_job) = self.cron_jobs.get(key) else { return Ok(Next::Change) };
        let Some(spec) = &cron_job.spec else { return Ok(Next::Change) };
        let uid = cron_job.metadata.uid.as_deref().unwrap_or_default();
        let is_ours = |job: &Arc<Job>| pod_state::is_controlled_by(&job.metadata, uid);
        let (jobs, others) = self.jobs.in_namespace(&key.namespace).into_iter().partition(is_ours);
        let mut plan = plan::plan(&Observed { cron_job: &cron_job, spec, jobs, others, now: Timestamp::now() });
        for (kind, reason, message) in std::mem::take(&mut plan.events) {
            self.recorder.record(&*cron_job, kind, reason, message);
        }
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        self.delete(&api, &cron_job, plan.replace.iter().chain(&plan.forget)).await?;
        if !self.create(&api, &cron_job, &mut plan).await? {
            return Ok(Next::Change);
        }
        let cron_jobs = Api::<CronJob>::namespaced(self.client.clone(), &key.namespace);
        write_status(&cron_jobs, &self.cron_jobs, &cron_job, cron_job.status.as_ref(), &plan.status).await?;
        Ok(plan.recheck.map_or(Next::Change, Next::After))
    }
}

impl CronJobController {
    /// Creates the Job that is due and adds it to the planned status. Returns whether the pass goes on.
    async fn create(&self, api: &Api<Job>, cron_job: &CronJob, plan: &mut Plan) -> Result<bool, Error> {
        let Some(job) = &plan.create else { return Ok(true) };
        match api.create(&PostParams::default(), job).await {
            Ok(created) => {
                let name = created.metadata.name.clone().unwrap_or_default();
                self.recorder.record(cron_job, EventType::Normal, "SuccessfulCreate", format!("Created job {name}"));
                plan.status.active.get_or_insert_default().push(reference(&created));
                self.jobs.record(created);
                Ok(true)
            }
            // Made by a pass that did not get to write its status, or by somebody else, whose affair it is then.
            Err(error) if is_already_exists(&error) => {
                let name = job.metadata.name.as_deref().unwrap_or_default();
                let found = api.get(name).await.map_err(Error::api(format!("reading job {name}")))?;
                let is_ours = pod_state::is_controlled_by(&found.metadata, cron_job.metadata.uid.as_deref().unwrap_or_default());
                if is_ours && !is_finished(&found) {
                    plan.status.active.get_or_insert_default().push(reference(&found));
                }
                self.jobs.record(found);
                Ok(is_ours)
            }
            Err(error) if is_namespace_terminating(&error) => Ok(false),
            Err(error) => {
                self.recorder.record(cron_job, EventType::Warning, "FailedCreate", format!("Error creating job: {error}"));
                Err(Error::api("creating a job")(error))
            }
        }
    }

    async fn delete(&self, api: &Api<Job>, cron_job: &CronJob, jobs: impl Iterator<Item = &Arc<Job>>) -> Result<(), Error> {
        for job in jobs {
            if let Deletion::Taken(_) = delete_exact(api, &**job, DeleteParams::background()).await? {
                let name = job.metadata.name.as_deref().unwrap_or_default();
                self.recorder.record(cron_job, EventType::Normal, "SuccessfulDelete", format!("Deleted job {name}"));
            }
        }
        Ok(())
    }
}
