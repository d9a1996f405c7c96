//! An API server's stand-in: serves objects from memory, remembers what workers write.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, PodStatus, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_kubelet::Error;
use orknet_kubelet::api::events::Note;
use orknet_kubelet::api::{Cluster, Written};
use orknet_kubelet::pods::PodKey;
use tokio::sync::{Notify, watch};

/// What is stored and what was written.
#[derive(Clone, Default)]
pub struct State {
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    pub secrets: BTreeMap<String, Arc<Secret>>,
    pub node: Option<Arc<Node>>,
    pub statuses: BTreeMap<String, PodStatus>,
    pub removed: Vec<String>,
    pub events: Vec<(String, String)>,
    pub followers: Vec<Arc<Notify>>,
}

/// The stand-in. Everything in it can be waited for.
pub struct Memory(pub watch::Sender<State>);

#[async_trait]
impl Cluster for Memory {
    async fn config_map(&self, _: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error> {
        Ok(self.0.borrow().config_maps.get(name).cloned())
    }

    async fn secret(&self, _: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
        Ok(self.0.borrow().secrets.get(name).cloned())
    }

    fn follow(&self, _: &Pod, changed: &Arc<Notify>) {
        self.0.send_modify(|state| state.followers.push(changed.clone()));
    }

    fn unfollow(&self, _: &str) {}

    fn services(&self) -> Option<Vec<Arc<Service>>> {
        let service = serde_json::json!({"metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}});
        serde_json::from_value(service).ok().map(|service| vec![Arc::new(service)])
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.0.borrow().node.clone()
    }

    async fn read_node(&self) -> Result<Option<Arc<Node>>, Error> {
        Ok(self.node())
    }

    async fn token(&self, _: &str, account: &str, _: TokenRequestSpec) -> Result<TokenRequestStatus, Error> {
        let expires = Timestamp::now() + SignedDuration::from_hours(1);
        Ok(TokenRequestStatus { token: format!("token-of-{account}"), expiration_timestamp: Time(expires) })
    }

    async fn write_status(&self, before: &Pod, status: &PodStatus) -> Result<Written, Error> {
        let uid = PodKey::of(before).uid;
        self.0.send_modify(|state| {
            state.statuses.insert(uid, status.clone());
        });
        Ok(Written::Stored(Box::new(Pod { status: Some(status.clone()), ..before.clone() })))
    }

    async fn remove_pod(&self, pod: &PodKey) -> Result<(), Error> {
        self.0.send_modify(|state| state.removed.push(pod.uid.clone()));
        Ok(())
    }

    fn note(&self, note: Note) {
        self.0.send_modify(|state| state.events.push((note.reason.into_owned(), note.message)));
    }
}
