//! One ReplicaSet inside a plan: the object as read, and the changes planned so far. Later steps of a pass see what earlier ones planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::jiff::Timestamp;

use super::strategy::Bounds;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// A sum that stays at the largest number: sizes are the users', and each may be the largest.
pub(super) fn total(numbers: impl Iterator<Item = i32>) -> i32 {
    numbers.fold(0, i32::saturating_add)
}

/// A ReplicaSet under plan.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub object: Arc<ReplicaSet>,
    pub replicas: i32,
    /// Annotations to set; only those that differ from the object's.
    pub annotations: BTreeMap<String, String>,
    pub min_ready_seconds: Option<i32>,
}

impl Set {
    pub fn new(object: Arc<ReplicaSet>) -> Self {
        let replicas = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        Self { object, replicas, annotations: BTreeMap::new(), min_ready_seconds: None }
    }

    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The replicas in the object as read.
    pub fn replicas_before(&self) -> i32 {
        self.object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    pub fn pods(&self) -> i32 {
        self.object.status.as_ref().map_or(0, |status| status.replicas)
    }

    pub fn ready(&self) -> i32 {
        self.object.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
    }

    pub fn available(&self) -> i32 {
        self.object.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    pub fn created(&self) -> Timestamp {
        self.object.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        let stored = || self.object.metadata.annotations.as_ref()?.get(key);
        self.annotations.get(key).or_else(stored).map(String::as_str)
    }

    /// Plans an annotation; nothing when it is already there.
    pub fn annotate(&mut self, key: &str, value: String) {
        if self.annotation(key) != Some(value.as_str()) {
            self.annotations.insert(key.into(), value);
        }
    }

    pub fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
    }

    /// Plans a size, and records for which size of the Deployment it was chosen.
    pub fn scale(&mut self, replicas: i32, bounds: Bounds) {
        self.replicas = replicas;
        self.annotate(DESIRED_REPLICAS, bounds.replicas.to_string());
        self.annotate(MAX_REPLICAS, bounds.most().to_string());
    }

    pub fn is_changed(&self) -> bool {
        self.replicas != self.replicas_before() || !self.annotations.is_empty() || self.min_ready_seconds.is_some()
    }
}
