//! One pass over a Secret: look, plan, read it as it is now, write.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use orknet_auth::tokens::{ACCOUNT_UID, Legacy, Reference, TokenIssuer};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found};

use super::is_token;
use super::plan::{self, CA_FILE, Lacks, NAMESPACE, Plan, TOKEN, account_of};
use crate::delete_exact::delete_exact;

pub(super) struct TokenSecretController {
    pub client: Client,
    pub issuer: Arc<TokenIssuer>,
    pub root_ca: String,
    pub secrets: Arc<Informer<Secret>>,
    pub accounts: Arc<Informer<ServiceAccount>>,
}

impl Reconciler for TokenSecretController {
    type Key = ObjectKey;
    const NAME: &'static str = "token-secrets";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(secret) = self.secrets.get(key).filter(|secret| is_token(secret)) else { return Ok(Next::Change) };
        let Some(name) = account_of(&secret) else { return Ok(Next::Change) };
        let known = self.accounts.get(&ObjectKey::new(&key.namespace, name));
        if plan::plan(&secret, known.as_deref(), &self.root_ca) == Plan::Nothing {
            return Ok(Next::Change);
        }
        // Both as they are now: a copy may be old, and a pruned one is not to be written back.
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.namespace);
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &key.namespace);
        let account = accounts.get_opt(name).await.map_err(Error::api(format!("reading the service account {name}")))?;
        let fresh = api.get_opt(&key.name).await.map_err(Error::api(format!("reading the secret {key}")))?;
        let Some(fresh) = fresh.filter(|fresh| is_token(fresh) && account_of(fresh) == Some(name)) else { return Ok(Next::Change) };
        match (plan::plan(&fresh, account.as_ref(), &self.root_ca), account) {
            (Plan::Nothing, _) | (Plan::Fill(_), None) => {}
            (Plan::Delete, _) => drop(delete_exact(&api, &fresh, DeleteParams::default()).await?),
            (Plan::Fill(lacks), Some(account)) => self.fill(&api, fresh, &account, &lacks, key).await?,
        }
        Ok(Next::Change)
    }
}

impl TokenSecretController {
    async fn fill(
        &self,
        api: &Api<Secret>,
        mut secret: Secret,
        account: &ServiceAccount,
        lacks: &Lacks,
        key: &ObjectKey,
    ) -> Result<(), Error> {
        let reference =
            Reference { name: account.metadata.name.clone().unwrap_or_default(), uid: account.metadata.uid.clone().unwrap_or_default() };
        if lacks.uid {
            secret.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.to_owned(), reference.uid.clone());
        }
        let data = secret.data.get_or_insert_default();
        if lacks.ca {
            data.insert(CA_FILE.to_owned(), ByteString(self.root_ca.clone().into_bytes()));
        }
        if lacks.namespace {
            data.insert(NAMESPACE.to_owned(), ByteString(key.namespace.as_bytes().to_vec()));
        }
        if lacks.token {
            let token = Legacy { namespace: key.namespace.to_string(), account: reference, secret: key.name.to_string() };
            let token = self.issuer.issue_legacy(&token).map_err(|error| Error::Malformed(format!("the token of {key}: {error}")))?;
            data.insert(TOKEN.to_owned(), ByteString(token.into_bytes()));
        }
        match api.replace(&key.name, &PostParams::default(), &secret).await {
            Ok(written) => self.secrets.record(written),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("filling the secret {key}"))(error)),
        }
        Ok(())
    }
}
