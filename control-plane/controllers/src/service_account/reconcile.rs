//! One pass over a namespace: read the stores, plan, write.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Cached, Error, Informer, Next, ObjectKey, Reconciler, is_already_exists, is_namespace_terminating, is_not_found};
use serde_json::json;

use super::plan::{self, CA_FILE, DEFAULT_ACCOUNT, ROOT_CA, RootCa};

pub(super) struct ServiceAccountController {
    /// Makes accounts.
    pub client: Client,
    /// Publishes the root certificate.
    pub publisher: Client,
    pub root_ca: String,
    pub namespaces: Arc<Informer<Namespace>>,
    pub accounts: Arc<Informer<ServiceAccount>>,
    pub config_maps: Arc<Informer<ConfigMap>>,
}

impl Reconciler for ServiceAccountController {
    type Key = Arc<str>;
    const NAME: &'static str = "serviceaccount";

    async fn reconcile(&self, name: &Arc<str>) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get(&ObjectKey::new("", name)) else { return Ok(Next::Change) };
        let has_account = self.accounts.get(&ObjectKey::new(name, DEFAULT_ACCOUNT)).is_some();
        let config_map = self.config_maps.get(&ObjectKey::new(name, ROOT_CA));
        let plan = plan::plan(&namespace, has_account, config_map.as_deref(), &self.root_ca);
        let metadata = |own: &str| ObjectMeta { name: Some(own.into()), namespace: Some(name.to_string()), ..ObjectMeta::default() };
        if plan.create_account {
            let api = Api::namespaced(self.client.clone(), name);
            let account = ServiceAccount { metadata: metadata(DEFAULT_ACCOUNT), ..ServiceAccount::default() };
            let created = api.create(&PostParams::default(), &account).await;
            accept(&self.accounts, created, &format!("creating the default service account of {name}"))?;
        }
        let api = Api::<ConfigMap>::namespaced(self.publisher.clone(), name);
        let data = BTreeMap::from([(CA_FILE.to_string(), self.root_ca.clone())]);
        match plan.root_ca {
            RootCa::Keep => {}
            RootCa::Create => {
                let map = ConfigMap { metadata: metadata(ROOT_CA), data: Some(data), ..ConfigMap::default() };
                let created = api.create(&PostParams::default(), &map).await;
                accept(&self.config_maps, created, &format!("creating the root certificate's config map of {name}"))?;
            }
            RootCa::Replace => {
                let patch = Patch::Merge(json!({ "data": data }));
                let written = api.patch(ROOT_CA, &PatchParams::default(), &patch).await;
                accept(&self.config_maps, written, &format!("renewing the root certificate's config map of {name}"))?;
            }
        }
        Ok(Next::Change)
    }
}

/// An object that somebody else made or removed meanwhile is as good: the watch will tell. A namespace in deletion needs nothing.
fn accept<K: Cached>(informer: &Informer<K>, result: Result<K, kube::Error>, operation: &str) -> Result<(), Error> {
    match result {
        Ok(object) => informer.record(object),
        Err(error) if is_already_exists(&error) || is_not_found(&error) || is_namespace_terminating(&error) => {}
        Err(error) => return Err(Error::api(operation)(error)),
    }
    Ok(())
}
