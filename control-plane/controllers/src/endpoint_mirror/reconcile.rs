//! One pass over the Endpoints of one name: read the stores, plan, write slices.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use orknet_reconciler::{Error, Index, Informer, Next, ObjectKey, Reconciler};

use super::plan;

pub(super) struct MirrorController {
    pub client: Client,
    pub endpoints: Arc<Informer<Endpoints>>,
    pub services: Arc<Informer<Service>>,
    /// By the Service that they mirror for.
    pub slices: Index<ObjectKey, EndpointSlice>,
}

impl Reconciler for MirrorController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpointslice-mirroring";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let endpoints = self.endpoints.get(key);
        let service = self.services.get(key);
        let plan = plan::plan(endpoints.as_deref(), service.as_deref(), self.slices.of(key));
        plan.write(&self.client, key, self.slices.objects()).await?;
        Ok(Next::Change)
    }
}
