//! One pass: read the stores, make sure with the server that the node is gone, delete.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, pod_state};

use super::Work;
use super::plan::{self, Garbage};
use crate::delete_exact::delete_exact;
use crate::pod_conditions::{self, disruption_target};

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
                let exists = match pod_state::node_of(&pod) {
                    Some(node) => self.node_exists(node).await?,
                    None => false,
                };
                match plan::judge(&pod, exists) {
                    None => {}
                    Some(Garbage::NeverPlaced | Garbage::Stranded { ended: true }) => self.remove(&pod).await?,
                    Some(Garbage::Stranded { ended: false }) => {
                        self.mark_failed(&pod).await?;
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

    async fn mark_failed(&self, pod: &Pod) -> Result<(), Error> {
        let condition = disruption_target("DeletionByPodGC", "PodGC: node no longer exists", Timestamp::now());
        if let Some(written) = pod_conditions::write(&self.client, pod, condition, Some("Failed")).await? {
            self.pods.record(written);
        }
        Ok(())
    }

    /// Deletes at once: there is nobody to wait for.
    async fn remove(&self, pod: &Pod) -> Result<(), Error> {
        tracing::info!(pod = %ObjectKey::of(&pod.metadata), "removing a pod that nobody else will");
        let api = Api::<Pod>::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        delete_exact(&api, pod, DeleteParams::default().grace_period(0)).await.map(drop)
    }
}
