//! One pass over a ServiceCIDR.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, is_not_found};
use orknet_resources::kinds::ip_address::{ALLOCATOR, MANAGED_BY};
use serde_json::json;

use super::plan::{self, Step};
use crate::write_status::write_status;

pub(super) struct RangeController {
    pub client: Client,
    pub ranges: Arc<Informer<ServiceCIDR>>,
    pub addresses: Arc<Informer<IPAddress>>,
    pub recorder: Recorder,
}

impl Reconciler for RangeController {
    type Key = ObjectKey;
    const NAME: &'static str = "service-cidr-controller";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(range) = self.ranges.get(key) else { return Ok(Next::Change) };
        let api = Api::<ServiceCIDR>::all(self.client.clone());
        let is_held = range.metadata.deletion_timestamp.is_some() && self.is_held(&range).await?;
        match plan::step(&range, || is_held, &Time(Timestamp::now())) {
            Step::Nothing => Ok(Next::Change),
            Step::Finalizers(finalizers) => {
                // With the version that was looked at.
                let meta = &range.metadata;
                let patch = json!({ "metadata": { "resourceVersion": meta.resource_version, "uid": meta.uid, "finalizers": finalizers } });
                match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                    Ok(_) => Ok(Next::Change),
                    Err(error) if is_not_found(&error) => Ok(Next::Change),
                    Err(error) => Err(Error::api(format!("setting the finalizers of ServiceCIDR {key}"))(error)),
                }
            }
            Step::Status(status) => {
                let written = write_status(&api, &self.ranges, &*range, range.status.as_ref(), &status).await;
                if written.as_ref().is_err_and(|error| !error.is_race()) && range.metadata.deletion_timestamp.is_none() {
                    let message = "The ServiceCIDR Status can not be set to Ready=True".to_owned();
                    self.recorder.record(&*range, EventType::Warning, "KubernetesServiceCIDRError", message);
                }
                written.map(|_| Next::Change)
            }
        }
    }
}

impl RangeController {
    async fn is_held(&self, range: &ServiceCIDR) -> Result<bool, Error> {
        let (ranges, addresses) = (self.ranges.all(), self.addresses.all());
        if plan::is_held(range, ranges.iter().map(|range| &**range), addresses.iter().map(|address| &**address)) {
            return Ok(true);
        }
        // The watches may be behind: the lists are of this moment. No server gives an address from a range any more whose deletion has begun.
        let none = ListParams::default();
        let ranges = Api::<ServiceCIDR>::all(self.client.clone()).list(&none).await.map_err(Error::api("listing ServiceCIDRs"))?;
        let given = ListParams::default().labels(&format!("{MANAGED_BY}={ALLOCATOR}"));
        let addresses = Api::<IPAddress>::all(self.client.clone()).list(&given).await.map_err(Error::api("listing IPAddresses"))?;
        Ok(plan::is_held(range, &ranges.items, addresses.items.iter()))
    }
}
