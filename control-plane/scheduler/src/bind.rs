//! The writes of the scheduler: bind a pod, mark it unschedulable, displace a victim.

use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use orknet_reconciler::{Error, pod_state};
use serde_json::json;

/// Binds the pod to the node. The uid in the binding makes sure that it is still the same pod.
pub(crate) async fn bind(client: &Client, pod: &Pod, node: &str) -> Result<(), Error> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.into()),
            ..ObjectReference::default()
        },
    };
    let created = pods(client, pod).create_subresource::<Binding, Status>("binding", &name, &PostParams::default(), &binding).await;
    created.map(drop).map_err(Error::api(format!("binding pod {name} to node {node}")))
}

/// Sets the condition PodScheduled to False with reason Unschedulable, and `status.nominatedNodeName` as given. Nothing is written when the pod
/// already says so.
pub(crate) async fn mark_unschedulable(client: &Client, pod: &Pod, message: &str, nominated: Option<&str>) -> Result<(), Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let present = pod_state::condition(pod, "PodScheduled");
    let same = present.is_some_and(|present| present.status == "False" && present.message.as_deref() == Some(message));
    let promised = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    if same && promised == nominated {
        return Ok(());
    }
    let since = present.filter(|present| present.status == "False").and_then(|present| present.last_transition_time.clone());
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.into()),
        last_transition_time: since.or_else(|| Some(Time(Timestamp::now()))),
        ..PodCondition::default()
    };
    let mut status = json!({ "conditions": [condition] });
    if promised != nominated {
        status["nominatedNodeName"] = json!(nominated);
    }
    // A strategic patch merges the list by condition type: conditions of others stay.
    let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.metadata.uid }, "status": status }));
    let written = pods(client, pod).patch_status(name, &PatchParams::default(), &patch).await;
    written.map(drop).map_err(Error::api(format!("marking pod {name} unschedulable")))
}

/// Marks a pod that makes room for another as disrupted (KEP-3329), and deletes it gracefully. `by` is the scheduler's name.
pub(crate) async fn displace(client: &Client, victim: &Pod, by: &str) -> Result<(), Error> {
    let name = victim.metadata.name.as_deref().unwrap_or_default();
    let condition = PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("PreemptionByScheduler".into()),
        message: Some(format!("{by}: preempting to accommodate a higher priority pod")),
        last_transition_time: Some(Time(Timestamp::now())),
        ..PodCondition::default()
    };
    let patch = Patch::Strategic(json!({ "metadata": { "uid": victim.metadata.uid }, "status": { "conditions": [condition] } }));
    let marked = pods(client, victim).patch_status(name, &PatchParams::default(), &patch).await;
    marked.map_err(Error::api(format!("marking pod {name}, which is to be displaced")))?;
    let same = Preconditions { uid: victim.metadata.uid.clone(), resource_version: None };
    let deleted = pods(client, victim).delete(name, &DeleteParams::default().preconditions(same)).await;
    deleted.map(drop).map_err(Error::api(format!("displacing pod {name}")))
}

fn pods(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
}
