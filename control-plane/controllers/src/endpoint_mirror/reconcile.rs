//! One pass over the Endpoints of one name: read the stores, plan, write slices.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_namespace_terminating, is_not_found};

use super::{mirrored, plan};

pub(super) struct MirrorController {
    pub client: Client,
    pub endpoints: Arc<Informer<Endpoints>>,
    pub services: Arc<Informer<Service>>,
    pub slices: Arc<Informer<EndpointSlice>>,
}

impl Reconciler for MirrorController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpointslice-mirroring";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let endpoints = self.endpoints.get(key);
        let service = self.services.get(key);
        let mut slices = self.slices.in_namespace(&key.namespace);
        slices.retain(|slice| mirrored(slice).as_ref() == Some(key));
        let plan = plan::plan(endpoints.as_deref(), service.as_deref(), slices);
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), &key.namespace);
        for slice in &plan.create {
            match api.create(&PostParams::default(), slice).await {
                Ok(written) => self.slices.record(written),
                Err(error) if is_namespace_terminating(&error) => return Ok(Next::Change),
                Err(error) => return Err(Error::api(format!("mirroring endpoints {key}"))(error)),
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
