//! One pass over a node: read the store, allocate, write.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder};
use parking_lot::Mutex;
use serde_json::json;

use super::plan::{self, Promises};
use crate::Config;

pub(super) struct NodeIpamController {
    pub client: Client,
    pub config: Arc<Config>,
    pub nodes: Arc<Informer<Node>>,
    pub recorder: Recorder,
    pub promises: Mutex<Promises>,
}

impl Reconciler for NodeIpamController {
    type Key = ObjectKey;
    const NAME: &'static str = "node-ipam";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key).filter(|node| plan::needs_range(node)) else { return Ok(Next::Change) };
        let ranges = self.promises.lock().ranges_for(&self.config, &node, &self.nodes.all());
        let Some(ranges) = ranges else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.record(&*node, EventType::Normal, "CIDRNotAvailable", message);
            return Err(Error::Malformed(format!("no pod range is left for node {key}")));
        };
        let patch = json!({
            "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
            "spec": { "podCIDR": ranges.first(), "podCIDRs": ranges },
        });
        let written = Api::<Node>::all(self.client.clone()).patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.nodes.record(written.map_err(Error::api(format!("giving node {key} its pod range")))?);
        tracing::info!(node = %key, ?ranges, "pod range allocated");
        Ok(Next::Change)
    }
}
