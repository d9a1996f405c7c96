//! One pass: read the stores, make sure with the server that the node is gone, delete.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found};
use serde_json::json;

use super::Work;
use super::plan::{self, Garbage};

pub(super) struct PodGarbageController {
    pub client: Client,
    pub nodes: Arc<Informer<Node>>,
    pub pods: Arc<Informer<Pod>>,
    pub limit: usize,
}

impl Reconciler for PodGarbageController {
    type Key = Work;
    const NAME: &'static str = "pod-garbage";

    async fn reconcile(&self, work: &Work) -> Result<Next, Error> {
        match work {
            Work::Ended => {
                for pod in plan::surplus(self.pods.all(), self.limit) {
                    self.remove(&pod).await?;
                }
            }
            Work::Pod(key) => {
                let Some(pod) = self.pods.get(key) else { return Ok(Next::Change) };
                let exists = match plan::node_of(&pod) {
                    Some(node) => self.node_exists(node).await?,
                    None => false,
                };
                match plan::judge(&pod, exists) {
                    None => {}
                    Some(Garbage::NeverPlaced | Garbage::Stranded { ended: true }) => self.remove(&pod).await?,
                    Some(Garbage::Stranded { ended: false }) => {
                        self.mark_failed(key, &pod).await?;
                        self.remove(&pod).await?;
                    }
                }
            }
        }
        Ok(Next::Change)
    }
}

impl PodGarbageController {
    async fn node_exists(&self, name: &str) -> Result<bool, Error> {
        if self.nodes.get(&ObjectKey::new("", name)).is_some() {
            return Ok(true);
        }
        let found = Api::<Node>::all(self.client.clone()).get_opt(name).await;
        found.map(|node| node.is_some()).map_err(Error::api(format!("reading node {name}")))
    }

    async fn mark_failed(&self, key: &ObjectKey, pod: &Pod) -> Result<(), Error> {
        let condition = PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("DeletionByPodGC".into()),
            message: Some("PodGC: node no longer exists".into()),
            last_transition_time: Some(Time(Timestamp::now())),
            ..PodCondition::default()
        };
        let status = json!({ "phase": "Failed", "conditions": [condition] });
        let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.metadata.uid }, "status": status }));
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Ok(written) => self.pods.record(written),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("marking pod {key} failed"))(error)),
        }
        Ok(())
    }

    /// Deletes at once: there is nobody to wait for.
    async fn remove(&self, pod: &Pod) -> Result<(), Error> {
        let key = ObjectKey::of(&pod.metadata);
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().grace_period(0).preconditions(same);
        tracing::info!(pod = %key, "removing a pod that nobody else will");
        match Api::<Pod>::namespaced(self.client.clone(), &key.namespace).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(Error::api(format!("deleting pod {key}"))(error)),
        }
    }
}
