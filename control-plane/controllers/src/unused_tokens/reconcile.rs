//! One pass over an account: look at the tokens that it lists, plan, write.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use orknet_auth::tokens::INVALID_SINCE;
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found};
use serde_json::json;

use super::plan::{self, Step};
use crate::delete_exact::delete_exact;
use crate::token_secrets::is_token;

/// The API server's ConfigMap that says since when uses are written down.
const TRACKING: (&str, &str) = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking");
/// Between two looks.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) struct UnusedTokenController {
    pub client: Client,
    /// Which lists pods, that the controller itself may not.
    pub reader: Client,
    pub accounts: Arc<Informer<ServiceAccount>>,
    pub secrets: Arc<Informer<Secret>>,
}

impl Reconciler for UnusedTokenController {
    type Key = ObjectKey;
    const NAME: &'static str = "unused-tokens";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(account) = self.accounts.get(key) else { return Ok(Next::Change) };
        let names = account.secrets.iter().flatten().filter_map(|reference| reference.name.as_deref());
        let secrets = names.filter_map(|name| self.secrets.get(&ObjectKey::new(&key.namespace, name)));
        let secrets: Vec<Arc<Secret>> = secrets.filter(|secret| is_token(secret) && plan::is_of(secret, &account)).collect();
        if secrets.is_empty() {
            return Ok(Next::Change);
        }
        let tracking = Api::<ConfigMap>::namespaced(self.client.clone(), TRACKING.0).get_opt(TRACKING.1).await;
        let tracking = tracking.map_err(Error::api("reading since when uses of tokens are written down"))?;
        let since = tracking.and_then(|map| plan::date(map.data?.get("since")?));
        // Nobody writes them down: nothing is known of any use.
        let Some(since) = since else { return Ok(Next::After(DAY)) };
        let now = Timestamp::now();
        let due: Vec<_> =
            secrets.iter().map(|secret| (secret, plan::step(secret, since, now))).filter(|(_, step)| *step != Step::Nothing).collect();
        if !due.is_empty() {
            let pods = Api::<Pod>::namespaced(self.reader.clone(), &key.namespace).list(&ListParams::default()).await;
            let pods = pods.map_err(Error::api(format!("listing pods in {}", key.namespace)))?;
            let used = plan::used(&pods.items);
            for (secret, step) in due {
                if !secret.metadata.name.as_deref().is_some_and(|name| used.contains(name)) {
                    self.carry_out(secret, &step, now).await?;
                }
            }
        }
        Ok(Next::After(DAY))
    }
}

impl UnusedTokenController {
    async fn carry_out(&self, secret: &Secret, step: &Step, now: Timestamp) -> Result<(), Error> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let api = Api::<Secret>::namespaced(self.client.clone(), secret.metadata.namespace.as_deref().unwrap_or_default());
        match step {
            Step::Nothing => {}
            Step::Delete => drop(delete_exact(&api, secret, DeleteParams::default()).await?),
            Step::Refuse => {
                let today: String = now.to_string().chars().take("2006-01-02".len()).collect();
                // With its version: a use meanwhile is not passed over.
                let metadata = json!({ "resourceVersion": secret.metadata.resource_version, "labels": { INVALID_SINCE: today } });
                match api.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "metadata": metadata }))).await {
                    Ok(written) => self.secrets.record(written),
                    Err(error) if is_not_found(&error) => {}
                    Err(error) => return Err(Error::api(format!("marking the unused token {name}"))(error)),
                }
            }
        }
        Ok(())
    }
}
