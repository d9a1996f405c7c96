//! One pass over a Job: read the stores, plan, write. The status goes first: only pods that it names are let go of.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Client};
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};

use super::conditions::is_finished;
use super::plan::{self, Observed, abandoned, time_to_live};
use super::pods::{is_tracked, pod_for, untrack};
use crate::claims;
use crate::delete_exact::delete_exact;
use crate::ownership::claim;
use crate::pod_control::PodControl;
use crate::write_status::write_status;

/// `spec.managedBy` of Jobs that are this controller's; absent means the same.
const MANAGER: &str = "kubernetes.io/job-controller";

pub(super) struct JobController {
    pub jobs: Arc<Informer<Job>>,
    pub control: PodControl,
    /// Deletes Jobs whose time is over.
    pub expirer: Client,
}

impl Reconciler for JobController {
    type Key = ObjectKey;
    const NAME: &'static str = "job";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let job = self.jobs.get(key);
        let pods = self.control.pods.in_namespace(&key.namespace);
        let uid = job.as_ref().and_then(|job| job.metadata.uid.clone());
        self.let_go(&abandoned(&orphans(key, &pods, uid.as_deref()))).await?;
        let Some(job) = job else { return Ok(Next::Change) };
        let Some(spec) = job.spec.as_ref().filter(|spec| spec.managed_by.as_deref().is_none_or(|by| by == MANAGER)) else {
            return Ok(Next::Change);
        };
        let Some(selector) = &spec.selector else { return Ok(Next::Change) };
        let claim = claim(&job.metadata, selector, pods);
        if !claim.adopt.is_empty() || !claim.release.is_empty() {
            // The answers change the store, which wakes this key again.
            claims::settle(&self.control.client, &*job, &claim.adopt, &claim.release, &self.control.pods).await?;
            return Ok(Next::Change);
        }
        if job.metadata.deletion_timestamp.is_some() {
            self.let_go(&abandoned(&claim.owned)).await?;
            return Ok(Next::Change);
        }
        let now = Timestamp::now();
        let api = Api::<Job>::namespaced(self.control.client.clone(), &key.namespace);
        if is_finished(&job) {
            self.let_go(&abandoned(&claim.owned)).await?;
            return expire(&Api::namespaced(self.expirer.clone(), &key.namespace), &job, now).await;
        }
        let plan = plan::plan(&Observed { job: &job, spec, pods: claim.owned, now });
        write_status(&api, &self.jobs, &job, job.status.as_ref(), &plan.status).await?;
        for (kind, reason, message) in plan.events {
            self.control.recorder.record(&*job, kind, reason, message);
        }
        self.let_go(&plan.release).await?;
        let tracked: Vec<_> = plan.discard.iter().filter(|pod| is_tracked(pod)).cloned().collect();
        self.let_go(&tracked).await?;
        self.control.delete(&*job, &plan.discard).await?;
        self.control.delete(&*job, &plan.end).await?;
        let pods: Vec<Pod> = plan.create.iter().map(|index| pod_for(&job, spec, *index)).collect();
        self.control.create(&*job, &pods).await?;
        Ok(plan.recheck.map_or(Next::Change, Next::After))
    }
}

impl JobController {
    async fn let_go(&self, pods: &[Arc<Pod>]) -> Result<(), Error> {
        for pod in pods {
            self.control.patch(pod, untrack(pod), "letting go of").await?;
        }
        Ok(())
    }
}

/// Pods of a Job of this name that is not the present one.
fn orphans(key: &ObjectKey, pods: &[Arc<Pod>], uid: Option<&str>) -> Vec<Arc<Pod>> {
    let is_orphan = |pod: &&Arc<Pod>| {
        controller_of(&pod.metadata).is_some_and(|owner| owner.kind == "Job" && *owner.name == *key.name && Some(owner.uid.as_str()) != uid)
    };
    pods.iter().filter(is_orphan).cloned().collect()
}

/// Deletes a finished Job whose time is over, with its pods.
async fn expire(api: &Api<Job>, job: &Job, now: Timestamp) -> Result<Next, Error> {
    let Some(left) = time_to_live(job, now) else { return Ok(Next::Change) };
    if !left.is_zero() {
        return Ok(Next::After(left));
    }
    delete_exact(api, job, DeleteParams::foreground()).await?;
    Ok(Next::Change)
}
