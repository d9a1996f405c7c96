//! One pass over a policy: read what is known of its kinds, check, write the status.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use http::Request;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found};
use orknet_resources::type_checking::{GroupVersionKind, TypedKind, warnings};
use serde_json::Value;

use super::plan;
use crate::write_status::write_status;

pub(super) struct PolicyStatusController {
    pub client: Client,
    pub policies: Arc<Informer<ValidatingAdmissionPolicy>>,
}

impl Reconciler for PolicyStatusController {
    type Key = ObjectKey;
    const NAME: &'static str = "validatingadmissionpolicy-status";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(policy) = self.policies.get(key).filter(|policy| plan::is_to_be_checked(policy)) else { return Ok(Next::Change) };
        let spec = policy.spec.clone().unwrap_or_default();
        let kinds = self.kinds(&policy).await?;
        let parameters: Vec<GroupVersionKind> = spec.param_kind.iter().map(plan::parameters).collect();
        let (kinds, parameters) = (self.typed(kinds).await?, self.typed(parameters).await?);
        // Compiling for ten kinds may take a while.
        let checked = tokio::task::spawn_blocking(move || warnings(&spec, &kinds, parameters.first())).await;
        let warnings = checked.map_err(|error| Error::Malformed(format!("checking the policy {}: {error}", key.name)))?;
        let status = plan::status(&policy, warnings);
        let api = Api::<ValidatingAdmissionPolicy>::all(self.client.clone());
        write_status(&api, &self.policies, &policy, policy.status.as_ref(), &status).await?;
        Ok(Next::Change)
    }
}

impl PolicyStatusController {
    /// The kinds that the policy is checked for.
    async fn kinds(&self, policy: &ValidatingAdmissionPolicy) -> Result<Vec<GroupVersionKind>, Error> {
        let rules = plan::named(policy);
        let mut lists: HashMap<String, Option<Value>> = HashMap::new();
        for named in rules.iter().flatten() {
            let Some(root) = plan::root(&named.group, &named.version) else { continue };
            if let Entry::Vacant(unread) = lists.entry(root) {
                let list = self.get(unread.key()).await?;
                unread.insert(list);
            }
        }
        let kind_of = |named: &plan::Named| {
            let list = lists.get(&plan::root(&named.group, &named.version)?)?.as_ref()?;
            plan::kind_in(list, &named.resource)
        };
        Ok(plan::kinds(&rules, kind_of))
    }

    /// The kinds with their types; those that are not described are left out.
    async fn typed(&self, kinds: Vec<GroupVersionKind>) -> Result<Vec<TypedKind>, Error> {
        let mut found = Vec::new();
        // They are sorted: those of one document follow each other.
        let mut last: Option<(String, Option<Value>)> = None;
        for kind in kinds {
            let Some(root) = plan::root(&kind.group, &kind.version) else { continue };
            let path = format!("/openapi/v3{root}");
            if last.as_ref().is_none_or(|(of, _)| *of != path) {
                let document = self.get(&path).await?;
                last = Some((path, document));
            }
            let document = last.as_ref().and_then(|(_, document)| document.as_ref());
            found.extend(document.and_then(|document| TypedKind::from_document(kind, document)));
        }
        Ok(found)
    }

    /// GET as JSON; `None` where nothing is.
    async fn get(&self, path: &str) -> Result<Option<Value>, Error> {
        let malformed = |error| Error::Malformed(format!("{path} is no path: {error}"));
        let request = Request::get(path).body(Vec::new()).map_err(malformed)?;
        match self.client.request(request).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(Error::api(format!("reading {path}"))(error)),
        }
    }
}
