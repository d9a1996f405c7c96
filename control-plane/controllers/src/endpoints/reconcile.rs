//! One pass over a Service: read the stores, compare, write. The Endpoints of a Service that is gone are deleted.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, Selecting, is_namespace_terminating};

use super::plan;
use crate::delete_exact::delete_exact;
use crate::endpoint_slice::TriggerTimes;

pub(super) struct EndpointsController {
    pub client: Client,
    pub services: Arc<Informer<Service>>,
    pub pods: Arc<Informer<Pod>>,
    pub endpoints: Arc<Informer<Endpoints>>,
    pub trigger_times: TriggerTimes,
}

impl Reconciler for EndpointsController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpoints";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let api = Api::<Endpoints>::namespaced(self.client.clone(), &key.namespace);
        let present = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            self.trigger_times.forget(key);
            if let Some(present) = present {
                delete_exact(&api, &*present, DeleteParams::default()).await?;
            }
            return Ok(Next::Change);
        };
        let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
            return Ok(Next::Change);
        };
        if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            return Ok(Next::Change);
        }
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| service.selects(pod.metadata.labels.as_ref()));
        let trigger = self.trigger_times.of(key, &service, &pods);
        let desired = plan::desired(&service, &pods, present.as_deref(), trigger);
        let written = match &present {
            Some(present) if plan::is_same(present, &desired) => return Ok(Next::Change),
            Some(_) => api.replace(&key.name, &PostParams::default(), &desired).await,
            None => api.create(&PostParams::default(), &desired).await,
        };
        match written {
            Ok(written) => self.endpoints.record(written),
            Err(error) if is_namespace_terminating(&error) => {}
            Err(error) => return Err(Error::api(format!("writing endpoints {key}"))(error)),
        }
        Ok(Next::Change)
    }
}
