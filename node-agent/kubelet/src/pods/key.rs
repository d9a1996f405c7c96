//! A pod's identity.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;

/// Namespace, name and uid of a pod. Only the uid tells two pods of the same name apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Unique id; changes when a pod is deleted and made again.
    pub uid: String,
}

impl PodKey {
    /// The identity of an API object. Fields that the API server always sets read as empty when they are absent.
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}
