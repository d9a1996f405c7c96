//! One pass over a Service: read the stores, plan, write slices.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_namespace_terminating, is_not_found, selector};

use super::plan::{self, Observed};
use super::{MANAGED_BY, MANAGER, SERVICE_NAME, ZONE};

pub(super) struct EndpointSliceController {
    pub client: Client,
    pub services: Arc<Informer<Service>>,
    pub pods: Arc<Informer<Pod>>,
    pub nodes: Arc<Informer<Node>>,
    pub slices: Arc<Informer<EndpointSlice>>,
}

impl Reconciler for EndpointSliceController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpointslice";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // The slices of a Service that is gone go with it, by their owner reference.
        let Some(service) = self.services.get(key) else { return Ok(Next::Change) };
        let Some(spec) = &service.spec else { return Ok(Next::Change) };
        let Some(wanted) = spec.selector.as_ref().filter(|wanted| !wanted.is_empty()) else { return Ok(Next::Change) };
        if spec.type_.as_deref() == Some("ExternalName") || service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selector::matches_map(wanted, pod.metadata.labels.as_ref()));
        let mut slices = self.slices.in_namespace(&key.namespace);
        slices.retain(|slice| is_ours(slice, &key.name));
        let zones = self.zones(&pods);
        let plan = plan::plan(&Observed { service: &service, pods, slices, zones });
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), &key.namespace);
        // Creations first, removals last: no endpoint is missing in between.
        for slice in &plan.create {
            match api.create(&PostParams::default(), slice).await {
                Ok(written) => self.slices.record(written),
                Err(error) if is_namespace_terminating(&error) => return Ok(Next::Change),
                Err(error) => return Err(Error::api(format!("creating a slice of service {key}"))(error)),
            }
        }
        for slice in &plan.replace {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let written = api.replace(name, &PostParams::default(), slice).await;
            self.slices.record(written.map_err(Error::api(format!("replacing endpoint slice {name}")))?);
        }
        for slice in &plan.delete {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(Error::api(format!("deleting endpoint slice {name}"))(error)),
            }
        }
        Ok(Next::Change)
    }
}

impl EndpointSliceController {
    fn zones(&self, pods: &[Arc<Pod>]) -> HashMap<String, String> {
        let mut zones = HashMap::new();
        for node in pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()) {
            if zones.contains_key(node) {
                continue;
            }
            let object = self.nodes.get(&ObjectKey::new("", node));
            let zone = object.as_ref().and_then(|object| object.metadata.labels.as_ref()?.get(ZONE));
            if let Some(zone) = zone {
                zones.insert(node.to_string(), zone.clone());
            }
        }
        zones
    }
}

fn is_ours(slice: &EndpointSlice, service: &str) -> bool {
    let label = |key: &str| slice.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    slice.metadata.deletion_timestamp.is_none() && label(SERVICE_NAME) == Some(service) && label(MANAGED_BY) == Some(MANAGER)
}
