//! One pass over an object that has a companion: read the stores, plan, write the companion. The API server makes it with its object, takes back
//! what it says when the object changes, and removes it with the object; made here is only what somebody removed.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Cached, Error, Informer, Next, ObjectKey, Reconciler, is_namespace_terminating, is_not_found, merge_patch};
use orknet_resources::kinds::programming::{NetworkPolicyStatus, ProgrammingStatus, ServiceStatus};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::pace::Pace;
use super::plan::{self, Mark};
use super::progress::Progress;
use crate::ownership::controller_reference;

/// A kind of companion.
pub(super) trait Companion: Cached + Serialize + Resource<Scope = NamespaceResourceScope> {
    /// The controller's name in logs.
    const CONTROLLER: &'static str;
    fn new(metadata: ObjectMeta, status: ProgrammingStatus) -> Self;
    fn status(&self) -> Option<&ProgrammingStatus>;
}

macro_rules! companion {
    ($kind:ident, $controller:literal) => {
        impl Companion for $kind {
            const CONTROLLER: &'static str = $controller;

            fn new(metadata: ObjectMeta, status: ProgrammingStatus) -> Self {
                let (api_version, kind) = (Self::api_version(&()).into_owned(), Self::kind(&()).into_owned());
                Self { api_version, kind, metadata, status: Some(status) }
            }

            fn status(&self) -> Option<&ProgrammingStatus> {
                self.status.as_ref()
            }
        }
    };
}

companion!(NetworkPolicyStatus, "networkpolicy-programming");
companion!(ServiceStatus, "service-programming");

pub(super) struct CompanionController<K, C> {
    pub client: Client,
    pub objects: Arc<Informer<K>>,
    pub companions: Arc<Informer<C>>,
    pub progress: Arc<Mutex<Progress>>,
    pub pace: Pace,
}

/// What a companion should be.
struct Wanted<C> {
    present: Option<Arc<C>>,
    desired: C,
}

impl<K, C> Reconciler for CompanionController<K, C>
where
    K: Cached + Resource<Scope = NamespaceResourceScope>,
    C: Companion,
{
    type Key = ObjectKey;
    const NAME: &'static str = C::CONTROLLER;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if let Some(wanted) = self.pace.in_turn(|| self.wanted(key)).await {
            self.write(key, &wanted).await?;
        }
        Ok(Next::Change)
    }
}

impl<K, C> CompanionController<K, C>
where
    K: Cached + Resource<Scope = NamespaceResourceScope>,
    C: Companion,
{
    /// `None` when there is nothing to write.
    fn wanted(&self, key: &ObjectKey) -> Option<Wanted<C>> {
        let object = self.objects.get(key);
        let Some(object) = object.filter(|object| object.meta().deletion_timestamp.is_none()) else {
            self.progress.lock().forget(key);
            return None;
        };
        let present = self.companions.get(key);
        let meta = object.meta();
        if present.as_deref().is_some_and(|present| plan::is_ahead(present.meta(), meta)) {
            return None;
        }
        let noted = present.as_deref().and_then(noted);
        let mark = plan::mark(meta, noted);
        let verdict = {
            let mut progress = self.progress.lock();
            progress.set_mark(key, mark.clone());
            progress.verdict(key, mark.version)
        };
        let before = present.as_deref().and_then(Companion::status);
        // What is said of a former object of the name is nothing of this one.
        let is_of_it = present.as_deref().is_some_and(|present| controller_of(present.meta()).is_some_and(|owner| owner.uid == mark.uid));
        let conditions = before.filter(|_| is_of_it).and_then(|before| before.conditions.as_ref());
        let condition = plan::condition(mark.generation, &verdict, plan::programmed(conditions), Timestamp::now());
        let status = ProgrammingStatus {
            observed_generation: Some(mark.generation),
            observed_resource_version: Some(mark.version.to_string()),
            nodes: Some(plan::nodes(&verdict)),
            conditions: Some(plan::with(conditions, condition)),
        };
        let owner = controller_reference(&*object);
        let owned =
            present.as_deref().is_some_and(|present| present.meta().owner_references.as_deref() == Some(std::slice::from_ref(&owner)));
        if owned && before == Some(&status) {
            return None;
        }
        let metadata = ObjectMeta {
            name: Some(key.name.to_string()),
            namespace: Some(key.namespace.to_string()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        Some(Wanted { present, desired: C::new(metadata, status) })
    }

    async fn write(&self, key: &ObjectKey, wanted: &Wanted<C>) -> Result<(), Error> {
        let api = Api::<C>::namespaced(self.client.clone(), &key.namespace);
        let written = match &wanted.present {
            None => api.create(&PostParams::default(), &wanted.desired).await,
            Some(present) => {
                let malformed = |error| Error::Malformed(format!("the status of {} {key} can't be encoded: {error}", C::kind(&())));
                let old = serde_json::to_value(present.status()).map_err(malformed)?;
                let new = serde_json::to_value(wanted.desired.status()).map_err(malformed)?;
                let owners = &wanted.desired.meta().owner_references;
                let mut patch = json!({ "metadata": { "uid": present.meta().uid, "ownerReferences": owners } });
                if let Some(change) = merge_patch::diff(&old, &new) {
                    patch["status"] = change;
                }
                api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
        };
        match written {
            Ok(written) => self.companions.record(written),
            Err(error) if is_namespace_terminating(&error) => {}
            // The object went, and its companion with it.
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("writing {} {key}", C::kind(&())))(error)),
        }
        Ok(())
    }
}

/// What a companion has noted of its object.
fn noted<C: Companion>(companion: &C) -> Option<Mark> {
    let status = companion.status()?;
    Some(Mark {
        uid: controller_of(companion.meta())?.uid.clone(),
        generation: status.observed_generation?,
        version: status.observed_resource_version.as_deref()?.parse().ok()?,
    })
}
