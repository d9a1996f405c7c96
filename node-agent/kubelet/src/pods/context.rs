//! What every pod worker shares: the clients, the layout on disk, facts about the node. Holds no pod's state.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use parking_lot::RwLock;

use super::PodKey;
use super::admission::Admission;
use crate::api::Cluster;
use crate::api::events::Note;
use crate::cgroups::Cgroups;
use crate::config::Config;
use crate::containers::fields::Facts;
use crate::cri::Cri;
use crate::node::machine::Machine;
use crate::paths::Paths;
use crate::server::stats::Rates;
use crate::volumes::tokens::Tokens;

/// Shared by all workers of a node.
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// Places on disk.
    pub paths: Paths,
    /// containerd.
    pub cri: Cri,
    /// The API server.
    pub cluster: Arc<dyn Cluster>,
    /// Pods' cgroups.
    pub cgroups: Cgroups,
    /// What the node has.
    pub machine: Machine,
    /// Service-account tokens of pods' volumes.
    pub tokens: Tokens,
    /// Which pods may run.
    pub admission: Admission,
    /// What cgroups had used when they were read last.
    pub rates: Rates,
    /// The pods that the API has on this node, by uid.
    pub known: RwLock<HashMap<String, Arc<Pod>>>,
}

impl Context {
    /// A context for a configuration.
    ///
    /// # Errors
    /// The socket's address cannot be formed or the machine cannot be read.
    pub fn new(config: Config, cluster: Arc<dyn Cluster>) -> Result<Self, crate::Error> {
        Ok(Self {
            paths: Paths::new(&config.root_dir),
            cri: Cri::new(&config.containerd_socket)?,
            cgroups: Cgroups::detect(&config.cgroup_root, &config.cgroup_parent),
            machine: Machine::read(&config)?,
            tokens: Tokens::default(),
            admission: Admission::default(),
            rates: Rates::default(),
            known: RwLock::default(),
            cluster,
            config,
        })
    }

    /// The downward API's facts for a pod with these addresses.
    pub fn facts(&self, pod_ips: &[IpAddr]) -> Facts {
        Facts {
            node_name: self.config.node_name.clone(),
            host_ips: self.config.host_ips(),
            pod_ips: pod_ips.to_vec(),
            cpu_milli: self.machine.cpu_milli,
            memory_bytes: self.machine.memory_bytes,
            storage_bytes: self.machine.storage_bytes,
        }
    }

    /// Records an event about a pod.
    pub fn note_pod(&self, pod: &Pod, warning: bool, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) {
        self.note(pod, None, warning, reason.into(), message.into());
    }

    /// Records an event about one of a pod's containers.
    pub fn note_container(&self, pod: &Pod, container: &str, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.note(pod, Some(container), warning, reason.into(), message.into());
    }

    fn note(&self, pod: &Pod, container: Option<&str>, warning: bool, reason: Cow<'static, str>, message: String) {
        let key = PodKey::of(pod);
        tracing::debug!(pod = %key, container, %reason, message, "event");
        let field_path = container.map(|name| field_path(pod, name));
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(key.name),
            namespace: Some(key.namespace),
            uid: Some(key.uid),
            resource_version: pod.metadata.resource_version.clone(),
            field_path,
        };
        self.cluster.note(Note { about, warning, reason, message });
    }
}

fn field_path(pod: &Pod, name: &str) -> String {
    use super::declared::{Kind, find};
    let list = match find(pod, name).map(|d| d.kind) {
        Some(Kind::Init | Kind::Sidecar) => "initContainers",
        Some(Kind::Ephemeral) => "ephemeralContainers",
        _ => "containers",
    };
    format!("spec.{list}{{{name}}}")
}
