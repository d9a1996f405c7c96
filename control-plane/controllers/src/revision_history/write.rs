//! Carries out a history's plan.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use orknet_reconciler::{Error, Informer, is_already_exists, is_namespace_terminating, is_not_found};
use serde_json::json;

use super::Plan;
use crate::ownership;

/// What the write came to.
pub(crate) enum Outcome {
    /// The revision of the present template, as stored.
    Current(Arc<ControllerRevision>),
    /// Another template has the same hash: the collision must be counted, which gives the next attempt another name.
    Collision,
    /// The namespace is being deleted.
    Ending,
}

/// Takes over revisions that an owner of the same name left behind.
pub(crate) async fn adopt(
    api: &Api<ControllerRevision>,
    informer: &Informer<ControllerRevision>,
    orphans: &[Arc<ControllerRevision>],
    reference: &OwnerReference,
) -> Result<(), Error> {
    for orphan in orphans {
        let name = orphan.metadata.name.as_deref().unwrap_or_default();
        let patch = ownership::adoption(&orphan.metadata, reference.clone());
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(written) => informer.record(written),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("adopting controller revision {name}"))(error)),
        }
    }
    Ok(())
}

/// Creates or renumbers the current revision and deletes what is to be forgotten.
pub(crate) async fn write(api: &Api<ControllerRevision>, informer: &Informer<ControllerRevision>, plan: &Plan) -> Result<Outcome, Error> {
    let name = plan.current.metadata.name.as_deref().unwrap_or_default();
    for revision in &plan.forget {
        let name = revision.metadata.name.as_deref().unwrap_or_default();
        match api.delete(name, &DeleteParams::default()).await {
            Err(error) if !is_not_found(&error) => return Err(Error::api(format!("deleting controller revision {name}"))(error)),
            _ => {}
        }
    }
    if plan.create {
        return match api.create(&PostParams::default(), &plan.current).await {
            Ok(created) => {
                informer.record(created.clone());
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
        };
    }
    let Some(revision) = plan.renumber else { return Ok(Outcome::Current(plan.current.clone())) };
    let patch = json!({ "metadata": { "uid": plan.current.metadata.uid }, "revision": revision });
    let written = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    let written = written.map_err(Error::api(format!("renumbering controller revision {name}")))?;
    informer.record(written.clone());
    Ok(Outcome::Current(Arc::new(written)))
}
