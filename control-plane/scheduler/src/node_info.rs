//! A node with the pods on it, and the sums that filters and scores read. Kept up to date pod by pod.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use orknet_reconciler::selector::Labels;

use crate::pod_info::PodInfo;
use crate::requests::{self, Amounts};

/// A node as decisions see it.
#[derive(Debug, Clone)]
pub(crate) struct NodeInfo {
    pub node: Arc<Node>,
    pub allocatable: Amounts,
    pub requested: Amounts,
    /// With the floors of `requests::for_scoring`.
    pub scored: Amounts,
    pub pods: Vec<Arc<PodInfo>>,
}

impl NodeInfo {
    pub fn new(node: Arc<Node>) -> Self {
        let allocatable = requests::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        Self { node, allocatable, requested: Amounts::new(), scored: Amounts::new(), pods: Vec::new() }
    }

    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn labels(&self) -> Option<&Labels> {
        self.node.metadata.labels.as_ref()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key).map(String::as_str)
    }

    /// Replaces the node object; the pods stay.
    pub fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = requests::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        self.node = node;
    }

    pub fn add(&mut self, pod: Arc<PodInfo>) {
        requests::add(&mut self.requested, &pod.requests);
        requests::add(&mut self.scored, &pod.scored);
        self.pods.push(pod);
    }

    /// Takes the pod with this uid off; nothing when it is not here.
    pub fn remove(&mut self, uid: &str) {
        if let Some(position) = self.pods.iter().position(|pod| pod.uid() == uid) {
            let pod = self.pods.swap_remove(position);
            requests::subtract(&mut self.requested, &pod.requests);
            requests::subtract(&mut self.scored, &pod.scored);
        }
    }
}
