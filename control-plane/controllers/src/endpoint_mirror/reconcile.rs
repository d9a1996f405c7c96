//! One pass over the Endpoints of one name: read the stores, plan, write slices.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};

use super::{MANAGER, plan};
use crate::endpoint_slice::service_of;

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
        slices.retain(|slice| service_of(slice, MANAGER).as_ref() == Some(key));
        let plan = plan::plan(endpoints.as_deref(), service.as_deref(), slices);
        plan.write(&self.client, key, &self.slices).await?;
        Ok(Next::Change)
    }
}
