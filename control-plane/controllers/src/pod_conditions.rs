//! Conditions that controllers set on pods beside the kubelet.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, is_not_found};
use serde_json::json;

/// The condition of a pod that is about to be removed through no fault of its own (KEP-3329).
pub(crate) fn disruption_target(reason: &str, message: &str, now: Timestamp) -> PodCondition {
    PodCondition { reason: Some(reason.into()), message: Some(message.into()), ..condition("DisruptionTarget", "True", now) }
}

/// A condition that holds since now.
pub(crate) fn condition(type_: &str, status: &str, now: Timestamp) -> PodCondition {
    PodCondition { type_: type_.into(), status: status.into(), last_transition_time: Some(Time(now)), ..PodCondition::default() }
}

/// Sets a condition of exactly this pod, and its phase where one is given; conditions of other types stay. `None` when the pod is gone.
pub(crate) async fn write(client: &Client, pod: &Pod, condition: PodCondition, phase: Option<&str>) -> Result<Option<Pod>, Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let what = condition.type_.clone();
    let mut status = json!({ "conditions": [condition] });
    if let Some(phase) = phase {
        status["phase"] = json!(phase);
    }
    // A strategic patch merges the list by condition type.
    let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.metadata.uid }, "status": status }));
    let api = Api::<Pod>::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    match api.patch_status(name, &PatchParams::default(), &patch).await {
        Ok(written) => Ok(Some(written)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(Error::api(format!("setting the condition {what} of pod {name}"))(error)),
    }
}
