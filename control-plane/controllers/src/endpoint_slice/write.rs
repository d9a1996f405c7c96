//! Writes what a plan says about the slices of one Service.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, ObjectKey, is_namespace_terminating};

use crate::delete_exact::delete_exact;

/// Slices to write.
#[derive(Debug, Default)]
pub(crate) struct SliceChanges {
    pub create: Vec<EndpointSlice>,
    /// Whole new versions of existing slices.
    pub replace: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

impl SliceChanges {
    /// Creations first, removals last: no endpoint is missing in between. In a namespace that is being deleted nothing is written.
    pub async fn write(self, client: &Client, service: &ObjectKey, slices: &Informer<EndpointSlice>) -> Result<(), Error> {
        let api = Api::<EndpointSlice>::namespaced(client.clone(), &service.namespace);
        for slice in &self.create {
            match api.create(&PostParams::default(), slice).await {
                Ok(written) => slices.record(written),
                Err(error) if is_namespace_terminating(&error) => return Ok(()),
                Err(error) => return Err(Error::api(format!("creating a slice of service {service}"))(error)),
            }
        }
        for slice in &self.replace {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let written = api.replace(name, &PostParams::default(), slice).await;
            slices.record(written.map_err(Error::api(format!("replacing endpoint slice {name}")))?);
        }
        for slice in &self.delete {
            delete_exact(&api, &**slice, DeleteParams::default()).await?;
        }
        Ok(())
    }
}
