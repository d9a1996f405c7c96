//! [`Cluster`] over a kube client.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, PodStatus, Secret, Service, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use orknet_reconciler::{EventType, Recorder};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::events::Note;
use super::objects::Followed;
use super::reconnect::Reconnect;
use super::{Cluster, Written};
use crate::error::Error;
use crate::pods::PodKey;
use crate::pods::references::References;
use crate::status::conditions::is_own;

/// The API server behind a kube client.
pub struct KubeCluster {
    client: Client,
    config_maps: Followed<ConfigMap>,
    secrets: Followed<Secret>,
    services: reflector::Store<Service>,
    services_known: Arc<std::sync::atomic::AtomicBool>,
    node_name: String,
    node: reflector::Store<Node>,
    recorder: Recorder,
}

impl KubeCluster {
    /// Starts the tasks that follow Services and the Node, and write events; they end with `shutdown`.
    pub fn start(client: Client, node_name: &str, shutdown: &CancellationToken) -> Self {
        let (services, writer) = reflector::store();
        let services_known = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stream = watcher(Api::<Service>::all(client.clone()), watcher::Config::default())
            .backoff(Reconnect)
            .modify(|service| service.metadata.managed_fields = None)
            .reflect(writer);
        let (node, node_writer) = reflector::store();
        let itself = watcher::Config::default().fields(&format!("metadata.name={node_name}"));
        let node_stream = watcher(Api::<Node>::all(client.clone()), itself)
            .backoff(Reconnect)
            .modify(|node| node.metadata.managed_fields = None)
            .reflect(node_writer);
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(node_stream.for_each(|event| async {
            if let Err(error) = event {
                tracing::debug!(%error, "watch of the Node interrupted");
            }
        })));
        let (known, store, stop) = (services_known.clone(), services.clone(), shutdown.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let ready = async {
                if store.wait_until_ready().await.is_ok() {
                    known.store(true, std::sync::atomic::Ordering::Release);
                }
            };
            let follow = stream.for_each(|event| async {
                if let Err(error) = event {
                    tracing::debug!(%error, "watch of Services interrupted");
                }
            });
            tokio::join!(ready, follow);
        }));
        Self {
            config_maps: Followed::new(client.clone()),
            secrets: Followed::new(client.clone()),
            services,
            services_known,
            node_name: node_name.to_owned(),
            node,
            recorder: Recorder::start_on_node(client.clone(), "kubelet", node_name, shutdown.clone()),
            client,
        }
    }
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error> {
        self.config_maps.get(namespace, name).await
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
        self.secrets.get(namespace, name).await
    }

    fn follow(&self, pod: &Pod, changed: &Arc<Notify>) {
        let (key, references) = (PodKey::of(pod), References::of(pod));
        references.config_maps.iter().for_each(|name| self.config_maps.follow(&key.namespace, name, &key.uid, changed));
        references.secrets.iter().for_each(|name| self.secrets.follow(&key.namespace, name, &key.uid, changed));
    }

    fn unfollow(&self, uid: &str) {
        self.config_maps.unfollow(uid);
        self.secrets.unfollow(uid);
    }

    fn services(&self) -> Option<Vec<Arc<Service>>> {
        self.services_known.load(std::sync::atomic::Ordering::Acquire).then(|| self.services.state())
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.state().into_iter().next()
    }

    async fn read_node(&self) -> Result<Option<Arc<Node>>, Error> {
        let api: Api<Node> = Api::all(self.client.clone());
        let answer = api.get_opt(&self.node_name).await.map_err(Error::api(format!("get node {}", self.node_name)))?;
        Ok(answer.map(Arc::new))
    }

    async fn token(&self, namespace: &str, account: &str, spec: TokenRequestSpec) -> Result<TokenRequestStatus, Error> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let operation = || format!("request a token for {namespace}/{account}");
        let answer = api.create_token_request(account, &PostParams::default(), &request).await.map_err(Error::api(operation()))?;
        answer.status.ok_or_else(|| Error::Invalid(format!("{}: the answer has no token", operation())))
    }

    async fn write_status(&self, before: &Pod, status: &PodStatus) -> Result<Written, Error> {
        let key = PodKey::of(before);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let body = status_patch(before, status)?;
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(body)).await {
            Ok(pod) => Ok(Written::Stored(Box::new(pod))),
            Err(error) if is_gone(&error) => Ok(Written::Gone),
            Err(error) => Err(Error::api(format!("write the status of pod {key}"))(error)),
        }
    }

    async fn remove_pod(&self, pod: &PodKey) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&pod.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(Error::api(format!("delete pod {pod}"))(error)),
        }
    }

    fn note(&self, note: Note) {
        let kind = if note.warning { EventType::Warning } else { EventType::Normal };
        self.recorder.record_reference(note.about, kind, &note.reason, note.message);
    }
}

/// 404, or the conflict by which a precondition on the uid fails.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || (status.code == 409 && status.message.to_lowercase().contains("uid")))
}

/// Fields that a condition may lack.
const OF_CONDITIONS: [&str; 4] = ["reason", "message", "lastProbeTime", "observedGeneration"];

/// A strategic merge patch that makes the server's status `status`: fields that are gone are null, list entries merged by key that are gone
/// are deleted by name. Conditions of others are left out: they may have changed meanwhile. The uid makes it fail on another pod of the
/// same name.
fn status_patch(before: &Pod, status: &PodStatus) -> Result<Value, Error> {
    let value = |s: &PodStatus| serde_json::to_value(s).map_err(|e| Error::Invalid(format!("encode a pod's status: {e}")));
    let old = before.status.as_ref().map(&value).transpose()?.unwrap_or_else(|| json!({}));
    let mut new = value(status)?;
    if let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) {
        for key in old.keys() {
            new.entry(key.clone()).or_insert(Value::Null);
        }
        if let Some(conditions) = new.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.retain(|condition| condition["type"].as_str().is_some_and(is_own));
            for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
                for field in OF_CONDITIONS {
                    condition.entry(field).or_insert(Value::Null);
                }
            }
        }
        for list in ["podIPs", "hostIPs"] {
            let has = |list: &Value, ip: &Value| list.as_array().is_some_and(|l| l.iter().any(|e| e["ip"] == *ip));
            let gone: Vec<Value> = old
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|entry| !has(&new[list], &entry["ip"]))
                .map(|entry| json!({"$patch": "delete", "ip": entry["ip"]}))
                .collect();
            if let Some(entries) = new.get_mut(list).and_then(Value::as_array_mut) {
                entries.extend(gone);
            }
        }
    }
    Ok(json!({"metadata": {"uid": before.metadata.uid}, "status": new}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_removes_what_is_gone() {
        let before: Pod =
            serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": {"message": "m", "podIPs": [{"ip": "1.1.1.1"}]}})).unwrap();
        let status: PodStatus = serde_json::from_value(json!({"phase": "Running", "podIPs": [{"ip": "2.2.2.2"}]})).unwrap();
        let want = json!({"metadata": {"uid": "u"}, "status": {"phase": "Running", "message": null,
            "podIPs": [{"ip": "2.2.2.2"}, {"$patch": "delete", "ip": "1.1.1.1"}]}});
        assert_eq!(status_patch(&before, &status).unwrap(), want);
    }

    #[test]
    fn a_patch_says_what_a_condition_no_longer_says_and_nothing_of_others_conditions() {
        let before: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m"}, {"type": "x/gate", "status": "False"}]}}))
        .unwrap();
        let status: PodStatus = serde_json::from_value(json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}, {"type": "x/gate", "status": "False"}]}))
        .unwrap();
        let want = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z",
            "reason": null, "message": null, "lastProbeTime": null, "observedGeneration": null}]);
        assert_eq!(status_patch(&before, &status).unwrap()["status"]["conditions"], want);
    }
}
