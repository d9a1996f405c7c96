//! `pods/<name>/eviction`: a deletion that disruption budgets may forbid for now (429).

use super::read;
use crate::admission::{self, Asked, Operation, form};
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::life::{DeleteOptions, Preconditions};
use crate::object;
use crate::ownership::server_identity;
use crate::present;
use crate::selector::LabelSelector;
use crate::verbs::write::{Admission, Update, update};
use crate::verbs::{DeleteRequest, delete_object};
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::api::policy::v1::Eviction;
use serde_json::{Value, json};

const BUDGETS: StoredAs = ("policy", "poddisruptionbudgets");

/// Evicts the pod in the path.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let mut eviction = read::<Eviction>(call, &mut warnings)?;
    let named = object::name(&eviction);
    if !named.is_empty() && named != call.path.name {
        return Err(ApiError::bad_request(format!("name in URL does not match name in Eviction object: {named:?}")));
    }
    let dry_run = call.options.dry_run || is_dry_run(&eviction);
    // What would refuse the eviction is asked first: one that does not happen takes nothing from the budget.
    let asked = admission::Request { dry_run, form: Some(&form::EVICTION), ..call.admission(Operation::Create) };
    admission::submit(asked, &mut eviction, &mut warnings).await?;
    let text = |pointer: &str| Some(object::text(&eviction, pointer).to_owned()).filter(|text| !text.is_empty());
    let dry_run = dry_run || is_dry_run(&eviction);
    let options = DeleteOptions {
        grace_period_seconds: eviction.pointer("/deleteOptions/gracePeriodSeconds").and_then(Value::as_i64),
        preconditions: Preconditions {
            uid: text("/deleteOptions/preconditions/uid"),
            resource_version: text("/deleteOptions/preconditions/resourceVersion"),
        },
        dry_run,
        ..DeleteOptions::default()
    };
    let stored = call.server.storage.get(&call.key()).await?.ok_or_else(|| call.not_found())?;
    let pod = stored.object;
    options.preconditions.check(&call.kind, &pod, stored.revision)?;
    let ended = matches!(object::text(&pod, "/status/phase"), "Succeeded" | "Failed" | "Pending");
    if !ended && !object::is_deleting(&pod) {
        ask_budget(call, &pod, dry_run).await?;
    }
    let request = DeleteRequest { kind: &call.kind, namespace: call.namespace(), name: &call.path.name, options: &options, admitted: true };
    delete_object(&call.server, &call.who, &request, &mut warnings).await?;
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    let mut response = present::status(call, StatusCode::CREATED, &status);
    present::add_warnings(&mut response, &warnings);
    Ok(response)
}

fn is_dry_run(eviction: &Value) -> bool {
    object::strings(eviction.pointer("/deleteOptions/dryRun")).contains(&"All")
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
    if verdict(budget, pod)? == Verdict::Free {
        return Ok(());
    }
    let Some(kind) = call.server.kinds().find_any_version(BUDGETS.0, BUDGETS.1) else { return Ok(()) };
    let what = Update {
        kind: &kind,
        namespace: call.namespace(),
        name: object::name(budget),
        subresource: Some("status"),
        dry_run,
        manager: Some(crate::ownership::SERVER),
        validate: false,
        admission: Admission::Object,
        options: Asked::Nothing,
    };
    let change = |old: &Value, _: u64| {
        let mut new = old.clone();
        if verdict(old, pod)? == Verdict::Free {
            return Ok(new);
        }
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

/// How a budget lets a pod go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It takes one of the disruptions allowed.
    Counted,
    /// The pod is not one of those that the budget counts as healthy (`spec.unhealthyPodEvictionPolicy`).
    Free,
}

/// Whether the budget lets one more pod go; 429 when it does not.
fn verdict(budget: &Value, pod: &Value) -> Result<Verdict, ApiError> {
    let name = object::name(budget);
    let number = |field: &str| budget.pointer("/status").and_then(|status| status.get(field)?.as_i64()).unwrap_or_default();
    if number("observedGeneration") < object::generation(budget).unwrap_or_default() {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(ApiError::disruption_budget(why, Some(10)));
    }
    let (healthy, wanted) = (number("currentHealthy"), number("desiredHealthy"));
    let ready = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten().any(|condition| {
        let text = |field: &str| condition.get(field).and_then(Value::as_str);
        text("type") == Some("Ready") && text("status") == Some("True")
    });
    let always = object::text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    if !ready && (always || (healthy >= wanted && wanted > 0)) {
        return Ok(Verdict::Free);
    }
    if number("disruptionsAllowed") > 0 {
        return Ok(Verdict::Counted);
    }
    let why = format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently");
    Err(ApiError::disruption_budget(why, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64, healthy: i64) -> Value {
        json!({ "metadata": { "name": "b", "generation": 1 }, "spec": { "selector": { "matchLabels": { "app": "a" } } },
            "status": { "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": 2 } })
    }

    fn pod(ready: &str) -> Value {
        json!({ "metadata": { "labels": { "app": "a" } }, "status": { "conditions": [{ "type": "Ready", "status": ready }] } })
    }

    #[test]
    fn a_budget_with_nothing_left_forbids() {
        assert!(covers(&budget(1, 3), &pod("True")) && !covers(&budget(1, 3), &json!({ "metadata": {} })));
        assert_eq!(verdict(&budget(1, 3), &pod("True")).ok(), Some(Verdict::Counted));
        let error = verdict(&budget(0, 2), &pod("True")).expect_err("refused");
        assert_eq!((error.code(), error.retry_after_seconds()), (429, None));
        let mut new = budget(1, 3);
        new["metadata"]["generation"] = json!(2);
        assert_eq!(verdict(&new, &pod("True")).expect_err("refused").retry_after_seconds(), Some(10));
    }

    #[test]
    fn pods_that_do_not_count_may_go_where_enough_others_are_well() {
        assert_eq!(verdict(&budget(0, 2), &pod("False")).ok(), Some(Verdict::Free));
        assert!(verdict(&budget(0, 1), &pod("False")).is_err());
        let mut always = budget(0, 0);
        always["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert_eq!(verdict(&always, &pod("False")).ok(), Some(Verdict::Free));
    }
}
