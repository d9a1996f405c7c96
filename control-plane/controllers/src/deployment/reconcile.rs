//! One pass over a Deployment: read the stores, adopt and release ReplicaSets, plan, write.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{
    Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, is_already_exists, is_namespace_terminating, pod_state, selector,
};
use serde_json::json;

use super::plan::{self, Observed};
use super::revision::has_template;
use super::set::{REVISION, Set};
use super::strategy::is_recreate;
use crate::claims;
use crate::delete_exact::{Deletion, delete_exact};
use crate::ownership::claim;
use crate::write_status::write_status;

pub(super) struct DeploymentController {
    pub client: Client,
    pub deployments: Arc<Informer<Deployment>>,
    pub replica_sets: Arc<Informer<ReplicaSet>>,
    pub pods: Arc<Informer<Pod>>,
    pub recorder: Recorder,
}

impl Reconciler for DeploymentController {
    type Key = ObjectKey;
    const NAME: &'static str = "deployment";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(Next::Change) };
        let Some(spec) = &deployment.spec else { return Ok(Next::Change) };
        if selector::is_empty(&spec.selector) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.".into();
            self.recorder.record(&*deployment, EventType::Warning, "SelectingAll", message);
            return Ok(Next::Change);
        }
        let sets = Api::<ReplicaSet>::namespaced(self.client.clone(), &key.namespace);
        let claim = claim(&deployment.metadata, &spec.selector, self.replica_sets.in_namespace(&key.namespace));
        if !claim.adopt.is_empty() || !claim.release.is_empty() {
            // The answers change the store, which wakes this key again.
            claims::settle(&self.client, &*deployment, &claim.adopt, &claim.release, &self.replica_sets).await?;
            return Ok(Next::Change);
        }
        let pods = if is_recreate(spec) { self.pods.in_namespace(&key.namespace) } else { Vec::new() };
        let plan = plan::plan(&Observed { deployment: &deployment, sets: claim.owned, pods, now: Timestamp::now() });
        if let Some(set) = &plan.create
            && !self.create(&sets, &deployment, set).await?
        {
            return Ok(Next::Change);
        }
        for set in &plan.change {
            self.change(&sets, &deployment, set).await?;
        }
        for set in &plan.delete {
            if let Deletion::Taken(Some(set)) = delete_exact(&sets, &**set, DeleteParams::background()).await? {
                self.replica_sets.record(set);
            }
        }
        let api = Api::<Deployment>::namespaced(self.client.clone(), &key.namespace);
        if let Some(revision) = &plan.revision {
            // The uid: a successor of the same name has a history of its own.
            let patch = json!({ "metadata": { "uid": deployment.metadata.uid, "annotations": { REVISION: revision } } });
            let written = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
            self.deployments.record(written.map_err(Error::api(format!("writing the revision of deployment {key}")))?);
        }
        write_status(&api, &self.deployments, &deployment, deployment.status.as_ref(), &plan.status).await?;
        Ok(plan.recheck.map_or(Next::Change, Next::After))
    }
}

impl DeploymentController {
    /// Whether the pass goes on. A set of the same name with another template is a hash collision: it is counted, and the next pass
    /// gets another name.
    async fn create(&self, api: &Api<ReplicaSet>, deployment: &Deployment, set: &ReplicaSet) -> Result<bool, Error> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let error = match api.create(&PostParams::default(), set).await {
            Ok(created) => {
                let replicas = created.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                self.replica_sets.record(created);
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.recorder.record(deployment, EventType::Normal, "ScalingReplicaSet", message);
                }
                return Ok(true);
            }
            Err(error) if is_namespace_terminating(&error) => return Ok(false),
            Err(error) if is_already_exists(&error) => error,
            Err(error) => {
                let message = format!("Failed to create new replica set \"{name}\": {error}");
                self.recorder.record(deployment, EventType::Warning, "ReplicaSetCreateError", message);
                return Err(Error::api(format!("creating replica set {name}"))(error));
            }
        };
        let existing = api.get(name).await.map_err(Error::api(format!("reading replica set {name}")))?;
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        if pod_state::is_controlled_by(&existing.metadata, uid) && template.is_some_and(|template| has_template(&existing, template)) {
            // Our own, not yet in the store.
            return Err(Error::api(format!("creating replica set {name}"))(error));
        }
        let old = deployment.status.as_ref();
        let mut status = old.cloned().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        write_status(&api, &self.deployments, deployment, old, &status).await?;
        Ok(false)
    }

    async fn change(&self, api: &Api<ReplicaSet>, deployment: &Deployment, set: &Set) -> Result<(), Error> {
        let mut patch = json!({ "metadata": { "resourceVersion": set.object.metadata.resource_version } });
        if !set.annotations.is_empty() {
            patch["metadata"]["annotations"] = json!(set.annotations);
        }
        let (from, to) = (set.replicas_before(), set.replicas);
        if from != to {
            patch["spec"]["replicas"] = json!(to);
        }
        if let Some(seconds) = set.min_ready_seconds {
            patch["spec"]["minReadySeconds"] = json!(seconds);
        }
        let written = api.patch(set.name(), &PatchParams::default(), &Patch::Merge(patch)).await;
        self.replica_sets.record(written.map_err(Error::api(format!("changing replica set {}", set.name())))?);
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {from} to {to}", set.name());
            self.recorder.record(deployment, EventType::Normal, "ScalingReplicaSet", message);
        }
        Ok(())
    }
}
