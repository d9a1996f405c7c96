//! `pods/<name>/eviction`: a deletion that disruption budgets may forbid for now (429).

use super::read;
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::life::{DeleteOptions, Preconditions};
use crate::object;
use crate::ownership::server_identity;
use crate::present;
use crate::selector::LabelSelector;
use crate::verbs::write::{Update, update};
use crate::verbs::{DeleteRequest, delete_object};
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::api::policy::v1::Eviction;
use serde_json::{Value, json};

const BUDGETS: StoredAs = ("policy", "poddisruptionbudgets");

/// Evicts the pod in the path.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let eviction = read::<Eviction>(call, &mut Vec::new())?;
    let text = |pointer: &str| Some(object::text(&eviction, pointer).to_owned()).filter(|text| !text.is_empty());
    let dry_run = call.options.dry_run || object::strings(eviction.pointer("/deleteOptions/dryRun")).contains(&"All");
    let options = DeleteOptions {
        grace_period_seconds: eviction.pointer("/deleteOptions/gracePeriodSeconds").and_then(Value::as_i64),
        preconditions: Preconditions {
            uid: text("/deleteOptions/preconditions/uid"),
            resource_version: text("/deleteOptions/preconditions/resourceVersion"),
        },
        dry_run,
        ..DeleteOptions::default()
    };
    let pod = call.server.storage.get(&call.key()).await?.ok_or_else(|| call.not_found())?.object;
    let ended = matches!(object::text(&pod, "/status/phase"), "Succeeded" | "Failed" | "Pending");
    if !ended && !object::is_deleting(&pod) {
        ask_budget(call, &pod, dry_run).await?;
    }
    let request = DeleteRequest { kind: call.kind, namespace: call.namespace(), name: &call.path.name, options: &options };
    delete_object(&call.server, &call.who, &request).await?;
    Ok(present::json(
        StatusCode::CREATED,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }),
    ))
}

/// Takes one disruption from the budget that covers the pod, if there is one.
async fn ask_budget(call: &Call, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    let budgets: Vec<Value> = (call.server.storage.caches.values(BUDGETS).into_iter())
        .filter(|budget| object::namespace(budget) == call.namespace() && covers(budget, pod))
        .collect();
    let budget = match &budgets[..] {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            return Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    if let Err(why) = permits(budget, pod) {
        return Err(ApiError::disruption_budget(why, object::name(budget)));
    }
    let Some(kind) = call.server.kinds.find_any_version(BUDGETS.0, BUDGETS.1) else { return Ok(()) };
    let what = Update {
        kind,
        namespace: call.namespace(),
        name: object::name(budget),
        subresource: Some("status"),
        dry_run,
        manager: Some(crate::ownership::SERVER),
        validate: false,
    };
    let change = |old: &Value, _: u64| {
        permits(old, pod).map_err(|why| ApiError::disruption_budget(why, object::name(old)))?;
        let mut new = old.clone();
        let allowed = old.pointer("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or_default();
        let status = object::map_at(&mut new, "status");
        status.insert("disruptionsAllowed".into(), json!(allowed - 1));
        status.entry("disruptedPods").or_insert_with(|| json!({}))[object::name(pod)] = json!(object::timestamp(0));
        Ok(new)
    };
    update(&call.server, &server_identity(), &what, change).await.map(drop)
}

fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = budget.pointer("/spec/selector").and_then(LabelSelector::from_object);
    let labels = pod.pointer("/metadata/labels");
    selector.is_some_and(|selector| selector.matches(|key| labels?.get(key)?.as_str()))
}

/// Whether the budget lets one more pod go.
fn permits(budget: &Value, pod: &Value) -> Result<(), String> {
    let why = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
    let observed = budget.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or_default();
    if observed < object::generation(budget).unwrap_or_default() {
        return Err(why);
    }
    let ready = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten().any(|condition| {
        let text = |field: &str| condition.get(field).and_then(Value::as_str);
        text("type") == Some("Ready") && text("status") == Some("True")
    });
    if !ready && object::text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow" {
        return Ok(());
    }
    let allowed = budget.pointer("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or_default();
    if allowed > 0 { Ok(()) } else { Err(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_with_nothing_left_forbids() {
        let pod = json!({ "metadata": { "labels": { "app": "a" } } });
        let budget = |allowed: i64| {
            json!({ "metadata": { "generation": 1 }, "spec": { "selector": { "matchLabels": { "app": "a" } } },
            "status": { "observedGeneration": 1, "disruptionsAllowed": allowed } })
        };
        assert!(covers(&budget(1), &pod));
        assert!(permits(&budget(1), &pod).is_ok());
        assert!(permits(&budget(0), &pod).is_err());
        assert!(!covers(&budget(1), &json!({ "metadata": {} })));
    }
}
