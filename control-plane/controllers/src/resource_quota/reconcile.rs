//! One pass over a quota: list what it bounds, count, write the status.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, ObjectList, Patch, PatchParams, VersionMatch};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found, merge_patch};
use orknet_resources::counting::{Amounts, Counted, bounded, in_scope, is_counted, usage};
use orknet_resources::quantity::Quantity;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use super::pace::Paces;
use super::plan;
use crate::cluster_objects::{ClusterObjects, Kind};

pub(super) struct QuotaController {
    pub client: Client,
    pub quotas: Arc<Informer<ResourceQuota>>,
    pub objects: Arc<ClusterObjects>,
    pub paces: Paces,
}

/// What was counted.
struct Count {
    amounts: Amounts,
    /// When the first pod in deletion counts no more.
    overdue: Option<Timestamp>,
}

impl Reconciler for QuotaController {
    type Key = ObjectKey;
    const NAME: &'static str = "resource-quota";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if self.quotas.get(key).is_none() {
            self.paces.forget(key);
            return Ok(Next::Change);
        }
        let began = Instant::now();
        if let Some(rest) = self.paces.rest(key, began) {
            return Ok(Next::After(rest));
        }
        let done = self.pass(key).await;
        self.paces.counted(key, began, Instant::now());
        done
    }
}

impl QuotaController {
    async fn pass(&self, key: &ObjectKey) -> Result<Next, Error> {
        // As it is now: a copy from before the last charge could have the very count that is found after a deletion, and nothing would be written.
        let api = Api::<ResourceQuota>::namespaced(self.client.clone(), &key.namespace);
        let newest = api.get_opt(&key.name).await.map_err(Error::api(format!("reading the quota {key}")))?;
        let Some(quota) = newest else { return Ok(Next::Change) };
        let now = Timestamp::now();
        let count = self.count(key, &quota, now).await?;
        let status = plan::status(&quota, &count.amounts);
        if !plan::is_same(quota.status.as_ref(), &status) {
            let malformed = |error| Error::Malformed(format!("status of quota {key} can't be encoded: {error}"));
            let old = serde_json::to_value(&quota.status).map_err(malformed)?;
            let change = merge_patch::diff(&old, &serde_json::to_value(&status).map_err(malformed)?);
            // With the version that was counted for: whatever was charged since must not be taken back.
            let patch = json!({ "metadata": { "resourceVersion": quota.metadata.resource_version }, "status": change });
            let written = api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
            self.quotas.record(written.map_err(Error::api(format!("writing the status of quota {key}")))?);
        }
        Ok(Next::After(plan::again(quota.status.as_ref(), &status, count.overdue, now)))
    }

    /// How much is used of everything that the quota bounds and that a served kind has.
    async fn count(&self, key: &ObjectKey, quota: &ResourceQuota, now: Timestamp) -> Result<Count, Error> {
        let kinds = self.objects.kinds();
        if kinds.is_empty() {
            return Err(Error::Malformed("discovery has not answered yet".into()));
        }
        let mut count = Count { amounts: Amounts::default(), overdue: None };
        for kind in kinds.iter().filter(|kind| kind.is_namespaced() && kind.supports("list") && kind.supports("create")) {
            let (group, plural) = (&kind.resource.group[..], &kind.resource.plural[..]);
            if !is_counted(group, plural) {
                continue;
            }
            let names: Vec<&str> = plan::names(quota).filter(|name| bounded(group, plural, name)).collect();
            if names.is_empty() {
                continue;
            }
            match self.count_kind(key, quota, kind, now, &mut count.overdue).await {
                Ok(used) => {
                    count.amounts.add(&plan::nothing(names.iter().copied()));
                    count.amounts.add(&used.only(|name| names.contains(&name)));
                }
                // No longer served.
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(Error::api(format!("listing {} in {}", kind.id(), key.namespace))(error)),
            }
        }
        Ok(count)
    }

    async fn count_kind(
        &self,
        key: &ObjectKey,
        quota: &ResourceQuota,
        kind: &Kind,
        now: Timestamp,
        overdue: &mut Option<Timestamp>,
    ) -> Result<Amounts, kube::Error> {
        let (group, plural) = (&kind.resource.group[..], &kind.resource.plural[..]);
        let spec = quota.spec.clone().unwrap_or_default();
        let mut used = Amounts::default();
        match (group, plural) {
            ("", "pods") => {
                for pod in self.list::<Pod>(key, quota).await?.items.iter().filter(|pod| in_scope(&spec, Some(pod))) {
                    used.add(&usage(group, plural, Counted::Pod(pod), now));
                    let later = plan::overdue_at(pod).filter(|at| *at > now);
                    *overdue = [*overdue, later].into_iter().flatten().min();
                }
            }
            // What is no pod is in no scope.
            _ if !in_scope(&spec, None) => {}
            ("", "services") => {
                self.list::<Service>(key, quota).await?.items.iter().for_each(|service| {
                    used.add(&usage(group, plural, Counted::Service(service), now));
                });
            }
            ("", "persistentvolumeclaims") => {
                self.list::<PersistentVolumeClaim>(key, quota).await?.items.iter().for_each(|claim| {
                    used.add(&usage(group, plural, Counted::Claim(claim), now));
                });
            }
            _ => {
                // One object, and the server says how many more there are.
                let listed = self.objects.api(&self.client, kind, &key.namespace).list(&at(quota).limit(1)).await?;
                let more = listed.metadata.remaining_item_count.unwrap_or(0);
                let there = i64::try_from(listed.items.len()).unwrap_or(i64::MAX).saturating_add(more);
                let names = usage(group, plural, Counted::Other, now);
                used = names.names().map(|name| (name, Quantity::of_units(there))).collect();
            }
        }
        Ok(used)
    }

    async fn list<K>(&self, key: &ObjectKey, quota: &ResourceQuota) -> Result<ObjectList<K>, kube::Error>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        Api::<K>::namespaced(self.client.clone(), &key.namespace).list(&at(quota)).await
    }
}

/// What is listed is no older than the quota.
fn at(quota: &ResourceQuota) -> ListParams {
    let version = quota.metadata.resource_version.as_deref().unwrap_or("0");
    ListParams::default().at(version).matching(VersionMatch::NotOlderThan)
}
