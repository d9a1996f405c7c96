//! `scale`: the number of replicas of a workload as an `autoscaling/v1 Scale`, to be read and set whatever its kind.

use super::{decode, read};
use crate::admission::form;
use crate::call::Call;
use crate::codec::{self, BodyFormat, Document, PatchFormat};
use crate::custom::convert::{self, Forms, ROUNDS};
use crate::error::ApiError;
use crate::http::accept::View;
use crate::kinds::Kind;
use crate::object;
use crate::ownership::Writer;
use crate::present;
use crate::verbs::write::{Admission, Facet, Update, Updated, update_for};
use crate::verbs::{check_place, patch_option};
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::api::autoscaling::v1::Scale;
use orknet_resources::field::{Errors, Path};
use orknet_resources::table::duration;
use orknet_resources::{Cause, ScalePaths};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Answers get, update and patch.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let shown = match call.verb {
        "get" => {
            let stored = call.server.storage.get(&call.key()).await?.ok_or_else(|| call.not_found())?;
            shown_as_scale(&call.kind, &convert::read(&call.server, &call.kind, stored.versioned()).await?)?
        }
        "update" => {
            let wanted = read::<Scale>(call, &mut warnings)?;
            set(call, |_| Ok(wanted.clone()), &mut warnings).await?
        }
        "patch" => {
            let format = PatchFormat::of(call.content_type.as_deref(), call.kind.merges_strategically())?;
            let patch = codec::parse(if format == PatchFormat::Apply { BodyFormat::Yaml } else { BodyFormat::Json }, &call.body)?;
            if format == PatchFormat::Apply {
                apply(call, patch, &mut warnings).await?
            } else {
                change(call, format, patch, &mut warnings).await?
            }
        }
        _ => return Err(call.method_not_allowed()),
    };
    let View::Table(version) = call.accept.view else { return Ok(present::object(call, StatusCode::OK, shown, &warnings)) };
    Ok(present::status(call, StatusCode::OK, &table(version, &shown, object::now_seconds())))
}

/// Patches the `Scale` that the workload has.
async fn change(call: &Call, format: PatchFormat, patch: Document, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
    let last = Mutex::default();
    let wanted = |current: &Value| {
        let value = patched(format, current, &patch.value)?;
        let mut warnings = Vec::new();
        let scale = decode::<Scale>(call, Document { value, duplicates: patch.duplicates.clone() }, &mut warnings)?;
        *last.lock() = warnings;
        Ok(scale)
    };
    let shown = set(call, wanted, warnings).await?;
    warnings.splice(0..0, last.into_inner());
    Ok(shown)
}

/// Applies a configuration of a `Scale`: what it says is applied to the workload itself, so that whoever else owns its number of replicas objects.
async fn apply(call: &Call, config: Document, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
    if call.options.field_manager.is_empty() {
        return Err(patch_option(Cause::Required, "fieldManager", "is required for apply patch"));
    }
    let scale = decode::<Scale>(call, config, warnings)?;
    replicas(call, &scale)?;
    let names = call.names();
    let mut config = json!({ "apiVersion": names.api_version(), "kind": names.kind, "metadata": {} });
    for field in ["name", "namespace", "resourceVersion", "uid"] {
        object::keep_meta(&mut config, &scale, field);
    }
    if let Some(replicas) = scale.pointer("/spec/replicas") {
        set_replicas(&call.kind, &mut config, replicas.clone());
    }
    check_place(call, &config)?;
    let writer = Writer { kind: &call.kind, manager: call.field_manager(), subresource: call.subresource() };
    let forms = Forms::of(&call.server, &call.kind);
    let applied = |old: &Value, revision: u64| {
        let mut live = old.clone();
        object::set_meta(&mut live, "resourceVersion", revision.to_string());
        let applied = writer.apply(&forms, Some(&live), &config, call.options.force);
        let mut new = applied.map_err(|error| ApiError::apply(&error))?;
        // A number that its last owner lets go of is zero, as one that is not there.
        let left = to_scale(&call.kind, &new)["spec"]["replicas"].clone();
        set_replicas(&call.kind, &mut new, left);
        Ok(new)
    };
    // Apply tells ownership itself. An outcome that waits for conversions is none, and nothing was written.
    let mut outcome = write(call, None, applied, warnings).await;
    for _ in 0..ROUNDS {
        if !forms.fetch().await {
            break;
        }
        outcome = write(call, None, applied, warnings).await;
    }
    outcome
}

async fn set(call: &Call, wanted: impl Fn(&Value) -> Result<Value, ApiError>, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
    let change = |old: &Value, revision: u64| {
        let mut live = old.clone();
        object::set_meta(&mut live, "resourceVersion", revision.to_string());
        let scale = wanted(&to_scale(&call.kind, &live))?;
        check_place(call, &scale)?;
        let mut new = old.clone();
        set_replicas(&call.kind, &mut new, json!(replicas(call, &scale)?));
        for field in ["resourceVersion", "uid"] {
            object::keep_meta(&mut new, &scale, field);
        }
        Ok(new)
    };
    write(call, Some(call.field_manager()), change, warnings).await
}

/// Changes the workload as a change of its `Scale`.
async fn write(
    call: &Call,
    manager: Option<&str>,
    change: impl Fn(&Value, u64) -> Result<Value, ApiError>,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let put = |object: &mut Value, scale: &Value| {
        set_replicas(&call.kind, object, scale.pointer("/spec/replicas").cloned().unwrap_or_else(|| json!(0)));
    };
    let show = |object: &Value| to_scale(&call.kind, object);
    let facet = Facet { form: &form::SCALE, show: &show, put: &put };
    let what = Update { admission: Admission::Facet(&facet), manager, ..Update::of(call) };
    match update_for(call, &what, change, warnings).await? {
        Updated::Object(object) | Updated::Removed(object) => shown_as_scale(&call.kind, &object),
    }
}

/// What a `Scale` asks for. What is not there is zero, as in Kubernetes; what is there is a number.
fn replicas(call: &Call, scale: &Value) -> Result<i64, ApiError> {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    if replicas >= 0 {
        return Ok(replicas);
    }
    let mut errors = Errors::default();
    errors.non_negative(&Path::Root.field("spec").field("replicas"), replicas);
    Err(ApiError::invalid_kind("autoscaling", "Scale", &call.path.name, &errors.into_list()))
}

fn patched(format: PatchFormat, current: &Value, patch: &Value) -> Result<Value, ApiError> {
    match format {
        PatchFormat::Json => orknet_patch::json::apply(current, patch).map_err(|error| ApiError::patch(&error)),
        // A Scale has no lists: all merging forms mean the same. An apply is of the workload.
        PatchFormat::Merge | PatchFormat::Strategic | PatchFormat::Apply => {
            let mut patched = current.clone();
            orknet_patch::merge::apply(&mut patched, patch);
            Ok(patched)
        }
    }
}

/// What `kubectl get --subresource=scale` prints.
fn table(version: &str, scale: &Value, now_seconds: i64) -> Value {
    let column =
        |name: &str, kind: &str, format: &str| json!({ "name": name, "type": kind, "format": format, "description": "", "priority": 0 });
    let created = object::unix_seconds(object::meta_str(scale, "creationTimestamp")).unwrap_or(now_seconds);
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": { "resourceVersion": object::resource_version(scale) },
        "columnDefinitions": [
            column("Name", "string", "name"),
            column("Desired", "integer", ""),
            column("Available", "integer", ""),
            column("Age", "string", ""),
        ],
        "rows": [{
            "cells": [object::name(scale), scale["spec"]["replicas"], scale["status"]["replicas"], duration(now_seconds - created)],
            "object": present::partial_metadata(version, scale),
        }],
    })
}

/// The object's `Scale`; 500 for a custom resource that has no number of replicas, as in Kubernetes.
fn shown_as_scale(kind: &Kind, object: &Value) -> Result<Value, ApiError> {
    if let Some(paths) = kind.scale()
        && at(object, &paths.spec_replicas).is_none()
    {
        let why = format!("the spec replicas field \".{}\" does not exist", paths.spec_replicas.join("."));
        return Err(ApiError::internal(why));
    }
    Ok(to_scale(kind, object))
}

fn set_replicas(kind: &Kind, object: &mut Value, replicas: Value) {
    let Some(ScalePaths { spec_replicas, .. }) = kind.scale() else {
        object::map_at(object, "spec").insert("replicas".into(), replicas);
        return;
    };
    let Some((last, parents)) = spec_replicas.split_last() else { return };
    let mut place = object;
    for parent in parents {
        object::map_at(place, parent);
        place = &mut place[&parent[..]];
    }
    if let Some(map) = place.as_object_mut() {
        map.insert(last.clone(), replicas);
    }
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, field| at.get(field)).filter(|found| !found.is_null())
}

/// The object's `Scale`. Pure.
fn to_scale(kind: &Kind, object: &Value) -> Value {
    let (spec, status, selector) = match kind.scale() {
        None => (
            object.pointer("/spec/replicas"),
            object.pointer("/status/replicas"),
            selector_text(object.pointer("/spec/selector").unwrap_or(&Value::Null)),
        ),
        Some(paths) => {
            let selector = paths.selector.as_ref().and_then(|path| at(object, path)?.as_str());
            (at(object, &paths.spec_replicas), at(object, &paths.status_replicas), selector.unwrap_or_default().to_owned())
        }
    };
    let replicas = |number: Option<&Value>| number.and_then(Value::as_i64).unwrap_or_default();
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        object::keep_meta(&mut meta, object, field);
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta["metadata"],
        "spec": { "replicas": replicas(spec) },
        "status": { "replicas": replicas(status) },
    });
    if !selector.is_empty() {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// A selector in its query form; the replication controller's is a plain map.
fn selector_text(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured { selector.get("matchLabels") } else { Some(selector) };
    let mut terms: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = object::strings(expression.get("values")).join(",");
        terms.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::LabelSelector;

    fn workload() -> Kind {
        crate::kinds::own().iter().copied().find(|kind| kind.descriptor().plural == "deployments").expect("registered").into()
    }

    #[test]
    fn a_scale_has_a_row_of_its_own() {
        let scale = to_scale(
            &workload(),
            &json!({ "metadata": { "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": { "replicas": 3 } }),
        );
        let created = object::unix_seconds("2026-01-01T00:00:00Z").expect("a time");
        assert_eq!(table("v1", &scale, created + 90)["rows"][0]["cells"], json!(["a", 3, 0, "90s"]));
    }

    #[test]
    fn a_workload_is_shown_as_a_scale() {
        let deployment = json!({
            "metadata": { "name": "a", "namespace": "b", "uid": "1", "labels": { "x": "y" } },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "a" }, "matchExpressions": [{ "key": "t", "operator": "In", "values": ["1", "2"] }] } },
            "status": { "replicas": 2 },
        });
        let scale = to_scale(&workload(), &deployment);
        assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(3), &json!(2)));
        assert_eq!(scale["metadata"], json!({ "name": "a", "namespace": "b", "uid": "1" }));
        let selector = scale["status"]["selector"].as_str().expect("text");
        assert_eq!(LabelSelector::parse(selector).ok(), LabelSelector::from_object(&deployment["spec"]["selector"]));
    }
}
