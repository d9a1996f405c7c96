//! One pass over a budget: read the stores, plan, write the status.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, Selecting, merge_patch};
use serde_json::json;

use super::plan::{self, Observed};
use super::scale::Workloads;

pub(super) struct DisruptionController {
    pub client: Client,
    pub budgets: Arc<Informer<PodDisruptionBudget>>,
    pub pods: Arc<Informer<Pod>>,
    pub workloads: Workloads,
}

impl Reconciler for DisruptionController {
    type Key = ObjectKey;
    const NAME: &'static str = "disruption";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(budget) = self.budgets.get(key) else { return Ok(Next::Change) };
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| budget.selects(pod.metadata.labels.as_ref()));
        let scale = self.workloads.expected(&key.namespace, &pods);
        let plan = plan::plan(&Observed { budget: &budget, pods: &pods, scale, now: Timestamp::now() });
        self.write(key, &budget, &plan.status).await?;
        Ok(plan.recheck.map_or(Next::Change, Next::After))
    }
}

impl DisruptionController {
    /// With the version that was read: the API server takes from the same number when it evicts, and must not be overwritten.
    async fn write(&self, key: &ObjectKey, budget: &PodDisruptionBudget, status: &PodDisruptionBudgetStatus) -> Result<(), Error> {
        let malformed = |error| Error::Malformed(format!("status of budget {key} can't be encoded: {error}"));
        let old = serde_json::to_value(&budget.status).map_err(malformed)?;
        let new = serde_json::to_value(status).map_err(malformed)?;
        let Some(change) = merge_patch::diff(&old, &new) else { return Ok(()) };
        let patch = json!({ "metadata": { "resourceVersion": budget.metadata.resource_version }, "status": change });
        let api = Api::<PodDisruptionBudget>::namespaced(self.client.clone(), &key.namespace);
        let written = api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.budgets.record(written.map_err(Error::api(format!("writing the status of budget {key}")))?);
        Ok(())
    }
}
