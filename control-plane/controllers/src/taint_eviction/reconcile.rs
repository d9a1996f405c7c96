//! One pass over a pod: read the stores, judge, delete.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Client};
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, pod_state};

use super::first_seen::FirstSeen;
use super::plan::{Verdict, evicting, judge};
use crate::delete_exact::delete_exact;
use crate::pod_conditions::{self, disruption_target};

pub(super) struct TaintEvictionController {
    pub client: Client,
    pub nodes: Arc<Informer<Node>>,
    pub pods: Arc<Informer<Pod>>,
    pub recorder: Recorder,
    pub first_seen: FirstSeen,
}

impl Reconciler for TaintEvictionController {
    type Key = ObjectKey;
    const NAME: &'static str = "taint-eviction";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let pod = self.pods.get(key);
        let node = pod.as_ref().and_then(|pod| self.nodes.get(&ObjectKey::new("", pod_state::node_of(pod)?)));
        let (Some(pod), Some(node)) = (pod, node.filter(|node| evicting(node).next().is_some())) else {
            self.first_seen.forget(key);
            return Ok(Next::Change);
        };
        let now = Timestamp::now();
        let first_seen = self.first_seen.since(key, pod.metadata.uid.as_deref(), now);
        match judge(&pod, &node, first_seen, now) {
            Verdict::Stays => Ok(Next::Change),
            Verdict::LeavesIn(left) => Ok(Next::After(left)),
            Verdict::Leaves => self.evict(key, &pod).await,
        }
    }
}

impl TaintEvictionController {
    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> Result<Next, Error> {
        self.recorder.record(pod, EventType::Normal, "TaintManagerEviction", format!("Marking for deletion Pod {key}"));
        let reason = "Taint manager: deleting due to NoExecute taint";
        let condition = disruption_target("DeletionByTaintManager", reason, Timestamp::now());
        if pod_conditions::write(&self.client, pod, condition, None).await?.is_some() {
            let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
            delete_exact(&api, pod, DeleteParams::default()).await?;
        }
        Ok(Next::Change)
    }
}
