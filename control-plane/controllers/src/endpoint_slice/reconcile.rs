//! One pass over a Service: read the stores, plan, write slices.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use orknet_reconciler::{Error, Index, Informer, Next, ObjectKey, Reconciler, Selecting, pod_state};

use super::plan::{self, Observed};
use super::{TriggerTimes, ZONE};

pub(super) struct EndpointSliceController {
    pub client: Client,
    pub services: Arc<Informer<Service>>,
    pub pods: Arc<Informer<Pod>>,
    pub nodes: Arc<Informer<Node>>,
    /// By the Service that they are of.
    pub slices: Index<ObjectKey, EndpointSlice>,
    pub trigger_times: TriggerTimes,
}

/// How long until a pod on a node that nobody knows is looked at again.
const NODE_WAIT: Duration = Duration::from_secs(5);

impl Reconciler for EndpointSliceController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpointslice";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // The slices of a Service that is gone go with it, by their owner reference.
        let Some(service) = self.services.get(key) else {
            self.trigger_times.forget(key);
            return Ok(Next::Change);
        };
        let Some(spec) = &service.spec else { return Ok(Next::Change) };
        if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            return Ok(Next::Change);
        }
        if spec.type_.as_deref() == Some("ExternalName") || service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| service.selects(pod.metadata.labels.as_ref()));
        let mut slices = self.slices.of(key);
        slices.retain(|slice| slice.metadata.deletion_timestamp.is_none());
        let zones = self.zones(&pods);
        let unknown_node = pods.iter().filter_map(|pod| pod_state::node_of(pod)).any(|node| !zones.contains_key(node));
        let trigger = self.trigger_times.of(key, &service, &pods);
        let plan = plan::plan(&Observed { service: &service, pods, slices, zones, trigger });
        plan.write(&self.client, key, self.slices.objects()).await?;
        // Pods may be seen before their new node is.
        Ok(if unknown_node { Next::After(NODE_WAIT) } else { Next::Change })
    }
}

impl EndpointSliceController {
    /// The zones of those nodes of the pods that exist.
    fn zones(&self, pods: &[Arc<Pod>]) -> HashMap<String, Option<String>> {
        let names: HashSet<&str> = pods.iter().filter_map(|pod| pod_state::node_of(pod)).collect();
        let zone = |name: &str| {
            let node = self.nodes.get(&ObjectKey::new("", name))?;
            Some((name.to_string(), node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned())))
        };
        names.into_iter().filter_map(zone).collect()
    }
}
