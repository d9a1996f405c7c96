//! `pods/<name>/binding`: a pod gets its node, once.

use super::read;
use crate::admission::{self, Operation, form};
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use crate::present;
use crate::verbs::write::{Admission, Update, update};
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::Binding;
use serde_json::{Value, json};

/// Binds the pod in the path to the node in the body.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let binding = read::<Binding>(call, &mut Vec::new())?;
    bind(call, &call.kind, &call.path.name, binding).await
}

/// Binds a pod; 409 when it has a node already or is going away.
pub async fn bind(call: &Call, pods: &Kind, pod: &str, mut binding: Value) -> Result<Response<Body>, ApiError> {
    let asked = admission::Request {
        kind: pods,
        name: pod,
        subresource: Some("binding"),
        form: Some(&form::BINDING),
        ..call.admission(Operation::Create)
    };
    let mut warnings = Vec::new();
    admission::submit(asked, &mut binding, &mut warnings).await?;
    let binding = &binding;
    let named = object::name(binding);
    if !named.is_empty() && named != pod {
        return Err(ApiError::bad_request(format!("name in URL does not match name in Binding object: {named:?}")));
    }
    let (kind, node) = (object::text(binding, "/target/kind"), object::text(binding, "/target/name"));
    if !kind.is_empty() && kind != "Node" {
        return Err(ApiError::bad_request(format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\"")));
    }
    if node.is_empty() {
        return Err(ApiError::bad_request("target.name: Required value"));
    }
    let what =
        Update { kind: pods, name: pod, subresource: Some("binding"), validate: false, admission: Admission::Asked, ..Update::of(call) };
    let names = pods.descriptor();
    let change = |old: &Value, _: u64| {
        if object::is_deleting(old) {
            return Err(ApiError::conflict(names, pod, format!("pod {pod} is being deleted, cannot be assigned to a host")));
        }
        let current = object::text(old, "/spec/nodeName");
        if !current.is_empty() {
            return Err(ApiError::conflict(names, pod, format!("pod {pod} is already assigned to node {current:?}")));
        }
        if old.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
            return Err(ApiError::conflict(names, pod, format!("pod {pod} has non-empty .spec.schedulingGates")));
        }
        let mut new = old.clone();
        object::map_at(&mut new, "spec").insert("nodeName".into(), json!(node));
        for (key, value) in binding.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten() {
            object::meta_mut(&mut new).entry("annotations").or_insert_with(|| json!({}))[key] = value.clone();
        }
        // The uid names the pod that the scheduler has seen.
        for field in ["uid", "resourceVersion"] {
            object::keep_meta(&mut new, binding, field);
        }
        set_scheduled(&mut new);
        Ok(new)
    };
    update(&call.server, &call.who, &what, change).await?;
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    let mut response = present::status(call, StatusCode::CREATED, &status);
    present::add_warnings(&mut response, &warnings);
    Ok(response)
}

/// The condition `PodScheduled` becomes true.
fn set_scheduled(pod: &mut Value) {
    let status = object::map_at(pod, "status");
    let mut conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("PodScheduled"));
    conditions.push(json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": object::timestamp(0) }));
    status.insert("conditions".into(), json!(conditions));
}
