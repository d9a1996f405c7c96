//! One pass: read, plan, write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_auth::bootstrap_tokens::{Expiry, NAMESPACE, expiry};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_already_exists};
use serde_json::json;

use super::plan::{self, CLUSTER_INFO, KUBECONFIG, PUBLIC};
use super::{Work, is_token};
use crate::delete_exact::delete_exact;

pub(super) struct BootstrapTokenController {
    /// Publishes and signs `cluster-info`.
    pub signer: Client,
    /// Deletes tokens.
    pub cleaner: Client,
    /// A kubeconfig without credentials, where one is to be published.
    pub cluster: Option<String>,
    pub secrets: Arc<Informer<Secret>>,
}

impl Reconciler for BootstrapTokenController {
    type Key = Work;
    const NAME: &'static str = "bootstrap-tokens";

    async fn reconcile(&self, work: &Work) -> Result<Next, Error> {
        match work {
            Work::Token(key) => self.clean(key).await,
            Work::Sign => self.sign().await.map(|()| Next::Change),
        }
    }
}

impl BootstrapTokenController {
    /// Deletes a token that has expired; of another, comes back when it will have.
    async fn clean(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(secret) = self.secrets.get(key).filter(|secret| is_token(secret)) else { return Ok(Next::Change) };
        let now = Timestamp::now();
        match expiry(&secret, now) {
            Expiry::Never => Ok(Next::Change),
            // A moment late rather than a moment early.
            Expiry::At(time) => {
                let left = Duration::try_from(time.duration_since(now)).unwrap_or_default();
                Ok(Next::After(left + Duration::from_millis(10)))
            }
            Expiry::Past => {
                delete_exact(&Api::namespaced(self.cleaner.clone(), NAMESPACE), &*secret, DeleteParams::default()).await?;
                Ok(Next::Change)
            }
        }
    }

    async fn sign(&self) -> Result<(), Error> {
        let api = Api::<ConfigMap>::namespaced(self.signer.clone(), PUBLIC);
        let found = match api.get_opt(CLUSTER_INFO).await.map_err(Error::api("reading cluster-info"))? {
            Some(found) => found,
            None => match &self.cluster {
                Some(cluster) => self.publish(&api, cluster).await?,
                None => return Ok(()),
            },
        };
        let secrets = self.secrets.in_namespace(NAMESPACE);
        let changes = plan::plan(&found.data.unwrap_or_default(), secrets.iter().map(|secret| &**secret), Timestamp::now());
        if changes.is_empty() {
            return Ok(());
        }
        // With its version: what was signed is what is there.
        let patch = json!({"metadata": {"resourceVersion": found.metadata.resource_version}, "data": changes});
        let written = api.patch(CLUSTER_INFO, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.map(drop).map_err(Error::api("signing cluster-info"))
    }

    /// Somebody's own is left as it is.
    async fn publish(&self, api: &Api<ConfigMap>, cluster: &str) -> Result<ConfigMap, Error> {
        let metadata = ObjectMeta { name: Some(CLUSTER_INFO.into()), namespace: Some(PUBLIC.into()), ..ObjectMeta::default() };
        let data = Some(BTreeMap::from([(KUBECONFIG.to_owned(), cluster.to_owned())]));
        match api.create(&PostParams::default(), &ConfigMap { metadata, data, ..ConfigMap::default() }).await {
            Err(error) if is_already_exists(&error) => api.get(CLUSTER_INFO).await.map_err(Error::api("reading cluster-info")),
            made => made.map_err(Error::api("publishing cluster-info")),
        }
    }
}
