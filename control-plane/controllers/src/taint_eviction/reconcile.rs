//! One pass over a pod: read the stores, judge, delete.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, is_not_found};
use serde_json::json;

use super::first_seen::FirstSeen;
use super::node_of;
use super::plan::{Verdict, evicting, judge};

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
        let node = pod.as_ref().and_then(|pod| self.nodes.get(&ObjectKey::new("", node_of(pod)?)));
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
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let condition = PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("DeletionByTaintManager".into()),
            message: Some("Taint manager: deleting due to NoExecute taint".into()),
            last_transition_time: Some(Time(Timestamp::now())),
            ..PodCondition::default()
        };
        let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.metadata.uid }, "status": { "conditions": [condition] } }));
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => return Ok(Next::Change),
            Err(error) => return Err(Error::api(format!("marking pod {key} for eviction"))(error)),
        }
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        match api.delete(&key.name, &DeleteParams::default().preconditions(same)).await {
            Ok(_) => Ok(Next::Change),
            Err(error) if is_not_found(&error) => Ok(Next::Change),
            Err(error) => Err(Error::api(format!("evicting pod {key}"))(error)),
        }
    }
}
