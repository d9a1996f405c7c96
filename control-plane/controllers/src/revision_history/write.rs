//! Brings a workload's history up to date: adopts what an owner of the same name left, creates or renumbers the present revision, forgets the oldest.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use orknet_reconciler::{Error, Informer, is_already_exists, is_namespace_terminating};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Observed, Plan, plan};
use crate::claims;
use crate::delete_exact::delete_exact;
use crate::ownership::{claim, controller_reference};

/// The means to read and write histories.
pub(crate) struct History {
    pub client: Client,
    pub revisions: Arc<Informer<ControllerRevision>>,
}

/// What a workload says of its history.
pub(crate) struct Wanted<'a> {
    pub selector: &'a LabelSelector,
    pub template: &'a PodTemplateSpec,
    /// `status.collisionCount`.
    pub collisions: Option<i32>,
    /// `spec.revisionHistoryLimit`.
    pub limit: Option<i32>,
    /// Hashes and names of revisions that pods or the status still speak of: these stay.
    pub in_use: BTreeSet<String>,
}

/// What the write came to.
pub(crate) enum Outcome {
    /// The revision of the present template, as stored.
    Current(Arc<ControllerRevision>),
    /// Another template has the same hash: the collision must be counted, which gives the next attempt another name.
    Collision,
    /// The workload or its namespace is being deleted: nothing new is made.
    Ending,
}

impl History {
    /// The revision of this name, if it is one of `owner`'s.
    pub fn get<O: Resource<DynamicType = ()>>(&self, owner: &O, name: &str) -> Option<Arc<ControllerRevision>> {
        let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
        let uid = owner.meta().uid.as_deref().unwrap_or_default();
        let revision = self.revisions.get(&orknet_reconciler::ObjectKey::new(namespace, name))?;
        orknet_reconciler::pod_state::is_controlled_by(&revision.metadata, uid).then_some(revision)
    }

    /// Makes sure that the present template has a revision, and forgets those beyond the limit.
    pub async fn update<O>(&self, owner: &O, wanted: Wanted<'_>) -> Result<Outcome, Error>
    where
        O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
        let claim = claim(owner.meta(), wanted.selector, self.revisions.in_namespace(namespace));
        if !claims::settle(&self.client, owner, &claim.adopt, &[], &self.revisions).await? {
            return Ok(Outcome::Ending);
        }
        let plan = plan(Observed {
            owner: owner.meta(),
            reference: controller_reference(owner),
            template: wanted.template,
            collisions: wanted.collisions,
            limit: wanted.limit,
            revisions: claim.owned.into_iter().chain(claim.adopt).collect(),
            in_use: wanted.in_use,
        });
        if owner.meta().deletion_timestamp.is_some() && plan.create {
            return Ok(Outcome::Ending);
        }
        let api = Api::<ControllerRevision>::namespaced(self.client.clone(), namespace);
        for revision in &plan.forget {
            delete_exact(&api, &**revision, DeleteParams::default()).await?;
        }
        if plan.create { self.create(&api, &plan).await } else { self.renumber(&api, &plan).await }
    }

    async fn create(&self, api: &Api<ControllerRevision>, plan: &Plan) -> Result<Outcome, Error> {
        let name = plan.current.metadata.name.as_deref().unwrap_or_default();
        match api.create(&PostParams::default(), &plan.current).await {
            Ok(created) => {
                self.revisions.record(created.clone());
                Ok(Outcome::Current(Arc::new(created)))
            }
            Err(error) if is_namespace_terminating(&error) => Ok(Outcome::Ending),
            Err(error) if is_already_exists(&error) => {
                let existing = api.get(name).await.map_err(Error::api(format!("reading controller revision {name}")))?;
                let ours = existing.metadata.owner_references == plan.current.metadata.owner_references;
                let same = ours && existing.data == plan.current.data;
                Ok(if same { Outcome::Current(Arc::new(existing)) } else { Outcome::Collision })
            }
            Err(error) => Err(Error::api(format!("creating controller revision {name}"))(error)),
        }
    }

    async fn renumber(&self, api: &Api<ControllerRevision>, plan: &Plan) -> Result<Outcome, Error> {
        let Some(revision) = plan.renumber else { return Ok(Outcome::Current(plan.current.clone())) };
        let name = plan.current.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({ "metadata": { "uid": plan.current.metadata.uid }, "revision": revision });
        let written = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let written = written.map_err(Error::api(format!("renumbering controller revision {name}")))?;
        self.revisions.record(written.clone());
        Ok(Outcome::Current(Arc::new(written)))
    }
}
