//! One pass over a ReplicaSet: read the stores, plan, write. Creates in growing batches so that a refusal costs one request, not five hundred.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource};
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, is_namespace_terminating, is_not_found};

use super::plan::{self, Observed};
use crate::ownership::{adoption, controller_reference, release};
use crate::pod_template::pod_from_template;
use crate::write_status::write_status;

pub(super) struct ReplicaSetController {
    pub client: Client,
    pub replica_sets: Arc<Informer<ReplicaSet>>,
    pub pods: Arc<Informer<Pod>>,
    pub recorder: Recorder,
}

impl Reconciler for ReplicaSetController {
    type Key = ObjectKey;
    const NAME: &'static str = "replicaset";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(replica_set) = self.replica_sets.get(key) else { return Ok(Next::Change) };
        let now = Timestamp::now();
        let pods = self.pods.in_namespace(&key.namespace);
        let related = self.related(&replica_set, &key.namespace);
        let plan = plan::plan(&Observed { replica_set: &replica_set, pods, related, now });
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        for pod in &plan.adopt {
            self.patch_owner(&api, pod, adoption(&pod.metadata, controller_reference(&*replica_set))).await?;
        }
        for pod in &plan.release {
            let uid = replica_set.metadata.uid.as_deref().unwrap_or_default();
            self.patch_owner(&api, pod, release(&pod.metadata, uid)).await?;
        }
        let mut failure = None;
        if plan.create > 0
            && let Err(error) = self.create(&api, &replica_set, plan.create).await
        {
            failure = Some(("FailedCreate", error));
        }
        if let Err(error) = self.delete(&api, &replica_set, &plan.delete).await {
            failure = Some(("FailedDelete", error));
        }
        let described = failure.as_ref().map(|(reason, error)| (*reason, describe(error)));
        let status = plan::status(&replica_set, &plan.owned, described, now);
        let sets = Api::<ReplicaSet>::namespaced(self.client.clone(), &key.namespace);
        write_status(&sets, &self.replica_sets, &key.name, replica_set.status.as_ref(), &status).await?;
        match failure {
            Some((_, error)) => Err(error),
            None => Ok(plan.recheck.map_or(Next::Change, Next::After)),
        }
    }
}

impl ReplicaSetController {
    /// Uids of the ReplicaSets under the same controller.
    fn related(&self, replica_set: &ReplicaSet, namespace: &str) -> HashSet<String> {
        let owner = controller_of(&replica_set.metadata).map(|owner| owner.uid.clone());
        let mut uids: HashSet<String> = replica_set.metadata.uid.iter().cloned().collect();
        if let Some(owner) = owner {
            let siblings = self.replica_sets.in_namespace(namespace);
            uids.extend(
                siblings
                    .iter()
                    .filter(|sibling| controller_of(&sibling.metadata).is_some_and(|other| other.uid == owner))
                    .filter_map(|sibling| sibling.metadata.uid.clone()),
            );
        }
        uids
    }

    async fn patch_owner(&self, api: &Api<Pod>, pod: &Pod, patch: serde_json::Value) -> Result<(), Error> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(written) => self.pods.record(written),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("changing the owner of pod {name}"))(error)),
        }
        Ok(())
    }

    async fn create(&self, api: &Api<Pod>, replica_set: &ReplicaSet, count: usize) -> Result<(), Error> {
        let Some(template) = replica_set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return Ok(()) };
        let namespace = replica_set.metadata.namespace.as_deref().unwrap_or_default();
        let pod = pod_from_template(namespace, template, controller_reference(replica_set));
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let params = PostParams::default();
            let results = join_all((0..size).map(|_| api.create(&params, &pod))).await;
            let mut first_error = None;
            for result in results {
                match result {
                    Ok(created) => {
                        let name = created.metadata.name.clone().unwrap_or_default();
                        self.pods.record(created);
                        self.recorder.record(replica_set, EventType::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                    }
                    Err(error) if is_namespace_terminating(&error) => return Ok(()),
                    Err(error) => {
                        self.recorder.record(
                            replica_set,
                            EventType::Warning,
                            "FailedCreate",
                            format!("Error creating: {}", message(&error)),
                        );
                        first_error.get_or_insert(error);
                    }
                }
            }
            if let Some(error) = first_error {
                return Err(Error::api("creating a pod")(error));
            }
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn delete(&self, api: &Api<Pod>, replica_set: &ReplicaSet, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let results = join_all(pods.iter().map(|pod| async move {
            let uid = Preconditions { uid: pod.meta().uid.clone(), resource_version: None };
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            (name, api.delete(name, &DeleteParams::default().preconditions(uid)).await)
        }))
        .await;
        let mut first_error = None;
        for (name, result) in results {
            match result {
                Ok(answer) => {
                    if let Some(pod) = answer.left() {
                        self.pods.record(pod);
                    }
                    self.recorder.record(replica_set, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                }
                Err(error) if is_not_found(&error) => {}
                Err(error) => {
                    let text = format!("Error deleting: {}", message(&error));
                    self.recorder.record(replica_set, EventType::Warning, "FailedDelete", text);
                    first_error.get_or_insert(Error::api(format!("deleting pod {name}"))(error));
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::Api { source, .. } => message(source),
        Error::Malformed(text) => text.clone(),
    }
}

/// The server's own words where there are any.
fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
