//! Pure: which ReplicaSet belongs to the present template, revision numbers and their annotations, and the ReplicaSet of a new revision.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::set::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY, Set};
use super::strategy::Bounds;
use crate::ownership::controller_reference;
use crate::pod_template::{TEMPLATE_HASH, comparable, template_hash};

/// Annotations of the Deployment that its ReplicaSets do not inherit.
const NOT_INHERITED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// The oldest set whose template is the Deployment's (several can exist after a hash collision).
pub(super) fn position_of_current(spec: &DeploymentSpec, sets: &[Set]) -> Option<usize> {
    let wanted = comparable(&spec.template);
    let same =
        |set: &Set| set.object.spec.as_ref().and_then(|spec| spec.template.as_ref()).is_some_and(|template| comparable(template) == wanted);
    (0..sets.len()).filter(|index| same(&sets[*index])).min_by(|one, other| {
        let key = |index: usize| (sets[index].created(), sets[index].name());
        key(*one).cmp(&key(*other))
    })
}

/// Whether an existing ReplicaSet has this template.
pub(super) fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    set.spec.as_ref().and_then(|spec| spec.template.as_ref()).is_some_and(|own| comparable(own) == comparable(template))
}

/// Brings the annotations of the current set up to date: the Deployment's own, and its revision if it was an older one.
pub(super) fn refresh(deployment: &Deployment, spec: &DeploymentSpec, current: &mut Set, others: &[Set]) {
    for (key, value) in inherited(deployment) {
        current.annotate(&key, value);
    }
    let newest = others.iter().map(Set::revision).max().unwrap_or(0);
    let previous = current.annotation(REVISION).map(str::to_string);
    if current.revision() < newest + 1 {
        current.annotate(REVISION, (newest + 1).to_string());
        if let Some(previous) = previous {
            let history = current.annotation(REVISION_HISTORY).filter(|history| !history.is_empty());
            let history = history.map_or(previous.clone(), |history| format!("{history},{previous}"));
            current.annotate(REVISION_HISTORY, history);
        }
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let own = current.object.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    current.min_ready_seconds = Some(min_ready).filter(|wanted| *wanted != own);
}

/// The ReplicaSet of a new revision, of this size.
pub(super) fn new_set(deployment: &Deployment, spec: &DeploymentSpec, others: &[Set], replicas: i32, bounds: Bounds) -> ReplicaSet {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.labels.get_or_insert_default().insert(TEMPLATE_HASH.into(), hash.clone());
    let labels = meta.labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.into(), hash.clone());
    let mut annotations = inherited(deployment);
    let revision = others.iter().map(Set::revision).max().unwrap_or(0) + 1;
    annotations.insert(REVISION.into(), revision.to_string());
    annotations.insert(DESIRED_REPLICAS.into(), bounds.replicas.to_string());
    annotations.insert(MAX_REPLICAS.into(), bounds.most().to_string());
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

fn inherited(deployment: &Deployment) -> BTreeMap<String, String> {
    let mut annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_INHERITED.contains(&key.as_str()));
    annotations
}
