//! Pure: a Job's pods: the finalizer and index they carry, what counts as failed, and the pod to create.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state;
use serde_json::{Value, json};

use crate::ownership::controller_reference;
use crate::pod_template::pod_from_template;

/// Holds an ended pod until it is counted.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// The completion index of an indexed Job's pod.
pub(super) fn index_of(pod: &Pod) -> Option<usize> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

pub(super) fn has_succeeded(pod: &Pod) -> bool {
    pod_state::phase(pod) == "Succeeded"
}

/// Failed, or being deleted: such a pod might never get to say how it ended. `podReplacementPolicy: Failed` waits for its word.
pub(super) fn has_failed(spec: &JobSpec, pod: &Pod) -> bool {
    let patient = spec.pod_replacement_policy.as_deref() == Some("Failed");
    pod_state::phase(pod) == "Failed" || (!patient && pod_state::is_terminating(pod) && !has_succeeded(pod))
}

/// When the last of the pod's containers ended; else when the pod was made.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let ends = statuses.iter().filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ends.map(|time| time.0).max().or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// The merge patch that lets go of a pod. It fails with a conflict when the pod has changed since it was read.
pub(super) fn untrack(pod: &Pod) -> Value {
    let left: Vec<&String> = pod.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != TRACKING).collect();
    json!({ "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version, "finalizers": left } })
}

/// The pod to create, for this index where the Job has indexes.
pub(super) fn pod_for(job: &Job, spec: &JobSpec, index: Option<usize>) -> Pod {
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pod_from_template(namespace, &spec.template, controller_reference(job));
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.into());
    let Some(index) = index else { return pod };
    let name = job.metadata.name.as_deref().unwrap_or_default();
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.into(), index.to_string());
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(format!("{name}-{index}"));
    for container in pod_spec.init_containers.iter_mut().flatten().chain(&mut pod_spec.containers) {
        let env = container.env.get_or_insert_default();
        if env.iter().all(|variable| variable.name != INDEX_VARIABLE) {
            let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
            let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
            env.push(EnvVar { name: INDEX_VARIABLE.into(), value: None, value_from: Some(source) });
        }
    }
    pod
}
