//! The seam to the Kubernetes API: what pod workers ask of it ([`Cluster`]), its implementation over kube (`client`), the watch that says
//! which pods are wanted (`source`), the objects they refer to (`objects`), and events (`events`).

pub mod client;
pub mod events;
mod objects;
mod reconnect;
pub mod source;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, PodStatus, Secret, Service};

use tokio::sync::Notify;

use crate::error::Error;
use crate::pods::PodKey;
use events::Note;

/// What happened to a status that was written.
#[derive(Clone, Debug)]
pub enum Written {
    /// It is stored; the object as it is now.
    Stored(Box<Pod>),
    /// The pod is gone, or another pod has its name.
    Gone,
}

/// What pod workers need from the API server. Calls may take as long as the server is away: they fail then, and the worker goes on
/// with what it has.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// A ConfigMap; none when there is no such object.
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error>;
    /// A Secret; none when there is no such object.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error>;
    /// From now on `changed` is told whenever a ConfigMap or Secret that the pod refers to changes, and the pod reads objects that are
    /// at least as new as its first call. Doing it again is cheap, and needed when the pod refers to more.
    fn follow(&self, pod: &Pod, changed: &Arc<Notify>);
    /// Ends that for the pod with this uid.
    fn unfollow(&self, uid: &str);
    /// All Services; none while they are not known yet.
    fn services(&self) -> Option<Vec<Arc<Service>>>;
    /// The kubelet's own Node as last heard of; none while nothing was heard, or when there is none.
    fn node(&self) -> Option<Arc<Node>>;
    /// The kubelet's own Node as it is now; none when there is none.
    async fn read_node(&self) -> Result<Option<Arc<Node>>, Error>;
    /// A token for a service account.
    async fn token(&self, namespace: &str, account: &str, spec: TokenRequestSpec) -> Result<TokenRequestStatus, Error>;
    /// Writes a pod's status. `before` is the pod as last seen.
    async fn write_status(&self, before: &Pod, status: &PodStatus) -> Result<Written, Error>;
    /// Removes the pod's object, as the last act of its deletion. A pod that is gone, or has another uid, is not an error.
    async fn remove_pod(&self, pod: &PodKey) -> Result<(), Error>;
    /// Records an event. Never blocks; events can be lost.
    fn note(&self, note: Note);
}
