//! One pass over a claim or a volume that is going, or that has no finalizer.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::plan;

pub(super) struct ClaimProtection {
    pub client: Client,
    pub claims: Arc<Informer<PersistentVolumeClaim>>,
    pub pods: Arc<Informer<Pod>>,
}

impl Reconciler for ClaimProtection {
    type Key = ObjectKey;
    const NAME: &'static str = "pvc-protection";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(claim) = self.claims.get(key) else { return Ok(Next::Change) };
        let is_going = claim.metadata.deletion_timestamp.is_some();
        let is_used = is_going && self.is_used(key, &claim).await?;
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        write(&api, &*claim, plan::finalizers(&claim.metadata, plan::OF_CLAIMS, is_used)).await
    }
}

impl ClaimProtection {
    async fn is_used(&self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<bool, Error> {
        if self.pods.in_namespace(&key.namespace).iter().any(|pod| plan::uses(pod, claim)) {
            return Ok(true);
        }
        // The watch may be behind: the list is of this moment.
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let pods = api.list(&ListParams::default()).await.map_err(Error::api(format!("listing pods in {}", key.namespace)))?;
        Ok(pods.items.iter().any(|pod| plan::uses(pod, claim)))
    }
}

pub(super) struct VolumeProtection {
    pub client: Client,
    pub volumes: Arc<Informer<PersistentVolume>>,
}

impl Reconciler for VolumeProtection {
    type Key = ObjectKey;
    const NAME: &'static str = "pv-protection";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(volume) = self.volumes.get(key) else { return Ok(Next::Change) };
        let api = Api::<PersistentVolume>::all(self.client.clone());
        write(&api, &*volume, plan::finalizers(&volume.metadata, plan::OF_VOLUMES, plan::is_bound(&volume))).await
    }
}

/// With the version that was looked at.
async fn write<K>(api: &Api<K>, object: &K, finalizers: Option<Vec<String>>) -> Result<Next, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let Some(finalizers) = finalizers else { return Ok(Next::Change) };
    let meta = object.meta();
    let patch = json!({ "metadata": { "resourceVersion": meta.resource_version, "uid": meta.uid, "finalizers": finalizers } });
    let name = meta.name.as_deref().unwrap_or_default();
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(Next::Change),
        Err(error) if is_not_found(&error) => Ok(Next::Change),
        Err(error) => Err(Error::api(format!("setting the finalizers of {} {name}", K::kind(&())))(error)),
    }
}
