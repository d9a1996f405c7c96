//! What goes on beside the requests: levels lend each other seats, and each FlowSchema says whether its level is there (condition `Dangling`).

use super::{LEVELS, SCHEMAS};
use crate::error::ApiError;
use crate::object;
use crate::ownership::server_identity;
use crate::server::Server;
use crate::verbs::write::{Update, update};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often levels lend (`borrowingAdjustmentPeriod` of Kubernetes).
const LENDING: Duration = Duration::from_secs(10);
/// Who is named as owner of the conditions, as with Kubernetes.
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

/// Until shutdown.
pub async fn keep(server: Arc<Server>) {
    let filled = server.storage.caches.filled();
    if server.shutdown.run_until_cancelled(filled).await.is_none() {
        return;
    }
    let cursor = |kind| server.storage.caches.of(kind).map(|cache| cache.end());
    let (Some(mut schemas), Some(mut levels)) = (cursor(SCHEMAS), cursor(LEVELS)) else { return };
    let mut lending = tokio::time::interval(LENDING);
    loop {
        // Marks what is there as seen. That a cursor has fallen behind is no matter: all is looked at anew.
        for cursor in [&mut schemas, &mut levels] {
            while cursor.ready().is_ok_and(|changes| !changes.is_empty()) {}
        }
        conditions(&server).await;
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            () = schemas.wait() => {}
            () = levels.wait() => {}
            _ = lending.tick() => server.flow.lend(),
        }
    }
}

/// Brings the condition of every schema up to date.
async fn conditions(server: &Server) {
    for schema in server.storage.caches.values(SCHEMAS) {
        let level = schema.pointer("/spec/priorityLevelConfiguration/name").and_then(Value::as_str).unwrap_or_default();
        let wanted = condition(level, server.flow.has_level(level));
        if is_told(&schema, &wanted) {
            continue;
        }
        if let Err(error) = tell(server, object::name(&schema), &wanted).await {
            tracing::warn!(schema = object::name(&schema), %error, "the condition of a FlowSchema could not be written");
        }
    }
}

/// What the schema shall say, without the time.
fn condition(level: &str, is_there: bool) -> Value {
    let (status, reason, rest) = if is_there { ("False", "Found", "it exists") } else { ("True", "NotFound", "there is no such object") };
    let joint = if is_there { "and" } else { "but" };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {joint} {rest}");
    json!({ "type": "Dangling", "status": status, "reason": reason, "message": message })
}

fn is_told(schema: &Value, wanted: &Value) -> bool {
    let conditions = schema.pointer("/status/conditions").and_then(Value::as_array);
    let told = conditions.into_iter().flatten().find(|condition| condition["type"] == wanted["type"]);
    told.is_some_and(|told| ["status", "reason", "message"].iter().all(|field| told[field] == wanted[field]))
}

/// The schema with the condition, beside others that it has.
fn with(schema: &Value, wanted: &Value, now: &str) -> Value {
    let mut schema = schema.clone();
    if is_told(&schema, wanted) {
        return schema;
    }
    let mut condition = wanted.clone();
    condition["lastTransitionTime"] = json!(now);
    if !schema["status"].is_object() {
        schema["status"] = json!({});
    }
    match schema["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|other| other["type"] != condition["type"]);
            conditions.push(condition);
        }
        None => schema["status"]["conditions"] = json!([condition]),
    }
    schema
}

async fn tell(server: &Server, name: &str, wanted: &Value) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version(SCHEMAS.0, SCHEMAS.1) else { return Ok(()) };
    let what = Update { subresource: Some("status"), manager: Some(MANAGER), ..Update::own(&kind, "", name) };
    let now = object::timestamp(0);
    match update(server, &server_identity(), &what, |old: &Value, _: u64| Ok(with(old, wanted, &now))).await {
        Err(error) if error.code() == 404 => Ok(()),
        done => done.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_told_once_and_beside_others() {
        let (there, missing) = (condition("low", true), condition("low", false));
        assert_eq!(there["message"], "This FlowSchema references the PriorityLevelConfiguration object named \"low\" and it exists");
        assert_eq!(
            missing["message"],
            "This FlowSchema references the PriorityLevelConfiguration object named \"low\" but there is no such object"
        );
        let schema = json!({ "status": { "conditions": [{ "type": "Mine", "status": "True" }] } });
        let told = with(&schema, &missing, "t1");
        assert!(is_told(&told, &missing) && !is_told(&told, &there));
        assert_eq!(with(&told, &missing, "t2"), told);
        let after = with(&told, &there, "t3");
        assert_eq!(after["status"]["conditions"].as_array().map(Vec::len), Some(2));
        assert_eq!(after["status"]["conditions"][1]["lastTransitionTime"], "t3");
        assert!(is_told(&with(&json!({}), &there, "t"), &there));
    }
}
