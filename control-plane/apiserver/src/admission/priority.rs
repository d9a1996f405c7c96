//! A pod's priority comes from its class (Priority admission).

use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs};
use crate::object;
use crate::server::Server;
use serde_json::{Value, json};

pub const CLASSES: StoredAs = ("scheduling.k8s.io", "priorityclasses");

/// Sets `priority`, `preemptionPolicy` and, from the default class, `priorityClassName`.
pub fn resolve(server: &Server, kind: &Kind, pod: &mut Value) -> Result<(), ApiError> {
    let name = object::text(pod, "/spec/priorityClassName").to_owned();
    let class = if name.is_empty() {
        let mut defaults: Vec<Value> = server.storage.caches.values(CLASSES);
        defaults.retain(|class| class.get("globalDefault").and_then(Value::as_bool) == Some(true));
        // Several defaults: the lowest counts.
        defaults.into_iter().min_by_key(value)
    } else {
        let found = server.storage.caches.get(CLASSES, "", &name).map(|class| class.value());
        let missing = || ApiError::forbidden(kind.descriptor(), object::name(pod), format!("no PriorityClass with name {name} was found"));
        Some(found.ok_or_else(missing)?)
    };
    let priority = class.as_ref().map(value).unwrap_or_default();
    if let Some(given) = pod.pointer("/spec/priority").and_then(Value::as_i64)
        && given != priority
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(ApiError::forbidden(kind.descriptor(), object::name(pod), why));
    }
    let policy = class.as_ref().map(|class| object::text(class, "/preemptionPolicy")).filter(|policy| !policy.is_empty());
    let policy = policy.unwrap_or("PreemptLowerPriority");
    let given = object::text(pod, "/spec/preemptionPolicy");
    if !given.is_empty() && given != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(ApiError::forbidden(kind.descriptor(), object::name(pod), why));
    }
    let spec = object::map_at(pod, "spec");
    spec.insert("priority".into(), json!(priority));
    spec.insert("preemptionPolicy".into(), json!(policy));
    if let (true, Some(class)) = (name.is_empty(), &class) {
        spec.insert("priorityClassName".into(), json!(object::name(class)));
    }
    Ok(())
}

/// 403 when there would be two default classes.
pub fn check_single_default(server: &Server, kind: &Kind, class: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let is_default = |class: &Value| class.get("globalDefault").and_then(Value::as_bool) == Some(true);
    if !is_default(class) || old.is_some_and(is_default) {
        return Ok(());
    }
    let other =
        server.storage.caches.values(CLASSES).into_iter().find(|other| is_default(other) && object::name(other) != object::name(class));
    match other {
        Some(other) => {
            let why = format!("PriorityClass {} is already marked as default. Only one default can exist", object::name(&other));
            Err(ApiError::forbidden(kind.descriptor(), object::name(class), why))
        }
        None => Ok(()),
    }
}

/// The system's classes stay.
pub fn may_be_deleted(kind: &Kind, old: &Value) -> Result<(), ApiError> {
    let name = object::name(old);
    if name.starts_with("system-") {
        return Err(ApiError::forbidden(kind.descriptor(), name, "this is a system priority class and cannot be deleted"));
    }
    Ok(())
}

fn value(class: &Value) -> i64 {
    class.get("value").and_then(Value::as_i64).unwrap_or_default()
}
