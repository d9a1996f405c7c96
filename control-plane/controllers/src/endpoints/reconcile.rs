//! One pass over a Service: read the stores, compare, write. The Endpoints of a Service that is gone are deleted.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_namespace_terminating, is_not_found, selector};

use super::plan;

pub(super) struct EndpointsController {
    pub client: Client,
    pub services: Arc<Informer<Service>>,
    pub pods: Arc<Informer<Pod>>,
    pub endpoints: Arc<Informer<Endpoints>>,
}

impl Reconciler for EndpointsController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpoints";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let api = Api::<Endpoints>::namespaced(self.client.clone(), &key.namespace);
        let present = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            if present.is_some()
                && let Err(error) = api.delete(&key.name, &DeleteParams::default()).await
                && !is_not_found(&error)
            {
                return Err(Error::api(format!("deleting endpoints {key}"))(error));
            }
            return Ok(Next::Change);
        };
        let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
            return Ok(Next::Change);
        };
        let Some(wanted) = spec.selector.as_ref().filter(|wanted| !wanted.is_empty()) else { return Ok(Next::Change) };
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selector::matches_map(wanted, pod.metadata.labels.as_ref()));
        let desired = plan::desired(&service, &pods, present.as_deref());
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
