//! Pure: the revisions that there are and the present template in; which revision the template is, what to write, what to forget, out.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use super::HASH_LABEL;
use crate::pod_template::template_hash;

/// What is known of a workload's history.
pub(super) struct Observed<'a> {
    pub owner: &'a ObjectMeta,
    pub reference: OwnerReference,
    pub template: &'a PodTemplateSpec,
    pub collisions: Option<i32>,
    /// `revisionHistoryLimit`.
    pub limit: Option<i32>,
    /// The revisions under the workload's control.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Hashes and names of revisions that pods or the status still speak of: these stay.
    pub in_use: BTreeSet<String>,
}

/// What to write.
#[derive(Debug)]
pub(super) struct Plan {
    /// The revision of the present template, as it is or as it is to be created.
    pub current: Arc<ControllerRevision>,
    pub create: bool,
    /// The number that the current revision gets because its template has come back (a rollback).
    pub renumber: Option<i64>,
    /// The oldest beyond the limit.
    pub forget: Vec<Arc<ControllerRevision>>,
}

pub(super) fn plan(mut observed: Observed<'_>) -> Plan {
    observed.revisions.sort_by(|one, other| {
        let key = |revision: &ControllerRevision| (revision.revision, revision.metadata.name.clone());
        key(one).cmp(&key(other))
    });
    let newest = observed.revisions.last().map_or(0, |revision| revision.revision);
    let data = snapshot(observed.template);
    let same = observed.revisions.iter().rev().find(|revision| revision.data.as_ref().is_some_and(|own| own.0 == data)).cloned();
    let (current, create) = match same {
        Some(revision) => (revision, false),
        None => (Arc::new(new_revision(&observed, data, newest + 1)), true),
    };
    let renumber = (current.revision < newest).then_some(newest + 1);
    let past: Vec<_> = observed.revisions.iter().filter(|revision| !is_used(revision, &current, &observed.in_use)).cloned().collect();
    let limit = usize::try_from(observed.limit.unwrap_or(10)).unwrap_or(0);
    let forget = past[..past.len().saturating_sub(limit)].to_vec();
    Plan { current, create, renumber, forget }
}

/// The template that a revision holds; `None` when it holds something else.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// The data of a revision: a strategic merge patch that puts the template back.
fn snapshot(template: &PodTemplateSpec) -> Value {
    // Serialising a template to JSON can't fail: its maps have string keys.
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({ "spec": { "template": template } })
}

fn new_revision(observed: &Observed<'_>, data: Value, revision: i64) -> ControllerRevision {
    let hash = template_hash(observed.template, observed.collisions);
    let mut labels = observed.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", observed.owner.name.as_deref().unwrap_or_default())),
            namespace: observed.owner.namespace.clone(),
            labels: Some(labels),
            annotations: observed.owner.annotations.clone(),
            owner_references: Some(vec![observed.reference.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}

fn is_used(revision: &ControllerRevision, current: &ControllerRevision, in_use: &BTreeSet<String>) -> bool {
    let name = revision.metadata.name.as_ref();
    let hash = revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL));
    name == current.metadata.name.as_ref() || [name, hash].into_iter().flatten().any(|known| in_use.contains(known))
}
