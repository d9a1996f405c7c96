//! One pass over a ClusterRole: read the store, plan, write its rules.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};
use serde_json::json;

use super::plan;

pub(super) struct ClusterRoleAggregationController {
    pub client: Client,
    pub roles: Arc<Informer<ClusterRole>>,
}

impl Reconciler for ClusterRoleAggregationController {
    type Key = ObjectKey;
    const NAME: &'static str = "clusterrole-aggregation";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(role) = self.roles.get(key) else { return Ok(Next::Change) };
        let Some(rules) = plan::plan(&role, &self.roles.all()) else { return Ok(Next::Change) };
        let patch = json!({ "metadata": { "resourceVersion": role.metadata.resource_version }, "rules": rules });
        let api = Api::<ClusterRole>::all(self.client.clone());
        let written = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.roles.record(written.map_err(Error::api(format!("writing the rules of cluster role {}", key.name)))?);
        Ok(Next::Change)
    }
}
